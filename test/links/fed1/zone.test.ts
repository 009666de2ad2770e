import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { MAX_VOTERS, VOTE_LIFE_MS } from '../../../src/links/fed1/limits.ts';
import { Zone, zoneName } from '../../../src/links/fed1/zone.ts';

const HOUR = 3_600_000;
const MINUTE = 60_000;

describe('the time zone of a FreeTAKServer', () => {
  for (const [zone, offsetMs] of [
    ['UTC+02:00', 2 * HOUR],
    ['UTC-05:00', -5 * HOUR],
    ['UTC+05:45', 5 * HOUR + 45 * MINUTE],
    ['UTC-09:30', -9 * HOUR - 30 * MINUTE],
    ['UTC+14:00', 14 * HOUR],
  ] as const) {
    test(`${zone} is told by the first position`, () => {
      const found = new Zone(0);
      assert.equal(found.vote('u', offsetMs + 1_300, 0), true);
      assert.equal(found.offsetMs, offsetMs);
      assert.equal(zoneName(found.offsetMs), zone);
      assert.equal(found.vote('u', offsetMs + 40_000, 1_000), false, 'no news');
    });
  }

  test('a peer on UTC is left alone', () => {
    const zone = new Zone(0);
    for (const ageMs of [0, 900, 30_000, -5_000]) assert.equal(zone.vote('u', ageMs, 0), false);
    assert.equal(zone.offsetMs, 0);
    assert.equal(Object.is(zone.offsetMs, -0), false);
  });

  test('what is no multiple of 15 minutes, or beyond every zone, tells nothing', () => {
    const zone = new Zone(0);
    for (const ageMs of [
      7 * MINUTE,
      22 * MINUTE,
      2 * HOUR + 3 * MINUTE,
      15 * HOUR,
      -15 * HOUR,
      400 * HOUR,
      Number.NaN,
    ]) {
      assert.equal(zone.vote('u', ageMs, 0), false, String(ageMs));
    }
    assert.equal(zone.offsetMs, 0);
  });

  test('one unit with a wrong clock is outvoted by two others, and does not win again by saying it often', () => {
    const zone = new Zone(0);
    zone.vote('wrong', HOUR, 0);
    assert.equal(zone.offsetMs, HOUR);
    zone.vote('one', 2 * HOUR, 1);
    assert.equal(zone.offsetMs, HOUR, 'one against one');
    assert.equal(zone.vote('two', 2 * HOUR, 2), true);
    for (let n = 0; n < 100; n++) zone.vote('wrong', HOUR, 3 + n);
    assert.equal(zone.offsetMs, 2 * HOUR);
  });

  test('when the clocks are changed it follows, without waiting for units that are gone', () => {
    const zone = new Zone(HOUR);
    for (let n = 0; n < 10; n++) zone.vote(`gone-${n}`, HOUR, 0);
    const later = VOTE_LIFE_MS + 1;
    assert.equal(zone.vote('here', 2 * HOUR, later), true);
    assert.equal(zone.offsetMs, 2 * HOUR);
  });

  test('a peer that is set right is believed', () => {
    const zone = new Zone(2 * HOUR);
    zone.vote('u', 2 * HOUR, 0);
    assert.equal(zone.vote('u', 500, 1), true);
    assert.equal(zone.offsetMs, 0);
  });

  test('many units cost no more than the last of them', () => {
    const zone = new Zone(0);
    for (let n = 0; n < 100_000; n++) zone.vote(`u${n}`, HOUR, n / 1000);
    for (let n = 0; n <= MAX_VOTERS / 2; n++) zone.vote(`v${n}`, 3 * HOUR, 200);
    assert.equal(zone.offsetMs, 3 * HOUR, 'older votes have been pushed out');
  });

  test('nonsense that was remembered is forgotten', () => {
    for (const ms of [Number.NaN, 1, 100 * HOUR, Number.POSITIVE_INFINITY]) assert.equal(new Zone(ms).offsetMs, 0);
  });
});
