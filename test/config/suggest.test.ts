// "Did you mean": near words are found, far ones are not made up.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { editDistance, suggest } from '../../src/config/suggest.ts';

const KEYS = [
  'name',
  'kind',
  'enabled',
  'listen',
  'connect',
  'policy',
  'groups_in',
  'groups_out',
  'max_hops',
  'in',
  'tls',
];

test('distance counts insertions, deletions, replacements and swaps', () => {
  for (const [a, b, distance] of [
    ['', '', 0],
    ['', 'abc', 3],
    ['abc', '', 3],
    ['listen', 'lisen', 1],
    ['port', 'prot', 1],
    ['kitten', 'sitting', 3],
    ['ca', 'abc', 3],
  ] as const) {
    assert.equal(editDistance(a, b), distance, `${a} ${b}`);
  }
});

test('what people type by mistake finds the key', () => {
  for (const [typed, meant] of [
    ['lisen', 'listen'],
    ['listenn', 'listen'],
    ['lsiten', 'listen'],
    ['Listen', 'listen'],
    ['groups-in', 'groups_in'],
    ['groupsOut', 'groups_out'],
    ['group_in', 'groups_in'],
    ['maxhops', 'max_hops'],
    ['MAX_HOP', 'max_hops'],
    ['enable', 'enabled'],
    ['conect', 'connect'],
    ['polciy', 'policy'],
    ['tsl', 'tls'],
    ['nmae', 'name'],
  ] as const) {
    assert.equal(suggest(typed, KEYS), meant, typed);
  }
});

test('what resembles nothing gets no suggestion', () => {
  for (const typed of ['colour', 'xyz', 'frequency', '', 'a'.repeat(10_000)]) {
    assert.equal(suggest(typed, KEYS), undefined, typed.slice(0, 20));
  }
  assert.equal(suggest('name', []), undefined);
});
