// What is said about tunnels: the small JSON bodies of requests, and refusals with a code and words.
import * as z from 'zod';
import { type NodeRequest, type NodeResponse, problemResponse } from '../../core/node.ts';
import { LinkError } from '../../lib/errors.ts';
import { MAX_TUNNEL_BODY_BYTES } from './tunnel-limits.ts';

/** Why there is no tunnel. `status` as in HTTP. */
export interface Refusal {
  readonly status: number;
  readonly code: string;
  readonly words: string;
}

/** The peer itself, as the end of a tunnel; every other target is a name under the callee's `expose:`. */
export const PORTAL_TARGET = 'portal';
/** The relay as somebody who has its code, and is no peer of it yet. */
export const JOIN_TARGET = 'join';

/** A name under `expose:`. */
export const EXPOSED_NAME = /^[a-z0-9][a-z0-9._-]{0,31}$/;
const MAX_NAME = 64;
const MAX_WORDS = 300;

const target = z.string().regex(EXPOSED_NAME);
const peer = z.string().min(1).max(MAX_NAME);

/** `CALL /hub/tunnel`. Without `to`: a tunnel to the relay that is asked. */
const askSchema = z.strictObject({ to: peer.optional(), target });
/** `CALL /tunnel/offer`. Without `from`: a tunnel from the relay that offers. */
const offerSchema = z.strictObject({
  from: peer.optional(),
  target,
  token: z.string().regex(/^[A-Za-z0-9_-]{43}$/),
});
const tokenSchema = offerSchema.pick({ token: true });
const refusalSchema = z.object({ code: z.string().regex(/^[a-z][a-z0-9_]{0,63}$/), detail: z.string() });

export type TunnelAsk = z.output<typeof askSchema>;
export type TunnelOffer = z.output<typeof offerSchema>;

export function readAsk(body: Buffer): TunnelAsk | undefined {
  return read(askSchema, body);
}

export function readOffer(body: Buffer): TunnelOffer | undefined {
  return read(offerSchema, body);
}

export function askRequest(ask: TunnelAsk): NodeRequest {
  return call('/hub/tunnel', ask);
}

export function offerRequest(offer: TunnelOffer): NodeRequest {
  return call('/tunnel/offer', offer);
}

export function readToken(body: Buffer): string | undefined {
  return read(tokenSchema, body)?.token;
}

export function refusalBody({ status, code, words }: Refusal): Buffer {
  return problemResponse(status, code, words).body;
}

export function refuse({ status, code, words }: Refusal): NodeResponse {
  return problemResponse(status, code, words);
}

/** A refusal that came from elsewhere. Its words are cut; what is none of ours is told by its status. */
export function refusalOf(status: number, body: Buffer): Refusal {
  const said = read(refusalSchema, body);
  const words = said?.detail.replace(/[^\x20-\x7e]+/g, ' ').slice(0, MAX_WORDS);
  return { status, code: said?.code ?? 'refused', words: words || `refused with ${status}` };
}

/** The same as what a dialler throws; `who` said it. */
export function readRefusal(who: string, status: number, body: Buffer): LinkError {
  const { code, words } = refusalOf(status, body);
  return new LinkError(code, `${who}: ${words}`, FIXES[code] ?? '');
}

const FIXES: Readonly<Record<string, string>> = {
  not_allowed: 'The rules of the hub (tunnels: allow) or of the other relay (tunnels: accept_from) decide this.',
  no_code: 'Have a code made at the other box ("waystation federation code"), and use it within 15 minutes.',
  not_a_hub: 'The relay that is named as a hub must say hub: true.',
  not_exposed: 'List the service under expose: of the portal link of that relay.',
  peer_away: 'It is tried again by itself. Check that the other relay is up and reaches the hub.',
  tunnel_limit: 'Raise tunnels: max_per_peer at the hub if that many are meant.',
  byte_limit: 'Raise tunnels: bytes_per_day at the hub, or wait.',
  unknown_peer: 'Hub and relays must know each other by the same names: check peers of the portal link there.',
};

function call(path: string, body: unknown): NodeRequest {
  const headers = { 'content-type': 'application/json' };
  return { method: 'CALL', path, headers, body: Buffer.from(JSON.stringify(body)), hops: 0 };
}

function read<T>(schema: z.ZodType<T>, body: Buffer): T | undefined {
  if (body.length > MAX_TUNNEL_BODY_BYTES) return undefined;
  try {
    return schema.safeParse(JSON.parse(body.toString('utf8'))).data;
  } catch {
    return undefined;
  }
}
