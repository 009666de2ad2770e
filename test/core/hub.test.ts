import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CHAT, MOVING } from '../../src/core/message.ts';
import { DEFAULT_POLICY } from '../../src/core/policy.ts';
import { totals } from '../../src/core/status.ts';
import { RETELL_MS } from '../../src/core/unheard.ts';
import { Bench, chat, contact, inbound, position, RecordingSession, START_MS } from './support.ts';

test('an event goes to every peer but the one it came from', () => {
  const bench = new Bench();
  const [a, b, c] = [bench.join('a'), bench.join('b'), bench.join('c')];
  a.port.deliver(inbound(position('u1', { callsign: '' })));
  assert.deepEqual([a.log, b.log, c.log], [[], ['u1'], ['u1']]);
});

test('a new unit is announced before its first position, and again only when its callsign changes', () => {
  const bench = new Bench();
  const [a, b] = [bench.join('a'), bench.join('b')];
  a.port.deliver(inbound(position('u1')));
  a.port.deliver(inbound(position('u1', { timeMs: START_MS + 1000 })));
  a.port.deliver(inbound(position('u1', { timeMs: START_MS + 2000, callsign: 'NEW' })));
  assert.deepEqual(b.log, ['+u1', 'u1', 'u1', '+u1', 'u1']);
});

test('a directed message reaches its addressees alone, by callsign and by uid', () => {
  const bench = new Bench();
  const [a, b, c] = [bench.join('a'), bench.join('b'), bench.join('c')];
  b.port.deliver(inbound(position('ub', { callsign: 'BRAVO' })));
  c.port.deliver(inbound(position('uc', { callsign: 'CHARLIE' })));
  a.port.deliver(inbound(chat('m1', { destCallsigns: ['BRAVO'] })));
  a.port.deliver(inbound(chat('m2', { destUids: ['uc'] })));
  a.port.deliver(inbound(chat('m3', { chatId: 'ub' })));
  assert.deepEqual(
    b.log.filter((uid) => uid.startsWith('m')),
    ['m1', 'm3'],
  );
  assert.deepEqual(
    c.log.filter((uid) => uid.startsWith('m')),
    ['m2'],
  );
  a.port.deliver(inbound(chat('m4', { destCallsigns: ['NOBODY'] })));
  assert.equal(bench.peer('a').refused.no_recipient, 1);
});

test('a message to "All Streaming" is for everybody', () => {
  const bench = new Bench();
  const [a, b, c] = [bench.join('a'), bench.join('b'), bench.join('c')];
  a.port.deliver(inbound(chat('m1', { destCallsigns: ['All Streaming'] })));
  assert.deepEqual([b.log, c.log], [['m1'], ['m1']]);
});

test('a contact announced by a federate is a way for directed messages', () => {
  const bench = new Bench();
  const [a, b] = [bench.join('a'), bench.join('b')];
  b.port.deliver(contact('create', 'far', 'FAR'));
  assert.deepEqual(a.log, ['+far']);
  a.port.deliver(inbound(chat('m1', { destCallsigns: ['FAR'] })));
  assert.deepEqual(b.log, ['m1']);
});

test('a contact known by two ways is announced once and leaves with the last of them', () => {
  const bench = new Bench();
  const [a, b, c] = [bench.join('a'), bench.join('b'), bench.join('c')];
  a.port.deliver(contact('create', 'u', 'U'));
  b.port.deliver(contact('create', 'u', 'U'));
  assert.deepEqual(c.log, ['+u']);
  a.port.deliver(contact('delete', 'u'));
  assert.deepEqual(c.log, ['+u']);
  c.port.deliver(inbound(chat('m1', { destUids: ['u'] })));
  assert.deepEqual(b.log, ['+u', 'm1']);
  b.port.deliver(contact('delete', 'u'));
  assert.deepEqual(c.log, ['+u', '-u']);
});

test("nobody can make another peer's contact leave", () => {
  const bench = new Bench();
  const [a, b, c] = [bench.join('a'), bench.join('b'), bench.join('c')];
  a.port.deliver(contact('create', 'u', 'U'));
  b.port.deliver(contact('delete', 'u'));
  assert.deepEqual(c.log, ['+u']);
  assert.equal(bench.peer('b').refused.filtered_in, 1);
});

