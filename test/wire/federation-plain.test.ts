// FederatedEvents by the first schema. The bytes are protoc's, from test/support/peers/legacy/fts.proto:
//   protoc -Itest/support/peers/legacy --encode=com.atakmap.FederatedEvent fts.proto < text | xxd -p
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { scanCot } from '../../src/wire/cot.ts';
import { scanFederated } from '../../src/wire/federation.ts';
import { plainContact, plainFederated, shiftFederated } from '../../src/wire/federation-plain.ts';
import { xmlFromFederated } from '../../src/wire/federation-xml.ts';
import { CORPUS } from '../fixtures/events.ts';
import { EVENT } from './federation-golden.ts';

/*
event {
  sendTime: 1767225600123 startTime: 1767225600000 staleTime: 1767225675999
  lat: 48.137154 lon: -11.576124 hae: 519.5 ce: 4.25 le: 9999999
  uid: "ANDROID-359975090666199" type: "a-f-G-U-C" coordSource: "m-g"
  other: "<detail><contact callsign=\"J\303\244ger 1\" endpoint=\"*:-1:stcp\"/><status battery=\"87\"/><track course=\"271.25\" speed=\"1.5\"/><precisionlocation altsrc=\"DTED0\" geopointsrc=\"GPS\"/></detail>"
  ptpUids: "U-1" ptpCallsigns: "C-1"
}
contact { operation: CREATE uid: "ANDROID-359975090666199" callsign: "J\303\244ger 1" }
*/
const BOTH = Buffer.from(
  '0aad0208fbd0eab6b7331080d0eab6b73318dfa1efb6b73321ff4124438e11484029a4e194b9f92627c03100000000003c80403900000000' +
    '0000114041000000e0cf1263414a17414e44524f49442d3335393937353039303636363139395209612d662d472d552d435a036d2d6762b3' +
    '013c64657461696c3e3c636f6e746163742063616c6c7369676e3d224ac3a467657220312220656e64706f696e743d222a3a2d313a737463' +
    '70222f3e3c73746174757320626174746572793d223837222f3e3c747261636b20636f757273653d223237312e3235222073706565643d22' +
    '312e35222f3e3c707265636973696f6e6c6f636174696f6e20616c747372633d224454454430222067656f706f696e747372633d22475053' +
    '222f3e3c2f64657461696c3eba0103552d31c20103432d31122508011217414e44524f49442d3335393937353039303636363139391a084a' +
    'c3a46765722031',
  'hex',
);

/*
event {
  sendTime: 1767218400123 startTime: 1767218400000 staleTime: 1767218475999  (and two hours later)
  lat: 48.137154 lon: -11.576124
  uid: "U" type: "a-f-G-U-C" coordSource: "m-g" other: "<detail/>"
}
federateGroups: "Blue"
*/
const EARLY = Buffer.from(
  '0a4508fb96b3b3b733108096b3b3b73318dfe7b7b3b73321ff4124438e11484029a4e194b9f92627c04a01555209612d662d472d552d435a' +
    '036d2d6762093c64657461696c2f3e1a04426c7565',
  'hex',
);
const LATE = Buffer.from(
  '0a4508fbd0eab6b7331080d0eab6b73318dfa1efb6b73321ff4124438e11484029a4e194b9f92627c04a01555209612d662d472d552d435a' +
    '036d2d6762093c64657461696c2f3e1a04426c7565',
  'hex',
);

const DETAIL =
  '<contact callsign="Jäger 1" endpoint="*:-1:stcp"/><status battery="87"/><track course="271.25" speed="1.5"/>' +
  '<precisionlocation altsrc="DTED0" geopointsrc="GPS"/>';
const XML = Buffer.from(
  '<?xml version="1.0"?><event version="2.0" uid="ANDROID-359975090666199" type="a-f-G-U-C" how="m-g" ' +
    'time="2026-01-01T00:00:00.123Z" start="2026-01-01T00:00:00.000Z" stale="2026-01-01T00:01:15.999Z">' +
    `<point lat="48.137154" lon="-11.576124" hae="519.5" ce="4.25" le="9999999.0"/><detail>${DETAIL}` +
    '<marti><dest uid="U-1"/><dest callsign="C-1"/></marti></detail></event>',
);

test('an event goes with its whole detail as XML, its contact beside it, as protoc writes it', () => {
  const event = scanCot(XML);
  assert.deepEqual(plainFederated(XML, event, { uid: event.uid, callsign: 'Jäger 1' }), BOTH);
});

test('times are those of the header given, not those of the XML', () => {
  const event = scanCot(XML);
  const early = scanFederated(plainFederated(XML, { ...event, timeMs: event.timeMs - 7_200_000 })).event!;
  assert.equal(early.timeMs, event.timeMs - 7_200_000);
  assert.equal(early.staleMs, event.staleMs);
});

test('every event of the corpus comes back from it as XML that says the same', () => {
  const nowMs = Date.UTC(2026, 0, 1, 12);
  for (const { name, xml } of CORPUS) {
    const source = xml(nowMs);
    const event = scanCot(source);
    if (event.type === 't-x-d-d') continue;
    const fed = plainFederated(source, event);
    const { flowTags: _, ...got } = scanCot(xmlFromFederated(fed, scanFederated(fed).event!));
    const { flowTags: __, ...sent } = event;
    assert.deepEqual(got, sent, name);
  }
});

test('a leave and a change of a contact are what the first schema knows', () => {
  const contact = { uid: 'U', callsign: 'C' };
  assert.equal(scanFederated(plainContact('update', contact)).contact?.op, 'create');
  assert.equal(scanFederated(plainContact('delete', contact)).contact?.op, 'delete');
  const leave = Buffer.from(
    '<event version="2.0" uid="x" type="t-x-d-d" how="h-g-i-g-o" time="2026-01-01T00:00:00Z" start="2026-01-01T00:00:00Z" ' +
      'stale="2026-01-01T00:01:00Z"><point lat="0" lon="0" hae="0" ce="1" le="1"/><detail><link uid="U" type="a-f-G" relation="p-p"/>' +
      '</detail></event>',
  );
  const { contact: gone, event } = scanFederated(plainFederated(leave, scanCot(leave)));
  assert.deepEqual([gone?.op, gone?.contact.uid, event], ['delete', 'U', undefined]);
});

test('moved times are what protoc writes for them, and nothing else changes', () => {
  assert.deepEqual(shiftFederated(EARLY, 7_200_000), LATE);
  assert.deepEqual(shiftFederated(LATE, -7_200_000), EARLY);
});

test('fields of later schemas survive the move', () => {
  const there = shiftFederated(EVENT.bytes, 3_600_000);
  assert.equal(scanFederated(there).event!.timeMs, scanFederated(EVENT.bytes).event!.timeMs + 3_600_000);
  assert.deepEqual(shiftFederated(there, -3_600_000), EVENT.bytes);
});

test('a time that was overruled may be beyond all reason', () => {
  // sendTime -1, then the real one, in a second GeoEvent that protobuf merges with the first.
  const twice = Buffer.concat([Buffer.from('0a0b08ffffffffffffffffff01', 'hex'), EARLY]);
  const huge = Buffer.concat([Buffer.from('0a0a08ffffffffffffffff7f', 'hex'), EARLY]);
  for (const bytes of [twice, huge]) {
    const { timeMs } = scanFederated(bytes).event!;
    assert.equal(scanFederated(shiftFederated(bytes, 900_000)).event!.timeMs, timeMs + 900_000);
  }
});
