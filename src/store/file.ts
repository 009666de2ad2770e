// The store's file: node:sqlite, and the only SQL there is. Everything here may throw; store.ts acts on it.
import type { DatabaseSync } from 'node:sqlite';
import { closeQuietly, openDatabase, transaction } from './sqlite.ts';

/** Additive only, so that an older release can still use the file: new tables, new columns with defaults. Never edited. */
export const STORE_STEPS: readonly string[] = [
  `CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
   CREATE TABLE peers_seen (
     key TEXT PRIMARY KEY, link TEXT NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL,
     first_seen INTEGER NOT NULL, last_seen INTEGER NOT NULL, address TEXT NOT NULL
   ) STRICT, WITHOUT ROWID;`,
];

const LOAD_PEERS = `SELECT key, link, name, kind, first_seen AS firstSeenMs, last_seen AS lastSeenMs, address
  FROM peers_seen ORDER BY last_seen`;
const SAVE_PEER = `INSERT INTO peers_seen (key, link, name, kind, first_seen, last_seen, address)
  VALUES (:key, :link, :name, :kind, :firstSeenMs, :lastSeenMs, :address)
  ON CONFLICT (key) DO UPDATE SET link = excluded.link, name = excluded.name, kind = excluded.kind,
    last_seen = excluded.last_seen, address = excluded.address`;
const DROP_PEER = 'DELETE FROM peers_seen WHERE key = ?';
const SAVE_META = 'INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value';
const DROP_META = 'DELETE FROM meta WHERE key = ?';

/** A peer as it introduced itself. `key` is the hub's PeerSpec key. */
export interface PeerSighting {
  readonly key: string;
  readonly link: string;
  readonly name: string;
  readonly kind: string;
  readonly address: string;
}

/** Wall clock, whole milliseconds. */
export interface SeenPeer extends PeerSighting {
  readonly firstSeenMs: number;
  readonly lastSeenMs: number;
}

/** Undefined as a value: the row goes. */
export interface Changes {
  readonly peers: ReadonlyMap<string, SeenPeer | undefined>;
  readonly meta: ReadonlyMap<string, string | undefined>;
}

export class StoreFile {
  readonly #db: DatabaseSync;

  constructor(path: string, steps: readonly string[]) {
    this.#db = openDatabase(path, steps);
  }

  /** Least recently seen first. */
  loadPeers(): SeenPeer[] {
    return this.#db
      .prepare(LOAD_PEERS)
      .all()
      .map((row) => ({ ...row }) as unknown as SeenPeer);
  }

  loadMeta(): [key: string, value: string][] {
    const rows = this.#db.prepare('SELECT key, value FROM meta').all();
    return rows.map((row) => [row.key as string, row.value as string]);
  }

  /** All of it or nothing. */
  write(changes: Changes): void {
    transaction(this.#db, () => {
      for (const [key, peer] of changes.peers) {
        if (peer) this.#db.prepare(SAVE_PEER).run({ ...peer });
        else this.#db.prepare(DROP_PEER).run(key);
      }
      for (const [key, value] of changes.meta) {
        if (value === undefined) this.#db.prepare(DROP_META).run(key);
        else this.#db.prepare(SAVE_META).run(key, value);
      }
    });
  }

  /** Idempotent; never throws. */
  close(): void {
    closeQuietly(this.#db);
  }
}
