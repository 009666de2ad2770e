// Files as federates say them: announcements that become events and back, and what is made of hostile ones.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import type { Envelope, Wire } from '../../src/core/message.ts';
import { scanCot } from '../../src/wire/cot.ts';
import { asRol, asXml, fileRol } from '../../src/wire/encode.ts';
import { scanRol } from '../../src/wire/federation.ts';
import { messageOf } from '../../src/wire/message.ts';
import {
  fileShareOf,
  messageOfRol,
  resourceOf,
  rolFromOffer,
  withSenderUrl,
  xmlFromRol,
} from '../../src/wire/package.ts';
import { ProtoWriter } from '../../src/wire/proto.ts';

const HASH = createHash('sha256').update('a file').digest('hex');
const SENT = Date.UTC(2026, 4, 1, 12, 0, 0);

function rol(program: string, payload?: Buffer): Buffer {
  const writer = new ProtoWriter();
  writer.string(1, program);
  if (payload) writer.message(2, () => writer.bytes(2, payload));
  return writer.finish();
}

/** As TAK Server 5.7 writes it (Jackson's order and defaults). */
function announced(more: object = {}, to: object = { callsigns: ['BRAVO'], uids: [] }): Buffer {
  const details = {
    ...{ type: 'ResourceDetails', sha256: HASH, senderUid: JSON.stringify(to), name: 'a.zip', filename: 'a.zip' },
    ...{ senderUrl: '', tsStored: SENT, senderCallsign: 'ALPHA', sizeInBytes: 6, ...more },
  };
  return rol(`announce package\n${JSON.stringify(details)};`);
}

const event = (bytes: Buffer) => {
  const message = messageOfRol(bytes, scanRol(bytes).summary);
  return message.kind === 'event' ? message.event : undefined;
};

/** As ATAK writes it. */
const OFFER = Buffer.from(
  `<event version="2.0" uid="share-1" type="b-f-t-r" how="h-e" time="2026-05-01T12:00:00.250Z" start="2026-05-01T12:00:00.250Z" stale="2026-05-01T12:10:00Z"><point lat="1" lon="2" hae="3" ce="4" le="5"/><detail><fileshare filename="O&apos;Brien&amp;co.zip" senderUrl='https://10.0.0.5:8443/Marti/sync/content?hash=${HASH}&amp;x=1' sizeInBytes="6" sha256="${HASH.toUpperCase()}" senderUid="ANDROID-1" senderCallsign="ALPHA" name="O&apos;Brien"/><ackrequest uid="ack" ackrequested="true" tag="x"/><marti><dest callsign="BRAVO"/><dest uid="UID-2"/></marti></detail></event>`,
);

function envelope(wire: Wire, more: Partial<Envelope> = {}): Envelope {
  return {
    ...{ seq: 1, message: messageOf(wire), wire, from: 'p', receivedWallMs: SENT, receivedMs: 0, expiresMs: Infinity },
    ...{ groups: [], provenance: [], hops: { max: -1, current: 1 }, lane: 1, conflate: '', encodings: undefined },
    ...more,
  };
}

test('what TAK Server announces is an event for the same people', () => {
  const found = event(announced())!;
  assert.deepEqual([found.type, found.destCallsigns, found.destUids], ['b-f-t-r', ['BRAVO'], []]);
  assert.equal(found.timeMs, SENT);
  const share = fileShareOf(xmlFromRol(announced()))!;
  assert.deepEqual(share, { hash: HASH, name: 'a.zip', size: 6 });
  assert.equal(event(announced())!.uid, found.uid, 'the same announcement by another path is the same event');
  assert.notEqual(event(announced({}, { callsigns: ['CHARLIE'], uids: [] }))!.uid, found.uid);
  assert.equal(event(announced({ tsStored: new Date(SENT).toISOString() }))?.timeMs, SENT);
});

test('to a TAK Server and back: addressees, hash, name, size; to another Waystation: all of it', () => {
  const said = rolFromOffer(OFFER, scanCot(OFFER))!;
  const program = said.toString('utf8', said.indexOf('announce'));
  const params = JSON.parse(/^announce package\n(\{.*\});$/s.exec(program)![1]!);
  const { callsigns, uids } = JSON.parse(params.senderUid);
  assert.deepEqual([callsigns, uids], [['BRAVO'], ['UID-2']]);
  assert.deepEqual([params.sha256, params.sizeInBytes, params.type], [HASH, 6, 'ResourceDetails']);
  assert.equal(params.filename, 'O_Brien_co.zip', 'TAK Server makes XML of it without escaping');
  assert.equal(params.tsStored, Date.UTC(2026, 4, 1, 12, 0, 0, 250));
  assert.deepEqual(xmlFromRol(said), OFFER);
  const { event: back } = messageOf({ format: 'rol', bytes: said }) as { event: { uid: string } };
  assert.equal(back.uid, 'share-1');
});

