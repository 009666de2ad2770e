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
import { outcomeOf, PARTNERS_LINK } from '../federation-calls.ts';
import { Refusal } from '../refusal.ts';
import { type Caller, Reply, type Route, route } from '../route.ts';

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

const lastCall = z.object({
  at: z.string().nullable(),
  latency_ms: z.number().nullable(),
  status: z.string(),
  words: z.string(),
});
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
  })
  .meta({ id: 'Partner' });
const SECRET_ONCE = z.string().describe('What the partner must show us. Shown this once.');
const withSecret = partnerAnswer.extend({ inbound_secret: SECRET_ONCE });

const pingAnswer = z
  .object({
    peer: z.string(),
    ok: z.boolean(),
    outcome: z
      .string()
      .describe('ok, secret, certificate, tls, timeout, unreachable, not_connected, refused, failed, bad_answer'),
    status: z.int().describe('Of its answer; 502, 504: there was none.'),
    latency_ms: z.number(),
    error: z.string().nullable(),
  })
  .meta({ id: 'PartnerPing' });
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
  last(name: string): {
    readonly at: number | null;
    readonly latencyMs: number | null;
    readonly status: string;
    readonly words: string;
  };
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
      path: '/api/federation/ping',
      role: 'public',
      ownCredentials: true,
      tag: 'Partners',
      summary:
        'Says that both factors are right: the certificate shown in TLS is pinned here, the secret in the header is ours',
      answer: pongAnswer,
      handle: async ({ request, caller, note }) => {
        const startedMs = deps.clock.nowMs();
        const { partner, secret } = await admitted(deps, request, caller, note);
        deps.onRemoteRequest(partner.name, caller.address, 'GET /api/federation/ping');
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
          partners: partners.list().map((partner) => describe(deps, partner)),
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
        return new Reply(201, { ...describe(deps, added.partner), inbound_secret: added.secret });
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
        return describe(deps, changed);
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
        return { ...describe(deps, partners.get(params.name)), inbound_secret };
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
      handle: async ({ params: { name }, caller, signal }) => {
        partners.get(name);
        const startedMs = deps.clock.nowMs();
        const path = '/api/federation/ping';
        const answer = await deps.ask(name, { method: 'GET', path, body: undefined }, signal);
        const latency_ms = Math.round(deps.clock.nowMs() - startedMs);
        const outcome = outcomeOf(answer);
        deps.onPeerCalled({ caller, peer: name, path, status: answer.status, outcome });
        const ok = outcome === 'ok';
        return { peer: name, ok, outcome, status: answer.status, latency_ms, error: ok ? null : deps.last(name).words };
      },
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

function describe(deps: PartnerRouteDeps, partner: Partner): z.output<typeof partnerAnswer> {
  const { serverPin, inbound, outbound, pins, ...rest } = partner;
  const { at, latencyMs, status, words } = deps.last(partner.name);
  return {
    ...rest,
    pins: pins.map((pin) => `SHA256:${pin}`),
    server_pin: serverPin && `SHA256:${serverPin}`,
    inbound: {
      made_at: iso(inbound.madeMs),
      previous_until: inbound.previousUntilMs === null ? null : iso(inbound.previousUntilMs),
    },
    outbound: outbound && { set_at: iso(outbound.setMs) },
    last: { at: at === null ? null : iso(at), latency_ms: latencyMs, status, words },
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