test('when a client disconnects, its contacts leave for the others', () => {
  const bench = new Bench();
  const [a, b] = [bench.join('a'), bench.join('b')];
  a.port.deliver(inbound(position('u1')));
  a.close('remote_closed');
  assert.deepEqual(b.log, ['+u1', 'u1', '-u1']);
  assert.equal(bench.hub.picture.units, 0);
  assert.equal(bench.hub.peers().length, 1);
});

test('a federate keeps its contacts through a short cut and loses them after the grace', () => {
  const bench = new Bench();
  const b = bench.join('b');
  const durable = { durable: true, graceMs: 30_000 };
  const a = bench.join('a', durable);
  a.port.deliver(inbound(position('u1')));
  a.close('network_error');
  bench.clock.advance(10_000);
  const again = bench.join('a', durable);
  bench.clock.advance(60_000);
  assert.deepEqual(b.log, ['+u1', 'u1']);
  again.close('network_error');
  bench.clock.advance(31_000);
  assert.deepEqual(b.log, ['+u1', 'u1', '-u1']);
});

test('whom a federate that restarted does not name again has left; everybody else stays', () => {
  const bench = new Bench();
  const b = bench.join('b');
  const durable = { durable: true, graceMs: 900_000 };
  const a = bench.join('a', durable);
  a.port.tellsAnew();
  for (const uid of ['position', 'copy', 'notice', 'gone', 'other way']) a.port.deliver(inbound(position(uid)));
  bench.join('c', durable).port.deliver(contact('create', 'other way'));
  a.close('network_error');
  bench.clock.advance(60_000);
  const again = bench.join('a', durable);
  again.port.tellsAnew();
  again.port.deliver(inbound(position('position', { timeMs: bench.clock.wallMs() })));
  again.port.deliver(inbound(position('copy')));
  again.port.deliver(contact('create', 'notice'));
  const before = b.log.length;
  bench.clock.advance(RETELL_MS - 1_000);
  assert.deepEqual(b.log.slice(before), []);
  bench.clock.advance(2_000);
  assert.deepEqual(b.log.slice(before), ['-gone']);
  assert.deepEqual(bench.hub.picture.roster.uids().sort(), ['copy', 'notice', 'other way', 'position']);
  assert.deepEqual(
    bench.hub.picture.roster.entry('other way')?.via.map(({ peer }) => peer),
    ['c'],
  );
});

test('a federate that is cut off while it tells anew has the whole time once more; one that is away for long has left with all', () => {
  const bench = new Bench();
  const b = bench.join('b');
  const durable = { durable: true, graceMs: 900_000 };
  bench.join('a', durable).port.deliver(inbound(position('u1')));
  bench.peer('a').session!.close('network_error');
  const second = bench.join('a', durable);
  second.port.tellsAnew();
  bench.clock.advance(RETELL_MS / 2);
  second.close('network_error');
  bench.clock.advance(60_000);
  const third = bench.join('a', durable); // this one goes on where the second was
  bench.clock.advance(RETELL_MS - 1_000);
  assert.equal(b.log.at(-1), 'u1');
  third.close('network_error');
  bench.clock.advance(durable.graceMs - 1_000);
  assert.equal(b.log.at(-1), 'u1', 'while it is away nobody has to name anybody');
  bench.clock.advance(2_000);
  assert.equal(b.log.at(-1), '-u1');
  const fourth = bench.join('a', durable);
  fourth.port.tellsAnew();
  fourth.port.deliver(contact('create', 'u2'));
  bench.clock.advance(2 * RETELL_MS);
  assert.equal(b.log.at(-1), '+u2', 'who came meanwhile was not expected');
});

test('loops: own provenance, own flow tag, spent hops', () => {
  const bench = new Bench();
  const [a, b] = [bench.join('a'), bench.join('b')];
  a.port.deliver(
    inbound(position('u1'), {
      provenance: [
        { id: 'other', name: '' },
        { id: 'me', name: '' },
      ],
    }),
  );
  a.port.deliver(inbound(position('u2', { flowTags: ['waystation-me'] })));
  a.port.deliver(inbound(position('u3'), { hops: { max: 2, current: 3 } }));
  a.port.deliver(inbound(position('u4', { callsign: '' }), { hops: { max: 2, current: 2 } }));
  a.port.deliver(inbound(position('u5', { callsign: '' }), { hops: { max: 2, current: 1 } }));
  assert.deepEqual(b.log, ['u5']);
  assert.deepEqual(bench.peer('a').refused, { loop: 2, hop_limit: 1 });
  assert.deepEqual(bench.peer('b').lanes[MOVING]!.dropped, { hop_limit: 1 });
});

