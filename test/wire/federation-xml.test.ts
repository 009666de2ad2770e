import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SaxesParser } from 'saxes';
import { scanCot } from '../../src/wire/cot.ts';
import { scanFederated } from '../../src/wire/federation.ts';
import { federatedFromXml, xmlFromFederated } from '../../src/wire/federation-xml.ts';
import { lengthTag, ProtoReader, ProtoWriter, varintTag } from '../../src/wire/proto.ts';
import { CORPUS } from '../fixtures/events.ts';
import { EVENT } from './federation-golden.ts';

const NOW = Date.UTC(2026, 0, 1, 12, 0, 0, 123);
const iso = (ms: number) => new Date(ms).toISOString();

/** An event with this detail; `attributes` of <event> beside the usual ones. */
function xmlEvent(detail: string, attributes = ''): Buffer {
  return Buffer.from(
    `<event version="2.0" uid="U-1" type="a-f-G-U-C" how="m-g" time="${iso(NOW)}" start="${iso(NOW)}" ` +
      `stale="${iso(NOW + 60_000)}"${attributes}><point lat="1.5" lon="-2.25" hae="3" ce="4" le="9999999"/>${detail}</event>`,
  );
}

const toFed = (xml: Buffer) => federatedFromXml(xml, scanCot(xml));
const toXml = (fed: Buffer) => xmlFromFederated(fed, scanFederated(fed).event!);

/** The scalar and string fields of a GeoEvent by number; strings of repeated fields joined. */
function geo(fed: Buffer): Record<number, number | string> {
  const found: Record<number, number | string> = {};
  const reader = new ProtoReader(fed);
  assert.equal(reader.tag(), lengthTag(1));
  reader.enter();
  while (reader.more()) {
    const tag = reader.tag();
    const field = tag >>> 3;
    if ((tag & 7) === 0) found[field] = reader.int64();
    else if ((tag & 7) === 1) found[field] = reader.double();
    else found[field] = field in found ? `${found[field]},${reader.string()}` : reader.bytes().toString('latin1');
  }
  return found;
}

const other = (fed: Buffer) => Buffer.from(String(geo(fed)[12]), 'latin1').toString();

// --- XML to GeoEvent -----------------------------------------------------------------------------------------------------

test('every field of the mapping', () => {
  const image = Buffer.from([1, 2, 255, 0]);
  const fed = toFed(
    xmlEvent(
      '<detail><contact callsign="Jäger"/><status battery="87"/><precisionlocation geopointsrc="GPS" altsrc="DTED0"/>' +
        `<track speed="1.5" course="271.25"/><image type="b-i-x-i">${image.toString('base64')}</image>` +
        '<marti><dest uid="U-2"/><dest callsign="C &amp; D"/><dest mission="M"/></marti></detail>',
      ' access="Undefined" caveat="FOUO" releasableTo="NATO" qos="1-r-c" opex="e-x"',
    ),
  );
  const found = geo(fed);
  assert.equal(other(fed), '<detail><contact callsign="Jäger"/><image type="b-i-x-i"></image></detail>');
  delete found[12];
  assert.deepEqual(found, {
    1: NOW,
    2: NOW,
    3: NOW + 60_000,
    4: 1.5,
    5: -2.25,
    6: 3,
    7: 4,
    8: 9_999_999,
    9: 'U-1',
    10: 'a-f-G-U-C',
    11: 'm-g',
    13: 87,
    14: 'GPS',
    15: 'DTED0',
    20: 1.5,
    21: 271.25,
    22: '\x08\x02\x12\x04\x01\x02\xff\x00',
    23: 'U-2',
    24: 'C & D',
    26: 'M',
    27: 'Undefined',
    28: 'FOUO',
    29: 'NATO',
  });
});

test('an event without a detail gets an empty one, lest TAK lose the fields', () => {
  assert.equal(other(toFed(xmlEvent(''))), '<detail/>');
  assert.equal(other(toFed(xmlEvent('<detail/>'))), '<detail/>');
});

