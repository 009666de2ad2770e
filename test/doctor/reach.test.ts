// Each way a far end cannot be reached or is not accepted, met for real, and the sentence an operator reads.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { connect, createServer as createTcp } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fastClock } from '../links/fed2/interop-relay.ts';
import { makeCa, makeLeaf, makeSelfSigned, type TestLeaf } from '../support/pki.ts';
import { freePorts } from '../support/relay-process.ts';
import {
  blackHole,
  checkOf,
  examine,
  IDENTITY,
  listening,
  opensslServer,
  peerOf,
  plainServer,
  tempFolder,
  tlsServer,
} from './patient.ts';

const DAY_MS = 86_400_000;
const SITE = makeCa({ cn: 'Site CA' });
const GOOD = makeLeaf(SITE, { cn: 'takserver' });

/** A fed2 link to a port of this machine that trusts the authority of the site. */
function fed2(port: number, more = ', trust: [site-ca.pem]'): string {
  return `  - { name: hq, kind: fed2, connect: "127.0.0.1:${port}"${more} }\n`;
}

/** A TAK server as far as its TLS goes. */
function takServer(t: TestContext, leaf: TestLeaf, args: readonly string[] = ['-alpn', 'h2']): Promise<number> {
  const folder = tempFolder(t, { 'cert.pem': leaf.leafPem, 'key.pem': leaf.keyPem, 'chain.pem': leaf.certPem });
  const files = ['-cert', join(folder, 'cert.pem'), '-key', join(folder, 'key.pem')];
  return opensslServer(t, [...files, '-cert_chain', join(folder, 'chain.pem'), ...args]);
}

function trustFolder(t: TestContext, pem = SITE.certPem): string {
  return tempFolder(t, { 'site-ca.pem': pem });
}

