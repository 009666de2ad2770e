// A peer that we trust enough to let in, and that lies: in provenance, groups, names and contacts. Each test says what a lie can
// and cannot achieve. Nothing in CoT is signed, so who is let in can say where a unit is; the rest is kept from him.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { DEFAULT_POLICY } from '../../src/core/policy.ts';
import { peerStatus } from '../../src/core/status.ts';
import { callsignWarnings } from '../../src/warnings.ts';
import { Bench, chat, contact, inbound, position, START_MS } from './support.ts';

const by = (...ids: string[]) => ({ provenance: ids.map((id) => ({ id, name: '' })) });
const at = (ms: number) => ({ timeMs: START_MS + ms });

/** An honest server, a liar and somebody who listens. */
function scene() {
  const bench = new Bench();
  return { bench, honest: bench.join('honest'), liar: bench.join('liar'), witness: bench.join('witness') };
}

describe('a peer that lies in provenance', () => {
  test('cannot silence another’s message by saying first that it has passed us, or spent its hops', () => {
    const { bench, honest, liar, witness } = scene();
    const [one, two] = [chat('m1'), chat('m2')];
    liar.port.deliver(inbound(one, by('me')));
    liar.port.deliver(inbound(two, { ...by('A'), hops: { max: 1, current: 2 } }));
    assert.deepEqual([bench.peer('liar').refused.loop, bench.peer('liar').refused.hop_limit], [1, 1]);
    honest.port.deliver(inbound(one, by('A')));
    honest.port.deliver(inbound(two, by('A')));
    assert.deepEqual(witness.log, ['m1', 'm2']);
  });

  test('cannot make a loop by leaving it out, or by inventing another each time: a copy is known by what it says', () => {
    const { bench, honest, liar, witness } = scene();
    honest.port.deliver(inbound(chat('m1'), by('A')));
    liar.port.deliver(inbound(chat('m1')));
    for (let each = 0; each < 10; each++) liar.port.deliver(inbound(chat('m1'), by(`invented-${each}`)));
    assert.deepEqual(witness.log, ['m1']);
    assert.deepEqual(honest.log, [], 'nothing comes back');
    assert.equal(bench.peer('liar').refused.duplicate, 11);
  });

  test('cannot make a unit leave that its own server still tells us of, by speaking in that server’s name', () => {
    const { honest, liar, witness } = scene();
    honest.port.deliver({ ...contact('create', 'u', 'U'), ...by('A') });
    liar.port.deliver({ ...contact('create', 'u', 'U'), ...by('A') });
    liar.port.deliver({ ...contact('delete', 'u'), ...by('A') });
    assert.deepEqual(witness.log, ['+u']);
    witness.port.deliver(inbound(chat('m1', { destUids: ['u'] })));
    assert.deepEqual(honest.log.slice(-1), ['m1'], 'chat to it goes where it is');
    honest.port.deliver({ ...contact('delete', 'u'), ...by('A') });
    assert.deepEqual(witness.log, ['+u', '-u']);
  });

  test('can pass on altered what it hears first: the true word that comes after counts as its copy', () => {
    const { bench, honest, liar, witness } = scene();
    liar.port.deliver(inbound(chat('m1', { sender: 'ALTERED' }), by('A', 'L')));
    honest.port.deliver(inbound(chat('m1', { sender: 'TRUE' }), by('A')));
    assert.deepEqual(
      witness.events.map(({ sender }) => sender),
      ['ALTERED'],
    );
    assert.equal(bench.peer('honest').refused.duplicate, 1);
  });
});

describe('a peer that lies in groups', () => {
  test('cannot carry a message into a group that may not come in from it, alone or beside one that may', () => {
    const { bench, liar, witness } = scene();
    bench.hub.setPolicy('liar', { ...DEFAULT_POLICY, groupsIn: ['Blue'] });
    const red = bench.join('red');
    bench.hub.setPolicy('red', { ...DEFAULT_POLICY, groupsOut: ['Red'] });
    liar.port.deliver(inbound(chat('m1'), { groups: ['Red'] }));
    liar.port.deliver(inbound(chat('m2'), { groups: ['Blue', 'Red'] }));
    assert.deepEqual([witness.log, red.log], [['m2'], []]);
    assert.deepEqual(witness.sent[0]!.groups, ['Blue']);
  });

  test('cannot get around it by naming none, an empty one, or one that looks alike', () => {
    const { bench, liar, witness } = scene();
    bench.hub.setPolicy('liar', { ...DEFAULT_POLICY, groupsIn: ['Blue'] });
    const tries = [undefined, [], [''], ['blue'], ['Blue '], ['Blu\u0435']];
    tries.forEach((groups, n) => liar.port.deliver(inbound(chat(`m${n}`), { groups })));
    assert.deepEqual(witness.log, []);
    assert.equal(bench.peer('liar').refused.filtered_in, tries.length);
  });

  test('can say any group where none is asked for; what it may hear is ours to say, not its own', () => {
    const { bench, honest, liar } = scene();
    bench.hub.setPolicy('liar', { ...DEFAULT_POLICY, groupsOut: ['Blue'] });
    liar.port.groups(['Blue', 'Red']);
    honest.port.deliver(inbound(chat('m1'), { groups: ['Red'] }));
    honest.port.deliver(inbound(chat('m2'), { groups: ['Blue', 'Red'] }));
    assert.deepEqual(liar.log, ['m2']);
    assert.deepEqual(liar.groupsSent, [['Blue']], 'and is not told of the others');
  });
});

