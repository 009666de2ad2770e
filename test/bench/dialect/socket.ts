// A connected TCP or TLS socket, for the dialects that are no more than that.
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { Endpoint, Sender } from './dialect.ts';

export async function dial({ port, tls }: Endpoint): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  await once(socket, 'connect');
  return tls ? secure(socket, tls) : socket;
}

export async function secure(socket: Socket, tls: NonNullable<Endpoint['tls']>): Promise<Socket> {
  const secured = connectTls({ socket, ...tls, checkServerIdentity: () => undefined });
  await once(secured, 'secureConnect');
  return secured;
}

export function sender(socket: Socket, wrap: (event: Buffer) => Buffer): Sender {
  return { send: (event) => void socket.write(wrap(event)), waiting: () => socket.writableLength };
}
