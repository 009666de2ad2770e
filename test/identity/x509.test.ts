// Certificates as others read them: openssl and node-forge as independent judges of what we write.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import forge from 'node-forge';
import { children, tlvAt } from '../../src/identity/der.ts';
import {
  altNames,
  commonName,
  extensions,
  hasStrongSignature,
  OID,
  pathLength,
  pemBlocks,
} from '../../src/identity/x509.ts';
import { type KeyKind, makeCa, makeLeaf } from '../support/pki.ts';

const noOpenssl = spawnSync('openssl', ['version']).status === 0 ? false : 'openssl is not installed';

for (const key of ['rsa', 'ec', 'ed25519'] satisfies KeyKind[]) {
  test(`openssl accepts our ${key} chain in strict mode, for client and server`, { skip: noOpenssl }, (t) => {
    const dir = mkdtempSync(join(tmpdir(), 'ws-x509-'));
    t.after(() => rmSync(dir, { recursive: true }));
    const root = makeCa({ cn: 'Root', key });
    const middle = makeCa({ cn: 'Middle', key, intermediateOf: root, pathLength: 0 });
    const leaf = makeLeaf(middle, { cn: 'relay-a', key, sans: ['relay-a.local', '10.0.0.1', 'fe80::1'] });
    const file = (name: string, text: string) => {
      writeFileSync(join(dir, name), text);
      return join(dir, name);
    };
    const chain = ['-CAfile', file('root.pem', root.certPem), '-untrusted', file('middle.pem', middle.certPem)];
    for (const purpose of ['sslclient', 'sslserver']) {
      const verify = ['verify', '-x509_strict', '-purpose', purpose, ...chain, file('leaf.pem', leaf.leafPem)];
      assert.match(execFileSync('openssl', verify).toString(), /leaf\.pem: OK/);
    }
    const text = execFileSync('openssl', ['x509', '-noout', '-text', '-in', join(dir, 'leaf.pem')]).toString();
    assert.match(text, /CA:FALSE/);
    assert.match(text, /TLS Web Client Authentication, TLS Web Server Authentication/);
    assert.match(text, /DNS:relay-a\.local/);
    assert.match(text, /IP Address:10\.0\.0\.1/);
    assert.match(text, key === 'rsa' ? /Digital Signature, Key Encipherment/ : /Digital Signature\n/);
  });
}

test('a server-only leaf does not pass as a client', { skip: noOpenssl }, (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'ws-x509-'));
  t.after(() => rmSync(dir, { recursive: true }));
  const ca = makeCa({ cn: 'Root' });
  writeFileSync(join(dir, 'ca.pem'), ca.certPem);
  writeFileSync(join(dir, 'leaf.pem'), makeLeaf(ca, { cn: 'server', eku: ['server'] }).leafPem);
  const args = ['verify', '-purpose', 'sslclient', '-CAfile', join(dir, 'ca.pem'), join(dir, 'leaf.pem')];
  assert.match(
    spawnSync('openssl', args).stderr.toString(),
    /unsuitable certificate purpose|unsupported certificate purpose/,
  );
});

test('node-forge reads our RSA certificates and agrees with what they say', () => {
  const ca = makeCa({ cn: 'Root', key: 'rsa' });
  const leaf = forge.pki.certificateFromPem(makeLeaf(ca, { cn: 'Zoë', key: 'rsa', eku: ['client'] }).leafPem);
  const authority = forge.pki.certificateFromPem(ca.certPem);
  assert.equal(forge.util.decodeUtf8(leaf.subject.getField('CN').value), 'Zoë');
  assert.equal(leaf.issuer.getField('CN').value, 'Root');
  assert.ok(authority.verify(leaf));
  const usage = leaf.getExtension('extKeyUsage') as { clientAuth?: boolean; serverAuth?: boolean };
  assert.deepEqual([usage.clientAuth, usage.serverAuth], [true, undefined]);
});

test('dates before 1950 and after 2049 are written as GeneralizedTime', () => {
  const notBefore = new Date(Date.UTC(1949, 11, 31, 23, 59, 59));
  const long = makeCa({ cn: 'Long', notBefore, notAfter: new Date(Date.UTC(2050, 0, 1)) }).x509;
  assert.equal(long.validFromDate.getTime(), notBefore.getTime());
  assert.equal(long.validToDate.getTime(), Date.UTC(2050, 0, 1));
  assert.ok(long.raw.includes('20500101000000Z'));
  const short = makeCa({ cn: 'Long', notAfter: new Date(Date.UTC(2049, 11, 31, 23, 59, 59)) }).x509;
  assert.ok(short.raw.includes('491231235959Z'));
  assert.ok(!short.raw.includes('20491231'));
});

test('serials are positive, 16 bytes, and differ', () => {
  const ca = makeCa({ cn: 'Root' });
  const serials = Array.from({ length: 50 }, () => makeLeaf(ca, { cn: 'one' }).x509.serialNumber);
  assert.equal(new Set(serials).size, 50);
  for (const serial of serials) assert.match(serial, /^[4-7][0-9A-F]{31}$/);
});

