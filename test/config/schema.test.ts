// The file's zod type and its JSON Schema: strict, complete, and in step with the core's defaults.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseConfig } from '../../src/config/load.ts';
import { type JsonSchema, jsonSchema, MAX_LINKS, MAX_LIST } from '../../src/config/schema.ts';
import { OUTBOX_LIMITS } from '../../src/core/outbox.ts';
import { DEFAULT_POLICY } from '../../src/core/policy.ts';
import { QUEUE_LIMITS } from '../../src/core/queue.ts';
import { LINK_KINDS } from '../../src/links/index.ts';
import { kinds } from '../fixtures/config/kinds.ts';

/** Every schema node with the path that leads to it. */
function* nodes(node: JsonSchema, path = ''): Generator<[path: string, node: JsonSchema]> {
  yield [path, node];
  for (const [key, child] of Object.entries(node.properties ?? {})) yield* nodes(child, `${path}.${key}`);
  if (node.items) yield* nodes(node.items, `${path}[]`);
  for (const choice of [node.anyOf, node.oneOf, node.allOf]) {
    for (const [index, child] of (choice ?? []).entries()) yield* nodes(child, `${path}|${index}`);
  }
}

test('defaults are those of the core', () => {
  const parsed = parseConfig('links: [{name: a, kind: radio}, {name: b, kind: radio, policy: }]', { path: 'f', kinds });
  assert.ok('config' in parsed);
  for (const link of parsed.config.links) {
    assert.deepEqual(link.policy, DEFAULT_POLICY);
    assert.deepEqual(link.queue, QUEUE_LIMITS);
  }
  assert.deepEqual(parsed.config.limits.queue, QUEUE_LIMITS);
  const { bytes, hours } = parsed.config.limits.outbox;
  assert.deepEqual({ bytes, ageMs: hours * 3_600_000 }, OUTBOX_LIMITS);
});

test('the JSON Schema is of 2020-12 and names every key, ours and the kinds’', () => {
  const schema = jsonSchema(kinds);
  assert.equal(schema.$schema, 'https://json-schema.org/draft/2020-12/schema');
  assert.deepEqual(JSON.parse(JSON.stringify(schema)), schema);
  const paths = [...nodes(schema)].map(([path]) => path.replaceAll(/\|\d+/g, ''));
  for (const path of [
    '.version .name .data .log.level .api.listen .trust[] .hosts[] .limits.queue.events .limits.queue.bytes .links[]',
    '.links[].name .links[].kind .links[].enabled .links[].queue.events .links[].queue.bytes .links[].policy.in',
    '.links[].policy.out .links[].policy.dp_in .links[].policy.dp_out .links[].policy.allow_types[]',
    '.links[].policy.block_types[] .links[].policy.groups_in[] .links[].policy.groups_out[] .links[].policy.max_hops',
    '.links[].listen .links[].mode .links[].tune.channel .links[].connect',
  ].flatMap((line) => line.split(' '))) {
    assert.ok(paths.includes(path), path);
  }
});

test('each kind of link is one branch, told apart by its kind, with common and own keys together', () => {
  const items = [...nodes(jsonSchema(kinds))].find(([path]) => /^\.links(\|\d)?\[\]$/.test(path))?.[1];
  const branches = items?.oneOf ?? items?.anyOf ?? [];
  assert.deepEqual(
    branches.map((branch) => branch.properties?.kind?.const),
    ['radio', 'wire'],
  );
  assert.deepEqual(branches[0]?.required?.toSorted(), ['kind', 'name']);
  assert.ok(branches[0]?.properties?.tune && branches[0].properties.policy);
  assert.ok(!branches[1]?.properties?.tune);
});

test('every section is closed, those of the real kinds too: an unknown key never passes unseen', () => {
  for (const [path, node] of [...nodes(jsonSchema(kinds)), ...nodes(jsonSchema(LINK_KINDS))]) {
    // A map of names has no keys of its own: there the names must have a form.
    if (node.type === 'object' && !node.propertyNames) assert.equal(node.additionalProperties, false, path);
  }
});

test('lists are bounded', () => {
  const list = (count: number, item: string) => `[${Array.from({ length: count }, () => item).join(', ')}]`;
  const words = (text: string) => {
    const parsed = parseConfig(text, { path: 'f', kinds });
    return 'problems' in parsed ? parsed.problems.map((problem) => `${problem.path}: ${problem.words}`) : [];
  };
  assert.deepEqual(words(`hosts: ${list(MAX_LIST + 1, 'a')}`), [`hosts: at most ${MAX_LIST} entries`]);
  assert.deepEqual(words(`trust: ${list(MAX_LIST + 1, 'a')}`), [`trust: at most ${MAX_LIST} entries`]);
  assert.deepEqual(words(`hosts: ${list(MAX_LIST, 'a')}`), []);
  assert.ok(
    words(`links: ${list(MAX_LINKS + 1, '{name: a, kind: radio}')}`).includes(`links: at most ${MAX_LINKS} entries`),
  );
  assert.deepEqual(words('data: ""'), ['data: needs at least 1 characters']);
});
