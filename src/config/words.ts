// zod's issues in words a person understands. What was expected is read from the file's JSON Schema, so that a number, a
// choice and a key are described alike whatever kind of link they belong to. A schema's own message wins.
import type * as z from 'zod';
import { formatPath, MAX_PROBLEMS, type Path, type Problem, quote } from './problem.ts';
import type { JsonSchema } from './schema.ts';
import { suggest } from './suggest.ts';
import type { YamlFile } from './yaml.ts';

type Issue = z.core.$ZodIssue;

const MAX_LISTED = 20;

/** Pass as the `error` of a parse: leaves the wording to problemsOf(), but not where a schema has its own. */
export const noWords = (): string => '';

export interface Reading {
  readonly file: YamlFile;
  /** The file's plain values. */
  readonly value: unknown;
  readonly schema: JsonSchema;
}

/** Every issue as one or more problems. */
export function problemsOf(issues: readonly Issue[], reading: Reading, base: Path = []): Problem[] {
  return issues.flatMap((issue) => issueProblems(issue, [...base, ...issue.path], reading));
}

function issueProblems(issue: Issue, path: Path, reading: Reading): Problem[] {
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.slice(0, MAX_PROBLEMS + 1).map((key) => unknownKey(path, key, reading));
  }
  if (issue.code === 'invalid_union' && issue.errors.length > 0) {
    const meant = meantBranch(issue.errors);
    if (meant) return problemsOf(meant, reading, path);
  }
  if (issue.code === 'invalid_key') return [badName(path, reading)];
  const value = valueAt(reading.value, path);
  const nodes = fittingType(schemasAt(path, reading), value);
  const where = { path: formatPath(path), ...reading.file.placeOf(path) };
  const choices = choicesOf(nodes);
  const words = issue.message || expectation(issue, nodes, choices);
  if (value === undefined) return [{ ...where, words: issue.message ? words : `missing; ${words}` }];
  const got = words.startsWith('expected') ? `, got ${quote(value, path)}` : '';
  const suggestion = typeof value === 'string' ? suggest(value, choices) : undefined;
  return [{ ...where, words: `${words}${got}`, ...(suggestion === undefined ? {} : { suggestion }) }];
}

function unknownKey(parent: Path, key: string, reading: Reading): Problem {
  const path = [...parent, key];
  const nodes = schemasAt(parent, reading);
  const known = [...new Set(nodes.flatMap((node) => Object.keys(node.properties ?? {})))];
  const suggestion = suggest(key, known) ?? keyOneLevelDown(key, nodes);
  const words = suggestion === undefined ? `unknown key; known here: ${listed(known)}` : 'unknown key';
  const where = { path: formatPath(path), ...reading.file.placeOf(path, 'key') };
  return suggestion === undefined ? { ...where, words } : { ...where, words, suggestion };
}

/** A key that somebody chose. */
function badName(path: Path, reading: Reading): Problem {
  const [names] = schemasAt(path.slice(0, -1), reading).flatMap(({ propertyNames }) =>
    propertyNames ? [propertyNames as JsonSchema] : [],
  );
  const sized = names?.maxLength === undefined ? '' : ` of ${names.minLength ?? 0} to ${names.maxLength} characters`;
  return { path: formatPath(path), ...reading.file.placeOf(path, 'key'), words: `expected a name${sized}` };
}

/** `dp_in` written beside `policy` instead of inside it. */
function keyOneLevelDown(key: string, nodes: readonly JsonSchema[]): string | undefined {
  for (const node of nodes) {
    for (const [section, schema] of Object.entries(node.properties ?? {})) {
      if (branches(schema).some((branch) => branch.properties && Object.hasOwn(branch.properties, key))) {
        return `${section}.${key}`;
      }
    }
  }
  return undefined;
}

/** Of a choice of shapes, the issues of the one whose type fits and that has fewest of them. */
function meantBranch(errors: readonly (readonly Issue[])[]): readonly Issue[] | undefined {
  const fitting = errors.filter((issues) => !issues.some((issue) => issue.path.length === 0 && isWrongType(issue)));
  return fitting.sort((a, b) => a.length - b.length)[0];
}

function isWrongType(issue: Issue): boolean {
  return issue.code === 'invalid_type' || issue.code === 'invalid_value';
}

