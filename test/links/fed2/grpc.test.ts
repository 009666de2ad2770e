import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ProtocolError } from '../../../src/lib/errors.ts';
import {
  badRequest,
  Deframer,
  decodeWords,
  encodeWords,
  frame,
  MAX_FRAME_BYTES,
  methodOf,
  PATHS,
  readStatus,
  STATUS,
  statusName,
} from '../../../src/links/fed2/grpc.ts';

interface Cut {
  readonly messages: Buffer[];
  readonly oversize: number[];
  readonly deframer: Deframer;
}

function cutter(maxBytes = 1024): Cut {
  const messages: Buffer[] = [];
  const oversize: number[] = [];
  const deframer = new Deframer(maxBytes, {
    message: (payload) => messages.push(Buffer.from(payload)),
    oversize: (size) => oversize.push(size),
  });
  return { messages, oversize, deframer };
}

/** Bytes that tell their position. */
const payload = (length: number) => Buffer.from(Array.from({ length }, (_, i) => (i * 7) % 251));

const code = (expected: string) => (error: unknown) => error instanceof ProtocolError && error.code === expected;

describe('gRPC frames', () => {
  test('a frame is flag, length, payload', () => {
    assert.deepEqual(frame(Buffer.from('abc')), Buffer.from([0, 0, 0, 0, 3, 0x61, 0x62, 0x63]));
    assert.deepEqual(frame(Buffer.alloc(0)), Buffer.from([0, 0, 0, 0, 0]));
  });

  test('messages come out whole, however the bytes are split', () => {
    const sizes = [0, 1, 3, 300, 0, 47];
    const stream = Buffer.concat(sizes.map((size) => frame(payload(size))));
    for (let piece = 1; piece <= stream.length; piece++) {
      const { messages, oversize, deframer } = cutter();
      for (let at = 0; at < stream.length; at += piece) deframer.push(stream.subarray(at, at + piece));
      assert.deepEqual(
        messages,
        sizes.map((size) => payload(size)),
        `pieces of ${piece}`,
      );
      assert.equal(deframer.partial, false);
      assert.deepEqual(oversize, []);
    }
  });

  test('every split into two keeps the messages', () => {
    const stream = Buffer.concat([frame(payload(20)), frame(payload(5000)), frame(payload(1))]);
    for (let at = 0; at <= stream.length; at++) {
      const { messages, deframer } = cutter(5000);
      deframer.push(stream.subarray(0, at));
      deframer.push(stream.subarray(at));
      assert.deepEqual(
        messages.map((message) => message.length),
        [20, 5000, 1],
      );
      assert.deepEqual(messages[1], payload(5000));
    }
  });

  test('a message in one chunk is not copied', () => {
    const chunk = frame(payload(100));
    let seen: Buffer | undefined;
    new Deframer(1024, { message: (bytes) => (seen = bytes), oversize: () => assert.fail() }).push(chunk);
    assert.equal(seen?.buffer, chunk.buffer);
    assert.equal(seen?.byteOffset, chunk.byteOffset + 5);
  });

  test('a message too large is told once and passed over, in pieces too', () => {
    const stream = Buffer.concat([frame(payload(10)), frame(payload(2000)), frame(payload(11))]);
    for (const piece of [1, 7, 1000, stream.length]) {
      const { messages, oversize, deframer } = cutter(1999);
      for (let at = 0; at < stream.length; at += piece) deframer.push(stream.subarray(at, at + piece));
      assert.deepEqual(
        messages.map((message) => message.length),
        [10, 11],
      );
      assert.deepEqual(oversize, [2005]);
    }
  });

  test('the largest message that is allowed passes', () => {
    const { messages, oversize, deframer } = cutter(2000);
    deframer.push(frame(payload(2000)));
    assert.deepEqual([messages.length, oversize.length], [1, 0]);
  });

  test('a length that lies costs no memory', () => {
    const before = process.memoryUsage().arrayBuffers;
    const open = Array.from({ length: 50 }, () => cutter(MAX_FRAME_BYTES).deframer);
    const head = Buffer.from([0, 0x0f, 0xff, 0xff, 0xff, 1, 2, 3]);
    for (const deframer of open) deframer.push(head);
    assert.ok(open.every((deframer) => deframer.partial));
    const grown = process.memoryUsage().arrayBuffers - before;
    assert.ok(grown < 4 << 20, `50 messages of 256 MiB begun took ${grown} bytes`);
  });

  test('compression, other flags and absurd lengths are refused', () => {
    assert.throws(() => cutter().deframer.push(Buffer.from([1, 0, 0, 0, 1, 0])), code('grpc_compressed'));
    assert.throws(() => cutter().deframer.push(Buffer.from([2, 0, 0, 0, 1, 0])), code('grpc_flag'));
    assert.throws(() => cutter().deframer.push(Buffer.from('HTTP/1.1')), code('grpc_flag'));
    assert.throws(() => cutter().deframer.push(Buffer.from([0, 0x10, 0, 0, 1])), code('grpc_length'));
    assert.throws(() => cutter().deframer.push(Buffer.from([0, 0xff, 0xff, 0xff, 0xff])), code('grpc_length'));
  });

  test('stopped, it drops the rest of the chunk at hand', () => {
    const seen: number[] = [];
    const deframer: Deframer = new Deframer(1024, {
      message: (bytes) => {
        seen.push(bytes.length);
        deframer.stop();
      },
      oversize: () => assert.fail(),
    });
    deframer.push(Buffer.concat([frame(payload(4)), frame(payload(5))]));
    deframer.push(frame(payload(6)));
    assert.deepEqual(seen, [4]);
  });
});

