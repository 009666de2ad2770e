// We are the client: TAK servers as their makes behave, quirks included (peers' sources: src/links/cot/README.md).
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import type { TlsOptions } from 'node:tls';
import { ManualClock } from '../../../src/lib/clock.ts';
import { LinkError } from '../../../src/lib/errors.ts';
import { cotKind } from '../../../src/links/cot/index.ts';
import { scanCot } from '../../../src/wire/cot.ts';
import { frameTak, takFromXml } from '../../../src/wire/tak.ts';
import { makeCa, makeLeaf, testIdentity, trusting } from '../../support/pki.ts';
import { sampleEvent } from '../contract.ts';
import { changed, envelope, type RecordedSession, type RunOptions, runLink, until } from '../memory.ts';
import { offer, ping, type Raw, response, server, tlsServer, uidOf, xml } from './raw.ts';

const NODE = { id: 'ws-123', name: 'Bridge', version: '1' };

function dial(t: TestContext, port: number, settings: object = {}, options: RunOptions = {}) {
  const config = cotKind.schema.parse({ connect: `127.0.0.1:${port}`, ...settings });
  return runLink(t, cotKind.create(config), { node: NODE, ...options });
}

async function connected(t: TestContext, settings: object = {}, options: RunOptions = {}) {
  const tak = await server(t);
  const link = dial(t, tak.port, settings, options);
  const far = await tak.connection();
  const session = await link.hub.session();
  return { tak, link, far, session };
}

/** The server's side of the change to TAK protocol 1. */
async function agree(far: Raw, session: RecordedSession): Promise<void> {
  far.send(offer('offer-1'));
  assert.equal(uidOf(await far.event('t-x-takp-q')), 'offer-1');
  const before = session.writables;
  far.send(response('offer-1', true));
  await until('the end of the silence', () => session.writables > before);
}

const takFrame = (event: string) => {
  const bytes = Buffer.from(event.slice(event.indexOf('<event')));
  return frameTak(takFromXml(bytes, scanCot(bytes)));
};

const sendSoon = async (session: RecordedSession, uid: string, size = 0) => {
  const event = sampleEvent(uid, size);
  while (!session.session.send(event, [])) {
    const before = session.writables;
    await until('room', () => session.writables > before);
  }
};

