import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import * as z from 'zod';
import { FatalError } from '../../../src/lib/errors.ts';
import { cotSchema } from '../../../src/links/cot/config.ts';
import { cotKind } from '../../../src/links/cot/index.ts';
import { makeCa, makeLeaf, testIdentity } from '../../support/pki.ts';
import { runLink } from '../memory.ts';
import { tlsPhone, tlsServer } from './raw.ts';

/** The first complaint, as `path: message`; undefined when there is none. */
function complaint(settings: object): string | undefined {
  const { error } = cotSchema.safeParse(settings);
  const issue = error?.issues[0];
  return issue && `${issue.path.join('.')}: ${issue.message}`;
}

test('a listener and its defaults', () => {
  assert.deepEqual(cotSchema.parse({ listen: 8087 }), {
    listen: [{ host: '', port: 8087 }],
    connect: undefined,
    tls: false,
    profile: 'takserver',
    perPhone: undefined,
    takProtocol: true,
    auth: undefined,
    uid: undefined,
    callsign: undefined,
    maxEventBytes: 262_144,
    maxConnections: 512,
    flowTag: false,
    idleMs: 300_000,
  });
});

test('a dialler and its defaults', () => {
  const { connect, flowTag, idleMs, tls } = cotSchema.parse({ connect: 'tak.example.org:8089', tls: true });
  assert.deepEqual(connect, { host: 'tak.example.org', port: 8089 });
  assert.equal(flowTag, true);
  assert.equal(idleMs, 45_000);
  assert.deepEqual(tls, { trust: [], keyFiles: undefined, verifyName: false, optionalClientCert: false });
});

test('several addresses', () => {
  assert.deepEqual(cotSchema.parse({ listen: ['10.0.0.1:8087', '[::1]:8087', 8088] }).listen, [
    { host: '10.0.0.1', port: 8087 },
    { host: '::1', port: 8087 },
    { host: '', port: 8088 },
  ]);
});

test('all of it', () => {
  const config = cotSchema.parse({
    connect: '10.1.2.3:8088',
    tls: { trust: ['ca.pem'], cert: 'c.pem', key: 'k.pem', verify_name: true },
    profile: 'goatak',
    protocol: 'xml',
    auth: { username: 'u', password: 'p' },
    uid: 'RELAY',
    callsign: 'Relay',
    max_event_bytes: 65_536,
    flow_tag: false,
    idle_timeout_seconds: 90,
    per_phone: 3,
  });
  assert.deepEqual(config, {
    listen: [],
    connect: { host: '10.1.2.3', port: 8088 },
    tls: { trust: ['ca.pem'], keyFiles: { cert: 'c.pem', key: 'k.pem' }, verifyName: true, optionalClientCert: false },
    profile: 'goatak',
    perPhone: 3,
    takProtocol: false,
    auth: { username: 'u', password: 'p' },
    uid: 'RELAY',
    callsign: 'Relay',
    maxEventBytes: 65_536,
    maxConnections: 512,
    flowTag: false,
    idleMs: 90_000,
  });
});

for (const [settings, words] of [
  [{}, /listen: .*needs listen.* or connect/],
  [{ listen: 1, connect: 'a:1' }, /connect: either listen or connect/],
  [{ listen: 70_000 }, /listen/],
  [{ listen: 'nowhere' }, /listen/],
  [{ listen: [] }, /listen/],
  [{ connect: 'host' }, /connect: expected a host and port/],
  [{ connect: '8089' }, /connect: expected a host and port/],
  [{ connect: 'a:0' }, /connect: expected a host and port/],
  [{ listen: 1, profile: 'taky' }, /profile: only with connect/],
  [{ listen: 1, uid: 'x' }, /uid: only with connect/],
  [{ connect: 'a:1', max_connections: 3 }, /max_connections: only with listen/],
  [{ connect: 'a:1', profile: 'other' }, /profile/],
  [{ listen: 1, tls: { cert: 'c.pem' } }, /tls\.key: the private key/],
  [{ listen: 1, tls: { key: 'k.pem' } }, /tls\.cert: the certificate/],
  [{ listen: 1, tls: { verify_name: true } }, /tls\.verify_name: only with connect/],
  [{ connect: 'a:1', tls: { optional_client_cert: true } }, /tls\.optional_client_cert: only with listen/],
  [{ connect: 'a:1', idle_timeout_seconds: 10 }, /idle_timeout_seconds/],
  [{ listen: 1, auth: { username: 'x' } }, /auth/],
  [{ listen: 1, lisen: 2 }, /lisen/],
] as const) {
  test(`refused: ${JSON.stringify(settings)}`, () => {
    assert.match(complaint(settings) ?? 'accepted', words);
  });
}

test('JSON Schema for editors can be made of it', () => {
  const json = z.toJSONSchema(cotSchema, { io: 'input', unrepresentable: 'any' }) as { properties?: object };
  assert.deepEqual(Object.keys(json.properties ?? {}).slice(0, 3), ['listen', 'connect', 'tls']);
});

function folder(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'cot-'));
  t.after(() => rmSync(dir, { recursive: true }));
  return dir;
}

const ca = makeCa({ cn: 'Given CA' });
const given = makeLeaf(ca, { cn: 'given' });

test('certificate and key from files, relative to the configuration', async (t) => {
  const baseDir = folder(t);
  writeFileSync(join(baseDir, 'cert.pem'), given.certPem);
  writeFileSync(join(baseDir, 'key.pem'), given.keyPem);
  writeFileSync(join(baseDir, 'ca.pem'), ca.certPem);
  const tls = { trust: ['ca.pem'], cert: 'cert.pem', key: 'key.pem' };
  const identity = testIdentity('relay');
  const listener = runLink(t, cotKind.create(cotSchema.parse({ listen: '127.0.0.1:0', tls })), { identity, baseDir });
  const client = await tlsPhone(t, await listener.port(), { cert: given.certPem, key: given.keyPem });
  assert.equal((await listener.hub.session()).session.identity.name, 'given');
  assert.equal(
    (client.socket as { getPeerCertificate?(): { subject: { CN: string } } }).getPeerCertificate?.().subject.CN,
    'given',
  );
  const server = await tlsServer(t, {
    cert: given.certPem,
    key: given.keyPem,
    requestCert: true,
    rejectUnauthorized: false,
  });
  runLink(t, cotKind.create(cotSchema.parse({ connect: `127.0.0.1:${server.port}`, tls })), { identity, baseDir });
  assert.equal((await server.connection()).cn, 'given');
});

for (const [what, cert, key, code] of [
  ['is missing', undefined, given.keyPem, 'key_unreadable'],
  ['is no certificate', 'hello', given.keyPem, 'key_unreadable'],
  ['does not belong to the key', given.certPem, makeLeaf(ca, { cn: 'another' }).keyPem, 'key_mismatch'],
] as const) {
  test(`a certificate file that ${what} is fatal, in words`, async (t) => {
    const baseDir = folder(t);
    if (cert) writeFileSync(join(baseDir, 'cert.pem'), cert);
    writeFileSync(join(baseDir, 'key.pem'), key);
    const config = cotSchema.parse({ listen: '127.0.0.1:0', tls: { cert: 'cert.pem', key: 'key.pem' } });
    const error = await runLink(t, cotKind.create(config), { baseDir }).ended;
    assert.ok(error instanceof FatalError, String(error));
    assert.equal(error.code, code);
    assert.ok(error.fix.length > 20);
    assert.ok(!error.message.includes('PRIVATE'));
  });
}
