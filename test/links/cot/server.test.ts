// We are the server: what phones and other clients meet when they connect to us.
import assert from 'node:assert/strict';
import type { X509Certificate } from 'node:crypto';
import { describe, type TestContext, test } from 'node:test';
import { LiveTrust } from '../../../src/identity/trust.ts';
import { ManualClock } from '../../../src/lib/clock.ts';
import { cotKind } from '../../../src/links/cot/index.ts';
import { scanCot } from '../../../src/wire/cot.ts';
import { frameTak, scanTak, takFromXml } from '../../../src/wire/tak.ts';
import { makeCa, makeLeaf, testIdentity } from '../../support/pki.ts';
import { sampleEvent, sendUntilFull } from '../contract.ts';
import { envelope, type RunOptions, runLink, until, within } from '../memory.ts';
import { offer, phone, ping, request, tlsPhone, uidOf, xml } from './raw.ts';

async function listening(t: TestContext, settings: object = {}, options: RunOptions = {}) {
  const config = cotKind.schema.parse({ listen: '127.0.0.1:0', ...settings });
  const link = runLink(t, cotKind.create(config), options);
  return { link, port: await link.port() };
}

async function connected(t: TestContext, settings: object = {}) {
  const { link, port } = await listening(t, settings);
  const client = await phone(t, port);
  const session = await link.hub.session();
  return { link, port, client, session };
}

/** A TakMessage made by the relay's own writer, which test/wire holds against another implementation. */
function takFrame(event: string): Buffer {
  const bytes = Buffer.from(event.slice(event.indexOf('<event')));
  return frameTak(takFromXml(bytes, scanCot(bytes)));
}

test('the peer that the link dialled before it was told to listen is no longer known', async (t) => {
  const { link } = await listening(t);
  assert.deepEqual(link.hub.dismissed, ['test']);
});

