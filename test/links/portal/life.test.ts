// Alive, quiet, silent, dead: by a clock that the test moves.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../../../src/lib/clock.ts';
import { Life } from '../../../src/links/portal/life.ts';
import { Pings } from '../../../src/links/portal/pings.ts';

const QUIET = 25_000;

function rig() {
  const clock = new ManualClock();
  const story: string[] = [];
  const state = { owedSinceMs: undefined as number | undefined, patienceMs: 0, quietMs: QUIET };
  const note = (what: string) => story.push(`${clock.nowMs() / 1000} ${what}`);
  const life = new Life(clock, {
    owedSinceMs: () => state.owedSinceMs,
    patienceMs: () => state.patienceMs,
    quietMs: () => state.quietMs,
    ping: () => note('ping'),
    suspect: () => note('suspect'),
    recovered: () => note('recovered'),
    survived: (quietMs) => note(`survived ${quietMs / 1000}`),
    dead: (quietMs) => note(`dead ${quietMs / 1000}`),
  });
  return { clock, story, state, life };
}

test('a quiet peer is asked after the quiet interval, and given up when it does not answer', () => {
  const { clock, story } = rig();
  clock.advance(24_999);
  assert.deepEqual(story, []);
  clock.advance(60_000);
  assert.deepEqual(story, ['25 ping', '40 dead 25']);
});

test('any byte is life: it ends the wait for an answer, and the next quiet begins', () => {
  const { clock, story, life } = rig();
  clock.advance(26_000);
  life.heard();
  clock.advance(24_000);
  life.heard();
  clock.advance(25_000);
  assert.deepEqual(story, ['25 ping', '26 survived 25', '75 ping']);
});

test('a slow way is given more time', () => {
  const { clock, story, state } = rig();
  state.patienceMs = 50_000;
  clock.advance(74_999);
  assert.deepEqual(story, ['25 ping', '40 suspect']);
  clock.advance(1);
  assert.deepEqual(story.at(-1), '75 dead 25');
});

test('silence of a peer that owes us something: asked after 5 s, suspected after 15 s, dead after 20 s', () => {
  const { clock, story, state, life } = rig();
  clock.advance(10_000);
  state.owedSinceMs = clock.nowMs();
  life.look();
  clock.advance(60_000);
  assert.deepEqual(story, ['15 ping', '25 suspect', '30 dead 15']);
});

test('a suspect that is heard is none any more', () => {
  const { clock, story, state, life } = rig();
  state.owedSinceMs = 0;
  life.look();
  clock.advance(18_000);
  life.heard();
  state.owedSinceMs = undefined;
  life.look();
  clock.advance(20_000);
  assert.deepEqual(story, ['5 ping', '15 suspect', '18 survived 5', '18 recovered']);
});

test('stopped, it says nothing more', () => {
  const { clock, story, life } = rig();
  life.stop();
  clock.advance(1_000_000);
  assert.deepEqual(story, []);
});

const NOTHING = { seq: 0, sentUs: 0, wallUs: 0, acked: 0, credit: 0, kept: false };

test('PONGs measure the round trip and tell the other clock', () => {
  const clock = new ManualClock(1_000_000);
  const pings = new Pings(clock, 800);
  const sentUs = clock.wallMs() * 1000;
  const seq = pings.nextSeq;
  pings.sent(false);
  assert.equal(pings.waitingSinceMs, 0);
  clock.advance(400);
  const pong = { ...NOTHING, seq, sentUs, wallUs: (1_000_000 + 200 + 5_000) * 1000 };
  assert.equal(pings.answered(pong, clock.wallMs()), 'measured');
  assert.deepEqual([pings.rttMs, pings.quickestMs, pings.clockOffsetMs], [750, 400, 5_000]);
  assert.equal(pings.waitingSinceMs, undefined);
  assert.equal(pings.answered(pong, clock.wallMs()), undefined, 'an answer to nothing');
  clock.jumpWall(4_000);
  assert.equal(pings.clockOffsetMs, 1_000, 'our own clock was set meanwhile');
});

test('a clock that is set while a PING is under way does not spoil what its PONG tells', () => {
  const clock = new ManualClock(1_000_000);
  const pings = new Pings(clock, 800);
  const sentUs = clock.wallMs() * 1000;
  pings.sent(false);
  clock.jumpWall(60_000);
  clock.advance(400);
  pings.answered({ ...NOTHING, seq: 1, sentUs, wallUs: (1_060_000 + 200 + 5_000) * 1000 }, clock.wallMs());
  assert.equal(pings.clockOffsetMs, 5_000);
});

test('the answer to our Hello tells the other clock; a measurement of yesterday gives way to a slower one of today', () => {
  const clock = new ManualClock(1_000_000);
  const pings = new Pings(clock, 100);
  pings.greeted({ ...NOTHING, wallUs: 0 }, clock.wallMs());
  assert.equal(pings.clockOffsetMs, undefined, 'it did not say');
  const says = (offsetMs: number, ageMs: number) => (clock.wallMs() + offsetMs - ageMs) * 1000;
  pings.greeted({ ...NOTHING, wallUs: says(9_000, 50) }, clock.wallMs());
  assert.equal(pings.clockOffsetMs, 9_000);
  const ping = (offsetMs: number, rttMs: number) => {
    const seq = pings.nextSeq;
    pings.sent(false);
    clock.advance(rttMs);
    pings.answered({ ...NOTHING, seq, sentUs: 1, wallUs: says(offsetMs, rttMs / 2) }, clock.wallMs());
    return pings.clockOffsetMs;
  };
  assert.equal(ping(9_010, 80), 9_010, 'a quicker one');
  assert.equal(ping(9_500, 2_000), 9_010, 'a slower one');
  clock.advance(86_400_000);
  assert.equal(ping(9_500, 2_000), 9_500);
});

test('a slower PONG does not blur the clock, an empty one answers the oldest PING, a proof measures nothing', () => {
  const clock = new ManualClock(1_000_000);
  const pings = new Pings(clock, 100);
  pings.sent(false);
  clock.advance(100);
  pings.answered({ ...NOTHING, seq: 1, sentUs: 1, wallUs: 1 }, 0);
  const before = pings.clockOffsetMs;
  pings.sent(false);
  clock.advance(5_000);
  pings.answered({ ...NOTHING, seq: 2, sentUs: 1, wallUs: 999_999_999 }, 0);
  assert.equal(pings.clockOffsetMs, before);
  const { rttMs } = pings;
  pings.sent(true);
  pings.sent(false);
  clock.advance(9_000);
  assert.equal(pings.answered(NOTHING, 0), 'proof');
  assert.equal(pings.rttMs, rttMs);
  assert.equal(pings.answered(NOTHING, 0), 'measured');
});

test('PINGs that are never answered are not piled up', () => {
  const pings = new Pings(new ManualClock(), 1);
  for (let n = 0; n < 1_000; n++) pings.sent(false);
  let answered = 0;
  while (pings.answered(NOTHING, 0)) answered++;
  assert.ok(answered <= 32);
});
