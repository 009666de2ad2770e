import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ProtocolError } from '../../src/lib/errors.ts';
import {
  CONNECTION_TYPE,
  clientHealth,
  contactFederated,
  type FederatedScan,
  forwardFederated,
  groupsMessage,
  groupsWithinLimits,
  SERVING,
  scanFederated,
  scanGroupHopLimits,
  scanGroups,
  scanHealth,
  scanRol,
  scanSubscription,
  serverHealth,
  subscription,
} from '../../src/wire/federation.ts';
import { arrivedWithin } from '../../src/wire/federation-stamps.ts';
import { ProtoReader, ProtoWriter } from '../../src/wire/proto.ts';
import { CONTACT, EVENT, GROUPS, ROL, SUBSCRIPTION } from './federation-golden.ts';

const SELF = { id: 'relay-1', name: 'Relay' };
const breach = (code: string) => (error: unknown) => error instanceof ProtocolError && error.code === code;

function made(write: (writer: ProtoWriter) => void): Buffer {
  const writer = new ProtoWriter();
  write(writer);
  return writer.finish();
}

/** The fields without which there is no event. */
function leastFields(writer: ProtoWriter): void {
  for (const field of [1, 2, 3]) writer.int(field, 1_767_225_600_000);
  writer.string(9, 'U-1');
  writer.string(10, 'a-f-G');
}

/** A FederatedEvent with the least event, and what `more` adds to it. */
function event(more: (writer: ProtoWriter) => void = () => {}): Buffer {
  return made((writer) =>
    writer.message(1, () => {
      leastFields(writer);
      more(writer);
    }),
  );
}

/** The content of all top-level fields with this number, in order. */
function fields(bytes: Buffer, number: number): Buffer[] {
  const found: Buffer[] = [];
  const reader = new ProtoReader(bytes);
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === number * 8 + 2) found.push(reader.bytes());
    else reader.skip(tag);
  }
  return found;
}

// --- events ------------------------------------------------------------------------------------------------------------

test('an event is read as protoc wrote it', () => {
  const scan = scanFederated(EVENT.bytes);
  assert.deepEqual(scan.event, {
    uid: 'ANDROID-359975090666199',
    type: 'a-f-G-U-C',
    how: 'm-g',
    timeMs: 1_767_225_600_123,
    startMs: 1_767_225_600_000,
    staleMs: 1_767_225_675_999,
    lat: 48.137154,
    lon: -11.576124,
    hae: 519.5,
    ce: 4.25,
    le: 9_999_999,
    callsign: 'Jäger 1',
    endpoint: '*:-1:stcp',
    team: 'Cyan',
    role: 'Team Lead',
    destUids: ['U-1', 'U-2'],
    destCallsigns: ['C-1'],
    destMissions: ['M-1'],
    chatId: '',
    flowTags: [],
    linkUid: '',
    sender: '',
    feedUid: 'feed-1',
  });
  assert.equal(scan.eventBytes, EVENT.bytes, 'the bytes themselves, not a copy');
  assert.equal(scan.contact, undefined);
  assert.deepEqual(scan.groups, ['Blue', 'Coalition']);
  assert.deepEqual(scan.provenance, [
    { id: 'tak-1', name: 'TAK one' },
    { id: 'hub-1-abcd', name: '' },
  ]);
  assert.deepEqual(scan.hops, { max: 5, current: 2 });
  assert.equal(scan.hasGroupHopLimits, true);
  assert.equal(scan.empty, false);
});

test('what a message does not carry is undefined', () => {
  const { groups, provenance, hops, hasGroupHopLimits, event: found } = scanFederated(event());
  assert.deepEqual([groups, provenance, hops, hasGroupHopLimits], [undefined, undefined, undefined, false]);
  assert.equal(found?.callsign, '');
  assert.deepEqual(found?.destUids, []);
});

