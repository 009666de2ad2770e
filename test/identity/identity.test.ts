// The box's own certificates: what they are, and that they outlive restarts, power cuts, bad disks and wrong clocks.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type IdentityOptions, type KeyPair, openIdentity, type StoredIdentity } from '../../src/identity/identity.ts';
import { SpareKey } from '../../src/identity/keys.ts';
import { judge } from '../../src/identity/trust.ts';
import { commonName, organizationalUnit, pemBlocks } from '../../src/identity/x509.ts';
import { ManualClock } from '../../src/lib/clock.ts';
import { FatalError } from '../../src/lib/errors.ts';
import { silentLog } from '../../src/lib/log.ts';
import { makeCa, makeLeaf, testKey, trusting } from '../support/pki.ts';

const DAY_MS = 24 * 60 * 60 * 1000;
const YEAR_MS = 365 * DAY_MS;
/** A plausible today: after the release date that certificates are backdated to. */
const TODAY = Date.UTC(2027, 5, 1, 12);
const noOpenssl = spawnSync('openssl', ['version']).status === 0 ? false : 'openssl is not installed';

let keysTaken = 0;
/** EC keys: quick, and each one new. */
function takeKey(): KeyObject {
  return testKey('ec', `identity ${keysTaken++}`);
}

function temporary(t: TestContext): string {
  const dir = fs.mkdtempSync(join(tmpdir(), 'ws-identity-'));
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  return dir;
}

function open(dir: string, more: Partial<IdentityOptions> = {}): StoredIdentity {
  return openIdentity({
    dir,
    name: 'relay-a',
    hosts: ['relay-a.local', '10.41.0.1'],
    clock: new ManualClock(TODAY),
    log: silentLog,
    takeKey,
    ...more,
  });
}

function leafOf(pair: KeyPair): X509Certificate {
  return new X509Certificate(pair.certPem);
}

/** Everything that a restart must not change. */
function fingerprints(identity: StoredIdentity): readonly string[] {
  return [
    identity.id,
    identity.ca.fingerprint,
    identity.federation().fingerprint,
    identity.federation('hq').fingerprint,
    identity.server().fingerprint,
    identity.portal().fingerprint,
  ];
}

function isFatal(words: RegExp, code = 'identity_damaged') {
  return (error: unknown) => {
    assert.ok(error instanceof FatalError, String(error));
    assert.equal(error.code, code);
    assert.match(error.message, words);
    assert.match(error.fix, /backup/);
    return true;
  };
}

function codes(identity: StoredIdentity): readonly string[] {
  return identity.warnings.map((warning) => warning.code);
}

test('the first start makes RSA certificates that TAK, phones and openssl accept', { skip: noOpenssl }, (t) => {
  const dir = temporary(t);
  const identity = openIdentity({
    dir: join(dir, 'data', 'identity'),
    name: 'relay-a',
    hosts: ['relay-a.local', '10.41.0.1'],
    clock: new ManualClock(Date.now()),
    log: silentLog,
  });
  assert.match(identity.id, /^ws-[0-9a-f]{16}$/);
  assert.match(identity.ca.commonName, /^relay-a CA [0-9a-f]{4}$/);
  fs.writeFileSync(join(dir, 'ca.pem'), identity.ca.certPem);
  const cases = [
    [identity.federation(), 'relay-a', ['sslclient', 'sslserver']],
    [identity.federation('hq'), 'relay-a', ['sslclient', 'sslserver']],
    [identity.server(), 'relay-a', ['sslserver']],
    [identity.issueClient('phone 1'), 'phone 1', ['sslclient']],
  ] as const;
  for (const [pair, name, purposes] of cases) {
    const leaf = leafOf(pair);
    assert.equal(pair.commonName, name);
    assert.equal(pair.fingerprint, leaf.fingerprint256.replaceAll(':', '').toLowerCase());
    assert.equal(pair.notAfterMs, leaf.validToDate.getTime());
    assert.equal(leaf.publicKey.asymmetricKeyDetails?.modulusLength, 2048);
    assert.ok(leaf.checkPrivateKey(createPrivateKey(pair.keyPem)));
    const chain = pemBlocks(pair.certPem);
    assert.equal(chain.length, 2, 'leaf and authority');
    assert.equal(new X509Certificate(chain[1]!).toString(), identity.ca.certPem);
    fs.writeFileSync(join(dir, 'leaf.pem'), pair.certPem);
    for (const purpose of ['sslclient', 'sslserver'] as const) {
      const args = [
        'verify',
        '-x509_strict',
        '-purpose',
        purpose,
        '-CAfile',
        join(dir, 'ca.pem'),
        join(dir, 'leaf.pem'),
      ];
      const { status, stderr } = spawnSync('openssl', args);
      assert.equal(status === 0, (purposes as readonly string[]).includes(purpose), `${name} ${purpose}: ${stderr}`);
    }
  }
  assert.notEqual(identity.federation().fingerprint, identity.federation('hq').fingerprint);
  assert.notEqual(identity.federation().keyPem, identity.federation('hq').keyPem);
});

