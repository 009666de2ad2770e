// How much may be on its way to a peer. On a thin link bytes that the kernel has taken stand in a queue where no newer
// position can replace them and no PING overtakes them; so no more is sent than arrives within about a second, measured by
// the acknowledgements. (A fixed window of one message costs a fifth of a 9,600 bit/s link; megabytes cost minutes of age.)
import {
  CREDIT_BYTES,
  FIRST_WINDOW_BYTES,
  GREETED_WINDOW_BYTES,
  MAX_WINDOW_BYTES,
  SMALLEST_FIRST_WINDOW,
} from './limits.ts';

/** An acknowledgement within this time, beyond the round trip, says that there is room for more. */
const QUICK_MS = 500;
/** One that took longer than this says that there was too much. */
const SLOW_MS = 2_000;
/** So long something stood in the line: it is the limit. */
const STOOD_MS = 500;
/** Longer than this two large records need not stand behind each other. */
const PAIR_MS = 1_000;
/** What a window is cut to: so much time's worth. */
const TARGET_MS = 1_000;
/** Bytes that cross while a handshake's question goes and its answer comes, heads and all: a first guess of what the line carries. */
const GREETING_BYTES = 230;
/** Goodput is what arrived over about so long while the link was busy. */
const GOODPUT_MS = 10_000;
/** Acknowledgements that come closer together than this are taken as one. */
const SAMPLE_MS = 50;
/** Where two records turned out to be too much at once, one goes at a time for so long. */
const CROWDED_MS = 600_000;

export class Window {
  #bytes = FIRST_WINDOW_BYTES;
  #credit = CREDIT_BYTES;
  #inFlight = 0;
  /** Bytes of the record that is on its way alone; 0: there are others. */
  #loneBytes = 0;
  /** The first two at once, up to so many bytes, stand behind each other; those after them no longer do. */
  #pairedAt = 0;
  #crowdedUntilMs = Number.NEGATIVE_INFINITY;
  /** room() said no since the last acknowledgement. */
  #wasFull = false;
  /** Monotonic time of the last change: records sent before it do not show its effect yet. */
  #changedMs = Number.NEGATIVE_INFINITY;
  /** Bytes that had been sent when the window was full for the first time since: those before them do not show all of it. */
  #filledAt: number | undefined;
  #sentBytes = 0;
  #learnt = false;
  /** The shortest round trip of this connection. */
  #leastMs = Number.POSITIVE_INFINITY;
  #delayMs = 0;
  /** Bytes per millisecond; undefined: it was never busy. */
  #goodput: number | undefined;
  /** Acknowledged since #sampleMs. */
  #sampleBytes = 0;
  #sampleMs = 0;

  get bytes(): number {
    return this.#bytes;
  }

