// The keys of a policy that say in detail what crosses: a section per direction for the usual wishes, a list of rules for the
// rest. Both become one list of rules (core/filter.ts).
import * as z from 'zod';
import type { Area } from '../core/area.ts';
import type { Match, Rule } from '../core/filter.ts';

const MAX_LIST = 256;
const MAX_TEXT = 256;
const MAX_RULES = 128;
const MAX_CORNERS = 256;
const MAX_SECONDS = 7 * 24 * 3600;

const text = z.string().min(1).max(MAX_TEXT);
const list = z.array(text).min(1).max(MAX_LIST);
const lat = z.number().min(-90).max(90);
const lon = z.number().min(-180).max(180);
const seconds = z.number().min(1).max(MAX_SECONDS);

const box = z
  .tuple([lat, lon, lat, lon])
  .refine(([south, , north]) => south < north, 'expected [south, west, north, east], with south below north')
  .transform(([south, west, north, east]): Area => ({ box: { south, west, north, east } }))
  .describe('[south, west, north, east] in degrees. West above east: over the date line.');
const circle = z
  .tuple([lat, lon, z.number().gt(0).max(20_000)])
  .transform(([lat_, lon_, km]): Area => ({ circle: { lat: lat_, lon: lon_, metres: km * 1000 } }))
  .describe('[latitude, longitude, radius in km].');
const polygon = z
  .array(z.tuple([lat, lon]))
  .min(3)
  .max(MAX_CORNERS)
  .transform((corners): Area => ({ polygon: corners.map(([lat_, lon_]) => ({ lat: lat_, lon: lon_ })) }))
  .describe('Corners as [latitude, longitude].');

const area = z.union([
  z.strictObject({ box }).transform(({ box: it }) => it),
  z.strictObject({ circle }).transform(({ circle: it }) => it),
  z.strictObject({ polygon }).transform(({ polygon: it }) => it),
]);
const areas = z.array(area).min(1).max(32);

const matchKeys = z.strictObject({
  types: list.optional().describe('CoT types that begin so, such as a-f-.'),
  callsigns: list.optional().describe('Callsigns; * for anything, ? for one character.'),
  uids: list.optional().describe('Uids; * and ? as in callsigns.'),
  teams: list.optional().describe('Teams of ATAK, such as Cyan.'),
  groups: list.optional().describe('TAK groups, by their names on this box.'),
  feeds: list.optional().describe('Uids of TAK Server data feeds; "*" for any.'),
  areas: areas.optional().describe('Boxes, circles, polygons: { box: [..] }, { circle: [..] }, { polygon: [..] }.'),
  older_than_seconds: seconds.optional().describe('By the event’s own time.'),
  alerts: z.boolean().optional().describe('Emergencies and calls for evacuation; false: everything else.'),
  packages: z.boolean().optional().describe('Data packages and missions; false: everything else.'),
});

/** All it says must hold; `all` for every message. */
const match = z.union([z.literal('all').transform((): z.output<typeof matchKeys> => ({})), matchKeys]);

const pair = z
  .string()
  .max(2 * MAX_TEXT)
  .regex(/^[^:]+:[^:]+$/, 'expected OLD:NEW, two group names')
  .transform((value) => {
    const [from = '', to = ''] = value.split(':');
    return { from, to };
  });

const rule = z.union([
  z.strictObject({ allow: match }),
  z.strictObject({ deny: match }),
  z.strictObject({ thin: match, every_seconds: seconds }),
  z.strictObject({ rename: pair }),
]);

export const ruleList = z
  .array(rule)
  .max(MAX_RULES)
  .nullish()
  .transform((value) => value ?? [])
  .describe(
    'Rules in order: allow, deny, thin (with every_seconds), rename. The first allow or deny that fits decides; what none decides ' +
      'crosses, unless there is an allow.',
  );