test('stamps: what came as ROL keeps its own, what is made of an event says where that has been', () => {
  const self = { id: 'us', name: 'Us' };
  const been = [{ id: 'first', name: 'First' }];
  const made = scanRol(asRol(envelope({ format: 'xml', bytes: OFFER }, { provenance: been }), ['Blue'], self));
  assert.deepEqual(
    made.provenance?.map(({ id }) => id),
    ['first', 'us'],
  );
  assert.deepEqual([made.groups, made.hops], [['Blue'], { max: -1, current: 2 }]);
  const came = announced();
  const on = asRol(envelope({ format: 'rol', bytes: came }, { provenance: been }), [], self);
  assert.deepEqual(
    scanRol(on).provenance?.map(({ id }) => id),
    ['us'],
  );
  assert.deepEqual(on.subarray(0, came.length), came, 'the program goes on byte for byte');
  assert.ok(asXml(envelope({ format: 'rol', bytes: came })).includes('<fileshare '));
});

test('the file goes as create resource, its bytes last', () => {
  const bytes = Buffer.from('a file');
  const words = { hash: HASH, name: 'a.zip', mime: 'application/zip', uploader: 'A', creatorUid: 'U', keywords: ['k'] };
  const of = envelope({ format: 'xml', bytes: OFFER });
  const head = fileRol({ ...words, size: bytes.length }, of, ['Blue'], { id: 'us', name: 'Us' });
  const whole = Buffer.concat([head, bytes]);
  const scan = scanRol(whole);
  assert.deepEqual([scan.summary, scan.payloads, scan.payloadBytes, scan.groups], ['create resource', 1, 6, ['Blue']]);
  const { data, ...rest } = resourceOf(whole, scan.summary)!;
  assert.deepEqual([data, rest], [bytes, words]);
  assert.equal(resourceOf(whole, 'update mission'), undefined);
});

test('the place of a file is told anew, whatever quotes it stood in, and nothing else changes', () => {
  const url = 'http://192.0.2.1:8080/Marti/sync/content?hash=1&a=2';
  const changed = withSenderUrl(OFFER, url)!;
  assert.equal(scanCot(changed).uid, 'share-1');
  const [before, after] = [OFFER, changed].map((xml) => String(xml).replace(/ senderUrl=("[^"]*"|'[^']*')/, ''));
  assert.equal(after, before);
  assert.ok(changed.includes('senderUrl="http://192.0.2.1:8080/Marti/sync/content?hash=1&amp;a=2"'));
});

test('a declaration before it, a comment and CDATA in it change nothing', () => {
  const odd = OFFER.toString().replace(
    '<fileshare ',
    '<!-- <fileshare sha256="x"/> --><a><![CDATA[<fileshare/>]]></a><fileshare ',
  );
  for (const text of [`<?xml version="1.0" encoding="UTF-8"?>\n${OFFER}`, odd, `\n${OFFER}\n`]) {
    const xml = Buffer.from(text);
    assert.equal(fileShareOf(xml)?.hash, HASH);
    assert.equal(event(rolFromOffer(xml, scanCot(xml))!)?.uid, 'share-1');
    assert.ok(scanCot(withSenderUrl(xml, 'http://x/y')!).uid, 'share-1');
  }
});

test('hostile programs are missions that nobody here understands', () => {
  const cases: Readonly<Record<string, Buffer>> = {
    'no JSON': rol('announce package\n{"sha256": ;'),
    'no hash': announced({ sha256: '../../etc/passwd' }),
    'a hash that is none': announced({ sha256: 7 }),
    'no size': announced({ sizeInBytes: 'many' }),
    'a size below nothing': announced({ sizeInBytes: -1 }),
    'no time': announced({ tsStored: null }),
    'a time that is none': announced({ tsStored: 1e300 }),
    'two statements': rol(`${announced().toString('utf8', 3)}announce package {};`),
    'a list': rol('announce package\n[1];'),
    deep: rol(`announce package\n${'{"a":'.repeat(40_000)}`),
    'too long': announced({ name: 'x'.repeat(70_000) }),
  };
  for (const [what, bytes] of Object.entries(cases)) assert.equal(event(bytes), undefined, what);
});

test('names that are XML, and events inside that are about something else', () => {
  const odd = announced({ filename: `a"/><evil b='<&.zip`, senderCallsign: '\u0000]]>' });
  const share = event(odd) && fileShareOf(xmlFromRol(odd));
  assert.ok(share === undefined || share.name === `a"/><evil b='<&.zip`);
  const other = OFFER.toString().replaceAll(new RegExp(HASH, 'gi'), 'ff'.repeat(32));
  const found = event(announced({}, { callsigns: ['BRAVO'], uids: [], cot: other }))!;
  assert.ok(found.uid.startsWith('package-'), 'the announcement counts, not what it smuggles');
  const position = OFFER.toString().replace('b-f-t-r', 'a-f-G-U-C');
  assert.ok(event(announced({}, { callsigns: [], uids: [], cot: position }))!.uid.startsWith('package-'));
  const crowd = { uids: Array.from({ length: 5_000 }, (_, n) => `U${n}`), callsigns: [] };
  assert.ok((event(announced({}, crowd))?.destUids.length ?? 0) <= 256);
});
