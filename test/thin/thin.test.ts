// A line of 2,400 bit/s between two relays, offered far more than it carries. What is asserted does not depend on how fast this machine is:
// which messages came, that the books balance, that nobody hung up. The long form, with figures: npm run bench -- thin
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import type { Outcome } from './run.ts';

const LAB = resolve(import.meta.dirname, '../../scripts/thin-lab.sh');

function obstacle(): string | undefined {
  if (process.platform !== 'linux') return 'network namespaces are Linux';
  const { status, stdout } = spawnSync(LAB, ['check'], { encoding: 'utf8' });
  return status === 0 ? undefined : `${stdout.trim()} (scripts/setup-debian.sh installs tools; root is needed)`;
}

async function run(...more: string[]): Promise<Outcome> {
  const env: NodeJS.ProcessEnv = { ...process.env };
  delete env.NODE_TEST_CONTEXT;
  const command = [
    'run',
    '2400',
    '64000',
    process.execPath,
    join(import.meta.dirname, 'run.ts'),
    '--seconds',
    '30',
    ...more,
  ];
  const child = spawn(LAB, command, { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  let words = '';
  child.stdout.on('data', (chunk) => (said += chunk));
  child.stderr.on('data', (chunk) => (words += chunk));
  await new Promise((done) => child.once('close', done));
  const last = said.trim().split('\n').at(-1) ?? '';
  assert.ok(last.startsWith('{'), `${said}\n${words}`);
  return JSON.parse(last) as Outcome;
}

const skip = obstacle() ?? false;

test('a thin line, overloaded: alerts and chat come, everything is accounted for', {
  skip,
  timeout: 160_000,
}, async (t) => {
  const [ours, plain] = await Promise.all([run('--haste', '1.4'), run('--haste', '1.4', '--sender', 'plain')]);
  t.diagnostic(`relay ${JSON.stringify(ours)}`);
  t.diagnostic(`plain ${JSON.stringify(plain)}`);
  assert.ok(ours.alerts > 0);
  assert.equal(ours.alertsDelivered, ours.alerts);
  assert.equal(ours.chatsDelivered, ours.chats);
  assert.equal(ours.connections, 1);
  assert.equal(ours.unaccounted, 0);
  assert.ok(ours.delivered > 2 * plain.delivered, `${ours.delivered} and ${plain.delivered} plain`);
});
