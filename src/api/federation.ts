// Federation as the public guides' programs know it, put into links of our configuration file and back: names, filters,
// certificates, which protocol.
import { X509Certificate } from 'node:crypto';
import * as z from 'zod';
import type { Edit } from '../config/edit.ts';
import { linksOf, type Section } from '../config/links-edit.ts';
import { ConfigRefused } from '../config/refused.ts';
import { SENSOR_FEEDS } from '../core/policy.ts';
import type { LinkStatus, PeerStatus } from '../core/status.ts';
import { Refusal } from './refusal.ts';

export const DEFAULT_PORT = 9000;
/** TAK servers speak v2 there, v1 on 9000. */
const V2_PORT = 9001;
const KINDS: readonly unknown[] = ['fed1', 'fed2'];
/** A health check of ours comes at least so often: sooner than any NAT forgets. */
const MOST_KEEPALIVE = 10;

const list = z.array(z.string().min(1).max(1024)).max(256);
const pin = z
  .string()
  .regex(/^sha-?256:[0-9a-f:]{64,95}$/i, 'expected SHA256: and 64 hexadecimal digits')
  .describe('SHA256: and the SHA-256 of the peer’s certificate or its CA.');
const host = z
  .string()
  .regex(/^[^\s/:[\]]{1,253}$|^[0-9a-fA-F:.]{2,45}$/, 'expected a host name or an address, without port');

export const filters = z
  .strictObject({
    cot_types: list.optional().describe('Only types that begin with one of these. Empty: all.'),
    block_types: list.optional().describe('Never types that begin with one of these.'),
    groups: list.optional().describe('Only these groups, both ways. Empty: all.'),
    direction: z.enum(['in', 'out', 'both']).optional(),
  })
  .meta({ id: 'FederationFilters' });

const protocol = z
  .enum(['tls', 'ssl', 'v1', 'v2'])
  .describe('tls, ssl: by the port, 9001 is TAK Federation v2, others v1.');

/** What both making and changing take. */
const fields = {
  address: host,
  port: z.int().min(1).max(65_535),
  protocol,
  ca_cert: z
    .string()
    .min(1)
    .max(65_536)
    .describe('CA certificate of the peer: PEM, or the path of a file on this box.'),
  ca_pin: pin,
  bidirectional: z
    .boolean()
    .describe('false: only take events from this peer, unless filters.direction says otherwise.'),
  enabled: z.boolean(),
  keepalive_seconds: z.int().min(1).max(3600),
  filters,
};

export const newFederation = z.strictObject({
  ...fields,
  name: z.string().regex(/^[^\p{C}/]{1,64}$/u, 'expected 1 to 64 characters without /'),
  port: fields.port.default(DEFAULT_PORT),
  protocol: protocol.default('tls'),
  ca_cert: fields.ca_cert.optional(),
  ca_pin: pin.optional(),
  bidirectional: fields.bidirectional.default(true),
  enabled: fields.enabled.default(true),
  keepalive_seconds: fields.keepalive_seconds.optional(),
  filters: filters.optional(),
});
export type NewFederation = z.output<typeof newFederation>;

export const changedFederation = z.strictObject(fields).partial();
export type ChangedFederation = z.output<typeof changedFederation>;

export const federation = z
  .object({
    name: z.string(),
    address: z.string(),
    port: z.int(),
    protocol: z.enum(['v1', 'v2']),
    status: z.string().describe('connecting, connected, failed, disabled'),
    enabled: z.boolean(),
    bidirectional: z.boolean(),
    keepalive_seconds: z.number().nullable(),
    filters: z.object({
      cot_types: z.array(z.string()),
      block_types: z.array(z.string()),
      groups: z.array(z.string()),
      direction: z.enum(['in', 'out', 'both', 'none']),
    }),
    events_forwarded: z.int(),
    events_received: z.int(),
    last_heartbeat: z.string().nullable(),
    error: z.string().nullable(),
    fix: z.string().nullable(),
  })
  .meta({ id: 'Federation' });
export type Federation = z.output<typeof federation>;

/** Entries of `links` that dial a federate, with their places. */
export function federationLinks(file: string): readonly Section[] {
  return linksOf(file).filter(({ kind, connect }) => KINDS.includes(kind) && typeof connect === 'string');
}

