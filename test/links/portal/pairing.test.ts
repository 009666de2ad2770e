// Joining by a code against those who have none: a man in the middle with a certificate of his own, a replay, a guess, silence,
// noise; and who is undone when the other cannot finish.
import assert from 'node:assert/strict';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { TLSSocket, connect as tlsConnect } from 'node:tls';
import { PairingCodes } from '../../../src/identity/pairing-codes.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { LinkError } from '../../../src/lib/errors.ts';
import type { NewPeer, PairingDesk } from '../../../src/links/pairing.ts';
import { joinRelay } from '../../../src/links/portal/join.ts';
import { answerPairing, PAIRING_ALPN } from '../../../src/links/portal/pairing.ts';
import { Resumptions } from '../../../src/links/portal/resumption.ts';
import { Securer } from '../../../src/links/portal/secure.ts';
import { certificateOf, identityOf, pinOf } from './rig.ts';

const CODE = 'ABCD2345';
const OTHER = 'ABCD2346';

/** The box that made the code. */
class Host {
  readonly peers: NewPeer[] = [];
  readonly failures: string[] = [];
  undone = 0;
  code = CODE;
  patienceMs = 5_000;
  port = 0;
  readonly codes = new PairingCodes<null>(systemClock);
  readonly #securer = new Securer(identityOf('host').portal(), new Resumptions(systemClock));

