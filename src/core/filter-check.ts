// Rules that cannot mean what they say: found when the configuration is checked.
import { fits, type Match, type Rule } from './filter.ts';

export interface Contradiction {
  /** The rule's place in the list. */
  readonly index: number;
  readonly words: string;
}

/** What is wrong with a list of rules as a whole: those that never decide anything, names that are renamed twice. */
export function contradictions(rules: readonly Rule[]): readonly Contradiction[] {
  return rules.flatMap((rule, index) => {
    const words =
      rule.action === 'rename' ? renameTrouble(rule, rules.slice(0, index)) : neverAsked(rule, rules.slice(0, index));
    return words === undefined ? [] : [{ index, words }];
  });
}

function renameTrouble(rule: Extract<Rule, { action: 'rename' }>, before: readonly Rule[]): string | undefined {
  if (rule.from === rule.to) return `renames ${rule.from} to itself`;
  const other = before.find((earlier) => earlier.action === 'rename' && earlier.from === rule.from);
  return other && `${rule.from} has another name already, by ${other.at}`;
}

/** An earlier rule decides about all that this one speaks of. */
function neverAsked(rule: Exclude<Rule, { action: 'rename' }>, before: readonly Rule[]): string | undefined {
  const earlier = before.find((other) => decidesAll(other, rule));
  if (!earlier) return undefined;
  const does = earlier.action === 'allow' ? 'allows' : 'denies';
  return `has no effect: ${earlier.at} ${does} all of it already`;
}

function decidesAll(rule: Rule, later: Exclude<Rule, { action: 'rename' }>): boolean {
  if ((rule.action !== 'allow' && rule.action !== 'deny') || rule.unless) return false;
  if (rule.eventsOnly && speaksOfPackages(later)) return false;
  return covers(rule.match, later.match);
}

/** An `allow` needs a yes, and of packages nothing else is known for sure. */
function speaksOfPackages(rule: Exclude<Rule, { action: 'rename' }>): boolean {
  if (rule.action === 'thin' || rule.eventsOnly || rule.match.packages === false) return false;
  const { groups: _, packages: __, ...others } = rule.match;
  return rule.action === 'deny' || Object.values(others).every((value) => value === undefined);
}

/** True when everything that `small` speaks of, `large` speaks of too. Not every such pair is found, but none is wrong. */
export function covers(large: Match, small: Match): boolean {
  return (Object.keys(large) as (keyof Match)[]).every((key) => {
    const [a, b] = [large[key], small[key]];
    if (a === undefined) return true;
    if (b === undefined) return false;
    return COVER[key](a as never, b as never);
  });
}

type Cover<T> = (large: T, small: T) => boolean;

/** Every entry of the small list is covered by one of the large. */
function each<T>(one: (large: T, small: T) => boolean): Cover<readonly T[]> {
  return (large, small) => small.every((s) => large.some((l) => one(l, s)));
}

/** Plain data, its keys always in the same order. */
const same: Cover<unknown> = (a, b) => JSON.stringify(a) === JSON.stringify(b);
/** A pattern taken as a name: what fits `A*` fits it with every `*` of its own. */
const pattern = each<string>((large, small) => {
  if (large === small) return true;
  return !small.includes('?') && !(small.includes('*') && large.includes('?')) && fits(large, small);
});

const COVER: { readonly [K in keyof Required<Match>]: Cover<NonNullable<Match[K]>> } = {
  types: each((large, small) => small.startsWith(large)),
  callsigns: pattern,
  uids: pattern,
  feeds: pattern,
  teams: each(same),
  groups: each(same),
  areas: each(same),
  olderThanMs: (large, small) => small >= large,
  alerts: same,
  packages: same,
};
