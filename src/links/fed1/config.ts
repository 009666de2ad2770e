// The keys of a `fed1` link in the configuration file, and what the link makes of them.
import * as z from 'zod';
import type { KeyPair } from '../../identity/identity.ts';
import { loadTrust, mergeTrust, type Trust } from '../../identity/trust.ts';
import type { GroupHops } from '../../wire/federation-stamps.ts';
import { dialAddress, listenAddress } from '../address-keys.ts';
import { groupHops } from '../group-hops.ts';
import { readKeyPair } from '../key-files.ts';
import type { LinkContext } from '../link.ts';
import type { Address, TlsSettings } from '../stream.ts';
import { through, viaSchema } from '../via.ts';
import { FILES_PORT, MAX_FRAME_BYTES, MAX_MESSAGE_BYTES } from './limits.ts';

const MAX_LIST = 256;
const MAX_TEXT = 1024;

const text = z.string().min(1).max(MAX_TEXT);

export const PROFILE_NAMES = ['takserver', 'freetakserver'] as const;
export type ProfileName = (typeof PROFILE_NAMES)[number];

const listenAt = z.union([z.int().min(0).max(65_535), text]).transform(listenAddress('10.0.0.1:9000'));

const connectTo = text.transform(dialAddress('fts.example.org:9000'));

/** Keys that a link beside another does not have: its listener's count. */
const LISTENERS_OWN = ['trust', 'cert', 'key', 'max_connections'] as const;

export const fed1Schema = z
  .strictObject({
    listen: z
      .union([listenAt.transform((one) => [one]), z.array(listenAt).min(1).max(16)])
      .optional()
      .describe('Wait for federates on these ports or addresses, for v1 alone.'),
    beside: text
      .optional()
      .describe('Wait for federates on the ports of this fed2 link: who does not ask for v2 there speaks v1.'),
    connect: connectTo.optional().describe('Dial this server. Only one side may dial the other.'),
    via: viaSchema.optional(),
    profile: z
      .enum(PROFILE_NAMES)
      .default('takserver')
      .describe('The make of the peers: TAK Server or Federation Hub (v1), or FreeTAKServer.'),
    trust: z
      .array(text)
      .max(MAX_LIST)
      .optional()
      .describe(
        'CA certificate files or SHA256: pins, besides those of the whole relay. Dialling a FreeTAKServer: these alone; ' +
          'without any, the certificate it shows first is remembered.',
      ),
    cert: text.optional().describe('Our certificate for this link, its CA behind it (PEM). Default: made by this box.'),
    key: text.optional().describe('The private key to cert (PEM).'),
    verify_name: z
      .boolean()
      .optional()
      .describe('connect: insist that the certificate names the address. TAK servers’ seldom do.'),
    groups: z.array(text).max(MAX_LIST).default([]).describe('TAK groups said of what carries none of its own.'),
    group_hops: groupHops,
    max_message_bytes: z
      .int()
      .min(64 << 10)
      .max(MAX_FRAME_BYTES)
      .optional()
      .describe('Largest event taken or sent; FreeTAKServer has limits of its own.'),
    files_port: z
      .union([z.literal(false), z.int().min(1).max(65_535)])
      .optional()
      .describe('takserver: HTTPS port of the peer that takes files, 8444 where nothing is said; false: it has none.'),
    max_connections: z.int().min(1).max(1024).optional().describe('listen: most connections. Default: 64.'),
  })
  .superRefine((raw, context) => {
    const problem = (path: string, message: string) => context.addIssue({ code: 'custom', path: [path], message });
    const ways = (['listen', 'beside', 'connect'] as const).filter((way) => raw[way] !== undefined);
    if (ways.length === 0) {
      problem('listen', 'a fed1 link needs listen (wait for peers), beside (on the ports of a fed2 link) or connect');
    }
    for (const way of ways.slice(1)) problem(way, 'only one of listen, beside and connect');
    if (raw.beside && raw.profile !== 'takserver') {
      problem('profile', 'a FreeTAKServer gets a link of its own: give it a port with listen, or dial it with connect');
    }
    for (const key of raw.beside ? LISTENERS_OWN : []) {
      if (raw[key] !== undefined) problem(key, `belongs to the link "${raw.beside}" that this one stands beside`);
    }
    for (const key of raw.connect ? [] : (['via', 'verify_name'] as const)) {
      if (raw[key] !== undefined) problem(key, 'only with connect');
    }
    if (raw.connect && raw.max_connections !== undefined) problem('max_connections', 'only with listen');
    if (raw.profile === 'freetakserver' && raw.max_message_bytes !== undefined) {
      problem('max_message_bytes', 'only for takserver: what FreeTAKServer can take is fixed');
    }
    if (raw.profile === 'freetakserver' && raw.group_hops) {
      problem('group_hops', 'only for takserver: FreeTAKServer is told no groups');
    }
    if (raw.profile === 'freetakserver' && raw.files_port !== undefined) {
      problem('files_port', 'only for takserver: FreeTAKServer takes no files from federates');
    }
    if (raw.cert && !raw.key) problem('key', 'the private key to cert is missing');
    if (raw.key && !raw.cert) problem('cert', 'the certificate to key is missing');
  })
  .transform(
    (raw): Fed1Config => ({
      listen: raw.listen ?? [],
      beside: raw.beside,
      connect: through(raw.connect, raw.via),
      profile: raw.profile,
      trust: raw.trust ?? [],
      keyFiles: raw.cert && raw.key ? { cert: raw.cert, key: raw.key } : undefined,
      verifyName: raw.verify_name ?? false,
      groups: raw.groups,
      groupHops: raw.group_hops,
      maxMessageBytes: raw.max_message_bytes ?? MAX_MESSAGE_BYTES,
      filesPort: raw.profile === 'takserver' && raw.files_port !== false ? (raw.files_port ?? FILES_PORT) : undefined,
      maxConnections: raw.max_connections ?? 64,
    }),
  );

/** Exactly one of `listen` (not empty), `beside` and `connect` is given. */
export interface Fed1Config {
  readonly listen: readonly Address[];
  readonly beside: string | undefined;
  readonly connect: Address | undefined;
  readonly profile: ProfileName;
  readonly trust: readonly string[];
  readonly keyFiles: { readonly cert: string; readonly key: string } | undefined;
  readonly verifyName: boolean;
  readonly groups: readonly string[];
  readonly groupHops: GroupHops | undefined;
  readonly maxMessageBytes: number;
  /** Where the peer takes files; undefined: nowhere. */
  readonly filesPort: number | undefined;
  readonly maxConnections: number;
}

/** TLS as this link speaks it, without ALPN: that is how v1 is told from v2. Throws FatalError when a file cannot be used. */
export function tlsOf(config: Fed1Config, context: LinkContext): TlsSettings {
  return {
    keyPair: keyPairOf(config, context),
    trust: mergeTrust(context.trust, ownTrust(config, context)),
    alpn: [],
    verifyName: config.verifyName,
  };
}

/** Whom the link itself names. Throws FatalError. */
export function ownTrust(config: Fed1Config, context: LinkContext): Trust {
  const { warnings, ...own } = loadTrust(config.trust, context.baseDir);
  for (const { code, words, fix } of warnings) context.log.warn({ code, fix }, words);
  return own;
}

function keyPairOf(config: Fed1Config, { identity, name, baseDir }: LinkContext): KeyPair {
  const { keyFiles, connect } = config;
  if (keyFiles) return readKeyPair(keyFiles.cert, keyFiles.key, baseDir);
  return connect ? identity.federation(name) : identity.federation();
}
