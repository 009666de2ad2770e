import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { ManualClock, systemClock } from '../../src/lib/clock.ts';

test('a very long delay is not taken for none', async (t) => {
  let ran = 0;
  for (const delayMs of [2 ** 31, Number.POSITIVE_INFINITY]) t.after(systemClock.after(delayMs, () => ran++));
  await setTimeout(20);
  assert.equal(ran, 0);
});

test('virtual time runs what falls due, in order, and only the wall jumps', () => {
  const clock = new ManualClock(1000);
  const ran: string[] = [];
  clock.after(20, () => ran.push('b'));
  clock.after(10, () => {
    ran.push('a');
    clock.after(10, () => ran.push('c'));
  });
  const cancel = clock.after(15, () => ran.push('never'));
  clock.jumpWall(-500);
  clock.advance(10);
  cancel();
  assert.deepEqual([ran, clock.nowMs(), clock.wallMs()], [['a'], 10, 510]);
  clock.advance(10);
  assert.deepEqual(ran, ['a', 'b', 'c']);
});
