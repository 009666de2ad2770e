// What one delivery costs the relay: v2 in, v2 out to 10 and to 50 peers, over TLS with client certificates. Beside it a
// minimal relay on @grpc/grpc-js doing the same, and two brokers known to be fast, with the same bytes. All are there at once and
// take turns: what else the machine does meets all alike, and each is measured when it has long compiled what it runs.
import { setTimeout as sleep } from 'node:timers/promises';
import { DIALECT, missing, type RelayName, type Running, startRelay } from './relays.ts';
import { median, report, round } from './report.ts';
import { certificates, type Pace, type Run, receivers, run, sender, warmUp } from './stand.ts';

const RELAYS: readonly RelayName[] = ['waystation', 'grpc-js', 'nats-server', 'mosquitto'];
/** Events one by one, as units report; and many at once, as after a gap in the network or from a busy server. */
const PACES = [
  { connections: 10, perSecond: 1_000, burst: 1 },
  { connections: 10, perSecond: 1_000, burst: 100 },
  { connections: 50, perSecond: 400, burst: 1 },
  { connections: 50, perSecond: 400, burst: 100 },
] as const;
const MEASURED_S = 5;
/** Ours tidies up once when it is quiet after its start (lib/settle.ts): what runs for hours did so long ago. */
const REST_MS = 45_000;
const ROUNDS = 3;

const folder = certificates(51);
const relays = new Map<RelayName, Running>();
for (const name of RELAYS) if (!missing(name)) relays.set(name, await startRelay(name, folder));
await sleep(REST_MS);

/** What each relay did in its turns. */
async function measure({ connections, perSecond, burst }: (typeof PACES)[number]): Promise<Map<RelayName, Run[]>> {
  const stands = await Promise.all(
    [...relays].map(async ([name, relay]) => {
      const dialect = DIALECT[name];
      const side = { dialect, port: relay.ports[dialect]!, certs: folder };
      return { name, relay, to: await receivers(side, connections), from: await sender(side), runs: [] as Run[] };
    }),
  );
  for (const { relay, from, to } of stands) await warmUp(relay, from, to, { perSecond, burst });
  const pace: Pace = { events: perSecond * MEASURED_S, perSecond, burst };
  for (let turn = 0; turn < ROUNDS; turn++) {
    for (const { relay, from, to, runs } of stands) runs.push(await run(relay, from, to, pace));
  }
  for (const { from, to } of stands) await Promise.all([from.stop(), to.peer.stop()]);
  return new Map(stands.map(({ name, runs }) => [name, runs]));
}

const rows = [];
for (const pace of PACES) {
  const measured = await measure(pace);
  const middle = (name: RelayName, of: (run: Run) => number) => median(measured.get(name)!.map(of));
  for (const relay of measured.keys()) {
    const cpu = middle(relay, ({ cpuUsPerDelivery }) => cpuUsPerDelivery);
    rows.push({
      relay,
      peers: pace.connections,
      'events/s': pace.perSecond,
      'at once': pace.burst,
      'delivered %': round(Math.min(...measured.get(relay)!.map(({ delivered }) => delivered)) * 100, 4),
      'CPU us/delivery': round(cpu),
      'times ours': round(cpu / middle('waystation', ({ cpuUsPerDelivery }) => cpuUsPerDelivery)),
      'p50 ms': round(middle(relay, ({ p50us }) => p50us) / 1000),
      'p99 ms': round(middle(relay, ({ p99us }) => p99us) / 1000),
    });
  }
}
await Promise.all([...relays.values()].map((relay) => relay.stop()));
report({
  bench: 'relay',
  what: `500-byte events from one peer to all others, mutual TLS 1.3, the middle of ${ROUNDS} turns of ${MEASURED_S} s each; CPU of the relay's process, user and system.`,
  rows,
  skipped: RELAYS.flatMap((name) => missing(name) ?? []),
});
process.exit();
