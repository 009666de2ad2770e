// The keys of a `cot` link in the configuration file, and what the link makes of them.
import * as z from 'zod';
import type { KeyPair } from '../../identity/identity.ts';
import { loadTrust, mergeTrust, refusalsOf, type Trust } from '../../identity/trust.ts';
import { dialAddress, listenAddress } from '../address-keys.ts';
import { readKeyPair } from '../key-files.ts';
import type { LinkContext } from '../link.ts';
import type { Address, TlsSettings } from '../stream.ts';
import { through, viaSchema } from '../via.ts';
import { CONNECT_IDLE_MS, LISTEN_IDLE_MS, MAX_CONNECTIONS, MAX_EVENT_BYTES, MAX_PER_PHONE } from './limits.ts';
import { PROFILE_NAMES, PROFILES, type ProfileName } from './profiles.ts';

const MAX_LIST = 256;
const MAX_TEXT = 1024;

const text = z.string().min(1).max(MAX_TEXT);

const listenAt = z.union([z.int().min(0).max(65_535), text]).transform(listenAddress('10.0.0.1:8087'));

const connectTo = text.transform(dialAddress('tak.example.org:8089'));

const tlsKeys = z.strictObject({
  trust: z
    .array(text)
    .max(MAX_LIST)
    .default([])
    .describe(
      'CA certificate files or SHA256: pins. A listener also accepts the clients this box made certificates for.',
    ),
  cert: text.optional().describe('Our certificate, its CA behind it (PEM). Default: made by this box.'),
  key: text.optional().describe('The private key to cert (PEM).'),
  verify_name: z
    .boolean()
    .optional()
    .describe('connect: insist that the certificate names the address. TAK servers’ seldom do.'),
  optional_client_cert: z.boolean().optional().describe('listen: let in clients without a certificate as well.'),
});

const credentials = z.strictObject({
  username: z.string().min(1).max(256),
  password: z.string().min(1).max(256),
});

export const cotSchema = z
  .strictObject({
    listen: z
      .union([listenAt.transform((one) => [one]), z.array(listenAt).min(1).max(16)])
      .optional()
      .describe('Wait for phones and other clients here. Usual: 8087 for TCP, 8089 for TLS.'),
    connect: connectTo.optional().describe('Connect to this TAK server as a client.'),
    tls: z
      .union([z.boolean(), tlsKeys])
      .default(false)
      .describe('TLS with certificates on both sides; false: plain TCP, for networks that are safe by themselves.'),
    via: viaSchema.optional(),
    profile: z.enum(PROFILE_NAMES).optional().describe('connect: the make of the server. Default: takserver.'),
    protocol: z
      .enum(['auto', 'xml'])
      .default('auto')
      .describe('auto: the compact TAK protocol with those who can; xml: XML only.'),
    auth: credentials
      .optional()
      .describe('connect: sent to the server. listen: what clients must send; without it they need none.'),
    uid: z.string().min(1).max(128).optional().describe('connect: uid of this relay on that server. Default: its id.'),
    per_phone: z
      .int()
      .min(0)
      .max(MAX_PER_PHONE)
      .optional()
      .describe(
        'connect: phones of this box that get a connection of their own there, so that chat reaches them. Default: by profile.',
      ),
    callsign: z
      .string()
      .min(1)
      .max(128)
      .optional()
      .describe('connect: callsign of this relay there. Default: its name.'),
    max_event_bytes: z
      .int()
      .min(4_096)
      .max(8 * 1024 * 1024)
      .default(MAX_EVENT_BYTES)
      .describe('Largest event taken or sent.'),
    max_connections: z.int().min(1).max(4_096).optional().describe(`listen: default ${MAX_CONNECTIONS}.`),
    flow_tag: z
      .boolean()
      .optional()
      .describe('Mark what is sent as having passed this relay. Default: yes for connect, no for listen.'),
    idle_timeout_seconds: z
      .int()
      .min(20)
      .max(86_400)
      .optional()
      .describe('A peer that says nothing for so long is gone. Default: 45 for connect, 300 for listen.'),
  })
  .superRefine((raw, context) => {
    const problem = (path: string[], message: string) => context.addIssue({ code: 'custom', path, message });
    if (raw.listen && raw.connect) problem(['connect'], 'either listen or connect, not both');
    if (!raw.listen && !raw.connect) {
      problem(['listen'], 'a cot link needs listen (wait for clients) or connect (a TAK server)');
    }
    const misplaced = raw.connect
      ? (['max_connections'] as const)
      : (['via', 'profile', 'uid', 'callsign', 'per_phone'] as const);
    for (const key of misplaced) {
      if (raw[key] !== undefined) problem([key], `only with ${raw.connect ? 'listen' : 'connect'}`);
    }
    if (typeof raw.tls === 'boolean') return;
    if (raw.tls.cert && !raw.tls.key) problem(['tls', 'key'], 'the private key to cert is missing');
    if (raw.tls.key && !raw.tls.cert) problem(['tls', 'cert'], 'the certificate to key is missing');
    const other = raw.connect ? 'optional_client_cert' : 'verify_name';
    if (raw.tls[other] !== undefined) problem(['tls', other], `only with ${raw.connect ? 'listen' : 'connect'}`);
  })
  .transform((raw): CotConfig => {
    const tls = raw.tls === true ? tlsKeys.parse({}) : raw.tls;
    return {
      listen: raw.listen ?? [],
      connect: through(raw.connect, raw.via),
      tls: tls && {
        trust: tls.trust,
        keyFiles: tls.cert && tls.key ? { cert: tls.cert, key: tls.key } : undefined,
        verifyName: tls.verify_name ?? false,
        optionalClientCert: tls.optional_client_cert ?? false,
      },
      profile: raw.profile ?? 'takserver',
      perPhone: raw.connect && (raw.per_phone ?? PROFILES[raw.profile ?? 'takserver'].perPhone),
      takProtocol: raw.protocol === 'auto',
      auth: raw.auth,
      uid: raw.uid,
      callsign: raw.callsign,
      maxEventBytes: raw.max_event_bytes,
      maxConnections: raw.max_connections ?? MAX_CONNECTIONS,
      flowTag: raw.flow_tag ?? raw.connect !== undefined,
      idleMs: raw.idle_timeout_seconds
        ? raw.idle_timeout_seconds * 1000
        : raw.connect
          ? CONNECT_IDLE_MS
          : LISTEN_IDLE_MS,
    };
  });

