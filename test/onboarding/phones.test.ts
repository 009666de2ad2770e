// Codes and certificates of phones: used once, ended, replaced, revoked; over restarts.
import assert from 'node:assert/strict';
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { test } from 'node:test';
import { MAIN_NETWORK as CORE_MAIN } from '../../src/core/networks.ts';
import { ManualClock } from '../../src/lib/clock.ts';
import type { Station } from '../../src/onboarding/packages.ts';
import {
  type Authorities,
  type Guest,
  MAIN_NETWORK,
  MAX_PHONES,
  type PhoneMemory,
  PhoneRefused,
  Phones,
} from '../../src/onboarding/phones.ts';
import { presets } from '../../src/onboarding/presets.ts';
import { makeCa } from '../support/pki.ts';

const ca = makeCa({ cn: 'box CA', key: 'rsa' });
const station: Station = {
  name: 'box',
  caPem: ca.certPem,
  caFingerprint: ca.fingerprint,
  host: '10.41.0.1',
  port: 8089,
};
const none = presets.parse({});
const HERE = '10.41.0.7';
const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const FORM = /^[2-9A-HJ-KMNP-TV-Z]{4}(?:-[2-9A-HJ-KMNP-TV-Z]{4}){3}$/;

interface Desk {
  /** What each certificate made says of its network. */
  readonly networks: string[];
  /** As told last. */
  guests(): readonly Guest[];
  readonly phones: Phones;
  readonly saved: Map<string, string>;
  readonly clock: ManualClock;
  readonly revoked: string[];
  /** `phones`: what is on the disk in place of what was saved. */
  restart(phones?: string): Phones;
}

/** Certificates are the CA's own with made-up fingerprints: what is in them is another test's matter. */
function desk(): Desk {
  const saved = new Map<string, string>();
  let onDisk = new Map<string, string>();
  const clock = new ManualClock();
  const revoked: string[] = [];
  const networks: string[] = [];
  let guests: readonly Guest[] = [];
  let count = 0;
  const memory: PhoneMemory = {
    get: (key) => onDisk.get(key),
    set: (key, value) => (value === undefined ? saved.delete(key) : saved.set(key, value)),
    flush: () => {
      onDisk = new Map(saved);
    },
  };
  const identity: Authorities = {
    certify: (commonName: string, _key: KeyObject, _days, network = '') => {
      networks.push(network);
      return {
        certPem: ca.certPem + ca.certPem,
        fingerprint: String(++count).padStart(64, '0'),
        commonName,
        notAfterMs: clock.wallMs() + 1,
      };
    },
    revoke: (certificates) => revoked.push(...certificates.map(({ fingerprint }) => Number(fingerprint).toString())),
    revocations: { revoked },
  };
  const onForeign = (told: readonly Guest[]) => {
    guests = told;
  };
  const open = () => new Phones({ memory, identity, clock, onForeign });
  const restart = (phones?: string) => {
    if (phones !== undefined) onDisk.set('phones', phones);
    return open();
  };
  return { phones: open(), saved, clock, revoked, networks, guests: () => guests, restart };
}

function refuses(code: string): (error: unknown) => boolean {
  return (error) => error instanceof PhoneRefused && error.code === code && error.message !== '';
}

test('a code works once; the same package is given again to the same address, for a moment, and to nobody else', async () => {
  const { phones, saved, clock } = desk();
  const { code, phone } = phones.add({ name: 'Alpha', presets: none });
  assert.match(code, FORM);
  assert.equal(JSON.stringify([...saved]).includes(code.replaceAll('-', '')), false, 'kept as its hash');
  assert.equal(phones.byCode(` ${code.toLowerCase().replaceAll('-', ' ')} `)?.id, phone.id);
  const made = await phones.take(code, 'atak', station, HERE);
  assert.equal(await phones.take(code, 'atak', station, HERE), made);
  assert.equal(phones.byCode(code), undefined);
  await assert.rejects(phones.take(code, 'atak', station, '10.41.0.8'), refuses('bad_code'));
  await assert.rejects(phones.take(code, 'itak', station, HERE), refuses('bad_code'));
  clock.advance(120_000);
  await assert.rejects(phones.take(code, 'atak', station, HERE), refuses('bad_code'));
  assert.equal(phones.list()[0]!.fingerprint, '1'.padStart(64, '0'), 'one certificate for all of that');
});

