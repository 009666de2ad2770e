// What looking costs: a relay at full load with no status page open, with one, and with a hundred; and how long its API takes to
// answer meanwhile.
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { memoryMb, startWaystation } from './relays.ts';
import { type Row, report, round } from './report.ts';
import { certificates, type Pace, receivers, run, sender } from './stand.ts';

const PEERS = 10;
/** Bursts, as after a gap: the relay is busy, and the cost of looking shows beside it. */
const PACE: Pace = { events: 20_000, perSecond: 5_000, burst: 100 };
const PAGES = [0, 1, 100] as const;
const ROUNDS = 3;
const ASK_EVERY_MS = 20;
/** How long a page is looked at. */
const LOOK_MS = 15_000;

const folder = certificates(PEERS + 1);
const relay = await startWaystation(folder);
const side = { dialect: 'fed2', port: relay.ports.fed2!, certs: folder };
const to = await receivers(side, PEERS);
const from = await sender(side);
const api = `127.0.0.1:${relay.ports.api}`;

interface Looking {
  readonly cpuUs: number;
  readonly apiMs: readonly number[];
  readonly bytesPerSecond: number;
  readonly delivered: number;
}

async function look(pages: number): Promise<Looking> {
  let bytes = 0;
  const open: WebSocket[] = [];
  for (let each = 0; each < pages; each++) open.push(await page(each, (count) => (bytes += count)));
  const before = bytes;
  const startedMs = performance.now();
  let asking = true;
  const asked = ask(() => asking);
  const result = await run(relay, from, to, PACE);
  asking = false;
  // What a page is told when something begins is paid for by silence afterwards.
  if (pages > 0) await sleep(LOOK_MS - (performance.now() - startedMs));
  const seconds = (performance.now() - startedMs) / 1000;
  for (const socket of open) socket.terminate();
  return {
    cpuUs: result.cpuUsPerDelivery,
    apiMs: await asked,
    bytesPerSecond: pages === 0 ? 0 : (bytes - before) / pages / seconds,
    delivered: result.delivered,
  };
}

/** The asking itself is part of the load, the same in every row. */
async function ask(goesOn: () => boolean): Promise<number[]> {
  const took: number[] = [];
  while (goesOn()) {
    const startedMs = performance.now();
    await (await fetch(`http://${api}/api/status`)).arrayBuffer();
    took.push(performance.now() - startedMs);
    await sleep(ASK_EVERY_MS);
  }
  return took.sort((a, b) => a - b);
}

/** As a browser does it: the page, then its socket. From several addresses: one source may have 64 connections. */
async function page(each: number, heard: (bytes: number) => void): Promise<WebSocket> {
  const at = /data-at="([^"]+)"/.exec(await (await fetch(`http://${api}/`)).text())?.[1];
  const socket = new WebSocket(`ws://${api}/api/page?at=${at}&gzip=1`, { localAddress: `127.0.0.${2 + (each % 20)}` });
  socket.on('message', (data: Buffer) => heard(data.length));
  await once(socket, 'open');
  return socket;
}

await run(relay, from, to, PACE);
const looked = new Map<number, Looking[]>(PAGES.map((pages) => [pages, []]));
for (let each = 0; each < ROUNDS; each++) for (const pages of PAGES) looked.get(pages)!.push(await look(pages));

const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[values.length >> 1]!;
const quantile = (sorted: readonly number[], part: number) =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))]!;
const base = median(looked.get(0)!.map(({ cpuUs }) => cpuUs));
const rows = PAGES.map((pages): Row => {
  const results = looked.get(pages)!;
  const cpu = median(results.map(({ cpuUs }) => cpuUs));
  return {
    'pages open': pages,
    'delivered %': round(100 * Math.min(...results.map(({ delivered }) => delivered)), 4),
    'CPU us/delivery': round(cpu),
    'times none': round(cpu / base),
    'B/s a page': round(median(results.map(({ bytesPerSecond }) => bytesPerSecond))),
    'API p50 ms': round(median(results.map(({ apiMs }) => quantile(apiMs, 0.5)))),
    'API p99 ms': round(median(results.map(({ apiMs }) => quantile(apiMs, 0.99)))),
  };
});
const { rss, private: own } = memoryMb(relay.pid);
report({
  bench: 'page',
  what: `${PACE.perSecond} events/s of 500 B in bursts to ${PEERS} peers by v2 over TLS; the API is asked for /api/status every ${ASK_EVERY_MS} ms; medians of ${ROUNDS} rounds. Memory afterwards: ${rss} MB resident, ${own} MB private.`,
  rows,
  skipped: [],
});
await Promise.all([from.stop(), to.peer.stop(), relay.stop()]);
process.exit();
