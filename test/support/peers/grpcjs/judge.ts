// The rules: what a real TAK server or hub chokes on, in what the far end says. Section numbers are the specification's.
import { note, violation } from './say.ts';
import type { FederatedEvent, FederateGroups, Rol, Routed, Subscription } from './wire.ts';

/** Who is at the far end: our link is held to more than an emulated TAK server or hub, whose habits are given. */
export type Far = 'link' | 'takserver' | 'fedhub';

/** §7.3: name, type, stable server id and version in every Subscription. */
export function judgeSubscription(method: string, value: Subscription, far: Far): void {
  const { identity, version } = value;
  if (!identity?.name) violation('name_empty', `${method}: identity.name is empty`);
  if (far === 'fedhub') return;
  if (!identity?.serverId) violation('server_id_empty', `${method}: identity.serverId is empty`);
  if (!identity?.type.startsWith('FEDERATION_TAK')) {
    violation('type_unset', `${method}: identity.type is ${identity?.type}: hops are then counted as for a hub`);
  }
  if (far === 'link' && !(version && version.major > 0)) {
    violation('version_zero', `${method}: version.major is 0: HealthCheck is never completed`);
  }
}

/** §2.8: what was sent on names its way and keeps count. `own` is the judging peer's provenance id. */
function judgeRouted(what: string, value: Routed, own: string): void {
  const ids = value.federateProvenance.map((entry) => entry.federationServerId);
  if (ids.length === 0) violation('no_provenance', `${what} names no server it has passed`);
  if (ids.some((id) => id === '')) violation('provenance_empty', `${what} has a provenance without id`);
  if (new Set(ids).size < ids.length) violation('provenance_repeated', `${what} lists a server twice: ${ids}`);
  if (ids.includes(own)) violation('loop', `${what} comes back to ${own}, which it had passed`);
  if (new Set(value.federateGroups).size < value.federateGroups.length) {
    violation('groups_repeated', `${what} lists a group twice: ${value.federateGroups}`);
  }
  const hops = value.federateHops;
  if (!hops) violation('no_hops', `${what} has no hop count`);
  else if (hops.currentHops < 1) violation('hops_zero', `${what} counts ${hops.currentHops} hops`);
  else if (hops.maxHops > 0 && hops.currentHops > hops.maxHops) {
    violation('hops_over', `${what} made ${hops.currentHops} of ${hops.maxHops} hops`);
  }
}

/** §3.1-§3.3. An empty FederatedEvent is what hubs say; everybody ignores it. */
export function judgeEvent(value: FederatedEvent, own: string): void {
  if (value.contact) judgeContact(value);
  if (value.event) judgeGeoEvent(value);
  if (value.event || value.contact) judgeRouted(value.event ? `event ${value.event.uid}` : 'contact', value, own);
}

/** Why a hub does not pass the message on; undefined: it does (§2.8). */
export function hubDrops(value: Routed, own: string): 'loop' | 'hops' | undefined {
  if (value.federateProvenance.some((entry) => entry.federationServerId === own)) return 'loop';
  const { maxHops, currentHops } = value.federateHops ?? { maxHops: -1, currentHops: 2 };
  return maxHops >= 0 && currentHops + 1 > maxHops ? 'hops' : undefined;
}

function judgeContact({ contact }: FederatedEvent): void {
  if (!contact?.uid && !contact?.callsign) violation('contact_incomplete', 'a contact with neither uid nor callsign');
  if (contact?.operation === 'INVALID' || contact?.operation === 'READ') {
    violation('contact_op', `a contact with operation ${contact.operation} is ignored`);
  }
}

