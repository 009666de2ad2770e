// Federation as the public guides document it: FreeTAKServer's `connect` and `status`, and the CRUD of the TAK Server guide. Each
// federation is a link of our configuration file, so it survives restarts and is seen everywhere else too.
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import * as z from 'zod';
import { editYaml, textValue } from '../../config/edit.ts';
import { addLink, patchLink, removeLink, type Section } from '../../config/links-edit.ts';
import type { RelayStatus } from '../../core/status.ts';
import {
  addressText,
  type ChangedFederation,
  changedFederation,
  checkCertificates,
  DEFAULT_PORT,
  federation,
  federationLink,
  federationLinks,
  federationOf,
  heartbeat,
  linkName,
  linkOf,
  type NewFederation,
  nameOf,
  newFederation,
  patchOf,
  pinHex,
  stateWord,
  trustEdits,
  trustOfLink,
} from '../federation.ts';
import { Refusal } from '../refusal.ts';
import { type Caller, Reply, type Route, route } from '../route.ts';
import type { ConfigRouteDeps } from './config.ts';

const MAX_CERTIFICATE_BYTES = 256 * 1024;

export interface FederationDeps extends ConfigRouteDeps {
  /** Where certificates that came through here are kept. */
  readonly folder: string;
  snapshot(): RelayStatus;
}

const params = z.object({ name: z.string() });

/** Fields as FreeTAKServer's guide spells them. */
const connectBody = z.strictObject({
  address: z.string().min(1).max(253),
  port: z
    .union([
      z.int(),
      z
        .string()
        .regex(/^\d{1,5}$/, 'expected a port')
        .transform(Number),
    ])
    .default(DEFAULT_PORT),
  initiator: z.unknown().optional().describe('Taken and not needed: this box dials.'),
  protocol: z.enum(['ssl', 'tls']).default('ssl'),
});

const connectAnswer = z.object({ name: z.string(), remote_server: z.string(), status: z.string() });

const statusAnswer = z.object({
  federations: z.array(
    z.object({
      remote_server: z.string(),
      status: z.string(),
      node_id: z.string(),
      last_heartbeat: z.string().nullable().describe('ISO-8601 UTC; null: not heard yet.'),
    }),
  ),
});

export function federationRoutes(deps: FederationDeps): Route[] {
  return [
    route({
      method: 'GET',
      path: '/api/federation/status',
      role: 'viewer',
      tag: 'Federation',
      summary: 'Every federate: where, how it stands, when it was last heard',
      answer: statusAnswer,
      handle: async () => federates(deps),
    }),
    route({
      method: 'POST',
      path: '/api/federation/connect',
      role: 'admin',
      tag: 'Federation',
      summary: 'Dials a FreeTAKServer, now and after every restart',
      body: connectBody,
      answer: connectAnswer,
      handle: ({ body, caller, note }) => connect(deps, body, caller, note),
    }),
    route({
      method: 'GET',
      path: '/api/federation',
      role: 'viewer',
      tag: 'Federation',
      summary: 'Every federate this box dials',
      answer: z.array(federation),
      handle: () => list(deps),
    }),
    route({
      method: 'POST',
      path: '/api/federation',
      role: 'admin',
      tag: 'Federation',
      summary: 'Adds a federate: dials it, and lets it in when it dials',
      body: newFederation,
      status: 201,
      answer: federation,
      handle: async ({ body, caller, note }) => {
        await add(deps, body, caller);
        note(`federation ${body.name} added`);
        return new Reply(201, await one(deps, body.name));
      },
    }),
    route({
      method: 'GET',
      path: '/api/federation/{name}',
      role: 'viewer',
      tag: 'Federation',
      summary: 'One federate',
      params,
      answer: federation,
      handle: ({ params }) => one(deps, params.name),
    }),
    route({
      method: 'PATCH',
      path: '/api/federation/{name}',
      role: 'admin',
      tag: 'Federation',
      summary: 'Changes any of its fields; filters take hold without a reconnect',
      params,
      body: changedFederation,
      answer: federation,
      handle: async ({ params, body, caller, note }) => {
        await change(deps, params.name, body, caller);
        note(`federation ${params.name}: ${Object.keys(body).join(', ')}`);
        return one(deps, params.name);
      },
    }),
    route({
      method: 'DELETE',
      path: '/api/federation/{name}',
      role: 'admin',
      tag: 'Federation',
      summary: 'Ends it at once; what it was trusted by goes too, so it cannot come back by dialling',
      params,
      status: 204,
      handle: async ({ params, caller, note }) => {
        await remove(deps, params.name, caller);
        note(`federation ${params.name} removed`);
        return new Reply(204);
      },
    }),
  ];
}

async function list({ desk, snapshot }: FederationDeps) {
  const { text } = await desk.state();
  const { links, peers, now } = snapshot();
  return federationLinks(text).map((link) =>
    federationOf(
      link,
      links.find(({ name }) => name === link.name),
      peers.find(({ key }) => key === link.name),
      Date.parse(now),
    ),
  );
}

async function one(deps: FederationDeps, name: string) {
  const { text } = await deps.desk.state();
  const wanted = nameOf(federationLink(text, name));
  return (await list(deps)).find((each) => each.name === wanted);
}

