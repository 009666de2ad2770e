import assert from 'node:assert/strict';
import { test } from 'node:test';
import { serial } from '../../src/lib/serial.ts';

test('work asked for while it runs is done once more, never twice at a time, and the last word counts', async () => {
  const waits: (() => void)[] = [];
  const done: number[] = [];
  let file = 0;
  const reload = serial(async () => {
    const read = file;
    await new Promise<void>((go) => waits.push(go));
    done.push(read);
  });
  file = 1;
  const first = reload();
  file = 2;
  void reload();
  file = 3;
  const last = reload();
  assert.equal(waits.length, 1);
  waits[0]!();
  await new Promise(setImmediate);
  assert.deepEqual([done, waits.length], [[1], 2]);
  waits[1]!();
  await Promise.all([first, last]);
  assert.deepEqual(done, [1, 3]);
  const next = reload();
  waits[2]!();
  await next;
  assert.deepEqual(done, [1, 3, 3]);
});
