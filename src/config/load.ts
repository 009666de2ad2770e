// From text to a checked configuration, or to everything that is wrong with it, all at once and with lines.
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { FatalError } from '../lib/errors.ts';
import { LINK_KINDS } from '../links/index.ts';
import type { LinkKind } from '../links/link.ts';
import { crossCheck } from './cross-check.ts';
import { DEFAULT_CONFIG } from './defaults.ts';
import { type Problem, tidy } from './problem.ts';
import { type Config, fileSchema, type JsonSchema, jsonSchema, type ParsedFile } from './schema.ts';
import { upgrade } from './upgrade.ts';
import { noWords, problemsOf } from './words.ts';
import { MAX_BYTES, plainValue, readYaml } from './yaml.ts';

/** Looked for, in this order, when no file is named. */
export const DEFAULT_PLACES: readonly string[] = ['waystation.yaml', '/etc/waystation/waystation.yaml'];

/** In the data folder, looked for last: where the relay makes a file when its built-in configuration is changed. */
const CREATED_FILE = 'waystation.yaml';

type Kinds = readonly LinkKind<unknown>[];

/** What the file may leave out and the process knows. */
export interface Defaults {
  readonly hostName: string;
  /** See defaultDataFolder(). */
  readonly dataFolder: string;
  /** Default: DEFAULT_PLACES. */
  readonly places?: readonly string[];
}

export interface ParseOptions {
  /** The file's path: relative paths inside it are meant from its folder. */
  readonly path: string;
  readonly kinds?: Kinds;
  readonly defaults?: Defaults;
}

export type Parsed = { readonly config: Config } | { readonly problems: readonly Problem[] };

export interface LoadOptions {
  /** The file named on the command line. */
  readonly path?: string | undefined;
  /** WAYSTATION_CONFIG and WAYSTATION_DATA. */
  readonly env: { readonly config?: string | undefined; readonly data?: string | undefined };
  readonly defaults: Defaults;
  readonly kinds?: Kinds;
}

/** `path` is the file that was read; undefined: none was found and DEFAULT_CONFIG is used. `text` is what was read. */
export type Loaded = Parsed & { readonly path: string | undefined; readonly text: string };

/**
 * Finds, reads and checks the configuration file.
 * @throws FatalError when a named file is missing, or any cannot be read
 */
export async function loadConfig(options: LoadOptions): Promise<Loaded> {
  const found = await findFile(options);
  const { kinds, env, defaults } = options;
  const path = found?.path;
  const text = found ? decode(found.bytes) : DEFAULT_CONFIG;
  if (text === undefined) return { problems: [notUtf8], path, text: '' };
  const parsed = parseConfig(text, { path: path ?? createdPath(options), defaults, ...(kinds ? { kinds } : {}) });
  if ('problems' in parsed) return { ...parsed, path, text };
  const config = env.data ? { ...parsed.config, data: resolve(env.data) } : parsed.config;
  return { config, path, text };
}

/** Where the relay makes a file when there is none. */
export function createdPath({ env, defaults }: Pick<LoadOptions, 'env' | 'defaults'>): string {
  return join(resolve(env.data || defaults.dataFolder), CREATED_FILE);
}

/** Checks the text of a configuration file. Never throws, whatever the text. */
export function parseConfig(text: string, options: ParseOptions): Parsed {
  const kinds = options.kinds ?? LINK_KINDS;
  const yaml = readYaml(text);
  if ('refused' in yaml) return { problems: yaml.refused };
  const { file } = yaml;
  const upgraded = upgrade(file.doc);
  if ('words' in upgraded)
    return { problems: [{ path: 'version', ...file.placeOf(['version']), words: upgraded.words }] };
  const plain = plainValue(file.doc);
  if (!plain)
    return { problems: [{ path: '', line: 1, column: 1, words: 'its aliases unfold to too much, or to themselves' }] };
  const value = plain.value ?? {};
  const result = fileSchema(kinds).safeParse(value, { error: noWords });
  const problems = [
    ...yaml.problems,
    ...(result.success ? [] : problemsOf(result.error.issues, { file, value, schema: jsonSchema(kinds) })),
    ...crossCheck(file, value, result.data),
  ];
  if (!result.success || problems.length > 0) return { problems: tidy(problems) };
  return { config: complete(result.data, options) };
}

/** JSON Schema 2020-12 of the file with the link kinds this program has. */
export function fileJsonSchema(): JsonSchema {
  return jsonSchema(LINK_KINDS);
}

/** @returns where keys and state go unless the file or WAYSTATION_DATA says otherwise */
export function defaultDataFolder(who: { root: boolean; home: string; xdgDataHome?: string | undefined }): string {
  if (who.root) return '/var/lib/waystation';
  return join(who.xdgDataHome || join(who.home, '.local/share'), 'waystation');
}

const FALLBACK: Defaults = { hostName: 'waystation', dataFolder: '/var/lib/waystation' };
const notUtf8: Problem = { path: '', line: 1, column: 1, words: 'not UTF-8 text; save the file as UTF-8' };

/** Fills in what only the process knows and makes paths absolute. */
function complete(parsed: ParsedFile, { path, defaults = FALLBACK }: ParseOptions): Config {
  const folder = dirname(resolve(path));
  return {
    ...parsed,
    hosts: parsed.hosts,
    name: parsed.name ?? defaults.hostName,
    data: parsed.data === undefined ? defaults.dataFolder : resolve(folder, parsed.data),
    trust: { pins: parsed.trust.pins, paths: parsed.trust.paths.map((item) => resolve(folder, item)) },
    revoked: { pins: parsed.revoked.pins, paths: parsed.revoked.paths.map((item) => resolve(folder, item)) },
    links: parsed.links.map((link) => ({ ...link, queue: { ...parsed.limits.queue, ...defined(link.queue) } })),
  };
}

function defined<Value extends object>(value: Value): { [Key in keyof Value]: NonNullable<Value[Key]> } {
  const entries = Object.entries(value).filter(([, item]) => item !== undefined);
  return Object.fromEntries(entries) as { [Key in keyof Value]: NonNullable<Value[Key]> };
}

async function findFile(options: LoadOptions): Promise<{ readonly path: string; readonly bytes: Buffer } | undefined> {
  const named = options.path ?? options.env.config;
  if (named) {
    const bytes = await readBounded(named);
    if (bytes) return { path: named, bytes };
    throw new FatalError(
      'config_missing',
      `there is no file ${named}`,
      'name an existing file, or none for the default places',
    );
  }
  for (const path of [...(options.defaults.places ?? DEFAULT_PLACES), createdPath(options)]) {
    const bytes = await readBounded(path);
    if (bytes) return { path, bytes };
  }
  return undefined;
}

/** Reads at most one byte more than is allowed (parseConfig refuses that). Undefined: there is no such file. */
async function readBounded(path: string): Promise<Buffer | undefined> {
  try {
    const handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      if (!(await handle.stat()).isFile()) throw new Error('not a file');
      const buffer = Buffer.alloc(MAX_BYTES + 1);
      let length = 0;
      while (length < buffer.length) {
        const { bytesRead } = await handle.read(buffer, length, buffer.length - length);
        if (bytesRead === 0) break;
        length += bytesRead;
      }
      return buffer.subarray(0, length);
    } finally {
      await handle.close();
    }
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw new FatalError(
      'config_unreadable',
      `cannot read ${path}: ${message}`,
      'make it a file this user may read',
      error,
    );
  }
}

function decode(bytes: Buffer): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return undefined; // the caller tells the person
  }
}
