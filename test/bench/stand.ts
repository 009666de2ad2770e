// The test stand: certificates, a relay, load around it, and what a run of events costs the relay.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Peer } from '../support/peers/spawn.ts';
import { makeCa, makeLeaf } from '../support/pki.ts';
import { tied } from './children.ts';
import { cpuMs, type Running } from './relays.ts';

/** No event for so long: the last has arrived. */
const QUIET_MS = 300;
const READY_MS = 20_000;
const SEND_MS = 120_000;

/** A folder with ca.pem, relay.pem, relay.key and load-<n>.pem and .key; removed when the process ends. */
export function certificates(loads: number): string {
  const folder = mkdtempSync(join(tmpdir(), 'bench-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  const ca = makeCa({ cn: 'bench CA' });
  writeFileSync(join(folder, 'ca.pem'), ca.certPem);
  for (const name of ['relay', ...Array.from({ length: loads }, (_, index) => `load-${index}`)]) {
    const { certPem, keyPem } = makeLeaf(ca, { cn: name, sans: ['127.0.0.1'] });
    writeFileSync(join(folder, `${name}.pem`), certPem);
    writeFileSync(join(folder, `${name}.key`), keyPem);
  }
  return folder;
}

export interface Side {
  readonly dialect: string;
  readonly port: number;
  /** Folder of certificates; '' for plain TCP. */
  readonly certs: string;
}

export interface Load {
  readonly peer: Peer;
  readonly connections: number;
}

/** One process with so many receivers, certificates from number `first` on; number 0 is the sender's. */
export async function receivers({ dialect, port, certs }: Side, connections: number, first = 1): Promise<Load> {
  const peer = startLoad('receive', { dialect, port, certs, first, connections });
  await peer.waitFor({ at: 'ready' }, { ms: READY_MS });
  return { peer, connections };
}

/** @param units so many units take turns reporting their position */
export async function sender({ dialect, port, certs }: Side, units = 500): Promise<Peer> {
  const peer = startLoad('send', { dialect, port, certs, units });
  await peer.waitFor({ at: 'ready' }, { ms: READY_MS });
  return peer;
}

function startLoad(role: string, flags: Readonly<Record<string, string | number>>): Peer {
  const args = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, String(value)]);
  const script = join(import.meta.dirname, 'load.ts');
  const child = tied(spawn(process.execPath, [script, '--role', role, ...args], { stdio: ['pipe', 'pipe', 'pipe'] }));
  return new Peer(`load ${role}`, child);
}

export interface Count {
  readonly events: number;
  readonly p50us: number;
  readonly p99us: number;
}

/** What the receivers heard since the last time. */
export async function count({ peer }: Load): Promise<Count> {
  const from = peer.lines.length;
  peer.send({ do: 'count' });
  return (await peer.waitFor({ at: 'count' }, { from })) as unknown as Count;
}

/** What they heard in all, once nothing more comes. */
async function settled(load: Load): Promise<Count> {
  let total = await count(load);
  for (;;) {
    await sleep(QUIET_MS);
    const more = await count(load);
    if (more.events === 0) return total;
    total = { ...(more.events > total.events ? more : total), events: total.events + more.events };
  }
}

export interface Run {
  /** Share of what should have been delivered that was. */
  readonly delivered: number;
  readonly cpuMs: number;
  readonly cpuUsPerDelivery: number;
  readonly p50us: number;
  readonly p99us: number;
}

export interface Pace {
  readonly events: number;
  readonly perSecond: number;
  /** So many at once, then a pause. */
  readonly burst: number;
}

/** Faster than what is measured: 16,000 events at 1,000 a second are what it takes until nothing is compiled any more. */
const WARM_UP = { seconds: 4, faster: 4 };

/** Until the relay runs as it does for hours. */
export async function warmUp(
  relay: Pick<Running, 'pid'> | undefined,
  from: Peer,
  to: Load,
  { perSecond, burst }: Omit<Pace, 'events'>,
): Promise<void> {
  const faster = perSecond * WARM_UP.faster;
  await run(relay, from, to, { events: faster * WARM_UP.seconds, perSecond: faster, burst });
}

/** Sends the events and measures the relay's process until the last is delivered. */
export async function run(relay: Pick<Running, 'pid'> | undefined, from: Peer, to: Load, pace: Pace): Promise<Run> {
  await count(to);
  const before = relay ? cpuMs(relay.pid) : 0;
  const line = from.lines.length;
  from.send({ do: 'send', ...pace });
  await from.waitFor({ at: 'sent' }, { from: line, ms: SEND_MS });
  const heard = await settled(to);
  const spentMs = relay ? cpuMs(relay.pid) - before : 0;
  return {
    delivered: heard.events / (pace.events * to.connections),
    cpuMs: spentMs,
    cpuUsPerDelivery: (spentMs * 1000) / heard.events,
    p50us: heard.p50us,
    p99us: heard.p99us,
  };
}
