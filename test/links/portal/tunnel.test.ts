import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { describe, test } from 'node:test';
import { type TLSSocket, TLSSocket as TlsSocket, connect as tlsConnect } from 'node:tls';
import { jsonResponse, problemResponse } from '../../../src/core/node.ts';
import { judge, peerChain } from '../../../src/identity/trust.ts';
import { ManualClock } from '../../../src/lib/clock.ts';
import { LinkError } from '../../../src/lib/errors.ts';
import { openSplice } from '../../../src/links/portal/tunnel-opening.ts';
import { parseAddress } from '../../../src/links/stream.ts';
import { Box, echo, gone, heard, tapped, trio, until } from './tunnel-boxes.ts';

const never = new AbortController().signal;
const SECRET = 'ANDROID-deadbeef says: meet me at the old mill';

/** TLS as a session's client begins it. */
async function secure(raw: Socket, from: Box, to: Box): Promise<TLSSocket> {
  const { keyPair, trust } = from.tlsWith(to);
  const tls = tlsConnect({ socket: raw, cert: keyPair.certPem, key: keyPair.keyPem, rejectUnauthorized: false });
  tls.on('error', () => tls.destroy());
  await once(tls, 'secureConnect');
  assert.ok(judge(peerChain(tls), trust, 'server', Date.now()).ok, 'the far end is whom we pinned');
  return tls;
}

function rejection(promise: Promise<unknown>): Promise<LinkError> {
  return promise.then(
    () => assert.fail('it did not fail'),
    (error) => {
      assert.ok(error instanceof LinkError, `not in words: ${error}`);
      return error;
    },
  );
}

describe('a tunnel between two relays', () => {
  test('runs TLS from end to end; the hub hears no word of it', async (t) => {
    const { a, b, hub } = await trio(t);
    const tap = await tapped(t, hub);
    const path = a.tunnels.path('hub', 'b');
    assert.equal(path.name, 'hub');
    const raw = await path.open(never);
    const { hub: through, peer } = await until('the other side', () => b.accepted[0]);
    const announced = { hub: through, peer };
    const [atA, atB] = await Promise.all([secure(raw, a, b), b.serveTls(a)]);
    assert.ok(judge(peerChain(atB), b.tlsWith(a).trust, 'client', Date.now()).ok);
    assert.deepEqual(announced, { hub: 'hub', peer: 'a' });
    atA.write(SECRET);
    await heard(atB, SECRET);
    atB.write(`answer to ${SECRET}`);
    await heard(atA, `answer to ${SECRET}`);
    assert.ok(tap.heard().includes('SPLICE'), 'the tap hears the opening, and so would hear the rest');
    assert.ok(tap.heard().length > SECRET.length * 2);
    assert.ok(!tap.heard().includes('deadbeef'), 'the hub heard plaintext');
    assert.equal(hub.tunnels.status().hub?.open, 1);
    assert.equal(hub.tunnels.status().hub?.agreed, 1);
  });

  test('a tap would hear what is not encrypted', async (t) => {
    const { a, b, hub } = await trio(t);
    const tap = await tapped(t, hub);
    const raw = await a.tunnels.path('hub', 'b').open(never);
    const { socket } = await until('the other side', () => b.accepted[0]);
    raw.write(SECRET);
    await heard(socket, SECRET);
    assert.ok(tap.heard().includes('deadbeef'));
  });

  test('a hub that changes a byte gets a closed tunnel, and nothing is delivered', async (t) => {
    const { a, b, hub } = await trio(t);
    let tamper = false;
    let tampered = 0;
    await tapped(t, hub, (bytes) => {
      // Within an application data record, behind its head.
      if (!tamper || bytes[0] !== 0x17) return bytes;
      tamper = false; // both halves of the splice pass here
      tampered++;
      const changed = Buffer.from(bytes);
      changed[bytes.length - 3]! ^= 1;
      return changed;
    });
    const raw = await a.tunnels.path('hub', 'b').open(never);
    const [atA, atB] = await Promise.all([secure(raw, a, b), b.serveTls(a)]);
    atA.write('true words.');
    await heard(atB, 'true words.');
    const delivered: Buffer[] = [];
    atB.on('data', (chunk: Buffer) => delivered.push(chunk));
    tamper = true;
    const closed = Promise.all([gone(atA), gone(atB)]);
    atA.write('altered words');
    await closed;
    assert.ok(tampered > 0, 'nothing was altered: the test proves nothing');
    assert.deepEqual(delivered, []);
    await until('the hub to notice', () => hub.tunnels.status().hub?.open === 0);
  });

  test('a hub that answers in the place of the other relay is found out', async (t) => {
    const { a, b, hub } = await trio(t);
    const own = hub.tlsWith(a);
    // The hub keeps the callee's token for itself and plays the callee.
    b.intercept = (request) => {
      const { token } = JSON.parse(request.body.toString()) as { token: string };
      void openSplice(parseAddress(hub.address)!, token, hub.context, never).then((socket) => {
        new TlsSocket(socket, { isServer: true, cert: own.keyPair.certPem, key: own.keyPair.keyPem }).on(
          'error',
          () => {},
        );
      });
      return jsonResponse(200, {});
    };
    const raw = await a.tunnels.path('hub', 'b').open(never);
    const tls = tlsConnect({ socket: raw, rejectUnauthorized: false });
    await once(tls, 'secureConnect');
    const verdict = judge(peerChain(tls), a.tlsWith(b).trust, 'server', Date.now());
    assert.equal(verdict.ok, false);
    const error = await rejection(a.tunnels.open('b', 'anything', never));
    assert.ok(['not_pinned', 'unknown_ca', 'wrong_service'].includes(error.code), error.code);
    assert.ok(hub.tunnels.status().hub!.agreed >= 2);
  });

  test('is asked for again when the session with the hub gives way to a new one', async (t) => {
    const { a, b, hub } = await trio(t);
    let asked = 0;
    hub.intercept = () => (++asked === 1 ? problemResponse(502, 'connection_lost', 'replaced') : undefined);
    const raw = await a.tunnels.path('hub', 'b').open(never);
    await until('the other side', () => b.accepted[0]);
    assert.equal(asked, 2);
    raw.destroy();
  });

  test('both sides learn of the end', async (t) => {
    const { a, b, hub } = await trio(t);
    const raw = await a.tunnels.path('hub', 'b').open(never);
    const { socket } = await until('the other side', () => b.accepted[0]);
    raw.end();
    await gone(socket);
    socket.end();
    await until('the end', () => hub.tunnels.status().hub?.ended.finished === 1);
    assert.equal(hub.tunnels.status().hub?.open, 0);
  });

  test('giving up closes what was begun, and a chosen way survives the end of the race', async (t) => {
    const { a, b, hub } = await trio(t);
    const race = new AbortController();
    const won = await a.tunnels.path('hub', 'b').open(race.signal);
    race.abort();
    const { socket } = await until('the other side', () => b.accepted[0]);
    won.write('still here');
    await heard(socket, 'still here');
    b.intercept = () => jsonResponse(200, {}); // agrees and never comes
    const late = new AbortController();
    const opening = rejection(a.tunnels.path('hub', 'b').open(late.signal));
    await until('the second tunnel', () => hub.tunnels.status().hub?.agreed === 2);
    late.abort();
    assert.equal((await opening).code, 'aborted');
  });

  test('closing the link closes its tunnels', async (t) => {
    const { a, b, hub } = await trio(t);
    const raw = await a.tunnels.path('hub', 'b').open(never);
    const { socket } = await until('the other side', () => b.accepted[0]);
    const ends = Promise.all([gone(raw), gone(socket)]);
    hub.tunnels.close();
    await ends;
    assert.equal(hub.tunnels.status().hub?.ended.shutdown, 1);
  });
});

