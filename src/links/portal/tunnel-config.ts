// The keys `expose` and `tunnels` of a portal link in the configuration file.
import * as z from 'zod';
import { dialAddress } from '../address-keys.ts';
import type { Address } from '../stream.ts';
import { MAX_EXPOSED_NAMES, MAX_TUNNELS, MAX_TUNNELS_PER_PEER } from './tunnel-limits.ts';
import { EXPOSED_NAME, JOIN_TARGET, PORTAL_TARGET } from './tunnel-words.ts';

const MAX_RULES = 256;
const MAX_NAMES = 256;
/** Less would stop a session for seconds after every read. */
const MIN_BYTES_PER_SECOND = 8_192;

const name = z.string().min(1).max(64);
/** Peers by name; `'*'`: every one. */
const names = z.array(name).max(MAX_NAMES);

const address = z.string().max(300).transform(dialAddress('127.0.0.1:9001'));

const service = z.union([
  address.transform((found): Exposed => ({ address: found, from: undefined })),
  z.strictObject({ address, from: names.describe('Only for these peers.') }).transform((raw): Exposed => raw),
]);

const exposedName = z
  .string()
  .regex(EXPOSED_NAME, 'expected 1 to 32 of a-z 0-9 . _ - beginning with a letter or digit')
  .refine(
    (value) => value !== PORTAL_TARGET && value !== JOIN_TARGET,
    `'${PORTAL_TARGET}' and '${JOIN_TARGET}' are this relay itself`,
  );

/** Services beside this relay that its peers may reach through it. */
export const exposeSchema = z
  .record(exposedName, service)
  .default({})
  .refine((all) => Object.keys(all).length <= MAX_EXPOSED_NAMES, `at most ${MAX_EXPOSED_NAMES} services`)
  .transform((all): ReadonlyMap<string, Exposed> => new Map(Object.entries(all)))
  .describe('Services that peers may reach through this relay, as name: host:port, and nothing else.');

/** What a hub lets its peers do, and who may reach this relay through a hub. */
export const tunnelsSchema = z
  .strictObject({
    allow: z
      .array(z.strictObject({ from: names, to: names }))
      .max(MAX_RULES)
      .optional()
      .describe('hub: which peers may reach which others through it. Default: every one every other.'),
    accept_from: names.optional().describe('Peers that may reach this relay by a tunnel. Default: every one.'),
    max_per_peer: z
      .int()
      .min(0)
      .max(MAX_TUNNELS)
      .default(MAX_TUNNELS_PER_PEER)
      .describe('Tunnels a peer may have at a time: those it asked a hub for, and those to services here.'),
    bytes_per_day: z
      .int()
      .min(1)
      .max(Number.MAX_SAFE_INTEGER)
      .optional()
      .describe('hub: bytes of the tunnels a peer asked for.'),
    bytes_per_second: z
      .int()
      .min(MIN_BYTES_PER_SECOND)
      .max(Number.MAX_SAFE_INTEGER)
      .optional()
      .describe('hub: rate of all tunnels together that a peer asked for.'),
  })
  .prefault({})
  .transform(
    (raw): TunnelsConfig => ({
      allow: raw.allow,
      acceptFrom: raw.accept_from,
      maxPerPeer: raw.max_per_peer,
      bytesPerDay: raw.bytes_per_day,
      bytesPerSecond: raw.bytes_per_second,
    }),
  )
  .describe('Tunnels: what a hub allows, and who may come here through one.');

export interface Exposed {
  readonly address: Address;
  /** Names of peers; undefined: every one. */
  readonly from: readonly string[] | undefined;
}

export interface TunnelsConfig {
  /** Undefined: every peer may reach every other. */
  readonly allow: readonly TunnelRule[] | undefined;
  /** Undefined: every peer. */
  readonly acceptFrom: readonly string[] | undefined;
  readonly maxPerPeer: number;
  /** Undefined: no limit. */
  readonly bytesPerDay: number | undefined;
  readonly bytesPerSecond: number | undefined;
}

export interface TunnelRule {
  readonly from: readonly string[];
  readonly to: readonly string[];
}

/** Does the list name this peer? Undefined names everybody. */
export function lists(list: readonly string[] | undefined, peer: string): boolean {
  return list === undefined || list.includes(peer) || list.includes('*');
}
