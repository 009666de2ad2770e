// The one place that reads and changes the configuration of a running relay: one change at a time, checked whole before it is
// written, in force or taken back, never over something its author has not seen.
import { createHash } from 'node:crypto';
import { readFile, rm } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { createTwoFilesPatch } from 'diff';
import type { Clock } from '../lib/clock.ts';
import { FatalError } from '../lib/errors.ts';
import { DEFAULT_CONFIG } from './defaults.ts';
import { History, type Version } from './history.ts';
import { createdPath, type Loaded, type LoadOptions, loadConfig, type Parsed, parseConfig } from './load.ts';
import { problemWords } from './problem.ts';
import { ConfigRefused } from './refused.ts';
import type { Config } from './schema.ts';
import { writeConfig } from './write.ts';

/** Longest diff told. */
const MAX_DIFF = 64 * 1024;
const UNSEEN =
  'look at it ("waystation config diff"), then either take it over ("waystation config reload") or start your change from it';

export interface FileState {
  /** Where it is, or would be made. */
  readonly path: string;
  /** False: there is no file, the built-in configuration runs. */
  readonly exists: boolean;
  readonly text: string;
  /** Of `text`; any change of the file changes it. */
  readonly etag: string;
  /** False: the file is not what runs: it was changed by hand and not taken over. */
  readonly running: boolean;
  /** From what runs to the file; '' when they are the same. */
  readonly diff: string;
}

export interface ChangeOptions {
  readonly who: string;
  /** What the author has seen. Undefined: what runs. */
  readonly etag?: string | undefined;
  /** Only look what would change. */
  readonly dry?: boolean | undefined;
}

export interface Change {
  readonly diff: string;
  readonly etag: string;
  readonly path: string;
  readonly config: Config;
  /** False: nothing was different, or it was only looked at. */
  readonly applied: boolean;
}

export interface DeskOptions {
  readonly load: LoadOptions;
  readonly clock: Clock;
}