describe('a phone on TCP', () => {
  test('is a peer of its own for as long as it is connected, named by its first position', async (t) => {
    const { session, client, port, link } = await connected(t);
    assert.deepEqual(session.spec, {
      key: 'test/1',
      link: 'test',
      kind: 'cot',
      name: session.session.address,
      durable: false,
      graceMs: 0,
    });
    assert.equal(session.session.identity.proof, 'none');
    assert.equal(session.session.address, `127.0.0.1:${client.socket.localPort}`);
    client.send(xml('CHAT-1', { type: 'b-t-f' }) + xml('PHONE-1') + xml('OTHER-1'));
    await session.event('OTHER-1');
    assert.deepEqual(session.names, ['PHONE-1-CALL']);
    await phone(t, port);
    assert.equal((await link.hub.session(1)).spec.key, 'test/2');
    client.socket.end();
    assert.equal((await session.closing()).reason, 'remote_closed');
  });

  test('its events are delivered with the very bytes it sent', async (t) => {
    const { session, client } = await connected(t);
    const event = xml('PHONE-1', {
      detail: `<contact callsign='Zoë &amp; Ω'/><__group name='Red' role='HQ'/><odd  a = '1'/>`,
    });
    client.send(`\ufeff${event}\r\n${xml('PHONE-2')}`);
    const { message, wire, size } = await session.event('PHONE-1');
    assert.ok(message.kind === 'event');
    assert.equal(message.event.callsign, 'Zoë & Ω');
    assert.equal(message.event.team, 'Red');
    const bytes = Buffer.from(event.slice(event.indexOf('<event')));
    assert.equal(wire?.format, 'xml');
    assert.deepEqual(wire?.bytes, bytes);
    assert.equal(size, bytes.length);
  });

  test('is not sent anything unasked but the offer', async (t) => {
    const { client } = await connected(t);
    await client.event('t-x-takp-v');
    assert.match(client.events[0]!, /<TakProtocolSupport version="1"\/>/);
    assert.equal(client.events.length, 1);
    assert.ok(client.text.startsWith('<event') && client.text.endsWith('</event>'), 'nothing between events');
  });

  test('with `protocol: xml` there is no offer', async (t) => {
    const { client, session } = await connected(t, { protocol: 'xml' });
    session.session.send(sampleEvent('E-1'), []);
    await client.event('E-1');
    assert.equal(client.events.length, 1);
  });

  test('a ping is answered at once, ahead of what waits, and goes no further', async (t) => {
    const { client, session } = await connected(t, { protocol: 'xml' });
    client.socket.pause();
    const taken = await sendUntilFull(session);
    client.send(ping('PHONE-1') + xml('PHONE-1'));
    await session.event('PHONE-1');
    client.socket.resume();
    await until('all of it', () => client.text.includes(taken.at(-1)!) && client.text.endsWith('</event>'));
    const types = client.events.map((event) => /type="([^"]*)"/.exec(event)![1]);
    assert.equal(types.filter((type) => type === 't-x-c-t-r').length, 1);
    assert.ok(types.indexOf('t-x-c-t-r') < types.length - 1, `the pong came before the last of ${types.length}`);
    assert.deepEqual(session.uids, ['PHONE-1']);
  });

  test('t-x-d-d says that a contact left; its own kind of message is not delivered', async (t) => {
    const { client, session } = await connected(t);
    client.send(xml('notice', { type: 't-x-d-d', detail: `<link uid="GONE-1" type="a-f-G" relation="p-p"/>` }));
    client.send(xml('notice', { type: 't-x-d-d', detail: '' }));
    client.send(xml('odd', { type: 't-x-c-m' }) + xml('END'));
    await session.event('END');
    assert.deepEqual(
      session.delivered.map(({ message }) => message.kind === 'contact' && [message.op, message.contact.uid]),
      [['delete', 'GONE-1'], false],
    );
    assert.deepEqual(session.refused, { malformed: 1 });
  });

  test('a bad event is counted and passed over', async (t) => {
    const { client, session } = await connected(t);
    client.send(`${xml('GOOD-1')}<event uid="BAD"><point/></event>${xml('GOOD-2')}`);
    await session.event('GOOD-2');
    assert.deepEqual(session.uids, ['GOOD-1', 'GOOD-2']);
    assert.deepEqual(session.refused, { malformed: 1 });
  });

  test('a hundred bad events in a row end the session', async (t) => {
    const { client, session } = await connected(t);
    client.send('<event uid="BAD"></event>'.repeat(99) + xml('GOOD-1'));
    client.send('<event uid="BAD"></event>'.repeat(99) + xml('GOOD-2'));
    await session.event('GOOD-2');
    client.send('<event uid="BAD"></event>'.repeat(100));
    const { reason, cause } = await session.closing();
    assert.equal(reason, 'protocol_error');
    assert.match(cause!.message, /100 messages in a row/);
    await client.closed;
  });

  test('what is kept of a large read is little more than the events in it', async (t) => {
    const { client, session } = await connected(t);
    client.send(Array.from({ length: 100 }, (_, index) => xml(`E-${index}`)).join(''));
    await session.event('E-99');
    for (const { wire } of session.delivered) {
      assert.ok(wire!.bytes.buffer.byteLength <= Math.max(8_192, 4 * wire!.bytes.length));
    }
  });

  test('that floods is read no faster than 8 MiB/s', async (t) => {
    const clock = new ManualClock();
    const { link, port } = await listening(t, {}, { clock });
    const client = await phone(t, port);
    const session = await link.hub.session();
    const flood = 60;
    for (let count = 0; count < flood; count++) client.send(xml(`E-${count}`, { detail: 'x'.repeat(100_000) }));
    await until('the burst', () => session.delivered.length > 35);
    assert.equal(
      await within(200, () => session.delivered.length > 45),
      undefined,
      'time stands still: no more is read',
    );
    const ticking = setInterval(() => clock.advance(10), 1);
    t.after(() => clearInterval(ticking));
    await session.event(`E-${flood - 1}`);
  });

  test('a polite end finishes the event that is on its way', async (t) => {
    const { link, port } = await listening(t, { protocol: 'xml' }, { clock: new ManualClock() });
    const client = await phone(t, port);
    const session = await link.hub.session();
    client.socket.pause();
    await sendUntilFull(session);
    session.session.close('replaced');
    client.socket.resume();
    await client.closed;
    assert.equal(client.error, undefined);
    assert.ok(client.text.endsWith('</event>'), client.text.slice(-20));
  });

  test('a control message that holds more than it may is malformed', async (t) => {
    const { client, session } = await connected(t);
    const uid = uidOf(await client.event('t-x-takp-v'));
    client.send(request(uid).replace('<TakControl>', `<TakControl><x y="${'z'.repeat(5_000)}"/>`) + xml('PHONE-1'));
    await session.event('PHONE-1');
    assert.deepEqual(session.refused, { malformed: 1 });
  });

  for (const [what, bytes] of [
    ['no XML', 'GET / HTTP/1.1\r\n\r\n'],
    ['a document type', '<!DOCTYPE x [<!ENTITY a "b">]><event/>'],
    ['another element', '<stream:stream to="x">'],
  ] as const) {
    test(`${what} ends the session, with words`, async (t) => {
      const { client, session } = await connected(t);
      client.send(bytes);
      const { reason, cause } = await session.closing();
      assert.equal(reason, 'protocol_error');
      assert.ok(cause && cause.message.length > 5);
      await client.closed;
    });
  }

  test('an event beyond max_event_bytes is counted and ends the session before it is held in memory', async (t) => {
    const { client, session } = await connected(t, { max_event_bytes: 5_000 });
    client.send(xml('FITS', { detail: 'x'.repeat(4_000) }));
    await session.event('FITS');
    client.send(xml('GIANT', { detail: 'x'.repeat(6_000) }).slice(0, 5_500));
    assert.equal((await session.closing()).reason, 'protocol_error');
    assert.deepEqual(session.refused, { too_large: 1 });
  });

  test('is not sent a message larger than ATAK can take; that is counted', async (t) => {
    const { client, session } = await connected(t, { protocol: 'xml' });
    assert.equal(session.session.send(sampleEvent('LARGE', 66_000), []), true);
    assert.equal(session.session.send(sampleEvent('FITS', 64_000), []), true);
    await client.event('FITS');
    assert.equal(client.events.length, 1);
    assert.deepEqual(session.undeliverable, { too_large: 1 });
  });

  test('a directed message passes as it was written', async (t) => {
    const { client, session } = await connected(t, { protocol: 'xml' });
    const chat = xml('GeoChat.A.B.1', {
      type: 'b-t-f',
      detail: `<__chat id="B"/><marti><dest callsign="BRAVO"/></marti>`,
    });
    const bytes = Buffer.from(chat.slice(chat.indexOf('<event')));
    session.session.send(envelope({ kind: 'event', event: scanCot(bytes) }, { wire: { format: 'xml', bytes } }), []);
    assert.equal(await client.event('b-t-f'), bytes.toString());
    client.send(chat);
    const { message } = await session.event('GeoChat.A.B.1');
    assert.ok(message.kind === 'event');
    assert.deepEqual(message.event.destCallsigns, ['BRAVO']);
  });

  test('what a link carries: events and leave notices, nothing between neighbours', async (t) => {
    const { client, session } = await connected(t, { protocol: 'xml' });
    const { carries } = session.session;
    const says = carries.bind(session.session);
    const contact = { uid: 'GONE-1', callsign: 'GONE' };
    const event = sampleEvent('E').message;
    assert.ok(event.kind === 'event');
    assert.equal(says(event), true);
    assert.equal(says({ kind: 'event', event: { ...event.event, type: 't-x-c-t' } }), false);
    assert.equal(says({ kind: 'event', event: { ...event.event, type: 't-x-takp-q' } }), false);
    assert.equal(says({ kind: 'contact', op: 'create', contact }), false);
    assert.equal(says({ kind: 'contact', op: 'update', contact }), false);
    assert.equal(says({ kind: 'mission', summary: '' }), false);
    assert.equal(says({ kind: 'blob', summary: '' }), false);
    assert.equal(says({ kind: 'contact', op: 'delete', contact }), true);
    session.session.send(envelope({ kind: 'contact', op: 'delete', contact }), []);
    assert.match(await client.event('t-x-d-d'), /<link[^>]* uid="GONE-1"/);
  });

  test('a flow tag is left only where asked for', async (t) => {
    const plain = await connected(t, { protocol: 'xml' });
    plain.session.session.send(sampleEvent('E-1'), []);
    assert.doesNotMatch(await plain.client.event('E-1'), /_flow-tags_/);
    const tagged = await connected(t, { protocol: 'xml', flow_tag: true });
    const shared = sampleEvent('E-2');
    tagged.session.session.send(shared, []);
    assert.match(
      await tagged.client.event('E-2'),
      new RegExp(`<_flow-tags_ waystation-${tagged.link.context.node.id}="`),
    );
    plain.session.session.send(shared, []);
    assert.doesNotMatch(await plain.client.event('E-2'), /_flow-tags_/);
  });

  test('silence beyond idle_timeout_seconds ends the session; any byte is life', async (t) => {
    const clock = new ManualClock();
    const { link, port } = await listening(t, { idle_timeout_seconds: 60 }, { clock });
    const client = await phone(t, port);
    const session = await link.hub.session();
    clock.advance(59_000);
    client.send(xml('ALIVE'));
    await session.event('ALIVE');
    clock.advance(59_000);
    assert.equal(session.closings.length, 0);
    clock.advance(1_000);
    assert.equal((await session.closing()).reason, 'idle_timeout');
    await client.closed;
  });
});

