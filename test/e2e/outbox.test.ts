// Relays that are killed at random moments lose nothing they accepted, and show nothing twice. Real processes; the same with a
// hundred kills is `npm run bench -- outbox`.
import assert from 'node:assert/strict';
import { readdirSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { runChain } from '../support/outbox-chain.ts';
import { freePorts, RelayHome } from '../support/relay-process.ts';

const KILLS = 8;

test(`${KILLS} kills at random moments under load: nothing lost, nothing shown twice`, async (t) => {
  const result = await runChain(t, KILLS, Math.random);
  t.diagnostic(JSON.stringify(result));
  assert.deepEqual([result.lost, result.twice, result.unbalanced], [[], [], []]);
  assert.ok(result.said > 100);
  assert.equal(result.lastEdit.shown, result.lastEdit.said, 'the last word of a marker is never lost');
});

test('a relay with a broken outbox moves it aside, tells of it, and runs', async (t) => {
  const [api] = (await freePorts(1)) as [number];
  const relay = new RelayHome(t, 'broken');
  relay.configure(api, 'links: []\n');
  await relay.start();
  await relay.kill('SIGTERM'); // else its log would mend it
  writeFileSync(relay.file('data/outbox.db'), 'not a database at all, and longer than its header would be '.repeat(40));
  await relay.start();
  const { warnings } = await relay.status();
  assert.ok(warnings.some(({ code, words }) => code === 'outbox_corrupt' && words.includes('outbox.db.corrupt-')));
  assert.ok(readdirSync(relay.file('data')).some((name) => name.startsWith('outbox.db.corrupt-')));
  assert.equal(await relay.kill('SIGTERM'), 0);
});