test('our own judge accepts our leaves; two boxes differ', (t) => {
  const identity = open(temporary(t));
  const judged = (pair: KeyPair, role: 'client' | 'server') =>
    judge([leafOf(pair)], trusting(identity.ca), role, TODAY).ok;
  assert.ok(judged(identity.federation(), 'client') && judged(identity.federation('hq'), 'server'));
  assert.ok(judged(identity.issueClient('phone'), 'client'));
  assert.equal(judged(identity.server(), 'client'), false);
  const other = open(temporary(t));
  assert.notEqual(other.id, identity.id);
  assert.notEqual(other.ca.commonName + other.ca.fingerprint, identity.ca.commonName + identity.ca.fingerprint);
});

test('names, addresses and life of the leaves', (t) => {
  const identity = open(temporary(t));
  const server = leafOf(identity.server());
  assert.equal(server.checkHost('relay-a.local'), 'relay-a.local');
  assert.equal(server.checkIP('10.41.0.1'), '10.41.0.1');
  assert.deepEqual(server.keyUsage, ['1.3.6.1.5.5.7.3.1']);
  const spanMs = server.validToDate.getTime() - server.validFromDate.getTime();
  assert.ok(spanMs <= 825 * DAY_MS, 'iPhones accept no more');
  assert.ok(server.validToDate.getTime() - TODAY >= 700 * DAY_MS);
  assert.ok(identity.federation().notAfterMs - TODAY > 4 * YEAR_MS);
  assert.ok(identity.ca.notAfterMs - TODAY > 9 * YEAR_MS);
  assert.deepEqual(leafOf(identity.issueClient('phone')).keyUsage, ['1.3.6.1.5.5.7.3.2']);
  assert.equal(leafOf(identity.issueClient('phone')).subject, 'CN=phone');
  const medic = leafOf(identity.issueClient('phone', undefined, 'medics'));
  assert.equal(medic.subject, 'OU=medics\nCN=phone');
  assert.deepEqual([organizationalUnit(medic), commonName(medic)], ['medics', 'phone']);
  assert.equal(Math.round((identity.issueClient('phone', 30).notAfterMs - TODAY) / DAY_MS), 30);
  for (const days of [0, -1, 3651, Number.NaN]) assert.throws(() => identity.issueClient('phone', days), RangeError);
  assert.throws(() => identity.issueClient(' \n'), RangeError);
  assert.equal(open(temporary(t), { name: '\n' }).federation().commonName, 'waystation');
  const long = open(temporary(t), { name: 'n'.repeat(100) });
  assert.equal(long.ca.commonName.length, 64);
  assert.match(long.ca.commonName, /n CA [0-9a-f]{4}$/);
});

test('everything is the same after a restart, in private files', (t) => {
  const dir = join(temporary(t), 'identity');
  const before = open(dir);
  const made = fingerprints(before);
  assert.deepEqual(before.warnings, []);
  assert.equal(fs.statSync(dir).mode & 0o777, 0o700);
  const names = fs.readdirSync(dir).sort();
  assert.deepEqual(names, [
    'ca.secret.pem',
    'federation.hq.secret.pem',
    'federation.secret.pem',
    'node-id',
    'portal.secret.pem',
    'server.secret.pem',
  ]);
  for (const name of names) assert.equal(fs.statSync(join(dir, name)).mode & 0o777, 0o600, name);
  const after = open(dir);
  assert.deepEqual(fingerprints(after), made);
  assert.deepEqual(after.warnings, []);
  assert.equal(after.federation().keyPem, before.federation().keyPem);
});

test('a link name cannot leave the folder', (t) => {
  const dir = join(temporary(t), 'identity');
  const identity = open(dir);
  identity.federation('../../evil/näme');
  assert.deepEqual(fs.readdirSync(dir).sort(), [
    'ca.secret.pem',
    'federation...%2F..%2Fevil%2Fn%C3%A4me.secret.pem',
    'node-id',
  ]);
});

