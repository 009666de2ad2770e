// The relays that are measured, each started as a process of its own with mutual TLS: ours, and others to compare with.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { connect, createServer } from 'node:net';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { tied } from './children.ts';

const START_FLAGS = createRequire(import.meta.url)('../../scripts/start-flags.cjs') as readonly string[];
const ROOT = join(import.meta.dirname, '../..');
const START_MS = 20_000;

export interface Running {
  readonly pid: number;
  /** Port by link: `fed2`, `cot`, or the one the relay has. */
  readonly ports: Readonly<Record<string, number>>;
  /** Milliseconds from start to every port listening. */
  readonly startMs: number;
  /** By SIGKILL, unless it is to end in order. */
  stop(how?: NodeJS.Signals): Promise<void>;
}

export type RelayName = 'waystation' | 'grpc-js' | 'nats-server' | 'mosquitto';
/** How load speaks to it. */
export const DIALECT: Readonly<Record<RelayName, string>> = {
  waystation: 'fed2',
  'grpc-js': 'fed2',
  'nats-server': 'nats',
  mosquitto: 'mqtt',
};

/** Why it cannot run here; undefined: it can. */
export function missing(relay: RelayName): string | undefined {
  if (relay === 'waystation' || relay === 'grpc-js') return undefined;
  return programOf(relay) ? undefined : `${relay} is not installed (scripts/setup-debian.sh)`;
}

function programOf(relay: string): string | undefined {
  const found = ['/usr/sbin', '/usr/bin', '/usr/local/bin'].map((folder) => join(folder, relay)).find(existsSync);
  return found;
}

/** `folder` has the certificates (see stand.ts) and takes the relay's own files. */
export async function startRelay(relay: RelayName, folder: string): Promise<Running> {
  const port = await freePort();
  switch (relay) {
    case 'waystation':
      return startWaystation(folder);
    case 'grpc-js': {
      const command = [process.execPath, join(import.meta.dirname, 'grpcjs-relay.ts'), String(port), folder];
      return started(command, { fed2: port }, folder);
    }
    case 'nats-server': {
      const file = join(folder, 'nats.conf');
      const tls = `cert_file: "${folder}/relay.pem", key_file: "${folder}/relay.key", ca_file: "${folder}/ca.pem", verify: true`;
      writeFileSync(file, `listen: "127.0.0.1:${port}"\nmax_pending: 64MB\ntls: { ${tls} }\n`);
      return started([programOf(relay)!, '-c', file], { nats: port }, folder);
    }
    case 'mosquitto': {
      const file = join(folder, 'mosquitto.conf');
      const tls = `cafile ${folder}/ca.pem\ncertfile ${folder}/relay.pem\nkeyfile ${folder}/relay.key\nrequire_certificate true`;
      const common = `user ${userInfo().username}\nallow_anonymous true\nset_tcp_nodelay true\nmax_queued_messages 0\npersistence false`;
      writeFileSync(file, `listener ${port} 127.0.0.1\n${common}\n${tls}\n`);
      return started([programOf(relay)!, '-c', file], { mqtt: port }, folder);
    }
  }
}

/** From sources, or from the single binary. `env`: variables beside our own. `portal`: more of the portal link, which there is then. */
export async function startWaystation(
  folder: string,
  {
    binary = '',
    portal = '',
    portalPort = 0,
    data = join(folder, 'data'),
    env = {} as Readonly<Record<string, string>>,
  } = {},
): Promise<Running> {
  const [fed2, cot, api, node] = [
    await freePort(),
    await freePort(),
    await freePort(),
    portalPort || (await freePort()),
  ];
  const file = join(folder, 'waystation.yaml');
  mkdirSync(data, { recursive: true });
  writeFileSync(
    file,
    `name: bench
data: ${data}
api: { listen: '127.0.0.1:${api}' }
log: { level: warn }
trust: [${folder}/ca.pem]
links:
  - { name: servers, kind: fed2, listen: '127.0.0.1:${fed2}', cert: relay.pem, key: relay.key, max_connections: 128 }
  - { name: phones, kind: cot, listen: '127.0.0.1:${cot}', tls: { cert: relay.pem, key: relay.key, trust: [ca.pem] }, max_connections: 128 }
${portal && `  - { name: portal, kind: portal, listen: '127.0.0.1:${node}', ${portal} }\n`}`,
  );
  const command = binary ? [binary] : [process.execPath, ...START_FLAGS, join(ROOT, 'src/main.ts')];
  return started(
    [...command, 'run', '--config', file],
    { fed2, cot, api, ...(portal && { portal: node }) },
    folder,
    env,
  );
}

