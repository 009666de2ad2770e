// Announcements of files (b-f-t-r) on their way to a federate: the file goes first, as TAK Server does it. It may have to come from another
// box before that: this takes its time, and holds up nothing else. How a file is brought is the protocol's.
import type { Envelope } from '../core/message.ts';
import { DROP_WORDS, type DropReason } from '../core/reason.ts';
import type { Returned } from '../core/session.ts';
import type { Log } from '../lib/log.ts';
import { resourceOf } from '../wire/package.ts';
import type { FileTrouble, SharedFile } from './link.ts';

/** Announcements that may wait for their files. */
export const MAX_WAITING_PACKAGES = 64;
/** Files remembered as sent on this connection. */
const MAX_SENT = 1_024;

export interface PackagesOptions {
  readonly log: Log;
  /** The file of an announcement, once all of it is here. Never rejects. */
  whole(envelope: Envelope, signal: AbortSignal): Promise<SharedFile | FileTrouble>;
  /** Brings the file; resolves to where it is there, or to why it is not. Never rejects. */
  bring(
    file: SharedFile,
    envelope: Envelope,
    groups: readonly string[],
    signal: AbortSignal,
  ): Promise<Brought | DropReason>;
  /** The announcement goes all the same when its file could not be brought. */
  goesWithout(envelope: Envelope): boolean;
  /** Hands the announcement to the wire; false: not now. `url`: of the file there, '' where that is not told. */
  announce(envelope: Envelope, groups: readonly string[], url: string): boolean;
  undeliverable(reason: DropReason, envelope: Envelope): void;
}

export interface Brought {
  /** As its receiver tells it; '' where it does not. */
  readonly url: string;
}

interface Waiting {
  readonly envelope: Envelope;
  readonly groups: readonly string[];
}

export class Packages {
  readonly #options: PackagesOptions;
  readonly #waiting = new Set<Waiting>();
  /** Where files are that were brought, by hash. */
  readonly #sent = new Map<string, string>();
  readonly #closing = new AbortController();
  /** One file at a time: they share a stream. */
  #last: Promise<void> = Promise.resolve();
  #room: (() => void) | undefined;

  constructor(options: PackagesOptions) {
    this.#options = options;
  }

  get busy(): boolean {
    return this.#waiting.size > 0;
  }

  /** Takes it in any case: what waits here must not hold up what is more urgent. */
  send(envelope: Envelope, groups: readonly string[]): true {
    if (this.#waiting.size >= MAX_WAITING_PACKAGES) this.#options.undeliverable('queue_full', envelope);
    else void this.#prepare({ envelope, groups });
    return true;
  }

  /** A mission went out; if it was a file, that need not be sent again. */
  passed({ message, wire }: Envelope): void {
    const file = message.kind === 'mission' && wire ? resourceOf(wire.bytes, message.summary) : undefined;
    if (file) this.#note(file.hash, '');
  }

  /** The wire takes more. */
  writable(): void {
    this.#room?.();
    this.#room = undefined;
  }

  close(): Returned {
    this.#closing.abort();
    const returned = [...this.#waiting].map(({ envelope }) => envelope);
    this.#waiting.clear();
    this.writable();
    return returned;
  }

  async #prepare(waiting: Waiting): Promise<void> {
    this.#waiting.add(waiting);
    const file = await this.#options.whole(waiting.envelope, this.#closing.signal);
    this.#last = this.#last.then(() => this.#deliver(waiting, file));
  }

  /** Never rejects. */
  async #deliver(waiting: Waiting, file: SharedFile | FileTrouble): Promise<void> {
    const { envelope } = waiting;
    try {
      const brought = await this.#bring(waiting, file);
      if (!this.#waiting.has(waiting)) return;
      if (typeof brought !== 'string') await this.#announce(waiting, brought.url);
      else if (this.#options.goesWithout(envelope)) await this.#announce(waiting, '');
      else this.#options.undeliverable(brought, envelope);
    } catch (error) {
      this.#options.log.error({ err: error }, 'a file could not be announced');
      if (this.#waiting.has(waiting)) this.#options.undeliverable('unsupported', envelope);
    } finally {
      this.#waiting.delete(waiting);
    }
  }

  /** The file, unless it has gone before. */
  async #bring({ envelope, groups }: Waiting, file: SharedFile | FileTrouble): Promise<Brought | DropReason> {
    if (typeof file === 'string') return REASONS[file];
    const url = this.#sent.get(file.hash);
    const { signal } = this.#closing;
    if (signal.aborted || url !== undefined) return { url: url ?? '' };
    const brought = await this.#options.bring(file, envelope, groups, signal);
    const failed = typeof brought === 'string';
    file.ended(!failed, failed ? DROP_WORDS[brought] : '');
    if (!failed) this.#note(file.hash, brought.url);
    return brought;
  }

  async #announce({ envelope, groups }: Waiting, url: string): Promise<void> {
    while (!this.#closing.signal.aborted && !this.#options.announce(envelope, groups, url)) {
      await new Promise<void>((resolve) => (this.#room = resolve));
    }
  }

  #note(hash: string, url: string): void {
    this.#sent.delete(hash);
    this.#sent.set(hash, url);
    if (this.#sent.size > MAX_SENT) this.#sent.delete(this.#sent.keys().next().value!);
  }
}

const REASONS: Readonly<Record<FileTrouble, DropReason>> = {
  not_here: 'unsupported',
  too_large: 'too_large',
  day_spent: 'rate_limited',
};
