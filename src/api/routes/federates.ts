// TAK Servers and hubs that dial us, by the fingerprint of their certificate; and what we publish for their operators.
import * as z from 'zod';
import { groupHopsEntry, hopsTowards, maxHopsOut } from '../../config/coreconfig.ts';
import { type Edit, editYaml, textValue } from '../../config/edit.ts';
import { linksOf, type Section } from '../../config/links-edit.ts';
import type { PeerStatus, RelayStatus } from '../../core/status.ts';
import { qrPath } from '../../onboarding/addresses.ts';
import { heartbeat, pinHex } from '../federation.ts';
import { listeningLink, type PublishParts, publication, publicationOf, zipOf } from '../publication.ts';
import { Refusal } from '../refusal.ts';
import { Reply, type Route, raw, route } from '../route.ts';
import type { ConfigRouteDeps } from './config.ts';
import { toggles } from './pairing.ts';

export interface FederateDeps extends ConfigRouteDeps {
  snapshot(): RelayStatus;
  /** All of it but what comes from the file and the caller. */
  published(): Omit<PublishParts, 'text' | 'group' | 'hops'>;
}

const fingerprint = z
  .string()
  .max(256)
  .transform((said, context) => {
    const hex = pinHex(said.trim());
    if (/^[0-9a-f]{64}$/.test(hex)) return hex;
    const sha1 = /^[0-9a-f]{40}$/.test(hex) ? ': this one is SHA-1' : '';
    context.issues.push({
      code: 'custom',
      message: `expected a SHA-256 fingerprint, 64 hexadecimal digits${sha1}`,
      input: said,
    });
    return z.NEVER;
  })
  .describe('SHA-256 of their federation certificate, with or without colons.');

const peerName = z.string().regex(/^[^\p{C}/]{1,64}$/u, 'expected 1 to 64 characters without /');

const hops = {
  group_hops: groupHopsEntry.describe(
    'Most hops of what goes out to it, by TAK group as it is called there; -1: unlimited. {}: no group has one.',
  ),
  max_hops_out: maxHopsOut.describe('Most hops of what goes out to it, in whatever group; -1: unlimited.'),
};

const registered = z.strictObject({
  name: peerName,
  fingerprint,
  ...toggles,
  group_hops: hops.group_hops.default({}),
  max_hops_out: hops.max_hops_out.default(-1),
});

const changes = z
  .strictObject({ in: z.boolean(), out: z.boolean(), dp_in: z.boolean(), dp_out: z.boolean(), name: peerName, ...hops })
  .partial();

const federate = z
  .object({
    name: z.string(),
    said_name: z
      .string()
      .nullable()
      .describe('What it calls itself, where that is another name. Null: the same, or not heard yet.'),
    fingerprint: z.string(),
    link: z.string(),
    in: z.boolean(),
    out: z.boolean(),
    dp_in: z.boolean(),
    dp_out: z.boolean(),
    ...hops,
    paused: z.boolean().describe('Neither in nor out: known and trusted, nothing crosses.'),
    connected: z.boolean(),
    address: z.string().nullable(),
    events_received: z.int(),
    events_forwarded: z.int(),
    in_per_second: z.number().describe('Events, mean of the last minute.'),
    out_per_second: z.number(),
    last_heard: z.string().nullable(),
  })
  .meta({ id: 'RegisteredFederate' });

const groupQuery = z.strictObject({
  group: z.string().min(1).max(64).default('__ANON__'),
  peer: peerName
    .optional()
    .describe(
      'A federate registered here, for which this is: the hop limits towards it stand in the snippets, for its way to us.',
    ),
});
type PublishQuery = z.output<typeof groupQuery>;
const params = z.object({ name: z.string() });
const tag = 'Federation';

