// TAK protocol version 1: frames, the header of a TakMessage, and XML there and back.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { ProtocolError } from '../../src/lib/errors.ts';
import { scanCot, scanCotStrict } from '../../src/wire/cot.ts';
import { detailOf } from '../../src/wire/cot-write.ts';
import { ProtoWriter } from '../../src/wire/proto.ts';
import {
  frameMesh,
  frameTak,
  meshPayload,
  readTakControl,
  scanTak,
  TakFramer,
  takControlMessage,
  takFromXml,
  xmlFromTak,
} from '../../src/wire/tak.ts';
import { atakSa, CORPUS, iTakSa, plainEvent, winTakSa } from '../fixtures/events.ts';

const NOW = Date.UTC(2026, 10, 20, 14, 3, 21, 123);

// Made by protoc 3.21.12 from text, with src/wire/proto/takmessage.proto:
//   protoc --encode=atakmap.commoncommo.protobuf.v1.TakMessage takmessage.proto < TEXT | xxd -p

/**
 * cotEvent { type: "a-f-G-U-C" access: "Undefined" qos: "1-r-c" opex: "e-exercise" uid: "ANDROID-589520ccfcd20f01"
 *   sendTime: 1795183401123 startTime: 1795183401124 staleTime: 1795183776125 how: "m-g"
 *   lat: 48.12345678901234 lon: -24.567890123456 hae: 283.5 ce: 9.9 le: 9999999 caveat: "FOUO" releaseableTo: "USA"
 *   detail {
 *     xmlDetail: "<uid Droid=\"VIPER-21\"/><_flow-tags_ a=\"2026-11-20T14:03:21.200Z\"/>"
 *     contact { endpoint: "*:-1:stcp" callsign: "VIPER \320\251 & 21" }
 *     group { name: "Cyan" role: "Team Member" } precisionLocation { geopointsrc: "GPS" altsrc: "DTED2" }
 *     status { battery: 78 } takv { device: "SAMSUNG SM-G998B" platform: "ATAK-CIV" os: "34" version: "5.5.0.7" }
 *     track { speed: 1.5 course: 237.35250854492188 } } }
 */
const FULL = Buffer.from(
  '12e0020a09612d662d472d552d431209556e646566696e65641a05312d722d63220a652d65786572636973652a18414e44524f49442d353839353230' +
    '6363666364323066303130a3b193ca9f3438a4b193ca9f3440fda2aaca9f344a036d2d67517aa39b6ecd0f48405905f7433f619138c0610000000000' +
    'b8714069cdcccccccccc234071000000e0cf1263417ac6010a423c7569642044726f69643d2256495045522d3231222f3e3c5f666c6f772d74616773' +
    '5f20613d22323032362d31312d32305431343a30333a32312e3230305a222f3e121a0a092a3a2d313a73746370120d564950455220d0a92026203231' +
    '1a130a044379616e120b5465616d204d656d626572220c0a03475053120544544544322a02084e32290a1053414d53554e4720534d2d473939384212' +
    '084154414b2d4349561a0233342207352e352e302e373a1209000000000000f83f11000000c047ab6d40820104464f554f8a0103555341',
  'hex',
);

/** The same event as XML, with the typed elements in the order that xmlFromTak() writes. */
const FULL_XML =
  '<event version="2.0" uid="ANDROID-589520ccfcd20f01" type="a-f-G-U-C" time="2026-11-20T14:03:21.123Z"' +
  ' start="2026-11-20T14:03:21.124Z" stale="2026-11-20T14:09:36.125Z" how="m-g" access="Undefined" caveat="FOUO"' +
  ' releasableTo="USA" qos="1-r-c" opex="e-exercise">' +
  '<point lat="48.12345678901234" lon="-24.567890123456" hae="283.5" ce="9.9" le="9999999.0"/><detail>' +
  '<contact endpoint="*:-1:stcp" callsign="VIPER Щ &amp; 21"/><__group name="Cyan" role="Team Member"/>' +
  '<precisionlocation geopointsrc="GPS" altsrc="DTED2"/><status battery="78"/>' +
  '<takv device="SAMSUNG SM-G998B" platform="ATAK-CIV" os="34" version="5.5.0.7"/>' +
  '<track speed="1.5" course="237.35250854492188"/>' +
  '<uid Droid="VIPER-21"/><_flow-tags_ a="2026-11-20T14:03:21.200Z"/></detail></event>';

