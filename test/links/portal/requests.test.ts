// Requests without a wire: what is asked and answered, what is worked on, what waits, what is refused.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { ManualClock } from '../../../src/lib/clock.ts';
import { Bulk } from '../../../src/links/portal/bulk.ts';
import { Calls } from '../../../src/links/portal/calls.ts';
import { MAX_OUTSTANDING, MAX_RESPONSE_BYTES, MAX_WAITING_REQUESTS } from '../../../src/links/portal/limits.ts';
import { refusalOf, WorkPool } from '../../../src/links/portal/work.ts';

const NEVER = new AbortController().signal;

function answer(id: number, body = '', over: { more?: boolean; status?: number } = {}) {
  return { id, status: 200, headers: { a: 'b' }, body: Buffer.from(body), more: false, hello: undefined, ...over };
}

test('an answer in pieces is one answer, with the head of its first piece', async () => {
  const calls = new Calls(new ManualClock());
  let id = 0;
  const call = calls.make((given) => (id = given), NEVER, 1_000);
  assert.deepEqual([id, calls.outstanding, calls.waitingSinceMs], [1, 1, 0]);
  calls.answered(answer(99, 'for nobody'));
  calls.answered(answer(id, 'one ', { more: true, status: 201 }));
  calls.answered({ ...answer(id, 'two', { status: 500 }), headers: {} });
  assert.deepEqual(await call, { status: 201, headers: { a: 'b' }, body: Buffer.from('one two') });
  assert.equal(calls.outstanding, 0);
});

test('no answer, given up, connection lost, too many at once, without end: each is an answer of ours', async () => {
  const clock = new ManualClock();
  const calls = new Calls(clock);
  const given = new AbortController();
  const late = calls.make(() => {}, NEVER, 30_000);
  const abandoned = calls.make(() => {}, given.signal, 30_000);
  given.abort();
  assert.equal((await abandoned).status, 499);
  clock.advance(30_000);
  assert.equal((await late).status, 504);
  let id = 0;
  const endless = calls.make((its) => (id = its), NEVER, 30_000);
  const piece = 'x'.repeat(1 << 20);
  for (let sent = 0; sent <= MAX_RESPONSE_BYTES; sent += piece.length)
    calls.answered(answer(id, piece, { more: true }));
  assert.equal((await endless).status, 502);
  const waiting = Array.from({ length: MAX_OUTSTANDING }, () => calls.make(() => {}, NEVER, 30_000));
  assert.equal((await calls.make(() => assert.fail('not sent'), NEVER, 1)).status, 429);
  calls.close();
  for (const each of waiting) assert.equal((await each).status, 502);
});

test('so many workers, a bounded queue, and the next in line when one is done', async () => {
  const pool = new WorkPool(2);
  const running: (() => void)[] = [];
  const task = () => new Promise<void>((done) => running.push(done));
  for (let n = 0; n < 2 + MAX_WAITING_REQUESTS; n++) assert.ok(pool.submit(task));
  assert.ok(!pool.submit(task), 'and no more');
  assert.equal(running.length, 2);
  running.shift()!();
  await turn();
  assert.equal(running.length, 2, 'one done, the next begun');
  assert.ok(pool.submit(task));
  pool.workers = 4;
  running.shift()!();
  await turn();
  assert.equal(running.length, 4, 'more workers, by configuration');
});

test('paths that could mean another place are refused, whoever asks', () => {
  const status = (path: string, method = 'GET', body = 0) =>
    refusalOf({ method, path, body: Buffer.alloc(body) })?.status ?? 200;
  for (const good of ['/health', '/', '/node/relay-b/health', '/api/cot?uid=a%20b&x=..', '/a.b/..c/d..', '/ünï']) {
    assert.equal(status(good), 200, good);
  }
  for (const bad of [
    '',
    'health',
    '/..',
    '/../etc/passwd',
    '/a/../b',
    '/a/..',
    '/./a',
    '//host/a',
    '/a//b',
    '/a%2fb',
    '/a%2F..%2Fb',
    '/%2e%2e/b',
    '/%252e%252e/b',
    '/a\\b',
    '/a%5cb',
    '/a\u0000b',
    '/a%00b',
    '/a\r\nb',
    '/a%0d%0ab',
    '/a?b\n',
    '/a%',
    '/a%zz',
    '/a#b',
    'http://host/a',
  ]) {
    assert.equal(status(bad), 400, JSON.stringify(bad));
  }
  assert.equal(status(`/${'a'.repeat(1_023)}`), 200);
  assert.equal(status(`/${'a'.repeat(1_024)}`), 414);
  assert.equal(status(`/${'a'.repeat(1 << 20)}`), 414);
  for (const method of ['get', 'SPLICE', 'TRACE', '']) assert.equal(status('/', method), 405, method);
  assert.equal(status('/', 'CALL'), 200);
  assert.equal(status('/', 'PUT', 256 << 10), 200);
  assert.equal(status('/', 'PUT', (256 << 10) + 1), 413);
});

/** Frames as they go out; `room` of them may. */
function rig(room = Number.POSITIVE_INFINITY) {
  const out: string[] = [];
  const state = { room };
  const bulk = new Bulk({
    send(frame) {
      if (state.room-- <= 0) return false;
      out.push(frame.toString('latin1', 0, 2));
      return true;
    },
    prove() {
      if (state.room-- <= 0) return false;
      out.push('?');
      return true;
    },
  });
  const frames = (name: string, sizes: readonly number[]) =>
    sizes.map((size, n) => Buffer.from(`${name}${n}`.padEnd(size, '.'))).values();
  return { bulk, out, state, frames };
}

test('large pieces wait for a sign that the last one arrived, and take turns; small ones do not wait', async () => {
  const { bulk, out, frames } = rig();
  const a = bulk.push(frames('a', [2_000, 2_000, 10]));
  bulk.push(frames('b', [2_000, 10]));
  bulk.push(frames('c', [10]));
  assert.deepEqual(out.splice(0), ['a0', '?']);
  bulk.arrived();
  assert.deepEqual(out.splice(0), ['a1', '?']);
  bulk.arrived();
  assert.deepEqual(out.splice(0), ['b0', '?']);
  bulk.arrived();
  assert.deepEqual(out.splice(0), ['c0', 'a2', 'b1']);
  assert.equal(await a, undefined);
});

test('a wire without room is waited for; what nobody will read any more is dropped', async () => {
  const { bulk, out, state, frames } = rig(1);
  const a = bulk.push(frames('a', [10, 10, 10]));
  assert.deepEqual(out, ['a0']);
  state.room = 1;
  bulk.pump();
  assert.deepEqual(out, ['a0', 'a1'], 'none lost, none twice');
  bulk.close();
  await a;
  state.room = 9;
  bulk.pump();
  assert.equal(await bulk.push(frames('b', [10])), undefined);
  assert.equal(out.length, 2);
});

test('a sign that cannot be asked for now is asked for when there is room', () => {
  const { bulk, out, state, frames } = rig(1);
  bulk.push(frames('a', [2_000, 10]));
  assert.deepEqual(out, ['a0']);
  state.room = 1;
  bulk.pump();
  bulk.pump();
  assert.deepEqual(out, ['a0', '?']);
  state.room = 1;
  bulk.arrived();
  assert.deepEqual(out, ['a0', '?', 'a1']);
});

test('jobs that wait are bounded', () => {
  const { bulk, frames } = rig(0);
  let taken = 0;
  while (bulk.push(frames('a', [10])) && taken < 10_000) taken++;
  assert.ok(taken > 64 && taken < 1_000);
});
