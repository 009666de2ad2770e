// Packed records: every byte comes back, in few bytes; both memories stay the same whatever the wire refuses; nothing hostile gets
// further than ProtocolError, or than a bound. The golden bytes were made with protoc and Python's zlib.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { deflateRawSync } from 'node:zlib';
import type { Envelope } from '../../../src/core/message.ts';
import { laneOf } from '../../../src/core/policy.ts';
import { readAsset } from '../../../src/lib/asset.ts';
import { ProtocolError } from '../../../src/lib/errors.ts';
import { ChunksIn, ChunksOut, EVENTS, FILES } from '../../../src/links/portal/chunks.ts';
import { MAX_BODY, MAX_CHUNKED, MAX_UNITS } from '../../../src/links/portal/limits.ts';
import { PackIn, PackOut, type Precision } from '../../../src/links/portal/packing.ts';
import { scanCot } from '../../../src/wire/cot.ts';
import { chunkField } from '../../../src/wire/portal-pieces.ts';
import { inboundOf, type PortalRecord, type Reading, recordOf, scanEvents } from '../../../src/wire/portal-record.ts';
import { Island, type Spoken, seeded } from '../../support/island.ts';
import { sampleEvent } from '../contract.ts';

const SELF = { id: 'ws-1', name: 'one' };
const WALL = Date.UTC(2026, 10, 29);
const fails = (code: string) => (error: unknown) => error instanceof ProtocolError && error.code === code;

function envelopeOf(xml: Buffer): Envelope {
  const message = { kind: 'event', event: scanCot(xml) } as const;
  return {
    ...sampleEvent('x'),
    message,
    wire: { format: 'xml', bytes: xml },
    lane: laneOf(message),
    encodings: undefined,
  };
}

function reading(pack: PackIn, chunks = new ChunksIn(), onPiece = () => {}): Reading {
  const cut = new ChunksIn();
  let unpack = pack.unpack;
  return {
    unpack: pack.unpack,
    collect: (chunk) => chunks.take(chunk),
    collectField: (chunk) => {
      if (chunk.total > 0) unpack = pack.unpackLater();
      const field = cut.take(chunk);
      return field && { field, unpack };
    },
    onPiece,
  };
}

function read(field: Buffer, how: Reading): PortalRecord {
  const found: PortalRecord[] = [];
  scanEvents(field, (record) => found.push(record), how);
  assert.equal(found.length, 1);
  return found[0]!;
}

function island(units: number, count: number): readonly Spoken[] {
  const spoken: Spoken[] = [];
  const all = { seed: 1, units, wallMs: WALL, chatEveryMs: 45_000, alertEveryMs: 120_000, markerEveryMs: 120_000 };
  for (const one of new Island(all).events()) if (spoken.push(one) === count) break;
  return spoken;
}

/** Bytes of each kind, on the average, after the start. Everything said is compared with what comes out. */
function measure(units: number, precision: Precision): Readonly<Record<string, { mean: number; most: number }>> {
  const out = new PackOut();
  const how = reading(new PackIn(() => {}));
  const sums = new Map<string, number[]>();
  for (const [index, { kind, xml }] of island(units, units * 80).entries()) {
    const envelope = envelopeOf(xml);
    const planned = out.plan(envelope, recordOf(envelope, [], SELF), 1_234, precision);
    assert.ok(planned, kind);
    planned.commit();
    const record = read(planned.field, how);
    if (precision === 'exact' || kind !== 'position') assert.deepEqual(record.payload, xml);
    else assert.equal(scanCot(record.payload).uid, scanCot(xml).uid);
    assert.deepEqual(record.provenance, [SELF]);
    assert.equal(record.ageMs, 1_200);
    if (index > units * 8) sums.set(kind, [...(sums.get(kind) ?? []), planned.field.length]);
  }
  const means = [...sums].map(([kind, sizes]) => {
    const mean = sizes.reduce((sum, size) => sum + size, 0) / sizes.length;
    return [kind, { mean, most: Math.max(...sizes) }] as const;
  });
  return Object.fromEntries(means);
}

