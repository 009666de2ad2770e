// The keys of a `fed2` link in the configuration file, and the certificate they may name.
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import * as z from 'zod';
import type { KeyPair } from '../../identity/identity.ts';
import { commonName, fingerprint, pemBlocks } from '../../identity/x509.ts';
import { FatalError } from '../../lib/errors.ts';
import type { GroupHops } from '../../wire/federation-stamps.ts';
import { type Federate, federates } from '../federates.ts';
import { groupHops } from '../group-hops.ts';
import type { LinkContext } from '../link.ts';
import type { Address } from '../stream.ts';
import { through, viaSchema } from '../via.ts';
import { MAX_FRAME_BYTES } from './grpc.ts';
import { MAX_MESSAGE_BYTES, MAX_ROL_BYTES } from './limits.ts';

const MAX_LIST = 256;
const MAX_TEXT = 1024;

const text = z.string().min(1).max(MAX_TEXT);
const port = z.int().min(0).max(65_535);
const bytes = z
  .int()
  .min(64 << 10)
  .max(MAX_FRAME_BYTES);

/** `9001`, `10.0.0.1:9001`, `[fd00::1]:9001`, `:9001`. */
const listenAt = z.union([port, text]).transform((value, context): Address => {
  const address = typeof value === 'number' ? { host: '', port: value } : parseAddress(value);
  if (address) return address;
  context.issues.push({
    code: 'custom',
    message: 'expected a port, or an address and port such as 10.0.0.1:9001',
    input: value,
  });
  return z.NEVER;
});

const listen = z
  .union([listenAt.transform((one) => [one]), z.array(listenAt).min(1).max(16)])
  .describe('Wait for federates on these ports or addresses. TAK servers use 9001.');

const connect = text
  .transform((value, context): Address => {
    const address = parseAddress(value);
    if (address?.host) return address;
    context.issues.push({
      code: 'custom',
      message: 'expected a host and port such as tak.example.org:9001',
      input: value,
    });
    return z.NEVER;
  })
  .describe('Dial this TAK server or federation hub. Only one side may dial the other.');

export const fed2Schema = z
  .strictObject({
    listen: listen.optional(),
    connect: connect.optional(),
    via: viaSchema.optional(),
    trust: z
      .array(text)
      .max(MAX_LIST)
      .default([])
      .describe('CA certificate files or SHA256: pins, besides those of the whole relay.'),
    peers: federates,
    cert: text.optional().describe('Our certificate for this link, its CA behind it (PEM). Default: made by this box.'),
    key: text.optional().describe('The private key to cert (PEM).'),
    verify_name: z
      .boolean()
      .default(false)
      .describe('Insist that the certificate names the address. TAK servers’ seldom do.'),
    groups: z.array(text).max(MAX_LIST).default([]).describe('TAK groups said of what carries none of its own.'),
    group_hops: groupHops,
    health_interval_seconds: z
      .number()
      .min(1)
      .max(10)
      .default(3)
      .describe('How often a dialled peer is asked whether it lives.'),
    max_message_bytes: bytes.default(MAX_MESSAGE_BYTES).describe('Largest event taken or sent.'),
    max_rol_bytes: bytes.default(MAX_ROL_BYTES).describe('Largest mission change or file taken or sent.'),
    max_connections: z.int().min(1).max(1024).default(64).describe('Most connections of a listener.'),
    identity_type: z
      .enum(['tak', 'hub'])
      .default('tak')
      .describe('What we call ourselves. Hubs count hops differently.'),
  })
  .superRefine((raw, context) => {
    const problem = (path: string, message: string) => context.addIssue({ code: 'custom', path: [path], message });
    if (raw.listen && raw.connect) problem('connect', 'either listen or connect, not both');
    if (!raw.listen && !raw.connect)
      problem('listen', 'a fed2 link needs listen (wait for peers) or connect (dial one)');
    if (raw.peers.length > 0 && !raw.listen)
      problem('peers', 'only with listen; a link that dials has trust and policy');
    if (raw.via && !raw.connect) problem('via', 'only with connect');
    if (raw.cert && !raw.key) problem('key', 'the private key to cert is missing');
    if (raw.key && !raw.cert) problem('cert', 'the certificate to key is missing');
  })
  .transform(
    (raw): Fed2Config => ({
      listen: raw.listen ?? [],
      connect: through(raw.connect, raw.via),
      trust: raw.trust,
      peers: raw.peers,
      cert: raw.cert,
      key: raw.key,
      verifyName: raw.verify_name,
      groups: raw.groups,
      groupHops: raw.group_hops,
      healthIntervalMs: raw.health_interval_seconds * 1000,
      maxMessageBytes: raw.max_message_bytes,
      maxRolBytes: raw.max_rol_bytes,
      maxConnections: raw.max_connections,
      identityType: raw.identity_type,
    }),
  );

