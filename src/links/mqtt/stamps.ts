// What relays say to each other beside an event, as MQTT 5 user properties: the relays it has passed, its hops, its groups. By
// the first of these each knows its own events when the broker hands them back, whichever way they went.
import type { Hops, Inbound, Provenance } from '../../core/message.ts';
import type { UserProperties } from './broker.ts';
import { MAX_GROUPS, MAX_NAME_BYTES, MAX_PATH } from './limits.ts';

/** Ids of the relays passed, the first one first; repeated. */
const PATH = 'waystation-path';
/** Hops made, and the most it may make (-1: no bound): `2/-1`. */
const HOPS = 'waystation-hops';
/** A TAK group it is sent to; repeated. */
const GROUP = 'waystation-group';

export interface Stamps {
  readonly provenance: readonly Provenance[];
  readonly hops: Hops;
  readonly groups: readonly string[];
}

/** Undefined: it has passed more relays than can be said, so no loop would be found. */
export function userProperties({ provenance, hops, groups }: Stamps, self: string): UserProperties | undefined {
  if (provenance.length >= MAX_PATH) return undefined;
  const known = groups.filter((group) => Buffer.byteLength(group) <= MAX_NAME_BYTES).slice(0, MAX_GROUPS);
  return {
    [PATH]: [...provenance.map(({ id }) => id), self],
    [HOPS]: `${hops.current + 1}/${hops.max}`,
    ...(known.length > 0 ? { [GROUP]: known } : {}),
  };
}

/** Undefined: they are not to be believed. */
export function readStamps(properties: UserProperties): Pick<Inbound, 'provenance' | 'hops' | 'groups'> | undefined {
  const path = list(properties[PATH]);
  const groups = list(properties[GROUP]);
  const hops = list(properties[HOPS]);
  if (path.length > MAX_PATH || groups.length > MAX_GROUPS || hops.length > 1) return undefined;
  if ([...path, ...groups].some((name) => name === '' || Buffer.byteLength(name) > MAX_NAME_BYTES)) return undefined;
  const [, current, max] = /^(\d{1,4})\/(-1|\d{1,4})$/.exec(hops[0] ?? '') ?? [];
  if (hops.length === 1 && current === undefined) return undefined;
  return {
    ...(path.length > 0 ? { provenance: path.map((id) => ({ id, name: '' })) } : {}),
    ...(current !== undefined ? { hops: { current: Number(current), max: Number(max) } } : {}),
    ...(groups.length > 0 ? { groups } : {}),
  };
}

function list(value: string | readonly string[] | undefined): readonly string[] {
  if (value === undefined) return [];
  return typeof value === 'string' ? [value] : value;
}
