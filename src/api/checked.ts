// What came in, held against its schema; what is wrong with it, in words that name the field.
import type * as z from 'zod';
import { printable } from '../config/problem.ts';
import { suggest } from '../config/suggest.ts';
import { Refusal } from './refusal.ts';

const MAX_ISSUES = 20;

export interface FieldProblem {
  /** Such as `filters.groups[0]`; '' for the whole. */
  readonly field: string;
  readonly words: string;
}

/** @throws Refusal 400 that names every wrong field */
export function checked<Schema extends z.ZodType>(schema: Schema, value: unknown, where: string): z.output<Schema> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const known = Object.keys((schema as unknown as { shape?: object }).shape ?? {});
  const errors = result.error.issues.flatMap((issue) => problemsOf(issue, known)).slice(0, MAX_ISSUES);
  const words = errors.map(({ field, words }) => (field ? `${field}: ${words}` : words)).join('; ');
  const unknown = result.error.issues.some(({ code }) => code === 'unrecognized_keys');
  throw new Refusal(400, unknown ? 'unknown_field' : 'bad_value', `${where}: ${words}`, { more: { errors } });
}

function problemsOf(issue: z.core.$ZodIssue, known: readonly string[]): FieldProblem[] {
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => {
      const meant = issue.path.length === 0 ? suggest(key, known) : undefined;
      const hint = meant ? `, did you mean "${meant}"?` : '';
      return { field: fieldName([...issue.path, key]), words: `unknown field${hint}` };
    });
  }
  const words = issue.code === 'invalid_union' ? eitherOf(issue) : issue.message;
  return [{ field: fieldName(issue.path), words: printable(lower(words), 300) }];
}

/** Values that the forms of a union name, such as those of two lists; else that there are several forms. */
function eitherOf({ errors }: z.core.$ZodIssueInvalidUnion): string {
  const named = errors.map(([first]) => (first?.code === 'invalid_value' ? first.values : undefined));
  if (named.length === 0 || named.includes(undefined)) return 'expected one of the documented forms';
  const values = named.flatMap((some) => some ?? []).map((value) => (value === '' ? 'nothing' : String(value)));
  return `expected one of ${values.join(', ')}`;
}

function lower(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}

function fieldName(path: readonly PropertyKey[]): string {
  let name = '';
  for (const key of path) name += typeof key === 'number' ? `[${key}]` : `${name ? '.' : ''}${printable(String(key))}`;
  return name;
}
