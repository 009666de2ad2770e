// Hostile and broken YAML: refused in words, with a line, soon.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseConfig } from '../../src/config/load.ts';
import { MAX_PROBLEMS } from '../../src/config/problem.ts';
import { MAX_ALIASES, MAX_BYTES, MAX_DEPTH, plainValue, readYaml } from '../../src/config/yaml.ts';
import { kinds } from '../fixtures/config/kinds.ts';

function refusal(text: string): string {
  const parsed = parseConfig(text, { path: 'f', kinds });
  if ('config' in parsed) return assert.fail('was accepted');
  assert.ok(parsed.problems.length >= 1 && parsed.problems.length <= MAX_PROBLEMS);
  const { line, column, words } = parsed.problems[0]!;
  return `${line}:${column} ${words}`;
}

function aliasBomb(levels: number, width: number): string {
  const lines = ['trust:', '  - &a0 [x]'];
  for (let level = 1; level <= levels; level++) {
    const aliases = Array.from({ length: width }, () => `*a${level - 1}`).join(', ');
    lines.push(`  - &a${level} [${aliases}]`);
  }
  return lines.join('\n');
}

test('alias bombs are refused, by number and by what they unfold to', () => {
  assert.match(refusal(aliasBomb(9, 9)), new RegExp(`more than ${MAX_ALIASES} aliases`));
  assert.equal(refusal(aliasBomb(15, 2)), '1:1 its aliases unfold to too much, or to themselves');
  assert.equal(refusal('a: &a [*a]'), '1:8 no anchor &a before this alias');
  assert.equal(refusal('a: *nowhere'), '1:4 no anchor &nowhere before this alias');
});

test('a policy may be shared by an alias', () => {
  const text = 'links:\n- {name: a, kind: radio, policy: &p {in: false}}\n- {name: b, kind: radio, policy: *p}\n';
  const parsed = parseConfig(text, { path: 'f', kinds });
  assert.ok('config' in parsed);
  assert.deepEqual(
    parsed.config.links.map((link) => link.policy.in),
    [false, false],
  );
});

test('a merge key is a key like any other, and unknown', () => {
  assert.match(refusal('a: &a {name: x}\nlog:\n  <<: *a'), /unknown key/);
});

test('two megabytes, or a megabyte of signs, is refused before it is parsed', () => {
  assert.equal(refusal('# '.repeat(MAX_BYTES)), `1:1 larger than ${MAX_BYTES} bytes`);
  assert.equal(refusal(`name: ${'ä'.repeat(MAX_BYTES / 2)}`), `1:1 larger than ${MAX_BYTES} bytes`);
  for (const sign of ['[', '{a: ', '- ', '? ', '"', '}\n', '&a ', '!a ', '---\n', 'k: v\n']) {
    assert.match(refusal(sign.repeat(Math.floor(MAX_BYTES / sign.length))), /words and signs/, sign);
  }
});

test('deep nesting is refused, at every depth', () => {
  for (const depth of [MAX_DEPTH + 2, 500, 5_000, 40_000]) {
    assert.match(refusal(`name: ${'['.repeat(depth)}${']'.repeat(depth)}`), /nested too deeply/, String(depth));
  }
  const block = Array.from({ length: 300 }, (_, depth) => `${' '.repeat(depth)}a:`).join('\n');
  assert.match(refusal(block), /nested too deeply/);
});

test('broken YAML is told with its line', () => {
  assert.match(refusal('name: a\nlog:\n\tlevel: info\n'), /^3:1 a tab cannot indent in YAML, use spaces/);
  assert.match(refusal('name: a\nlinks: [\n'), /^\d:\d+ \S/);
  assert.match(refusal('name: "a\n'), /^\d:\d+ missing closing/);
  assert.match(refusal('name: a: b\n'), /^1:\d+ nested mappings/);
  assert.match(refusal('name: a\n---\nname: b\n'), /^2:1 more than one document/);
});

test('the same key twice is a problem of its own, however deep', () => {
  assert.equal(refusal('log:\n  level: info\n  level: warn'), '3:3 written twice, first on line 2');
  const read = readYaml('a: 1\n"a": 2');
  assert.deepEqual('file' in read && read.problems, [
    { path: 'a', line: 2, column: 1, words: 'written twice, first on line 1' },
  ]);
});

test('tags, directives and keys that are no text are refused', () => {
  assert.match(refusal('name: !!binary aGVsbG8='), /^1:\d+ tags such as tag:yaml.org,2002:binary are not supported/);
  assert.match(refusal('name: !js/function x'), /^1:\d+ tags such as !js\/function/);
  assert.match(refusal('hosts: !!set {a}'), /tags such as/);
  assert.match(refusal('!!map {name: a}'), /tags such as/);
  assert.match(refusal('!!str name: a'), /a key must be plain text/);
  assert.match(refusal('? [a, b]\n: c'), /a key must be plain text/);
  assert.match(refusal('%YAML 1.1\n---\nlog: {level: info}'), /^1:1 YAML directives are not supported/);
});

test('a key named __proto__ is unknown and changes nothing', () => {
  assert.match(refusal('__proto__: {name: evil}'), /^1:1 unknown key/);
  assert.match(refusal('log: {__proto__: {level: debug}}'), /^1:7 unknown key/);
  assert.equal(({} as { level?: string }).level, undefined);
});

test('places are found by path, and the nearest one for what is not written', () => {
  const read = readYaml('a:\n  - b: 1\n    c: &x [2]\n    d: *x\n');
  assert.ok('file' in read);
  const { file } = read;
  assert.deepEqual(file.placeOf(['a', 0, 'b']), { line: 2, column: 8 });
  assert.deepEqual(file.placeOf(['a', 0, 'c'], 'key'), { line: 3, column: 5 });
  assert.deepEqual(file.placeOf(['a', 0, 'd', 0]), { line: 4, column: 8 });
  assert.deepEqual(file.placeOf(['a', 0, 'missing']), { line: 2, column: 5 });
  assert.deepEqual(file.placeOf(['nothing']), { line: 1, column: 1 });
  assert.deepEqual(plainValue(file.doc), { value: { a: [{ b: 1, c: [2], d: [2] }] } });
});