test('a power cut between any two steps leaves a folder that the next start completes', (t) => {
  const base = temporary(t);
  let steps = 0;
  for (let survived = 0; ; survived++) {
    const dir = join(base, `cut-${survived}`);
    const cut = cutPowerAfter(survived);
    let finished: boolean;
    try {
      fingerprints(open(dir));
      finished = !cut.happened();
    } finally {
      cut.restore();
    }
    const next = open(dir);
    const made = fingerprints(next);
    assert.deepEqual(next.warnings, [], `after ${survived} steps`);
    assert.deepEqual(fingerprints(open(dir)), made, `after ${survived} steps`);
    assert.deepEqual(
      fs.readdirSync(dir).filter((name) => name.endsWith('.tmp')),
      [],
    );
    if (finished) break;
    steps++;
  }
  assert.ok(steps >= 6 * 6, `${steps} steps were cut`); // six files: open, chmod, write, sync, rename, sync at least
});

test('a power cut while renewing leaves the old pair or the new one', (t) => {
  const dir = temporary(t);
  const old = open(dir).federation();
  const late = new ManualClock(TODAY + 4 * YEAR_MS);
  for (let survived = 0; ; survived++) {
    const cut = cutPowerAfter(survived);
    let renewed: KeyPair;
    try {
      renewed = open(dir, { clock: late }).federation();
    } finally {
      cut.restore();
    }
    assert.notEqual(renewed.fingerprint, old.fingerprint);
    assert.equal(renewed.keyPem, old.keyPem);
    const text = fs.readFileSync(join(dir, 'federation.secret.pem'), 'utf8');
    assert.ok(leafOf({ ...old, certPem: pemBlocks(text)[0]! }).checkPrivateKey(createPrivateKey(text)));
    if (!cut.happened()) break;
    assert.ok(survived < 50);
  }
});

test('a damaged, mismatched or missing file is told and never replaced', (t) => {
  const dir = temporary(t);
  const identity = open(dir);
  fingerprints(identity);
  const other = temporary(t);
  fingerprints(open(other));
  const path = (name: string) => join(dir, name);
  const text = (name: string) => fs.readFileSync(path(name), 'utf8');
  const foreign = (name: string) => fs.readFileSync(join(other, name), 'utf8');
  const keyOf = (pem: string) => pem.slice(0, pem.indexOf('-----BEGIN CERTIFICATE'));
  const certificateOf = (pem: string) => pem.slice(pem.indexOf('-----BEGIN CERTIFICATE'));
  const cases: readonly [name: string, content: string, words: RegExp][] = [
    ['node-id', '', /does not hold the id/],
    ['node-id', 'ws-zzzz', /does not hold the id/],
    ['ca.secret.pem', '', /ca\.secret\.pem is damaged/],
    ['ca.secret.pem', text('ca.secret.pem').slice(0, 100), /ca\.secret\.pem is damaged/],
    ['ca.secret.pem', keyOf(text('ca.secret.pem')), /ca\.secret\.pem is damaged/],
    ['ca.secret.pem', keyOf(foreign('ca.secret.pem')) + certificateOf(text('ca.secret.pem')), /is damaged/],
    ['ca.secret.pem', text('server.secret.pem'), /ca\.secret\.pem is damaged/],
    ['ca.secret.pem', foreign('ca.secret.pem'), /federation\.secret\.pem .*not made by the authority/],
    ['federation.secret.pem', '\0'.repeat(2000), /federation\.secret\.pem is damaged/],
    ['federation.hq.secret.pem', foreign('federation.hq.secret.pem'), /federation\.hq\.secret\.pem .*not made by/],
    ['portal.secret.pem', keyOf(foreign('portal.secret.pem')), /portal\.secret\.pem is damaged$/],
    ['portal.secret.pem', text('federation.secret.pem'), /portal\.secret\.pem is damaged$/],
  ];
  for (const [name, content, words] of cases) {
    const good = text(name);
    fs.writeFileSync(path(name), content);
    assert.throws(() => fingerprints(open(dir)), isFatal(words), name);
    assert.equal(text(name), content, 'left as it was found');
    fs.writeFileSync(path(name), good);
  }
  const authority = text('ca.secret.pem');
  fs.rmSync(path('ca.secret.pem'));
  assert.throws(() => open(dir), isFatal(/ca\.secret\.pem is missing/));
  fs.mkdirSync(path('ca.secret.pem'));
  assert.throws(() => open(dir), isFatal(/cannot be read/, 'identity_unreadable'));
  fs.rmdirSync(path('ca.secret.pem'));
  fs.writeFileSync(path('ca.secret.pem'), authority.padEnd(70_000, '\n'));
  assert.throws(() => open(dir), isFatal(/larger than 65536/, 'identity_unreadable'));
  fs.writeFileSync(path('ca.secret.pem'), authority);
  assert.deepEqual(fingerprints(open(dir)), fingerprints(identity));
});

