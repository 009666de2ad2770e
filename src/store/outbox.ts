// What waits for peers that are away, and what was here before, on disk. Callers never wait: changes are collected, committed in
// one transaction, and synced beside the event loop. What comes and goes between two commits never touches the card.
import type { OutboxDisk, OutboxFound, OutboxRecord, Sighting } from '../core/outbox-disk.ts';
import type { Warning } from '../core/status.ts';
import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import { MAX_SIGHTINGS, OUTBOX_STEPS, type OutboxBatch, OutboxFile, type Sync } from './outbox-file.ts';
import { openOrReplace, wordsOf } from './sqlite.ts';

/** A commit somebody waits for, after a quiet time; and the shortest time from one commit to the next. */
export const OWED_MS = 10;
export const BETWEEN_MS = 200;
/** One nobody waits for: by then most messages have arrived and need none. */
export const LAZY_MS = 1_000;
/** Of what has arrived. Lost by a crash, it is sent again, and the peer knows it. */
const REMOVE_MS = 2_000;
/** After a commit that failed. */
const RETRY_MS = 10_000;
/** The write-ahead log is moved into the file when it has grown to this. */
const MAX_LOG_BYTES = 1 << 20;

export interface OutboxStoreOptions {
  /** Made, with its folder, when it is not there. */
  readonly path: string;
  readonly log: Log;
  readonly clock: Clock;
  /** Told once of everything that keeps it from its work. */
  readonly onTrouble?: (warning: Warning) => void;
  /** Tests give their own. */
  readonly steps?: readonly string[];
  readonly sync?: Sync;
  readonly maxLogBytes?: number;
}

/** Changes that are not committed yet. */
interface Pending {
  readonly puts: Map<number, OutboxRecord>;
  readonly removes: Set<number>;
  sightings: Sighting[];
  readonly meta: Map<string, string>;
}

const NOTHING: OutboxFound = { entries: [], sightings: [], seeds: undefined };

export class OutboxStore implements OutboxDisk {
  readonly found: OutboxFound;
  readonly #options: OutboxStoreOptions;
  readonly #warnings = new Map<string, Warning>();
  /** Undefined: memory only. */
  #file: OutboxFile | undefined;
  #pending = nothingPending();
  /** Being committed or synced. */
  #batch: Pending | undefined;
  /** Wait for #pending; wait for #batch. */
  #waiters: (() => void)[] = [];
  #batchWaiters: (() => void)[] = [];
  #failing = false;
  #lastCommitMs = Number.NEGATIVE_INFINITY;
  #timer: { readonly atMs: number; readonly cancel: () => void } | undefined;
  #work: Promise<void> = Promise.resolve();

  /** Opens the file. What cannot be used is told in `warnings`. */
  constructor(options: OutboxStoreOptions) {
    this.#options = options;
    this.found = this.#open();
  }