/** cotEvent { type: "t-x-c-t" uid: "x-ping" sendTime: 1000 staleTime: 11000 detail { status { } } } */
const MINIMAL = Buffer.from('121b0a07742d782d632d742a06782d70696e6730e80740f8557a022a00', 'hex');

/** takControl { minProtoVersion: 1 maxProtoVersion: 1 contactUid: "ANDROID-1" } */
const CONTROL = Buffer.from('0a0f080110011a09414e44524f49442d31', 'hex');

/**
 * takControl { maxProtoVersion: 3 } submissionTime: 5 creationTime: 6
 * cotEvent { type: "a-u-G" uid: "u" sendTime: 1000 startTime: 2000 staleTime: 9000 lat: 1 lon: 2
 *   detail { xmlDetail: "<contact callsign=\"XML\" phone=\"1\"/>" contact { callsign: "TYPED" endpoint: "e" }
 *     group { name: "Red" role: "HQ" } } }
 */
const BOTH = Buffer.from(
  '0a02100312630a05612d752d472a017530e80738d00f40a84651000000000000f03f5900000000000000407a3c0a233c636f6e746163742063616c6c' +
    '7369676e3d22584d4c222070686f6e653d2231222f3e120a0a0165120554595045441a090a035265641202485118052006',
  'hex',
);

const writer = new ProtoWriter();

/** A TakMessage with an event of these fields over good defaults. */
function message(fields: (w: ProtoWriter) => void): Buffer {
  writer.reset();
  writer.message(2, (w) => {
    w.string(1, 'a-u-G');
    w.string(5, 'u');
    w.int(6, NOW);
    w.int(8, NOW + 1000);
    fields(w);
  });
  return writer.finish();
}

/** A TakMessage whose detail has this XML and these typed fields. */
function detailed(xml: string | Buffer, typed: (w: ProtoWriter) => void = () => {}): Buffer {
  return message((w) =>
    w.message(15, () => {
      w.bytes(1, Buffer.from(xml as string));
      typed(w);
    }),
  );
}

/** The content of the detail after XML became TAK and XML again. */
function through(content: string): string {
  const xml = plainEvent(NOW, 'a-u-G', 'u', content);
  const tak = takFromXml(xml, scanCot(xml));
  assert.deepEqual(scanTak(tak), scanCot(xml), content);
  return detailOf(xmlFromTak(tak))
    .toString()
    .replace(/^<detail>|<\/detail>$/g, '');
}

/** The detail's XML as it stands in the TakMessage. */
function xmlDetailOf(content: string): string {
  const xml = plainEvent(NOW, 'a-u-G', 'u', content);
  const tak = takFromXml(xml, scanCot(xml)).toString('latin1');
  return content
    .split(/(?=<)/)
    .filter((part) => tak.includes(part))
    .join('');
}

