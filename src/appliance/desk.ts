// What the running relay may ask of its box: to take a release, to forget everything. The relay has no right to do either: it lays down what
// is asked for in its own data folder, and units of the image, which run as root, find it there (overlays/image: waystation-update.path,
// waystation-forget.path) and check again.
import { closeSync, mkdirSync, openSync, rmSync, statfsSync } from 'node:fs';
import { type FileHandle, open, rename } from 'node:fs/promises';
import { join } from 'node:path';
import type { ApplianceStatus } from '../core/appliance.ts';
import { FatalError, LinkError } from '../lib/errors.ts';
import { expectEnd, Intake, type Manifest, passFile } from './bundle.ts';
import { clockWords } from './clock.ts';
import { download } from './download.ts';
import { readIfThere, syncFolder } from './files.ts';
import { readBoot } from './slots.ts';
import { acceptHead, type Taker } from './update.ts';
import { loadUpdate, updateWords } from './update-record.ts';

export interface DeskPlaces {
  /** What the initramfs found: BOX.boot. */
  readonly boot: string;
  /** What came of updates. */
  readonly records: string;
  /** The relay's own data folder. */
  readonly data: string;
  /** Where the box's name stands: BOX.run. */
  readonly run: string;
}

export type DeskFacts = Omit<Taker, 'boot'> & { readonly version: string };

export type Forgetting = 'factory-reset' | 'zeroize';

/** Stays free on the data partition. */
const SPARE_BYTES = 32 * 1024 * 1024;
const BUSY = new FatalError('update_busy', 'a release is being taken in right now', 'wait until it is done');

export class ApplianceDesk {
  readonly #places: DeskPlaces;
  readonly #facts: DeskFacts;
  /** What is under way, in words. */
  #busy: string | undefined;
  /** Why the last download came to nothing. */
  #trouble: string | undefined;

  constructor(places: DeskPlaces, facts: DeskFacts) {
    this.#places = places;
    this.#facts = facts;
  }

  status(): ApplianceStatus {
    const { boot, records, run } = this.#places;
    const found = readBoot(boot);
    return {
      name: readIfThere(join(run, 'hostname'))?.toString().trim() ?? '',
      release: this.#facts.version,
      slot: found?.slot ?? '',
      trial: found?.trial !== undefined,
      clock: clockWords(readIfThere(join(boot, 'clock'))?.toString()),
      update: this.#busy ?? this.#trouble ?? updateWords(loadUpdate(records)) ?? '',
    };
  }

  /**
   * Takes a signed release to be tried: it is whole and checked when this resolves; then the box writes it and starts over by itself.
   * Rejects with FatalError when it is not one for this box, and with what the source rejects with.
   */
  async take(source: AsyncIterable<Uint8Array>): Promise<Manifest> {
    if (this.#busy) throw BUSY;
    this.#trouble = undefined;
    this.#busy = 'A release is being taken in.';
    const folder = join(this.#places.data, 'update');
    const part = join(folder, 'incoming.part');
    try {
      mkdirSync(folder, { recursive: true, mode: 0o700 });
      const handle = await open(part, 'w', 0o600);
      try {
        const manifest = await this.#check(new Intake(kept(source, handle)));
        await handle.sync();
        await rename(part, join(folder, 'incoming.update'));
        syncFolder(folder);
        return manifest;
      } finally {
        await handle.close();
      }
    } finally {
      rmSync(part, { force: true });
      this.#busy = undefined;
    }
  }

  async #check(intake: Intake): Promise<Manifest> {
    const boot = readBoot(this.#places.boot)!;
    const manifest = await acceptHead(intake, { ...this.#facts, boot });
    const bytes = manifest.files.reduce((sum, file) => sum + file.bytes, 0);
    const { bavail, bsize } = statfsSync(this.#places.data);
    if (bavail * bsize < bytes + SPARE_BYTES)
      throw new FatalError(
        'no_room',
        `the release has ${Math.ceil(bytes / 1e6)} MB, and the data partition has no room for it`,
        'remove files of phones, or update with "waystation update URL", which keeps no copy',
      );
    for (const file of manifest.files) await passFile(intake, file, () => {});
    await expectEnd(intake);
    return manifest;
  }

  /** Begins to download a release; `status().update` says how it goes. Throws FatalError when one is being taken in already. */
  fetch(url: string, signal: AbortSignal): void {
    if (this.#busy) throw BUSY;
    this.#trouble = undefined;
    this.#busy = `A release is being asked for at ${url}.`;
    download(url, signal)
      .finally(() => {
        this.#busy = undefined;
      })
      .then((source) => this.take(source))
      .catch((error: unknown) => {
        const known = error instanceof FatalError || error instanceof LinkError;
        const words = error instanceof Error ? error.message : String(error);
        this.#trouble = `No update: ${words}${known ? `; ${error.fix}` : ''}.`;
      });
  }

  /** The box forgets everything and starts over, in a moment. `zeroize`: keys are overwritten first. */
  forget(how: Forgetting): void {
    const folder = join(this.#places.data, 'orders');
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    closeSync(openSync(join(folder, how), 'w', 0o600));
    syncFolder(folder);
  }
}

/** The same pieces, each on disk before it is handed on. */
async function* kept(source: AsyncIterable<Uint8Array>, handle: FileHandle): AsyncGenerator<Uint8Array> {
  for await (const piece of source) {
    for (let at = 0; at < piece.length; ) at += (await handle.write(piece, at)).bytesWritten;
    yield piece;
  }
}
