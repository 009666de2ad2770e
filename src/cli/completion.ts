// `waystation completion`: what a shell needs to complete our command lines, read out of the commands' own usage and help.
import { parseArgs } from 'node:util';
import { type Command, EXIT, UsageError } from './command.ts';

const SHELLS = ['bash', 'zsh', 'fish'] as const;
type Shell = (typeof SHELLS)[number];

/** @param commands all there are, asked for when the command runs */
export const completionCommand = (commands: () => readonly Command[]): Command => ({
  name: 'completion',
  usage: 'bash | zsh | fish',
  summary: 'Print what a shell needs to complete command lines of waystation',
  help: [
    '  bash   source <(waystation completion bash)      in ~/.bashrc, or the output as',
    '         /usr/share/bash-completion/completions/waystation',
    '  zsh    waystation completion zsh > FOLDER/_waystation      a folder of $fpath',
    '  fish   waystation completion fish > ~/.config/fish/completions/waystation.fish',
  ].join('\n'),
  async run(args, context) {
    const { positionals } = parseArgs({ args: [...args], allowPositionals: true, options: {} });
    const [shell, ...more] = positionals;
    if (!SHELLS.includes(shell as Shell) || more.length > 0) throw new UsageError('name bash, zsh or fish');
    context.out(WRITERS[shell as Shell](commands().map(grammarOf)));
    return EXIT.ok;
  },
});

interface Grammar {
  readonly name: string;
  readonly summary: string;
  readonly subcommands: readonly string[];
  readonly options: readonly string[];
  /** Words that an option takes, where they are a closed list. */
  readonly values: Readonly<Record<string, readonly string[]>>;
}

/** From `list | add NAME [--json]` and the lines of the help. */
function grammarOf({ name, summary, usage, help }: Command): Grammar {
  const text = `${usage}\n${help}`;
  const ways = usage.replaceAll(/^\[([a-z|]+)\]$/g, '$1').split('|');
  const subcommands = ways.flatMap((way) => /^\s*([a-z][a-z-]*)(?=\s|$)/.exec(way)?.[1] ?? []);
  const options = [...text.matchAll(/(?<![\w-])--[a-z][a-z-]*/g)].map(([option]) => option);
  const lists = [...text.matchAll(/(--[a-z][a-z-]*) ([a-z]+(?:\|[a-z]+)+)/g)];
  return {
    name,
    summary,
    subcommands: [...new Set(subcommands)],
    options: [...new Set([...options, '--help'])].sort(),
    values: Object.fromEntries(lists.map(([, option, words]) => [option!, words!.split('|')])),
  };
}

const WRITERS: Readonly<Record<Shell, (commands: readonly Grammar[]) => string>> = { bash, zsh, fish };

/** Where nothing of ours fits, bash goes on with file names. */
function bash(commands: readonly Grammar[]): string {
  const cases = commands.map(({ name, subcommands, options, values }) => {
    const inner = Object.entries(values).map(([option, words]) => `      ${option}) words="${words.join(' ')}" ;;`);
    return [
      `    ${name})`,
      '      case "$before" in',
      ...inner,
      `      *) if [[ $current == -* ]]; then words="${options.join(' ')}"; elif ((COMP_CWORD == 2)); then words="${subcommands.join(' ')}"; fi ;;`,
      '      esac ;;',
    ].join('\n');
  });
  return `# bash completion for waystation; made by "waystation completion bash"
_waystation() {
  local current=\${COMP_WORDS[COMP_CWORD]} before=\${COMP_WORDS[COMP_CWORD-1]} words=""
  if ((COMP_CWORD == 1)); then
    words="${commands.map(({ name }) => name).join(' ')} help"
  else
    case "\${COMP_WORDS[1]}" in
${cases.join('\n')}
    esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _waystation waystation`;
}

function zsh(commands: readonly Grammar[]): string {
  const list = commands.map(({ name, summary }) => `    ${quoted(`${name}:${summary}`)}`);
  const cases = commands.map(({ name, subcommands, options, values }) => {
    const inner = Object.entries(values).map(
      ([option, words]) => `    [[ $words[CURRENT-1] == ${option} ]] && { compadd -- ${words.join(' ')}; return }`,
    );
    return [
      `  ${name})`,
      ...inner,
      `    if [[ $words[CURRENT] == -* ]]; then compadd -- ${options.join(' ')}; return; fi`,
      ...(subcommands.length > 0 ? [`    if (( CURRENT == 3 )); then compadd -- ${subcommands.join(' ')}; fi`] : []),
      '    _files ;;',
    ].join('\n');
  });
  return `#compdef waystation
# zsh completion for waystation; made by "waystation completion zsh"
_waystation() {
  local -a commands=(
${list.join('\n')}
  )
  if (( CURRENT == 2 )); then _describe command commands; return; fi
  case $words[2] in
${cases.join('\n')}
  esac
}
(( $+functions[compdef] )) && compdef _waystation waystation
if [[ $funcstack[1] == _waystation ]]; then _waystation "$@"; fi`;
}

function fish(commands: readonly Grammar[]): string {
  const lines = commands.flatMap(({ name, summary, subcommands, options, values }) => {
    const inside = `-n "__fish_seen_subcommand_from ${name}"`;
    return [
      `complete -c waystation -n __fish_use_subcommand -f -a ${name} -d ${quoted(summary)}`,
      ...subcommands.map((word) => `complete -c waystation ${inside} -a ${word}`),
      ...options.map((option) => {
        const words = values[option];
        return `complete -c waystation ${inside} -l ${option.slice(2)}${words ? ` -x -a "${words.join(' ')}"` : ''}`;
      }),
    ];
  });
  return ['# fish completion for waystation; made by "waystation completion fish"', ...lines].join('\n');
}

function quoted(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "'\\''")}'`;
}
