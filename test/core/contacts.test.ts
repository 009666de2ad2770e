// Who hears of whom: contacts are announced before positions, and to nobody who may not know of the unit.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CHAT } from '../../src/core/message.ts';
import { DEFAULT_POLICY } from '../../src/core/policy.ts';
import { Bench, chat, contact, inbound, phoneSays, position, RecordingSession, START_MS } from './support.ts';

const later = (ms: number) => ({ timeMs: START_MS + ms });
const alert = (uid: string) => position(uid, { type: 'b-a-o-tbl', callsign: '' });

test('a unit whose type a peer may not see is not announced to it, nor does it leave for it', () => {
  const bench = new Bench();
  const [a, b, c] = [bench.join('a'), bench.join('b'), bench.join('c')];
  bench.hub.setPolicy('b', { ...DEFAULT_POLICY, blockTypes: ['a-h-'] });
  bench.hub.setPolicy('c', { ...DEFAULT_POLICY, allowTypes: ['b-'] });
  a.port.deliver(inbound(position('friend')));
  a.port.deliver(inbound(position('foe', { type: 'a-h-G' })));
  a.port.deliver(inbound(chat('c1')));
  a.close('remote_closed');
  assert.deepEqual(b.log, ['+friend', 'friend', 'c1', '-friend']);
  assert.deepEqual(c.log, ['c1']);
  assert.deepEqual(bench.balance(), []);
});

test('a contact whose type is not known is announced, where types decide, with its first position that may pass', () => {
  const bench = new Bench();
  const [a, b] = [bench.join('a'), bench.join('b')];
  bench.hub.setPolicy('b', { ...DEFAULT_POLICY, blockTypes: ['a-h'] });
  a.port.deliver(contact('create', 'friend', 'FRIEND'));
  a.port.deliver(contact('create', 'foe', 'FOE'));
  assert.deepEqual(b.log, []);
  a.port.deliver(inbound(position('friend')));
  a.port.deliver(inbound(position('foe', { type: 'a-h-G' })));
  assert.deepEqual(b.log, ['+friend', 'friend']);
  bench.hub.setPolicy('b', { ...DEFAULT_POLICY, blockTypes: ['b-m'] });
  a.port.deliver(contact('create', 'other', 'OTHER'));
  assert.deepEqual(b.log.slice(2), ['+other'], 'no unit is a marker');
});

test('what may not come in of a unit includes that it is there', () => {
  const bench = new Bench();
  const [a, b] = [bench.join('a'), bench.join('b')];
  bench.hub.setPolicy('a', { ...DEFAULT_POLICY, allowTypes: ['a-f-', 'b-'] });
  a.port.deliver(contact('create', 'foe', 'FOE'));
  a.port.deliver(inbound(position('foe', { type: 'a-h-G' })));
  assert.deepEqual(b.log, []);
  assert.equal(bench.hub.picture.contacts, 0);
  a.port.deliver(inbound(position('friend')));
  a.port.deliver(contact('delete', 'friend'));
  assert.deepEqual(b.log, ['+friend', 'friend', '-friend'], 'a leave is always heard');
});

test('a contact of a group that a peer may not see is announced to it neither live nor late, nor after a change of group', () => {
  const bench = new Bench();
  const a = bench.join('a', { durable: true, graceMs: 1e9 });
  for (const name of ['red', 'late', 'later']) {
    bench.hub.setPolicy(name, { ...DEFAULT_POLICY, groupsOut: ['Red'] });
  }
  const red = bench.join('red');
  a.port.deliver(inbound(position('u'), { groups: ['Red'] }));
  a.port.deliver(inbound(position('v'), { groups: ['Blue'] }));
  assert.deepEqual(red.log, ['+u', 'u']);
  a.port.deliver(inbound(position('u', later(1000)), { groups: ['Blue'] }));
  assert.deepEqual(red.log, ['+u', 'u']);
  assert.deepEqual(bench.join('late').log, []);
  bench.clock.advance(600_000);
  assert.deepEqual(bench.join('later').log, [], 'positions are stale; contacts are told without them');
  a.port.deliver(contact('delete', 'u'));
  assert.deepEqual(red.log, ['+u', 'u']);
});

test('groups said with the contact alone, as TAK does, are its groups', () => {
  const bench = new Bench();
  const [a, b, c] = [bench.join('a'), bench.join('b'), bench.join('c')];
  bench.hub.setPolicy('b', { ...DEFAULT_POLICY, groupsOut: ['Blue'] });
  bench.hub.setPolicy('c', { ...DEFAULT_POLICY, groupsOut: ['Red'] });
  a.port.deliver({ ...contact('create', 'u', 'U'), groups: ['Blue'] });
  a.port.deliver(inbound(position('u')));
  a.port.deliver(inbound(position('u', { ...later(1000), callsign: 'NEW' })));
  a.port.deliver(contact('delete', 'u'));
  assert.deepEqual([b.log, c.log], [['+u', '-u'], []]);
});

