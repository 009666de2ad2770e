// A phone moves to another box and keeps its certificate: the token by which its box says so. Signed by the authority of that box,
// which the other has pinned; good for one phone, one box and an hour.
import { verify, X509Certificate } from 'node:crypto';
import * as z from 'zod';
import { fingerprint } from '../identity/x509.ts';
import { phoneName, presets } from './presets.ts';

export const HANDOVER_MS = 3_600_000;
/** Clocks of two boxes may differ by this. */
const SKEW_MS = 300_000;
const MAX_TOKEN = 16_384;

const claims = z.strictObject({
  v: z.literal(1),
  unit: z.strictObject({ name: phoneName, presets }),
  /** SHA-256 of its certificate, lower hex. */
  fingerprint: z.string().regex(/^[0-9a-f]{64}$/),
  notAfterMs: z.int(),
  /** Ids of the boxes. */
  source: z.string().max(128),
  target: z.string().max(128),
  expiresMs: z.int(),
  /** The authority that signs, PEM. */
  ca: z.string().max(8192),
});
export type Handover = z.output<typeof claims>;

export type HandoverRefusal = 'handover_malformed' | 'handover_not_signed' | 'handover_not_for_us' | 'handover_expired';

/** Why a token is not believed. */
export class HandoverRefused extends Error {
  readonly code: HandoverRefusal;
  constructor(code: HandoverRefusal, words: string) {
    super(words);
    this.code = code;
  }
}

/** `sign`: RSA-SHA256 by the authority whose certificate is `ca`. */
export function makeHandover(
  handover: Omit<Handover, 'v' | 'expiresMs'>,
  { nowMs, sign }: { readonly nowMs: number; sign(bytes: Buffer): Buffer },
): string {
  const body = Buffer.from(JSON.stringify({ v: 1, ...handover, expiresMs: Math.round(nowMs + HANDOVER_MS) }));
  return `${body.toString('base64url')}.${sign(body).toString('base64url')}`;
}

/** @param signer SHA-256 of the authority that is pinned for whoever brings it. @throws HandoverRefused */
export function readHandover(
  token: string,
  { signer, target, nowMs }: { readonly signer: string; readonly target: string; readonly nowMs: number },
): Handover {
  const [, head = '', tail = ''] = /^([\w-]+)\.([\w-]+)$/.exec(token.slice(0, MAX_TOKEN)) ?? [];
  const body = Buffer.from(head, 'base64url');
  const said = parsed(body);
  if (!said) throw new HandoverRefused('handover_malformed', 'this is no handover');
  if (!isSigned(body, Buffer.from(tail, 'base64url'), said.ca, signer)) {
    const words = 'the handover is not signed by the authority that is pinned here for this partner (its server_pin)';
    throw new HandoverRefused('handover_not_signed', words);
  }
  if (said.target !== target) throw new HandoverRefused('handover_not_for_us', 'the handover is for another box');
  if (nowMs > said.expiresMs || said.expiresMs > nowMs + HANDOVER_MS + SKEW_MS) {
    throw new HandoverRefused(
      'handover_expired',
      'the handover is older than an hour, or the clocks of the boxes differ',
    );
  }
  return said;
}

function parsed(body: Buffer): Handover | undefined {
  try {
    return claims.safeParse(JSON.parse(body.toString('utf8'))).data;
  } catch {
    return undefined;
  }
}

function isSigned(body: Buffer, signature: Buffer, ca: string, signer: string): boolean {
  try {
    const authority = new X509Certificate(ca);
    return fingerprint(authority) === signer && verify('sha256', body, authority.publicKey, signature);
  } catch {
    return false;
  }
}
