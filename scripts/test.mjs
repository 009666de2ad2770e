// npm test [-- FILTER...]: runs test/**/*.test.ts with Node's own runner. A filter is a file, a folder or a part of a path.
import { spawnSync } from 'node:child_process';
import { globSync } from 'node:fs';
import { join } from 'node:path';

/** Test files at a time. More would only make sockets and timers fight for the CPU of a small machine. */
const CONCURRENCY = 2;
/** A test that takes this long hangs, also on a machine that is busy with other things. The slowest is the arm64 binary under emulation. */
const TIMEOUT_MS = 300_000;

const root = join(import.meta.dirname, '..');
const filters = process.argv.slice(2).map((filter) => filter.replace(/^\.\//, '').replace(/\/$/, ''));
const all = globSync('test/**/*.test.ts', { cwd: root }).sort();
const files = filters.length === 0 ? all : all.filter((file) => filters.some((filter) => file.includes(filter)));
if (files.length === 0) {
  console.error(
    `test: no test file matches ${filters.join(' ')}; there are:\n${all.map((file) => `  ${file}`).join('\n')}`,
  );
  process.exit(1);
}
const options = [`--test-concurrency=${CONCURRENCY}`, `--test-timeout=${TIMEOUT_MS}`, '--test-reporter=spec'];
const { status, signal } = spawnSync(process.execPath, ['--test', ...options, ...files], {
  cwd: root,
  stdio: ['ignore', 'inherit', 'inherit'],
});
if (signal) console.error(`test: the runner was ended by ${signal}`);
process.exit(status ?? 1);
