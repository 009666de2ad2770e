// What a TAK Server's administrator is given, judged by xmllint against the part of the schema it goes into.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { coreConfig, type SnippetFacts } from '../../src/config/coreconfig.ts';

const SCHEMA = join(import.meta.dirname, '../fixtures/coreconfig-federation.xsd');
const skip =
  spawnSync('xmllint', ['--version']).status === 0 ? false : 'xmllint is not installed (scripts/setup-debian.sh)';

const FACTS: SnippetFacts = {
  name: 'vehicle "3" & <co>',
  leaf: 'ab'.repeat(32),
  ca: 'cd'.repeat(32),
  federate: 'vehicle-3:vehicle-3 CA',
  group: 'Blue & <Co>',
};
const OUTGOING = { address: '10.0.0.5', port: 9001 };

/** What the judge says; '' for nothing. */
function faults(xml: string): string {
  const { status, stderr } = spawnSync('xmllint', ['--noout', '--nonet', '--schema', SCHEMA, '-'], {
    input: xml,
    encoding: 'utf8',
  });
  return status === 0 ? '' : stderr;
}

test('every snippet is valid: they dial or we do, v1 or v2, names with anything in them', { skip }, () => {
  for (const v1 of [false, true]) {
    for (const outgoing of [undefined, OUTGOING]) assert.equal(faults(coreConfig({ ...FACTS, v1, outgoing })), '');
  }
});

test('hop limits stand where TAK Server has them, and are valid there', { skip }, () => {
  const most = new Map([
    ['Blue & <Co>', 2],
    ['Red', 9],
    ['Free', -1],
  ]);
  const of = (hops: SnippetFacts['hops']) => coreConfig({ ...FACTS, hops });
  const byGroup = of({ most, all: -1, key: '' });
  const both = of({ most, all: 4, key: '' });
  const other = of({ most: new Map([['Red', 9]]), all: 4, key: '' });
  const all = of({ most: new Map(), all: 4, key: '' });
  for (const text of [byGroup, both, other, all]) assert.equal(faults(text), '');
  const limits = (text: string) =>
    Array.from(text.matchAll(/<outboundGroupHopLimit groupName="(.*?)" hopLimit="(.*?)"\/>/g), ([, group, hops]) => [
      group,
      hops,
    ]);
  const blue = 'Blue &#38; &#60;Co&#62;';
  assert.deepEqual(limits(byGroup), [
    [blue, '2'],
    ['Red', '9'],
  ]);
  assert.match(byGroup, /useGroupHopLimiting="true"/);
  assert.doesNotMatch(byGroup, /maxHops/);
  assert.deepEqual(
    limits(both),
    [
      [blue, '2'],
      ['Red', '4'],
    ],
    'the lesser of both: there the one for all would not count',
  );
  assert.deepEqual(limits(other), [
    [blue, '4'],
    ['Red', '4'],
  ]);
  assert.deepEqual([limits(all), all.match(/maxHops="4"/g)?.length], [[], 2], 'of the federate, and of its authority');
});

test('the judge is one: another order, an unknown attribute or a missing part is a fault', { skip }, () => {
  const good = coreConfig({ ...FACTS, outgoing: OUTGOING });
  const moved = good.replace('  <fileFilter/>\n', '').replace('<federation-server', '<fileFilter/><federation-server');
  for (const bad of [moved, good.replace('  <fileFilter/>\n', ''), good.replace('shareAlerts', 'shareAlert')]) {
    assert.notEqual(bad, good);
    assert.match(faults(bad), /fails to validate|not expected|not allowed/);
  }
});
