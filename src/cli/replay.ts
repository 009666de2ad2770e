// `waystation replay`: what was recorded, said again to a relay as a phone would say it, at its own speed or faster. Times are moved to now.
import type { Socket } from 'node:net';
import { parseArgs } from 'node:util';
import { onAbort, sleep } from '../lib/abort.ts';
import { LinkError } from '../lib/errors.ts';
import { readRecording } from '../recording/read.ts';
import { type Command, EXIT, UsageError } from './command.ts';
import { openTcp, parseTarget, refresh } from './inject.ts';

/** A silence in the recording is not waited for longer than this, at whatever speed. */
const LONGEST_GAP_MS = 3_600_000;
const LINGER_MS = 500;

export const replayCommand: Command = {
  name: 'replay',
  usage: 'FILE [--speed N] [--to HOST:PORT]',
  summary: 'Say again what was recorded, at its speed or faster',
  help: [
    '  FILE              written by "waystation watch --json", or CoT events',
    '  --speed N         so many times as fast (default 1; 0: as fast as it is taken)',
    '  --to HOST:PORT    a CoT port without TLS (default 127.0.0.1:8087)',
    '\nEvents get the times of now; uids stay as they are. Say it to a relay whose users know that it is an exercise.',
  ].join('\n'),
  async run(args, context) {
    const { values, positionals } = parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true });
    const [file, ...more] = positionals;
    if (file === undefined || more.length > 0) throw new UsageError('name one file');
    const speed = Number(values.speed);
    if (!(speed >= 0 && speed <= 1_000_000)) throw new UsageError('--speed is a number from 0 to 1000000');
    const target = parseTarget(values.to);
    const socket = await openTcp(target);
    try {
      const count = await replay(file, socket, speed, context.signal);
      context.out(`${count} events said to ${values.to}`);
    } finally {
      socket.destroy();
    }
    return EXIT.ok;
  },
};

const OPTIONS = {
  speed: { type: 'string', default: '1' },
  to: { type: 'string', default: '127.0.0.1:8087' },
} as const;

async function replay(file: string, socket: Socket, speed: number, signal: AbortSignal): Promise<number> {
  let [count, firstMs, beganMs] = [0, Number.NaN, 0];
  let lost: Error | undefined;
  const ended = new AbortController();
  socket.on('error', (error) => {
    lost = error;
  });
  socket.on('close', () => ended.abort());
  const release = onAbort(signal, () => ended.abort());
  socket.resume(); // what the relay says is not looked at, and must not fill the line
  for await (const { atMs, xml } of readRecording(file)) {
    if (Number.isNaN(firstMs)) [firstMs, beganMs] = [atMs, performance.now()];
    const dueMs = speed === 0 ? 0 : beganMs + (atMs - firstMs) / speed;
    const waitMs = dueMs - performance.now();
    if (waitMs > 0) await sleep(Math.min(waitMs, LONGEST_GAP_MS), ended.signal);
    if (ended.signal.aborted) break;
    if (!socket.write(refresh(xml, Date.now()))) await drained(socket);
    count++;
  }
  if (!ended.signal.aborted) await sleep(LINGER_MS, ended.signal);
  release();
  if (socket.destroyed && !signal.aborted) {
    const words = `the connection ended after ${count} events: ${lost?.message ?? 'the relay closed it'}`;
    throw new LinkError('not_sent', words, 'look at "waystation status" for what it refused');
  }
  return count;
}

/** There is room again, or the connection is over. */
function drained(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      socket.off('drain', done).off('close', done);
      resolve();
    };
    socket.once('drain', done).once('close', done);
  });
}
