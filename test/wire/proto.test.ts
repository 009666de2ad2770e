import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ProtocolError } from '../../src/lib/errors.ts';
import {
  fixed64Tag,
  lengthTag,
  ProtoReader,
  ProtoWriter,
  varintLength,
  varintTag,
  writeVarint,
} from '../../src/wire/proto.ts';

const hex = (text: string) => Buffer.from(text.replace(/\s+/g, ''), 'hex');
const breach = (code: string) => (error: unknown) => error instanceof ProtocolError && error.code === code;

/** Values with the bytes that protobuf's own libraries write for them. */
const INTEGERS: readonly (readonly [number, string])[] = [
  [1, '01'],
  [127, '7f'],
  [128, '8001'],
  [300, 'ac02'],
  [16_383, 'ff7f'],
  [16_384, '808001'],
  [2 ** 31 - 1, 'ffffffff07'],
  [2 ** 31, '8080808008'],
  [2 ** 32, '8080808010'],
  [1_767_225_600_123, 'fbd0eab6b733'],
  [Number.MAX_SAFE_INTEGER, 'ffffffffffffff0f'],
  [-1, 'ffffffffffffffffff01'],
  [-2, 'feffffffffffffffff01'],
  [-128, '80ffffffffffffffff01'],
  [-300, 'd4fdffffffffffffff01'],
  [-(2 ** 31), '80808080f8ffffffff01'],
  [-(2 ** 32) - 1, 'ffffffffefffffffff01'],
  [Number.MIN_SAFE_INTEGER, '81808080808080f0ff01'],
];

test('integers are read and written as protobuf has them', () => {
  const writer = new ProtoWriter();
  for (const [value, bytes] of INTEGERS) {
    assert.equal(new ProtoReader(hex(bytes)).int64(), value);
    writer.int(1, value);
    assert.equal(writer.finish().toString('hex'), `08${bytes.replace(' ', '')}`, String(value));
    if (value < 0) continue;
    assert.equal(new ProtoReader(hex(bytes)).varint(), value);
    assert.equal(varintLength(value), bytes.length / 2);
    const target = Buffer.alloc(12, 0xee);
    assert.equal(writeVarint(target, 1, value), 1 + bytes.length / 2);
    assert.equal(target.subarray(1, 1 + bytes.length / 2).toString('hex'), bytes);
  }
});

test('zero takes one byte', () => {
  assert.equal(varintLength(0), 1);
  assert.equal(writeVarint(Buffer.alloc(1), 0, 0), 1);
  assert.equal(new ProtoReader(hex('00')).varint(), 0);
  assert.equal(new ProtoReader(hex('8000')).varint(), 0, 'padded');
});

test('integers beyond the safe range are clamped when signed, refused as lengths and counts', () => {
  const int64 = (bytes: string) => new ProtoReader(hex(bytes)).int64();
  assert.equal(int64('ffffffffffffffff7f'), Number.MAX_SAFE_INTEGER);
  assert.equal(int64('80808080808080808001'), Number.MIN_SAFE_INTEGER);
  assert.equal(int64('8080808080808010'), Number.MAX_SAFE_INTEGER, '2^53');
  assert.equal(int64('80808080808080f0ff01'), Number.MIN_SAFE_INTEGER, '-2^53');
  assert.throws(() => new ProtoReader(hex('8080808080808010')).varint(), breach('proto_varint'));
  assert.throws(() => new ProtoReader(hex('ffffffffffffffffff01')).varint(), breach('proto_varint'));
});

test('a varint ends within ten bytes and within the message', () => {
  const long = hex(`${'80'.repeat(10)}01`);
  for (const read of ['varint', 'int64', 'tag', 'length'] as const) {
    assert.throws(() => new ProtoReader(long)[read](), breach('proto_varint'), read);
    for (let length = 0; length < 9; length++) {
      assert.throws(() => new ProtoReader(long, 0, length)[read](), breach('proto_truncated'), `${read} ${length}`);
    }
  }
  assert.throws(() => new ProtoReader(long).skip(0), breach('proto_varint'));
  assert.throws(() => new ProtoReader(long, 0, 9).skip(0), breach('proto_truncated'));
});

