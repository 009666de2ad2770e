// The stream that missions go out on, shared by what is in memory and by files, which are read while they are written: one gRPC message
// each, one after the other, in pieces small enough for the line.
import type { Http2Stream } from 'node:http2';
import type { Pace } from '../../core/session.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Sink } from '../outlet.ts';
import { cancel, FRAME_HEAD_BYTES } from './grpc.ts';
import { PIECE_BYTES, WRITE_TIMEOUT_MS } from './limits.ts';

export interface FileToWrite {
  readonly size: number;
  /** So many bytes from there. Rejects when they cannot be read any more. */
  read(at: number, bytes: number): Promise<Buffer>;
  moved(bytes: number): void;
}

export interface RolWayOptions {
  readonly clock: Clock;
  /** How thin the line is, as far as is known. */
  pace(): Pace;
  /** The network took a piece. */
  progressed(): void;
  /** It took none for too long. */
  stuck(): void;
}

export class RolWay {
  readonly #stream: Http2Stream;
  readonly #options: RolWayOptions;
  /** What is being written; each waits for the one before it. */
  #last: Promise<unknown> = Promise.resolve();
  readonly #closed: Promise<false>;

  constructor(stream: Http2Stream, options: RolWayOptions) {
    this.#stream = stream;
    this.#options = options;
    this.#closed = new Promise((resolve) => stream.once('close', () => resolve(false)));
  }

  readonly sink: Sink = (bytes, done) => {
    const write = () => new Promise<void>((resolve) => this.#whole(bytes, done, resolve));
    this.#last = this.#last.then(() => Promise.race([write(), this.#closed]));
  };

  #whole(bytes: Buffer, done: (error?: Error | null) => void, resolve: () => void): void {
    inPieces(this.#stream, this.#options.progressed)(bytes, (error) => {
      done(error);
      resolve();
    });
  }

  /**
   * A message whose last bytes are a file. Resolves to true when the network has taken all of it; false: the stream has ended, or had to
   * be ended because the file could not be read to its end. Never rejects.
   */
  file(head: Buffer, file: FileToWrite): Promise<boolean> {
    const written = this.#last.then(() => this.#file(head, file));
    this.#last = written;
    return written;
  }

  async #file(head: Buffer, { size, read, moved }: FileToWrite): Promise<boolean> {
    const frameHead = Buffer.alloc(FRAME_HEAD_BYTES);
    frameHead.writeUInt32BE(head.length + size, 1);
    if (!(await this.#piece(Buffer.concat([frameHead, head])))) return false;
    for (let at = 0; at < size; ) {
      const piece = await read(at, Math.min(this.#pieceBytes(), size - at)).catch(() => undefined);
      if (!piece || piece.length === 0) {
        // Half a message cannot be taken back: what would follow it would be taken for its rest.
        cancel(this.#stream);
        return false;
      }
      if (!(await this.#piece(piece))) return false;
      moved(piece.length);
      at += piece.length;
    }
    return true;
  }

  #pieceBytes(): number {
    return Math.max(1, Math.min(PIECE_BYTES, this.#options.pace().recordBytes));
  }

  /** Where the line's rate is known the next piece waits until this one has had its time. */
  async #piece(bytes: Buffer): Promise<boolean> {
    const { clock, pace, progressed, stuck } = this.#options;
    const { rateBps } = pace();
    const cancelWatch = clock.after(WRITE_TIMEOUT_MS, stuck);
    const written = new Promise<boolean>((resolve) => this.#stream.write(bytes, (error) => resolve(!error)));
    const passed = rateBps === undefined ? true : pause(clock, (bytes.length * 8_000) / rateBps);
    const ok = await Promise.race([written, this.#closed]);
    cancelWatch();
    if (ok) progressed();
    return ok && Promise.race([passed, this.#closed]);
  }
}

function pause(clock: Clock, ms: number): Promise<true> {
  return new Promise((resolve) => clock.after(ms, () => resolve(true)));
}

/** A write in pieces, so that a large message neither fills the connection nor passes for a peer that stopped reading. */
export function inPieces(stream: Http2Stream, progressed: () => void): Sink {
  return (bytes, done) => {
    const writeFrom = (at: number): void => {
      const end = at + PIECE_BYTES;
      if (end >= bytes.length) return void stream.write(at === 0 ? bytes : bytes.subarray(at), done);
      stream.write(bytes.subarray(at, end), (error) => {
        if (error) return done(error);
        progressed();
        writeFrom(end);
      });
    };
    writeFrom(0);
  };
}
