import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CotEvent } from '../../src/core/message.ts';
import { CHAT, type Envelope, FILE, MOVING, STILL } from '../../src/core/message.ts';
import { conflationKey, laneOf } from '../../src/core/policy.ts';
import { PeerQueue, type QueueLimits } from '../../src/core/queue.ts';
import { chat, position, START_MS } from './support.ts';

let seq = 0;
function envelope(event: CotEvent, expiresMs = Number.POSITIVE_INFINITY, size = 100): Envelope {
  const message = { kind: 'event', event } as const;
  const lane = laneOf(message);
  return {
    seq: ++seq,
    message,
    wire: { format: 'xml', bytes: Buffer.alloc(size) },
    from: 'x',
    receivedWallMs: START_MS,
    receivedMs: 0,
    expiresMs,
    groups: [],
    provenance: [],
    hops: { max: -1, current: 0 },
    lane,
    conflate: conflationKey(message, lane),
    encodings: undefined,
  };
}

function open(limits: QueueLimits = { events: 100, bytes: 1e6 }) {
  const dropped: string[] = [];
  const queue = new PeerQueue(limits, (e, reason) => {
    dropped.push(`${e.message.kind === 'event' ? e.message.event.uid : ''}:${reason}`);
  });
  const drain = (nowMs = 0) => {
    const uids: string[] = [];
    for (let next = queue.take(nowMs); next; next = queue.take(nowMs)) {
      uids.push(next.message.kind === 'event' ? next.message.event.uid : '');
    }
    return uids;
  };
  return { queue, dropped, drain };
}

const alert = (uid: string) => position(uid, { type: 'b-a-o-tbl' });

const marker = (uid: string, fields: Partial<CotEvent> = {}) =>
  position(uid, { type: 'b-m-p-s-m', how: 'h-e', ...fields });
const deleted = (uid: string) => position('d', { type: 't-x-d-d', how: 'm-g', linkUid: uid });

test('alerts leave first, the others by their share of the bytes, each lane in order', () => {
  const { queue, drain } = open({ events: 10_000, bytes: 1e9 });
  for (let n = 0; n < 1000; n++) {
    queue.offer({ ...envelope(chat(`c ${n}`)), lane: CHAT });
    queue.offer(envelope(marker(`m ${n}`)));
    queue.offer(envelope(position(`p ${n}`)));
    queue.offer({ ...envelope(position(`s ${n}`)), lane: STILL });
    queue.offer({ ...envelope(chat(`f ${n}`)), lane: FILE });
  }
  queue.offer(envelope(alert('a1')));
  queue.offer(envelope(alert('a2')));
  const all = drain();
  assert.deepEqual(all.slice(0, 2), ['a1', 'a2']);
  const among = (count: number, letter: string) =>
    all.slice(2, 2 + count).filter((uid) => uid.startsWith(letter)).length;
  assert.deepEqual(
    ['c', 'm', 'p', 's', 'f'].map((letter) => among(1000, letter)),
    [300, 200, 400, 80, 20],
  );
  for (const letter of ['c', 'm', 'p', 's', 'f']) {
    const numbers = all.filter((uid) => uid.startsWith(letter)).map((uid) => Number(uid.slice(2)));
    assert.deepEqual(
      numbers,
      numbers.toSorted((a, b) => a - b),
    );
  }
  assert.equal(queue.length, 0);
  assert.equal(queue.bytes, 0);
});

test('a lane that needed nothing for long has no claim on what it did not use', () => {
  const { queue } = open({ events: 10_000, bytes: 1e9 });
  for (let n = 0; n < 500; n++) queue.offer(envelope(position(`p${n}`)));
  for (let n = 0; n < 400; n++) queue.take(0);
  for (let n = 0; n < 100; n++) queue.offer(envelope(chat(`c${n}`)));
  const next = Array.from({ length: 70 }, () => queue.take(0)!.lane);
  assert.ok(Math.abs(next.filter((lane) => lane === CHAT).length - 30) <= 1);
});

test('the chat that waits when a connection begins goes before positions', () => {
  const { queue, drain } = open();
  for (const event of [position('p1'), chat('c1'), alert('a'), chat('c2'), position('p2'), chat('c3')])
    queue.offer(envelope(event));
  queue.resume();
  assert.deepEqual(drain(), ['a', 'c1', 'c2', 'c3', 'p1', 'p2']);
});

test('of the edits of a marker the last one waits, in the place of the first; a delete takes its place, and a new one that of the delete', () => {
  const { queue, dropped, drain } = open();
  for (const event of [marker('m', { lat: 1 }), marker('n'), marker('m', { lat: 2 })]) queue.offer(envelope(event));
  assert.deepEqual(dropped, ['m:superseded']);
  queue.offer(envelope(deleted('n')));
  assert.deepEqual(dropped, ['m:superseded', 'n:superseded']);
  queue.offer(envelope(marker('n', { lat: 3 })));
  assert.deepEqual(dropped, ['m:superseded', 'n:superseded', 'd:superseded']);
  queue.offer(envelope(deleted('m')));
  assert.deepEqual(drain(), ['d', 'n']);
});

test('a unit that stops waits once, whatever lane its words are of', () => {
  const { queue, dropped } = open();
  queue.offer(envelope(position('u')));
  queue.offer({ ...envelope(position('u')), lane: STILL });
  assert.deepEqual(dropped, ['u:superseded']);
  assert.deepEqual([queue.lengthOf(MOVING), queue.lengthOf(STILL), queue.length], [0, 1, 1]);
});