test('a message without event or contact is empty, whatever else it says', () => {
  for (const bytes of [
    Buffer.alloc(0),
    made((writer) => writer.string(3, 'Blue')),
    made((writer) => writer.int(99, 1)),
    // READ and INVALID contacts, and one that nobody could address
    made((writer) => writer.message(2, () => writer.int(1, 2))),
    made((writer) => writer.message(2, () => writer.string(2, 'U-1'))),
    made((writer) => writer.message(2, () => writer.int(1, 1))),
  ]) {
    const scan = scanFederated(bytes);
    assert.equal(scan.empty, true, bytes.toString('hex'));
    assert.equal(scan.event, undefined);
    assert.equal(scan.contact, undefined);
  }
});

test('recipients in the detail and in the fields are one list', () => {
  const detail = '<detail><marti><dest callsign="C-1"/><dest callsign="C-2"/><dest uid="U-9"/></marti></detail>';
  const scan = scanFederated(
    event((writer) => {
      writer.string(12, detail);
      writer.string(24, 'C-1');
      writer.string(24, 'C-3');
    }),
  );
  assert.deepEqual(scan.event?.destCallsigns, ['C-1', 'C-3', 'C-2']);
  assert.deepEqual(scan.event?.destUids, ['U-9']);
  assert.deepEqual(scan.event?.destMissions, []);
});

test('an event that comes in two parts is read as a receiver would merge it', () => {
  const first = event((writer) => {
    writer.string(23, 'U-A');
    writer.string(12, '<detail><contact callsign="ONE"/></detail>');
  });
  const second = made((writer) =>
    writer.message(1, () => {
      writer.string(10, 'b-t-f');
      writer.string(23, 'U-B');
      writer.string(12, '<detail><contact callsign="TWO"/></detail>');
    }),
  );
  const { event: merged } = scanFederated(Buffer.concat([first, second]));
  assert.equal(merged?.uid, 'U-1');
  assert.equal(merged?.type, 'b-t-f');
  assert.equal(merged?.callsign, 'TWO');
  assert.deepEqual(merged?.destUids, ['U-A', 'U-B']);
  const hops = (max: number, current: number) =>
    made((writer) =>
      writer.message(5, () => {
        writer.int(1, max);
        writer.int(2, current);
      }),
    );
  assert.deepEqual(scanFederated(Buffer.concat([event(), hops(4, 1), hops(0, 3)])).hops, { max: 4, current: 3 });
});

test('fields of another wire type than ours are unknown fields', () => {
  const bytes = event((writer) => {
    writer.string(4, 'not a latitude');
    writer.int(12, 5);
    writer.double(23, 1);
  });
  assert.equal(scanFederated(bytes).event?.lat, 0);
});

test('events that the XML side would refuse are refused with the same codes', () => {
  const omit = (skipped: number, more: (writer: ProtoWriter) => void = () => {}) =>
    made((writer) =>
      writer.message(1, () => {
        for (const field of [1, 2, 3]) if (field !== skipped) writer.int(field, 1_767_225_600_000);
        if (skipped !== 9) writer.string(9, 'U-1');
        if (skipped !== 10) writer.string(10, 'a-f-G');
        more(writer);
      }),
    );
  const cases: readonly (readonly [string, Buffer])[] = [
    ['missing_uid', omit(9)],
    ['missing_type', omit(10)],
    ['bad_time', omit(1)],
    ['bad_time', omit(2)],
    ['bad_time', omit(3)],
    ['bad_time', omit(1, (writer) => writer.int(1, -5))],
    ['bad_time', omit(1, (writer) => writer.int(1, 253_402_300_800_000))],
    ['bad_point', event((writer) => writer.double(4, 90.001))],
    ['bad_point', event((writer) => writer.double(5, -180.001))],
    ['bad_point', event((writer) => writer.double(4, Number.NaN))],
    ['bad_point', event((writer) => writer.double(5, Number.NEGATIVE_INFINITY))],
    ['bad_point', event((writer) => writer.double(6, 1e10))],
    ['bad_text', event((writer) => writer.string(9, 'U\x00-1'))],
    ['bad_text', event((writer) => writer.string(11, '\uffff'))],
    ['too_long', event((writer) => writer.string(9, 'U'.repeat(257)))],
    ['too_long', event((writer) => writer.string(10, 'a'.repeat(129)))],
    ['not_detail', event((writer) => writer.string(12, '<other/>'))],
    ['bad_xml', event((writer) => writer.string(12, '<detail>'))],
    ['bad_xml', event((writer) => writer.string(12, '<detail/><detail/>'))],
    ['bad_xml', event((writer) => writer.string(12, '</detail></event><event>'))],
    ['nested_event', event((writer) => writer.string(12, '<detail><event/></detail>'))],
    ['inner_end', event((writer) => writer.string(12, '<detail><!-- </event> --></detail>'))],
    ['dtd_refused', event((writer) => writer.string(12, '<detail><!DOCTYPE x></detail>'))],
  ];
  for (const [code, bytes] of cases) assert.throws(() => scanFederated(bytes), breach(code), code);
});

