// Rates and charts: what happened in each ten seconds of the last quarter of an hour.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MAX_FOLLOWED, SAMPLE_MS, SAMPLES } from '../../src/core/history.ts';
import { peerStatus } from '../../src/core/status.ts';
import { Bench, chat, inbound } from './support.ts';

test('rates are the mean of the last minute, charts the counts of each ten seconds', () => {
  const bench = new Bench();
  const from = bench.join('from');
  bench.join('to');
  bench.clock.advance(SAMPLE_MS);
  assert.deepEqual(bench.hub.history.chart('from'), []);
  let told = 0;
  const say = (count: number) => {
    for (let each = 0; each < count; each++) from.port.deliver(inbound(chat(`c${++told}`)));
    bench.clock.advance(SAMPLE_MS);
  };
  say(20);
  assert.deepEqual(bench.hub.history.rates('from'), { in: 2, out: 0 });
  assert.deepEqual(bench.hub.history.rates('to'), { in: 0, out: 2 });
  say(0);
  say(5);
  assert.deepEqual(bench.hub.history.chart('to'), [20, 0, 5]);
  for (let quiet = 0; quiet < 6; quiet++) say(0);
  assert.deepEqual(bench.hub.history.rates('to'), { in: 0, out: 0 });
  const { rates } = peerStatus(bench.peer('to'), bench.clock, { in: 1, out: 2 });
  assert.deepEqual(rates, { in: 1, out: 2 });
});

test('a quarter of an hour is kept, of so many peers, and nothing of those that are gone', () => {
  const bench = new Bench();
  const sessions = Array.from({ length: MAX_FOLLOWED + 5 }, (_, each) => bench.join(`p${each}`));
  bench.clock.advance(SAMPLE_MS * (SAMPLES + 20));
  const { history } = bench.hub;
  assert.equal(history.chart('p0').length, SAMPLES);
  assert.equal(history.chart(`p${MAX_FOLLOWED}`).length, 0);
  sessions[0]!.close('remote_closed');
  bench.clock.advance(SAMPLE_MS * 2);
  assert.equal(history.chart('p0').length, 0);
  assert.equal(history.chart(`p${MAX_FOLLOWED}`).length, 1);
});