/** By the name the guides' programs gave it. @throws ConfigRefused */
export function federationLink(file: string, name: string): Section {
  const found = federationLinks(file).find((link) => nameOf(link) === name || link.name === name);
  if (found) return found;
  const names = federationLinks(file).map(nameOf).join(', ');
  throw new ConfigRefused(
    'unknown_link',
    `there is no federation ${JSON.stringify(name.slice(0, 64))}`,
    names && `there is ${names}`,
  );
}

export function nameOf({ label, name }: Section): string {
  return typeof label === 'string' ? label : String(name);
}

/** A name our file takes: lower case, and one that is free. */
export function linkName(file: string, name: string): string {
  const plain = name
    .normalize('NFKD')
    .toLowerCase()
    .replace(/[^a-z0-9._-]+/g, '-')
    .replace(/^[^a-z0-9]+/, '');
  const base = plain.slice(0, 28) || 'federation';
  const taken = linksOf(file).map((link) => link.name);
  for (let count = 1; ; count++) {
    const candidate = count === 1 ? base : `${base}-${count}`;
    if (!taken.includes(candidate)) return candidate;
  }
}

/** A new federation as an entry of `links`. */
export function linkOf(given: NewFederation, name: string, trust: readonly string[]): Section {
  const kind = kindOf(given.protocol, given.port);
  const policy = policyPatch(given, {});
  return {
    name,
    ...(name === given.name ? {} : { label: given.name }),
    kind,
    connect: addressText(given.address, given.port),
    ...(given.enabled ? {} : { enabled: false }),
    ...(trust.length > 0 ? { trust } : {}),
    ...(kind === 'fed2' && given.keepalive_seconds
      ? { health_interval_seconds: keepalive(given.keepalive_seconds) }
      : {}),
    ...(Object.keys(policy).length > 0 ? { policy } : {}),
  };
}

/** What a change means for the link's entry, as a merge patch. */
export function patchOf(given: ChangedFederation, link: Section, trust: readonly string[] | undefined): Section {
  const now = addressOf(link);
  const [address, port] = [given.address ?? now.address, given.port ?? now.port];
  const moved = given.address !== undefined || given.port !== undefined;
  const kind =
    given.protocol === undefined && given.port === undefined ? link.kind : kindOf(given.protocol ?? 'tls', port);
  const policy = policyPatch(given, (link.policy ?? {}) as Section);
  return {
    ...(moved ? { connect: addressText(address, port) } : {}),
    ...(kind === link.kind ? {} : { kind, health_interval_seconds: null }),
    ...(given.enabled === undefined ? {} : { enabled: given.enabled ? null : false }),
    ...(trust ? { trust } : {}),
    ...(kind === 'fed2' && given.keepalive_seconds
      ? { health_interval_seconds: keepalive(given.keepalive_seconds) }
      : {}),
    ...(Object.keys(policy).length > 0 ? { policy } : {}),
  };
}

/** Only what was given: the rest of the policy stays. */
function policyPatch({ bidirectional, filters = {} }: ChangedFederation, now: Section): Record<string, unknown> {
  const { cot_types, block_types, groups, direction } = filters;
  const way = direction ?? (bidirectional === undefined ? undefined : bidirectional ? 'both' : 'in');
  const plain = way === 'both' && now.in === undefined && now.out === undefined;
  return {
    ...(way === undefined || plain ? {} : { in: way !== 'out', out: way !== 'in' }),
    ...(cot_types ? { allow_types: cot_types } : {}),
    ...(block_types ? { block_types } : {}),
    ...(groups ? { groups_in: groups, groups_out: groups } : {}),
  };
}

function keepalive(seconds: number): number {
  return Math.min(seconds, MOST_KEEPALIVE);
}

function kindOf(said: z.output<typeof protocol>, port: number): 'fed1' | 'fed2' {
  if (said === 'v1') return 'fed1';
  return said === 'v2' || port === V2_PORT ? 'fed2' : 'fed1';
}

export function addressText(address: string, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

export function addressOf({ connect }: Section): { readonly address: string; readonly port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:]*)):(\d+)$/.exec(String(connect));
  return { address: match?.[1] ?? match?.[2] ?? '', port: Number(match?.[3] ?? 0) };
}