test('a damaged server leaf is made anew, since nobody pins it, and that is told', (t) => {
  const dir = temporary(t);
  const before = open(dir);
  const old = before.server().fingerprint;
  fs.writeFileSync(join(dir, 'server.secret.pem'), 'rubbish');
  const after = open(dir);
  assert.notEqual(after.server().fingerprint, old);
  assert.deepEqual(codes(after), ['certificate_remade']);
  assert.equal(open(dir).server().fingerprint, after.server().fingerprint);
});

test('an authority brought by the operator is used as it is', (t) => {
  const dir = temporary(t);
  const root = makeCa({ cn: 'Ministry Root' });
  const ca = makeCa({ cn: 'Ministry Edge CA', intermediateOf: root, notAfter: new Date(TODAY + YEAR_MS) });
  fs.writeFileSync(join(dir, 'ca.secret.pem'), ca.keyPem + ca.certPem, { mode: 0o600 });
  const identity = open(dir);
  assert.equal(identity.ca.fingerprint, ca.fingerprint);
  assert.equal(identity.federation().notAfterMs, ca.notAfterMs, 'a leaf does not outlive its authority');
  assert.ok(judge([leafOf(identity.federation()), ca.x509], trusting(root), 'client', TODAY).ok);
});

test('keys that others could read are made private, and that is told', (t) => {
  const dir = temporary(t);
  open(dir);
  fs.chmodSync(dir, 0o755);
  fs.chmodSync(join(dir, 'ca.secret.pem'), 0o644);
  const identity = open(dir);
  assert.deepEqual(codes(identity), ['key_was_readable']);
  assert.match(identity.warnings[0]!.words, /ca\.secret\.pem; it is private again now/);
  assert.equal(fs.statSync(join(dir, 'ca.secret.pem')).mode & 0o777, 0o600);
  identity.federation();
  assert.equal(fs.statSync(dir).mode & 0o777, 0o700);
  assert.deepEqual(open(dir).warnings, []);
});

test('on a file system where modes cannot be changed the relay runs and says so', (t) => {
  const dir = temporary(t);
  open(dir);
  fs.chmodSync(dir, 0o755);
  fs.chmodSync(join(dir, 'ca.secret.pem'), 0o644);
  const restore = failing({ fchmodSync: 'EPERM', chmodSync: 'EPERM' });
  let seen: readonly string[];
  try {
    seen = codes(open(dir));
  } finally {
    restore();
  }
  assert.deepEqual(seen, ['key_was_readable']);
  const stuck = failing({ chmodSync: 'EPERM' });
  try {
    const identity = open(dir);
    identity.federation();
    assert.deepEqual(codes(identity), ['key_was_readable', 'key_folder_open']);
    assert.ok(fs.existsSync(join(dir, 'federation.secret.pem')), 'saved all the same');
  } finally {
    stuck();
  }
});

test('a folder that cannot be: the identity lives in memory, says so, and is saved once the folder is there', (t) => {
  const dir = join(temporary(t), 'identity');
  fs.writeFileSync(dir, 'a file in place of the folder');
  const identity = open(dir);
  const made = fingerprints(identity);
  assert.deepEqual(codes(identity), ['identity_not_saved']);
  assert.match(identity.warnings[0]!.words, /in memory only/);
  assert.deepEqual(fingerprints(identity), made, 'stable within one run');
  assert.deepEqual(identity.renewDue(TODAY), []);
  assert.deepEqual(codes(identity), ['identity_not_saved']);
  fs.rmSync(dir);
  identity.renewDue(TODAY);
  assert.deepEqual(identity.warnings, []);
  assert.deepEqual(fingerprints(open(dir)), made);
});

