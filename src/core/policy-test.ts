// Would this event cross, and which rule decides? Asked of the very functions that decide about real ones; nothing is sent.
import type { Clock } from '../lib/clock.ts';
import type { CotEvent, Envelope, Inbound } from './message.ts';
import { networkOf } from './networks.ts';
import type { Peer } from './peer.ts';
import { nameOf } from './peer-name.ts';
import {
  type AdmitContext,
  admit,
  conflationKey,
  DEFAULT_POLICY,
  enteredGroups,
  laneOf,
  mayHop,
  type Policy,
  permit,
  thinMsIn,
  thinMsOut,
  verdictIn,
  verdictOut,
  visibleGroups,
} from './policy.ts';
import { DROP_WORDS } from './reason.ts';

export interface PolicyAnswer {
  readonly crosses: boolean;
  /** The key of the policy that decided, `rules_out[2]`, `protocol`, or a reason for which messages are dropped; '' when nothing did. */
  readonly rule: string;
  readonly words: string;
}

export interface PeerAnswer extends PolicyAnswer {
  readonly peer: string;
  readonly name: string;
  readonly link: string;
  /** Which of the box's networks it is in. */
  readonly network: string;
  /** Groups it would be shown with. */
  readonly groups: readonly string[];
}

export interface PolicyReport {
  readonly event: { readonly uid: string; readonly type: string; readonly callsign: string };
  /** Key of the peer it would come from, or the name of a link; '' for nobody that we know. */
  readonly from: string;
  /** Which of the box's networks it would come from: where nobody is named, `main`. */
  readonly network: string;
  /** Whether it would be let in. */
  readonly entry: PolicyAnswer;
  /** The other peers. Where it is not let in, none gets it, whatever stands here. */
  readonly peers: readonly PeerAnswer[];
  /** It names its recipients: of those who may have it, only they get it. */
  readonly directed: boolean;
}

/** Where an event would come from: a peer, or what one of a link would be. */
export interface PolicySource {
  /** Of the peer; else the name of the link. */
  readonly key: string;
  readonly policy: Policy;
  /** Coming from it is a hop. */
  readonly federated: boolean;
}

/** Somebody without rules of his own, in the main network: no link is called so. */
const NOBODY: PolicySource = { key: '?', policy: DEFAULT_POLICY, federated: false };

export interface PolicyQuestion {
  readonly event: CotEvent;
  readonly groups: readonly string[];
  readonly from: PolicySource | undefined;
  readonly peers: readonly Peer[];
  readonly clock: Clock;
  /** As the hub knows itself. */
  readonly nodeId: string;
  readonly flowTag: string;
}

export function testPolicy(question: PolicyQuestion): PolicyReport {
  const { event, groups, from, peers, clock, nodeId, flowTag } = question;
  const source = from ?? NOBODY;
  const { policy } = source;
  const inbound: Inbound = {
    message: { kind: 'event', event },
    size: 0,
    groups: groups.length > 0 ? groups : undefined,
  };
  const envelope = asReceived(inbound, source, clock);
  return {
    event: { uid: event.uid, type: event.type, callsign: event.callsign },
    from: from?.key ?? '',
    network: networkOf(policy),
    entry: entering(inbound, policy, { nodeId, flowTag, wallMs: clock.wallMs(), clockOffsetMs: 0 }),
    peers: peers.filter(({ spec }) => spec.key !== from?.key).map((peer) => leaving(envelope, peer, clock)),
    directed: event.destUids.length + event.destCallsigns.length > 0,
  };
}

function asReceived(inbound: Inbound, { key, policy, federated }: PolicySource, clock: Clock): Envelope {
  const lane = laneOf(inbound.message);
  return {
    seq: 0,
    message: inbound.message,
    wire: undefined,
    from: key,
    receivedWallMs: clock.wallMs(),
    receivedMs: clock.nowMs(),
    expiresMs: Number.POSITIVE_INFINITY,
    groups: enteredGroups(inbound.groups, policy),
    provenance: [],
    hops: { max: policy.maxHops, current: federated ? 1 : 0 },
    lane,
    conflate: conflationKey(inbound.message, lane),
    encodings: undefined,
  };
}

