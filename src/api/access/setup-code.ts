// The setup code: unique to this box, made at its first start, shown on its console and in a file only its user may read, until
// somebody sets the first password with it. There is no default password.
import { randomInt, timingSafeEqual } from 'node:crypto';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';

/** Without letters that are mistaken for digits. */
const LETTERS = '23456789ABCDEFGHJKMNPQRSTVWXYZ';
const FORM = /^[2-9A-HJ-KMNP-TV-Z]{4}(?:-[2-9A-HJ-KMNP-TV-Z]{4}){2}$/;

export class SetupCode {
  readonly #path: string;
  #code: string | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  /** The code, made when there is none. A folder that cannot be written gives one that lasts until the restart. */
  open(): string {
    this.#code ??= this.#read() ?? this.renew();
    return this.#code;
  }

  get path(): string {
    return this.#path;
  }

  renew(): string {
    const code = Array.from({ length: 3 }, () =>
      Array.from({ length: 4 }, () => LETTERS[randomInt(LETTERS.length)]).join(''),
    ).join('-');
    this.#code = code;
    try {
      rmSync(this.#path, { force: true });
      writeFileSync(this.#path, `${code}\n`, { mode: 0o600, flag: 'wx' });
    } catch {
      // shown on the console all the same
    }
    return code;
  }

  /** Case, spaces and dashes do not count. */
  matches(said: string): boolean {
    const [ours, theirs] = [this.open(), said].map((code) => Buffer.from(code.toUpperCase().replace(/[\s-]/g, '')));
    return ours!.length === theirs!.length && timingSafeEqual(ours!, theirs!);
  }

  /** It was used. */
  end(): void {
    this.#code = undefined;
    rmSync(this.#path, { force: true });
  }

  #read(): string | undefined {
    try {
      const text = readFileSync(this.#path, 'utf8').trim();
      return FORM.test(text) ? text : undefined;
    } catch {
      return undefined; // there is none yet
    }
  }
}
