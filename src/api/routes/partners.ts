// Partners: what they may ask (both factors), and what the operator of this box says of them.
import type { IncomingMessage } from 'node:http';
import * as z from 'zod';
import type { NodeResponse, Resources } from '../../core/node.ts';
import type { Clock } from '../../lib/clock.ts';
import {
  type Admitted,
  DEFAULT_HEADER,
  MAX_OVERLAP_HOURS,
  MAX_PINS,
  OVERLAP_HOURS,
  type Partner,
  type Partners,
} from '../access/partners.ts';
import { requestHeaders } from '../exchange.ts';
import { type CallCount, outcomeOf, PARTNERS_LINK } from '../federation-calls.ts';
import { Refusal } from '../refusal.ts';
import { type Caller, Reply, type Route, route } from '../route.ts';

export const PING_PATH = '/api/federation/ping';
const MAX_DAYS = 3650;
/** What a partner may read of a Waystation; nothing else of its resources. */
const READABLE: ReadonlySet<string> = new Set(['', 'health', 'status', 'peers', 'links', 'units']);

const hexPin = z
  .string()
  .max(256)
  .transform((value, context): string => {
    const hex = value
      .replace(/^sha-?256:/i, '')
      .replace(/[\s:]/g, '')
      .toLowerCase();
    if (/^[0-9a-f]{64}$/.test(hex)) return hex;
    context.issues.push({ code: 'custom', message: 'expected SHA256: and 64 hexadecimal digits', input: value });
    return z.NEVER;
  });
const httpsUrl = z
  .string()
  .max(300)
  .refine((value) => {
    if (!URL.canParse(value)) return false;
    const { protocol, username, pathname, search, hash } = new URL(value);
    return protocol === 'https:' && username === '' && pathname === '/' && search === '' && hash === '';
  }, 'expected https://HOST or https://HOST:PORT')
  .transform((value) => new URL(value).origin);
const header = z
  .string()
  .regex(/^[A-Za-z][A-Za-z0-9-]{1,63}$/, 'expected the name of an HTTP header')
  .transform((value) => value.toLowerCase())
  .refine((value) => !RESERVED.test(value), 'that header has a meaning of its own');
/** HTTP’s own. `authorization` is taken: with the word Bearer before the secret. */
const RESERVED =
  /^(host|connection|content-.*|transfer-encoding|upgrade|te|trailer|expect|cookie|accept.*|origin|referer|sec-.*|proxy-.*|forwarded|x-forwarded-.*|via)$/;
const secret = z
  .string()
  .regex(/^[\x21-\x7e]{32,256}$/, 'expected the secret as the other side showed it: at least 32 characters');

const settings = {
  url: httpsUrl.nullable().describe('Where its API is served: https://HOST:PORT. null: we never call it.'),
  pins: z.array(hexPin).min(1).max(MAX_PINS).describe('SHA-256 of its client certificate; two while it changes.'),
  server_pin: hexPin.nullable().describe('SHA-256 of the certificate of its server, or of the CA of that.'),
  header: header.describe(
    `HTTP header with the secret, both ways. Default: ${DEFAULT_HEADER}. authorization: as Bearer.`,
  ),
  units: z.boolean().describe('Whether it sees units.'),
  groups: z.array(z.string().min(1).max(1024)).max(64).describe('Only units of these TAK groups. Empty: all.'),
  secret: secret.describe('The secret that the other side showed: what we show it.'),
};
const newPartner = z.strictObject({
  name: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, 'expected 1 to 64 letters, digits, . _ -'),
  ...settings,
  url: settings.url.default(null),
  server_pin: settings.server_pin.default(null),
  header: settings.header.optional(),
  units: settings.units.default(true),
  groups: settings.groups.default([]),
  secret: settings.secret.optional(),
});
const changedPartner = z.strictObject(settings).partial();

const OUTCOMES =
  'ok, secret, certificate, tls, timeout, unreachable, not_connected, refused, failed (5xx), bad_answer, given_up (nobody waited for it)';
