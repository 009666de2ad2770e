// The way to a peer: through a hub when it must, directly when it can, over a line of any speed.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Clock, ManualClock, systemClock } from '../../../src/lib/clock.ts';
import { sampleEvent } from '../contract.ts';
import { until } from '../memory.ts';
import { addressOf, hurry, join, LISTEN, Line, peer, portal, relay, send, settingsOf } from './rig.ts';

test('behind NAT: through the hub, end to end, and over to the direct way when there is one, losing nothing', async (t) => {
  hurry(t);
  const h = relay(t, 'h', { listen: LISTEN, hub: true, peers: [peer('a'), peer('b')] });
  const toHub = peer('h', { address: await addressOf(h) });
  const b = relay(t, 'b', { listen: LISTEN, peers: [toHub, peer('a')] });
  const link = portal({ peers: [toHub, peer('b', { hub: 'h' })] });
  const a = relay(t, 'a', link);
  const isWithB = ({ spec }: { spec: { key: string } }) => spec.key === 'portal/b';
  const near = await until('a connection with b', () => a.hub.sessions.find(isWithB));
  const far = await until('a connection with a', () => b.hub.sessions.find(({ spec }) => spec.key === 'portal/a'));
  assert.deepEqual([near.session.via, far.session.via], ['h', 'h']);
  assert.equal(far.session.identity.proof, 'certificate');
  assert.equal(a.nodes!.peers().find(({ name }) => name === 'b')?.via, 'h');
  await send(near, sampleEvent('THROUGH'));
  await far.event('THROUGH');
  assert.ok(!h.hub.sessions.some(({ uids }) => uids.includes('THROUGH')), 'the hub sees nothing of it');
  const address = await addressOf(b);
  assert.ok(link.update!(settingsOf({ peers: [toHub, peer('b', { hub: 'h', address })] })));
  const direct = await until('the direct way', () => a.hub.sessions.filter(isWithB)[1]);
  assert.equal(direct.session.via, undefined);
  assert.equal((await near.closing()).reason, 'replaced');
  await until('room', () => direct.session.send(sampleEvent('DIRECT'), []));
  const there = await until('the direct one over there', () =>
    b.hub.sessions.find(({ spec, session }) => spec.key === 'portal/a' && session.via === undefined),
  );
  await there.event('DIRECT');
  assert.equal((await far.closing()).reason, 'replaced');
});

/** Timers of the relays run so much faster than the line. */
function faster(times: number): Clock {
  return { ...systemClock, after: (delayMs, run) => systemClock.after(delayMs / times, run) };
}

test('at 1.2 kbit/s a first connection and a reconnect come about within their deadlines', async (t) => {
  hurry(t);
  const times = 20;
  const b = relay(t, 'b', { listen: LISTEN, peers: [peer('a')] }, { clock: faster(times) });
  const line = await Line.open(t, await b.port());
  line.bytesPerSecond = (1_200 / 8) * times;
  const settings = { peers: [peer('b', { address: await addressOf(line) })] };
  const a = relay(t, 'a', settings, { clock: faster(times) });
  await b.hub.session();
  assert.equal(line.connections, 1, 'at the first try');
  line.cut();
  const again = await a.hub.session(1);
  await b.hub.session(1);
  assert.equal(line.connections, 2, 'at the first try');
  await send(again, sampleEvent('ONE'));
  await b.hub.sessions[1]!.event('ONE');
});

test('a quiet connection is kept open by PINGs ever less often; what was learnt is remembered', async (t) => {
  const clock = new ManualClock(Date.now());
  const memory = new Map<string, string>();
  const b = relay(t, 'b', { listen: LISTEN, peers: [peer('a')] }, { clock });
  const line = await Line.open(t, await b.port());
  const a = relay(t, 'a', { peers: [peer('b', { address: await addressOf(line) })] }, { clock, memory });
  const near = await a.hub.session();
  await b.hub.session();
  const intervals: number[] = [];
  for (let quietMs = 0; intervals.length < 4; quietMs += 500) {
    const before = { up: line.up, rtts: near.rtts.length };
    clock.advance(500);
    await new Promise((done) => setTimeout(done, 1));
    if (line.up === before.up) continue;
    await until('the PONG', () => near.rtts.length > before.rtts);
    intervals.push(Math.round(quietMs / 1000));
    quietMs = 0;
  }
  assert.ok(intervals[0]! >= 24 && intervals[0]! <= 26, `${intervals}`);
  for (let n = 1; n < intervals.length; n++) assert.ok(intervals[n]! > 1.3 * intervals[n - 1]!, `${intervals}`);
  assert.ok(Number(memory.get('keepalive 127.0')) >= 50_000, `${[...memory]}`);
});

test('a hub that vanished without a word is noticed by PING, and dialled again', async (t) => {
  const clock = new ManualClock(Date.now());
  const { a, line, near } = await join(t, { options: { clock } });
  await until('the confirmation', () => near.session.send(sampleEvent('ONE'), []));
  clock.advance(250);
  await until('an acknowledgement', () => near.rtts.length > 0);
  line.silence();
  clock.advance(19_000);
  assert.equal(near.closings.length, 0);
  clock.advance(30_000);
  assert.ok(['idle_timeout', 'replaced'].includes((await near.closing()).reason));
  await until('another connection', () => {
    clock.advance(100);
    return a.hub.sessions.length > 1;
  });
});

test('an acceptor, which cannot dial its peer, lets go of a silent one after 20 s, and what it had taken waits', async (t) => {
  const clock = new ManualClock(Date.now());
  const { near, far, line } = await join(t, { options: { clock } });
  await until('the confirmation', () => far.session.send(sampleEvent('BEFORE'), []));
  await near.event('BEFORE');
  await until('its acknowledgement', () => {
    clock.advance(10);
    return far.arrived.length === 1;
  });
  line.silence();
  const lost = sampleEvent('LOST');
  assert.ok(far.session.send(lost, []));
  clock.advance(14_000);
  assert.equal(far.closings.length, 0);
  clock.advance(7_000);
  const { reason, returned } = await far.closing();
  assert.equal(reason, 'idle_timeout');
  assert.ok(returned?.includes(lost));
});
