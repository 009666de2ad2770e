// A mistake in the configuration file, told to a person: where it is, what is wrong, what was probably meant.

/** Most problems told at once. */
export const MAX_PROBLEMS = 50;
const MAX_QUOTE = 60;
const SECRET_KEY = /pass|secret|token|code|key/i;

export interface Problem {
  /** Such as `links[0].port`; '' for the file as a whole. */
  readonly path: string;
  /** From 1. */
  readonly line: number;
  /** From 1. */
  readonly column: number;
  readonly words: string;
  /** What was probably meant. */
  readonly suggestion?: string;
}

export type Path = readonly PropertyKey[];

/** `['links', 0, 'port']` as `links[0].port`. */
export function formatPath(path: Path): string {
  let words = '';
  for (const key of path) {
    if (typeof key === 'number') words += `[${key}]`;
    else words += `${words === '' ? '' : '.'}${printable(String(key))}`;
  }
  return words;
}

/** A value as shown in words: short, on one line, harmless to a terminal; secrets only by their kind. */
export function quote(value: unknown, path: Path = []): string {
  if (value === undefined || value === null) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'a section';
  if (SECRET_KEY.test(String(path.at(-1) ?? ''))) return typeof value === 'string' ? 'a text' : `a ${typeof value}`;
  return typeof value === 'string' ? `"${printable(value)}"` : String(value);
}

/** Without control, format and bidirectional characters, and not much longer than `max` characters. */
export function printable(value: string, max = MAX_QUOTE): string {
  const short = value.length > max ? `${value.slice(0, max)}…` : value;
  return short.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (character) => `\\u{${character.codePointAt(0)!.toString(16)}}`);
}

/** In file order, without repeats, at most MAX_PROBLEMS; the last one then says that there are more. */
export function tidy(problems: readonly Problem[]): readonly Problem[] {
  const seen = new Set<string>();
  const unique = problems.filter((problem) => {
    const key = `${problem.line}:${problem.column}:${problem.path}:${problem.words}`;
    return !seen.has(key) && seen.add(key);
  });
  unique.sort((a, b) => a.line - b.line || a.column - b.column);
  if (unique.length <= MAX_PROBLEMS) return unique;
  const shown = unique.slice(0, MAX_PROBLEMS - 1);
  const { line, column } = unique[MAX_PROBLEMS - 1]!;
  return [...shown, { path: '', line, column, words: 'and more problems from here on' }];
}

/**
 * For the terminal, one line each: `waystation.yaml:12:5 links[0].lisen: unknown key, did you mean "listen"?`
 * @param path the file's name as it is to be shown
 */
export function formatProblems(problems: readonly Problem[], path: string): string {
  return problems.map((problem) => `${path}:${problem.line}:${problem.column} ${problemWords(problem)}`).join('\n');
}

/** One problem without its place in the file. */
export function problemWords({ path, words, suggestion }: Problem): string {
  const hint = suggestion === undefined ? '' : `, did you mean "${suggestion}"?`;
  return `${path === '' ? '' : `${path}: `}${words}${hint}`;
}
