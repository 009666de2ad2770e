// Shipped files are found by their path in the checkout, and nothing outside of it is.
import assert from 'node:assert/strict';
import { globSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { listAssets, readAsset } from '../../src/lib/asset.ts';

const ROOT = join(import.meta.dirname, '../..');

test('a shipped file is read by its path in the checkout', () => {
  assert.equal(JSON.parse(readAsset('package.json').toString('utf8')).name, 'waystation');
});

test('the assets of a folder are all its files that are neither code nor documentation, however deep', () => {
  const expected = globSync('src/wire/**/*.*', { cwd: ROOT })
    .filter((path) => !/\.(ts|md)$/.test(path))
    .sort();
  assert.deepEqual(listAssets('src/wire'), expected);
  for (const path of expected) assert.ok(readAsset(path).length > 0, path);
});

for (const path of ['../package.json', '/etc/passwd', 'src/../../x', 'src/lib/..']) {
  test(`${path} is refused`, () => {
    assert.throws(() => readAsset(path), /not the path of an asset/);
    assert.throws(() => listAssets(path), /not the path of an asset/);
  });
}

test('a file that is not there throws', () => {
  assert.throws(() => readAsset('src/nothing.html'), { code: 'ENOENT' });
});
