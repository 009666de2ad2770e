// One secured connection and the frames on it. Whoever has the word (the greeting, then the session) takes the frames.
import type { LinkError } from '../../lib/errors.ts';
import { type FrameType, PortalDeframer } from '../../wire/portal.ts';
import { DEFAULT_INTAKE, guardIntake } from '../intake.ts';
import type { LinkContext } from '../link.ts';
import { explainSocketError } from '../stream.ts';
import { GOODBYE_MS, MAX_BODY_BEFORE_AUTH } from './limits.ts';
import type { Secured } from './secure.ts';

export interface FrameTaker {
  /** A frame came. May throw: ProtocolError for the peer's breach. The body shares memory with what was read. */
  frame(type: FrameType, body: Buffer): void;
  /** Bytes came, whatever they are. */
  heard(): void;
  /** frame() threw, or the bytes are no frames. */
  failed(error: unknown): void;
  /** The connection is gone, or the far end will send no more; once. `loss` when it was not ended on purpose. */
  gone(loss: LinkError | undefined): void;
}

/** Which part we play in TLS and in the greeting: `client` when we dialled. */
export type Role = 'client' | 'server';

export interface Way {
  readonly role: Role;
  /** Of the far end, for people. */
  readonly address: string;
  /** The hub in between; undefined: direct. */
  readonly via: string | undefined;
}

export class Connection implements Way {
  readonly secured: Secured;
  readonly role: Role;
  readonly address: string;
  readonly via: string | undefined;
  /** Resolves when the socket is closed. */
  readonly closed: Promise<void>;
  /** Counts bytes that came out of fewer against what may be read. */
  readonly charge: (bytes: number) => void;
  readonly #deframer: PortalDeframer;
  readonly #context: LinkContext;
  #taker: FrameTaker;
  #over = false;

  /** Reads from the next turn on. */
  constructor(secured: Secured, way: Way, taker: FrameTaker, context: LinkContext) {
    this.secured = secured;
    this.role = way.role;
    this.address = way.address;
    this.via = way.via;
    this.#taker = taker;
    this.#context = context;
    this.#deframer = new PortalDeframer(MAX_BODY_BEFORE_AUTH, (type, body) => this.#taker.frame(type, body));
    const { socket } = secured;
    const takeIn = guardIntake(socket, DEFAULT_INTAKE, context.clock);
    this.charge = takeIn;
    socket.on('data', (chunk: Buffer) => {
      takeIn(chunk.length);
      this.#read(chunk);
    });
    let loss: LinkError | undefined;
    socket.on('error', (error) => {
      loss ??= explainSocketError(error, this.role === 'client' ? 'server' : 'client', this.address);
    });
    socket.on('end', () => this.#end(undefined));
    this.closed = new Promise((resolve) => {
      socket.on('close', () => {
        this.#end(loss);
        resolve();
      });
    });
  }

  get pin(): string {
    return this.secured.pin;
  }

  /** From the next frame on another takes them. */
  handTo(taker: FrameTaker): void {
    this.#taker = taker;
  }

  /** From the next frame on bodies may be so long. */
  allow(maxBody: number): void {
    this.#deframer.maxBody = maxBody;
  }

  /** True once it was ended, by whichever side. */
  get over(): boolean {
    return this.#over;
  }

  /** Hands a frame to whoever takes them now. */
  pass(type: FrameType, body: Buffer): void {
    this.#taker.frame(type, body);
  }

  write(bytes: Buffer, done?: (error?: Error | null) => void): void {
    this.secured.socket.write(bytes, done);
  }

  /** Ends it at once. Nobody is told but `closed`. */
  destroy(): void {
    this.#over = true;
    this.#deframer.stop();
    this.secured.socket.destroy();
  }

  /** Says a last word, lets what was written go out, and ends it. Nobody is told but `closed`. */
  end(lastWord?: Buffer): void {
    this.#over = true;
    this.#deframer.stop();
    const { socket } = this.secured;
    if (lastWord) socket.end(lastWord);
    else socket.end();
    socket.resume();
    const cancel = this.#context.clock.after(GOODBYE_MS, () => socket.destroy());
    socket.once('close', cancel);
  }

  #read(chunk: Buffer): void {
    if (this.#over) return;
    this.#taker.heard();
    try {
      this.#deframer.push(chunk);
    } catch (error) {
      this.#taker.failed(error);
    }
  }

  #end(loss: LinkError | undefined): void {
    if (this.#over) return;
    this.#over = true;
    this.#deframer.stop();
    this.#taker.gone(loss);
  }
}