describe('a TAK server', () => {
  test('is expected before it is there, and one durable peer', async (t) => {
    const { link, session, far } = await connected(t);
    assert.deepEqual(link.hub.expected, [session.spec]);
    assert.deepEqual(session.spec, {
      key: 'test',
      link: 'test',
      kind: 'cot',
      name: session.session.address,
      durable: true,
      graceMs: 60_000,
    });
    assert.equal(link.reports.at(-1)?.state, 'connected');
    far.socket.end();
    assert.equal((await session.closing()).reason, 'remote_closed');
    const error = await link.ended;
    assert.ok(error instanceof LinkError && error.code === 'closed_at_once', 'it never said anything');
    const talked = await connected(t);
    talked.far.send(xml('A-1'));
    await talked.session.event('A-1');
    talked.far.socket.end();
    const later = await talked.link.ended;
    assert.ok(later instanceof LinkError && later.code === 'remote_closed');
  });

  test('hears our own position first, and again each minute', async (t) => {
    const clock = new ManualClock();
    const { far, session } = await connected(t, {}, { clock });
    session.session.send(sampleEvent('E-1'), []);
    await far.event('E-1');
    assert.match(far.events[0]!, /uid="ws-123" type="a-f-G-U-C"/);
    assert.match(far.events[0]!, /<contact callsign="Bridge"/);
    assert.ok(far.text.startsWith('<event'));
    assert.ok(!far.text.includes('</event>\n'), 'no newline after an event');
    const count = far.events.length;
    far.send(xml('ALIVE'));
    await session.event('ALIVE');
    clock.advance(30_000);
    far.send(xml('ALIVE-2'));
    await session.event('ALIVE-2');
    clock.advance(30_000);
    await until('the second position', () =>
      far.events.slice(count).some((event) => event.includes('uid="ws-123" type="a-f')),
    );
  });

  test('knows us by the uid and callsign configured', async (t) => {
    const { far } = await connected(t, { uid: 'RELAY-7', callsign: 'Tom & Jerry' });
    const first = await far.event('RELAY-7');
    assert.match(first, /callsign="Tom &amp; Jerry"/);
  });

  test('is sent credentials before anything else', async (t) => {
    const { far, session } = await connected(t, { auth: { username: 'u<1>', password: 'p"2"' } });
    session.session.send(sampleEvent('E-1'), []);
    await far.event('E-1');
    const auth = `<auth><cot username="u&lt;1&gt;" password="p&quot;2&quot;" uid="ws-123" callsign="Bridge"/></auth>`;
    assert.ok(far.text.startsWith(`${auth}<event`), far.text.slice(0, 200));
  });

  test('its events are delivered, a leave notice as one; its pings are neither answered nor passed on', async (t) => {
    const { far, session } = await connected(t, { profile: 'taky' });
    far.send(
      ping('SERVER') + xml('A-1') + xml('x', { type: 't-x-d-d', detail: `<link uid="A-1" type="a-f"/>` }) + xml('A-2'),
    );
    await session.event('A-2');
    assert.deepEqual(
      session.delivered.map(({ message }) =>
        message.kind === 'contact' ? `${message.op} ${message.contact.uid}` : '',
      ),
      ['', 'delete A-1', ''],
    );
    session.session.send(sampleEvent('E-1'), []);
    await far.event('E-1');
    assert.ok(!far.text.includes('t-x-c-t-r'));
  });

  test('gets a flow tag on what we send, unless that is switched off', async (t) => {
    const tagged = await connected(t);
    tagged.session.session.send(sampleEvent('E-1'), []);
    assert.match(await tagged.far.event('E-1'), /<_flow-tags_ waystation-ws-123="/);
    const plain = await connected(t, { flow_tag: false });
    plain.session.session.send(sampleEvent('E-1'), []);
    assert.doesNotMatch(await plain.far.event('E-1'), /_flow-tags_/);
  });

  test('gets the flow tag in TAK protocol 1 too', async (t) => {
    const { far, session } = await connected(t);
    await agree(far, session);
    session.session.send(sampleEvent('E-1'), []);
    assert.ok((await far.frame('E-1')).includes('<_flow-tags_ waystation-ws-123="'));
  });

  test('is pinged after 15 s of silence and given up after 45; its answer measures the round trip', async (t) => {
    const clock = new ManualClock();
    const { far, session, link } = await connected(t, {}, { clock });
    clock.advance(14_000);
    clock.advance(1_000);
    const asked = await far.event('t-x-c-t');
    assert.equal(uidOf(asked), 'ws-123-ping');
    clock.advance(200);
    far.send(xml('takPong', { type: 't-x-c-t-r', detail: '' }));
    await until('the round trip', () => session.rtts.length === 1);
    assert.deepEqual(session.rtts, [200]);
    clock.advance(44_000);
    assert.equal(session.closings.length, 0);
    clock.advance(1_000);
    assert.equal((await session.closing()).reason, 'idle_timeout');
    const error = await link.ended;
    assert.ok(error instanceof LinkError && error.code === 'idle_timeout');
  });

  test('may send our ping back in place of a pong', async (t) => {
    const clock = new ManualClock();
    const { far, session } = await connected(t, { profile: 'opentakserver' }, { clock });
    clock.advance(15_000);
    far.send(await far.event('t-x-c-t'));
    await until('the round trip', () => session.rtts.length === 1);
    assert.equal(session.delivered.length, 0);
  });
});

describe('TAK protocol 1 with a server', () => {
  test('once offered: we ask, are silent until answered, and then speak it both ways', async (t) => {
    const { far, session } = await connected(t);
    session.session.send(sampleEvent('E-1'), []);
    await far.event('E-1');
    far.send(offer('offer-1'));
    await far.event('t-x-takp-q');
    assert.equal(session.session.send(sampleEvent('E-2'), []), false);
    const asked = far.bytes.length;
    far.send(xml('A-1'));
    await session.event('A-1');
    assert.equal(far.bytes.length, asked, 'nothing was said in between');
    const before = session.writables;
    // The answer and the first protobuf in one piece: the change is in the middle of what is read.
    far.send(Buffer.concat([Buffer.from(`${xml('A-2')}${response('offer-1', true)}`), takFrame(xml('A-3'))]));
    const { wire } = await session.event('A-3');
    assert.equal(wire?.format, 'tak');
    assert.equal((await session.event('A-2')).wire?.format, 'xml');
    assert.ok(session.writables > before);
    assert.equal(session.session.send(sampleEvent('E-3'), []), true);
    await far.frame('E-3');
    assert.equal(far.events.length, 3, 'our position, E-1 and the request were XML');
  });

  test('refused: XML goes on', async (t) => {
    const { far, session } = await connected(t);
    far.send(offer('offer-1'));
    await far.event('t-x-takp-q');
    far.send(response('offer-1', false));
    await sendSoon(session, 'E-1');
    await far.event('E-1');
  });

  test('never answered: after a minute XML goes on', async (t) => {
    const clock = new ManualClock();
    const { far, session } = await connected(t, { idle_timeout_seconds: 600 }, { clock });
    far.send(offer('offer-1'));
    await far.event('t-x-takp-q');
    clock.advance(59_000);
    assert.equal(session.session.send(sampleEvent('E-1'), []), false);
    clock.advance(1_000);
    await sendSoon(session, 'E-1');
    await far.event('E-1');
    const types = far.events.map((event) => /type="([^"]*)"/.exec(event)![1]);
    const ours = types.filter((type) => type !== 't-x-c-t');
    assert.deepEqual(ours, ['a-f-G-U-C', 't-x-takp-q', 'a-f-G-U-C'], 'no position while we waited');
    assert.ok(types.filter((type) => type === 't-x-c-t').length <= 1, 'no ping while we waited');
  });

  test('an offer of another version, or with `protocol: xml`, is let pass', async (t) => {
    for (const [settings, version] of [
      [{}, 2],
      [{ protocol: 'xml' }, 1],
      [{ profile: 'opentakserver' }, 1],
    ] as const) {
      const { far, session } = await connected(t, settings);
      far.send(offer('offer-1', version) + xml('A-1'));
      await session.event('A-1');
      assert.equal(session.session.send(sampleEvent('E-1'), []), true);
      await far.event('E-1');
      assert.ok(!far.text.includes('t-x-takp-q'));
    }
  });

  test('a request or an unasked answer from a server means nothing', async (t) => {
    const { far, session } = await connected(t);
    far.send(response('x', true) + xml('A-1'));
    await session.event('A-1');
    session.session.send(sampleEvent('E-1'), []);
    await far.event('E-1');
  });
});

