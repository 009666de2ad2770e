// The judge behind real TLS handshakes, and what the errors of handshakes say to a person.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { constants, createPrivateKey, createPublicKey } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect as connectTcp, createServer as createTcpServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type ConnectionOptions, connect, createServer, type TLSSocket, type TlsOptions } from 'node:tls';
import type { KeyPair } from '../../src/identity/identity.ts';
import { explainTlsError, judge, peerChain, type Trust, type Verdict } from '../../src/identity/trust.ts';
import { makeCa, makeLeaf, makeSelfSigned, pinning, testKey, trusting } from '../support/pki.ts';

const VERSIONS = ['TLSv1.3', 'TLSv1.2'] as const;
const noOpenssl = spawnSync('openssl', ['version']).status === 0 ? false : 'openssl is not installed';
const root = makeCa({ cn: 'Site CA' });
const ours = makeLeaf(root, { cn: 'relay-a' });

/** How the links set up TLS (links/stream.ts). */
function options(pair: KeyPair): ConnectionOptions & TlsOptions {
  return {
    cert: pair.certPem,
    key: pair.keyPem,
    ca: [],
    rejectUnauthorized: false,
    secureOptions: constants.SSL_OP_NO_TICKET,
  };
}

interface Outcome {
  readonly verdict: Verdict;
  readonly chainLength: number;
  readonly resumed: boolean;
}

function judged(socket: TLSSocket, trust: Trust, role: 'client' | 'server'): Outcome {
  const chain = peerChain(socket);
  return {
    verdict: judge(chain, trust, role, Date.now()),
    chainLength: chain.length,
    resumed: socket.isSessionReused(),
  };
}

/** A listener that judges whoever finishes a handshake; `failures` are handshakes that never finished. */
async function listen(t: TestContext, pair: KeyPair, trust: Trust, extra: TlsOptions = {}) {
  const outcomes: Outcome[] = [];
  const failures: NodeJS.ErrnoException[] = [];
  const server = createServer({ ...options(pair), requestCert: true, ...extra }, (socket) => {
    socket.on('error', () => {});
    outcomes.push(judged(socket, trust, 'client'));
    socket.end('done');
  });
  server.on('tlsClientError', (error) => failures.push(error));
  t.after(() => server.close());
  return { port: await bind(server), outcomes, failures };
}

