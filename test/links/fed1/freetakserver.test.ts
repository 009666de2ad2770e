// Our link against a FreeTAKServer with its real habits: its reader, its clock, its contacts, its indifference to certificates.
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { systemClock } from '../../../src/lib/clock.ts';
import { hasPython, type Line, type Peer } from '../../support/peers/spawn.ts';
import { fastClock, pairOf, TestRelay, until } from '../fed2/interop-relay.ts';
import { chatTo, dials, fts, listens, phoneOf, said } from './rig.ts';

const LOCAL = { local: [{ uid: 'fts-1', callsign: 'FOXTROT' }] };
/** How far a time may be off: the machine may be slow, a time zone is at least 15 minutes. */
const CLOSE_MS = 60_000;

/** A relay that dials a FreeTAKServer, with a phone. */
async function joined(t: TestContext, flags: object = {}, over: object = {}, clock = systemClock) {
  const far = await listens(t, 'freetakserver', { ...LOCAL, ...flags });
  const relay = new TestRelay(t, { fts: fts(far, over) }, clock);
  const phone = phoneOf(relay);
  await relay.peer('fts');
  await far.waitFor({ at: 'connected' });
  return { far, relay, phone };
}

const heard = (phone: ReturnType<typeof phoneOf>, uid: string) =>
  until(
    `${uid} at the phone`,
    () => phone.events.find((event) => event.uid === uid),
    () => phone.log.join(' '),
  );

const shownMs = (line: Line) => Date.parse(String(line.time));

/** What a real FreeTAKServer would have stumbled over. */
function assertAtEase(far: Peer): void {
  assert.deepEqual(far.violations(), []);
  assert.deepEqual(far.all({ at: 'lost' }), []);
}

