// Writing the file: only a good one, whole or not at all, the one before kept.
import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { writeConfig } from '../../src/config/write.ts';
import { kinds } from '../fixtures/config/kinds.ts';

async function folder(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'waystation-write-'));
  t.after(() => rm(path, { recursive: true }));
  return path;
}

test('a new file is written and returned checked', async (t) => {
  const dir = await folder(t);
  const path = join(dir, 'w.yaml');
  const parsed = await writeConfig(path, 'name: a # mine\n', { kinds });
  assert.equal('config' in parsed && parsed.config.name, 'a');
  assert.equal(await readFile(path, 'utf8'), 'name: a # mine\n');
  assert.deepEqual(await readdir(dir), ['w.yaml']);
  assert.equal((await stat(path)).mode & 0o777, 0o640);
});

test('the file before is kept, with its mode, and nothing else is left behind', async (t) => {
  const dir = await folder(t);
  const path = join(dir, 'w.yaml');
  await writeFile(path, 'name: one\n');
  await chmod(path, 0o600);
  await writeConfig(path, 'name: two\n', { kinds });
  await writeConfig(path, 'name: three\n', { kinds });
  assert.equal(await readFile(path, 'utf8'), 'name: three\n');
  assert.equal(await readFile(`${path}.previous`, 'utf8'), 'name: two\n');
  assert.deepEqual((await readdir(dir)).toSorted(), ['w.yaml', 'w.yaml.previous']);
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  assert.equal((await stat(`${path}.previous`)).mode & 0o777, 0o600);
});

test('the same text again does not push out the one before', async (t) => {
  const path = join(await folder(t), 'w.yaml');
  await writeConfig(path, 'name: one\n', { kinds });
  await writeConfig(path, 'name: two\n', { kinds });
  await writeConfig(path, 'name: two\n', { kinds });
  assert.equal(await readFile(`${path}.previous`, 'utf8'), 'name: one\n');
});

test('a bad configuration is not written', async (t) => {
  const dir = await folder(t);
  const path = join(dir, 'w.yaml');
  await writeFile(path, 'name: one\n');
  const parsed = await writeConfig(path, 'nmae: two\n', { kinds });
  assert.deepEqual('problems' in parsed && parsed.problems.map((problem) => problem.suggestion), ['name']);
  assert.equal(await readFile(path, 'utf8'), 'name: one\n');
  assert.deepEqual(await readdir(dir), ['w.yaml']);
});

test('a symbolic link is followed, not replaced', async (t) => {
  const dir = await folder(t);
  await writeFile(join(dir, 'real.yaml'), 'name: one\n');
  await symlink('real.yaml', join(dir, 'w.yaml'));
  await writeConfig(join(dir, 'w.yaml'), 'name: two\n', { kinds });
  assert.equal(await readFile(join(dir, 'real.yaml'), 'utf8'), 'name: two\n');
  assert.deepEqual((await readdir(dir)).toSorted(), ['real.yaml', 'real.yaml.previous', 'w.yaml']);
});

test('what cannot be written throws and leaves everything as it was', async (t) => {
  const dir = await folder(t);
  const path = join(dir, 'w.yaml');
  await assert.rejects(writeConfig(join(dir, 'none', 'w.yaml'), 'name: a\n', { kinds }), { code: 'ENOENT' });
  await writeFile(path, 'name: one\n');
  await mkdir(`${path}.previous`);
  await assert.rejects(writeConfig(path, 'name: two\n', { kinds }));
  assert.equal(await readFile(path, 'utf8'), 'name: one\n');
  assert.deepEqual((await readdir(dir)).toSorted(), ['w.yaml', 'w.yaml.previous']);
});