const lastCall = z.object({
  at: z.string().nullable(),
  latency_ms: z.number().nullable(),
  status: z.string(),
  words: z.string(),
  outcome: z.string().nullable().describe(OUTCOMES),
  called_at: z.string().nullable(),
});
const lastPings = z.object({
  out: z
    .object({ at: z.string(), outcome: z.string(), latency_ms: z.number(), error: z.string().nullable() })
    .nullable()
    .describe('Our last one.'),
  in: z.object({ at: z.string() }).nullable().describe('Its last one with both factors right.'),
});
const callCount = z.object({ direction: z.enum(['in', 'out']), outcome: z.string(), count: z.int() });
const partnerAnswer = z
  .object({
    name: z.string(),
    url: z.string().nullable(),
    pins: z.array(z.string()),
    server_pin: z.string().nullable(),
    header: z.string(),
    units: z.boolean(),
    groups: z.array(z.string()),
    inbound: z.object({ made_at: z.string(), previous_until: z.string().nullable() }),
    outbound: z.object({ set_at: z.string() }).nullable(),
    last: lastCall.describe('How calling it went last; `at`: the last contact in either direction.'),
    asked: z
      .object({ at: z.string(), outcome: z.string() })
      .nullable()
      .describe('Its last request here: ok, or why it was refused.'),
    pings: lastPings,
    calls: z.array(callCount).describe('Requests of it and to it since the start of this relay, by how they ended.'),
  })
  .meta({ id: 'Partner' });
export type DescribedPartner = z.output<typeof partnerAnswer>;
const SECRET_ONCE = z.string().describe('What the partner must show us. Shown this once.');
const withSecret = partnerAnswer.extend({ inbound_secret: SECRET_ONCE });

const pingAnswer = z
  .object({
    peer: z.string(),
    ok: z.boolean(),
    outcome: z.string().describe(OUTCOMES),
    status: z.int().describe('Of its answer; 502, 504 with an outcome other than failed: there was none.'),
    latency_ms: z.number(),
    error: z.string().nullable(),
  })
  .meta({ id: 'PartnerPing' });
export type PartnerPing = z.output<typeof pingAnswer>;
const pongAnswer = z.object({
  ok: z.literal(true),
  peer: z.string().describe('What the caller is called here.'),
  node: z.string(),
  node_id: z.string(),
  version: z.string(),
  now: z.string(),
  latency_ms: z.number().describe('What answering took here.'),
  secret: z.enum(['current', 'previous']).describe('previous: it was replaced; enter the new one.'),
});
const certificateAnswer = z.object({
  fingerprint: z.string(),
  subject: z.string(),
  not_after: z.string(),
  certificate_pem: z.string(),
});

export interface PartnerRouteDeps {
  readonly partners: Partners;
  readonly clock: Clock;
  readonly resources: Resources;
  about(): { readonly name: string; readonly id: string; readonly version: string };
  /** What a partner must know of us. `url` '': HTTPS is not served. */
  published(): { readonly serverPin: string; readonly caPem: string; readonly url: string };
  certificates(): readonly PublishedCertificate[];
  /** Rejects with RangeError. */
  issue(subject: string, days: number | undefined): Promise<PublishedCertificate>;
  ask(
    name: string,
    wanted: { method: 'GET'; path: string; body: undefined },
    signal: AbortSignal,
  ): Promise<NodeResponse>;
  /** It has pinged us. */
  onPinged(name: string): void;
  standing(name: string): PartnerStanding;
  calls(name: string): readonly CallCount[];
  /** Names that others who can be asked have. */
  takenNames(): readonly string[];
  onRemoteRequest(peer: string, address: string, endpoint: string): void;
  onPeerCalled(call: {
    readonly caller: Caller;
    readonly peer: string;
    readonly path: string;
    readonly status: number;
    readonly outcome: string;
  }): void;
}

/** How it went with a partner since the start of this relay; times by the wall clock, milliseconds. */
export interface PartnerStanding {
  /** The last contact in either direction. */
  readonly contactMs: number | null;
  /** The last time that we called it. */
  readonly call: PartnerCall | null;
  /** Its last request. */
  readonly asked: { readonly atMs: number; readonly outcome: string } | null;
  readonly pings: { readonly out: PartnerCall | null; readonly inMs: number | null };
}

export interface PartnerCall {
  readonly atMs: number;
  /** See OUTCOMES. */
  readonly outcome: string;
  readonly latencyMs: number;
  /** '' where it is ok. */
  readonly words: string;
}

export interface PublishedCertificate {
  readonly fingerprint: string;
  readonly commonName: string;
  readonly notAfterMs: number;
  readonly certPem: string;
}

export function partnerRoutes(deps: PartnerRouteDeps): Route[] {
  return [...askedByPartners(deps), ...saidByOperators(deps)];
}

