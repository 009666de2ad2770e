// Starts an emulated TAK peer (grpcjs/ or python/) as a child process and speaks its JSON lines; see README.md here.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';

export const STACKS = ['grpcjs', 'python'] as const;
export type Stack = (typeof STACKS)[number];

/** They speak federation v1: legacy/. */
export type LegacyPeer = 'freetakserver' | 'takserver1';
/** They speak a CoT stream: stream/. `fts-cot` is FreeTAKServer's CoT service, `tak-cot` TAK Server's. */
export type StreamPeer = 'opentakserver' | 'goatak' | 'taky' | 'fts-cot' | 'tak-cot' | 'atak';

export interface PeerOptions {
  readonly stack: Stack;
  /** `legacy/` and `stream/` are of the python stack, without gRPC. */
  readonly as: 'takserver' | 'fedhub' | 'portal-node' | LegacyPeer | StreamPeer;
  readonly role: 'server' | 'client';
  /** PEM: the peer's chain and key, and the CA of the far end. */
  readonly chainPem: string;
  readonly keyPem: string;
  readonly caPem: string;
  /** Where to listen (0: any) or whom to dial. */
  readonly port?: number;
  /** Further flags by name, without dashes; true for a bare flag, objects as JSON. */
  readonly flags?: Readonly<Record<string, string | number | true | object>>;
}

/** One line of a peer. `at` says what happened. */
export type Line = { readonly at: string } & Readonly<Record<string, unknown>>;
/** Fields the line must have, or a predicate. */
export type Match = Readonly<Record<string, unknown>> | ((line: Line) => boolean);

const PYTHON = '/usr/bin/python3';
const PATIENCE_MS = 60_000;
const SHOWN_LINES = 40;

let pythonWorks: boolean | undefined;

/** False, with the test skipped in words, when this machine cannot run the stack. */
export function hasStack(t: TestContext, stack: Stack): boolean {
  if (stack === 'grpcjs') return true;
  pythonWorks ??= spawnSync(PYTHON, ['-c', 'import grpc, grpc_tools']).status === 0;
  if (!pythonWorks) t.skip('python3-grpcio or python3-grpc-tools is not installed');
  return pythonWorks;
}

let pythonRuns: boolean | undefined;

/** False, with the test skipped in words, when this machine has no Python: the peers that speak v1 need nothing else. */
export function hasPython(t: TestContext): boolean {
  pythonRuns ??= spawnSync(PYTHON, ['-c', 'import ssl']).status === 0;
  if (!pythonRuns) t.skip('python3 is not installed');
  return pythonRuns;
}

/** Resolves when the peer listens or has begun to dial. Killed, with its files, after the test. */
export async function startPeer(t: TestContext, options: PeerOptions): Promise<Peer> {
  const dir = mkdtempSync(join(tmpdir(), 'peer-'));
  const files = { cert: options.chainPem, key: options.keyPem, ca: options.caPem };
  for (const [name, pem] of Object.entries(files)) writeFileSync(join(dir, name), pem);
  const args = ['--as', options.as, '--role', options.role, '--port', String(options.port ?? 0)];
  for (const name of Object.keys(files)) args.push(`--${name}`, join(dir, name));
  for (const [name, value] of Object.entries(options.flags ?? {})) {
    args.push(`--${name}`);
    if (value !== true) args.push(typeof value === 'object' ? JSON.stringify(value) : String(value));
  }
  const [command, script] =
    options.stack === 'grpcjs'
      ? [process.execPath, 'grpcjs/peer.ts']
      : [PYTHON, PYTHON_PEERS[options.as] ?? 'python/peer.py'];
  const child = spawn(command, [fileURLToPath(new URL(script, import.meta.url)), ...args], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...process.env, NODE_NO_WARNINGS: '1', PYTHONDONTWRITEBYTECODE: '1' },
  });
  const peer = new Peer(`${options.stack} ${options.as} ${options.role}`, child);
  t.after(async () => {
    await peer.stop();
    rmSync(dir, { recursive: true, force: true });
  });
  await peer.waitFor({ at: 'ready' });
  return peer;
}

