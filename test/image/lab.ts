// What every scenario needs: an image with a release key of the lab, updates good and bad, a hub on the host, SSH into the box.
import { execFile, execFileSync, spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { createReadStream, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isFree, Machine, type MachineOptions } from './machine.ts';

export const ROOT = join(import.meta.dirname, '../..');
/**
 * How long anything of the box may take that includes a start. One costs 100 s of a processor, and a busy host gives this lab a tenth of
 * one: what is judged is the box, and not the host.
 */
export const START_MS = 45 * 60_000;
/** The host, as the box sees it. */
export const FROM_BOX = '10.0.2.2';

export interface Lab {
  readonly image: string;
  /** Where image/build.sh left the parts of it. */
  readonly built: string;
  readonly hub: Hub;
  folder(name: string): string;
  path(name: string): string;
  log(words: string): void;
}

/** Keys once; the image and its updates anew whenever the sources are newer. */
export function prepare(log: (words: string) => void): Omit<Lab, 'hub'> {
  const folder = join(ROOT, 'build/image-test');
  mkdirSync(folder, { recursive: true });
  const path = (name: string) => join(folder, name);
  for (const name of ['release', 'stranger']) {
    if (existsSync(path(`${name}.key`))) continue;
    execFileSync('openssl', ['genpkey', '-algorithm', 'ed25519', '-out', path(`${name}.key`)], { stdio: 'ignore' });
    execFileSync('openssl', ['pkey', '-in', path(`${name}.key`), '-pubout', '-out', path(`${name}.pub`)]);
  }
  if (!existsSync(path('ssh'))) execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', path('ssh')]);
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };
  const image = path(`waystation-${version}-arm64.img`);
  if (!isFresh(image)) {
    log('building the image');
    const options = ['--no-xz', '--release-key', path('release.pub'), '--sign', path('release.key'), '--out', folder];
    execFileSync(join(ROOT, 'image/build.sh'), options, { stdio: 'inherit' });
    for (const name of ['next', 'stranger', 'board', 'crash', 'deaf']) rmSync(path(`${name}.update`), { force: true });
  }
  const built = join(ROOT, 'build/image');
  return { image, built, path, log, folder: (name) => path(`machines/${name}`) };
}

function isFresh(image: string): boolean {
  if (!existsSync(image)) return false;
  const newer = ['src', 'image', 'overlays', 'scripts', 'package.json', 'package-lock.json'].flatMap((name) =>
    execFileSync('find', [name, '-type', 'f', '-newer', image, '!', '-name', '*.md'], { cwd: ROOT, encoding: 'utf8' })
      .split('\n')
      .filter(Boolean),
  );
  return newer.length === 0;
}

// ---- updates ---------------------------------------------------------------------------------------------------------------

type Variant = 'next' | 'stranger' | 'board' | 'crash' | 'deaf';

/** An update of that kind, made when it is first asked for. */
export function updateFile(lab: Omit<Lab, 'hub'>, variant: Variant): string {
  const file = lab.path(`${variant}.update`);
  if (existsSync(file)) return file;
  lab.log(`making the update "${variant}"`);
  const root = variant === 'crash' || variant === 'deaf' ? changedRoot(lab, variant) : join(lab.built, 'root.squashfs');
  const key = lab.path(variant === 'stranger' ? 'stranger.key' : 'release.key');
  const board = variant === 'board' ? 'toaster-mips' : 'raspberrypi-arm64';
  const options = { root, boot: join(lab.built, 'boot'), version: `2.0.0-${variant}`, board, key, out: `${file}.new` };
  const args = Object.entries(options).flatMap(([name, value]) => [`--${name}`, value]);
  execFileSync(process.execPath, [join(ROOT, 'src/main.ts'), 'update', 'pack', ...args]);
  execFileSync('mv', [`${file}.new`, file]);
  return file;
}