/** What partners ask: the routes look at their credentials themselves. */
function askedByPartners(deps: PartnerRouteDeps): Route[] {
  return [
    route({
      method: 'GET',
      path: PING_PATH,
      role: 'public',
      ownCredentials: true,
      tag: 'Partners',
      summary:
        'Says that both factors are right: the certificate shown in TLS is pinned here, the secret in the header is ours',
      answer: pongAnswer,
      handle: async ({ request, caller, note }) => {
        const startedMs = deps.clock.nowMs();
        const { partner, secret } = await admitted(deps, request, caller, note);
        deps.onRemoteRequest(partner.name, caller.address, `GET ${PING_PATH}`);
        deps.onPinged(partner.name);
        const { name: node, id: node_id, version } = deps.about();
        const now = iso(deps.clock.wallMs());
        const latency_ms = Math.round(deps.clock.nowMs() - startedMs);
        return { ok: true, peer: partner.name, node, node_id, version, now, latency_ms, secret };
      },
    }),
    route({
      method: 'GET',
      path: '/api/federation/resources/{path+}',
      role: 'public',
      ownCredentials: true,
      tag: 'Partners',
      summary: 'What a partner may read: /health /status /peers /links /units?q=',
      query: z.looseObject({}),
      gives: 'application/json',
      handle: async ({ request, rest, rawQuery, caller, signal, note }) => {
        const { partner } = await admitted(deps, request, caller, note);
        if (!READABLE.has(rest.replace(/\/$/, ''))) throw new Refusal(404, 'not_found', 'partners may not read this');
        const asked = {
          method: 'GET',
          path: `/${rest}${rawQuery}`,
          headers: requestHeaders(request.headers),
          body: NO_BODY,
          hops: 1,
        };
        const { status, headers, body } = await deps.resources.handle(
          asked,
          { name: partner.name, link: PARTNERS_LINK },
          signal,
        );
        return new Reply(status, body, headers, 'raw');
      },
    }),
  ];
}

const NO_BODY = Buffer.alloc(0);

async function admitted(
  { partners }: PartnerRouteDeps,
  request: IncomingMessage,
  caller: Caller,
  note: (words: string) => void,
): Promise<Admitted> {
  try {
    return await partners.admit(request, caller.address);
  } catch (error) {
    if (error instanceof Refusal) note(error.message);
    throw error;
  }
}

function saidByOperators(deps: PartnerRouteDeps): Route[] {
  const { partners } = deps;
  const named = z.object({ name: z.string() });
  return [
    route({
      method: 'GET',
      path: '/api/federation/partners',
      role: 'operator',
      tag: 'Partners',
      summary: 'Partners, and what they must be told of this box',
      answer: z.object({
        partners: z.array(partnerAnswer),
        this_box: z.object({
          url: z.string(),
          server_pin: z.string(),
          ca_pem: z.string(),
          certificates: z.array(certificateAnswer),
        }),
      }),
      handle: () => {
        const { url, serverPin, caPem } = deps.published();
        const certificates = deps.certificates().map(describeCertificate);
        return {
          partners: partners.list().map((partner) => describePartner(deps, partner)),
          this_box: { url, server_pin: `SHA256:${serverPin}`, ca_pem: caPem, certificates },
        };
      },
    }),
    route({
      method: 'POST',
      path: '/api/federation/partners',
      role: 'admin',
      tag: 'Partners',
      summary: 'Adds a partner; the secret that it must show us is in the answer, once',
      body: newPartner,
      status: 201,
      answer: withSecret,
      handle: async ({ body, note }) => {
        const { name, server_pin, ...rest } = body;
        if (deps.takenNames().includes(name)) {
          throw new Refusal(409, 'partner_exists', `another peer that can be asked is called ${JSON.stringify(name)}`, {
            fix: 'give this one another name: "waystation fleet" and "waystation node peers" show those there are',
          });
        }
        const added = await partners.add(name, { ...rest, serverPin: server_pin });
        note(`partner ${name} added`);
        return new Reply(201, { ...describePartner(deps, added.partner), inbound_secret: added.secret });
      },
    }),
    route({
      method: 'PATCH',
      path: '/api/federation/partners/{name}',
      role: 'admin',
      tag: 'Partners',
      summary: 'Changes what is given, from the next request on',
      params: named,
      body: changedPartner,
      answer: partnerAnswer,
      handle: ({ params, body, note }) => {
        const { server_pin, ...rest } = body;
        const changed = partners.change(params.name, { ...rest, serverPin: server_pin });
        note(`partner ${params.name}: ${Object.keys(body).join(', ')} changed`);
        return describePartner(deps, changed);
      },
    }),
    route({
      method: 'POST',
      path: '/api/federation/partners/{name}/rotate',
      role: 'admin',
      tag: 'Partners',
      summary: 'Makes a new secret that it must show us; the one before stays good for a while',
      params: named,
      body: z.strictObject({ overlap_hours: z.number().min(0).max(MAX_OVERLAP_HOURS).default(OVERLAP_HOURS) }),
      answer: withSecret,
      handle: async ({ params, body, note }) => {
        const inbound_secret = await partners.rotate(params.name, body.overlap_hours);
        note(`partner ${params.name}: new secret, the one before good for ${body.overlap_hours} h`);
        return { ...describePartner(deps, partners.get(params.name)), inbound_secret };
      },
    }),
    route({
      method: 'DELETE',
      path: '/api/federation/partners/{name}',
      role: 'admin',
      tag: 'Partners',
      summary: 'Removes a partner: its next request is that of a stranger',
      params: named,
      status: 204,
      handle: ({ params, note }) => {
        partners.remove(params.name);
        note(`partner ${params.name} removed`);
        return new Reply(204);
      },
    }),
    route({
      method: 'GET',
      path: '/api/federation/partners/{name}/ping',
      role: 'operator',
      tag: 'Partners',
      summary: 'Asks the partner whether both our factors are right there, and how long it takes',
      params: named,
      answer: pingAnswer,
      handle: ({ params: { name }, caller, signal }) => pingPartner(deps, name, caller, signal),
    }),
    route({
      method: 'POST',
      path: '/api/federation/certificate',
      role: 'admin',
      tag: 'Partners',
      summary: 'Issues the client certificate by which this box calls its partners; its key stays here',
      body: z.strictObject({
        subject: z
          .string()
          .regex(/^[^\p{C}]{1,64}$/u, 'expected 1 to 64 characters')
          .optional(),
        days: z.int().min(1).max(MAX_DAYS).optional().describe('How long it is good. Default: 90.'),
      }),
      status: 201,
      answer: certificateAnswer,
      handle: async ({ body, note }) => {
        const issued = describeCertificate(await deps.issue(body.subject ?? deps.about().name, body.days));
        note(`certificate for calling partners issued, SHA256:${issued.fingerprint}`);
        return new Reply(201, issued);
      },
    }),
  ];
}