test('30 devices: a position in at most 60 bytes lossless and 20 coarse, an alert in at most 90', (t) => {
  const exact = measure(30, 'exact');
  const coarse = measure(30, 'coarse');
  t.diagnostic(`exact ${JSON.stringify(exact)}, coarse ${JSON.stringify(coarse)}`);
  assert.ok(exact.position!.mean <= 60, `${exact.position!.mean}`);
  assert.ok(coarse.position!.mean <= 20, `${coarse.position!.mean}`);
  assert.ok(exact.alert!.most <= 90, `${exact.alert!.most}`);
});

test('Events: packed records and pieces, as protoc and Python write them', () => {
  assert.equal(
    createHash('sha256').update(readAsset('src/links/portal/pack1.dict')).digest('hex'),
    '03927aacd65e490dbbcd0752c425be8d7bdc947747eb62835b74ce0c55b04b26',
    'the dictionary is part of the protocol: another one is another capability',
  );
  const bytes = Buffer.from(
    '10051a5963e61760949acc088d7270248722b206387ee171fbe6cbcfedab99b1c630e382b5b737f0a245257fdfae1fa7986111cafc921916a7ccf37494d0dadf4a8c8a9f59b6423a5a1097697173b19417eb1a0a31031bd3168c0ecc00220a01024dd080055064031e280730013a0808091204616263643a0712056566676869',
    'hex',
  );
  const found: (PortalRecord | string)[] = [];
  const how = reading(new PackIn(() => {}), new ChunksIn(), () => found.push('a piece'));
  const chunks = {
    ...how,
    collect: (chunk: Parameters<Reading['collect']>[0]) => {
      const whole = how.collect(chunk);
      if (whole) found.push(whole.toString());
      return undefined;
    },
  };
  assert.deepEqual(
    scanEvents(bytes, (record) => found.push(record), chunks),
    { acked: 5, asks: true },
  );
  const [first, again, ...rest] = found as [PortalRecord, PortalRecord, ...string[]];
  const xml = (time: string, stale: string, lat: string, speed: string) =>
    `<event uid="U-1" type="a-f-G" time="2026-11-29T${time}Z" start="2026-11-29T${time}Z" stale="2026-11-29T${stale}Z">` +
    `<point lat="${lat}" lon="-24.5" hae="283.1"/><track speed="${speed}"/></event>`;
  assert.equal(first.payload.toString(), xml('00:00:20.123', '00:01:20', '48.1234567', '1.4142135381698608'));
  assert.equal(again.payload.toString(), xml('00:00:40.623', '00:01:40', '48.1234592', '1.5'));
  assert.deepEqual([first.ageMs, again.ageMs, first.lane, first.hops.current], [1_500, 200, 3, 1]);
  assert.deepEqual(rest, ['a piece', 'abcdefghi', 'a piece']);
});

test('what was planned and not said changes nothing', () => {
  const out = new PackOut();
  const how = reading(new PackIn(() => {}));
  const random = seeded(5);
  for (const { xml } of island(20, 2_000)) {
    const envelope = envelopeOf(xml);
    const record = recordOf(envelope, [], SELF);
    const planned = out.plan(envelope, record, 0, 'exact');
    assert.equal(out.plan(envelope, record, 500, 'exact'), planned, 'asked again, it is the same');
    if (random() < 0.4) continue; // the wire had no room, and it was superseded
    planned!.commit();
    assert.deepEqual(read(planned!.field, how).payload, xml);
  }
});

test('more units than are remembered: the one told of least lately makes room', () => {
  const out = new PackOut();
  const how = reading(new PackIn(() => {}));
  const say = (unit: number, lat: number) => {
    const xml = Buffer.from(
      `<event version="2.0" uid="U-${unit}" type="a-f-G-U-C" time="2026-11-29T00:00:00.000Z" start="2026-11-29T00:00:00.000Z" stale="2026-11-29T00:10:00.000Z" how="m-g"><point lat="${lat}" lon="24.5" hae="1.0" ce="1.0" le="1.0"/><detail><contact callsign="U${unit}" endpoint="*:-1:stcp"/></detail></event>`,
    );
    const envelope = envelopeOf(xml);
    const planned = out.plan(envelope, recordOf(envelope, [], SELF), 0, 'exact')!;
    planned.commit();
    assert.deepEqual(read(planned.field, how).payload, xml);
    return planned.field[0] === 0x22;
  };
  for (let unit = 0; unit < MAX_UNITS; unit++) say(unit, 48.1);
  assert.ok(say(0, 48.2), 'remembered');
  say(MAX_UNITS, 48.1); // in the place of unit 1
  assert.ok(say(0, 48.3));
  assert.ok(!say(1, 48.2), 'forgotten');
  for (let unit = 0; unit < 3 * MAX_UNITS; unit++) say(unit, 48.4);
});

