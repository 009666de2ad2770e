// How fast bytes pass a tunnel's splice at the hub, and what they cost it; beside it socat doing the same. Each splices in a
// process of its own, between a sender and a receiver here.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { tied } from './children.ts';
import { cpuMs, freePort } from './relays.ts';
import { median, report, round } from './report.ts';

const SOCAT = '/usr/bin/socat';
const WARM_UP_BYTES = 300e6;
const MEASURED_BYTES = 1_000e6;
/** Taken in turns, so that what else the machine does meets all alike. */
const TIMES = 3;
const CHUNK = Buffer.alloc(65_536, 7);

interface Figures {
  readonly megabytesPerS: number;
  readonly cpuMsPerGb: number;
}

const SPLICERS: Readonly<Record<string, (port: number, target: number) => readonly string[]>> = {
  waystation: (port, target) => [process.execPath, join(import.meta.dirname, 'splicer.ts'), `${port}`, `${target}`],
  socat: (port, target) => [SOCAT, ...socat(port, target)],
  'socat, blocks of 64 kB': (port, target) => [SOCAT, '-b', '65536', ...socat(port, target)],
};

function socat(port: number, target: number): readonly string[] {
  return [`TCP-LISTEN:${port},bind=127.0.0.1,reuseaddr,nodelay`, `TCP:127.0.0.1:${target},nodelay`];
}

async function measure(command: (port: number, target: number) => readonly string[]): Promise<Figures> {
  const sink = createServer();
  const target = await listening(sink);
  const port = await freePort();
  const [file, ...args] = command(port, target);
  const child = tied(spawn(file!, args, { stdio: 'ignore' }));
  const received = new Promise<Socket>((resolve) => sink.once('connection', resolve));
  const [sender, receiver] = [await connected(port), await received];
  await pass(sender, receiver, WARM_UP_BYTES);
  const [startedMs, cpuStartMs] = [performance.now(), cpuMs(child.pid!)];
  await pass(sender, receiver, MEASURED_BYTES);
  const [ms, cpu] = [performance.now() - startedMs, cpuMs(child.pid!) - cpuStartMs];
  for (const socket of [sender, receiver]) socket.destroy();
  sink.close();
  child.kill('SIGKILL');
  return { megabytesPerS: MEASURED_BYTES / 1e3 / ms, cpuMsPerGb: (cpu / MEASURED_BYTES) * 1e9 };
}

function listening(server: Server): Promise<number> {
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve((server.address() as { port: number }).port));
  });
}

/** As soon as somebody listens: a connection tried before the real one would be spliced, too. */
async function connected(port: number): Promise<Socket> {
  for (;;) {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    const error = await new Promise((resolve) => socket.once('connect', resolve).once('error', resolve));
    if (!error) return socket.on('error', () => {});
    await sleep(5);
  }
}

function pass(sender: Socket, receiver: Socket, bytes: number): Promise<void> {
  return new Promise((resolve) => {
    let [toSend, toCome] = [bytes, bytes];
    const take = (chunk: Buffer) => {
      toCome -= chunk.length;
      if (toCome > 0) return;
      receiver.off('data', take);
      sender.off('drain', fill);
      resolve();
    };
    const fill = () => {
      while (toSend > 0) {
        toSend -= CHUNK.length;
        const last = toSend < 0 ? CHUNK.subarray(0, toSend) : CHUNK;
        if (!sender.write(last)) return;
      }
    };
    receiver.on('data', take);
    sender.on('drain', fill);
    fill();
  });
}

const names = Object.keys(SPLICERS).filter((name) => name === 'waystation' || existsSync(SOCAT));
const all = new Map<string, Figures[]>(names.map((name) => [name, []]));
for (let time = 0; time < TIMES; time++) {
  for (const name of names) all.get(name)!.push(await measure(SPLICERS[name]!));
}
const figures = names.map((name) => {
  const runs = all.get(name)!;
  return {
    name,
    speed: median(runs.map(({ megabytesPerS }) => megabytesPerS)),
    cpu: median(runs.map(({ cpuMsPerGb }) => cpuMsPerGb)),
  };
});
const [ours] = figures;
report({
  bench: 'splice',
  what: 'One tunnel through the hub, one way, as fast as it goes, over loopback; sender and receiver share a process.',
  rows: figures.map(({ name, speed, cpu }) => ({
    splice: name,
    'MB/s': round(speed),
    'our speed / theirs': round(ours!.speed / speed),
    'CPU ms/GB': round(cpu),
    'their CPU / ours': round(cpu / ours!.cpu),
  })),
  skipped: existsSync(SOCAT) ? [] : ['socat is not installed (scripts/setup-debian.sh)'],
});
process.exit();
