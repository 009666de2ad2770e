// What is told of units: the newest first, cut to size, stale ones left out.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { listUnits, MAX_UNITS } from '../../src/core/fleet.ts';
import { Bench, inbound, position, START_MS } from './support.ts';

function list(bench: Bench, query = {}) {
  const now = { nowMs: bench.clock.nowMs(), wallMs: bench.clock.wallMs() };
  return listUnits(bench.hub, { search: '', limit: MAX_UNITS, may: () => true, ...query }, now);
}

test('the newest come first, relayed ones are told apart, stale ones are gone', () => {
  const bench = new Bench();
  const phone = bench.join('phones/a');
  const relay = bench.join('federation/b');
  phone.port.deliver(inbound(position('old', { timeMs: START_MS - 30_000 })));
  phone.port.deliver(inbound(position('new', { timeMs: START_MS - 1_000 })));
  const passed = { provenance: [{ id: 'b', name: 'b' }], hops: { max: -1, current: 1 } };
  relay.port.deliver(inbound(position('far', { timeMs: START_MS - 2_000 }), passed));
  assert.deepEqual(
    list(bench).units.map(({ uid, ageMs, from, direct }) => [uid, ageMs, from, direct]),
    [
      ['new', 1_000, 'phones', true],
      ['far', 2_000, 'federation', false],
      ['old', 30_000, 'phones', true],
    ],
  );
  bench.clock.advance(60_000);
  assert.deepEqual(
    list(bench).units.map(({ uid }) => uid),
    ['new', 'far'],
  );
});

test('texts of phones are cut, the list is bounded, the count is not', () => {
  const bench = new Bench();
  const phone = bench.join('phones/a');
  for (let n = 0; n < MAX_UNITS + 5; n++)
    phone.port.deliver(inbound(position(`u${n}`, { callsign: 'C'.repeat(9999) })));
  const { total, units } = list(bench);
  assert.equal(total, MAX_UNITS + 5);
  assert.equal(units.length, MAX_UNITS);
  assert.ok(units.every(({ callsign }) => callsign.length === 128));
  assert.ok(JSON.stringify(list(bench)).length < 1 << 20, 'fits an answer');
  assert.equal(list(bench, { limit: 3 }).units.length, 3);
  assert.equal(list(bench, { limit: 1e9 }).units.length, MAX_UNITS);
});

test('alerts and markers are no units', () => {
  const bench = new Bench();
  const phone = bench.join('phones/a');
  phone.port.deliver(inbound(position('alert', { type: 'b-a-o-tbl' })));
  phone.port.deliver(inbound(position('marker', { how: 'h-g-i-g-o' })));
  assert.equal(list(bench).total, 0);
});
