// Files on their way here from other boxes: asked for piece by piece, so that each costs the line a few seconds at most, goes on after
// a break or a restart where it ended, and can be read while it comes. The last byte is given out only when the whole is what it was
// said to be.
import { createHash } from 'node:crypto';
import { createReadStream, rmSync, statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import type { TransferState } from '../core/files-status.ts';
import type { NodeResponse } from '../core/node.ts';
import { sleep } from '../lib/abort.ts';
import type { Clock } from '../lib/clock.ts';
import type { Offer } from './offers.ts';
import { FileRefusal } from './refusal.ts';
import { type Shelf, writeAll } from './shelf.ts';
import type { Transfer, Transfers } from './transfers.ts';

/** Bytes asked for at once: at first, at least, at most; so many that a piece takes PIECE_MS. */
const FIRST_PIECE = 4 << 10;
const SMALLEST_PIECE = 1 << 10;
const LARGEST_PIECE = 512 << 10;
const PIECE_MS = 3_000;
/** At a time; others wait their turn. */
export const MAX_FETCHES = 4;
export const MAX_WAITING_FETCHES = 64;
const FIRST_WAIT_MS = 1_000;
const LONGEST_WAIT_MS = 30_000;
/** Without a byte for so long it has failed; who asks again begins anew where it ended. */
export const PATIENCE_MS = 3_600_000;
const LOOK_MS = 100;

export interface FetchParts {
  readonly shelf: Shelf;
  readonly transfers: Transfers;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Asks a peer for part of a file. Never rejects. `undefined`: the peer cannot be asked, or may not be (dp_in). */
  ask(source: string, path: string, signal: AbortSignal): Promise<NodeResponse> | undefined;
  nameOf(source: string): string;
}

export class Fetches {
  readonly #parts: FetchParts;
  readonly #fetches = new Map<string, Fetch>();
  #running = 0;

  constructor(parts: FetchParts) {
    this.#parts = parts;
  }

  /** @throws FileRefusal when it cannot be fetched at all */
  begin(offer: Offer): Fetch {
    const known = this.#fetches.get(offer.hash);
    if (known && known.state !== 'failed' && known.state !== 'whole') return known;
    const under = [...this.#fetches.values()].filter(({ state }) => state === 'moving' || state === 'waiting');
    if (under.length >= MAX_WAITING_FETCHES)
      throw new FileRefusal('too_many_uploads', 'too many files are on their way here');
    this.#parts.shelf.checkRoom(offer.size);
    const fetch = new Fetch(offer, this.#parts);
    this.#fetches.delete(offer.hash);
    this.#fetches.set(offer.hash, fetch);
    if (this.#fetches.size > 2 * MAX_WAITING_FETCHES) this.#forget();
    this.#next();
    return fetch;
  }

  #next(): void {
    if (this.#running >= MAX_FETCHES) return;
    const fetch = [...this.#fetches.values()].find(({ begun, state }) => !begun && state === 'waiting');
    if (!fetch) return;
    this.#running++;
    void fetch.run().finally(() => {
      this.#running--;
      this.#next();
    });
  }

  #forget(): void {
    for (const [hash, { state }] of this.#fetches) {
      if (state === 'whole' || state === 'failed') return void this.#fetches.delete(hash);
    }
  }
}

export class Fetch {
  readonly offer: Offer;
  begun = false;
  readonly #parts: FetchParts;
  readonly #transfer: Transfer;
  readonly #path: string;
  #got = 0;
  #words = '';
  #source: string;
  #error = new FileRefusal('not_fetched', 'the file could not be fetched from the box that has it');

  constructor(offer: Offer, parts: FetchParts) {
    this.offer = offer;
    this.#parts = parts;
    this.#path = parts.shelf.partPath(offer.hash);
    this.#source = offer.sources[0]!;
    const { hash, name, size } = offer;
    this.#transfer = parts.transfers.begin({ hash, name, size, direction: 'in', peer: parts.nameOf(this.#source) });
    this.#become('waiting', 'waits its turn');
  }

  get state(): TransferState {
    return this.#transfer.state;
  }

  /** Never rejects. */
  async run(): Promise<void> {
    this.begun = true;
    try {
      await this.#fetch();
      await this.#keep();
      this.#become('whole', '');
    } catch (error) {
      if (error instanceof FileRefusal) this.#error = error;
      this.#become('failed', (error as Error).message);
    }
  }

  /** Resolves when it is on the shelf. Rejects with FileRefusal when it does not come. */
  async whole(signal: AbortSignal): Promise<void> {
    while (this.state !== 'whole') {
      if (this.state === 'failed' || signal.aborted) throw this.#error;
      await sleep(LOOK_MS, signal);
    }
  }

  /** Bytes as they come, both ends included. Rejects with FileRefusal when they do not come. */
  async *read(start: number, end: number, signal: AbortSignal): AsyncIterable<Buffer> {
    const { shelf } = this.#parts;
    for (let at = start; at <= end; ) {
      if (signal.aborted) return;
      if (this.state === 'failed') throw this.#error;
      if (this.state === 'whole') return yield* shelf.read(this.offer.hash, at, end);
      const ready = Math.min(end, this.#got - 1, this.offer.size - 2);
      if (ready < at) {
        await sleep(LOOK_MS, signal);
        continue;
      }
      try {
        for await (const chunk of createReadStream(this.#path, { start: at, end: ready })) {
          at += (chunk as Buffer).length;
          yield chunk as Buffer;
        }
      } catch (error) {
        // It has just become whole, and moved.
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      }
    }
  }

  async #fetch(): Promise<void> {
    const { size } = this.offer;
    const file = await open(this.#path, 'a+', 0o600);
    try {
      this.#got = statSync(this.#path).size;
      if (this.#got > size) {
        await file.truncate(0);
        this.#got = 0;
      }
      this.#transfer.startAt(this.#got);
      let piece = FIRST_PIECE;
      while (this.#got < size) {
        // Others write to this disk, too.
        this.#parts.shelf.checkRoom(size - this.#got);
        const began = this.#parts.clock.nowMs();
        const bytes = await this.#piece(Math.min(piece, size - this.#got));
        await writeAll(file, bytes);
        this.#got += bytes.length;
        this.#transfer.of = { ...this.#transfer.of, peer: this.#parts.nameOf(this.#source) };
        this.#transfer.moved(bytes.length);
        const took = Math.max(1, this.#parts.clock.nowMs() - began);
        piece = Math.round(
          Math.min(2 * piece, LARGEST_PIECE, Math.max(SMALLEST_PIECE, (bytes.length * PIECE_MS) / took)),
        );
      }
      await file.datasync();
    } finally {
      await file.close();
    }
  }

  /** The next bytes, from whichever source has them; waits while none can be reached. */
  async #piece(count: number): Promise<Buffer> {
    const { clock, signal, ask } = this.#parts;
    const began = clock.nowMs();
    let wait = FIRST_WAIT_MS;
    for (;;) {
      let mayCome = false;
      for (const source of this.offer.sources) {
        this.#source = source;
        const answer = await ask(source, `/files/${this.offer.hash}?at=${this.#got}&bytes=${count}`, signal);
        if (answer?.status === 200 && answer.body.length > 0 && answer.body.length <= count) return answer.body;
        if (answer && (answer.status >= 500 || answer.status === 429)) mayCome = true;
        this.#become('waiting', wordsOf(answer));
      }
      if (!mayCome) throw new FileRefusal('no_such_file', `no box that was asked gives the file: ${this.#words}`);
      if (signal.aborted || clock.nowMs() - began > PATIENCE_MS) throw this.#error;
      await sleep(wait, signal);
      wait = Math.min(LONGEST_WAIT_MS, 2 * wait);
    }
  }

  async #keep(): Promise<void> {
    const { hash, size, name } = this.offer;
    const digest = createHash('sha256');
    for await (const chunk of createReadStream(this.#path)) digest.update(chunk as Buffer);
    try {
      if (digest.digest('hex') !== hash) throw new FileRefusal('hash_wrong', 'what came is not what was announced');
      const uploader = this.#parts.nameOf(this.#source);
      await this.#parts.shelf.keep(this.#path, { hash, size, name, uploader, creatorUid: '', keywords: [] });
    } finally {
      rmSync(this.#path, { force: true });
    }
  }

  #become(state: TransferState, words: string): void {
    this.#words = words;
    this.#transfer.become(state, words);
  }
}

function wordsOf(answer: NodeResponse | undefined): string {
  if (!answer) return 'the box that has it may not be asked';
  try {
    const { detail } = JSON.parse(answer.body.toString('utf8')) as { detail?: unknown };
    if (typeof detail === 'string') return detail.slice(0, 200);
  } catch {
    // no words
  }
  return `the box that has it answered ${answer.status}`;
}
