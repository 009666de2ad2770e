// `waystation bundle`: the support bundle in a file. Without a relay that runs: what can be had of the configuration and the machine.
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { FatalError, LinkError } from '../lib/errors.ts';
import { API_HELP, API_OPTIONS, askApi, findApi, refusal } from './client.ts';
import { type CliContext, type Command, EXIT, UsageError } from './command.ts';

/** Far ends are tried for it. */
const TIMEOUT_MS = 60_000;

/** @param atRest makes one while no relay runs */
export const bundleCommand = (
  atRest: (context: CliContext) => Promise<{ readonly name: string; readonly bytes: Buffer }>,
): Command => ({
  name: 'bundle',
  usage: '[FILE] [--api URL]',
  summary: 'Write a support bundle: what somebody far away needs to see what is wrong, without secrets',
  help: [
    '  FILE        default: waystation-NAME-DATE.tar.gz in this folder; one that is there is not written over',
    API_HELP,
    '',
    'Passwords, keys, tokens and the setup code are taken out; names, addresses and callsigns are not.',
  ].join('\n'),
  async run(args, context) {
    const { values, positionals } = parseArgs({ args: [...args], allowPositionals: true, options: { ...API_OPTIONS } });
    const [file, ...more] = positionals;
    if (more.length > 0) throw new UsageError('one file at a time');
    const made = await fromRelay(values, context).catch((error: Error) => {
      if (!(error instanceof LinkError) || error.code !== 'not_running' || values.api !== undefined) throw error;
      context.err('no relay is running: the bundle holds the configuration and the machine alone');
      return atRest(context);
    });
    const path = file ?? made.name;
    write(path, made.bytes);
    context.out(
      `${path}: ${Math.ceil(made.bytes.length / 1000)} kB, secrets taken out. Read it before you give it away: it names peers and their addresses.`,
    );
    return EXIT.ok;
  },
});

async function fromRelay(
  choice: Parameters<typeof findApi>[0],
  context: CliContext,
): Promise<{ readonly name: string; readonly bytes: Buffer }> {
  const request = {
    method: 'POST',
    body: '{}',
    type: 'application/json',
    timeoutMs: TIMEOUT_MS,
    signal: context.signal,
  };
  const answer = await askApi(await findApi(choice, context), '/api/bundle', request);
  if (answer.status !== 200) throw refusal(answer);
  return {
    name: `waystation-${new Date().toISOString().slice(0, 16).replace('T', '-').replace(':', '')}.tar.gz`,
    bytes: answer.body,
  };
}

function write(path: string, bytes: Buffer): void {
  try {
    writeFileSync(path, bytes, { mode: 0o600, flag: 'wx' });
  } catch (error) {
    const exists = (error as NodeJS.ErrnoException).code === 'EEXIST';
    const words = exists ? `${path} is there already` : `cannot write ${path}: ${(error as Error).message}`;
    throw new FatalError('not_written', words, 'name another file', error);
  }
}
