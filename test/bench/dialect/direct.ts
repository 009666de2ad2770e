// No relay at all: the receiver listens, the sender has a connection of its own for every receiver there would be. What
// the machine, its sockets and TLS take by themselves.
import { once } from 'node:events';
import { createServer } from 'node:tls';
import { fedEvent } from '../payload.ts';
import { cutter, type Dialect } from './dialect.ts';
import { dial } from './socket.ts';

export const DIRECT_CONNECTIONS = 10;
/** Length before every event. */
const PREFIX = 4;

function length(bytes: Buffer): number {
  if (bytes.length < PREFIX) return 0;
  const whole = PREFIX + bytes.readUInt32BE(0);
  return whole <= bytes.length ? whole : 0;
}

export const direct: Dialect = {
  async receive({ port, tls }, heard) {
    const server = createServer({ ...tls, requestCert: true }, (socket) => {
      socket.setNoDelay(true);
      socket.on('data', cutter(length, heard));
    });
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
  },
  async send(endpoint) {
    const sockets = await Promise.all(Array.from({ length: DIRECT_CONNECTIONS }, () => dial(endpoint)));
    const prefix = Buffer.alloc(PREFIX);
    return {
      send(event) {
        prefix.writeUInt32BE(event.length);
        const framed = Buffer.concat([prefix, event]);
        for (const socket of sockets) socket.write(framed);
      },
      waiting: () => Math.max(...sockets.map((socket) => socket.writableLength)),
    };
  },
  event: fedEvent,
};