test('a height that is not a number is an unknown height', () => {
  const bytes = event((writer) => {
    for (const field of [6, 7, 8]) writer.double(field, Number.NaN);
  });
  const { event: found } = scanFederated(bytes);
  assert.deepEqual([found?.hae, found?.ce, found?.le], [9_999_999, 9_999_999, 9_999_999]);
});

test('fields that policy passes over are still checked for what would end the link of a strict receiver', () => {
  const bad = Buffer.from([0xff]);
  for (const field of [9, 10, 11, 12, 14, 15, 16, 17, 18, 19, 23, 24, 25, 26, 27, 28, 29]) {
    assert.throws(
      () => scanFederated(event((writer) => writer.bytes(field, bad))),
      breach('bad_utf8'),
      `field ${field}`,
    );
  }
  const blob = (field: number) => event((writer) => writer.message(22, () => writer.bytes(field, bad)));
  for (const field of [3, 5]) assert.throws(() => scanFederated(blob(field)), breach('bad_utf8'));
  for (const field of [6, 7, 8]) assert.throws(() => scanFederated(blob(field)), breach('proto_truncated'));
  const payload = (field: number) => event((writer) => writer.message(30, () => writer.bytes(field, bad)));
  for (const field of [1, 2, 5]) assert.throws(() => scanFederated(payload(field)), breach('bad_utf8'));
  for (const field of [2, 3, 4, 5, 6]) {
    const contact = made((writer) => writer.message(2, () => writer.bytes(field, bad)));
    assert.throws(() => scanFederated(contact), breach('bad_utf8'));
  }
  assert.throws(() => scanFederated(made((writer) => writer.bytes(3, bad))), breach('bad_utf8'));
});

test('every truncation is noticed or leaves a shorter message', () => {
  for (const { bytes, scan } of [
    { bytes: EVENT.bytes, scan: scanFederated },
    { bytes: CONTACT.bytes, scan: scanFederated },
    { bytes: ROL.bytes, scan: scanRol },
    { bytes: GROUPS.bytes, scan: scanGroups },
    { bytes: SUBSCRIPTION.bytes, scan: scanSubscription },
  ]) {
    const ends = new Set([0]);
    const reader = new ProtoReader(bytes);
    while (reader.more()) {
      reader.skip(reader.tag());
      ends.add(reader.pos);
    }
    for (let length = 0; length < bytes.length; length++) {
      const cut = bytes.subarray(0, length);
      if (ends.has(length)) scan(cut);
      else assert.throws(() => scan(cut), ProtocolError, `cut at ${length}`);
    }
  }
});

test('counts are bounded', () => {
  const many = (count: number, write: (writer: ProtoWriter) => void) =>
    made((writer) => {
      for (let n = 0; n < count; n++) write(writer);
    });
  const group = (writer: ProtoWriter) => writer.string(3, 'G');
  assert.equal(scanFederated(many(1024, group)).groups?.length, 1024);
  assert.throws(() => scanFederated(many(100_000, group)), breach('too_many'));
  const server = (writer: ProtoWriter) => writer.message(4, () => writer.string(1, 's'));
  assert.equal(scanFederated(many(64, server)).provenance?.length, 64);
  assert.throws(() => scanFederated(many(65, server)), breach('too_many'));
  const limit = (writer: ProtoWriter) => writer.message(6, () => writer.message(1, () => writer.string(1, 'G')));
  assert.throws(() => scanFederated(many(1025, limit)), breach('too_many'));
  for (const field of [23, 24, 26]) {
    const dests = (count: number) =>
      event((writer) => {
        for (let n = 0; n < count; n++) writer.string(field, `D${n}`);
      });
    assert.ok(scanFederated(dests(1000)).event);
    assert.throws(() => scanFederated(dests(1001)), breach('too_many_destinations'));
  }
  const mixed = event((writer) => {
    for (let n = 0; n < 600; n++) {
      writer.string(23, `U${n}`);
      writer.string(24, `C${n}`);
    }
  });
  assert.throws(() => scanFederated(mixed), breach('too_many_destinations'));
  assert.throws(() => scanFederated(made((writer) => writer.string(3, 'G'.repeat(1025)))), breach('too_long'));
});

