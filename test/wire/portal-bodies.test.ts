// The bodies of PORTAL02 frames, against bytes that protoc made:
//   protoc -Isrc/wire/proto --encode=portal02.<type> portal.proto < text | xxd -p
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ProtocolError } from '../../src/lib/errors.ts';
import {
  MAX_HEADERS,
  pingBody,
  readPing,
  readRequest,
  readResponse,
  requestBody,
  responseBody,
} from '../../src/wire/portal-bodies.ts';
import { ProtoWriter } from '../../src/wire/proto.ts';

const hex = (...lines: string[]) => Buffer.from(lines.join(''), 'hex');
const fails = (code: string) => (error: unknown) => error instanceof ProtocolError && error.code === code;

/** A field of a later schema, and a group of bytes that says nothing. */
const UNKNOWN = hex('fa3e03616263', 'f83e07');

test('Request: id method path headers body hops', () => {
  const request = {
    id: 7,
    method: 'CALL',
    path: '/hub/tunnel',
    headers: { accept: 'application/json', 'x-empty': '' },
    body: Buffer.from('{"to":"b"}'),
    hops: 2,
  };
  const bytes = hex(
    '0807120443414c4c1a0b2f6875622f74756e6e656c221a0a0661636365707412106170706c69636174696f6e2f6a736f6e',
    '22090a07782d656d7074792a0a7b22746f223a2262227d3002',
  );
  assert.deepEqual(requestBody(request), bytes);
  assert.deepEqual(readRequest(bytes), request);
  assert.deepEqual(readRequest(Buffer.concat([UNKNOWN, bytes, UNKNOWN])), request);
  assert.deepEqual(readRequest(Buffer.alloc(0)), {
    id: 0,
    method: '',
    path: '',
    headers: {},
    body: Buffer.alloc(0),
    hops: 0,
  });
});

test('Response: id status headers body more', () => {
  const response = {
    id: 300,
    status: 404,
    headers: { 'content-type': 'text/plain' },
    body: Buffer.from('no'),
    more: true,
    hello: undefined,
  };
  const bytes = hex('08ac021094031a1a0a0c636f6e74656e742d74797065120a746578742f706c61696e22026e6f2801');
  assert.deepEqual(responseBody(response), bytes);
  assert.deepEqual(readResponse(Buffer.concat([bytes, UNKNOWN])), response);
});

test('Response with Hello: the whole of it', () => {
  const hello = {
    nodeId: 'ws-0123456789abcdef',
    name: 'Jäger',
    version: '0.1.0',
    capabilities: ['ack', 'hub'],
    epoch: 281_474_976_710_654,
    resumeEpoch: Number.MAX_SAFE_INTEGER,
    resumeId: 12,
    limits: [
      { name: 'tunnels', value: 8 },
      { name: 'tunnel_bytes', value: 1_000_000 },
    ],
    kept: true,
  };
  const bytes = hex(
    '10c80132640a1377732d3031323334353637383961626364656612064ac3a46765721a05302e312e30220361636b2203687562',
    '28feffffffffff3f30ffffffffffffff0f380c420b0a0774756e6e656c73100842120a0c74756e6e656c5f627974657310c0843d4801',
  );
  assert.deepEqual(responseBody({ status: 200, hello }), bytes);
  const read = readResponse(bytes);
  assert.deepEqual(
    { ...read, hello: undefined },
    { id: 0, status: 200, headers: {}, body: Buffer.alloc(0), more: false, hello: undefined },
  );
  assert.deepEqual(read.hello, hello);
});

test('Ping and Pong: microseconds before 1970 included', () => {
  const ping = {
    seq: 3,
    sentUs: 1_767_225_600_123_456,
    wallUs: 1_767_225_600_200_000,
    acked: 77,
    credit: 1_048_576,
    kept: true,
  };
  const bytes = hex('080310c0c488b184e9910318c09a8db184e99103204d288080403001');
  assert.deepEqual(pingBody(ping), bytes);
  assert.deepEqual(readPing(Buffer.concat([UNKNOWN, bytes])), ping);
  assert.deepEqual(pingBody({ sentUs: -5 }), hex('10fbffffffffffffffff01'));
  assert.equal(readPing(hex('10fbffffffffffffffff01')).sentUs, -5);
  assert.deepEqual(pingBody({}), Buffer.alloc(0));
});

test('header names are lower-cased, and none of them can reach beyond the record', () => {
  const bytes = requestBody({
    id: 1,
    method: 'GET',
    path: '/',
    headers: Object.fromEntries([
      ['X-Case', 'Kept'],
      ['__proto__', 'mine'],
      ['constructor', 'mine'],
    ]),
    body: Buffer.alloc(0),
    hops: 0,
  });
  const { headers } = readRequest(bytes);
  assert.deepEqual(Object.entries(headers), [
    ['x-case', 'Kept'],
    ['__proto__', 'mine'],
    ['constructor', 'mine'],
  ]);
  assert.equal(({} as Record<string, unknown>).mine, undefined);
});

test('what is too much or no protobuf at all is refused', () => {
  const writer = new ProtoWriter();
  const repeated = (field: number, count: number, nested: () => void) => {
    for (let i = 0; i < count; i++) writer.message(field, nested);
    return writer.finish();
  };
  const header = () => writer.string(1, 'a');
  assert.equal(Object.keys(readRequest(repeated(4, MAX_HEADERS, header)).headers).length, 1);
  assert.throws(() => readRequest(repeated(4, MAX_HEADERS + 1, header)), fails('too_many'));
  assert.throws(() => readResponse(repeated(3, MAX_HEADERS + 1, header)), fails('too_many'));
  const inHello = (write: () => void) => {
    writer.message(6, () => {
      writer.int(5, 1);
      write();
    });
    return writer.finish();
  };
  const many = (write: () => void) => () => {
    for (let i = 0; i < 65; i++) write();
  };
  assert.throws(() => readResponse(inHello(many(() => writer.string(4, 'c')))), fails('too_many'));
  assert.throws(() => readResponse(inHello(many(() => writer.message(8, () => {})))), fails('too_many'));
  assert.throws(() => readResponse(inHello(() => writer.string(2, 'n'.repeat(257)))), fails('too_long'));
  assert.throws(() => readResponse(hex('3200')), fails('portal_hello'), 'a Hello needs an epoch');
  assert.throws(() => readRequest(hex('08')), fails('proto_truncated'));
  assert.throws(() => readRequest(hex('1a7f61')), fails('proto_length'));
  assert.throws(() => readRequest(hex('1a01ff')), fails('bad_utf8'));
  assert.throws(() => readPing(hex('08ffffffffffffffffff01')), fails('proto_varint'), 'beyond 2^53');
});
