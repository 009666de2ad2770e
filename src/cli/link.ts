// `waystation link`: links of the running relay, changed in its configuration file, comments kept.
import { parseArgs } from 'node:util';
import type { LinkStatus } from '../core/status.ts';
import { API_HELP, API_OPTIONS, type ApiTarget, askJson, findApi, sendJson } from './client.ts';
import { type CliContext, type Command, EXIT, UsageError } from './command.ts';
import { type Changed, told, yamlValue } from './config.ts';
import { table } from './table.ts';

interface Options {
  readonly json: boolean;
  readonly dry: boolean;
}

export const linkCommand: Command = {
  name: 'link',
  usage: 'list | add NAME KIND [KEY=VALUE…] | edit NAME KEY=VALUE… | pause NAME | resume NAME | remove NAME',
  summary: 'Show and change the links of the running relay',
  help: [
    '  list                       every link and how it stands',
    '  add NAME KIND KEY=VALUE…   such as: link add hq fed2 connect=tak.example.org:9001',
    '  edit NAME KEY=VALUE…       keys as in the file, with dots: policy.out=false "policy.allow_types=[a-f-]";',
    '                             KEY= takes a key away',
    '  pause NAME, resume NAME    stops it and runs it again; it stays in the file',
    '  remove NAME                closes it and takes it out of the file',
    '',
    '  --dry           only show what would change in the file',
    '  --json          as JSON',
    API_HELP,
    '',
    'Links that are not named keep their connections. Exit code 3: the file would be no good configuration.',
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
    const [what = '', name, ...rest] = positionals;
    const api = await findApi(values, context);
    if (what === 'list' && name === undefined) return list(api, values, context);
    if (name === undefined || !VERBS.includes(what))
      throw new UsageError(`say ${VERBS.join(', ')} and a name, or list`);
    return told(await change(api, { what, name, rest, ...values }, context), values.json, context);
  },
};

const VERBS = ['add', 'edit', 'pause', 'resume', 'remove'];

async function list(api: ApiTarget, { json }: Options, context: CliContext): Promise<number> {
  const { links } = await askJson<{ links: LinkStatus[] }>(api, '/api/links', { signal: context.signal });
  if (json) context.out(JSON.stringify(links, null, 2));
  else {
    const rows = links.map(({ name, kind, state, detail, enabled }) => [
      name,
      kind,
      enabled ? state : 'paused',
      detail,
    ]);
    context.out(table(['NAME', 'KIND', 'STATE', 'DETAIL'], rows).join('\n'));
  }
  return EXIT.ok;
}

interface Asked extends Options {
  readonly what: string;
  readonly name: string;
  readonly rest: readonly string[];
}

function change(api: ApiTarget, { what, name, rest, dry }: Asked, { signal }: CliContext): Promise<Changed> {
  const query = dry ? '?dry=true' : '';
  const path = `/api/links/${encodeURIComponent(name)}`;
  if (what === 'add') {
    const [kind, ...keys] = rest;
    if (kind === undefined) throw new UsageError('say its kind: cot, fed2, fed1, portal, mqtt …');
    return sendJson(api, 'POST', `/api/links${query}`, { name, kind, ...sectionOf(keys) }, signal);
  }
  if (what === 'edit') {
    if (rest.length === 0) throw new UsageError('say what to change: KEY=VALUE');
    return sendJson(api, 'PATCH', `${path}${query}`, sectionOf(rest), signal);
  }
  if (rest.length > 0) throw new UsageError(`too many words: ${rest.join(' ')}`);
  if (what === 'remove') return askJson(api, `${path}${query}`, { method: 'DELETE', signal });
  return sendJson(api, 'POST', `${path}/${what}${query}`, {}, signal);
}

/** `policy.out=false` as { policy: { out: false } }; values as YAML has them, nothing behind the sign means null. */
export function sectionOf(words: readonly string[]): Record<string, unknown> {
  const section: Record<string, unknown> = {};
  for (const word of words) {
    const at = word.indexOf('=');
    if (at < 1) throw new UsageError(`"${word}" is not KEY=VALUE`);
    const [last, ...above] = word.slice(0, at).split('.').reverse();
    let place = section;
    for (const key of above.reverse()) {
      place[key] ??= {};
      place = place[key] as Record<string, unknown>;
    }
    place[last!] = yamlValue(word.slice(at + 1));
  }
  return section;
}