export const filterSection = z
  .strictObject({
    allow_types: list.optional().describe('Only event types beginning with one of these, in this direction.'),
    block_types: list.optional().describe('Never event types beginning with one of these, in this direction.'),
    callsigns: list.optional().describe('Only units, markers and chat of these callsigns; * and ? stand for others.'),
    block_callsigns: list.optional().describe('Never those of these callsigns.'),
    teams: list.optional().describe('Only units of these teams.'),
    areas: areas
      .optional()
      .describe('Only what lies in one of these: { box: [south, west, north, east] }, circle, polygon.'),
    block_areas: areas.optional().describe('Nothing that lies in one of these.'),
    block_feeds: list.optional().describe('None of these data feeds; "*" for any.'),
    max_age_seconds: seconds.optional().describe('Nothing older, by its own time.'),
    every_seconds: seconds.optional().describe('At most one position of a unit in so long.'),
    alerts: z
      .union([z.boolean(), z.literal('always')])
      .default(true)
      .describe('false: no emergencies. always: emergencies whatever this section says. true: like everything else.'),
  })
  .nullish();

export type FilterSection = z.output<typeof filterSection>;
export type RuleEntry = z.output<typeof ruleList>[number];

/** The rules of one direction in the order they are asked; `at` of each names its place in the file. */
export function rulesOf(direction: 'in' | 'out', section: FilterSection, entries: readonly RuleEntry[]): Rule[] {
  return [
    ...sectionRules(`filter_${direction}`, section),
    ...entries.map((entry, index) => entryRule(`rules_${direction}[${index}]`, entry)),
  ];
}

/** Group names of a list that may hold `remote:local`, and the rules that rename them. */
export function groupNames(
  key: 'groups_in' | 'groups_out',
  entries: readonly string[],
): { readonly names: readonly string[]; readonly rules: readonly Rule[] } {
  const pairs = entries.map((entry) => /^([^:]+):([^:]+)$/.exec(entry)?.slice(1) as [string, string] | undefined);
  const ours = (at: number) =>
    (key === 'groups_in' ? [pairs[at]![0], pairs[at]![1]] : [pairs[at]![1], pairs[at]![0]]) as [string, string];
  return {
    names: entries.map((entry, at) => (pairs[at] ? ours(at)[0] : entry)),
    rules: entries.flatMap((_, at): Rule[] => {
      if (!pairs[at]) return [];
      const [from, to] = ours(at);
      return [{ action: 'rename', at: `${key}[${at}]`, from, to }];
    }),
  };
}

function entryRule(at: string, entry: RuleEntry): Rule {
  if ('rename' in entry) return { action: 'rename', at, ...entry.rename };
  if ('thin' in entry) return { action: 'thin', at, match: matchOf(entry.thin), everyMs: entry.every_seconds * 1000 };
  return 'allow' in entry
    ? { action: 'allow', at, match: matchOf(entry.allow) }
    : { action: 'deny', at, match: matchOf(entry.deny) };
}

function matchOf({ older_than_seconds, ...rest }: z.output<typeof matchKeys>): Match {
  return older_than_seconds === undefined ? rest : { ...rest, olderThanMs: older_than_seconds * 1000 };
}

function sectionRules(where: string, section: FilterSection): Rule[] {
  if (!section) return [];
  const rules: Rule[] = [];
  const add = (key: keyof NonNullable<FilterSection>, make: (at: string) => Rule) => {
    if (section[key] !== undefined) rules.push(make(`${where}.${key}`));
  };
  const deny =
    (match_: Match, more: object = {}) =>
    (at: string): Rule => ({ action: 'deny', at, match: match_, ...more });
  const { alerts, allow_types, block_types, callsigns, block_callsigns, teams, block_feeds, max_age_seconds } = section;
  if (alerts === 'always') rules.push({ action: 'allow', at: `${where}.alerts`, match: { alerts: true }, aside: true });
  if (alerts === false)
    rules.push({ action: 'deny', at: `${where}.alerts`, match: { alerts: true }, eventsOnly: true });
  add('block_types', deny({ types: block_types }, { eventsOnly: true }));
  add('allow_types', deny({ types: allow_types }, { unless: true, eventsOnly: true }));
  add('block_callsigns', deny({ callsigns: block_callsigns }));
  add('callsigns', deny({ callsigns }, { unless: true }));
  add('teams', deny({ teams }, { unless: true }));
  add('block_areas', deny({ areas: section.block_areas }));
  add('areas', deny({ areas: section.areas }, { unless: true }));
  add('block_feeds', deny({ feeds: block_feeds }, { eventsOnly: true }));
  add('max_age_seconds', deny({ olderThanMs: (max_age_seconds ?? 0) * 1000 }, { eventsOnly: true }));
  add('every_seconds', (at) => ({ action: 'thin', at, match: {}, everyMs: (section.every_seconds ?? 0) * 1000 }));
  return rules;
}
