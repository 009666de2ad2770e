// Cutting a stream into events, however it was split.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { ProtocolError } from '../../src/lib/errors.ts';
import { CotFramer } from '../../src/wire/cot.ts';
import { atakSa, CORPUS, geoChat, iTakSa, winTakSa } from '../fixtures/events.ts';

const NOW = Date.UTC(2026, 10, 20);
const MAX = 64 * 1024;

interface Cut {
  readonly kind: string;
  readonly text: string;
}

/** The frames of a stream that arrives in these chunks. They are read at the end: nothing may have been written over. */
function cut(chunks: Iterable<Buffer>, maxBytes = MAX): Cut[] {
  const framer = new CotFramer({ maxBytes });
  const frames: { frame: Buffer; kind: string }[] = [];
  for (const chunk of chunks) {
    // A socket may use its memory again.
    const memory = Buffer.from(chunk);
    framer.push(memory, (frame, kind) =>
      frames.push({ frame: within(frame, memory) ? Buffer.from(frame) : frame, kind }),
    );
    memory.fill(0x58);
  }
  return frames.map(({ frame, kind }) => ({ kind, text: frame.toString() }));
}

function within(frame: Buffer, memory: Buffer): boolean {
  return frame.buffer === memory.buffer;
}

function* bytewise(stream: Buffer, size = 1): Generator<Buffer> {
  for (let at = 0; at < stream.length; at += size) yield stream.subarray(at, at + size);
}

const texts = (cuts: readonly Cut[]) => cuts.map(({ text }) => text);

/** What the frame of an event in the corpus is: the event without what stands before it. */
const bare = (xml: Buffer) => xml.toString().replace(/^<\?.*?\?>\s*/s, '');

