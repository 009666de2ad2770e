// Relays connected with each other: what crosses, who counts, what a reconnect costs, what refuses.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sampleEvent } from '../contract.ts';
import { until } from '../memory.ts';
import { addressOf, hurry, join, LISTEN, Line, peer, pinOf, portal, relay, send, settingsOf } from './rig.ts';

test('two relays: events both ways, as they came, with where they have been', async (t) => {
  const { a, b, near, far } = await join(t);
  const sent = sampleEvent('UID-1');
  await send(near, { ...sent, groups: ['Blue'], hops: { max: 5, current: 1 }, provenance: [{ id: 'tak', name: 'T' }] });
  const got = await far.event('UID-1');
  assert.ok(sent.wire!.bytes.toString().endsWith(got.wire!.bytes.toString()));
  assert.deepEqual(got.groups, ['Blue']);
  assert.deepEqual(got.hops, { max: 5, current: 2 });
  assert.deepEqual(
    got.provenance?.map(({ id }) => id),
    ['tak', 'ws-a'],
  );
  await send(far, sampleEvent('UID-2'));
  await near.event('UID-2');
  for (const [relayed, name] of [
    [near, 'b'],
    [far, 'a'],
  ] as const) {
    assert.deepEqual(relayed.session.identity, { id: pinOf(name), name, proof: 'certificate' });
    assert.equal(relayed.spec.key, `portal/${name}`);
    assert.ok(relayed.spec.durable && relayed.session.federated && relayed.session.via === undefined);
    assert.ok(relayed.rtts[0]! >= 0);
  }
  assert.deepEqual(
    [a.hub.expected, b.hub.expected].map(([spec]) => spec?.key),
    ['portal/b', 'portal/a'],
  );
  assert.deepEqual(a.nodes?.peers()[0], {
    ...a.nodes!.peers()[0]!,
    name: 'b',
    via: 'direct',
    status: 'connected',
    messagesSent: 1,
    messagesReceived: 1,
  });
  const knows = ({ nodes }: typeof a) => typeof nodes!.peers()[0]!.clockOffsetMs === 'number';
  assert.ok([a, b].some(knows), 'who dialled knows the time there, before any PING');
});

test('a reconnect costs at most 1,500 bytes, both ways together, and sends nothing again that is there', async (t) => {
  hurry(t);
  const { a, b, line, near, far } = await join(t);
  const first = { up: line.up, down: line.down };
  const sent = Array.from({ length: 20 }, (_, n) => sampleEvent(`UID-${n}`));
  for (const envelope of sent) await send(near, envelope);
  await far.event('UID-19');
  for (let round = 1; round <= 3; round++) {
    line.cut();
    line.reset();
    const again = await a.hub.session(round);
    const there = await b.hub.session(round);
    // The confirmation that b has it.
    await until('room', () => again.session.send(sent[0]!, []));
    const bytes = line.up + line.down;
    assert.ok(bytes <= 1_500, `${line.up} up, ${line.down} down`);
    // As the hub does for a newcomer: the picture. All of it is there already.
    for (const envelope of sent) await send(again, envelope);
    assert.equal(line.up + line.down, bytes);
    await send(again, sampleEvent(`AFTER-${round}`));
    await there.event(`AFTER-${round}`);
    assert.deepEqual(there.uids, [`AFTER-${round}`]);
    if (round === 3) t.diagnostic(`first: ${first.up} up, ${first.down} down; reconnect: ${bytes} both ways`);
  }
});

