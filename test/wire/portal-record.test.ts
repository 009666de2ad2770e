// Records: what the hub routes, as it crosses from relay to relay and back. Golden bytes by protoc, see portal-bodies.test.ts.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Envelope, Inbound, Message, Wire } from '../../src/core/message.ts';
import { NO_DETAIL } from '../../src/core/message.ts';
import { ProtocolError } from '../../src/lib/errors.ts';
import { scanCot } from '../../src/wire/cot.ts';
import { asFederated } from '../../src/wire/encode.ts';
import { contactFederated, scanFederated, scanRol } from '../../src/wire/federation.ts';
import { federatedFromXml } from '../../src/wire/federation-xml.ts';
import {
  ackedField,
  inboundOf,
  leadingFields,
  type PortalRecord,
  recordField,
  recordOf,
  scanEvents,
  sharedField,
} from '../../src/wire/portal-record.ts';
import { ProtoWriter } from '../../src/wire/proto.ts';
import { scanTak, takFromXml } from '../../src/wire/tak.ts';
import { atakSa, CORPUS } from '../fixtures/events.ts';
import { ROL } from './federation-golden.ts';

const NOW = Date.UTC(2026, 10, 20, 12, 0, 0, 123);
const SELF = { id: 'ws-2', name: '' };
const fails = (code: string) => (error: unknown) => error instanceof ProtocolError && error.code === code;

let seq = 0;

function envelope(message: Message, wire: Wire | undefined, over: Partial<Envelope> = {}): Envelope {
  return {
    seq: ++seq,
    message,
    wire,
    from: 'a',
    receivedWallMs: NOW,
    receivedMs: 0,
    expiresMs: Number.POSITIVE_INFINITY,
    groups: [],
    provenance: [],
    hops: { max: -1, current: 0 },
    lane: 1,
    conflate: '',
    encodings: undefined,
    ...over,
  };
}

function eventEnvelope(xml: Buffer, over: Partial<Envelope> = {}): Envelope {
  return envelope({ kind: 'event', event: scanCot(xml) }, { format: 'xml', bytes: xml }, over);
}

function records(bytes: Buffer): PortalRecord[] {
  const found: PortalRecord[] = [];
  scanEvents(bytes, (record) => found.push(record));
  return found;
}

/** Across to the next relay. */
function crossed(sent: Envelope, self = SELF): readonly Inbound[] {
  const [record] = records(recordField(1, 0, recordOf(sent, sent.groups, self)));
  const found = inboundOf(record!);
  assert.ok(found !== 'hop_limit');
  return found;
}

const GOLDEN = Buffer.from(
  [
    '0a3a080110011a083c6576656e742f3e2204426c756522035265642a0b0a0477732d3112036f6e652a060a0477732d32',
    '300a3802400148dc0b5a01640a20080210062a060a0477732d3230013801520e08031203552d311a055649504552108407',
  ].join(''),
  'hex',
);

test('Events: as protoc writes them', () => {
  const found: PortalRecord[] = [];
  const { acked } = scanEvents(GOLDEN, (record) => found.push(record));
  assert.equal(acked, 900);
  const [event, contact] = found;
  assert.deepEqual(event, {
    id: 1,
    format: 'xml',
    payload: Buffer.from('<event/>'),
    groups: ['Blue', 'Red'],
    provenance: [
      { id: 'ws-1', name: 'one' },
      { id: 'ws-2', name: '' },
    ],
    hops: { max: 5, current: 2 },
    lane: 1,
    ageMs: 1500,
    contact: undefined,
    digest: 'd',
    isSenders: false,
    size: 60,
  });
  assert.deepEqual(contact?.contact, { op: 3, contact: { uid: 'U-1', callsign: 'VIPER' } });
  assert.deepEqual(contact?.hops, { max: -1, current: 1 }, 'sint32 -1');
});

test('records are numbered from Events.first on, unless they say their number themselves', () => {
  const sent = eventEnvelope(atakSa(NOW));
  const field = sharedField(sent, [], SELF, 0);
  assert.equal(sharedField(sent, [], SELF, 0), field, 'the same bytes for all peers');
  assert.deepEqual(leadingFields(0, 900), Buffer.from('288407', 'hex'));
  const numbers = (...parts: Buffer[]) => records(Buffer.concat(parts)).map(({ id }) => id);
  assert.deepEqual(numbers(leadingFields(0, 900), field, field, sharedField(sent, [], SELF, 7)), [900, 901, 902]);
  assert.deepEqual(numbers(field, field), [0, 0]);
  assert.deepEqual(numbers(recordField(5, 0, recordOf(sent, [], SELF)), field), [5, 0]);
  assert.equal(records(sharedField(sent, [], SELF, 7))[0]?.ageMs, 7);
});

