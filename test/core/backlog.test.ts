// All queues together: bounded, and the one that has most to spare gives first.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BACKLOG_BYTES, Backlog, PLACE_BYTES } from '../../src/core/backlog.ts';
import { CHAT, MOVING } from '../../src/core/message.ts';
import { Bench, chat, inbound, position } from './support.ts';

/** What one position of these costs that waits nowhere else. */
const wire = { format: 'xml', bytes: Buffer.alloc(500) } as const;
const COST = wire.bytes.length + PLACE_BYTES;

function stalled(bench: Bench, name: string) {
  const session = bench.join(name);
  session.room = 0;
  return session;
}

const report = (uid: string) => inbound(position(uid, { callsign: '' }), { wire });

test('over the bound of all queues the fattest gives first, by name; chat is spared', () => {
  const bench = new Bench({ backlog: 100 * COST });
  const a = bench.join('a');
  stalled(bench, 'thin');
  for (let n = 0; n < 90; n++) a.port.deliver(report(`u${n}`));
  a.port.deliver(inbound(chat('c'), { wire }));
  stalled(bench, 'late');
  bench.clock.advance(10_000);
  for (let n = 0; n < 500; n++) a.port.deliver(report(`v${n}`));
  const queues = ['thin', 'late'].map((key) => bench.peer(key).queue);
  const kept = queues.map((queue) => queue.lengthOf(MOVING));
  // They share their messages: a hundred places and as many messages, not fifty each.
  const places = kept[0]! + kept[1]! + 1;
  assert.ok(places > 110 && places * PLACE_BYTES < 100 * COST, String(kept));
  assert.ok(Math.abs(kept[0]! - kept[1]!) < 20, String(kept));
  assert.equal(queues[0]!.lengthOf(CHAT), 1);
  const { dropped } = bench.peer('thin').lanes[MOVING]!;
  assert.equal(dropped.queue_full, 590 - kept[0]!);
  assert.deepEqual(bench.balance(), []);
});

test('whoever reads is not hurt by those who do not, and what they let go of is given back', () => {
  const bench = new Bench({ backlog: 50 * COST });
  const a = bench.join('a');
  const reads = bench.join('reads');
  for (let n = 0; n < 8; n++) stalled(bench, `stalled/${n}`);
  for (let n = 0; n < 1000; n++) a.port.deliver(report(`u${n}`));
  assert.equal(reads.events.length, 1000);
  for (let n = 0; n < 8; n++) {
    const { queue } = bench.peer(`stalled/${n}`);
    assert.ok(queue.length > 0 && queue.length < 50, `${queue.length}`);
  }
  bench.hub.forget('stalled');
  stalled(bench, 'next');
  for (let n = 0; n < 40; n++) a.port.deliver(report(`v${n}`));
  assert.equal(bench.peer('next').lanes[MOVING]!.dropped.queue_full, undefined);
  assert.deepEqual(bench.balance(), []);
});

test('counts what waits in several queues once, and its places each', () => {
  const backlog = new Backlog();
  const envelope = { wire, lane: MOVING } as never;
  for (let n = 0; n < 3; n++) backlog.added(envelope);
  assert.equal(backlog.bytes, 500 + 3 * PLACE_BYTES);
  for (let n = 0; n < 3; n++) backlog.removed(envelope);
  assert.equal(backlog.bytes, 0);
  assert.ok(BACKLOG_BYTES >= 4 << 20);
});
