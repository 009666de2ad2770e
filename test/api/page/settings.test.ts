// The form of a link's filters and budget: what is shown and sent back unchanged changes nothing; what is changed, that alone.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type SettingsBody, settingsBody, settingsFields, settingsPatch } from '../../../src/api/page/settings.ts';
import { Refusal } from '../../../src/api/refusal.ts';
import { editYaml } from '../../../src/config/edit.ts';
import { linksOf, patchLink, type Section } from '../../../src/config/links-edit.ts';

const ENTRY = {
  name: 'hq',
  password: 'very secret',
  policy: {
    in: false,
    allow_types: ['a-f-', 'b-t-f'],
    filter_out: {
      areas: [
        { box: [46, 7, 47.5, 8] },
        { circle: [46.9, 7.4, 30] },
        {
          polygon: [
            [1, 2],
            [3, 4],
            [5, -6],
          ],
        },
      ],
      every_seconds: 30,
      alerts: 'always',
      teams: ['Cyan'],
    },
  },
  budget: { profile: 'satcom', rate: 64_000, per_day: 2_500_000, metered: false },
} as unknown as Section;

/** What a browser sends of the form, as the fields were shown. */
function shown(entry: Section): Record<string, string> {
  const { text } = settingsFields(entry);
  const asText = (one: string) => one.replace(/&#39;/g, "'").replace(/&lt;/g, '<').replace(/&amp;/g, '&');
  const fields: Record<string, string> = {};
  for (const [, name, value] of text.matchAll(/<textarea[^>]* name="([^"]+)"[^>]*>([^<]*)</g)) fields[name!] = value!;
  for (const [, name, value] of text.matchAll(/<input[^>]* name="([^"]+)" value="([^"]*)"/g)) fields[name!] = value!;
  for (const [, name, options] of text.matchAll(/<select[^>]* name="([^"]+)">(.*?)<\/select>/gs)) {
    fields[name!] = /value="([^"]*)" selected/.exec(options!)?.[1] ?? '';
  }
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [name, asText(value).replaceAll('\n', '\r\n')]),
  );
}

function patch(entry: Section, changes: Readonly<Record<string, string>> = {}): Section {
  const body = settingsBody.parse({ etag: 'e', ...shown(entry), ...changes });
  return settingsPatch(entry, body as SettingsBody);
}

test('a form sent back as it was shown changes nothing', () => {
  assert.equal(
    shown(ENTRY)['policy.filter_out.areas'],
    'box 46 7 47.5 8\r\ncircle 46.9 7.4 30\r\npolygon 1 2 3 4 5 -6',
  );
  assert.deepEqual([shown(ENTRY)['budget.rate'], shown(ENTRY)['budget.per_day']], ['64k', '2.5M']);
  assert.deepEqual(patch(ENTRY), {});
  assert.deepEqual(patch({ name: 'bare' } as Section), {});
});

test('each change is that change alone; sections that hold nothing any more go', () => {
  assert.deepEqual(patch(ENTRY, { 'policy.block_types': ' b-t-f-s \r\n\r\nt-x' }), {
    policy: { block_types: ['b-t-f-s', 't-x'] },
  });
  assert.deepEqual(patch(ENTRY, { 'policy.filter_in.max_age_seconds': '300' }), {
    policy: { filter_in: { max_age_seconds: 300 } },
  });
  assert.deepEqual(patch(ENTRY, { 'budget.per_day': '5M', 'budget.metered': 'true' }), {
    budget: { per_day: 5_000_000, metered: true },
  });
  assert.deepEqual(patch(ENTRY, { 'policy.filter_out.areas': 'polygon 1,2 3,4 5,-7' }), {
    policy: {
      filter_out: {
        areas: [
          {
            polygon: [
              [1, 2],
              [3, 4],
              [5, -7],
            ],
          },
        ],
      },
    },
  });
  const small = {
    name: 'p',
    policy: { filter_in: { every_seconds: 5 }, out: false },
    budget: { rate: 2_400 },
  } as unknown as Section;
  assert.deepEqual(patch(small, { 'policy.filter_in.every_seconds': '', 'budget.rate': '' }), {
    policy: { filter_in: null },
    budget: null,
  });
  assert.deepEqual(patch({ name: 'bare' } as Section, { 'policy.filter_out.alerts': 'false' }), {
    policy: { filter_out: { alerts: false } },
  });
});

test('what cannot be read is refused with words', () => {
  const refused = (changes: Readonly<Record<string, string>>, words: RegExp) =>
    assert.throws(
      () => patch(ENTRY, changes),
      (error: Refusal) => error instanceof Refusal && words.test(error.message),
    );
  refused({ 'budget.rate': '9600 baud' }, /no number: 9600 baud/);
  refused({ 'budget.rate': '-5' }, /no number/);
  refused({ 'policy.filter_in.areas': 'box 1 2 3' }, /no area: box 1 2 3/);
  refused({ 'policy.filter_in.areas': 'toString 1 2 3' }, /no area/);
  refused({ 'policy.filter_in.areas': 'circle a b c' }, /no area/);
  refused({ 'budget.profile': 'pigeon' }, /no such choice/);
  assert.equal(settingsBody.safeParse({ etag: 'e', 'policy.in': 'x' }).success, false);
});

test('the file keeps its comments', () => {
  const text = `links:
  # to headquarters
  - name: hq # over the satellite
    kind: cot
    policy:
      allow_types: [ a-f- ] # friends
      block_types: [ t-x ] # no pings
    budget: { profile: satcom } # costs 5 a megabyte
`;
  const entry = linksOf(text)[0]!;
  const edits = patchLink(text, 'hq', patch(entry, { 'policy.allow_types': 'a-f-\r\nb-t-f', 'budget.per_day': '5M' }));
  assert.equal(
    editYaml(text, edits),
    text.replace('[ a-f- ]', '[ a-f-, b-t-f ]').replace('{ profile: satcom }', '{ profile: satcom, per_day: 5000000 }'),
  );
});
