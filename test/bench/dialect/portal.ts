// PORTAL02 from the dialling side, by hand: the handshake, numbered records and their acknowledgements, as relays do it.
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { connect, type TLSSocket } from 'node:tls';
import {
  AUTH_CHALLENGE,
  AUTH_RESPONSE,
  answerTo,
  EVENT,
  frame,
  PING,
  PONG,
  proto,
  RESPONSE,
} from '../../support/peers/portal/peer.ts';
import { fedEvent, xmlEvent } from '../payload.ts';
import { cutter, type Dialect, type Endpoint } from './dialect.ts';
import { dial } from './socket.ts';

/** Of this bench only. */
export const BENCH_KEY = 'a federation key for benchmarks only';
const HEAD_BYTES = 11;
/** Of one frame. */
const TURN_BYTES = 64 << 10;
const ACK_RECORDS = 256;
const ACK_MS = 200;
const RECORD = 0x0a;
const XML = 1;
const FED = 3;

function frameLength(bytes: Buffer): number {
  if (bytes.length < HEAD_BYTES) return 0;
  const length = HEAD_BYTES + bytes.readUInt32BE(7);
  return length <= bytes.length ? length : 0;
}

/** Proven, and counted as connected. `heard` gets the frames from there on. */
async function greet({ port, tls }: Endpoint, heard: (type: number, body: Buffer) => void): Promise<TLSSocket> {
  const plain = await dial({ port, tls: undefined });
  const { cert, key } = tls!;
  const socket = connect({ socket: plain, cert, key, rejectUnauthorized: false, checkServerIdentity: () => undefined });
  await once(socket, 'secureConnect');
  const epoch = randomInt(1, 2 ** 48 - 1);
  const hello = proto([
    [1, `bench-${epoch}`],
    [2, 'bench'],
    [4, 'ack'],
    [5, epoch],
  ]);
  await new Promise<void>((connected) => {
    const take = (type: number, body: Buffer) => {
      if (type === AUTH_CHALLENGE) socket.write(frame(AUTH_RESPONSE, answerTo(body, BENCH_KEY)));
      else if (type === RESPONSE)
        socket.write(
          frame(
            RESPONSE,
            proto([
              [2, 200],
              [6, hello],
            ]),
          ),
        );
      else if (type === PING) socket.write(frame(PONG, body));
      else if (type === PONG) connected();
      heard(type, body);
    };
    socket.on(
      'data',
      cutter(frameLength, (bytes) => take(bytes[6]!, bytes.subarray(HEAD_BYTES))),
    );
  });
  return socket;
}

/** Hands on the records in a body of Events. Returns how many. */
function records(body: Buffer, heard: (record: Buffer) => void): number {
  let count = 0;
  for (let at = 0; at < body.length; ) {
    const isRecord = body[at++] === RECORD;
    let length = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = body[at++]!;
      length += (byte & 0x7f) << shift;
      if (byte < 0x80) break;
    }
    if (!isRecord) continue;
    heard(body.subarray(at, at + length));
    at += length;
    count++;
  }
  return count;
}

function portal(format: number, event: (sequence: number) => Buffer): Dialect {
  return {
    async receive(endpoint, heard) {
      let [received, said] = [0, 0];
      const acknowledge = () => {
        if (received > said) socket.write(frame(EVENT, proto([[2, received]])));
        said = received;
      };
      const socket = await greet(endpoint, (type, body) => {
        if (type !== EVENT) return;
        received += records(body, heard);
        if (received - said >= ACK_RECORDS) acknowledge();
      });
      setInterval(acknowledge, ACK_MS);
    },
    async send(endpoint) {
      const socket = await greet(endpoint, () => {});
      const from = proto([
        [1, `bench-${process.pid}`],
        [2, 'bench'],
      ]);
      let id = 0;
      let turn: Buffer[] = [];
      let bytesOfTurn = 0;
      // As relays do: what is sent in one turn shares a frame, within bounds.
      const flush = () => {
        if (turn.length > 0) socket.write(frame(EVENT, Buffer.concat(turn)));
        turn = [];
        bytesOfTurn = 0;
      };
      return {
        send(bytes) {
          const record = proto([
            [1, ++id],
            [2, format],
            [3, bytes],
            [5, from],
            [7, 1],
            [8, 2],
          ]);
          const said = proto([[1, record]]);
          if (turn.push(said) === 1) setImmediate(flush);
          bytesOfTurn += said.length;
          if (bytesOfTurn > TURN_BYTES) flush();
        },
        waiting: () => socket.writableLength,
      };
    },
    event,
  };
}

export const portalFed = portal(FED, fedEvent);
export const portalXml = portal(XML, xmlEvent);
