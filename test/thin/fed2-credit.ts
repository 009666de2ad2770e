// Can the HealthCheck that every federate answers serve as a credit marker towards servers that are not ours? A sender with one newest
// position for each of 50 units, over a thin line to a gRPC server that is not ours: once with `drain` as its only signal, once with a
// HealthCheck behind each half window, whose answer says that what stood before it has arrived. Inside scripts/thin-lab.sh.
// Usage: fed2-credit.ts --far grpcjs|python --sender drain|credit --bits N --seconds N
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { connect } from 'node:http2';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { Window } from '../../src/links/portal/window.ts';
import { quantile } from '../bench/report.ts';
import type { Arrival } from './far.ts';

const LAB = resolve(import.meta.dirname, '../../scripts/thin-lab.sh');
const UNITS = 50;
const EVENT_BYTES = 430;
const PORT = 9101;
const { values } = parseArgs({
  options: {
    far: { type: 'string', default: 'grpcjs' },
    sender: { type: 'string', default: 'credit' },
    bits: { type: 'string', default: '9600' },
    seconds: { type: 'string', default: '60' },
  },
});
const bits = Number(values.bits);
const lastsMs = Number(values.seconds) * 1000;

const program = values.far === 'python' ? ['/usr/bin/python3', 'fed2_server.py'] : [process.execPath, 'fed2-server.ts'];
const arrivals: Arrival[] = [];
const child = spawn(
  LAB,
  [
    'far',
    process.env.PYTHON && values.far === 'python' ? process.env.PYTHON : program[0]!,
    join(import.meta.dirname, program[1]!),
    '--port',
    String(PORT),
  ],
  { stdio: ['ignore', 'pipe', 'inherit'] },
);
await new Promise<void>((ready) => {
  createInterface({ input: child.stdout! }).on('line', (line) => {
    const found = JSON.parse(line) as Arrival | { ready: true };
    if ('ready' in found) ready();
    else arrivals.push(found);
  });
});

const session = connect(`http://10.98.0.2:${PORT}`);
const call = (method: string) =>
  session.request({
    ':method': 'POST',
    ':path': `/com.atakmap.FederatedChannel/${method}`,
    'content-type': 'application/grpc',
    te: 'trailers',
  });
const framed = (payload: Buffer) => {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(payload.length, 1);
  return Buffer.concat([head, payload]);
};
const stream = call('ServerEventStream');
const window = new Window();

/** Newest position of each unit that waits, in the order they came. */
const waiting = new Map<string, number>();
let nextUnit = 0;
let unmarked = 0;
let full = false;
let drained = true;
stream.on('drain', () => {
  drained = true;
  pump();
});

function pump(): void {
  for (const [uid, timeMs] of waiting) {
    if (values.sender === 'credit' ? !window.room(EVENT_BYTES) : !drained) {
      full = true;
      return;
    }
    waiting.delete(uid);
    drained = stream.write(framed(Buffer.from(`${uid} ${timeMs} `.padEnd(EVENT_BYTES, '.'))));
    if (values.sender !== 'credit') continue;
    window.sent(EVENT_BYTES, performance.now());
    unmarked += EVENT_BYTES;
    if (window.isHalfFull) mark();
  }
}

/** Behind what was written: its answer says that all of it arrived. */
function mark(): void {
  const bytes = unmarked;
  const sentMs = performance.now();
  unmarked = 0;
  if (bytes === 0) return;
  const health = call('HealthCheck');
  health.on('data', () => {
    window.acknowledged(bytes, sentMs, performance.now(), 50);
    if (full) pump();
  });
  health.end(framed(Buffer.from('0801', 'hex')));
}

function lineBytes(): number {
  const [, fields = ''] = /^ *line:(.*)$/m.exec(readFileSync('/proc/net/dev', 'utf8')) ?? [];
  return Number(fields.trim().split(/ +/)[8]);
}

const startMs = Date.now();
const newest: number[] = [];
const fixes = new Map<string, number>();
/** Three times what the line carries. */
const offering = setInterval(() => {
  const due = ((Date.now() - startMs) / 1000) * ((3 * bits) / 8 / EVENT_BYTES);
  for (; nextUnit < due; nextUnit++) waiting.set(`U-${nextUnit % UNITS}`, Date.now());
  pump();
}, 50);
let from = 0;
const looking = setInterval(() => {
  for (const { uid, timeMs } of arrivals) fixes.set(uid, Math.max(fixes.get(uid) ?? 0, timeMs));
  if (Date.now() - startMs < lastsMs / 3) return;
  if (from === 0) from = lineBytes();
  for (let unit = 0; unit < UNITS; unit++) newest.push(Date.now() - (fixes.get(`U-${unit}`) ?? startMs));
}, 500);
await new Promise((done) => setTimeout(done, lastsMs));
clearInterval(offering);
clearInterval(looking);
const ages = arrivals
  .filter(({ atMs }) => atMs > startMs + lastsMs / 3)
  .map(({ atMs, timeMs }) => (atMs - timeMs) / 1000);
const used = ((lineBytes() - from) * 8) / bits / ((lastsMs * 2) / 3 / 1000);
const share = (list: readonly number[], q: number) =>
  list.length > 0 ? Number(quantile(list, q).toPrecision(3)) : null;
process.stdout.write(
  `${JSON.stringify({
    ...values,
    delivered: ages.length,
    used: Number(used.toPrecision(2)),
    ageP50S: share(ages, 0.5),
    ageP95S: share(ages, 0.95),
    newestP95S: share(
      newest.map((ms) => ms / 1000),
      0.95,
    ),
  })}\n`,
);
child.kill('SIGKILL');
process.exit(0);