/** Words of the link's state as the guides have them. */
export function stateWord(state: string, enabled: boolean): string {
  if (!enabled || state === 'stopped') return 'disabled';
  if (state === 'connected' || state === 'failed') return state;
  return 'connecting';
}

export function federationOf(
  link: Section,
  status: LinkStatus | undefined,
  peer: PeerStatus | undefined,
  wallMs: number,
): Federation {
  const policy = (link.policy ?? {}) as Record<string, unknown>;
  const [into, out] = [policy.in !== false, policy.out !== false];
  const strings = (value: unknown) => (Array.isArray(value) ? value.map(String) : []);
  const enabled = link.enabled !== false;
  const state = stateWord(status?.state ?? 'starting', enabled);
  const trouble = state === 'connected' ? undefined : status?.lastTrouble;
  const interval = link.health_interval_seconds;
  return {
    name: nameOf(link),
    ...addressOf(link),
    protocol: link.kind === 'fed2' ? 'v2' : 'v1',
    status: state,
    enabled,
    bidirectional: into && out,
    keepalive_seconds: typeof interval === 'number' ? interval : null,
    filters: {
      cot_types: strings(policy.allow_types),
      block_types: strings(policy.block_types ?? (policy.allow_types ? [] : SENSOR_FEEDS)),
      groups: [...new Set([...strings(policy.groups_in), ...strings(policy.groups_out)])],
      direction: into && out ? 'both' : into ? 'in' : out ? 'out' : 'none',
    },
    events_forwarded: peer ? peer.lanes.reduce((sum, { sent }) => sum + sent, 0) : 0,
    events_received: peer?.received.events ?? 0,
    last_heartbeat: heartbeat(peer, wallMs),
    error: trouble?.words ?? null,
    fix: trouble?.fix ?? null,
  };
}

/** ISO-8601 UTC. */
export function heartbeat(peer: PeerStatus | undefined, wallMs: number): string | null {
  return peer?.lastHeardMsAgo == null ? null : new Date(wallMs - peer.lastHeardMsAgo).toISOString();
}

/** Trust entries that only this link names, which go with it; as edits of the whole relay's `trust`. */
export function trustEdits(file: string, whole: unknown, gone: readonly string[], come: readonly string[]): Edit[] {
  const named = Array.isArray(whole) ? whole.map(String) : [];
  const places = gone.map((item) => named.indexOf(item)).filter((index) => index >= 0);
  const others = linksOf(file).flatMap(({ trust }) => (Array.isArray(trust) ? trust.map(String) : []));
  const still = (index: number) => others.filter((item) => item === named[index]).length > 1;
  return [
    ...places
      .filter((index) => !still(index))
      .sort((a, b) => b - a)
      .map((index): Edit => ({ op: 'delete', path: ['trust', index] })),
    ...come.filter((item) => !named.includes(item)).map((value): Edit => ({ op: 'add', path: ['trust'], value })),
  ];
}

export function trustOfLink({ trust }: Section): readonly string[] {
  return Array.isArray(trust) ? trust.map(String) : [];
}

/** @throws Refusal when the text holds no certificate, or not the pinned one */
export function checkCertificates(pem: string, pinned: string | undefined): void {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g) ?? [];
  let prints: string[];
  try {
    prints = blocks.map((block) => new X509Certificate(block).fingerprint256.replaceAll(':', '').toLowerCase());
  } catch {
    prints = [];
  }
  if (prints.length === 0) {
    throw new Refusal(422, 'bad_ca_cert', 'ca_cert holds no certificate', {
      fix: 'send the peer’s CA certificate in PEM form: it begins with -----BEGIN CERTIFICATE-----',
    });
  }
  if (pinned !== undefined && !prints.includes(pinHex(pinned))) {
    throw new Refusal(422, 'pin_mismatch', 'ca_cert is not the certificate that ca_pin names', {
      fix: 'ask the peer for its CA certificate again, by a way nobody can tamper with',
    });
  }
}

export function pinHex(pinned: string): string {
  return pinned
    .replace(/^sha-?256:/i, '')
    .replaceAll(':', '')
    .toLowerCase();
}