/** crash: the relay's program ends at once. deaf: it runs, and nothing reaches the hub's address. */
function changedRoot(lab: Omit<Lab, 'hub'>, variant: 'crash' | 'deaf'): string {
  const tree = lab.path(`root-${variant}`);
  rmSync(tree, { recursive: true, force: true });
  execFileSync('cp', ['-al', join(lab.built, 'root'), tree]);
  const replace = (name: string, text: string, mode: number) => {
    rmSync(join(tree, name), { force: true }); // the other name of it stays as it is
    writeFileSync(join(tree, name), text, { mode });
  };
  if (variant === 'crash') replace('usr/bin/waystation', '#!/bin/sh\nexit 1\n', 0o755);
  else {
    const judge = 'etc/systemd/system/waystation-trial.service';
    const text = readFileSync(join(tree, judge), 'utf8');
    replace(judge, text.replace('update judge', 'update judge --patience 60'), 0o644);
    // A route would not do: networkd takes away those of others.
    replace('etc/systemd/system/waystation.service.d/deaf.conf', `[Service]\nIPAddressDeny=${FROM_BOX}\n`, 0o644);
  }
  const out = lab.path(`root-${variant}.squashfs`);
  rmSync(out, { force: true });
  execFileSync(
    'mksquashfs',
    [tree, out, '-noappend', '-no-progress', '-quiet', '-comp', 'zstd', '-Xcompression-level', '1'],
    {
      stdio: 'ignore',
    },
  );
  rmSync(tree, { recursive: true });
  return out;
}

// ---- the hub -----------------------------------------------------------------------------------------------------------------

/** Below those that systems give away to whoever dials: what is free between two runs stays free. */
const HUB_PORTS = { from: 20_000, to: 32_000 } as const;
/** A relay on a busy host takes its time. */
const HUB_START_MS = 180_000;
/** Of every portal link of the lab; the one between the box and the hub is for the clock alone. */
export const PORTAL_KEY = 'federation_key: "known in this laboratory only"';
const NO_EVENTS = 'policy: { in: false, out: false }';

interface HubStatus {
  readonly name: string;
  readonly links: readonly { readonly name: string; readonly state: string }[];
  readonly peers: readonly { readonly link: string; readonly connected: boolean }[];
}

interface HubPorts {
  readonly federation: number;
  readonly phones: number;
  readonly portal: number;
  readonly api: number;
}

async function areFree(ports: readonly number[]): Promise<boolean> {
  const free = await Promise.all(ports.map(isFree));
  return free.every(Boolean);
}

async function takePorts(): Promise<HubPorts> {
  for (;;) {
    const federation = randomInt(HUB_PORTS.from, HUB_PORTS.to);
    const ports = { federation, phones: federation + 1, portal: federation + 2, api: federation + 3 };
    if (await areFree(Object.values(ports))) return ports;
  }
}

/** A relay on the host: the box dials it by Federation v2, the lab listens at it as a phone. */
export class Hub {
  readonly ports: HubPorts;
  readonly #folder: string;
  #process: ReturnType<typeof spawn> | undefined;
  #name = '';

  private constructor(folder: string, ports: HubPorts) {
    this.#folder = folder;
    this.ports = ports;
  }

  /** Its ports are those of the run before, since cards made in that one dial them; others when somebody else has one of them. */
  static async create(lab: Pick<Lab, 'path'>): Promise<Hub> {
    const folder = lab.path('hub');
    mkdirSync(folder, { recursive: true });
    const note = join(folder, 'ports.json');
    const before = existsSync(note) ? (JSON.parse(readFileSync(note, 'utf8')) as HubPorts) : undefined;
    if (before && (await areFree(Object.values(before)))) return new Hub(folder, before);
    const ports = await takePorts();
    writeFileSync(note, JSON.stringify(ports));
    return new Hub(folder, ports);
  }

