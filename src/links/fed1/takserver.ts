// TAK Server and Federation Hub as they speak v1: the same messages as on v2, stamped the same way. Older ones pass over what
// they do not know.
import type { Envelope } from '../../core/message.ts';
import { asFederated } from '../../wire/encode.ts';
import type { GroupHops } from '../../wire/federation-stamps.ts';
import { groupsOnward } from '../group-hops.ts';
import type { Node } from '../link.ts';
import type { Dialect } from './dialect.ts';

/** @param groups.own said of what carries none; @param groups.hops how far what goes out in a group may travel */
export function takServerDialect(
  node: Node,
  { own, hops }: { readonly own: readonly string[]; readonly hops: GroupHops | undefined },
): Dialect {
  return {
    encode(envelope: Envelope, groups: readonly string[]) {
      const bare = groups.length === 0 && envelope.groups.length === 0;
      const shown = bare && own.length > 0 ? own : groups;
      if (!hops) return asFederated(envelope, shown, node);
      const onward = groupsOnward(shown, envelope, hops);
      return onward ? asFederated(envelope, onward, node, hops) : 'hop_limit';
    },
    read: (payload) => payload,
    heard() {},
  };
}