test('a folder that appears late with another identity in it is never overwritten', (t) => {
  const base = temporary(t);
  fingerprints(open(join(base, 'real')));
  const dir = join(base, 'identity');
  fs.writeFileSync(dir, '');
  const stray = open(dir);
  fingerprints(stray);
  fs.rmSync(dir);
  fs.renameSync(join(base, 'real'), dir);
  const before = fs.readdirSync(dir).map((name) => fs.readFileSync(join(dir, name), 'utf8'));
  stray.renewDue(TODAY);
  assert.match(stray.warnings[0]!.words, /node-id appeared after the start; restart/);
  assert.deepEqual(
    fs.readdirSync(dir).map((name) => fs.readFileSync(join(dir, name), 'utf8')),
    before,
  );
});

test('a disk that fills up at any step: the relay runs, and nothing unsigned reaches the disk', (t) => {
  const base = temporary(t);
  for (const [call, error] of [
    ['openSync', 'EROFS'],
    ['writeFileSync', 'ENOSPC'],
    ['fsyncSync', 'EIO'],
    ['renameSync', 'EROFS'],
    ['mkdirSync', 'EACCES'],
  ] as const) {
    const dir = join(base, call);
    if (call !== 'mkdirSync') fs.mkdirSync(dir);
    const restore = failing({ [call]: error });
    let identity: StoredIdentity;
    let made: readonly string[];
    try {
      identity = open(dir);
      made = fingerprints(identity);
      assert.deepEqual(codes(identity), ['identity_not_saved'], call);
      assert.match(identity.warnings[0]!.words, new RegExp(error));
    } finally {
      restore();
    }
    identity.renewDue(TODAY);
    assert.deepEqual(identity.warnings, [], call);
    assert.deepEqual(fingerprints(open(dir)), made, call);
  }
});

test('the portal certificate is small, signed by itself, good for ten years and never changes', (t) => {
  const dir = temporary(t);
  const identity = open(dir);
  const portal = identity.portal();
  const certificate = leafOf(portal);
  assert.equal(pemBlocks(portal.certPem).length, 1, 'no authority behind it');
  assert.deepEqual([certificate.publicKey.asymmetricKeyDetails?.namedCurve, certificate.ca], ['prime256v1', false]);
  assert.ok(certificate.verify(certificate.publicKey) && certificate.checkPrivateKey(createPrivateKey(portal.keyPem)));
  assert.equal(certificate.subject, 'CN=relay-a');
  assert.ok(certificate.raw.length < 420, `${certificate.raw.length} bytes on a thin link`);
  assert.ok(portal.notAfterMs > TODAY + 9.9 * YEAR_MS);
  assert.deepEqual(identity.renewDue(TODAY + 12 * YEAR_MS), []);
  const late = open(dir, { name: 'renamed', clock: new ManualClock(TODAY + 12 * YEAR_MS) });
  assert.equal(late.portal().fingerprint, portal.fingerprint);
});

test('a federation leaf changes only near its end, and keeps its key', (t) => {
  const dir = temporary(t);
  const identity = open(dir);
  const first = identity.federation();
  const hq = identity.federation('hq');
  const moved = open(dir, { name: 'renamed', hosts: ['elsewhere'] });
  assert.equal(moved.federation().fingerprint, first.fingerprint, 'neither name nor hosts matter');
  assert.deepEqual(identity.renewDue(TODAY + 3 * YEAR_MS), []);
  const late = TODAY + 4 * YEAR_MS;
  assert.deepEqual(identity.renewDue(late), ['federation', 'federation hq']);
  const renewed = identity.federation();
  assert.notEqual(renewed.fingerprint, first.fingerprint);
  assert.notEqual(identity.federation('hq').fingerprint, hq.fingerprint);
  assert.equal(renewed.keyPem, first.keyPem);
  assert.ok(renewed.notAfterMs > late + 4 * YEAR_MS);
  assert.deepEqual(identity.renewDue(late), [], 'once');
  assert.equal(open(dir, { clock: new ManualClock(late) }).federation().fingerprint, renewed.fingerprint);
});

