import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import * as z from 'zod';
import { FatalError } from '../../../src/lib/errors.ts';
import { fed2Schema } from '../../../src/links/fed2/config.ts';
import { makeCa, makeLeaf, testIdentity } from '../../support/pki.ts';
import { runLink } from '../memory.ts';
import { fed2, fed2Config, ScriptedClient } from './scripted.ts';

const listens = (listen: unknown) => fed2Config({ listen }).listen;

function refused(keys: unknown): string {
  const result = fed2Schema.safeParse(keys);
  assert.equal(result.success, false, `${JSON.stringify(keys)} was taken`);
  return result.error!.issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('\n');
}

describe('fed2 configuration', () => {
  test('listens on ports, addresses or several of them', () => {
    assert.deepEqual(listens(9001), [{ host: '', port: 9001 }]);
    assert.deepEqual(listens('10.0.0.1:9001'), [{ host: '10.0.0.1', port: 9001 }]);
    assert.deepEqual(listens('[fd00::1]:9001'), [{ host: 'fd00::1', port: 9001 }]);
    assert.deepEqual(listens([9001, ':9000']), [
      { host: '', port: 9001 },
      { host: '', port: 9000 },
    ]);
  });

  test('defaults are those of the documentation', () => {
    assert.deepEqual(fed2Config({ connect: 'tak.example.org:9001' }), {
      listen: [],
      connect: { host: 'tak.example.org', port: 9001 },
      trust: [],
      peers: [],
      cert: undefined,
      key: undefined,
      verifyName: false,
      groups: [],
      groupHops: undefined,
      healthIntervalMs: 3_000,
      maxMessageBytes: 16 << 20,
      maxRolBytes: 64 << 20,
      maxConnections: 64,
      identityType: 'tak',
    });
  });

  test('what makes no sense is refused in words', () => {
    assert.match(refused({}), /listen: .*listen.*or connect/);
    assert.match(refused({ listen: 9001, connect: 'a:1' }), /either listen or connect/);
    assert.match(refused({ connect: ':9001' }), /connect: expected a host and port/);
    assert.match(refused({ connect: 'tak.example.org' }), /connect: expected a host and port/);
    assert.match(refused({ listen: 9001, cert: 'x.pem' }), /key: .*missing/);
    assert.match(refused({ listen: 9001, key: 'x.pem' }), /cert: .*missing/);
    assert.match(refused({ listen: 9001, lisen: 9000 }), /lisen/);
    for (const listen of [70_000, -1, 'x', '1.2.3.4', 'a:99999', []]) refused({ listen });
    for (const keys of [
      { health_interval_seconds: 0 },
      { health_interval_seconds: 11 },
      { max_message_bytes: 1 << 30 },
      { max_connections: 0 },
      { identity_type: 'server' },
      { groups: [''] },
      { group_hops: { Blue: 65 } },
      { group_hops: { '': 1 } },
      { group_hops: ['Blue'] },
      { group_hops: Object.fromEntries(Array.from({ length: 257 }, (_, n) => [n, 1])) },
    ]) {
      refused({ listen: 9001, ...keys });
    }
  });

  test('it can be shown to editors as JSON Schema', () => {
    const schema = z.toJSONSchema(fed2Schema, { io: 'input', unrepresentable: 'any' });
    assert.ok(Object.keys(schema.properties ?? {}).includes('health_interval_seconds'));
    assert.equal(schema.additionalProperties, false);
  });
});

describe('fed2 certificate of its own', () => {
  const ca = makeCa({ cn: 'Own CA' });
  const leaf = makeLeaf(ca, { cn: 'own' });
  const other = makeLeaf(ca, { cn: 'other' });

  function folder(t: TestContext): string {
    const dir = mkdtempSync(join(tmpdir(), 'fed2-'));
    t.after(() => rmSync(dir, { recursive: true }));
    writeFileSync(join(dir, 'own.pem'), leaf.certPem);
    writeFileSync(join(dir, 'own.key'), leaf.keyPem);
    writeFileSync(join(dir, 'other.key'), other.keyPem);
    return dir;
  }

  test('is shown to peers, with its CA', async (t) => {
    const link = fed2({ listen: '127.0.0.1:0', cert: 'own.pem', key: 'own.key' });
    const tak = testIdentity('tak');
    const running = runLink(t, link, { baseDir: folder(t), trust: tak.trust });
    const client = await ScriptedClient.dial(t, await running.port(), tak.federation());
    const shown = client.socket.getPeerX509Certificate();
    assert.equal(shown?.subject, 'CN=own');
    assert.equal(shown?.issuerCertificate?.subject, 'CN=Own CA');
  });

  test('that cannot be used fails for good, with what to do', async (t) => {
    const baseDir = folder(t);
    for (const [cert, key, code] of [
      ['missing.pem', 'own.key', 'key_unreadable'],
      ['own.key', 'own.key', 'key_unreadable'],
      ['own.pem', 'other.key', 'key_mismatch'],
    ]) {
      const error = await runLink(t, fed2({ connect: '127.0.0.1:1', cert, key }), { baseDir }).ended;
      assert.ok(error instanceof FatalError, `ended with ${error}`);
      assert.equal(error.code, code);
      assert.notEqual(error.fix, '');
    }
  });
});