suite('the schema', () => {
  test('every field, against protoc', () => {
    assert.deepEqual(scanTak(FULL), scanCot(Buffer.from(FULL_XML)));
    assert.equal(xmlFromTak(FULL).toString(), FULL_XML);
    assert.equal(takFromXml(Buffer.from(FULL_XML), scanTak(FULL)).toString('hex'), FULL.toString('hex'));
  });

  test('absent fields', () => {
    const said = scanTak(MINIMAL);
    assert.deepEqual([said.uid, said.type, said.how, said.timeMs, said.startMs], ['x-ping', 't-x-c-t', '', 1000, 1000]);
    assert.deepEqual([said.lat, said.callsign], [0, '']);
    assert.match(xmlFromTak(MINIMAL).toString(), /<detail><status battery="0"\/><\/detail>/);
    assert.match(xmlFromTak(message(() => {})).toString(), /<detail\/><\/event>$/);
  });

  test('an element that is typed and XML: the XML counts', () => {
    const said = scanTak(BOTH);
    assert.deepEqual([said.callsign, said.endpoint, said.team, said.role], ['XML', '', 'Red', 'HQ']);
    assert.deepEqual(scanCot(xmlFromTak(BOTH)), said);
    assert.equal(
      detailOf(xmlFromTak(BOTH)).toString(),
      '<detail><__group name="Red" role="HQ"/><contact callsign="XML" phone="1"/></detail>',
    );
  });

  test('control messages', () => {
    assert.deepEqual(readTakControl(CONTROL), { minVersion: 1, maxVersion: 1, contactUid: 'ANDROID-1' });
    assert.deepEqual(readTakControl(BOTH), { minVersion: 1, maxVersion: 3, contactUid: '' });
    assert.equal(readTakControl(FULL), undefined);
    const control = { minVersion: 1, maxVersion: 1, contactUid: 'ANDROID-1' };
    assert.equal(takControlMessage(control).toString('hex'), CONTROL.toString('hex'));
    assert.throws(() => scanTak(CONTROL), { code: 'no_event' });
  });

  test('fields in any order, repeated messages merged, the last scalar wins, unknown fields passed', () => {
    const tak = message((w) => {
      w.message(15, () => w.message(2, () => w.string(2, 'FIRST')));
      w.message(99, () => w.string(1, 'unknown'));
      w.int(98, 7);
      w.double(97, 7);
      w.int(1, 7);
      w.string(5, 'v');
      w.message(15, () => w.message(2, () => w.string(1, 'ep')));
    });
    const said = scanTak(Buffer.concat([tak, message((w) => w.string(9, 'h-e'))]));
    assert.deepEqual([said.uid, said.callsign, said.endpoint, said.how], ['u', 'FIRST', 'ep', 'h-e']);
    assert.equal(scanTak(tak).uid, 'v');
  });
});