test('hop counts stay numbers that can be counted up', () => {
  const hops = (max: number, current: number) =>
    scanFederated(
      made((writer) =>
        writer.message(5, () => {
          writer.int(1, max);
          writer.int(2, current);
        }),
      ),
    ).hops;
  assert.deepEqual(hops(-1, 3), { max: -1, current: 3 });
  assert.deepEqual(hops(-7, -7), { max: -1, current: 0 });
  assert.deepEqual(hops(Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER), { max: 1_000_000, current: 1_000_000 });
});

// --- contacts ----------------------------------------------------------------------------------------------------------

test('a contact is read as protoc wrote it', () => {
  const scan = scanFederated(CONTACT.bytes);
  assert.equal(scan.event, undefined);
  assert.equal(scan.contact?.op, 'update');
  assert.deepEqual(scan.contact?.contact, { uid: 'ANDROID-1', callsign: 'VIPER' });
  assert.equal(scan.contact?.bytes, CONTACT.bytes);
  assert.deepEqual(scan.groups, ['Blue']);
});

test('contacts are written with their operation', () => {
  for (const [op, number] of [
    ['create', 1],
    ['update', 3],
    ['delete', 4],
  ] as const) {
    const bytes = contactFederated(op, { uid: 'U-1', callsign: 'VIPER' });
    assert.equal(bytes.toString('hex'), `120e08${`0${number}`}1203552d311a055649504552`);
    assert.deepEqual(scanFederated(bytes).contact?.contact, { uid: 'U-1', callsign: 'VIPER' });
    assert.equal(scanFederated(bytes).contact?.op, op);
  }
});

test('a message with event and contact is taken apart, each part keeping the rest', () => {
  const both = Buffer.concat([CONTACT.bytes, event(), made((writer) => writer.string(77, 'later schema'))]);
  const { contact, event: found, eventBytes } = scanFederated(both);
  assert.equal(found?.uid, 'U-1');
  const parts: readonly (readonly [Buffer, (scan: FederatedScan) => unknown])[] = [
    [contact!.bytes, (scan) => scan.event],
    [eventBytes, (scan) => scan.contact],
  ];
  for (const [bytes, absent] of parts) {
    const scan = scanFederated(bytes);
    assert.equal(absent(scan), undefined);
    assert.deepEqual(scan.groups, ['Blue']);
    assert.deepEqual(scan.provenance, [{ id: 'tak-1', name: 'TAK one' }]);
    assert.equal(fields(bytes, 77)[0]?.toString(), 'later schema');
  }
  assert.deepEqual(scanFederated(eventBytes).event, found);
  assert.deepEqual(scanFederated(contact!.bytes).contact?.contact, { uid: 'ANDROID-1', callsign: 'VIPER' });
});

// --- forwarding --------------------------------------------------------------------------------------------------------

test('forwarding keeps the event to the byte and stamps the rest', () => {
  const forwarded = forwardFederated(EVENT.bytes, { groups: ['Green'], self: SELF, hops: { max: 5, current: 3 } });
  assert.deepEqual(fields(forwarded, 1), fields(EVENT.bytes, 1));
  const scan = scanFederated(forwarded);
  assert.deepEqual(scan.event, scanFederated(EVENT.bytes).event);
  assert.deepEqual(scan.groups, ['Green']);
  assert.deepEqual(scan.provenance, [{ id: 'tak-1', name: 'TAK one' }, { id: 'hub-1-abcd', name: '' }, SELF]);
  assert.deepEqual(scan.hops, { max: 5, current: 3 });
  assert.equal(fields(forwarded, 5).length, 1, 'one hops message, for readers that do not merge');
});