test('the same event by two paths arrives once, though TAK cut off its milliseconds on one of them', () => {
  const bench = new Bench();
  const [a, b, c] = [bench.join('a'), bench.join('b'), bench.join('c')];
  a.port.deliver(inbound(position('u1', { timeMs: START_MS + 123 })));
  b.port.deliver(inbound(position('u1', { timeMs: START_MS })));
  b.port.deliver(inbound(position('u2', { timeMs: START_MS })));
  a.port.deliver(inbound(position('u2', { timeMs: START_MS + 123 })));
  assert.deepEqual(c.log, ['+u1', 'u1', '+u2', 'u2']);
  assert.equal(bench.peer('a').refused.duplicate, 1);
  assert.equal(bench.peer('b').refused.duplicate, 1);
});

test('two fixes of one unit within the same second are two events', () => {
  const bench = new Bench();
  const [a, b] = [bench.join('a'), bench.join('b')];
  a.port.deliver(inbound(position('u1', { timeMs: START_MS + 100, callsign: '' })));
  a.port.deliver(inbound(position('u1', { timeMs: START_MS + 600, callsign: '' })));
  assert.equal(b.log.length, 2);
});

test('a position overtaken by a newer one is not passed on; a clock set back is not mistaken for that', () => {
  const bench = new Bench();
  const [a, b] = [bench.join('a'), bench.join('b')];
  a.port.deliver(inbound(position('u1', { timeMs: START_MS, callsign: '' })));
  a.port.deliver(inbound(position('u1', { timeMs: START_MS - 5_000, callsign: '' })));
  assert.equal(b.log.length, 1);
  assert.equal(bench.peer('a').refused.superseded, 1);
  a.port.deliver(inbound(position('u1', { timeMs: START_MS - 45_000, callsign: '' })));
  assert.equal(b.log.length, 2);
});

test('long stale and far future are refused; a few minutes of clock difference are not', () => {
  const bench = new Bench();
  const [a, b] = [bench.join('a'), bench.join('b')];
  a.port.deliver(inbound(position('old', { timeMs: START_MS - 600_000 })));
  a.port.deliver(inbound(position('far', { timeMs: START_MS + 25 * 3_600_000 })));
  a.port.deliver(inbound(position('slow', { timeMs: START_MS - 200_000, callsign: '' })));
  a.port.deliver(inbound(position('ahead', { timeMs: START_MS + 600_000, callsign: '' })));
  assert.deepEqual(b.log, ['slow', 'ahead']);
  assert.equal(bench.peer('a').refused.stale, 2);
});

test('a stalled peer delays nobody and its queue stays bounded and exact', () => {
  const bench = new Bench({ queue: { events: 50, bytes: 1e6 } });
  const [a, b] = [bench.join('a'), bench.join('b')];
  const stalled = new RecordingSession('s');
  stalled.room = 0;
  bench.join('s', {}, stalled);
  for (let n = 0; n < 1000; n++) {
    a.port.deliver(inbound(position(`u${n % 80}`, { timeMs: START_MS + n * 10, callsign: '' })));
    if (n % 10 === 0) a.port.deliver(inbound(chat(`c${n}`)));
  }
  assert.equal(b.log.length, 1100);
  assert.equal(bench.peer('s').queue.length, 50);
  assert.deepEqual(bench.balance(), []);
  stalled.room = Number.POSITIVE_INFINITY;
  stalled.port.writable();
  assert.equal(stalled.log.length, 50);
  assert.equal(bench.peer('s').queue.length, 0);
  assert.deepEqual(bench.balance(), []);
});

test('what a closing session had taken but not sent waits again, before what came later', () => {
  const bench = new Bench();
  const [a, b] = [bench.join('a'), bench.join('b', { durable: true })];
  for (let n = 0; n < 5; n++) a.port.deliver(inbound(chat(`c${n}`)));
  a.port.deliver(inbound(position('u1', { callsign: '' })));
  b.port.closed('network_error', undefined, b.sent.slice(2));
  a.port.deliver(inbound(chat('later')));
  a.port.deliver(inbound(position('u1', { callsign: '', timeMs: START_MS + 1000 })));
  assert.equal(bench.peer('b').lanes[CHAT]!.sent, 2);
  assert.deepEqual(bench.balance(), []);
  const again = bench.join('b', { durable: true });
  assert.deepEqual(again.log, ['c2', 'c3', 'c4', 'later', 'u1']);
  assert.equal(bench.peer('b').lanes[MOVING]!.dropped.superseded, 1);
  assert.deepEqual(bench.balance(), []);
});

