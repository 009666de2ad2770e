import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import type { Envelope } from '../../src/core/message.ts';
import { ManualClock } from '../../src/lib/clock.ts';
import { Outlet } from '../../src/links/outlet.ts';

/** An outlet whose network the test plays: it sees each write and says when it is taken. */
function rig(options: { maxPendingBytes?: number; oneFramePerWrite?: boolean } = {}) {
  let seq = 0;
  const clock = new ManualClock();
  const writes: string[] = [];
  const taken: ((error?: Error) => void)[] = [];
  const told = { writable: 0, stuck: 0 };
  const outlet = new Outlet(
    (bytes, done) => {
      writes.push(bytes.toString());
      taken.push(done);
    },
    { writable: () => told.writable++, stuck: () => told.stuck++ },
    { maxPendingBytes: 100, oneFramePerWrite: false, writeTimeoutMs: 1_000, clock, ...options },
  );
  const take = async (error?: Error) => {
    taken.shift()!(error);
    await turn();
  };
  const push = (text: string) => outlet.push(Buffer.from(text), { seq: ++seq } as Envelope);
  const control = (text: string, place: 'first' | 'last') => outlet.control(Buffer.from(text), place);
  return { outlet, clock, writes, told, take, push, control };
}

const seqs = (envelopes: readonly Envelope[]) => envelopes.map(({ seq }) => seq);

test('the frames of a turn leave in one write, the next turn’s when that one is taken', async () => {
  const { outlet, writes, push, take } = rig();
  assert.equal(outlet.busy, false);
  assert.equal(push('a'), true);
  assert.equal(push('b'), true);
  assert.deepEqual(writes, []);
  assert.equal(outlet.busy, true);
  await turn();
  push('c');
  push('d');
  await turn();
  assert.deepEqual(writes, ['ab']);
  await take();
  assert.deepEqual(writes, ['ab', 'cd']);
  assert.equal(outlet.busy, true);
  await take();
  assert.equal(outlet.busy, false);
});

test('one frame per write, each awaiting the last', async () => {
  const { writes, push, take } = rig({ oneFramePerWrite: true });
  for (const frame of ['a', 'b', 'c']) push(frame);
  await turn();
  assert.deepEqual(writes, ['a']);
  await take();
  assert.deepEqual(writes, ['a', 'b']);
  await take();
  assert.deepEqual(writes, ['a', 'b', 'c']);
});

test('full says no, and later that there is room; a single large frame passes when nothing waits', async () => {
  const { writes, push, take, told } = rig();
  assert.equal(push('x'.repeat(500)), true, 'larger than the limit, but alone');
  assert.equal(push('y'), false);
  assert.equal(told.writable, 0);
  await turn();
  assert.equal(told.writable, 1, 'what waited is on its way');
  assert.equal(push('z'), true);
  await take();
  assert.deepEqual(writes, ['x'.repeat(500), 'z']);
  assert.equal(told.writable, 1, 'nobody was refused since');
});

test('an idle wire takes a burst; one that is being written to takes the limit', async () => {
  const { push, take } = rig();
  for (let n = 0; n < 4; n++) assert.equal(push('x'.repeat(100)), true);
  assert.equal(push('y'), false);
  await turn();
  assert.equal(push('x'.repeat(100)), true);
  assert.equal(push('y'), false);
  await take();
});

test('with one frame per write, room is offered as frames leave', async () => {
  const { push, take, told } = rig({ oneFramePerWrite: true, maxPendingBytes: 20 });
  assert.equal(push('x'.repeat(10)), true);
  assert.equal(push('x'.repeat(10)), true);
  assert.equal(push('x'.repeat(10)), false);
  await turn();
  await take();
  assert.equal(told.writable, 1);
});

test('a control frame goes first or in its turn, full or not', async () => {
  const { writes, push, control, take } = rig();
  push('x'.repeat(400));
  assert.equal(push('no'), false);
  assert.equal(control('pong ', 'first'), true);
  assert.equal(control(' switch', 'last'), true);
  await turn();
  assert.deepEqual(writes, [`pong ${'x'.repeat(400)} switch`]);
  await take();
});