// --- in --------------------------------------------------------------------------------------------------------------

const KEYS_IN = {
  in: 'in',
  dpIn: 'dp_in',
  groupsIn: 'groups_in',
  allowTypes: 'allow_types',
  blockTypes: 'block_types',
} as const;
const KEYS_OUT = {
  border: 'networks',
  out: 'out',
  dpOut: 'dp_out',
  groupsOut: 'groups_out',
  allowTypes: 'allow_types',
  blockTypes: 'block_types',
} as const;

function entering(inbound: Inbound, policy: Policy, context: AdmitContext): PolicyAnswer {
  const refusal = admit(inbound, policy, context);
  const verdict = verdictIn(inbound, policy, context.wallMs);
  if (!refusal) return passes(verdict?.at ?? '', thinMsIn(inbound, policy, context.wallMs));
  if (refusal !== 'filtered_in') return { crosses: false, rule: refusal, words: DROP_WORDS[refusal] };
  const alone = (key: keyof Policy) => admit(inbound, { ...DEFAULT_POLICY, [key]: policy[key] }, context) === refusal;
  return stopped(KEYS_IN, alone, policy, verdict?.at);
}

// --- out -------------------------------------------------------------------------------------------------------------

function leaving(envelope: Envelope, peer: Peer, clock: Clock): PeerAnswer {
  const { spec, policy } = peer;
  return {
    peer: spec.key,
    name: nameOf(peer),
    link: spec.link,
    network: networkOf(policy),
    ...exit(envelope, peer, { nowMs: clock.nowMs() }),
    groups: visibleGroups(envelope, policy),
  };
}

function exit(envelope: Envelope, { policy, session }: Peer, context: { readonly nowMs: number }): PolicyAnswer {
  const verdict = verdictOut(envelope, policy, context);
  if (permit(envelope, policy, context)) {
    const alone = (key: keyof Policy) =>
      permit(envelope, { ...DEFAULT_POLICY, [key]: policy[key] }, context) !== undefined;
    return stopped(KEYS_OUT, alone, policy, verdict?.at);
  }
  if (session?.federated && !mayHop(envelope)) return { crosses: false, rule: 'max_hops', words: DROP_WORDS.hop_limit };
  if (session && !session.carries(envelope.message)) {
    return { crosses: false, rule: 'protocol', words: DROP_WORDS.unsupported };
  }
  return passes(verdict?.at ?? '', thinMsOut(envelope, policy));
}

// --- words -----------------------------------------------------------------------------------------------------------

function passes(rule: string, thinMs: number): PolicyAnswer {
  const words = rule === '' ? 'no rule stops it' : `${rule} allows it`;
  const thinned = thinMs > 0 ? `; at most one position of a unit in ${thinMs / 1000} s` : '';
  return { crosses: true, rule, words: words + thinned };
}

/** The first key that stops it by itself; else a rule of the list. */
function stopped(
  keys: Readonly<Partial<Record<keyof Policy, string>>>,
  alone: (key: keyof Policy) => boolean,
  policy: Policy,
  at: string | undefined,
): PolicyAnswer {
  const found = (Object.entries(keys) as [keyof Policy, string][]).find(([key]) => alone(key));
  if (found) {
    const [key, rule] = found;
    const value = policy[key];
    const shown = Array.isArray(value) ? `[${value.join(', ')}]` : String(value);
    return { crosses: false, rule, words: `${rule}: ${shown} stops it` };
  }
  if (at) return { crosses: false, rule: at, words: `${at} stops it, or cannot rule out that it should` };
  return {
    crosses: false,
    rule: 'rules',
    words: 'no rule allows it, and where one allows something the rest is stopped',
  };
}