describe('TAK protocol 1 with a phone', () => {
  test('after its request and our answer both directions are protobuf', async (t) => {
    const { client, session } = await connected(t);
    const uid = uidOf(await client.event('t-x-takp-v'));
    client.send(request(uid));
    const answer = await client.event('t-x-takp-r');
    assert.equal(uidOf(answer), uid);
    assert.match(answer, /<TakResponse status="true"\/>/);
    session.session.send(sampleEvent('E-1'), []);
    const frame = await client.frame('E-1');
    assert.equal(scanTak(frame).uid, 'E-1');
    assert.equal(
      client.bytes.indexOf(0xbf),
      client.bytes.lastIndexOf('</event>') + 8,
      'nothing between XML and protobuf',
    );
    client.send(takFrame(xml('PHONE-1')));
    const { wire, message, size } = await session.event('PHONE-1');
    assert.equal(wire?.format, 'tak');
    assert.ok(message.kind === 'event' && message.event.callsign === 'PHONE-1-CALL');
    assert.equal(size, takFrame(xml('PHONE-1')).length);
  });

  test('what was taken before the request leaves before the answer, as XML', async (t) => {
    const { client, session } = await connected(t);
    const uid = uidOf(await client.event('t-x-takp-v'));
    client.socket.pause();
    const taken = await sendUntilFull(session);
    // It does not even wait for the answer: its ping must not be answered before the format has changed.
    client.send(Buffer.concat([Buffer.from(request(uid)), takFrame(ping('PHONE-1')), takFrame(xml('MARK'))]));
    assert.equal((await session.event('MARK')).wire?.format, 'tak');
    client.socket.resume();
    await client.frame('t-x-c-t-r');
    assert.deepEqual(client.events.map(uidOf).slice(1), [...taken, uid]);
    assert.ok(client.bytes.indexOf(0xbf) > client.bytes.lastIndexOf('</event>'));
  });

  test('until it asks XML goes both ways, however late it asks', async (t) => {
    const { client, session } = await connected(t);
    const uid = uidOf(await client.event('t-x-takp-v'));
    client.send(xml('PHONE-1'));
    await session.event('PHONE-1');
    session.session.send(sampleEvent('E-1'), []);
    await client.event('E-1');
    client.send(request(uid));
    await client.event('t-x-takp-r');
  });

  test('another version is declined, and XML goes on', async (t) => {
    const { client, session } = await connected(t);
    const uid = uidOf(await client.event('t-x-takp-v'));
    client.send(request(uid, 2));
    assert.match(await client.event('t-x-takp-r'), /status="false"/);
    client.send(xml('PHONE-1'));
    await session.event('PHONE-1');
    session.session.send(sampleEvent('E-1'), []);
    await client.event('E-1');
  });

  test('a request without an offer is not answered', async (t) => {
    const { client, session } = await connected(t, { protocol: 'xml' });
    client.send(request('x') + xml('PHONE-1'));
    await session.event('PHONE-1');
    session.session.send(sampleEvent('E-1'), []);
    await client.event('E-1');
    assert.equal(client.events.length, 1);
  });

  test('an offer or an answer from a client means nothing', async (t) => {
    const { client, session } = await connected(t);
    client.send(offer('x') + xml('PHONE-1'));
    await session.event('PHONE-1');
    session.session.send(sampleEvent('E-1'), []);
    await client.event('E-1');
    assert.equal(client.events.length, 2);
  });

  test('stray bytes between frames are passed over, noise ends the session', async (t) => {
    const { client, session } = await connected(t);
    client.send(request(uidOf(await client.event('t-x-takp-v'))));
    await client.event('t-x-takp-r');
    client.send(Buffer.concat([takFrame(xml('P-1')), Buffer.from([0]), takFrame(xml('P-2')), Buffer.from([0])]));
    await session.event('P-2');
    client.send(Buffer.alloc(200, 0x41));
    assert.equal((await session.closing()).reason, 'protocol_error');
  });
});