test('a policy that opens lets positions out behind their contacts', () => {
  const bench = new Bench();
  const [a, b] = [bench.join('a'), bench.join('b')];
  bench.hub.setPolicy('b', { ...DEFAULT_POLICY, out: false });
  a.port.deliver(inbound(position('u')));
  bench.hub.setPolicy('b', DEFAULT_POLICY);
  a.port.deliver(inbound(position('u', later(1000))));
  a.port.deliver(inbound(position('u', later(2000))));
  assert.deepEqual(b.log, ['+u', 'u', 'u']);
});

test('a late joiner is told paced, each once, contacts before positions, also of one that speaks meanwhile', () => {
  const bench = new Bench();
  const a = bench.join('a');
  for (let n = 0; n < 120; n++) a.port.deliver(inbound(position(`u${n}`)));
  const late = bench.join('late');
  assert.ok(late.log.length <= 60, `${late.log.length} at once`);
  a.port.deliver(inbound(position('u119', later(5))));
  bench.clock.advance(1000);
  assert.equal(late.log.length, 240);
  for (let n = 0; n < 120; n++) assert.ok(late.log.indexOf(`+u${n}`) < late.log.indexOf(`u${n}`), `u${n}`);
  assert.deepEqual(bench.balance(), []);
});

test('a peer that learns of units by their positions is told nothing else, but groups that positions do not say', () => {
  const bench = new Bench();
  const [a, b] = [bench.join('a'), new RecordingSession('b')];
  b.meets = true;
  bench.join('b', {}, b);
  a.port.deliver(inbound(position('u')));
  a.port.deliver({ ...contact('create', 'v', 'V'), groups: ['Blue'] });
  bench.hub.setPolicy('b', { ...DEFAULT_POLICY, out: false });
  a.port.deliver({ ...contact('create', 'w', 'W'), groups: ['Blue'] });
  bench.hub.setPolicy('b', DEFAULT_POLICY);
  a.port.deliver(inbound(position('w', { callsign: 'W' })));
  a.port.deliver(inbound(position('w', { callsign: 'W', ...later(1000) })));
  a.port.deliver(contact('delete', 'u'));
  assert.deepEqual(b.log, ['u', '+v', '+w', 'w', 'w', '-u']);
  assert.deepEqual(bench.balance(), []);
});

test('phones, whose protocol announces nobody, are offered no announcements of our making', () => {
  const bench = new Bench();
  const a = bench.join('a');
  a.port.deliver(inbound(position('u0')));
  const phone = new RecordingSession('phone');
  phone.says = phoneSays;
  bench.join('phone', {}, phone);
  a.port.deliver(inbound(position('u1')));
  a.port.deliver(contact('delete', 'u1'));
  assert.deepEqual(phone.log, ['u0', 'u1', '-u1']);
  for (const { dropped } of bench.peer('phone').lanes) assert.equal(dropped.unsupported, undefined);
});

test('who left is not followed by where he was', () => {
  const bench = new Bench();
  const [a, b] = [bench.join('a'), bench.join('b')];
  b.room = 1;
  for (const uid of ['u1', 'u2']) a.port.deliver(inbound(position(uid)));
  a.port.deliver(contact('delete', 'u2'));
  b.room = 100;
  b.port.writable();
  assert.deepEqual(b.log, ['+u1', 'u1', '-u2']);
  a.port.deliver(inbound(position('u2', later(1000))));
  assert.deepEqual(b.log.slice(3), ['+u2', 'u2'], 'and who comes back is announced');
  assert.deepEqual(bench.balance(), []);
});

test('an announcement never takes the place of a position that waits', () => {
  const bench = new Bench();
  const [a, b] = [bench.join('a'), bench.join('b')];
  b.room = 0;
  a.port.deliver(inbound(position('u', { callsign: 'OLD' })));
  a.port.deliver(contact('update', 'u', 'NEW'));
  b.room = 100;
  b.port.writable();
  assert.deepEqual(b.log, ['+u', 'u']);
  const [notice] = b.sent;
  assert.equal(notice?.message.kind === 'contact' && notice.message.contact.callsign, 'NEW');
  assert.deepEqual(bench.balance(), []);
});