test('forwarding adds what the message did not have', () => {
  const scan = scanFederated(
    forwardFederated(event(), {
      groups: ['Blue', 'Red'],
      self: SELF,
      hops: { max: -1, current: 1 },
      earlier: [{ id: 'before', name: '' }],
    }),
  );
  assert.deepEqual(scan.groups, ['Blue', 'Red']);
  assert.deepEqual(scan.provenance, [{ id: 'before', name: '' }, SELF]);
  assert.deepEqual(scan.hops, { max: -1, current: 1 });
});

test('hops may become zero', () => {
  const forwarded = forwardFederated(EVENT.bytes, { groups: [], self: SELF, hops: { max: 0, current: 0 } });
  assert.deepEqual(scanFederated(forwarded).hops, { max: 0, current: 0 });
  assert.equal(scanFederated(forwarded).groups, undefined, 'no groups are not all groups');
});

test('fields of later schemas survive, in the message and inside the event', () => {
  const later = made((writer) => {
    writer.int(1000, 7);
    writer.double(1001, 2.5);
    writer.string(1002, 'later');
  });
  const bytes = Buffer.concat([event((writer) => writer.raw(later)), later]);
  const forwarded = forwardFederated(bytes, { groups: ['Blue'], self: SELF, hops: { max: -1, current: 2 } });
  assert.deepEqual(fields(forwarded, 1), fields(bytes, 1));
  assert.ok(forwarded.includes(later, forwarded.length - later.length - 60), 'top level');
  assert.equal(forwarded.indexOf(later) > 0 && forwarded.indexOf(later) !== forwarded.lastIndexOf(later), true);
  const twice = forwardFederated(forwarded, { groups: ['Blue'], self: SELF, hops: { max: -1, current: 3 } });
  assert.equal(fields(twice, 1002).toString(), 'later');
});

test('forwarding leaves its input alone and its output for good', () => {
  const before = Buffer.from(EVENT.bytes);
  const first = forwardFederated(EVENT.bytes, { groups: ['A'], self: SELF, hops: { max: 1, current: 1 } });
  const copy = Buffer.from(first);
  forwardFederated(EVENT.bytes, { groups: ['BBBB'], self: SELF, hops: { max: 9, current: 9 } });
  assert.ok(EVENT.bytes.equals(before));
  assert.ok(first.equals(copy));
});

test('limits per group are counted up, and exhausted groups are left out', () => {
  assert.deepEqual(scanGroupHopLimits(EVENT.bytes), [
    { group: 'Blue', max: 3, current: 2 },
    { group: 'Coalition', max: -1, current: 2 },
  ]);
  const stamp = { groups: ['Blue', 'Coalition', 'Other'], self: SELF, hops: { max: -1, current: 3 } };
  const once = forwardFederated(EVENT.bytes, stamp);
  assert.deepEqual(scanFederated(once).groups, ['Blue', 'Coalition', 'Other']);
  assert.deepEqual(scanGroupHopLimits(once), [
    { group: 'Blue', max: 3, current: 3 },
    { group: 'Coalition', max: -1, current: 3 },
  ]);
  const twice = forwardFederated(once, stamp);
  assert.deepEqual(scanFederated(twice).groups, ['Coalition', 'Other'], 'Blue has made its three hops');
  assert.deepEqual(scanGroupHopLimits(twice), [{ group: 'Coalition', max: -1, current: 4 }]);
  assert.deepEqual(groupsWithinLimits(['Blue', 'Coalition', 'Other'], scanGroupHopLimits(once) ?? []), [
    'Coalition',
    'Other',
  ]);
});

