// A release as one file: signed manifest, then the files it lists, one after the other. The signature is checked before anything else is
// believed; every file is held against the manifest's length and SHA-256 while it passes.
//
//   waystation-update 1 LF  base64 of the Ed25519 signature of the manifest's bytes LF  manifest (JSON on one line) LF  files
import { createHash, type KeyObject, sign, verify } from 'node:crypto';
import { FatalError } from '../lib/errors.ts';

const MAGIC = 'waystation-update 1';
const MAX_HEADER_BYTES = 64 * 1024;
const MAX_FILES = 64;
/** A boot file, such as kernel or initramfs; the root has its slot's size. */
const MAX_BOOT_FILE_BYTES = 64 * 1024 * 1024;

export interface BundleFile {
  /** `root`, or `boot/NAME`. */
  readonly name: string;
  readonly bytes: number;
  /** Hex. */
  readonly sha256: string;
}

export interface Manifest {
  readonly version: string;
  readonly board: string;
  readonly files: readonly BundleFile[];
}

const NEW_ONE = 'get the file again from whoever releases Waystation for you';
const damaged = (words: string) => new FatalError('update_damaged', `the update ${words}`, NEW_ONE);

export function encodeHeader(manifest: Manifest, key: KeyObject): Buffer {
  const json = JSON.stringify(manifest);
  return Buffer.from(`${MAGIC}\n${sign(null, Buffer.from(json), key).toString('base64')}\n${json}\n`);
}

/** A source of bytes of which exact amounts can be taken. */
export class Intake {
  readonly #source: AsyncIterator<Uint8Array>;
  #rest: Buffer = Buffer.alloc(0);

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  /** The next piece of at most `max` bytes; undefined at the end. */
  async take(max: number): Promise<Buffer | undefined> {
    while (this.#rest.length === 0) {
      const { value, done } = await this.#source.next();
      if (done) return undefined;
      this.#rest = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
    }
    const piece = this.#rest.subarray(0, max);
    this.#rest = this.#rest.subarray(piece.length);
    return piece;
  }

  /** A line without its end. Throws FatalError when it is longer than `max`. */
  async line(max: number): Promise<Buffer> {
    const pieces: Buffer[] = [];
    let length = 0;
    for (;;) {
      const piece = await this.take(4096);
      if (!piece) throw damaged('ends in its head');
      const end = piece.indexOf(0x0a);
      pieces.push(end < 0 ? piece : piece.subarray(0, end));
      length += pieces.at(-1)!.length;
      if (length > max) throw damaged('is no Waystation update');
      if (end < 0) continue;
      this.#rest = Buffer.concat([piece.subarray(end + 1), this.#rest]);
      return Buffer.concat(pieces);
    }
  }
}

/** Reads and checks the head. Throws FatalError: no update, not signed by `key`, or signed but not to be used. */
export async function readHeader(
  intake: Intake,
  key: KeyObject,
  limits: { readonly rootBytes: number },
): Promise<Manifest> {
  if ((await intake.line(MAGIC.length)).toString('latin1') !== MAGIC) throw damaged('is no Waystation update');
  const signature = Buffer.from((await intake.line(200)).toString('latin1'), 'base64');
  const json = await intake.line(MAX_HEADER_BYTES);
  if (!verify(null, json, key, signature))
    throw new FatalError(
      'update_unsigned',
      'the update is not signed by the key this box trusts',
      'nothing was changed; get the update from whoever made this image',
    );
  return checkManifest(JSON.parse(json.toString()), limits);
}

/** It is signed, and still: a release tool can have faults. */
function checkManifest(value: unknown, { rootBytes }: { readonly rootBytes: number }): Manifest {
  const { version, board, files } = value as Manifest;
  const good =
    typeof version === 'string' &&
    typeof board === 'string' &&
    Array.isArray(files) &&
    files.length <= MAX_FILES &&
    files.filter(({ name }) => name === 'root').length === 1 &&
    new Set(files.map(({ name }) => name.toLowerCase())).size === files.length &&
    files.every(
      ({ name, bytes, sha256 }) =>
        /^(?:root|boot\/[A-Za-z0-9][A-Za-z0-9._-]{0,63})$/.test(name) &&
        Number.isSafeInteger(bytes) &&
        bytes >= 0 &&
        bytes <= (name === 'root' ? rootBytes : MAX_BOOT_FILE_BYTES) &&
        /^[0-9a-f]{64}$/.test(sha256),
    );
  if (!good) throw damaged('lists files that do not fit this box');
  return { version, board, files };
}

/** Passes one file's bytes to `write`, in order. Throws FatalError when they are not those of the manifest. */
export async function passFile(intake: Intake, file: BundleFile, write: (piece: Buffer) => void): Promise<void> {
  const hash = createHash('sha256');
  let left = file.bytes;
  while (left > 0) {
    const piece = await intake.take(Math.min(left, 1024 * 1024));
    if (!piece) throw damaged(`is cut short: ${left} bytes of ${file.name} are missing`);
    hash.update(piece);
    write(piece);
    left -= piece.length;
  }
  if (hash.digest('hex') !== file.sha256) throw damaged(`is damaged: ${file.name} is not what was signed`);
}

export async function expectEnd(intake: Intake): Promise<void> {
  if (await intake.take(1)) throw damaged('has more bytes than it should');
}