describe('a service beside a relay', () => {
  for (const way of ['through a hub', 'through the relay itself', 'through the caller']) {
    test(`is reached ${way}`, async (t) => {
      const service = await echo(t);
      const { a, b, hub } = await trio(t, { b: { expose: { takserver: service.address } } });
      const tap = await tapped(t, way === 'through a hub' ? hub : way === 'through the caller' ? a : b);
      if (way === 'through the relay itself') a.dial(b);
      if (way === 'through the caller') {
        a.hubs.delete('b');
        b.dial(a);
      }
      const socket = await a.tunnels.open('b', 'takserver', never);
      socket.write(SECRET);
      await heard(socket, SECRET);
      assert.equal(service.connections.length, 1);
      assert.ok(tap.heard().includes('SPLICE'), 'it went another way');
      assert.ok(!tap.heard().includes('deadbeef'), 'plaintext on the way, though the service itself speaks no TLS');
      assert.equal(b.tunnels.status().services.open, 1);
      const back = gone(service.connections[0]!);
      socket.end();
      await back;
      await until('the end', () => b.tunnels.status().services.open === 0);
      assert.equal(b.tunnels.status().services.served, 1);
    });
  }

  test('may speak on after its client has said all', async (t) => {
    const service = await echo(t);
    const { a } = await trio(t, { b: { expose: { takserver: service.address } } });
    const socket = await a.tunnels.open('b', 'takserver', never);
    socket.allowHalfOpen = true;
    const all = heard(socket, `${'x'.repeat(300_000)}.`);
    socket.end(`${'x'.repeat(300_000)}.`);
    await all;
  });

  test('is not to be had unless it is listed', async (t) => {
    const service = await echo(t);
    const { a, b } = await trio(t, { b: { expose: { takserver: service.address } } });
    for (const name of ['other', 'takserver2', '127.0.0.1', service.address.replace(':', '.')]) {
      const error = await rejection(a.tunnels.open('b', name, never));
      assert.equal(error.code, 'not_exposed', name);
      assert.notEqual(error.fix, '');
    }
    assert.equal(service.connections.length, 0);
    assert.equal((await b.refusal('not_exposed')).code, 'not_exposed');
  });

  test('is not to be had by those it is not for', async (t) => {
    const service = await echo(t);
    const expose = { takserver: { address: service.address, from: ['c'] } };
    const { a } = await trio(t, { b: { expose } });
    assert.equal((await rejection(a.tunnels.open('b', 'takserver', never))).code, 'not_allowed');
    assert.equal(service.connections.length, 0);
  });

  test('is not connected before the caller has proven who it is', async (t) => {
    const service = await echo(t);
    const { b, hub } = await trio(t, { b: { expose: { takserver: service.address } } });
    // The hub brings somebody else as if it were a.
    const impostor = await Box.start(t, 'impostor');
    impostor.know(b);
    impostor.dial(hub);
    impostor.hubs.set('b', ['hub']);
    misquote(hub, '"impostor"', '"a"');
    await gone(await impostor.tunnels.open('b', 'takserver', never));
    assert.equal(service.connections.length, 0);
    assert.ok(['not_pinned', 'unknown_ca'].includes((await until('a refusal', () => b.refused.at(-1)?.trouble)).code));
  });

  test('is not another one than was asked for', async (t) => {
    const [asked, other] = [await echo(t), await echo(t)];
    const { a, b, hub } = await trio(t, { b: { expose: { asked: asked.address, other: other.address } } });
    misquote(hub, '"asked"', '"other"');
    await rejection(a.tunnels.open('b', 'asked', never));
    assert.equal(other.connections.length, 0);
    assert.equal(asked.connections.length, 0);
    assert.equal(b.tunnels.status().services.failed, 1);
  });

  test('that does not answer ends the tunnel, with words at its side', async (t) => {
    const { a, b } = await trio(t, { b: { expose: { takserver: '127.0.0.1:1' } } });
    const socket = await a.tunnels.open('b', 'takserver', never);
    await gone(socket);
    await b.refusal('refused');
    assert.equal(b.tunnels.status().services.failed, 1);
  });

  test('is not kept from its client by a dead connection of the same', async (t) => {
    const clock = new ManualClock(Date.now());
    const service = await echo(t);
    const settings = { expose: { takserver: service.address }, tunnels: { max_per_peer: 1 } };
    const { a } = await trio(t, { b: { ...settings, clock } });
    const dead = await a.tunnels.open('b', 'takserver', never);
    dead.write('x');
    await heard(dead, 'x');
    assert.equal((await rejection(a.tunnels.open('b', 'takserver', never))).code, 'service_limit');
    clock.advance(60_000);
    const fresh = await a.tunnels.open('b', 'takserver', never);
    fresh.write('y');
    await heard(fresh, 'y');
    await gone(dead);
  });

  test('is shared fairly: one peer has so many connections and no more', async (t) => {
    const service = await echo(t);
    const { a } = await trio(t, { b: { expose: { takserver: service.address }, tunnels: { max_per_peer: 2 } } });
    for (let count = 0; count < 2; count++) {
      const socket = await a.tunnels.open('b', 'takserver', never);
      socket.write('x');
      await heard(socket, 'x');
    }
    assert.equal((await rejection(a.tunnels.open('b', 'takserver', never))).code, 'service_limit');
  });
});