function judgeGeoEvent({ event }: FederatedEvent): void {
  if (!event) return;
  const { uid, type, coordSource, other } = event;
  if (!uid || !type || !coordSource) violation('event_incomplete', `uid "${uid}" type "${type}" how "${coordSource}"`);
  if (!/^\s*<detail[\s/>]/.test(other)) violation('no_detail', `${uid}: other is not a detail: ${other.slice(0, 60)}`);
  if (/<track[\s/>]/.test(other) && (event.speed !== 0 || event.course !== 0)) {
    violation('track_twice', `${uid}: speed and course are filled and <track> is still in other`);
  }
  if (/<status[^>]*battery=/.test(other) && event.battery !== 0) {
    violation('status_twice', `${uid}: battery is filled and still in other`);
  }
  if (/<precisionlocation[\s/>]/.test(other) && event.ploc !== '') {
    violation('precision_twice', `${uid}: ploc is filled and <precisionlocation> is still in other`);
  }
  if (/<marti[\s>].*<dest[\s/>]/s.test(other))
    violation('dest_in_detail', `${uid}: recipients stand in other, not in ptp`);
  if (type.startsWith('t-x-m')) violation('mission_change', `${uid}: ${type} is never federated`);
  if (type === 'b-f-t-r') violation('file_transfer', `${uid}: files go as ROL`);
  if (type === 't-x-d-d') violation('disconnect', `${uid}: a disconnect goes as contact DELETE`);
  if (event.sendTime <= 0 || event.staleTime <= 0) violation('no_time', `${uid}: send or stale time is not set`);
}

export function judgeRol(value: Rol, own: string): void {
  if (!/^\s*\w+\s+\w+\s*\{.*\}\s*;\s*$/s.test(value.program)) {
    violation('rol_program', `not a program: ${value.program.slice(0, 60)}`);
  }
  judgeRouted('ROL', value, own);
}

/** §2.3: a second SERVING makes a TAK client open a second ServerEventStream. */
export function judgeServing(value: FederateGroups, servingSeen: number): void {
  if (value.streamUpdate?.status === 'SERVING' && servingSeen > 0) {
    violation('second_serving', 'SERVING came again: a TAK client opens another ServerEventStream for it');
  }
}

/** What the certificate of the far end shows; `chained` undefined: this stack cannot tell. */
export interface SeenCertificate {
  readonly subject: string;
  readonly issuer: string;
  readonly extendedUsages: readonly string[];
  readonly chained: boolean | undefined;
}

const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2';

/** §2.1: CN in both names, clientAuth or no usage at all, leaf and CA sent. */
export function judgeCertificate(seen: SeenCertificate): void {
  if (!seen.subject.includes('CN=')) violation('no_cn', `no CN in the subject ${seen.subject}`);
  if (!seen.issuer.includes('CN=')) violation('no_cn', `no CN in the issuer ${seen.issuer}`);
  if (seen.extendedUsages.length > 0 && !seen.extendedUsages.includes(CLIENT_AUTH)) {
    violation('no_client_auth', 'the certificate may not be used by a client, which is how TAK checks even servers');
  }
  if (seen.chained === false) violation('chain_short', 'the leaf came alone, without its CA');
}

/** Preconditions by method: what must have been handled on the connection before. */
const PRECONDITIONS: Record<'takserver' | 'fedhub', Partial<Record<string, string>>> = {
  // §2.4: the contact snapshot goes down ClientEventStream when ServerEventStream opens, feeds and missions down ROL.
  // Groups that come before ServerEventStream meet a null pointer.
  takserver: {
    ServerEventStream: 'ClientEventStream',
    ClientROLStream: 'ServerEventStream',
    groups: 'ServerEventStream',
  },
  // §2.5: null pointers.
  fedhub: { ServerROLStream: 'ClientEventStream', ClientROLStream: 'ClientEventStream' },
};
/** A predecessor that is handled this soon after lost a race rather than its place. */
const RACE_MS = 200;

/** Judges the place of `method`, or of the message `groups`; `opened` goes on to fill while the race is waited out. */
export function judgeOrder(
  as: 'takserver' | 'fedhub',
  method: string,
  opened: readonly string[],
  missing: () => void,
): void {
  const before = PRECONDITIONS[as][method];
  if (!before || opened.includes(before)) return;
  note('order_race', `${method} was handled before ${before}`);
  setTimeout(() => {
    if (opened.includes(before)) return;
    violation('order', `${method} came before ${before}`);
    missing();
  }, RACE_MS);
}
