// One connection's way out: collects the frames of a turn, hands them to the socket in one write, keeps one write in
// flight. What it holds is bounded; everything beyond stays in the peer's queue, where it can still be replaced.
import type { Envelope } from '../core/message.ts';
import type { Returned } from '../core/session.ts';
import type { Clock } from '../lib/clock.ts';

export interface OutletOptions {
  /** Most bytes collected while a write is in flight. A single larger frame is taken when nothing else waits. */
  readonly maxPendingBytes: number;
  /** One write (one TLS record) per frame, each awaiting the last: for readers that lose what shares a record. */
  readonly oneFramePerWrite: boolean;
  /** No peer gets the same batch as another: they are made in memory that is used again and again. */
  readonly ownBatches?: boolean;
  /** A write the peer does not read for this long is given up. */
  readonly writeTimeoutMs: number;
  readonly clock: Clock;
}

export interface OutletEvents {
  /** Room again after push() said false. */
  writable(): void;
  /** A write outlived writeTimeoutMs. Called once. */
  stuck(): void;
}

/** Hands bytes to the network; calls `done` when the network has taken them, with an error if it never will. */
export type Sink = (bytes: Buffer, done: (error?: Error | null) => void) => void;

/** Onto an idle wire a burst of one turn may be this many times maxPendingBytes: nothing shows yet that the peer is slow. */
const IDLE_FACTOR = 4;
/** Control frames that may wait at once. A peer that makes us answer but does not read gets no further answers. */
const MAX_CONTROL_FRAMES = 16;

export class Outlet {
  readonly #sink: Sink;
  readonly #events: OutletEvents;
  readonly #options: OutletOptions;
  #frames: Buffer[] = [];
  /** The message each frame says; undefined: a control frame of the link's own. */
  #envelopes: (Envelope | undefined)[] = [];
  #controlFrames = 0;
  #pendingBytes = 0;
  #sentBytes = 0;
  #inFlight: readonly (Envelope | undefined)[] = [];
  #state: 'idle' | 'scheduled' | 'writing' | 'closed' = 'idle';
  #refused = false;
  /** Memory of the write in flight. */
  #spare: Buffer | undefined;
  #cancelTimeout: (() => void) | undefined;
  /** Monotonic time when the write in flight began. */
  #writeStartedMs = 0;

  constructor(sink: Sink, events: OutletEvents, options: OutletOptions) {
    this.#sink = sink;
    this.#events = events;
    this.#options = options;
  }

  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  /** Handed to the network so far, with what TLS and TCP add. */
  get sentBytes(): number {
    return this.#sentBytes;
  }

  /** Something is not with the network yet. */
  get busy(): boolean {
    return this.#state === 'scheduled' || this.#state === 'writing';
  }

