// The keys of a `policy` section, wherever the configuration may hold one: at a link, at one peer of a link.
import * as z from 'zod';
import type { Rule } from '../core/filter.ts';
import { contradictions } from '../core/filter-check.ts';
import { type Policy, SENSOR_FEEDS } from '../core/policy.ts';
import { type FilterSection, filterSection, groupNames, type RuleEntry, ruleList, rulesOf } from './filter-keys.ts';

/** A network inside this box. */
export const networkName = z
  .string()
  .regex(/^[a-z0-9][a-z0-9._-]{0,31}$/, 'expected 1 to 32 of a-z 0-9 . _ - beginning with a letter or digit');

/** Most entries of a list, longest text: as of any key of the file. */
const MAX_LIST = 256;
const MAX_TEXT = 1024;

const texts = z.array(z.string().min(1).max(MAX_TEXT)).max(MAX_LIST);
const list = texts.default([]);

/** What is left out gets DEFAULT_POLICY's value, but for `blocked`: types that do not cross unless the section speaks of types itself. */
function keysWith(blocked: readonly string[]) {
  const usual = blocked.length > 0 ? ` Where neither list is given: ${blocked.join(', ')}.` : '';
  return z
    .strictObject({
      in: z.boolean().default(true).describe('Accept events from this link.'),
      out: z.boolean().default(true).describe('Send events to this link.'),
      dp_in: z.boolean().default(true).describe('Accept data packages and missions.'),
      dp_out: z.boolean().default(true).describe('Send data packages and missions.'),
      allow_types: texts
        .optional()
        .describe('Only event types beginning with one of these, such as a-f-. Empty: every type.'),
      block_types: texts
        .optional()
        .describe(`Never event types beginning with one of these. Wins over allow_types.${usual}`),
      groups_in: list.describe(
        'Accept only from these TAK groups, and of what says none from these teams; REMOTE:LOCAL gives a group its name here. Empty: all.',
      ),
      groups_out: list.describe(
        'Send only what belongs to one of these TAK groups, or says none and is of a team so called; REMOTE:LOCAL gives a group of ours its name there. Empty: all.',
      ),
      max_hops: z.int().min(-1).max(64).default(-1).describe('Most hops for what enters here. -1: unlimited.'),
      filter_in: filterSection.describe('What comes in, in detail.'),
      filter_out: filterSection.describe('What goes out, in detail.'),
      network: networkName
        .optional()
        .describe('Which of the networks of this box it is in. Default: of a peer its link’s, else main.'),
      rules_in: ruleList,
      rules_out: ruleList,
    })
    .superRefine((raw, context) => {
      for (const { path, message } of problemsOf(raw)) context.addIssue({ code: 'custom', path: [...path], message });
    })
    .transform((raw): Policy => {
      const rules = rulesOfPolicy(raw);
      return {
        in: raw.in,
        out: raw.out,
        dpIn: raw.dp_in,
        dpOut: raw.dp_out,
        allowTypes: raw.allow_types ?? [],
        blockTypes: raw.block_types ?? (raw.allow_types ? [] : blocked),
        groupsIn: groupNames('groups_in', raw.groups_in).names,
        groupsOut: groupNames('groups_out', raw.groups_out).names,
        maxHops: raw.max_hops,
        rulesIn: rules.in,
        rulesOut: rules.out,
        network: raw.network ?? '',
      };
    });
}

/** Strict. */
export const policyKeys = keysWith([]);

/** The same for those who federate with other organisations: what sensors keep reporting stays here until somebody says otherwise. */
export const federatePolicyKeys = keysWith(SENSOR_FEEDS);

interface Raw {
  readonly allow_types?: readonly string[] | undefined;
  readonly block_types?: readonly string[] | undefined;
  readonly groups_in: readonly string[];
  readonly groups_out: readonly string[];
  readonly filter_in?: FilterSection;
  readonly filter_out?: FilterSection;
  readonly rules_in: readonly RuleEntry[];
  readonly rules_out: readonly RuleEntry[];
}

/** Groups are renamed first on the way in, last on the way out: rules speak of their names on this box. */
function rulesOfPolicy(raw: Raw): { readonly in: readonly Rule[]; readonly out: readonly Rule[] } {
  return {
    in: [...groupNames('groups_in', raw.groups_in).rules, ...rulesOf('in', raw.filter_in, raw.rules_in)],
    out: [...rulesOf('out', raw.filter_out, raw.rules_out), ...groupNames('groups_out', raw.groups_out).rules],
  };
}

/** Lists that cannot mean what they say. */
function problemsOf(raw: Raw): { readonly path: readonly (string | number)[]; readonly message: string }[] {
  const blocked = (raw.allow_types ?? []).flatMap((type, index) => {
    const by = raw.block_types?.find((prefix) => type.startsWith(prefix));
    return by
      ? [{ path: ['allow_types', index], message: `never crosses: block_types has ${by}, and a block wins` }]
      : [];
  });
  const { in: rulesIn, out: rulesOut } = rulesOfPolicy(raw);
  const rules = [rulesIn, rulesOut].flatMap((list) =>
    contradictions(list).map(({ index, words }) => ({ path: placeOf(list[index]!.at), message: words })),
  );
  return [...blocked, ...rules];
}

/** `rules_in[2]` as a path. */
function placeOf(at: string): (string | number)[] {
  const parts = at.split(/[.[\]]+/).filter((part) => part !== '');
  return parts.map((part) => (/^\d+$/.test(part) ? Number(part) : part));
}
