// Where the two halves of the link meet: sessions with peers on one side, tunnels through a hub on the other (splice.ts,
// hub.ts, tunnel.ts, expose.ts). Neither knows more of the other than stands here.
import type { Socket } from 'node:net';
import type { Caller, NodeRequest, NodeResponse } from '../../core/node.ts';
import type { Limit } from '../../wire/portal-bodies.ts';

/** What a hub allows a peer, as its Hello says. Names a peer does not know are for it to ignore. */
export type { Limit };

import type { Address, TlsSettings } from '../stream.ts';

/** The path that leads through nobody. */
export const DIRECT = 'direct';

/** A way to a peer. */
export interface Path {
  /** DIRECT, or the name of the hub in between. */
  readonly name: string;
  /**
   * A raw connection on which TLS may begin, this side as its client. Rejects with LinkError; gives up when the signal
   * aborts. The caller owns the socket.
   */
  open(signal: AbortSignal): Promise<Socket>;
}

/** What the sessions need of the tunnels. */
export interface Tunnels {
  /** A connection that began with `P`, the magic in clear: a splice. The callee owns the socket; what was read of it is `firstBytes`. */
  onSplice(socket: Socket, firstBytes: Buffer): void;
  /** The way to `peer` through `hub`, both configured names. */
  path(hub: string, peer: string): Path;
  /** Answers a CALL of the tunnel protocol (`/hub/tunnel`, `/tunnel/offer`); undefined: it is none. Never rejects. */
  handle(request: NodeRequest, caller: Caller, signal: AbortSignal): Promise<NodeResponse> | undefined;
  /** A connection to what the peer exposes under that name; see TunnelOpener in ../via.ts. */
  open(peer: string, service: string, signal: AbortSignal): Promise<Socket>;
  /** A connection to a relay that is no peer yet, by the name the hub has for it; see TunnelOpener. */
  join(hub: string, peer: string, signal: AbortSignal): Promise<Socket>;
  /** What a hub grants this peer, for its Hello: `tunnels`, `tunnel_bytes`, `tunnel_rate`. */
  limitsFor(peer: string): readonly Limit[];
  /** The configuration changed, or the link stops: undefined. */
  close(): void;
}

/** What the tunnels need of the sessions. */
export interface Sessions {
  /** Asks a connected peer; see NodeService.call. */
  call(peer: string, request: NodeRequest, signal: AbortSignal): Promise<NodeResponse>;
  /** True while a session with the peer is up. */
  connected(peer: string): boolean;
  /** The round trip of the present session with the peer, milliseconds; 0: not known. */
  rttMs(peer: string): number;
  /** The peer should have answered by now: if nothing was heard of it since (monotonic), a second connection is raced. */
  doubt(peer: string, sinceMs: number): void;
  /**
   * A spliced connection on which the far end begins TLS as a client: takes it as one that `listen` had accepted, if its
   * certificate is that of `peer`, as the hub says.
   */
  accept(socket: Socket, hub: string, peer: string): void;
  /** The same of somebody who has a code; `peer`: the hub's name for him. */
  acceptJoining(socket: Socket, hub: string, peer: string): void;
  /** Where the peer's present session was dialled, if that was directly: splices can be opened there. Else undefined. */
  dialled(peer: string): Address | undefined;
  /** The hubs configured for this peer, the one in use first. */
  hubs(peer: string): readonly string[];
  /** This link's certificate, and the pin of that peer alone: TLS inside a tunnel to a service. Undefined: no such peer. */
  tls(peer: string): TlsSettings | undefined;
}
