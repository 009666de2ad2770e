// The listening side against clients that follow a script, good ones and bad ones.
import assert from 'node:assert/strict';
import { constants, type Http2Stream } from 'node:http2';
import { describe, type TestContext, test } from 'node:test';
import { setImmediate, setTimeout } from 'node:timers/promises';
import type { Identity, KeyPair } from '../../../src/identity/identity.ts';
import { ManualClock } from '../../../src/lib/clock.ts';
import { frame, MAX_FRAME_BYTES } from '../../../src/links/fed2/grpc.ts';
import {
  CONNECTION_TYPE,
  contactFederated,
  forwardFederated,
  SERVING,
  scanFederated,
  scanGroups,
  scanHealth,
  scanRol,
  scanSubscription,
} from '../../../src/wire/federation.ts';
import { federatedFromXml } from '../../../src/wire/federation-xml.ts';
import { ProtoWriter } from '../../../src/wire/proto.ts';
import { testIdentity } from '../../support/pki.ts';
import { sampleEvent } from '../contract.ts';
import { envelope, type RunningLink, type RunOptions, runLink, until } from '../memory.ts';
import { ALIVE, dialTls, fed2, groupsOf, hello, ScriptedClient } from './scripted.ts';

const relay = testIdentity('relay');
const tak = testIdentity('tak');
const node = { id: relay.id, name: 'Relay', version: '0.3.1' };
const EDGES = { groups: [], self: { id: 'tak-id', name: 'TAK' }, hops: { max: 5, current: 1 } };

async function listening(t: TestContext, keys: object = {}, options: RunOptions = {}) {
  const running = runLink(t, fed2({ listen: '127.0.0.1:0', ...keys }), {
    identity: relay,
    trust: tak.trust,
    node,
    ...options,
  });
  return { running, port: await running.port() };
}

async function federated(
  t: TestContext,
  keys: object = {},
  options: RunOptions = {},
  pair: KeyPair = tak.federation(),
) {
  const { running, port } = await listening(t, keys, options);
  const client = await ScriptedClient.dial(t, port, pair);
  const calls = client.federate();
  const session = await running.hub.session();
  return { running, port, client, calls, session };
}

/** A FederatedEvent as TAK sends it. */
function event(
  uid: string,
  over: { size?: number; stamp?: Partial<Parameters<typeof forwardFederated>[1]> } = {},
): Buffer {
  const sample = sampleEvent(uid, over.size);
  assert.ok(sample.message.kind === 'event' && sample.wire);
  return forwardFederated(federatedFromXml(sample.wire.bytes, sample.message.event), { ...EDGES, ...over.stamp });
}

function rol(program: string): Buffer {
  const writer = new ProtoWriter();
  writer.string(1, program);
  return forwardFederated(writer.finish(), EDGES);
}

/** Another peer is served as if nothing had happened. */
async function servesAnother(t: TestContext, { running, port }: { running: RunningLink; port: number }) {
  const count = running.hub.sessions.length;
  const client = await ScriptedClient.dial(t, port, tak.federation('another'));
  const { serverEvents } = client.federate();
  const session = await running.hub.session(count);
  serverEvents.say(event('from-another'));
  await session.event('from-another');
}

test('the peer that the link dialled before it was told to listen is no longer known', async (t) => {
  const { running } = await listening(t);
  assert.deepEqual(running.hub.dismissed, ['test']);
});