test('limits per group of the operator: of groups the message is in, the lesser of both, the one for all for the rest', () => {
  const groupHops = {
    most: new Map([
      ['Blue', 4],
      ['Red', 2],
      ['Absent', 1],
    ]),
    all: -1,
    key: '',
  };
  const said = { groups: ['Blue', 'Coalition', 'Red'], self: SELF, hops: { max: -1, current: 3 }, groupHops };
  assert.deepEqual(
    scanGroupHopLimits(forwardFederated(EVENT.bytes, said)),
    [
      { group: 'Blue', max: 3, current: 3 },
      { group: 'Coalition', max: -1, current: 3 },
    ],
    'what the message said of Blue is less; Red has made its hops',
  );
  const plain = { groups: ['Blue', 'Other'], self: SELF, hops: { max: 6, current: 2 }, groupHops };
  const stamped = forwardFederated(event(), plain);
  assert.deepEqual(scanGroupHopLimits(stamped), [
    { group: 'Blue', max: 4, current: 2 },
    { group: 'Other', max: 6, current: 2 },
  ]);
  assert.deepEqual(scanFederated(stamped).hops, { max: 6, current: 2 });
  const others = forwardFederated(event(), { ...plain, groups: ['Other'] });
  assert.equal(scanGroupHopLimits(others), undefined, 'a message in none of them has the one limit for all');
});

test('a limit for whatever group: in place of the one for all, or of each group where those count', () => {
  const said = { groups: ['Blue', 'Coalition'], self: SELF, hops: { max: -1, current: 3 } };
  const limited = (most: [string, number][], all: number) => ({
    ...said,
    groupHops: { most: new Map(most), all, key: '' },
  });
  assert.deepEqual(
    scanGroupHopLimits(forwardFederated(EVENT.bytes, limited([], 5))),
    [
      { group: 'Blue', max: 3, current: 3 },
      { group: 'Coalition', max: 5, current: 3 },
    ],
    'the message has limits by group: there the one for all would not count',
  );
  assert.deepEqual(scanGroupHopLimits(forwardFederated(event(), limited([['Blue', 9]], 5))), [
    { group: 'Blue', max: 5, current: 3 },
    { group: 'Coalition', max: 5, current: 3 },
  ]);
  assert.equal(scanGroupHopLimits(forwardFederated(event(), limited([], 5))), undefined);
});

test('a message whose groups have all made their hops is for here alone, and one hop later for nobody', () => {
  const limits = (current: number) => [{ group: 'Blue', max: 2, current }];
  assert.deepEqual(arrivedWithin(['Blue'], limits(1), 1), { groups: ['Blue'], hops: { max: -1, current: 1 } });
  assert.deepEqual(arrivedWithin(['Blue'], limits(2), 2), { groups: ['Blue'], hops: { max: 2, current: 2 } });
  assert.deepEqual(arrivedWithin(['Blue', 'Red'], limits(2), 2), { groups: ['Red'], hops: { max: -1, current: 2 } });
  assert.equal(arrivedWithin(['Blue'], limits(3), 3), undefined);
  assert.equal(arrivedWithin([], limits(1), 1), undefined);
});

test('limits per group that are not in use are handed on as they are', () => {
  const bytes = Buffer.concat([
    event(),
    made((writer) =>
      writer.message(6, () =>
        writer.message(1, () => {
          writer.string(1, 'Blue');
          writer.int(2, 1);
          writer.int(3, 1);
        }),
      ),
    ),
  ]);
  assert.equal(scanFederated(bytes).hasGroupHopLimits, false);
  assert.equal(scanGroupHopLimits(bytes), undefined);
  const forwarded = forwardFederated(bytes, { groups: ['Blue'], self: SELF, hops: { max: -1, current: 2 } });
  assert.deepEqual(fields(forwarded, 6), fields(bytes, 6));
  assert.deepEqual(scanFederated(forwarded).groups, ['Blue']);
});

// --- missions ----------------------------------------------------------------------------------------------------------

test('a ROL is summed up, not understood', () => {
  assert.deepEqual(scanRol(ROL.bytes), {
    summary: 'create mission',
    groups: ['Blue'],
    provenance: [{ id: 'tak-1', name: 'TAK one' }],
    hops: { max: -1, current: 1 },
    hasGroupHopLimits: false,
    payloads: 2,
    payloadBytes: 12,
  });
  const summary = (program: string) => scanRol(made((writer) => writer.string(1, program))).summary;
  assert.equal(summary('  announce\tpackage{"type":"ResourceDetails"};'), 'announce package');
  assert.equal(summary('delete data_feed {};'), 'delete data_feed');
  assert.equal(summary('<script>'), '');
  assert.equal(summary(''), '');
  assert.equal(summary(`${'x'.repeat(1e5)} y`), '');
  assert.throws(() => scanRol(made((writer) => writer.bytes(1, Buffer.from([0xff])))), breach('bad_utf8'));
});