suite('XML to TAK and back', () => {
  test('nothing is lost of the corpus', () => {
    for (const { name, xml } of CORPUS) {
      const bytes = xml(NOW);
      const said = scanCot(bytes);
      const tak = takFromXml(bytes, said);
      assert.deepEqual(scanTak(tak), said, name);
      const back = xmlFromTak(tak);
      assert.deepEqual(scanCot(back), said, name);
      assert.deepEqual(elements(back), elements(bytes), name);
      assert.equal(takFromXml(back, said).toString('hex'), tak.toString('hex'), name);
    }
  });

  test('an ordinary position is all typed but for <uid>', () => {
    const xml = atakSa(NOW);
    assert.match(takFromXml(xml, scanCot(xml)).toString('latin1'), /\x0a\x17<uid Droid="VIPER-21"\/>\x12/);
  });

  test('an element stays XML if its field cannot hold all of it', () => {
    const kept = [
      '<contact callsign="C" phone="1"/>',
      '<contact endpoint="e"/>',
      '<contact callsign="C" endpoint=""/>',
      '<contact callsign="C">x</contact>',
      '<contact callsign="C"><x/></contact>',
      '<__group name="n"/>',
      '<__group name="n" role="r" exrole="x"/>',
      '<group name="n" role="r"/>',
      '<precisionlocation geopointsrc="GPS"/>',
      '<status battery="78" readiness="true"/>',
      '<status readiness="true"/>',
      '<status battery="078"/>',
      '<status battery="-1"/>',
      '<status battery="7.5"/>',
      '<status battery="4294967296"/>',
      '<takv device="d" platform="p" os="o"/>',
      '<track speed="0" course="0.0"/>',
      '<track speed="0.10" course="0.0"/>',
      '<track speed="NaN" course="0.0"/>',
      '<track speed="1E-5" course="0.0"/>',
      '<track speed="-0.0" course="0.0"/>',
      '<track speed="0.0" course="0.0" slope="1"/>',
      '<track course="0.0"/>',
    ];
    for (const xml of kept) {
      assert.equal(xmlDetailOf(xml), xml);
      assert.equal(through(xml), xml);
    }
  });

  test('an element goes into its field if that holds all of it', () => {
    const typed = [
      '<contact callsign="C"/>',
      '<contact endpoint="e" callsign=""/>',
      '<contact endpoint="a&#10;b" callsign="&lt;&quot;ü&gt;"/>',
      '<__group name="" role=""/>',
      '<status battery="0"/>',
      '<status battery="4294967295"/>',
      '<takv device="" platform="" os="" version=""/>',
      '<track speed="0.0" course="359.9999"/>',
      '<track speed="-1.0" course="0.000001"/>',
    ];
    for (const xml of typed) {
      assert.equal(xmlDetailOf(xml), '');
      assert.equal(through(xml), xml);
    }
    assert.equal(through('<__group  role="r"\nname=\'n\' ></__group >'), '<__group name="n" role="r"/>');
  });

  test('of two elements with one name neither is typed', () => {
    const twice = '<contact callsign="1"/><status battery="1"/><contact callsign="2"/>';
    assert.equal(through(twice), '<status battery="1"/><contact callsign="1"/><contact callsign="2"/>');
  });

  test('what is not an element stays where it was', () => {
    assert.equal(
      through('a<status battery="1"/>b<!-- <contact/> --><![CDATA[x]]>'),
      '<status battery="1"/>ab<!-- <contact/> --><![CDATA[x]]>',
    );
    assert.equal(through('\n  <status battery="1"/>\n '), '<status battery="1"/>');
  });

  test('milliseconds, doubles and header attributes survive', () => {
    for (const xml of [winTakSa(NOW), iTakSa(NOW, { lat: 37.954121501941216, lon: -1e-7 }), Buffer.from(FULL_XML)]) {
      const said = scanCot(xml);
      assert.deepEqual(scanCot(xmlFromTak(takFromXml(xml, said))), said);
    }
  });

  test('many elements cost no more than their bytes', () => {
    // 2 * 20 000 elements that all but one name would have to be compared with each other: 10^9 steps if done in pairs.
    const xml = plainEvent(
      NOW,
      'a-u-G',
      'u',
      '<status battery="1"/>'.repeat(20_000) + '<track speed="0.0" course="0.0"/>'.repeat(20_000),
    );
    assert.ok(takFromXml(xml, scanCot(xml)).length > 20_000 * 21);
  });
});

