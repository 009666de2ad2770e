// What may cross. Pure questions about one message and one peer: may it come in, which lane, may it go out.
import { metresBetween } from '../lib/geo.ts';
import { Filter, type Rule, type Verdict } from './filter.ts';
import {
  ALERT,
  CHAT,
  type ContactNotice,
  type CotEvent,
  type Envelope,
  FILE,
  type Inbound,
  isDirected,
  isPositionLane,
  type Lane,
  MARKER,
  type Message,
  MOVING,
  STILL,
} from './message.ts';
import type { DropReason } from './reason.ts';

/** Per link. Type lists are prefixes as the guides spell them (`a-f-`, `a-f-G`); a block wins over an allow. */
export interface Policy {
  /** Accept events from this peer. */
  readonly in: boolean;
  /** Send events to this peer. */
  readonly out: boolean;
  /** Accept and send data packages and missions, independently of events. */
  readonly dpIn: boolean;
  readonly dpOut: boolean;
  /** Empty: every type. */
  readonly allowTypes: readonly string[];
  readonly blockTypes: readonly string[];
  /** TAK groups that may cross; empty: all, including messages that carry none. */
  readonly groupsIn: readonly string[];
  readonly groupsOut: readonly string[];
  /** Most hops a message entering here may make; -1: unlimited. */
  readonly maxHops: number;
  /** What crosses, in detail (filter.ts). Asked last: they can only stop what the rest lets pass. */
  readonly rulesIn: readonly Rule[];
  readonly rulesOut: readonly Rule[];
  /** Which of the box's networks the peer is in; '': its link's, else the main one. */
  readonly network: string;
  /** Of that network, where the box has several: the hub's. */
  readonly border?: Border | undefined;
}

/** Keeps a network of the box apart from the others (networks.ts). */
export interface Border {
  readonly network: string;
  /** Tells what was seen in this network from what was seen in others. */
  readonly salt: number;
  /** May what was said, in whichever network, come into this one? */
  lets(envelope: Envelope): boolean;
  /** May anything at all come from there? */
  opensTo(network: string): boolean;
}

export const DEFAULT_POLICY: Policy = {
  in: true,
  out: true,
  dpIn: true,
  dpOut: true,
  allowTypes: [],
  blockTypes: [],
  groupsIn: [],
  groupsOut: [],
  maxHops: -1,
  rulesIn: [],
  rulesOut: [],
  network: '',
};

/** An event this much past its stale time is refused; less may be a clock that is wrong. */
export const STALE_GRACE_MS = 5 * 60_000;
/** An event dated this far ahead is refused. A day covers every time-zone mistake of a peer. */
export const FUTURE_LIMIT_MS = 24 * 3_600_000;

/** No message has waited longer in relays before this one, whatever they say. */
export const LONGEST_WAIT_MS = 48 * 3_600_000;

/** Attribute name this relay leaves in `_flow-tags_`. */
export function flowTagName(nodeId: string): string {
  return `waystation-${nodeId}`;
}

export interface AdmitContext {
  readonly nodeId: string;
  readonly flowTag: string;
  readonly wallMs: number;
  /** How far live units agree that our clock is behind (clock-sense.ts); 0: it is right. */
  readonly clockOffsetMs: number;
}

/** Ingress policy: undefined when the message may enter. */
export function admit(inbound: Inbound, policy: Policy, context: AdmitContext): DropReason | undefined {
  const { message } = inbound;
  if (inbound.provenance?.some((hop) => hop.id === context.nodeId)) return 'loop';
  if (isPackage(message)) {
    if (!policy.dpIn) return 'filtered_in';
  } else if (!policy.in) return 'filtered_in';
  if (inbound.hops && inbound.hops.max >= 0 && inbound.hops.current > inbound.hops.max) return 'hop_limit';
  if (!groupsPass(inbound.groups, message, policy.groupsIn)) return 'filtered_in';
  const refusal =
    message.kind === 'contact'
      ? admitContact(message, policy)
      : message.kind === 'event'
        ? admitEvent(inbound, message.event, policy, context)
        : undefined;
  return refusal ?? (rulesAdmit(inbound, policy, context) ? undefined : 'filtered_in');
}

