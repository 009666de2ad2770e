// MQTT 3.1.1, as far as publishing to and hearing one topic at QoS 0 needs it.
import type { Socket } from 'node:net';
import { fedEvent } from '../payload.ts';
import { cutter, type Dialect, type Endpoint } from './dialect.ts';
import { dial, sender } from './socket.ts';

const TOPIC = text('cot');
const PUBLISH = 0x30;
const SUBSCRIBE = 0x82;
const CONNECT = 0x10;

function text(value: string): Buffer {
  return Buffer.concat([Buffer.from([0, value.length]), Buffer.from(value)]);
}

function packet(type: number, ...parts: readonly Buffer[]): Buffer {
  const size = parts.reduce((sum, part) => sum + part.length, 0);
  const length = size < 128 ? [size] : [(size % 128) + 128, Math.floor(size / 128)];
  return Buffer.concat([Buffer.from([type, ...length]), ...parts]);
}

/** Remaining Length, MQTT 3.1.1 §2.2.3. */
function packetLength(bytes: Buffer): number {
  let size = 0;
  for (let at = 1; at < Math.min(bytes.length, 5); at++) {
    size += (bytes[at]! % 128) * 128 ** (at - 1);
    if (bytes[at]! < 128) return at + 1 + size <= bytes.length ? at + 1 + size : 0;
  }
  return 0;
}

async function greet(endpoint: Endpoint): Promise<Socket> {
  const socket = await dial(endpoint);
  const cleanSession = Buffer.from([4, 2, 0, 0]);
  socket.write(
    packet(CONNECT, text('MQTT'), cleanSession, text(`bench${process.pid}x${Math.random().toString(36).slice(2)}`)),
  );
  return socket;
}

export const mqtt: Dialect = {
  async receive(endpoint, heard) {
    const socket = await greet(endpoint);
    socket.on('data', cutter(packetLength, heard));
    socket.write(packet(SUBSCRIBE, Buffer.from([0, 1]), TOPIC, Buffer.from([0])));
  },
  async send(endpoint) {
    const socket = await greet(endpoint);
    socket.resume();
    return sender(socket, (event) => packet(PUBLISH, TOPIC, event));
  },
  event: fedEvent,
};
