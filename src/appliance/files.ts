// Files that survive a power cut: a new one is complete before it takes the old one's name. And files that leave nothing behind.
import { randomBytes } from 'node:crypto';
import {
  chownSync,
  closeSync,
  fsyncSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';

export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** Writes `path` whole or not at all. The same content again writes nothing. */
export function replaceFile(path: string, content: Buffer | string, mode = 0o600, owner?: Owner): void {
  const bytes = Buffer.from(content);
  if (readIfThere(path)?.equals(bytes)) return;
  const unfinished = `${path}.new`;
  rmSync(unfinished, { force: true });
  const handle = openSync(unfinished, 'wx', mode);
  try {
    writeAll(handle, bytes);
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
  if (owner && process.getuid?.() === 0) chownSync(unfinished, owner.uid, owner.gid);
  renameSync(unfinished, path);
  syncFolder(dirname(path));
}

export function readIfThere(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw error;
  }
}

export function ownerOf(path: string): Owner {
  const { uid, gid } = statSync(path);
  return { uid, gid };
}

/** Puts other bytes where the file's stood, then removes it. A card may keep the old ones elsewhere: nothing here can reach those. */
export function shred(path: string, fill: 'zeros' | 'random' = 'zeros'): void {
  const { size } = statSync(path);
  const handle = openSync(path, 'r+');
  try {
    const step = 64 * 1024;
    for (let at = 0; at < size; at += step) {
      const length = Math.min(step, size - at);
      writeAll(handle, fill === 'zeros' ? Buffer.alloc(length) : randomBytes(length), at);
    }
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
  rmSync(path);
}

/** Every file below a folder; links are not followed. */
export function shredBelow(folder: string): void {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) shredBelow(path);
    else if (entry.isFile()) shred(path, 'random');
  }
}

export function writeAll(handle: number, bytes: Buffer, position?: number): void {
  let written = 0;
  while (written < bytes.length) {
    const at = position === undefined ? null : position + written;
    written += writeSync(handle, bytes, written, bytes.length - written, at);
  }
}

/** Makes a rename or a removal itself survive. */
export function syncFolder(folder: string): void {
  const handle = openSync(folder, 'r');
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}