test('a leaf near its end is renewed at the start; the life of the authority is the limit', (t) => {
  const dir = temporary(t);
  const first = open(dir).federation();
  const late = open(dir, { clock: new ManualClock(TODAY + 4 * YEAR_MS) });
  assert.notEqual(late.federation().fingerprint, first.fingerprint);
  const last = open(dir, { clock: new ManualClock(TODAY + 8 * YEAR_MS) });
  const capped = last.federation();
  assert.equal(capped.notAfterMs, last.ca.notAfterMs);
  const over = open(dir, { clock: new ManualClock(TODAY + 11 * YEAR_MS) });
  assert.equal(over.federation().fingerprint, capped.fingerprint, 'nothing gained by a new one');
  assert.ok(over.expiring(TODAY + 11 * YEAR_MS)[0]!.daysLeft < 0);
});

test('the server leaf follows name and addresses, in whatever order they come', (t) => {
  const dir = temporary(t);
  const identity = open(dir);
  const first = identity.server();
  assert.equal(open(dir, { hosts: ['10.41.0.1', 'relay-a.local'] }).server().fingerprint, first.fingerprint);
  assert.deepEqual(identity.renewDue(TODAY, ['10.41.0.1', 'RELAY-A.local']), []);
  assert.deepEqual(identity.renewDue(TODAY, ['10.9.9.9']), ['server']);
  assert.equal(leafOf(identity.server()).checkIP('10.9.9.9'), '10.9.9.9');
  assert.equal(identity.server().keyPem, first.keyPem);
  assert.deepEqual(identity.renewDue(TODAY), [], 'the new addresses are remembered');
  const renamed = open(dir, { name: 'relay-z', hosts: ['10.9.9.9'] });
  assert.equal(renamed.server().commonName, 'relay-z');
  assert.deepEqual(identity.renewDue(TODAY + 1.7 * YEAR_MS), ['server']);
});

test('a box whose clock is in the past makes certificates that are valid when the clock is right', (t) => {
  for (const wrong of [0, Date.UTC(2000, 0, 1), Date.UTC(2026, 0, 1)]) {
    const dir = temporary(t);
    const identity = open(dir, { clock: new ManualClock(wrong) });
    const pairs = [identity.federation(), identity.server(), identity.issueClient('phone')];
    for (const pair of pairs) {
      const leaf = leafOf(pair);
      assert.ok(leaf.validFromDate.getTime() < Math.max(wrong, Date.UTC(2026, 10, 2)));
      assert.ok(
        leaf.validToDate.getTime() > TODAY + YEAR_MS,
        `${pair.commonName} made in ${new Date(wrong).toISOString()}`,
      );
    }
    assert.deepEqual(identity.renewDue(TODAY), [], 'a clock that is set right changes nothing');
    assert.ok(
      judge([leafOf(identity.federation())], trusting(identity.ca), 'client', wrong).ok,
      'valid by the wrong clock too',
    );
  }
});

test('a peer whose clock stands at the release date accepts our federation leaf', (t) => {
  const identity = open(temporary(t));
  const release = Date.UTC(2026, 10, 1);
  assert.ok(judge([leafOf(identity.federation())], trusting(identity.ca), 'client', release).ok);
});

test('a server leaf made while the clock was ahead is replaced when the clock is right again', (t) => {
  const dir = temporary(t);
  const ahead = open(dir, { clock: new ManualClock(TODAY + 5 * YEAR_MS) });
  const wrong = ahead.server();
  assert.ok(leafOf(wrong).validFromDate.getTime() > TODAY);
  assert.ok(
    judge([leafOf(ahead.federation())], trusting(ahead.ca), 'client', TODAY).ok,
    'the federation leaf is good as it is',
  );
  assert.deepEqual(ahead.renewDue(TODAY), ['server']);
  assert.ok(leafOf(ahead.server()).validFromDate.getTime() <= TODAY);
});

test('expiring lists the authority and the leaves in use, the soonest first', (t) => {
  const identity = open(temporary(t));
  assert.deepEqual(
    identity.expiring(TODAY).map(({ what }) => what),
    ['authority'],
  );
  fingerprints(identity);
  const list = identity.expiring(TODAY);
  assert.deepEqual(
    list.map(({ what }) => what),
    ['server', 'federation', 'federation hq', 'authority', 'portal'],
  );
  assert.equal(list[0]?.notAfterMs, identity.server().notAfterMs);
  assert.equal(list[0]?.daysLeft, 730);
  assert.equal(identity.expiring(TODAY + 800 * DAY_MS)[0]?.daysLeft, -70);
});

