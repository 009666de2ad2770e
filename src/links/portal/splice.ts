// Joins two sockets: the bytes of each go to the other, in order, until both have ended. A side that does not read stops the
// other; nothing is kept beyond what Node holds for one write. What the bytes mean is not our business.
import type { Socket } from 'node:net';
import type { Clock } from '../../lib/clock.ts';

export const SPLICE_ENDS = ['finished', 'broken', 'idle', 'stalled', 'superseded', 'byte_limit', 'shutdown'] as const;
export type SpliceEnd = (typeof SPLICE_ENDS)[number];

export const SPLICE_END_WORDS: Readonly<Record<SpliceEnd, string>> = {
  finished: 'both sides ended it',
  broken: 'the connection to one side broke',
  idle: 'nothing passed for too long',
  stalled: 'one side stopped reading',
  superseded: 'it was silent, and gave way to a newer one between the same two',
  byte_limit: 'the bytes this peer may pass in a day are used up',
  shutdown: 'this relay is stopping',
};

export interface SpliceOptions {
  readonly clock: Clock;
  /** Longest time without a byte either way. */
  readonly idleMs: number;
  /** The same once one side has said all it has to say. */
  readonly lingerMs: number;
  /** Longest time for which one side takes nothing of what waits for it. */
  readonly stallMs: number;
  /** Takes note of bytes that passed. Returns milliseconds to pause before more; undefined: that was the last. */
  spend(bytes: number): number | undefined;
  /** Told once, when both sockets are closed or about to be. */
  onEnd(end: SpliceEnd, bytes: number): void;
}

/** How often idleness and stalls are looked for, in parts of the shorter time. */
const LOOKS = 4;

export class Splice {
  readonly #options: SpliceOptions;
  readonly #halves: readonly [Half, Half];
  #cancelLook = () => {};
  #bytes = 0;
  #movedMs: number;
  #ended = false;

  /** Takes both sockets over. Nobody else may listen for their data. */
  constructor(a: Socket, b: Socket, options: SpliceOptions) {
    this.#options = options;
    this.#movedMs = options.clock.nowMs();
    this.#halves = [this.#half(a, b), this.#half(b, a)];
  }

  /** How long nothing has passed. */
  get silentMs(): number {
    return this.#options.clock.nowMs() - this.#movedMs;
  }

  /** Starts passing bytes. */
  begin(): void {
    for (const half of this.#halves) half.begin();
    this.#look();
  }

  /** Idempotent. */
  close(end: SpliceEnd): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#cancelLook();
    for (const half of this.#halves) half.stop();
    this.#options.onEnd(end, this.#bytes);
  }

  #half(from: Socket, into: Socket): Half {
    return new Half(
      from,
      into,
      this.#options.clock,
      (bytes) => this.#moved(bytes),
      () => this.#closed(),
    );
  }

  #moved(bytes: number): number {
    this.#bytes += bytes;
    this.#movedMs = this.#options.clock.nowMs();
    const pauseMs = this.#options.spend(bytes);
    if (pauseMs === undefined) this.close('byte_limit');
    return pauseMs ?? 0;
  }

  /** One socket is closed: an end only if both sides had said all. */
  #closed(): void {
    const [one, other] = this.#halves;
    if (!one.finished || !other.finished) this.close('broken');
    else if (one.closed && other.closed) this.close('finished');
  }

  #look(): void {
    const { clock, idleMs, lingerMs, stallMs } = this.#options;
    const nowMs = clock.nowMs();
    const patienceMs = this.#halves.some((half) => half.finished) ? lingerMs : idleMs;
    if (this.#halves.some((half) => half.stuckMs(nowMs) >= stallMs)) return this.close('stalled');
    if (nowMs - this.#movedMs >= patienceMs) return this.close('idle');
    this.#cancelLook = clock.after(Math.min(idleMs, lingerMs, stallMs) / LOOKS, () => this.#look());
  }
}

/** One direction. */
class Half {
  readonly #from: Socket;
  readonly #into: Socket;
  readonly #clock: Clock;
  readonly #moved: (bytes: number) => number;
  readonly #onClosed: () => void;
  /** Since when `#into` is full; undefined: it takes more. */
  #fullMs: number | undefined;
  #throttled = false;
  #cancelThrottle = () => {};

  constructor(from: Socket, into: Socket, clock: Clock, moved: (bytes: number) => number, onClosed: () => void) {
    this.#from = from;
    this.#into = into;
    this.#clock = clock;
    this.#moved = moved;
    this.#onClosed = onClosed;
  }

  /** All that came was handed on, and the end of it. */
  get finished(): boolean {
    return this.#from.readableEnded && this.#into.writableFinished;
  }

  get closed(): boolean {
    return this.#from.closed;
  }

  begin(): void {
    const from = this.#from;
    // One side may have said all while it still listens.
    from.allowHalfOpen = true;
    from.on('data', this.#pass);
    from.on('end', () => this.#into.end());
    from.on('error', () => from.destroy());
    from.on('close', this.#onClosed);
    this.#into.on('drain', this.#drained);
    if (from.destroyed) return this.#onClosed();
    from.resume();
  }

  stuckMs(nowMs: number): number {
    return this.#fullMs === undefined ? 0 : nowMs - this.#fullMs;
  }

  stop(): void {
    this.#cancelThrottle();
    this.#from.off('data', this.#pass).off('close', this.#onClosed);
    this.#into.off('drain', this.#drained);
    this.#from.destroy();
  }

  readonly #pass = (chunk: Buffer): void => {
    if (!this.#into.write(chunk)) this.#fullMs ??= this.#clock.nowMs();
    const pauseMs = this.#moved(chunk.length);
    if (pauseMs > 0) this.#throttle(pauseMs);
    if (this.#fullMs !== undefined || this.#throttled) this.#from.pause();
  };

  readonly #drained = (): void => {
    this.#fullMs = undefined;
    this.#resume();
  };

  #throttle(pauseMs: number): void {
    this.#throttled = true;
    this.#cancelThrottle();
    this.#cancelThrottle = this.#clock.after(pauseMs, () => {
      this.#throttled = false;
      this.#resume();
    });
  }

  #resume(): void {
    if (this.#fullMs === undefined && !this.#throttled) this.#from.resume();
  }
}
