// Our relay and a peer that knows the documented table and nothing else (test/support/peers/portal): handshake, pings,
// requests and events, in both roles. And what a peer of our own kind may do besides: late, odd, unknown.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { jsonResponse } from '../../../src/core/node.ts';
import { atakSa } from '../../fixtures/events.ts';
import {
  dialRelay,
  EVENT,
  fieldsOf,
  PING,
  PONG,
  proto,
  REQUEST,
  RESPONSE,
  TableServer,
} from '../../support/peers/portal/peer.ts';
import { sampleEvent } from '../contract.ts';
import { until } from '../memory.ts';
import { certificateOf, KEY, LISTEN, peer, relay } from './rig.ts';

const health = { handle: async () => jsonResponse(200, { ok: true }) };

test('a peer of the table dials: let in, pinged, asked, answered, events unacknowledged', async (t) => {
  const b = relay(t, 'b', { listen: LISTEN, peers: [peer('a')] }, { resources: health });
  const a = await dialRelay(t, await b.port(), certificateOf('a'));
  const welcome = fieldsOf(await a.authenticate(KEY));
  assert.deepEqual(welcome.get(2), [200]);
  a.say(PING);
  assert.equal((await a.next(PONG)).length, 0, 'an empty PING is answered with an empty PONG');
  a.say(
    PING,
    proto([
      [1, 7],
      [2, 1_767_225_600_123_456],
    ]),
  );
  const pong = fieldsOf(await a.next(PONG));
  assert.deepEqual([pong.get(1), pong.get(2)], [[7], [1_767_225_600_123_456]]);
  assert.ok((pong.get(3)![0] as number) > 1.7e15, 'its own wall clock, in microseconds');
  a.say(
    REQUEST,
    proto([
      [1, 5],
      [2, 'GET'],
      [3, '/health'],
    ]),
  );
  const response = fieldsOf(await a.next(RESPONSE));
  assert.deepEqual([response.get(1), response.get(2)], [[5], [200]]);
  assert.equal(String(response.get(4)), '{"ok":true}');
  const session = await b.hub.session();
  a.say(
    EVENT,
    proto([
      [
        1,
        proto([
          [2, 1],
          [3, atakSa(Date.now(), { uid: 'TABLE-1' })],
        ]),
      ],
    ]),
  );
  const inbound = await session.event('TABLE-1');
  assert.deepEqual([inbound.hops, inbound.provenance], [{ max: -1, current: 0 }, []]);
  for (const uid of ['ONE', 'TWO']) assert.ok(session.session.send(sampleEvent(uid), []));
  const record = fieldsOf(fieldsOf(await a.next(EVENT)).get(1)![0] as Buffer);
  assert.equal(record.get(1), undefined, 'not numbered');
  assert.match(String(record.get(3)), /uid="ONE"/);
  a.close();
  assert.equal((await session.closing()).returned?.length, 0);
});

test('a peer of the table is dialled', async (t) => {
  const server = await TableServer.listen(t, certificateOf('b'));
  const a = relay(t, 'a', { peers: [peer('b', { address: `127.0.0.1:${server.port}` })] });
  const b = await server.accept();
  await b.admit(KEY);
  const session = await a.hub.session();
  assert.ok(session.session.send(sampleEvent('ONE'), []), 'nothing is waited for');
  await b.next(EVENT);
  const asked = a.nodes!.call(
    'b',
    { method: 'GET', path: '/x', headers: {}, body: Buffer.alloc(0), hops: 0 },
    t.signal,
  );
  const request = fieldsOf(await b.next(REQUEST));
  assert.deepEqual([String(request.get(2)), String(request.get(3)), request.get(6)], ['GET', '/x', [1]]);
  b.say(
    RESPONSE,
    proto([
      [1, request.get(1)![0] as number],
      [2, 200],
      [4, 'first, '],
      [5, 1],
    ]),
  );
  b.say(
    RESPONSE,
    proto([
      [1, request.get(1)![0] as number],
      [2, 200],
      [4, 'last'],
    ]),
  );
  const { status, body } = await asked;
  assert.deepEqual([status, String(body)], [200, 'first, last']);
});