/** Detail, what of it must stay in `other`, and the fields that must be filled. */
const MOVES: readonly (readonly [string, string, Record<number, number | string>])[] = [
  ['<status battery="50" readiness="true"/>', '<status battery="50" readiness="true"/>', {}],
  ['<status readiness="true"/>', '<status readiness="true"/>', {}],
  ['<status battery="50" x="1"/>', '<status battery="50" x="1"/>', { 13: 50 }],
  ['<status battery="0"/>', '<status battery="0"/>', {}],
  ['<status battery="050"/>', '<status battery="050"/>', {}],
  ['<status battery="99999999999"/>', '<status battery="99999999999"/>', {}],
  ['<status battery="-3"/>', '', { 13: -3 }],
  ['<status battery="50"><x/></status>', '<status battery="50"><x/></status>', { 13: 50 }],
  ['<status battery="1"/><status battery="2"/>', '<status battery="1"/><status battery="2"/>', { 13: 1 }],
  ['<status battery="50"></status>', '', { 13: 50 }],
  ['<wrap><status battery="50"/></wrap>', '<wrap><status battery="50"/></wrap>', {}],
  ['<precisionlocation altsrc="GPS"/>', '<precisionlocation altsrc="GPS"/>', {}],
  ['<precisionlocation altsrc="" geopointsrc="A"/>', '<precisionlocation altsrc="" geopointsrc="A"/>', {}],
  [
    '<precisionlocation altsrc="A" geopointsrc="B" PRECISE_IMAGE_FILE="f"/>',
    '<precisionlocation altsrc="A" geopointsrc="B" PRECISE_IMAGE_FILE="f"/>',
    { 14: 'B', 15: 'A' },
  ],
  ['<track speed="1"/>', '<track speed="1"/>', {}],
  ['<track speed="fast" course="1"/>', '<track speed="fast" course="1"/>', {}],
  ['<track speed="0" course="0.0"/>', '', { 20: 0, 21: 0 }],
  ['<track speed="1" course="2" slope="3"/>', '<track speed="1" course="2" slope="3"/>', { 20: 1, 21: 2 }],
  ['<image>not base64!</image>', '<image>not base64!</image>', {}],
  ['<image>QUJ</image>', '<image>QUJ</image>', {}],
  ['<image>QUJD<x/></image>', '<image>QUJD<x/></image>', {}],
  ['<image/><image>QUJD</image>', '<image/><image>QUJD</image>', {}],
  ['<image>\n QUJD\r\nREVG </image>', '<image></image>', { 22: '\x08\x02\x12\x06ABCDEF' }],
  ['<marti/>', '<marti/>', {}],
  ['<marti><dest/></marti>', '<marti><dest/></marti>', {}],
  ['<marti> <dest uid="A"/>\n<dest uid="B"/></marti>', '', { 23: 'A,B' }],
  ['<marti><dest uid="A" path="p"/><dest uid="B"/></marti>', '<marti><dest uid="A" path="p"/></marti>', { 23: 'A,B' }],
  ['<marti><dest uid="A"/><!-- why --></marti>', '<marti><!-- why --></marti>', { 23: 'A' }],
  ['<marti a="b"><dest uid="A"/></marti>', '<marti a="b"></marti>', { 23: 'A' }],
  ['<marti><dest uid="A" callsign="B"/></marti>', '', { 23: 'A', 24: 'B' }],
  ['<marti><dest uid="A"/></marti><marti><dest uid="B"/></marti>', '', { 23: 'A,B' }],
  ['<dest uid="A"/>', '<dest uid="A"/>', {}],
];

test('an element is taken out only when its fields say all of it', () => {
  for (const [detail, stays, filled] of MOVES) {
    const fed = toFed(xmlEvent(`<detail>${detail}</detail>`));
    assert.equal(other(fed), `<detail>${stays}</detail>`, detail);
    const found = Object.entries(geo(fed)).filter(([field]) => Number(field) > 12);
    assert.deepEqual(Object.fromEntries(found), filled, detail);
  }
});

