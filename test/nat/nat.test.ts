// Two sites behind real NATs: see inside.ts for what is done to them. Here it is decided whether that can be done at all, and
// the laboratory is set up around it; whatever happens in there, the kernel removes it with its last process.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { join, resolve } from 'node:path';
import { test } from 'node:test';

const SCRIPT = resolve(import.meta.dirname, '../../scripts/nat-lab.sh');
const LONG = process.env.WAYSTATION_LONG === '1';
const LIMIT_S = LONG ? 1_200 : 170;

/** Why it cannot be done here; undefined: it can. */
function obstacle(): string | undefined {
  if (process.platform !== 'linux') return 'network namespaces are Linux';
  const { status, stdout } = spawnSync(SCRIPT, ['check'], { encoding: 'utf8' });
  if (status !== 0) return `${stdout.trim()} (scripts/setup-debian.sh installs tools; root is needed)`;
  return spawnSync('tcpdump', ['--version']).error ? 'missing: tcpdump (scripts/setup-debian.sh)' : undefined;
}

const skip = obstacle() ?? false;

test('two sites behind NATs, and what happens to networks', { skip, timeout: LIMIT_S * 1000 }, async (t) => {
  const env: NodeJS.ProcessEnv = { ...process.env, LAB_SECONDS: String(LIMIT_S - 10) };
  delete env.NODE_TEST_CONTEXT; // else it would report to our runner, which waits for a child of its own
  const inside = join(import.meta.dirname, 'inside.ts');
  const child = spawn(SCRIPT, ['run', process.execPath, '--test', '--test-reporter=spec', inside], { env });
  t.after(() => child.kill('SIGKILL'));
  let words = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk) => {
      words += chunk;
    });
  }
  const status = await new Promise((done) => child.once('close', done));
  for (const line of words.split('\n')) if (/^\s*(ℹ|✔|✖)/.test(line)) t.diagnostic(line.trim());
  assert.equal(status, 0, words);
});
