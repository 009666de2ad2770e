// The wire between two links under test, in the test's hands: it cuts bytes into pieces, stalls, adds noise, breaks.
import { connect, createServer, type Socket } from 'node:net';
import { type Duplex, duplexPair } from 'node:stream';
import type { TestContext } from 'node:test';
import { changed, until } from './memory.ts';

export type Toward = 'dialler' | 'listener';

/** Every connection through it is a pair of streams; each direction is pumped piece by piece. */
export class Wire {
  readonly #directions = { dialler: new Direction(), listener: new Direction() };
  readonly #open = new Set<Duplex>();
  /** Connections ever made. */
  connections = 0;

  /** Joins the stream that leads to the dialler with the one that leads to the listener. */
  join(dialler: Duplex, listener: Duplex): void {
    this.connections++;
    for (const stream of [dialler, listener]) {
      this.#open.add(stream);
      stream.on('error', () => {});
      stream.on('close', () => {
        this.#open.delete(stream);
        changed();
      });
    }
    this.#directions.listener.add(dialler, listener);
    this.#directions.dialler.add(listener, dialler);
    changed();
  }

  /** From now on nothing passes in pieces larger than this. */
  split(bytes: number): void {
    for (const direction of Object.values(this.#directions)) direction.pieceBytes = bytes;
  }

  /** Nothing passes toward that side until flow(). */
  stall(toward: Toward): void {
    this.#directions[toward].stalled = true;
  }

  /** Everything passes again. */
  flow(): void {
    for (const direction of Object.values(this.#directions)) direction.flow();
  }

  /** Bytes nobody sent, toward that side, on every connection. */
  inject(toward: Toward, bytes: Buffer): void {
    this.#directions[toward].inject(bytes);
  }

  /** Both sides lose every connection at once. */
  cut(): void {
    for (const stream of this.#open) stream.destroy();
  }

  /** Resolves when a connection has come. */
  used(): Promise<boolean> {
    return until('a connection', () => this.connections > 0);
  }

  /** Resolves when no connection is left. */
  idle(): Promise<boolean> {
    return until('the end of every connection', () => this.#open.size === 0);
  }
}

class Direction {
  pieceBytes = Number.POSITIVE_INFINITY;
  stalled = false;
  readonly #pumps = new Set<Pump>();

  add(source: Duplex, target: Duplex): void {
    const pump = new Pump(source, target, this);
    this.#pumps.add(pump);
    target.on('close', () => this.#pumps.delete(pump));
  }

  flow(): void {
    this.stalled = false;
    for (const pump of this.#pumps) pump.step();
  }

  inject(bytes: Buffer): void {
    for (const pump of this.#pumps) pump.add(bytes);
  }
}

/** One direction of one connection: reads on only when what it has is through. */
class Pump {
  readonly #source: Duplex;
  readonly #target: Duplex;
  readonly #direction: Direction;
  #waiting = Buffer.alloc(0);
  #busy = false;
  #ended = false;

  constructor(source: Duplex, target: Duplex, direction: Direction) {
    this.#source = source;
    this.#target = target;
    this.#direction = direction;
    source.on('data', (chunk: Buffer) => this.add(chunk));
    source.on('close', () => {
      this.#ended = true;
      this.step();
    });
  }

  add(bytes: Buffer): void {
    this.#waiting = Buffer.concat([this.#waiting, bytes]);
    this.#source.pause();
    this.step();
  }

  step(): void {
    if (this.#busy || this.#direction.stalled) return;
    if (this.#waiting.length === 0) {
      if (this.#ended) this.#target.destroy();
      else this.#source.resume();
      return;
    }
    const piece = this.#waiting.subarray(0, this.#direction.pieceBytes);
    this.#waiting = this.#waiting.subarray(piece.length);
    this.#busy = true;
    this.#target.write(piece, () => {
      // A turn of the event loop between pieces: the reader gets each by itself.
      setImmediate(() => {
        this.#busy = false;
        this.step();
      });
    });
  }
}

/** A wire of TCP: dial `port`; what comes is led to the port given to `leadTo`. */
export class TcpWire extends Wire {
  readonly port: number;
  #target = 0;

  private constructor(port: number) {
    super();
    this.port = port;
  }

  static async open(t: TestContext): Promise<TcpWire> {
    const accept = (dialler: Socket) => {
      dialler.setNoDelay(true);
      wire.join(dialler, connect({ port: wire.#target, host: '127.0.0.1', noDelay: true }));
    };
    const server = createServer(accept);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const wire = new TcpWire((server.address() as { port: number }).port);
    t.after(() => {
      server.close();
      wire.cut();
    });
    return wire;
  }

  leadTo(port: number): void {
    this.#target = port;
  }
}

/** A wire of memory: connect() gives the dialler's end; whoever listens gets the other. */
export class MemoryWire extends Wire {
  onConnection: ((end: Duplex) => void) | undefined;

  connect(): Duplex {
    const [diallersEnd, a] = duplexPair();
    const [b, listenersEnd] = duplexPair();
    tie(diallersEnd, a);
    tie(b, listenersEnd);
    this.join(a, b);
    this.onConnection?.(listenersEnd);
    return diallersEnd;
  }

  leadTo(): void {}
}

/** As on a real wire: one end gone, the other learns of it. */
function tie(one: Duplex, other: Duplex): void {
  one.on('close', () => other.destroy());
  other.on('close', () => one.destroy());
}
