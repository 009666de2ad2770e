// The outbox's file. Commits go into the write-ahead log without waiting for the card; whether they survive a power cut is for
// sync(), which runs beside the event loop. So SQLite itself is told never to sync (synchronous = OFF) and never to checkpoint by
// itself, and the order that makes that safe is kept by outbox.ts:
//   commit, sync() the log                                   -> what was committed is safe
//   checkpoint(), sync the file, and only then commit again  -> the log may begin anew
// Everything here may throw.
import { closeSync, fdatasync, fsyncSync, openSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { promisify } from 'node:util';
import { crc32 } from 'node:zlib';
import type { Lane, WireFormat } from '../core/message.ts';
import type { OutboxEntry, OutboxRecord, Sighting } from '../core/outbox-disk.ts';
import { closeQuietly, openDatabase, transaction } from './sqlite.ts';

/** Additive only, see openDatabase(). */
export const OUTBOX_STEPS: readonly string[] = [
  `CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
   CREATE TABLE waiting (
     id INTEGER PRIMARY KEY, peer TEXT NOT NULL, lane INTEGER NOT NULL, received INTEGER NOT NULL,
     conflate TEXT NOT NULL, format TEXT NOT NULL, head TEXT NOT NULL, payload BLOB NOT NULL, sum INTEGER NOT NULL
   ) STRICT;
   CREATE TABLE sightings (id INTEGER PRIMARY KEY, batch BLOB NOT NULL) STRICT;`,
];

const PUT = `INSERT OR REPLACE INTO waiting (id, peer, lane, received, conflate, format, head, payload, sum)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`;
/** Bytes of one sighting in a batch. */
const SIGHTING_BYTES = 16;
/** Sightings kept; the oldest batches beyond go. */
export const MAX_SIGHTINGS = 32_768;
/** Of one batch: what came while the disk was slow is written in several. */
export const BATCH_SIGHTINGS = 4_096;

/** One transaction. */
export interface OutboxBatch {
  readonly puts: ReadonlyMap<number, OutboxRecord>;
  readonly removes: ReadonlySet<number>;
  readonly sightings: readonly Sighting[];
  readonly meta: ReadonlyMap<string, string>;
}

interface Row {
  readonly id: number;
  readonly peer: string;
  readonly lane: number;
  readonly received: number;
  readonly conflate: string;
  readonly format: string;
  readonly head: string;
  readonly payload: Uint8Array;
  readonly sum: number;
}

/** Resolves when what was written to the file survives a power cut. */
export type Sync = (fd: number) => Promise<void>;

const fdatasyncSoon: Sync = promisify(fdatasync);

export class OutboxFile {
  readonly #path: string;
  readonly #sync: Sync;
  readonly #db: DatabaseSync;
  readonly #put: StatementSync;
  readonly #remove: StatementSync;
  readonly #fetch: StatementSync;
  /** Held open as long as the database: closing one would give up SQLite's own locks. */
  readonly #fds: { readonly file: number; readonly log: number };
  #batches: { id: number; count: number }[] = [];
  #sightings = 0;

  constructor(path: string, steps: readonly string[] = OUTBOX_STEPS, sync: Sync = fdatasyncSoon) {
    this.#path = path;
    this.#sync = sync;
    // Exclusive: no shared-memory file that the kernel would write back now and then, and no second relay on the same outbox.
    this.#db = openDatabase(path, steps, 'PRAGMA locking_mode = EXCLUSIVE;');
    try {
      this.#db.exec('PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0');
      this.#countStart(); // makes the log
      this.#fds = { file: openSync(path, 'r'), log: openSync(`${path}-wal`, 'r') };
      syncFolder(dirname(path));
      this.#db.exec('PRAGMA synchronous = OFF');
      this.#put = this.#db.prepare(PUT);
      this.#remove = this.#db.prepare('DELETE FROM waiting WHERE id = ?');
      this.#fetch = this.#db.prepare('SELECT * FROM waiting WHERE id = ?');
    } catch (error) {
      closeQuietly(this.#db);
      throw error;
    }
  }

  /** Everything that waits, in order; `damaged` are records that cannot be read. */
  load(): { readonly entries: readonly OutboxEntry[]; readonly damaged: readonly number[] } {
    const entries: OutboxEntry[] = [];
    const damaged: number[] = [];
    for (const found of this.#db.prepare('SELECT * FROM waiting ORDER BY id').iterate()) {
      const row = found as unknown as Row;
      const record = recordOf(row);
      if (!record) damaged.push(row.id);
      else {
        const { peer, lane, receivedWallMs, wire, conflate } = record;
        entries.push({ id: row.id, peer, lane, receivedWallMs, conflate, bytes: wire.bytes.length });
      }
    }
    return { entries, damaged };
  }

  /** Oldest first. */
  loadSightings(): Sighting[] {
    const rows = this.#db.prepare('SELECT id, batch FROM sightings ORDER BY id').all();
    const batches = rows.map((row) => ({ id: row.id as number, sightings: sightingsOf(row.batch as Uint8Array) }));
    this.#batches = batches.map(({ id, sightings }) => ({ id, count: sightings.length }));
    this.#sightings = this.#batches.reduce((sum, { count }) => sum + count, 0);
    return batches.flatMap(({ sightings }) => sightings);
  }

  meta(key: string): string | undefined {
    return this.#db.prepare('SELECT value FROM meta WHERE key = ?').get(key)?.value as string | undefined;
  }

  fetch(id: number): OutboxRecord | undefined {
    const row = this.#fetch.get(id) as unknown as Row | undefined;
    return row && recordOf(row);
  }

  /** All of it or nothing. Safe only after sync(). */
  write({ puts, removes, sightings, meta }: OutboxBatch): void {
    transaction(this.#db, () => {
      for (const id of removes) this.#remove.run(id);
      for (const [id, record] of puts) this.#put.run(...rowOf(id, record));
      if (sightings.length > 0) this.#addSightings(sightings);
      for (const [key, value] of meta) this.#setMeta(key, value);
    });
  }

  /** Resolves when all that was written survives a power cut. */
  sync(): Promise<void> {
    return this.#sync(this.#fds.log);
  }

  get logBytes(): number {
    return statSync(`${this.#path}-wal`).size;
  }

  /** Moves the log, which must be synced, into the file. Nothing may be written until this resolves. */
  async checkpoint(): Promise<void> {
    this.#db.exec('PRAGMA wal_checkpoint(PASSIVE)');
    await this.#sync(this.#fds.file);
  }

  /** Idempotent; never throws. Not while sync() or checkpoint() are under way. */
  close(): void {
    if (!this.#db.isOpen) return;
    try {
      this.#db.exec('PRAGMA synchronous = FULL');
    } catch {
      // the log is still there for the next start
    }
    closeQuietly(this.#db);
    closeSync(this.#fds.file);
    closeSync(this.#fds.log);
  }

  #countStart(): void {
    this.#setMeta('starts', String(Number(this.meta('starts') ?? 0) + 1));
  }

  #setMeta(key: string, value: string): void {
    const words = 'INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value';
    this.#db.prepare(words).run(key, value);
  }

  #addSightings(sightings: readonly Sighting[]): void {
    const insert = this.#db.prepare('INSERT OR REPLACE INTO sightings VALUES (?, ?)');
    for (let at = 0; at < sightings.length; at += BATCH_SIGHTINGS) {
      const batch = sightings.slice(at, at + BATCH_SIGHTINGS);
      const id = (this.#batches.at(-1)?.id ?? 0) + 1;
      insert.run(id, bytesOf(batch));
      this.#batches.push({ id, count: batch.length });
      this.#sightings += batch.length;
    }
    let last = 0;
    while (this.#sightings - this.#batches[0]!.count >= MAX_SIGHTINGS) {
      const oldest = this.#batches.shift()!;
      this.#sightings -= oldest.count;
      last = oldest.id;
    }
    if (last > 0) this.#db.prepare('DELETE FROM sightings WHERE id <= ?').run(last);
  }
}

/** So that the names of new files survive, too. */
function syncFolder(path: string): void {
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

type Values = [number, string, number, number, string, string, string, Uint8Array, number];

function rowOf(id: number, record: OutboxRecord): Values {
  const { peer, lane, receivedWallMs, conflate, wire, from, groups, provenance, hops } = record;
  const received = Math.round(receivedWallMs);
  const head = JSON.stringify({ from, groups, provenance, hops });
  const row = { id, peer, lane, received, conflate, format: wire.format, head, payload: wire.bytes };
  return [id, peer, lane, received, conflate, wire.format, head, wire.bytes, sumOf(row)];
}

/** undefined: damaged. What a later release adds to the head is passed over, what an earlier one did not write has a default. */
function recordOf(row: Row): OutboxRecord | undefined {
  if (sumOf(row) !== row.sum) return undefined;
  const { peer, received: receivedWallMs, conflate } = row;
  const wire = { format: row.format as WireFormat, bytes: Buffer.from(row.payload) };
  const { from = '', groups = [], provenance = [], hops = NO_HOPS } = JSON.parse(row.head);
  return { peer, lane: row.lane as Lane, receivedWallMs, conflate, wire, from, groups, provenance, hops };
}

const NO_HOPS = { max: -1, current: 0 };

function sumOf({ id, peer, lane, received, conflate, format, head, payload }: Omit<Row, 'sum'>): number {
  return crc32(payload, crc32([id, peer, lane, received, conflate, format, head].join('\n')));
}

function bytesOf(sightings: readonly Sighting[]): Buffer {
  const bytes = Buffer.alloc(sightings.length * SIGHTING_BYTES);
  for (const [index, { a, b, value }] of sightings.entries()) {
    const at = index * SIGHTING_BYTES;
    bytes.writeInt32LE(a, at);
    bytes.writeInt32LE(b, at + 4);
    bytes.writeDoubleLE(value, at + 8);
  }
  return bytes;
}

function sightingsOf(batch: Uint8Array): Sighting[] {
  const bytes = Buffer.from(batch.buffer, batch.byteOffset, batch.byteLength);
  const found: Sighting[] = [];
  for (let at = 0; at + SIGHTING_BYTES <= bytes.length; at += SIGHTING_BYTES) {
    found.push({ a: bytes.readInt32LE(at), b: bytes.readInt32LE(at + 4), value: bytes.readDoubleLE(at + 8) });
  }
  return found;
}
