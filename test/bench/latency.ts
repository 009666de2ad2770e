// How long an event travels: 1,000 a second to 10 receivers, against the same over sockets with no relay between.
import type { Peer } from '../support/peers/spawn.ts';
import { DIRECT_CONNECTIONS } from './dialect/direct.ts';
import { freePort, type RelayName, type Running, startRelay } from './relays.ts';
import { type Row, report, round } from './report.ts';
import { certificates, type Load, type Run, receivers, run, sender, warmUp } from './stand.ts';

const PACE = { perSecond: 1_000, burst: 1 };
const MEASURED = { ...PACE, events: 5_000 };
const TURNS = 3;

const folder = certificates(DIRECT_CONNECTIONS + 1);

/** Warm, and of the turns that one of which the p99 is in the middle. */
async function measure(relay: Running | undefined, from: Peer, to: Load): Promise<Run> {
  await warmUp(relay, from, to, PACE);
  const runs: Run[] = [];
  for (let turn = 0; turn < TURNS; turn++) runs.push(await run(relay, from, to, MEASURED));
  return runs.toSorted((a, b) => a.p99us - b.p99us)[TURNS >> 1]!;
}

async function straight(): Promise<Run> {
  const side = { dialect: 'direct', port: await freePort(), certs: folder };
  const listener = await receivers(side, 1);
  const to: Load = { peer: listener.peer, connections: DIRECT_CONNECTIONS };
  const from = await sender(side);
  const result = await measure(undefined, from, to);
  await Promise.all([from.stop(), to.peer.stop()]);
  return result;
}

async function through(name: RelayName): Promise<Run> {
  const relay = await startRelay(name, folder);
  const side = { dialect: 'fed2', port: relay.ports.fed2!, certs: folder };
  const to = await receivers(side, DIRECT_CONNECTIONS);
  const from = await sender(side);
  const result = await measure(relay, from, to);
  await Promise.all([from.stop(), to.peer.stop(), relay.stop()]);
  return result;
}

const base = await straight();

function row(path: string, result: Run): Row {
  return {
    path,
    'delivered %': round(result.delivered * 100, 4),
    'p50 ms': round(result.p50us / 1000),
    'p99 ms': round(result.p99us / 1000),
    'p50 more than direct ms': round((result.p50us - base.p50us) / 1000),
    'p99 more than direct ms': round((result.p99us - base.p99us) / 1000),
  };
}

const rows = [row('direct', base)];
for (const name of ['waystation', 'grpc-js'] as const) rows.push(row(name, await through(name)));
report({
  bench: 'latency',
  what: `From the sender's hand to the receiver's, the middle of ${TURNS} turns of ${MEASURED.events} events, ${PACE.perSecond} a second, ${DIRECT_CONNECTIONS} receivers, TLS; all processes share this machine.`,
  rows,
  skipped: [],
});
process.exit();