function expectation(issue: Issue, nodes: readonly JsonSchema[], choices: readonly string[]): string {
  if (choices.length > 0) return `expected ${choices.length > 1 ? 'one of ' : ''}${listed(choices)}`;
  const sized = issue.code === 'too_small' || issue.code === 'too_big';
  if (sized && issue.origin !== 'number' && issue.origin !== 'int') {
    const unit = issue.origin === 'string' ? 'characters' : 'entries';
    return issue.code === 'too_small' ? `needs at least ${issue.minimum} ${unit}` : `at most ${issue.maximum} ${unit}`;
  }
  if (issue.code === 'invalid_format' && issue.format !== 'regex')
    return `expected text in the form of ${issue.format}`;
  if (issue.code === 'invalid_format') return 'not in the expected form';
  const shapes = [...new Set(nodes.flatMap(shapesOf))];
  return `expected ${shapes.join(' or ') || 'something else'}`;
}

/** What a schema node accepts, in words. */
function shapesOf(node: JsonSchema): string[] {
  const types = typeof node.type === 'string' ? [node.type] : (node.type ?? []);
  return types.flatMap((type) => {
    if (type === 'string') return ['text'];
    if (type === 'boolean') return ['true or false'];
    if (type === 'array') return ['a list'];
    if (type === 'object') return ['a section of keys'];
    if (type === 'integer' || type === 'number') return [numberWords(node, type)];
    return [];
  });
}

function numberWords({ minimum, maximum }: JsonSchema, type: string): string {
  if (maximum === 65_535) return 'a port number between 1 and 65535';
  const what = type === 'integer' ? 'a whole number' : 'a number';
  const low = minimum === undefined || minimum <= Number.MIN_SAFE_INTEGER ? undefined : minimum;
  const high = maximum === undefined || maximum >= Number.MAX_SAFE_INTEGER ? undefined : maximum;
  if (low !== undefined && high !== undefined) return `${what} between ${low} and ${high}`;
  if (low !== undefined) return `${what} of at least ${low}`;
  return high === undefined ? what : `${what} of at most ${high}`;
}

function choicesOf(nodes: readonly JsonSchema[]): string[] {
  const choices = nodes.flatMap((node) => node.enum ?? (node.const === undefined ? [] : [node.const]));
  return [...new Set(choices.map(String))];
}

function listed(words: readonly string[]): string {
  const shown = words.slice(0, MAX_LISTED).join(', ');
  return words.length > MAX_LISTED ? `${shown}, …` : shown;
}

/** The schema nodes that may describe what is at `path`, following the values to pick the right kind of link. */
function schemasAt(path: Path, { schema, value }: Reading): JsonSchema[] {
  let nodes = branches(schema);
  let here = value;
  for (const [depth, key] of path.entries()) {
    const last = depth === path.length - 1;
    const fitting = last && key === 'kind' ? nodes : nodes.filter((node) => kindFits(node, here));
    nodes = fitting.flatMap((node) => {
      const child = typeof key === 'number' ? node.items : (ownProperty(node.properties, key) ?? ofEvery(node));
      return child ? branches(child as JsonSchema) : [];
    });
    here = ownProperty(here, key);
  }
  const fitting = nodes.filter((node) => kindFits(node, here));
  return fitting.length > 0 ? fitting : nodes;
}

/** What every key may hold, where keys are names that somebody chose. */
function ofEvery({ additionalProperties: every }: JsonSchema): unknown {
  return typeof every === 'object' ? every : undefined;
}

/** Of a choice, those of the type that was written, if there are any: a wrong port is not told that text would do. */
function fittingType(nodes: JsonSchema[], value: unknown): JsonSchema[] {
  const type = Array.isArray(value) ? 'array' : typeof value;
  const fitting = nodes.filter((node) => node.type === type || (node.type === 'integer' && type === 'number'));
  return fitting.length > 0 ? fitting : nodes;
}

function kindFits(node: JsonSchema, value: unknown): boolean {
  const kind = node.properties?.kind?.const;
  return kind === undefined || ownProperty(value, 'kind') === kind;
}

/** A node, or the nodes it is a choice of. */
function branches(node: JsonSchema): JsonSchema[] {
  const choices = node.anyOf ?? node.oneOf ?? node.allOf;
  return choices ? choices.flatMap(branches) : [node];
}

function valueAt(value: unknown, path: Path): unknown {
  return path.reduce<unknown>((here, key) => ownProperty(here, key), value);
}

function ownProperty(value: unknown, key: PropertyKey): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, key)
    ? (value as Record<PropertyKey, unknown>)[key]
    : undefined;
}
