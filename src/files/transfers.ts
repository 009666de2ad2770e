// Files on their way, for whoever wants to see them: how far each is, how fast, and why it waits. It is told; it moves nothing.
import type { FilesStatus, FileTransfer, TransferState } from '../core/files-status.ts';
import type { Clock } from '../lib/clock.ts';

/** Shown at once; the oldest that ended goes first. */
export const MAX_TRANSFERS = 128;
/** The rate is that of the last RATE_MS, looked at in steps. */
const RATE_MS = 10_000;
const STEP_MS = 1_000;
/** One that goes out, and for which nobody asked any more for so long, is said to wait. */
const QUIET_MS = 60_000;
const MAX_NAME = 100;

type Direction = FileTransfer['direction'];

export interface TransferOf {
  readonly hash: string;
  readonly name: string;
  readonly direction: Direction;
  readonly peer: string;
  /** 0: not said. */
  readonly size: number;
}

export class Transfers {
  readonly #clock: Clock;
  readonly #known = new Set<Transfer>();
  readonly #totals = { in: { whole: 0, failed: 0, bytes: 0 }, out: { whole: 0, failed: 0, bytes: 0 } };

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  begin(of: TransferOf): Transfer {
    const totals = this.#totals[of.direction];
    const transfer = new Transfer(of, this.#clock, {
      moved(bytes) {
        totals.bytes += bytes;
      },
      ended(state) {
        totals[state]++;
      },
    });
    this.#known.add(transfer);
    if (this.#known.size > MAX_TRANSFERS) this.#forget();
    return transfer;
  }

  /** The one that is under way, when a file is asked for in pieces; else a new one. */
  going(of: TransferOf): Transfer {
    for (const transfer of this.#known) if (!transfer.ended && transfer.isOf(of)) return transfer;
    return this.begin(of);
  }

  /** The newest first. */
  statuses(): readonly FileTransfer[] {
    return [...this.#known].reverse().map((transfer) => transfer.status());
  }

  get totals(): FilesStatus['totals'] {
    return { in: { ...this.#totals.in }, out: { ...this.#totals.out } };
  }

  #forget(): void {
    const [oldest] = this.#known;
    this.#known.delete([...this.#known].find(({ ended }) => ended) ?? oldest!);
  }
}

interface Watched {
  moved(bytes: number): void;
  ended(state: 'whole' | 'failed'): void;
}

export class Transfer {
  /** May change: another source, the hash that became known. */
  of: TransferOf;
  readonly #clock: Clock;
  readonly #watched: Watched;
  #state: TransferState = 'waiting';
  #words = '';
  #got = 0;
  #lastMs: number;
  /** Where it was, at most one for each step. */
  readonly #marks: { readonly ms: number; readonly moved: number }[] = [];
  #moved = 0;

  constructor(of: TransferOf, clock: Clock, watched: Watched) {
    this.of = of;
    this.#clock = clock;
    this.#watched = watched;
    this.#lastMs = clock.nowMs();
  }

  get state(): TransferState {
    return this.#state;
  }

  get ended(): boolean {
    return this.#state === 'whole' || this.#state === 'failed';
  }

  isOf({ hash, direction, peer }: TransferOf): boolean {
    return this.of.hash === hash && this.of.direction === direction && this.of.peer === peer;
  }

  /** So much of it was there already. */
  startAt(bytes: number): void {
    this.#got = bytes;
  }

  /** Further bytes have come, or gone. */
  moved(bytes: number): void {
    if (this.ended) return;
    const nowMs = this.#clock.nowMs();
    const last = this.#marks.at(-1);
    if (!last || nowMs - last.ms >= STEP_MS) this.#marks.push({ ms: nowMs, moved: this.#moved });
    while (this.#marks.length > 1 && nowMs - this.#marks[0]!.ms > RATE_MS) this.#marks.shift();
    this.#lastMs = nowMs;
    this.#moved += bytes;
    this.#got += bytes;
    this.#watched.moved(bytes);
    this.become('moving');
  }

  become(state: TransferState, words = ''): void {
    if (this.ended) return;
    this.#state = state;
    this.#words = words;
    if (state === 'whole' || state === 'failed') this.#watched.ended(state);
  }

  status(): FileTransfer {
    const { hash, name, direction, peer, size } = this.of;
    const nowMs = this.#clock.nowMs();
    const isQuiet = this.#state === 'moving' && direction === 'out' && nowMs - this.#lastMs > QUIET_MS;
    return {
      ...{ hash: hash.slice(0, 12), name: name.slice(0, MAX_NAME), direction, peer, size },
      got: size > 0 ? Math.min(size, this.#got) : this.#got,
      rate: this.#state === 'moving' ? this.#rate(nowMs) : 0,
      state: isQuiet ? 'waiting' : this.#state,
      words: isQuiet ? 'no more of it was asked for' : this.#words,
    };
  }

  #rate(nowMs: number): number {
    const first = this.#marks.find(({ ms }) => nowMs - ms <= RATE_MS);
    if (!first) return 0;
    return Math.round(((this.#moved - first.moved) * 1000) / Math.max(STEP_MS, nowMs - first.ms));
  }
}
