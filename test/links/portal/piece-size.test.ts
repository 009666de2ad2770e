// A file of 100 MB over lines of any speed, in virtual time: no part of it holds the line for longer than half a second.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { paceOf } from '../../../src/core/pace.ts';
import { ManualClock } from '../../../src/lib/clock.ts';
import { PIECE_BYTES } from '../../../src/links/portal/limits.ts';
import { PieceSize } from '../../../src/links/portal/piece-size.ts';
import { Pings } from '../../../src/links/portal/pings.ts';

const FILE_BYTES = 100_000_000;
/** Frame, TLS record, TCP and IP, and the PING behind it. */
const OVERHEAD_BYTES = 150;
const RTT_MS = 40;

/** Longest time that one part holds the line, and how much of the line the file gets. */
function send(bps: number, bytes: number, recordBytes = paceOf(undefined).recordBytes) {
  const pieces = new PieceSize();
  let [nowMs, longestMs, busyMs, parts] = [0, 0, 0, 0];
  for (let left = bytes; left > 0; parts++) {
    const size = Math.min(left, pieces.next(recordBytes));
    const holdsMs = ((size + OVERHEAD_BYTES) * 8_000) / bps;
    pieces.sent(size, nowMs);
    nowMs += holdsMs + RTT_MS;
    pieces.proven(nowMs, RTT_MS);
    longestMs = Math.max(longestMs, holdsMs);
    busyMs += holdsMs;
    left -= size;
  }
  return { longestMs, share: busyMs / nowMs, parts };
}

test('100 MB over 64 kbit/s never hold up an alert for half a second, whether anybody said how thin it is or not', () => {
  const unknown = send(64_000, FILE_BYTES);
  assert.ok(unknown.longestMs <= 500, `${unknown.longestMs} ms`);
  const known = send(64_000, FILE_BYTES, paceOf(64_000).recordBytes);
  assert.ok(known.longestMs <= 500, `${known.longestMs} ms`);
  assert.ok(unknown.share > 0.7, `the file gets ${unknown.share} of an idle line`);
});

test('nor over other lines that half a kilobyte does not fill for longer', () => {
  for (const bps of [12_000, 19_200, 28_800, 128_000, 512_000, 2_000_000, 100_000_000]) {
    const { longestMs } = send(bps, 2_000_000);
    assert.ok(longestMs <= 500, `${bps}: ${longestMs} ms`);
  }
});

test('a line that becomes thin is noticed with the next part; one that is wide gets whole ones', () => {
  const pieces = new PieceSize();
  for (let round = 0; round < 10; round++) {
    pieces.sent(pieces.next(65_536), 0);
    pieces.proven(1, 1);
  }
  assert.equal(pieces.next(65_536), PIECE_BYTES);
  assert.equal(pieces.next(4_000), 3_000);
  pieces.sent(PIECE_BYTES, 0);
  pieces.proven(2_000, 1);
  assert.equal(pieces.next(65_536), PIECE_BYTES / 2);
});

test('a round trip that was measured while a machine was busy does not stand: parts stay as small as the line wants', () => {
  const clock = new ManualClock();
  const pings = new Pings(clock, 1_000);
  const pieces = new PieceSize();
  let longestMs = 0;
  for (let part = 0; part < 200; part++) {
    const size = pieces.next(65_536);
    pieces.sent(size, clock.nowMs());
    pings.sent(true);
    const holdsMs = ((size + OVERHEAD_BYTES) * 8_000) / 64_000;
    clock.advance(holdsMs + RTT_MS);
    assert.equal(
      pings.answered({ seq: 0, sentUs: 0, wallUs: 0, acked: 0, credit: 0, kept: false }, clock.wallMs()),
      'proof',
    );
    pieces.proven(clock.nowMs(), pings.quickestMs);
    longestMs = Math.max(longestMs, holdsMs);
  }
  assert.ok(longestMs <= 500, `${longestMs} ms`);
});
