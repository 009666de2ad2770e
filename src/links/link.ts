// The plug. A Link is a configured way to talk: it runs until told to stop and attaches a Session for every connection.
import type { Socket } from 'node:net';
import type * as z from 'zod';
import type { Envelope } from '../core/message.ts';
import type { NodeService, Resources } from '../core/node.ts';
import type { HubPort, PeerSpec } from '../core/session.ts';
import type { Identity } from '../identity/identity.ts';
import type { Trust } from '../identity/trust.ts';
import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import type { TakeOver } from './beside.ts';
import type { PairingDesk } from './pairing.ts';
import type { policyKeys } from './policy-keys.ts';
import type { Address, Secured, TlsSettings } from './stream.ts';
import type { TunnelOpener, Via } from './via.ts';

export const LINK_STATES = [
  'starting',
  'listening',
  'connecting',
  'connected',
  'waiting',
  'failed',
  'stopped',
] as const;
export type LinkState = (typeof LINK_STATES)[number];

/** Words for the page: what went wrong and what to do about it. */
export interface Trouble {
  readonly code: string;
  readonly words: string;
  readonly fix: string;
}

/** Who this box is, to its peers. */
export interface Node {
  /** Stable and unique; provenance and serverId. */
  readonly id: string;
  readonly name: string;
  readonly version: string;
}

/** A little that a link remembers across restarts of the relay. Keys are its own: no other link sees them. */
export interface LinkMemory {
  get(key: string): string | undefined;
  set(key: string, value: string): void;
}

export interface LinkContext {
  /** The link's name in the configuration. */
  readonly name: string;
  readonly signal: AbortSignal;
  readonly clock: Clock;
  readonly log: Log;
  readonly hub: HubPort;
  readonly identity: Identity;
  /** Whom the whole relay trusts as a federate; a link's own trust comes on top. */
  readonly trust: Trust;
  /** Phones that came from other boxes, by the pins of their certificates, and which phones may not come in by this link; live. */
  readonly guests?: Trust | undefined;
  readonly node: Node;
  /** Directory that relative file names of the configuration start from. */
  readonly baseDir: string;
  readonly memory: LinkMemory;
  /** The relay's answers to requests of its peers, for links that carry requests. */
  readonly resources: Resources;
  /** Offers the relay a way to ask this link's peers. Returns the withdrawal, to be called when the run ends. */
  provideNodes(service: NodeService): () => void;
  /** Offers other links tunnels through this one. Returns the withdrawal, to be called when the run ends. */
  provideTunnels(opener: TunnelOpener): () => void;
  /** A peer of this link can be reached again: links that wait to dial through it need not wait any longer. */
  wayIsBack(peer: string): void;
  /** Opens what a `via:` names, for links that dial. Rejects with LinkError. The caller owns the socket. */
  openTunnel(via: Via, signal: AbortSignal): Promise<Socket>;
  /** Takes over what the listening link of that name has no use for. Returns the withdrawal. Throws LinkError. */
  standBeside(listener: string, take: TakeOver): () => void;
  /** Hands a connection of this link's port to the link that stands beside it. False: none does, the socket is still ours. */
  handOver(secured: Secured): boolean;
  /** Whether that address may connect to what this link listens on; absent: every one. */
  admits?(address: string): boolean;
  /** Who lets other boxes join by a code; undefined: nobody does. */
  readonly pairing?: PairingDesk | undefined;
  /** Files that announcements are about; undefined: this relay keeps none. */
  readonly files?: LinkFiles | undefined;
  /** Tells where the link stands. A listener reports `listening` with the addresses it is bound to. */
  report(state: LinkState, detail?: string): void;
  /** Counts and shows a refusal that did not end the link: a stranger's certificate, an address over its limit. */
  refuse(address: string, trouble: Trouble): void;
  /** Shows something a person should know although the link works. Returns the withdrawal; the end of the run is one, too. */
  warn(trouble: Trouble): () => void;
}

/** What links that announce files ask of the relay. */
export interface LinkFiles {
  /** An announcement as the far end of this socket can use it: with the file at this box, where it is to be had. Else the same. */
  localize(envelope: Envelope, socket: Socket): Envelope;
  /** The file of an announcement for a peer that is brought files, once all of it is here: it may come from another box first. Never rejects. */
  whole(envelope: Envelope, to: PeerSpec, maxBytes: number, signal: AbortSignal): Promise<SharedFile | FileTrouble>;
}

/** Why a file cannot be brought to a peer: it is not here and cannot be had, or may not go there; too large for it; the day's bytes are spent. */
export type FileTrouble = 'not_here' | 'too_large' | 'day_spent';

/** A file on its way to a peer. Whoever brings it tells how far it is. */
export interface SharedFile {
  /** SHA-256, lower hex. */
  readonly hash: string;
  readonly name: string;
  readonly size: number;
  readonly mime: string;
  readonly uploader: string;
  readonly creatorUid: string;
  readonly keywords: readonly string[];
  /** So many bytes from there. Rejects when they cannot be read any more. */
  read(at: number, bytes: number): Promise<Buffer>;
  moved(bytes: number): void;
  ended(whole: boolean, words: string): void;
}

export interface Link {
  /**
   * Resolves after abort with every socket closed. Rejects with LinkError (retried by the supervisor) or FatalError
   * (shown in red until the configuration changes). A dialling link makes one connection per run.
   */
  run(context: LinkContext): Promise<void>;
  /**
   * Takes over new settings (of the kind's config type) while it runs or waits to run again. False: it cannot without a
   * restart, and nothing has changed. Links without it are restarted. Must not throw.
   */
  update?(settings: unknown): boolean;
}

export interface LinkKind<Config> {
  readonly kind: string;
  /** The kind's own keys. The runner adds name, enabled and policy. */
  readonly schema: z.ZodType<Config>;
  /** Of its `policy` section, where what is left out means something else than with other kinds. */
  readonly policy?: typeof policyKeys;
  create(config: Config): Link;
  /** Where it waits and whom it dials, for whoever tries these ways to find out what is wrong. Throws nothing. */
  ways?(config: Config): Ways;
}

export interface Ways {
  readonly listens: readonly Way[];
  readonly dials: readonly Way[];
}

/** One address of a link, and what is spoken there. */
export interface Way {
  readonly address: Address;
  /** Of several peers of the link, the one it leads to. */
  readonly peer?: string | undefined;
  /** Default: tcp. Datagrams are heard, on ports shared with other programs; nobody connects. */
  readonly transport?: 'udp' | undefined;
  /** Entries of the link's own trust, as the file has them. */
  readonly trust: readonly string[];
  /** Absent: plain TCP. Throws FatalError when a file cannot be used. */
  readonly tls?: ((context: LinkContext) => TlsSettings) | undefined;
  /** The protocols that are mistaken for this one, by what they are told apart by in TLS (ALPN; '' for none). */
  readonly mistaken?: { readonly alpn: string; readonly words: string; readonly fix: string } | undefined;
}
