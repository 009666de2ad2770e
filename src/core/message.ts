// What flows through the relay. A Message is what was said; an Inbound is what a link hands in; an Envelope is what the
// hub routes: immutable, shared by every peer's queue.
import type { Held } from './backlog.ts';

/** The header of a CoT event: what policy and routing need. The detail itself stays in the bytes it came in. */
export interface CotEvent {
  readonly uid: string;
  readonly type: string;
  readonly how: string;
  /** Milliseconds since the epoch, UTC. */
  readonly timeMs: number;
  readonly startMs: number;
  readonly staleMs: number;
  /** Degrees; -90..90 and -180..180. */
  readonly lat: number;
  readonly lon: number;
  /** Metres; 9999999 means unknown, as CoT has it (ce and le; hae likewise). */
  readonly hae: number;
  readonly ce: number;
  readonly le: number;
  /** contact@callsign */
  readonly callsign: string;
  /** contact@endpoint, as phones write it (`*:-1:stcp`). */
  readonly endpoint: string;
  /** __group@name or group@name: the team. '' when absent. */
  readonly team: string;
  /** __group@role or group@role. */
  readonly role: string;
  /** marti/dest: whom it is for. All empty: for everybody. */
  readonly destUids: readonly string[];
  readonly destCallsigns: readonly string[];
  readonly destMissions: readonly string[];
  /** __chat@id of a chat message: the recipient's uid, or a room's name. '' when absent. */
  readonly chatId: string;
  /** __chat@senderCallsign of a chat message. '' when absent. */
  readonly sender: string;
  /** Attribute names of _flow-tags_: the servers this event has passed. */
  readonly flowTags: readonly string[];
  /** link@uid: for t-x-d-d, the uid of the one who left. '' when absent. */
  readonly linkUid: string;
  /** GeoEvent.feedUid: the data feed it belongs to. '' when absent, and where a protocol has none. */
  readonly feedUid: string;
}

/** How a unit moves, as it says itself. */
export interface Track {
  /** Degrees, of any turn. */
  readonly course: number;
  /** Metres per second. */
  readonly speed: number;
}

/** What the wire of a message tells of it, which is read only where it is asked for. undefined: nothing. */
export type TrackOf = (envelope: Envelope) => Track | undefined;

export interface Contact {
  readonly uid: string;
  readonly callsign: string;
}

/** Somebody can be addressed, or no longer. */
export interface ContactNotice {
  readonly kind: 'contact';
  readonly op: 'create' | 'update' | 'delete';
  readonly contact: Contact;
  /** The hub's: CoT type of the unit as it reported itself; undefined: it has not, or the notice comes from outside. */
  readonly unitType?: string | undefined;
  /** Its team; undefined or '': not known. */
  readonly unitTeam?: string | undefined;
}

/** What was said. `mission` (ROL) and `blob` are carried opaquely: their meaning stays in the wire bytes. */
export type Message =
  | { readonly kind: 'event'; readonly event: CotEvent }
  | ContactNotice
  | { readonly kind: 'mission'; readonly summary: string }
  | { readonly kind: 'blob'; readonly summary: string };

/**
 * A payload as it stands on some wire, without framing.
 * `xml`: one CoT event, UTF-8. `tak`: one TakMessage. `fed`: one FederatedEvent. `rol`: one ROL. `blob`: one BinaryBlob.
 */
export type WireFormat = 'xml' | 'tak' | 'fed' | 'rol' | 'blob';
export interface Wire {
  readonly format: WireFormat;
  readonly bytes: Buffer;
}

/** fig.proto FederateProvenance: a server that this message has passed. */
export interface Provenance {
  readonly id: string;
  readonly name: string;
}

/** fig.proto FederateHops. `max` -1: unlimited. `current` counts the hops already made, 1 at the first federate. */
export interface Hops {
  readonly max: number;
  readonly current: number;
}

/**
 * The lanes of a peer's queue, P0 to P5. `alert` always goes first; the others share the line (queue.ts). policy.ts says what
 * travels in which.
 */
export const LANES = ['alert', 'chat', 'marker', 'moving', 'still', 'file'] as const;
export type LaneName = (typeof LANES)[number];
/** Index into LANES. */
export type Lane = 0 | 1 | 2 | 3 | 4 | 5;
export const ALERT: Lane = 0;
export const CHAT: Lane = 1;
export const MARKER: Lane = 2;
export const MOVING: Lane = 3;
export const STILL: Lane = 4;
export const FILE: Lane = 5;

/** Lanes of units: only the newest word of each counts, and none that is past its stale time. */
export function isPositionLane(lane: Lane): boolean {
  return lane === MOVING || lane === STILL;
}

/** What a link hands in. `wire` is missing only for messages the relay itself makes. */
export interface Inbound {
  readonly message: Message;
  readonly wire?: Wire | undefined;
  /** Bytes it took on the wire, framing included. */
  readonly size: number;
  /** TAK groups it was sent to; undefined when the protocol carries none. */
  readonly groups?: readonly string[] | undefined;
  readonly provenance?: readonly Provenance[] | undefined;
  readonly hops?: Hops | undefined;
  /** Identity of the content of a message that has no uid and time (missions), the same by whatever path it comes. */
  readonly digest?: string | undefined;
  /** How long it waited in relays before this one, milliseconds, by their own account. */
  readonly waitedMs?: number | undefined;
}

/** A form of a message that was made of it, and the ones made before. */
export interface Encoding {
  readonly key: string;
  readonly bytes: Buffer;
  readonly next: Encoding | undefined;
}

/** What the hub routes. Immutable, except for `encodings` (what was made of it lately is kept here) and `held`. */
export interface Envelope {
  /** Counts up by one for every admitted message. */
  readonly seq: number;
  readonly message: Message;
  readonly wire: Wire | undefined;
  /** Key of the peer it came from; '' when the relay itself made it. */
  readonly from: string;
  /** Wall clock when it was received, milliseconds; of what must not be lost, when the first relay received it. */
  readonly receivedWallMs: number;
  /** The same by the monotonic clock, milliseconds. */
  readonly receivedMs: number;
  /** Monotonic time from which it is not worth sending any more; Infinity for what never expires. */
  readonly expiresMs: number;
  readonly groups: readonly string[];
  readonly provenance: readonly Provenance[];
  readonly hops: Hops;
  readonly lane: Lane;
  /** Conflation key: a waiting message with the same key is replaced in its place. '' : never replaced. */
  readonly conflate: string;
  /** Written by wire/encode.ts only. undefined: none are kept. */
  encodings: Encoding | undefined;
  /** Written by core/backlog.ts only. undefined: it never waited. */
  held?: Held | undefined;
}

const NONE: readonly string[] = [];

/** Fields of an event that most events leave empty. */
export const NO_DETAIL = {
  callsign: '',
  endpoint: '',
  team: '',
  role: '',
  destUids: NONE,
  destCallsigns: NONE,
  destMissions: NONE,
  chatId: '',
  sender: '',
  flowTags: NONE,
  linkUid: '',
  feedUid: '',
} as const;

/** True when the event names its recipients. */
export function isDirected(event: CotEvent): boolean {
  return event.destUids.length > 0 || event.destCallsigns.length > 0;
}

/** Bytes that keeping the message costs, roughly. */
export function sizeOf({ wire }: Envelope): number {
  return wire?.bytes.length ?? 64;
}
