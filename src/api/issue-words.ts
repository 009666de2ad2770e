// zod's issues in words that somebody who calls the API can act on. A schema's own message wins; zod's are never shown.
import type * as z from 'zod';

type Issue = z.core.$ZodIssue;

/** Pass as the `error` of a parse: leaves the wording to wordsOf(), but not where a schema has its own. */
export const noWords = (): string => '';

const MAX_LISTED = 30;

const SHAPES: Readonly<Record<string, string>> = {
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'an object',
  record: 'an object',
  null: 'null',
};

/** What is wrong with one value. `value`: what stands there. */
export function wordsOf(issue: Issue, value: unknown): string {
  if (issue.message) return lower(issue.message);
  const words = expectation(issue, value);
  return value === undefined ? `missing; ${words}` : words;
}

function expectation(issue: Issue, value: unknown): string {
  switch (issue.code) {
    case 'invalid_type':
      return `expected ${SHAPES[issue.expected] ?? 'something else'}`;
    case 'invalid_value':
      return `expected ${oneOf(issue.values)}`;
    case 'too_small':
      return bound(issue.origin, 'at least', issue.minimum);
    case 'too_big':
      return bound(issue.origin, 'at most', issue.maximum);
    case 'invalid_key':
      return `a name in it is not taken: ${issue.issues[0] ? wordsOf(issue.issues[0], '') : 'not in the expected form'}`;
    case 'invalid_union':
      return eitherOf(issue, value);
    case 'not_multiple_of':
      return `expected a multiple of ${issue.divisor}`;
    default:
      return 'not in the expected form';
  }
}

/** Of texts their length, of lists their entries, of numbers themselves. */
function bound(origin: string, which: 'at least' | 'at most', limit: number | bigint): string {
  if (origin === 'number' || origin === 'int') return `expected ${which} ${limit}`;
  const units = origin === 'string' ? ['character', 'characters'] : ['entry', 'entries'];
  const verb = which === 'at least' ? 'needs' : 'may have';
  return `${verb} ${which} ${limit} ${Number(limit) === 1 ? units[0] : units[1]}`;
}

/** Values that the forms of a union name, such as those of two lists; what all of them expect; else that there are several forms. */
function eitherOf({ errors }: z.core.$ZodIssueInvalidUnion, value: unknown): string {
  const first = errors.flatMap(([issue]) => (issue ? [issue] : []));
  const named = first.flatMap((issue) => (issue.code === 'invalid_value' ? issue.values : []));
  if (named.length > 0 && first.every(({ code }) => code === 'invalid_value')) return `expected ${oneOf(named)}`;
  const fitting = first.filter(({ code }) => code !== 'invalid_type');
  if (fitting.length === 1) return wordsOf(fitting[0]!, value);
  const shapes = new Set(first.map((issue) => (issue.code === 'invalid_type' ? SHAPES[issue.expected] : undefined)));
  return shapes.size > 0 && !shapes.has(undefined)
    ? `expected ${[...shapes].join(' or ')}`
    : 'expected one of the documented forms';
}

function oneOf(values: readonly unknown[]): string {
  const told = values.map((value) => (value === '' ? 'nothing' : String(value)));
  if (told.length === 1) return told[0]!;
  return `one of ${told.slice(0, MAX_LISTED).join(', ')}${told.length > MAX_LISTED ? ', …' : ''}`;
}

function lower(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}
