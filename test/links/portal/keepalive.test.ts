// The interval of PINGs, learnt per uplink.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../../../src/lib/clock.ts';
import { Keepalive, networkOf } from '../../../src/links/portal/keepalive.ts';
import { MAX_KEEPALIVE_MS } from '../../../src/links/portal/limits.ts';

const SHORTEST = 25_000;

function rig(saved = new Map<string, string>()) {
  const clock = new ManualClock();
  const memory = { get: (key: string) => saved.get(key), set: (key: string, value: string) => saved.set(key, value) };
  const make = (address = '10.64.7.1') => new Keepalive(memory, clock, address, SHORTEST);
  return { clock, saved, make };
}

/** Lives through so many quiet times on a way that is forgotten after `natMs`. Returns how many connections that cost. */
function live(keepalive: Keepalive, natMs: number, times: number): number {
  let deaths = 0;
  for (let n = 0; n < times; n++) {
    const silenceMs = keepalive.intervalMs;
    if (silenceMs < natMs) keepalive.survived(silenceMs);
    else {
      keepalive.died(silenceMs);
      deaths++;
    }
  }
  return deaths;
}

test('begins short, grows while it is answered, up to 8 minutes', () => {
  const keepalive = rig().make();
  assert.equal(keepalive.intervalMs, SHORTEST);
  assert.equal(live(keepalive, Number.POSITIVE_INFINITY, 12), 0);
  assert.equal(keepalive.intervalMs, MAX_KEEPALIVE_MS);
});

test('settles below what the network forgets, at the cost of few connections', () => {
  for (const natMs of [30_000, 65_000, 130_000, 305_000]) {
    const keepalive = rig().make();
    assert.ok(live(keepalive, natMs, 40) <= 4, `${natMs}`);
    assert.ok(keepalive.intervalMs < natMs, `${natMs}: ${keepalive.intervalMs}`);
    assert.ok(keepalive.intervalMs >= Math.max(SHORTEST, natMs / 2), `${natMs}: ${keepalive.intervalMs}`);
    assert.equal(live(keepalive, natMs, 20), 0, 'and stays');
  }
});

test('what was learnt is there after a restart, for that uplink alone', () => {
  const { make, saved } = rig();
  live(make(), 200_000, 10);
  const learnt = Number([...saved.values()][0]);
  assert.ok(learnt > 100_000 && learnt < 200_000);
  assert.ok(make('10.64.200.9').intervalMs >= learnt, 'another address of the same carrier');
  assert.equal(make('192.168.1.5').intervalMs, SHORTEST);
  for (const nonsense of ['', 'x', '-5', '1e99', 'NaN']) {
    assert.equal(rig(new Map([['keepalive 10.64', nonsense]])).make().intervalMs, SHORTEST, nonsense);
  }
});

test('an outage is not taken for a NAT for ever', () => {
  const { make, clock } = rig();
  const keepalive = make();
  live(keepalive, Number.POSITIVE_INFINITY, 4);
  const before = keepalive.intervalMs;
  keepalive.died(before);
  assert.ok(keepalive.intervalMs < before);
  clock.advance(25 * 3_600_000);
  assert.equal(live(keepalive, Number.POSITIVE_INFINITY, 20), 0);
  assert.equal(keepalive.intervalMs, MAX_KEEPALIVE_MS);
});

test('silence shorter than the shortest interval teaches nothing', () => {
  const keepalive = rig().make();
  keepalive.died(15_000);
  keepalive.survived(16_000);
  assert.equal(keepalive.intervalMs, SHORTEST);
});

test('uplinks are told apart by the network part of our address', () => {
  assert.equal(networkOf('::ffff:10.64.7.1'), '10.64');
  assert.equal(networkOf('2a02:1234:5678::1'), '2a02:1234');
  assert.equal(networkOf(''), '');
});

test('what it has settled at is not noted again and again: timers are late by milliseconds, and cards bear few writes', () => {
  for (const natMs of [65_000, Number.POSITIVE_INFINITY]) {
    const { clock, saved } = rig();
    let notes = 0;
    const memory = {
      get: (key: string) => saved.get(key),
      set: (key: string, value: string) => {
        notes += 1;
        saved.set(key, value);
      },
    };
    const keepalive = new Keepalive(memory, clock, '10.64.7.1', SHORTEST);
    live(keepalive, natMs, 40);
    const settledMs = keepalive.intervalMs;
    notes = 0;
    for (let n = 1; n <= 180; n += 1) keepalive.survived(keepalive.intervalMs + (n % 7) * 50);
    assert.equal(notes, 0, `${natMs}`);
    assert.equal(keepalive.intervalMs, settledMs);
  }
});
