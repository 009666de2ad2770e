import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Shares } from '../../src/core/shares.ts';

/** Entries are `OWNER` and a digit or more of size: `a1`, `b50`. */
function sharesOf(entries: number, bytes = 1000) {
  const gone: string[] = [];
  const shares = new Shares<string>({
    entries,
    bytes,
    sizeOf: (value) => Number(value.slice(1)),
    ownerOf: (value) => value[0]!,
    onForget: (key) => gone.push(key),
  });
  return { shares, gone };
}

test('who has more than an equal share loses of his own what he did not renew for longest', () => {
  const { shares, gone } = sharesOf(6);
  for (const key of ['a1', 'a2', 'b1', 'b2', 'b3', 'b4']) shares.set(key, `${key[0]}1`);
  shares.renew('b1', 'b1');
  for (const key of ['b5', 'b6', 'b7']) shares.set(key, 'b1');
  assert.deepEqual(
    [gone, shares.keys().sort()],
    [
      ['b2', 'b3', 'b4'],
      ['a1', 'a2', 'b1', 'b5', 'b6', 'b7'],
    ],
  );
});

test('who has less takes from who has most, until they have the same', () => {
  const { shares, gone } = sharesOf(6);
  for (let each = 0; each < 6; each++) shares.set(`b${each}`, 'b1');
  for (let each = 0; each < 5; each++) shares.set(`a${each}`, 'a1');
  assert.deepEqual(gone, ['b0', 'b1', 'b2', 'a0', 'a1']);
  shares.set('c0', 'c1');
  assert.deepEqual([gone.at(-1), shares.size], ['b3', 6]);
});

test('by bytes, too; one that is larger than all there may be keeps nobody else out', () => {
  const { shares, gone } = sharesOf(100, 20);
  for (const key of ['a1', 'a2']) shares.set(key, 'a5');
  for (const key of ['b1', 'b2']) shares.set(key, 'b8');
  shares.set('c1', 'c50');
  assert.deepEqual(
    [gone, shares.keys()],
    [
      ['b1', 'c1'],
      ['a1', 'a2', 'b2'],
    ],
  );
});

test('what changes its owner counts with the new one', () => {
  const { shares, gone } = sharesOf(4);
  for (const key of ['1', '2', '3']) shares.set(key, 'a1');
  shares.set('4', 'b1');
  shares.replace('1', 'b1');
  shares.replace('2', 'b1');
  shares.replace('none', 'b1');
  shares.set('5', 'b1');
  assert.deepEqual([gone, shares.get('1'), shares.size], [['4'], 'b1', 4]);
  for (const key of ['1', '2', '3', '5']) shares.delete(key);
  assert.deepEqual([shares.size, shares.keys()], [0, []]);
});
