// Which connection counts: two that dial each other at once, one that takes over from another, two boxes with one identity.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ManualClock } from '../../../src/lib/clock.ts';
import { sampleEvent } from '../contract.ts';
import { type RecordedSession, type RunningLink, until } from '../memory.ts';
import { addressOf, hurry, identityOf, join, LISTEN, Line, peer, portal, relay, send, settingsOf } from './rig.ts';

/** Sessions that have not ended. */
function alive({ hub }: RunningLink): readonly RecordedSession[] {
  return hub.sessions.filter(({ closings }) => closings.length === 0);
}

/** Both dial the other, through a line each. */
async function both(t: TestContext) {
  const links = ['a', 'b'].map((name) => portal({ listen: LISTEN, peers: [peer(name === 'a' ? 'b' : 'a')] }));
  const [a, b] = [relay(t, 'a', links[0]!), relay(t, 'b', links[1]!)];
  const toB = await Line.open(t, await b.port());
  const toA = await Line.open(t, await a.port());
  const dial = (link: number, name: string, address: string) =>
    assert.ok(links[link]!.update!(settingsOf({ listen: LISTEN, peers: [peer(name, { address })] })));
  return {
    a,
    b,
    toA,
    toB,
    async start() {
      dial(0, 'b', await addressOf(toB));
      dial(1, 'a', await addressOf(toA));
    },
  };
}

test('relays that dial each other at once end up with one connection, the same on both sides', async (t) => {
  hurry(t);
  for (let round = 0; round < 12; round++) {
    const { a, b, toA, toB, start } = await both(t);
    // A different order of events each time.
    for (const line of [toA, toB]) line.delayMs = (round * 3 + (line === toA ? 0 : round % 4)) % 9;
    await start();
    await until('one connection that works', () => {
      const [near, far] = [alive(a), alive(b)];
      const one = toA.open + toB.open === 1 && near.length === 1 && far.length === 1;
      return one && near[0]!.session.send(sampleEvent(`A-${round}`), []);
    });
    const [near, far] = [alive(a)[0]!, alive(b)[0]!];
    await far.event(`A-${round}`);
    await send(far, sampleEvent(`B-${round}`));
    await near.event(`B-${round}`);
    // It stays.
    assert.deepEqual([toA.open + toB.open, near.closings, far.closings], [1, [], []]);
    assert.ok(a.hub.sessions.length <= 2 && b.hub.sessions.length <= 2, 'and there was no quarrel');
    await Promise.all([a.stop(), b.stop()]);
  }
});

test('a connection that is cut on one side only is replaced by the next, which loses nothing', async (t) => {
  hurry(t);
  const { a, b, line, near, far } = await join(t);
  await send(near, sampleEvent('ONE'));
  await far.event('ONE');
  line.loseCaller();
  const again = await a.hub.session(1);
  const there = await b.hub.session(1);
  assert.equal((await far.closing()).reason, 'replaced');
  await send(again, sampleEvent('TWO'));
  await there.event('TWO');
  assert.equal((await near.closing()).reason, 'remote_closed');
});

test('silence of a peer that owes us something: a second connection is raced, and takes over', async (t) => {
  const clock = new ManualClock(Date.now());
  const { a, b, line, near } = await join(t, { options: { clock } });
  await until('the confirmation', () => {
    clock.advance(1);
    return near.session.send(sampleEvent('ONE'), []);
  });
  await until('ONE acknowledged', () => {
    clock.advance(250);
    return near.writables > 0 && b.hub.sessions[0]!.uids.includes('ONE');
  });
  for (let n = 0; n < 20; n++) {
    clock.advance(50);
    await sleep(2);
  }
  line.silence();
  assert.ok(near.session.send(sampleEvent('TWO'), []));
  clock.advance(14_000);
  assert.equal(line.connections, 1, 'not yet');
  clock.advance(1_000);
  const again = await a.hub.session(1);
  const { reason, returned } = await near.closing();
  assert.equal(reason, 'replaced');
  assert.deepEqual(
    returned?.map(({ message }) => message.kind === 'event' && message.event.uid),
    ['TWO'],
  );
  await until('room', () => {
    clock.advance(1);
    return again.session.send(returned![0]!, []);
  });
  await b.hub.sessions[1]!.event('TWO');
});

test('a suspect that speaks again is kept, and the race is off', async (t) => {
  const clock = new ManualClock(Date.now());
  const { a, b, line, near, far } = await join(t, { options: { clock } });
  await until('the confirmation', () => near.session.send(sampleEvent('ONE'), []));
  await far.event('ONE');
  await until('its acknowledgement', () => {
    clock.advance(10);
    return near.arrived.length === 1;
  });
  line.freeze(true);
  line.hold(true);
  clock.advance(250);
  near.session.send(sampleEvent('TWO'), []);
  clock.advance(16_000);
  await until('the race', () => line.connections === 2);
  line.hold(false);
  await far.event('TWO');
  await until('the frozen connection to be given up', () => {
    clock.advance(10);
    return line.open === 1;
  });
  assert.deepEqual([near.closings.length, far.closings.length], [0, 0]);
  assert.deepEqual([a.hub.sessions.length, b.hub.sessions.length], [1, 1]);
});

test('two boxes with one identity: told by name, and one of them stays', async (t) => {
  hurry(t);
  const b = relay(t, 'b', { listen: LISTEN, peers: [peer('a')] });
  const settings = { peers: [peer('b', { address: await addressOf(b) })] };
  const boxes = ['one', 'two'].map((name) =>
    relay(t, 'a', settings, { node: { id: `ws-${name}`, name: 'a', version: '1' }, identity: identityOf('a') }),
  );
  const { words, fix } = await b.refusal('two_boxes');
  assert.match(
    words,
    /two boxes come with the certificate of a: ws-(one|two) at 127.0.0.1:\d+, which stays, and ws-(one|two) at /,
  );
  assert.match(fix, /copy/);
  assert.equal(b.hub.troubles.get('portal/a')?.code, 'two_boxes');
  const told = await until('the other box to be told', () =>
    boxes.find(({ hub }) => hub.troubles.get('portal/b')?.code === 'two_boxes'),
  );
  const other = boxes.find((box) => box !== told)!;
  const count = b.hub.sessions.length;
  assert.equal(alive(other).length, 1, 'the other one has its connection');
  await send(alive(other)[0]!, sampleEvent('STAYS'));
  await alive(b)[0]!.event('STAYS');
  assert.equal(b.hub.sessions.length, count);
});

test('a peer that calls itself by the name of another stays who its certificate says, and it is told', async (t) => {
  const b = relay(t, 'b', { listen: LISTEN, peers: [peer('a'), peer('hq')] });
  const node = { id: 'ws-a', name: 'hq', version: '1' };
  const a = relay(t, 'a', { peers: [peer('b', { address: await addressOf(b) })] }, { node });
  await a.hub.session();
  const { words } = await b.refusal('name_claimed');
  assert.match(words, /^a calls itself hq, which is the name of another peer; it stays a/);
  const session = await b.hub.session();
  assert.equal(session.spec.key, 'portal/a');
  assert.deepEqual(session.names, [], 'the claimed name is shown nowhere');
});

test('its own pin among the peers is told, and not dialled', async (t) => {
  const a = relay(t, 'a', { listen: LISTEN, peers: [peer('a', { address: '127.0.0.1:9' })] });
  const trouble = await until('the words', () => a.hub.troubles.get('portal/a'));
  assert.equal(trouble.code, 'own_pin');
});
