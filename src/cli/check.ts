// `waystation check FILE`: does everything "run" does with a configuration, short of applying it.
import { parseArgs } from 'node:util';
import { loadConfig } from '../config/load.ts';
import { formatProblems } from '../config/problem.ts';
import type { Config } from '../config/schema.ts';
import { type Command, EXIT, UsageError } from './command.ts';

/** @param tryOut loads what the configuration names; throws FatalError */
export const checkCommand = (tryOut: (config: Config) => void): Command => ({
  name: 'check',
  usage: '[FILE]',
  summary: 'Check a configuration file and say what is wrong, with line and suggestion',
  help: 'Without FILE: the file "run" would use. Exit code 3 when something is wrong.',
  async run(args, context) {
    const { positionals } = parseArgs({ args: [...args], allowPositionals: true, options: {} });
    if (positionals.length > 1) throw new UsageError('one file at a time');
    const loaded = await loadConfig({ path: positionals[0], env: context.env, defaults: context.defaults });
    const name = loaded.path ?? 'built-in configuration';
    if ('problems' in loaded) {
      context.err(formatProblems(loaded.problems, name));
      return EXIT.badConfig;
    }
    tryOut(loaded.config);
    const links = loaded.config.links.map((link) => `${link.name} (${link.kind})`).join(', ') || 'none';
    context.out(`${name}: good. Node "${loaded.config.name}", links: ${links}`);
    return EXIT.ok;
  },
});
