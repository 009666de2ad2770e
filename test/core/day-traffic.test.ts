import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DAY_MS } from '../../src/core/budget.ts';
import { DayTraffic } from '../../src/core/day-traffic.ts';
import { keepTraffic, restoreTraffic } from '../../src/store/usage.ts';

const NOON = 20_000.5 * DAY_MS;

function peer(key: string, inBytes: number, sentBytes = 0) {
  const received = { events: 0, bytes: inBytes };
  return { spec: { key, link: key.split('/')[0]! }, sentBytes, received };
}

test('bytes of the day: all peers of a link, and another day anew', () => {
  const traffic = new DayTraffic();
  traffic.sample([peer('hq/a', 100, 1_000), peer('hq/b', 5), peer('lan', 7)], NOON);
  assert.deepEqual(traffic.today('hq', NOON), { day: 20_000, inBytes: 105, outBytes: 1_000 });
  assert.deepEqual(traffic.today('lan', NOON), { day: 20_000, inBytes: 7, outBytes: 0 });
  assert.equal(traffic.today('other', NOON), undefined);
  traffic.sample([peer('hq/a', 150, 1_520)], NOON);
  assert.deepEqual(traffic.today('hq', NOON), { day: 20_000, inBytes: 155, outBytes: 1_520 });
  // A relay's counters begin anew with it, never below nothing.
  traffic.sample([peer('hq/a', 3)], NOON);
  assert.equal(traffic.today('hq', NOON)!.inBytes, 155);
  assert.equal(traffic.today('hq', NOON + DAY_MS), undefined);
  traffic.sample([peer('hq/a', 10)], NOON + DAY_MS);
  assert.deepEqual(traffic.today('hq', NOON + DAY_MS), { day: 20_001, inBytes: 7, outBytes: 0 });
});

test('they are there after a restart, if it is the same day; what makes no sense is as nothing', () => {
  const kept = new Map<string, string>([['traffic/odd', '20000 -1 7']]);
  const store = {
    get: (key: string) => kept.get(key),
    set: (key: string, value?: string) => void kept.set(key, value!),
  };
  const before = new DayTraffic();
  before.sample([peer('hq', 100, 9)], NOON);
  keepTraffic(store, ['hq', 'silent'], before, NOON);
  assert.deepEqual([...kept.keys()], ['traffic/odd', 'traffic/hq']);
  const after = new DayTraffic();
  restoreTraffic(store, ['hq', 'odd', 'silent'], after);
  after.sample([peer('hq', 1, 1)], NOON);
  assert.deepEqual(after.today('hq', NOON), { day: 20_000, inBytes: 101, outBytes: 10 });
  assert.equal(after.today('odd', NOON), undefined);
});