  #env(): NodeJS.ProcessEnv {
    return { ...process.env, WAYSTATION_DATA: join(this.#folder, 'data') };
  }

  /** Its CA, for the box to trust. */
  ca(): string {
    return this.#cert('--ca');
  }

  /** For the box's portal link. */
  pin(): string {
    return pinIn(this.#cert());
  }

  #cert(...more: string[]): string {
    const args = [join(ROOT, 'src/main.ts'), 'cert', 'show', ...more];
    return execFileSync(process.execPath, args, { env: this.#env(), encoding: 'utf8' });
  }

  /** Starts (again) with trust in this box. */
  async start(box: { readonly ca: string; readonly pin: string }): Promise<void> {
    await this.stop();
    const { federation, phones, portal, api } = this.ports;
    // Whoever answers must be this one, and not a relay that was there before.
    this.#name = `hub-${randomInt(2 ** 40).toString(36)}`;
    writeFileSync(join(this.#folder, 'box.pem'), box.ca);
    const config = join(this.#folder, 'waystation.yaml');
    writeFileSync(
      config,
      `version: 1\nname: ${this.#name}\napi: { listen: "127.0.0.1:${api}" }\ntrust: [box.pem]\nlinks:\n` +
        `  - { name: fed, kind: fed2, listen: "127.0.0.1:${federation}" }\n` +
        `  - { name: phones, kind: cot, listen: "127.0.0.1:${phones}" }\n` +
        `  - { name: mates, kind: portal, listen: "127.0.0.1:${portal}", ${PORTAL_KEY}, peers: [{ name: box, pin: ${box.pin}, ${NO_EVENTS} }] }\n`,
    );
    const args = [join(ROOT, 'src/main.ts'), 'run', '--config', config];
    const running = spawn(process.execPath, args, { env: this.#env(), stdio: 'ignore' });
    this.#process = running;
    let words = 'it did not answer';
    for (const until = performance.now() + HUB_START_MS; performance.now() < until; await sleep(250)) {
      if (running.exitCode !== null) throw new Error(`the hub on the host ended with ${running.exitCode}`);
      const status = await this.status().catch((error: Error) => {
        words = error.message;
      });
      if (status?.links.every(({ state }) => state === 'listening')) return;
      if (status) words = status.links.map(({ name, state }) => `${name} ${state}`).join(', ');
    }
    throw new Error(`the hub on the host did not start on ${JSON.stringify(this.ports)}: ${words}`);
  }

  async status(): Promise<HubStatus> {
    const status = (await (await fetch(`http://127.0.0.1:${this.ports.api}/api/status`)).json()) as HubStatus;
    if (status.name !== this.#name) throw new Error(`another relay answers for the hub: ${status.name}`);
    return status;
  }

  /** Is the box here, by Federation v2? */
  async linked(): Promise<boolean> {
    return (await this.status()).peers.some(({ link, connected }) => link === 'fed' && connected);
  }

  async stop(): Promise<void> {
    const running = this.#process;
    this.#process = undefined;
    if (!running || running.exitCode !== null) return;
    const gone = new Promise((resolve) => running.once('exit', resolve));
    running.kill('SIGTERM');
    await gone;
  }
}

// ---- the box -------------------------------------------------------------------------------------------------------------------

export const PHONES = 8087;
export const SSH = 22;
export const PAGE = 8080;
export const SECURE_PAGE = 8443;
export const PORTS = [SSH, PHONES, PAGE, SECURE_PAGE];

/** Of the portal link, in what `waystation cert show` prints. */
export function pinIn(shown: string): string {
  return /^portal.*\n\s+SHA256:([0-9A-F:]+)/im.exec(shown)![1]!.replaceAll(':', '').toLowerCase();
}

/** A new card with a configuration that dials the hub, as a person on Windows would leave it. */
export async function freshBox(lab: Lab, name: string, options: Partial<MachineOptions> = {}): Promise<Machine> {
  const machine = new Machine({
    image: lab.image,
    folder: lab.folder(name),
    ports: PORTS,
    ...options,
  });
  await machine.flash();
  return machine;
}

/** @param more peers of its portal link, as YAML */
export function ownConfig(lab: Lab, more = ''): string {
  return [
    '\ufeffversion: 1',
    `api: { listen: "0.0.0.0:${PAGE}", tls: "0.0.0.0:${SECURE_PAGE}" }`,
    'trust: [hq.pem]',
    'links:',
    `  - { name: phones, kind: cot, listen: ${PHONES} }`,
    `  - { name: hq, kind: fed2, connect: "${FROM_BOX}:${lab.hub.ports.federation}" }`,
    `  - { name: mates, kind: portal, ${PORTAL_KEY}, peers: [{ name: hub, pin: ${lab.hub.pin()}, address: "${FROM_BOX}:${lab.hub.ports.portal}", ${NO_EVENTS} }${more && `, ${more}`}] }`,
    '',
  ].join('\r\n');
}

export function provisionCard(lab: Lab, machine: Machine): void {
  machine.put('waystation.yaml', ownConfig(lab));
  machine.put('hq.pem', lab.hub.ca());
  machine.putFile('ssh-key.pub', lab.path('ssh.pub'));
}

export async function untilReady(machine: Machine): Promise<number> {
  await machine.says(/(?:Started|Reached).*waystation\.service/, START_MS);
  return machine.elapsedMs;
}

/** Runs a shell command on the box as its owner would. Rejects when it fails. */
export function ssh(lab: Pick<Lab, 'path'>, machine: Machine, command: string, input?: string): Promise<string> {
  const args = [
    ...['-q', '-i', lab.path('ssh'), '-p', String(machine.ports.get(SSH)), '-o', 'BatchMode=yes'],
    ...['-o', 'StrictHostKeyChecking=no', '-o', 'UserKnownHostsFile=/dev/null', '-o', 'ConnectTimeout=30'],
    // One handshake for all commands: it is dear under emulation.
    ...['-o', 'ControlMaster=auto', '-o', `ControlPath=${lab.path('ssh-%p')}`, '-o', 'ControlPersist=600'],
    ...['root@127.0.0.1', command],
  ];
  return new Promise((resolve, reject) => {
    const child = execFile('ssh', args, { maxBuffer: 2 ** 26, timeout: START_MS }, (error, stdout, stderr) => {
      if (error) reject(new Error(`ssh "${command}": ${error.message}\n${stdout}\n${stderr}`));
      else resolve(stdout);
    });
    child.stdin?.on('error', () => {}); // it ended before it read: said by its exit code
    child.stdin?.end(input ?? '');
  });
}

/** SSH that answers, after a start. */
export async function untilSsh(lab: Lab, machine: Machine): Promise<void> {
  for (const until = performance.now() + START_MS; ; await sleep(1000)) {
    try {
      await ssh(lab, machine, 'true');
      return;
    } catch (error) {
      if (performance.now() > until || !machine.running) throw error;
    }
  }
}

/** A file for the box to download while `use` runs: an update comes so in a fraction of the time that SSH takes under emulation. */
export async function served<T>(file: string, use: (url: string) => Promise<T>): Promise<T> {
  const server = createServer((_request, response) => createReadStream(file).pipe(response)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    return await use(`http://${FROM_BOX}:${(server.address() as AddressInfo).port}/release.update`);
  } finally {
    server.close();
    server.closeAllConnections();
  }
}

export interface BoxStatus {
  readonly id: string;
  readonly appliance?: { readonly clock: string };
  readonly links: readonly {
    readonly name: string;
    readonly state: string;
    readonly lastTrouble?: { readonly words: string };
  }[];
}

/** What the box's page shows, asked for on the box itself: its command line would cost twenty seconds of a processor each time. */
export async function boxStatus(lab: Lab, machine: Machine): Promise<BoxStatus> {
  const command = `busybox wget -q -O - http://127.0.0.1:${PAGE}/api/status`;
  return JSON.parse(await ssh(lab, machine, command)) as BoxStatus;
}

export async function untilLinked(lab: Lab, machine: Machine, withinMs = START_MS): Promise<BoxStatus> {
  for (const until = performance.now() + withinMs; ; await sleep(2000)) {
    const status = (await lab.hub.linked()) ? await boxStatus(lab, machine).catch(() => undefined) : undefined;
    if (status?.links.some(({ name, state }) => name === 'hq' && state === 'connected')) return status;
    if (performance.now() > until) throw new Error(`the link to the hub is not up: ${JSON.stringify(status?.links)}`);
  }
}

/** Seconds by which the box's clock is off ours, not counting what the asking took. */
export async function secondsOff(lab: Pick<Lab, 'path'>, machine: Machine): Promise<number> {
  const askedS = Date.now() / 1000;
  const boxS = Number(await ssh(lab, machine, 'date +%s'));
  return boxS < askedS - 1 ? boxS - askedS : Math.max(0, boxS - Date.now() / 1000);
}