describe('OpenTAKServer', () => {
  /** Its reader: cuts what one recv() brings at </event>, and throws the incomplete rest away. */
  function reader(raw: Raw): readonly string[] {
    const events: string[] = [];
    raw.socket.on('data', (chunk: Buffer) => {
      for (const part of chunk.toString().split(/(?<=<\/event>)/))
        if (part.endsWith('</event>')) events.push(uidOf(part));
      changed();
    });
    return events;
  }

  test('loses nothing: each event is alone in its TLS record', async (t) => {
    const identity = testIdentity('ots');
    const { certPem: cert, keyPem: key } = identity.server();
    const tls = await tlsServer(t, { cert, key });
    const link = dial(t, tls.port, { profile: 'opentakserver', tls: true }, { trust: identity.trust });
    const { raw } = await tls.connection();
    const got = reader(raw);
    const session = await link.hub.session();
    const uids = Array.from({ length: 50 }, (_, index) => `E-${index}`);
    for (const uid of uids) await sendSoon(session, uid, 2_000);
    await until('all events', () => got.includes('E-49'));
    assert.deepEqual(got, ['ws-123', ...uids]);
    for (const read of raw.reads) assert.equal(read.toString().split('</event>').length, 2, 'one event in a record');
  });

  test('is not sent what would not fit into one record; that is counted', async (t) => {
    const { far, session } = await connected(t, { profile: 'opentakserver' });
    assert.equal(session.session.send(sampleEvent('LARGE', 16_400), []), true);
    await sendSoon(session, 'FITS', 15_000);
    await far.event('FITS');
    assert.deepEqual(session.undeliverable, { too_large: 1 });
    assert.ok(!far.text.includes('LARGE'));
  });
});

