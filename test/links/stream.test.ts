import assert from 'node:assert/strict';
import { constants } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { describe, type TestContext, test } from 'node:test';
import { createServer as createTlsServer, type TLSSocket, connect as tlsConnect } from 'node:tls';
import { isLoopback } from '../../src/lib/address.ts';
import { type Clock, ManualClock, systemClock } from '../../src/lib/clock.ts';
import { FatalError, LinkError } from '../../src/lib/errors.ts';
import type { Link, LinkContext } from '../../src/links/link.ts';
import {
  type Address,
  type Deadlines,
  dialTcp,
  dialTls,
  formatAddress,
  listenTcp,
  listenTls,
  parseAddress,
  peerAddress,
  type Secured,
  type TlsSettings,
} from '../../src/links/stream.ts';
import { makeCa, makeLeaf, pinning, trusting } from '../support/pki.ts';
import { changed, runLink, until } from './memory.ts';

const ANY: Address = { host: '127.0.0.1', port: 0 };
const PATIENT: Deadlines = { connectMs: 10_000, handshakeMs: 10_000 };

const ca = makeCa({ cn: 'Our CA' });
const foreign = makeCa({ cn: 'Foreign CA' });
const ours = makeLeaf(ca, { cn: 'relay', sans: ['localhost', '127.0.0.1'] });
const theirs = makeLeaf(ca, { cn: 'peer', sans: ['peer.example'] });
const stranger = makeLeaf(foreign, { cn: 'stranger' });

function tlsOf(over: Partial<TlsSettings> = {}): TlsSettings {
  return { keyPair: ours, trust: trusting(ca), alpn: [], verifyName: false, ...over };
}

/** A port nobody listens on. */
async function freePort(): Promise<Address> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  return { host: '127.0.0.1', port };
}

/** A server of the test's own on a free port. */
async function serve(t: TestContext, accept: (socket: Socket) => void): Promise<Address> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    accept(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return { host: '127.0.0.1', port: (server.address() as { port: number }).port };
}

async function serveTls(t: TestContext, options: object, accept: (socket: TLSSocket) => void = () => {}) {
  const server = createTlsServer({ cert: theirs.certPem, key: theirs.keyPem, ...options }, accept);
  server.on('tlsClientError', () => {});
  const address = await serve(t, (socket) => server.emit('connection', socket));
  return { address, server };
}

/** Runs `dial` as a link would; resolves with what it gave, or its error. */
async function dialing<T extends Socket | Secured>(t: TestContext, dial: (context: LinkContext) => Promise<T>) {
  let result: T | undefined;
  const link: Link = {
    async run(context) {
      result = await dial(context);
      const socket: Socket = 'identity' in result ? result.socket : result;
      context.signal.addEventListener('abort', () => socket.destroy());
      changed();
      await closed(socket);
    },
  };
  const running = runLink(t, link);
  let error: Error | undefined;
  void running.ended.then((ended) => {
    error = ended;
    changed();
  });
  return { running, outcome: await until('the outcome of dialling', () => result ?? error) };
}

async function dialError(
  t: TestContext,
  dial: (context: LinkContext) => Promise<Socket | Secured>,
): Promise<LinkError> {
  const { outcome } = await dialing(t, dial);
  assert.ok(outcome instanceof LinkError, `expected a LinkError, got ${outcome}`);
  assert.ok(outcome.message.length > 10, 'words');
  return outcome;
}

describe('dialTcp', () => {
  test('connects, and says whereto', async (t) => {
    const address = await serve(t, (socket) => socket.end('hello'));
    const { outcome, running } = await dialing(t, (context) => dialTcp(address, PATIENT, context));
    assert.ok(outcome && 'toArray' in outcome);
    assert.equal(peerAddress(outcome), formatAddress(address));
    assert.deepEqual(running.reports[0], { state: 'connecting', detail: formatAddress(address) });
    assert.equal((await outcome.toArray()).join(''), 'hello');
  });

  test('a closed port is refused, in words', async (t) => {
    const address = await freePort();
    const error = await dialError(t, (context) => dialTcp(address, PATIENT, context));
    assert.equal(error.code, 'refused');
    assert.match(error.fix, /port/);
  });

  test('a name that cannot be a name is told apart', async (t) => {
    const error = await dialError(t, (context) => dialTcp({ host: 'no.such.invalid', port: 1 }, PATIENT, context));
    assert.match(error.code, /^name_/);
  });

  test('nobody answering ends at the deadline', async (t) => {
    // A full backlog swallows the packets of the next connection, as a firewall that drops does.
    const { address } = await deafServer(t);
    const deadlines = { connectMs: 50, handshakeMs: 50 };
    const error = await dialError(t, (context) => dialTcp(address, deadlines, context));
    assert.equal(error.code, 'connect_timeout');
  });

  test('abort while connecting rejects at once', async (t) => {
    const { address } = await deafServer(t);
    const link: Link = { run: async (context) => void (await dialTcp(address, PATIENT, context)) };
    const running = runLink(t, link);
    const error = await running.stop();
    assert.ok(error instanceof LinkError && error.code === 'aborted');
  });

  test('abort ends a socket that nobody closes', async (t) => {
    const address = await serve(t, () => {});
    let socket: Socket | undefined;
    const link: Link = {
      async run(context) {
        socket = await dialTcp(address, PATIENT, context);
        changed();
        await once(socket, 'close');
      },
    };
    const running = runLink(t, link);
    await until('the connection', () => socket);
    assert.equal(await running.stop(), undefined);
    assert.equal(socket?.destroyed, true);
  });
});

