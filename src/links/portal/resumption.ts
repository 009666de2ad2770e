// Keys to begin TLS with again, without certificates: a reconnect then costs some 600 bytes in place of 1,800.
//
// TLS 1.3's own tickets are no help on a thin link: OpenSSL puts the whole client certificate into them. So both sides take a
// key out of each finished session (RFC 5705, RFC 8446 §7.5) and offer it as an external pre-shared key (RFC 8446 §4.2.11),
// always together with a fresh Diffie-Hellman exchange: a key that leaks later opens nothing that was said before.
//
// - Each session gives two keys, one to dial with for each side. A key that both sides dialled with would let somebody lead
//   a relay to itself (RFC 9257, "Selfie").
// - A key stands for the certificate that was shown when its chain of sessions began, at most RESUME_MS ago, and is forgotten
//   with its pin: who is no longer configured cannot resume.
// - Keys are in memory only. A server that does not know one asks for certificates in the same handshake.
import type { TLSSocket } from 'node:tls';
import type { Clock } from '../../lib/clock.ts';
import { MAX_RESUMPTIONS, RESUME_MS } from './limits.ts';

const LABEL = 'EXPORTER-waystation-portal02-resumption';
const NAME_BYTES = 9;
const KEY_BYTES = 32;
const PART_BYTES = NAME_BYTES + KEY_BYTES;

export interface Resumption {
  /** What the client calls the key by, in clear. */
  readonly identity: string;
  readonly psk: Buffer;
  /** Fingerprint of the certificate it stands for. */
  readonly pin: string;
  /** Monotonic time when that certificate was shown. */
  readonly provenMs: number;
}

export class Resumptions {
  readonly #clock: Clock;
  /** By pin: what we dial with. */
  readonly #toDial = new Map<string, Resumption>();
  /** By identity: what peers may dial with; the oldest first. */
  readonly #toAccept = new Map<string, Resumption>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The key to dial this peer with. */
  forDialling(pin: string): Resumption | undefined {
    return this.#fresh(this.#toDial.get(pin));
  }

  /** The key a client names; undefined: it must show its certificate. */
  named(identity: string): Resumption | undefined {
    return this.#fresh(this.#toAccept.get(identity));
  }

  /** Takes the keys out of a session that is proven on both sides. `used`: the key it was itself begun with. */
  learn(socket: TLSSocket, role: 'client' | 'server', pin: string, used: Resumption | undefined): void {
    const provenMs = used?.provenMs ?? this.#clock.nowMs();
    const exported = socket.exportKeyingMaterial(2 * PART_BYTES, LABEL, Buffer.alloc(0));
    const part = (index: number): Resumption => {
      const at = index * PART_BYTES;
      const identity = exported.subarray(at, at + NAME_BYTES).toString('base64url');
      return { identity, psk: exported.subarray(at + NAME_BYTES, at + PART_BYTES), pin, provenMs };
    };
    const [byClient, byServer] = [part(0), part(1)];
    this.#toDial.set(pin, role === 'client' ? byClient : byServer);
    this.#accept(role === 'client' ? byServer : byClient);
  }

  /** A handshake with this key failed: the next one shows certificates. */
  drop({ pin, identity }: Resumption): void {
    if (this.#toDial.get(pin)?.identity === identity) this.#toDial.delete(pin);
  }

  /** The peer is no longer configured. */
  forget(pin: string): void {
    this.#toDial.delete(pin);
    for (const { identity } of this.#acceptedOf(pin)) this.#toAccept.delete(identity);
  }

  #accept(resumption: Resumption): void {
    this.#toAccept.set(resumption.identity, resumption);
    const known = this.#acceptedOf(resumption.pin);
    for (const { identity } of known.slice(0, -MAX_RESUMPTIONS)) this.#toAccept.delete(identity);
  }

  #acceptedOf(pin: string): readonly Resumption[] {
    return [...this.#toAccept.values()].filter((resumption) => resumption.pin === pin);
  }

  #fresh(resumption: Resumption | undefined): Resumption | undefined {
    return resumption && this.#clock.nowMs() - resumption.provenMs < RESUME_MS ? resumption : undefined;
  }
}