function rulesAdmit(inbound: Inbound, policy: Policy, { wallMs, clockOffsetMs }: AdmitContext): boolean {
  const { message } = inbound;
  if (policy.rulesIn.length === 0 || isExempt(message)) return true;
  return verdictIn(inbound, policy, wallMs + clockOffsetMs)!.crosses;
}

/** What the rules say of a message that comes in; undefined: there are none. `wallMs`: the time it is. */
export function verdictIn(inbound: Inbound, policy: Policy, wallMs: number): Verdict | undefined {
  const { message } = inbound;
  const ageMs = message.kind === 'event' ? wallMs - message.event.timeMs : 0;
  return filterOf(policy.rulesIn)?.judge({ message, groups: enteredGroups(inbound.groups, policy), ageMs });
}

/** The groups a message has here: those that may come in, by their names here. */
export function enteredGroups(groups: readonly string[] = NO_GROUPS, policy: Policy): readonly string[] {
  const { groupsIn } = policy;
  const listed = groupsIn.length === 0 ? groups : groups.filter((group) => groupsIn.includes(group));
  return filterOf(policy.rulesIn)?.rename(listed) ?? listed;
}

const NO_GROUPS: readonly string[] = [];
const filters = new WeakMap<readonly Rule[], Filter>();

/** The rules as functions, made when they are asked first. */
export function filterOf(rules: readonly Rule[]): Filter | undefined {
  if (rules.length === 0) return undefined;
  const known = filters.get(rules);
  if (known) return known;
  const made = new Filter(rules, { isAlert, isUnit });
  filters.set(rules, made);
  return made;
}

/** A leave can only end what was let in; a probe says nothing. */
function isExempt(message: Message): boolean {
  if (message.kind === 'contact') return message.op === 'delete';
  return message.kind === 'event' && message.event.type === PROBE_TYPE;
}

/** A leave is always heard: it can only end what was let in. */
function admitContact(notice: ContactNotice, policy: Policy): DropReason | undefined {
  return notice.op === 'delete' || contactPasses(notice, policy) ? undefined : 'filtered_in';
}

function admitEvent(inbound: Inbound, event: CotEvent, policy: Policy, context: AdmitContext): DropReason | undefined {
  if (event.flowTags.length > 0 && event.flowTags.includes(context.flowTag)) return 'loop';
  const { wallMs, clockOffsetMs } = context;
  const isOfNow = (nowMs: number) => isTimely(event, nowMs) || isTimely(event, nowMs - patienceMs(inbound));
  if (!isOfNow(wallMs) && (clockOffsetMs === 0 || !isOfNow(wallMs + clockOffsetMs))) return 'stale';
  return typePasses(event.type, policy) ? undefined : 'filtered_in';
}

function isTimely({ timeMs, staleMs }: CotEvent, wallMs: number): boolean {
  return staleMs >= wallMs - STALE_GRACE_MS && timeMs <= wallMs + FUTURE_LIMIT_MS;
}

/** Chat that waited a day for a link to come back was not stale when it was said: that time does not count. */
function patienceMs(inbound: Inbound): number {
  return inbound.waitedMs !== undefined && laneOf(inbound.message) <= MARKER ? waitedMsOf(inbound) : 0;
}

/** How long a message waited in relays before this one, as far as that is to be believed. */
export function waitedMsOf({ waitedMs = 0 }: Inbound): number {
  return Math.max(0, Math.min(LONGEST_WAIT_MS, waitedMs));
}

/** What is known besides the message when it is to go out. */
export interface PermitContext {
  /** Monotonic clock; without it the message is as old as it was when it came. */
  readonly nowMs?: number | undefined;
  /** Of a contact: the position that may cross and is about to. */
  readonly reported?: CotEvent | undefined;
  /** Of a leave: the peer was told that the contact was there. */
  readonly told?: boolean | undefined;
}

