// Certificates that are accepted no more: kept beside the keys, in force at once, over restarts, and never lost in silence.
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { openIdentity } from '../../src/identity/identity.ts';
import { judge, mergeTrust } from '../../src/identity/trust.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { FatalError } from '../../src/lib/errors.ts';
import { silentLog } from '../../src/lib/log.ts';
import { testKey } from '../support/pki.ts';

function box(t: TestContext) {
  const dir = mkdtempSync(join(tmpdir(), 'ws-revoked-'));
  t.after(() => rmSync(dir, { recursive: true }));
  let keys = 0;
  const takeKey = () => testKey('rsa', `revoked ${keys++ % 3}`);
  return {
    dir,
    open: () => openIdentity({ dir, name: 'box', hosts: [], clock: systemClock, log: silentLog, takeKey }),
  };
}

test('revoked: refused at once, told to who is connected, and refused after a restart', (t) => {
  const { dir, open } = box(t);
  const identity = open();
  const pair = identity.issueClient('alpha');
  const other = identity.issueClient('bravo');
  const trust = mergeTrust(mergeTrust({ cas: [identity.ca.certPem], pins: [] }, identity.revocations), {
    cas: [],
    pins: [],
  });
  const chain = [new X509Certificate(pair.certPem)];
  const now = systemClock.wallMs();
  assert.equal(judge(chain, trust, 'client', now).ok, true);
  let told = 0;
  const release = trust.onChange!(() => {
    const verdict = judge(chain, trust, 'client', now);
    told += verdict.ok ? 0 : 1;
  });
  identity.revoke([pair]);
  assert.equal(told, 1, 'before revoke() returned');
  identity.revoke([pair]);
  assert.equal(told, 1, 'once');
  release();
  const verdict = judge(chain, trust, 'client', now);
  assert.ok(!verdict.ok && verdict.code === 'revoked');
  assert.match(verdict.words, /"alpha".*was revoked/);
  assert.equal(judge([new X509Certificate(other.certPem)], trust, 'client', now).ok, true);
  assert.equal(statSync(join(dir, 'revoked')).mode & 0o777, 0o600);

  const again = open();
  const after = mergeTrust({ cas: [again.ca.certPem], pins: [] }, again.revocations);
  assert.equal(judge(chain, after, 'client', now).ok, false);
  assert.equal(
    judge(chain, mergeTrust(after, { cas: [], pins: [pair.fingerprint] }), 'client', now).ok,
    false,
    'a pin, too',
  );
});

test('a spoiled list is not taken for an empty one', (t) => {
  const { dir, open } = box(t);
  const identity = open();
  identity.revoke([identity.issueClient('alpha'), identity.issueClient('bravo')]);
  const path = join(dir, 'revoked');
  const text = readFileSync(path, 'utf8');
  assert.equal(text.split('\n').length, 3);
  for (const spoiled of [text.slice(0, 100), text.replace(' ', ''), `${text}x`, 'A'.repeat(1024 * 1024 + 1)]) {
    writeFileSync(path, spoiled);
    assert.throws(open, (error) => error instanceof FatalError && error.code.startsWith('identity_'));
  }
  writeFileSync(path, text);
  assert.equal(open().revocations.revoked?.length, 2);
});
