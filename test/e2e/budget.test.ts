// A link with a budget, as a real relay on real sockets: what passes, what waits, what a restart remembers.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { QueueReport } from '../../src/core/queue-report.ts';
import { phone, sa } from '../support/cot-client.ts';
import { freePorts, RelayHome } from '../support/relay-process.ts';

const RATE = 4000;
const UNITS = 60;

test('what a line cannot carry waits, newest first in its place; an alert does not; a restart remembers the cost', async (t) => {
  const relay = new RelayHome(t, 'thin');
  const [api, field, sat] = (await freePorts(3)) as [number, number, number];
  relay.configure(
    api,
    `links:
  - { name: field, kind: cot, listen: ${field} }
  - { name: sat, kind: cot, listen: ${sat}, budget: { profile: hf, rate: ${RATE}, per_day: 1000000 } }
`,
  );
  await relay.start();
  const [from, to] = [await phone(t, { port: field }), await phone(t, { port: sat })];
  await relay.until(({ peers }) => peers.filter(({ connected }) => connected).length === 2, 'both phones');
  const startedMs = performance.now();
  for (let round = 0; round < 5; round++) {
    const timeMs = Date.now() + round;
    for (let n = 0; n < UNITS; n++) from.send(sa(`U-${n}`, `C-${n}`, timeMs, `lat="48.${round}${n}" lon="24.5"`));
  }
  from.send(sa('ALERT', 'HELP').replace(/type="[^"]*"/, 'type="b-a-o-tbl"'));
  await to.withUid('ALERT');
  const sentBytes = to.events.reduce((sum, event) => sum + event.length, 0);
  const most = (RATE / 8) * ((performance.now() - startedMs) / 1000) + 1500; // one message of debt, one saved up
  assert.ok(sentBytes <= most, `${sentBytes} bytes, ${most} at the most`);
  const before = to.events.findIndex((event) => event.includes('ALERT'));
  assert.ok(before < UNITS / 2, `the alert came after ${before} positions`);

  const key = (await relay.status()).peers.find(({ link }) => link === 'sat')!.key;
  const report = JSON.parse(await relay.command('queue', key, '--json', '--api', relay.api)) as QueueReport;
  const moving = report.lanes.find(({ lane }) => lane === 'moving')!;
  assert.ok(moving.queued > 0 && (moving.dropped.superseded ?? 0) > 0);
  for (const { offered, sent, queued, dropped } of report.lanes) {
    assert.equal(offered, sent + queued + Object.values(dropped).reduce((sum, count) => sum + count, 0));
  }
  assert.match(await relay.command('status', '--api', relay.api), /budget hf, 4000 bit\/s, \d+ of 1000000 bytes today/);

  const used = (await relay.status()).links.find(({ name }) => name === 'sat')!.budget!.usedTodayBytes;
  assert.ok(used >= sentBytes);
  await relay.kill('SIGTERM');
  await relay.start();
  const after = (await relay.status()).links.find(({ name }) => name === 'sat')!.budget!;
  // Midnight may have passed in between.
  assert.ok(after.usedTodayBytes >= used || new Date().getUTCHours() === 0);
});
