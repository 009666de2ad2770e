// Announcements of files on the disk, so that a box that was restarted still knows who has what: a file of JSON for each, in a folder of
// their own, written once a second what changed. What cannot be read, or is too old, goes.
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { restoredEnvelope } from '../core/envelope.ts';
import type { Hops, Lane, Provenance, WireFormat } from '../core/message.ts';
import { sleep } from '../lib/abort.ts';
import type { Clock } from '../lib/clock.ts';
import { messageOf } from '../wire/message.ts';
import { MAX_OFFER_BYTES, MAX_OFFERS, type Offer, shareOf } from './offers.ts';
import { isHash } from './shelf.ts';

const FLUSH_MS = 1_000;
/** The announcement in base64, groups and servers beside it. */
const MAX_FILE_BYTES = 8 * MAX_OFFER_BYTES;

interface Written {
  readonly atWallMs: number;
  readonly sources: readonly string[];
  readonly from: string;
  readonly format: WireFormat;
  readonly bytes: string;
  readonly receivedWallMs: number;
  readonly groups: readonly string[];
  readonly provenance: readonly Provenance[];
  readonly hops: Hops;
  readonly lane: Lane;
}

export interface OfferBookParts {
  readonly dir: string;
  readonly ageMs: number;
  readonly clock: Clock;
  /** The disk does not take them: they are known until the next restart. */
  onFault(error: Error): void;
}

export class OfferBook {
  readonly #parts: OfferBookParts;
  readonly #changed = new Map<string, Offer | undefined>();

  constructor(parts: OfferBookParts) {
    this.#parts = parts;
  }

  /** What was announced before the restart, the oldest first. @throws when the folder cannot be used */
  read(): readonly Offer[] {
    const { dir } = this.#parts;
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    const found: Offer[] = [];
    for (const name of readdirSync(dir)) {
      const offer = this.#read(name);
      if (offer) found.push(offer);
      else rmSync(join(dir, name), { force: true, recursive: true });
    }
    return found.sort((a, b) => a.atMs - b.atMs).slice(-MAX_OFFERS);
  }

  /** From now on it is this, or no more. */
  note(hash: string, offer: Offer | undefined): void {
    this.#changed.set(hash, offer);
  }

  /** Writes until aborted, then what is left. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await sleep(FLUSH_MS, signal);
      await this.#flush();
    }
  }

  async #flush(): Promise<void> {
    for (const [hash, offer] of this.#changed) {
      this.#changed.delete(hash);
      const path = join(this.#parts.dir, hash);
      try {
        const text = offer && this.#text(offer);
        if (text === undefined) await rm(path, { force: true });
        else {
          await writeFile(`${path}.new`, text, { mode: 0o600 });
          await rename(`${path}.new`, path);
        }
      } catch (error) {
        this.#parts.onFault(error as Error);
      }
    }
  }

  /** undefined: one that came with the file itself has nothing to be written. */
  #text({ envelope, sources, atMs }: Offer): string | undefined {
    const { wire, from, receivedWallMs, groups, provenance, hops, lane } = envelope;
    if (!wire) return undefined;
    const { clock } = this.#parts;
    const written: Written = {
      atWallMs: clock.wallMs() - (clock.nowMs() - atMs),
      ...{ sources, from, receivedWallMs, groups, provenance, hops, lane },
      ...{ format: wire.format, bytes: wire.bytes.toString('base64') },
    };
    return JSON.stringify(written);
  }

  #read(name: string): Offer | undefined {
    const path = join(this.#parts.dir, name);
    try {
      if (!isHash(name) || statSync(path).size > MAX_FILE_BYTES) return undefined;
      const { clock, ageMs } = this.#parts;
      const { atWallMs, sources, format, bytes, ...rest } = JSON.parse(readFileSync(path, 'utf8')) as Written;
      // A clock that was set may say that it was announced tomorrow.
      const age = Math.max(0, clock.wallMs() - atWallMs);
      if (!(age <= ageMs)) return undefined;
      const wire = { format, bytes: Buffer.from(bytes, 'base64') };
      const receivedMs = clock.nowMs() - Math.max(0, clock.wallMs() - rest.receivedWallMs);
      const record = { ...rest, wire, peer: '', conflate: '' };
      const envelope = restoredEnvelope(record, messageOf(wire), { seq: 0, receivedMs, clock });
      const share = shareOf(envelope);
      return share?.hash === name ? { ...share, atMs: clock.nowMs() - age, envelope, sources } : undefined;
    } catch {
      return undefined; // half written, or of another version
    }
  }
}
