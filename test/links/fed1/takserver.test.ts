// Our link against an emulated TAK Server that speaks v1, in both roles; on the port of a fed2 link as well.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { asXml } from '../../../src/wire/encode.ts';
import { hasPython, hasStack } from '../../support/peers/spawn.ts';
import { dialling, fastClock, listening, startFar, startNear, TestRelay, until } from '../fed2/interop-relay.ts';
import { chatTo, dials, fts, listens, phoneOf, said, tak1 } from './rig.ts';

const NEAR = { local: [{ uid: 'near-1', callsign: 'NOVEMBER' }] };
const FAR = { local: [{ uid: 'far-1', callsign: 'FOXTROT' }] };
const DUPLEX = { in: listening(), 'in-v1': { kind: 'fed1', beside: 'in' } };

describe('fed1 with TAK servers', { timeout: 120_000 }, () => {
  for (const tls13 of [false, true]) {
    test(`one that dials and one that is dialled share tracks, contacts, chat (TLS 1.${tls13 ? 3 : 2})`, async (t) => {
      if (!hasPython(t)) return;
      const flags: Record<string, true> = tls13 ? { tls13: true } : {};
      const far = await listens(t, 'takserver1', { ...FAR, ...flags });
      const relay = new TestRelay(t, { ...DUPLEX, out: tak1(far) });
      const near = await dials(t, 'takserver1', await relay.port('in'), { ...NEAR, ...flags });
      assert.equal((await near.waitFor({ at: 'connected' })).tls, tls13 ? 'TLSv1.3' : 'TLSv1.2');
      for (const [to, uid, callsign] of [
        [far, 'near-1', 'NOVEMBER'],
        [near, 'far-1', 'FOXTROT'],
      ] as const) {
        const event = await to.waitFor({ at: 'event', uid });
        const order = to.lines.filter((line) => line.uid === uid).map(({ at }) => at);
        assert.deepEqual(order, ['contact', 'event'], 'announced, then shown');
        assert.equal(to.all({ at: 'contact', uid })[0]!.callsign, callsign);
        assert.deepEqual(event.provenance, [relay.identity.id]);
        assert.deepEqual(event.hops, { max: -1, current: 2 });
      }
      near.send({ do: 'send', uid: 'c-1', type: 'b-t-f', how: 'h-g-i-g-o', to: ['FOXTROT'], toUids: ['far-1'] });
      assert.deepEqual((await far.waitFor({ at: 'event', uid: 'c-1' })).ptpCallsigns, ['FOXTROT']);
      near.send({ do: 'leave', uid: 'near-1' });
      await far.waitFor({ at: 'contact', uid: 'near-1', op: 'DELETE' });
      near.send({ do: 'burst', uid: 'b', count: 500 });
      await far.waitFor({ at: 'event', uid: 'b-499' });
      assert.equal(far.all((line) => String(line.uid).startsWith('b-')).length, 500);
      assert.deepEqual([far.violations(), near.violations()], [[], []]);
    });
  }

  test('v1 and v2 come through one port and reach each other', async (t) => {
    if (!hasPython(t)) return;
    const relay = new TestRelay(t, DUPLEX);
    const port = await relay.port('in');
    const old = await dials(t, 'takserver1', port, NEAR);
    const modern = await startNear(t, 'grpcjs', 'takserver', port, {
      local: { contacts: [], events: [{ uid: 'new-1' }] },
    });
    await old.waitFor({ at: 'event', uid: 'new-1' });
    await modern.waitFor({ at: 'contact', uid: 'near-1' });
    const event = await modern.waitFor({ at: 'event', uid: 'near-1' });
    assert.deepEqual(
      (event.provenance as { id: string }[]).map(({ id }) => id),
      [relay.identity.id],
    );
    assert.deepEqual([old.violations(), modern.violations()], [[], []]);
    const kinds = relay.hub.peers().map(({ spec }) => spec.kind);
    assert.deepEqual(kinds.sort(), ['fed1', 'fed2']);
  });

  test('on that port strangers are refused in either protocol; without a v1 link v1 is refused in words', async (t) => {
    if (!hasPython(t)) return;
    const relay = new TestRelay(t, DUPLEX);
    const stranger = await dials(t, 'takserver1', await relay.port('in'), NEAR, 'stranger');
    await until(
      'a refusal',
      () => (relay.link('in').refusals.unknown_ca ?? 0) > 0,
      () => JSON.stringify(relay.link('in')),
    );
    assert.equal(relay.hub.peers().length, 0);
    assert.deepEqual(stranger.all({ at: 'contact' }), []);
    relay.apply({ in: listening({ max_connections: 5 }) });
    await until(
      'the port of the new link',
      () => relay.link('in').state === 'listening',
      () => JSON.stringify(relay.link('in')),
    );
    await dials(t, 'takserver1', await relay.port('in'), NEAR);
    await until(
      'no_alpn',
      () => relay.link('in').lastRefusal?.code === 'no_alpn',
      () => JSON.stringify(relay.link('in')),
    );
    assert.match(relay.link('in').lastRefusal!.fix, /kind fed1 with beside/);
  });

  test('either link of a port may be changed without the other', async (t) => {
    if (!hasPython(t)) return;
    const relay = new TestRelay(t, DUPLEX);
    const port = await relay.port('in');
    const old = await dials(t, 'takserver1', port, NEAR);
    const modern = await startNear(t, 'grpcjs', 'takserver', port);
    await relay.peer('in-v1');
    await relay.peer('in');
    relay.apply({ ...DUPLEX, 'in-v1': { kind: 'fed1', beside: 'in', groups: ['Blue'] } as object });
    await old.waitFor({ at: 'disconnected' });
    await until(
      'it again',
      () => old.all({ at: 'connected' }).length === 2,
      () => JSON.stringify(relay.link('in-v1')),
    );
    assert.deepEqual(modern.all({ at: 'disconnected' }), [], 'v2 noticed nothing');
    phoneOf(relay).say(said('ph-1'));
    assert.deepEqual((await old.waitFor({ at: 'event', uid: 'ph-1' })).groups, ['Blue']);
    // The listener goes, and with it what it handed over.
    relay.apply({ 'in-v1': { kind: 'fed1', beside: 'in', groups: ['Blue'] } as object });
    await until(
      'the end of its connection',
      () => old.all({ at: 'disconnected' }).length >= 2,
      () => JSON.stringify(relay.link('in-v1')),
    );
    assert.equal(relay.link('in-v1').state, 'listening', 'it waits for a listener of that name');
  });

  test('v1, v2, FreeTAKServer and phones: every one of them hears every other, and chat finds its way', async (t) => {
    if (!hasPython(t) || !hasStack(t, 'python')) return;
    const v1 = await listens(t, 'takserver1', { local: [{ uid: 'v1-1', callsign: 'VICTOR' }] });
    const free = await listens(t, 'freetakserver', { local: [{ uid: 'free-1', callsign: 'FREE' }], tz: '<+02>-2' });
    const v2 = await startFar(t, 'python', 'takserver', {
      local: {
        contacts: [{ uid: 'v2-1', callsign: 'TWO' }],
        events: [{ uid: 'v2-1', other: '<detail><contact callsign="TWO"/></detail>' }],
      },
    });
    const relay = new TestRelay(t, { v1: tak1(v1), free: fts(free), v2: dialling(v2) });
    const phone = phoneOf(relay);
    for (const link of ['v1', 'free', 'v2']) await relay.peer(link);
    free.send({ do: 'send', uid: 'free-1' });
    phone.say(said('ph-1'));
    for (const uid of ['v1-1', 'v2-1', 'ph-1']) {
      const line = await free.waitFor({ at: 'event', uid });
      if (uid === 'ph-1') assert.match(String(line.detail), /<status battery="77"/);
    }
    for (const uid of ['free-1', 'v2-1', 'ph-1']) await v1.waitFor({ at: 'event', uid });
    for (const uid of ['free-1', 'v1-1', 'ph-1']) await v2.waitFor({ at: 'event', uid });
    for (const uid of ['free-1', 'v1-1', 'v2-1']) {
      await until(
        `${uid} at the phone`,
        () => phone.events.some((event) => event.uid === uid),
        () => phone.log.join(' '),
      );
    }
    const at = Object.fromEntries(
      phone.sent.flatMap((each) => (each.message.kind === 'event' ? [[each.message.event.uid, each]] : [])),
    );
    assert.match(asXml(at['free-1']!).toString(), /callsign="FREE"/);
    for (const [peer, uid, callsign] of [
      [v1, 'v1-1', 'VICTOR'],
      [free, 'free-1', 'FREE'],
      [v2, 'v2-1', 'TWO'],
    ] as const) {
      phone.say(chatTo(`chat-${uid}`, 'ph-1', { uid, callsign }));
      await peer.waitFor({ at: 'event', uid: `chat-${uid}` });
    }
    for (const [peer, others] of [
      [v1, ['free-1', 'v2-1']],
      [free, ['v1-1', 'v2-1']],
      [v2, ['free-1', 'v1-1']],
    ] as const) {
      for (const uid of others) assert.deepEqual(peer.all({ at: 'event', uid: `chat-${uid}` }), [], 'for nobody else');
    }
    assert.deepEqual([v1.violations(), free.violations(), v2.violations()], [[], [], []]);
  });

  test('a restart on either side is made good', async (t) => {
    if (!hasPython(t)) return;
    const far = await listens(t, 'takserver1', FAR);
    const relay = new TestRelay(t, { out: tak1(far) }, fastClock(20));
    const phone = phoneOf(relay);
    phone.say(said('ph-1'));
    await far.waitFor({ at: 'event', uid: 'ph-1' });
    const { port } = far;
    await far.vanish();
    await relay.trouble('out', 'refused');
    phone.say(said('m-1', { type: 'b-m-p-s-m', how: 'h-g-i-g-o' }));
    const again = await listens(t, 'takserver1', FAR, { port });
    await again.waitFor({ at: 'contact', uid: 'ph-1' });
    await again.waitFor({ at: 'event', uid: 'ph-1' });
    await again.waitFor({ at: 'event', uid: 'm-1' });
  });

  test('what came over our own id, or has made its hops, goes no further', async (t) => {
    if (!hasPython(t)) return;
    const [a, b] = [await listens(t, 'takserver1'), await listens(t, 'takserver1', {}, { cert: 'near' })];
    const relay = new TestRelay(t, { a: tak1(a), b: tak1(b) });
    const from = await relay.peer('a');
    await relay.peer('b');
    const marker = { type: 'b-m-p-s-m', how: 'h-g-i-g-o' };
    a.send({ do: 'send', uid: 'loop', ...marker, provenance: ['x', relay.identity.id] });
    a.send({ do: 'send', uid: 'over', ...marker, hops: [2, 3] });
    a.send({ do: 'send', uid: 'last', ...marker, hops: [2, 2] });
    a.send({ do: 'send', uid: 'one-more', ...marker, hops: [3, 2] });
    assert.deepEqual((await b.waitFor({ at: 'event', uid: 'one-more' })).hops, { max: 3, current: 3 });
    assert.deepEqual(
      b.all({ at: 'event' }).map(({ uid }) => uid),
      ['one-more'],
    );
    assert.deepEqual([from.refused.loop, from.refused.hop_limit], [1, 1]);
  });

  test('a server that does not trust us is told apart from one that is merely away', async (t) => {
    if (!hasPython(t)) return;
    for (const tls13 of [false, true]) {
      const far = await listens(t, 'takserver1', {
        ca: '/etc/ssl/certs/ca-certificates.crt',
        ...(tls13 ? { tls13: true } : {}),
      });
      const relay = new TestRelay(t, { out: tak1(far) });
      const shown = await until(
        'a trouble',
        () => relay.link('out').lastTrouble,
        () => JSON.stringify(relay.link('out')),
      );
      assert.notEqual(shown.code, 'refused');
      assert.match(shown.words + shown.fix, /trust|CA|certificate/);
      assert.deepEqual(relay.endings(), [], 'the hub never took it for a connection');
    }
  });
});
