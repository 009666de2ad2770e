// `waystation log`, `audit`, `token` and `emcon`: what happened, who may, and radio silence.
import { parseArgs } from 'node:util';
import { printable } from '../config/problem.ts';
import { sleep } from '../lib/abort.ts';
import { API_HELP, API_OPTIONS, type ApiTarget, askApi, askJson, findApi, refusal, sendJson } from './client.ts';
import { type CliContext, type Command, EXIT, UsageError } from './command.ts';
import { table } from './table.ts';

const FOLLOW_EVERY_MS = 1_000;
const PAGE = 1_000;
const MAX_CELL = 100;

export const logCommand: Command = {
  name: 'log',
  usage: '[--lines N] [--follow]',
  summary: 'The last lines of the running relay’s log',
  help: ['  --lines N       how many (default 50, at most 1000)', '  --follow        goes on', API_HELP].join('\n'),
  async run(args, context) {
    const { values } = parseArgs({
      args: [...args],
      options: {
        ...API_OPTIONS,
        lines: { type: 'string', default: '50' },
        follow: { type: 'boolean', default: false },
      },
    });
    const api = await findApi(values, context);
    let after = 0;
    for (let limit = count(values.lines); ; limit = PAGE) {
      const path = `/api/log?after=${after}&limit=${limit}`;
      const { lines } = await askJson<{ lines: { id: number; text: string }[] }>(api, path, { signal: context.signal });
      for (const { id, text } of lines) {
        context.out(text);
        after = id;
      }
      if (!values.follow || context.signal.aborted) return EXIT.ok;
      await sleep(FOLLOW_EVERY_MS, context.signal);
      if (context.signal.aborted) return EXIT.ok;
    }
  },
};

interface AuditEntry {
  readonly id: number;
  readonly at: string;
  readonly who: string;
  readonly from: string;
  readonly action: string;
  readonly target: string;
  readonly outcome: string;
  readonly detail: string;
}

export const auditCommand: Command = {
  name: 'audit',
  usage: '[--kind change|refused|request] [--count N] [--export]',
  summary: 'Who changed what, who was refused, what was asked between relays',
  help: [
    '  --kind KIND     change: of this box; refused: peers and logins; request: between relays',
    '  --count N       how many of the newest (default 50, at most 1000)',
    '  --export        all of it from the oldest on, one JSON object a line',
    API_HELP,
  ].join('\n'),
  async run(args, context) {
    const { values } = parseArgs({
      args: [...args],
      options: {
        ...API_OPTIONS,
        kind: { type: 'string' },
        count: { type: 'string', default: '50' },
        export: { type: 'boolean', default: false },
      },
    });
    const api = await findApi(values, context);
    const kind = values.kind === undefined ? '' : `&kind=${encodeURIComponent(values.kind)}`;
    if (values.export) return exportAudit(api, kind, context);
    const path = `/api/audit?limit=${count(values.count)}${kind}`;
    const { entries } = await askJson<{ entries: AuditEntry[] }>(api, path, { signal: context.signal });
    const rows = entries.map((one) =>
      [one.at, one.who, one.from, one.action, one.target, one.outcome, one.detail].map((cell) =>
        printable(cell, MAX_CELL),
      ),
    );
    context.out(table(['AT', 'WHO', 'FROM', 'ACTION', 'TARGET', 'OUTCOME', 'DETAIL'], rows).join('\n'));
    return EXIT.ok;
  },
};

async function exportAudit(api: ApiTarget, kind: string, context: CliContext): Promise<number> {
  for (let after = 0; ; ) {
    const answer = await askApi(api, `/api/audit?after=${after}&limit=${PAGE}&format=lines${kind}`, context);
    if (answer.status !== 200) throw refusal(answer);
    const lines = answer.body.toString('utf8').trimEnd();
    if (lines === '') return EXIT.ok;
    context.out(lines);
    after = (JSON.parse(lines.slice(lines.lastIndexOf('\n') + 1)) as AuditEntry).id;
  }
}

