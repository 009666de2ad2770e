// Requests from relay to relay: what one may ask of another, whatever carries it. A link that can carry requests provides
// a NodeService; the relay answers them with its Resources.

export interface NodeRequest {
  /** GET, PUT, POST, PATCH, DELETE, or CALL for what is no resource. */
  readonly method: string;
  /** Absolute, as at the callee: `/health`. Never holds `..`, `//`, control characters or an encoded slash. */
  readonly path: string;
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
  /** Relays it has passed, counted by the link that carries it: 0 with whoever asks, 1 at the callee of a direct request. */
  readonly hops: number;
}

export interface NodeResponse {
  /** As in HTTP. */
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
  /** The far end itself has said this: a 502 or 504 is its own, and not made here because there was no answer. */
  readonly answered?: true | undefined;
}

/** How a peer stands, for `waystation node peers` and the page. */
export interface NodePeer {
  readonly name: string;
  /** Where it is dialled, or was heard from; '' when neither is known. */
  readonly host: string;
  readonly port: number;
  /** `direct`, or the name of the hub in between; '' while it is away. */
  readonly via: string;
  readonly status: 'connected' | 'connecting' | 'disconnected';
  /** Round trip, milliseconds; null when not measured. */
  readonly latencyMs: number | null;
  /** Wall clock, milliseconds, when it was last heard; null: never. */
  readonly lastContactMs: number | null;
  /** How much its clock is ahead of ours, milliseconds; absent or null: not measured. */
  readonly clockOffsetMs?: number | null | undefined;
  /** It is asked over a connection of its own each time: `status` is how that went last. */
  readonly onDemand?: boolean | undefined;
  /** Why it could not be asked last. */
  readonly trouble?: string | undefined;
  readonly messagesSent: number;
  readonly messagesReceived: number;
}

/** What a link that carries requests offers the relay. */
export interface NodeService {
  peers(): readonly NodePeer[];
  /**
   * Asks a peer. Resolves with its answer, or with one made here: 404 unknown peer, 502 not connected, 504 no answer in
   * time, 508 too many relays passed. Never rejects.
   */
  call(peer: string, request: NodeRequest, signal: AbortSignal): Promise<NodeResponse>;
}

/** Who asks. */
export interface Caller {
  /** Configured name of the peer. */
  readonly name: string;
  readonly link: string;
}

/** The relay's answers to its peers. Never rejects; what is not on its closed list is 404. */
export interface Resources {
  handle(request: NodeRequest, caller: Caller, signal: AbortSignal): Promise<NodeResponse>;
}

/** An answer with a JSON body. */
export function jsonResponse(status: number, body: unknown): NodeResponse {
  return { status, headers: { 'content-type': 'application/json' }, body: Buffer.from(JSON.stringify(body)) };
}

/** A refusal in the shape of RFC 9457. */
export function problemResponse(status: number, code: string, detail: string): NodeResponse {
  const body = { type: 'about:blank', title: code.replaceAll('_', ' '), status, code, detail };
  return { ...jsonResponse(status, body), headers: { 'content-type': 'application/problem+json' } };
}