test('two at the same time: one gets it', async () => {
  const { phones } = desk();
  const { code } = phones.add({ name: 'Alpha', presets: none });
  const both = await Promise.allSettled([
    phones.take(code, 'atak', station, HERE),
    phones.take(code, 'atak', station, '10.41.0.8'),
  ]);
  assert.deepEqual(both.map(({ status }) => status).toSorted(), ['fulfilled', 'rejected']);
});

test('a code ends; a new one ends the old; a used one stays used over a power cut', async () => {
  const box = desk();
  const first = box.phones.add({ name: 'Alpha', presets: none, hours: 1 });
  const second = box.phones.renew('alpha', 1);
  assert.equal(box.phones.byCode(first.code), undefined);
  box.clock.advance(3_600_000);
  assert.equal(box.phones.byCode(second.code), undefined);
  assert.equal(box.phones.list()[0]!.codeEndsMs, null);
  await assert.rejects(box.phones.take(second.code, 'atak', station, HERE), refuses('bad_code'));
  const third = box.phones.renew(first.phone.id);
  await box.phones.take(third.code, 'atak', station, HERE);
  const after = box.restart();
  assert.equal(after.list()[0]!.name, 'Alpha');
  await assert.rejects(after.take(third.code, 'atak', station, HERE), refuses('bad_code'));
});

test('a phone is for one network of the box, and so are its certificates, also renewed; those of before are for the main one', () => {
  const box = desk();
  assert.equal(MAIN_NETWORK, CORE_MAIN);
  const { code } = box.phones.add({ name: 'Doc', presets: none, network: 'medics' });
  box.phones.enroll(code, publicKey);
  box.phones.enroll(box.phones.add({ name: 'Alpha', presets: none }).code, publicKey);
  const after = box.restart();
  after.enroll(after.renew('Doc').code, publicKey);
  assert.deepEqual(box.networks, ['medics', '', 'medics']);
  assert.deepEqual(
    after.list().map(({ name, network }) => [name, network]),
    [
      ['Doc', 'medics'],
      ['Alpha', 'main'],
    ],
  );
  const certificate = { fingerprint: 'f'.repeat(64), notAfterMs: box.clock.wallMs() + 1 };
  after.adopt({ name: 'Guest', presets: none }, certificate, 'north');
  assert.deepEqual(box.guests(), [{ fingerprint: certificate.fingerprint, network: 'main' }]);

  const saved = JSON.parse(box.saved.get('phones') ?? '') as { network?: string }[];
  const before = saved.map(({ network: _, ...phone }) => phone);
  assert.deepEqual(
    box
      .restart(JSON.stringify(before))
      .list()
      .map(({ network }) => network),
    ['main', 'main', 'main'],
  );
});

test('what is no code is none, however long', async () => {
  const { phones } = desk();
  phones.add({ name: 'Alpha', presets: none });
  for (const code of ['', '-', 'A'.repeat(16), 'I'.repeat(16), 'x'.repeat(100_000), '../../x', '\0']) {
    assert.equal(phones.byCode(code), undefined);
    assert.throws(() => phones.enroll(code, publicKey), refuses('bad_code'));
    await assert.rejects(phones.take(code, 'atak', station, HERE), refuses('bad_code'));
  }
});

test('a package that cannot be made leaves the code as it was', async () => {
  const { phones } = desk();
  const { code } = phones.add({ name: 'Alpha', presets: none });
  const broken = { ...station, caPem: '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n' };
  await assert.rejects(phones.take(code, 'atak', broken, HERE));
  await phones.take(code, 'atak', station, HERE);
});

