// Rules at work in the hub: in, out, contacts, leaves, groups, thinning.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Match, Rule } from '../../src/core/filter.ts';
import { DEFAULT_POLICY, type Policy } from '../../src/core/policy.ts';
import { Bench, chat, contact, inbound, phoneSays, position, RecordingSession, START_MS } from './support.ts';

const HERE = { areas: [{ box: { south: 48, west: 24, north: 49, east: 25 } }] };
const deny = (match: Match, over: object = {}): Rule => ({ action: 'deny', at: 'r', match, ...over });
const only = (match: Match): Rule => deny(match, { unless: true });
const rename = (from: string, to: string): Rule => ({ action: 'rename', at: 'r', from, to });
const thin = (everyMs: number): Rule => ({ action: 'thin', at: 'r', match: {}, everyMs });

/** `a` says, `b` hears; b's link has this policy. */
function pair(policy: Partial<Policy>, of: 'a' | 'b' = 'b') {
  const bench = new Bench();
  bench.hub.setPolicy(of, { ...DEFAULT_POLICY, ...policy });
  const a = bench.join('a', { durable: true });
  const b = bench.join('b', { durable: true });
  return { bench, a, b };
}

describe('rules in the hub', () => {
  test('outside the area nothing is said of a unit, not even that it is there or that it left', () => {
    const { bench, a, b } = pair({ rulesOut: [only(HERE)] });
    a.port.deliver(contact('create', 'far'));
    a.port.deliver(inbound(position('far', { lat: 50 })));
    a.port.deliver(contact('delete', 'far'));
    assert.deepEqual(b.log, []);
    a.port.deliver(inbound(position('near', { lat: 48.5 })));
    assert.deepEqual(b.log, ['+near', 'near'], 'inside it is introduced, then shown');
    a.port.deliver(inbound(position('near', { lat: 50, timeMs: START_MS + 1_000 })));
    assert.deepEqual(b.log, ['+near', 'near'], 'where it went is not told');
    a.port.deliver(contact('delete', 'near'));
    assert.deepEqual(b.log, ['+near', 'near', '-near'], 'that it left is: it was known there');
    assert.deepEqual(bench.balance(), []);
  });

  test('a late joiner and one that comes back are told no more than that', () => {
    const { bench, a } = pair({ rulesOut: [only(HERE)] });
    a.port.deliver(inbound(position('far', { lat: 50 })));
    a.port.deliver(inbound(position('near', { lat: 48.5 })));
    const again = bench.join('b', { durable: true });
    bench.clock.advance(10_000);
    assert.deepEqual(again.log, ['+near', 'near']);
    assert.deepEqual(bench.balance(), []);
  });

  test('a phone, which keeps no contacts, is not told of a leave either', () => {
    const bench = new Bench();
    bench.hub.setPolicy('b', { ...DEFAULT_POLICY, rulesOut: [only(HERE)] });
    const a = bench.join('a');
    const session = new RecordingSession('b');
    session.says = phoneSays;
    const b = bench.join('b', {}, session);
    a.port.deliver(inbound(position('far', { lat: 50 })));
    a.port.deliver(contact('delete', 'far'));
    assert.deepEqual(b.log, []);
  });

  test('what is kept out does not count as seen: by another way it may come', () => {
    const { bench, a, b } = pair({ rulesIn: [deny({ callsigns: ['U*'] })] }, 'a');
    const c = bench.join('c');
    a.port.deliver(inbound(position('u')));
    assert.deepEqual(bench.peer('a').refused, { filtered_in: 1 });
    c.port.deliver(inbound(position('u')));
    assert.deepEqual(b.log, ['+u', 'u']);
  });

  test('groups: only the listed ones come in, by their names here; out by their names there', () => {
    const bench = new Bench();
    bench.hub.setPolicy('a', { ...DEFAULT_POLICY, groupsIn: ['Blue'], rulesIn: [rename('Blue', 'Coalition')] });
    bench.hub.setPolicy('b', { ...DEFAULT_POLICY, groupsOut: ['Coalition'], rulesOut: [rename('Coalition', 'Green')] });
    bench.hub.setPolicy('c', { ...DEFAULT_POLICY, groupsOut: ['Red'] });
    const [a, b, c] = [bench.join('a'), bench.join('b'), bench.join('c')];
    a.port.deliver(inbound(chat('m'), { groups: ['Blue', 'Red'] }));
    assert.deepEqual(b.log, ['m']);
    assert.deepEqual(b.groupsSent, [['Green']]);
    assert.deepEqual(c.log, [], 'a group that may not come in opens no door behind');
  });

  test('positions are thinned on the way out; alerts, chat and others are not; a new connection starts anew', () => {
    const { bench, a, b } = pair({ rulesOut: [thin(10_000)] });
    const say = (uid: string, seconds: number) => {
      bench.clock.advance(1_000);
      a.port.deliver(inbound(position(uid, { timeMs: START_MS + seconds * 1_000, lat: 48 + seconds / 100 })));
    };
    for (let second = 1; second <= 25; second++) say('u', second);
    assert.equal(b.events.length, 3);
    const { dropped } = bench.peer('b').lanes.find((lane) => lane.dropped.rate_limited)!;
    assert.deepEqual(dropped, { rate_limited: 22 });
    for (let n = 0; n < 5; n++) a.port.deliver(inbound(chat('c', { timeMs: START_MS + n * 1_000 })));
    assert.equal(b.log.filter((uid) => uid === 'c').length, 5);
    const again = bench.join('b', { durable: true });
    bench.clock.advance(1_000);
    assert.deepEqual(again.log, ['+u', 'u'], 'the picture is told at once');
    assert.deepEqual(bench.balance(), []);
  });

  test('positions are thinned on the way in', () => {
    const { bench, a, b } = pair({ rulesIn: [thin(10_000)] }, 'a');
    for (let second = 1; second <= 25; second++) {
      bench.clock.advance(1_000);
      a.port.deliver(inbound(position('u', { timeMs: START_MS + second * 1_000 })));
    }
    assert.equal(b.events.length, 3);
    assert.deepEqual(bench.peer('a').refused, { rate_limited: 22 });
  });

  test('age counts while it waits', () => {
    const { bench, a } = pair({ rulesOut: [deny({ olderThanMs: 20_000 })] });
    bench.hub
      .peers()
      .find(({ spec }) => spec.key === 'b')!
      .session!.close('network_error');
    a.port.deliver(inbound(chat('old')));
    bench.clock.advance(15_000);
    a.port.deliver(inbound(chat('new', { timeMs: START_MS + 15_000 })));
    bench.clock.advance(10_000);
    const b = bench.join('b', { durable: true });
    assert.deepEqual(b.log, ['new']);
  });

  test('data feeds', () => {
    const { a, b } = pair({ rulesOut: [deny({ feeds: ['*'] })] });
    a.port.deliver(inbound(position('sensor', { feedUid: 'feed-1' })));
    a.port.deliver(inbound(position('u')));
    assert.deepEqual(
      b.events.map(({ uid }) => uid),
      ['u'],
    );
  });

  test('a change of rules is in force at once, for what waits as well', () => {
    const { bench, a, b } = pair({});
    b.room = 0;
    a.port.deliver(inbound(chat('m')));
    bench.hub.setPolicy('b', { ...DEFAULT_POLICY, rulesOut: [deny({ types: ['b-t-f'] })] });
    b.room = 10;
    b.port.writable();
    assert.deepEqual(b.log, []);
    assert.deepEqual(bench.balance(), []);
  });
});
