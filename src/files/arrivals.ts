// Files that came whole, with the message that brought them (a federate's `create resource`): onto the shelf one after the other. Until
// one is on the disk whoever asks for it waits: it is announced in the same breath.
import type { Envelope } from '../core/message.ts';
import { type ResourceRol, resourceOf } from '../wire/package.ts';
import { FileRefusal } from './refusal.ts';
import type { Shelf, StoredFile } from './shelf.ts';
import type { Transfers } from './transfers.ts';

/** In memory on their way to the disk: files, and bytes beside the first of them. */
export const MAX_ARRIVALS = 16;
export const MAX_ARRIVING_BYTES = 64 << 20;

export interface ArrivalParts {
  readonly shelf: Shelf;
  readonly transfers: Transfers;
  nameOf(source: string): string;
  onRefused(refusal: FileRefusal): void;
  /** The disk failed, or we did. */
  onFault(error: Error): void;
}

export interface Arrival {
  readonly name: string;
  readonly size: number;
  readonly mime: string;
  /** The file; undefined: it was not taken. Never rejects. */
  readonly taken: Promise<StoredFile | undefined>;
}

export class Arrivals {
  readonly #parts: ArrivalParts;
  readonly #arriving = new Map<string, Arrival>();
  #bytes = 0;
  #last: Promise<unknown> = Promise.resolve();

  constructor(parts: ArrivalParts) {
    this.#parts = parts;
  }

  /** A file that is here but for the disk. */
  get(hash: string): Arrival | undefined {
    return this.#arriving.get(hash);
  }

  /** Sees every message that was let in; never throws. */
  note({ message, wire, from }: Envelope): void {
    if (message.kind !== 'mission' || !wire) return;
    const resource = resourceOf(wire.bytes, message.summary);
    if (!resource || this.#arriving.has(resource.hash) || this.#parts.shelf.get(resource.hash)) return;
    const size = resource.data.length;
    if (this.#arriving.size >= MAX_ARRIVALS || (this.#bytes > 0 && this.#bytes + size > MAX_ARRIVING_BYTES)) {
      const words = 'too many files came at once from other servers';
      return this.#parts.onRefused(new FileRefusal('too_many_uploads', words));
    }
    const { hash, name, mime } = resource;
    this.#bytes += size;
    const taken = this.#last.then(() => this.#take(resource, this.#parts.nameOf(from)));
    this.#arriving.set(hash, { name, size, mime, taken });
    this.#last = taken.then(() => {
      this.#bytes -= size;
      this.#arriving.delete(hash);
    });
  }

  async #take({ data, ...file }: ResourceRol, peer: string): Promise<StoredFile | undefined> {
    const { shelf, transfers, onRefused, onFault } = this.#parts;
    const { hash, name } = file;
    const transfer = transfers.begin({ hash, name, direction: 'in', peer, size: data.length });
    transfer.moved(data.length);
    const { creatorUid, keywords } = file;
    try {
      const kept = await shelf.take(once(data), {
        hash,
        size: data.length,
        name,
        uploader: peer,
        creatorUid,
        keywords,
      });
      transfer.become('whole');
      return kept;
    } catch (error) {
      transfer.become('failed', (error as Error).message);
      if (error instanceof FileRefusal) onRefused(error);
      else onFault(error as Error);
      return undefined;
    }
  }
}

async function* once(data: Buffer): AsyncIterable<Buffer> {
  yield data;
}
