// A relay as far as the doctor sees it: a real configuration, a status that a test sets, real sockets to far ends.
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as createTcp, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { createServer as createTls, type TlsOptions } from 'node:tls';
import { parseConfig } from '../../src/config/load.ts';
import type { Config } from '../../src/config/schema.ts';
import type { Check, Diagnosis } from '../../src/core/diagnosis.ts';
import type { NumberedEvent } from '../../src/core/events.ts';
import type { NodePeer } from '../../src/core/node.ts';
import { DEFAULT_POLICY } from '../../src/core/policy.ts';
import { CLOSE_WORDS, DROP_WORDS } from '../../src/core/reason.ts';
import type { LinkStatus, PeerStatus, RelayStatus } from '../../src/core/status.ts';
import { Doctor } from '../../src/doctor/doctor.ts';
import { type Clock, systemClock } from '../../src/lib/clock.ts';
import { silentLog } from '../../src/lib/log.ts';
import { LINK_KINDS } from '../../src/links/index.ts';
import type { LinkKind } from '../../src/links/link.ts';
import { NOTHING_KEPT, RecordingHub } from '../links/memory.ts';
import { testIdentity } from '../support/pki.ts';

export const IDENTITY = testIdentity('patient');

export interface PatientOptions {
  /** Of the configuration file: the entries under `links:`. */
  readonly links: string;
  readonly link?: Partial<LinkStatus>;
  readonly peers?: readonly PeerStatus[];
  readonly status?: Partial<RelayStatus>;
  readonly events?: readonly NumberedEvent[];
  readonly nodes?: readonly NodePeer[];
  readonly clock?: Clock;
  readonly folder?: string;
}

export function doctorOf(options: PatientOptions): Doctor {
  const { clock = systemClock, folder = '/nowhere' } = options;
  const config = configOf(options.links, folder);
  return new Doctor({
    kinds: LINK_KINDS as readonly LinkKind<unknown>[],
    clock,
    entries: () => config.links,
    snapshot: () => statusOf(config, options),
    events: () => options.events ?? [],
    nodePeers: () => options.nodes ?? [],
    trust: () => config.trust.paths,
    hosts: () => ['localhost', 'patient.local', '192.0.2.7'],
    memory: () => ({ availableBytes: 1e9, totalBytes: 4e9 }),
    contextFor: (name) => ({
      name,
      clock,
      log: silentLog,
      hub: new RecordingHub(),
      identity: IDENTITY,
      trust: { cas: [], pins: [] },
      node: { id: IDENTITY.id, name: 'patient', version: '0' },
      baseDir: folder,
      ...NOTHING_KEPT,
    }),
  });
}

/** What is found wrong with the first link, far ends tried. */
export async function examine(options: PatientOptions): Promise<Diagnosis> {
  const config = configOf(options.links, options.folder ?? '/nowhere');
  const report = await doctorOf(options).report(config.links[0]!.name, true, new AbortController().signal);
  return report!.diagnoses[0]!;
}

export function checkOf(diagnosis: Diagnosis, id: string): Check {
  const found = diagnosis.checks.find((check) => check.id === id);
  if (!found) throw new Error(`no check ${id} in ${JSON.stringify(diagnosis, null, 1)}`);
  return found;
}

export function configOf(links: string, folder = '/nowhere'): Config {
  const parsed = parseConfig(`name: patient\ndata: data\nlinks:\n${links}`, { path: join(folder, 'waystation.yaml') });
  if ('problems' in parsed) throw new Error(JSON.stringify(parsed.problems));
  return parsed.config;
}

export function statusOf(
  config: Config,
  { link, peers = [], status, clock = systemClock }: PatientOptions,
): RelayStatus {
  return {
    name: 'patient',
    id: IDENTITY.id,
    version: '0',
    commit: '0',
    now: new Date(clock.wallMs()).toISOString(),
    startedAt: new Date(0).toISOString(),
    uptimeMs: 1,
    caFingerprint: '',
    federationFingerprint: '',
    certificates: [{ what: 'server', notAfter: '2099-01-01T00:00:00Z', daysLeft: 20_000 }],
    links: config.links.map(({ name, kind, enabled }) => ({
      name,
      kind,
      enabled,
      state: 'waiting',
      detail: '',
      sinceMs: clock.wallMs() - 60_000,
      refusals: {},
      ...link,
    })),
    peers,
    departed: [],
    totals: { received: 0, sent: 0, queued: 0, refused: {}, dropped: {} },
    units: 0,
    contacts: 0,
    warnings: [],
    memory: { rssBytes: 60e6 },
    host: { temperatureC: null, underVoltage: null, storage: { freeBytes: 9e9, totalBytes: 16e9 }, wear: null },
    words: { drop: DROP_WORDS, close: CLOSE_WORDS },
    ...status,
  };
}