test('what a departed client had not been sent is counted as lost', () => {
  const bench = new Bench();
  const [a, b] = [bench.join('a'), bench.join('phones/1')];
  a.port.deliver(inbound(chat('c1')));
  b.port.closed('remote_closed', undefined, b.sent);
  assert.equal(bench.hub.departed.get('phones')!.dropped.peer_gone, 1);
  assert.equal(bench.hub.departed.get('phones')!.sent, 0);
});

test('a durable peer that is away is kept a queue, and gets it when it is back', () => {
  const bench = new Bench();
  const a = bench.join('a');
  bench.hub.expect(bench.spec('b', { durable: true }));
  a.port.deliver(inbound(chat('c1')));
  a.port.deliver(inbound(position('u1', { callsign: '' })));
  bench.clock.advance(80_000);
  const b = bench.join('b', { durable: true });
  assert.deepEqual(b.log, ['c1']);
  assert.equal(bench.peer('b').lanes[MOVING]!.dropped.expired, 1);
});

test('a late joiner is not told what is stale, nor what it said itself', () => {
  const bench = new Bench();
  const a = bench.join('a', { durable: true, graceMs: 600_000 });
  a.port.deliver(inbound(position('u1')));
  a.close('network_error');
  const again = bench.join('a', { durable: true, graceMs: 600_000 });
  assert.deepEqual(again.log, []);
  bench.clock.advance(120_000);
  const late = bench.join('late');
  assert.deepEqual(late.log, ['+u1']);
});

test('policy: direction, types, groups; a change takes hold at once, also for what already waits', () => {
  const bench = new Bench();
  const [a, b] = [bench.join('a'), bench.join('b')];
  bench.hub.setPolicy('b', { ...DEFAULT_POLICY, blockTypes: ['b-m'], allowTypes: ['a-f-', 'b-'], groupsOut: ['Blue'] });
  a.port.deliver(inbound(position('no-group', { callsign: '' })));
  a.port.deliver(inbound(position('blue', { callsign: '' }), { groups: ['Blue', 'Red'] }));
  a.port.deliver(inbound(position('hostile', { type: 'a-h-G', callsign: '' }), { groups: ['Blue'] }));
  a.port.deliver(inbound(chat('marker', { type: 'b-m-p-s-m' }), { groups: ['Blue'] }));
  assert.deepEqual(b.log, ['blue']);
  assert.deepEqual(b.groupsSent, [['Blue']]);
  bench.hub.setPolicy('b', { ...DEFAULT_POLICY, out: true });
  b.room = 0;
  a.port.deliver(inbound(chat('waiting')));
  bench.hub.setPolicy('b', { ...DEFAULT_POLICY, out: false });
  b.room = 10;
  b.port.writable();
  assert.deepEqual(b.log, ['blue']);
  assert.deepEqual(bench.balance(), []);
  bench.hub.setPolicy('a', { ...DEFAULT_POLICY, in: false });
  a.port.deliver(inbound(chat('in')));
  assert.equal(bench.peer('a').refused.filtered_in, 1);
});

test('what says no group counts by the team of its unit, its contact too; what says one counts by that alone', () => {
  const bench = new Bench();
  const [a, b] = [bench.join('a'), bench.join('b')];
  bench.hub.setPolicy('b', { ...DEFAULT_POLICY, groupsOut: ['Blue'] });
  a.port.deliver(inbound(position('blue', { callsign: 'B', team: 'Blue' })));
  a.port.deliver(inbound(position('cyan', { callsign: 'C', team: 'Cyan' })));
  a.port.deliver(inbound(position('none', { callsign: 'N', team: '' })));
  a.port.deliver(inbound(position('secret', { callsign: 'S', team: 'Blue' }), { groups: ['Red'] }));
  assert.deepEqual(b.log, ['+blue', 'blue']);
});

