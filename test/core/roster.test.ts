import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Envelope } from '../../src/core/message.ts';
import { Roster } from '../../src/core/roster.ts';

const notice = (size = 64) => ({ wire: { format: 'fed', bytes: Buffer.alloc(size) } }) as unknown as Envelope;
const way = (peer: string, origin = '') => ({ peer, origin });
const limits = { contacts: 100, bytes: 1e6, ways: 3, namesakes: 4 };

test('ways are few, the latest used first; a contact is there until the last of them ends', () => {
  const roster = new Roster(limits);
  roster.enrol({ uid: 'u', callsign: 'U' }, way('a'), notice());
  for (const peer of ['b', 'c', 'd']) roster.addWay('u', way(peer));
  const via = () => roster.entry('u')?.via.map(({ peer }) => peer);
  assert.deepEqual(via(), ['a', 'b', 'c']);
  roster.renew(roster.entry('u')!, way('d'));
  assert.deepEqual(via(), ['d', 'a', 'b']);
  assert.deepEqual([roster.reachedBy('c'), roster.reachedBy('d')], [[], ['u']]);
  for (const peer of ['a', 'd']) assert.equal(roster.leave('u', way(peer)), undefined);
  assert.equal(roster.leave('u', way('b'))?.contact.callsign, 'U');
  assert.deepEqual([via(), [...roster.withCallsign('U')], roster.reachedBy('b')], [undefined, [], []]);
});

test('the indexes know what the roster knows, whatever happens', () => {
  const roster = new Roster({ ...limits, contacts: 12, namesakes: 1000 });
  let state = 7;
  const below = (n: number) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return (state >>> 8) % n;
  };
  const peers = ['a', 'b', 'c', 'd', 'e'];
  const callsigns = ['X', 'Y', 'Z'];
  for (let n = 0; n < 20_000; n++) {
    const uid = `u${below(20)}`;
    const by = way(peers[below(5)]!, ['', 'A', 'B'][below(3)]!);
    const entry = roster.entry(uid);
    const die = below(4);
    if (die === 0) roster.enrol({ uid, callsign: callsigns[below(3)]! }, by, notice(below(100)));
    else if (die === 1) roster.addWay(uid, by);
    else if (die === 2 && entry) roster.renew(entry, by);
    else if (die === 3) roster.leave(uid, by);
    assert.ok(roster.size <= 12);
    if (n % 50 > 0) continue;
    const entries = roster.uids().map((one) => roster.entry(one)!);
    const uids = (found: typeof entries) => found.map(({ contact }) => contact.uid).sort();
    for (const peer of peers) {
      assert.deepEqual(
        roster.reachedBy(peer).sort(),
        uids(entries.filter(({ via }) => via.some((w) => w.peer === peer))),
      );
    }
    for (const name of callsigns) {
      assert.deepEqual(
        [...roster.withCallsign(name)].sort(),
        uids(entries.filter(({ contact }) => contact.callsign === name)),
      );
    }
  }
});