test('a record says what protoc would have it say', () => {
  const event = { ...scanCot(atakSa(NOW)), ...NO_DETAIL };
  const sent = envelope(
    { kind: 'event', event },
    { format: 'xml', bytes: Buffer.from('<event/>') },
    { groups: ['Blue', 'Red'], provenance: [{ id: 'ws-1', name: 'one' }], hops: { max: 5, current: 1 } },
  );
  const record = recordField(1, 1500, recordOf(sent, sent.groups, SELF));
  const [golden] = records(GOLDEN);
  const [written] = records(record);
  assert.deepEqual(written, { ...golden!, digest: '', size: 57 });
  const leaves = envelope({ kind: 'contact', op: 'delete', contact: { uid: 'U-1', callsign: 'VIPER' } }, undefined);
  const [notice] = records(recordField(2, 0, recordOf(leaves, [], SELF)));
  assert.deepEqual(notice, { ...records(GOLDEN)[1]!, lane: 1, size: notice!.size });
  assert.deepEqual(ackedField(900), GOLDEN.subarray(-3));
  assert.deepEqual(ackedField(0), Buffer.alloc(0));
});

test('what came as XML leaves as the same XML, byte for byte', () => {
  for (const { name, xml } of CORPUS) {
    const bytes = xml(NOW);
    if (scanCot(bytes).type === 't-x-d-d') continue;
    const [inbound] = crossed(eventEnvelope(bytes));
    assert.equal(inbound?.wire?.format, 'xml');
    // The declaration is no part of the event.
    assert.ok(bytes.toString().endsWith(inbound!.wire!.bytes.toString().trim()), name);
    assert.ok(inbound!.wire!.bytes.toString().startsWith('<event'), name);
    assert.deepEqual(inbound?.message, { kind: 'event', event: scanCot(bytes) }, name);
  }
});

test('TAK protobuf and federation events cross as they are, but for where they have been', () => {
  const xml = atakSa(NOW);
  const event = scanCot(xml);
  const tak = takFromXml(xml, event);
  const [asTak] = crossed(envelope({ kind: 'event', event: scanTak(tak) }, { format: 'tak', bytes: tak }));
  assert.deepEqual(asTak?.wire, { format: 'tak', bytes: tak });
  const fed = federatedFromXml(xml, event);
  const hops = { max: 4, current: 1 };
  const [asFed] = crossed(
    envelope({ kind: 'event', event }, { format: 'fed', bytes: fed }, { groups: ['Blue'], hops }),
  );
  const scan = scanFederated(asFed!.wire!.bytes);
  assert.deepEqual(scan.event, scanFederated(fed).event);
  assert.deepEqual([scan.groups, scan.provenance, scan.hops], [['Blue'], [SELF], { max: 4, current: 2 }]);
});

test('groups, provenance and hops: one more of each relay, beside the bytes', () => {
  const first = crossed(
    eventEnvelope(atakSa(NOW), { groups: ['Blue'], hops: { max: 3, current: 0 }, provenance: [] }),
    { id: 'ws-a', name: 'A' },
  )[0]!;
  assert.deepEqual(first.hops, { max: 3, current: 1 });
  assert.deepEqual(first.provenance, [{ id: 'ws-a', name: 'A' }]);
  assert.deepEqual(first.groups, ['Blue']);
  const second = crossed(
    envelope(first.message, first.wire, {
      hops: first.hops!,
      provenance: first.provenance!,
      groups: first.groups!,
    }),
    { id: 'ws-b', name: 'B' },
  )[0]!;
  assert.deepEqual(second.hops, { max: 3, current: 2 });
  assert.deepEqual(
    second.provenance?.map(({ id }) => id),
    ['ws-a', 'ws-b'],
  );
});

