// What the federation protocols have in common once a FederatedEvent is cut out of its wire: what of it the hub is told, and
// which messages are ever said as one.
import type { CotEvent, Hops, Inbound, Message, Provenance } from '../core/message.ts';
import type { SessionPort } from '../core/session.ts';
import { ProtocolError } from '../lib/errors.ts';
import { kept } from '../lib/kept.ts';
import { type FederatedScan, scanFederated, scanGroupHopLimits } from '../wire/federation.ts';
import { arrivedWithin } from '../wire/federation-stamps.ts';

type Port = Pick<SessionPort, 'deliver' | 'refused'>;

export type Stamps = Pick<Inbound, 'groups' | 'provenance' | 'hops'>;

/** What scanFederated() and scanRol() both tell of the way a message has made. */
export interface Stamped {
  readonly groups: readonly string[] | undefined;
  readonly provenance: readonly Provenance[] | undefined;
  readonly hops: Hops | undefined;
  readonly hasGroupHopLimits: boolean;
}

/** A federate that counts no hops has made one: its own. The hub has the same, less our hop (tak-federation §2.8). */
const UNSTAMPED: Hops = { max: -1, current: 1 };

/**
 * Tells the hub what a FederatedEvent says: a contact, an event, both or nothing. `size`: bytes it took on the wire. One that
 * cannot be read is counted as malformed, with undefined returned: the framing is sound, so the next one can.
 */
export function deliverFederated(payload: Buffer, size: number, port: Port): FederatedScan | undefined {
  const scan = scanned(scanFederated, payload, size, port);
  if (!scan || scan.empty) return scan;
  const stamps = stampsOf(scan, payload, size, port);
  if (!stamps) return scan;
  const { contact, event, eventBytes } = scan;
  if (contact) {
    const message: Message = { kind: 'contact', op: contact.op, contact: contact.contact };
    port.deliver({ message, wire: { format: 'fed', bytes: kept(contact.bytes) }, size, ...stamps });
  }
  if (event) {
    const message: Message = { kind: 'event', event };
    // The size of a message that says both is counted once.
    port.deliver({
      message,
      wire: { format: 'fed', bytes: kept(eventBytes) },
      size: contact ? 0 : size,
      ...stamps,
    });
  }
  return scan;
}

/** Groups, provenance and hops for the hub; undefined, and counted, when no group may go further. */
export function stampsOf(scan: Stamped, bytes: Buffer, size: number, port: Port): Stamps | undefined {
  const { groups, provenance, hops = UNSTAMPED } = scan;
  if (!scan.hasGroupHopLimits) return { groups, provenance, hops };
  const arrived = arrivedWithin(groups ?? [], scanGroupHopLimits(bytes) ?? [], hops.current);
  if (arrived) return { ...arrived, provenance };
  port.refused('hop_limit', size);
  return undefined;
}

/** A message that cannot be read is counted. */
export function scanned<T>(scan: (bytes: Buffer) => T, bytes: Buffer, size: number, port: Port): T | undefined {
  try {
    return scan(bytes);
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    port.refused('malformed', size);
    return undefined;
  }
}

/** Mission changes are never federated as events. A leave notice becomes a contact DELETE, for which it must say who left (§3.3). */
export function isFederatedEvent({ type, linkUid }: CotEvent): boolean {
  return type === 't-x-d-d' ? linkUid !== '' : !type.startsWith('t-x-m');
}