describe('a peer that lies in names', () => {
  test('cannot take another peer’s place: what it calls itself is shown beside who it is', () => {
    const { bench, honest, liar, witness } = scene();
    liar.port.named('honest');
    honest.port.deliver(inbound(position('u')));
    witness.port.deliver(inbound(chat('m1', { destUids: ['u'] })));
    assert.deepEqual([honest.log, liar.log], [['m1'], ['+u', 'u']]);
    assert.equal(bench.peer('liar').spec.key, 'liar');
    assert.equal(bench.peer('honest').session, honest, 'nobody was replaced');
  });

  test('is shown by the name it was given here, with its own beside; nobody named it: by its own', () => {
    const { bench, liar } = scene();
    const shown = () => {
      const { name, saidName } = peerStatus(bench.peer('liar'), bench.clock);
      return [name, saidName];
    };
    liar.port.named('honest');
    assert.deepEqual(shown(), ['honest', null]);
    bench.hub.setPeerName('liar', 'County TAK');
    assert.deepEqual(shown(), ['County TAK', 'honest']);
    liar.port.named('County TAK');
    assert.deepEqual(shown(), ['County TAK', null]);
    bench.join('liar').port.named('third');
    assert.deepEqual(shown(), ['County TAK', 'third'], 'on the next connection too');
    bench.hub.setPeerName('late', 'Late');
    bench.join('late').port.named('early');
    assert.equal(peerStatus(bench.peer('late'), bench.clock).name, 'Late', 'named before it came');
    bench.hub.setPeerName('liar', '');
    assert.deepEqual(shown(), ['third', null]);
  });

  test('can read along what is sent to a callsign that it claims; he whose it is gets it all the same', () => {
    const { honest, liar, witness } = scene();
    honest.port.deliver(inbound(position('bravo-uid', { callsign: 'BRAVO' })));
    liar.port.deliver(inbound(position('other-uid', { callsign: 'BRAVO' })));
    witness.port.deliver(inbound(chat('m1', { destCallsigns: ['BRAVO'] })));
    assert.deepEqual([honest.log.at(-1), liar.log.at(-1)], ['m1', 'm1']);
    witness.port.deliver(inbound(chat('m2', { destUids: ['bravo-uid'] })));
    assert.deepEqual([honest.log.at(-1), liar.log.at(-1)], ['m2', 'm1'], 'by uid it is not found by its name');
  });

  test('cannot keep everybody of that name from being found by claiming it many times', () => {
    const { honest, liar, witness } = scene();
    honest.port.deliver(inbound(position('bravo-uid', { callsign: 'BRAVO' })));
    for (let each = 0; each < 100; each++) liar.port.deliver(contact('create', `claim-${each}`, 'BRAVO'));
    witness.port.deliver(inbound(chat('m1', { destCallsigns: ['BRAVO'] })));
    assert.equal(honest.log.at(-1), 'm1');
  });
});