test('tags hold a field number from 1 to 2^29 - 1', () => {
  assert.equal(new ProtoReader(hex('0a')).tag(), lengthTag(1));
  assert.equal(new ProtoReader(hex('f201')).tag(), lengthTag(30));
  assert.equal(new ProtoReader(hex('f8ffffff0f')).tag(), varintTag(2 ** 29 - 1));
  for (const bad of ['00', '07', '8080808010']) {
    assert.throws(() => new ProtoReader(hex(bad)).tag(), breach('proto_tag'), bad);
  }
});

test('doubles', () => {
  const writer = new ProtoWriter();
  for (const value of [1.5, -1, 1e300, 5e-324, Number.NaN, Number.POSITIVE_INFINITY, -0]) {
    writer.double(3, value);
    const reader = new ProtoReader(writer.finish());
    assert.equal(reader.tag(), fixed64Tag(3));
    assert.ok(Object.is(reader.double(), value), String(value));
    assert.equal(reader.more(), false);
  }
  assert.throws(() => new ProtoReader(Buffer.alloc(7)).double(), breach('proto_truncated'));
});

test('strings are strict UTF-8 of bounded length', () => {
  const read = (bytes: Buffer, max?: number) =>
    new ProtoReader(Buffer.concat([Buffer.from([bytes.length]), bytes])).string(max);
  for (const text of ['', 'a', 'a-f-G-U-C', 'Jäger', '\u{1f6f0}', '\ufffd', 'x'.repeat(120), `${'x'.repeat(110)}ü`]) {
    assert.equal(read(Buffer.from(text)), text);
    assert.equal(read(Buffer.from(text)), text, 'the second time');
  }
  for (const bad of ['ff', 'c3', 'c080', 'eda080', 'f4908080', `${'61'.repeat(60)}80`]) {
    assert.throws(() => read(hex(bad)), breach('bad_utf8'), bad);
    const reader = new ProtoReader(Buffer.concat([Buffer.from([bad.length / 2]), hex(bad)]));
    assert.throws(() => reader.skipString(), breach('bad_utf8'), bad);
  }
  assert.equal(read(Buffer.from('äb'), 3), 'äb');
  assert.throws(() => read(Buffer.from('äb'), 2), breach('too_long'));
});

test('a string is right whatever came before, and does not change with its buffer', () => {
  const bytes = Buffer.from('\x0aunit-00001');
  const first = new ProtoReader(bytes).string();
  // Thousands of similar strings fall on the same slots.
  for (let n = 0; n < 20_000; n++) {
    const text = `unit-${String(n).padStart(5, '0')}`;
    assert.equal(new ProtoReader(Buffer.from(`\x0a${text}`)).string(), text);
  }
  bytes.write('other-text', 1);
  assert.equal(first, 'unit-00001');
  assert.equal(new ProtoReader(bytes).string(), 'other-text');
  assert.equal(new ProtoReader(Buffer.from('\x03a\x00b')).string(), 'a\x00b');
});

test('lengths are checked before they are believed', () => {
  for (const [bytes, code] of [
    ['05 61626364', 'proto_length'],
    ['ffffffff0f', 'proto_length'],
    ['ffffffffffffff0f', 'proto_length'],
    ['ffffffffffffffffff01', 'proto_varint'],
  ] as const) {
    for (const read of ['bytes', 'string', 'skipString', 'enter', 'length'] as const) {
      assert.throws(() => new ProtoReader(hex(bytes))[read](), breach(code), `${read} ${bytes}`);
    }
    assert.throws(() => new ProtoReader(hex(bytes)).skip(2), breach(code));
  }
});

