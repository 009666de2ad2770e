// A PORTAL02 peer written from the documented table alone: node:tls and bytes made by hand. Knows nothing of src/, and does
// whatever a test says, right or wrong.
import { createHash, randomBytes } from 'node:crypto';
import { connect as connectTcp, createServer, type Server, type Socket } from 'node:net';
import type { TestContext } from 'node:test';
import { connect as connectTls, createServer as createTlsServer, type TLSSocket } from 'node:tls';

export const REQUEST = 1;
export const RESPONSE = 2;
export const EVENT = 3;
export const AUTH_CHALLENGE = 4;
export const AUTH_RESPONSE = 5;
export const PING = 6;
export const PONG = 7;

const PATIENCE_MS = 60_000;

export interface Frame {
  readonly type: number;
  readonly body: Buffer;
}

export interface Certificate {
  readonly cert: string;
  readonly key: string;
}

export function frame(type: number, body: Uint8Array = Buffer.alloc(0)): Buffer {
  const head = Buffer.from('PRT\0\0\x02\0\0\0\0\0', 'latin1');
  head.writeUInt8(type, 6);
  head.writeUInt32BE(body.length, 7);
  return Buffer.concat([head, body]);
}

/** A protobuf message: numbers as varints, text and bytes as length-delimited fields. */
export function proto(fields: readonly (readonly [number, number | string | Uint8Array])[]): Buffer {
  const parts = fields.map(([field, value]) => {
    if (typeof value === 'number') return Buffer.concat([varint(field * 8), varint(value)]);
    const bytes = Buffer.from(value as string);
    return Buffer.concat([varint(field * 8 + 2), varint(bytes.length), bytes]);
  });
  return Buffer.concat(parts);
}

/** The fields of a message, each with what it says: numbers, or bytes. */
export function fieldsOf(message: Buffer): Map<number, (number | Buffer)[]> {
  const found = new Map<number, (number | Buffer)[]>();
  let at = 0;
  const number = () => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = message[at++]!;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
  };
  while (at < message.length) {
    const tag = number();
    let value: number | Buffer = number();
    if (tag % 8 === 2) {
      value = message.subarray(at, at + value);
      at += value.length;
    }
    const field = Math.floor(tag / 8);
    found.set(field, [...(found.get(field) ?? []), value]);
  }
  return found;
}

function varint(n: number): Buffer {
  const bytes: number[] = [];
  for (let rest = n; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return Buffer.from([...bytes, rest]);
    bytes.push((rest % 128) + 128);
  }
}

export function answerTo(challenge: Buffer, federationKey: string): Buffer {
  return createHash('sha256').update(challenge).update(federationKey).digest();
}

/** One end of a connection. */
export class TablePeer {
  readonly socket: TLSSocket;
  readonly frames: Frame[] = [];
  closed = false;
  #pending = Buffer.alloc(0);
  #wake = () => {};

  constructor(socket: TLSSocket) {
    this.socket = socket;
    socket.on('data', (chunk: Buffer) => this.#read(chunk));
    socket.on('error', () => {});
    socket.on('close', () => {
      this.closed = true;
      this.#wake();
    });
  }

  say(type: number, body?: Uint8Array): void {
    this.socket.write(frame(type, body));
  }

  raw(bytes: Uint8Array | string): void {
    this.socket.write(bytes);
  }

  /** The next frame of this type; those before it are thrown away. */
  async next(type: number): Promise<Buffer> {
    await this.until(() => this.frames.some((frame) => frame.type === type), `a frame of type ${type}`);
    const index = this.frames.findIndex((frame) => frame.type === type);
    return this.frames.splice(0, index + 1).at(-1)!.body;
  }

  async ended(): Promise<void> {
    await this.until(() => this.closed, 'the end');
  }

  async until(is: () => boolean, what: string): Promise<void> {
    const deadline = Date.now() + PATIENCE_MS;
    while (!is()) {
      if (Date.now() > deadline) throw new Error(`the peer waited in vain for ${what}; closed: ${this.closed}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 50);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  /** As the client: waits for the challenge, answers it; resolves with the body of what the server says to it. */
  async authenticate(federationKey: string): Promise<Buffer> {
    const challenge = await this.next(AUTH_CHALLENGE);
    this.say(AUTH_RESPONSE, answerTo(challenge, federationKey));
    return this.next(RESPONSE);
  }

  /** As the server: asks, and lets in whoever answers. */
  async admit(federationKey: string): Promise<void> {
    const challenge = randomBytes(32);
    this.say(AUTH_CHALLENGE, challenge);
    const answer = await this.next(AUTH_RESPONSE);
    if (!answer.equals(answerTo(challenge, federationKey))) throw new Error('the relay gave a wrong answer');
    this.say(RESPONSE, proto([[2, 200]]));
  }

  close(): void {
    this.socket.destroy();
  }

  #read(chunk: Buffer): void {
    this.#pending = Buffer.concat([this.#pending, chunk]);
    while (this.#pending.length >= 11) {
      if (this.#pending.toString('latin1', 0, 6) !== 'PRT\0\0\x02') throw new Error('the relay sent no frame');
      const end = 11 + this.#pending.readUInt32BE(7);
      if (this.#pending.length < end) break;
      this.frames.push({ type: this.#pending[6]!, body: this.#pending.subarray(11, end) });
      this.#pending = this.#pending.subarray(end);
    }
    this.#wake();
  }
}

/** Dials a relay. Closed after the test. */
export async function dialRelay(t: TestContext, port: number, certificate: Certificate): Promise<TablePeer> {
  const socket = connectTls({
    port,
    host: '127.0.0.1',
    ...certificate,
    rejectUnauthorized: false,
    minVersion: 'TLSv1.3',
  });
  t.after(() => socket.destroy());
  await new Promise<void>((resolve, reject) => socket.once('secureConnect', resolve).once('error', reject));
  return new TablePeer(socket);
}

/** A connection without TLS. Closed after the test. */
export async function dialPlain(t: TestContext, port: number): Promise<Socket> {
  const socket = connectTcp(port, '127.0.0.1');
  t.after(() => socket.destroy());
  socket.on('error', () => {});
  await new Promise<void>((resolve) => socket.once('connect', resolve));
  return socket;
}

/** Waits for relays that dial. */
export class TableServer {
  readonly port: number;
  readonly #arrived: TablePeer[] = [];
  #wake = () => {};

  private constructor(server: Server) {
    this.port = (server.address() as { port: number }).port;
  }

  static async listen(t: TestContext, certificate: Certificate): Promise<TableServer> {
    const options = { ...certificate, requestCert: true, rejectUnauthorized: false, minVersion: 'TLSv1.3' } as const;
    const tls = createTlsServer(options, (socket) => {
      socket.on('error', () => {});
      found.#arrived.push(new TablePeer(socket));
      found.#wake();
    });
    tls.on('tlsClientError', () => {});
    const open = new Set<Socket>();
    const server = createServer((socket) => {
      open.add(socket);
      socket.on('error', () => {});
      tls.emit('connection', socket);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const found = new TableServer(server);
    t.after(() => {
      server.close();
      for (const socket of open) socket.destroy();
    });
    return found;
  }

  async accept(): Promise<TablePeer> {
    const deadline = Date.now() + PATIENCE_MS;
    for (;;) {
      const peer = this.#arrived.shift();
      if (peer) return peer;
      if (Date.now() > deadline) throw new Error('no relay dialled');
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 50);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }
}
