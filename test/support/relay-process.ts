// Runs relays as a user does: as processes, from the sources or, with WAYSTATION_BIN set, from the binary.
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { TestContext } from 'node:test';
import { promisify } from 'node:util';
import type { RelayStatus } from '../../src/core/status.ts';

const run = promisify(execFile);

/** Slow machines, and arm64 under emulation slower still. */
export const START_PATIENCE_MS = 90_000;

/** The command that is the product: several words, the last of which takes arguments. */
export type Program = readonly string[];

export const SOURCE: Program = [process.execPath, resolve(import.meta.dirname, '../../src/main.ts')];

/** Below the ports that the kernel gives to whoever asks for any: none of those can be taken before a relay listens on it. */
const [FIRST_PORT, LAST_PORT] = [12_000, 32_000];

/** Ports nobody uses right now. */
export async function freePorts(count: number): Promise<number[]> {
  const servers: Server[] = [];
  while (servers.length < count) {
    const server = createServer();
    server.listen(FIRST_PORT + Math.floor(Math.random() * (LAST_PORT - FIRST_PORT)), '127.0.0.1');
    await once(server, 'listening').then(
      () => servers.push(server),
      () => {},
    );
  }
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => new Promise((done) => server.close(done))));
  return ports;
}

/** A relay's folder with its data and configuration, before, during and between its runs. */
export class RelayHome {
  readonly folder: string;
  readonly program: Program;
  readonly name: string;
  #child: ChildProcess | undefined;
  #apiPort = 0;
  output = '';

  constructor(t: Pick<TestContext, 'after'>, name: string, program: Program = SOURCE) {
    this.folder = mkdtempSync(join(tmpdir(), `waystation-${name}-`));
    this.program = program;
    this.name = name;
    t.after(async () => {
      await this.kill();
      rmSync(this.folder, { recursive: true, force: true });
    });
  }

  get configPath(): string {
    return join(this.folder, 'waystation.yaml');
  }

  get api(): string {
    return `http://127.0.0.1:${this.#apiPort}`;
  }

  file(name: string): string {
    return join(this.folder, name);
  }

  /** `more`: keys of the section `api`. */
  configure(apiPort: number, yaml: string, more = ''): void {
    this.#apiPort = apiPort;
    writeFileSync(
      this.configPath,
      `name: ${this.name}\ndata: data\napi: { listen: ${apiPort}${more && `, ${more}`} }\n${yaml}`,
    );
  }

  /** Runs a command to its end; rejects when its exit code is not 0. */
  async command(...args: string[]): Promise<string> {
    const [file, ...first] = this.program;
    const env = { ...process.env, WAYSTATION_CONFIG: this.configPath };
    const { stdout } = await run(file!, [...first, ...args], { env, timeout: START_PATIENCE_MS, maxBuffer: 1 << 26 });
    return stdout;
  }

  /** Pin of the certificate it shows to other relays. */
  async portalPin(): Promise<string> {
    const shown = await this.command('cert', 'show');
    const found = /^portal .*\n +(SHA256:[0-9a-f]{64})$/m.exec(shown);
    if (!found) throw new Error(shown);
    return found[1]!;
  }

  /** Starts the relay and waits until every link has left `starting`. */
  async start(): Promise<void> {
    this.launch();
    const { exitCode } = await this.until((status) => status.links.every(({ state }) => state !== 'starting'), 'start');
    if (exitCode !== null) throw new Error(`${this.name} ended with ${exitCode}:\n${this.output}`);
  }

  /** Starts the relay and waits for nothing. */
  launch(): void {
    const [file, ...first] = this.program;
    this.#child = spawn(file!, [...first, 'run', '--config', this.configPath], { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child.stdout!.on('data', (chunk) => {
      this.output += chunk;
    });
    this.#child.stderr!.on('data', (chunk) => {
      this.output += chunk;
    });
  }

  /** Waits until the status satisfies the condition. */
  async until(is: (status: RelayStatus) => boolean, what: string): Promise<ChildProcess> {
    const child = this.#child!;
    const deadline = Date.now() + START_PATIENCE_MS;
    for (;;) {
      const status = await this.status().catch(() => undefined);
      if (status && is(status)) return child;
      if (child.exitCode !== null) throw new Error(`${this.name} ended with ${child.exitCode}:\n${this.output}`);
      if (Date.now() > deadline) {
        throw new Error(`${this.name}: no ${what}; status ${JSON.stringify(status, null, 1)}\n${this.output}`);
      }
      await new Promise((done) => setTimeout(done, 50));
    }
  }

  async status(): Promise<RelayStatus> {
    const response = await fetch(`${this.api}/api/status`, { signal: AbortSignal.timeout(10_000) });
    return (await response.json()) as RelayStatus;
  }

  signal(name: NodeJS.Signals): void {
    this.#child?.kill(name);
  }

  /** Ends it as a power cut does, or with the signal given. Resolves to its exit code; null when a signal ended it. */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<number | null> {
    const child = this.#child;
    this.#child = undefined;
    if (!child) return null;
    if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
    const ended = new Promise<number | null>((done) => child.once('exit', (code) => done(code)));
    child.kill(signal);
    return ended;
  }
}
