import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
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

test('of one owner alone what was not renewed for longest goes, by number and by bytes', () => {
  const { shares, gone } = sharesOf(3, 10);
  for (const key of ['a', 'b', 'c']) shares.set(key, 'o2');
  shares.set('a', 'o2');
  shares.set('d', 'o2');
  assert.deepEqual([gone, shares.keys()], [['b'], ['c', 'a', 'd']]);
  shares.replace('c', 'o5');
  shares.set('e', 'o3');
  assert.deepEqual(
    [gone, shares.keys(), [...shares.values()], [...shares.entries()].at(-1)],
    [
      ['b', 'c'],
      ['a', 'd', 'e'],
      ['o2', 'o2', 'o3'],
      ['e', 'o3'],
    ],
  );
  shares.set('a', 'o7');
  assert.deepEqual(shares.keys(), ['e', 'a'], 'it counts as it is now');
  shares.set('f', 'o50');
  assert.deepEqual(shares.keys(), ['f'], 'one larger than the bound stands alone');
  shares.delete('f');
  for (const key of ['a', 'b', 'c']) shares.set(key, 'o3');
  assert.equal(shares.size, 3);
});

test('what is set again is the newest of all, whether its owner changes or not', () => {
  const { shares } = sharesOf(4);
  for (const key of ['1', '2', '3']) shares.set(key, 'a1');
  shares.set('1', 'a1');
  shares.set('2', 'b1');
  assert.deepEqual(shares.keys(), ['3', '1', '2']);
  for (const key of ['4', '5']) shares.set(key, 'a1');
  assert.deepEqual(shares.keys(), ['1', '2', '4', '5']);
});

test('who has more than an equal share loses of his own what he did not renew for longest', () => {
  const { shares, gone } = sharesOf(6);
  for (const key of ['a1', 'a2', 'b1', 'b2', 'b3', 'b4']) shares.set(key, `${key[0]}1`);
  shares.renew('b1');
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

test('what is replaced dies young: no old garbage holds on to it', () => {
  const script = `
    import { getHeapSpaceStatistics } from 'node:v8';
    import { Shares } from ${JSON.stringify(join(import.meta.dirname, '../../src/core/shares.ts'))};
    const shares = new Shares({ entries: 1000, bytes: 1e9, sizeOf: () => 1, ownerOf: () => 'o' });
    const say = (count) => { for (let n = 0; n < count; n++) shares.set('u' + (n % 50), { n, words: new Array(100).fill(n) }); };
    const old = () => getHeapSpaceStatistics().find(({ space_name }) => space_name === 'old_space').space_used_size;
    say(5_000);
    gc();
    const before = old();
    say(20_000);
    console.log(Math.round((old() - before) / 20_000));
  `;
  const flags = [
    '--expose-gc',
    '--no-allocation-site-pretenuring',
    '--min-semi-space-size=1',
    '--max-semi-space-size=1',
  ];
  const { stdout } = spawnSync(process.execPath, [...flags, '--input-type=module', '-e', script], { encoding: 'utf8' });
  assert.notEqual(stdout.trim(), '');
  assert.ok(Number(stdout) < 100, `of 900 bytes each ${stdout.trim()} became old`);
});