test('a course that is not a number stays one', () => {
  const fed = toFed(xmlEvent('<detail><track course="NaN" speed="0.5"/></detail>'));
  assert.ok(Number.isNaN(geo(fed)[21]));
  assert.match(toXml(fed).toString(), /<track course="NaN" speed="0.5"\/>/);
});

test('a disconnect becomes the deletion of a contact', () => {
  const xml = Buffer.from(
    xmlEvent('<detail><link uid="ANDROID-1" type="a-f-G-U-C" relation="p-p"/></detail>')
      .toString()
      .replace('type="a-f-G-U-C" how', 'type="t-x-d-d" how'),
  );
  const scan = scanFederated(toFed(xml));
  assert.equal(scan.event, undefined);
  assert.equal(scan.contact?.op, 'delete');
  assert.deepEqual(scan.contact?.contact, { uid: 'ANDROID-1', callsign: 'a-f-G-U-C' });
});

test('prolog and white space around the event do not count', () => {
  const bare = xmlEvent('<detail><track speed="1" course="2"/></detail>');
  const dressed = Buffer.concat([Buffer.from('\ufeff<?xml version="1.0"?>\n<!-- x -->'), bare, Buffer.from('\r\n')]);
  assert.ok(toFed(dressed).equals(toFed(bare)));
});

// --- GeoEvent to XML -----------------------------------------------------------------------------------------------------

test('an event that protoc wrote becomes XML with everything XML can hold', () => {
  assert.equal(
    toXml(EVENT.bytes).toString(),
    '<event version="2.0" uid="ANDROID-359975090666199" type="a-f-G-U-C" time="2026-01-01T00:00:00.123Z" ' +
      'start="2026-01-01T00:00:00.000Z" stale="2026-01-01T00:01:15.999Z" how="m-g" access="Undefined" caveat="FOUO" ' +
      'releasableTo="NATO"><point lat="48.137154" lon="-11.576124" hae="519.5" ce="4.25" le="9999999.0"/>' +
      '<detail><takv os="34" version="5.5"/><contact endpoint="*:-1:stcp" callsign="Jäger 1"/>' +
      '<__group role="Team Lead" name="Cyan"/><image type="b-i-x-i">AQL/</image><track course="271.25" speed="1.5"/>' +
      '<status battery="87"/><precisionlocation altsrc="DTED0" geopointsrc="GPS"/><marti><dest uid="U-1"/>' +
      '<dest uid="U-2"/><dest callsign="C-1"/><dest mission="M-1"/></marti></detail></event>',
  );
});

/** A FederatedEvent with the least event, this `other`, and what `more` adds. */
function fedEvent(detail: string, more: (writer: ProtoWriter) => void = () => {}): Buffer {
  const writer = new ProtoWriter();
  writer.message(1, () => {
    for (const field of [1, 2, 3]) writer.int(field, NOW);
    writer.string(9, 'U-1');
    writer.string(10, 'a-f-G');
    writer.string(12, detail);
    more(writer);
  });
  return writer.finish();
}

const detailXml = (fed: Buffer) => /<detail.*<\/event>/s.exec(toXml(fed).toString())?.[0].slice(0, -'</event>'.length);

test('nothing appears in XML that was not there', () => {
  assert.equal(detailXml(fedEvent('')), '<detail/>');
  assert.equal(detailXml(fedEvent('<detail/>')), '<detail/>');
  assert.equal(detailXml(fedEvent(' <detail a="b"></detail>\n')), '<detail a="b"></detail>\n');
});