/** Exactly one of `listen` (not empty) and `connect` is given. */
export interface Fed2Config {
  readonly listen: readonly Address[];
  readonly connect: Address | undefined;
  readonly trust: readonly string[];
  /** Of a listener. */
  readonly peers: readonly Federate[];
  readonly cert: string | undefined;
  readonly key: string | undefined;
  readonly verifyName: boolean;
  readonly groups: readonly string[];
  readonly groupHops: GroupHops | undefined;
  readonly healthIntervalMs: number;
  readonly maxMessageBytes: number;
  readonly maxRolBytes: number;
  readonly maxConnections: number;
  readonly identityType: 'tak' | 'hub';
}

function parseAddress(value: string): Address | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]{2,45})\]|([^\s:[\]/]{0,255})):(\d{1,5})$/.exec(value);
  const found = match && { host: match[1] ?? match[2]!, port: Number(match[3]) };
  return found && found.port <= 65_535 ? found : undefined;
}

/**
 * What this link shows of us: the configured pair; else a leaf of its own for a dialled peer (TAK wants one per peer, §7.9)
 * and the shared one for a listener. Throws FatalError.
 */
export function keyPairOf(config: Fed2Config, context: LinkContext): KeyPair {
  const { identity, name, baseDir, log } = context;
  if (!config.cert || !config.key) return config.connect ? identity.federation(name) : identity.federation();
  const certPem = readText(resolve(baseDir, config.cert));
  const keyPem = readText(resolve(baseDir, config.key));
  const leaf = leafOf(config.cert, certPem, keyPem);
  if (pemBlocks(certPem).length < 2) {
    log.warn({ cert: config.cert }, 'the certificate file holds no CA behind the leaf; TAK servers refuse such a peer');
  }
  return {
    certPem,
    keyPem,
    fingerprint: fingerprint(leaf),
    commonName: commonName(leaf),
    notAfterMs: leaf.validToDate.getTime(),
  };
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const words = error instanceof Error ? error.message : String(error);
    throw new FatalError('key_unreadable', `${path} cannot be read: ${words}`, KEY_FIX, error);
  }
}

function leafOf(file: string, certPem: string, keyPem: string): X509Certificate {
  let fits: boolean;
  let leaf: X509Certificate;
  try {
    leaf = new X509Certificate(certPem);
    fits = leaf.checkPrivateKey(createPrivateKey(keyPem));
  } catch (error) {
    const words = error instanceof Error ? error.message : String(error);
    throw new FatalError(
      'key_unreadable',
      `${file} and its key are not a certificate and a private key: ${words}`,
      KEY_FIX,
      error,
    );
  }
  if (!fits)
    throw new FatalError('key_mismatch', `the private key does not belong to the certificate in ${file}`, KEY_FIX);
  return leaf;
}

const KEY_FIX =
  'cert names a PEM file with our certificate and then its CA; key names a PEM file with its private key, without password. ' +
  'Leave both out to use the certificate this box made.';
