// Probing a peer: that events flow is shown by one that comes out, that they do not is told with the reason.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { probe } from '../../src/api/probe.ts';
import { ARRIVAL_WAIT_MS, DELIVERY_WAIT_MS, MAX_PER_PEER } from '../../src/api/probe-desk.ts';
import { jsonResponse, problemResponse } from '../../src/core/node.ts';
import type { ProbeReport } from '../../src/core/probe.ts';
import { ManualClock } from '../../src/lib/clock.ts';
import { inbound, position } from '../core/support.ts';
import { OPERATOR } from './api-server.ts';
import { Box, join, jsonOf, skewed } from './boxes.ts';

const never = new AbortController().signal;

async function run(box: Box, name: string, endToEnd = false): Promise<ProbeReport> {
  const report = await probe(box.deps, { name, endToEnd }, never);
  assert.ok(report);
  return report;
}

function pair(options = {}) {
  const [a, b] = [new Box('a'), new Box('b')];
  return { a, b, ...join(a, b, options) };
}

/** As many turns as a few messages in memory take. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise((done) => setImmediate(done));
}

test('a marked event that came out is proof; nobody but the two hubs has seen it', async () => {
  const { a, b } = pair();
  const [phoneA, phoneB] = [a.phone('alpha'), b.phone('bravo')];
  const report = await run(a, 'b');
  assert.equal(report.arrived, true);
  assert.equal(report.delivered, null);
  assert.equal(report.connected, true);
  assert.equal(report.via, 'direct');
  assert.ok(report.rttMs! >= 0);
  assert.ok(Math.abs(report.clockOffsetMs!) < 1000);
  assert.deepEqual(
    report.hops.map(({ from, to }) => [from, to]),
    [['a', 'b']],
  );
  assert.deepEqual(report.filters, []);
  assert.deepEqual(report.words, [
    'events flow: a marked event came out at b',
    'no filter stops units, chat, markers or alerts',
  ]);
  assert.equal(phoneA.sent.length + phoneB.sent.length, 0);
});

test('the latency of a way through a hub is told hop by hop', async () => {
  const { a, ab } = pair();
  const hub = new Box('hub');
  join(a, hub);
  ab.via = 'hub';
  const { hops, via } = await run(a, 'b');
  assert.equal(via, 'hub');
  assert.deepEqual(
    hops.map(({ from, to }) => [from, to]),
    [
      ['a', 'hub'],
      ['hub', 'b'],
    ],
  );
});

test('the clock’s offset is measured and taken out of the latency', async () => {
  const [a, b] = [new Box('a'), new Box('b', skewed(-3_600_000))];
  join(a, b);
  const report = await run(a, 'b');
  assert.ok(report.arrived);
  assert.ok(Math.abs(report.clockOffsetMs! + 3_600_000) < 2_000, `${report.clockOffsetMs}`);
  assert.ok(report.hops[0]!.ms < 2_000, `${report.hops[0]!.ms}`);
  assert.match(report.words.join('\n'), /its clock is 3600\.\d s behind ours/);
});

test('a clock so wrong that everything said here is stale there is a filter', async () => {
  const clock = new ManualClock();
  const [a, b] = [new Box('a', clock), new Box('b', skewed(600_000, clock))];
  join(a, b);
  const probing = run(a, 'b');
  await settle();
  clock.advance(ARRIVAL_WAIT_MS);
  const report = await probing;
  assert.equal(report.arrived, false);
  assert.match(report.words[0]!, /connected is not flowing: it left here, and did not come out at b/);
  assert.deepEqual(
    report.filters.map(({ at, rule }) => [at, rule]),
    [['there', 'clock']],
  );
});

test('filters of both sides are named', async () => {
  const { a, b } = pair({ policy: { allowTypes: ['a-f-'] }, backPolicy: { blockTypes: ['b-a-'] } });
  a.hub.setPeerPolicy('phones/alpha', { ...a.hub.peers()[0]!.policy, allowTypes: [], in: false });
  a.phone('alpha');
  b.phone('bravo');
  const report = await run(a, 'b');
  assert.deepEqual(
    report.filters.map(({ at, link, rule, stops }) => [at, link, rule, stops]),
    [
      ['here', 'phones', 'in', ['friendly unit', 'chat', 'marker', 'alert']],
      ['here', 'portal', 'allow_types', ['chat', 'marker', 'alert']],
      ['there', 'portal', 'block_types', ['alert']],
    ],
  );
  assert.equal(report.words.at(-1), '3 rules stop some of units, chat, markers, alerts');
});

test('an event that is stopped here is told at once', async () => {
  const { a } = pair({ policy: { out: false } });
  const report = await run(a, 'b');
  assert.equal(report.arrived, false);
  assert.equal(
    report.words[0],
    'connected is not flowing: the marked event was stopped here: not allowed out to this peer by policy',
  );
  assert.equal(report.filters[0]!.rule, 'out');
});

test('connected is not flowing', async () => {
  const clock = new ManualClock();
  const [a, b] = [new Box('a', clock), new Box('b', clock)];
  const { ab } = join(a, b);
  ab.blackHole = true;
  const probing = run(a, 'b');
  await settle();
  clock.advance(ARRIVAL_WAIT_MS);
  const report = await probing;
  assert.deepEqual([report.connected, report.arrived, report.hops], [true, false, []]);
  assert.match(report.words[0]!, /connected is not flowing: it left here, and did not come out at b in 8 s/);
});

test('a peer that is away, is unknown, or cannot answer', async () => {
  const { a, ab } = pair();
  assert.equal(await probe(a.deps, { name: 'nobody', endToEnd: false }, never), undefined);
  a.phone('alpha');
  assert.match((await run(a, 'phones/alpha')).words[0]!, /speaks a protocol that cannot answer a probe/);
  ab.answer = async () => problemResponse(404, 'not_found', 'what?');
  assert.match((await run(a, 'b')).words[0]!, /connected, but does not know how to answer a probe/);
  for (const answer of [
    jsonResponse(200, { now: 'noon' }),
    jsonResponse(200, null),
    problemResponse(500, 'x', 'a fault'),
  ]) {
    ab.answer = async () => answer;
    const { words, arrived } = await run(a, 'b');
    assert.match(words[0]!, /b did not answer the probe/);
    assert.equal(arrived, false);
  }
  ab.answer = undefined;
  ab.down();
  const report = await run(a, 'b');
  assert.equal(report.connected, false);
  assert.match(report.words[0]!, /b is not connected: the cable was cut/);
});

test('end to end: a real event that is handed to a client there', async () => {
  const { a, b } = pair();
  const sender = a.phone('alpha');
  b.phone('bravo');
  b.phone('charlie');
  const probing = run(a, 'b', true);
  await settle();
  const timeMs = Date.now();
  sender.port.deliver(inbound(position('alpha', { timeMs, staleMs: timeMs + 60_000 })));
  const report = await probing;
  assert.equal(report.delivered, true);
  assert.match(report.words[1]!, /an event from here was handed to 2 of 2 clients there/);
  assert.deepEqual(
    report.hops.map(({ from, to }) => [from, to]),
    [
      ['a', 'b'],
      ['b', 'its clients'],
    ],
  );
});

test('end to end: events of others, and such as reach no client, prove nothing', async () => {
  const clock = new ManualClock();
  const [a, b] = [new Box('a', clock), new Box('b', clock)];
  join(a, b);
  const sender = a.phone('alpha');
  const [other, listener] = [b.phone('bravo'), b.phone('charlie')];
  b.hub.setPeerPolicy('phones/charlie', { ...b.hub.peers()[0]!.policy, allowTypes: ['b-'] });
  b.hub.setPeerPolicy('phones/bravo', { ...b.hub.peers()[0]!.policy, out: false });
  const probing = run(a, 'b', true);
  await settle();
  const at = (uid: string, fields = {}) =>
    position(uid, { timeMs: clock.wallMs(), staleMs: clock.wallMs() + 60_000, ...fields });
  sender.port.deliver(inbound(at('alpha')));
  other.port.deliver(inbound(at('shout', { type: 'b-m-p-s-m' })));
  await settle();
  assert.equal(listener.events.length, 1, 'the client got something, but not from a');
  clock.advance(DELIVERY_WAIT_MS);
  const report = await probing;
  assert.deepEqual([report.arrived, report.delivered], [true, false]);
  assert.match(report.words[1]!, /no event from here was handed to any of the 2 clients there/);
  assert.ok(report.filters.some(({ at, link, rule }) => at === 'there' && link === 'phones' && rule === 'allow_types'));
});

test('end to end: without a client it says so', async () => {
  const clock = new ManualClock();
  const [a, b] = [new Box('a', clock), new Box('b', clock)];
  join(a, b);
  const probing = run(a, 'b', true);
  await settle();
  clock.advance(DELIVERY_WAIT_MS);
  const { delivered, words } = await probing;
  assert.equal(delivered, false);
  assert.match(words[1]!, /no client is connected at b/);
});

test('what is asked of the desk must make sense, and is bounded', async () => {
  const { b } = pair();
  const call = (path: string, body: unknown = {}, caller = 'a') =>
    b.ask('CALL', path, { caller, body: Buffer.from(JSON.stringify(body)) });
  const id = (n: number) => n.toString(16).padStart(32, '0');
  for (const body of [{}, { id: 'short', endToEnd: false }, { id: id(1) }, null]) {
    assert.equal((await call('/probe', body)).status, 400);
  }
  assert.equal((await call(`/probe/${id(1)}`)).status, 404, 'not announced');
  assert.equal((await call('/probe/a/b')).status, 404);
  assert.equal((await call('/probe', { id: id(1), endToEnd: false }, 'stranger')).status, 409);
  for (let n = 0; n < MAX_PER_PEER; n++)
    assert.equal((await call('/probe', { id: id(n), endToEnd: true })).status, 200);
  assert.equal((await call('/probe', { id: id(3), endToEnd: false })).status, 200, 'known already');
  assert.equal((await call('/probe', { id: id(99), endToEnd: false })).status, 429);
  join(new Box('c'), b);
  assert.equal((await call('/probe', { id: id(99), endToEnd: false }, 'c')).status, 200, 'another peer has its own');
});

test('a probe of one peer is none of another’s, and ends by itself', async () => {
  const clock = new ManualClock();
  const [a, b, c] = [new Box('a', clock), new Box('b', clock), new Box('c', clock)];
  join(a, b);
  join(c, b);
  const id = 'f'.repeat(32);
  const body = Buffer.from(JSON.stringify({ id, endToEnd: false }));
  await b.ask('CALL', '/probe', { caller: 'a', body });
  assert.equal((await b.ask('CALL', `/probe/${id}`, { caller: 'c' })).status, 404);
  const waiting = b.ask('CALL', `/probe/${id}`, { caller: 'a' });
  await settle();
  clock.advance(ARRIVAL_WAIT_MS);
  assert.deepEqual(jsonOf(await waiting), { arrivedMs: null, delivery: null });
  await b.ask('CALL', '/probe', { caller: 'a', body });
  clock.advance(60_000);
  assert.equal((await b.ask('CALL', `/probe/${id}`, { caller: 'a' })).status, 404, 'forgotten');
});

test('over HTTP it takes a login and a name', async (t) => {
  const { a } = pair();
  const api = await a.serve(t);
  const post = (body: string, headers: Record<string, string> = OPERATOR) =>
    fetch(`${api}/api/probe`, { method: 'POST', body, headers: { 'content-type': 'application/json', ...headers } });
  assert.equal((await post('{"peer":"b"}', {})).status, 401);
  assert.equal((await post('{"peer":"nobody"}')).status, 404);
  assert.equal((await post('{"peer":')).status, 400);
  assert.equal((await post('{"peer":"b","x":1}')).status, 400);
  assert.equal((await post(`{"peer":"${'b'.repeat(10_000)}"}`)).status, 413);
  assert.equal((await fetch(`${api}/api/probe`)).status, 405);
  const report = (await (await post('{"peer":"b"}')).json()) as ProbeReport;
  assert.equal(report.arrived, true);
});