test('hostile: bombs, corrupt streams, differences to nothing', () => {
  const dictionary = readAsset('src/links/portal/pack1.dict');
  let charged = 0;
  const pack = new PackIn((bytes) => (charged += bytes));
  const deflated = (plain: Buffer) => ({ kind: 'deflated', bytes: deflateRawSync(plain, { dictionary }) }) as const;
  assert.throws(() => pack.unpack(deflated(Buffer.alloc(1 << 20))), fails('packed_size'));
  assert.equal(charged, 0);
  assert.throws(() => pack.unpack({ kind: 'deflated', bytes: Buffer.from('ffff', 'hex') }), fails('packed_corrupt'));
  assert.throws(() => pack.unpack({ kind: 'deflated', bytes: Buffer.alloc(0) }), fails('packed_corrupt'));
  assert.throws(() => pack.unpack({ kind: 'again', bytes: Buffer.from([0, 0]) }), fails('packed_unit'));
  assert.throws(() => pack.unpack(deflated(Buffer.from('0000', 'hex'))), ProtocolError);
  // A place beyond the last.
  const record = Buffer.concat([Buffer.from([0x10, 1, 0x1a, 3]), Buffer.from('<a>')]);
  const place = 2 * (MAX_UNITS + 1);
  const head = Buffer.from([(place & 0x7f) | 0x80, place >> 7, 0]);
  assert.throws(() => pack.unpack(deflated(Buffer.concat([head, record]))), fails('packed_unit'));
  assert.throws(() => scanEvents(Buffer.from('2200', 'hex'), () => {}), fails('packed_unasked'));
});

test('values that grow with every difference end at a bound', () => {
  const pack = new PackIn(() => {});
  const values = Array.from({ length: 64 }, (_, n) => `a${n}="1"`).join(' ');
  const payload = Buffer.from(`<a ${values}/>`);
  const length = Buffer.from([(payload.length & 0x7f) | 0x80, payload.length >> 7]);
  const plain = Buffer.concat([Buffer.from([2, 0, 0x10, 1, 0x1a]), length, payload]);
  pack.unpack({
    kind: 'deflated',
    bytes: deflateRawSync(plain, { dictionary: readAsset('src/links/portal/pack1.dict') }),
  });
  let last = 0;
  for (let n = 0; n < 100; n++) {
    const mask = Buffer.alloc(8, 0xff);
    const grow = Buffer.concat(Array.from({ length: 64 }, () => Buffer.from('1f80808080808002', 'hex')));
    last = pack.unpack({ kind: 'again', bytes: Buffer.concat([Buffer.from([1, 0]), mask, grow]) }).record.length;
  }
  assert.ok(last < 4_200, `${last}`);
});

test('random bytes in place of any packed record: ProtocolError, or a record', () => {
  const random = seeded(9);
  const spoken = island(20, 400);
  let through = 0;
  for (let round = 0; round < 300; round++) {
    const out = new PackOut();
    const how = reading(new PackIn(() => {}));
    try {
      for (const { xml } of spoken.slice(round, round + 40)) {
        const envelope = envelopeOf(xml);
        const planned = out.plan(envelope, recordOf(envelope, [], SELF), 0, 'exact')!;
        planned.commit();
        const field = Buffer.from(planned.field);
        if (random() < 0.1) field[Math.floor(random() * field.length)] = Math.floor(random() * 256);
        scanEvents(
          field,
          (record) => {
            through += inboundOf(record).length;
          },
          how,
        );
      }
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
    }
  }
  assert.ok(through > 1_000, `${through}`);
});

// --- pieces --------------------------------------------------------------------------------------------------------

