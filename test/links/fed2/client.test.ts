// The dialling side against a server that follows a script.
import assert from 'node:assert/strict';
import type { AddressInfo } from 'node:net';
import { describe, type TestContext, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { createServer } from 'node:tls';
import { ManualClock } from '../../../src/lib/clock.ts';
import { LinkError } from '../../../src/lib/errors.ts';
import type { Method } from '../../../src/links/fed2/grpc.ts';
import {
  CONNECTION_TYPE,
  contactFederated,
  SERVING,
  scanFederated,
  scanGroups,
  scanHealth,
  scanSubscription,
  serverHealth,
} from '../../../src/wire/federation.ts';
import { testIdentity } from '../../support/pki.ts';
import { sampleEvent } from '../contract.ts';
import { type RunningLink, type RunOptions, runLink, until } from '../memory.ts';
import { TcpWire } from '../wire.ts';
import { answer, endWith, fed2, groupsOf, HEALTHY, refuse, ScriptedServer, whenAsked } from './scripted.ts';

const tak = testIdentity('tak');
const relay = testIdentity('relay');
const node = { id: relay.id, name: 'Relay', version: '0.3.1' };
type Script = Parameters<typeof ScriptedServer.start>[2];

async function dialled(t: TestContext, script: Script = {}, keys: object = {}, options: RunOptions = {}) {
  const server = await ScriptedServer.start(t, tak.federation(), script);
  const link = fed2({ connect: `127.0.0.1:${server.port}`, ...keys });
  const running = runLink(t, link, { identity: relay, trust: tak.trust, node, ...options });
  return { server, running };
}

async function failure(running: RunningLink): Promise<LinkError> {
  const error = await running.ended;
  assert.ok(error instanceof LinkError, `ended with ${error}`);
  return error;
}

const ORDER = ['serverGroups', 'clientEvents', 'serverEvents', 'clientGroups', 'serverRol', 'clientRol'];

describe('fed2 dials', () => {
  test('calls come in the order that TAK needs, on one connection, without pings', async (t) => {
    const { server, running } = await dialled(t, {}, { groups: ['Blue', 'Rot'], health_interval_seconds: 1 });
    const session = await running.hub.session();
    await until('the last call', () => server.of('clientRol').length > 0);
    await until('a second health check', () => server.of('health').length > 1);
    assert.deepEqual(server.order, ORDER);
    assert.equal(server.sessions.length, 1);
    assert.equal(server.pings, 0);
    const order = server.calls.map(({ method }) => method);
    assert.ok(order.indexOf('health') > order.indexOf('serverEvents'));
    assert.equal(session.spec.key, 'test');
    assert.deepEqual(session.session.identity, { id: tak.federation().fingerprint, name: 'tak', proof: 'certificate' });
    assert.deepEqual(session.names, ['TAK']);
    assert.equal(running.reports.at(-1)?.state, 'connected');
    assert.deepEqual(running.hub.expected[0]?.key, 'test');
  });

  test('every Subscription has name, type, serverId and a version that TAK takes', async (t) => {
    const { server } = await dialled(t);
    await until('the last call', () => server.last('clientRol')?.ended);
    for (const method of ['serverGroups', 'clientEvents', 'clientRol'] as const) {
      const call = server.last(method)!;
      assert.equal(call.messages.length, 1);
      assert.equal(call.ended, true, `${method} is asked with one message`);
      const said = scanSubscription(call.messages[0]!);
      assert.deepEqual(
        [said.name, said.serverId, said.type, said.version.major, said.version.minor, said.version.patch],
        ['Relay', relay.id, CONNECTION_TYPE.takClient, 1, 3, 1],
      );
      assert.notEqual(said.uid, '');
    }
    for (const { headers } of server.calls) {
      assert.equal(headers[':method'], 'POST');
      assert.equal(headers['content-type'], 'application/grpc');
      assert.equal(headers.te, 'trailers');
    }
  });

  test('groups are announced, without SERVING', async (t) => {
    const { server } = await dialled(t, {}, { groups: ['Blue', 'Rot'] });
    const groups = await until('our groups', () => server.last('clientGroups')?.messages[0]);
    assert.deepEqual(scanGroups(groups).groups, ['Blue', 'Rot']);
    assert.equal(scanGroups(groups).status, undefined);
    assert.equal(server.last('clientGroups')!.ended, false);
  });

  test('as a hub it says so', async (t) => {
    const { server } = await dialled(t, {}, { identity_type: 'hub' });
    const call = await until('a call', () => server.last('clientEvents')?.messages[0]);
    assert.equal(scanSubscription(call).type, CONNECTION_TYPE.hubClient);
  });

  test('nothing is called before SERVING; without it the link fails in words', async (t) => {
    const clock = new ManualClock(Date.now());
    const { server, running } = await dialled(
      t,
      { serverGroups: (call) => whenAsked(call, () => call.say(groupsOf('Blue'))) },
      {},
      { clock },
    );
    await until('the first call', () => server.last('serverGroups')?.ended);
    clock.advance(19_000);
    assert.deepEqual(server.order, ['serverGroups']);
    clock.advance(1_000);
    const error = await failure(running);
    assert.equal(error.code, 'not_serving');
    assert.ok(error.retryAfterMs >= 2_000);
    assert.notEqual(error.fix, '');
    assert.equal(running.hub.sessions.length, 0);
  });

  test('a peer that answers its client streams only at their end is taken in by its health answer', async (t) => {
    const late = () => {};
    const { server, running } = await dialled(t, {
      clientEvents: late,
      serverEvents: late,
      clientGroups: late,
      serverRol: late,
    });
    await running.hub.session();
    await until('the last call', () => server.of('clientRol').length > 0);
    assert.deepEqual(server.order, ORDER);
  });

  test('events cross both ways; what came early is not lost', async (t) => {
    const early = sampleEvent('early');
    const { server, running } = await dialled(t, {
      clientEvents: (call) =>
        whenAsked(call, () => {
          call.say(Buffer.alloc(0));
          call.say(contactFederated('create', { uid: 'u1', callsign: 'One' }));
        }),
    });
    const session = await running.hub.session();
    await until('the contact', () => session.delivered.length === 1);
    assert.deepEqual(session.delivered[0]?.message, {
      kind: 'contact',
      op: 'create',
      contact: { uid: 'u1', callsign: 'One' },
    });
    assert.deepEqual(session.delivered[0]?.hops, { max: -1, current: 1 });
    assert.equal(session.session.send(early, ['Blue']), true);
    const sent = await until('the event', () => server.last('serverEvents')?.messages[0]);
    const scan = scanFederated(sent);
    assert.equal(scan.event?.uid, 'early');
    assert.deepEqual(scan.groups, ['Blue']);
    assert.deepEqual(scan.provenance?.at(-1), { id: relay.id, name: 'Relay' });
  });

  test('health checks say SERVING; two unanswered in silence are the end', async (t) => {
    const clock = new ManualClock(Date.now());
    let silent = false;
    const { server, running } = await dialled(
      t,
      { health: (call) => whenAsked(call, () => silent || answer(call, HEALTHY)) },
      {},
      { clock },
    );
    const session = await running.hub.session();
    await until('the last call', () => server.last('clientRol')?.messages.length === 1);
    await until('the first answer', () => server.last('health')!.closed);
    assert.equal(scanHealth(server.last('health')!.messages[0]!), SERVING.serving);
    silent = true;
    clock.advance(3_000);
    await until('the second check', () => server.of('health').length === 2);
    clock.advance(3_000);
    await until('the third check', () => server.of('health').length === 3);
    clock.advance(4_000);
    assert.equal(session.closings.length, 0, 'one miss is not the end');
    clock.advance(1_000);
    assert.equal((await session.closing()).reason, 'idle_timeout');
    assert.equal((await failure(running)).code, 'idle_timeout');
  });

  test('the round trip of a health check is told; NOT_SERVING is the end', async (t) => {
    const clock = new ManualClock(Date.now());
    let status: number = SERVING.serving;
    const { server, running } = await dialled(
      t,
      { health: (call) => whenAsked(call, () => answer(call, serverHealth(status))) },
      {},
      { clock },
    );
    const session = await running.hub.session();
    const trips: number[] = [];
    session.port.rtt = (ms) => trips.push(ms);
    await until('the first answer', () => server.last('health')?.closed);
    status = SERVING.notServing;
    clock.advance(3_000);
    assert.equal((await failure(running)).code, 'not_serving');
    assert.ok(trips.length > 0 && trips.every((ms) => ms >= 0));
  });

  test('a health answer stuck behind other traffic is no miss', async (t) => {
    const clock = new ManualClock(Date.now());
    const { server, running } = await dialled(t, { health: (call) => call.stream.resume() }, {}, { clock });
    const session = await running.hub.session();
    await until('the last call', () => server.last('clientRol')?.messages.length === 1);
    for (let second = 0; second < 40; second++) {
      const before = session.delivered.length;
      server.last('clientEvents')!.say(contactFederated('create', { uid: `u${second}`, callsign: 'c' }));
      await until('it', () => session.delivered.length > before);
      clock.advance(1_000);
    }
    assert.equal(session.closings.length, 0);
    const open = server.of('health').filter((call) => !call.closed).length;
    assert.ok(open <= 7, `${open} health checks are left open`);
  });

  test('NOT_CONNECTED is waited out, and ends the link when it stays', async (t) => {
    const clock = new ManualClock(Date.now());
    const { server, running } = await dialled(
      t,
      {
        serverEvents: () => {},
        health: (call) => whenAsked(call, () => answer(call, serverHealth(SERVING.notConnected))),
      },
      {},
      { clock },
    );
    for (let check = 1; check <= 4; check++) {
      await until(`check ${check}`, () => {
        clock.advance(100);
        return server.of('health').length >= check && server.last('health')!.closed;
      });
      if (check < 4) clock.advance(3_000);
    }
    assert.equal((await failure(running)).code, 'not_connected');
    assert.equal(running.hub.sessions.length, 0);
  });

  test('GOAWAY ends every stream and the socket, to be redialled', async (t) => {
    const { server, running } = await dialled(t);
    const session = await running.hub.session();
    await until('the last call', () => server.last('clientRol')?.messages.length === 1);
    server.sessions[0]!.goaway(0);
    const error = await failure(running);
    assert.equal(error.code, 'goaway');
    assert.ok(error.retryAfterMs >= 2_000);
    await until('the end of the connection', () => server.gone === 1);
    assert.equal((await session.closing()).reason, 'remote_closed');
    const held = server.calls.filter(({ method }) => method !== 'health');
    await until('the streams', () => held.every((call) => call.closed));
    assert.deepEqual([...new Set(held.map(({ stream }) => stream.rstCode))], [8], 'cancelled');
  });

  test('GOAWAY for too many pings says so', async (t) => {
    const { server, running } = await dialled(t);
    await running.hub.session();
    server.sessions[0]!.goaway(11);
    assert.equal((await failure(running)).code, 'goaway_calm');
  });

  test('mission streams that do not exist are done without', async (t) => {
    const { server, running } = await dialled(t, {
      serverRol: (call) => refuse(call, 12),
      clientRol: (call) => refuse(call, 12),
    });
    const session = await running.hub.session();
    await until('both ends', () => server.last('serverRol')?.closed && server.last('clientRol')?.closed === true);
    await until('that it is known', () => !session.session.carries({ kind: 'mission', summary: '' }));
    assert.equal(session.session.send(sampleEvent('still here'), []), true);
    await until('the event', () => server.last('serverEvents')?.messages.length === 1);
    assert.equal(session.closings.length, 0);
  });

  test('a mission stream that a hub ends is opened again after a minute', async (t) => {
    const clock = new ManualClock(Date.now());
    const { server, running } = await dialled(
      t,
      {
        clientRol: (call) =>
          whenAsked(call, () => {
            endWith(call, 0);
            endWith(server.last('serverRol')!, 0);
          }),
      },
      {},
      { clock },
    );
    const { session, closings } = await running.hub.session();
    const wait = async (ms: number) => {
      for (let gone = 0; gone < ms; gone += 3_000) {
        const checks = server.of('health').length;
        clock.advance(3_000);
        await until('health', () => server.of('health').length > checks && server.last('health')!.closed);
      }
    };
    while (session.carries({ kind: 'mission', summary: '' })) await setImmediate();
    await wait(57_000);
    assert.deepEqual([server.of('clientRol').length, server.of('serverRol').length], [1, 1]);
    await wait(6_000);
    await until('the next', () => server.of('clientRol').length === 2 && server.of('serverRol').length === 2);
    assert.equal(closings.length, 0);
  });

  for (const [what, method] of [
    ['events towards us', 'clientEvents'],
    ['events towards the peer', 'serverEvents'],
    ['groups towards us', 'serverGroups'],
    ['groups towards the peer', 'clientGroups'],
  ] as [string, Method][]) {
    test(`when the stream of ${what} ends, so does the connection`, async (t) => {
      const { server, running } = await dialled(t);
      const session = await running.hub.session();
      const call = await until('the stream', () => server.last('clientRol') && server.last(method));
      endWith(call, 14, 'shutting down');
      assert.equal((await session.closing()).reason, 'remote_closed');
      assert.equal((await failure(running)).code, 'peer_ended');
      await until('the socket', () => server.gone === 1);
      assert.equal(session.closings.length, 1);
    });
  }

  const VERDICTS: [string, Method, number, string, string][] = [
    ['a chain too short', 'serverGroups', 13, '', 'chain_refused'],
    ['a hub that cannot tell who we are', 'serverGroups', 2, 'Client identifiers not available', 'chain_refused'],
    ['a hub policy without our CA', 'serverGroups', 7, '', 'not_in_policy'],
    ['a duplicate', 'serverEvents', 2, 'Disallowing duplicate federate connection AB:CD', 'duplicate_federate'],
    ['a refusal without words', 'clientEvents', 2, '', 'federation_refused'],
    ['a token port', 'serverGroups', 16, '', 'token_port'],
    ['another gRPC service', 'serverGroups', 12, '', 'not_federation'],
    ['a message too large', 'serverEvents', 8, '', 'too_much'],
    ['missed health checks', 'clientEvents', 4, '', 'health_missed'],
  ];
  for (const [what, method, status, words, code] of VERDICTS) {
    test(`${what} is told in words, with what to do`, async (t) => {
      const { running } = await dialled(t, {
        [method]: (call: Parameters<typeof refuse>[0]) => refuse(call, status, words),
      });
      const error = await failure(running);
      assert.equal(error.code, code);
      assert.match(error.message, /^127\.0\.0\.1:\d+ /);
      if (words) assert.ok(error.message.includes(words), error.message);
      assert.notEqual(error.fix, '');
      assert.ok(error.retryAfterMs >= (code === 'duplicate_federate' ? 30_000 : 2_000));
      assert.equal(running.hub.sessions.length, 0, 'the hub heard nothing of it');
    });
  }

  test('a web server behind HTTP/2 is told from a TAK server', async (t) => {
    const { running } = await dialled(t, {
      serverGroups: ({ stream }) =>
        stream.respond({ ':status': 404, 'content-type': 'text/html' }, { endStream: true }),
    });
    assert.equal((await failure(running)).code, 'not_federation');
  });

  test('a peer without HTTP/2 is refused in words', async (t) => {
    const pair = tak.federation();
    const server = createServer({ cert: pair.certPem, key: pair.keyPem, requestCert: true, rejectUnauthorized: false });
    server.on('secureConnection', (socket) => socket.on('error', () => {}));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    t.after(() => server.close());
    const { port } = server.address() as AddressInfo;
    const running = runLink(t, fed2({ connect: `127.0.0.1:${port}` }), { identity: relay, trust: tak.trust });
    assert.equal((await failure(running)).code, 'no_alpn');
  });

  test('a server that is not trusted is not spoken to', async (t) => {
    const { server, running } = await dialled(t, {}, {}, { trust: testIdentity('stranger').trust });
    const error = await failure(running);
    assert.equal(error.code, 'unknown_ca');
    assert.ok(error.retryAfterMs >= 2_000);
    assert.equal(server.calls.length, 0);
  });

  test('a compressed message, which was not agreed, breaks the protocol', async (t) => {
    const { server, running } = await dialled(t);
    const session = await running.hub.session();
    server.last('clientEvents')!.stream.write(Buffer.from([1, 0, 0, 0, 1, 0]));
    const { reason, cause } = await session.closing();
    assert.equal(reason, 'protocol_error');
    assert.match(cause?.message ?? '', /compress/);
    assert.ok((await running.ended) instanceof LinkError);
  });

  test('told to stop at any step, it leaves nothing open', async (t) => {
    const steps: Method[] = [
      'serverGroups',
      'clientEvents',
      'serverEvents',
      'clientGroups',
      'health',
      'serverRol',
      'clientRol',
    ];
    for (const step of steps) {
      const server = await ScriptedServer.start(t, tak.federation());
      const wire = await TcpWire.open(t);
      wire.leadTo(server.port);
      const running = runLink(t, fed2({ connect: `127.0.0.1:${wire.port}` }), { identity: relay, trust: tak.trust });
      await until(step, () => server.of(step).length > 0);
      assert.equal(await running.stop(), undefined, step);
      await wire.idle();
      for (const session of running.hub.sessions) assert.equal((await session.closing()).reason, 'shutdown');
    }
  });
});