test('a far end that is well is said to be', async (t) => {
  const port = await takServer(t, GOOD);
  const found = await examine({ links: fed2(port), folder: trustFolder(t) });
  assert.equal(found.checks.filter(({ finding }) => finding === 'bad').length, 0, JSON.stringify(found));
  assert.match(checkOf(found, 'certificate').words, /it shows "takserver" \(issued by "Site CA", until .*SHA256:/);
});

test('a port at which nothing listens', async (t) => {
  const [port] = await freePorts(1);
  const found = await examine({ links: fed2(port!), folder: trustFolder(t) });
  assert.equal(found.finding, 'bad');
  assert.match(
    found.sentence,
    /^hq: 127\.0\.0\.1:\d+ refused the connection\. Fix: nothing listens on that port: check the port number/,
  );
});

test('packets that are lost without a word: firewall or NAT', async (t) => {
  const port = await blackHole(t);
  const fillers = Array.from({ length: 6 }, () => connect(port, '127.0.0.1').on('error', () => {}));
  t.after(() => {
    for (const one of fillers) one.destroy();
  });
  await Promise.race([
    new Promise((resolve) => fillers[5]!.once('connect', () => resolve(true))),
    new Promise((resolve) => setTimeout(resolve, 200)),
  ]);
  const found = await examine({ links: fed2(port), folder: trustFolder(t), clock: fastClock(6) });
  assert.match(
    found.sentence,
    /did not answer at all within 6 s: packets to it are lost\. Fix: a firewall there drops them, the port is not forwarded by the NAT/,
  );
});

test('a name that does not exist, or a name server that does not answer', async (t) => {
  const links = '  - { name: hq, kind: fed2, connect: "no-such-host.invalid:9001" }\n';
  const found = await examine({ links, folder: trustFolder(t) });
  assert.equal(checkOf(found, 'name').finding, 'bad');
  assert.match(found.sentence, /^hq: "?no-such-host\.invalid"? (is not a name|could not be looked up)|^hq: the name/);
});

test('a network this box has no way to', { skip: noNamespaces() }, async () => {
  const program = `
    import { examine } from '${import.meta.resolve('./patient.ts')}';
    const links = '  - { name: hq, kind: fed2, connect: "192.0.2.1:9001" }\\n';
    console.log((await examine({ links })).sentence);`;
  const args = ['--user', '--map-root-user', '--net', process.execPath, '--input-type=module', '-e', program];
  const { stdout, stderr } = spawnSync('unshare', args, { encoding: 'utf8' });
  assert.match(
    stdout,
    /192\.0\.2\.1:9001 cannot be reached from here\. Fix: this box has no way to that network/,
    stderr,
  );
});

function noNamespaces(): string | false {
  const { status } = spawnSync('unshare', ['--user', '--map-root-user', '--net', 'true']);
  return status === 0 ? false : 'needs unshare (util-linux) and user namespaces';
}

test('certificates that are not good: each by its own sentence', async (t) => {
  const expired = makeLeaf(SITE, {
    cn: 'old',
    notBefore: new Date(Date.now() - 9 * DAY_MS),
    notAfter: new Date(Date.now() - DAY_MS),
  });
  const early = makeLeaf(SITE, { cn: 'early', notBefore: new Date(Date.now() + DAY_MS) });
  const stranger = makeLeaf(makeCa({ cn: 'Another CA' }), { cn: 'stranger' });
  const mail = makeSelfSigned({ cn: 'self' });
  for (const [leaf, sentence] of [
    [expired, /"old" .* ended on .* Fix: Have the peer's certificate renewed/],
    [early, /"early" .* is valid only from .* Fix: Set the clock of this box/],
    [stranger, /"stranger" .* is not trusted here.* Fix: .*(trust|Add the certificate)/],
    [mail, /"self" .* is not trusted here: it signed itself\. Fix: .*SHA256:[0-9a-f]{64}/],
  ] as const) {
    const port = await takServer(t, leaf);
    const found = await examine({ links: fed2(port), folder: trustFolder(t) });
    assert.match(found.sentence, sentence);
    assert.equal(checkOf(found, 'certificate').finding, 'bad');
    assert.equal(checkOf(found, 'port').finding, 'ok');
  }
});

test('a certificate for another use, made by openssl', {
  skip: spawnSync('openssl', ['version']).status !== 0,
}, async (t) => {
  const folder = tempFolder(t, {
    'site-ca.pem': SITE.certPem,
    'ca.key': SITE.keyPem,
    'use.cnf': 'extendedKeyUsage=emailProtection\n',
  });
  const at = (name: string) => join(folder, name);
  const run = (...args: string[]) => {
    const { status, stderr } = spawnSync('openssl', args, { encoding: 'utf8' });
    assert.equal(status, 0, stderr);
  };
  run(
    'req',
    '-new',
    '-newkey',
    'rsa:2048',
    '-nodes',
    '-subj',
    '/CN=mailer',
    '-keyout',
    at('key.pem'),
    '-out',
    at('csr.pem'),
  );
  run(
    'x509',
    '-req',
    '-in',
    at('csr.pem'),
    '-CA',
    at('site-ca.pem'),
    '-CAkey',
    at('ca.key'),
    '-days',
    '5',
    '-extfile',
    at('use.cnf'),
    '-out',
    at('cert.pem'),
  );
  const port = await opensslServer(t, ['-cert', at('cert.pem'), '-key', at('key.pem'), '-alpn', 'h2']);
  const found = await examine({ links: fed2(port), folder });
  assert.match(
    found.sentence,
    /"mailer" .* was made for another use: its extended key usage lacks .* Fix: .*clientAuth and serverAuth/,
  );
});

test('a server certificate installed where that of its CA belongs', async (t) => {
  const port = await takServer(t, GOOD);
  const other = makeLeaf(SITE, { cn: 'other-server' });
  const found = await examine({ links: fed2(port), folder: trustFolder(t, other.leafPem) });
  assert.match(
    found.sentence,
    /A server certificate is installed where that of its CA belongs: .*site-ca\.pem holds the certificate of "other-server" itself.* Fix: put the CA certificate that signed it into trust/,
  );
});

test('they do not trust us', async (t) => {
  const folder = tempFolder(t, { 'theirs.pem': makeCa({ cn: 'Their own CA' }).certPem });
  for (const version of ['-tls1_3', '-tls1_2']) {
    const port = await takServer(t, GOOD, [
      '-alpn',
      'h2',
      version,
      '-Verify',
      '2',
      '-verify_return_error',
      '-CAfile',
      join(folder, 'theirs.pem'),
    ]);
    const found = await examine({ links: fed2(port), folder: trustFolder(t) });
    assert.equal(checkOf(found, 'our_certificate').finding, 'bad');
    assert.match(
      found.sentence,
      /does not (trust|accept) .*\. Fix: they do not trust us: install our CA there/,
      version,
    );
  }
});

test('v1 where v2 is meant, and v2 where v1 is meant', async (t) => {
  const v1 = await takServer(t, GOOD, []);
  const found = await examine({ links: fed2(v1), folder: trustFolder(t) });
  assert.match(found.sentence, /does not speak Federation v2 on this port.* Fix: dial the v2 port \(9001 .*kind fed1/);

  const v2 = await tlsServer(t, { cert: GOOD.certPem, key: GOOD.keyPem, ALPNProtocols: ['h2'] });
  const links = `  - { name: hq, kind: fed1, connect: "127.0.0.1:${v2}", trust: [site-ca.pem] }\n`;
  const other = await examine({ links, folder: trustFolder(t) });
  assert.match(
    other.sentence,
    /speaks Federation v2 on this port, and this link speaks v1\. Fix: make this a link of kind fed2/,
  );
});

test('a server that refuses every protocol but its own', async (t) => {
  const port = await tlsServer(t, { cert: GOOD.certPem, key: GOOD.keyPem, ALPNProtocols: ['http/1.1'] });
  const found = await examine({ links: fed2(port), folder: trustFolder(t) });
  assert.match(found.sentence, /does not speak Federation v2 on this port/);
});

test('TLS dialled plain, and plain dialled with TLS', async (t) => {
  const tls = await takServer(t, GOOD, []);
  const links = (port: number, more = '') => `  - { name: tak, kind: cot, connect: "127.0.0.1:${port}"${more} }\n`;
  const found = await examine({ links: links(tls), folder: trustFolder(t) });
  assert.match(
    found.sentence,
    /speaks TLS on this port and this link speaks plain TCP; it shows "takserver".* Fix: set tls for this link/,
  );

  const plain = await plainServer(t);
  const more = ', tls: { trust: [site-ca.pem] }';
  const other = await examine({ links: links(plain, more), folder: trustFolder(t), clock: fastClock(6) });
  assert.match(
    other.sentence,
    /takes the connection but does not answer the TLS handshake\. Fix: one side may be set to plain TCP/,
  );
});

test('a portal peer with another certificate than the pinned one', async (t) => {
  const port = await takServer(t, GOOD, []);
  const links = `  - name: portal
    kind: portal
    federation_key: 0123456789abcdef0123
    peers: [{ name: factory, pin: "SHA256:${'ab'.repeat(32)}", address: "127.0.0.1:${port}" }]\n`;
  const found = await examine({ links });
  assert.equal(checkOf(found, 'certificate').of, 'factory');
  assert.match(found.sentence, /is not a certificate pinned for this link/);
});

test('our own certificate that has ended', async (t) => {
  const port = await takServer(t, GOOD);
  const ours = makeLeaf(IDENTITY.ca as never, {
    cn: 'ours',
    notBefore: new Date(Date.now() - 9 * DAY_MS),
    notAfter: new Date(Date.now() - DAY_MS),
  });
  const folder = tempFolder(t, { 'site-ca.pem': SITE.certPem, 'us.pem': ours.certPem, 'us.key': ours.keyPem });
  const found = await examine({ links: fed2(port, ', trust: [site-ca.pem], cert: us.pem, key: us.key'), folder });
  assert.match(found.sentence, /^hq: our certificate for this link ended on/);
});

test('a link that is up is left in peace', async (t) => {
  const server = createTcp(() => assert.fail('it was tried'));
  const port = await listening(t, server);
  const found = await examine({
    links: fed2(port),
    folder: trustFolder(t),
    link: { state: 'connected', detail: 'hq' },
    peers: [peerOf()],
  });
  assert.match(checkOf(found, 'port').words, /it is connected/);
  assert.equal(found.finding, 'ok');
  assert.match(found.sentence, /^hq: connected hq for .*nothing found wrong\.$/);
});
