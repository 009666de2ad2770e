// What a box believes of a handover, and what not.
import assert from 'node:assert/strict';
import { createPrivateKey, sign } from 'node:crypto';
import { test } from 'node:test';
import { HANDOVER_MS, HandoverRefused, makeHandover, readHandover } from '../../src/onboarding/handover.ts';
import { makeCa } from '../support/pki.ts';

const [ours, other] = [makeCa({ cn: 'A CA' }), makeCa({ cn: 'B CA' })];
const NOW = Date.UTC(2026, 10, 29);
const none = { callsign: '', team: '', role: '' } as const;
const claims = {
  unit: { name: 'Victor', presets: none },
  fingerprint: 'ab'.repeat(32),
  notAfterMs: NOW + 1e9,
  source: 'ws-a',
  target: 'ws-b',
  ca: ours.certPem,
};
const by =
  ({ keyPem }: typeof ours) =>
  (bytes: Buffer) =>
    sign('sha256', bytes, createPrivateKey(keyPem));
const token = (over: object = {}, signer = ours) =>
  makeHandover({ ...claims, ...over }, { nowMs: NOW, sign: by(signer) });
const read = (text: string, over: object = {}) =>
  readHandover(text, { signer: ours.fingerprint, target: 'ws-b', nowMs: NOW, ...over });
const refused = (code: string) => (error: unknown) => error instanceof HandoverRefused && error.code === code;

test('believed: signed by the authority that is pinned, for this box, within the hour', () => {
  const { unit, fingerprint, source } = read(token());
  assert.deepEqual([unit.name, fingerprint, source], ['Victor', 'ab'.repeat(32), 'ws-a']);
  assert.ok(read(token(), { nowMs: NOW + HANDOVER_MS }));
});

test('not believed', () => {
  assert.throws(() => read(token({}, other)), refused('handover_not_signed'), 'another key under our certificate');
  assert.throws(() => read(token({ ca: other.certPem }, other)), refused('handover_not_signed'), 'another authority');
  assert.throws(() => read(token(), { signer: '' }), refused('handover_not_signed'), 'no authority is pinned');
  assert.throws(() => read(token({ target: 'ws-c' })), refused('handover_not_for_us'));
  assert.throws(() => read(token(), { nowMs: NOW + HANDOVER_MS + 1 }), refused('handover_expired'));
  assert.throws(() => read(token(), { nowMs: NOW - HANDOVER_MS }), refused('handover_expired'), 'dated far ahead');
  for (const text of ['', '.', 'e30.e30', 'x'.repeat(100_000), `${token()}.`, token().replace('.', '')]) {
    assert.throws(() => read(text), refused('handover_malformed'), text.slice(0, 20));
  }
  assert.throws(() => read(token({ fingerprint: 'zz' })), refused('handover_malformed'));
  assert.throws(() => read(token({ more: 1 })), refused('handover_malformed'));
});

test('altered anywhere, it is not believed', () => {
  const good = token();
  for (let at = 0; at < good.length; at += 7) {
    const text = `${good.slice(0, at)}${good[at] === 'A' ? 'B' : 'A'}${good.slice(at + 1)}`;
    assert.throws(() => read(text), HandoverRefused, String(at));
  }
});
