// `waystation version`.
import { parseArgs } from 'node:util';
import { type Command, EXIT } from './command.ts';

/** @param about what to print: one line, and the licences of all that is inside */
export function versionCommand(about: { readonly line: string; notices(): string }): Command {
  return {
    name: 'version',
    usage: '[--licenses]',
    summary: 'Print version, commit, Node version and platform',
    help: '  --licenses   print the licences of everything inside the binary',
    async run(args, context) {
      const { values } = parseArgs({ args: [...args], options: { licenses: { type: 'boolean' } } });
      context.out(values.licenses ? about.notices() : about.line);
      return EXIT.ok;
    },
  };
}
