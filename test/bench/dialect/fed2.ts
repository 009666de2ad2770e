// TAK Federation v2 from the dialling side: gRPC framing by hand over node:http2.
import { once } from 'node:events';
import { type ClientHttp2Session, type ClientHttp2Stream, connect } from 'node:http2';
import { encode } from '../../support/peers/grpcjs/wire.ts';
import { fedEvent } from '../payload.ts';
import { cutter, type Dialect, type Endpoint } from './dialect.ts';

/** Compressed flag and length. */
const PREFIX = 5;
const WINDOW_BYTES = 4 << 20;
/** Whoever says nothing for 15 s is cut off, by TAK Server as by us. */
const HEALTH_MS = 5_000;

const HELLO = frame(
  encode('Subscription', {
    identity: { name: 'bench', uid: 'bench', type: 'FEDERATION_TAK_CLIENT', serverId: 'bench' },
    version: { major: 5, minor: 5, patch: 0 },
  }),
);
const HEALTH = frame(encode('ClientHealth', { status: 'SERVING' }));

function frame(message: Buffer): Buffer {
  const framed = Buffer.allocUnsafe(PREFIX + message.length);
  framed[0] = 0;
  framed.writeUInt32BE(message.length, 1);
  message.copy(framed, PREFIX);
  return framed;
}

function frameLength(bytes: Buffer): number {
  if (bytes.length < PREFIX) return 0;
  const length = PREFIX + bytes.readUInt32BE(1);
  return length <= bytes.length ? length : 0;
}

async function greet({ port, tls }: Endpoint): Promise<ClientHttp2Session> {
  const settings = { enablePush: false, initialWindowSize: WINDOW_BYTES };
  const http2 = connect(`https://127.0.0.1:${port}`, { ...tls, checkServerIdentity: () => undefined, settings });
  await once(http2, 'connect');
  http2.setLocalWindowSize(WINDOW_BYTES);
  call(http2, 'ServerFederateGroupsStream').end(HELLO);
  const health = () => call(http2, 'HealthCheck').end(HEALTH);
  setInterval(health, HEALTH_MS).unref();
  return http2;
}

function call(http2: ClientHttp2Session, method: string): ClientHttp2Stream {
  const stream = http2.request({
    ':method': 'POST',
    ':path': `/com.atakmap.FederatedChannel/${method}`,
    'content-type': 'application/grpc',
    te: 'trailers',
  });
  stream.on('error', () => {}); // of what a relay to compare with does not know
  stream.resume();
  return stream;
}

/** The relay counts us as connected from here on. */
async function subscribe(http2: ClientHttp2Session, hear: (chunk: Buffer) => void): Promise<ClientHttp2Stream> {
  const stream = call(http2, 'ClientEventStream');
  stream.on('data', hear);
  stream.end(HELLO);
  await once(stream, 'response');
  return stream;
}

export const fed2: Dialect = {
  async receive(endpoint, heard) {
    const http2 = await greet(endpoint);
    await subscribe(http2, cutter(frameLength, heard));
  },
  async send(endpoint) {
    const http2 = await greet(endpoint);
    await subscribe(http2, () => {});
    const stream = call(http2, 'ServerEventStream');
    await once(stream, 'response');
    return { send: (event) => void stream.write(frame(event)), waiting: () => stream.writableLength };
  },
  event: fedEvent,
};