/** The pin of the relay that startWaystation() runs there. */
export function portalPin(folder: string): string {
  const args = [join(ROOT, 'src/main.ts'), 'cert', 'show', '--config', join(folder, 'waystation.yaml')];
  const shown = execFileSync(process.execPath, args, { encoding: 'utf8' });
  const digits = /^portal.*\n\s+SHA-?256:?\s*([0-9A-F:]+)/im.exec(shown)?.[1];
  if (!digits) throw new Error(`no portal certificate in ${shown}`);
  return digits.replaceAll(':', '').toLowerCase();
}

async function started(
  command: readonly string[],
  ports: Running['ports'],
  folder: string,
  env: Readonly<Record<string, string>> = {},
): Promise<Running> {
  const startedMs = performance.now();
  const child = tied(
    spawn(command[0]!, command.slice(1), {
      cwd: folder,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'ignore', 'pipe'],
    }),
  );
  let words = '';
  child.stderr!.on('data', (chunk: Buffer) => {
    words = (words + chunk.toString()).slice(-4_000);
  });
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  for (const port of Object.values(ports)) {
    while (!(await isListening(port))) {
      if (child.exitCode !== null) throw new Error(`${command[0]} ended:\n${words}`);
      if (performance.now() - startedMs > START_MS) throw new Error(`${command[0]} does not listen:\n${words}`);
      await sleep(2);
    }
  }
  return { pid: child.pid!, ports, startMs: performance.now() - startedMs, stop: (how) => stop(child, ended, how) };
}

async function stop(child: ChildProcess, ended: Promise<void>, how: NodeJS.Signals = 'SIGKILL'): Promise<void> {
  child.kill(how);
  await ended;
}

function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    const done = (yes: boolean) => () => {
      socket.destroy();
      resolve(yes);
    };
    socket.once('connect', done(true)).once('error', done(false));
  });
}

export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address ? address.port : 0));
    });
  });
}

/** CPU time that the process's living threads have used so far, in milliseconds (/proc/PID/task/TID/schedstat: ns). */
export function cpuMs(pid: number): number {
  const threads = readdirSync(`/proc/${pid}/task`);
  const ns = threads.map((thread) =>
    Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'latin1').split(' ')[0]),
  );
  return ns.reduce((sum, one) => sum + one, 0) / 1e6;
}

/**
 * Memory of the process, in megabytes: resident, and what of that nobody else has (`private`). `dirty` is the part of it that was
 * written to: it has no file to be read from again. The rest is pages of the program that no other process has in use now.
 */
export function memoryMb(pid: number): { readonly rss: number; readonly private: number; readonly dirty: number } {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1');
  const kilobytes = (field: string) => Number(new RegExp(`^${field}: +(\\d+) kB`, 'm').exec(rollup)?.[1]);
  const dirty = kilobytes('Private_Dirty');
  return {
    rss: Math.round(kilobytes('Rss') / 1024),
    private: Math.round((dirty + kilobytes('Private_Clean')) / 1024),
    dirty: Math.round(dirty / 1024),
  };
}

/** The environment that the systemd unit gives a relay, with its folders of state and cache in `folder`. */
export function serviceEnvironment(folder: string): Readonly<Record<string, string>> {
  const unit = readFileSync(join(ROOT, 'overlays/base/etc/systemd/system/waystation.service'), 'utf8');
  const places = unit
    .replaceAll('%S/waystation', join(folder, 'data'))
    .replaceAll('%C/waystation', join(folder, 'cache'));
  const lines = [...places.matchAll(/^Environment=(.*)$/gm)].map(([, line]) => line!);
  const pairs = lines.flatMap((line) => [...line.matchAll(/(\w+)=(?:"([^"]*)"|(\S*))/g)]);
  return Object.fromEntries(pairs.map(([, name, quoted, bare]) => [name!, quoted ?? bare!]));
}