/** Our own kind's Hello, made by hand. */
function hello(epoch: number, more: readonly (readonly [number, number | string | Uint8Array])[] = []): Buffer {
  return proto([
    [2, 200],
    [6, proto([[1, 'ws-a'], [2, 'a'], [4, 'ack'], [4, 'telepathy'], [5, epoch], ...more])],
  ]);
}

test('a Hello brings numbers and acknowledgements; capabilities and fields that nobody knows are passed over', async (t) => {
  const b = relay(t, 'b', { listen: LISTEN, hub: true, peers: [peer('a')] });
  const a = await dialRelay(t, await b.port(), certificateOf('a'));
  const theirs = fieldsOf(fieldsOf(await a.authenticate(KEY)).get(6)![0] as Buffer);
  assert.deepEqual([String(theirs.get(1)), String(theirs.get(2))], ['ws-b', 'b']);
  assert.deepEqual(theirs.get(4)!.map(String), ['ack', 'pack1', 'cut1', 'hub']);
  assert.ok((theirs.get(5)![0] as number) > 0);
  a.say(RESPONSE, hello(77, [[500, 'later']]));
  const confirm = fieldsOf(await a.next(PONG));
  assert.equal(confirm.get(4), undefined, 'nothing received yet');
  const session = await b.hub.session();
  session.session.send(sampleEvent('ONE'), []);
  session.session.send(sampleEvent('TWO'), []);
  const sent = fieldsOf(await a.next(EVENT));
  assert.deepEqual([sent.get(5), sent.get(1)!.length], [[1], 2], 'one frame for both, numbered from 1');
  const records = [1, 2, 3].map(
    (id) =>
      [
        1,
        proto([
          [1, id],
          [2, 1],
          [3, atakSa(Date.now(), { uid: `U-${id}` })],
        ]),
      ] as const,
  );
  a.say(EVENT, proto([...records, [2, 1]]));
  assert.deepEqual(fieldsOf(await a.next(EVENT)).get(2), [3], 'acknowledged');
  a.close();
  const { returned } = await session.closing();
  assert.equal(returned?.length, 1, 'the one it had not acknowledged');
  const again = await dialRelay(t, await b.port(), certificateOf('a'));
  await again.authenticate(KEY);
  again.say(
    RESPONSE,
    hello(77, [
      [6, theirs.get(5)![0] as number],
      [7, 2],
      [9, 1],
    ]),
  );
  assert.deepEqual(fieldsOf(await again.next(PONG)).get(4), [3], 'how far ours had come');
  const second = await b.hub.session(1);
  assert.ok(second.session.send(returned![0]!, []), 'taken, for it is there');
  second.session.send(sampleEvent('THREE'), []);
  const next = fieldsOf(await again.next(EVENT));
  assert.deepEqual(next.get(5), [3], 'the next number');
  assert.match(String(fieldsOf(next.get(1)![0] as Buffer).get(3)), /THREE/);
});

test('a Hello that comes late still counts', async (t) => {
  const b = relay(t, 'b', { listen: LISTEN, peers: [peer('a')] });
  const a = await dialRelay(t, await b.port(), certificateOf('a'));
  await a.authenticate(KEY);
  a.say(PING);
  await a.next(PONG);
  const session = await b.hub.session();
  session.session.send(sampleEvent('PLAIN'), []);
  assert.equal(fieldsOf(await a.next(EVENT)).get(5), undefined);
  a.say(RESPONSE, hello(5));
  await a.next(PONG);
  session.session.send(sampleEvent('NUMBERED'), []);
  assert.deepEqual(fieldsOf(await a.next(EVENT)).get(5), [1]);
  await until('nothing to go wrong', () => session.closings.length === 0);
});
