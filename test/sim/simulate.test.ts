// The policy against a load that is twelve times what the line carries, in virtual time; and the rules of others beside it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SaxesParser } from 'saxes';
import { LOAD_DEFAULTS, makeLoad } from '../../src/sim/load.ts';
import { spread } from '../../src/sim/measure.ts';
import { plot } from '../../src/sim/plot.ts';
import { MAX_LINES, recordedLoad } from '../../src/sim/recorded.ts';
import { CONTENDERS } from '../../src/sim/simulate.ts';

const HOUR_MS = LOAD_DEFAULTS.durationMs;

function run(name: string, rateBps: number, more: Partial<typeof LOAD_DEFAULTS> = {}) {
  const contender = CONTENDERS.find((candidate) => candidate.name === name)!;
  return contender.run(makeLoad({ ...LOAD_DEFAULTS, ...more }), { rateBps, durationMs: HOUR_MS });
}

test('the load is the same for the same seed, in order, and twelve times what 2,400 bit/s carry', () => {
  const load = [...makeLoad(LOAD_DEFAULTS)];
  assert.deepEqual([...makeLoad(LOAD_DEFAULTS)], load);
  assert.notDeepEqual([...makeLoad({ ...LOAD_DEFAULTS, seed: 2 })], load);
  assert.ok(load.every(({ atMs }, n) => n === 0 || atMs >= load[n - 1]!.atMs));
  const bitsPerSecond = (load.reduce((sum, { bytes }) => sum + bytes, 0) * 8) / (HOUR_MS / 1000);
  assert.ok(bitsPerSecond > 28_000 && bitsPerSecond < 33_000, `${bitsPerSecond}`);
  const uids = new Set(load.map(({ event }) => event.uid));
  assert.equal([...uids].filter((uid) => uid.startsWith('unit')).length, 50);
  assert.equal([...uids].filter((uid) => uid.startsWith('alert')).length, 12);
});

for (const seed of [1, 2, 3]) {
  test(`2,400 bit/s, seed ${seed}: every alert within 6 s, the picture no older than 90 s, the books exact`, () => {
    const { alerts, chat, age, books, offered } = run('waystation', 2400, { seed });
    assert.deepEqual([alerts.offered, alerts.delivered], [12, 12]);
    assert.ok(alerts.p95 <= 6000, `${alerts.p95}`);
    assert.equal(chat.delivered, chat.offered);
    assert.ok(age.p95 <= 90_000, `${age.p95}`);
    assert.equal(books.offered, offered);
    const { offered: all, ...ends } = books;
    assert.equal(
      Object.values(ends).reduce((sum, count) => sum + count, 0),
      all,
    );
  });
}

test('with a codec at 2,400 bit/s the picture is no older than 40 s; at 9,600 bit/s neither', () => {
  assert.ok(run('waystation', 2400, { bytes: 95 }).age.p95 <= 40_000);
  const { age, alerts } = run('waystation', 9600);
  assert.ok(age.p95 <= 36_000 && alerts.p95 <= 2500);
});

test('under capacity nothing is delayed or dropped', () => {
  const [ours, fifo] = [run('waystation', 64_000), run('fifo', 64_000)];
  const { offered, sent, waiting, ...dropped } = ours.books;
  assert.deepEqual(dropped, {});
  assert.equal(offered, sent! + waiting!);
  assert.ok(ours.delivered >= fifo.delivered - 1);
  assert.ok(ours.age.p95 <= fifo.age.p95 * 1.01 && ours.alerts.max < 300);
});

test('the rules of others do as they were measured to: minutes and alerts lost', () => {
  const about = (value: number, expected: number) => Math.abs(value / expected - 1) < 0.25;
  assert.ok(about(run('fifo', 2400).age.p95, 3_163_000));
  assert.ok(about(run('tail1000', 2400).age.p95, 2_256_000));
  assert.ok(about(run('oldest100', 2400).age.p95, 820_000));
  assert.ok(about(run('oldest32', 2400).age.p95, 726_000));
  assert.ok(about(run('latest', 2400).age.p95, 2_175_000));
  assert.ok(about(run('waystation-85k', 2400).age.p95, 379_000));
  for (const name of ['fifo', 'tail1000', 'oldest100', 'oldest32']) {
    assert.ok(run(name, 2400).alerts.delivered <= 3, name);
  }
});

const line = (uid: string, second: number) =>
  JSON.stringify({
    received: new Date(Date.UTC(2026, 5, 1, 12, 0, second)).toISOString(),
    time: new Date(Date.UTC(2026, 5, 1, 12, 0, second - 1)).toISOString(),
    stale: new Date(Date.UTC(2026, 5, 1, 12, 1, second)).toISOString(),
    uid,
    type: 'a-f-G',
    lat: 48,
    lon: 24,
    xml: `<event how="m-g"/>`,
  });

test('a recorded load keeps its pace and weighs what its XML does', () => {
  const load = recordedLoad(`${line('b', 5)}\n${line('a', 2)}\n\n`);
  assert.deepEqual(
    load.map(({ atMs, bytes, event }) => [atMs, bytes, event.uid, event.how]),
    [
      [0, 18, 'a', 'm-g'],
      [3000, 18, 'b', 'm-g'],
    ],
  );
  assert.equal(recordedLoad(line('a', 2), 95)[0]!.bytes, 95);
  const result = CONTENDERS.at(-1)!.run(load, { rateBps: 2400, durationMs: 10_000 });
  assert.equal(result.delivered, 2);
});

test('a recording that cannot be read is refused with its line', () => {
  for (const bad of [
    'no json',
    '{}',
    '[]',
    'null',
    line('a', 2).replace('2026', 'never'),
    line('a', 2).replace('48', '"x"'),
  ]) {
    assert.throws(() => recordedLoad(`${line('a', 1)}\n${bad}`), /line 2 of the recording/, bad);
  }
  assert.deepEqual(recordedLoad(''), []);
  assert.ok(MAX_LINES > 0);
});

test('the plot is well-formed, and has a curve and a count for each rule', () => {
  const results = [run('waystation', 2400), run('oldest32', 2400)].map((result) => ({
    ...result,
    rule: `<${result.rule}> & "co"`,
  }));
  const svg = plot(results, HOUR_MS, '2400 bit/s <b>');
  const names: string[] = [];
  const parser = new SaxesParser({ fragment: false });
  parser.on('opentag', ({ name }) => names.push(name));
  parser.on('error', (error) => {
    throw error;
  });
  parser.write(svg).close();
  assert.equal(names.filter((name) => name === 'polyline').length, 2);
  assert.equal(names.filter((name) => name === 'circle').length, 12 + results[1]!.alerts.delivered);
  assert.ok(!svg.includes('NaN'));
});

test('spreads of nothing are no numbers, of one thing that thing', () => {
  assert.ok(Number.isNaN(spread([]).p95));
  assert.deepEqual(spread([7]), { p50: 7, p95: 7, max: 7 });
});
