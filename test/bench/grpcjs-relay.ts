// What a relay on @grpc/grpc-js costs: the least one that can be written. Takes TAK Federation v2 events and hands their
// bytes, unread, to every other subscriber: no policy, no queues, no loop control, and no decoding, which flatters it.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Metadata, Server, ServerCredentials, type ServerDuplexStream, type ServerWritableStream } from '@grpc/grpc-js';
import { encode, path } from '../support/peers/grpcjs/wire.ts';

const [port, certs] = process.argv.slice(2);
const same = (bytes: Buffer) => bytes;
const codec = { requestSerialize: same, requestDeserialize: same, responseSerialize: same, responseDeserialize: same };
const subscribers = new Map<string, ServerWritableStream<Buffer, Buffer>>();

const server = new Server();
server.addService(
  {
    groups: { path: path('ServerFederateGroupsStream'), requestStream: false, responseStream: true, ...codec },
    out: { path: path('ClientEventStream'), requestStream: false, responseStream: true, ...codec },
    in: { path: path('ServerEventStream'), requestStream: true, responseStream: true, ...codec },
  },
  {
    groups: (call: ServerWritableStream<Buffer, Buffer>) => {
      call.write(encode('FederateGroups', { streamUpdate: { status: 'SERVING' } }));
    },
    out: (call: ServerWritableStream<Buffer, Buffer>) => {
      subscribers.set(call.getPeer(), call);
      call.sendMetadata(new Metadata());
    },
    in: (call: ServerDuplexStream<Buffer, Buffer>) => {
      call.sendMetadata(new Metadata());
      call.on('data', (event: Buffer) => {
        for (const [peer, subscriber] of subscribers) if (peer !== call.getPeer()) subscriber.write(event);
      });
    },
  },
);
const read = (name: string) => readFileSync(join(certs!, name));
const credentials = ServerCredentials.createSsl(
  read('ca.pem'),
  [{ cert_chain: read('relay.pem'), private_key: read('relay.key') }],
  true,
);
server.bindAsync(`127.0.0.1:${port}`, credentials, (error) => {
  if (error) throw error;
  process.stdout.write('ready\n');
});
