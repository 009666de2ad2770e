import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../../src/lib/clock.ts';
import { guardIntake } from '../../src/links/intake.ts';

test('a socket over its rate is paused once, and resumed when the debt is paid', () => {
  const clock = new ManualClock();
  const calls: string[] = [];
  const socket = { pause: () => calls.push('pause'), resume: () => calls.push('resume') };
  const take = guardIntake(socket, { bytesPerSecond: 1000, burst: 500 }, clock);
  take(500);
  assert.deepEqual(calls, [], 'the burst is free');
  take(100);
  take(100);
  assert.deepEqual(calls, ['pause']);
  clock.advance(99);
  assert.deepEqual(calls, ['pause']);
  clock.advance(1);
  assert.deepEqual(calls, ['pause', 'resume']);
  take(200);
  assert.deepEqual(calls, ['pause', 'resume', 'pause']);
});