/** Asks the partner whether both our factors are right there. Rejects with Refusal unknown_partner. */
export async function pingPartner(
  deps: PartnerRouteDeps,
  name: string,
  caller: Caller,
  signal: AbortSignal,
): Promise<PartnerPing> {
  deps.partners.get(name);
  const startedMs = deps.clock.nowMs();
  const answer = await deps.ask(name, { method: 'GET', path: PING_PATH, body: undefined }, signal);
  const latency_ms = Math.round(deps.clock.nowMs() - startedMs);
  const [outcome, { status }] = [outcomeOf(answer), answer];
  deps.onPeerCalled({ caller, peer: name, path: PING_PATH, status, outcome });
  const ok = outcome === 'ok';
  const error = ok ? null : (deps.standing(name).call?.words ?? '');
  return { peer: name, ok, outcome, status, latency_ms, error };
}

export function describePartner(deps: PartnerRouteDeps, partner: Partner): DescribedPartner {
  const { serverPin, inbound, outbound, pins, ...rest } = partner;
  const { contactMs, call, asked, pings } = deps.standing(partner.name);
  const called = call && { outcome: call.outcome, called_at: iso(call.atMs), words: call.words };
  return {
    ...rest,
    pins: pins.map((pin) => `SHA256:${pin}`),
    server_pin: serverPin && `SHA256:${serverPin}`,
    inbound: {
      made_at: iso(inbound.madeMs),
      previous_until: inbound.previousUntilMs === null ? null : iso(inbound.previousUntilMs),
    },
    outbound: outbound && { set_at: iso(outbound.setMs) },
    last: {
      at: contactMs === null ? null : iso(contactMs),
      latency_ms: call?.outcome === 'ok' ? call.latencyMs : null,
      status: call === null ? 'never called' : call.outcome === 'ok' ? 'ok' : 'failed',
      ...(called ?? { outcome: null, called_at: null, words: '' }),
    },
    asked: asked && { at: iso(asked.atMs), outcome: asked.outcome },
    pings: {
      out: pings.out && {
        at: iso(pings.out.atMs),
        outcome: pings.out.outcome,
        latency_ms: pings.out.latencyMs,
        error: pings.out.words || null,
      },
      in: pings.inMs === null ? null : { at: iso(pings.inMs) },
    },
    calls: deps.calls(partner.name).map(({ direction, outcome, count }) => ({ direction, outcome, count })),
  };
}

function describeCertificate({
  fingerprint,
  commonName,
  notAfterMs,
  certPem,
}: PublishedCertificate): z.output<typeof certificateAnswer> {
  return { fingerprint, subject: commonName, not_after: iso(notAfterMs), certificate_pem: certPem };
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}
