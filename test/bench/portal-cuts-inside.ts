// Inside the laboratory: see portal-cuts.ts. Without an argument it directs; `spokes` and `hub` are its two processes, which
// send numbered events all the time and print a line for every one that comes: who, and when on the clock they all share.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { portalKind } from '../../src/links/portal/index.ts';
import { sampleEvent } from '../links/contract.ts';
import { type RecordedSession, runLink } from '../links/memory.ts';
import { testIdentity } from '../support/pki.ts';
import { BENCH_KEY } from './dialect/portal.ts';
import { quantile, round } from './report.ts';

const SCRIPT = process.env.LAB_SCRIPT ?? new URL('../../scripts/nat-lab.sh', import.meta.url).pathname;
const SPOKES = 40;
const CUTS_S = [5, 12, 20, 45];
/** Calm before a cut, and time to recover after it. */
const CALM_MS = 2_000;
const RECOVER_MS = 14_000;
const PACE_MS = 100;
const PORT = 9090;

const nowMs = () => Number(process.hrtime.bigint()) / 1e6;
const names = Array.from({ length: SPOKES }, (_, n) => `s${n}`);
const forever = { after() {} } as unknown as TestContext;

const [role, ...arguments_] = process.argv.slice(2);
if (role === 'hub') hub(JSON.parse(arguments_[0]!) as string[]);
else if (role === 'spokes') spokes();
else await direct();

function say(line: object): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

/** Sends on whichever session is there, and tells what comes. */
function talk(name: string, sessions: () => readonly RecordedSession[]): void {
  let heard = 0;
  let listening: RecordedSession | undefined;
  setInterval(() => {
    const session = sessions().at(-1);
    if (!session || session.closings.length > 0) return;
    if (session !== listening) heard = 0;
    listening = session;
    session.session.send(sampleEvent(`${name}-${Math.round(nowMs())}`), []);
    const { length } = session.delivered;
    if (length > heard) say({ name, atMs: nowMs() });
    heard = length;
  }, PACE_MS);
}

function spokes(): void {
  const identities = names.map((name) => testIdentity(name));
  say({ pins: identities.map((identity) => identity.portal().fingerprint) });
  process.stdin.once('data', (pin) => {
    for (const [n, name] of names.entries()) {
      const peer = { name: 'hub', pin: String(pin).trim(), address: `198.51.100.21:${PORT}` };
      const link = portalKind.create(portalKind.schema.parse({ federation_key: BENCH_KEY, peers: [peer] }));
      const node = { id: `ws-${name}`, name, version: '0' };
      const { hub } = runLink(forever, link, { name: 'portal', identity: identities[n]!, node });
      talk(name, () => hub.sessions);
    }
  });
}

function hub(pins: readonly string[]): void {
  const identity = testIdentity('hub');
  const peers = names.map((name, n) => ({ name, pin: pins[n] }));
  const link = portalKind.create(portalKind.schema.parse({ listen: PORT, federation_key: BENCH_KEY, peers }));
  const { hub } = runLink(forever, link, {
    name: 'portal',
    identity,
    node: { id: 'ws-hub', name: 'hub', version: '0' },
  });
  for (const name of names) talk(name, () => hub.sessions.filter(({ spec }) => spec.name === name));
  say({ pin: identity.portal().fingerprint });
}

interface Line {
  readonly name?: string;
  readonly atMs?: number;
  readonly pin?: string;
  readonly pins?: readonly string[];
}

async function direct(): Promise<void> {
  const children: ChildProcess[] = [];
  const heard = { up: [] as Line[], down: [] as Line[] };
  const start = (place: string, into: Line[], ...words: string[]): ChildProcess => {
    const child = spawn(SCRIPT, ['in', place, process.execPath, import.meta.filename, ...words], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    children.push(child);
    createInterface({ input: child.stdout! }).on('line', (line) => into.push(JSON.parse(line) as Line));
    return child;
  };
  const first = async (lines: Line[]): Promise<Line> => {
    while (lines.length === 0) await sleep(20);
    return lines.shift()!;
  };
  const there = start('a', heard.down, 'spokes');
  const { pins } = await first(heard.down);
  start('hub1', heard.up, 'hub', JSON.stringify(pins));
  const { pin } = await first(heard.up);
  there.stdin!.write(`${pin}\n`);
  while (new Set(heard.up.map(({ name }) => name)).size < SPOKES) await sleep(100);

  const all = { up: [] as number[], down: [] as number[] };
  const rows = [];
  for (const seconds of CUTS_S) {
    await sleep(CALM_MS);
    execFileSync(SCRIPT, ['cut', 'nat-a']);
    await sleep(seconds * 1000);
    for (const lines of Object.values(heard)) lines.length = 0;
    execFileSync(SCRIPT, ['mend', 'nat-a']);
    const mendedMs = nowMs();
    await sleep(RECOVER_MS);
    for (const way of ['up', 'down'] as const) {
      const firsts = names.map((name) => {
        const line = heard[way].find((one) => one.name === name && one.atMs! >= mendedMs);
        return line ? line.atMs! - mendedMs : RECOVER_MS;
      });
      all[way].push(...firsts);
      rows.push(row(`${seconds} s`, way, firsts));
    }
  }
  for (const way of ['up', 'down'] as const) rows.push(row('all', way, all[way]));
  for (const child of children) child.kill('SIGKILL');
  say(rows);
  process.exit();
}

function row(cut: string, way: string, tookMs: readonly number[]) {
  return {
    cut,
    way,
    'p50 s': round(quantile(tookMs, 0.5) / 1000),
    'p99 s': round(quantile(tookMs, 0.99) / 1000),
    'worst s': round(Math.max(...tookMs) / 1000),
  };
}