test('an announcement does not replace a delete that waits', () => {
  const { queue, dropped } = open();
  queue.offer(envelope(deleted('u')));
  const message = { kind: 'contact', op: 'create', contact: { uid: 'u', callsign: '' } } as const;
  queue.offer({ ...envelope(position('u')), message });
  assert.deepEqual(dropped, ['d:superseded']);
});

test('a cancel goes after its alert, which it does not replace', () => {
  const { queue, drain } = open();
  queue.offer(envelope(position('a', { type: 'b-a-o-tbl' })));
  queue.offer(envelope(position('a', { type: 'b-a-o-can' })));
  assert.deepEqual(
    [queue.take(0)!, queue.take(0)!].map(({ message }) => message.kind === 'event' && message.event.type),
    ['b-a-o-tbl', 'b-a-o-can'],
  );
  assert.deepEqual(drain(), []);
});

test('a position that would arrive dead is not sent', () => {
  const { queue, dropped } = open();
  queue.offer(envelope(position('dead'), 10_000));
  queue.offer(envelope(marker('marker'), 10_000));
  assert.equal(queue.take(1000, { transitMs: 9500 })!.conflate, 'marker');
  assert.equal(queue.take(1000, { transitMs: 9500 }), undefined);
  assert.deepEqual(dropped, ['dead:expired']);
  assert.equal(queue.length, 0);
  assert.equal(queue.bytes, 0);
});

test('a newer position takes the place of the one that waits', () => {
  const { queue, dropped, drain } = open();
  queue.offer(envelope(position('a', { lat: 1 })));
  queue.offer(envelope(position('b')));
  queue.offer(envelope(position('a', { lat: 2 }), Number.POSITIVE_INFINITY, 300));
  assert.equal(queue.bytes, 400);
  const first = queue.take(0)!;
  assert.equal(first.message.kind === 'event' && first.message.event.lat, 2);
  assert.deepEqual(drain(), ['b']);
  assert.deepEqual(dropped, ['a:superseded']);
});

test('chat and alerts are never conflated; positions for some are apart from those for others', () => {
  const { queue, drain } = open();
  for (const event of [
    chat('c'),
    chat('c'),
    alert('a'),
    alert('a'),
    position('d', { destUids: ['x', 'y'] }),
    position('d', { destUids: ['y', 'x'] }),
    position('d', { destUids: ['x'] }),
    position('d'),
  ]) {
    queue.offer(envelope(event));
  }
  assert.deepEqual(drain(), ['a', 'a', 'c', 'd', 'd', 'c', 'd']);
});

test('when full the oldest of the least urgent lane goes, and a position never pushes out a chat', () => {
  const { queue, dropped, drain } = open({ events: 3, bytes: 1e6 });
  for (const event of [position('p1'), position('p2'), chat('c1'), chat('c2')]) queue.offer(envelope(event));
  assert.deepEqual(dropped, ['p1:queue_full']);
  queue.offer(envelope(alert('a1')));
  assert.deepEqual(dropped, ['p1:queue_full', 'p2:queue_full']);
  queue.offer(envelope(position('p3')));
  assert.deepEqual(dropped.at(-1), 'p3:queue_full');
  queue.offer(envelope(alert('a2')));
  assert.deepEqual(dropped.at(-1), 'c1:queue_full');
  assert.deepEqual(drain(), ['a1', 'a2', 'c2']);
});

test('bytes are bounded too, but one message larger than the bound still passes', () => {
  const { queue, dropped, drain } = open({ events: 100, bytes: 1000 });
  queue.offer(envelope(chat('small')));
  queue.offer(envelope(chat('huge'), Number.POSITIVE_INFINITY, 5000));
  assert.deepEqual(dropped, ['small:queue_full']);
  assert.deepEqual(drain(), ['huge']);
});

test('what went stale while waiting is dropped when its turn comes; alerts are not', () => {
  const { queue, dropped, drain } = open();
  queue.offer(envelope(alert('a'), 10));
  queue.offer(envelope(position('old'), 10));
  queue.offer(envelope(position('new'), 1000));
  assert.deepEqual(drain(500), ['a', 'new']);
  assert.deepEqual(dropped, ['old:expired']);
});

test('places stay right through long use', () => {
  const { queue, dropped } = open({ events: 5000, bytes: 1e9 });
  let out = 0;
  for (let round = 0; round < 20_000; round++) {
    queue.offer(envelope(position(`u${round % 700}`)));
    if (round % 3 === 0) {
      queue.take(0);
      out++;
    }
  }
  assert.equal(out + dropped.length + queue.length, 20_000);
  const left = new Set<string>();
  for (let next = queue.take(0); next; next = queue.take(0)) {
    assert.ok(!left.has(next.conflate), 'one entry per uid');
    left.add(next.conflate);
  }
});

test('clear names the reason for each message', () => {
  const { queue, dropped } = open();
  queue.offer(envelope(position('p')));
  queue.offer(envelope(alert('a')));
  queue.clear('peer_gone');
  assert.deepEqual(dropped.sort(), ['a:peer_gone', 'p:peer_gone']);
  assert.equal(queue.bytes, 0);
});