test('a renewed phone keeps its certificate until the new one is seen', async () => {
  const { phones, revoked } = desk();
  const take = async (code: string) => phones.take(code, 'atak', station, HERE);
  await take(phones.add({ name: 'Alpha', presets: none }).code);
  phones.seen('1'.padStart(64, '0'));
  await take(phones.renew('Alpha').code);
  assert.deepEqual(revoked, []);
  await take(phones.renew('Alpha').code);
  assert.deepEqual(revoked, ['2'], 'made, and lost on its way');
  phones.seen('1'.padStart(64, '0'));
  assert.deepEqual(revoked, ['2'], 'the one in use stays in use');
  phones.seen('3'.padStart(64, '0'));
  assert.deepEqual(revoked, ['2', '1']);
  assert.ok(phones.list()[0]!.seenMs);
});

test('revoked: all its certificates, its code, and the package it was just given', async () => {
  const { phones, revoked } = desk();
  await phones.take(phones.add({ name: 'Alpha', presets: none }).code, 'atak', station, HERE);
  const { code } = phones.renew('Alpha');
  await phones.take(code, 'atak', station, HERE);
  const last = phones.renew('Alpha').code;
  assert.equal(phones.revoke('Alpha'), 'Alpha');
  assert.deepEqual(revoked, ['1', '2']);
  for (const one of [code, last]) await assert.rejects(phones.take(one, 'atak', station, HERE), refuses('bad_code'));
  assert.throws(() => phones.renew('Alpha'), refuses('unknown_phone'));
  assert.throws(() => phones.revoke('Alpha'), refuses('unknown_phone'));
  assert.equal(phones.revoke(`SHA256:${'ab:'.repeat(31)}AB`), `SHA256:${'ab'.repeat(32)}`);
});

test('revoked while its key is being made: nothing is issued', async () => {
  const { phones } = desk();
  const taking = phones.take(phones.add({ name: 'Alpha', presets: none }).code, 'atak', station, HERE);
  phones.revoke('Alpha');
  await assert.rejects(taking, refuses('bad_code'));
  assert.deepEqual(phones.list(), []);
});

test('enrolment uses the same code; the profile is given for a while after it', () => {
  const { phones, clock } = desk();
  const { code } = phones.add({ name: 'Alpha', presets: { ...none, team: 'Cyan' } });
  assert.equal(phones.enrolledBy(code), undefined);
  assert.equal(phones.enroll(code, publicKey).issued.commonName, 'Alpha');
  assert.throws(() => phones.enroll(code, publicKey), refuses('bad_code'));
  assert.equal(phones.enrolledBy(code)?.presets.team, 'Cyan');
  clock.advance(600_000);
  assert.equal(phones.enrolledBy(code), undefined);
});

test('how often a phone is to report is kept where it is said, and else nothing is', () => {
  const { phones } = desk();
  phones.add({ name: 'Alpha', presets: { ...none, report: '10' } });
  phones.add({ name: 'Bravo', presets: { ...none, report: '' } });
  assert.deepEqual([phones.find('Alpha').presets, phones.find('Bravo').presets], [{ ...none, report: '10' }, none]);
});

test('names are unique and bounded, and so are phones', () => {
  const { phones } = desk();
  for (let n = 0; n < MAX_PHONES; n++) phones.add({ name: `phone ${n}`, presets: none });
  assert.throws(() => phones.add({ name: 'PHONE 7', presets: none }), refuses('phone_exists'));
  assert.throws(() => phones.add({ name: 'one more', presets: none }), refuses('too_many_phones'));
  for (const name of ['', ' ', 'a\nb', '\u202e', 'x'.repeat(49)]) {
    assert.throws(() => phones.add({ name, presets: none }), refuses('bad_value'), JSON.stringify(name));
  }
});

test('a list that was spoiled on the disk is an empty one, not a crash', () => {
  const { saved, phones, restart } = desk();
  for (const text of ['', '{', '[1]', 'null']) {
    phones.add({ name: `phone ${text.length}${text}`, presets: none });
    saved.set('phones', text);
    assert.ok(restart());
  }
});