/** Egress policy: undefined when this peer may have the message. */
export function permit(envelope: Envelope, policy: Policy, context: PermitContext = {}): DropReason | undefined {
  const { message } = envelope;
  if (isPackage(message)) {
    if (!policy.dpOut) return 'filtered_out';
  } else if (!policy.out) return 'filtered_out';
  if (policy.border !== undefined && !policy.border.lets(envelope)) return 'filtered_out';
  if (policy.groupsOut.length > 0 && !groupsPass(envelope.groups, message, policy.groupsOut)) return 'filtered_out';
  if (message.kind === 'event' && !typePasses(message.event.type, policy)) return 'filtered_out';
  if (message.kind === 'contact' && !contactPasses(message, policy)) return 'filtered_out';
  if (policy.rulesOut.length === 0 || (isExempt(message) && (message.kind !== 'contact' || context.told)))
    return undefined;
  return verdictOut(envelope, policy, context)!.crosses ? undefined : 'filtered_out';
}

/** What the rules say of a message that goes out; undefined: there are none. */
export function verdictOut(envelope: Envelope, policy: Policy, context: PermitContext = {}): Verdict | undefined {
  const { message, groups, receivedWallMs, receivedMs } = envelope;
  const waitedMs = context.nowMs === undefined ? 0 : context.nowMs - receivedMs;
  const ageMs = message.kind === 'event' ? receivedWallMs - message.event.timeMs + waitedMs : 0;
  return filterOf(policy.rulesOut)?.judge({ message, groups, ageMs, reported: context.reported });
}

/** Least time between two positions of its unit on the way out; 0: none. */
export function thinMsOut(envelope: Envelope, policy: Policy): number {
  if (!isPositionLane(envelope.lane) || envelope.message.kind !== 'event') return 0;
  return filterOf(policy.rulesOut)?.thins ? verdictOut(envelope, policy)!.thinMs : 0;
}

/** The same on the way in. */
export function thinMsIn(inbound: Inbound, policy: Policy, wallMs: number): number {
  const { message } = inbound;
  if (message.kind !== 'event' || !isUnit(message.event) || isDirected(message.event)) return 0;
  return filterOf(policy.rulesIn)?.thins ? verdictIn(inbound, policy, wallMs)!.thinMs : 0;
}

/** Data packages, missions, and what announces a file: these have switches of their own. */
export function isPackage(message: Message): boolean {
  if (message.kind === 'event') return message.event.type.startsWith('b-f-t-r');
  return message.kind === 'mission' || message.kind === 'blob';
}

/** A hop is made from federate to federate; the step to a client is none. */
export function mayHop({ hops }: Envelope): boolean {
  return hops.max < 0 || hops.current < hops.max;
}

/** The groups of the envelope that a peer may see, by their names there. The same array when nothing is held back or renamed. */
export function visibleGroups(envelope: Envelope, policy: Policy): readonly string[] {
  const { groups } = envelope;
  if (groups.length === 0) return groups;
  const listed = policy.groupsOut.length === 0 ? groups : groups.filter((group) => policy.groupsOut.includes(group));
  return filterOf(policy.rulesOut)?.rename(listed) ?? listed;
}

/** What says no group, as nothing does that comes from a phone, belongs to the one that its unit's team is called. */
function groupsPass(groups: readonly string[] | undefined, message: Message, allowed: readonly string[]): boolean {
  if (allowed.length === 0) return true;
  if (groups && groups.length > 0) return groups.some((group) => allowed.includes(group));
  const team =
    message.kind === 'event' ? message.event.team : message.kind === 'contact' ? message.unitTeam : undefined;
  return team !== undefined && team !== '' && allowed.includes(team);
}

function typePasses(type: string, policy: Policy): boolean {
  if (type === PROBE_TYPE) return true;
  if (policy.blockTypes.length > 0 && policy.blockTypes.some((prefix) => type.startsWith(prefix))) return false;
  return policy.allowTypes.length === 0 || policy.allowTypes.some((prefix) => type.startsWith(prefix));
}

/**
 * That somebody is there is as secret as where: of a unit whose type may not cross nothing is said. While the type is not known,
 * nothing is said where it might decide.
 */