/** A port whose connections are never taken up: its backlog is full. */
async function deafServer(t: TestContext): Promise<{ address: Address }> {
  const { spawn } = await import('node:child_process');
  // In a process of its own that is stopped: only then does nobody accept.
  const script = `const s = require('node:net').createServer().listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
    process.stdout.write(String(s.address().port)); process.kill(process.pid, 'SIGSTOP'); });`;
  const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => child.kill('SIGKILL'));
  const [chunk] = await once(child.stdout, 'data');
  const address = { host: '127.0.0.1', port: Number(chunk) };
  for (let i = 0; i < 4; i++) {
    const filler = connect({ ...address }).on('error', () => {});
    t.after(() => filler.destroy());
  }
  return { address };
}

describe('dialTls', () => {
  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    test(`${version}: the server is judged and named, our certificate is shown, ALPN is agreed`, async (t) => {
      const seen: string[] = [];
      const options = {
        minVersion: version,
        maxVersion: version,
        requestCert: true,
        ca: ca.certPem,
        ALPNProtocols: ['h2'],
      };
      const { address } = await serveTls(t, options, (socket) => {
        seen.push(String(socket.getPeerCertificate().subject.CN), socket.authorized ? 'authorized' : 'not');
        changed();
      });
      const { outcome } = await dialing(t, (context) => dialTls(address, tlsOf({ alpn: ['h2'] }), PATIENT, context));
      assert.ok(outcome && 'identity' in outcome, String(outcome));
      assert.deepEqual(outcome.identity, { id: theirs.fingerprint, name: 'peer', proof: 'certificate' });
      assert.equal(outcome.alpn, 'h2');
      assert.equal(outcome.socket.getProtocol(), version);
      await until('the server', () => seen.length > 0);
      assert.deepEqual(seen, ['relay', 'authorized']);
    });
  }

  test('a server we do not trust is refused before a byte of it is read', async (t) => {
    let read = 0;
    const { address } = await serveTls(t, { cert: stranger.certPem, key: stranger.keyPem }, (socket) => {
      socket.on('error', () => {});
      socket.on('data', (chunk) => {
        read += chunk.length;
      });
      socket.write('<event/>');
    });
    const error = await dialError(t, (context) => dialTls(address, tlsOf(), PATIENT, context));
    assert.equal(error.code, 'unknown_ca');
    assert.ok(error.fix.length > 0);
    assert.equal(read, 0, 'and nothing of ours was said to it');
  });

  test('a pinned server needs no authority', async (t) => {
    const { address } = await serveTls(t, { cert: stranger.certPem, key: stranger.keyPem });
    const tls = tlsOf({ trust: pinning(stranger) });
    const { outcome } = await dialing(t, (context) => dialTls(address, tls, PATIENT, context));
    assert.ok(outcome && 'identity' in outcome, String(outcome));
    assert.equal(outcome.identity.id, stranger.fingerprint);
  });

  test('the name is checked only when asked', async (t) => {
    const { address } = await serveTls(t, {});
    const error = await dialError(t, (context) => dialTls(address, tlsOf({ verifyName: true }), PATIENT, context));
    assert.equal(error.code, 'name_mismatch');
    const own = await serveTls(t, { cert: ours.certPem, key: ours.keyPem });
    const { outcome } = await dialing(t, (context) =>
      dialTls(own.address, tlsOf({ verifyName: true }), PATIENT, context),
    );
    assert.ok(outcome && 'identity' in outcome, String(outcome));
  });

  test('names are sent as SNI, addresses are not', async (t) => {
    const names: unknown[] = [];
    const { address } = await serveTls(t, {
      SNICallback: (name: string, done: (error: null) => void) => {
        names.push(name);
        done(null);
      },
    });
    await dialing(t, (context) => dialTls(address, tlsOf(), PATIENT, context));
    await dialing(t, (context) => dialTls({ ...address, host: 'localhost' }, tlsOf(), PATIENT, context));
    assert.deepEqual(names, ['localhost']);
  });

  test('a server that does not speak TLS is told apart', async (t) => {
    const address = await serve(t, (socket) => socket.write('220 mail.example ready\r\n'));
    const error = await dialError(t, (context) => dialTls(address, tlsOf(), PATIENT, context));
    assert.equal(error.code, 'not_tls');
  });

  test('a server that says nothing ends at the handshake deadline', async (t) => {
    const address = await serve(t, () => {});
    const deadlines = { connectMs: 10_000, handshakeMs: 50 };
    const error = await dialError(t, (context) => dialTls(address, tlsOf(), deadlines, context));
    assert.equal(error.code, 'handshake_timeout');
  });

  test('a server that hangs up in the handshake gives words', async (t) => {
    const address = await serve(t, (socket) => socket.once('data', () => socket.destroy()));
    const error = await dialError(t, (context) => dialTls(address, tlsOf(), PATIENT, context));
    assert.equal(error.code, 'reset');
  });

  test('abort in the handshake closes the connection', async (t) => {
    let closed = false;
    let came = false;
    const address = await serve(t, (socket) => {
      came = true;
      changed();
      socket.resume().on('close', () => {
        closed = true;
        changed();
      });
    });
    const link: Link = { run: async (context) => void (await dialTls(address, tlsOf(), PATIENT, context)) };
    const running = runLink(t, link);
    await until('the connection', () => came);
    const error = await running.stop();
    assert.ok(error instanceof LinkError && error.code === 'aborted');
    await until('the end of the connection', () => closed);
  });
});

