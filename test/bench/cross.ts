// What a delivery costs when one side speaks another language than the other: phones' XML in, federation out, and back.
import { startRelay } from './relays.ts';
import { type Row, report, round } from './report.ts';
import { certificates, receivers, run, sender, warmUp } from './stand.ts';

const WAYS = [
  { from: 'fed2', to: 'fed2' },
  { from: 'cot', to: 'fed2' },
  { from: 'fed2', to: 'cot' },
  { from: 'cot', to: 'cot' },
] as const;
const PEERS = 10;
const PER_SECOND = 1_000;
const BURSTS = [1, 100] as const;
const MEASURED_S = 2;

const folder = certificates(PEERS + 1);
const relay = await startRelay('waystation', folder);
const side = (dialect: 'cot' | 'fed2') => ({ dialect, port: relay.ports[dialect]!, certs: folder });
const rows: Row[] = [];
const plain = new Map<number, number>();

for (const { from: fromDialect, to: toDialect } of WAYS) {
  const to = await receivers(side(toDialect), PEERS);
  const from = await sender(side(fromDialect));
  for (const burst of BURSTS) {
    const pace = { perSecond: PER_SECOND, burst };
    await warmUp(relay, from, to, pace);
    const result = await run(relay, from, to, { ...pace, events: PER_SECOND * MEASURED_S });
    if (!plain.has(burst)) plain.set(burst, result.cpuUsPerDelivery);
    rows.push({
      in: fromDialect === 'cot' ? 'XML' : 'v2',
      out: toDialect === 'cot' ? 'XML' : 'v2',
      'at once': burst,
      'delivered %': round(result.delivered * 100, 4),
      'CPU us/delivery': round(result.cpuUsPerDelivery),
      'times v2 to v2': round(result.cpuUsPerDelivery / plain.get(burst)!),
    });
  }
  await Promise.all([from.stop(), to.peer.stop()]);
}
await relay.stop();

report({
  bench: 'cross',
  what: `500-byte events from one peer to ${PEERS}, ${PER_SECOND} a second, mutual TLS on both sides; CPU of the relay's process.`,
  rows,
  skipped: [],
});
process.exit();