test('a leaf that our authority did not sign is not taken for ours', (t) => {
  const dir = temporary(t);
  const identity = open(dir);
  const ours = identity.federation('real');
  const impostor = makeLeaf(makeCa({ cn: identity.ca.commonName, freshKey: true }), { cn: 'relay-a' });
  const tampered = Buffer.from(leafOf(ours).raw);
  tampered[tampered.length - 1]! ^= 1;
  for (const [link, keyPem, certificate] of [
    ['one', impostor.keyPem, impostor.leafPem],
    ['two', ours.keyPem, new X509Certificate(tampered).toString()],
  ] as const) {
    fs.writeFileSync(join(dir, `federation.${link}.secret.pem`), keyPem + certificate, { mode: 0o600 });
    assert.throws(() => identity.federation(link), isFatal(/not made by the authority/));
  }
});

test('each file is written beside its place, made private, synced, renamed, and its folder synced', (t) => {
  const dir = temporary(t);
  fs.writeFileSync(join(dir, 'node-id.tmp'), 'left over, and readable by all', { mode: 0o644 });
  const calls: string[] = [];
  const restore = patch(
    Object.fromEntries(
      CHANGES.map((name) => {
        const original = fs[name] as (...args: unknown[]) => unknown;
        const replacement = (...args: unknown[]) => {
          calls.push(name);
          return original(...args);
        };
        return [name, replacement];
      }),
    ),
  );
  try {
    open(dir);
  } finally {
    restore();
  }
  const changing = calls.filter((name) => name !== 'openSync' && name !== 'mkdirSync');
  const steps = ['fchmodSync', 'writeFileSync', 'fsyncSync', 'renameSync', 'fsyncSync'];
  assert.deepEqual(changing, [...steps, ...steps], 'the id, then the authority');
  assert.equal(fs.statSync(join(dir, 'node-id')).mode & 0o777, 0o600);
  assert.deepEqual(fs.readdirSync(dir).sort(), ['ca.secret.pem', 'node-id']);
});

test('a spare key is given out once', async () => {
  const spare = new SpareKey();
  const first = spare.take(); // starts a spare
  const second = spare.take();
  const third = spare.take();
  const modulus = (key: KeyObject) => key.export({ format: 'jwk' }).n;
  assert.equal(new Set([first, second, third].map(modulus)).size, 3);
  assert.equal(first.asymmetricKeyDetails?.modulusLength, 2048);
  const made = new Set([first, second, third].map(modulus));
  // However long a spare takes to be found, what comes next is never one of the old ones.
  for (let round = 0; round < 3; round++) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    const key = modulus(spare.take());
    assert.ok(!made.has(key));
    made.add(key);
  }
});

/** The calls that change the disk. */
const CHANGES = [
  'mkdirSync',
  'openSync',
  'fchmodSync',
  'chmodSync',
  'writeFileSync',
  'fsyncSync',
  'renameSync',
] as const;

/** Replaces functions of node:fs until the returned function is called. */
function patch(replacements: Partial<Record<(typeof CHANGES)[number], unknown>>): () => void {
  const originals = Object.fromEntries(Object.keys(replacements).map((name) => [name, fs[name as keyof typeof fs]]));
  Object.assign(fs, replacements);
  syncBuiltinESMExports();
  return () => {
    Object.assign(fs, originals);
    syncBuiltinESMExports();
  };
}

/** Makes these calls fail with these codes; reading still works. */
function failing(calls: Partial<Record<(typeof CHANGES)[number], string>>): () => void {
  const entries = Object.entries(calls).map(([name, code]) => {
    const original = fs[name as keyof typeof fs] as (...args: unknown[]) => unknown;
    const replacement = (...args: unknown[]) => {
      if (name === 'openSync' && args[1] === 'r') return original(...args);
      throw Object.assign(new Error(`${code}: it failed`), { code });
    };
    return [name, replacement];
  });
  return patch(Object.fromEntries(entries));
}

/** Lets `survived` changing calls through; from then on nothing reaches the disk any more. */
function cutPowerAfter(survived: number): { restore(): void; happened(): boolean } {
  let calls = 0;
  const entries = CHANGES.map((name) => {
    const original = fs[name] as (...args: unknown[]) => unknown;
    const replacement = (...args: unknown[]) => {
      if (name === 'openSync' && args[1] === 'r') return original(...args);
      if (calls++ < survived) return original(...args);
      throw Object.assign(new Error('EIO: the power is gone'), { code: 'EIO' });
    };
    return [name, replacement];
  });
  const restore = patch(Object.fromEntries(entries));
  return { restore, happened: () => calls > survived };
}
