// Would an event get through? Every filter on its way is asked about samples of what people send, with the very functions
// that decide about the real ones; and a marked event is sent the way events go.
import type { Clock } from '../lib/clock.ts';
import { type CotEvent, type Envelope, type Message, NO_DETAIL, type Wire } from './message.ts';
import type { Peer } from './peer.ts';
import { type AdmitContext, admit, DEFAULT_POLICY, laneOf, mayHop, type Policy, PROBE_TYPE, permit } from './policy.ts';
import type { DropReason } from './reason.ts';
import type { Session } from './session.ts';

/** How long the marked event is worth sending. */
export const PROBE_LIFE_MS = 15_000;
/** Lists of types may be long. */
const MAX_WORDS = 300;
const UNKNOWN_METRES = 9_999_999;

/** A rule that would stop some of the samples. */
export interface Filter {
  /** On the relay that is asked, or on the other. */
  readonly at: 'here' | 'there';
  readonly link: string;
  /** The key of the policy as the file has it, or `protocol`. */
  readonly rule: string;
  /** What it stops: `friendly unit`, `chat`, `marker`, `alert`. */
  readonly stops: readonly string[];
  readonly words: string;
}

/** A step on the way, with the milliseconds it took. */
export interface ProbeHop {
  readonly from: string;
  readonly to: string;
  readonly ms: number;
  /** How that is known. */
  readonly words: string;
}

/** What `waystation probe` tells. */
export interface ProbeReport {
  readonly peer: string;
  readonly connected: boolean;
  /** `direct`, or the name of the hub in between; '' while it is away or not known. */
  readonly via: string;
  /** The marked event came out over there. */
  readonly arrived: boolean;
  /** Asked for the clients behind it: whether an event was seen being written out to one. Null: not asked for. */
  readonly delivered: boolean | null;
  /** Milliseconds; null: not measured. */
  readonly rttMs: number | null;
  /** How much its clock is ahead of ours, milliseconds; null: not measured. */
  readonly clockOffsetMs: number | null;
  readonly hops: readonly ProbeHop[];
  readonly filters: readonly Filter[];
  /** The verdict, a sentence each. */
  readonly words: readonly string[];
}

const SAMPLES: readonly (Pick<CotEvent, 'type' | 'how' | 'team'> & { readonly name: string })[] = [
  { name: 'friendly unit', type: 'a-f-G-U-C', how: 'm-g', team: 'Cyan' },
  { name: 'chat', type: 'b-t-f', how: 'h-g-i-g-o', team: '' },
  { name: 'marker', type: 'b-m-p-s-m', how: 'h-g-i-g-o', team: '' },
  { name: 'alert', type: 'b-a-o-tbl', how: 'h-e', team: '' },
];

/** A filter that names so many stops stops everything. */
export const SAMPLE_COUNT = SAMPLES.length;

type Named = (typeof SAMPLES)[number];

/** A peer, or what one of a link would be. */
interface Asked {
  readonly policy: Policy;
  readonly session?: Pick<Session, 'carries'> | undefined;
  readonly spec: { readonly link: string };
}

/** The marked event. */
export function probeEvent(uid: string, wallMs: number): CotEvent {
  const errors = { hae: UNKNOWN_METRES, ce: UNKNOWN_METRES, le: UNKNOWN_METRES };
  const times = { timeMs: wallMs, startMs: wallMs, staleMs: wallMs + PROBE_LIFE_MS };
  return { ...NO_DETAIL, uid, type: PROBE_TYPE, how: 'm-g', ...times, lat: 0, lon: 0, ...errors };
}

/** What became of an event that was offered to a peer: on its wire, waiting in its queue, or dropped for a reason. */
export type Offered = 'sent' | 'waiting' | DropReason;

/** Offers the marked event to one peer alone, through the same gate as every other message. One hop is all it may make. */
export function offerProbe(peer: Peer, event: CotEvent, wire: Wire, clock: Clock): Offered {
  const envelope = envelopeOf({ kind: 'event', event }, wire, peer.policy.groupsOut, clock);
  const lane = peer.lanes[envelope.lane]!;
  const before = { sent: lane.sent, dropped: { ...lane.dropped } };
  peer.offer(envelope);
  if (lane.sent > before.sent) return 'sent';
  const reasons = Object.keys(lane.dropped) as DropReason[];
  return reasons.find((reason) => lane.dropped[reason] !== before.dropped[reason]) ?? 'waiting';
}

function envelopeOf(message: Message, wire: Wire | undefined, groups: readonly string[], clock: Clock): Envelope {
  const nowMs = clock.nowMs();
  return {
    seq: 0,
    message,
    wire,
    from: '',
    receivedWallMs: clock.wallMs(),
    receivedMs: nowMs,
    expiresMs: nowMs + PROBE_LIFE_MS,
    groups,
    provenance: [],
    hops: { max: 1, current: 0 },
    lane: laneOf(message),
    conflate: '',
    encodings: undefined,
  };
}

