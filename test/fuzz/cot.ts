// Feeds broken events to everything that reads CoT and asks for four things: nothing but ProtocolError is ever thrown; the
// fast reader and the strict parser agree; what is accepted survives every conversion; framers cut the same frames however
// the stream is split. `node test/fuzz/cot.ts --seconds 60 --seed N`
import assert from 'node:assert/strict';
import { parseArgs } from 'node:util';
import type { CotEvent } from '../../src/core/message.ts';
import { ProtocolError } from '../../src/lib/errors.ts';
import { CotFramer, parseAuth, scanCot, scanCotStrict, scanDetail, trimCot } from '../../src/wire/cot.ts';
import { detailOf, eventXml, stripMarti, withFlowTag, withMartiDest } from '../../src/wire/cot-write.ts';
import { ProtoWriter } from '../../src/wire/proto.ts';
import { frameTak, readTakControl, scanTak, TakFramer, takFromXml, xmlFromTak } from '../../src/wire/tak.ts';
import { trackOf } from '../../src/wire/track.ts';
import { CORPUS } from '../fixtures/events.ts';

const NOW = Date.UTC(2026, 10, 20, 14, 3, 21, 123);
const MAX_BYTES = 64 * 1024;

/** Pieces that mean something to an XML or CoT reader. */
const WORDS = [
  ...[
    '<',
    '>',
    '/',
    '/>',
    '</',
    '"',
    "'",
    '=',
    ' ',
    '\t',
    '\r\n',
    '&',
    ';',
    '&amp;',
    '&lt',
    '&#0;',
    '&#x41;',
    '&#xD800;',
    ']]>',
    '--',
  ],
  ...[
    '<!--',
    '-->',
    '<!-- x -->',
    '<![CDATA[',
    ']]',
    '<![CDATA[x]]>',
    '<?',
    '?>',
    '<?x y?>',
    '<?xml version="1.0"?>',
    '<!DOCTYPE x>',
  ],
  ...[
    '<event',
    '<event>',
    '</event>',
    '<point/>',
    '<detail>',
    '</detail>',
    '<detail/>',
    '<x>',
    '</x>',
    '<x/>',
    '<contact callsign="z"/>',
  ],
  ...[
    '<marti>',
    '</marti>',
    '<dest uid="d"/>',
    '<__group name="n"/>',
    '<group name="g"/>',
    '<_flow-tags_ f="1"/>',
    '<status battery="5"/>',
  ],
  ...[
    ' uid="w"',
    ' a="b"',
    " a='b'",
    ' xmlns:a="b"',
    ' lat="1e-9"',
    '0',
    '9',
    '.',
    '-',
    'e5',
    'NaN',
    'T',
    'Z',
    '+01:00',
    'é',
    '\u{1f6f0}',
  ],
  ...[
    '\0',
    '\u0001',
    '\u007f',
    '\u0085',
    '\ufeff',
    '\ufffd',
    '\ufffe',
    '\uffff',
    '<é/>',
    '<×/>',
    ':',
    '<:a/>',
    '<_/>',
    '&constructor;',
    ...['<event></event>', '<event/>', '<!--</event>-->', '<![CDATA[</event>]]>'],
  ],
].map((word) => Buffer.from(word));

/** Bytes that are never or rarely right in UTF-8 and protobuf. */
const BYTES = [0x00, 0x01, 0x7f, 0x80, 0xbf, 0xc0, 0xe2, 0xed, 0xef, 0xf4, 0xff];

/** A small generator whose every run can be had again: xorshift32. */
class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = Math.imul(seed + 1, 0x9e3779b1) | 1;
  }

  below(limit: number): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x;
    return (x >>> 0) % limit;
  }

  of<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }
}

