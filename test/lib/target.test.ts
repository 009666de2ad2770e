// Paths from outside: what may pass, and everything that must not.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MAX_TARGET, parseTarget } from '../../src/lib/target.ts';

test('a path is taken apart and kept as it came', () => {
  assert.deepEqual(parseTarget('/'), { path: '/', query: '', segments: [] });
  assert.deepEqual(parseTarget('/iot/k%C3%BCche/?on=1&x=%2F..'), {
    path: '/iot/k%C3%BCche/',
    query: '?on=1&x=%2F..',
    segments: ['iot', 'küche'],
  });
  assert.deepEqual(parseTarget('/a.b/...c/d..')?.segments, ['a.b', '...c', 'd..']);
});

test('nothing that may mean another path to somebody else gets through', () => {
  const hostile = [
    '',
    'iot',
    'http://127.0.0.1/iot',
    '//iot',
    '/iot//x',
    '/..',
    '/iot/..',
    '/iot/../x',
    '/iot/./x',
    '/.',
    '/%2e%2e/x',
    '/%2E./x',
    '/iot/..;/x',
    '/iot/.;a=b/x',
    '/iot%2fx',
    '/iot%2Fx',
    '/iot%5cx',
    '/iot\\x',
    '/iot%00',
    '/iot%0a',
    '/iot%7f',
    '/iot%c2%85',
    '/iot\n',
    '/iot x',
    '/iot#x',
    '/küche',
    '/iot%252e%252e/x',
    '/iot%252fx',
    '/iot%',
    '/iot%zz',
    '/iot%ff',
    '/iot%c0%af',
    '/iot?a b',
    '/iot?a\r\nx: y',
    '/iot?a#b',
  ];
  for (const raw of hostile) assert.equal(parseTarget(raw), undefined, JSON.stringify(raw));
});

test('length is bounded, with the query', () => {
  assert.ok(parseTarget(`/${'a'.repeat(MAX_TARGET - 1)}`));
  assert.equal(parseTarget(`/${'a'.repeat(MAX_TARGET)}`), undefined);
  assert.equal(parseTarget(`/a?${'a'.repeat(MAX_TARGET)}`), undefined);
  assert.equal(parseTarget(`/${'%41'.repeat(400_000)}`), undefined);
});