test('control frames are bounded: a peer that makes us answer and does not read gets no more answers', async () => {
  const { control } = rig();
  const accepted = Array.from({ length: 100 }, () => control('pong', 'first')).filter(Boolean);
  assert.equal(accepted.length, 16);
  await turn();
  assert.equal(control('pong', 'first'), true, 'those are on their way');
});

test('control frames written one by one make room for others', async () => {
  const { control, take, writes } = rig({ oneFramePerWrite: true });
  for (let count = 0; count < 16; count++) control('x', 'last');
  await turn();
  for (let count = 0; count < 16; count++) await take();
  assert.equal(writes.length, 16);
  assert.equal(control('x', 'last'), true);
});

test('close returns what is not known to be with the network, in order, without control frames', async () => {
  const { outlet, push, control, take, writes } = rig();
  push('in flight');
  control('in flight', 'last');
  await turn();
  push('waiting');
  push('waiting');
  control('waiting', 'first');
  assert.deepEqual(seqs(outlet.close()), [1, 2, 3]);
  assert.deepEqual(outlet.close(), []);
  assert.equal(push('late'), false);
  assert.equal(control('late', 'last'), false);
  await take();
  assert.equal(writes.length, 1, 'nothing is written after close');
});

test('with one frame per write, close returns the rest', async () => {
  const { outlet, push, take } = rig({ oneFramePerWrite: true });
  for (const text of ['x', 'y', 'z']) push(text);
  await turn();
  await take();
  assert.deepEqual(seqs(outlet.close()), [2, 3]);
});

test('a write nobody takes is stuck after the time-out; one that is taken in time is not', async () => {
  const { clock, push, take, told } = rig();
  push('a');
  await turn();
  clock.advance(900);
  await take();
  push('b');
  await turn();
  clock.advance(900);
  assert.equal(told.stuck, 0, 'the second write is young');
  clock.advance(100);
  assert.equal(told.stuck, 1);
  clock.advance(10_000);
  assert.equal(told.stuck, 1);
});

test('a write in pieces is stuck only when no piece was taken for the time-out', async () => {
  const { outlet, clock, push, told } = rig();
  push('a');
  await turn();
  clock.advance(900);
  outlet.progressed();
  clock.advance(900);
  assert.equal(told.stuck, 0);
  clock.advance(100);
  assert.equal(told.stuck, 1);
});

test('after a failed write nothing more is written', async () => {
  const { writes, push, take } = rig();
  push('a');
  await turn();
  push('b');
  await take(new Error('gone'));
  assert.deepEqual(writes, ['a']);
});

test('batches of a peer’s own: memory of a write is used again when the network has taken it, and not before', async () => {
  const held: { readonly bytes: Buffer; readonly done: () => void }[] = [];
  const options = { maxPendingBytes: 100, oneFramePerWrite: false, ownBatches: true, writeTimeoutMs: 1_000 };
  const outletOf = () =>
    new Outlet(
      (bytes, done) => held.push({ bytes, done }),
      { writable() {}, stuck() {} },
      { ...options, clock: new ManualClock() },
    );
  const one = outletOf();
  const other = outletOf();
  const envelope = { seq: 1 } as Envelope;
  one.push(Buffer.from('body'), envelope, Buffer.from('head '));
  one.push(Buffer.from(' more'), envelope);
  await turn();
  other.push(Buffer.from('another peer'), envelope);
  await turn();
  assert.deepEqual(
    held.map(({ bytes }) => String(bytes)),
    ['head body more', 'another peer'],
  );
  held[0]!.done();
  one.push(Buffer.from('next'), envelope);
  await turn();
  assert.equal(held[2]!.bytes.buffer, held[0]!.bytes.buffer);
  assert.equal(String(held[1]!.bytes), 'another peer', 'still under way');
  assert.equal(one.close().length, 1, 'the head says no message');
});