/** A listener that collects what it accepts. */
function listening<T extends Socket | Secured>(
  t: TestContext,
  listen: (accept: (one: T) => void, context: LinkContext) => Promise<void>,
  closeOnAbort = true,
  clock: Clock = systemClock,
) {
  const accepted: T[] = [];
  const link: Link = {
    run(context) {
      return listen((one) => {
        accepted.push(one);
        const socket: Socket = 'identity' in one ? one.socket : one;
        socket.resume();
        context.signal.addEventListener('abort', () => closeOnAbort && socket.destroy());
        changed();
      }, context);
    },
  };
  return { accepted, running: runLink(t, link, { clock }) };
}

function tcpListener(t: TestContext, maxConnections = 10, addresses: readonly Address[] = [ANY], closeOnAbort = true) {
  const listen = (accept: (socket: Socket) => void, context: LinkContext) =>
    listenTcp(addresses, accept, { maxConnections }, context);
  return listening<Socket>(t, listen, closeOnAbort);
}

function tlsListener(
  t: TestContext,
  over: Partial<TlsSettings> = {},
  limits: { handshakeMs?: number } = {},
  clock?: Clock,
) {
  const all = { maxConnections: 100, handshakeMs: 10_000, ...limits };
  const listen = (accept: (secured: Secured) => void, context: LinkContext) =>
    listenTls([ANY], tlsOf(over), accept, all, context);
  return listening<Secured>(t, listen, true, clock);
}

function client(t: TestContext, port: number): Socket {
  const socket = connect(port, '127.0.0.1').on('error', () => {});
  t.after(() => socket.destroy());
  return socket.resume();
}

function tlsClient(t: TestContext, port: number, options: object = {}): TLSSocket {
  const all = {
    port,
    host: '127.0.0.1',
    rejectUnauthorized: false,
    cert: theirs.certPem,
    key: theirs.keyPem,
    ...options,
  };
  const socket = tlsConnect(all);
  socket.on('error', () => {});
  t.after(() => socket.destroy());
  return socket.resume();
}

function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => (socket.closed ? resolve() : socket.once('close', () => resolve())));
}

