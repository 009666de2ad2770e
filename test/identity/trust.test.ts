// Trust as operators write it: files, folders, text, fingerprints, and the mistakes they make.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { judge, loadTrust, mergeTrust } from '../../src/identity/trust.ts';
import { FatalError } from '../../src/lib/errors.ts';
import { makeCa, makeLeaf } from '../support/pki.ts';

const a = makeCa({ cn: 'A' });
const b = makeCa({ cn: 'B' });
const leaf = makeLeaf(a, { cn: 'leaf' });

function folder(t: TestContext, files: Readonly<Record<string, string | Buffer>>): string {
  const dir = mkdtempSync(join(tmpdir(), 'ws-trust-'));
  t.after(() => rmSync(dir, { recursive: true }));
  for (const [name, content] of Object.entries(files)) writeFileSync(join(dir, name), content);
  return dir;
}

function refuses(entry: string, dir: string, code: string, words: RegExp): void {
  assert.throws(
    () => loadTrust([entry], dir),
    (error) => {
      assert.ok(error instanceof FatalError, String(error));
      assert.equal(error.code, code);
      assert.match(`${error.message} / ${error.fix}`, words);
      return true;
    },
  );
}

test('each form of an entry is read', (t) => {
  const dir = folder(t, {
    'a.pem': a.certPem,
    'a.der': a.x509.raw,
    'both.pem': `# ours\n${a.certPem}\r\n${b.certPem}`,
  });
  mkdirSync(join(dir, 'peers'));
  for (const [name, content] of Object.entries({
    'b.crt': b.certPem,
    'a.CER': a.x509.raw,
    'notes.txt': 'not a certificate',
    '.hidden.pem': 'nor this',
  })) {
    writeFileSync(join(dir, 'peers', name), content);
  }
  for (const [entries, expected] of [
    [['a.pem'], [a.certPem]],
    [[join(dir, 'a.der')], [a.certPem]],
    [['both.pem'], [a.certPem, b.certPem]],
    [['peers'], [a.certPem, b.certPem]],
    [[a.certPem], [a.certPem]],
    [
      ['a.pem', 'a.der', 'peers'],
      [a.certPem, b.certPem],
    ],
    [[], []],
  ] as const) {
    assert.deepEqual(loadTrust(entries, dir), { cas: expected, pins: [], warnings: [] });
  }
});

test('fingerprints with colons, spaces and capitals', () => {
  const colons = a.fingerprint.toUpperCase().replace(/(..)(?!$)/g, '$1:');
  for (const entry of [`SHA256:${a.fingerprint}`, `sha256:${colons}`, ` SHA-256: ${colons} `]) {
    assert.deepEqual(loadTrust([entry], '/'), { cas: [], pins: [a.fingerprint], warnings: [] });
  }
  refuses(`SHA256:${a.fingerprint.slice(1)}`, '/', 'bad_pin', /63 characters/);
  refuses(`SHA256:${'g'.repeat(64)}`, '/', 'bad_pin', /64 hex digits/);
});

test('a leaf where an authority is wanted is a pin of that leaf, with a warning that says so', (t) => {
  const dir = folder(t, { 'peer.pem': leaf.certPem });
  const trust = loadTrust(['peer.pem'], dir);
  assert.deepEqual(
    [trust.cas, trust.pins],
    [[a.certPem], [leaf.fingerprint]],
    'leaf and authority in one file: both count',
  );
  assert.equal(trust.warnings.length, 1);
  assert.equal(trust.warnings[0]?.code, 'leaf_as_ca');
  assert.match(trust.warnings[0]?.words ?? '', /peer\.pem holds the certificate of "leaf" itself/);
  const other = makeLeaf(b, { cn: 'other' });
  const pinned = loadTrust([makeLeaf(b, { cn: 'one' }).leafPem], dir);
  assert.equal(judge([other.x509], pinned, 'client', Date.now()).ok, false);
});

test('files that are not certificates are named, with the way to make them one', (t) => {
  const dir = folder(t, {
    'key.pem': a.keyPem,
    'store.jks': Buffer.from('feedfeed00000002', 'hex'),
    'store.p12': Buffer.from('3082010002010330', 'hex'),
    'empty.pem': '',
    'broken.pem': a.certPem.replace(/[A-Z]{4}/, '!!!!'),
    'page.html': '<html>',
    'huge.pem': Buffer.alloc(1024 * 1024 + 1),
  });
  mkdirSync(join(dir, 'nothing'));
  refuses('missing.pem', dir, 'trust_unreadable', /missing\.pem cannot be read.*relative names start/);
  refuses('key.pem', dir, 'trust_unreadable', /private key/);
  refuses('store.jks', dir, 'trust_unreadable', /keytool -exportcert/);
  refuses('store.p12', dir, 'trust_unreadable', /openssl pkcs12/);
  for (const name of ['empty.pem', 'broken.pem', 'page.html'])
    refuses(name, dir, 'trust_unreadable', /not a certificate/);
  refuses('huge.pem', dir, 'trust_too_large', /1048576 bytes/);
  refuses('nothing', dir, 'trust_empty', /holds no certificate files/);
  refuses('/dev/zero', dir, 'trust_unreadable', /not a file/);
});

test('more than 1000 certificates are refused', (t) => {
  const pin = (index: number) => `SHA256:${index.toString(16).padStart(64, '0')}`;
  assert.equal(
    loadTrust(
      Array.from({ length: 1000 }, (_, index) => pin(index)),
      '/',
    ).pins.length,
    1000,
  );
  assert.throws(
    () =>
      loadTrust(
        Array.from({ length: 1001 }, (_, index) => pin(index)),
        '/',
      ),
    /more than 1000/,
  );
  const dir = folder(t, Object.fromEntries(Array.from({ length: 1001 }, (_, index) => [`${index}.pem`, ''])));
  refuses('.', dir, 'trust_too_large', /more than 1000/);
});

test('merged trust accepts what either accepts, once', () => {
  const merged = mergeTrust({ cas: ['x'], pins: ['1', '2'] }, { cas: ['y', 'x'], pins: ['2'] });
  assert.deepEqual(merged, { cas: ['x', 'y'], pins: ['1', '2'] });
});
