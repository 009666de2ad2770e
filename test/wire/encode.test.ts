import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CotEvent, Envelope, Message, Wire, WireFormat } from '../../src/core/message.ts';
import { scanCot } from '../../src/wire/cot.ts';
import { asFederated, asRol, asTak, asXml, memo } from '../../src/wire/encode.ts';
import { contactFederated, scanFederated, scanRol } from '../../src/wire/federation.ts';
import { scanTak } from '../../src/wire/tak.ts';
import { atakSa, CORPUS, disconnect } from '../fixtures/events.ts';
import { EVENT, ROL } from './federation-golden.ts';

const NOW = Date.UTC(2026, 0, 1, 12, 0, 0, 123);
const SELF = { id: 'relay-1', name: 'Relay' };

function envelope(message: Message, wire: Wire | undefined, more: Partial<Envelope> = {}): Envelope {
  return {
    seq: 1,
    message,
    wire,
    from: 'peer',
    receivedWallMs: NOW,
    receivedMs: 0,
    expiresMs: Number.POSITIVE_INFINITY,
    groups: ['Blue'],
    provenance: [],
    hops: { max: -1, current: 0 },
    lane: 2,
    conflate: '',
    encodings: undefined,
    ...more,
  };
}

function eventIn(format: WireFormat, bytes: Buffer, event: CotEvent, more: Partial<Envelope> = {}): Envelope {
  return envelope({ kind: 'event', event }, { format, bytes }, more);
}

/** How an event looks on each wire, and how that wire is read. */
const WIRES = {
  xml: { encode: asXml, scan: scanCot },
  tak: { encode: asTak, scan: scanTak },
  fed: {
    encode: (of: Envelope) => asFederated(of, of.groups, SELF),
    scan: (bytes: Buffer) => scanFederated(bytes).event!,
  },
} as const;
type EventWire = keyof typeof WIRES;
const FORMATS = Object.keys(WIRES) as EventWire[];

test('every event leaves by every wire as what it came by every other', () => {
  for (const { name, xml } of CORPUS) {
    const source = xml(NOW);
    const header = scanCot(source);
    // A federate hears of a disconnect as a contact.
    if (header.type === 't-x-d-d') continue;
    for (const inbound of FORMATS) {
      const bytes = WIRES[inbound].encode(eventIn('xml', source, header));
      const event = WIRES[inbound].scan(bytes);
      assert.deepEqual(event, header, `${name}: xml to ${inbound}`);
      const received = eventIn(inbound, bytes, event);
      for (const outbound of FORMATS) {
        const sent = WIRES[outbound].scan(WIRES[outbound].encode(received));
        assert.deepEqual(sent, header, `${name}: ${inbound} to ${outbound}`);
      }
    }
  }
});

test('what came by a wire leaves by the same wire as it came', () => {
  const xml = atakSa(NOW);
  const tak = asTak(eventIn('xml', xml, scanCot(xml)));
  assert.equal(asXml(eventIn('xml', xml, scanCot(xml))), xml);
  assert.equal(asTak(eventIn('tak', tak, scanTak(tak))), tak);
});

test('every form is made once', () => {
  const xml = atakSa(NOW);
  const from = eventIn('xml', xml, scanCot(xml));
  assert.equal(asTak(from), asTak(from));
  assert.equal(asFederated(from, from.groups, SELF), asFederated(from, from.groups, SELF));
  const narrow = asFederated(from, ['Red'], SELF);
  assert.equal(asFederated(from, ['Red'], SELF), narrow, 'the same groups, another array');
  const fed = eventIn('fed', narrow, scanFederated(narrow).event!);
  assert.equal(asXml(fed), asXml(fed));
  const rol = envelope({ kind: 'mission', summary: 'create mission' }, { format: 'rol', bytes: ROL.bytes });
  assert.equal(asRol(rol, rol.groups, SELF), asRol(rol, rol.groups, SELF));
  let made = 0;
  const make = () => Buffer.from([++made]);
  assert.equal(memo(from, 'frame', make), memo(from, 'frame', make));
  assert.equal(made, 1);
});