describe('credentials', () => {
  const auth = { username: 'alpha', password: 'correct horse' };
  const say = (username: string, password: string) =>
    `<auth><cot username="${username}" password="${password}" uid="PHONE-1" callsign="P"/></auth>`;

  test('are taken and ignored where none are asked for', async (t) => {
    const { client, session } = await connected(t);
    client.send(say('x', 'y') + xml('PHONE-1'));
    await session.event('PHONE-1');
    assert.equal(session.session.identity.proof, 'none');
  });

  test('the right ones let in, and prove who it is', async (t) => {
    const { link, port } = await listening(t, { auth });
    const client = await phone(t, port);
    client.send(say('alpha', 'correct horse') + xml('PHONE-1'));
    const session = await link.hub.session();
    await session.event('PHONE-1');
    assert.deepEqual(session.session.identity, { id: 'alpha', name: 'alpha', proof: 'secret' });
    assert.equal(session.spec.name, 'alpha');
    await client.event('t-x-takp-v');
  });

  for (const [what, text, code] of [
    ['a wrong password', say('alpha', 'wrong'), 'wrong_password'],
    ['a wrong name', say('bravo', 'correct horse'), 'wrong_password'],
    ['an event instead', xml('PHONE-1'), 'no_password'],
    ['a ping instead', ping('PHONE-1'), 'no_password'],
  ] as const) {
    test(`${what} is refused in words; the hub never hears of it`, async (t) => {
      const { link, port } = await listening(t, { auth });
      const client = await phone(t, port);
      client.send(text);
      const { words, fix } = await link.refusal(code);
      assert.ok(words.length > 10 && fix.length > 10);
      assert.doesNotMatch(words + fix, /correct horse|wrong"/);
      await client.closed;
      assert.equal(link.hub.sessions.length, 0);
      assert.equal(client.bytes.length, 0, 'a stranger is told nothing');
    });
  }

  test('whoever sends none in time is cut', async (t) => {
    const clock = new ManualClock();
    const { link, port } = await listening(t, { auth }, { clock });
    const client = await phone(t, port);
    // The deadline stands only once the connection was accepted.
    const waiting = setInterval(() => clock.advance(30_000), 20);
    t.after(() => clearInterval(waiting));
    await link.refusal('no_password');
    await client.closed;
  });
});

describe('a phone on TLS', () => {
  const identity = testIdentity('relay');
  const known = identity.issueClient('ALPHA phone');
  const tls = { cert: known.certPem, key: known.keyPem };

  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    test(`${version}: with a certificate of ours it is let in by its name, and trusts our server certificate`, async (t) => {
      const { link, port } = await listening(t, { tls: true }, { identity });
      const options = {
        ...tls,
        minVersion: version,
        maxVersion: version,
        ca: identity.ca.certPem,
        rejectUnauthorized: true,
      };
      const client = await tlsPhone(t, port, { ...options, servername: 'localhost' });
      const session = await link.hub.session();
      assert.deepEqual(session.session.identity, { id: known.fingerprint, name: 'ALPHA phone', proof: 'certificate' });
      client.send(xml('PHONE-1'));
      await session.event('PHONE-1');
      session.session.send(sampleEvent('E-1'), []);
      await client.event('E-1');
    });
  }

  test('a stranger is refused in words, and hears nothing', async (t) => {
    const { link, port } = await listening(t, { tls: true }, { identity });
    const stranger = makeLeaf(makeCa({ cn: 'Foreign CA' }), { cn: 'stranger' });
    const client = await tlsPhone(t, port, { cert: stranger.certPem, key: stranger.keyPem });
    const { words, fix } = await link.refusal('unknown_ca');
    assert.match(words, /stranger|Foreign CA/);
    assert.ok(fix.length > 10);
    await client.closed;
    assert.equal(client.bytes.length, 0);
    assert.equal(link.hub.sessions.length, 0);
  });

  test('the CA of the whole relay’s federates does not let phones in; the link’s own trust does', async (t) => {
    const ca = makeCa({ cn: 'Other CA' });
    const leaf = makeLeaf(ca, { cn: 'their phone', eku: ['client'] });
    const trust = { cas: [ca.certPem], pins: [] };
    const closed = await listening(t, { tls: true }, { identity, trust });
    await tlsPhone(t, closed.port, { cert: leaf.certPem, key: leaf.keyPem });
    await closed.link.refusal('unknown_ca');
    const open = await listening(t, { tls: { trust: [ca.certPem] } }, { identity });
    await tlsPhone(t, open.port, { cert: leaf.certPem, key: leaf.keyPem });
    assert.equal((await open.link.hub.session()).session.identity.name, 'their phone');
  });

  test('whom the relay has revoked is cut off at once, is not let in again, and others stay', async (t) => {
    const [lost, kept] = [identity.issueClient('Lost'), identity.issueClient('Kept')];
    const trust = new LiveTrust({ cas: [], pins: [] });
    const { link, port } = await listening(t, { tls: true }, { identity, trust });
    const client = await tlsPhone(t, port, { cert: lost.certPem, key: lost.keyPem });
    const session = await link.hub.session();
    await tlsPhone(t, port, { cert: kept.certPem, key: kept.keyPem });
    const other = await link.hub.session(1);
    trust.become({ cas: [], pins: [], revoked: [lost.fingerprint] });
    assert.equal((await session.closing()).reason, 'revoked');
    await client.closed;
    await tlsPhone(t, port, { cert: lost.certPem, key: lost.keyPem });
    await link.refusal('revoked');
    assert.deepEqual([other.closings, link.hub.sessions.length], [[], 2]);
  });

  test('a phone of another network is refused in words; one that has become that is cut off', async (t) => {
    const [medic, officer] = [identity.issueClient('Medic'), identity.issueClient('Officer')];
    let banned = '';
    const objection = (leaf: X509Certificate) =>
      leaf.subject === banned ? { code: 'other_network', words: 'made for another', fix: 'Elsewhere.' } : undefined;
    const guests = new LiveTrust({ cas: [], pins: [], objections: [objection] });
    const { link, port } = await listening(t, { tls: true }, { identity, guests });
    const first = await tlsPhone(t, port, { cert: medic.certPem, key: medic.keyPem });
    const session = await link.hub.session();
    await tlsPhone(t, port, { cert: officer.certPem, key: officer.keyPem });
    const other = await link.hub.session(1);
    banned = 'CN=Medic';
    guests.become(guests.now());
    assert.equal((await session.closing()).reason, 'revoked');
    await first.closed;
    const again = await tlsPhone(t, port, { cert: medic.certPem, key: medic.keyPem });
    await again.closed;
    assert.equal(again.bytes.length, 0);
    assert.deepEqual(
      link.refusals.map(({ trouble }) => trouble.code),
      ['other_network', 'other_network'],
    );
    assert.deepEqual([other.closings, link.hub.sessions.length], [[], 2]);
  });

  test('without a certificate only where that is allowed', async (t) => {
    const closed = await listening(t, { tls: true }, { identity });
    await tlsPhone(t, closed.port, {});
    await closed.link.refusal('no_certificate');
    const open = await listening(t, { tls: { optional_client_cert: true } }, { identity });
    await tlsPhone(t, open.port, {});
    assert.equal((await open.link.hub.session()).session.identity.proof, 'none');
  });
});

test('more than max_connections are refused in words', async (t) => {
  const { link, port } = await listening(t, { max_connections: 1 });
  await phone(t, port);
  await link.hub.session();
  const second = await phone(t, port);
  await link.refusal('peer_limit');
  await second.closed;
});

test('many phones share one encoding of an event', async (t) => {
  const { link, port } = await listening(t);
  const clients = await Promise.all([phone(t, port), phone(t, port)]);
  for (const client of clients) {
    client.send(request(uidOf(await client.event('t-x-takp-v'))));
    await client.event('t-x-takp-r');
  }
  const event = sampleEvent('E-1');
  for (let index = 0; index < 2; index++) (await link.hub.session(index)).session.send(event, []);
  for (const client of clients) await client.frame('E-1');
  assert.ok(event.encodings?.next && !event.encodings.next.next, 'the TakMessage and its frame');
});