test('host names become DNS names and addresses, in the same order whatever order they came in', () => {
  const hosts = [
    'Relay.Local',
    '10.41.0.1',
    'fe80::1%wlan0',
    '::ffff:1.2.3.4',
    'bücher.example',
    ' relay.local ',
    'no good',
    '',
  ];
  const leaf = makeLeaf(makeCa({ cn: 'Root' }), { cn: 'a', sans: hosts }).x509;
  assert.equal(leaf.checkHost('relay.local'), 'relay.local');
  assert.equal(leaf.checkHost('xn--bcher-kva.example'), 'xn--bcher-kva.example');
  assert.equal(leaf.checkIP('10.41.0.1'), '10.41.0.1');
  assert.equal(leaf.checkIP('fe80::1'), 'fe80::1');
  assert.equal(leaf.checkIP('::ffff:102:304'), '::ffff:102:304');
  assert.equal(leaf.subjectAltName?.split(', ').length, 5);
  assert.deepEqual(altNames(hosts), altNames([...hosts].reverse()));
  assert.notDeepEqual(altNames(hosts), altNames(['10.41.0.1']));
  assert.equal(altNames(['no good', '']), undefined);
  assert.equal(makeLeaf(makeCa({ cn: 'Root' }), { cn: 'a' }).x509.subjectAltName, undefined);
});

test('the issuer name is copied byte for byte from the authority, whatever its form', () => {
  const keys = makeCa({ cn: 'Foreign', key: 'rsa' });
  const made = forge.pki.createCertificate();
  made.publicKey = forge.pki.publicKeyFromPem(keys.x509.publicKey.export({ type: 'spki', format: 'pem' }) as string);
  made.serialNumber = '01';
  made.validity.notBefore = new Date(Date.now() - 1000);
  made.validity.notAfter = new Date(Date.now() + 1_000_000);
  const name = [
    { name: 'countryName', value: 'US' },
    { name: 'organizationName', value: 'TAK' },
    { name: 'commonName', value: 'Foreign' },
  ];
  made.setSubject(name);
  made.setIssuer(name);
  made.setExtensions([{ name: 'basicConstraints', cA: true, critical: true }]);
  made.sign(forge.pki.privateKeyFromPem(keys.keyPem), forge.md.sha256.create());
  const authority = new X509Certificate(forge.pki.certificateToPem(made));
  const leaf = makeLeaf({ ...keys, x509: authority }, { cn: 'ours' }).x509;
  assert.equal(leaf.issuer, authority.subject);
  assert.ok(leaf.checkIssued(authority));
  assert.ok(leaf.verify(authority.publicKey));
  assert.equal(extensions(leaf).has(OID.authorityKeyId), false, 'an authority without a key id has none to point at');
});

test('what node:crypto does not show is read from the DER', () => {
  const root = makeCa({ cn: 'Root' });
  assert.equal(pathLength(root.x509), Number.POSITIVE_INFINITY);
  assert.equal(pathLength(makeCa({ cn: 'Root', pathLength: 3 }).x509), 3);
  const found = extensions(makeLeaf(root, { cn: 'a' }).x509);
  assert.deepEqual(
    [found.get(OID.basicConstraints)?.critical, found.get(OID.extendedKeyUsage)?.critical],
    [true, false],
  );
});

test('DER whose lengths do not add up is a RangeError, never a hang or a read outside', () => {
  for (const hex of ['', '30', '3005', '30800000', '3085ffffffffff00', '3084ffffffff', '300230', '30033002ff']) {
    assert.throws(() => children(Buffer.from(hex, 'hex')).map((part) => children(part.whole)), RangeError, hex);
  }
  const whole = makeCa({ cn: 'Root' }).x509.raw;
  for (let cut = 0; cut < whole.length; cut++) assert.throws(() => tlvAt(whole.subarray(0, cut), 0), RangeError);
});

test('the hash of an RSA-PSS signature is read from its parameters; left out it is SHA-1', { skip: noOpenssl }, (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'ws-x509-'));
  t.after(() => rmSync(dir, { recursive: true }));
  writeFileSync(join(dir, 'key.pem'), makeCa({ cn: 'PSS', key: 'rsa' }).keyPem);
  for (const [hash, strong] of [
    ['-sha256', true],
    ['-sha512', true],
    ['-sha1', false],
  ] as const) {
    const args = ['req', '-x509', '-key', join(dir, 'key.pem'), '-subj', '/CN=pss', '-days', '2', hash];
    const pem = execFileSync('openssl', [...args, '-sigopt', 'rsa_padding_mode:pss']);
    const certificate = new X509Certificate(pem);
    assert.equal(certificate.signatureAlgorithm, 'rsassaPss');
    assert.equal(hasStrongSignature(certificate), strong, hash);
  }
});

test('names are shown without control and direction characters, and bounded', () => {
  const ca = makeCa({ cn: 'Root' });
  assert.equal(commonName(makeLeaf(ca, { cn: 'a\nCN=admin\u202e\u0000b' }).x509), 'aCN=adminb');
  assert.equal(commonName(makeLeaf(ca, { cn: 'x'.repeat(1000) }).x509).length, 64);
  assert.equal(commonName(makeLeaf(ca, { cn: ' \t' }).x509), '');
});

test('PEM blocks are found among comments and keys', () => {
  const ca = makeCa({ cn: 'Root' });
  const text = `Bag Attributes\n${ca.certPem}subject=x\n${ca.keyPem}\n${ca.certPem}`;
  assert.equal(pemBlocks(text).length, 2);
  assert.equal(pemBlocks(ca.keyPem).length, 0);
});