describe('fed2 listens', () => {
  test('TAK’s order of calls: SERVING once, Subscriptions at once, everything stays open', async (t) => {
    const { running, client, calls, session } = await federated(t, { groups: ['Blue'] });
    for (const call of [calls.clientGroups, calls.serverRol, calls.serverEvents]) {
      const said = scanSubscription(await until('a Subscription', () => call.messages[0]));
      assert.deepEqual(
        [said.name, said.serverId, said.type, said.version.major],
        ['Relay', relay.id, CONNECTION_TYPE.takServer, 1],
      );
    }
    await until('both groups messages', () => calls.serverGroups.messages.length === 2);
    const groups = calls.serverGroups.messages.map((bytes) => scanGroups(bytes));
    assert.deepEqual(
      groups.map(({ status }) => status),
      [SERVING.serving, undefined],
    );
    assert.deepEqual(groups[1]!.groups, ['Blue']);
    for (let check = 0; check < 3; check++) {
      const health = client.call('health', ALIVE);
      await until('its end', () => health.closed);
      assert.deepEqual([health.status, health.messages.map(scanHealth)], ['0', [SERVING.serving]]);
    }
    const clientRol = client.call('clientRol', hello());
    while (!session.session.carries({ kind: 'mission', summary: '' })) await setImmediate();
    assert.equal(calls.serverGroups.messages.length, 2, 'SERVING never comes again');
    assert.ok([...Object.values(calls), clientRol].every((call) => !call.ended && !call.closed));
    assert.equal(session.spec.key, `test/${tak.federation().fingerprint}`);
    assert.equal(session.spec.durable, true);
    assert.deepEqual(session.names, ['scripted']);
    assert.equal(running.reports.at(-1)?.state, 'listening');
  });

  test('a hub’s order of calls, without version and type, with an empty event first', async (t) => {
    const { running, port } = await listening(t);
    const client = await ScriptedClient.dial(t, port, tak.federation());
    const plain = hello({ type: 0, version: { major: 0, minor: 0, patch: 0, branch: '', variant: '' } });
    client.call('clientEvents', plain);
    const serverGroups = client.call('serverGroups', plain);
    const clientGroups = client.call('clientGroups');
    client.call('serverRol');
    await until('SERVING', () => serverGroups.messages.length === 1);
    const serverEvents = client.call('serverEvents');
    serverEvents.say(Buffer.alloc(0));
    serverEvents.say(forwardFederated(Buffer.alloc(0), { ...EDGES, groups: ['Blue'] }));
    clientGroups.say(groupsOf('Blue'));
    serverEvents.say(event('first'));
    const session = await running.hub.session();
    await session.event('first');
    assert.deepEqual([session.delivered.length, session.refused], [1, {}]);
  });

  test('events before ClientEventStream wait for it', async (t) => {
    const { running, port } = await listening(t);
    const client = await ScriptedClient.dial(t, port, tak.federation());
    const serverEvents = client.call('serverEvents');
    serverEvents.say(event('early'));
    await until('the Subscription', () => serverEvents.messages.length === 1);
    assert.equal(running.hub.sessions.length, 0);
    client.call('clientEvents', hello());
    const session = await running.hub.session();
    await session.event('early');
  });

  test('a name may be empty: the certificate has one', async (t) => {
    const { running, port } = await listening(t);
    const client = await ScriptedClient.dial(t, port, tak.federation());
    client.call('clientEvents', hello({ name: '' }));
    const session = await running.hub.session();
    assert.deepEqual([session.session.identity.name, session.names], ['tak', []]);
  });

  test('an event keeps its bytes, groups, provenance and hops; a contact comes before its event', async (t) => {
    const { calls, session } = await federated(t);
    const bytes = event('u1', { stamp: { groups: ['Blue', 'Rot'] } });
    calls.serverEvents.say(Buffer.concat([contactFederated('create', { uid: 'u1', callsign: 'One' }), bytes]));
    await session.event('u1');
    const [contact, position] = session.delivered;
    assert.deepEqual(contact!.message, { kind: 'contact', op: 'create', contact: { uid: 'u1', callsign: 'One' } });
    assert.deepEqual(position!.wire, { format: 'fed', bytes });
    for (const inbound of [contact!, position!]) {
      assert.deepEqual(inbound.groups, ['Blue', 'Rot']);
      assert.deepEqual(inbound.provenance, [{ id: 'tak-id', name: 'TAK' }]);
      assert.deepEqual(inbound.hops, { max: 5, current: 1 });
    }
    assert.ok(position!.wire!.bytes.buffer.byteLength <= 8192, 'the bytes do not hold on to a whole chunk');
  });

  test('missions go both ways as they are', async (t) => {
    const { client, calls, session } = await federated(t);
    const bytes = rol('create mission {"name":"x"};');
    calls.serverRol.say(bytes);
    await until('the mission', () => session.delivered.length === 1);
    assert.deepEqual(session.delivered[0]!.message, { kind: 'mission', summary: 'create mission' });
    assert.deepEqual(session.delivered[0]!.wire, { format: 'rol', bytes });
    calls.serverRol.say(forwardFederated(bytes, { ...EDGES, hops: { max: 5, current: 2 } }));
    calls.serverRol.say(rol('create mission {"name":"y"};'));
    await until('the others', () => session.delivered.length === 3);
    const [first, again, other] = session.delivered.map(({ digest }) => digest);
    assert.ok(first && other && first === again && first !== other, 'the same content by whatever path');
    const message = { kind: 'mission', summary: 'create mission' } as const;
    assert.equal(session.session.carries(message), false, 'not before there is a stream for it');
    const clientRol = client.call('clientRol', hello());
    while (!session.session.carries(message)) await setImmediate();
    assert.equal(session.session.send(envelope(message, { wire: { format: 'rol', bytes } }), ['Blue']), true);
    const sent = await until('the mission', () => clientRol.messages[0]);
    assert.deepEqual([scanRol(sent).summary, scanRol(sent).groups], ['create mission', ['Blue']]);
  });

  test('a large mission goes out in pieces, and events pass it', async (t) => {
    const { client, calls, session } = await federated(t);
    const clientRol = client.call('clientRol', hello());
    const message = { kind: 'mission', summary: 'update resource' } as const;
    while (!session.session.carries(message)) await setImmediate();
    const bytes = rol(`update resource {"x":"${'x'.repeat(3 << 20)}"};`);
    clientRol.stream.pause();
    assert.equal(session.session.send(envelope(message, { wire: { format: 'rol', bytes } }), []), true);
    assert.equal(session.session.send(sampleEvent('passes'), []), true);
    await until('the event', () => calls.clientEvents.messages.length === 1);
    assert.equal(clientRol.messages.length, 0);
    clientRol.stream.resume();
    await until('the mission', () => clientRol.messages.length === 1);
    assert.ok(clientRol.messages[0]!.length > 3 << 20);
  });

  test('what federation does not say as events is not sent as events', async (t) => {
    const { session } = await federated(t);
    const says = (type: string, linkUid = '') => {
      const { message } = sampleEvent('x');
      assert.ok(message.kind === 'event');
      return session.session.carries({ kind: 'event', event: { ...message.event, type, linkUid } });
    };
    assert.deepEqual(
      ['a-f-G', 'b-t-f', 't-x-m', 't-x-m-c', 'b-f-t-r', 't-x-d-d'].map((type) => says(type)),
      [true, true, false, false, false, false],
    );
    assert.equal(says('t-x-d-d', 'who left'), true);
    assert.equal(session.session.carries({ kind: 'blob', summary: '' }), false);
  });

  test('groups configured for the link are said of what carries none', async (t) => {
    const { calls, session } = await federated(t, { groups: ['Coalition'] });
    session.session.send(sampleEvent('bare'), []);
    session.session.send(sampleEvent('grouped'), ['Blue']);
    await until('both', () => calls.clientEvents.messages.length === 2);
    assert.deepEqual(
      calls.clientEvents.messages.map((bytes) => scanFederated(bytes).groups),
      [['Coalition'], ['Blue']],
    );
  });

  test('of one message each peer is told the groups that it may see, and no others', async (t) => {
    const { calls, session } = await federated(t, { groups: ['Coalition'] });
    const sample = sampleEvent('shared');
    const groups = ['Blue', 'Secret'];
    const shared = envelope(sample.message, { wire: sample.wire, groups });
    for (const seen of [groups, ['Blue'], [], groups]) assert.equal(session.session.send(shared, seen), true);
    await until('all', () => calls.clientEvents.messages.length === 4);
    assert.deepEqual(
      calls.clientEvents.messages.map((bytes) => scanFederated(bytes).groups ?? []),
      [groups, ['Blue'], [], groups],
    );
  });

  test('limits per group are obeyed', async (t) => {
    const { calls, session } = await federated(t);
    const limited = (uid: string, current: number) => {
      const writer = new ProtoWriter();
      writer.message(6, () => {
        writer.message(1, () => {
          writer.string(1, 'Blue');
          writer.int(2, 2);
          writer.int(3, current);
        });
        writer.bool(2, true);
      });
      return Buffer.concat([event(uid, { stamp: { groups: ['Blue', 'Rot'] } }), writer.finish()]);
    };
    calls.serverEvents.say(limited('spent', 2));
    calls.serverEvents.say(limited('fresh', 1));
    const { groups, hops } = await session.event('fresh');
    assert.ok(groups?.includes('Blue'));
    assert.equal(hops?.max, -1);
    const spent = session.delivered.find(({ message }) => message.kind === 'event' && message.event.uid === 'spent');
    assert.ok(!spent?.groups?.includes('Blue'));
  });

  test('unknown and dead methods are UNIMPLEMENTED, odd requests refused, and harm nothing', async (t) => {
    const { client, calls, session } = await federated(t);
    const service = '/com.atakmap.FederatedChannel/';
    const dead = [
      'SendOneEvent',
      'SendOneBlob',
      'BinaryMessageStream',
      'getIdentity',
      'GetAuthTokenByX509',
      'Getx509Identity',
    ];
    const paths = [...dead.map((name) => service + name), `${service}Nothing`, '/grpc.health.v1.Health/Check', '/'];
    for (const path of paths) {
      const call = client.call(path, Buffer.alloc(0));
      await until(path, () => call.closed);
      assert.equal(call.status, '12', path);
    }
    const compressed = client.call('health', ALIVE, { 'grpc-encoding': 'gzip' });
    const web = client.call('health', ALIVE, { 'content-type': 'application/grpc-web' });
    await until('both refusals', () => compressed.closed && web.closed);
    assert.deepEqual([compressed.status, web.status], ['12', '13']);
    calls.serverEvents.say(event('still here'));
    await session.event('still here');
  });

  test('a second stream of a kind is refused while the first is open', async (t) => {
    const { client, calls, session } = await federated(t);
    for (const method of ['clientEvents', 'serverEvents', 'serverGroups', 'clientGroups', 'serverRol'] as const) {
      const again = client.call(method, hello());
      await until(method, () => again.closed);
      assert.equal(again.status, '6', method);
    }
    calls.serverEvents.say(event('still here'));
    await session.event('still here');
  });

  test('15 s without a health check end the connection, once there was one', async (t) => {
    const clock = new ManualClock(Date.now());
    const { client, session } = await federated(t, {}, { clock });
    clock.advance(600_000);
    assert.equal(session.closings.length, 0, 'a peer that never sends any is left alone');
    for (let check = 0; check < 3; check++) {
      const health = client.call('health', ALIVE);
      await until('its end', () => health.closed);
      clock.advance(14_000);
    }
    assert.equal(session.closings.length, 0);
    clock.advance(1_000);
    assert.equal((await session.closing()).reason, 'idle_timeout');
    await until('the end of the connection', () => client.closed);
    assert.equal(session.closings.length, 1);
  });

  test('a peer whose health checks are stuck behind its data is not dead', async (t) => {
    const clock = new ManualClock(Date.now());
    const { client, calls, session } = await federated(t, {}, { clock });
    const health = client.call('health', ALIVE);
    await until('its end', () => health.closed);
    for (let minute = 0; minute < 12; minute++) {
      calls.serverEvents.say(event(`busy-${minute}`));
      await session.event(`busy-${minute}`);
      clock.advance(5_000);
    }
    assert.equal(session.closings.length, 0);
    clock.advance(30_000);
    assert.equal((await session.closing()).reason, 'idle_timeout');
  });

  test('SERVING is said once on a connection, even when the groups stream is opened again', async (t) => {
    const { client, calls, session } = await federated(t, { groups: ['Blue'] });
    await until('groups', () => calls.serverGroups.messages.length === 2);
    calls.serverGroups.stream.close(constants.NGHTTP2_CANCEL);
    await until('its end', () => calls.serverGroups.closed);
    const again = client.call('serverGroups', hello());
    const groups = scanGroups(await until('groups', () => again.messages[0]));
    assert.deepEqual([groups.status, groups.groups], [undefined, ['Blue']]);
    assert.equal(session.closings.length, 0);
  });

  test('the end of an event stream is the end; other streams may end', async (t) => {
    const { port, running, calls, session } = await federated(t);
    calls.clientGroups.stream.end();
    calls.serverRol.stream.end();
    await until('both ends', () => calls.clientGroups.closed && calls.serverRol.closed);
    assert.deepEqual([calls.clientGroups.status, calls.serverRol.status], ['0', '0']);
    calls.serverEvents.say(event('still here'));
    await session.event('still here');
    calls.serverEvents.stream.end();
    assert.equal((await session.closing()).reason, 'remote_closed');
    const next = await ScriptedClient.dial(t, port, tak.federation());
    const { clientEvents } = next.federate();
    const second = await running.hub.session(1);
    clientEvents.stream.close(constants.NGHTTP2_CANCEL);
    assert.equal((await second.closing()).reason, 'remote_closed');
  });

  test('whoever connects and asks for nothing is shown the door', async (t) => {
    const clock = new ManualClock(Date.now());
    const { running, port } = await listening(t, {}, { clock });
    const client = await ScriptedClient.dial(t, port, tak.federation());
    client.call('serverGroups', hello());
    await until('the call', () => client.session.remoteSettings.maxConcurrentStreams === 32 || undefined).catch(
      () => {},
    );
    const health = client.call('health', ALIVE);
    await until('an answer', () => health.closed);
    clock.advance(20_000);
    assert.notEqual((await running.refusal('handshake_timeout')).fix, '');
    await until('the end of the connection', () => client.closed);
    assert.equal(running.hub.sessions.length, 0);
  });

  test('peers without HTTP/2 are told to use v2', async (t) => {
    const { running, port } = await listening(t);
    const socket = await dialTls(t, port, tak.federation(), []);
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.resume();
    assert.match((await running.refusal('no_alpn')).fix, /protocolVersion="2"/);
    await closed;
  });

  test('with nobody trusted it listens, and refuses everybody in words', async (t) => {
    const { running, port } = await listening(t, {}, { trust: { cas: [], pins: [] } });
    const socket = await dialTls(t, port, tak.federation(), ['h2']);
    socket.resume();
    const trouble = await running.refusal('unknown_ca');
    assert.match(trouble.words, /trusts nobody yet/);
    assert.notEqual(trouble.fix, '');
    assert.equal(running.hub.sessions.length, 0);
  });

  test('a link may trust more than the whole relay does', async (t) => {
    const friend: Identity = testIdentity('friend');
    const { session } = await federated(t, { trust: [friend.ca.certPem] }, {}, friend.federation());
    assert.equal(session.session.identity.id, friend.federation().fingerprint);
  });

  test('connections of one certificate share a key, so that the newer takes the place of the older', async (t) => {
    const { running, port, session } = await federated(t);
    const again = await ScriptedClient.dial(t, port, tak.federation());
    again.federate();
    const second = await running.hub.session(1);
    assert.equal(second.spec.key, session.spec.key);
    session.session.close('replaced');
    assert.equal((await session.closing()).reason, 'replaced');
    assert.equal(second.closings.length, 0);
    await servesAnother(t, { running, port });
  });
});