function mutate(random: Random, bytes: Buffer): Buffer {
  const at = random.below(bytes.length + 1);
  const end = Math.min(bytes.length, at + 1 + random.below(random.below(8) === 0 ? 200 : 8));
  const before = bytes.subarray(0, at);
  switch (random.below(8)) {
    case 0:
      return Buffer.concat([before, random.of(WORDS), bytes.subarray(at)]);
    case 1:
      return Buffer.concat([before, random.of(WORDS), bytes.subarray(end)]);
    case 7: {
      // Behind a tag, where most words are legal.
      const tagEnd = bytes.indexOf('>', at) + 1;
      return Buffer.concat([bytes.subarray(0, tagEnd), random.of(WORDS), bytes.subarray(tagEnd)]);
    }
    case 2:
      return Buffer.concat([before, bytes.subarray(end)]);
    case 3:
      return Buffer.concat([bytes.subarray(0, end), bytes.subarray(at)]);
    case 4:
      return Buffer.concat([before, Buffer.from([random.of(BYTES)]), bytes.subarray(at + random.below(2))]);
    case 5: {
      const from = random.below(bytes.length + 1);
      return Buffer.concat([before, bytes.subarray(from, from + 1 + random.below(40)), bytes.subarray(at)]);
    }
    default:
      return Buffer.concat([before, Buffer.from([random.below(256)]), bytes.subarray(at + 1)]);
  }
}

/** A TakMessage whose lengths are right and whose values are not: words for texts, broken XML for a detail. */
function composed(random: Random, xml: Buffer): Buffer {
  const said = scanCot(xml);
  const word = () => random.of(WORDS).toString();
  let content = detailOf(xml).subarray('<detail>'.length, -'</detail>'.length);
  for (let count = random.below(3); count > 0; count--) content = mutate(random, content);
  const writer = new ProtoWriter();
  writer.message(2, () => {
    writer.string(1, said.type + (random.below(8) === 0 ? word() : ''));
    writer.string(2, word());
    writer.string(5, said.uid + word());
    writer.int(6, said.timeMs);
    writer.int(8, said.staleMs);
    writer.double(10, random.of([0, -0, 1e-300, -1e-7, 48.1, 90, 5e-324]));
    writer.double(12, random.of([0, Number.NaN, 1e9, 9999999, 1 / 3]));
    writer.message(15, () => {
      writer.bytes(1, content);
      for (const field of [2, 3, 4, 6]) {
        if (random.below(2) === 0) continue;
        writer.message(field, () => {
          for (let part = 1; part < 4; part++) writer.string(part, word());
        });
      }
      writer.message(5, () => writer.int(1, random.of([0, 78, 2 ** 32, -1])));
      writer.message(7, () => writer.double(1, random.of([0, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 1e300])));
    });
  });
  return writer.finish();
}

/** The value, or undefined when it was refused as it should be. Any other error is a finding. */
function accepted<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof ProtocolError) return undefined;
    throw error;
  }
}

/** Returns what the bytes say; undefined when both readers refuse them. */
function checkXml(bytes: Buffer): CotEvent | undefined {
  const fast = accepted(() => scanCot(bytes));
  const strict = accepted(() => scanCotStrict(bytes));
  assert.deepEqual(fast, strict, 'the two readers disagree');
  accepted(() => parseAuth(bytes));
  if (!fast) return undefined;
  const tagged = withFlowTag(bytes, 'fuzz', NOW);
  assert.deepEqual(
    scanCotStrict(tagged),
    fast.flowTags.includes('fuzz') ? fast : { ...fast, flowTags: scanCot(tagged).flowTags },
  );
  assert.ok(scanCot(tagged).flowTags.includes('fuzz'));
  scanDetail(detailOf(bytes));
  assert.deepEqual(scanCot(eventXml(fast, detailOf(bytes))), fast, 'header and detail, written anew');
  assert.deepEqual(scanCotStrict(stripMarti(bytes)), { ...fast, destUids: [], destCallsigns: [], destMissions: [] });
  scanCotStrict(withMartiDest(bytes, ['a'], ['b']));
  const tak = takFromXml(bytes, fast);
  assert.deepEqual(scanTak(tak), fast, 'as TAK');
  checkTak(tak);
  assert.deepEqual(
    frames([Buffer.concat([bytes, bytes])]),
    [`event ${trimCot(bytes)}`, `event ${trimCot(bytes)}`],
    'as a stream',
  );
  return fast;
}

function checkTak(tak: Buffer): CotEvent | undefined {
  accepted(() => readTakControl(tak));
  const said = accepted(() => scanTak(tak));
  const xml = accepted(() => xmlFromTak(tak));
  assert.equal(said === undefined, xml === undefined, 'scanTak() and xmlFromTak() disagree');
  if (!said || !xml) return undefined;
  const message = { kind: 'event', event: said } as const;
  const [track, again] = [tak, xml].map((bytes, n) =>
    trackOf({ message, wire: { format: n === 0 ? 'tak' : 'xml', bytes } }),
  );
  assert.deepEqual(track, again, 'the track, by TAK and by XML');
  assert.deepEqual(scanCot(xml), said, 'TAK as XML');
  assert.deepEqual(scanCotStrict(xml), said, 'TAK as XML, read strictly');
  assert.deepEqual(scanTak(takFromXml(xml, said)), said, 'TAK as XML as TAK');
  return said;
}

