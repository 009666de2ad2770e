// A hub with 1,000 spokes: what each costs it in memory, and how they come back after it was killed. The hub is a relay of its
// own process, with its configuration file; the spokes are real links with certificates of their own, all in this process.

import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { portalKind } from '../../src/links/portal/index.ts';
import { type RunningLink, runLink } from '../links/memory.ts';
import { testIdentity } from '../support/pki.ts';
import { BENCH_KEY } from './dialect/portal.ts';
import { cpuMs, freePort, memoryMb, portalPin, startWaystation } from './relays.ts';
import { quantile, report, round } from './report.ts';
import { certificates } from './stand.ts';

const SPOKES = 1_000;
const RETURN_MS = 60_000;
const LOOK_MS = 20;

/** Links that run until this process ends. */
const forever = { after() {} } as unknown as TestContext;
const folder = certificates(0);
const names = Array.from({ length: SPOKES }, (_, n) => `s${n}`);
const identities = names.map((name) => testIdentity(name));
const peers = names.map((name, n) => `{ name: ${name}, pin: ${identities[n]!.portal().fingerprint} }`);
const port = await freePort();
const settings = {
  portal: `hub: true, federation_key: '${BENCH_KEY}', peers: [\n      ${peers.join(',\n      ')}]`,
  portalPort: port,
};

let hub = await startWaystation(folder, settings);
await sleep(1_000);
const empty = memoryMb(hub.pid);
const hubPin = portalPin(folder);
const spokes: RunningLink[] = names.map((name, n) => {
  const config = { federation_key: BENCH_KEY, peers: [{ name: 'hub', pin: hubPin, address: `127.0.0.1:${port}` }] };
  const node = { id: `ws-${name}`, name, version: '0' };
  return runLink(forever, portalKind.create(portalKind.schema.parse(config)), {
    name: 'portal',
    identity: identities[n]!,
    node,
  });
});

const first = await comeBack(performance.now(), 0);
await sleep(2_000);
const full = memoryMb(hub.pid);

const before = spokes.map(({ hub }) => hub.sessions.length);
await hub.stop();
hub = await startWaystation(folder, settings);
const cpuStartMs = cpuMs(hub.pid);
const again = await comeBack(performance.now(), 1);
const cpu = cpuMs(hub.pid) - cpuStartMs;
const extra = spokes.reduce((sum, { hub }, n) => sum + hub.sessions.length - before[n]! - 1, 0);

/** Milliseconds from then until each spoke was connected; those that are not within a minute: the minute. */
async function comeBack(startedMs: number, than: number): Promise<readonly number[]> {
  const tookMs = new Map<number, number>();
  while (tookMs.size < SPOKES && performance.now() - startedMs < RETURN_MS) {
    spokes.forEach(({ hub }, n) => {
      if (!tookMs.has(n) && hub.sessions.length > than && hub.sessions.at(-1)!.closings.length === 0) {
        tookMs.set(n, performance.now() - startedMs);
      }
    });
    await sleep(LOOK_MS);
  }
  return names.map((_, n) => tookMs.get(n) ?? RETURN_MS);
}

const row = (what: string, took: readonly number[]) => ({
  what,
  'p50 s': round(quantile(took, 0.5) / 1000),
  'p99 s': round(quantile(took, 0.99) / 1000),
  'all s': round(Math.max(...took) / 1000),
});
report({
  bench: 'portal-spokes',
  what: `${SPOKES} spokes of one hub. Memory is private memory of the hub's process; the return is counted from the moment the killed hub listens again, full handshakes (it has forgotten all keys). Wanted: all within 60 s.`,
  rows: [
    row('first connection', first),
    row('return after the hub was killed', again),
    { what: 'hub, nobody connected, MB', value: empty.private },
    { what: `hub, ${SPOKES} connected, MB`, value: full.private },
    { what: 'memory per spoke, kB', value: round(((full.private - empty.private) * 1024) / SPOKES) },
    { what: 'CPU of the hub for the return, ms per spoke', value: round(cpu / SPOKES) },
    { what: 'connections lost again during the return', value: extra },
  ],
  skipped: [],
});
await hub.stop();
process.exit();