suite('what is refused', () => {
  const refuses = (tak: Buffer, code: string) => {
    assert.throws(() => scanTak(tak), { name: 'ProtocolError', code });
    assert.throws(() => xmlFromTak(tak), { name: 'ProtocolError', code });
  };

  test('events without what every event has', () => {
    const only = (fields: (w: ProtoWriter) => void) => {
      writer.reset();
      writer.message(2, fields);
      return writer.finish();
    };
    refuses(
      only((w) => w.string(1, 't')),
      'missing_uid',
    );
    refuses(
      only((w) => w.string(5, 'u')),
      'missing_type',
    );
    refuses(
      message((w) => w.raw(Buffer.from([0x30, 0]))),
      'missing_time',
    );
    refuses(
      message((w) => w.raw(Buffer.from([0x40, 0]))),
      'missing_stale',
    );
    refuses(Buffer.alloc(0), 'no_event');
  });

  test('values that no event may hold', () => {
    refuses(
      message((w) => w.int(6, 253_402_300_800_000)),
      'bad_time',
    );
    refuses(
      message((w) => w.int(7, Number.MAX_SAFE_INTEGER)),
      'bad_time',
    );
    refuses(
      message((w) => w.double(10, 90.1)),
      'bad_point',
    );
    refuses(
      message((w) => w.double(11, Number.NaN)),
      'bad_point',
    );
    refuses(
      message((w) => w.double(12, Number.NEGATIVE_INFINITY)),
      'bad_point',
    );
    refuses(
      message((w) => w.string(5, 'u'.repeat(257))),
      'too_long',
    );
    refuses(
      message((w) => w.string(5, 'a\0b')),
      'bad_text',
    );
    refuses(
      message((w) => w.string(9, '\uffff')),
      'bad_text',
    );
    refuses(
      message((w) => w.bytes(5, Buffer.from([0xff]))),
      'bad_utf8',
    );
    refuses(
      detailed('', (w) => w.message(6, () => w.bytes(1, Buffer.from([0xc3])))),
      'bad_utf8',
    );
    refuses(detailed(Buffer.from([0x3c, 0x61, 0x2f, 0x3e, 0xff])), 'bad_utf8');
    assert.equal(scanTak(message((w) => w.double(12, Number.NaN))).hae, 9999999);
  });

  test('XML that is broken or would break out of the detail', () => {
    refuses(detailed('</detail></event><event uid="x"><detail>'), 'bad_xml');
    refuses(detailed('<x>'), 'bad_xml');
    refuses(detailed('<event></event>'), 'nested_event');
    refuses(detailed('<!-- </event> -->'), 'inner_end');
    refuses(detailed('<?xml version="1.0"?><x/>'), 'bad_xml');
    refuses(detailed('<!DOCTYPE x>'), 'dtd_refused');
    refuses(detailed('&x;'), 'bad_reference');
  });

  test('typed values that XML cannot hold are replaced where nobody reads them', () => {
    const tak = detailed('', (w) => {
      w.message(6, () => w.string(1, '"<\u0001'));
      w.message(7, () => w.double(1, Number.NaN));
      w.message(5, () => w.int(1, 2 ** 32 + 5));
    });
    scanTak(tak);
    const detail =
      '<status battery="5"/><takv device="&quot;&lt;\ufffd" platform="" os="" version=""/><track speed="NaN" course="0.0"/>';
    assert.equal(detailOf(xmlFromTak(tak)).toString(), `<detail>${detail}</detail>`);
  });

  test('messages cut off anywhere, and lengths that lie', () => {
    for (let end = 0; end < FULL.length; end++)
      assert.throws(() => scanTak(FULL.subarray(0, end)), ProtocolError, `${end}`);
    for (let at = 0; at < FULL.length; at++) {
      for (const byte of [0x00, 0x7f, 0x80, 0xff]) {
        const lying = Buffer.from(FULL);
        lying[at] = byte;
        agreeOnTak(lying);
      }
    }
    refuses(Buffer.from('12ffffffff0f00', 'hex'), 'proto_length');
    refuses(Buffer.from('128080', 'hex'), 'proto_truncated');
    refuses(Buffer.from('12ffffffffffffffffffff01', 'hex'), 'proto_varint');
    refuses(Buffer.from('120b0a09', 'hex'), 'proto_length');
  });
});

/** What scanTak() accepts can be written as XML that says the same; what it refuses, it refuses with ProtocolError. */
function agreeOnTak(tak: Buffer): void {
  let said: ReturnType<typeof scanTak>;
  try {
    said = scanTak(tak);
  } catch (error) {
    assert.ok(error instanceof ProtocolError, String(error));
    assert.throws(() => xmlFromTak(tak), ProtocolError);
    return;
  }
  const xml = xmlFromTak(tak);
  assert.deepEqual(scanCot(xml), said);
  assert.deepEqual(scanCotStrict(xml), said);
}

/** The elements of a detail, attributes sorted and numbers plain, in any order: what an XML reader makes of it. */
function elements(xml: Buffer): string[] {
  const tags =
    detailOf(xml)
      .toString()
      .match(/<[^!?/][^>]*?(?:"[^"]*"|'[^']*'|[^'">])*>/g) ?? [];
  const normal = (tag: string) => {
    const attributes = [...tag.matchAll(/([^\s=]+)\s*=\s*(?:"([^"]*)"|'([^']*)')/g)];
    return `${/^<[^\s/>]+/.exec(tag)} ${attributes
      .map(([, name, a, b]) => `${name}=${decoded(a ?? b ?? '')}`)
      .sort()
      .join(' ')}`;
  };
  return tags.map(normal).sort();
}

