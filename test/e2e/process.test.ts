// The process: what is done to it from outside, and how it ends.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { freePorts, RelayHome, SOURCE } from '../support/relay-process.ts';

test('a relay whose output nobody reads any more relays on, and ends with 0 when told to', async (t) => {
  const [api] = (await freePorts(1)) as [number];
  const relay = new RelayHome(t, 'unread');
  relay.configure(api, 'links: []\n');
  const [file, ...args] = SOURCE;
  const child = spawn(file!, [...args, 'run', '--config', relay.configPath], { stdio: ['ignore', 'pipe', 'pipe'] });
  t.after(() => child.kill('SIGKILL'));
  child.stdout.destroy();
  child.stderr.destroy();
  const ended = once(child, 'exit');
  const answers = async () => (await relay.status().catch(() => undefined)) !== undefined;
  while (child.exitCode === null && !(await answers())) await new Promise((done) => setTimeout(done, 50));
  for (let count = 0; count < 3; count++) {
    child.kill('SIGHUP');
    await new Promise((done) => setTimeout(done, 100));
  }
  assert.equal((await relay.status()).name, 'unread');
  child.kill('SIGTERM');
  assert.deepEqual(await ended, [0, null]);
});
