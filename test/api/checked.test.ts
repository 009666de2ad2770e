// What a request is told that has a wrong value: words from which the right one can be found.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as z from 'zod';
import { checked } from '../../src/api/checked.ts';
import { Refusal } from '../../src/api/refusal.ts';
import { presets } from '../../src/onboarding/presets.ts';

function wrong(value: unknown, schema: z.ZodType = presets): string {
  try {
    checked(schema, value, 'the body');
  } catch (error) {
    if (error instanceof Refusal) return error.message;
    throw error;
  }
  assert.fail('it was accepted');
}

test('a value that is in none of several lists is answered with all that are', () => {
  assert.match(wrong({ team: 'Purple-ish' }), /^the body: team: expected one of nothing, White, .*Purple/);
  assert.match(wrong({ role: 'Boss' }), /role: expected one of nothing, Team Member, .*Medic/);
  assert.match(wrong({ callsign: '\n' }), /callsign: expected /);
});

test('every kind of mistake is told in our own words, with the field', () => {
  const schema = z.strictObject({
    name: z.string().min(1).max(4).optional(),
    own: z.string().regex(/^x$/, 'Expected an x').optional(),
    form: z.string().regex(/^x$/).optional(),
    url: z.url().optional(),
    count: z.int().min(1).max(9).optional(),
    rate: z.coerce.number().max(5).optional(),
    on: z.boolean().optional(),
    list: z.array(z.string()).min(1).max(2).optional(),
    hops: z.record(z.string().min(1), z.int().max(64)).optional(),
    yes: z.literal('yes').optional(),
    either: z.union([z.string().max(2), z.array(z.string())]).optional(),
    kind: z
      .discriminatedUnion('kind', [z.object({ kind: z.literal('a') }), z.object({ kind: z.literal('b') })])
      .optional(),
    sub: z.strictObject({ must: z.string() }).optional(),
  });
  const cases: readonly (readonly [object, string])[] = [
    [{ name: 5 }, 'name: expected text'],
    [{ name: '' }, 'name: needs at least 1 character'],
    [{ name: 'abcde' }, 'name: may have at most 4 characters'],
    [{ own: 'y' }, 'own: expected an x'],
    [{ form: 'y' }, 'form: not in the expected form'],
    [{ url: 'y' }, 'url: not in the expected form'],
    [{ count: 1.5 }, 'count: expected a whole number'],
    [{ count: 0 }, 'count: expected at least 1'],
    [{ count: 10 }, 'count: expected at most 9'],
    [{ rate: 'much' }, 'rate: expected a number'],
    [{ rate: '7' }, 'rate: expected at most 5'],
    [{ on: 'on' }, 'on: expected true or false'],
    [{ list: {} }, 'list: expected a list'],
    [{ list: [] }, 'list: needs at least 1 entry'],
    [{ list: ['a', 'b', 'c'] }, 'list: may have at most 2 entries'],
    [{ list: ['a', 1] }, 'list[1]: expected text'],
    [{ hops: [] }, 'hops: expected an object'],
    [{ hops: { Blue: 65 } }, 'hops.Blue: expected at most 64'],
    [{ hops: { '': 1 } }, 'hops.: a name in it is not taken: needs at least 1 character'],
    [{ yes: 'no' }, 'yes: expected yes'],
    [{ either: 5 }, 'either: expected text or a list'],
    [{ either: 'abc' }, 'either: may have at most 2 characters'],
    [{ sub: {} }, 'sub.must: missing; expected text'],
    [{ nme: 'x' }, 'nme: unknown field, did you mean "name"?'],
  ];
  for (const [value, words] of cases) assert.equal(wrong(value, schema), `the body: ${words}`);
  assert.match(wrong({ kind: { kind: 'c' } }, schema), /^the body: kind\.kind: /);
  assert.equal(wrong(null, schema), 'the body: expected an object');
  assert.equal(wrong([], schema), 'the body: expected an object');
  // zod's own words, whatever they are about.
  const all = [...cases.map(([value]) => wrong(value, schema)), wrong({ kind: { kind: 'c' } }, schema)].join('\n');
  assert.doesNotMatch(all, /invalid|received|too (?:big|small)|<=|>=|undefined|pattern/i);
});
