// The command line: finds the command, prints help, turns errors into words and exit codes.
import { FatalError, LinkError } from '../lib/errors.ts';
import { type CliContext, type Command, EXIT, UsageError } from './command.ts';

/** Runs one command line (without the program's own name). Resolves to the exit code; never rejects for what a user can cause. */
export async function runCli(
  argv: readonly string[],
  commands: readonly Command[],
  given: CliContext,
): Promise<number> {
  const out = given.stdoutIsTerminal ? harmless(given.out) : given.out;
  const context = { ...given, out, err: harmless(given.err) };
  const [name = 'help', ...args] = argv;
  if (name === 'help' || name === '--help' || name === '-h') return overview(commands, context);
  if (name === '--version' || name === '-V') return runCli(['version', ...args], commands, context);
  const command = commands.find((candidate) => candidate.name === name);
  if (!command) {
    context.err(`waystation: there is no command "${name}"; "waystation --help" lists them`);
    return EXIT.usage;
  }
  if (args.includes('--help') || args.includes('-h')) {
    context.out(describe(command));
    return EXIT.ok;
  }
  try {
    return await command.run(args, context);
  } catch (error) {
    return explain(error, command, context);
  }
}

/** Control characters, but tab and line feed, and those that turn the direction of writing. */
const STEERING = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/** Callsigns and names come from strangers: what would steer the terminal is spelt out, as JSON does, so that JSON stays what it is. */
function harmless(print: (text: string) => void): (text: string) => void {
  return (text) =>
    print(text.replace(STEERING, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`));
}

function overview(commands: readonly Command[], context: CliContext): number {
  const width = Math.max(...commands.map(({ name }) => name.length));
  context.out('Waystation: a federation relay for TAK networks.\n\nUsage: waystation COMMAND [options]\n');
  for (const { name, summary } of commands) context.out(`  ${name.padEnd(width)}  ${summary}`);
  context.out(
    '\n"waystation COMMAND --help" tells more. Exit codes: 0 done, 1 failed, 2 called wrongly, 3 bad configuration, 4 no relay is running.',
  );
  return EXIT.ok;
}

function describe({ name, usage, summary, help }: Command): string {
  return `${`Usage: waystation ${name} ${usage}`.trimEnd()}\n\n${summary}.${help ? `\n\n${help}` : ''}`;
}

function explain(error: unknown, command: Command, context: CliContext): number {
  if (error instanceof UsageError || isParseArgsError(error)) {
    context.err(`waystation ${command.name}: ${(error as Error).message}\n\n${describe(command)}`);
    return EXIT.usage;
  }
  if (error instanceof FatalError || error instanceof LinkError) {
    context.err(`waystation ${command.name}: ${error.message}${error.fix ? `\n  fix: ${error.fix}` : ''}`);
    if (error.code === 'not_running') return EXIT.notRunning;
    return error.code.startsWith('config') ? EXIT.badConfig : EXIT.failed;
  }
  throw error;
}

function isParseArgsError(error: unknown): boolean {
  return error instanceof Error && String((error as NodeJS.ErrnoException).code).startsWith('ERR_PARSE_ARGS');
}
