// Looks into a zip without unpacking it: are its names safe to unpack, is it what it says, would it burst whoever unpacks it?
// Phones unpack what they are sent without being asked (mission packages), so what is not safe is not taken in.
import type { FileHandle } from 'node:fs/promises';
import { FileRefusal } from './refusal.ts';

export const MAX_ZIP_ENTRIES = 4_096;
export const MAX_ZIP_DIRECTORY_BYTES = 2 << 20;
/** All entries unpacked. */
export const MAX_UNPACKED_BYTES = 2 * 2 ** 30;
/** Unpacked size to packed, beyond the first SMALL_BYTES: deflate makes at most 1032 of one. */
export const MAX_RATIO = 200;
const SMALL_BYTES = 10 << 20;
const MAX_NAME_BYTES = 512;

const END = 0x06054b50;
const ENTRY = 0x02014b50;
const LOCAL = 0x04034b50;
const END_BYTES = 22;
const ENTRY_BYTES = 46;
const LOCAL_BYTES = 30;
/** Stands for "see the Zip64 record"; no file here is so large. */
const ZIP64 = 0xffffffff;
const STORED = 0;
const DEFLATED = 8;
const SYMLINK = 0o120000;
const FILE_TYPE = 0o170000;

export interface ZipEntry {
  readonly name: string;
  readonly packed: number;
  readonly unpacked: number;
  /** Where its local header stands. */
  readonly at: number;
}

/** What a zip holds. @throws FileRefusal `zip_unsafe`, `type_wrong` when it is none */
export async function listZip(file: FileHandle, size: number): Promise<readonly ZipEntry[]> {
  const { count, bytes, at } = await findDirectory(file, size);
  if (count > MAX_ZIP_ENTRIES) throw unsafe(`it has ${count} entries, ${MAX_ZIP_ENTRIES} at most`);
  if (bytes > MAX_ZIP_DIRECTORY_BYTES) throw unsafe(`its list of entries takes ${bytes} bytes`);
  if (at + bytes > size) throw unsafe('its list of entries lies beyond its end');
  const directory = await read(file, at, bytes);
  const entries: ZipEntry[] = [];
  let from = 0;
  for (let index = 0; index < count; index++) {
    const { entry, next } = entryAt(directory, from);
    entries.push(entry);
    from = next;
  }
  await checkWhole(file, entries, at);
  return entries;
}

async function findDirectory(file: FileHandle, size: number) {
  const tail = await read(file, Math.max(0, size - END_BYTES - 0xffff), Math.min(size, END_BYTES + 0xffff));
  for (let from = tail.length - END_BYTES; from >= 0; from--) {
    if (tail.readUInt32LE(from) !== END || from + END_BYTES + tail.readUInt16LE(from + 20) !== tail.length) continue;
    const [disk, count] = [tail.readUInt16LE(from + 4), tail.readUInt16LE(from + 10)];
    const [bytes, at] = [tail.readUInt32LE(from + 12), tail.readUInt32LE(from + 16)];
    if (disk !== 0 || count === 0xffff || bytes === ZIP64 || at === ZIP64) throw unsafe('it is split, or of Zip64');
    return { count, bytes, at };
  }
  throw new FileRefusal('type_wrong', 'it is called a zip and is none: it has no list of entries');
}

function entryAt(directory: Buffer, from: number): { readonly entry: ZipEntry; readonly next: number } {
  if (from + ENTRY_BYTES > directory.length || directory.readUInt32LE(from) !== ENTRY) {
    throw unsafe('its list of entries is broken');
  }
  const [flags, method] = [directory.readUInt16LE(from + 8), directory.readUInt16LE(from + 10)];
  const [packed, unpacked] = [directory.readUInt32LE(from + 20), directory.readUInt32LE(from + 24)];
  const [nameBytes, extra, comment] = [28, 30, 32].map((offset) => directory.readUInt16LE(from + offset)) as [
    number,
    number,
    number,
  ];
  const mode = directory.readUInt32LE(from + 38) >>> 16;
  const at = directory.readUInt32LE(from + 42);
  const next = from + ENTRY_BYTES + nameBytes + extra + comment;
  if (next > directory.length) throw unsafe('its list of entries is broken');
  if (nameBytes > MAX_NAME_BYTES) throw unsafe('one of its names is too long');
  const name = directory.toString('utf8', from + ENTRY_BYTES, from + ENTRY_BYTES + nameBytes);
  if (flags & 1) throw unsafe(`${quoted(name)} in it is encrypted`);
  if (method !== STORED && method !== DEFLATED)
    throw unsafe(`${quoted(name)} in it is packed in a way phones cannot read`);
  if (packed === ZIP64 || unpacked === ZIP64 || at === ZIP64) throw unsafe('it is of Zip64');
  if ((mode & FILE_TYPE) === SYMLINK) throw unsafe(`${quoted(name)} in it is a link`);
  if (!isSafeName(name)) throw unsafe(`${quoted(name)} in it would be unpacked elsewhere`);
  return { entry: { name, packed, unpacked, at }, next };
}

/** Relative, no step up, nothing that another system takes for a separator or a drive. */
export function isSafeName(name: string): boolean {
  if (name === '' || name.startsWith('/') || /[\\\p{Cc}\uFFFD:]/u.test(name)) return false;
  return !name.split('/').some((part) => part === '..' || part === '.');
}

/** Entries may not share bytes (that is how small bombs become large), and must stand where the list says, by that name. */
async function checkWhole(file: FileHandle, entries: readonly ZipEntry[], end: number): Promise<void> {
  const names = new Set(entries.map(({ name }) => name.toLowerCase()));
  if (names.size !== entries.length) throw unsafe('two of its entries have one name');
  const unpacked = entries.reduce((sum, entry) => sum + entry.unpacked, 0);
  const packed = entries.reduce((sum, entry) => sum + entry.packed, 0);
  if (unpacked > MAX_UNPACKED_BYTES || unpacked > SMALL_BYTES + packed * MAX_RATIO) {
    throw unsafe(`its ${packed} bytes would become ${unpacked}`);
  }
  let free = 0;
  for (const { name, at, packed } of [...entries].sort((a, b) => a.at - b.at)) {
    if (at < free || at + LOCAL_BYTES + packed > end) throw unsafe('its entries overlap');
    const head = await read(file, at, LOCAL_BYTES);
    const [nameBytes, extra] = [head.readUInt16LE(26), head.readUInt16LE(28)];
    if (head.readUInt32LE(0) !== LOCAL || nameBytes > MAX_NAME_BYTES) throw unsafe('its entries are not where it says');
    const said = (await read(file, at + LOCAL_BYTES, nameBytes)).toString('utf8');
    if (said !== name) throw unsafe(`${quoted(name)} in it is called ${quoted(said)} in another place`);
    free = at + LOCAL_BYTES + nameBytes + extra + packed;
    if (free > end) throw unsafe('its entries overlap');
  }
}

async function read(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const bytes = Buffer.alloc(length);
  const { bytesRead } = await file.read(bytes, 0, length, position);
  if (bytesRead < length) throw unsafe('it ends too soon');
  return bytes;
}

function quoted(name: string): string {
  return JSON.stringify(name.slice(0, 80));
}

function unsafe(words: string): FileRefusal {
  return new FileRefusal('zip_unsafe', `the zip is not safe to unpack: ${words}`);
}
