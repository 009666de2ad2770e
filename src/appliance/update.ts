// An update, step by step: the other slot is written and read back, then booted once. Until the very last sector of that the box starts
// what it started before; after it, the trial has to prove itself (judge.ts) or the old release returns by itself.
import { createHash, type KeyObject } from 'node:crypto';
import { closeSync, fsyncSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { FatalError } from '../lib/errors.ts';
import { type BundleFile, expectEnd, Intake, type Manifest, passFile, readHeader } from './bundle.ts';
import { syncFolder, writeAll } from './files.ts';
import type { Linked } from './judge.ts';
import { type Boot, other, piecesOf, rootDevice, type Slot, trialSector, writeSector } from './slots.ts';
import { saveUpdate } from './update-record.ts';

/** What a release has to fit. */
export interface Taker {
  readonly boot: Boot;
  /** What this image is: board and size of a slot. */
  readonly board: string;
  readonly slotBytes: number;
  /** Who may sign releases; undefined: nobody. */
  readonly key: KeyObject | undefined;
}

export interface UpdateSystem extends Taker {
  readonly version: string;
  /** The boot partition, mounted for writing. */
  readonly card: string;
  /** The data partition's folder for the record of updates. */
  readonly records: string;
  /** Lets go of all that is in memory of the device and of the card, so that reading back asks the card itself. */
  dropCaches(device: string): void;
  /** The links that work now. */
  linked(): Promise<readonly Linked[]>;
  /** ISO time. */
  now(): string;
  say(words: string): void;
}

/** The head of a release that this box would take. Throws FatalError when it would not. */
export async function acceptHead(intake: Intake, { key, boot, board, slotBytes }: Taker): Promise<Manifest> {
  if (!key)
    throw new FatalError(
      'update_no_key',
      'this image trusts no release key',
      'make it with --release-key (image/README.md)',
    );
  if (boot.trial)
    throw new FatalError('update_busy', 'a release is on trial right now', 'wait until it has proved itself');
  const manifest = await readHeader(intake, key, { rootBytes: slotBytes });
  if (manifest.board !== board)
    throw new FatalError(
      'update_board',
      `the update is for ${manifest.board}, this box is a ${board}`,
      'get the update for this board',
    );
  return manifest;
}

/** Writes the release to the other slot and arms the trial; the caller starts over. Throws FatalError: then nothing has changed that matters. */
export async function update(source: AsyncIterable<Uint8Array>, system: UpdateSystem): Promise<Manifest> {
  const { boot, say } = system;
  const slot = other(boot.slot);
  const intake = new Intake(source);
  const manifest = await acceptHead(intake, system);
  const linked = await system.linked();
  const record = { from: boot.slot, to: slot, fromVersion: system.version, version: manifest.version, linked };
  say(`writing ${manifest.version} to slot ${slot}; ${linked.length} links have to work again afterwards`);
  saveUpdate(system.records, { ...record, state: 'writing', at: system.now() });
  await writeSlot(intake, manifest, slot, system);
  await expectEnd(intake);
  say('reading it back');
  verifySlot(manifest, slot, system);
  saveUpdate(system.records, { ...record, state: 'trial', at: system.now() });
  writeSector(
    join(system.card, 'config.txt'),
    trialSector(readFileSync(join(system.card, slot, 'config.txt')), boot.slot),
  );
  syncFolder(system.card);
  say(`slot ${slot} is tried at the next start`);
  return manifest;
}

/** `boot/config-b.txt` and `boot/cmdline-b.txt` are for slot b alone, and lose the letter there. Undefined: not for this slot. */
function nameInSlot({ name }: BundleFile, slot: Slot): string | undefined {
  const match = /^boot\/(.+?)(?:-([ab])(\.txt))?$/.exec(name);
  if (!match) return undefined;
  if (!match[2]) return match[1];
  return match[2] === slot ? `${match[1]}${match[3]}` : undefined;
}

async function writeSlot(intake: Intake, manifest: Manifest, slot: Slot, system: UpdateSystem): Promise<void> {
  const folder = join(system.card, slot);
  mkdirSync(folder, { recursive: true });
  // What the slot held is of no use once its root changes, and the space may be needed.
  for (const file of readdirSync(folder)) rmSync(join(folder, file), { recursive: true });
  syncFolder(folder);
  for (const file of manifest.files) {
    if (file.name === 'root') {
      await writeTo(rootDevice(system.boot, slot), 'r+', intake, file);
      continue;
    }
    const name = nameInSlot(file, slot);
    if (name === undefined) {
      await passFile(intake, file, () => {});
      continue;
    }
    // Under its own name at once: on FAT what a rename brings has no length until its inode is written, and syncing the folder does not do that.
    await writeTo(join(folder, name), 'w', intake, file);
  }
  syncFolder(folder);
}

async function writeTo(path: string, flags: 'r+' | 'w', intake: Intake, file: BundleFile): Promise<void> {
  const handle = openSync(path, flags);
  try {
    let at = 0;
    await passFile(intake, file, (piece) => {
      writeAll(handle, piece, at);
      at += piece.length;
    });
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}

/** Cards lie: what was written is read again, from the card and not from memory. */
function verifySlot(manifest: Manifest, slot: Slot, system: UpdateSystem): void {
  const device = rootDevice(system.boot, slot);
  system.dropCaches(device);
  for (const file of manifest.files) {
    const name = nameInSlot(file, slot);
    const path = file.name === 'root' ? device : name === undefined ? undefined : join(system.card, slot, name);
    if (path === undefined) continue;
    const hash = createHash('sha256');
    for (const piece of piecesOf(path, file.bytes)) hash.update(piece);
    if (hash.digest('hex') !== file.sha256)
      throw new FatalError(
        'card_broken',
        `the card does not keep what is written to it (${file.name})`,
        'replace the card',
      );
  }
}
