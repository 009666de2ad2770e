// The trial of a release, on a clock of the test: what worked must work again, and stay so.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { judge, linkedIn, missing } from '../../src/appliance/judge.ts';
import type { RelayStatus } from '../../src/core/status.ts';

const status = (links: Readonly<Record<string, string>>) =>
  ({ links: Object.entries(links).map(([name, state]) => ({ name, state })) }) as unknown as RelayStatus;
const before = linkedIn(status({ hq: 'connected', phones: 'listening', spare: 'waiting' }));

/** Runs the judge; `at` says what the relay answers after so many seconds. */
function run(at: (seconds: number) => RelayStatus | undefined): Promise<string | undefined> {
  let nowMs = 0;
  return judge({
    before,
    patienceMs: 60_000,
    steadyMs: 10_000,
    everyMs: 1_000,
    status: async () => at(nowMs / 1000),
    nowMs: () => nowMs,
    sleep: async (ms) => {
      nowMs += ms;
    },
  });
}

const well = status({ hq: 'connected', phones: 'listening' });

test('only links that worked count', () => {
  assert.deepEqual(
    before.map(({ name }) => name),
    ['hq', 'phones'],
  );
  assert.equal(missing(well, before), undefined);
  assert.match(missing(status({ hq: 'waiting', phones: 'listening' }), before) ?? '', /: hq$/);
  assert.match(missing(undefined, before) ?? '', /does not answer/);
});

test('a release that comes up late, with all its links, stays', async () => {
  assert.equal(await run((seconds) => (seconds < 30 ? undefined : well)), undefined);
});

test('a relay that never answers', async () => assert.match((await run(() => undefined)) ?? '', /does not answer/));

test('a hub that is not reached any more', async () =>
  assert.match(
    (await run(() => status({ hq: 'waiting', phones: 'listening' }))) ?? '',
    /did not work|do not work: hq/,
  ));

test('a relay that crashes every few seconds', async () =>
  assert.ok(await run((seconds) => (seconds % 8 === 0 ? undefined : well))));