describe('fed1 with a FreeTAKServer', { timeout: 120_000 }, () => {
  for (const [tz, zone] of [
    ['UTC0', undefined],
    ['<+02>-2', 'UTC+02:00'],
    ['EST5', 'UTC-05:00'],
    ['<+0545>-5:45', 'UTC+05:45'],
  ] as const) {
    test(`on a computer with TZ=${tz} times are right on both sides`, async (t) => {
      if (!hasPython(t)) return;
      const { far, relay, phone } = await joined(t, { tz });
      far.send({ do: 'send', uid: 'fts-1' });
      const event = await heard(phone, 'fts-1');
      assert.ok(Math.abs(Date.now() - event.timeMs) < CLOSE_MS, `${new Date(event.timeMs).toISOString()} at the phone`);
      assert.ok(event.staleMs > Date.now(), 'not born stale');
      phone.say(said('ph-1'));
      const line = await far.waitFor({ at: 'event', uid: 'ph-1' });
      assert.ok(Math.abs(Date.now() - shownMs(line)) < CLOSE_MS, `${line.time} is shown over there`);
      const warning = relay.link('fts').warnings?.find(({ code }) => code === 'peer_time_zone');
      assert.equal(warning?.words.match(/UTC[+-]\d\d:\d\d/)?.[0], zone);
      assert.equal(relay.memory.has('fts/zone fts'), zone !== undefined, 'remembered for the next start');
      assertAtEase(far);
    });
  }

  test('a zone found once is known from the first message of the next connection on', async (t) => {
    if (!hasPython(t)) return;
    const far = await listens(t, 'freetakserver', { ...LOCAL, tz: 'EST5' });
    const relay = new TestRelay(t, { fts: fts(far) }, systemClock, new Map([['fts/zone fts', String(-5 * 3_600_000)]]));
    await relay.peer('fts');
    phoneOf(relay).say(said('ph-1'));
    const line = await far.waitFor({ at: 'event', uid: 'ph-1' });
    assert.ok(Math.abs(Date.now() - shownMs(line)) < CLOSE_MS);
  });

  test('a unit is announced in the message of its first position, with its whole detail as XML', async (t) => {
    if (!hasPython(t)) return;
    const { far, relay, phone } = await joined(t);
    phone.say(said('ph-1'));
    const event = await far.waitFor({ at: 'event', uid: 'ph-1' });
    const order = far.lines.filter(({ uid }) => uid === 'ph-1').map(({ at, op }) => [at, op]);
    assert.deepEqual(order, [
      ['contact', 'CREATE'],
      ['event', undefined],
    ]);
    assert.deepEqual(far.all({ at: 'phantom' }), [], 'no event without uid among its clients');
    for (const part of ['<status battery="77"', '<track course="12.5" speed="3.5"', 'callsign="PH-1"']) {
      assert.ok(String(event.detail).includes(part), `${part} in ${event.detail}`);
    }
    assert.deepEqual(far.all({ at: 'unknown' }), [], 'nothing that its schema does not know');
    const peer = await relay.peer('fts');
    const sum = (what: 'sent' | 'offered') => peer.lanes.reduce((n, lane) => n + lane[what], 0);
    assert.deepEqual([sum('sent'), sum('offered')], [2, 2], 'both are in the books');
    assertAtEase(far);
  });

  test('directed chat finds its one addressee, both ways, by uid or by callsign; a leave ends it', async (t) => {
    if (!hasPython(t)) return;
    const { far, relay, phone } = await joined(t);
    const other = phoneOf(relay, 'other');
    phone.say(said('ph-1'));
    other.say(said('ph-2'));
    await far.waitFor({ at: 'contact', uid: 'ph-1' });
    far.send({
      do: 'send',
      uid: 'c-in',
      type: 'b-t-f',
      how: 'h-g-i-g-o',
      to: ['PH-1'],
      detail: '<remarks>hi</remarks>',
    });
    await heard(phone, 'c-in');
    assert.ok(!other.events.some(({ uid }) => uid === 'c-in'), 'nobody else');
    phone.say(chatTo('c-callsign', 'ph-1', { uid: 'fts-1', callsign: 'FOXTROT' }));
    assert.deepEqual((await far.waitFor({ at: 'event', uid: 'c-callsign' })).to, ['FOXTROT']);
    phone.say(
      said('c-uid', {
        type: 'b-t-f',
        how: 'h-g-i-g-o',
        detail: '<marti><dest uid="fts-1"/></marti><remarks>x</remarks>',
      }),
    );
    assert.deepEqual((await far.waitFor({ at: 'event', uid: 'c-uid' })).to, ['FOXTROT'], 'it knows callsigns only');
    phone.port.closed('remote_closed');
    await far.waitFor({ at: 'contact', uid: 'ph-1', op: 'DELETE' });
    far.send({ do: 'send', uid: 'c-late', type: 'b-t-f', to: ['PH-1'] });
    await far.waitFor({ at: 'not_sent', uid: 'c-late' });
    far.send({ do: 'leave', uid: 'fts-1' });
    await until(
      'the leave',
      () => relay.hub.picture.contacts === 1,
      () => String(relay.hub.picture.contacts),
    );
    assertAtEase(far);
  });

  test('fifty events in one turn arrive, each in a record of its own, none late', async (t) => {
    if (!hasPython(t)) return;
    const { far, phone } = await joined(t);
    for (let n = 0; n < 50; n++) phone.say(said(`m-${n}`, { type: 'b-m-p-s-m', how: 'h-g-i-g-o', lat: 40 + n / 100 }));
    await far.waitFor({ at: 'event', uid: 'm-49' });
    const uids = far.all({ at: 'event' }).map(({ uid }) => uid);
    assert.deepEqual(
      uids,
      Array.from({ length: 50 }, (_, n) => `m-${n}`),
    );
    assertAtEase(far);
  });

  test('what does not fit into one read of it is not sent, and counted; up to there it is', async (t) => {
    if (!hasPython(t)) return;
    const { far, relay, phone } = await joined(t);
    const marker = (uid: string, size: number) =>
      said(uid, { type: 'b-m-p-s-m', how: 'h-g-i-g-o', detail: `<remarks>${'x'.repeat(size)}</remarks>` });
    phone.say(marker('m-fits', 16_000));
    phone.say(marker('m-large', 17_000));
    phone.say(marker('m-after', 10));
    await far.waitFor({ at: 'event', uid: 'm-after' });
    assert.deepEqual(
      far.all({ at: 'event' }).map(({ uid }) => uid),
      ['m-fits', 'm-after'],
    );
    const peer = await relay.peer('fts');
    assert.equal(
      peer.lanes.reduce((n, { dropped }) => n + (dropped.too_large ?? 0), 0),
      1,
    );
    assertAtEase(far);
  });

  test('it never dials again; we do, for ever, and tell it anew who is there', async (t) => {
    if (!hasPython(t)) return;
    const { far, relay, phone } = await joined(t, {}, {}, fastClock(20));
    phone.say(said('ph-1'));
    await far.waitFor({ at: 'event', uid: 'ph-1' });
    const { port } = far;
    await far.vanish();
    assert.match((await relay.trouble('fts', 'refused')).fix, /switches its federation server on/);
    const again = await listens(t, 'freetakserver', LOCAL, { port });
    await again.waitFor({ at: 'contact', uid: 'ph-1', op: 'CREATE' });
    await again.waitFor({ at: 'event', uid: 'ph-1' });
    again.send({ do: 'send', uid: 'fts-1' });
    await heard(phone, 'fts-1');
    assertAtEase(again);
  });

  test('its certificate is taken on first sight, with a warning, and no other after it', async (t) => {
    if (!hasPython(t)) return;
    const { far, relay } = await joined(t, {}, {}, fastClock(20));
    const peer = await relay.peer('fts');
    assert.equal(peer.session?.identity.proof, 'none', 'shown as unauthenticated');
    const warning = relay.link('fts').warnings?.find(({ code }) => code === 'peer_authenticates_nobody');
    assert.match(warning?.words ?? '', /lets anybody in/);
    assert.match(warning?.fix ?? '', /VPN.*taken on first sight/);
    const { port } = far;
    await far.vanish();
    const impostor = await listens(t, 'freetakserver', LOCAL, { port, cert: 'stranger' });
    const trouble = await relay.trouble('fts', 'pin_changed');
    assert.match(trouble.fix, /trust: \["SHA256:[0-9a-f]{64}"\]/);
    assert.deepEqual(impostor.all({ at: 'contact' }), [], 'it was told nothing');
    // What the fix says helps.
    const [pin] = /SHA256:[0-9a-f]{64}/.exec(trouble.fix)!;
    relay.apply({ fts: fts(far, { connect: `127.0.0.1:${port}`, trust: [pin] }) });
    await impostor.waitFor({ at: 'connected' });
    await relay.peer('fts');
    const named = relay.link('fts').warnings?.find(({ code }) => code === 'peer_authenticates_nobody');
    assert.match(named?.fix ?? '', /the one named under trust/);
  });

  test('with a pin of another certificate it is not let in at all', async (t) => {
    if (!hasPython(t)) return;
    const far = await listens(t, 'freetakserver', LOCAL);
    const relay = new TestRelay(t, { fts: fts(far, { trust: [`SHA256:${'a'.repeat(64)}`] }) });
    assert.match((await relay.trouble('fts', 'not_pinned')).words, /not a certificate pinned/);
    assert.deepEqual(far.all({ at: 'contact' }), []);
  });

  test('a message that it cut short ends the connection, which is made anew', async (t) => {
    if (!hasPython(t)) return;
    const { far, relay, phone } = await joined(t, {}, {}, fastClock(20));
    far.send({ do: 'cut', uid: 'fts-1' });
    for (let n = 0; n < 4; n++) far.send({ do: 'send', uid: `after-${n}` });
    await relay.ending('protocol_error');
    await until(
      'a second connection',
      () => far.all({ at: 'connected' }).length >= 2,
      () => JSON.stringify(relay.endings()),
    );
    await relay.peer('fts');
    far.send({ do: 'send', uid: 'fts-1' });
    await heard(phone, 'fts-1');
  });

  test('it dials us: let in by its certificate, with TLS 1.2; a stranger is refused', async (t) => {
    if (!hasPython(t)) return;
    const own = { kind: 'fed1', listen: '127.0.0.1:0', profile: 'freetakserver' };
    const relay = new TestRelay(t, { fts: own });
    const phone = phoneOf(relay);
    const port = await relay.port('fts');
    const stranger = await dials(t, 'freetakserver', port, {}, 'stranger');
    await stranger.waitFor({ at: 'disabled' });
    await until(
      'a refusal',
      () => relay.link('fts').refusals.unknown_ca === 1,
      () => JSON.stringify(relay.link('fts')),
    );
    const near = await dials(t, 'freetakserver', port, { ...LOCAL, tz: '<+02>-2' });
    assert.equal((await near.waitFor({ at: 'connected' })).tls, 'TLSv1.2');
    near.send({ do: 'send', uid: 'fts-1' });
    const event = await heard(phone, 'fts-1');
    assert.ok(Math.abs(Date.now() - event.timeMs) < CLOSE_MS);
    phone.say(said('ph-1'));
    await near.waitFor({ at: 'event', uid: 'ph-1' });
    assert.ok(pairOf('near'));
    assertAtEase(near);
  });
});