  /** Takes a whole frame, or `head` and the rest of one. False: full or closed; `writable` will be called when there is room. */
  push(frame: Buffer, envelope: Envelope | undefined, head?: Buffer): boolean {
    if (this.#state === 'closed') return false;
    const { maxPendingBytes, oneFramePerWrite } = this.#options;
    const idle = this.#state !== 'writing' && !oneFramePerWrite;
    const most = idle ? IDLE_FACTOR * maxPendingBytes : maxPendingBytes;
    if (this.#pendingBytes > 0 && this.#pendingBytes + frame.length > most) {
      this.#refused = true;
      return false;
    }
    if (head) this.#add(head, undefined, 'last');
    this.#add(frame, envelope, 'last');
    return true;
  }

  /**
   * Takes a frame of the link's own (pong, negotiation), full or not: ahead of all that waits, or in its turn. False: closed, or
   * MAX_CONTROL_FRAMES wait already.
   */
  control(frame: Buffer, place: 'first' | 'last'): boolean {
    if (this.#state === 'closed' || this.#controlFrames >= MAX_CONTROL_FRAMES) return false;
    this.#controlFrames++;
    this.#add(frame, undefined, place);
    return true;
  }

  /** For sinks that write in pieces: the network took one, so the write in flight is not stuck. */
  progressed(): void {
    this.#writeStartedMs = this.#options.clock.nowMs();
  }

  /** Stops; returns what was taken and is not known to be with the network, in order. */
  close(): Returned {
    if (this.#state === 'closed') return [];
    this.#state = 'closed';
    this.#cancelTimeout?.();
    const returned = [...this.#inFlight, ...this.#envelopes].filter((envelope) => envelope !== undefined);
    this.#frames = [];
    this.#envelopes = [];
    this.#inFlight = [];
    this.#pendingBytes = 0;
    return returned;
  }

  #add(frame: Buffer, envelope: Envelope | undefined, place: 'first' | 'last'): void {
    if (place === 'last') {
      this.#frames.push(frame);
      this.#envelopes.push(envelope);
    } else {
      this.#frames.unshift(frame);
      this.#envelopes.unshift(envelope);
    }
    this.#pendingBytes += frame.length;
    if (this.#state !== 'idle') return;
    this.#state = 'scheduled';
    setImmediate(this.#flush);
  }

  #flush = (): void => {
    if (this.#state !== 'scheduled') return;
    this.#state = 'writing';
    const bytes = this.#takeBatch();
    this.#sentBytes += lineBytes(bytes.length);
    this.#writeStartedMs = this.#options.clock.nowMs();
    this.#watch();
    this.#sink(bytes, this.#written);
    if (this.#refused) this.#offerRoom();
  };

  /** Never called without frames. */
  #takeBatch(): Buffer {
    return this.#options.oneFramePerWrite ? this.#takeOne() : this.#takeAll();
  }

  #takeOne(): Buffer {
    const frame = this.#frames.shift()!;
    const envelope = this.#envelopes.shift();
    this.#pendingBytes -= frame.length;
    if (envelope === undefined) this.#controlFrames--;
    this.#inFlight = [envelope];
    return frame;
  }

  #takeAll(): Buffer {
    const { ownBatches } = this.#options;
    const batch = ownBatches ? this.#joinedForItself() : joined(this.#frames, this.#pendingBytes);
    this.#inFlight = this.#envelopes;
    this.#frames = [];
    this.#envelopes = [];
    this.#pendingBytes = 0;
    this.#controlFrames = 0;
    return batch;
  }

  #joinedForItself(): Buffer {
    if (this.#pendingBytes > SPARE_BYTES) return Buffer.concat(this.#frames, this.#pendingBytes);
    const spare = spares.pop() ?? Buffer.allocUnsafeSlow(SPARE_BYTES);
    this.#spare = spare;
    let at = 0;
    for (const frame of this.#frames) at += frame.copy(spare, at);
    return spare.subarray(0, at);
  }

  /** One lazy timer per connection, not one per write: it looks how old the write in flight is. */
  #watch(): void {
    if (this.#cancelTimeout) return;
    const check = () => {
      this.#cancelTimeout = undefined;
      if (this.#state !== 'writing') return;
      const age = this.#options.clock.nowMs() - this.#writeStartedMs;
      if (age >= this.#options.writeTimeoutMs) this.#events.stuck();
      else this.#cancelTimeout = this.#options.clock.after(this.#options.writeTimeoutMs - age, check);
    };
    this.#cancelTimeout = this.#options.clock.after(this.#options.writeTimeoutMs, check);
  }

  #written = (error?: Error | null): void => {
    if (this.#state === 'closed' || error) return; // the socket's own error or close event ends the session
    this.#inFlight = [];
    if (this.#spare && spares.length < MAX_SPARES) spares.push(this.#spare);
    this.#spare = undefined;
    if (this.#frames.length > 0) {
      this.#state = 'scheduled';
      setImmediate(this.#flush);
    } else {
      this.#state = 'idle';
    }
    if (this.#refused) this.#offerRoom();
  };

  #offerRoom(): void {
    this.#refused = false;
    this.#events.writable();
  }
}

/** What a busy wire takes at once. Batches of so much and less are no garbage: by the megabyte that costs more than sending them. */
const SPARE_BYTES = 64 << 10;
const MAX_SPARES = 16;
const spares: Buffer[] = [];

/** What a write costs on the line: TLS records and TCP segments have heads. */
function lineBytes(bytes: number): number {
  return bytes + TLS_BYTES * Math.ceil(bytes / TLS_RECORD_BYTES) + TCP_BYTES * Math.ceil(bytes / SEGMENT_BYTES);
}
const TLS_RECORD_BYTES = 16_384;
const TLS_BYTES = 22;
const SEGMENT_BYTES = 1_400;
/** IPv4, TCP and its timestamps. */
const TCP_BYTES = 52;

/** A joined batch larger than this is not kept for the next peer. */
const MAX_SHARED_BYTES = 256 * 1024;
let shared: { readonly frames: readonly Buffer[]; readonly batch: Buffer } | undefined;

/** What goes to many peers in one turn is mostly the same frames in the same order: they are joined once, not once per peer. */
function joined(frames: readonly Buffer[], size: number): Buffer {
  if (frames.length === 1) return frames[0]!;
  if (shared?.batch.length === size && shared.frames.every((frame, index) => frame === frames[index]))
    return shared.batch;
  const batch = Buffer.concat(frames, size);
  shared = size <= MAX_SHARED_BYTES ? { frames, batch } : undefined;
  return batch;
}