test('data packages have their own direction switches', () => {
  const bench = new Bench();
  const [a, b] = [bench.join('a'), bench.join('b')];
  const mission = { message: { kind: 'mission', summary: 'create mission' } as const, size: 10, digest: 'd1' };
  bench.hub.setPolicy('b', { ...DEFAULT_POLICY, out: false });
  a.port.deliver(mission);
  a.port.deliver(mission);
  assert.deepEqual(b.log, ['mission']);
  assert.equal(bench.peer('a').refused.duplicate, 1);
  bench.hub.setPolicy('b', { ...DEFAULT_POLICY, dpOut: false });
  a.port.deliver({ ...mission, digest: 'd2' });
  assert.deepEqual(b.log, ['mission']);
});

test('the newest connection of a peer takes over and the older is closed once', () => {
  const bench = new Bench();
  const first = bench.join('a', { durable: true });
  const second = bench.join('a', { durable: true });
  assert.deepEqual(first.closedWith, ['replaced']);
  const b = bench.join('b');
  b.port.deliver(inbound(chat('c1')));
  assert.deepEqual([first.log, second.log], [[], ['c1']]);
  first.port.deliver(inbound(chat('ghost')));
  assert.deepEqual(b.log, []);
});

test('a connection that takes over from one of a peer that is known only while connected is served', () => {
  const bench = new Bench();
  const [first, b] = [bench.join('phones/1'), bench.join('b')];
  const second = bench.join('phones/1');
  b.port.deliver(inbound(chat('c1')));
  second.port.deliver(inbound(chat('c2')));
  assert.deepEqual([first.closedWith, second.log, b.log], [['replaced'], ['c1'], ['c2']]);
  second.close('remote_closed');
  assert.equal(bench.hub.peers().length, 1);
  assert.deepEqual(second.closedWith.length, 1);
});

test('a connection that was replaced and is slow to close is not heard, and what it brings back is not lost', () => {
  const bench = new Bench();
  const slow = new RecordingSession('a');
  slow.closesLate = true;
  const b = bench.join('b');
  bench.join('a', { durable: true }, slow);
  b.port.deliver(inbound(chat('c1')));
  b.port.deliver(inbound(position('u1', { callsign: '' })));
  const second = bench.join('a', { durable: true });
  slow.port.deliver(inbound(chat('ghost')));
  assert.deepEqual(b.log, []);
  b.port.deliver(inbound(chat('c2')));
  slow.port.closed('replaced', undefined, slow.sent);
  assert.deepEqual(second.log, ['u1', 'c2', 'c1'], 'the position was told anew; what cannot be is brought back');
  assert.deepEqual(bench.balance(), []);
});

test('a peer that is dismissed and slow to close is not heard; what it brings back, or cannot say, counts as lost', () => {
  const bench = new Bench();
  const slow = new RecordingSession('a');
  slow.closesLate = true;
  const b = bench.join('b');
  bench.join('a', { durable: true }, slow);
  for (const uid of ['c1', 'c2', 'c3']) b.port.deliver(inbound(chat(uid)));
  bench.hub.dismiss('a');
  slow.port.deliver(inbound(chat('ghost')));
  slow.port.undeliverable('too_large', slow.sent[0]!);
  slow.port.closed('config_changed', undefined, slow.sent.slice(1, 2));
  b.port.deliver(inbound(chat('c4')));
  const { offered, sent, dropped } = bench.hub.departed.get('a')!;
  assert.deepEqual({ offered, sent, dropped }, { offered: 3, sent: 1, dropped: { too_large: 1, peer_gone: 1 } });
  assert.deepEqual([b.log, slow.log.length], [[], 3]);
});

test('what a peer was sent counts over all its connections, however short', () => {
  const bench = new Bench();
  const sums: number[] = [];
  for (const bytes of [70, 30]) {
    const session = bench.join('a', { durable: true });
    session.sentBytes = bytes;
    sums.push(bench.peer('a').sentBytes);
    session.close('network_error');
    sums.push(bench.peer('a').sentBytes);
  }
  assert.deepEqual(sums, [70, 70, 100, 100]);
});

