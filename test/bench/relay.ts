// What one delivery costs the relay: v2 in, v2 out to 10 and to 50 peers, over TLS with client certificates. Beside it a
// minimal relay on @grpc/grpc-js doing the same, and two brokers known to be fast, with the same bytes.
import { DIALECT, missing, type RelayName, startRelay } from './relays.ts';
import { report, round } from './report.ts';
import { certificates, type Pace, type Run, receivers, run, sender } from './stand.ts';

const RELAYS: readonly RelayName[] = ['waystation', 'grpc-js', 'nats-server', 'mosquitto'];
/** Events one by one, as units report; and many at once, as after a gap in the network or from a busy server. */
const PACES = [
  { connections: 10, perSecond: 1_000, burst: 1 },
  { connections: 10, perSecond: 1_000, burst: 100 },
  { connections: 50, perSecond: 400, burst: 1 },
] as const;
const WARM_UP_S = 1;
const MEASURED_S = 2;

const folder = certificates(51);

async function measure(name: RelayName): Promise<Run[]> {
  const relay = await startRelay(name, folder);
  const dialect = DIALECT[name];
  const side = { dialect, port: relay.ports[dialect]!, certs: folder };
  const results: Run[] = [];
  for (const { connections, perSecond, burst } of PACES) {
    const to = await receivers(side, connections);
    const from = await sender(side);
    const pace = (seconds: number): Pace => ({ events: perSecond * seconds, perSecond, burst });
    await run(relay, from, to, pace(results.length === 0 ? 2 * WARM_UP_S : WARM_UP_S));
    results.push(await run(relay, from, to, pace(MEASURED_S)));
    await Promise.all([from.stop(), to.peer.stop()]);
  }
  await relay.stop();
  return results;
}

const measured = new Map<RelayName, Run[]>();
for (const name of RELAYS) if (!missing(name)) measured.set(name, await measure(name));

const rows = PACES.flatMap(({ connections, perSecond, burst }, index) => {
  const ours = measured.get('waystation')![index]!.cpuUsPerDelivery;
  return [...measured].map(([relay, results]) => {
    const result = results[index]!;
    return {
      relay,
      peers: connections,
      'events/s': perSecond,
      'at once': burst,
      'delivered %': round(result.delivered * 100, 4),
      'CPU us/delivery': round(result.cpuUsPerDelivery),
      'times ours': round(result.cpuUsPerDelivery / ours),
      'p50 ms': round(result.p50us / 1000),
      'p99 ms': round(result.p99us / 1000),
    };
  });
});
report({
  bench: 'relay',
  what: `500-byte events from one peer to all others, mutual TLS 1.3, for ${MEASURED_S} s; CPU of the relay's process, user and system.`,
  rows,
  skipped: RELAYS.flatMap((name) => missing(name) ?? []),
});
process.exit();
