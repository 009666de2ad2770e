// `waystation config`: the built-in configuration, the schema for editors, and the configuration of the running relay.
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { DEFAULT_CONFIG } from '../config/defaults.ts';
import { typedValue } from '../config/edit.ts';
import { fileJsonSchema } from '../config/load.ts';
import { FatalError } from '../lib/errors.ts';
import { API_HELP, API_OPTIONS, type ApiTarget, askApi, askJson, findApi, refusal, sendJson } from './client.ts';
import { type CliContext, type Command, EXIT, UsageError } from './command.ts';
import { table } from './table.ts';

/** What a change of the file came to. */
export interface Changed {
  readonly applied: boolean;
  readonly diff: string;
  readonly path: string;
  readonly restartNeeded: readonly string[];
}

interface ConfigFile {
  readonly path: string;
  readonly exists: boolean;
  readonly etag: string;
  readonly running: boolean;
  readonly diff: string;
  readonly text: string;
}

interface Version {
  readonly id: string;
  readonly replacedAt: string;
  readonly replacedBy: string;
  readonly bytes: number;
}

interface Options {
  readonly json: boolean;
  readonly dry: boolean;
}

export const configCommand: Command = {
  name: 'config',
  usage: 'default | schema | get [PATH] | set PATH VALUE | put FILE | diff [FILE] | reload | history [ID] | undo [ID]',
  summary: 'Print the built-in configuration and the schema; read and change that of the running relay',
  help: [
    '  default          the configuration that is used when there is no file: a good start for one',
    '  schema           JSON Schema 2020-12; put "# yaml-language-server: $schema=FILE" at the top of waystation.yaml',
    '  get [PATH]       the file, or one setting of it, such as log.level or links.hq.policy.in',
    '  set PATH VALUE   changes one setting, VALUE as in YAML; without VALUE it is taken away. Comments stay',
    '  put FILE         replaces the whole file by FILE (- for standard input)',
    '  diff [FILE]      what changing it by hand has changed that is not in force; or how FILE differs',
    '  reload           takes over the file as it stands, as SIGHUP does',
    '  history [ID]     earlier configurations; one of them',
    '  undo [ID]        puts an earlier one in place again, the last if none is named',
    '',
    '  --dry            only show what would change',
    '  --json           as JSON',
    API_HELP,
    '',
    'Exit code 3: it would be no good configuration, or the file was changed by somebody else meanwhile.',
  ].join('\n'),
  async run(args, context) {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        ...API_OPTIONS,
        json: { type: 'boolean', default: false },
        dry: { type: 'boolean', default: false },
      },
    });
    const [what = '', ...rest] = positionals;
    if ((what === 'default' || what === 'schema') && rest.length === 0) {
      context.out(what === 'default' ? DEFAULT_CONFIG.trimEnd() : JSON.stringify(fileJsonSchema(), null, 2));
      return EXIT.ok;
    }
    const sub = Object.hasOwn(SUBS, what) ? SUBS[what] : undefined;
    if (!sub) throw new UsageError('say default, schema, get, set, put, diff, reload, history or undo');
    return sub(await findApi(values, context), rest, values, context);
  },
};

type Sub = (api: ApiTarget, args: readonly string[], options: Options, context: CliContext) => Promise<number>;

