// The certificate for calling partners, and what is sealed: over restarts, and damaged.
import assert from 'node:assert/strict';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { CallingCertificates } from '../../src/identity/calling.ts';
import { openIdentity } from '../../src/identity/identity.ts';
import { Seal } from '../../src/identity/seal.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { FatalError } from '../../src/lib/errors.ts';
import { silentLog } from '../../src/lib/log.ts';
import { callingWarnings } from '../../src/warnings.ts';

function folder(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'waystation-calling-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

const isDamaged = (error: unknown) => error instanceof FatalError && error.code === 'identity_damaged';

test('issued with its subject and days; the one before is kept beside it, over restarts, and no other', async (t) => {
  const dir = folder(t);
  const identity = openIdentity({ dir, name: 'box', hosts: [], clock: systemClock, log: silentLog });
  const open = () => new CallingCertificates(dir, identity);
  const calling = open();
  assert.deepEqual(calling.pairs, []);
  const first = await calling.issue('box', 7);
  const leaf = new X509Certificate(first.certPem);
  assert.equal(leaf.subject, 'CN=box');
  assert.ok(leaf.checkPrivateKey(createPrivateKey(first.keyPem)));
  assert.ok(Math.abs(first.notAfterMs - Date.now() - 7 * 86_400_000) < 600_000);
  const second = await calling.issue('box two');
  const third = await calling.issue('box three');
  const prints = (of: CallingCertificates) => of.pairs.map(({ fingerprint }) => fingerprint);
  assert.deepEqual(prints(calling), [third.fingerprint, second.fingerprint]);
  assert.deepEqual(prints(open()), prints(calling));
  assert.equal(open().pairs[0]!.certPem.trim(), third.certPem.trim());
  assert.equal(statSync(join(dir, 'calling.secret.pem')).mode & 0o077, 0);
  await assert.rejects(calling.issue('\u202e'), RangeError);
  writeFileSync(join(dir, 'calling.secret.pem'), readFileSync(join(dir, 'calling.secret.pem')).subarray(0, 900));
  assert.throws(open, isDamaged);
});

test('that it ends is told a month before, as it is not renewed by itself', () => {
  const nowMs = Date.UTC(2026, 10, 29);
  const endsIn = (days: number) => callingWarnings([{ notAfterMs: nowMs + days * 86_400_000 }], nowMs);
  assert.deepEqual([callingWarnings([], nowMs), endsIn(31)], [[], []]);
  assert.match(endsIn(12)[0]!.words, /ends in 12 days/);
  assert.match(endsIn(-2)[0]!.words, /has ended/);
});

test('what is sealed opens here alone, for its purpose alone, and not when altered', (t) => {
  const dir = folder(t);
  const seal = new Seal(dir);
  const sealed = seal.close('a secret', 'partner a');
  assert.ok(!sealed.includes('secret'));
  assert.notEqual(sealed, seal.close('a secret', 'partner a'), 'never the same twice');
  assert.equal(new Seal(dir).open(sealed, 'partner a'), 'a secret', 'after a restart');
  assert.equal(seal.open(sealed, 'partner b'), undefined);
  assert.equal(new Seal(folder(t)).open(sealed, 'partner a'), undefined);
  const bytes = Buffer.from(sealed, 'base64');
  for (let at = 0; at < bytes.length; at++) {
    const altered = Buffer.from(bytes);
    altered[at]! ^= 1;
    assert.equal(seal.open(altered.toString('base64'), 'partner a'), undefined, String(at));
    assert.equal(seal.open(bytes.subarray(0, at).toString('base64'), 'partner a'), undefined, `cut at ${at}`);
  }
  assert.equal(statSync(join(dir, 'seal.key')).mode & 0o077, 0);
  writeFileSync(join(dir, 'seal.key'), 'none');
  assert.throws(() => new Seal(dir), isDamaged);
});