  get warnings(): readonly Warning[] {
    return [...this.#warnings.values()];
  }

  get writable(): boolean {
    return this.#file !== undefined && !this.#failing;
  }

  put(id: number, record: OutboxRecord): void {
    this.#pending.puts.set(id, record);
    this.#schedule(LAZY_MS);
  }

  remove(id: number): void {
    if (this.#pending.puts.delete(id)) return;
    this.#pending.removes.add(id);
    this.#schedule(REMOVE_MS);
  }

  fetch(id: number): OutboxRecord | undefined {
    const recent = this.#pending.puts.get(id) ?? this.#batch?.puts.get(id);
    if (recent) return recent;
    try {
      return this.#file?.fetch(id);
    } catch (error) {
      this.#options.log.warn({ err: error, id }, 'a waiting message could not be read back');
      return undefined;
    }
  }

  remember(sighting: Sighting): void {
    const { sightings } = this.#pending;
    sightings.push(sighting);
    // While nothing can be written.
    if (sightings.length > 2 * MAX_SIGHTINGS) this.#pending.sightings = sightings.slice(-MAX_SIGHTINGS);
    this.#schedule(LAZY_MS);
  }

  setSeeds(seeds: readonly [number, number]): void {
    this.#pending.meta.set('seeds', JSON.stringify(seeds));
    this.#schedule(LAZY_MS);
  }

  safely(done: () => void): void {
    if (!this.writable) return done();
    if (this.#pending.puts.size + this.#pending.sightings.length > 0) {
      this.#waiters.push(done);
      this.#schedule(OWED_MS);
    } else if (this.#batch) this.#batchWaiters.push(done);
    else done();
  }

  /** Commits what was collected and closes the file. */
  async close(): Promise<void> {
    this.#timer?.cancel();
    this.#timer = undefined;
    await this.#work;
    await this.#commit();
    this.#file?.close();
    this.#file = undefined;
    for (const done of this.#waiters.splice(0)) done();
  }

  // --- when ----------------------------------------------------------------------------------------------------------

  #schedule(delayMs: number): void {
    if (!this.#file || this.#batch) return;
    const { clock } = this.#options;
    const pauseMs = this.#failing ? RETRY_MS : BETWEEN_MS;
    const atMs = Math.max(clock.nowMs() + delayMs, this.#lastCommitMs + pauseMs);
    if (this.#timer && this.#timer.atMs <= atMs) return;
    this.#timer?.cancel();
    const cancel = clock.after(atMs - clock.nowMs(), () => {
      this.#timer = undefined;
      this.#work = this.#commit();
    });
    this.#timer = { atMs, cancel };
  }

  #scheduleRest(): void {
    const { puts, removes, sightings, meta } = this.#pending;
    if (this.#waiters.length > 0) this.#schedule(OWED_MS);
    else if (puts.size + sightings.length + meta.size > 0) this.#schedule(LAZY_MS);
    else if (removes.size > 0) this.#schedule(REMOVE_MS);
  }

  // --- how -----------------------------------------------------------------------------------------------------------

  /** Never rejects. */
  async #commit(): Promise<void> {
    const file = this.#file;
    if (!file || isEmpty(this.#pending)) return;
    const batch = this.#pending;
    this.#batch = batch;
    this.#batchWaiters = this.#waiters;
    this.#waiters = [];
    this.#pending = nothingPending();
    this.#lastCommitMs = this.#options.clock.nowMs();
    try {
      file.write(batch satisfies OutboxBatch);
      // What is only removed need not be safe.
      if (batch.puts.size + batch.sightings.length > 0 || this.#batchWaiters.length > 0) await file.sync();
      await this.#settle(file);
      this.#works();
    } catch (error) {
      this.#failed(batch, error);
    }
    this.#batch = undefined;
    for (const done of this.#batchWaiters.splice(0)) done();
    this.#scheduleRest();
  }

  async #settle(file: OutboxFile): Promise<void> {
    for (const done of this.#batchWaiters.splice(0)) done();
    if (file.logBytes < (this.#options.maxLogBytes ?? MAX_LOG_BYTES)) return;
    await file.sync();
    await file.checkpoint();
  }

  /** Back to what waits for a commit, as far as it still counts. */
  #failed(batch: Pending, error: unknown): void {
    const { puts, removes, sightings, meta } = this.#pending;
    const merged: Pending = {
      puts: new Map([...batch.puts].filter(([id]) => !removes.has(id))),
      removes: new Set([...batch.removes, ...removes]),
      sightings: [...batch.sightings, ...sightings].slice(-MAX_SIGHTINGS),
      meta: new Map([...batch.meta, ...meta]),
    };
    for (const [id, record] of puts) merged.puts.set(id, record);
    this.#pending = merged;
    this.#failing = true;
    this.#warn(
      'outbox_not_written',
      `what waits for peers is not being saved: ${wordsOf(error)}`,
      'see whether the disk is full, broken or read-only; the relay works on, but what waits is lost if it stops',
    );
    // They would wait for ever: who sent it may as well go on.
    for (const done of [...this.#batchWaiters.splice(0), ...this.#waiters.splice(0)]) done();
  }

  #works(): void {
    if (!this.#failing) return;
    this.#failing = false;
    this.#warnings.delete('outbox_not_written');
  }

  // --- the file ------------------------------------------------------------------------------------------------------

  #open(): OutboxFound {
    const { path, clock } = this.#options;
    try {
      const { file: opened, aside } = openOrReplace(path, clock.wallMs(), () => this.#openAndRead());
      this.#file = opened.file;
      if (aside) {
        const words = `what waited for peers could not be read; it was moved to ${aside}`;
        this.#warn('outbox_corrupt', words, 'if this happens again, the disk or SD card is failing: replace it');
      }
      this.#forget(opened.damaged);
      return opened.found;
    } catch (error) {
      this.#warn(
        'outbox_in_memory',
        `${path} cannot be used: ${wordsOf(error)}`,
        'let the relay write to its data folder; until then what waits for peers is lost when it stops',
      );
      return NOTHING;
    }
  }

  #openAndRead() {
    const { path, steps = OUTBOX_STEPS, sync } = this.#options;
    const file = new OutboxFile(path, steps, sync);
    try {
      const { entries, damaged } = file.load();
      const found = { entries, sightings: file.loadSightings(), seeds: seedsOf(file.meta('seeds')) };
      return { file, damaged, found };
    } catch (error) {
      file.close();
      throw error;
    }
  }

  /** Their sums are wrong: nobody can say what they were. */
  #forget(damaged: readonly number[]): void {
    if (damaged.length === 0) return;
    for (const id of damaged) this.remove(id);
    const words = `${damaged.length} of the messages that waited for peers were damaged and are lost`;
    this.#warn('outbox_damaged', words, 'if this happens again, the disk or SD card is failing: replace it');
  }

  #warn(code: string, words: string, fix: string): void {
    const isNew = !this.#warnings.has(code);
    this.#warnings.set(code, { code, words, fix });
    if (!isNew) return;
    this.#options.log.warn({ code, reason: words, fix }, 'outbox warning');
    this.#options.onTrouble?.({ code, words, fix });
  }
}

function nothingPending(): Pending {
  return { puts: new Map(), removes: new Set(), sightings: [], meta: new Map() };
}

function isEmpty({ puts, removes, sightings, meta }: Pending): boolean {
  return puts.size + removes.size + sightings.length + meta.size === 0;
}

function seedsOf(text: string | undefined): readonly [number, number] | undefined {
  const [a, b] = text === undefined ? [] : (JSON.parse(text) as unknown[]);
  return typeof a === 'number' && typeof b === 'number' ? [a, b] : undefined;
}