interface TokenInfo {
  readonly id: string;
  readonly name: string;
  readonly role: string;
  readonly expiresMs: number | null;
  readonly lastUsedMs: number | null;
}

export const tokenCommand: Command = {
  name: 'token',
  usage: 'list | create NAME [--role ROLE] [--days N] | revoke ID | reset-password',
  summary: 'Tokens for programs, and a new setup code when the password is forgotten',
  help: [
    '  list             tokens, without their secrets',
    '  create NAME      makes one and prints it, this once',
    '    --role ROLE    viewer (looks), operator (also pauses links, sends events), admin (all); default viewer',
    '    --days N       good for so long; left out: no end',
    '  revoke ID        ends one at once',
    '  reset-password   takes the password away and prints a setup code that sets another; tokens stay',
    '',
    API_HELP,
  ].join('\n'),
  async run(args, context) {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: { ...API_OPTIONS, role: { type: 'string', default: 'viewer' }, days: { type: 'string' } },
    });
    const [what, name, ...more] = positionals;
    if (more.length > 0) throw new UsageError(`too many words: ${more.join(' ')}`);
    const api = await findApi(values, context);
    const { signal } = context;
    if (what === 'list' && name === undefined) return listTokens(api, context);
    if (what === 'create' && name !== undefined) {
      const days = values.days === undefined ? {} : { days: count(values.days) };
      const body = { name, role: values.role, ...days };
      context.out((await sendJson<{ token: string }>(api, 'POST', '/api/tokens', body, signal)).token);
      return EXIT.ok;
    }
    if (what === 'revoke' && name !== undefined) {
      await askJson(api, `/api/tokens/${encodeURIComponent(name)}`, { method: 'DELETE', signal });
      context.out(`token ${name} is revoked`);
      return EXIT.ok;
    }
    if (what === 'reset-password' && name === undefined) {
      const { setupCode } = await askJson<{ setupCode: string }>(api, '/api/password/reset', {
        method: 'POST',
        signal,
      });
      context.out(`setup code, which sets a new password: ${setupCode}`);
      return EXIT.ok;
    }
    throw new UsageError('say list, create NAME, revoke ID or reset-password');
  },
};

async function listTokens(api: ApiTarget, context: CliContext): Promise<number> {
  const { tokens } = await askJson<{ tokens: TokenInfo[] }>(api, '/api/tokens', { signal: context.signal });
  const day = (ms: number | null, none: string) => (ms === null ? none : new Date(ms).toISOString().slice(0, 16));
  const rows = tokens.map((one) => [
    one.id,
    printable(one.name),
    one.role,
    day(one.expiresMs, 'no end'),
    day(one.lastUsedMs, 'not since the start'),
  ]);
  context.out(table(['ID', 'NAME', 'ROLE', 'EXPIRES', 'LAST USED'], rows).join('\n'));
  return EXIT.ok;
}

export const emconCommand: Command = {
  name: 'emcon',
  usage: '[on|off]',
  summary: 'Radio silence: all links stop but the listeners for phones, also over restarts',
  help: ['  on, off         without either: how it stands', API_HELP].join('\n'),
  async run(args, context) {
    const { values, positionals } = parseArgs({ args: [...args], allowPositionals: true, options: API_OPTIONS });
    const [what, ...more] = positionals;
    if (more.length > 0 || (what !== undefined && what !== 'on' && what !== 'off'))
      throw new UsageError('say on or off');
    const api = await findApi(values, context);
    const state =
      what === undefined
        ? await askJson<{ silent: boolean; since: string | null; by: string | null }>(api, '/api/emcon', context)
        : await sendJson<{ silent: boolean; since: string | null; by: string | null }>(
            ...([api, 'POST', '/api/emcon', { silent: what === 'on' }, context.signal] as const),
          );
    context.out(
      state.silent ? `radio silence since ${state.since}, by ${printable(state.by ?? '')}` : 'no radio silence',
    );
    return EXIT.ok;
  },
};

function count(text: string): number {
  if (!/^[1-9]\d{0,5}$/.test(text)) throw new UsageError(`"${text}" is not a number above 0`);
  return Math.min(Number(text), 100_000);
}
