// Files in the data folder, by the SHA-256 of what is in them: taken in as a stream, checked, kept for a while, bounded. A file is
// its bytes (HASH) and a line about it (HASH.json); it is there when both are. What is being written is in incoming/.
import { createHash, randomUUID } from 'node:crypto';
import {
  createReadStream,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../lib/clock.ts';
import { cleanFileName, kindOf } from './kind.ts';
import { FileRefusal } from './refusal.ts';

export interface ShelfLimits {
  /** Of one file. */
  readonly fileBytes: number;
  /** Of all. */
  readonly bytes: number;
  /** A file goes after so long. */
  readonly ageMs: number;
}

/** Most files at once, and those on their way in. */
export const MAX_FILES = 4_096;
export const MAX_UPLOADS = 8;
/** What must stay free on the disk: the rest of the relay needs it more. */
export const RESERVE_BYTES = 128 << 20;
/** Space is looked at again after so many bytes. */
const CHECK_BYTES = 4 << 20;
const MAX_TEXT = 200;
/** What one uploader may hold at most, so that nobody pushes out what the others have sent. */
const SHARE = 2;
const PART_AGE_MS = 24 * 3_600_000;

export interface StoredFile {
  /** SHA-256, lower hex. */
  readonly hash: string;
  readonly name: string;
  readonly size: number;
  readonly mime: string;
  /** Who brought it: name of the certificate, address, or the peer it was fetched from. */
  readonly uploader: string;
  /** As the sender says: uid of the phone. */
  readonly creatorUid: string;
  readonly addedMs: number;
  /** Listed to every phone; else only who knows the hash finds it. */
  readonly isPublic: boolean;
  readonly keywords: readonly string[];
  /** Of the networks of this box, the one it was brought in; missing: the box had one. */
  readonly network?: string | undefined;
}

/** What is said of a file by whoever brings it. */
export type Claim = Pick<StoredFile, 'name' | 'uploader' | 'creatorUid' | 'keywords'> & {
  readonly hash?: string | undefined;
  readonly size?: number | undefined;
};

export interface ShelfParts {
  readonly dir: string;
  readonly limits: ShelfLimits;
  readonly clock: Clock;
  /** For tests: bytes free on the disk. */
  free?(): number;
}

export class Shelf {
  readonly #parts: ShelfParts;
  readonly #files = new Map<string, StoredFile>();
  #incoming = 0;
  #arriving = 0;

  constructor(parts: ShelfParts) {
    this.#parts = parts;
  }

  /** Reads what is there; what is not whole goes. @throws when the folder cannot be used */
  open(): void {
    const { dir, clock } = this.#parts;
    mkdirSync(join(dir, 'incoming'), { recursive: true, mode: 0o700 });
    const names = readdirSync(dir).filter((name) => name !== 'incoming');
    for (const name of names) {
      const hash = name.replace(/\.json$/, '');
      if (!this.#files.has(hash) && !this.#read(hash)) rmSync(join(dir, name), { force: true, recursive: true });
    }
    for (const name of readdirSync(join(dir, 'incoming'))) {
      const path = join(dir, 'incoming', name);
      const isOld = clock.wallMs() - statSync(path).mtimeMs > PART_AGE_MS;
      if (isOld || !name.endsWith('.part')) rmSync(path, { force: true, recursive: true });
    }
    this.sweep();
  }

  get limits(): ShelfLimits {
    return this.#parts.limits;
  }

  get bytes(): number {
    return [...this.#files.values()].reduce((sum, { size }) => sum + size, 0);
  }

  /** The newest first. */
  list(): readonly StoredFile[] {
    return [...this.#files.values()].sort((a, b) => b.addedMs - a.addedMs);
  }

  get(hash: string): StoredFile | undefined {
    return this.#files.get(hash);
  }

  pathOf(hash: string): string {
    return join(this.#parts.dir, hash);
  }

  /** Both ends included. */
  read(hash: string, start: number, end: number): AsyncIterable<Buffer> {
    return createReadStream(this.pathOf(hash), { start, end });
  }

  /** `bytes` from `at` on, or what there is of them. Rejects when the file is gone. */
  async piece(hash: string, at: number, bytes: number): Promise<Buffer> {
    const file = await open(this.pathOf(hash), 'r');
    try {
      const piece = Buffer.allocUnsafe(bytes);
      const { bytesRead } = await file.read(piece, 0, bytes, at);
      return piece.subarray(0, bytesRead);
    } finally {
      await file.close();
    }
  }

  /** Where a file that comes from a peer is written until it is whole; found again after a restart. */
  partPath(hash: string): string {
    return join(this.#parts.dir, 'incoming', `${hash}.part`);
  }

  /** Takes in a stream. @throws FileRefusal; then nothing of it is left */
  async take(source: AsyncIterable<Buffer>, claim: Claim): Promise<StoredFile> {
    if (this.#incoming >= MAX_UPLOADS) {
      throw new FileRefusal('too_many_uploads', `${MAX_UPLOADS} files are on their way in; try again in a minute`);
    }
    const path = join(this.#parts.dir, 'incoming', randomUUID());
    this.#incoming++;
    try {
      const { hash, size } = await this.#write(source, path, claim);
      return await this.keep(path, { ...claim, hash, size });
    } finally {
      this.#incoming--;
      rmSync(path, { force: true });
    }
  }

  /** Puts a whole file of known hash on the shelf. @throws FileRefusal */
  async keep(path: string, claim: Claim & { readonly hash: string; readonly size: number }): Promise<StoredFile> {
    const { hash, size } = claim;
    const name = cleanFileName(claim.name);
    const file = await open(path, 'r');
    let mime: string;
    try {
      mime = await kindOf(file, name, size);
      await file.datasync();
    } finally {
      await file.close();
    }
    const before = this.#files.get(hash);
    // The same bytes under another name stay what they are: nobody renames what somebody else has sent.
    if (before) return this.#update({ ...before, addedMs: this.#parts.clock.wallMs() });
    this.#makeRoom(size, claim.uploader);
    renameSync(path, this.pathOf(hash));
    return this.#update({
      ...{ hash, name, size, mime, addedMs: this.#parts.clock.wallMs(), isPublic: false },
      uploader: cut(claim.uploader),
      creatorUid: cut(claim.creatorUid),
      keywords: claim.keywords.slice(0, 8).map(cut),
    });
  }

  setPublic(hash: string, isPublic: boolean): boolean {
    const file = this.#files.get(hash);
    if (file) this.#update({ ...file, isPublic });
    return file !== undefined;
  }

  setNetwork(hash: string, network: string): void {
    const file = this.#files.get(hash);
    if (file && file.network === undefined) this.#update({ ...file, network });
  }

  remove(hash: string): void {
    this.#files.delete(hash);
    rmSync(this.pathOf(hash), { force: true });
    rmSync(`${this.pathOf(hash)}.json`, { force: true });
  }

  /** What is too old goes. */
  sweep(): void {
    const { clock, limits } = this.#parts;
    for (const { hash, addedMs } of this.#files.values()) {
      if (clock.wallMs() - addedMs > limits.ageMs) this.remove(hash);
    }
  }

  /** @throws FileRefusal `file_too_large`, `disk_full` */
  checkRoom(size: number): void {
    const { fileBytes } = this.#parts.limits;
    if (size > fileBytes) throw new FileRefusal('file_too_large', `a file may have ${fileBytes} bytes here`);
    if (this.#free() - this.#arriving < RESERVE_BYTES + size) {
      throw new FileRefusal('disk_full', 'the disk of this box is full');
    }
  }

  async #write(source: AsyncIterable<Buffer>, path: string, claim: Claim) {
    if (claim.size !== undefined) this.checkRoom(claim.size);
    const file = await open(path, 'wx', 0o600);
    const hash = createHash('sha256');
    let size = 0;
    let checked = 0;
    try {
      for await (const chunk of source) {
        size += chunk.length;
        this.#arriving += chunk.length;
        if (size > this.#parts.limits.fileBytes || size >= checked) {
          this.checkRoom(size);
          checked = size + CHECK_BYTES;
        }
        hash.update(chunk);
        await writeAll(file, chunk);
      }
    } finally {
      this.#arriving -= size;
      await file.close();
    }
    return this.#asClaimed(hash.digest('hex'), size, claim);
  }

  #asClaimed(hash: string, size: number, claim: Claim) {
    if (size === 0) throw new FileRefusal('empty', 'there is no byte in it');
    if (claim.size !== undefined && claim.size !== size) {
      throw new FileRefusal('size_wrong', `it was said to have ${claim.size} bytes and has ${size}`);
    }
    if (claim.hash !== undefined && claim.hash !== hash) {
      throw new FileRefusal('hash_wrong', 'its SHA-256 is not the one that was said');
    }
    return { hash, size };
  }

  /** The oldest go: first those of an uploader who would hold more than his share, then anybody's. @throws FileRefusal */
  #makeRoom(size: number, uploader: string): void {
    const { bytes } = this.#parts.limits;
    if (size > bytes) throw new FileRefusal('quota_full', `all files together may have ${bytes} bytes here`);
    const oldest = (which: (file: StoredFile) => boolean) => this.list().filter(which).at(-1);
    const his = (file: StoredFile) => file.uploader === cut(uploader);
    const held = () => this.list().reduce((sum, file) => sum + (his(file) ? file.size : 0), 0);
    while (held() > 0 && held() + size > bytes / SHARE) this.remove(oldest(his)!.hash);
    while (this.bytes + size > bytes || this.#files.size >= MAX_FILES) this.remove(oldest(() => true)!.hash);
  }

  #free(): number {
    const { free, dir } = this.#parts;
    if (free) return free();
    const { bavail, bsize } = statfsSync(dir);
    return bavail * bsize;
  }

  #update(file: StoredFile): StoredFile {
    const path = `${this.pathOf(file.hash)}.json`;
    writeFileSync(`${path}.new`, JSON.stringify(file), { mode: 0o600 });
    renameSync(`${path}.new`, path);
    this.#files.set(file.hash, file);
    return file;
  }

  #read(hash: string): boolean {
    if (!isHash(hash)) return false;
    try {
      const file = JSON.parse(readFileSync(`${this.pathOf(hash)}.json`, 'utf8')) as StoredFile;
      if (file.hash !== hash || statSync(this.pathOf(hash)).size !== file.size) return false;
      this.#files.set(hash, file);
      return true;
    } catch {
      return false; // one of the two is missing or broken: the caller removes the other
    }
  }
}

export function isHash(text: string): boolean {
  return /^[0-9a-f]{64}$/.test(text);
}

export async function writeAll(file: FileHandle, bytes: Buffer, position: number | null = null): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, at, bytes.length - at, position === null ? null : position + at);
    at += bytesWritten;
  }
}

function cut(text: string): string {
  return text.replace(/\p{C}/gu, '').slice(0, MAX_TEXT);
}