  /** How long the last acknowledged record took, acknowledgement included. */
  get delayMs(): number {
    return this.#delayMs;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  /** Bits per second that arrive when there is something to send; undefined: it was never that the line was the limit. */
  get goodputBps(): number | undefined {
    return this.#goodput === undefined ? undefined : this.#goodput * 8_000;
  }

  /** More than half of what may be on its way is. */
  get isHalfFull(): boolean {
    return 2 * this.#inFlight > Math.min(this.#bytes, this.#credit);
  }

  /** What a record sent now would take to arrive, milliseconds. */
  transitMs(rttMs: number): number {
    return rttMs / 2 + (this.#goodput ? this.#inFlight / this.#goodput : Math.max(0, this.#delayMs - rttMs) / 2);
  }

  /** Whether a record of this size may be sent now. One always may. */
  room(bytes: number): boolean {
    const most = Math.min(this.#bytes, this.#credit);
    if (this.#inFlight === 0 || this.#inFlight + bytes <= most) return true;
    this.#wasFull = true;
    this.#filledAt ??= this.#sentBytes;
    return false;
  }

  sent(bytes: number, nowMs: number): void {
    if (this.#inFlight === 0) {
      this.#sampleMs = nowMs;
      this.#sampleBytes = 0;
    }
    this.#loneBytes = this.#inFlight === 0 ? bytes : 0;
    this.#inFlight += bytes;
    this.#sentBytes += bytes;
  }

  /** The wire did not take it after all. */
  unsent(bytes: number): void {
    this.#inFlight -= bytes;
    this.#sentBytes -= bytes;
  }

  /**
   * A connection begins. Before anything was learnt: what a line whose greeting took `rttMs` carries within a second. A quick one
   * proves little: a shaper lets the first packets pass at once, and 64 kB behind them would stand there for minutes.
   */
  begin(rttMs: number, most = GREETED_WINDOW_BYTES): void {
    if (this.#learnt) return;
    const bytes = (GREETING_BYTES * TARGET_MS) / Math.max(1, rttMs);
    this.#bytes = Math.round(Math.max(SMALLEST_FIRST_WINDOW, Math.min(most, bytes)));
  }

  /** So many bytes were acknowledged; the newest of them were sent at `sentMs`. `rttMs`: of an idle connection. */
  acknowledged(bytes: number, sentMs: number, nowMs: number, rttMs: number): void {
    this.#inFlight -= bytes;
    this.#delayMs = nowMs - sentMs;
    // A round trip measured by a greeting, on a line where that alone takes a second, is none without queues.
    this.#leastMs = Math.min(this.#leastMs, rttMs, this.#delayMs);
    const queuedMs = this.#delayMs - this.#leastMs;
    this.#measure(bytes, queuedMs, nowMs);
    const alone = this.#wasFull && this.#inFlight === 0 && bytes === this.#loneBytes;
    if (alone && 2 * bytes > this.#bytes) this.#pair(bytes, nowMs);
    else if (sentMs >= this.#changedMs && this.#arrivedBytes > this.#pairedAt) this.#adapt(queuedMs, nowMs);
    this.#wasFull = false;
  }

  /** The peer takes so much before it acknowledges; 0: as much as we like. */
  credit(bytes: number): void {
    this.#credit = bytes === 0 ? Number.POSITIVE_INFINITY : bytes;
  }

  /** The connection ended; what was learnt stays. */
  reset(): void {
    this.#inFlight = 0;
    this.#sentBytes = 0;
    this.#pairedAt = 0;
    this.#filledAt = undefined;
    this.#credit = CREDIT_BYTES;
    this.#wasFull = false;
    this.#changedMs = Number.NEGATIVE_INFINITY;
    this.#leastMs = Number.POSITIVE_INFINITY;
  }

  /**
   * Only what arrived while more was waiting tells what the line carries; or more than was thought, whatever waited. And that a line
   * is slow is known only once something stood in it: of what came quickly the window was the limit, not the line.
   */
  #measure(bytes: number, queuedMs: number, nowMs: number): void {
    this.#sampleBytes += bytes;
    const tookMs = nowMs - this.#sampleMs;
    if (tookMs < SAMPLE_MS) return;
    const rate = this.#sampleBytes / tookMs;
    if (this.#goodput === undefined) {
      if (this.#wasFull && queuedMs >= STOOD_MS) this.#goodput = rate;
    } else if (this.#wasFull || rate > this.#goodput) {
      this.#goodput += (rate - this.#goodput) * (1 - Math.exp(-tookMs / GOODPUT_MS));
    }
    this.#sampleMs = nowMs;
    this.#sampleBytes = 0;
  }

  /**
   * One record at a time is on its way, and more wait: the line rests for a round trip after each. A second one would stand behind the
   * first for as long as that takes on the line, less that rest.
   */
  #pair(bytes: number, nowMs: number): void {
    const waitMs = this.#delayMs - 2 * this.#leastMs;
    if (waitMs > PAIR_MS || nowMs < this.#crowdedUntilMs) return;
    this.#change((2 * bytes) / this.#bytes, nowMs);
    this.#pairedAt = this.#sentBytes + 2 * bytes;
  }

  #adapt(queuedMs: number, nowMs: number): void {
    if (queuedMs > SLOW_MS) {
      // One large record alone may take so long: what arrives within the time aimed at fits nevertheless.
      const least = ((this.#goodput ?? 0) * TARGET_MS) / this.#bytes;
      this.#change(Math.min(1, Math.max(TARGET_MS / this.#delayMs, least)), nowMs);
      this.#crowdedUntilMs = nowMs + CROWDED_MS;
    } else if (this.#shows && queuedMs < QUICK_MS) this.#change(queuedMs < QUICK_MS / 2 ? 2 : 1.25, nowMs);
  }

  /** What has just arrived was sent into a full window of the present size. */
  get #shows(): boolean {
    return this.#wasFull && this.#filledAt !== undefined && this.#arrivedBytes >= this.#filledAt;
  }

  get #arrivedBytes(): number {
    return this.#sentBytes - this.#inFlight;
  }

  #change(factor: number, nowMs: number): void {
    this.#bytes = Math.max(1, Math.min(MAX_WINDOW_BYTES, Math.floor(this.#bytes * factor)));
    this.#changedMs = nowMs;
    this.#filledAt = undefined;
    this.#learnt = true;
  }
}
