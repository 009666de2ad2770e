// A phone that claims another's uid or callsign: both are named, neither is silently replaced; and what only looks like it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CotEvent } from '../../src/core/message.ts';
import { callsignWarnings, claimWarnings } from '../../src/warnings.ts';
import { Bench, inbound, position, RecordingSession, START_MS } from './support.ts';

/** A bench where phones say where they are, each time a second later. */
function street() {
  const bench = new Bench();
  let seconds = 0;
  const say = (phone: RecordingSession, uid: string, fields: Partial<CotEvent> = {}) => {
    const timeMs = START_MS + ++seconds * 1000;
    phone.port.deliver(inbound(position(uid, { timeMs, ...fields })));
    bench.clock.advance(10);
  };
  const claimed = () =>
    bench.events.since(0).events.flatMap(({ event }) => (event.type === 'uid_claimed' ? [event] : []));
  const anonymous = (key: string, kind = 'cot') => {
    const session = new RecordingSession(key);
    Object.assign(session.identity, { proof: 'none' });
    return bench.join(key, { kind }, session);
  };
  const ask = (from: RecordingSession, uid: string) => {
    const timeMs = START_MS + ++seconds * 1000;
    const event = position(`GeoChat.${seconds}`, { type: 'b-t-f', how: 'h-g-i-g-o', callsign: '', destUids: [uid] });
    from.port.deliver(inbound({ ...event, timeMs, staleMs: timeMs + 86_400_000 }));
    bench.clock.advance(10);
  };
  return { bench, say, claimed, anonymous, ask };
}

const got = (session: RecordingSession) => session.log.filter((uid) => uid.startsWith('GeoChat')).length;

test('a phone that claims another’s uid: both are named, and who had it is still written to', () => {
  const { bench, say, claimed, ask } = street();
  const [alpha, thief, hq] = [bench.join('phones/1'), bench.join('phones/2'), bench.join('hq/1')];
  say(alpha, 'A', { callsign: 'ALPHA' });
  say(thief, 'A', { callsign: 'THIEF' });
  assert.deepEqual(claimed(), [], 'so far it may be a phone that came back');
  say(alpha, 'A', { callsign: 'ALPHA' });
  assert.deepEqual(claimed(), [
    { type: 'uid_claimed', uid: 'A', holder: 'phones/1', rival: 'phones/2', callsigns: ['ALPHA', 'THIEF'] },
  ]);
  const [warning] = claimWarnings(bench.hub);
  assert.match(warning!.words, /"ALPHA" by phones\/1 \(phones\/1, 192\.0\.2\.1:4242\).*"THIEF" by phones\/2/);
  for (let round = 0; round < 5; round++) say(thief, 'A', { callsign: 'THIEF' });
  assert.equal(bench.hub.picture.roster.entry('A')?.contact.callsign, 'ALPHA', 'the name does not change');
  ask(hq, 'A');
  assert.deepEqual([got(alpha), got(thief)], [1, 0]);
  assert.equal(claimed().length, 1, 'told once');
  assert.ok(hq.log.filter((uid) => uid === 'A').length >= 8, 'both are seen');

  alpha.port.closed('remote_closed');
  assert.deepEqual(claimWarnings(bench.hub), [], 'one is left');
  say(thief, 'A', { callsign: 'THIEF' });
  ask(hq, 'A');
  assert.equal(got(thief), 1);
});

test('who proves who he is keeps the uid before one who does not, whoever came first', () => {
  const { bench, say, claimed, anonymous, ask } = street();
  const [nobody, alpha, hq] = [anonymous('open/1'), bench.join('phones/1'), bench.join('hq/1')];
  say(nobody, 'A');
  say(alpha, 'A');
  say(nobody, 'A');
  assert.deepEqual(
    claimed().map(({ holder, rival }) => [holder, rival]),
    [['phones/1', 'open/1']],
  );
  say(nobody, 'A');
  ask(hq, 'A');
  assert.deepEqual([got(alpha), got(nobody)], [1, 0]);
});

test('a phone that claims another’s callsign: both are named, and chat to it goes to both', () => {
  const { bench, say } = street();
  const [alpha, other] = [bench.join('phones/1'), bench.join('phones/2')];
  say(alpha, 'A', { callsign: 'ALPHA' });
  say(other, 'B', { callsign: 'ALPHA' });
  const [event] = bench.events
    .since(0)
    .events.flatMap(({ event }) => (event.type === 'callsign_shared' ? [event] : []));
  assert.deepEqual(event, {
    type: 'callsign_shared',
    uid: 'B',
    callsign: 'ALPHA',
    peer: 'phones/2',
    holder: { uid: 'A', peer: 'phones/1' },
  });
  assert.match(callsignWarnings(bench.hub)[0]!.words, /"ALPHA".*phones\/1.*phones\/2/);
  assert.deepEqual([...bench.hub.picture.roster.withCallsign('ALPHA')].sort(), ['A', 'B']);
});

test('a phone that reconnects, one that is on a mesh too, one with two connections, one that two servers tell of: no claim', () => {
  const { bench, say, claimed, anonymous, ask } = street();
  const hq = bench.join('hq/1');
  const ghost = anonymous('open/1');
  say(ghost, 'A');
  const again = anonymous('open/2');
  for (let round = 0; round < 3; round++) say(again, 'A');
  ask(hq, 'A');
  assert.deepEqual(
    [got(ghost), got(again)],
    [0, 1],
    'the newest connection, although the old one is not known to be dead',
  );

  const [mesh, stream] = [anonymous('mesh/wlan0', 'mesh'), anonymous('open/3')];
  for (let round = 0; round < 3; round++) for (const way of [mesh, stream]) say(way, 'B');

  const [first, second] = [new RecordingSession('same'), new RecordingSession('same')];
  bench.join('tls/1', {}, first);
  bench.join('tls/2', {}, second);
  for (let round = 0; round < 3; round++) for (const way of [first, second]) say(way, 'C');

  const [one, two] = [bench.join('fed1', { durable: true }), bench.join('fed2', { durable: true })];
  for (let round = 0; round < 3; round++) for (const way of [one, two]) say(way, 'D');
  assert.deepEqual(claimed(), []);
});

test('on a mesh somebody else’s name under a uid is one more, and memory stays bounded', () => {
  const { bench, say, claimed, anonymous } = street();
  const [mesh, alpha] = [anonymous('mesh/wlan0', 'mesh'), bench.join('phones/1')];
  for (let n = 0; n < 200; n++) {
    say(alpha, `U-${n}`, { callsign: `C-${n}` });
    say(mesh, `U-${n}`, { callsign: 'MINE' });
    say(alpha, `U-${n}`, { callsign: `C-${n}` });
  }
  assert.equal(claimed().length, 64);
  assert.equal(bench.hub.picture.claims.list().length, 64);
  assert.equal(claimWarnings(bench.hub).length, 4);
});