test('a ROL is forwarded like an event', () => {
  const forwarded = forwardFederated(ROL.bytes, { groups: ['Red'], self: SELF, hops: { max: -1, current: 2 } });
  for (const field of [1, 2]) assert.deepEqual(fields(forwarded, field), fields(ROL.bytes, field));
  const scan = scanRol(forwarded);
  assert.deepEqual(scan.groups, ['Red']);
  assert.deepEqual(scan.provenance?.at(-1), SELF);
  assert.deepEqual(scan.hops, { max: -1, current: 2 });
});

// --- the link's own messages -------------------------------------------------------------------------------------------

test('groups are read with those nested in them', () => {
  assert.deepEqual(scanGroups(GROUPS.bytes), {
    groups: ['Blue', 'Red', 'Green', 'Deep'],
    status: SERVING.serving,
    provenance: [{ id: 'hub-1', name: 'Hub' }],
    hops: { max: -1, current: 1 },
  });
  assert.deepEqual(scanGroups(Buffer.alloc(0)), {
    groups: [],
    status: undefined,
    provenance: undefined,
    hops: undefined,
  });
});

test('groups are written as protoc writes them', () => {
  const said = { groups: ['Blue', 'Red'], self: { id: 'hub-1', name: 'Hub' }, hops: { max: -1, current: 1 } };
  const first = groupsMessage({ ...said, serving: true });
  assert.ok(GROUPS.bytes.subarray(0, first.length).equals(first));
  assert.equal(scanGroups(groupsMessage(said)).status, undefined, 'SERVING is said once only');
});

test('groups nested too deep or too many are refused', () => {
  const nest = (depth: number): Buffer =>
    made((writer) => (depth === 0 ? writer.string(2, 'G') : writer.bytes(5, nest(depth - 1))));
  assert.deepEqual(scanGroups(nest(8)).groups, ['G']);
  assert.throws(() => scanGroups(nest(9)), breach('too_deep'));
  assert.throws(() => scanGroups(nest(2000)), breach('too_deep'));
  const spread = made((writer) => {
    for (let n = 0; n < 1025; n++) writer.message(5, () => writer.string(2, `G${n}`));
  });
  assert.throws(() => scanGroups(spread), breach('too_many'));
});

test('a subscription is read and written as protoc has it', () => {
  const said = {
    name: 'relay',
    uid: 'uid-1',
    type: CONNECTION_TYPE.takClient,
    serverId: 'server-1',
    filter: 'f',
    version: { major: 5, minor: 7, patch: 14, branch: 'main', variant: 'v' },
  };
  assert.equal(subscription(said).toString('hex'), SUBSCRIPTION.bytes.toString('hex'));
  assert.deepEqual(scanSubscription(SUBSCRIPTION.bytes), said);
  const silent = scanSubscription(Buffer.alloc(0));
  assert.equal(silent.type, CONNECTION_TYPE.hubServer, 'unset means hub server');
  assert.equal(silent.version.major, 0);
  assert.throws(
    () => scanSubscription(made((writer) => writer.message(1, () => writer.string(1, 'x'.repeat(1025))))),
    breach('too_long'),
  );
});

test('health', () => {
  assert.equal(clientHealth(SERVING.serving).toString('hex'), '0801');
  assert.equal(serverHealth(SERVING.notConnected).toString('hex'), '0803');
  assert.equal(clientHealth(SERVING.unknown).length, 0);
  for (const status of Object.values(SERVING)) assert.equal(scanHealth(serverHealth(status)), status);
  assert.equal(scanHealth(Buffer.from('0863', 'hex')), 99);
  assert.throws(() => scanHealth(Buffer.from('08', 'hex')), breach('proto_truncated'));
});
