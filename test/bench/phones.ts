// 200 phones on one box: what each costs in memory and CPU. Real TLS connections with certificates, a position from each every few
// seconds to all the others, as ATAK sends them; the relay is a process of its own.
import { readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect, type TLSSocket } from 'node:tls';
import { atakSa } from '../fixtures/events.ts';
import { makeCa, makeLeaf } from '../support/pki.ts';
import { freePorts, RelayHome } from '../support/relay-process.ts';
import { type Row, report, round } from './report.ts';

const PHONES = 200;
/** ATAK's least time between positions of somebody who moves is about this. */
const EVERY_MS = 5_000;
const MEASURE_MS = 20_000;
const SETTLE_MS = 4_000;
const TICKS_PER_SECOND = 100;

const cleanups: (() => unknown)[] = [];
const scope = { after: (done: () => unknown) => void cleanups.push(done) };

interface Cost {
  readonly rssMb: number;
  /** Of the process, kernel included, seconds since its start. */
  readonly cpuSeconds: number;
}

function costOf(pid: number): Cost {
  const rss = Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))![1]);
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return { rssMb: rss / 1024, cpuSeconds: (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND };
}

class Fleet {
  readonly sockets: TLSSocket[] = [];
  received = 0;
  readonly #port: number;
  readonly #keys: { readonly cert: string; readonly key: string };

  constructor(port: number, keys: { readonly cert: string; readonly key: string }) {
    this.#port = port;
    this.#keys = keys;
  }

  async grow(count: number): Promise<void> {
    while (this.sockets.length < count) {
      const socket = connect({ host: '127.0.0.1', port: this.#port, rejectUnauthorized: false, ...this.#keys });
      await new Promise<void>((resolve, reject) => socket.once('secureConnect', resolve).once('error', reject));
      socket.on('error', () => {});
      socket.on('data', (chunk: Buffer) => {
        for (let at = chunk.indexOf('</event>'); at >= 0; at = chunk.indexOf('</event>', at + 8)) this.received++;
      });
      this.sockets.push(socket);
    }
  }

  /** All of them report, spread over the time between two positions, for so long. */
  async report(forMs: number): Promise<void> {
    const stepMs = EVERY_MS / this.sockets.length;
    const begun = performance.now();
    for (let n = 0; performance.now() - begun < forMs; n++) {
      const phone = n % this.sockets.length;
      const [uid, callsign] = [`ANDROID-bench-${phone}`, `BENCH-${phone}`];
      this.sockets[phone]!.write(atakSa(Date.now(), { uid, callsign, lat: 48 + n / 1e5, lon: 24 + phone / 100 }));
      const dueMs = begun + (n + 1) * stepMs - performance.now();
      if (dueMs > 1) await sleep(dueMs);
    }
  }
}

async function measure(): Promise<Row[]> {
  const [api, port] = (await freePorts(2)) as [number, number];
  const relay = new RelayHome(scope, 'bench-phones');
  relay.configure(
    api,
    `links:\n  - { name: phones, kind: cot, listen: "127.0.0.1:${port}", tls: { trust: [phones-ca.pem] } }\n`,
  );
  const ca = makeCa({ cn: 'bench phones', key: 'rsa' });
  writeFileSync(relay.file('phones-ca.pem'), ca.certPem);
  const leaf = makeLeaf(ca, { cn: 'phone', key: 'rsa' });
  await relay.start();
  const { pid } = await relay.until(() => true, 'itself');
  const fleet = new Fleet(port, { cert: leaf.certPem, key: leaf.keyPem });
  cleanups.push(() => {
    for (const socket of fleet.sockets) socket.destroy();
  });
  await sleep(SETTLE_MS);
  const empty = costOf(pid!);

  const connectBegan = performance.now();
  await fleet.grow(PHONES);
  const connectMs = (performance.now() - connectBegan) / PHONES;
  await sleep(SETTLE_MS);
  const idle = costOf(pid!);
  await sleep(MEASURE_MS);
  const still = costOf(pid!);

  await fleet.report(SETTLE_MS + EVERY_MS);
  const [before, receivedBefore] = [costOf(pid!), fleet.received];
  await fleet.report(MEASURE_MS);
  const [after, received] = [costOf(pid!), fleet.received - receivedBefore];
  const seconds = MEASURE_MS / 1000;
  const percent = (cost: number) => round((100 * cost) / seconds);
  const busy = after.cpuSeconds - before.cpuSeconds;
  return [
    { phones: 'none', 'RSS, MB': round(empty.rssMb) },
    {
      phones: `${PHONES}, silent`,
      'RSS, MB': round(idle.rssMb),
      'kB a phone': round(((idle.rssMb - empty.rssMb) * 1024) / PHONES),
      'CPU, %': percent(still.cpuSeconds - idle.cpuSeconds),
      'ms to connect each': round(connectMs),
    },
    {
      phones: `${PHONES}, a position each ${EVERY_MS / 1000} s to all`,
      'RSS, MB': round(after.rssMb),
      'kB a phone': round(((after.rssMb - empty.rssMb) * 1024) / PHONES),
      'CPU, %': percent(busy),
      'CPU, % a phone': percent(busy / PHONES),
      'deliveries/s': round(received / seconds),
      'µs a delivery': round((busy * 1e6) / received),
    },
  ];
}

try {
  const rows = await measure();
  report({
    bench: 'phones',
    what: `${PHONES} phones on one box over TLS: memory of the whole process, CPU of one core, kernel and TLS included.`,
    rows,
    skipped: [],
  });
} finally {
  for (const cleanup of cleanups.toReversed()) await cleanup();
}