/** The rules that would keep a sample from getting out to the peer. */
export function filtersOut(peer: Asked, at: Filter['at'], clock: Clock): Filter[] {
  const { policy, session, spec } = peer;
  const found = (rule: string, stopped: readonly Named[]) => filter({ at, link: spec.link, rule, stopped, policy });
  return [
    ...found('out', stoppedOut('out', policy, clock)),
    ...found('groups_out', stoppedOut('groupsOut', policy, clock)),
    ...found('allow_types', stoppedOut('allowTypes', policy, clock)),
    ...found('block_types', stoppedOut('blockTypes', policy, clock)),
    ...found('rules_out', stoppedOut('rulesOut', policy, clock)),
    ...found('protocol', session ? SAMPLES.filter((sample) => !session.carries(sampleMessage(sample, clock))) : []),
  ];
}

/** The rules that would keep a sample from coming in from the peer. `out`: whereto it is bound, for the hops it may make. */
export function filtersIn(peer: Asked, at: Filter['at'], clock: Clock, out?: Peer): Filter[] {
  const { policy, spec } = peer;
  const found = (rule: string, stopped: readonly Named[]) => filter({ at, link: spec.link, rule, stopped, policy });
  const hops = { max: policy.maxHops, current: 0 };
  const grounded =
    out?.session?.federated &&
    !mayHop({ ...envelopeOf(sampleMessage(SAMPLES[0]!, clock), undefined, [], clock), hops });
  return [
    ...found('in', stoppedIn('in', policy, clock)),
    ...found('groups_in', stoppedIn('groupsIn', policy, clock)),
    ...found('allow_types', stoppedIn('allowTypes', policy, clock)),
    ...found('block_types', stoppedIn('blockTypes', policy, clock)),
    ...found('rules_in', stoppedIn('rulesIn', policy, clock)),
    ...found('max_hops', grounded ? SAMPLES : []),
    ...found('networks', out?.policy.border?.opensTo(policy.network) === false ? SAMPLES : []),
  ];
}

/** The samples that one key of the policy, all others left open, keeps from getting out. */
function stoppedOut(key: keyof Policy, policy: Policy, clock: Clock): Named[] {
  const alone = { ...DEFAULT_POLICY, [key]: policy[key] };
  return SAMPLES.filter((sample) => permit(envelopeOf(sampleMessage(sample, clock), undefined, [], clock), alone));
}

function stoppedIn(key: keyof Policy, policy: Policy, clock: Clock): Named[] {
  const alone = { ...DEFAULT_POLICY, [key]: policy[key] };
  const context: AdmitContext = { nodeId: '', flowTag: '', wallMs: clock.wallMs(), clockOffsetMs: 0 };
  return SAMPLES.filter((sample) => admit({ message: sampleMessage(sample, clock), size: 0 }, alone, context));
}

function sampleMessage({ type, how, team }: Named, clock: Clock): Message {
  return { kind: 'event', event: { ...probeEvent('sample', clock.wallMs()), type, how, team } };
}

interface Finding {
  readonly at: Filter['at'];
  readonly link: string;
  readonly rule: string;
  readonly stopped: readonly Named[];
  readonly policy: Policy;
}

function filter({ at, link, rule, stopped, policy }: Finding): Filter[] {
  if (stopped.length === 0) return [];
  const stops = stopped.map(({ name }) => name);
  const types = stopped.map(({ name, type }) => `${name} (${type})`).join(', ');
  return [{ at, link, rule, stops, words: WORDS[rule]!(policy, types).slice(0, MAX_WORDS) }];
}

const WORDS: Readonly<Record<string, (policy: Policy, types: string) => string>> = {
  in: () => 'nothing is let in: in: false',
  out: () => 'nothing is let out: out: false',
  groups_in: ({ groupsIn }) => `only what was sent to ${groupsIn.join(', ')} is let in; what phones send says no group`,
  groups_out: ({ groupsOut }) =>
    `only what was sent to ${groupsOut.join(', ')} is let out; what phones send says no group`,
  allow_types: ({ allowTypes }, types) => `allow_types [${allowTypes.join(', ')}] leaves out ${types}`,
  block_types: ({ blockTypes }, types) => `block_types [${blockTypes.join(', ')}] stops ${types}`,
  rules_in: (_, types) =>
    `filter_in or rules_in stop ${types}, or cannot rule out that they should; try "waystation policy test"`,
  rules_out: (_, types) =>
    `filter_out or rules_out stop ${types}, or cannot rule out that they should; try "waystation policy test"`,
  max_hops: ({ maxHops }) => `what comes in may make ${maxHops} hops, too few to leave for another relay`,
  networks: ({ network }) => `it is in the network ${network}, with which that of the peer does not federate`,
  protocol: (_, types) => `this protocol cannot say ${types}`,
};