test('only what was encoded latest is kept; what is let go of is made again, the same', () => {
  const xml = atakSa(NOW);
  const encoded = Array.from({ length: 300 }, () => {
    const from = eventIn('xml', xml, scanCot(xml));
    return { from, tak: asTak(from) };
  });
  const kept = () => encoded.filter(({ from }) => from.encodings).length;
  assert.equal(kept(), 256);
  assert.equal(
    encoded.findIndex(({ from }) => from.encodings),
    44,
  );
  const [{ from, tak }] = encoded as [(typeof encoded)[0]];
  const again = asTak(from);
  assert.ok(again.equals(tak) && again !== tak);
  assert.equal(kept(), 256, 'as many as before, with this one');
  assert.equal(asTak(from), again);
});

test('large ones are kept for fewer, the latest always', () => {
  const xml = atakSa(NOW);
  const megabyte = Buffer.alloc(1 << 20);
  const [one, two, three] = [1, 2, 3].map(() => eventIn('xml', xml, scanCot(xml))) as [Envelope, Envelope, Envelope];
  for (const from of [one, two]) memo(from, 'frame', () => megabyte);
  memo(two, 'another', () => megabyte);
  assert.deepEqual([sizeOf(one), sizeOf(two)], [0, 2]);
  memo(three, 'frame', () => Buffer.alloc(1));
  assert.deepEqual([sizeOf(two), sizeOf(three)], [0, 1]);
});

test('no peer is shown the groups of another', () => {
  const xml = atakSa(NOW);
  const from = eventIn('xml', xml, scanCot(xml), { groups: ['Blue', 'Red'] });
  const shown = (groups: readonly string[]) => scanFederated(asFederated(from, groups, SELF)).groups;
  assert.deepEqual(shown(from.groups), ['Blue', 'Red']);
  assert.deepEqual(shown(['Red']), ['Red']);
  assert.deepEqual(shown(['Blue']), ['Blue']);
  assert.equal(shown([]), undefined);
  assert.deepEqual(shown(from.groups), ['Blue', 'Red']);
  const rol = envelope({ kind: 'mission', summary: '' }, { format: 'rol', bytes: ROL.bytes });
  assert.deepEqual(scanRol(asRol(rol, rol.groups, SELF)).groups, ['Blue']);
  assert.deepEqual(scanRol(asRol(rol, ['Red'], SELF)).groups, ['Red']);
});

test('two identities of this relay are told apart', () => {
  const xml = atakSa(NOW);
  const from = eventIn('xml', xml, scanCot(xml));
  for (const self of [SELF, { id: 'relay-2', name: '' }]) {
    assert.deepEqual(scanFederated(asFederated(from, from.groups, self)).provenance, [self]);
  }
});

test('a hop is counted and provenance grows, wherever the message came from', () => {
  const event = scanFederated(EVENT.bytes).event!;
  const { provenance = [], hops = { max: 0, current: 0 } } = scanFederated(EVENT.bytes);
  const fed = eventIn('fed', EVENT.bytes, event, { provenance, hops });
  const relayed = scanFederated(asFederated(fed, fed.groups, SELF));
  assert.deepEqual(relayed.provenance, [...provenance, SELF]);
  assert.deepEqual(relayed.hops, { max: 5, current: 3 });

  const xml = atakSa(NOW);
  const bridged = eventIn('xml', xml, scanCot(xml), { provenance, hops: { max: -1, current: 2 } });
  const scan = scanFederated(asFederated(bridged, bridged.groups, SELF));
  assert.deepEqual(scan.provenance, [...provenance, SELF], 'a wire that has no place for it');
  assert.deepEqual(scan.hops, { max: -1, current: 3 });

  const rol = envelope(
    { kind: 'mission', summary: '' },
    { format: 'rol', bytes: ROL.bytes },
    { hops: { max: 3, current: 1 } },
  );
  const mission = scanRol(asRol(rol, rol.groups, SELF));
  assert.deepEqual(mission.provenance, [{ id: 'tak-1', name: 'TAK one' }, SELF]);
  assert.deepEqual(mission.hops, { max: 3, current: 2 });
});

