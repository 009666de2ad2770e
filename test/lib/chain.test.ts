import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Chain } from '../../src/lib/chain.ts';

test('things keep their order, are moved to the end, and leave from anywhere', () => {
  const chain = new Chain<string>();
  assert.deepEqual([chain.first, chain.length, [...chain]], [undefined, 0, []]);
  const [a, b, c] = ['a', 'b', 'c'].map((item) => chain.add(item));
  assert.deepEqual([chain.first, chain.length, [...chain]], ['a', 3, ['a', 'b', 'c']]);
  chain.toEnd(c!);
  chain.toEnd(a!);
  assert.deepEqual([...chain], ['b', 'c', 'a']);
  chain.toEnd(c!);
  assert.deepEqual([...chain], ['b', 'a', 'c']);
  chain.remove(a!);
  assert.deepEqual([chain.first, [...chain]], ['b', ['b', 'c']]);
  assert.deepEqual([a!.previous, a!.next], [undefined, undefined], 'it holds on to nothing');
  chain.remove(b!);
  chain.remove(c!);
  assert.deepEqual([chain.first, chain.length, [...chain]], [undefined, 0, []]);
});

test('the one at hand may be removed on the way', () => {
  const chain = new Chain<number>();
  const places = [0, 1, 2, 3].map((item) => chain.add(item));
  const met = [];
  for (const item of chain) {
    met.push(item);
    chain.remove(places[item]!);
  }
  assert.deepEqual([met, chain.length], [[0, 1, 2, 3], 0]);
});
