// `waystation inject`: sends CoT XML to a relay the way a phone would.
import { createReadStream, readFileSync } from 'node:fs';
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { parseArgs } from 'node:util';
import { onAbort } from '../lib/abort.ts';
import { FatalError, LinkError } from '../lib/errors.ts';
import { type CliContext, type Command, EXIT, UsageError } from './command.ts';

const MAX_INPUT_BYTES = 16 * 1024 * 1024;
const CONNECT_MS = 10_000;
/** How long to keep the connection after the last byte: a server may read slowly, and leaves when we do. */
const LINGER_MS = 300;

export const injectCommand: Command = {
  name: 'inject',
  usage: 'FILE|-|--test [--to HOST:PORT] [--tls --cert FILE --key FILE --ca FILE]',
  summary: 'Send CoT events (XML, one or many) as a client would',
  help: [
    '  --to HOST:PORT   where to (default 127.0.0.1:8087; with --tls 127.0.0.1:8089)',
    '  --tls            over TLS, with the client certificate of "waystation cert issue"',
    '  --test           send the test event of the federation guides (FED-TEST-ALPHA) instead of a file',
    '  --fresh          set the time of each event to now, keeping how long it is valid',
  ].join('\n'),
  async run(args, context) {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        to: { type: 'string' },
        tls: { type: 'boolean', default: false },
        cert: { type: 'string' },
        key: { type: 'string' },
        ca: { type: 'string' },
        fresh: { type: 'boolean', default: false },
        test: { type: 'boolean', default: false },
      },
    });
    const target = parseTarget(values.to ?? (values.tls ? '127.0.0.1:8089' : '127.0.0.1:8087'));
    const events = values.test ? [testEvent(Date.now())] : await readEvents(positionals, context);
    const socket = await (values.tls ? openTls(target, values) : openTcp(target));
    const now = Date.now();
    await send(socket, values.fresh ? events.map((event) => refresh(event, now)) : events, target, context.signal);
    context.out(`sent ${events.length} ${events.length === 1 ? 'event' : 'events'} to ${target.host}:${target.port}`);
    return EXIT.ok;
  },
};

interface Target {
  readonly host: string;
  readonly port: number;
}

async function readInput(file: string, context: CliContext): Promise<Buffer> {
  let input: Buffer;
  try {
    input = await (file === '-' ? context.readStdin(MAX_INPUT_BYTES) : readFile(file));
  } catch (error) {
    throw unreadable(file, error);
  }
  if (input.length > MAX_INPUT_BYTES) throw new FatalError('too_large', `${file} is over 16 MiB`, 'split it');
  return input;
}

/** No more of it than shows that it is too large. */
async function readFile(file: string): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of createReadStream(file, { end: MAX_INPUT_BYTES })) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

function unreadable(file: string, error: unknown): FatalError {
  return new FatalError(
    'no_input',
    `cannot read ${file}: ${(error as Error).message}`,
    'name a file that exists',
    error,
  );
}

/** The events of the file that is named. Throws UsageError, FatalError. */
export async function readEvents(positionals: readonly string[], context: CliContext): Promise<string[]> {
  const [file, ...more] = positionals;
  if (file === undefined || more.length > 0) throw new UsageError('name one file, or - for standard input, or --test');
  const events = cutEvents((await readInput(file, context)).toString('utf8'));
  if (events.length === 0) throw new FatalError('no_events', `${file} holds no <event>…</event>`, 'give CoT XML');
  return events;
}

/** The event that the federation guides tell operators to try a link with. */
export function testEvent(nowMs: number): string {
  const now = new Date(nowMs).toISOString();
  const stale = new Date(nowMs + 600_000).toISOString();
  return (
    `<event version="2.0" uid="FED-TEST-1" type="a-f-G-U-C" time="${now}" start="${now}" stale="${stale}" how="h-g-i-g-o">` +
    '<point lat="48.1234" lon="24.5678" hae="200.0" ce="10.0" le="999999.0"/>' +
    '<detail><contact callsign="FED-TEST-ALPHA"/><group name="Blue" role="Team Member"/></detail></event>'
  );
}