const SUBS: Readonly<Record<string, Sub>> = {
  async get(api, [path, ...more], { json }, context) {
    none(more);
    if (path === undefined) {
      const file = await fileOf(api, context);
      context.out(json ? JSON.stringify(file, null, 2) : file.text.trimEnd());
      return EXIT.ok;
    }
    const query = new URLSearchParams({ path });
    const { value } = await askJson<{ value: unknown }>(api, `/api/config/setting?${query}`, {
      signal: context.signal,
    });
    context.out(typeof value === 'string' && !json ? value : JSON.stringify(value, null, 2));
    return value === null ? EXIT.failed : EXIT.ok;
  },
  async set(api, [path, value = '', ...more], { json, dry }, context) {
    none(more);
    if (path === undefined) throw new UsageError('say which setting, and its value');
    const body = { path, value: yamlValue(value) };
    return told(
      await sendJson(api, 'PATCH', `/api/config/setting${dryQuery(dry)}`, body, context.signal),
      json,
      context,
    );
  },
  async put(api, [file, ...more], { json, dry }, context) {
    none(more);
    const { etag } = await fileOf(api, context);
    return told(await put(api, await textOf(file, context), etag, dry, context), json, context);
  },
  async diff(api, [file, ...more], _, context) {
    none(more);
    const now = await fileOf(api, context);
    const diff =
      file === undefined ? now.diff : (await put(api, await textOf(file, context), now.etag, true, context)).diff;
    context.out(diff === '' ? 'no difference' : diff.trimEnd());
    return EXIT.ok;
  },
  async reload(api, more, _, context) {
    none(more);
    const { path } = await sendJson<{ path: string | null }>(
      api,
      'POST',
      '/api/config/reload',
      undefined,
      context.signal,
    );
    context.out(`taken over: ${path ?? 'the built-in configuration'}`);
    return EXIT.ok;
  },
  async history(api, [id, ...more], { json }, context) {
    none(more);
    if (id !== undefined) {
      const answer = await askApi(api, `/api/config/history/${encodeURIComponent(id)}`, { signal: context.signal });
      if (answer.status !== 200) throw refusal(answer);
      context.out(answer.body.toString('utf8').trimEnd());
      return EXIT.ok;
    }
    const { versions } = await askJson<{ versions: Version[] }>(api, '/api/config/history', { signal: context.signal });
    const rows = versions.map((one) => [one.id, one.replacedAt, one.replacedBy, String(one.bytes)]);
    context.out(json ? JSON.stringify(versions, null, 2) : table(['ID', 'REPLACED', 'BY', 'BYTES'], rows).join('\n'));
    return EXIT.ok;
  },
  async undo(api, [id, ...more], { json, dry }, context) {
    none(more);
    const body = id === undefined ? {} : { id };
    return told(await sendJson(api, 'POST', `/api/config/undo${dryQuery(dry)}`, body, context.signal), json, context);
  },
};

function none(more: readonly string[]): void {
  if (more.length > 0) throw new UsageError(`too many words: ${more.join(' ')}`);
}

function dryQuery(dry: boolean): string {
  return dry ? '?dry=true' : '';
}

function fileOf(api: ApiTarget, { signal }: CliContext): Promise<ConfigFile> {
  return askJson<ConfigFile>(api, '/api/config', { signal });
}

function put(api: ApiTarget, body: Buffer, etag: string, dry: boolean, { signal }: CliContext): Promise<Changed> {
  const request = { method: 'PUT', body, type: 'application/yaml', headers: { 'if-match': `"${etag}"` }, signal };
  return askJson<Changed>(api, `/api/config${dryQuery(dry)}`, request);
}

async function textOf(file: string | undefined, context: CliContext): Promise<Buffer> {
  if (file === undefined) throw new UsageError('name a file, or - for standard input');
  if (file === '-') return context.readStdin();
  try {
    return readFileSync(file);
  } catch (error) {
    const words = error instanceof Error ? error.message : String(error);
    throw new FatalError('file_unreadable', words, 'name a file that can be read', error);
  }
}

/** As YAML has it; nothing means null. @throws UsageError */
export function yamlValue(text: string): unknown {
  if (text === '') return null;
  const typed = typedValue(text);
  if (typed) return typed.value;
  throw new UsageError(`${text} is no value: quote it as YAML wants it`);
}

/** Prints what came of a change: the diff, and what waits for a restart. */
export function told({ applied, diff, path, restartNeeded }: Changed, json: boolean, context: CliContext): number {
  if (json) {
    context.out(JSON.stringify({ applied, diff, path, restartNeeded }, null, 2));
    return EXIT.ok;
  }
  context.out(diff === '' ? 'nothing was different' : diff.trimEnd());
  context.out(applied ? `in force: ${path}` : 'nothing was changed');
  for (const key of restartNeeded) context.out(`"${key}" takes hold at the next start of the relay`);
  return EXIT.ok;
}
