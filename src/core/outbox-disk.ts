// The seam between the outbox and the disk: what is kept, and when it is safe. Implemented in store/; nothing here waits or throws.
import type { Hops, Lane, Provenance, Wire } from './message.ts';
import type { Warning } from './status.ts';

/** A message that waits for a peer: all that is needed to route it again after a restart. */
export interface OutboxRecord {
  /** Key of the peer it waits for: whom it is addressed to was decided before. */
  readonly peer: string;
  readonly lane: Lane;
  /** Key of the peer it came from. */
  readonly from: string;
  /** Wall clock when the first relay received it, milliseconds. */
  readonly receivedWallMs: number;
  readonly wire: Wire;
  readonly groups: readonly string[];
  readonly provenance: readonly Provenance[];
  readonly hops: Hops;
  /** Envelope.conflate */
  readonly conflate: string;
}

/** What is known of a record without reading it. `id` counts up by one for every message kept, over all restarts. */
export interface OutboxEntry {
  readonly id: number;
  readonly peer: string;
  readonly lane: Lane;
  readonly bytes: number;
  readonly receivedWallMs: number;
  readonly conflate: string;
}

/** A message that was here, as the recent-id window remembers it (seen.ts): two halves of a keyed hash, and whose copy it was. */
export interface Sighting {
  readonly a: number;
  readonly b: number;
  readonly value: number;
}

/** What was found when the file was opened. */
export interface OutboxFound {
  /** In order of their ids. */
  readonly entries: readonly OutboxEntry[];
  /** Oldest first. */
  readonly sightings: readonly Sighting[];
  /** Of the window's hashes: another key, and old sightings would mean nothing. */
  readonly seeds: readonly [number, number] | undefined;
}

export interface OutboxDisk {
  readonly found: OutboxFound;
  /** False: what is put now would be lost by a restart. The relay runs, and says so. */
  readonly writable: boolean;
  readonly warnings: readonly Warning[];
  /** Begins to keep a record. */
  put(id: number, record: OutboxRecord): void;
  /** No longer waits. */
  remove(id: number): void;
  /** undefined: it cannot be read. May read the file; what was put lately comes from memory. */
  fetch(id: number): OutboxRecord | undefined;
  remember(sighting: Sighting): void;
  setSeeds(seeds: readonly [number, number]): void;
  /** Calls back once all that was put and remembered so far survives a power cut; at once when it does already, or cannot. */
  safely(done: () => void): void;
}