const PYTHON_PEERS: Partial<Record<PeerOptions['as'], string>> = {
  freetakserver: 'legacy/peer.py',
  takserver1: 'legacy/peer.py',
  opentakserver: 'stream/peer.py',
  goatak: 'stream/peer.py',
  taky: 'stream/peer.py',
  'fts-cot': 'stream/peer.py',
  'tak-cot': 'stream/peer.py',
  atak: 'stream/peer.py',
  'portal-node': 'portal-node/peer.py',
};

interface Waiter {
  readonly matches: (line: Line) => boolean;
  readonly found: (line: Line) => void;
  readonly failed: (error: Error) => void;
}

export class Peer {
  /** Everything it said so far. */
  readonly lines: Line[] = [];
  readonly #name: string;
  readonly #child: ChildProcess;
  readonly #exited: Promise<void>;
  readonly #waiters = new Set<Waiter>();
  #errors = '';

  constructor(name: string, child: ChildProcess) {
    this.#name = name;
    this.#child = child;
    child.stdin!.on('error', () => undefined); // it may be dead already
    child.stderr!.on('data', (chunk: Buffer) => {
      this.#errors = (this.#errors + chunk.toString()).slice(-SHOWN_LINES * 100);
    });
    createInterface({ input: child.stdout! }).on('line', (text) => this.#said(text));
    this.#exited = new Promise((resolve) => child.once('close', () => resolve()));
    child.once('close', () => {
      for (const { failed } of this.#waiters) failed(this.#complaint('ended'));
    });
  }

  /** The port it listens on. */
  get port(): number {
    return Number(this.lines.find((line) => line.at === 'listening')?.port);
  }

  /** Its provenance id. */
  get own(): string {
    return String(this.lines.find((line) => line.at === 'ready')?.own);
  }

  /** What a real peer would have choked on, as `rule: words`. */
  violations(): string[] {
    return this.all({ at: 'violation' }).map((line) => `${line.rule}: ${line.words}`);
  }

  /** Every line so far that matches, from index `from`. */
  all(match: Match, from = 0): Line[] {
    return this.lines.slice(from).filter(predicate(match));
  }

  /** The first matching line from index `from` of `lines`, past or to come. Rejects, quoting the peer, after `ms`. */
  waitFor(match: Match, { from = 0, ms = PATIENCE_MS } = {}): Promise<Line> {
    const matches = predicate(match);
    const past = this.lines.slice(from).find(matches);
    if (past) return Promise.resolve(past);
    if (this.#child.exitCode !== null) return Promise.reject(this.#complaint('has ended'));
    return new Promise((resolve, reject) => {
      const settle = () => {
        clearTimeout(timer);
        this.#waiters.delete(waiter);
      };
      const waiter: Waiter = {
        matches,
        found: (line) => {
          settle();
          resolve(line);
        },
        failed: (error) => {
          settle();
          reject(error);
        },
      };
      const wanted = typeof match === 'function' ? String(match) : JSON.stringify(match);
      const timer = setTimeout(() => waiter.failed(this.#complaint(`did not say ${wanted}`)), ms);
      this.#waiters.add(waiter);
    });
  }

  /** Gives an order: `send({ do: 'stall' })`. */
  send(order: { readonly do: string } & Readonly<Record<string, unknown>>): void {
    this.#child.stdin!.write(`${JSON.stringify(order)}\n`);
  }

  /** Stops the process without a word: its sockets stay open and silent, as after a cut radio link. */
  freeze(): void {
    this.#child.kill('SIGSTOP');
  }

  thaw(): void {
    this.#child.kill('SIGCONT');
  }

  /** Dies at once, without goodbye. */
  async vanish(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#exited;
  }

  async stop(): Promise<void> {
    await this.vanish();
  }

  #said(text: string): void {
    let line: Line;
    try {
      line = JSON.parse(text) as Line;
    } catch {
      line = { at: 'garbled', text };
    }
    this.lines.push(line);
    for (const waiter of this.#waiters) if (waiter.matches(line)) waiter.found(line);
  }

  #complaint(words: string): Error {
    const shown = this.lines.slice(-SHOWN_LINES).map((line) => JSON.stringify(line).slice(0, 300));
    return new Error(`the ${this.#name} ${words}; its last lines:\n${shown.join('\n')}\n${this.#errors}`);
  }
}

function predicate(match: Match): (line: Line) => boolean {
  if (typeof match === 'function') return match;
  const wanted = Object.entries(match);
  return (line) => wanted.every(([key, value]) => line[key] === value);
}
