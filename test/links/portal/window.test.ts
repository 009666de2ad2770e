// How much may be on its way: simulated links of several speeds, with a queue in the network as real ones have.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  ACK_MS,
  ACK_RECORDS,
  FIRST_WINDOW_BYTES,
  GREETED_WINDOW_BYTES,
  MAX_WINDOW_BYTES,
} from '../../../src/links/portal/limits.ts';
import { Window } from '../../../src/links/portal/window.ts';

const RECORD = 450;

interface Outcome {
  readonly window: Window;
  /** Of the line's capacity, after the start. */
  readonly used: number;
  /** Longest that a record was under way, after the start, milliseconds. */
  readonly worstMs: number;
}

/** Bytes of the greeting's question and answer. */
const GREETING = 230;

/** A sender with an endless backlog over a line of so many bit/s, greeted and acknowledged as a session does it. In steps of 10 ms. */
function run(bitsPerSecond: number, lineMs: number, seconds: number): Outcome {
  const window = new Window();
  const rttMs = lineMs + (GREETING * 8_000) / bitsPerSecond;
  window.begin(rttMs);
  const line: { readonly sentMs: number; left: number }[] = [];
  const acks: { readonly atMs: number; readonly sentMs: number; readonly bytes: number }[] = [];
  let arrived: number[] = [];
  let dueMs = 0;
  let delivered = 0;
  let worstMs = 0;
  for (let nowMs = 0; nowMs < seconds * 1000; nowMs += 10) {
    while (window.room(RECORD)) {
      window.sent(RECORD, nowMs);
      line.push({ sentMs: nowMs, left: RECORD });
    }
    for (let budget = bitsPerSecond / 800; budget > 0 && line[0]; ) {
      const step = Math.min(budget, line[0].left);
      line[0].left -= step;
      budget -= step;
      if (line[0].left > 0) break;
      const { sentMs } = line.shift()!;
      if (arrived.length === 0) dueMs = nowMs + ACK_MS;
      arrived.push(sentMs);
      if (nowMs < seconds * 500) continue;
      delivered += RECORD;
      worstMs = Math.max(worstMs, nowMs - sentMs);
    }
    if (arrived.length >= ACK_RECORDS || (arrived.length > 0 && nowMs >= dueMs)) {
      acks.push({ atMs: nowMs + lineMs, sentMs: arrived.at(-1)!, bytes: RECORD * arrived.length });
      arrived = [];
    }
    for (let ack = acks[0]; ack && ack.atMs <= nowMs; ack = acks[0]) {
      window.acknowledged(ack.bytes, ack.sentMs, nowMs, rttMs);
      acks.shift();
    }
  }
  return { window, used: delivered / ((bitsPerSecond / 8) * (seconds / 2)), worstMs };
}

test('a thin link holds about a second of data, and is used', () => {
  for (const rttMs of [300, 1_200]) {
    for (const bitsPerSecond of [1_200, 2_400, 9_600, 64_000]) {
      const { used, worstMs } = run(bitsPerSecond, rttMs, 300);
      const oneRecordMs = (RECORD * 8000) / bitsPerSecond;
      const where = `${bitsPerSecond} bit/s, ${rttMs} ms`;
      assert.ok(worstMs <= 1_000 + rttMs + Math.max(500, oneRecordMs), `${where}: ${worstMs} ms`);
      // A second record at once would wait for two seconds and more where one takes three.
      assert.ok(used > (oneRecordMs > 2_000 ? 0.6 : 0.9), `${where}: ${used}`);
    }
  }
});

test('a fast link is filled', () => {
  const { window, used } = run(8_000_000, 20, 20);
  assert.ok(window.bytes > 64 << 10, `${window.bytes}`);
  assert.ok(used > 0.95, `${used}`);
});

test('one record may always go, however large; more only within window and credit', () => {
  const window = new Window();
  assert.ok(window.room(10 << 20));
  window.sent(FIRST_WINDOW_BYTES - 100, 0);
  assert.ok(window.room(100));
  assert.ok(!window.room(101));
  window.credit(2_000);
  assert.ok(!window.room(100), 'the peer takes less than we would send');
  window.credit(0);
  assert.ok(window.room(100), 'or says that it does not mind');
});