/** Those we dial, and those who dialled us. */
async function federates({ desk, snapshot }: FederationDeps): Promise<z.output<typeof statusAnswer>> {
  const { text } = await desk.state();
  const { links, peers, now } = snapshot();
  const dialled = federationLinks(text).map((link) => {
    const peer = peers.find(({ key }) => key === link.name);
    const state = links.find(({ name }) => name === link.name)?.state ?? 'starting';
    return { remote: String(link.connect), status: stateWord(state, link.enabled !== false), peer };
  });
  const accepted = peers
    .filter(({ key, kind, link }) => (kind === 'fed1' || kind === 'fed2') && key !== link)
    .map((peer) => ({
      remote: peer.address ?? peer.name,
      status: peer.connected ? 'connected' : 'disconnected',
      peer,
    }));
  return {
    federations: [...dialled, ...accepted].map(({ remote, status, peer }) => ({
      remote_server: remote,
      status,
      node_id: peer?.connected ? peer.name : '',
      last_heartbeat: heartbeat(peer, Date.parse(now)),
    })),
  };
}

async function connect(
  { desk }: FederationDeps,
  { address, port }: z.output<typeof connectBody>,
  caller: Caller,
  note: (words: string) => void,
): Promise<z.output<typeof connectAnswer>> {
  const remote = addressText(address, port);
  let name = '';
  await desk.change(
    (text) => {
      const known = federationLinks(text).find((link) => link.connect === remote);
      name = known ? String(known.name) : linkName(text, `fts-${address}`);
      const link = { name, kind: 'fed1', connect: remote, profile: 'freetakserver' };
      return editYaml(text, known ? patchLink(text, name, { enabled: null }) : addLink(text, link));
    },
    { who: caller.name },
  );
  note(`federation with ${remote}`);
  return { name, remote_server: remote, status: 'connecting' };
}

async function add(deps: FederationDeps, given: NewFederation, caller: Caller): Promise<void> {
  const { text } = await deps.desk.state();
  const taken = federationLinks(text).some((link) => nameOf(link) === given.name || link.name === given.name);
  if (taken) {
    throw new Refusal(409, 'name_taken', `there is a federation ${JSON.stringify(given.name)} already`, {
      fix: 'change it with PATCH, or choose another name',
    });
  }
  const name = linkName(text, given.name);
  await withTrust(deps, name, given, (trust) =>
    deps.desk.change(
      (file) => {
        const edits = addLink(file, linkOf(given, name, trust));
        return editYaml(file, [...edits, ...trustEdits(file, wholeTrust(file), [], trust)]);
      },
      { who: caller.name },
    ),
  );
}

async function change(deps: FederationDeps, named: string, given: ChangedFederation, caller: Caller): Promise<void> {
  const { text } = await deps.desk.state();
  const link = federationLink(text, named);
  const name = String(link.name);
  const before = trustOfLink(link);
  const renewed = given.ca_cert !== undefined || given.ca_pin !== undefined;
  await withTrust(deps, `${name}.new`, given, (fresh) => {
    const trust = renewed ? fresh : undefined;
    return deps.desk.change(
      (file) => {
        const edits = patchLink(file, name, patchOf(given, federationLink(file, named), trust));
        const whole = trust
          ? trustEdits(
              file,
              wholeTrust(file),
              before.filter((item) => !trust.includes(item)),
              trust,
            )
          : [];
        return editYaml(file, [...edits, ...whole]);
      },
      { who: caller.name },
    );
  });
}

/** Its certificate file stays: undo wants it. */
async function remove({ desk }: FederationDeps, named: string, caller: Caller): Promise<void> {
  await desk.change(
    (file) => {
      const link = federationLink(file, named);
      const edits = trustEdits(file, wholeTrust(file), trustOfLink(link), []);
      return editYaml(file, [...edits, ...removeLink(file, String(link.name))]);
    },
    { who: caller.name },
  );
}

function wholeTrust(file: string): unknown {
  return (textValue(file) as Section).trust;
}

/** The entries of `trust` that a certificate and a pin mean; a certificate that came as text is put into a file first. */
async function withTrust(
  { folder, desk }: FederationDeps,
  name: string,
  { ca_cert, ca_pin }: Pick<NewFederation, 'ca_cert' | 'ca_pin'>,
  use: (trust: readonly string[]) => Promise<unknown>,
): Promise<void> {
  const pins = ca_pin === undefined ? [] : [`SHA256:${pinHex(ca_pin)}`];
  if (ca_cert === undefined) return void (await use(pins));
  if (!ca_cert.includes('-----BEGIN')) {
    const path = resolve(desk.baseDir, ca_cert);
    checkCertificates(await readCertificate(path), ca_pin);
    return void (await use([path]));
  }
  checkCertificates(ca_cert, ca_pin);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const path = join(folder, `${name}-${Date.now().toString(36)}.pem`);
  await writeFile(path, `${ca_cert.trim()}\n`, { mode: 0o600, flag: 'wx' });
  try {
    await use([path]);
  } catch (error) {
    await rm(path, { force: true });
    throw error;
  }
}

async function readCertificate(path: string): Promise<string> {
  try {
    return (await readFile(path)).subarray(0, MAX_CERTIFICATE_BYTES).toString('latin1');
  } catch {
    throw new Refusal(
      422,
      'ca_cert_unreadable',
      `there is no certificate file ${JSON.stringify(path.slice(0, 200))} on this box`,
      {
        fix: 'send the certificate itself as PEM text, or put the file there',
      },
    );
  }
}