describe('ways', () => {
  test('the second hub serves when the first is away', async (t) => {
    const service = await echo(t);
    const { a, b, hub } = await trio(t, { b: { expose: { takserver: service.address } } });
    const second = await Box.start(t, 'second', { hub: true });
    second.know(a);
    a.dial(second);
    b.dial(second);
    a.hubs.set('b', ['hub', 'second']);
    hub.tunnels.close();
    a.hangUp(hub);
    b.hangUp(hub);
    const socket = await a.tunnels.open('b', 'takserver', never);
    socket.write('x');
    await heard(socket, 'x');
    assert.equal(second.tunnels.status().hub?.open, 1);
  });

  test('without any, the words say so', async (t) => {
    const { a, b, hub } = await trio(t);
    assert.equal((await rejection(a.tunnels.open('nobody', 'takserver', never))).code, 'unknown_peer');
    b.hangUp(hub);
    assert.equal((await rejection(a.tunnels.open('b', 'takserver', never))).code, 'peer_away');
    a.hangUp(hub);
    assert.equal((await rejection(a.tunnels.open('b', 'takserver', never))).code, 'hub_away');
    a.hubs.delete('b');
    assert.equal((await rejection(a.tunnels.open('b', 'takserver', never))).code, 'peer_away');
  });
});

/** The hub puts other words into the mouths of those it speaks for. */
function misquote(hub: Box, said: string, quoted: string): void {
  const honest = hub.call.bind(hub);
  hub.call = (peer, request, signal) => {
    const body = Buffer.from(request.body.toString().replace(said, quoted));
    return honest(peer, { ...request, body }, signal);
  };
}