export interface Credentials {
  readonly username: string;
  readonly password: string;
}

/** Exactly one of `listen` (not empty) and `connect` is given. */
export interface CotConfig {
  readonly listen: readonly Address[];
  readonly connect: Address | undefined;
  /** false: plain TCP. */
  readonly tls:
    | false
    | {
        readonly trust: readonly string[];
        readonly keyFiles: { readonly cert: string; readonly key: string } | undefined;
        readonly verifyName: boolean;
        readonly optionalClientCert: boolean;
      };
  readonly profile: ProfileName;
  /** Most phones with a connection of their own; undefined: the server needs none. */
  readonly perPhone: number | undefined;
  /** TAK protocol 1 with those who can. */
  readonly takProtocol: boolean;
  readonly auth: Credentials | undefined;
  readonly uid: string | undefined;
  readonly callsign: string | undefined;
  readonly maxEventBytes: number;
  readonly maxConnections: number;
  readonly flowTag: boolean;
  readonly idleMs: number;
}

/**
 * TLS as this link speaks it; undefined for plain TCP. A listener shows the server leaf and trusts the clients of our own CA, but
 * whom the relay has revoked; a dialler shows its federation leaf and trusts whom the whole relay does. Throws FatalError when a file
 * cannot be used.
 */
export function tlsOf(config: CotConfig, context: LinkContext): TlsSettings | undefined {
  if (!config.tls) return undefined;
  const { verifyName, optionalClientCert } = config.tls;
  const { warnings, ...own } = loadTrust(config.tls.trust, context.baseDir);
  for (const { code, words, fix } of warnings) context.log.warn({ code, fix }, words);
  const { ca } = context.identity;
  const given: Trust = config.connect
    ? context.trust
    : mergeTrust(mergeTrust({ cas: [ca.certPem], pins: [] }, context.guests ?? NOBODY), refusalsOf(context.trust));
  return {
    keyPair: keyPairOf(config, context),
    trust: mergeTrust(given, own),
    alpn: [],
    verifyName,
    optionalClientCert,
  };
}

const NOBODY: Trust = { cas: [], pins: [] };

function keyPairOf(config: CotConfig, { identity, name, baseDir }: LinkContext): KeyPair {
  const files = config.tls ? config.tls.keyFiles : undefined;
  if (files) return readKeyPair(files.cert, files.key, baseDir);
  return config.connect ? identity.federation(name) : identity.server();
}