async function bind(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

/** Dials and waits until the connection is over. */
async function dial(port: number, extra: ConnectionOptions, trust: Trust = trusting(root)) {
  const socket = connect({ host: '127.0.0.1', port, ca: [], rejectUnauthorized: false, ...extra });
  const result: { error?: NodeJS.ErrnoException; outcome?: Outcome } = {};
  socket.on('error', (error) => (result.error ??= error));
  socket.once('secureConnect', () => {
    result.outcome = judged(socket, trust, 'server');
  });
  socket.resume();
  await once(socket, 'close').catch(() => {});
  return result;
}

function code(outcome: Outcome | undefined): string {
  if (!outcome) return 'no handshake';
  return outcome.verdict.ok ? 'ok' : outcome.verdict.code;
}

for (const maxVersion of VERSIONS) {
  test(`${maxVersion}: both sides accept each other and see the whole chain`, async (t) => {
    const middle = makeCa({ cn: 'Middle', intermediateOf: root });
    const theirs = makeLeaf(middle, { cn: 'relay-b' });
    const server = await listen(t, ours, trusting(root));
    const client = await dial(server.port, { ...options(theirs), maxVersion });
    assert.deepEqual([code(client.outcome), client.outcome?.chainLength], ['ok', 2]);
    assert.deepEqual([code(server.outcomes[0]), server.outcomes[0]?.chainLength], ['ok', 3]);
    assert.deepEqual(server.outcomes[0]?.verdict, {
      ok: true,
      identity: { id: theirs.fingerprint, name: 'relay-b', proof: 'certificate' },
    });
  });

  test(`${maxVersion}: clients that may not come in get the verdict of what they presented`, async (t) => {
    const stranger = makeCa({ cn: 'Stranger CA' });
    const server = await listen(t, ours, trusting(root), { maxVersion });
    const clients: readonly [string, ConnectionOptions][] = [
      ['no_certificate', {}],
      ['unknown_ca', options(makeLeaf(stranger, { cn: 'stranger' }))],
      ['expired', options(makeLeaf(root, { cn: 'old', notAfter: new Date(Date.now() - 1000) }))],
      ['not_yet_valid', options(makeLeaf(root, { cn: 'early', notBefore: new Date(Date.now() + 3_600_000) }))],
      ['wrong_eku', options(makeLeaf(root, { cn: 'server only', eku: ['server'] }))],
      ['no_cn', options(makeLeaf(root, { cn: '' }))],
      ['ca_as_leaf', { ca: [], cert: root.certPem, key: root.keyPem }],
      ['bad_signature', options(makeLeaf(makeCa({ cn: 'Site CA', freshKey: true }), { cn: 'remade' }))],
      ['weak_key', { ...options(makeLeaf(root, { cn: 'weak', key: 'rsa1024' })), ciphers: 'DEFAULT@SECLEVEL=0' }],
      ['ok', options(makeLeaf(root, { cn: 'welcome', eku: ['client'] }))],
    ];
    for (const [expected, client] of clients) {
      await dial(server.port, client);
      assert.equal(code(server.outcomes.pop()), expected);
    }
  });

  test(`${maxVersion}: a server is judged by our trust, not by OpenSSL's store or purpose`, async (t) => {
    const clientOnly = makeLeaf(root, { cn: 'client only', eku: ['client'] });
    const own = makeSelfSigned({ cn: 'fts' });
    for (const [pair, trust, expected] of [
      [clientOnly, trusting(root), 'ok'],
      [own, pinning(own), 'ok'],
      [own, trusting(root), 'unknown_ca'],
      [ours, pinning(own), 'not_pinned'],
    ] as const) {
      const server = await listen(t, pair, trusting(root), { maxVersion });
      const client = await dial(server.port, options(ours), trust);
      assert.equal(code(client.outcome), expected);
    }
  });

  for (const kind of ['rsa', 'ec'] as const) {
    test(`${maxVersion}: a stolen ${kind} certificate without its key never passes, as client or as server`, async (t) => {
      const victim = makeLeaf(root, { cn: 'victim', key: kind });
      const trust = pinning(victim);
      const thief: KeyPair = { ...victim, keyPem: keyPosingAs(victim.keyPem, kind) };
      const listener = await listen(t, ours, trust, { maxVersion });
      const asClient = await dial(listener.port, options(thief));
      assert.equal(listener.outcomes.length, 0, 'the judge was never even asked');
      const seen = explainTlsError(listener.failures[0]!, 'client', '10.0.0.9:1');
      assert.equal(seen.code, 'no_proof');
      assert.equal(explainTlsError(asClient.error!, 'server', 'x').code, 'decrypt_error');

      const impostor = await listen(t, thief, trusting(root), { maxVersion });
      const asServer = await dial(impostor.port, options(ours), trust);
      assert.equal(asServer.outcome, undefined, 'the handshake was not finished');
      assert.equal(explainTlsError(asServer.error!, 'server', 'x').code, 'no_proof');

      await dial(listener.port, options(victim));
      assert.equal(code(listener.outcomes[0]), 'ok', 'the true owner passes');
    });
  }
}

test('a resumed session is judged by what it carries: it never passes where a full handshake would not', async (t) => {
  const theirs = makeLeaf(makeCa({ cn: 'Middle', intermediateOf: root }), { cn: 'relay-b' });
  const outcomes = await connectTwice(t, theirs, { secureOptions: 0 });
  assert.deepEqual(
    outcomes.map((outcome) => [outcome.resumed, code(outcome)]),
    [
      [false, 'ok'],
      [true, 'unknown_ca'], // the intermediate is not in the ticket
    ],
  );
});

test('without tickets nothing is resumed, and the second connection is judged like the first', async (t) => {
  const theirs = makeLeaf(makeCa({ cn: 'Middle', intermediateOf: root }), { cn: 'relay-b' });
  const outcomes = await connectTwice(t, theirs, {});
  assert.deepEqual(
    outcomes.map((outcome) => [outcome.resumed, code(outcome)]),
    [
      [false, 'ok'],
      [false, 'ok'],
    ],
  );
});

/** Connects, then connects again with the session of the first time; what the listener saw. */
async function connectTwice(t: TestContext, pair: KeyPair, extra: TlsOptions & ConnectionOptions) {
  const server = await listen(t, ours, trusting(root), extra);
  let session: Buffer | undefined;
  for (let round = 0; round < 2; round++) {
    const socket = connect({ host: '127.0.0.1', port: server.port, ...options(pair), ...extra, session });
    socket.on('session', (received) => (session = received));
    socket.resume();
    await once(socket, 'close');
  }
  return server.outcomes;
}

test('peerChain is empty on a closed socket and bounded on an endless chain', async (t) => {
  const server = await listen(t, ours, trusting(root));
  const socket = connect({ host: '127.0.0.1', port: server.port, ...options(ours) });
  socket.resume();
  await once(socket, 'close');
  assert.deepEqual(peerChain(socket), []);
  const endless = (): unknown => ({
    get issuerCertificate() {
      return endless();
    },
  });
  const fake = { getPeerX509Certificate: endless } as unknown as TLSSocket;
  assert.equal(peerChain(fake).length, 7, 'one more than judge() takes');
  const loop: { issuerCertificate?: unknown } = {};
  loop.issuerCertificate = loop;
  assert.equal(peerChain({ getPeerX509Certificate: () => loop } as unknown as TLSSocket).length, 1);
});

test('errors of handshakes become words, on both sides', async (t) => {
  const listenFor = (extra: TlsOptions) => listen(t, ours, trusting(root), extra);
  const explain = async (
    server: { readonly port: number; readonly failures: NodeJS.ErrnoException[] },
    client: ConnectionOptions,
  ) => {
    const { error } = await dial(server.port, client);
    const here = error ? explainTlsError(error, 'server', 'hq:9001').code : 'none';
    const there = server.failures[0] ? explainTlsError(server.failures[0], 'client', 'a client').code : 'none';
    return [here, there];
  };
  assert.deepEqual(await explain(await listenFor({ ALPNProtocols: ['h2'] }), { ALPNProtocols: ['x'] }), [
    'no_alpn',
    'no_alpn',
  ]);
  assert.deepEqual(await explain(await listenFor({ minVersion: 'TLSv1.3' }), { maxVersion: 'TLSv1.2' }), [
    'tls_version',
    'tls_version',
  ]);
  const cipher = { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-RSA-AES128-GCM-SHA256' } as const;
  assert.deepEqual(await explain(await listenFor({}), cipher), ['handshake_failure', 'no_cipher']);
  const strict = await listenFor({ rejectUnauthorized: true, ca: [root.certPem] });
  assert.deepEqual(await explain(strict, {}), ['certificate_required', 'no_certificate']);
});

test('a port that speaks something else, hangs up, or is closed', async (t) => {
  const talk = async (answer: Buffer | string | undefined) => {
    const server = createTcpServer((socket) => {
      socket.on('error', () => {});
      if (answer === undefined) socket.destroy();
      else socket.end(answer);
    });
    t.after(() => server.close());
    const { error } = await dial(await bind(server), {});
    return explainTlsError(error!, 'server', '10.0.0.1:9000');
  };
  assert.equal((await talk('HTTP/1.1 400 Bad Request\r\n\r\n')).code, 'not_tls');
  assert.equal((await talk(Buffer.of(0, 0, 0, 5, 1, 2, 3, 4, 5))).code, 'not_tls');
  const reset = await talk(undefined);
  assert.equal(reset.code, 'reset');
  assert.match(reset.words, /^10\.0\.0\.1:9000 /);
  const closed = createTcpServer();
  const port = await bind(closed);
  await new Promise((resolve) => closed.close(resolve));
  assert.equal(explainTlsError((await dial(port, {})).error!, 'server', 'x').code, 'refused');
});

test('plain text sent to our TLS port', async (t) => {
  const server = await listen(t, ours, trusting(root));
  for (const text of ['GET / HTTP/1.1\r\n\r\n', '<event version="2.0"/>', Buffer.of(0, 0, 1, 0, 9, 9)]) {
    const socket = connectTcp(server.port, '127.0.0.1', () => socket.end(text));
    socket.on('error', () => {});
    socket.resume();
    await once(socket, 'close').catch(() => {});
  }
  assert.deepEqual(
    server.failures.map((error) => explainTlsError(error, 'client', 'x').code),
    ['not_tls', 'not_tls', 'not_tls'],
  );
});

test('a strict OpenSSL server tells by alert what it dislikes about us', { skip: noOpenssl }, async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'ws-tls-'));
  t.after(() => rmSync(dir, { recursive: true }));
  const file = (name: string, text: string) => {
    writeFileSync(join(dir, name), text);
    return join(dir, name);
  };
  const pair = ['-cert', file('cert.pem', ours.certPem), '-key', file('key.pem', ours.keyPem)];
  const strict = ['-Verify', '2', '-verify_return_error', '-CAfile', file('ca.pem', root.certPem), '-naccept', '3'];
  const server = spawn('openssl', ['s_server', '-accept', '127.0.0.1:0', ...pair, ...strict], {
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  t.after(() => server.kill());
  const port = await announcedPort(server);
  const refused: readonly [string, KeyPair][] = [
    ['our_ca_unknown', makeLeaf(makeCa({ cn: 'Stranger CA' }), { cn: 'stranger' })],
    ['our_certificate_expired', makeLeaf(root, { cn: 'old', notAfter: new Date(Date.now() - 1000) })],
    ['our_certificate_use', makeLeaf(root, { cn: 'server only', eku: ['server'] })],
  ];
  for (const [expected, leaf] of refused) {
    const { error } = await dial(port, options(leaf));
    assert.equal(explainTlsError(error!, 'server', 'x').code, expected);
  }
});

test('errors that need no handshake to be seen', () => {
  const explained = (code: string, message = code) =>
    explainTlsError(Object.assign(new Error(message), { code }), 'server', 'hq.example:9001');
  const codes: Readonly<Record<string, string>> = {
    EHOSTUNREACH: 'unreachable',
    ENETUNREACH: 'unreachable',
    ETIMEDOUT: 'connect_timeout',
    ENOTFOUND: 'name_unknown',
    EAI_AGAIN: 'name_unavailable',
    ECONNRESET: 'reset',
    EPIPE: 'reset',
    ERR_TLS_CERT_ALTNAME_INVALID: 'name_mismatch',
    EPROTO: 'tls_failed',
    ESOMETHING: 'tls_failed',
  };
  for (const [code, expected] of Object.entries(codes)) {
    const { code: seen, words, fix } = explained(code);
    assert.equal(seen, expected, code);
    assert.match(words, /^hq\.example:9001 [a-z]/);
    assert.match(fix, /^[A-Z].*\.$/);
  }
  const wrapped = explained(
    'EPROTO',
    'write EPROTO 40:error:0A000418:SSL routines:ssl3_read_bytes:tlsv1 alert unknown ca:../a.c:9:SSL alert number 48',
  );
  assert.equal(wrapped.code, 'our_ca_unknown');
});

/** A private key whose public half is another's: what a thief of a certificate can make. OpenSSL compares that half only. */
function keyPosingAs(victimKeyPem: string, kind: 'rsa' | 'ec'): string {
  const publicHalf = createPublicKey(victimKeyPem).export({ format: 'jwk' });
  const own = testKey(kind, 'thief').export({ format: 'jwk' });
  const posing = createPrivateKey({ format: 'jwk', key: { ...own, ...publicHalf } });
  return posing.export({ type: 'pkcs8', format: 'pem' }) as string;
}

/** s_server prints `ACCEPT 127.0.0.1:12345` when told to take any port. */
async function announcedPort(server: ChildProcess): Promise<number> {
  let printed = '';
  for await (const chunk of server.stdout!) {
    printed += chunk;
    const port = /^ACCEPT .*:(\d+)/m.exec(printed)?.[1];
    if (port) return Number(port);
  }
  throw new Error(`openssl s_server did not start: ${printed}`);
}
