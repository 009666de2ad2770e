// Chat to people behind a line that is cut for hours is kept for that line, not refused; also after a restart of this relay.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LastWays } from '../../src/core/last-ways.ts';
import { ManualClock } from '../../src/lib/clock.ts';
import { Bench, chat, contact, inbound, position, START_MS } from './support.ts';

const HOUR_MS = 3_600_000;
const LASTING = { durable: true, graceMs: 60_000 };

function toZulu(clock: ManualClock, by: 'uid' | 'callsign') {
  const to = by === 'uid' ? { destUids: ['zulu'] } : { destCallsigns: ['ZULU'] };
  const timeMs = clock.wallMs();
  return inbound(chat(`words-${timeMs}`, { ...to, timeMs, staleMs: timeMs + 24 * HOUR_MS }));
}

for (const by of ['uid', 'callsign'] as const) {
  test(`chat by ${by} waits for the line behind which he was, long after he is no longer announced`, () => {
    const bench = new Bench();
    const phone = bench.join('phone');
    bench.hub.expect(bench.spec('far', LASTING)); // the configuration names it
    const far = bench.join('far', LASTING);
    const other = bench.join('other', LASTING);
    far.port.deliver(inbound(position('zulu')));
    far.close('network_error');
    bench.clock.advance(3 * HOUR_MS);
    assert.ok(other.log.includes('-zulu'), 'his grace is over');
    phone.port.deliver(toZulu(bench.clock, by));
    assert.equal(bench.peer('far').queue.length > 0, true);
    assert.equal(bench.peer('phone').refused.no_recipient, undefined);
    assert.ok(!other.log.some((uid) => uid.startsWith('words')), 'nobody else hears of it');
    const back = bench.join('far', LASTING);
    assert.ok(back.log.some((uid) => uid.startsWith('words')));
    assert.deepEqual(bench.balance(), []);
  });
}

test('who said that he leaves is gone; after a day so is everybody else', () => {
  const bench = new Bench();
  const phone = bench.join('phone');
  bench.hub.expect(bench.spec('far', LASTING));
  const far = bench.join('far', LASTING);
  far.port.deliver(inbound(position('zulu')));
  far.port.deliver(contact('delete', 'zulu'));
  phone.port.deliver(toZulu(bench.clock, 'uid'));
  assert.equal(bench.peer('phone').refused.no_recipient, 1);
  far.port.deliver(inbound(position('zulu', { timeMs: bench.clock.wallMs() + 1_000 })));
  far.close('network_error');
  bench.clock.advance(25 * HOUR_MS);
  phone.port.deliver(toZulu(bench.clock, 'uid'));
  assert.equal(bench.peer('phone').refused.no_recipient, 2);
});

test('people behind clients are not remembered: a client that comes back is another', () => {
  const bench = new Bench();
  const [a, b] = [bench.join('a'), bench.join('b')];
  b.port.deliver(inbound(position('zulu')));
  b.close('remote_closed');
  a.port.deliver(toZulu(bench.clock, 'uid'));
  assert.equal(bench.peer('a').refused.no_recipient, 1);
});

test('it survives a restart, is written only when it changed, and what is saved wrongly is nothing', () => {
  const clock = new ManualClock(START_MS);
  const ways = new LastWays(clock);
  assert.equal(ways.save(), undefined);
  ways.met('zulu', 'ZULU', 'far');
  const saved = ways.save();
  assert.ok(saved);
  ways.met('zulu', 'ZULU', 'far');
  assert.equal(ways.save(), undefined);
  const again = new LastWays(clock, saved);
  assert.deepEqual([again.to('zulu'), again.withCallsign('ZULU')], ['far', ['zulu']]);
  for (const bad of ['', '{}', '[1,[2],["a","b","c"],["a","b","c","d"]]', 'null', '[[1,2,3,4]]']) {
    assert.equal(new LastWays(clock, bad).to('a'), undefined);
  }
  for (let each = 0; each < 5_000; each++) ways.met(`u${each}`, `U${each}`, 'far');
  assert.equal(ways.to('zulu'), undefined);
  assert.ok(ways.save()!.length < 200_000);
});