test('a connection that ends in the middle of send() costs nobody anything', () => {
  for (const durable of [true, false]) {
    for (const queued of [true, false]) {
      const bench = new Bench();
      const [a, b] = [bench.join('a'), bench.join('b')];
      const dying = new RecordingSession('d');
      dying.room = queued ? 0 : 100;
      bench.join('d', { durable }, dying);
      if (queued) for (const uid of ['c1', 'c2']) a.port.deliver(inbound(chat(uid)));
      dying.onSend = () => dying.close('network_error');
      dying.room = 100;
      if (queued) dying.port.writable();
      else for (const uid of ['c1', 'c2']) a.port.deliver(inbound(chat(uid)));
      assert.deepEqual([dying.closedWith, b.log, bench.balance()], [['network_error'], ['c1', 'c2'], []]);
      if (durable) assert.deepEqual(bench.join('d', { durable }).log, ['c1', 'c2']);
      else {
        const { offered, sent, dropped } = bench.hub.departed.get('d')!;
        const most = queued ? 2 : 1;
        assert.deepEqual({ offered, sent, dropped }, { offered: most, sent: 0, dropped: { peer_gone: most } });
      }
    }
  }
});

test('a session that takes a message, closes and brings it back at once loses nothing', () => {
  const bench = new Bench();
  const a = bench.join('a');
  const d = bench.join('d', { durable: true });
  d.room = 0;
  for (const uid of ['c1', 'c2']) a.port.deliver(inbound(chat(uid)));
  const send = d.send.bind(d);
  d.send = (envelope, groups) => {
    const taken = send(envelope, groups);
    d.port.closed('network_error', undefined, [envelope]);
    return taken;
  };
  d.room = 1;
  d.port.writable();
  assert.deepEqual(bench.balance(), []);
  assert.deepEqual(bench.join('d', { durable: true }).log, ['c1', 'c2']);
});

test('room offered in the middle of send() sends nothing twice, and a message that comes then waits its turn', () => {
  const bench = new Bench();
  const [a, b] = [bench.join('a'), bench.join('b')];
  b.room = 0;
  for (const uid of ['c1', 'c2', 'c3']) a.port.deliver(inbound(chat(uid)));
  b.onSend = ({ message }) => {
    b.port.writable();
    if (message.kind === 'event' && message.event.uid === 'c2') a.port.deliver(inbound(chat('c4')));
  };
  b.room = 100;
  b.port.writable();
  assert.deepEqual(b.log, ['c1', 'c2', 'c3', 'c4']);
  assert.deepEqual(bench.balance(), []);
});

test('what is on its way counts as backlog until it is with the network', () => {
  const bench = new Bench();
  const [a, b] = [bench.join('a'), bench.join('b')];
  assert.equal(bench.hub.backlog(), false);
  b.room = 0;
  a.port.deliver(inbound(chat('c1')));
  assert.equal(bench.hub.backlog(), true);
  b.room = 1;
  b.busy = true;
  b.port.writable();
  assert.equal(bench.hub.backlog(), true);
  b.busy = false;
  assert.equal(bench.hub.backlog(), false);
});

test('what comes up in the middle of send() goes behind what is being sent', () => {
  const bench = new Bench();
  const [a, b] = [bench.join('a'), bench.join('b')];
  b.onSend = ({ message }) => {
    if (message.kind === 'event' && message.event.uid === 'c1') a.port.deliver(inbound(chat('c2')));
  };
  a.port.deliver(inbound(chat('c1')));
  assert.deepEqual(b.log, ['c1', 'c2']);
});

test('a position that comes back does not push out the newer one that waits', () => {
  const bench = new Bench();
  const [a, b] = [bench.join('a'), bench.join('b', { durable: true })];
  b.room = 1;
  for (const ms of [0, 1000]) a.port.deliver(inbound(position('u1', { callsign: '', timeMs: START_MS + ms })));
  b.port.closed('network_error', undefined, b.sent);
  assert.equal(bench.join('b', { durable: true }).events[0]!.timeMs, START_MS + 1000);
  assert.equal(bench.peer('b').lanes[MOVING]!.dropped.superseded, 1);
  assert.deepEqual(bench.balance(), []);
});

test('a clock that is set forward by hours makes nobody forgotten', () => {
  const bench = new Bench();
  const a = bench.join('a');
  bench.join('b', { durable: true }).close('network_error');
  a.port.deliver(inbound(chat('c1', { staleMs: START_MS + 86_400_000 })));
  bench.clock.jumpWall(5 * 3_600_000);
  bench.clock.advance(60_000);
  assert.deepEqual(bench.join('b', { durable: true }).log, ['c1']);
});

