// The folder that holds the keys. A file is there whole or not at all: written beside its place, synced, renamed. When
// the folder cannot be written (read-only card, full disk) the relay lives on from memory and tries again later.
import {
  chmodSync,
  closeSync,
  existsSync,
  fchmodSync,
  fstatSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { FatalError } from '../lib/errors.ts';

/** Words for the page: what is wrong and what to do about it. */
export interface Notice {
  readonly code: string;
  readonly words: string;
  readonly fix: string;
}

/** Our own files are a few kilobytes. */
const MAX_FILE_BYTES = 64 * 1024;
const GROUP_AND_OTHERS = 0o077;

interface Waiting {
  readonly text: string;
  readonly mode: 'create' | 'replace';
}

export class SecretFolder {
  readonly #path: string;
  /** Not on the disk yet, oldest first: a leaf never gets there before the authority that signed it. */
  readonly #waiting = new Map<string, Waiting>();
  readonly #loose = new Map<string, Notice>();
  #whyWaiting = '';

  constructor(path: string) {
    this.#path = path;
  }

  get warnings(): readonly Notice[] {
    if (this.#waiting.size === 0) return [...this.#loose.values()];
    const unsaved: Notice = {
      code: 'identity_not_saved',
      words: `keys and certificates of this box are in memory only, because ${this.#path} cannot be written: ${this.#whyWaiting}`,
      fix: 'Make the data folder writable and free some space. Until then a restart changes the certificates of this box, and peers may refuse it.',
    };
    return [unsaved, ...this.#loose.values()];
  }

  /** Where the file is, for words. */
  path(name: string): string {
    return join(this.#path, name);
  }

  /** The file's text; undefined when there is none. Throws FatalError when it is there but cannot be read. */
  read(name: string, maxBytes = MAX_FILE_BYTES): string | undefined {
    const path = this.path(name);
    try {
      return this.#readOwn(path, maxBytes);
    } catch (error) {
      if (hasCode(error, 'ENOENT', 'ENOTDIR')) return undefined;
      throw unreadable(path, error);
    }
  }

  /** Names of what is in the folder; none when there is no such folder. */
  names(): readonly string[] {
    try {
      return readdirSync(this.#path);
    } catch (error) {
      if (hasCode(error, 'ENOENT', 'ENOTDIR')) return [];
      throw unreadable(this.#path, error);
    }
  }

  /** Saves a file that must not exist yet: what is there already is never overwritten. */
  create(name: string, text: string): void {
    this.#waiting.set(name, { text, mode: 'create' });
    this.save();
  }

  /** Saves a file in the place of the one that may be there. */
  replace(name: string, text: string): void {
    this.#waiting.set(name, { text, mode: 'replace' });
    this.save();
  }

  /** Writes what is waiting. A failure is not thrown: it shows in `warnings`, and the next call tries again. */
  save(): void {
    try {
      for (const [name, { text, mode }] of this.#waiting) {
        this.#makeFolder();
        const path = this.path(name);
        if (mode === 'create' && existsSync(path) && readFileSync(path, 'utf8') !== text) {
          throw new Error(`${name} appeared after the start; restart the relay to use it`);
        }
        writeWhole(path, text);
        this.#waiting.delete(name);
      }
    } catch (error) {
      this.#whyWaiting = reason(error);
    }
  }

  #makeFolder(): void {
    if (mkdirSync(this.#path, { recursive: true, mode: 0o700 }) !== undefined) syncFolder(dirname(this.#path));
    if ((statSync(this.#path).mode & GROUP_AND_OTHERS) === 0) return;
    const problem = attempt(() => chmodSync(this.#path, 0o700));
    if (problem) this.#loose.set(this.#path, openFolder(this.#path, problem));
  }

  #readOwn(path: string, maxBytes: number): string {
    const fd = openSync(path, 'r');
    try {
      const { size, mode } = fstatSync(fd);
      if (size > maxBytes) throw new Error(`it is larger than ${maxBytes} bytes`);
      // Told even when it can be put right: somebody may have copied the key.
      const problem = mode & GROUP_AND_OTHERS ? attempt(() => fchmodSync(fd, 0o600)) : undefined;
      if (problem !== undefined) this.#loose.set(path, openKey(path, problem));
      return readFileSync(fd, 'utf8');
    } finally {
      closeSync(fd);
    }
  }
}

function unreadable(path: string, error: unknown): FatalError {
  return new FatalError(
    'identity_unreadable',
    `${path} cannot be read: ${reason(error)}`,
    'Give it back to the user the relay runs as (files mode 0600, folder 0700), or restore it from a backup.',
    error,
  );
}

function openKey(path: string, problem: string): Notice {
  return {
    code: 'key_was_readable',
    words: `other users of this box could read ${path}; ${problem || 'it is private again now'}`,
    fix: 'If somebody you do not trust has an account on this box, make a new identity. Keep these files at mode 0600.',
  };
}

function openFolder(path: string, problem: string): Notice {
  return {
    code: 'key_folder_open',
    words: `other users of this box can look into ${path}, which holds private keys: ${problem}`,
    fix: 'Give the folder to the user the relay runs as, with mode 0700.',
  };
}

/** '' when it worked, otherwise why it did not. */
function attempt(act: () => void): string {
  try {
    act();
    return '';
  } catch (error) {
    return reason(error);
  }
}

/** The temporary name is fixed, so a half-written one of an earlier life is overwritten, never piled up. */
function writeWhole(path: string, text: string): void {
  const temporary = `${path}.tmp`;
  const fd = openSync(temporary, 'w', 0o600);
  try {
    fchmodSync(fd, 0o600);
    writeFileSync(fd, text);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(temporary, path);
  syncFolder(dirname(path));
}

/** The rename itself is on the disk only after its folder is. */
function syncFolder(path: string): void {
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } catch (error) {
    if (!hasCode(error, 'EINVAL', 'ENOTSUP')) throw error; // file systems that cannot sync a folder
  } finally {
    closeSync(fd);
  }
}

function hasCode(error: unknown, ...codes: string[]): boolean {
  return error instanceof Error && 'code' in error && codes.includes(String(error.code));
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
