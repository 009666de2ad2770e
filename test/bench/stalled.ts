// 64 peers that read nothing while events go on: does the relay's memory come to rest, and does whoever reads notice? They are cut off
// after 30 s; what waits for them stays. Minutes long.
import { readdirSync, readlinkSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { memoryMb, serviceEnvironment, startWaystation } from './relays.ts';
import { type Row, report, round } from './report.ts';
import { certificates, type Run, receivers, run, sender } from './stand.ts';

const PEERS = 64;
const PER_SECOND = 500;
/** Quicker, until every kernel buffer and every queue is full: 4 MB each of the first, 4096 events of the second. */
const FILL = { events: 40_000, perSecond: 2_000, burst: 20 };
const MEASURED_S = 60;
const MEASURED = { events: PER_SECOND * MEASURED_S, perSecond: PER_SECOND, burst: 1 };
const LOOK_MS = 1_000;
/** Few units, whose positions replace each other; and so many that nothing is ever replaced and queues overflow. */
const UNITS = [500, 1_000_000] as const;

const folder = certificates(PEERS + 2);

/** Megabytes a minute, by least squares. */
function slope(samples: readonly { readonly atMs: number; readonly rss: number }[]): number {
  const mean = (of: (one: (typeof samples)[number]) => number) =>
    samples.reduce((sum, one) => sum + of(one), 0) / samples.length;
  const at = mean(({ atMs }) => atMs);
  const rss = mean((one) => one.rss);
  const above = samples.reduce((sum, one) => sum + (one.atMs - at) * (one.rss - rss), 0);
  return (60_000 * above) / samples.reduce((sum, one) => sum + (one.atMs - at) ** 2, 0);
}

function socketsOf(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).filter((fd) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`).startsWith('socket:');
    } catch {
      return false; // closed meanwhile
    }
  }).length;
}

async function watched(pid: number, work: Promise<Run>): Promise<{ readonly result: Run; readonly row: Row }> {
  const samples: { readonly atMs: number; readonly rss: number }[] = [];
  let working = true;
  void work.finally(() => {
    working = false;
  });
  while (working) {
    samples.push({ atMs: performance.now(), rss: memoryMb(pid).rss });
    await sleep(LOOK_MS);
  }
  const result = await work;
  const of = (part: typeof samples) => Math.max(...part.map(({ rss }) => rss));
  const half = Math.floor(samples.length / 2);
  return {
    result,
    row: {
      'RSS max MB, first half': of(samples.slice(0, half)),
      'second half': of(samples.slice(half)),
      'slope MB/min': round(slope(samples)),
      sockets: socketsOf(pid),
    },
  };
}

async function measure(units: number): Promise<readonly Row[]> {
  const relay = await startWaystation(folder, { env: serviceEnvironment(folder) });
  const side = { dialect: 'fed2', port: relay.ports.fed2!, certs: folder };
  const one = await receivers(side, 1, 1);
  const from = await sender(side, units);
  const rowOf = (state: string, result: Run, row: Row): Row => ({
    units,
    state,
    'delivered to the one that reads %': round(result.delivered * 100, 4),
    'p50 ms': round(result.p50us / 1000),
    'p99 ms': round(result.p99us / 1000),
    ...row,
  });
  await run(relay, from, one, { ...MEASURED, events: 5_000 });
  const alone = await watched(relay.pid, run(relay, from, one, MEASURED));
  const many = await receivers(side, PEERS, 2);
  many.peer.freeze();
  await run(relay, from, one, FILL);
  const stalled = await watched(relay.pid, run(relay, from, one, MEASURED));
  await Promise.all([many.peer.stop(), one.peer.stop(), from.stop(), relay.stop()]);
  return [
    rowOf('one that reads', alone.result, alone.row),
    rowOf(`and ${PEERS} stalled, queues full`, stalled.result, {
      ...stalled.row,
      'p99 more ms': round((stalled.result.p99us - alone.result.p99us) / 1000),
    }),
  ];
}

const rows: Row[] = [];
for (const units of UNITS) rows.push(...(await measure(units)));
report({
  bench: 'stalled',
  what: `${PER_SECOND} events a second for ${MEASURED_S} s, v2, with the service's heap. Wanted: slope 0 once the queues are full, p99 of who reads at most 5 ms more.`,
  rows,
  skipped: [],
});
process.exit();
