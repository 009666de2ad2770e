// What arrives at the far end of the line: collects events and says, a line of JSON each, what came and when. Connects to a relay as a
// phone, or (`--listen`) is the far end of a plain sender. Usage: far.ts --port N [--listen]
import { connect, createServer, type Socket } from 'node:net';
import { parseArgs } from 'node:util';
import { CotFramer } from '../support/cot-split.ts';

export interface Arrival {
  readonly uid: string;
  readonly type: string;
  /** Of the event, milliseconds since the epoch. */
  readonly timeMs: number;
  readonly atMs: number;
}

const { values } = parseArgs({ options: { port: { type: 'string' }, listen: { type: 'boolean', default: false } } });
const port = Number(values.port);

function take(socket: Socket): void {
  const framer = new CotFramer((xml) => {
    const found = (name: string) => new RegExp(` ${name}=["']([^"']*)["']`).exec(xml)?.[1] ?? '';
    const arrival: Arrival = {
      uid: found('uid'),
      type: found('type'),
      timeMs: Date.parse(found('time')),
      atMs: Date.now(),
    };
    process.stdout.write(`${JSON.stringify(arrival)}\n`);
  });
  socket.on('data', (chunk) => framer.push(String(chunk)));
  socket.on('error', () => process.exit(0));
}

if (values.listen) createServer(take).listen(port, '0.0.0.0', () => process.stdout.write('{"ready":true}\n'));
else {
  const socket = connect(port, '127.0.0.1', () => process.stdout.write('{"ready":true}\n'));
  take(socket);
  // As phones do: a relay hangs up on one that says nothing for minutes.
  setInterval(() => {
    const now = new Date().toISOString();
    socket.write(
      `<event version="2.0" uid="far-ping" type="t-x-c-t" time="${now}" start="${now}" stale="${now}" how="m-g"><point lat="0" lon="0" hae="0" ce="9999999" le="9999999"/><detail/></event>`,
    );
  }, 30_000);
}
