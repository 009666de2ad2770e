// Filters named by rule, and the marked event that goes to one peer and no further.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Envelope } from '../../src/core/message.ts';
import { DEFAULT_POLICY, type Policy, PROBE_TYPE } from '../../src/core/policy.ts';
import { filtersIn, filtersOut, offerProbe, probeEvent } from '../../src/core/probe.ts';
import { Bench, inbound, RecordingSession, START_MS } from './support.ts';

function setup(policy: Partial<Policy> = {}) {
  const bench = new Bench();
  bench.hub.setPeerPolicy('far', { ...DEFAULT_POLICY, ...policy });
  const session = bench.join('far');
  return { bench, session, peer: bench.peer('far') };
}

const wire = { format: 'xml' as const, bytes: Buffer.from('x') };

test('an open policy stops nothing', () => {
  const { bench, peer } = setup();
  assert.deepEqual(filtersOut(peer, 'here', bench.clock), []);
  assert.deepEqual(filtersIn(peer, 'here', bench.clock), []);
});

test('every rule that stops a sample is named, each by itself', () => {
  const { bench, peer } = setup({
    in: false,
    out: false,
    allowTypes: ['a-f-', 'b-t-'],
    blockTypes: ['b-t-f'],
    groupsIn: ['Red'],
    groupsOut: ['Blue'],
  });
  const all = ['friendly unit', 'chat', 'marker', 'alert'];
  const rules = (filters: ReturnType<typeof filtersOut>) => filters.map(({ rule, stops }) => [rule, stops]);
  assert.deepEqual(rules(filtersOut(peer, 'here', bench.clock)), [
    ['out', all],
    ['groups_out', all],
    ['allow_types', ['marker', 'alert']],
    ['block_types', ['chat']],
  ]);
  const inwards = filtersIn(peer, 'there', bench.clock);
  assert.deepEqual(rules(inwards), [
    ['in', all],
    ['groups_in', all],
    ['allow_types', ['marker', 'alert']],
    ['block_types', ['chat']],
  ]);
  assert.match(inwards[2]!.words, /allow_types \[a-f-, b-t-\] leaves out marker \(b-m-p-s-m\), alert/);
  assert.deepEqual([inwards[0]!.at, inwards[0]!.link], ['there', 'far']);
});

test('the protocol and the hops count as filters', () => {
  const { bench, session, peer } = setup();
  session.says = (message) => message.kind === 'event' && message.event.type.startsWith('a-');
  assert.deepEqual(
    filtersOut(peer, 'here', bench.clock).map(({ rule, stops }) => [rule, stops]),
    [['protocol', ['chat', 'marker', 'alert']]],
  );
  bench.hub.setPeerPolicy('phones/a', { ...DEFAULT_POLICY, maxHops: 0 });
  bench.join('phones/a');
  const source = bench.peer('phones/a');
  assert.deepEqual(
    filtersIn(source, 'here', bench.clock, peer).map(({ rule }) => rule),
    ['max_hops'],
  );
  assert.deepEqual(filtersIn(source, 'here', bench.clock), [], 'bound for nobody in particular');
});

test('long lists make no long words', () => {
  const { bench, peer } = setup({ allowTypes: Array.from({ length: 256 }, (_, n) => `x-${n}-${'y'.repeat(900)}`) });
  assert.ok(filtersOut(peer, 'here', bench.clock)[0]!.words.length <= 300);
});

test('the marked event goes to one peer, whatever types are allowed, and the books balance', () => {
  const { bench, session, peer } = setup({ allowTypes: ['a-f-'], groupsOut: ['Blue'] });
  const other = bench.join('other');
  assert.equal(offerProbe(peer, probeEvent('id', START_MS), wire, bench.clock), 'sent');
  assert.deepEqual(
    session.events.map(({ type }) => type),
    [PROBE_TYPE],
  );
  assert.deepEqual(session.groupsSent, [['Blue']]);
  assert.deepEqual(session.sent[0]!.hops, { max: 1, current: 0 });
  assert.equal(other.sent.length, 0);
  assert.deepEqual(bench.balance(), []);
});

test('what became of it is told: waiting, or dropped and why', () => {
  const { bench, session, peer } = setup();
  session.room = 0;
  assert.equal(offerProbe(peer, probeEvent('id', START_MS), wire, bench.clock), 'waiting');
  bench.hub.setPeerPolicy('far', { ...DEFAULT_POLICY, out: false });
  assert.equal(offerProbe(peer, probeEvent('id2', START_MS), wire, bench.clock), 'filtered_out');
  const mute = bench.join('mute', {}, Object.assign(new RecordingSession('mute'), { says: () => false }));
  assert.equal(offerProbe(bench.peer('mute'), probeEvent('id3', START_MS), wire, bench.clock), 'unsupported');
  assert.equal(mute.sent.length, 0);
});

test('a hub shows a marked event that comes in and passes it on to nobody', () => {
  const bench = new Bench();
  const from = bench.join('from');
  const others = ['phones/a', 'federation/b', 'phones/c'].map((key) => bench.join(key));
  const seen: Envelope[] = [];
  bench.hub.tap((envelope) => seen.push(envelope));
  from.port.deliver(inbound(probeEvent('id', START_MS)));
  // Addressed to somebody, as an attacker would: still to nobody.
  from.port.deliver(inbound({ ...probeEvent('id2', START_MS), destCallsigns: ['ALPHA'] }));
  assert.deepEqual(
    seen.map(({ from: key, message }) => [key, message.kind === 'event' && message.event.uid]),
    [
      ['from', 'id'],
      ['from', 'id2'],
    ],
  );
  for (const other of others) assert.equal(other.sent.length, 0);
  assert.equal(bench.hub.picture.units, 0);
  const late = bench.join('phones/late');
  bench.clock.advance(1_000);
  assert.equal(late.sent.length, 0, 'nor to who comes later');
});

test('the policy of who receives it holds, but for its type', () => {
  const bench = new Bench();
  const seen: Envelope[] = [];
  bench.hub.tap((envelope) => seen.push(envelope));
  bench.hub.setPeerPolicy('closed', { ...DEFAULT_POLICY, in: false });
  bench.hub.setPeerPolicy('typed', { ...DEFAULT_POLICY, allowTypes: ['a-f-'] });
  bench.join('closed').port.deliver(inbound(probeEvent('one', START_MS)));
  bench.join('typed').port.deliver(inbound(probeEvent('two', START_MS)));
  assert.deepEqual(
    seen.map(({ from }) => from),
    ['typed'],
  );
});

test('rules are named where they stop samples, or cannot rule it out', () => {
  const bench = new Bench();
  const deny = { action: 'deny', at: 'r', match: { types: ['b-t-f'] } } as const;
  const nowhere = { action: 'deny', at: 'r', match: { areas: [{ circle: { lat: 48, lon: 24, metres: 1 } }] } } as const;
  bench.hub.setPeerPolicy('p', { ...DEFAULT_POLICY, rulesOut: [deny], rulesIn: [nowhere] });
  bench.join('p');
  const peer = bench.peer('p');
  const rules = (filters: ReturnType<typeof filtersOut>) => filters.map(({ rule, stops }) => [rule, stops]);
  assert.deepEqual(rules(filtersOut(peer, 'here', bench.clock)), [['rules_out', ['chat']]]);
  assert.deepEqual(rules(filtersIn(peer, 'here', bench.clock)), [
    ['rules_in', ['friendly unit', 'chat', 'marker', 'alert']],
  ]);
});