test('it does not grow unless it was the limit, nor beyond its bound', () => {
  const window = new Window();
  for (let n = 0; n < 100; n++) {
    window.sent(100, 0);
    window.acknowledged(100, n, n + 10, 5);
  }
  assert.equal(window.bytes, FIRST_WINDOW_BYTES);
  for (let n = 0; n < 100; n++) {
    const full = window.bytes;
    window.sent(full, 0);
    assert.ok(!window.room(1));
    window.acknowledged(full, 20 * n, 20 * n + 10, 5);
  }
  assert.equal(window.bytes, MAX_WINDOW_BYTES);
});

test('one change at a time: what was sent before the last one does not show its effect', () => {
  const window = new Window();
  window.sent(FIRST_WINDOW_BYTES, 0);
  window.room(1);
  window.acknowledged(100, 0, 5_000, 100);
  const cut = window.bytes;
  assert.ok(cut < FIRST_WINDOW_BYTES);
  window.acknowledged(100, 4_999, 12_000, 100);
  assert.equal(window.bytes, cut);
  window.acknowledged(100, 5_000, 12_000, 100);
  assert.ok(window.bytes < cut);
});

test('a new connection starts with what was learnt and nothing under way', () => {
  const window = new Window();
  window.sent(4_000, 0);
  window.acknowledged(1_000, 0, 10_000, 100);
  const learnt = window.bytes;
  assert.ok(learnt < FIRST_WINDOW_BYTES);
  window.reset();
  assert.equal(window.bytes, learnt);
  window.sent(1, 0);
  assert.ok(window.room(learnt - 1));
});

test('what a line carries is first guessed from its greeting, and then learnt', () => {
  const slow = new Window();
  slow.begin(770); // 2,400 bit/s
  assert.ok(slow.bytes > 250 && slow.bytes < 350, `${slow.bytes}`);
  slow.sent(slow.bytes, 0);
  slow.room(1);
  slow.acknowledged(slow.bytes, 0, 1_000, 700);
  const learnt = slow.bytes;
  slow.begin(10);
  assert.equal(slow.bytes, learnt);
  const fast = new Window();
  fast.begin(0.3);
  assert.equal(fast.bytes, GREETED_WINDOW_BYTES, 'it doubles with every round trip from there');
});

test('a line is not slow because the window was small', () => {
  for (const [greetingMs, ackMs] of [
    [0.3, 200],
    [20, 220],
  ] as const) {
    const window = new Window();
    window.begin(greetingMs);
    for (let nowMs = 0; nowMs < 8 * ackMs; nowMs += ackMs) {
      let sent = 0;
      while (window.room(500)) {
        window.sent(500, nowMs);
        sent += 500;
      }
      window.acknowledged(sent, nowMs, nowMs + ackMs, greetingMs);
    }
    assert.equal(window.goodputBps, undefined, `greeted in ${greetingMs} ms`);
    assert.ok(window.bytes >= 32_000, `${window.bytes}`);
  }
});

test('goodput is measured while more waits than may be sent, and says how long the next record takes', () => {
  for (const bitsPerSecond of [2_400, 9_600, 64_000]) {
    const { window } = run(bitsPerSecond, 300, 120);
    const share = (window.goodputBps ?? 0) / bitsPerSecond;
    assert.ok(share > 0.6 && share < 1.1, `${bitsPerSecond}: ${window.goodputBps}`);
    const transitMs = window.transitMs(300);
    assert.ok(transitMs > 150 && transitMs < 3_500, `${transitMs}`);
  }
  assert.equal(new Window().goodputBps, undefined);
});

test('an acknowledgement that was late leaves room for as much as arrives within a second', () => {
  const window = new Window();
  window.begin(600);
  let nowMs = 0;
  const pass = (tookMs: number) => {
    let bytes = 0;
    for (; window.room(100); bytes += 100) window.sent(100, nowMs);
    nowMs += tookMs;
    window.acknowledged(bytes, nowMs - tookMs, nowMs, 600);
  };
  for (let count = 0; count < 20; count++) pass(2_000);
  const before = window.bytes;
  pass(8_000);
  assert.ok(window.bytes < before, `${before}, then ${window.bytes}`);
  assert.ok(window.bytes >= Math.floor(window.goodputBps! / 8), `${window.bytes}, ${window.goodputBps} bit/s`);
});
