// What goes out beside events: requests, and responses in pieces. Pieces of several take turns, and behind each large one
// goes a PING: only when its answer proves that the piece arrived does the next follow. So a large response neither fills
// the way of events nor of other responses, on a link of any speed.

/** A frame up to this size needs no proof: less than the smallest piece of a large answer (piece-size.ts). */
const SMALL_BYTES = 512;
/** Jobs that may wait. A peer that makes us answer but does not read gets no further answers. */
const MAX_JOBS = 128;

export interface BulkOut {
  /** Hands a frame to the wire, in its turn. False: not now; pump() will be called when there is room. */
  send(frame: Buffer): boolean;
  /** Sends a PING behind what was sent; arrived() is called when its answer is here. False: not now, as for send(). */
  prove(): boolean;
}

interface Job {
  readonly frames: Iterator<Buffer, undefined>;
  readonly done: () => void;
}

export class Bulk {
  readonly #out: BulkOut;
  #jobs: Job[] = [];
  /** Taken from its job, but the wire had no room. */
  #ready: Buffer | undefined;
  /** Of the last large frame: its PING is still to be sent, or to be answered. */
  #proof: 'none' | 'due' | 'awaited' = 'none';
  #closed = false;

  constructor(out: BulkOut) {
    this.#out = out;
  }

  /** Resolves when the last frame is with the wire, or nothing more will be. False at once: too many wait. */
  push(frames: Iterator<Buffer, undefined>): Promise<void> | false {
    if (this.#jobs.length >= MAX_JOBS) return false;
    if (this.#closed) return Promise.resolve();
    return new Promise((done) => {
      this.#jobs.push({ frames, done });
      this.pump();
    });
  }

  /** Sends what can be sent now. */
  pump(): void {
    while (!this.#closed && this.#proof !== 'awaited') {
      if (this.#proof === 'due') {
        if (!this.#out.prove()) return;
        this.#proof = 'awaited';
        return;
      }
      const frame = this.#ready ?? this.#next();
      if (!frame) return;
      this.#ready = this.#out.send(frame) ? undefined : frame;
      if (this.#ready) return;
      if (frame.length > SMALL_BYTES) this.#proof = 'due';
    }
  }

  /** What was sent before the last prove() has arrived. */
  arrived(): void {
    this.#proof = 'none';
    this.pump();
  }

  close(): void {
    this.#closed = true;
    for (const { done } of this.#jobs) done();
    this.#jobs = [];
  }

  /** The next frame, of the job whose turn it is. */
  #next(): Buffer | undefined {
    for (;;) {
      const job = this.#jobs.shift();
      if (!job) return undefined;
      const { value } = job.frames.next();
      if (value) {
        this.#jobs.push(job);
        return value;
      }
      job.done();
    }
  }
}