describe('fed2 under attack', () => {
  test('oversize, malformed and lying messages are counted; the next one passes', async (t) => {
    const { calls, session } = await federated(t, { max_message_bytes: 65_536 });
    calls.serverEvents.say(event('large', { size: 70_000 }));
    calls.serverEvents.say(Buffer.from('no protobuf at all'));
    calls.serverEvents.say(forwardFederated(Buffer.from([0x0a, 0x02, 0x4a, 0x00]), EDGES));
    calls.serverEvents.say(event('next'));
    await session.event('next');
    assert.deepEqual(session.refused, { too_large: 1, malformed: 2 });
    assert.deepEqual(session.uids, ['next']);
  });

  test('an event split at every byte arrives whole', async (t) => {
    const { calls, session } = await federated(t);
    const stream = Buffer.concat([frame(event('drip-1')), frame(event('drip-2'))]);
    for (const byte of stream) calls.serverEvents.stream.write(Buffer.from([byte]));
    await session.event('drip-2');
    assert.deepEqual(session.uids, ['drip-1', 'drip-2']);
  });

  for (const [what, bytes] of [
    ['a compressed message', Buffer.from([1, 0, 0, 0, 1, 0])],
    ['an unknown flag', Buffer.from([9, 0, 0, 0, 1, 0])],
    ['an absurd length', Buffer.from([0, 0xff, 0xff, 0xff, 0xff])],
  ] as const) {
    for (const method of ['serverEvents', 'serverRol', 'clientGroups'] as const) {
      test(`${what} on ${method} ends the connection, and only that one`, async (t) => {
        const { running, port, calls, session } = await federated(t);
        calls[method].stream.write(bytes);
        const { reason, cause } = await session.closing();
        assert.equal(reason, 'protocol_error');
        assert.ok(cause?.message);
        await servesAnother(t, { running, port });
      });
    }
  }

  test('garbage instead of HTTP/2 ends the connection before the deadline', async (t) => {
    const { running, port } = await listening(t);
    for (const garbage of [Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n'), Buffer.alloc(5000, 0xfe)]) {
      const socket = await dialTls(t, port, tak.federation(), ['h2']);
      const closed = new Promise((resolve) => socket.once('close', resolve));
      socket.resume();
      socket.write(garbage);
      await closed;
    }
    assert.equal(running.hub.sessions.length, 0);
    await servesAnother(t, { running, port });
  });

  test('garbage after a good start ends the connection', async (t) => {
    const { running, port } = await listening(t);
    const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
    const settings = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]);
    for (const garbage of [
      Buffer.alloc(5000, 0xfe),
      Buffer.from([0, 0, 4, 1, 4, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff]),
    ]) {
      const socket = await dialTls(t, port, tak.federation(), ['h2']);
      const closed = new Promise((resolve) => socket.once('close', resolve));
      socket.resume();
      socket.write(Buffer.concat([preface, settings, garbage]));
      await closed;
    }
    await servesAnother(t, { running, port });
  });

  test('a thousand streams at once are refused, and others are served', async (t) => {
    const { running, port, client } = await federated(t);
    const streams: Http2Stream[] = [];
    for (let i = 0; i < 1000; i++) streams.push(client.call('/x/y').stream);
    await until('the end of the flood', () => client.closed || streams.every((stream) => stream.closed));
    await servesAnother(t, { running, port });
  });

  test('streams opened and cancelled in a hurry end the connection', async (t) => {
    const { running, port, client, session } = await federated(t);
    for (let i = 0; i < 2000 && !client.closed; i++) {
      const { stream } = client.call('health');
      stream.close(constants.NGHTTP2_CANCEL);
      if (i % 20 === 0) await setImmediate();
    }
    assert.equal((await session.closing()).reason, 'protocol_error');
    await servesAnother(t, { running, port });
  });

  test('a peer that reads nothing is given up after a while, and holds little until then', async (t) => {
    const clock = new ManualClock(Date.now());
    const { calls, session } = await federated(t, {}, { clock });
    calls.clientEvents.stream.pause();
    let taken = 0;
    for (let turn = 0; turn < 1000 && session.closings.length === 0; turn++) {
      while (session.session.send(sampleEvent(`u${taken}`, 12_000), [])) taken++;
      clock.advance(1_000);
      await setTimeout(1);
    }
    const { reason, returned } = await session.closing();
    assert.equal(reason, 'write_timeout');
    assert.ok(returned && returned.length > 0 && returned.length <= taken);
    assert.ok(taken < 100, `${taken} events of 12 kB were taken`);
  });

  test('a message begun and never ended holds only what came of it', async (t) => {
    const { running, port, calls } = await federated(t, { max_message_bytes: MAX_FRAME_BYTES });
    const before = process.memoryUsage().arrayBuffers;
    calls.serverEvents.stream.write(Buffer.from([0, 0x0f, 0xff, 0xff, 0xff, 1]));
    await servesAnother(t, { running, port });
    assert.ok(process.memoryUsage().arrayBuffers - before < 32 << 20);
  });

  test('a certificate of a stranger gets nowhere', async (t) => {
    const { running, port } = await listening(t);
    const socket = await dialTls(t, port, testIdentity('stranger').federation(), ['h2']);
    socket.resume();
    await running.refusal('unknown_ca');
    assert.equal(running.hub.sessions.length, 0);
  });
});
