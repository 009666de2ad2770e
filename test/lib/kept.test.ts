import assert from 'node:assert/strict';
import { test } from 'node:test';
import { kept } from '../../src/lib/kept.ts';

const payload = (bytes: number) => Buffer.from(Array.from({ length: bytes }, (_, i) => i & 0xff));

test('what is kept does not hold on to a chunk much larger than itself', () => {
  const chunk = Buffer.concat([payload(9000), payload(7384)], 65_536);
  for (const [start, end] of [
    [5, 305],
    [5, 5],
    [100, 4000],
    [0, 9000],
    [7, 8],
  ] as const) {
    const part = kept(chunk.subarray(start, end));
    assert.notEqual(part.buffer, chunk.buffer);
    assert.deepEqual(part, chunk.subarray(start, end));
    assert.ok(part.buffer.byteLength <= Math.max(8192, part.length));
  }
  assert.equal(kept(chunk.subarray(0, 40_000)).buffer, chunk.buffer, 'not worth a copy');
});

test('what is kept is not overwritten by what is kept later', () => {
  const chunk = Buffer.concat([payload(1500)], 65_536);
  const parts = Array.from({ length: 100 }, (_, i) => kept(chunk.subarray(i, i + 1000)));
  for (const [i, part] of parts.entries()) assert.deepEqual(part, chunk.subarray(i, i + 1000));
});