describe('goatak', () => {
  test('is told nothing large in XML: we wait for its offer, then speak protobuf; its stray NULs are passed over', async (t) => {
    const { far, session } = await connected(t, { profile: 'goatak' });
    await far.event('ws-123');
    assert.equal(session.session.send(sampleEvent('E-1', 5_000), []), false, 'not before the offer');
    await agree(far, session);
    await sendSoon(session, 'E-1', 5_000);
    await far.frame('E-1');
    for (const event of far.events) assert.ok(event.length <= 2_048);
    const nul = Buffer.from([0]);
    far.send(Buffer.concat([takFrame(xml('A-1')), nul, takFrame(xml('A-2')), nul]));
    await session.event('A-2');
  });

  test('that makes no offer gets XML up to 2 KiB; more is counted', async (t) => {
    const clock = new ManualClock();
    const { far, session } = await connected(t, { profile: 'goatak' }, { clock });
    assert.equal(session.session.send(sampleEvent('E-1'), []), false);
    clock.advance(10_000);
    await sendSoon(session, 'LARGE', 2_000);
    await sendSoon(session, 'E-1');
    await far.event('E-1');
    assert.deepEqual(session.undeliverable, { too_large: 1 });
    assert.ok(!far.text.includes('LARGE'));
  });
});

describe('a TAK server on TLS', () => {
  const ca = makeCa({ cn: 'TAK CA' });
  const leaf = makeLeaf(ca, { cn: 'takserver', eku: ['server'] });

  const tak = (t: TestContext, options: TlsOptions = {}) =>
    tlsServer(t, { cert: leaf.certPem, key: leaf.keyPem, requestCert: true, rejectUnauthorized: false, ...options });

  test('is trusted by its CA whatever its name, and sees our federation certificate', async (t) => {
    const identity = testIdentity('home');
    const server = await tak(t);
    const link = dial(t, server.port, { tls: { trust: [ca.certPem] } }, { identity });
    const session = await link.hub.session();
    assert.deepEqual(session.session.identity, { id: leaf.fingerprint, name: 'takserver', proof: 'certificate' });
    const { cn, raw } = await server.connection();
    assert.equal(cn, 'home');
    await raw.event('ws-123');
  });

  test('is refused in words when nobody we trust signed for it, and told nothing', async (t) => {
    const server = await tak(t);
    const link = dial(t, server.port, { tls: true }, { trust: trusting(makeCa({ cn: 'Other' })) });
    const error = await link.ended;
    assert.ok(error instanceof LinkError);
    assert.equal(error.code, 'unknown_ca');
    assert.ok(error.fix.length > 10);
    assert.equal(link.hub.sessions.length, 0);
    await server.idle();
    for (const { raw } of server.connections) assert.equal(raw.bytes.length, 0);
  });

  test('must have its address in the certificate only with verify_name', async (t) => {
    const server = await tak(t);
    const link = dial(t, server.port, { tls: { trust: [ca.certPem], verify_name: true } });
    const error = await link.ended;
    assert.ok(error instanceof LinkError && error.code === 'name_mismatch', String(error));
  });

  test('that refuses our certificate is explained, though TLS 1.3 tells us late', async (t) => {
    const server = await tak(t, { ca: ca.certPem, rejectUnauthorized: true });
    const link = dial(t, server.port, { tls: { trust: [ca.certPem] } });
    const error = await link.ended;
    assert.ok(error instanceof LinkError, String(error));
    assert.match(error.code, /^(our_ca_unknown|our_certificate_bad|reset|closed_at_once)$/);
    assert.match(error.fix, /certificate|CA/);
    for (const { closings } of link.hub.sessions) assert.equal(closings.length, 1);
  });
});

test('a server that is not there is a LinkError, and still expected', async (t) => {
  const tak = await server(t);
  const link = dial(t, 1);
  const error = await link.ended;
  assert.ok(error instanceof LinkError && error.code === 'refused');
  assert.equal(link.hub.expected.length, 1);
  assert.equal(link.hub.sessions.length, 0);
  assert.ok(tak.port > 0);
});

test('a directed message passes as it was written', async (t) => {
  const { far, session } = await connected(t, { flow_tag: false });
  const chat = xml('GeoChat.A.B.1', {
    type: 'b-t-f',
    detail: `<__chat id="B"/><marti><dest callsign="BRAVO"/></marti>`,
  });
  const bytes = Buffer.from(chat.slice(chat.indexOf('<event')));
  session.session.send(envelope({ kind: 'event', event: scanCot(bytes) }, { wire: { format: 'xml', bytes } }), []);
  assert.equal(await far.event('b-t-f'), bytes.toString());
});
