// NATS' client protocol, as far as publishing to and hearing one subject needs it.
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { fedEvent } from '../payload.ts';
import { cutter, type Dialect, type Endpoint } from './dialect.ts';
import { dial, secure, sender } from './socket.ts';

const CRLF = '\r\n';
const CONNECT = `CONNECT {"verbose":false,"pedantic":false,"tls_required":true,"lang":"bench","version":"0","echo":false}${CRLF}`;

/** A control line, with its payload when it is MSG. */
function messageLength(bytes: Buffer): number {
  const end = bytes.indexOf(CRLF) + CRLF.length;
  if (end < CRLF.length) return 0;
  const size = /^MSG .* (\d+)\r\n$/.exec(bytes.toString('latin1', 0, end))?.[1];
  const length = size === undefined ? end : end + Number(size) + CRLF.length;
  return length <= bytes.length ? length : 0;
}

/** The server speaks first, in the clear; only then TLS begins. */
async function greet({ port, tls }: Endpoint): Promise<Socket> {
  const plain = await dial({ port, tls: undefined });
  await once(plain, 'data');
  const socket = tls ? await secure(plain, tls) : plain;
  socket.write(CONNECT);
  return socket;
}

/** Answers the server's PING; without that it closes the connection after a while. */
function answering(socket: Socket, heard: (message: Buffer) => void): (message: Buffer) => void {
  return (message) => (message[0] === 0x50 /* P */ ? void socket.write(`PONG${CRLF}`) : heard(message));
}

export const nats: Dialect = {
  async receive(endpoint, heard) {
    const socket = await greet(endpoint);
    socket.on('data', cutter(messageLength, answering(socket, heard)));
    socket.write(`SUB cot 1${CRLF}`);
  },
  async send(endpoint) {
    const socket = await greet(endpoint);
    socket.on(
      'data',
      cutter(
        messageLength,
        answering(socket, () => {}),
      ),
    );
    const tail = Buffer.from(CRLF);
    return sender(socket, (event) => Buffer.concat([Buffer.from(`PUB cot ${event.length}${CRLF}`), event, tail]));
  },
  event: fedEvent,
};
