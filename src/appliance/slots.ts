// The two slots and the one sector that chooses between them. config.txt is exactly 512 bytes for ever, so that changing it is a single
// write in place, which a power cut lets happen or not happen. A trial is a line in it that image/initramfs/init takes back at once.
import { closeSync, fsyncSync, openSync, readFileSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { FatalError } from '../lib/errors.ts';
import { readIfThere, writeAll } from './files.ts';

export type Slot = 'a' | 'b';

export interface Boot {
  /** The slot that runs. */
  readonly slot: Slot;
  /** The slot that config.txt was set back to: this boot is a trial. */
  readonly trial: Slot | undefined;
  /** Device prefix: `${partitions}2` is the root of slot a. */
  readonly partitions: string;
}

export const SECTOR_BYTES = 512;

/** What the initramfs found; undefined: this is no box started from the image. */
export function readBoot(folder: string): Boot | undefined {
  const read = (name: string) => readIfThere(join(folder, name))?.toString().trim();
  const slot = read('slot');
  const partitions = read('partitions');
  if ((slot !== 'a' && slot !== 'b') || !partitions) return undefined;
  const trial = read('trial');
  return { slot, partitions, trial: trial === 'a' || trial === 'b' ? trial : undefined };
}

export function other(slot: Slot): Slot {
  return slot === 'a' ? 'b' : 'a';
}

/** The root of a slot. */
export function rootDevice({ partitions }: Boot, slot: Slot): string {
  return `${partitions}${slot === 'a' ? 2 : 3}`;
}

/** A slot's config.txt with the line that makes the next boot a trial. Throws FatalError when there is no room for it. */
export function trialSector(plain: Buffer, back: Slot): Buffer {
  const text = `${plain.toString('latin1').trimEnd()}\n# trial, then back to ${back}\n`;
  if (plain.length !== SECTOR_BYTES || text.length > SECTOR_BYTES)
    throw new FatalError(
      'update_damaged',
      'the release has a config.txt that does not fit a sector',
      'get another release',
    );
  return Buffer.from(text.padEnd(SECTOR_BYTES, '\n'), 'latin1');
}

/** Overwrites config.txt in place. It must be there, and of one sector. */
export function writeSector(path: string, sector: Buffer): void {
  if (sector.length !== SECTOR_BYTES || readFileSync(path).length !== SECTOR_BYTES)
    throw new FatalError(
      'card_changed',
      `${path} is not as this box made it`,
      'somebody edited it; flash the card again, or set it back to 512 bytes',
    );
  const handle = openSync(path, 'r+');
  try {
    writeAll(handle, sector, 0);
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}

/** Reads `bytes` from the start of a file or device, in pieces. */
export function* piecesOf(path: string, bytes: number): Generator<Buffer> {
  const handle = openSync(path, 'r');
  try {
    for (let at = 0; at < bytes; ) {
      const piece = Buffer.alloc(Math.min(1024 * 1024, bytes - at));
      const count = readSync(handle, piece, 0, piece.length, at);
      if (count === 0) return;
      at += count;
      yield piece.subarray(0, count);
    }
  } finally {
    closeSync(handle);
  }
}
