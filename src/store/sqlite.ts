// What every file of the store has in common: opened, checked whole, brought up to date, moved aside when it is broken.
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

const SQLITE_CORRUPT = 11;
const SQLITE_NOTADB = 26;

/**
 * Opens or makes a file in WAL mode. `steps` are additive only, so that an older release can still use the file: new tables, new
 * columns with defaults; never edited. A power cut may cost the last commits, never the file. Throws.
 */
export function openDatabase(path: string, steps: readonly string[], pragmas = ''): DatabaseSync {
  closeSync(openSync(path, 'a', 0o600)); // ours alone from the first byte; SQLite gives -wal the same mode
  const db = new DatabaseSync(path);
  try {
    chmodSync(path, 0o600);
    db.exec(`${pragmas} PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL`);
    check(db);
    migrate(db, path, steps);
    return db;
  } catch (error) {
    closeQuietly(db);
    throw error;
  }
}

/** Never throws. */
export function closeQuietly(db: DatabaseSync): void {
  try {
    if (db.isOpen) db.close();
  } catch {
    // a file that cannot even be closed was given up already
  }
}

/** All of it or nothing. */
export function transaction(db: DatabaseSync, work: () => void): void {
  db.exec('BEGIN IMMEDIATE');
  try {
    work();
    db.exec('COMMIT');
  } catch (error) {
    if (db.isTransaction) db.exec('ROLLBACK');
    throw error;
  }
}

/** Opens with `open`; a corrupt file is moved aside and a new one begun. `wallMs` names the copy. Throws what cannot be mended so. */
export function openOrReplace<File>(path: string, wallMs: number, open: () => File): { file: File; aside?: string } {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  try {
    return { file: open() };
  } catch (error) {
    if (!isCorrupt(error) || !statSync(path).isFile()) throw error;
    const aside = moveAside(path, new Date(wallMs).toISOString().replaceAll(/[-:.]/g, ''));
    return { file: open(), aside };
  }
}

/** Is the file itself broken, rather than out of reach? */
function isCorrupt(error: unknown): boolean {
  const code = ((error as { errcode?: number }).errcode ?? 0) & 0xff;
  return code === SQLITE_CORRUPT || code === SQLITE_NOTADB;
}

/** Renames the file and its journal out of the way; only the latest such copy is kept. */
function moveAside(path: string, stamp: string): string {
  const prefix = `${path}.corrupt-`;
  for (const name of readdirSync(dirname(path))) {
    if (name.startsWith(basename(prefix))) rmSync(join(dirname(path), name), { force: true });
  }
  renameSync(path, `${prefix}${stamp}`);
  if (existsSync(`${path}-wal`)) renameSync(`${path}-wal`, `${prefix}${stamp}-wal`);
  rmSync(`${path}-shm`, { force: true });
  return `${prefix}${stamp}`;
}

function check(db: DatabaseSync): void {
  const found = db.prepare('PRAGMA quick_check(1)').get()?.quick_check;
  if (found !== 'ok') throw Object.assign(new Error(String(found)), { errcode: SQLITE_CORRUPT });
}

/** Takes the steps the file lacks, after a copy of it. A file of a newer release is used as it is. */
function migrate(db: DatabaseSync, path: string, steps: readonly string[]): void {
  db.exec('CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL) STRICT');
  const version = Number(db.prepare('SELECT max(version) AS version FROM schema_version').get()?.version ?? 0);
  if (version >= steps.length) return;
  if (version > 0) copyTo(db, `${path}.v${version}`);
  transaction(db, () => {
    for (const step of steps.slice(version)) db.exec(step);
    db.prepare('INSERT INTO schema_version (version) VALUES (?)').run(steps.length);
  });
}

/** A whole, consistent copy; the name appears only when it is complete. */
function copyTo(db: DatabaseSync, path: string): void {
  const unfinished = `${path}.new`;
  rmSync(unfinished, { force: true });
  db.prepare('VACUUM INTO ?').run(unfinished);
  renameSync(unfinished, path);
}

export function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