export function federateRoutes(deps: FederateDeps): Route[] {
  const { desk } = deps;
  return [
    route({
      method: 'GET',
      path: '/api/federation/publish',
      role: 'viewer',
      tag,
      summary:
        'What a TAK Server’s operator needs: address, fingerprints, certificates, CoreConfig snippets; and what is missing here',
      query: groupQuery,
      answer: publication,
      handle: ({ query }) => published(deps, query),
    }),
    route({
      method: 'GET',
      path: '/api/federation/publish.zip',
      role: 'viewer',
      tag,
      summary: 'The same as files',
      query: groupQuery,
      gives: 'application/zip',
      handle: async ({ query }) =>
        raw(zipOf(await published(deps, query)), 'application/zip', {
          'content-disposition': 'attachment; filename="waystation-federation.zip"',
        }),
    }),
    route({
      method: 'GET',
      path: '/api/federation/publish.svg',
      role: 'viewer',
      tag,
      summary: 'Address and fingerprint as a QR code',
      gives: 'image/svg+xml',
      handle: async () => {
        const { hostname, port, fingerprint } = await publishedHere(deps);
        const { size, path } = qrPath(`${hostname ?? ''}:${port ?? ''} SHA256:${pinHex(fingerprint)}`);
        return raw(
          `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${size} ${size}"><path fill="#fff" d="M0 0h${size}v${size}H0z"/><path d="${path}"/></svg>`,
          'image/svg+xml',
        );
      },
    }),
    route({
      method: 'GET',
      path: '/api/federation/peers',
      role: 'viewer',
      tag,
      summary: 'Federates registered by fingerprint, with their toggles and how they stand',
      answer: z.array(federate),
      handle: async () => listOf((await desk.state()).text, deps.snapshot()),
    }),
    route({
      method: 'POST',
      path: '/api/federation/peers',
      role: 'admin',
      tag,
      summary: 'Registers a federate by the fingerprint of its certificate; until then its handshake is refused',
      body: registered,
      status: 201,
      answer: federate,
      handle: async ({ body, caller, note }) => {
        await registerFederate(deps, body, caller.name);
        note(`federate ${body.name} registered, SHA256:${body.fingerprint}`);
        return new Reply(201, await oneOf(deps, body.name));
      },
    }),
    route({
      method: 'PATCH',
      path: '/api/federation/peers/{name}',
      role: 'admin',
      tag,
      summary: 'Its toggles, hop limits and name; takes hold without a reconnect',
      params,
      body: changes,
      answer: federate,
      handle: async ({ params, body, caller, note }) => {
        await desk.change((text) => editYaml(text, changed(text, params.name, body)), { who: caller.name });
        note(`federate ${params.name}: ${Object.keys(body).join(', ')}`);
        return oneOf(deps, body.name ?? params.name);
      },
    }),
    route({
      method: 'DELETE',
      path: '/api/federation/peers/{name}',
      role: 'admin',
      tag,
      summary:
        'Cuts it off at once, and revokes its certificate: it cannot come back, whoever signed it, until it is registered anew',
      params,
      status: 204,
      handle: async ({ params, caller, note }) => {
        await dropFederate(deps, params.name, caller.name);
        note(`federate ${params.name} removed and revoked`);
        return new Reply(204);
      },
    }),
  ];
}

export async function registerFederate(
  { desk }: FederateDeps,
  body: z.output<typeof registered>,
  who: string,
): Promise<void> {
  await desk.change((text) => editYaml(text, registration(text, body)), { who });
}

/** Cut off, and revoked. */
export async function dropFederate({ desk }: FederateDeps, name: string, who: string): Promise<void> {
  await desk.change((text) => editYaml(text, removal(text, name)), { who });
}

export async function listFederates({ desk, snapshot }: FederateDeps): Promise<z.output<typeof federate>[]> {
  return listOf((await desk.state()).text, snapshot());
}

export function publishedHere(deps: FederateDeps) {
  return published(deps, { group: '__ANON__' });
}

async function published({ desk, published }: FederateDeps, { group, peer }: PublishQuery) {
  const { text } = await desk.state();
  const place = peer === undefined ? undefined : placeOf(text, peer);
  return publicationOf({ ...published(), text, group, hops: place && hopsTowards(place.link, place.peer) });
}

// --- the file ----------------------------------------------------------------------------------------------------------

interface Place {
  readonly link: Section;
  readonly linkIndex: number;
  readonly peer: Section;
  readonly index: number;
}

function places(text: string): readonly Place[] {
  const links = (textValue(text) as { links?: unknown }).links;
  if (!Array.isArray(links)) return [];
  return links.flatMap((link: Section | null, linkIndex) => {
    if (link?.kind !== 'fed2' || !Array.isArray(link.peers)) return [];
    return link.peers.map((peer: Section, index) => ({ link, linkIndex, peer, index }));
  });
}

function placeOf(text: string, name: string): Place {
  const all = places(text);
  const hex = pinHex(name);
  const found = all.find(({ peer }) => peer.name === name) ?? all.find(({ peer }) => pinHex(String(peer.pin)) === hex);
  if (found) return found;
  throw new Refusal(404, 'unknown_peer', `no federate is registered as ${JSON.stringify(name.slice(0, 64))}`, {
    fix: all.length > 0 ? `there is ${all.map(({ peer }) => peer.name).join(', ')}` : 'register one first',
  });
}

type Registered = z.output<typeof registered>;