describe('listenTcp', () => {
  test('accepts, and after abort closes everything', async (t) => {
    const { accepted, running } = tcpListener(t);
    const socket = client(t, await running.port());
    await until('the connection', () => accepted.length === 1);
    accepted[0]!.on('data', () => {});
    const ended = running.stop();
    socket.end();
    assert.equal(await ended, undefined);
    assert.equal(accepted[0]!.destroyed, true);
  });

  test('a connection that its session does not close is cut after the grace', async (t) => {
    const { accepted, running } = tcpListener(t, 1, [ANY], false);
    const socket = client(t, await running.port());
    await until('the connection', () => accepted.length === 1);
    assert.equal(await running.stop(), undefined);
    await closed(socket);
  });

  test('an address that is not named is refused in words, before a byte is read of it', async (t) => {
    const asked: string[] = [];
    const accepted: Socket[] = [];
    const link = {
      run: (context: LinkContext) => {
        const accept = (socket: Socket) => {
          accepted.push(socket);
          socket.resume();
          changed();
        };
        return listenTcp([ANY], accept, { maxConnections: 9 }, context);
      },
    };
    const admits = (address: string) => asked.push(address) > 1;
    const running = runLink(t, link, { admits });
    const port = await running.port();
    await closed(client(t, port));
    assert.match((await running.refusal('foreign_address')).fix, /listen_from/);
    client(t, port);
    await until('the one that is let in', () => accepted.length === 1);
    assert.ok(asked.every((address) => isLoopback(address)));
    accepted[0]!.destroy();
  });

  test('one too many is refused in words, and there is room again afterwards', async (t) => {
    const { accepted, running } = tcpListener(t, 1);
    const port = await running.port();
    const first = client(t, port);
    await until('the first', () => accepted.length === 1);
    const second = client(t, port);
    assert.match((await running.refusal('peer_limit')).fix, /max_connections/);
    await closed(second);
    first.destroy();
    await closed(accepted[0]!);
    client(t, port);
    await until('the third', () => accepted.length === 2);
  });

  test('a port in use is a LinkError that names it; nothing stays bound', async (t) => {
    const taken = await serve(t, () => {});
    const free = await freePort();
    const { running } = tcpListener(t, 1, [free, taken]);
    const error = await running.ended;
    assert.ok(error instanceof LinkError);
    assert.equal(error.code, 'port_in_use');
    assert.match(error.message, new RegExp(String(taken.port)));
    assert.equal(running.reports.length, 0);
    const again = tcpListener(t, 1, [free]);
    assert.equal(await again.running.port(), free.port);
  });

  test('a port that needs a permission is fatal', { skip: process.getuid?.() === 0 && 'runs as root' }, async (t) => {
    const { running } = tcpListener(t, 1, [{ host: '127.0.0.1', port: 1 }]);
    const error = await running.ended;
    assert.ok(error instanceof FatalError);
    assert.equal(error.code, 'port_forbidden');
  });

  test('an address this box does not have is retried', async (t) => {
    const { running } = tcpListener(t, 1, [{ host: '192.0.2.1', port: 0 }]);
    const error = await running.ended;
    assert.ok(error instanceof LinkError);
    assert.equal(error.code, 'address_missing');
  });

  test('without an address it takes IPv4, whatever else there is; each address is reported', async (t) => {
    const { accepted, running } = tcpListener(t, 10, [{ host: '', port: 0 }, ANY]);
    const port = await running.port();
    const detail = running.reports[0]!.detail;
    const [everywhere] = /:(\d+),/.exec(detail)!.slice(1);
    client(t, Number(everywhere));
    client(t, port);
    await until('both', () => accepted.length === 2);
    assert.match(detail, /127\.0\.0\.1:\d+$/);
    assert.match(peerAddress(accepted[0]!), /^127\.0\.0\.1:\d+$/);
  });
});