function contactPasses({ unitType }: ContactNotice, policy: Policy): boolean {
  if (unitType !== undefined) return typePasses(unitType, policy);
  const { allowTypes, blockTypes } = policy;
  if (blockTypes.some((prefix) => prefix.startsWith(UNITS) || UNITS.startsWith(prefix))) return false;
  return allowTypes.length === 0 || allowTypes.some((prefix) => UNITS.startsWith(prefix));
}

/** Types of all units begin with this. */
const UNITS = 'a-';

/** A unit that reports itself: GPS position, or somebody with an endpoint or a team. A marker somebody drew is not. */
export function isUnit(event: CotEvent): boolean {
  return event.type.startsWith(UNITS) && (event.how.startsWith('m-') || event.endpoint !== '' || event.team !== '');
}

/**
 * The marked event of a probe. It says nothing, so type lists let it pass; the hub that receives it passes it on to nobody, and
 * like all of `t-x-c-` no client is sent it.
 */
export const PROBE_TYPE = 't-x-c-w-probe';

/** Emergencies, their cancelling, and calls for medical evacuation. */
export function isAlert(event: Pick<CotEvent, 'type'>): boolean {
  return event.type.startsWith('b-a-') || event.type === 'b-r-f-h-c';
}

/** Slower than this it stands still: what jumps about is its GPS. Metres per second. */
const STILL_BELOW = 0.5;
/** Prefixes of message types: chat and receipts, offers of files, tasking, replies. */
const CHAT_TYPES = ['b-t-f', 'b-f-t', 't-', 'y-'];
/** Points that a sensor keeps reporting, detections. Of `b-` these alone: alerts, chat, markers, routes and calls for evacuation are no feeds. */
export const SENSOR_FEEDS: readonly string[] = ['b-m-p-s-p-', 'b-d-'];
/** A message for more recipients than this is not told from others for them: it is never replaced. */
const MAX_SCOPE = 8;

/**
 * Which lane of a queue the message travels in. `before`: the unit's position before this one. That somebody came or went is no
 * more urgent than where he is: a federate may announce thousands, and an alert must not wait behind them.
 */
export function laneOf(message: Message, before?: CotEvent): Lane {
  if (message.kind === 'contact') return MOVING;
  if (message.kind === 'mission') return MARKER;
  if (message.kind === 'blob') return FILE;
  const { event } = message;
  if (isUnit(event)) return before && speedBetween(before, event) < STILL_BELOW ? STILL : MOVING;
  if (isAlert(event)) return ALERT;
  if (CHAT_TYPES.some((prefix) => event.type.startsWith(prefix))) return CHAT;
  return SENSOR_FEEDS.some((prefix) => event.type.startsWith(prefix)) ? STILL : MARKER;
}

/** Metres per second; a report of the same moment tells nothing of speed. */
function speedBetween(before: CotEvent, after: CotEvent): number {
  const seconds = Math.abs(after.timeMs - before.timeMs) / 1000;
  return seconds === 0 ? Number.POSITIVE_INFINITY : metresBetween(before, after) / seconds;
}

/**
 * Conflation key: of messages with the same one only the newest waits. One for each thing on the map and circle of recipients:
 * a unit's position, that it came or left; a marker, a route, and that it was deleted. '': never replaced.
 */
export function conflationKey(message: Message, lane: Lane): string {
  if (message.kind === 'contact') return message.contact.uid;
  if (message.kind !== 'event') return '';
  const { event } = message;
  if (event.type === DELETE_TYPE) return keyOf(event.linkUid, event);
  return lane === ALERT || lane === CHAT ? '' : keyOf(event.uid, event);
}

/** A thing on the map, or whoever reported himself, is gone: link@uid says who. */
const DELETE_TYPE = 't-x-d-d';

function keyOf(uid: string, { destUids, destCallsigns, destMissions }: CotEvent): string {
  const count = destUids.length + destCallsigns.length + destMissions.length;
  if (count === 0) return uid;
  if (uid === '' || count > MAX_SCOPE) return '';
  return [uid, ...[destUids, destCallsigns, destMissions].map((list) => [...list].sort().join('\t'))].join('\n');
}