test('what stands in the detail is not said again', () => {
  const fields = (writer: ProtoWriter) => {
    writer.int(13, 50);
    writer.string(14, 'GPS');
    writer.string(15, 'GPS');
    writer.double(20, 1);
    writer.double(21, 2);
    writer.string(23, 'A');
    writer.string(24, 'B & C');
  };
  const full =
    '<detail><status battery="1"/><precisionlocation/><track x="y"/><marti><dest uid="A"/><dest callsign="B &amp; C"/></marti></detail>';
  assert.equal(detailXml(fedEvent(full, fields)), full);
  assert.equal(
    detailXml(fedEvent('<detail><marti><dest uid="A" path="p"/></marti></detail>', (writer) => fields(writer)))?.match(
      /<marti>.*<\/marti>/,
    )?.[0],
    '<marti><dest uid="A" path="p"/><dest callsign="B &amp; C"/></marti>',
  );
  assert.equal(
    detailXml(fedEvent('<detail><marti/></detail>', (writer) => writer.string(26, 'M'))),
    '<detail><marti><dest mission="M"/></marti></detail>',
  );
});

test('half of a pair of fields is still said', () => {
  assert.equal(
    detailXml(fedEvent('<detail/>', (writer) => writer.double(21, 90))),
    '<detail><track course="90.0" speed="0.0"/></detail>',
  );
  assert.equal(
    detailXml(fedEvent('<detail/>', (writer) => writer.string(14, 'a"b'))),
    '<detail><precisionlocation geopointsrc="a&quot;b"/></detail>',
  );
});

test('an image goes into the element that waits for it, however it is written', () => {
  const image = (writer: ProtoWriter) =>
    writer.message(22, () => {
      writer.int(1, 2);
      writer.bytes(2, Buffer.from('ABC'));
    });
  assert.equal(
    detailXml(fedEvent('<detail><image a="b"/></detail>', image)),
    '<detail><image a="b">QUJD</image></detail>',
  );
  assert.equal(detailXml(fedEvent('<detail><image></image></detail>', image)), '<detail><image>QUJD</image></detail>');
  assert.equal(detailXml(fedEvent('<detail><image>x</image></detail>', image)), '<detail><image>x</image></detail>');
  assert.equal(detailXml(fedEvent('<detail/>', image)), '<detail/>');
  const blob = (writer: ProtoWriter) => writer.message(22, () => writer.bytes(2, Buffer.from('ABC')));
  assert.equal(detailXml(fedEvent('<detail><image/></detail>', blob)), '<detail><image/></detail>');
});

test('negative battery and odd tags survive protobuf', () => {
  assert.match(detailXml(fedEvent('<detail/>', (writer) => writer.int(13, -3))) ?? '', /battery="-3"/);
  const reader = new ProtoReader(fedEvent('<detail/>', (writer) => writer.int(13, -3)));
  reader.tag();
  reader.enter();
  let battery: number | undefined;
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === varintTag(13)) battery = reader.int64();
    else reader.skip(tag);
  }
  assert.equal(battery, -3);
});

// --- there and back --------------------------------------------------------------------------------------------------------

interface Node {
  readonly name: string;
  readonly attributes: Record<string, string>;
  readonly children: Node[];
  text: string;
}

function parse(xml: Buffer): Node {
  const root: Node = { name: '', attributes: {}, children: [], text: '' };
  const open = [root];
  const parser = new SaxesParser();
  parser.on('opentag', (tag) => {
    const node: Node = {
      name: tag.name,
      attributes: { ...tag.attributes } as Record<string, string>,
      children: [],
      text: '',
    };
    open.at(-1)!.children.push(node);
    open.push(node);
  });
  parser.on('closetag', () => open.pop());
  const addText = (text: string) => {
    open.at(-1)!.text += text;
  };
  parser.on('text', addText);
  parser.on('cdata', addText);
  parser.on('comment', (text) => addText(`<!--${text}-->`));
  parser.on('error', (error) => assert.fail(error));
  parser.write(xml.toString()).close();
  return root.children[0]!;
}