test('contacts that the relay announces', () => {
  const contact = { uid: 'ANDROID-1', callsign: 'VIPER & Co' };
  for (const op of ['create', 'update', 'delete'] as const) {
    const notice = envelope({ kind: 'contact', op, contact }, undefined, { provenance: [{ id: 'tak-1', name: '' }] });
    const scan = scanFederated(asFederated(notice, notice.groups, SELF));
    assert.equal(scan.contact?.op, op);
    assert.deepEqual(scan.contact?.contact, contact);
    assert.deepEqual(scan.groups, ['Blue']);
    assert.deepEqual(scan.provenance, [{ id: 'tak-1', name: '' }, SELF]);
    assert.deepEqual(scan.hops, { max: -1, current: 1 });
  }
});

test('contacts that came from a federate keep their bytes', () => {
  const bytes = Buffer.concat([
    contactFederated('create', { uid: 'U-1', callsign: 'V' }),
    Buffer.from('e23e0131', 'hex'),
  ]);
  const message: Message = { kind: 'contact', op: 'create', contact: { uid: 'U-1', callsign: 'V' } };
  const sent = asFederated(envelope(message, { format: 'fed', bytes }), ['Blue'], SELF);
  assert.ok(sent.subarray(0, bytes.length).equals(bytes));
});

test('a contact that went is a disconnect to those who know no contacts', () => {
  const contact = { uid: 'ANDROID-1', callsign: 'VIPER' };
  const made = envelope({ kind: 'contact', op: 'delete', contact }, undefined);
  const heard = envelope(
    { kind: 'contact', op: 'delete', contact },
    { format: 'fed', bytes: contactFederated('delete', contact) },
  );
  for (const notice of [made, heard]) {
    for (const event of [scanCot(asXml(notice)), scanTak(asTak(notice))]) {
      assert.equal(event.type, 't-x-d-d');
      assert.equal(event.linkUid, 'ANDROID-1');
      assert.equal(event.timeMs, NOW);
    }
  }
});

test('a disconnect that came as XML goes as it came, and as a contact to federates', () => {
  const xml = disconnect(NOW);
  const event = scanCot(xml);
  for (const message of [
    { kind: 'event', event },
    { kind: 'contact', op: 'delete', contact: { uid: event.linkUid, callsign: '' } },
  ] as const) {
    const notice = envelope(message, { format: 'xml', bytes: xml });
    assert.equal(asXml(notice), xml);
    const { contact } = scanFederated(asFederated(notice, notice.groups, SELF));
    assert.equal(contact?.op, 'delete');
    assert.equal(contact?.contact.uid, event.linkUid);
    assert.equal(scanTak(asTak(notice)).linkUid, event.linkUid);
  }
});

test('what a format cannot say is a fault of the caller', () => {
  const contact = envelope({ kind: 'contact', op: 'create', contact: { uid: 'U', callsign: 'V' } }, undefined);
  const mission = envelope({ kind: 'mission', summary: 'x' }, { format: 'rol', bytes: ROL.bytes });
  for (const encode of [
    () => asXml(contact),
    () => asTak(contact),
    () => asRol(contact, [], SELF),
    () => asXml(mission),
    () => asTak(mission),
    () => asFederated(mission, [], SELF),
  ]) {
    assert.throws(encode, TypeError);
  }
  assert.equal(contact.encodings, undefined, 'nothing is kept of a failure');
});

test('no encoding changes the bytes it came from or the ones made before', () => {
  for (const { name, xml } of CORPUS) {
    const source = xml(NOW);
    const before = Buffer.from(source);
    const from = eventIn('xml', source, scanCot(source));
    const tak = asTak(from);
    const takBefore = Buffer.from(tak);
    const fed = asFederated(from, from.groups, SELF);
    const fedBefore = Buffer.from(fed);
    for (const other of CORPUS) asFederated(eventIn('xml', other.xml(NOW), scanCot(other.xml(NOW))), [], SELF);
    assert.ok(source.equals(before) && tak.equals(takBefore) && fed.equals(fedBefore), name);
  }
});

function sizeOf({ encodings }: Envelope): number {
  let size = 0;
  for (let one = encodings; one; one = one.next) size++;
  return size;
}
