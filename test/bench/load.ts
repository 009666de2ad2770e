// One process of load: many receivers of a relay, or one sender. Started by stand.ts; speaks JSON lines.
//   receive: says {at:'ready'}; on {do:'count'} says {at:'count', events, p50us, p99us} and forgets them.
//   send:    says {at:'ready'}; on {do:'send', events, perSecond, burst} says {at:'sent', events, ms} when all are with the network.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { cot } from './dialect/cot.ts';
import type { Dialect, Endpoint } from './dialect/dialect.ts';
import { direct } from './dialect/direct.ts';
import { fed2 } from './dialect/fed2.ts';
import { mqtt } from './dialect/mqtt.ts';
import { nats } from './dialect/nats.ts';
import { portalFed, portalXml } from './dialect/portal.ts';
import { nowUs, sentUs, setUnits } from './payload.ts';
import { quantile } from './report.ts';

const DIALECTS: Readonly<Record<string, Dialect>> = { cot, direct, fed2, mqtt, nats, portalFed, portalXml };
/** The sender waits while the relay leaves it with more than this. */
const MAX_WAITING_BYTES = 1 << 20;
const TICK_MS = 1;

const { values } = parseArgs({
  options: {
    role: { type: 'string' },
    dialect: { type: 'string' },
    port: { type: 'string' },
    certs: { type: 'string', default: '' },
    /** Number of the first certificate; every connection has its own. */
    first: { type: 'string', default: '0' },
    connections: { type: 'string', default: '1' },
    units: { type: 'string', default: '500' },
  },
});
const dialect = DIALECTS[values.dialect ?? '']!;
const say = (line: object) => process.stdout.write(`${JSON.stringify(line)}\n`);

function endpoint(index: number): Endpoint {
  const read = (name: string) => readFileSync(join(values.certs, name), 'utf8');
  const port = Number(values.port);
  if (!values.certs) return { port, tls: undefined };
  const name = `load-${Number(values.first) + index}`;
  return { port, tls: { ca: read('ca.pem'), cert: read(`${name}.pem`), key: read(`${name}.key`) } };
}

async function receive(): Promise<(order: Order) => void> {
  let delaysUs: number[] = [];
  const heard = (message: Buffer) => {
    const sent = sentUs(message);
    if (sent !== undefined) delaysUs.push(nowUs() - sent);
  };
  await Promise.all(
    Array.from({ length: Number(values.connections) }, (_, index) => dialect.receive(endpoint(index), heard)),
  );
  return () => {
    say({ at: 'count', events: delaysUs.length, p50us: quantile(delaysUs, 0.5), p99us: quantile(delaysUs, 0.99) });
    delaysUs = [];
  };
}

interface Order {
  readonly do: 'count' | 'send';
  readonly events: number;
  readonly perSecond: number;
  readonly burst: number;
}

async function send(): Promise<(order: Order) => void> {
  setUnits(Number(values.units));
  const sender = await dialect.send(endpoint(0));
  let sequence = 0;
  return ({ events, perSecond, burst }) => {
    const startedMs = performance.now();
    const first = sequence;
    const last = first + events;
    const tick = () => {
      const bursts = Math.floor(((performance.now() - startedMs) * perSecond) / 1000 / burst) + 1;
      const due = first + bursts * burst;
      while (sequence < Math.min(due, last) && sender.waiting() < MAX_WAITING_BYTES) {
        sender.send(dialect.event(sequence++));
      }
      if (sequence < last || sender.waiting() > 0) setTimeout(tick, TICK_MS);
      else say({ at: 'sent', events, ms: Math.round(performance.now() - startedMs) });
    };
    tick();
  };
}

const obey = values.role === 'send' ? await send() : await receive();
createInterface({ input: process.stdin }).on('line', (line) => obey(JSON.parse(line) as Order));
say({ at: 'ready' });