/** What of an event must be the same after the way through GeoEvent: everything but spelling, order, qos and opex. */
function meaning(xml: Buffer): unknown {
  const event = parse(xml);
  const { version, qos, opex, ...attributes } = event.attributes;
  for (const name of ['access', 'caveat', 'releasableTo']) if (attributes[name] === '') delete attributes[name];
  for (const name of ['time', 'start', 'stale']) delete attributes[name];
  const { timeMs, startMs, staleMs, lat, lon, hae, ce, le } = scanCot(xml);
  const detail = event.children.find((child) => child.name === 'detail');
  const marti = detail?.children.filter((child) => child.name === 'marti') ?? [];
  return {
    attributes,
    header: { timeMs, startMs, staleMs, lat, lon, hae, ce, le },
    detail: detail?.attributes ?? {},
    text: detail?.text.trim() ?? '',
    children: (detail?.children ?? [])
      .filter((child) => child.name !== 'marti')
      .map(childMeaning)
      .sort(),
    dests: marti
      .flatMap((element) => element.children)
      .flatMap(destMeaning)
      .filter(unique)
      .sort(),
  };
}

function childMeaning(child: Node): string {
  const attributes = { ...child.attributes };
  if (child.name === 'track') {
    for (const name of ['speed', 'course'])
      if (attributes[name] !== undefined) attributes[name] = plain(attributes[name]);
  }
  const text = child.name === 'image' ? child.text.replace(/\s/g, '') : child.text;
  const sorted = Object.entries(attributes).sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify([child.name, sorted, text, child.children]);
}

function plain(number: string): string {
  return /^(NaN|[-+.\deE]+)$/.test(number) && number !== '' ? String(Number(number)) : number;
}

/** Its address parts, each for itself, and the whole when there is more to it. */
function destMeaning(dest: Node): string[] {
  const { uid, callsign, mission, ...more } = dest.attributes;
  const parts = Object.entries({ uid, callsign, mission }).filter(([, value]) => value);
  const whole = Object.keys(more).length > 0 || dest.children.length > 0 || parts.length === 0;
  return [...parts.map(([name, value]) => `${name}=${value}`), ...(whole ? [JSON.stringify(dest)] : [])];
}

function unique(value: string, index: number, all: readonly string[]): boolean {
  return all.indexOf(value) === index;
}

function assertSurvives(xml: Buffer, name: string): void {
  const fed = toFed(xml);
  const scan = scanFederated(fed);
  const header = scanCot(xml);
  assert.deepEqual(
    { ...scan.event, destUids: [], destCallsigns: [], destMissions: [] },
    { ...header, destUids: [], destCallsigns: [], destMissions: [] },
    name,
  );
  const back = toXml(fed);
  assert.deepEqual(meaning(back), meaning(xml), name);
  for (const list of ['destUids', 'destCallsigns', 'destMissions'] as const) {
    assert.deepEqual(new Set(scanCot(back)[list]), new Set(header[list]), name);
  }
  assert.deepEqual(meaning(toXml(toFed(back))), meaning(back), `${name}, twice`);
}

test('the events of the corpus lose nothing on the way there and back', () => {
  let checked = 0;
  for (const { name, xml } of CORPUS) {
    const bytes = xml(NOW);
    if (scanCot(bytes).type === 't-x-d-d') continue;
    assertSurvives(bytes, name);
    checked++;
  }
  assert.ok(checked >= 15, `${checked} events`);
});

test('all the special cases lose nothing on the way there and back', () => {
  for (const [detail] of MOVES) {
    assertSurvives(xmlEvent(`<detail>${detail}</detail>`, ' access="x" qos="1-r-c"'), detail);
    assertSurvives(xmlEvent(`<detail a="b">text ${detail}<remarks>&lt;marti/></remarks></detail>`), detail);
  }
});

test('combinations of them lose nothing either', () => {
  let state = 20_261_120;
  const random = (below: number) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  const extras = [
    '<contact callsign="A"/>',
    ' ',
    '<!-- x -->',
    '<remarks><![CDATA[<track/>]]></remarks>',
    '<_flow-tags_ a="b"/>',
  ];
  for (let round = 0; round < 1500; round++) {
    let detail = '';
    for (let parts = random(6); parts > 0; parts--) {
      detail += random(3) === 0 ? extras[random(extras.length)] : MOVES[random(MOVES.length)]![0];
    }
    assertSurvives(xmlEvent(`<detail>${detail}</detail>`), detail);
  }
});