  static async open(t: TestContext): Promise<Host> {
    const host = new Host();
    host.codes.make(null);
    host.port = await serve(t, (socket) => host.#answer(socket));
    return host;
  }

  async #answer(socket: Socket): Promise<void> {
    const patience = { clock: systemClock, signal: new AbortController().signal, ms: this.patienceMs };
    const desk: PairingDesk = {
      isOpen: true,
      begin: (address) => {
        const { claim } = this.codes.begin(address.replace(/:\d+$/, ''));
        return {
          code: this.code,
          claim,
          welcome: async (peer) => {
            this.peers.push(peer);
            return 'guest';
          },
          undo: async () => {
            this.undone++;
          },
        };
      },
    };
    try {
      const secured = await this.#securer.asServer(socket, 'guest', patience);
      const self = { pin: this.#securer.pin, name: 'Host' };
      await answerPairing(secured, '127.0.0.1:1', { pairing: desk, link: 'portal' }, self, patience);
    } catch (error) {
      this.failures.push(error instanceof LinkError ? error.code : String(error));
    }
  }

  async failed(count: number): Promise<readonly string[]> {
    for (let waited = 0; this.failures.length < count && waited < 1000; waited++)
      await new Promise((done) => setTimeout(done, 10));
    return this.failures;
  }
}

async function serve(t: TestContext, take: (socket: Socket) => void): Promise<number> {
  const server = createServer((socket) => {
    t.after(() => socket.destroy());
    socket.on('error', () => socket.destroy());
    take(socket);
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  t.after(() => server.close());
  return (server.address() as AddressInfo).port;
}

function join(port: number, code = CODE, settle: (peer: NewPeer) => Promise<unknown> = async (peer) => peer) {
  const options = {
    to: `127.0.0.1:${port}`,
    code,
    keyPair: identityOf('guest').portal(),
    name: 'Guest',
    clock: systemClock,
    signal: new AbortController().signal,
  };
  return joinRelay(options, settle) as Promise<NewPeer>;
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (error) {
    if (error instanceof LinkError) return error.code;
    throw error;
  }
  return 'joined';
}

test('both come to the other’s pin, the other’s name and one key', async (t) => {
  const host = await Host.open(t);
  const there = await join(host.port);
  const [here] = host.peers;
  assert.deepEqual({ ...there, key: '' }, { pin: pinOf('host'), name: 'Host', key: '' });
  assert.deepEqual({ ...here, key: '' }, { pin: pinOf('guest'), name: 'Guest', key: '' });
  assert.equal(there.key, here!.key);
  assert.equal(Buffer.from(there.key, 'base64url').length, 32);
  assert.equal(host.undone, 0);
});

test('a guess: nobody joins, it is counted, the code stays good for who has it', async (t) => {
  const host = await Host.open(t);
  assert.equal(await codeOf(join(host.port, OTHER)), 'wrong_code');
  assert.deepEqual(await host.failed(1), ['wrong_code']);
  assert.deepEqual(host.peers, []);
  assert.equal(host.codes.open?.triesLeft, 19);
  await join(host.port);
  assert.equal(await codeOf(join(host.port)), 'no_code', 'used up');
});

/** Ends TLS on both sides with a certificate of its own and passes on what is said, as it is or as `alter` has it. */
async function inBetween(
  t: TestContext,
  port: number,
  alter: (chunk: Buffer, from: 'guest' | 'host') => Buffer = (chunk) => chunk,
) {
  const said: Record<'guest' | 'host', Buffer[]> = { guest: [], host: [] };
  const own = certificateOf('middle');
  const at = await serve(t, (raw) => {
    const guest = new TLSSocket(raw, {
      isServer: true,
      requestCert: true,
      rejectUnauthorized: false,
      ALPNProtocols: [PAIRING_ALPN],
      ...own,
    });
    const host = tlsConnect({
      port,
      host: '127.0.0.1',
      rejectUnauthorized: false,
      ALPNProtocols: [PAIRING_ALPN],
      ...own,
    });
    for (const [from, to, name] of [
      [guest, host, 'guest'],
      [host, guest, 'host'],
    ] as const) {
      from.on('error', () => to.destroy()).on('end', () => to.end());
      from.on('data', (chunk: Buffer) => {
        said[name].push(chunk);
        to.write(alter(chunk, name));
      });
    }
  });
  return { port: at, said };
}

test('a man in the middle with a certificate of his own, who passes everything on: both sides notice, neither is joined', async (t) => {
  const host = await Host.open(t);
  const middle = await inBetween(t, host.port);
  assert.equal(await codeOf(join(middle.port)), 'wrong_code');
  assert.deepEqual(await host.failed(1), ['wrong_code']);
  assert.deepEqual(host.peers, []);
  assert.ok(middle.said.guest.length > 0 && middle.said.host.length > 0, 'it did pass');
  assert.ok(!Buffer.concat([...middle.said.guest, ...middle.said.host]).includes(CODE));
});

test('a man in the middle who plays the host to the guest learns nothing he can compute with', async (t) => {
  // He answers with a share of his own; the guest's proof is all he gets, over a key he cannot make without the code.
  const host = await Host.open(t);
  const forged = await inBetween(t, host.port, (chunk, from) => {
    return from === 'host'
      ? Buffer.from(
          chunk.toString().replace(/"share":"[^"]*"/, `"share":"${Buffer.alloc(32, 9).toString('base64url')}"`),
        )
      : chunk;
  });
  assert.equal(await codeOf(join(forged.port)), 'wrong_code');
  // A share of low order would fix the key for everybody: it ends the run.
  const zero = await inBetween(t, host.port, (chunk, from) => {
    return from === 'host'
      ? Buffer.from(chunk.toString().replace(/"share":"[^"]*"/, `"share":"${Buffer.alloc(32).toString('base64url')}"`))
      : chunk;
  });
  assert.equal(await codeOf(join(zero.port)), 'wrong_code');
  assert.equal(zero.said.guest.filter((chunk) => chunk.includes('proof')).length, 0, 'no proof is given for it');
});

test('what was said once is of no use a second time', async (t) => {
  const host = await Host.open(t);
  const recorded: Buffer[] = [];
  const tapped = await serve(t, (raw) => {
    const to = connect(host.port, '127.0.0.1');
    raw.on('data', (chunk) => recorded.push(chunk));
    raw.pipe(to).pipe(raw);
    to.on('error', () => raw.destroy());
  });
  await join(tapped);
  host.codes.make(null);
  const replay = connect(host.port, '127.0.0.1');
  replay.on('error', () => {});
  for (const chunk of recorded) replay.write(chunk);
  assert.match((await host.failed(1))[0]!, /./);
  assert.equal(host.peers.length, 1);
  replay.destroy();
});

/** Says these lines to the host over TLS of its own, and hands over what it answers. */
function stranger(t: TestContext, port: number, ...lines: readonly string[]): Promise<string> {
  const socket = tlsConnect({
    port,
    host: '127.0.0.1',
    rejectUnauthorized: false,
    ALPNProtocols: [PAIRING_ALPN],
    ...certificateOf('stranger'),
  });
  t.after(() => socket.destroy());
  return new Promise((resolve) => {
    let text = '';
    socket.on('error', () => {});
    socket.on('secureConnect', () => {
      for (const line of lines) socket.write(line);
    });
    socket.on('data', (chunk) => {
      text += chunk;
    });
    socket.on('close', () => resolve(text));
  });
}

test('noise, floods and silence end, each with its words', async (t) => {
  const host = await Host.open(t);
  const share = JSON.stringify({ share: Buffer.alloc(32, 9).toString('base64url') });
  const low = JSON.stringify({ share: Buffer.alloc(32).toString('base64url') });
  const proof = JSON.stringify({ proof: Buffer.alloc(32).toString('base64url') });
  assert.match(await stranger(t, host.port, 'GET / HTTP/1.1\r\n\r\n'), /bad_pairing/);
  assert.match(await stranger(t, host.port, `{"share":"short"}\n`), /bad_pairing/);
  assert.match(await stranger(t, host.port, `${'['.repeat(3000)}\n`), /bad_pairing/);
  assert.match(await stranger(t, host.port, `${share}\n${proof}\n`), /wrong_code/);
  assert.match(
    await stranger(t, host.port, `${low}\n${proof}\n`),
    /wrong_code/,
    'the key of nobody is known to everybody',
  );
  await stranger(t, host.port, 'x'.repeat(100_000));
  host.codes.make(null);
  host.patienceMs = 50;
  await stranger(t, host.port, `${share}\n`);
  assert.deepEqual(host.peers, []);
  assert.equal((await host.failed(7)).at(-1), 'pairing_timeout');
});

test('a guest that cannot write its own configuration is no peer of the host either', async (t) => {
  const host = await Host.open(t);
  const broken = join(host.port, CODE, async () => {
    throw new LinkError('not_written', 'the disk is full', 'make room');
  });
  assert.equal(await codeOf(broken), 'not_written');
  await host.failed(1);
  assert.equal(host.undone, 1);
});

test('a service that is no relay, and a relay that lets nobody join', async (t) => {
  const plain = await serve(t, (socket) => socket.end('220 mail.example.org\r\n'));
  assert.notEqual(await codeOf(join(plain)), 'joined');
  const { cert, key } = certificateOf('host');
  const other = await serve(t, (raw) => {
    new TLSSocket(raw, { isServer: true, requestCert: true, rejectUnauthorized: false, cert, key }).on(
      'error',
      () => {},
    );
  });
  assert.equal(await codeOf(join(other)), 'not_a_relay');
});
