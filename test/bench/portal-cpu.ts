// What one delivery costs a relay between relays: PORTAL02 in and out to 10, beside v2 in and out to 10 of the same build. Each way has
// a relay of its own: peers of another kind that are away would cost a place in their queues for every event.
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { BENCH_KEY } from './dialect/portal.ts';
import { startWaystation } from './relays.ts';
import { median, type Row, report, round } from './report.ts';
import { certificates, receivers, run, sender, warmUp } from './stand.ts';

const PEERS = 10;
const PER_SECOND = 1_000;
const BURSTS = [1, 100] as const;
const WAYS = [
  { what: 'v2 to v2', dialect: 'fed2', port: 'fed2' },
  { what: 'portal to portal, federation bytes', dialect: 'portalFed', port: 'portal' },
  { what: 'portal to portal, XML', dialect: 'portalXml', port: 'portal' },
] as const;
const MEASURED_S = 2;
/** Taken in turns, so that what else the machine does meets all alike. */
const TIMES = 3;

const folder = certificates(PEERS + 1);
const pinOf = (name: string) =>
  new X509Certificate(readFileSync(join(folder, `${name}.pem`))).fingerprint256.replaceAll(':', '').toLowerCase();
const peers = Array.from({ length: PEERS + 1 }, (_, n) => `{ name: load-${n}, pin: ${pinOf(`load-${n}`)} }`);
const portal = `federation_key: '${BENCH_KEY}', peers: [${peers.join(', ')}]`;

const found = new Map<string, { delivered: number; cpu: number[] }>();
for (let time = 0; time < TIMES; time++) {
  for (const { what, dialect, port } of WAYS) {
    const relay = await startWaystation(folder, { portal: port === 'portal' ? portal : '' });
    const side = { dialect, port: relay.ports[port]!, certs: folder };
    const to = await receivers(side, PEERS);
    const from = await sender(side);
    for (const burst of BURSTS) {
      const pace = { perSecond: PER_SECOND, burst };
      await warmUp(relay, from, to, pace);
      const { delivered, cpuUsPerDelivery } = await run(relay, from, to, { ...pace, events: PER_SECOND * MEASURED_S });
      const before = found.get(`${what} ${burst}`) ?? { delivered: 1, cpu: [] };
      before.cpu.push(cpuUsPerDelivery);
      found.set(`${what} ${burst}`, { ...before, delivered: Math.min(before.delivered, delivered) });
    }
    await Promise.all([from.stop(), to.peer.stop()]);
    await relay.stop();
  }
}

const rows: Row[] = BURSTS.flatMap((burst) => {
  const ofV2 = median(found.get(`v2 to v2 ${burst}`)!.cpu);
  return WAYS.map(({ what }) => {
    const { delivered, cpu } = found.get(`${what} ${burst}`)!;
    return {
      way: what,
      'at once': burst,
      'delivered %': round(delivered * 100, 4),
      'CPU us/delivery': round(median(cpu)),
      'times v2 to v2': round(median(cpu) / ofV2),
    };
  });
});
report({
  bench: 'portal-cpu',
  what: `500-byte events from one relay to ${PEERS}, ${PER_SECOND} a second, mutual TLS 1.3; CPU of the relay's process, median of ${TIMES} runs. Wanted: <= 1 times v2 to v2.`,
  rows,
  skipped: [],
});
process.exit();