/** The events of a file, cut where TAK cuts: after `</event>`. */
function cutEvents(text: string): string[] {
  const events: string[] = [];
  const begin = /<event[\s>]/g;
  for (let found = begin.exec(text); found; found = begin.exec(text)) {
    const end = text.indexOf(END_OF_EVENT, found.index);
    if (end < 0) break;
    begin.lastIndex = end + END_OF_EVENT.length;
    events.push(text.slice(found.index, begin.lastIndex));
  }
  return events;
}

const END_OF_EVENT = '</event>';

/** Moves an event to now: time and start become `nowMs`, stale keeps its distance (10 minutes when it had none). */
export function refresh(event: string, nowMs: number): string {
  const head = event.slice(0, event.indexOf('>') + 1);
  const read = (name: string) => Date.parse(new RegExp(`\\s${name}=["']([^"']*)["']`).exec(head)?.[1] ?? '');
  const life = read('stale') - read('time');
  const stale = new Date(nowMs + (life > 0 ? life : 600_000)).toISOString();
  const now = new Date(nowMs).toISOString();
  const set = (text: string, name: string, value: string) =>
    text.replace(new RegExp(`(\\s${name}=["'])[^"']*`), `$1${value}`);
  return set(set(set(head, 'time', now), 'start', now), 'stale', stale) + event.slice(head.length);
}

export function parseTarget(text: string): Target {
  const match = /^(.+):(\d{1,5})$/.exec(text);
  const port = Number(match?.[2]);
  if (!match || port < 1 || port > 65_535) throw new UsageError(`"${text}" is not HOST:PORT`);
  return { host: match[1]!.replace(/^\[|\]$/g, ''), port };
}

export function openTcp(target: Target): Promise<Socket> {
  return opened(connectTcp(target), 'connect', target);
}

function openTls(target: Target, files: { cert?: string; key?: string; ca?: string }): Promise<Socket> {
  const { cert, key, ca } = files;
  if (!cert || !key || !ca) throw new UsageError('--tls needs --cert, --key and --ca');
  // Our server certificates name this box's hosts; the CA given by hand is what is trusted here, as phones do.
  const options = { ...target, cert: read(cert), key: read(key), ca: read(ca), checkServerIdentity: () => undefined };
  let socket: Socket;
  try {
    socket = connectTls(options);
  } catch (error) {
    const fix = 'give certificate, key and CA as PEM, as "waystation cert issue" writes them';
    throw new FatalError('bad_certificate', `cannot use these files: ${(error as Error).message}`, fix, error);
  }
  return opened(socket, 'secureConnect', target);
}

function read(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    throw unreadable(file, error);
  }
}

/** Resolves when the network has taken everything and the server had a moment to read it; rejects when it hangs up before. */
async function send(socket: Socket, events: readonly string[], { host, port }: Target, signal: AbortSignal) {
  const release = onAbort(signal, () => socket.destroy(new Error('told to stop')));
  try {
    await new Promise<void>((resolve, reject) => {
      socket.on('error', reject);
      socket.on('close', () => reject(new Error('it hung up')));
      for (const event of events) socket.write(event);
      socket.write('', () => setTimeout(resolve, LINGER_MS));
    });
  } catch (error) {
    const words = `the connection to ${host}:${port} ended before it had all: ${(error as Error).message}`;
    throw new LinkError('not_sent', words, 'look at "waystation status" for what it refused', { cause: error });
  } finally {
    release();
    socket.destroy();
  }
}

function opened(socket: Socket, event: 'connect' | 'secureConnect', { host, port }: Target): Promise<Socket> {
  socket.setTimeout(CONNECT_MS, () => socket.destroy(new Error('no answer in 10 seconds')));
  return new Promise((resolve, reject) => {
    socket.once('error', (error) => {
      const fix =
        '"waystation status" shows whether the relay runs and where it listens for phones: name that with --to HOST:PORT';
      reject(
        new LinkError('not_connected', `cannot connect to ${host}:${port}: ${error.message}`, fix, { cause: error }),
      );
    });
    socket.once(event, () => {
      socket.setTimeout(0);
      resolve(socket);
    });
  });
}
