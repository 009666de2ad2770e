// The open code for joining, over a restart of the relay: one file that only our user may read, gone as soon as the code is used,
// cleared or over. The code itself stands in it: the far end proves that it knows it, which nothing derived from it would allow.
import { chmodSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { plainCode } from './pairing-codes.ts';

const MAX_FILE_BYTES = 64 * 1024;
const MAX_SOURCES = 64;

/** A code as it is kept. Times are wall clock, milliseconds. */
export interface KeptCode<Terms> {
  readonly code: string;
  readonly terms: Terms;
  readonly endsAtMs: number;
  /** When this was noted, and for how long the code was good then: clocks of boards go back when they lose power. */
  readonly notedAtMs: number;
  readonly leftMs: number;
  /** Tries so far, by source. */
  readonly tries: Readonly<Record<string, number>>;
}

export interface CodeKeep<Terms> {
  /** Undefined: there is none, or nothing that could be one. */
  read(): KeptCode<Terms> | undefined;
  /** Undefined: none is open. Never throws. */
  write(kept: KeptCode<Terms> | undefined): void;
}

/** Not synced: who cuts the power right after a guess may guess once more, and no guess waits for a card. */
export class CodeFile<Terms> implements CodeKeep<Terms> {
  readonly #path: string;
  readonly #isTerms: (value: unknown) => value is Terms;
  readonly #onTrouble: (error: Error) => void;

  constructor(path: string, isTerms: (value: unknown) => value is Terms, onTrouble: (error: Error) => void) {
    this.#path = path;
    this.#isTerms = isTerms;
    this.#onTrouble = onTrouble;
  }

  read(): KeptCode<Terms> | undefined {
    try {
      if (statSync(this.#path).size > MAX_FILE_BYTES) throw new Error('it is too large');
      const kept = this.#checked(JSON.parse(readFileSync(this.#path, 'utf8')));
      if (kept) return kept;
      throw new Error('it is none of ours');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      this.#onTrouble(error as Error);
      this.write(undefined);
      return undefined;
    }
  }

  write(kept: KeptCode<Terms> | undefined): void {
    const beside = `${this.#path}.tmp`;
    try {
      if (!kept) return rmSync(this.#path, { force: true });
      writeFileSync(beside, JSON.stringify(kept), { mode: 0o600 });
      chmodSync(beside, 0o600);
      renameSync(beside, this.#path);
    } catch (error) {
      this.#onTrouble(error as Error);
    }
  }

  #checked(value: unknown): KeptCode<Terms> | undefined {
    const { code, terms, endsAtMs, notedAtMs, leftMs, tries } = (value ?? {}) as Record<keyof KeptCode<Terms>, unknown>;
    const numbers = [endsAtMs, notedAtMs, leftMs].every((time) => Number.isFinite(time));
    const isCode = typeof code === 'string' && plainCode(code) === code;
    if (!isCode || !numbers || !this.#isTerms(terms) || typeof tries !== 'object' || tries === null) return undefined;
    const counts = Object.entries(tries).slice(0, MAX_SOURCES);
    if (!counts.every(([, count]) => Number.isSafeInteger(count) && count > 0)) return undefined;
    const times = { endsAtMs, notedAtMs, leftMs } as Pick<KeptCode<Terms>, 'endsAtMs' | 'notedAtMs' | 'leftMs'>;
    return { code, terms, ...times, tries: Object.fromEntries(counts) };
  }
}