suite('CotFramer', () => {
  const auth = '<auth><cot username="a>b" password="x"/></auth>';
  const events = [atakSa(NOW), winTakSa(NOW), iTakSa(NOW), geoChat(NOW)];
  const stream = Buffer.concat([
    Buffer.from(`\ufeff${auth}\n<!-- hello <event> -->`),
    events[0]!,
    events[1]!,
    Buffer.from("\0\r\n \ufeff<event uid='/>' /><?pi <event?>"),
    events[2]!,
    events[3]!,
    Buffer.from('\n'),
  ]);
  const expected: Cut[] = [
    { kind: 'auth', text: auth },
    { kind: 'event', text: bare(events[0]!) },
    { kind: 'event', text: bare(events[1]!) },
    { kind: 'event', text: "<event uid='/>' />" },
    { kind: 'event', text: bare(events[2]!) },
    { kind: 'event', text: bare(events[3]!) },
  ];

  test('the whole stream at once', () => {
    assert.deepEqual(cut([stream]), expected);
  });

  test('split at every byte', () => {
    for (let at = 0; at <= stream.length; at++) {
      assert.deepEqual(cut([stream.subarray(0, at), stream.subarray(at)]), expected, `split at ${at}`);
    }
  });

  test('in pieces of every size', () => {
    for (let size = 1; size < 100; size++) assert.deepEqual(cut(bytewise(stream, size)), expected, `size ${size}`);
  });

  test('the corpus, one after the other', () => {
    const all = CORPUS.map(({ xml }) => xml(NOW));
    assert.deepEqual(texts(cut([Buffer.concat(all)])), all.map(bare));
  });

  test('frames that lie in the chunk are not copied', () => {
    const chunk = Buffer.concat(events);
    new CotFramer({ maxBytes: MAX }).push(chunk, (frame) => assert.ok(within(frame, chunk)));
  });

  test('an event that is not complete is not emitted', () => {
    assert.deepEqual(cut([stream.subarray(0, stream.length - 2)]).length, expected.length - 1);
    assert.deepEqual(cut([Buffer.from('<event>')]), []);
    assert.deepEqual(cut([Buffer.from('<event')]), []);
    assert.deepEqual(cut([Buffer.from('<event uid="a/>')]), []);
    assert.deepEqual(cut([]), []);
    assert.deepEqual(cut([Buffer.alloc(0)]), []);
  });

  test('cuts at the literal, as every receiver does', () => {
    const text = '<event><!-- </event> --></event>';
    assert.throws(() => cut([Buffer.from(text)]), { code: 'not_xml' });
    assert.deepEqual(texts(cut([Buffer.from('<event>a</event ></event><event>b</event>')])), [
      '<event>a</event ></event>',
      '<event>b</event>',
    ]);
  });

  test('a start tag with a quote too many costs no other event', () => {
    const broken = '<event uid="a" how="><point/></event>';
    assert.deepEqual(texts(cut([Buffer.from(`${broken}<event>b</event>`)])), [broken, '<event>b</event>']);
  });

  test('what is not CoT', () => {
    const refused: [string, string][] = [
      ['GET / HTTP/1.1\r\n\r\n', 'not_xml'],
      ['\x16\x03\x01\x02\x00\x01\x00', 'not_xml'],
      ['{"a":1}', 'not_xml'],
      ['<html><body>', 'not_event'],
      ['<events></events>', 'not_event'],
      ['<authx></authx>', 'not_event'],
      ['</event>', 'not_event'],
      ['<!DOCTYPE event>', 'dtd_refused'],
      ['<!ENTITY x "y">', 'dtd_refused'],
      ['<event></event>x', 'not_xml'],
    ];
    for (const [text, code] of refused) {
      assert.throws(() => cut([Buffer.from(text, 'latin1')]), { name: 'ProtocolError', code }, text);
      assert.throws(() => cut(bytewise(Buffer.from(text, 'latin1'))), { code }, text);
    }
    const bytes = Buffer.from([0xbf, 0x01, 0xbf, 0xef, 0xbb, 0x3c, 0xef]);
    assert.throws(() => cut([bytes]), { code: 'not_xml' });
    assert.throws(() => cut([bytes.subarray(3)]), { code: 'not_xml' });
  });

  test('events up to the limit and not a byte more', () => {
    const sized = (bytes: number) => Buffer.from(`<event>${'x'.repeat(bytes - 15)}</event>`);
    for (const chunks of [(b: Buffer) => [b], (b: Buffer) => bytewise(b, 7)]) {
      assert.equal(cut(chunks(Buffer.concat([sized(1000), sized(1000)])), 1000).length, 2);
      assert.throws(() => cut(chunks(sized(1001)), 1000), { code: 'too_large' });
    }
  });

  test('whatever never ends is refused at the limit', () => {
    for (const begin of ['<event ', '<event a="', '<event>', '<?xml ', '<!-- ', '<auth>']) {
      const framer = new CotFramer({ maxBytes: 1000 });
      const filler = Buffer.from(' '.repeat(100));
      framer.push(Buffer.from(begin), () => assert.fail());
      assert.throws(
        () => {
          for (let pushed = 0; pushed < 2000; pushed += filler.length) framer.push(filler, () => assert.fail());
        },
        { code: 'too_large' },
        begin,
      );
    }
  });

  test('white space between events has no limit', () => {
    const framer = new CotFramer({ maxBytes: 100 });
    const frames: string[] = [];
    for (let i = 0; i < 100; i++) framer.push(Buffer.alloc(1000, ' \0\n'), () => assert.fail());
    framer.push(Buffer.from('<event></event>'), (frame) => frames.push(String(frame)));
    assert.deepEqual(frames, ['<event></event>']);
  });

  test('a large event in tiny pieces is looked at once', () => {
    // 1 MiB bytewise: a framer that starts over with each piece would look at 5 * 10^11 bytes.
    const size = 1024 * 1024;
    const framer = new CotFramer({ maxBytes: 2 * size });
    let length = 0;
    framer.push(Buffer.from('<event>'), () => assert.fail());
    const piece = Buffer.from('<');
    for (let i = 0; i < size; i++) framer.push(piece, () => assert.fail());
    framer.push(Buffer.from('</event>'), (frame) => {
      length = frame.length;
    });
    assert.equal(length, size + 15);
  });

  test('only ProtocolError for any bytes', () => {
    let state = 7;
    const random = () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return state / 2 ** 32;
    };
    const alphabet = [
      '<event',
      '>',
      '</event>',
      '<auth',
      '</auth>',
      '/',
      ' ',
      '"',
      "'",
      '<?',
      '?>',
      '<!--',
      '-->',
      '\0',
      '\ufeff',
      'x',
    ];
    for (let run = 0; run < 3000; run++) {
      const text = Array.from({ length: 30 }, () => alphabet[Math.floor(random() * alphabet.length)]).join('');
      const bytes = Buffer.from(`<event${random() < 0.5 ? '>' : ' '}${text}`);
      assert.deepEqual(outcome(bytewise(bytes)), outcome([bytes]), text);
    }
  });
});

/** The frames, and the code of the error if it came to one. */
function outcome(chunks: Iterable<Buffer>): unknown {
  const frames: string[] = [];
  try {
    const framer = new CotFramer({ maxBytes: MAX });
    for (const chunk of chunks) framer.push(chunk, (frame, kind) => frames.push(`${kind} ${frame}`));
  } catch (error) {
    assert.ok(error instanceof ProtocolError, String(error));
    frames.push(error.code);
  }
  return frames;
}
