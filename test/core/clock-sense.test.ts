// A box that wakes with a wrong clock: live units' clocks count beside its own, and a few wrong ones do not.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ClockSense } from '../../src/core/clock-sense.ts';
import { Bench, inbound, position, START_MS } from './support.ts';

const DAY_MS = 86_400_000;

/** Events of live units: `skews` by uid, one event each every ten seconds. */
function listen(sense: ClockSense, skews: Readonly<Record<string, number>>, rounds = 3): void {
  for (let round = 0; round < rounds; round++) {
    const nowMs = round * 10_000;
    const wallMs = START_MS + nowMs;
    for (const [uid, skewMs] of Object.entries(skews)) {
      sense.note(position(uid, { timeMs: wallMs + skewMs }), wallMs, nowMs);
    }
  }
}

test('one live unit is enough when nobody agrees with us; its first event alone is not', () => {
  const sense = new ClockSense();
  listen(sense, { a: 40 * DAY_MS }, 1);
  assert.deepEqual([sense.offsetMs, sense.witnesses], [0, 0]);
  listen(sense, { a: 40 * DAY_MS });
  assert.deepEqual([sense.offsetMs, sense.witnesses], [40 * DAY_MS, 1]);
});

test('the greater number counts, and our own clock when it is even', () => {
  const sense = new ClockSense();
  listen(sense, { wrong: 40 * DAY_MS, right: 100 });
  assert.equal(sense.offsetMs, 0);
  listen(sense, { wrong: 40 * DAY_MS, right: 100, 'wrong too': 40 * DAY_MS + 60_000 });
  assert.ok(Math.abs(sense.offsetMs - 40 * DAY_MS) <= 60_000);
  listen(sense, { wrong: 40 * DAY_MS, right: 100, r2: 0, r3: -900, 'wrong too': 40 * DAY_MS });
  assert.equal(sense.offsetMs, 0);
});

test('what is no live unit is no witness: markers, chat, one moment said again and again', () => {
  const sense = new ClockSense();
  for (let round = 0; round < 5; round++) {
    const nowMs = round * 400_000;
    const wallMs = START_MS + nowMs;
    sense.note(position('marker', { how: 'h-g-i-g-o', timeMs: wallMs + DAY_MS }), wallMs, nowMs);
    sense.note(position('chat', { type: 'b-t-f', timeMs: wallMs + DAY_MS }), wallMs, nowMs);
    sense.note(position('recorded', { timeMs: START_MS - DAY_MS }), wallMs, nowMs);
  }
  assert.equal(sense.offsetMs, 0);
});

test('a clock that was set counts again at once, and nothing is kept then', () => {
  const sense = new ClockSense();
  listen(sense, { a: DAY_MS * 2 });
  assert.equal(sense.offsetMs, DAY_MS * 2);
  listen(sense, { a: 0 });
  assert.equal(sense.offsetMs, 0);
});

test('thousands of uids cost no more than a few', () => {
  const sense = new ClockSense();
  const many = Object.fromEntries(Array.from({ length: 5_000 }, (_, n) => [`u${n}`, n * DAY_MS]));
  listen(sense, many, 2);
  assert.ok(sense.witnesses <= 64);
});

for (const [words, skewMs] of [
  ['behind', 40 * DAY_MS],
  ['ahead', -40 * DAY_MS],
] as const) {
  test(`a box whose clock is ${words} relays what its phones say`, () => {
    const bench = new Bench();
    const from = bench.join('from');
    const to = bench.join('to');
    for (let round = 0; round < 4; round++) {
      const timeMs = bench.clock.wallMs() + skewMs;
      from.port.deliver(inbound(position('a', { timeMs, staleMs: timeMs + 75_000 })));
      bench.clock.advance(10_000);
    }
    assert.deepEqual(bench.peer('from').refused, { stale: 1 });
    const told = to.events.filter(({ uid }) => uid === 'a');
    assert.equal(told.length, 3);
    assert.equal(bench.hub.clockSense.offsetMs, skewMs);
  });
}
