// A gRPC server that is not ours (@grpc/grpc-js), of which only two methods matter: takes what ServerEventStream brings and answers
// HealthCheck. Says, a line of JSON each, what arrived and when. Usage: fed2-server.ts --port N
import { parseArgs } from 'node:util';
import grpc from '@grpc/grpc-js';

const { values } = parseArgs({ options: { port: { type: 'string' } } });
const raw = {
  requestSerialize: (b: Buffer) => b,
  requestDeserialize: (b: Buffer) => b,
  responseSerialize: (b: Buffer) => b,
  responseDeserialize: (b: Buffer) => b,
};
const path = (method: string) => `/com.atakmap.FederatedChannel/${method}`;
const server = new grpc.Server();
server.addService(
  {
    events: { path: path('ServerEventStream'), requestStream: true, responseStream: false, ...raw },
    health: { path: path('HealthCheck'), requestStream: false, responseStream: false, ...raw },
  },
  {
    events: (call: grpc.ServerReadableStream<Buffer, Buffer>) => {
      call.on('data', (event: Buffer) => {
        const [uid, sentMs] = String(event).split(' ');
        process.stdout.write(`${JSON.stringify({ uid, type: 'a-f', timeMs: Number(sentMs), atMs: Date.now() })}\n`);
      });
    },
    health: (_call: grpc.ServerUnaryCall<Buffer, Buffer>, done: grpc.sendUnaryData<Buffer>) =>
      done(null, Buffer.from('0801', 'hex')),
  },
);
server.bindAsync(`0.0.0.0:${values.port}`, grpc.ServerCredentials.createInsecure(), () =>
  process.stdout.write('{"ready":true}\n'),
);
