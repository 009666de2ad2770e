// Old files keep working: the mechanism, and one file of every version there has been.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { parseDocument } from 'yaml';
import { parseConfig } from '../../src/config/load.ts';
import { formatProblems } from '../../src/config/problem.ts';
import { CONFIG_VERSION, UPGRADE_STEPS, type UpgradeStep, upgrade } from '../../src/config/upgrade.ts';

const FIXTURES = new URL('../fixtures/config/', import.meta.url);

const rename = (from: number, old: string, now: string): UpgradeStep => ({
  from,
  apply: (doc) => {
    doc.set(now, doc.get(old));
    doc.delete(old);
  },
});
const steps = [rename(2, 'b', 'c'), rename(1, 'a', 'b')];

test('there is a step and a fixture for every past version', () => {
  for (let version = 1; version < CONFIG_VERSION; version++) {
    assert.equal(UPGRADE_STEPS.filter((step) => step.from === version).length, 1, `step from ${version}`);
  }
  const versions = readdirSync(FIXTURES).flatMap((name) => /^v(\d+)\.yaml$/.exec(name)?.[1] ?? []);
  assert.deepEqual(
    versions.map(Number).toSorted(),
    Array.from({ length: CONFIG_VERSION }, (_, index) => index + 1),
  );
});

test('the fixture of every version is still understood', () => {
  for (const name of readdirSync(FIXTURES).filter((name) => /^v\d+\.yaml$/.test(name))) {
    const parsed = parseConfig(readFileSync(new URL(name, FIXTURES), 'utf8'), { path: `/etc/${name}` });
    assert.ok('config' in parsed, 'problems' in parsed ? formatProblems(parsed.problems, name) : '');
    assert.equal(parsed.config.name, 'relay-a');
    assert.deepEqual(parsed.config.trust.paths, ['/etc/hq-ca.pem']);
    assert.equal(parsed.config.links[0]?.policy.maxHops, 3);
    assert.ok(
      parsed.config.links.some((link) => link.kind === 'cot') &&
        parsed.config.links.some((link) => link.kind === 'fed2'),
    );
  }
});

test('steps run in order of version from the one the file has; comments stay', () => {
  const doc = parseDocument('z: 0 # kept\na: 1\n');
  assert.deepEqual(upgrade(doc, steps, 3), { from: 1 });
  assert.deepEqual(doc.toJS(), { z: 0, c: 1, version: 3 });
  assert.match(doc.toString(), /# kept/);
  const later = parseDocument('version: 2\nb: 1\n');
  assert.deepEqual(upgrade(later, steps, 3), { from: 2 });
  assert.deepEqual(later.toJS(), { version: 3, c: 1 });
});

test('a file of the present version is left alone, and an absent step is our bug', () => {
  const doc = parseDocument('a: 1');
  assert.deepEqual(upgrade(doc, steps, 1), { from: 1 });
  assert.deepEqual(doc.toJS(), { a: 1 });
  assert.throws(() => upgrade(parseDocument('a: 1'), [], 2), /no upgrade step from version 1/);
});