/** The frames in these chunks and the code of the error, if it came to one. */
function frames(chunks: readonly Buffer[]): string[] {
  const found: string[] = [];
  const framer = new CotFramer({ maxBytes: MAX_BYTES });
  const code = codeOf(() => {
    for (const chunk of chunks) framer.push(chunk, (frame, kind) => found.push(`${kind} ${frame}`));
  });
  return code === undefined ? found : [...found, code];
}

function takFrames(chunks: readonly Buffer[]): string[] {
  const found: string[] = [];
  const framer = new TakFramer({ maxBytes: MAX_BYTES });
  const code = codeOf(() => {
    for (const chunk of chunks) framer.push(chunk, (payload) => found.push(payload.toString('hex')));
  });
  return [...found, code ?? `${framer.skipped} skipped`];
}

function codeOf(run: () => void): string | undefined {
  try {
    run();
    return undefined;
  } catch (error) {
    if (error instanceof ProtocolError) return error.code;
    throw error;
  }
}

function split(random: Random, bytes: Buffer): Buffer[] {
  const pieces: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = at + 1 + random.below(random.below(3) === 0 ? 400 : 12);
    pieces.push(bytes.subarray(at, end));
    at = end;
  }
  return pieces;
}

export interface FuzzResult {
  readonly cases: number;
  readonly acceptedXml: number;
  readonly acceptedTak: number;
}

/** Runs until `more(cases)` is false. Throws an AssertionError that has the offending bytes in its message. */
export function fuzz(seed: number, more: (cases: number) => boolean): FuzzResult {
  const random = new Random(seed);
  const seeds = CORPUS.map(({ xml }) => xml(NOW));
  const takSeeds = seeds.map((xml) => takFromXml(xml, scanCot(xml)));
  let cases = 0;
  let acceptedXml = 0;
  let acceptedTak = 0;
  for (; more(cases); cases++) {
    let xml = random.of(seeds);
    let tak = random.below(2) === 0 ? random.of(takSeeds) : composed(random, random.of(seeds));
    for (let count = 1 + random.below(3); count > 0; count--) xml = mutate(random, xml);
    for (let count = random.below(3); count > 0; count--) tak = mutate(random, tak);
    reported(seed, cases, xml, () => {
      if (checkXml(xml)) acceptedXml++;
      const stream = Buffer.concat([random.of(seeds), xml, random.of(seeds)]);
      assert.deepEqual(frames(split(random, stream)), frames([stream]), 'frames depend on how the stream was split');
    });
    reported(seed, cases, tak, () => {
      if (checkTak(tak)) acceptedTak++;
      const stream = mutate(random, Buffer.concat([frameTak(random.of(takSeeds)), frameTak(tak), frameTak(tak)]));
      assert.deepEqual(
        takFrames(split(random, stream)),
        takFrames([stream]),
        'frames depend on how the stream was split',
      );
    });
  }
  return { cases, acceptedXml, acceptedTak };
}

function reported(seed: number, number: number, bytes: Buffer, run: () => void): void {
  try {
    run();
  } catch (error) {
    const words = error instanceof Error ? (error.stack ?? error.message) : String(error);
    assert.fail(
      `seed ${seed}, case ${number}: ${words}\ntext: ${JSON.stringify(bytes.toString())}\nhex: ${bytes.toString('hex')}`,
    );
  }
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { seconds: { type: 'string' }, seed: { type: 'string' } } });
  const seed = Number(values.seed ?? Date.now() % 1_000_000);
  const endMs = performance.now() + 1000 * Number(values.seconds ?? 60);
  const { cases, acceptedXml, acceptedTak } = fuzz(seed, (done) => done % 100 !== 0 || performance.now() < endMs);
  const share = (part: number) => `${((100 * part) / cases).toFixed(1)} %`;
  console.log(
    `cot fuzz: seed ${seed}, ${cases} cases, accepted ${share(acceptedXml)} as XML, ${share(acceptedTak)} as TAK: no findings`,
  );
}
