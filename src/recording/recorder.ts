// The recorder: every event that is let in, as lines, packed and put into the ring once a minute, or when much has come. Off unless
// the file says otherwise. It waits for nobody and nobody waits for it: where the disk is too slow, events are left out and counted.
import { existsSync } from 'node:fs';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import type { Envelope } from '../core/message.ts';
import type { RecorderStatus } from '../core/recorder-status.ts';
import type { Warning } from '../core/status.ts';
import { childController, sleep } from '../lib/abort.ts';
import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import { type Recorded, readEvents } from './read.ts';
import { Ring } from './ring.ts';

/** Longest that an event waits in memory, and so the most that a power cut costs. */
const FLUSH_MS = 60_000;
/** Characters that are written before that. */
const FLUSH_CHARS = 1024 * 1024;
/** Characters that may wait, for a disk that is slow. */
const MAX_CHARS = 4 * 1024 * 1024;
const pack = promisify(gzip);

export interface RecorderParts {
  /** Folder of the ring. */
  readonly dir: string;
  readonly clock: Clock;
  readonly log: Log;
  /** Calls the listener for every message let in; returns its removal. */
  tap(listener: (envelope: Envelope) => void): () => void;
  /** The event as CoT XML. */
  toXml(envelope: Envelope): string;
}

export class Recorder {
  readonly #parts: RecorderParts;
  readonly #ring: Ring;
  /** Most bytes on disk; 0: nothing is recorded. */
  #limit = 0;
  #untap: (() => void) | undefined;
  #lines: string[] = [];
  #chars = 0;
  #firstMs = 0;
  #events = 0;
  #missed = 0;
  #writes = 0;
  #trouble: Warning | undefined;
  /** The write under way, and those behind it. */
  #writing: Promise<void> = Promise.resolve();
  #wake = () => {};

  constructor(parts: RecorderParts) {
    this.#parts = parts;
    this.#ring = new Ring(parts.dir);
  }

  /** Begins, ends, or changes how much is kept. What was recorded stays until it is pushed out, or `limit` is smaller. */
  apply(limit: number): void {
    this.#limit = limit;
    if (!this.#untap && (limit > 0 || existsSync(this.#parts.dir))) this.#open();
    if (limit > 0) return this.#ring.trim(limit);
    this.#untap?.();
    this.#untap = undefined;
  }

  #open(): void {
    try {
      this.#ring.open();
      this.#trouble = undefined;
      this.#untap = this.#parts.tap((envelope) => this.#note(envelope));
    } catch (error) {
      this.#failed(error as Error);
    }
  }

  get warnings(): readonly Warning[] {
    return this.#trouble && this.#limit > 0 ? [this.#trouble] : [];
  }

  status(): RecorderStatus {
    const { bytes, fromMs } = this.#ring;
    return {
      on: this.#untap !== undefined,
      bytes,
      limit: this.#limit,
      from: fromMs === undefined ? null : new Date(fromMs).toISOString(),
      events: this.#events,
      missed: this.#missed,
      writes: this.#writes,
    };
  }

  /** Resolves after abort, with what waited written. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#pause(signal);
      await this.flush();
    }
    this.#untap?.();
    await this.flush();
  }

  /** Until it is time, or much has come. */
  async #pause(signal: AbortSignal): Promise<void> {
    const { controller, release } = childController(signal);
    this.#wake = () => controller.abort();
    await sleep(FLUSH_MS, controller.signal);
    release();
  }

  #note(envelope: Envelope): void {
    if (envelope.message.kind !== 'event') return;
    if (this.#chars >= MAX_CHARS) return void this.#missed++;
    try {
      const xml = this.#parts.toXml(envelope);
      const received = new Date(envelope.receivedWallMs).toISOString();
      const line = JSON.stringify({ received, from: envelope.from, xml });
      if (this.#lines.length === 0) this.#firstMs = envelope.receivedWallMs;
      this.#lines.push(line);
      this.#chars += line.length;
      this.#events++;
    } catch (error) {
      this.#missed++;
      this.#parts.log.debug({ err: error, from: envelope.from }, 'an event could not be recorded');
    }
    if (this.#chars >= FLUSH_CHARS) this.#wake();
  }

  /** Writes what waits. Resolves when it is in the file, or given up. */
  flush(): Promise<void> {
    this.#writing = this.#writing.then(() => this.#write());
    return this.#writing;
  }

  async #write(): Promise<void> {
    const [lines, fromMs] = [this.#lines, this.#firstMs];
    this.#lines = [];
    this.#chars = 0;
    if (lines.length === 0 || this.#limit === 0) return;
    try {
      await this.#ring.append(await pack(`${lines.join('\n')}\n`), fromMs, this.#limit);
      this.#writes++;
      this.#trouble = undefined;
    } catch (error) {
      this.#missed += lines.length;
      this.#failed(error as Error);
    }
  }

  #failed(error: Error): void {
    const words = `nothing is recorded: ${error.message}`;
    if (words !== this.#trouble?.words) this.#parts.log.warn({ err: error }, 'nothing is recorded');
    const fix = 'make room on the disk of the data folder, or set recorder to a smaller size';
    this.#trouble = { code: 'recorder_failed', words, fix };
  }

  /** What is recorded of that time, wall clock milliseconds, what waits included. */
  async *read(sinceMs: number, untilMs: number): AsyncGenerator<Recorded> {
    await this.flush();
    for await (const event of readEvents(this.#ring.read(sinceMs, untilMs))) {
      if (event.atMs >= sinceMs && event.atMs <= untilMs) yield event;
    }
  }
}
