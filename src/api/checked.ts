// What came in, held against its schema; what is wrong with it, in words that name the field.
import type * as z from 'zod';
import { printable } from '../config/problem.ts';
import { suggest } from '../config/suggest.ts';
import { noWords, wordsOf } from './issue-words.ts';
import { Refusal } from './refusal.ts';

const MAX_ISSUES = 20;

export interface FieldProblem {
  /** Such as `filters.groups[0]`; '' for the whole. */
  readonly field: string;
  readonly words: string;
}

/** @throws Refusal 400 that names every wrong field */
export function checked<Schema extends z.ZodType>(schema: Schema, value: unknown, where: string): z.output<Schema> {
  const result = schema.safeParse(value, { error: noWords });
  if (result.success) return result.data;
  const known = Object.keys((schema as unknown as { shape?: object }).shape ?? {});
  const errors = result.error.issues.flatMap((issue) => problemsOf(issue, value, known)).slice(0, MAX_ISSUES);
  const words = errors.map(({ field, words }) => (field ? `${field}: ${words}` : words)).join('; ');
  const unknown = result.error.issues.some(({ code }) => code === 'unrecognized_keys');
  throw new Refusal(400, unknown ? 'unknown_field' : 'bad_value', `${where}: ${words}`, { more: { errors } });
}

function problemsOf(issue: z.core.$ZodIssue, value: unknown, known: readonly string[]): FieldProblem[] {
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => {
      const meant = issue.path.length === 0 ? suggest(key, known) : undefined;
      const hint = meant ? `, did you mean "${meant}"?` : '';
      return { field: fieldName([...issue.path, key]), words: `unknown field${hint}` };
    });
  }
  const words = wordsOf(issue, valueAt(value, issue.path));
  return [{ field: fieldName(issue.path), words: printable(words, 300) }];
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  let here = value;
  for (const key of path) {
    if (typeof here !== 'object' || here === null || !Object.hasOwn(here, key)) return undefined;
    here = (here as Record<PropertyKey, unknown>)[key];
  }
  return here;
}

function fieldName(path: readonly PropertyKey[]): string {
  let name = '';
  for (const key of path) name += typeof key === 'number' ? `[${key}]` : `${name ? '.' : ''}${printable(String(key))}`;
  return name;
}