test('a wrong key and a wrong certificate are told apart, on both sides', async (t) => {
  const b = relay(t, 'b', { listen: LISTEN, peers: [peer('a')] });
  const address = await addressOf(b);
  const wrongKey = relay(t, 'a', { federation_key: 'x'.repeat(16), peers: [peer('b', { address })] });
  const refused = await b.refusal('wrong_key');
  assert.match(refused.words, /^a showed the right certificate, but does not have our federation key/);
  const told = await until('the words', () => wrongKey.hub.troubles.get('portal/b'));
  assert.equal(told.code, 'wrong_key');
  assert.match(told.words, /accepts our certificate, but not our federation key/);
  const unknown = relay(t, 'c', { peers: [peer('b', { address })] });
  assert.ok((await b.refusal('not_pinned')).words.includes(pinOf('c')));
  const unwelcome = await until('the words', () => unknown.hub.troubles.get('portal/b'));
  assert.equal(unwelcome.code, 'not_known');
  assert.ok(unwelcome.fix.includes(pinOf('c')), 'with the pin to be told over there');
  const impostor = relay(t, 'd', { peers: [{ ...peer('c'), name: 'c', address }] });
  const mistaken = await until('the words', () => impostor.hub.troubles.get('portal/c'));
  assert.equal(mistaken.code, 'not_pinned');
  assert.match(mistaken.words, /wrong certificate/);
  assert.equal(b.hub.sessions.length, 0);
});

test('key guessing: shut out after three, told, and nobody else is', async (t) => {
  const b = relay(t, 'b', { listen: LISTEN, peers: [peer('a'), peer('c')] });
  const address = await addressOf(b);
  for (let guess = 0; guess < 3; guess++) {
    const guesser = relay(t, 'a', { federation_key: 'x'.repeat(16), peers: [peer('b', { address })] });
    await until('the refusal', () => guesser.hub.troubles.get('portal/b')?.code === 'wrong_key');
    await guesser.stop();
  }
  relay(t, 'a', { peers: [peer('b', { address })] });
  await b.refusal('shut_out');
  assert.equal(b.hub.sessions.length, 0, 'the right key comes too late');
});

test('a removed pin cannot resume', async (t) => {
  hurry(t);
  const link = portal({ listen: LISTEN, peers: [peer('a'), peer('c')] });
  const b = relay(t, 'b', link);
  const line = await Line.open(t, await b.port());
  const a = relay(t, 'a', { peers: [peer('b', { address: await addressOf(line) })] });
  await Promise.all([a.hub.session(), b.hub.session()]);
  line.cut();
  await b.hub.session(1);
  const settings = (peers: object[]) => settingsOf({ listen: LISTEN, peers });
  assert.ok(link.update!(settings([peer('c')])));
  assert.equal((await b.hub.sessions[1]!.closing()).reason, 'config_changed');
  assert.deepEqual(b.hub.dismissed, ['portal/a']);
  await b.refusal('not_pinned');
  await until('the words', () => a.hub.troubles.get('portal/b')?.code === 'not_known');
});

test('update: unchanged peers keep their connections, policies change at once, the rest restarts', async (t) => {
  const link = portal({ listen: LISTEN, peers: [peer('a'), peer('c')] });
  const b = relay(t, 'b', link);
  const address = await addressOf(b);
  for (const name of ['a', 'c']) {
    await relay(t, name, { peers: [peer('b', { address })] }).hub.session();
    await b.hub.session(name === 'a' ? 0 : 1);
  }
  const [withA, withC] = b.hub.sessions;
  assert.ok(
    link.update!(settingsOf({ listen: LISTEN, workers: 9, peers: [peer('a', { policy: { out: false } }), peer('d')] })),
  );
  assert.equal((await withC!.closing()).reason, 'config_changed');
  assert.equal(withA!.closings.length, 0);
  assert.equal(b.hub.policies.get('portal/a')?.out, false);
  assert.ok(b.hub.expected.some(({ key }) => key === 'portal/d'));
  assert.ok(!link.update!(settingsOf({ listen: 9090, peers: [peer('a')] })), 'another port');
  assert.ok(!link.update!(settingsOf({ federation_key: 'y'.repeat(16), listen: LISTEN, peers: [] })), 'another key');
  assert.equal(withA!.closings.length, 0);
});
