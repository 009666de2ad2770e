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

test('the judge is one: another order, an unknown attribute or a missing part is a fault', { skip }, () => {
  const good = coreConfig({ ...FACTS, outgoing: OUTGOING });
  const moved = good.replace('  <fileFilter/>\n', '').replace('<federation-server', '<fileFilter/><federation-server');
  for (const bad of [moved, good.replace('  <fileFilter/>\n', ''), good.replace('shareAlerts', 'shareAlert')]) {
    assert.notEqual(bad, good);
    assert.match(faults(bad), /fails to validate|not expected|not allowed/);
  }
});
