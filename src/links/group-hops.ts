// How far what goes out to federates may travel: the key `group_hops` of links, and of federates that a listener knows by name.
import * as z from 'zod';
import type { Envelope } from '../core/message.ts';
import { type GroupHops, lesser } from '../wire/federation-stamps.ts';

export { type GroupHops, lesser };

const MAX_GROUPS = 256;
const MAX_HOPS = 64;

/** As written: hops by group. */
export const groupHopsEntry = z
  .record(z.string().min(1).max(1024), z.int().min(-1).max(MAX_HOPS))
  .refine((limits) => Object.keys(limits).length <= MAX_GROUPS, `more than ${MAX_GROUPS} groups`);

/** As written: hops in whatever group. */
export const maxHopsOut = z.int().min(-1).max(MAX_HOPS);

export const groupHops = groupHopsEntry
  .optional()
  .transform((limits): GroupHops | undefined => limitsOf(Object.entries(limits ?? {})))
  .describe('Most hops of what goes out here, by TAK group as it is called there; -1: unlimited.');

/** undefined: nothing is limited. */
export function limitsOf(byGroup: Iterable<readonly [string, number]>, all = -1): GroupHops | undefined {
  const most = new Map(byGroup);
  return most.size > 0 || all >= 0 ? { most, all, key: JSON.stringify([all, ...most]) } : undefined;
}

/** What both allow. */
export function withinBoth(one: GroupHops | undefined, other: GroupHops | undefined): GroupHops | undefined {
  if (!one || !other) return one ?? other;
  const most = new Map(one.most);
  for (const [group, limit] of other.most) most.set(group, lesser(most.get(group) ?? -1, limit));
  return limitsOf(most, lesser(one.all, other.all));
}

/** The groups in which the message may make one more hop; undefined when it may in none, or may make none at all. */
export function groupsOnward(
  groups: readonly string[],
  { hops: { current } }: Envelope,
  { most, all }: GroupHops,
): readonly string[] | undefined {
  if (all >= 0 && current >= all) return undefined;
  const onward = groups.filter((group) => {
    const limit = most.get(group) ?? -1;
    return limit < 0 || current < limit;
  });
  return onward.length > 0 || groups.length === 0 ? onward : undefined;
}
