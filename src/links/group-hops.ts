// The key `group_hops` of links between federates: how far what goes out in a group may travel.
import * as z from 'zod';
import type { Envelope } from '../core/message.ts';
import type { GroupHops } from '../wire/federation-stamps.ts';

const MAX_GROUPS = 256;
const MAX_HOPS = 64;

export const groupHops = z
  .record(z.string().min(1).max(1024), z.int().min(-1).max(MAX_HOPS))
  .refine((limits) => Object.keys(limits).length <= MAX_GROUPS, `more than ${MAX_GROUPS} groups`)
  .optional()
  .transform((limits): GroupHops | undefined => {
    if (!limits || Object.keys(limits).length === 0) return undefined;
    return { most: new Map(Object.entries(limits)), key: JSON.stringify(limits) };
  })
  .describe('Most hops of what goes out here, by TAK group as it is called there; -1: unlimited.');

/** The groups in which the message may make one more hop; undefined when it was in some, and may in none. */
export function groupsOnward(
  groups: readonly string[],
  { hops: { current } }: Envelope,
  { most }: GroupHops,
): readonly string[] | undefined {
  const onward = groups.filter((group) => {
    const limit = most.get(group) ?? -1;
    return limit < 0 || current < limit;
  });
  return onward.length > 0 || groups.length === 0 ? onward : undefined;
}