test('federation bytes name every server passed when they go on to a federate behind two of our relays', () => {
  const xml = atakSa(NOW);
  const event = scanCot(xml);
  const original = envelope({ kind: 'event', event }, { format: 'xml', bytes: xml });
  const fromTak = asFederated(original, ['Blue'], { id: 'tak', name: 'TAK' });
  const scan = scanFederated(fromTak);
  const atA = envelope(
    { kind: 'event', event: scan.event! },
    { format: 'fed', bytes: fromTak },
    { groups: scan.groups!, provenance: scan.provenance!, hops: scan.hops! },
  );
  const [atB] = crossed(atA, { id: 'ws-a', name: 'A' });
  const next = asFederated(
    envelope(atB!.message, atB!.wire, { groups: atB!.groups!, provenance: atB!.provenance!, hops: atB!.hops! }),
    atB!.groups!,
    { id: 'ws-b', name: 'B' },
  );
  const out = scanFederated(next);
  assert.deepEqual(
    out.provenance?.map(({ id }) => id),
    ['tak', 'ws-a', 'ws-b'],
  );
  assert.deepEqual(out.hops, { max: -1, current: 3 });
  assert.deepEqual(out.groups, ['Blue']);
});

test('limits per group count the hop from relay to relay too, and stop what is exhausted', () => {
  const writer = new ProtoWriter();
  const limited = (current: number): Buffer => {
    writer.raw(federatedFromXml(atakSa(NOW), scanCot(atakSa(NOW))));
    writer.message(6, () => {
      writer.message(1, () => {
        writer.string(1, 'Blue');
        writer.int(2, 2);
        writer.int(3, current);
      });
      writer.bool(2, true);
    });
    return writer.finish();
  };
  const through = (current: number) => {
    const bytes = limited(current);
    const sent = envelope({ kind: 'event', event: scanFederated(bytes).event! }, { format: 'fed', bytes });
    const [record] = records(recordField(1, 0, recordOf({ ...sent, groups: ['Blue'] }, ['Blue'], SELF)));
    return inboundOf(record!);
  };
  assert.equal(through(2), 'hop_limit');
  const arrives = (current: number) =>
    (through(current) as readonly Inbound[]).map(({ groups, hops }) => [groups, hops]);
  assert.deepEqual(arrives(0), [[['Blue'], { max: -1, current: 1 }]]);
  assert.deepEqual(arrives(1), [[['Blue'], { max: 1, current: 1 }]], 'here, and no further');
});

test('contacts: with the bytes they came in, or made by the relay', () => {
  const contact = { uid: 'U-1', callsign: 'VIPER' };
  const bytes = contactFederated('create', contact);
  const [came] = crossed(envelope({ kind: 'contact', op: 'create', contact }, { format: 'fed', bytes }));
  assert.deepEqual(came?.message, { kind: 'contact', op: 'create', contact });
  assert.equal(came?.wire?.format, 'fed');
  const [made] = crossed(envelope({ kind: 'contact', op: 'update', contact }, undefined));
  assert.deepEqual(made?.message, { kind: 'contact', op: 'update', contact });
  assert.equal(made?.wire, undefined);
});

test('a federated event that is event and contact in one is two messages, counted once', () => {
  const contact = { uid: 'U-1', callsign: 'VIPER' };
  const bytes = Buffer.concat([
    federatedFromXml(atakSa(NOW), scanCot(atakSa(NOW))),
    contactFederated('create', contact),
  ]);
  const both = crossed(envelope({ kind: 'contact', op: 'create', contact }, { format: 'fed', bytes }));
  assert.deepEqual(
    both.map(({ message }) => message.kind),
    ['contact', 'event'],
  );
  assert.ok(both[0]!.size > 0);
  assert.equal(both[1]!.size, 0);
});

test('missions and files are known by their content, whatever way they came', () => {
  const rol = (self: { id: string; name: string }) => {
    const sent = envelope({ kind: 'mission', summary: '' }, { format: 'rol', bytes: ROL.bytes });
    return crossed({ ...sent, provenance: scanRol(ROL.bytes).provenance! }, self)[0]!;
  };
  const [near, far] = [rol({ id: 'ws-a', name: 'A' }), rol({ id: 'ws-b', name: 'B' })];
  assert.equal(near.message.kind === 'mission' && near.message.summary, 'create mission');
  assert.ok(near.digest);
  assert.equal(near.digest, far.digest);
  assert.notDeepEqual(near.wire, far.wire, 'the stamps differ');
  const writer = new ProtoWriter();
  writer.int(1, 2);
  writer.bytes(2, Buffer.from('picture'));
  writer.string(3, 'a.jpg');
  const blob = writer.finish();
  const [file] = crossed(envelope({ kind: 'blob', summary: '' }, { format: 'blob', bytes: blob }));
  assert.deepEqual(file?.message, { kind: 'blob', summary: 'file a.jpg' });
  assert.deepEqual(file?.wire, { format: 'blob', bytes: blob });
  assert.ok(file?.digest && file.digest !== near.digest);
});