test('an alert does not wait behind a federate that announces everybody', () => {
  const bench = new Bench();
  const [a, b] = [bench.join('a'), bench.join('b')];
  b.room = 0;
  for (let n = 0; n < 1000; n++) a.port.deliver(contact('create', `u${n}`));
  a.port.deliver(inbound(alert('help')));
  b.room = 1;
  b.port.writable();
  assert.deepEqual(b.log, ['help']);
});

test('standing alerts come first of what a late joiner is told, also when the unit goes on reporting', () => {
  const bench = new Bench();
  const a = bench.join('a');
  for (let n = 0; n < 200; n++) a.port.deliver(inbound(position(`u${n}`)));
  a.port.deliver(inbound(alert('u7')));
  a.port.deliver(inbound(position('u7', later(1000))));
  const late = bench.join('late');
  assert.equal(late.sent[0]!.message.kind === 'event' && late.sent[0]!.message.event.type, 'b-a-o-tbl');
  bench.clock.advance(2000);
  assert.equal(late.log.filter((uid) => uid === 'u7').length, 2, 'the alert and the position');
});

test('in a mesh, who leaves at his own server is gone for those, too, who repeated that he is there', () => {
  const bench = new Bench();
  const [a, b, c] = [bench.join('a'), bench.join('b'), bench.join('c')];
  const [home, relay] = [
    { id: 'A', name: '' },
    { id: 'B', name: '' },
  ];
  a.port.deliver({ ...contact('create', 'u', 'U'), provenance: [home] });
  b.port.deliver({ ...contact('create', 'u', 'U'), provenance: [home, relay] });
  a.port.deliver({ ...contact('delete', 'u'), provenance: [home] });
  assert.deepEqual(c.log, ['+u', '-u']);
  b.port.deliver({ ...contact('delete', 'u'), provenance: [home, relay] });
  assert.deepEqual(c.log, ['+u', '-u']);
  assert.equal(bench.peer('b').refused.duplicate, 2);
});

test('a relay that lost its way to a contact does not speak for its server', () => {
  const bench = new Bench();
  const [a, b, c] = [bench.join('a'), bench.join('b'), bench.join('c')];
  a.port.deliver({ ...contact('create', 'u', 'U'), provenance: [{ id: 'A', name: '' }] });
  a.close('remote_closed');
  const left = c.sent.at(-1)!;
  assert.deepEqual(left.provenance, []);
  assert.equal(b.log.at(-1), '-u');
});

test('a directed message takes a way that is connected, and never back', () => {
  const bench = new Bench();
  const durable = { durable: true, graceMs: 600_000 };
  const [a, b] = [bench.join('a', durable), bench.join('b')];
  const c = bench.join('c');
  a.port.deliver(contact('create', 'u', 'U'));
  b.port.deliver(contact('create', 'u', 'U'));
  a.port.deliver(inbound(chat('from a', { destUids: ['u'] })));
  assert.deepEqual(b.log.slice(-1), ['from a'], 'a knows another way than back to a');
  a.close('network_error');
  c.port.deliver(inbound(chat('from c', { destUids: ['u'] })));
  assert.deepEqual(b.log.slice(-1), ['from c']);
  b.close('remote_closed');
  c.port.deliver(inbound(chat('late', { destUids: ['u'] })));
  assert.deepEqual(bench.join('a', durable).log, ['late'], 'only one that may come back: it waits there');
});

test('thousands of contacts of one name do not make a message to that name expensive', () => {
  const bench = new Bench();
  const [a, b] = [bench.join('a'), bench.join('b')];
  bench.join('c').port.deliver(contact('create', 'first', 'BRAVO'));
  for (let n = 0; n < 5000; n++) b.port.deliver(contact('create', `u${n}`, 'BRAVO'));
  assert.equal([...bench.hub.picture.roster.withCallsign('BRAVO')].length, 16);
  a.port.deliver(inbound(chat('m', { destCallsigns: new Array(1000).fill('BRAVO') })));
  for (const name of ['b', 'c']) assert.equal(bench.peer(name).lanes[CHAT]!.offered, 1);
});

test('a position that waited is announced by the name that its unit has by then', () => {
  const bench = new Bench();
  const [a, b, c] = [bench.join('a'), bench.join('b'), bench.join('c')];
  b.room = 0;
  for (const timeMs of [START_MS, START_MS + 1_000]) a.port.deliver(inbound(position('u', { timeMs })));
  c.port.deliver(contact('update', 'u', 'NEW'));
  b.room = Number.POSITIVE_INFINITY;
  b.port.writable();
  const said = b.sent.map(({ message }) => (message.kind === 'contact' ? message.contact.callsign : message.kind));
  assert.deepEqual(said, ['NEW', 'event']);
});
