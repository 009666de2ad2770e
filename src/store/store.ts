// What the relay remembers across restarts. Memory is the truth while it runs: reads never touch the file, writes are
// collected and committed once a second in one transaction. A file that cannot be used costs memory, not service.
import type { Warning } from '../core/status.ts';
import { sleep } from '../lib/abort.ts';
import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import { type PeerSighting, type SeenPeer, STORE_STEPS, StoreFile } from './file.ts';
import { openOrReplace, wordsOf } from './sqlite.ts';

export const COMMIT_EVERY_MS = 1_000;
/** Peers remembered; beyond it the one not seen for longest is forgotten. */
export const MAX_PEERS = 10_000;
/** Longest text kept of what a peer says about itself, characters. */
export const MAX_TEXT = 256;

export interface StoreOptions {
  /** Made, with its folder, when it is not there. */
  readonly path: string;
  readonly log: Log;
  readonly clock: Clock;
  /** Schema steps; tests give their own. */
  readonly steps?: readonly string[];
}

/** Opens the store. Never throws: what cannot be used is told in `warnings`, and the store then works from memory. */
export function openStore(options: StoreOptions): Store {
  const store = new Store(options);
  store.open();
  return store;
}

export class Store {
  readonly #options: StoreOptions;
  /** Undefined: memory only. */
  #file: StoreFile | undefined;
  readonly #warnings = new Map<string, Warning>();
  /** Least recently seen first. */
  readonly #peers = new Map<string, SeenPeer>();
  readonly #meta = new Map<string, string>();
  /** Keys whose rows differ from memory. */
  readonly #changedPeers = new Set<string>();
  readonly #changedMeta = new Set<string>();

  constructor(options: StoreOptions) {
    this.#options = options;
  }

  /** What keeps the store from its work, for the page. */
  get warnings(): readonly Warning[] {
    return [...this.#warnings.values()];
  }

  /** Notes that a peer is there now. Touches no file. */
  touchPeer(sighting: PeerSighting): void {
    const { key, link, kind } = sighting;
    const lastSeenMs = Math.round(this.#options.clock.wallMs());
    const firstSeenMs = this.#peers.get(key)?.firstSeenMs ?? lastSeenMs;
    const name = sighting.name.slice(0, MAX_TEXT);
    const address = sighting.address.slice(0, MAX_TEXT);
    this.#peers.delete(key); // to the end of the order
    this.#peers.set(key, { key, link, name, kind, address, firstSeenMs, lastSeenMs });
    this.#changedPeers.add(key);
    this.#forgetOldest();
  }

  /** Every peer remembered, the last seen first. */
  peers(): readonly SeenPeer[] {
    return [...this.#peers.values()].reverse();
  }

  get(key: string): string | undefined {
    return this.#meta.get(key);
  }

  /** Keeps a small value; undefined takes it away. Touches no file. */
  set(key: string, value: string | undefined): void {
    if (value === undefined) this.#meta.delete(key);
    else this.#meta.set(key, value);
    this.#changedMeta.add(key);
  }

  /** Commits once a second until told to stop, then once more. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await sleep(COMMIT_EVERY_MS, signal);
      this.flush();
    }
  }

  /** Commits what was collected. What cannot be written stays collected, for the next flush. Never throws. */
  flush(): void {
    if (!this.#file || this.#changedPeers.size + this.#changedMeta.size === 0) return;
    try {
      this.#file.write({
        peers: new Map([...this.#changedPeers].map((key) => [key, this.#peers.get(key)])),
        meta: new Map([...this.#changedMeta].map((key) => [key, this.#meta.get(key)])),
      });
      this.#changedPeers.clear();
      this.#changedMeta.clear();
      this.#warnings.delete('store_not_written');
    } catch (error) {
      const fix = 'see whether the disk is full, broken or read-only; nothing is lost as long as the relay runs';
      this.#warn('store_not_written', `state is not being saved: ${wordsOf(error)}`, fix);
    }
  }

  /** Commits and closes the file. The store then works from memory. */
  close(): void {
    this.flush();
    this.#file?.close();
    this.#file = undefined;
  }

  /** Called once, by openStore(). */
  open(): void {
    const { path, clock } = this.#options;
    try {
      const { file, aside } = openOrReplace(path, clock.wallMs(), () => this.#openAndRead());
      this.#file = file;
      if (aside) {
        const fix = 'if this happens again, the disk or SD card is failing: replace it';
        this.#warn('store_corrupt', `remembered state could not be read; it was moved to ${aside}`, fix);
      }
    } catch (error) {
      const fix = 'let the relay write to its data folder; until then what it remembers is lost at every restart';
      this.#warn('store_in_memory', `${path} cannot be used: ${wordsOf(error)}`, fix);
    }
  }

  #openAndRead(): StoreFile {
    const file = new StoreFile(this.#options.path, this.#options.steps ?? STORE_STEPS);
    try {
      const [peers, meta] = [file.loadPeers(), file.loadMeta()];
      for (const peer of peers) this.#peers.set(peer.key, peer);
      for (const [key, value] of meta) this.#meta.set(key, value);
      this.#forgetOldest();
      return file;
    } catch (error) {
      file.close();
      throw error;
    }
  }

  /** Rows of the forgotten go with the next commit; those too many to note, when the file is next read. */
  #forgetOldest(): void {
    for (const key of this.#peers.keys()) {
      if (this.#peers.size <= MAX_PEERS) return;
      this.#peers.delete(key);
      if (this.#changedPeers.size < 2 * MAX_PEERS) this.#changedPeers.add(key);
      else this.#changedPeers.delete(key);
    }
  }

  #warn(code: string, words: string, fix: string): void {
    if (!this.#warnings.has(code)) this.#options.log.warn({ code, reason: words, fix }, 'store warning');
    this.#warnings.set(code, { code, words, fix });
  }
}
