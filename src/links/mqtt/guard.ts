// Stands between the socket and the MQTT library: lets through what a broker may say, at a size we asked for, and nothing
// else. The library would collect a packet of 256 MiB, and keep what belongs to an exchange that we never began.
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { ProtocolError } from '../../lib/errors.ts';

// MQTT 5 §2.1.2: packet types that go from server to client and that we have a use for.
const CONNACK = 2;
const PUBLISH = 3;
const AFTER_CONNACK: ReadonlySet<number> = new Set([PUBLISH, 4, 9, 13, 14]); // PUBACK, SUBACK, PINGRESP, DISCONNECT
/** §2.1.4: a length takes at most four bytes. */
const MAX_LENGTH_BYTES = 4;

/** Follows the packets of a stream by their heads. Throws ProtocolError. */
export class PacketGuard {
  readonly #maxBytes: number;
  #connected = false;
  /** Bytes of the packet in hand that are still to come. */
  #left = 0;
  #length = 0;
  /** Bytes of the length read so far; -1: the next byte is a packet's first. */
  #lengthBytes = -1;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  check(chunk: Buffer): void {
    for (let at = 0; at < chunk.length; ) {
      if (this.#left > 0) {
        const skipped = Math.min(this.#left, chunk.length - at);
        this.#left -= skipped;
        at += skipped;
      } else if (this.#lengthBytes < 0) this.#first(chunk[at++]!);
      else this.#more(chunk[at++]!);
    }
  }

  #first(byte: number): void {
    const type = byte >> 4;
    if (!this.#connected) {
      if (type !== CONNACK) throw new ProtocolError('not_mqtt', 'it does not answer as an MQTT broker does');
      this.#connected = true;
    } else if (!AFTER_CONNACK.has(type)) {
      throw new ProtocolError('unexpected_packet', `the broker sent a packet of type ${type} that nothing asked for`);
    }
    const qos = (byte >> 1) & 3;
    if (type === PUBLISH && qos > 1) {
      throw new ProtocolError('unexpected_qos', `the broker sent an event at QoS ${qos}; at most 1 was asked for`);
    }
    this.#lengthBytes = 0;
    this.#length = 0;
  }

  #more(byte: number): void {
    this.#length += (byte & 127) * 128 ** this.#lengthBytes;
    this.#lengthBytes++;
    if (byte & 128) {
      if (this.#lengthBytes < MAX_LENGTH_BYTES) return;
      throw new ProtocolError('not_mqtt', 'the broker sent a length that is none');
    }
    if (this.#length > this.#maxBytes) {
      const words = `the broker sent a packet of ${this.#length} bytes; ${this.#maxBytes} is the most we asked for`;
      throw new ProtocolError('too_large', words);
    }
    this.#left = this.#length;
    this.#lengthBytes = -1;
  }
}

/** The socket as the library sees it. Writes of one turn leave as one; errors of either side destroy both. */
export class GuardedStream extends Duplex {
  readonly #socket: Socket;

  constructor(socket: Socket, maxPacketBytes: number, onBytes: (bytes: number) => void) {
    super({ allowHalfOpen: false });
    this.#socket = socket;
    const guard = new PacketGuard(maxPacketBytes);
    socket.on('data', (chunk: Buffer) => {
      onBytes(chunk.length);
      try {
        guard.check(chunk);
        this.push(chunk);
      } catch (error) {
        this.destroy(error as Error);
      }
    });
    socket.on('error', (error) => this.destroy(error));
    socket.on('end', () => this.push(null));
    socket.on('close', () => this.destroy());
  }

  /** Nothing to do: the library takes everything at once, and the intake paces the socket. */
  override _read(): void {}

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#socket.write(chunk, done);
  }

  override _writev(chunks: { chunk: Buffer }[], done: (error?: Error | null) => void): void {
    this.#socket.write(Buffer.concat(chunks.map(({ chunk }) => chunk)), done);
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#socket.end(() => done());
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#socket.destroy();
    done(error);
  }
}