export class ConfigDesk {
  readonly #options: DeskOptions;
  /** What is in force. */
  #running:
    | { readonly path: string; readonly exists: boolean; readonly text: string; readonly config: Config }
    | undefined;
  #apply: (config: Config, baseDir: string) => void = () => {};
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: DeskOptions) {
    this.#options = options;
  }

  /** How a configuration is put in force: all of it or nothing. May throw FatalError. */
  onApply(apply: (config: Config, baseDir: string) => void): void {
    this.#apply = apply;
  }

  /** Finds, reads and checks the file for the start of the relay. @throws FatalError */
  async begin(): Promise<Loaded> {
    const loaded = await loadConfig(this.#options.load);
    if ('config' in loaded) this.#took(loaded, loaded.config);
    return loaded;
  }

  /** Folder that relative file names of the configuration start from. */
  get baseDir(): string {
    return dirname(this.#running!.path);
  }

  /** What is in force. */
  get config(): Config {
    return this.#running!.config;
  }

  /** The file as it is now, whatever is in it. */
  state(): Promise<FileState> {
    return this.#alone(() => this.#look());
  }

  /** Takes over what stands in the file. Resolves to what is wrong with it, or to the change. */
  reload(): Promise<Loaded> {
    return this.#alone(async () => {
      const loaded = await loadConfig(this.#options.load);
      if (!('config' in loaded)) return loaded;
      this.#apply(loaded.config, dirname(this.#pathOf(loaded.path)));
      this.#took(loaded, loaded.config);
      return loaded;
    });
  }

  /** Replaces the file by what `edit` makes of it, and puts it in force. Rejects with ConfigRefused. */
  change(edit: (text: string) => string, options: ChangeOptions): Promise<Change> {
    return this.#alone(async () => {
      const before = await this.#look();
      this.#mustBeSeen(before, options.etag);
      return this.#replace(before, edit(before.text), options);
    });
  }

  history(): Promise<readonly Version[]> {
    return this.#history().list();
  }

  version(id: string): Promise<string | undefined> {
    return this.#history().read(id);
  }

  /** Puts an earlier configuration in place again (default: the last); what is replaced becomes the newest of the history. */
  undo(id: string | undefined, options: ChangeOptions): Promise<Change> {
    return this.#alone(async () => {
      const before = await this.#look();
      this.#mustBeSeen(before, options.etag);
      const wanted = id ?? (await this.history())[0]?.id;
      const text = wanted === undefined ? undefined : await this.version(wanted);
      if (text === undefined) {
        const words = id === undefined ? 'nothing was changed yet' : `there is no earlier configuration ${id}`;
        throw new ConfigRefused('unknown_version', words, '"waystation config history" lists them');
      }
      return this.#replace(before, text, options);
    });
  }

  // --- private ---------------------------------------------------------------------------------------------------------

  async #replace(before: FileState, text: string, { who, dry }: ChangeOptions): Promise<Change> {
    const { path } = before;
    const config = this.#check(text, path);
    const change = { diff: diffOf(before.text, text, path), etag: etagOf(text), path, config, applied: false };
    if (dry || text === before.text) return change;
    const kept = await this.#history().keep(before.text, who, this.#options.clock.wallMs());
    try {
      await this.#write(path, text);
      this.#putInForce(config, path, before);
    } catch (error) {
      await this.#history().forget(kept);
      if (before.exists) await this.#write(path, before.text).catch(() => {});
      else await rm(path, { force: true });
      throw error;
    }
    this.#running = { path, exists: true, text, config };
    return { ...change, applied: true };
  }

  #check(text: string, path: string): Config {
    const parsed = this.#parse(text, path);
    if ('config' in parsed) return parsed.config;
    const [first] = parsed.problems;
    const words = first ? `line ${first.line}: ${problemWords(first)}` : 'it is no good configuration';
    throw new ConfigRefused('config_bad', words, 'correct what is named; nothing was changed', parsed.problems);
  }

  #parse(text: string, path: string): Parsed {
    const { defaults, kinds, env } = this.#options.load;
    const parsed = parseConfig(text, { path, defaults, ...(kinds ? { kinds } : {}) });
    if ('problems' in parsed || !env.data) return parsed;
    return { config: { ...parsed.config, data: resolve(env.data) } };
  }

  #putInForce(config: Config, path: string, before: FileState): void {
    try {
      this.#apply(config, dirname(path));
    } catch (error) {
      if (!(error instanceof FatalError)) throw error;
      const where = before.exists ? 'the file is as it was' : 'nothing was changed';
      throw new ConfigRefused('config_not_applied', `${error.message}; ${where}`, error.fix);
    }
  }

  async #write(path: string, text: string): Promise<void> {
    try {
      const { defaults, kinds } = this.#options.load;
      await writeConfig(path, text, { defaults, ...(kinds ? { kinds } : {}) });
    } catch (error) {
      const words = error instanceof Error ? error.message : String(error);
      throw new ConfigRefused(
        'config_not_written',
        `${path} cannot be written: ${words}`,
        'let the relay write to that folder',
      );
    }
  }

  #mustBeSeen({ etag, path, running }: FileState, seen: string | undefined): void {
    if (seen === undefined ? running : seen === etag) return;
    const words =
      seen === undefined
        ? `${path} was changed by hand and that is not in force yet`
        : `${path} was changed since it was looked at`;
    throw new ConfigRefused('config_changed_meanwhile', words, UNSEEN);
  }

  async #look(): Promise<FileState> {
    const now = this.#running!;
    const found = await readIfThere(now.path);
    // A file that was deleted is as good as the built-in configuration.
    const text = found ?? DEFAULT_CONFIG;
    const running = text === now.text;
    return {
      path: now.path,
      exists: found !== undefined,
      text,
      etag: etagOf(text),
      running,
      diff: running ? '' : diffOf(now.text, text, now.path),
    };
  }

  #took({ path, text }: Loaded, config: Config): void {
    this.#running = { path: this.#pathOf(path), exists: path !== undefined, text, config };
  }

  #pathOf(path: string | undefined): string {
    return resolve(path ?? createdPath(this.#options.load));
  }

  #history(): History {
    return new History(join(this.#running!.config.data, 'config-history'));
  }

  /** One at a time. */
  #alone<Result>(work: () => Promise<Result>): Promise<Result> {
    const done = this.#last.then(work);
    this.#last = done.catch(() => {});
    return done;
  }
}

export function etagOf(text: string): string {
  return createHash('sha256').update(text).digest('base64url').slice(0, 22);
}

function diffOf(before: string, after: string, path: string): string {
  if (before === after) return '';
  const diff = createTwoFilesPatch(path, path, before, after, '', '', { context: 3 });
  return diff.length > MAX_DIFF ? `${diff.slice(0, MAX_DIFF)}\n… and more` : diff;
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
