// `waystation import`: reads what other programs wrote, says what is wrong with it, shows what it would come to, and makes it so.
import { readFileSync, statSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { printable } from '../config/problem.ts';
import { MAX_IMPORT_BYTES, planOf, type Source } from '../import/import.ts';
import { joined, type Plan, refused } from '../import/plan.ts';
import { API_HELP, API_OPTIONS, findApi, sendJson } from './client.ts';
import { type Command, EXIT, UsageError } from './command.ts';
import { readPassword } from './password.ts';

const MAX_SOURCES = 32;

export const importCommand: Command = {
  name: 'import',
  usage: 'FILE|LINK... [--password-file FILE] [--yes]',
  summary: 'Take over links and certificates from other programs: shown first, made with --yes',
  help: [
    '  FILE   federation.json; the policy of a Federation Hub (ui_generated_policy.json); FTSConfig.yaml or FTS_ settings of FreeTAKServer; CoreConfig.xml or federation-server.xml of TAK Server;',
    '         connection packages of ATAK and iTAK (.zip, .dpk); certificates and keys as PEM or P12',
    '  LINK   tak://…',
    '',
    '  --password-file FILE   the password of P12 files and keys',
    '  --yes                  make it so; without it nothing is changed',
    API_HELP,
    '',
    'Exit code 1: something in a file is refused; nothing of that file is taken.',
  ].join('\n'),
  async run(args, context) {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: { ...API_OPTIONS, 'password-file': { type: 'string' }, yes: { type: 'boolean', default: false } },
    });
    if (positionals.length === 0) throw new UsageError('name what to import');
    if (positionals.length > MAX_SOURCES) throw new UsageError(`${MAX_SOURCES} files at a time`);
    const password = values['password-file'] === undefined ? undefined : readPassword(values['password-file']);
    const good: Plan[] = [];
    let failed = false;
    for (const name of positionals) {
      const plan = await read(name, password);
      context.out(`${printable(name, 200)}:`);
      for (const line of wordsOf(plan)) context.out(`  ${line}`);
      if (plan.findings.some(({ level }) => level === 'refused')) failed = true;
      else good.push(plan);
    }
    const { findings: _, ...all } = joined(good);
    if (all.links.length + all.files.length + all.trust.length === 0) return failed ? EXIT.failed : EXIT.ok;
    const path = `/api/import${values.yes ? '' : '?dry=true'}`;
    const made = await sendJson<{ diff: string; applied: boolean }>(
      await findApi(values, context),
      'POST',
      path,
      all,
      context.signal,
    );
    context.out(`\n${made.diff.trimEnd() || 'nothing is different'}\n`);
    context.out(
      made.applied ? 'done; "waystation config undo" takes it back' : 'nothing was changed: --yes makes it so',
    );
    return failed ? EXIT.failed : EXIT.ok;
  },
};

async function read(name: string, password: string | undefined): Promise<Plan> {
  const source = name.startsWith('tak://') ? { name, bytes: Buffer.from(name) } : open(name);
  return 'findings' in source ? source : planOf(source, { nowMs: Date.now(), password });
}

function open(name: string): Source | Plan {
  try {
    const { size } = statSync(name);
    if (size > MAX_IMPORT_BYTES) {
      return refused(`it is larger than ${MAX_IMPORT_BYTES >> 20} MiB: nothing that can be imported is`);
    }
    return { name, bytes: readFileSync(name) };
  } catch (error) {
    return refused(`it cannot be read: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function wordsOf({ findings, links, files, networks }: Plan): readonly string[] {
  const marks = { ok: 'good', warning: 'WARNING', refused: 'REFUSED' };
  return [
    ...findings.map(({ level, words, fix }) => printable(`${marks[level]}: ${words}${fix ? `; ${fix}` : ''}`, 1000)),
    ...links.map(({ name, kind, connect, listen }) =>
      printable(
        `link ${String(name)}, ${String(kind)}, ${connect ? `dials ${String(connect)}` : `listens on ${String(listen)}`}`,
        300,
      ),
    ),
    ...networks.map(({ name, peers }) => printable(`network ${String(name)}${namesOf(peers)}`, 300)),
    ...files.map(({ name }) => `file ${name}`),
  ];
}

function namesOf(peers: unknown): string {
  const names = (Array.isArray(peers) ? peers : []).map(({ name }: { readonly name?: unknown }) => String(name));
  return names.length > 0 ? `, federates with ${names.join(', ')}` : '';
}