/** A connected federate through which something flows. */
export function peerOf(over: Partial<PeerStatus> = {}): PeerStatus {
  return {
    key: 'hq',
    link: 'hq',
    kind: 'fed2',
    name: 'hq',
    saidName: null,
    identity: 'ab',
    proof: 'certificate',
    connected: true,
    durable: true,
    address: '192.0.2.1:9001',
    since: new Date(Date.now() - 60_000).toISOString(),
    sessions: 1,
    via: null,
    trouble: null,
    lastClose: null,
    rttMs: 3,
    groups: [],
    policy: DEFAULT_POLICY,
    received: { events: 10, bytes: 1000, refused: {} },
    rates: { in: 0, out: 0 },
    lastHeardMsAgo: 100,
    newestSentMsAgo: null,
    newestArrivedMsAgo: null,
    queuedBytes: 0,
    line: {} as PeerStatus['line'],
    outbox: null,
    lanes: [lane()],
    ...over,
  };
}

export function lane(over: Partial<PeerStatus['lanes'][number]> = {}): PeerStatus['lanes'][number] {
  return { lane: 'moving', queued: 0, oldestMs: null, received: 10, offered: 10, sent: 10, dropped: {}, ...over };
}

// --- far ends ---------------------------------------------------------------------------------------------------------

export function tempFolder(t: TestContext, files: Readonly<Record<string, string>> = {}): string {
  const folder = mkdtempSync(join(tmpdir(), 'waystation-doctor-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  return folder;
}

export async function listening(t: TestContext, server: Server): Promise<number> {
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  t.after(() => server.close());
  return (server.address() as { port: number }).port;
}

/** node's TLS, for what openssl's own server cannot be told to do. */
export function tlsServer(t: TestContext, options: TlsOptions): Promise<number> {
  const server = createTls(options, (socket) => socket.on('error', () => {}));
  server.on('tlsClientError', () => {});
  return listening(t, server);
}

export function plainServer(t: TestContext): Promise<number> {
  return listening(
    t,
    createTcp((socket) => socket.on('error', () => {}).resume()),
  );
}

/** `openssl s_server`, which we did not write. Resolves to its port. */
export async function opensslServer(t: TestContext, args: readonly string[]): Promise<number> {
  const child = spawn('openssl', ['s_server', '-accept', '127.0.0.1:0', ...args], { stdio: 'pipe' });
  t.after(() => child.kill('SIGKILL'));
  return portOf(child, /ACCEPT [^\n]*:(\d+)/);
}

/** Takes as many connections as fit into the kernel's queue, then nothing any more: packets are lost, as at a firewall. */
export async function blackHole(t: TestContext): Promise<number> {
  const program = `
    const server = require('node:net').createServer().listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
      process.stdout.write('ACCEPT :' + server.address().port + '\\n', () => process.kill(process.pid, 'SIGSTOP'));
    });`;
  const child = spawn(process.execPath, ['-e', program], { stdio: 'pipe' });
  t.after(() => child.kill('SIGKILL'));
  const port = await portOf(child, /ACCEPT :(\d+)/);
  return port;
}

function portOf(child: ChildProcess, pattern: RegExp): Promise<number> {
  return new Promise((resolve, reject) => {
    let said = '';
    const hear = (chunk: Buffer) => {
      said += chunk;
      const port = pattern.exec(said)?.[1];
      if (port) resolve(Number(port));
    };
    child.stdout!.on('data', hear);
    child.stderr!.on('data', hear);
    child.once('error', reject);
    child.once('exit', () => reject(new Error(`it ended: ${said}`)));
  });
}