describe('gRPC calls', () => {
  test('methods are known by their exact path', () => {
    for (const [method, path] of Object.entries(PATHS)) assert.equal(methodOf(path), method);
    for (const path of [undefined, '', '/', '/com.atakmap.FederatedChannel/', `${PATHS.health}/`, '/x/HealthCheck']) {
      assert.equal(methodOf(path), undefined);
    }
    for (const dead of ['BinaryMessageStream', 'SendOneBlob', 'SendOneEvent', 'getIdentity', 'GetAuthTokenByX509']) {
      assert.equal(methodOf(`/com.atakmap.FederatedChannel/${dead}`), undefined);
    }
  });

  test('a call must look like gRPC and must not be compressed', () => {
    const good = { ':method': 'POST', 'content-type': 'application/grpc', te: 'trailers' };
    assert.equal(badRequest(good), undefined);
    assert.equal(badRequest({ ...good, 'content-type': 'application/grpc+proto' }), undefined);
    assert.equal(badRequest({ ...good, 'grpc-encoding': 'identity' }), undefined);
    assert.equal(badRequest({ ...good, ':method': 'GET' })?.code, STATUS.internal);
    assert.equal(badRequest({ ...good, 'content-type': 'application/grpc-web' })?.code, STATUS.internal);
    assert.equal(badRequest({ ...good, 'content-type': 'text/html' })?.code, STATUS.internal);
    assert.equal(badRequest({ ':method': 'POST' })?.code, STATUS.internal);
    assert.equal(badRequest({ ...good, 'grpc-encoding': 'gzip' })?.code, STATUS.unimplemented);
  });

  test('a status is read from trailers, or made of a response that is no gRPC', () => {
    const grpc = { ':status': '200', 'content-type': 'application/grpc' };
    assert.equal(readStatus(grpc), undefined);
    assert.deepEqual(readStatus({ 'grpc-status': '0' }), { code: 0, words: '' });
    assert.deepEqual(readStatus({ ...grpc, 'grpc-status': '7', 'grpc-message': 'no%20CA' }), {
      code: 7,
      words: 'no CA',
    });
    assert.equal(readStatus({ 'grpc-status': 'seven' })?.code, STATUS.unknown);
    assert.equal(readStatus({ 'grpc-status': '-1' })?.code, STATUS.unknown);
    assert.equal(readStatus({ ':status': '503' })?.code, STATUS.unavailable);
    assert.equal(readStatus({ ':status': '404' })?.code, STATUS.unimplemented);
    assert.equal(readStatus({ ':status': '418' })?.code, STATUS.unknown);
    assert.equal(readStatus({ ':status': '200', 'content-type': 'text/html' })?.code, STATUS.unknown);
    assert.deepEqual([statusName(13), statusName(99)], ['INTERNAL', 'status 99']);
  });

  test('words survive percent-encoding, and bad encodings do no harm', () => {
    for (const words of ['plain', '100% sûr', 'Grüße\nzwei', '東京']) {
      const text = encodeWords(words);
      assert.match(text, /^[\x20-\x7e]*$/);
      assert.equal(decodeWords(text), words.replace('\n', ' '));
    }
    assert.equal(decodeWords('50% off'), '50% off');
    assert.equal(decodeWords('%zz%4'), '%zz%4');
    assert.equal(decodeWords('a%00b%1bc'), 'a b c');
    assert.equal(decodeWords('%ff%fe'), '\ufffd\ufffd');
    assert.equal(decodeWords('x'.repeat(10_000)).length, 300);
  });
});
