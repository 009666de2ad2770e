// npm test [-- FILTER...]: runs test/**/*.test.ts with Node's own runner. A filter is a file, a folder or a part of a path.
// A file that fails beside others is run once more, alone: most tests are about real processes, sockets and browsers, and a busy
// machine starves one of them now and then. Only what fails again fails the run; the rest is named at the end, to be looked into.
import { spawnSync } from 'node:child_process';
import { globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';

/** Test files at a time. More would only make sockets and timers fight for the CPU of a small machine. */
const CONCURRENCY = 2;
/** More than so many files that fail have another reason than a busy machine. */
const MAX_AGAIN = 8;
/** A test that takes this long hangs, also on a machine that is busy with other things. The slowest is the arm64 binary under emulation. */
const TIMEOUT_MS = 900_000;

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

const first = run(files, CONCURRENCY);
if (first.ok) process.exit(0);
const { failed } = first;
if (filters.length > 0 || failed.length === 0 || failed.length > MAX_AGAIN) process.exit(1);
console.log(`\ntest: run once more, alone: ${failed.join(', ')}`);
const again = run(failed, 1);
const left = again.failed.length === 0 && !again.ok ? failed : again.failed;
const passed = failed.filter((file) => !left.includes(file));
if (passed.length > 0) console.log(`\ntest: failed beside others, passed alone; look into: ${passed.join(', ')}`);
if (left.length > 0) console.log(`test: failed twice: ${left.join(', ')}`);
else console.log(`test: all ${files.length} files passed, ${passed.length} of them only when run alone`);
process.exit(left.length > 0 ? 1 : 0);

/** Runs them, and says in which something failed. */
function run(these, concurrency) {
  const folder = mkdtempSync(join(tmpdir(), 'waystation-tests-'));
  const list = join(folder, 'failed');
  const options = [
    `--test-concurrency=${concurrency}`,
    `--test-timeout=${TIMEOUT_MS}`,
    ...['--test-reporter=spec', '--test-reporter-destination=stdout'],
    ...['--test-reporter=./scripts/failed-files.mjs', `--test-reporter-destination=${list}`],
  ];
  try {
    const { status, signal } = spawnSync(process.execPath, ['--test', ...options, ...these], {
      cwd: root,
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    if (signal) console.error(`test: the runner was ended by ${signal}`);
    const failed = status === 0 || signal ? [] : readFileSync(list, 'utf8').split('\n').filter(Boolean);
    return { ok: status === 0, failed: failed.map((file) => relative(root, file)) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