test('bytes share memory with the input', () => {
  const input = hex('026162');
  const bytes = new ProtoReader(input).bytes();
  input[1] = 0x7a;
  assert.equal(bytes.toString(), 'zb');
});

test('a nested message cannot be read beyond its end', () => {
  // message 1 { string 1 of announced length 3, but the message ends after 2 } and a further field
  const reader = new ProtoReader(hex('0a04 0a03 6162 1001'));
  assert.equal(reader.tag(), lengthTag(1));
  const outer = reader.enter();
  assert.equal(reader.tag(), lengthTag(1));
  assert.throws(() => reader.string(), breach('proto_length'));
  reader.leave(outer);
  assert.equal(reader.tag(), varintTag(2));
  assert.equal(reader.varint(), 1);
  assert.equal(reader.more(), false);
});

test('skip passes every wire type but groups', () => {
  const reader = new ProtoReader(hex('08 ffffffffffffffffff01  11 0102030405060708  1a 03 616263  25 01020304  08 07'));
  const tags: number[] = [];
  while (reader.more()) {
    const tag = reader.tag();
    tags.push(tag);
    reader.skip(tag);
  }
  assert.deepEqual(tags, [0x08, 0x11, 0x1a, 0x25, 0x08]);
  for (const type of [3, 4, 6, 7]) {
    assert.throws(() => new ProtoReader(Buffer.alloc(9)).skip(type), breach('proto_wire_type'));
  }
  assert.throws(() => new ProtoReader(Buffer.alloc(7)).skip(1), breach('proto_truncated'));
  assert.throws(() => new ProtoReader(Buffer.alloc(3)).skip(5), breach('proto_truncated'));
});

test('the writer leaves out defaults, except where it is told to write', () => {
  const writer = new ProtoWriter();
  writer.int(1, 0);
  writer.bool(2, false);
  writer.double(3, 0);
  writer.string(4, '');
  assert.equal(writer.finish().length, 0);
  writer.presentDouble(3, 0);
  writer.bytes(4, Buffer.alloc(0));
  writer.message(5, () => {});
  writer.bool(6, true);
  assert.equal(writer.finish().toString('hex'), '19000000000000000022002a003001');
});

test('the writer refuses integers that it could not write exactly', () => {
  const writer = new ProtoWriter();
  for (const bad of [0.5, 2 ** 53, Number.NaN]) assert.throws(() => writer.int(1, bad), RangeError);
});

test('the writer nests, grows and starts anew', () => {
  const writer = new ProtoWriter();
  const long = 'ü'.repeat(300_000);
  const write = (w: ProtoWriter) => {
    w.string(1, long);
    w.message(2, (inner) => {
      inner.string(3, 'x'.repeat(20_000));
      inner.message(4, (most) => most.int(5, 1));
    });
  };
  write(writer);
  const whole = writer.finish();
  const reader = new ProtoReader(whole);
  assert.equal(reader.tag(), lengthTag(1));
  assert.equal(reader.string(), long);
  assert.equal(reader.tag(), lengthTag(2));
  const outer = reader.enter();
  assert.equal(reader.tag(), lengthTag(3));
  assert.equal(reader.string().length, 20_000);
  assert.equal(reader.tag(), lengthTag(4));
  assert.deepEqual([...reader.bytes()], [0x28, 1]);
  assert.equal(reader.more(), false);
  reader.leave(outer);
  assert.equal(reader.more(), false);
  write(writer);
  assert.ok(writer.finish().equals(whole), 'the same writer, the same bytes');
  writer.string(1, 'half');
  writer.reset();
  writer.int(1, 1);
  assert.equal(writer.finish().toString('hex'), '0801');
});

test('what the writer finished is not touched by what it writes next', () => {
  const writer = new ProtoWriter();
  writer.raw(Buffer.from('xabcx'), 1, 4);
  const first = writer.finish();
  writer.string(1, 'zzzzzz');
  writer.finish();
  assert.equal(first.toString(), 'abc');
});
