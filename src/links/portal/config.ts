// The keys of a `portal` link in the configuration file. One link serves all peers of a box.
import { readFileSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import * as z from 'zod';
import type { Policy } from '../../core/policy.ts';
import { FatalError } from '../../lib/errors.ts';
import { dialAddress, listenAddress } from '../address-keys.ts';
import { policyKeys } from '../policy-keys.ts';
import type { Address } from '../stream.ts';
import type { Packing } from './events.ts';
import { DIRECT } from './seam.ts';
import { type Exposed, exposeSchema, type TunnelsConfig, tunnelsSchema } from './tunnel-config.ts';

/** Short keys can be guessed from one recorded handshake by a peer whose certificate is accepted. */
const MIN_KEY_LENGTH = 16;
const MAX_KEY_LENGTH = 1_024;
const MAX_KEY_FILE_BYTES = 4_096;
const MAX_TEXT = 1_024;
const MAX_PEERS = 1_000;
const MAX_HUBS = 8;
const MAX_WORKERS = 64;
/** How a direct connection is called where otherwise the name of a hub stands. */
const RESERVED = [DIRECT, 'portal'];

const text = z.string().min(1).max(MAX_TEXT);

const listenAt = z.union([z.int().min(0).max(65_535), text]).transform(listenAddress('10.0.0.1:9090'));

const dialAt = text.transform(dialAddress('relay-b.example.org:9090'));

const peerName = z
  .string()
  .regex(/^[a-z0-9][a-z0-9._-]{0,31}$/, 'expected 1 to 32 of a-z 0-9 . _ - beginning with a letter or digit')
  .refine((name) => !RESERVED.includes(name), 'is taken for something else: choose another name');

const pin = text.transform((value, context): string => {
  const hex = value
    .replace(/^sha-?256:/i, '')
    .replaceAll(':', '')
    .trim()
    .toLowerCase();
  if (/^[0-9a-f]{64}$/.test(hex)) return hex;
  const message =
    'expected SHA256: and the 64 hexadecimal digits that "waystation cert show" prints there under portal';
  context.issues.push({ code: 'custom', message, input: value });
  return z.NEVER;
});

const keyText = z.string().min(MIN_KEY_LENGTH, `expected ${MIN_KEY_LENGTH} characters or more`).max(MAX_KEY_LENGTH);

const workers = z.int().min(1).max(MAX_WORKERS);

const peer = z
  .strictObject({
    name: peerName.describe('What this relay is called here, whatever it calls itself.'),
    pin: pin.describe('SHA-256 of its portal certificate: "waystation cert show" over there.'),
    federation_key: keyText
      .optional()
      .describe('The secret shared with this peer alone, in place of the one of the link.'),
    federation_key_file: text.optional().describe('A file that holds it; joining by a code makes one.'),
    address: dialAt.optional().describe('Where to reach it. Without: it comes to us, or through a hub.'),
    hub: z
      .union([peerName.transform((one) => [one]), z.array(peerName).min(1).max(MAX_HUBS)])
      .optional()
      .describe('The peer, or peers in order, to go through when it cannot be reached directly.'),
    auto_connect: z.boolean().default(true).describe('false: wait for it to connect.'),
    policy: policyKeys.optional().describe('What may cross to and from this peer, in place of the policy of the link.'),
    compress: z
      .enum(['auto', 'on', 'off'])
      .default('auto')
      .describe(
        'Fewer bytes to this peer, for some work. auto: where the line is thin. off: never; positions on a thin line go as TAK protobuf.',
      ),
    positions: z
      .enum(['exact', 'coarse'])
      .default('exact')
      .describe('coarse: positions to a metre and a second, in half the bytes; only where they are compressed.'),
    workers: workers.optional().describe('Requests of this peer worked on at once. Default: as of the link.'),
  })
  .transform(
    (raw): PeerConfig => ({
      name: raw.name,
      pin: raw.pin,
      federationKey: raw.federation_key,
      federationKeyFile: raw.federation_key_file,
      address: raw.address,
      hubs: raw.hub ?? [],
      autoConnect: raw.auto_connect,
      policy: raw.policy,
      workers: raw.workers,
      packing: { compress: raw.compress, positions: raw.positions },
    }),
  );

export const portalSchema = z
  .strictObject({
    listen: z
      .union([listenAt.transform((one) => [one]), z.array(listenAt).min(1).max(16)])
      .optional()
      .describe('Wait for relays here. Usual: 9090. Leave it out behind NAT.'),
    federation_key: keyText
      .optional()
      .describe('The secret all relays of the federation share, beside their pinned certificates.'),
    federation_key_file: text.optional().describe('A file that holds it, in place of federation_key.'),
    hub: z
      .boolean()
      .default(false)
      .describe('Serve as a hub: pass tunnels between peers that cannot reach each other.'),
    workers: workers.default(4).describe('Requests of one peer worked on at once.'),
    keepalive_seconds: z
      .int()
      .min(10)
      .max(480)
      .default(25)
      .describe('Shortest interval of PINGs on a quiet connection; longer ones, to 8 min, are learnt.'),
    peers: z.array(peer).max(MAX_PEERS).default([]).describe('The relays to be connected with. Nobody else gets in.'),
    expose: exposeSchema,
    tunnels: tunnelsSchema,
  })
  .superRefine((raw, context) => {
    const problem = (path: (string | number)[], message: string) => context.addIssue({ code: 'custom', path, message });
    if (!raw.federation_key && !raw.federation_key_file) {
      problem(['federation_key'], 'a portal link needs federation_key or federation_key_file; there is no default');
    }
    if (raw.federation_key && raw.federation_key_file)
      problem(['federation_key_file'], 'either this or federation_key');
    if (raw.hub && !raw.listen) problem(['listen'], 'a hub must listen: its peers come to it');
    raw.peers.forEach((one, index) => {
      if (one.federationKey && one.federationKeyFile)
        problem(['peers', index, 'federation_key_file'], 'either this or federation_key');
      const before = raw.peers.slice(0, index);
      if (before.some(({ name }) => name === one.name)) problem(['peers', index, 'name'], 'already the name of a peer');
      if (before.some((other) => other.pin === one.pin)) problem(['peers', index, 'pin'], 'already the pin of a peer');
      // A peer with a mistake comes as it was written.
      for (const hub of one.hubs ?? []) {
        if (hub === one.name) problem(['peers', index, 'hub'], 'a peer is no hub to itself');
        else if (!raw.peers.some(({ name }) => name === hub)) {
          problem(['peers', index, 'hub'], `no peer is called ${hub}: a hub must be one of the peers`);
        }
      }
    });
  })
  .transform(
    (raw): PortalConfig => ({
      listen: raw.listen ?? [],
      federationKey: raw.federation_key,
      federationKeyFile: raw.federation_key_file,
      hub: raw.hub,
      workers: raw.workers,
      keepaliveMs: raw.keepalive_seconds * 1000,
      peers: raw.peers,
      expose: raw.expose,
      tunnels: raw.tunnels,
    }),
  );

export interface PeerConfig {
  readonly name: string;
  /** SHA-256, lower hex. */
  readonly pin: string;
  /** At most one of the two; neither: the link's key. */
  readonly federationKey: string | undefined;
  readonly federationKeyFile: string | undefined;
  readonly address: Address | undefined;
  /** Names of peers, in the order they are tried. */
  readonly hubs: readonly string[];
  readonly autoConnect: boolean;
  /** undefined: the link's. */
  readonly policy: Policy | undefined;
  /** undefined: the link's. */
  readonly workers: number | undefined;
  readonly packing: Packing;
}

/** Exactly one of `federationKey` and `federationKeyFile` is given. */
export interface PortalConfig {
  /** Empty: we only dial. */
  readonly listen: readonly Address[];
  readonly federationKey: string | undefined;
  readonly federationKeyFile: string | undefined;
  readonly hub: boolean;
  readonly workers: number;
  readonly keepaliveMs: number;
  readonly peers: readonly PeerConfig[];
  readonly expose: ReadonlyMap<string, Exposed>;
  readonly tunnels: TunnelsConfig;
}

/** The federation key's bytes, of a link or of a peer that has one. Throws FatalError when its file cannot be used. */
export function federationKey(
  config: Pick<PortalConfig, 'federationKey' | 'federationKeyFile'>,
  baseDir: string,
): Buffer {
  if (config.federationKey !== undefined) return Buffer.from(config.federationKey);
  const path = resolve(baseDir, config.federationKeyFile ?? '');
  const key = readKey(path);
  if (key.length >= MIN_KEY_LENGTH) return Buffer.from(key);
  throw new FatalError('key_too_short', `the federation key in ${path} has fewer than 16 characters`, KEY_FIX);
}

const KEY_FIX =
  'Put the key of the federation there, the same at every relay: "openssl rand -base64 24" makes a good one. White space around it does not count.';

function readKey(path: string): string {
  try {
    if (statSync(path).size > MAX_KEY_FILE_BYTES) throw new Error('it is too large');
    return readFileSync(path, 'utf8').trim();
  } catch (error) {
    const words = error instanceof Error ? error.message : String(error);
    throw new FatalError('key_unreadable', `the federation key in ${path} cannot be read: ${words}`, KEY_FIX, error);
  }
}
