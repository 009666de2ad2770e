// The seam between hub and links: the hub sees a Session, the link sees a SessionPort.
import type { Envelope, Inbound, Message } from './message.ts';
import type { Policy } from './policy.ts';
import type { CloseReason, DropReason } from './reason.ts';

/** How the far end proved who it is. `none`: anybody who can reach the port. */
export type Proof = 'certificate' | 'secret' | 'configured' | 'none';

export interface PeerIdentity {
  /** Stable for as long as the proof is: a certificate's SHA-256 in lower hex, or an address where nothing better is known. */
  readonly id: string;
  /** What to call it on the screen: certificate CN, callsign, configured name. */
  readonly name: string;
  readonly proof: Proof;
}

/** Taken by a session but, when it closed, not known to have reached the network (or, where there are acknowledgements, the peer); in order. */
export type Returned = readonly Envelope[];

/** The hub's view of one live connection. Never reused. */
export interface Session {
  readonly identity: PeerIdentity;
  /** `host:port` of the far end, for people. */
  readonly address: string;
  /** True when the peer stamps provenance and hops itself, so that loop control may rely on it. */
  readonly federated: boolean;
  /** Has taken messages that are not with the network yet: a relay that stops waits for it a little. */
  readonly busy?: boolean | undefined;
  /** How it gets there, where that is not plain: the name of the hub in between. */
  readonly via?: string | undefined;
  /** What the link measures, where it measures: bits per second that arrive, of late. Only meant while it is busy. */
  readonly goodputBps?: number | undefined;
  /** Milliseconds from send() to the peer's having it, by what is under way and of late: what would arrive dead is not sent. */
  readonly transitMs?: number | undefined;
  /** Bytes handed to the network so far, overhead included: the budget counts these, else what messages weigh in the queue. */
  readonly sentBytes?: number | undefined;
  /** A position tells it who the unit is, too: no announcement goes before one that says no more. */
  readonly meets?: boolean | undefined;
  /** Calls port.arrived() for what the peer is known to have; without it a message taken counts as arrived. */
  readonly acknowledges?: boolean | undefined;
  /** Can this protocol say it at all? Cheap: asked for every message. */
  carries(message: Message): boolean;
  /**
   * Takes the message. False: full or gone, the message was not taken; the hub waits for port.writable().
   * Never throws, never waits, and calls nothing of the port but undeliverable() and arrived(). `groups` replaces envelope.groups as the
   * groups this peer may see.
   */
  send(envelope: Envelope, groups: readonly string[]): boolean;
  /** Idempotent. Calls port.closed() exactly once; before it returns, if the peer's next connection is not to be told twice. */
  close(reason: CloseReason): void;
}

/** How thin a line is, for links: to size windows, writes and chunks. */
export interface Pace {
  /** Bits per second that the configuration allows, else what was measured; undefined: nothing is known to limit it. */
  readonly rateBps: number | undefined;
  /** Largest record to hand to the network in one piece: more would hold the line for longer than half a second. */
  readonly recordBytes: number;
}

/** The link's view of the hub, one per session. After closed() every call is a no-op. */
export interface SessionPort {
  /** Routes the message to every peer that may have it. Synchronous: on return it is in their queues or on their wires. */
  deliver(inbound: Inbound): void;
  /** Counts a message of `size` bytes that was refused before it became an Inbound. */
  refused(reason: DropReason, size: number): void;
  /** Counts a message that send() took but that cannot be said to this peer after all: too large for it. */
  undeliverable(reason: DropReason, envelope: Envelope): void;
  /**
   * Calls back once all that was delivered so far and must not be lost survives a power cut: then it may be acknowledged. At once
   * when it does already, or when this relay cannot keep it.
   */
  safely(done: () => void): void;
  /** The session can take messages again. */
  writable(): void;
  /** The peer is known to have it. For sessions that acknowledge; what was not told of may come back with closed(). */
  arrived(envelope: Envelope): void;
  /** How thin the line is now. Cheap. */
  pace(): Pace;
  /** Round trip measured on this connection, milliseconds. */
  rtt(ms: number): void;
  /** The name the peer gave itself; shown beside its proven identity, and beside the name it was given here. */
  named(name: string): void;
  /**
   * The far end begins to tell anew who is behind it, for it restarted or knows not what it told: contacts that it does not name
   * again within RETELL_MS have left.
   */
  tellsAnew(): void;
  /** The groups the peer says it shares; shown, not obeyed. */
  groups(names: readonly string[]): void;
  /** The connection ended. Exactly once. `cause` has the words for the log and the page. */
  closed(reason: CloseReason, cause?: Error, returned?: Returned): void;
}

/** What a link tells the hub of a peer when a connection of it is up, or expected. */
export interface PeerSpec {
  /** Unique: `link` alone for a dialled peer, `link/identity` for accepted ones. */
  readonly key: string;
  readonly link: string;
  readonly kind: string;
  readonly name: string;
  /** Survives its sessions: keeps queue, counters and contacts while the connection is away. */
  readonly durable: boolean;
  /** How long contacts behind it stay announced after its session ended. */
  readonly graceMs: number;
}

/** What links may ask of the hub. */
export interface HubPort {
  /** Makes the peer known before it is connected: its queue fills, its state shows. */
  expect(spec: PeerSpec): void;
  /** Rules of one peer, in place of its link's; undefined: the link's again. In force at once, for connections to come too. */
  setPeerPolicy(key: string, policy: Policy | undefined): void;
  /** What a peer is called here, whatever it calls itself; '': as it does. In force at once, for connections to come too. */
  setPeerName(key: string, name: string): void;
  /** Why a peer that is expected is not connected, for the page; undefined: no trouble. */
  trouble(
    key: string,
    trouble: { readonly code: string; readonly words: string; readonly fix: string } | undefined,
  ): void;
  /** The peer is no longer configured: its session ends, what waits for it is dropped by name. */
  dismiss(key: string): void;
  /** A connection is up. A second session of the same key replaces the first (closed 'replaced'). */
  attach(spec: PeerSpec, session: Session): SessionPort;
}