test('a disconnect that comes as an event is a contact that leaves, or nothing', () => {
  const leave = CORPUS.map(({ xml }) => xml(NOW)).find((xml) => scanCot(xml).type === 't-x-d-d')!;
  const [inbound] = crossed(eventEnvelope(leave));
  assert.equal(inbound?.message.kind === 'contact' && inbound.message.op, 'delete');
  const nobody = Buffer.from(leave.toString().replace(/<link [^>]*>/, ''));
  assert.throws(() => crossed(eventEnvelope(nobody)), fails('missing_uid'));
});

test('a record is made once for all peers that may see the same groups, and anew for others', () => {
  const sent = eventEnvelope(atakSa(NOW), { groups: ['Blue', 'Red'] });
  const one = recordOf(sent, sent.groups, SELF);
  assert.equal(recordOf(sent, sent.groups, SELF), one);
  const less = recordOf(sent, ['Red'], SELF);
  assert.notEqual(less, one);
  assert.equal(recordOf(sent, ['Red'], SELF), less);
  assert.deepEqual(records(recordField(1, 0, less))[0]?.groups, ['Red']);
  assert.throws(
    () => recordOf(envelope({ kind: 'event', event: scanCot(atakSa(NOW)) }, undefined), [], SELF),
    TypeError,
  );
});

test('a payload does not keep in memory the large thing it lay in', () => {
  const field = recordField(1, 0, recordOf(eventEnvelope(atakSa(NOW)), [], SELF));
  const chunk = Buffer.concat([field, Buffer.alloc(60_000)]).subarray(0, field.length);
  const [inbound] = inboundOf(records(chunk)[0]!) as readonly Inbound[];
  assert.ok(inbound!.wire!.bytes.buffer.byteLength <= 8192);
});

test('what cannot be read throws, and nothing of it gets through', () => {
  const writer = new ProtoWriter();
  const record = (format: number, payload: string): PortalRecord => {
    writer.message(1, () => {
      writer.int(2, format);
      writer.bytes(3, Buffer.from(payload));
    });
    return records(writer.finish())[0]!;
  };
  const good = atakSa(NOW).toString();
  assert.throws(() => inboundOf(record(1, '')), fails('not_xml'));
  assert.throws(() => inboundOf(record(1, `${good}${good}`)), ProtocolError, 'two events in one');
  assert.throws(() => inboundOf(record(1, `${good}<!-- -->`)), ProtocolError);
  assert.throws(() => inboundOf(record(2, 'xxxx')), ProtocolError);
  assert.throws(() => inboundOf(record(3, '\xff')), ProtocolError);
  assert.throws(() => inboundOf(record(0, good)), fails('portal_format'));
  assert.throws(() => inboundOf(record(7, good)), fails('portal_format'));
  assert.throws(() => inboundOf(record(6, '')), fails('portal_contact'));
  const contact = (op: number, uid: string): PortalRecord => {
    writer.message(1, () => {
      writer.int(2, 6);
      writer.message(10, () => {
        writer.int(1, op);
        writer.string(2, uid);
      });
    });
    return records(writer.finish())[0]!;
  };
  assert.throws(() => inboundOf(contact(9, 'U')), fails('portal_contact'));
  assert.throws(() => inboundOf(contact(1, '')), fails('missing_uid'));
  assert.throws(() => inboundOf(contact(1, 'a\u0001b')), fails('bad_text'));
  assert.throws(() => contact(1, 'u'.repeat(300)), fails('too_long'));
  assert.throws(() => records(Buffer.from('0a05', 'hex')), fails('proto_length'));
});

test('hops that are not said are unlimited; absurd ones are cut', () => {
  const writer = new ProtoWriter();
  const hops = (zigzag: number, current: number) => {
    writer.message(1, () => {
      writer.int(6, zigzag);
      writer.int(7, current);
    });
    return records(writer.finish())[0]!.hops;
  };
  assert.deepEqual(hops(0, 0), { max: -1, current: 0 });
  assert.deepEqual(hops(13, 1), { max: -1, current: 1 });
  assert.deepEqual(hops(8, 1), { max: 4, current: 1 });
  assert.deepEqual(hops(2 ** 40, 2 ** 40), { max: 1_000_000, current: 1_000_000 });
});