describe('listenTls', () => {
  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    test(`${version}: the client is judged and named`, async (t) => {
      const { accepted, running } = tlsListener(t, { alpn: ['h2'] });
      const options = { minVersion: version, maxVersion: version, ALPNProtocols: ['h2'] };
      tlsClient(t, await running.port(), options);
      await until('the client', () => accepted.length === 1);
      assert.deepEqual(accepted[0]!.identity, { id: theirs.fingerprint, name: 'peer', proof: 'certificate' });
      assert.equal(accepted[0]!.alpn, 'h2');
    });
  }

  test('a stranger and a client without certificate are refused in words', async (t) => {
    const { accepted, running } = tlsListener(t);
    const port = await running.port();
    const other = tlsClient(t, port, { cert: stranger.certPem, key: stranger.keyPem });
    assert.ok((await running.refusal('unknown_ca')).fix.length > 0);
    await closed(other);
    const nobody = tlsClient(t, port, { cert: undefined, key: undefined });
    await running.refusal('no_certificate');
    await closed(nobody);
    assert.equal(accepted.length, 0);
  });

  test('without a certificate only where that is allowed; a bad one is refused even there', async (t) => {
    const { accepted, running } = tlsListener(t, { optionalClientCert: true });
    const port = await running.port();
    tlsClient(t, port, { cert: undefined, key: undefined });
    await until('the nameless', () => accepted.length === 1);
    assert.equal(accepted[0]!.identity.proof, 'none');
    tlsClient(t, port, { cert: stranger.certPem, key: stranger.keyPem });
    await running.refusal('unknown_ca');
  });

  test('noise, TLS 1.1 and a hang-up are refused in words; the listener lives', async (t) => {
    const { accepted, running } = tlsListener(t);
    const port = await running.port();
    client(t, port).write('GET / HTTP/1.0\r\n\r\n');
    await running.refusal('not_tls');
    tlsClient(t, port, { minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' });
    await running.refusal('tls_version');
    client(t, port).end();
    await running.refusal('reset');
    for (const { address } of running.refusals) assert.match(address, /^127\.0\.0\.1:\d+$/);
    tlsClient(t, port);
    await until('a good client', () => accepted.length === 1);
  });

  test('a handshake that never ends is cut at the deadline, even when bytes drip in', async (t) => {
    const { running } = tlsListener(t, {}, { handshakeMs: 150 });
    const socket = client(t, await running.port());
    const hello = Buffer.from('16030102000100', 'hex');
    let sent = 0;
    const drip = setInterval(() => socket.write(hello.subarray(sent, ++sent)), 20);
    t.after(() => clearInterval(drip));
    await running.refusal('handshake_timeout');
    await closed(socket);
  });

  test('handshakes under way are limited: the oldest gives way, and honest clients get through', async (t) => {
    const { accepted, running } = tlsListener(t);
    const port = await running.port();
    const idle: Socket[] = [];
    for (let count = 0; count < 64; count++) {
      idle.push(client(t, port));
      await once(idle.at(-1)!, 'connect');
    }
    tlsClient(t, port);
    await until('the honest client', () => accepted.length === 1);
    await running.refusal('handshake_limit');
    await closed(idle[0]!);
    assert.equal(running.refusals.length, 1);
    assert.deepEqual(idle.map((socket) => socket.closed).filter(Boolean), [true]);
  });

  test('abort cuts handshakes under way at once', async (t) => {
    const { accepted, running } = tlsListener(t, {}, {}, new ManualClock(Date.now()));
    const port = await running.port();
    const idle = client(t, port);
    await once(idle, 'connect');
    tlsClient(t, port);
    await until('one that came later', () => accepted.length === 1);
    assert.equal(await running.stop(), undefined);
    await closed(idle);
  });

  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    test(`${version}: no session is resumed, so every connection is judged`, async (t) => {
      const { accepted, running } = tlsListener(t);
      const port = await running.port();
      const options = { minVersion: version, maxVersion: version };
      let session: Buffer | undefined;
      const first = tlsClient(t, port, options);
      first.on('session', (given) => {
        session = given;
      });
      await until('the first', () => accepted.length === 1);
      accepted[0]!.socket.end('x');
      await closed(first);
      const second = tlsClient(t, port, { ...options, session: session ?? first.getSession() });
      await once(second, 'secureConnect');
      assert.equal(second.isSessionReused(), false);
      await until('the second', () => accepted.length === 2);
      assert.equal(accepted[1]!.identity.id, theirs.fingerprint);
    });
  }

  test('renegotiation is refused: who was judged stays who it is', async (t) => {
    const { accepted, running } = tlsListener(t);
    const options = { maxVersion: 'TLSv1.2', secureOptions: constants.SSL_OP_ALLOW_UNSAFE_LEGACY_RENEGOTIATION };
    const socket = tlsClient(t, await running.port(), options);
    await Promise.all([once(socket, 'secureConnect'), until('the client', () => accepted.length === 1)]);
    const error = await new Promise<Error | null>((resolve) => {
      socket.on('error', resolve);
      socket.on('close', () => resolve(new Error('closed')));
      socket.renegotiate({ rejectUnauthorized: false }, resolve);
    });
    assert.ok(error instanceof Error, 'renegotiation succeeded');
  });
});

test('addresses are read and written', () => {
  assert.deepEqual(parseAddress('8087'), { host: '', port: 8087 });
  assert.deepEqual(parseAddress('10.0.0.1:8087'), { host: '10.0.0.1', port: 8087 });
  assert.deepEqual(parseAddress('[::1]:8089'), { host: '::1', port: 8089 });
  assert.deepEqual(parseAddress('tak.example.org:8089'), { host: 'tak.example.org', port: 8089 });
  for (const wrong of ['', 'host', 'host:', 'host:65536', '::1:8089', 'a b:1', 'http://x:1', '[x]:1']) {
    assert.equal(parseAddress(wrong), undefined, wrong);
  }
  assert.equal(formatAddress({ host: '::1', port: 1 }), '[::1]:1');
  assert.equal(formatAddress({ host: 'h', port: 1 }), 'h:1');
});