test('a large record crosses in pieces, others first; what did not go out is given back', () => {
  const out = new ChunksOut(FILES);
  const into = new ChunksIn();
  const bytes = Buffer.from(Array.from({ length: 100_000 }, (_, n) => n % 251));
  const envelope = sampleEvent('large');
  assert.ok(out.add(envelope, bytes));
  assert.ok(out.add(sampleEvent('second'), bytes));
  let whole: Buffer | undefined;
  for (let count = 1; !whole; count++) {
    assert.ok(!out.isDue(1_000), 'nothing of others has passed');
    out.passed(16_000);
    assert.ok(out.isDue(1_000));
    const piece = out.next(1_000)!;
    assert.deepEqual(out.next(1_000), piece, 'until it was said');
    whole = into.take(piece.chunk);
    assert.equal(piece.envelope, count === 100 ? envelope : undefined);
    out.sent(piece);
  }
  assert.deepEqual(whole, bytes);
  out.sent(out.next(1_000)!);
  assert.deepEqual(
    out.close().map(({ message }) => message.kind),
    ['event'],
  );
});

test('pieces have their share by bytes, also beside what is larger than they are', () => {
  const out = new ChunksOut(EVENTS);
  out.passed(5_000);
  out.add(sampleEvent('event'), Buffer.alloc(1_000));
  assert.ok(!out.isDue(50), 'nothing is saved up');
  out.passed(350);
  let pieces = 0;
  for (; out.isDue(50); pieces++) out.sent(out.next(50)!);
  assert.equal(pieces, 14);
});

test('what waits in pieces is bounded; one is always taken', () => {
  const out = new ChunksOut(FILES);
  assert.ok(out.add(sampleEvent('one'), Buffer.alloc(8 << 20)));
  assert.ok(!out.add(sampleEvent('two'), Buffer.alloc(1)));
  const many = new ChunksOut(FILES);
  for (let n = 0; n < MAX_CHUNKED; n++) assert.ok(many.add(sampleEvent('x'), Buffer.alloc(10)));
  assert.ok(!many.add(sampleEvent('x'), Buffer.alloc(10)));
});

test('an event in pieces is read beside what was known when it began, whatever passes it', () => {
  const out = new PackOut();
  const how = reading(new PackIn(() => {}));
  const said = island(6, 400);
  const first = (kind: Spoken['kind'], from = 0) => envelopeOf(said.slice(from).find((one) => one.kind === kind)!.xml);
  const planned = (envelope: Envelope) => out.plan(envelope, recordOf(envelope, [], SELF), 0, 'exact')!;
  const pass = (envelope: Envelope) => {
    const { field, commit } = planned(envelope);
    commit();
    assert.deepEqual(read(field, how).payload, envelope.wire!.bytes);
  };
  pass(first('position'));
  for (const kind of ['marker', 'chat'] as const) {
    const large = first(kind);
    const { field, commit } = planned(large);
    const cut = new ChunksOut(EVENTS);
    cut.add(large, field, commit);
    const pieces: PortalRecord[] = [];
    for (let piece = cut.next(40); piece; piece = cut.next(40)) {
      scanEvents(chunkField(piece.chunk), (record) => pieces.push(record), how);
      cut.sent(piece);
      pass(first('alert'));
      pass(first('position', 200));
    }
    assert.equal(pieces.length, 1);
    assert.deepEqual(pieces[0]!.payload, large.wire!.bytes);
  }
  pass(first('chat'));
  const nothing = chunkField({ total: 2, data: Buffer.from([0x22, 0]), isEvent: true });
  assert.throws(() => scanEvents(nothing, () => {}, how), fails('chunk_field'));
});

test('pieces that lie', () => {
  const data = Buffer.from('abcd');
  const isEvent = false;
  assert.throws(() => new ChunksIn().take({ total: MAX_BODY + 1, data, isEvent }), fails('chunk_length'));
  assert.throws(() => new ChunksIn(10).take({ total: 11, data, isEvent }), fails('chunk_length'));
  assert.throws(() => new ChunksIn().take({ total: 3, data, isEvent }), fails('chunk_length'));
  assert.throws(() => new ChunksIn().take({ total: 0, data, isEvent }), fails('chunk_order'));
  assert.throws(() => new ChunksIn().take({ total: 8, data: Buffer.alloc(0), isEvent }), fails('chunk_empty'));
  const begun = new ChunksIn();
  begun.take({ total: 8, data, isEvent });
  assert.throws(() => begun.take({ total: 8, data, isEvent }), fails('chunk_order'));
  const given = new ChunksIn();
  given.take({ total: 8, data, isEvent });
  given.giveUp();
  assert.equal(given.take({ total: 0, data, isEvent }), undefined, 'of one that was given up the rest is passed over');
  assert.deepEqual(given.take({ total: 4, data, isEvent }), data);
});