test('a peer that stays away is forgotten in its time, whatever the clock on the wall does', () => {
  const bench = new Bench();
  bench.join('b', { durable: true }).close('network_error');
  bench.clock.jumpWall(-5 * 3_600_000);
  bench.clock.advance(3_600_000 + 30_000);
  assert.equal(bench.hub.peers().length, 0);
});

test('with a clock that is an hour behind, units are current for as long as they said, not an hour longer', () => {
  const bench = new Bench();
  bench.clock.jumpWall(-3_600_000);
  const a = bench.join('a');
  a.port.deliver(inbound(position('u1', { callsign: '' })));
  bench.clock.advance(76_000);
  assert.deepEqual(bench.join('late').log, []);
});

test('a peer is shown as its link last described it', () => {
  const bench = new Bench();
  bench.hub.expect(bench.spec('b', { name: 'old.example:8089', durable: true }));
  bench.hub.expect(bench.spec('b', { name: 'new.example:8089', durable: true }));
  assert.equal(bench.peer('b').spec.name, 'new.example:8089');
});

test('clients that come and go leave nothing behind but sums', () => {
  const bench = new Bench();
  const b = bench.join('b');
  for (let n = 0; n < 3000; n++) {
    const client = bench.join(`phones/${n}`);
    client.port.deliver(inbound(position(`u${n}`, { timeMs: START_MS + n })));
    client.close('remote_closed');
  }
  const { picture } = bench.hub;
  assert.deepEqual([bench.hub.peers().length, picture.units, picture.contacts], [1, 0, 0]);
  assert.equal(bench.hub.departed.get('phones')!.peers, 3000);
  assert.deepEqual(totals(bench.hub), { received: 3000, sent: 9000, queued: 0, refused: {}, dropped: {} });
  assert.equal(b.log.length, 9000);
  assert.ok(bench.events.since(0).events.length < 1500);
});

test('more peers than the limit are turned away', () => {
  const bench = new Bench({ peers: 2 });
  bench.join('a');
  bench.join('b');
  const third = bench.join('c');
  assert.deepEqual(third.closedWith, ['peer_limit']);
  assert.equal(bench.hub.peers().length, 2);
});

test('an alert stands for late joiners until it is cancelled', () => {
  const bench = new Bench();
  const a = bench.join('a');
  a.port.deliver(inbound(position('u-9-1-1', { type: 'b-a-o-tbl', callsign: '' })));
  assert.deepEqual(bench.join('late1').log, ['u-9-1-1']);
  a.port.deliver(inbound(position('u-9-1-1', { type: 'b-a-o-can', timeMs: START_MS + 1, callsign: '' })));
  assert.deepEqual(bench.join('late2').log, []);
});

test('forgetting a link closes its sessions, keeps the sums, and turns away what still comes from it', () => {
  const bench = new Bench();
  bench.hub.setPolicy('phones', { ...DEFAULT_POLICY, in: false });
  bench.hub.setPeerPolicy('phones/1', DEFAULT_POLICY);
  const [a, b] = [bench.join('phones/1'), bench.join('b')];
  a.port.deliver(inbound(chat('c1')));
  bench.hub.forget('phones');
  assert.deepEqual(a.closedWith, ['config_changed']);
  assert.equal(bench.hub.peers().length, 1);
  assert.deepEqual(b.log, ['c1']);
  assert.equal(totals(bench.hub).received, 1);

  const late = bench.join('phones/2');
  late.port.deliver(inbound(chat('c2')));
  bench.hub.expect(bench.spec('phones/3'));
  assert.deepEqual([late.closedWith, b.log, bench.hub.peers().length], [['config_changed'], ['c1'], 1]);

  bench.hub.setPolicy('phones', { ...DEFAULT_POLICY, in: false });
  bench.join('phones/1').port.deliver(inbound(chat('c3')));
  assert.deepEqual(b.log, ['c1'], 'the rule of one peer went with the link');
});

/** A point that a sensor reports. */
const feed = (uid: string) => position(uid, { type: 'b-m-p-s-p-i', how: 'h-e' });

test('the recent-id window is bounded', () => {
  const bench = new Bench({ seen: { entries: 100, ageMs: 60_000 } });
  const [a, b] = [bench.join('a'), bench.join('b')];
  for (let n = 0; n < 1000; n++) a.port.deliver(inbound(feed(`u${n}`)));
  a.port.deliver(inbound(feed('u999')));
  a.port.deliver(inbound(feed('u0')));
  assert.equal(b.log.length, 1001);
});