function registration(text: string, { name, fingerprint: pin, group_hops, max_hops_out, ...ways }: Registered): Edit[] {
  const taken = places(text).find(({ peer }) => peer.name === name || pinHex(String(peer.pin)) === pin);
  if (taken) {
    const what = taken.peer.name === name ? 'the name' : 'the fingerprint';
    throw new Refusal(409, 'peer_exists', `${what} is that of ${String(taken.peer.name)} already`, {
      fix: 'change its toggles with PATCH, or remove it first',
    });
  }
  const link = listeningLink(text);
  if (!link) {
    throw new Refusal(409, 'no_listener', 'no fed2 link of this box listens, so no federate can come to it', {
      fix: 'add one: { name: federation, kind: fed2, listen: 9001 }',
    });
  }
  // A policy of its own stands in place of the link's: what that forbids stays forbidden.
  const policy = Object.keys(off(ways)).length > 0 ? { ...((link.policy ?? {}) as Section), ...off(ways) } : {};
  const value = {
    name,
    pin: `SHA256:${pin}`,
    ...(Object.keys(policy).length > 0 ? { policy } : {}),
    ...(Object.keys(group_hops).length > 0 ? { group_hops } : {}),
    ...(max_hops_out >= 0 ? { max_hops_out } : {}),
  };
  return [...unrevoked(text, pin), { op: 'add', path: ['links', indexOf(text, link), 'peers'], value }];
}

function changed(
  text: string,
  named: string,
  { name, group_hops, max_hops_out, ...ways }: z.output<typeof changes>,
): Edit[] {
  const { link, linkIndex, index, peer } = placeOf(text, named);
  const at = ['links', linkIndex, 'peers', index];
  const policy = { ...((peer.policy ?? link.policy ?? {}) as Section), ...ways };
  const put = (key: string, value: unknown, wanted: boolean): Edit[] => {
    if (wanted) return [{ op: 'set', path: [...at, key], value }];
    return peer[key] === undefined ? [] : [{ op: 'delete', path: [...at, key] }];
  };
  return [
    ...(name === undefined ? [] : [{ op: 'set' as const, path: [...at, 'name'], value: name }]),
    ...(Object.keys(ways).length > 0 ? [{ op: 'set' as const, path: [...at, 'policy'], value: policy }] : []),
    ...(group_hops === undefined ? [] : put('group_hops', group_hops, Object.keys(group_hops).length > 0)),
    ...(max_hops_out === undefined ? [] : put('max_hops_out', max_hops_out, max_hops_out >= 0)),
  ];
}

function removal(text: string, named: string): Edit[] {
  const { linkIndex, index, peer } = placeOf(text, named);
  const pin = `SHA256:${pinHex(String(peer.pin))}`;
  return [
    { op: 'delete', path: ['links', linkIndex, 'peers', index] },
    ...(revokedOf(text).includes(pin) ? [] : [{ op: 'add' as const, path: ['revoked'], value: pin }]),
  ];
}

function unrevoked(text: string, pin: string): Edit[] {
  const index = revokedOf(text).findIndex((entry) => pinHex(entry) === pin);
  return index < 0 ? [] : [{ op: 'delete', path: ['revoked', index] }];
}

function revokedOf(text: string): readonly string[] {
  const { revoked } = textValue(text) as { revoked?: unknown };
  return Array.isArray(revoked) ? revoked.map(String) : [];
}

function indexOf(text: string, link: Section): number {
  return linksOf(text).findIndex(({ name }) => name === link.name);
}

function off(ways: Section): Section {
  return Object.fromEntries(Object.entries(ways).filter(([, on]) => on === false));
}

// --- how they stand ----------------------------------------------------------------------------------------------------

function listOf(text: string, { peers, now }: RelayStatus): z.output<typeof federate>[] {
  return places(text).map(({ link, peer }) => {
    const pin = pinHex(String(peer.pin));
    const status = peers.find(({ key }) => key === `${String(link.name)}/${pin}`);
    // A policy of its own stands in place of the link's.
    const policy = (peer.policy ?? link.policy ?? {}) as Section;
    const on = (way: string) => policy[way] !== false;
    return {
      name: String(peer.name),
      said_name: status?.saidName ?? null,
      fingerprint: `SHA256:${pin}`,
      link: String(link.name),
      in: on('in'),
      out: on('out'),
      dp_in: on('dp_in'),
      dp_out: on('dp_out'),
      group_hops: (peer.group_hops ?? {}) as Record<string, number>,
      max_hops_out: typeof peer.max_hops_out === 'number' ? peer.max_hops_out : -1,
      paused: !on('in') && !on('out'),
      ...figures(status, Date.parse(now)),
    };
  });
}

function figures(status: PeerStatus | undefined, wallMs: number) {
  return {
    connected: status?.connected ?? false,
    address: status?.address ?? null,
    events_received: status?.received.events ?? 0,
    events_forwarded: status ? status.lanes.reduce((sum, { sent }) => sum + sent, 0) : 0,
    in_per_second: status?.rates.in ?? 0,
    out_per_second: status?.rates.out ?? 0,
    last_heard: heartbeat(status, wallMs),
  };
}

async function oneOf({ desk, snapshot }: FederateDeps, name: string): Promise<z.output<typeof federate>> {
  const { text } = await desk.state();
  const { peer } = placeOf(text, name);
  return listOf(text, snapshot()).find((one) => one.name === peer.name)!;
}
