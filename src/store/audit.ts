// The audit: who changed what, whom we refused, what crossed between relays on request. Only ever added to; the oldest of each
// kind goes when there are too many. Written once a second, read from the file when somebody asks.
import type { DatabaseSync } from 'node:sqlite';
import type { Warning } from '../core/status.ts';
import { sleep } from '../lib/abort.ts';
import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import { closeQuietly, openDatabase, openOrReplace, transaction, wordsOf } from './sqlite.ts';

/** Entries of each kind kept on disk: a flood of one pushes out nothing of another. */
export const AUDIT_KEPT = 20_000;
/** Of each kind in memory, when there is no file. */
const MEMORY_KEPT = 200;
/** Waiting for the next commit; more than these in a second are counted, not kept. */
const MAX_PENDING = 500;
const COMMIT_MS = 1_000;
/** Longest text of an entry, characters. */
const MAX_TEXT = 500;
export const MAX_PAGE = 1_000;

/** `change`: of this box; `refused`: a peer or a login; `request`: between relays. */
export const AUDIT_KINDS = ['change', 'refused', 'request'] as const;
export type AuditKind = (typeof AUDIT_KINDS)[number];

export interface AuditEntry {
  readonly id: number;
  /** Wall clock, milliseconds. */
  readonly atMs: number;
  readonly kind: AuditKind;
  /** A user, a token, `local`, a peer. */
  readonly who: string;
  /** Network address; '' on the box itself. */
  readonly from: string;
  /** `PATCH /api/links/hq`, `Federation.PeerCalled`, `Federation.RemoteRequest`, `peer_refused`. */
  readonly action: string;
  readonly target: string;
  /** `ok`, or the code of the refusal. */
  readonly outcome: string;
  readonly detail: string;
}

export type AuditNote = Omit<AuditEntry, 'id' | 'atMs'>;

export interface AuditQuery {
  readonly kind?: AuditKind | undefined;
  /** Entries after this one, oldest first; undefined: the newest, newest first. */
  readonly after?: number | undefined;
  readonly limit: number;
}

/** Additive only, see openDatabase(). */
const STEPS: readonly string[] = [
  `CREATE TABLE audit (
  id INTEGER PRIMARY KEY, at INTEGER NOT NULL, kind TEXT NOT NULL, who TEXT NOT NULL, source TEXT NOT NULL,
  action TEXT NOT NULL, target TEXT NOT NULL, outcome TEXT NOT NULL, detail TEXT NOT NULL) STRICT;
   CREATE INDEX audit_kind ON audit (kind, id);`,
];
const ADD = `INSERT INTO audit (id, at, kind, who, source, action, target, outcome, detail)
  VALUES (:id, :atMs, :kind, :who, :from, :action, :target, :outcome, :detail)`;
const COLUMNS = 'id, at AS atMs, kind, who, source AS "from", action, target, outcome, detail';
const PRUNE = `DELETE FROM audit WHERE kind = :kind AND id <=
  (SELECT id FROM audit WHERE kind = :kind ORDER BY id DESC LIMIT 1 OFFSET ${AUDIT_KEPT})`;

export interface AuditOptions {
  readonly path: string;
  readonly clock: Clock;
  readonly log: Log;
}

export class AuditStore {
  readonly #options: AuditOptions;
  #db: DatabaseSync | undefined;
  #warning: Warning | undefined;
  #nextId = 1;
  #pending: AuditEntry[] = [];
  /** Without a file, all there is. */
  #memory: AuditEntry[] = [];
  #sincePrune = 0;
  /** Not kept: more than a second may hold. */
  lost = 0;

  /** Never throws: without a file the newest entries are kept in memory. */
  constructor(options: AuditOptions) {
    this.#options = options;
    const { path, clock } = options;
    try {
      this.#db = openOrReplace(path, clock.wallMs(), () => openDatabase(path, STEPS)).file;
      this.#nextId = Number(this.#db.prepare('SELECT max(id) AS id FROM audit').get()?.id ?? 0) + 1;
    } catch (error) {
      this.#warn(`the audit cannot be kept on disk: ${wordsOf(error)}`);
    }
  }

  get warnings(): readonly Warning[] {
    return this.#warning ? [this.#warning] : [];
  }

  /** Touches no file. */
  add(note: AuditNote): void {
    if (this.#pending.length >= MAX_PENDING) {
      this.lost++;
      return;
    }
    const texts = Object.entries(note).map(([key, value]) => [key, String(value).slice(0, MAX_TEXT)]);
    const atMs = Math.round(this.#options.clock.wallMs());
    this.#pending.push({ ...(Object.fromEntries(texts) as unknown as AuditNote), id: this.#nextId++, atMs });
  }

  list({ kind, after, limit }: AuditQuery): readonly AuditEntry[] {
    this.flush();
    const count = Math.min(limit, MAX_PAGE);
    if (!this.#db) return this.#fromMemory({ kind, after, limit: count });
    const where = `id > :after${kind ? ' AND kind = :kind' : ''}`;
    const order = after === undefined ? 'DESC' : 'ASC';
    const rows = this.#db
      .prepare(`SELECT ${COLUMNS} FROM audit WHERE ${where} ORDER BY id ${order} LIMIT :count`)
      .all({ after: after ?? 0, count, ...(kind ? { kind } : {}) });
    return rows.map((row) => ({ ...row }) as unknown as AuditEntry);
  }

  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await sleep(COMMIT_MS, signal);
      this.flush();
    }
  }

  /** Never throws; what cannot be written is kept in memory. */
  flush(): void {
    const entries = this.#pending;
    if (entries.length === 0) return;
    this.#pending = [];
    const db = this.#db;
    if (!db) return this.#remember(entries);
    try {
      transaction(db, () => {
        const add = db.prepare(ADD);
        for (const entry of entries) add.run({ ...entry });
        this.#sincePrune += entries.length;
        if (this.#sincePrune < MEMORY_KEPT) return;
        for (const kind of AUDIT_KINDS) db.prepare(PRUNE).run({ kind });
        this.#sincePrune = 0;
      });
      this.#warning = undefined;
    } catch (error) {
      this.#remember(entries);
      this.#warn(`the audit is not being saved: ${wordsOf(error)}`);
    }
  }

  close(): void {
    this.flush();
    if (this.#db) closeQuietly(this.#db);
    this.#db = undefined;
  }

  #remember(entries: readonly AuditEntry[]): void {
    this.#memory.push(...entries);
    for (const kind of AUDIT_KINDS) {
      const over = this.#memory.filter((entry) => entry.kind === kind).length - MEMORY_KEPT;
      for (let left = over; left > 0; left--) {
        this.#memory.splice(
          this.#memory.findIndex((entry) => entry.kind === kind),
          1,
        );
      }
    }
  }

  #fromMemory({ kind, after, limit }: AuditQuery): readonly AuditEntry[] {
    const fitting = this.#memory.filter((entry) => (!kind || entry.kind === kind) && entry.id > (after ?? 0));
    return after === undefined ? fitting.reverse().slice(0, limit) : fitting.slice(0, limit);
  }

  #warn(words: string): void {
    const fix = 'see whether the disk is full, broken or read-only';
    if (!this.#warning) this.#options.log.warn({ code: 'audit_not_saved', reason: words, fix }, 'audit warning');
    this.#warning = { code: 'audit_not_saved', words, fix };
  }
}