function decoded(value: string): string {
  const named: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };
  return value
    .replace(/&#x([0-9a-f]+);/gi, (_, hex) => String.fromCodePoint(Number.parseInt(hex, 16)))
    .replace(/&#(\d+);/g, (_, n) => String.fromCodePoint(Number(n)))
    .replace(/&(amp|lt|gt|quot|apos);/g, (_, name) => named[name]!);
}

suite('TakFramer', () => {
  const messages = [FULL, MINIMAL, CONTROL, Buffer.alloc(300, 0xbf), BOTH];
  const stream = Buffer.concat([
    ...messages.slice(0, 3).map(frameTak),
    Buffer.from([0, 0]),
    frameTak(messages[3]!),
    Buffer.from([0, 0xbf, 0]),
    frameTak(messages[4]!),
  ]);
  const hex = messages.map((bytes) => bytes.toString('hex'));

  function cut(chunks: Iterable<Buffer>, maxBytes = 1000): string[] {
    const framer = new TakFramer({ maxBytes });
    const payloads: Buffer[] = [];
    for (const chunk of chunks) framer.push(chunk, (payload) => payloads.push(payload));
    return payloads.map((payload) => payload.toString('hex'));
  }

  test('the whole stream, split at every byte, and in pieces of every size', () => {
    assert.deepEqual(cut([stream]), hex);
    for (let at = 0; at <= stream.length; at++) {
      assert.deepEqual(cut([stream.subarray(0, at), stream.subarray(at)]), hex, `split at ${at}`);
    }
    for (let size = 1; size < 60; size++) {
      const pieces = Array.from({ length: Math.ceil(stream.length / size) }, (_, i) =>
        stream.subarray(i * size, (i + 1) * size),
      );
      assert.deepEqual(cut(pieces), hex, `size ${size}`);
    }
  });

  test('stray bytes are counted, and too many of them refused', () => {
    const framer = new TakFramer({ maxBytes: 1000 });
    framer.push(stream, () => {});
    assert.equal(framer.skipped, 3);
    for (let i = 0; i < 200; i++) framer.push(Buffer.concat([frameTak(MINIMAL), Buffer.from([0])]), () => {});
    assert.equal(framer.skipped, 203, 'one after each frame is goatak, for ever');
    assert.throws(() => cut([Buffer.alloc(65)]), { code: 'not_tak' });
    assert.throws(() => cut([atakSa(NOW)]), { code: 'not_tak' });
    assert.deepEqual(cut([Buffer.alloc(64), frameTak(MINIMAL)]), [MINIMAL.toString('hex')]);
  });

  test('lengths up to the limit', () => {
    assert.equal(cut([frameTak(Buffer.alloc(1000))])[0]?.length, 2000);
    assert.throws(() => cut([frameTak(Buffer.alloc(1001))]), { code: 'too_large' });
    assert.throws(() => cut([Buffer.from('bfffffff7f', 'hex')]), { code: 'too_large' });
    assert.throws(() => cut([Buffer.from('bfffffffff01', 'hex')]), { code: 'bad_length' });
    assert.throws(() => cut([Buffer.from('bf', 'hex'), Buffer.from('ffffffff', 'hex')]), { code: 'bad_length' });
  });

  test('a payload in the chunk is not copied', () => {
    const frame = frameTak(FULL);
    new TakFramer({ maxBytes: 1000 }).push(frame, (payload) => assert.equal(payload.buffer, frame.buffer));
  });
});

suite('mesh datagrams', () => {
  test('there and back', () => {
    const datagram = frameMesh(FULL);
    assert.equal(datagram.subarray(0, 3).toString('hex'), 'bf01bf');
    assert.deepEqual(meshPayload(datagram), FULL);
  });

  test('XML, other versions, and neither', () => {
    assert.equal(meshPayload(atakSa(NOW)), undefined);
    assert.equal(meshPayload(Buffer.alloc(0)), undefined);
    assert.equal(meshPayload(Buffer.from([0xbf])), undefined);
    assert.equal(meshPayload(Buffer.from([0xbf, 1, 2, 3])), undefined);
    assert.throws(() => meshPayload(Buffer.from([0xbf, 2, 0xbf, 0])), { code: 'tak_version' });
    assert.throws(() => meshPayload(Buffer.from([0xbf, 0x81, 1, 0xbf])), { code: 'tak_version' });
  });
});
