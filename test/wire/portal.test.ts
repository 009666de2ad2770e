// PORTAL02 frames: eleven bytes and a body, cut from a stream that may be split anywhere, refused at the first wrong byte.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ProtocolError } from '../../src/lib/errors.ts';
import {
  FIRST_BYTE,
  FRAME,
  type FrameType,
  HEAD_BYTES,
  PortalDeframer,
  portalFrame,
  portalHead,
  setBodyLength,
} from '../../src/wire/portal.ts';

/** As the guide's table has it: magic, version, type, length, body. */
const HELLO = Buffer.from(`50525400 0002 03 00000005 68656c6c6f`.replaceAll(' ', ''), 'hex');
const EMPTY_PING = Buffer.from(`50525400 0002 06 00000000`.replaceAll(' ', ''), 'hex');

interface Got {
  readonly type: FrameType;
  readonly body: string;
}

function deframed(chunks: Iterable<Buffer>, maxBody = 1 << 20): Got[] {
  const got: Got[] = [];
  const deframer = new PortalDeframer(maxBody, (type, body) => got.push({ type, body: body.toString() }));
  for (const chunk of chunks) deframer.push(chunk);
  return got;
}

function refused(bytes: Buffer, maxBody?: number): string {
  let code = 'nothing';
  assert.throws(
    () => deframed([bytes], maxBody),
    (error) => {
      code = error instanceof ProtocolError ? error.code : String(error);
      return true;
    },
  );
  return code;
}

test('frames are those of the documented table', () => {
  assert.deepEqual(portalFrame(FRAME.event, Buffer.from('hello')), HELLO);
  assert.deepEqual(portalFrame(FRAME.ping), EMPTY_PING);
  assert.equal(HEAD_BYTES, 11);
  assert.equal(FIRST_BYTE, HELLO[0]);
  assert.deepEqual(FRAME, { request: 1, response: 2, event: 3, challenge: 4, answer: 5, ping: 6, pong: 7 });
  const head = portalHead(FRAME.event, 3);
  setBodyLength(head, 5);
  assert.deepEqual(head, HELLO.subarray(0, HEAD_BYTES));
});

test('a stream comes out the same however it is split', () => {
  const frames = [HELLO, EMPTY_PING, portalFrame(FRAME.response, Buffer.alloc(9_000, 'x')), HELLO];
  const stream = Buffer.concat(frames);
  const whole = deframed([stream]);
  assert.deepEqual(
    whole.map(({ type, body }) => [type, body.length]),
    [
      [FRAME.event, 5],
      [FRAME.ping, 0],
      [FRAME.response, 9_000],
      [FRAME.event, 5],
    ],
  );
  for (const size of [1, 2, 3, 7, 10, 11, 12, 13, 4_096, 4_097, 8_999]) {
    const pieces = Array.from({ length: Math.ceil(stream.length / size) }, (_, i) =>
      stream.subarray(i * size, (i + 1) * size),
    );
    assert.deepEqual(deframed(pieces), whole, `in pieces of ${size}`);
  }
});

test('what is no frame is refused at its first wrong byte', () => {
  const changed = (at: number, byte: number) => {
    const bytes = Buffer.from(HELLO);
    bytes[at] = byte;
    return bytes;
  };
  for (let at = 0; at < 4; at++) assert.equal(refused(changed(at, 0x20).subarray(0, at + 1)), 'portal_magic');
  assert.equal(refused(changed(4, 1).subarray(0, 5)), 'portal_version');
  assert.equal(refused(changed(5, 3).subarray(0, 6)), 'portal_version');
  assert.equal(refused(changed(6, 0).subarray(0, 7)), 'portal_type');
  assert.equal(refused(changed(6, 8).subarray(0, 7)), 'portal_type');
  assert.equal(refused(Buffer.from('GET / HTTP/1.1\r\n')), 'portal_magic');
  assert.equal(refused(Buffer.concat([HELLO, Buffer.from('x')])), 'portal_magic');
});

test('a length that lies costs nothing: too long is refused unseen, never arriving is never allocated', () => {
  const head = portalHead(FRAME.event, 0xffff_ffff);
  assert.equal(refused(head), 'portal_length');
  assert.equal(refused(portalHead(FRAME.answer, 65), 64), 'portal_length');
  assert.deepEqual(deframed([portalFrame(FRAME.answer, Buffer.alloc(64, 'a'))], 64).length, 1);
  const before = process.memoryUsage().arrayBuffers;
  const deframer = new PortalDeframer(1 << 30, () => assert.fail('no frame is whole'));
  deframer.push(portalHead(FRAME.event, 1 << 30));
  deframer.push(Buffer.alloc(1_000));
  assert.ok(process.memoryUsage().arrayBuffers - before < 1 << 20);
});

test('the limit may change between two frames of one chunk, by whoever takes them', () => {
  const got: number[] = [];
  const deframer: PortalDeframer = new PortalDeframer(64, (_type, body) => {
    got.push(body.length);
    deframer.maxBody = 1_000;
  });
  deframer.push(Buffer.concat([HELLO, portalFrame(FRAME.event, Buffer.alloc(1_000))]));
  assert.deepEqual(got, [5, 1_000]);
});

test('stopped, it takes nothing more, not even the rest of the chunk', () => {
  let count = 0;
  const deframer: PortalDeframer = new PortalDeframer(64, () => {
    count++;
    deframer.stop();
  });
  deframer.push(Buffer.concat([HELLO, HELLO]));
  deframer.push(Buffer.from('not a frame at all'));
  assert.equal(count, 1);
});
