// Files that were announced (b-f-t-r, "file share") and by whom: what a phone here may ask for and another box may be asked for. The
// announcement is also the permission: who may not have it may not have the file.
import type { Envelope } from '../core/message.ts';
import { ProtocolError } from '../lib/errors.ts';
import { asXml, relocated } from '../wire/encode.ts';
import { type FileShare, fileShareOf, isOffer, resourceOf } from '../wire/package.ts';

export const MAX_OFFERS = 1_024;
/** A longer announcement is passed on, and its file is not known here. */
export const MAX_OFFER_BYTES = 16 << 10;
const MAX_SOURCES = 4;

export interface Offer {
  readonly hash: string;
  readonly name: string;
  readonly size: number;
  readonly atMs: number;
  /** The announcement, as the newest of its bringers brought it. */
  readonly envelope: Envelope;
  /** Keys of the peers that announced it, the newest first. */
  readonly sources: readonly string[];
}

export class Offers {
  readonly #offers = new Map<string, Offer>();
  readonly #ageMs: number;
  readonly #onChange: (hash: string, offer: Offer | undefined) => void;

  /** @param onChange an announcement is known from now on, or no more */
  constructor(ageMs: number, onChange: (hash: string, offer: Offer | undefined) => void = () => {}) {
    this.#ageMs = ageMs;
    this.#onChange = onChange;
  }

  /** What was known before a restart, the oldest first. */
  restore(offers: readonly Offer[]): void {
    for (const offer of offers) this.#offers.set(offer.hash, offer);
  }

  get size(): number {
    return this.#offers.size;
  }

  /** Sees every message that was let in; never throws. */
  note(envelope: Envelope, nowMs: number): void {
    const share = shareOf(envelope);
    if (!share) return;
    const before = this.#offers.get(share.hash);
    const others = before?.sources.filter((source) => source !== envelope.from) ?? [];
    const sources = [envelope.from, ...others].slice(0, MAX_SOURCES);
    const offer = { ...share, atMs: nowMs, envelope: light(envelope), sources };
    this.#offers.delete(share.hash);
    this.#offers.set(share.hash, offer);
    this.#onChange(share.hash, offer);
    if (this.#offers.size > MAX_OFFERS) this.#forget(this.#offers.keys().next().value!);
  }

  get(hash: string, nowMs: number): Offer | undefined {
    const offer = this.#offers.get(hash);
    if (offer && nowMs - offer.atMs <= this.#ageMs) return offer;
    if (offer) this.#forget(hash);
    return undefined;
  }

  #forget(hash: string): void {
    this.#offers.delete(hash);
    this.#onChange(hash, undefined);
  }
}

/** Of a mission that carries a file only who may have it is remembered: not the file, and nothing that was made of it. */
function light(envelope: Envelope): Envelope {
  const wire = envelope.message.kind === 'mission' ? undefined : envelope.wire;
  return { ...envelope, wire, encodings: undefined };
}

/** What an announcement says of its file, or a mission that carries one; undefined: it is none, or says nothing one could use. */
export function shareOf(envelope: Envelope): FileShare | undefined {
  const { message, wire } = envelope;
  if (message.kind === 'mission' && wire) {
    const file = resourceOf(wire.bytes, message.summary);
    return file && { hash: file.hash, name: file.name, size: file.data.length };
  }
  if (!isOffer(message)) return undefined;
  const xml = xmlOf(envelope);
  try {
    return xml && fileShareOf(xml);
  } catch (error) {
    if (error instanceof ProtocolError) return undefined;
    throw error;
  }
}

/** The same announcement with the file at `url`; the same envelope when it names no place. */
export function withUrl(envelope: Envelope, url: string): Envelope {
  return xmlOf(envelope) ? relocated(envelope, url) : envelope;
}

function xmlOf(envelope: Envelope): Buffer | undefined {
  try {
    const bytes = asXml(envelope);
    return bytes.length <= MAX_OFFER_BYTES ? bytes : undefined;
  } catch {
    return undefined; // said in a way that has no XML: then nobody here can read it either
  }
}
