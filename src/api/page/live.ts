// Keeps open pages current: at most once a second, only what changed since they were served, and no more bytes than a thin link
// can spare. The page is rendered once for all of them.
import { gzipSync } from 'node:zlib';
import type { WebSocket } from 'ws';
import type { Clock } from '../../lib/clock.ts';
import type { PageOpening } from '../live.ts';
import type { Cells } from './cells.ts';
import { Changes } from './changes.ts';
import type { Html } from './html.ts';

export const LIVE_LIMITS = {
  /** Pages kept current at once; further ones are told to come back. */
  pages: 128,
  /** Bytes a second that one page is sent at most, on the mean. */
  bytesPerSecond: 200,
  /** What a page may save up. */
  burstBytes: 2_000,
  /** Unread bytes at which a page is cut off. */
  unreadBytes: 65_536,
};

const EVERY_MS = 1_000;
/** Smaller messages are not worth packing. */
const PACKED_BYTES = 600;
/** A clock that was set by more: pages have to know, they show ages. */
const CLOCK_STEP_MS = 500;

interface Reader {
  readonly socket: WebSocket;
  readonly gzip: boolean;
  /** The rendering that it shows. */
  seen: number;
  allowance: number;
  /** Our wall clock less the monotonic one, as it knows it; undefined: it was not told yet. */
  clockMs: number | undefined;
}

interface Told {
  readonly text: string;
  readonly packed: Buffer | undefined;
  /** Something appeared or went. */
  readonly urgent: boolean;
}

export class LivePages {
  readonly #changes: Changes;
  readonly #clock: Clock;
  readonly #readers = new Set<Reader>();
  #cancel: (() => void) | undefined;

  /** `render` makes the body of the page, in sections. */
  constructor(render: (cells: Cells) => Html, clock: Clock) {
    this.#changes = new Changes(render, clock);
    this.#clock = clock;
  }

  get count(): number {
    return this.#readers.size;
  }

  /** The page as it is now, and what its script calls it when it asks for what came later. */
  serve(): { readonly main: Html; readonly at: string } {
    this.#changes.look();
    return { main: this.#changes.whole(), at: this.#changes.name };
  }

  /** A page is open and visible. `at`: what it shows, by its last word from here. It is told the rest. */
  add(socket: WebSocket, { at, gzip }: PageOpening): void {
    if (this.#readers.size >= LIVE_LIMITS.pages) return socket.close(1013, 'too many pages');
    const reader = { socket, gzip, seen: this.#changes.numberOf(at), allowance: 0, clockMs: undefined };
    this.#readers.add(reader);
    const gone = () => {
      this.#readers.delete(reader);
      if (this.#readers.size === 0) this.stop();
    };
    socket.on('close', gone);
    socket.on('error', gone);
    this.#changes.look();
    this.#tell(reader, new Map());
    this.#cancel ??= this.#clock.after(EVERY_MS, this.#tick);
  }

  stop(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }

  #tick = (): void => {
    this.#cancel = this.#clock.after(EVERY_MS, this.#tick);
    this.#changes.look();
    const said = new Map<string, Told | undefined>();
    for (const reader of this.#readers) this.#tell(reader, said);
  };

  /** `said`: what others were told in this round; most are told the same. */
  #tell(reader: Reader, said: Map<string, Told | undefined>): void {
    const { socket, seen } = reader;
    if (socket.bufferedAmount > LIVE_LIMITS.unreadBytes) return socket.terminate();
    reader.allowance = Math.min(LIVE_LIMITS.burstBytes, reader.allowance + LIVE_LIMITS.bytesPerSecond);
    if (reader.allowance <= 0) return;
    const stepped = this.#clockStepped(reader);
    const key = `${seen} ${stepped}`;
    if (!said.has(key)) said.set(key, this.#told(seen, stepped));
    const told = said.get(key);
    if (told && !this.#affords(reader, told)) return;
    reader.seen = this.#changes.number;
    if (told) this.#send(reader, told);
  }

  /** What appeared or went is told at once and paid for afterwards; figures wait until they are paid for. */
  #affords({ allowance, gzip }: Reader, told: Told): boolean {
    return told.urgent || allowance >= LIVE_LIMITS.burstBytes || allowance >= Buffer.byteLength(dataOf(told, gzip));
  }

  #told(seen: number, stepped: boolean): Told | undefined {
    const news = this.#changes.after(seen);
    if (!news && !stepped) return undefined;
    const text = JSON.stringify({ at: this.#changes.name, ...(stepped && { now: this.#clock.wallMs() }), ...news });
    const packed = text.length > PACKED_BYTES ? gzipSync(text) : undefined;
    return { text, packed, urgent: stepped || news?.parts !== undefined };
  }

  /** Pages reckon ages by our clock: they are told when it is not where they think. */
  #clockStepped(reader: Reader): boolean {
    const clockMs = this.#clock.wallMs() - this.#clock.nowMs();
    if (reader.clockMs !== undefined && Math.abs(clockMs - reader.clockMs) < CLOCK_STEP_MS) return false;
    reader.clockMs = clockMs;
    return true;
  }

  /** May spend more than it has: then it saves up again first. */
  #send(reader: Reader, told: Told): void {
    const data = dataOf(told, reader.gzip);
    reader.allowance -= Buffer.byteLength(data);
    reader.socket.send(data);
  }
}

function dataOf({ text, packed }: Told, gzip: boolean): string | Buffer {
  return (gzip && packed) || text;
}