describe('a peer that lies in contacts', () => {
  test('cannot keep somebody from being found by his callsign by claiming it before him, however often', () => {
    const { bench, honest, liar, witness } = scene();
    for (let each = 0; each < 100; each++) liar.port.deliver(contact('create', `claim-${each}`, 'BRAVO'));
    honest.port.deliver(inbound(position('bravo-uid', { callsign: 'BRAVO' })));
    witness.port.deliver(inbound(chat('m1', { destCallsigns: ['BRAVO'] })));
    assert.equal(honest.log.at(-1), 'm1');
    liar.port.deliver(contact('create', 'claim-again', 'BRAVO'));
    witness.port.deliver(inbound(chat('m2', { destCallsigns: ['BRAVO'] })));
    assert.equal(honest.log.at(-1), 'm2', 'nor by claiming it again');
    assert.equal([...bench.hub.picture.roster.withCallsign('BRAVO')].length, 16);
  });

  test('is named when it claims a callsign that somebody has: once in the events, and in the warnings until it is over', () => {
    const { bench, honest, liar } = scene();
    honest.port.deliver(inbound(position('bravo-uid', { callsign: 'BRAVO' })));
    assert.deepEqual(callsignWarnings(bench.hub), []);
    for (let each = 0; each < 10; each++) liar.port.deliver(contact('create', `claim-${each}`, 'BRAVO'));
    const told = bench.events.since(0).events.flatMap(({ event }) => (event.type === 'callsign_shared' ? [event] : []));
    const holder = { uid: 'bravo-uid', peer: 'honest' };
    assert.deepEqual(told, [{ type: 'callsign_shared', uid: 'claim-0', callsign: 'BRAVO', peer: 'liar', holder }]);
    assert.match(callsignWarnings(bench.hub)[0]!.words, /"BRAVO" is the callsign of several, who come by honest, liar/);
    liar.close('remote_closed');
    assert.deepEqual(callsignWarnings(bench.hub), []);
  });

  test('cannot draw the chat to somebody to itself by announcing him: the way he came first stays', () => {
    const { honest, liar, witness } = scene();
    honest.port.deliver(inbound(position('u')));
    liar.port.deliver(contact('create', 'u', 'U'));
    witness.port.deliver(inbound(chat('m1', { destUids: ['u'] })));
    assert.deepEqual([honest.log, liar.log.includes('m1')], [['m1'], false]);
  });

  test('can do so by positions in his name, until he says where he is himself', () => {
    const { honest, liar, witness } = scene();
    honest.port.deliver(inbound(position('u')));
    liar.port.deliver(inbound(position('u', { ...at(1_000), lat: 10 })));
    witness.port.deliver(inbound(chat('m1', { destUids: ['u'] })));
    honest.port.deliver(inbound(position('u', at(2_000))));
    witness.port.deliver(inbound(chat('m2', { destUids: ['u'] })));
    assert.deepEqual([liar.log.includes('m1'), liar.log.includes('m2'), honest.log.at(-1)], [true, false, 'm2']);
    assert.equal(witness.events.at(-1)!.lat, 48.1);
  });

  test('cannot stop a unit’s reports for long by dating one of its own ahead: half a minute at most', () => {
    const { bench, honest, liar, witness } = scene();
    honest.port.deliver(inbound(position('u')));
    liar.port.deliver(inbound(position('u', { ...at(23 * 3_600_000), lat: 10 })));
    honest.port.deliver(inbound(position('u', at(1_000))));
    assert.equal(witness.events.at(-1)!.lat, 48.1, 'dated far ahead: his clock was set, we think');
    liar.port.deliver(inbound(position('u', { ...at(30_000), lat: 10 })));
    honest.port.deliver(inbound(position('u', at(20_000))));
    assert.equal(bench.peer('honest').refused.superseded, 1);
    honest.port.deliver(inbound(position('u', at(31_000))));
    assert.equal(witness.events.at(-1)!.lat, 48.1);
  });

  test('cannot make memory grow, and crowds out nobody’s contacts but its own', () => {
    const bench = new Bench({
      picture: { units: 8, alerts: 8, bytes: 1 << 20, roster: { contacts: 8, bytes: 1 << 20, ways: 8, namesakes: 4 } },
    });
    const [honest, liar, witness] = [bench.join('honest'), bench.join('liar'), bench.join('witness')];
    for (const uid of ['u', 'v', 'w']) honest.port.deliver(inbound(position(uid)));
    for (let each = 0; each < 100; each++) liar.port.deliver(contact('create', `flood-${each}`, `F-${each}`));
    assert.equal(bench.hub.picture.contacts, 8);
    for (const uid of ['u', 'v', 'w']) witness.port.deliver(inbound(chat(`to ${uid}`, { destUids: [uid] })));
    assert.deepEqual(honest.log.slice(-3), ['to u', 'to v', 'to w']);
    assert.deepEqual(bench.peer('witness').refused, {});
    honest.port.deliver(contact('create', 'x'));
    assert.deepEqual(bench.hub.picture.roster.uids().slice(0, 4), ['u', 'v', 'w', 'flood-96'], 'nor keeps others out');
  });

  for (const [what, type] of [
    ['units', 'a-f-G-U-C'],
    ['alerts', 'b-a-o-tbl'],
  ] as const) {
    test(`crowds nobody’s ${what} but its own out of what late joiners are told`, () => {
      const roster = { contacts: 100, bytes: 1 << 20, ways: 8, namesakes: 4 };
      const bench = new Bench({ picture: { units: 8, alerts: 8, bytes: 1 << 20, roster } });
      const [honest, liar] = [bench.join('honest'), bench.join('liar')];
      for (const uid of ['u', 'v', 'w']) honest.port.deliver(inbound(position(uid, { type })));
      for (let each = 0; each < 100; each++) liar.port.deliver(inbound(position(`flood-${each}`, { type })));
      honest.port.deliver(inbound(position('x', { type })));
      const late = bench.join('late');
      bench.clock.advance(1_000);
      const told = late.events.map(({ uid }) => uid);
      assert.deepEqual(told.slice(0, 3), ['u', 'v', 'w']);
      assert.deepEqual([told.length, told.filter((uid) => uid.startsWith('flood')).length, told.at(-1)], [8, 4, 'x']);
    });
  }

  test('cannot cancel by its going what others still tell of', () => {
    const { honest, liar, witness } = scene();
    honest.port.deliver(inbound(position('u')));
    liar.port.deliver(contact('create', 'u', 'U'));
    liar.close('remote_closed');
    assert.ok(!witness.log.includes('-u'));
  });
});
