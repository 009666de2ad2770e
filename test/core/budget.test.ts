// Links that may send so much and no more: paced, fair, by the day, and what waits meanwhile.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Budget, PROFILE_BUDGETS } from '../../src/core/budget.ts';
import { CHAT, FILE, LANES, MOVING, STILL, type Track, type TrackOf } from '../../src/core/message.ts';
import { DEFAULT_POLICY } from '../../src/core/policy.ts';
import { QUEUE_LIMITS } from '../../src/core/queue.ts';
import { Bench, chat, inbound, position, type RecordingSession, START_MS } from './support.ts';

const HOUR_MS = 3_600_000;

function limited(budget: Partial<Budget>, more: ConstructorParameters<typeof Bench>[1] = {}): Bench {
  const bench = new Bench({}, more);
  bench.hub.setPolicy('thin', DEFAULT_POLICY, QUEUE_LIMITS, { ...PROFILE_BUDGETS.lan, ...budget });
  return bench;
}

/** An event that weighs so much in the queue. */
function heavy(uid: string, bytes: number) {
  return inbound(chat(uid, { staleMs: START_MS + 48 * HOUR_MS }), {
    wire: { format: 'xml', bytes: Buffer.alloc(bytes) },
    size: bytes,
  });
}

const alert = (uid: string, timeMs = START_MS) => inbound(position(uid, { type: 'b-a-o-tbl', timeMs }));

test('a rate is kept to, and used', () => {
  const bench = limited({ rateBps: 8000 });
  const [a, thin] = [bench.join('a'), bench.join('thin')];
  for (let n = 0; n < 500; n++) a.port.deliver(heavy(`c${n}`, 438)); // 500 with what is around it: half a second
  for (let second = 1; second <= 60; second++) {
    bench.clock.advance(1000);
    assert.ok(Math.abs(thin.sent.length - 2 * second) <= 1, `${thin.sent.length} after ${second} s`);
  }
  assert.deepEqual(bench.balance(), []);
});

test('an idle line saves nothing up, and takes one message at once', () => {
  const bench = limited({ rateBps: 8000 });
  const [a, thin] = [bench.join('a'), bench.join('thin')];
  bench.clock.advance(HOUR_MS);
  for (let n = 0; n < 10; n++) a.port.deliver(heavy(`c${n}`, 438));
  assert.equal(thin.sent.length, 1);
});

test('peers of a link share its rate in turn, and an alert goes next wherever it waits', () => {
  const bench = limited({ rateBps: 8000 });
  const a = bench.join('a');
  const [one, two] = [bench.join('thin/1'), bench.join('thin/2')];
  for (let n = 0; n < 50; n++) a.port.deliver(heavy(`c${n}`, 438));
  bench.clock.advance(20_000);
  assert.ok(Math.abs(one.sent.length - 20) <= 1 && Math.abs(two.sent.length - 20) <= 1);
  a.port.deliver(alert('help'));
  bench.clock.advance(1100);
  assert.deepEqual([one.log.includes('help'), two.log.includes('help')], [true, true]);
  two.port.closed('network_error');
  bench.clock.advance(10_000);
  assert.ok(one.sent.length >= 40, 'the other one has all of it');
});

test('a wire that is full does not hold up the others of its link', () => {
  const bench = limited({ rateBps: 8000 });
  const a = bench.join('a');
  const [one, two] = [bench.join('thin/1'), bench.join('thin/2')];
  one.room = 0;
  for (let n = 0; n < 50; n++) a.port.deliver(heavy(`c${n}`, 438));
  bench.clock.advance(10_000);
  assert.ok(Math.abs(two.sent.length - 20) <= 1);
  one.room = 100;
  one.port.writable();
  bench.clock.advance(10_000);
  assert.ok(one.sent.length >= 9);
  assert.deepEqual(bench.balance(), []);
});

test('when the day is nearly paid for only alerts, chat and markers pass; then alerts alone; the next day all again', () => {
  const bench = limited({ perDayBytes: 10_000 });
  const [a, thin] = [bench.join('a'), bench.join('thin')];
  bench.clock.advance(HOUR_MS);
  a.port.deliver(heavy('c1', 9200));
  const fix = (uid: string) => inbound(position(uid, { callsign: '', timeMs: bench.clock.wallMs() }));
  a.port.deliver(fix('u1'));
  a.port.deliver(heavy('c2', 900));
  a.port.deliver(heavy('c3', 900));
  a.port.deliver(alert('help', bench.clock.wallMs()));
  assert.deepEqual(thin.log, ['c1', 'c2', 'help']);
  const status = bench.hub.budgets().get('thin')!.status();
  assert.ok(status.usedTodayBytes >= 10_000);
  assert.deepEqual(status.closedLanes, LANES.slice(1));
  bench.clock.advance(23 * HOUR_MS);
  a.port.deliver(fix('u2'));
  assert.deepEqual(thin.log.slice(3).sort(), ['c3', 'u2']);
  assert.equal(bench.peer('thin').lanes[MOVING]!.dropped.expired, 1);
  assert.deepEqual(bench.balance(), []);
});

test('a clock that jumps an hour does not stop a line, nor give the day twice', () => {
  const bench = limited({ rateBps: 8000, perDayBytes: 100_000 });
  const [a, thin] = [bench.join('a'), bench.join('thin')];
  for (const jump of [HOUR_MS, -HOUR_MS, -HOUR_MS, HOUR_MS]) {
    bench.clock.jumpWall(jump);
    for (let n = 0; n < 4; n++) a.port.deliver(heavy(`c${thin.sent.length} ${n} ${jump}`, 438));
    const before = thin.sent.length;
    bench.clock.advance(2500);
    assert.ok(thin.sent.length - before >= 3);
  }
  const used = () => bench.hub.budgets().get('thin')!.usage;
  const { bytes } = used();
  assert.equal(bytes, thin.sent.length * 500);
  bench.clock.jumpWall(-2 * HOUR_MS); // into yesterday
  assert.equal(used().bytes, bytes);
  bench.clock.jumpWall(2 * HOUR_MS);
  assert.equal(used().bytes, bytes);
  bench.clock.jumpWall(86_400_000);
  assert.equal(used().bytes, 0);
});

test('what was spent before a restart counts, if it was today', () => {
  const bench = limited({ perDayBytes: 10_000 });
  const day = START_MS / 86_400_000;
  bench.hub.setUsage('thin', { day: day - 1, bytes: 9_000 });
  assert.equal(bench.hub.budgets().get('thin')!.usage.bytes, 0);
  bench.hub.setUsage('thin', { day, bytes: 9_500 });
  assert.deepEqual(bench.hub.budgets().get('thin')!.usage, { day, bytes: 9_500 });
});

test('what a link counts corrects what messages weigh', () => {
  const bench = limited({ rateBps: 8000 });
  const [a, thin] = [bench.join('a'), bench.join('thin')];
  Object.defineProperty(thin, 'sentBytes', { get: () => thin.sent.length * 50 }); // it packs ten into one
  for (let n = 0; n < 500; n++) a.port.deliver(heavy(`c${n}`, 438));
  bench.clock.advance(20_000);
  assert.ok(thin.sent.length > 330, `${thin.sent.length} of 400 that fit`);
});

test('a large file that the link sends in pieces is paid for as it goes, and a link that packs badly pays for that', () => {
  const bench = limited({ rateBps: 8000 });
  const [a, thin] = [bench.join('a'), bench.join('thin')];
  thin.sentBytes = 0;
  const blob = { message: { kind: 'blob', summary: 'map' } as const, size: 100_000, digest: 'b' };
  a.port.deliver({ ...blob, wire: { format: 'blob', bytes: Buffer.alloc(100_000) } });
  a.port.deliver(alert('help'));
  bench.clock.advance(600);
  assert.deepEqual(thin.log, ['blob', 'help'], 'no alert waits for all of it');
  thin.sentBytes = 50_000; // the pieces that went meanwhile
  a.port.deliver(heavy('c1', 438));
  bench.clock.advance(100);
  a.port.deliver(heavy('c2', 438));
  bench.clock.advance(45_000);
  assert.ok(!thin.log.includes('c2'));
  bench.clock.advance(15_000);
  assert.ok(thin.log.includes('c2'));
});

test('a file that the day cannot pay for is refused by name; what is smaller passes', () => {
  const bench = limited({ perDayBytes: 50_000 });
  const [a, thin] = [bench.join('a'), bench.join('thin')];
  const blob = (size: number) => ({
    message: { kind: 'blob', summary: 'map' } as const,
    wire: { format: 'blob', bytes: Buffer.alloc(size) } as const,
    size,
    digest: `${size}`,
  });
  a.port.deliver(blob(60_000));
  a.port.deliver(blob(20_000));
  assert.equal(thin.sent.length, 1);
  assert.equal(bench.peer('thin').lanes[FILE]!.dropped.rate_limited, 1);
  assert.deepEqual(bench.balance(), []);
});

test('a budget that is lifted lets go of all that waits, and one that is set takes hold', () => {
  const bench = limited({ rateBps: 8000 });
  const [a, thin] = [bench.join('a'), bench.join('thin')];
  for (let n = 0; n < 10; n++) a.port.deliver(heavy(`c${n}`, 438));
  assert.equal(thin.sent.length, 1);
  bench.hub.setPolicy('thin', DEFAULT_POLICY);
  assert.equal(thin.sent.length, 10);
  bench.hub.setPolicy('thin', DEFAULT_POLICY, QUEUE_LIMITS, PROFILE_BUDGETS.hf);
  for (let n = 0; n < 10; n++) a.port.deliver(heavy(`d${n}`, 438));
  assert.equal(thin.sent.length, 11);
});

test('links are told how large a record may be', () => {
  const record = (rateBps: number) => {
    const bench = limited({ rateBps });
    return bench.join('thin').port.pace();
  };
  // Half a second, less the heads of a packet.
  assert.deepEqual(record(2400), { rateBps: 2400, recordBytes: 50 });
  assert.deepEqual(record(1200), { rateBps: 1200, recordBytes: 48 });
  assert.deepEqual(record(64_000), { rateBps: 64_000, recordBytes: 3900 });
  assert.equal(record(1e9).recordBytes, 65_536);
  const free = new Bench().join('free').port.pace();
  assert.deepEqual(free, { rateBps: undefined, recordBytes: 65_536 });
});

// --- positions on a thin line --------------------------------------------------------------------------------------------

const AT = { lat: 48, lon: 24 };
const metresNorth = (metres: number) => ({ lat: 48 + metres / 111_195, lon: 24 });

function reporting(bench: Bench, name = 'a') {
  const session = bench.join(name);
  return (uid: string, where: { lat: number; lon: number }) =>
    session.port.deliver(
      inbound(
        position(uid, { ...where, callsign: '', timeMs: bench.clock.wallMs(), staleMs: bench.clock.wallMs() + 60_000 }),
      ),
    );
}

test('metered: a position that tells nothing new waits until its unit would turn grey, and then the newest word goes', () => {
  const bench = limited({ metered: true });
  const thin = bench.join('thin');
  const report = reporting(bench);
  report('u', AT);
  for (let n = 0; n < 8; n++) {
    bench.clock.advance(5000);
    report('u', metresNorth(n));
  }
  assert.equal(thin.sent.length, 1);
  bench.clock.advance(2500);
  assert.deepEqual(
    thin.events.map(({ timeMs }) => timeMs - START_MS),
    [0, 40_000],
  );
  bench.clock.advance(1000);
  report('u', metresNorth(30));
  assert.equal(thin.sent.length, 3, 'news goes at once');
  assert.deepEqual(bench.balance(), []);
});

test('not metered: what tells nothing new goes when nothing else waits, and after all that does', () => {
  const bench = limited({ rateBps: 64_000 });
  const thin = bench.join('thin');
  const report = reporting(bench);
  for (let n = 0; n < 5; n++) {
    report('u', AT);
    bench.clock.advance(5000);
  }
  assert.equal(thin.sent.length, 5, 'under capacity nothing is held back');
  for (let n = 0; n < 5; n++) report(`new${n}`, AT);
  report('u', AT);
  for (let n = 5; n < 9; n++) report(`new${n}`, AT);
  bench.clock.advance(5000);
  assert.equal(thin.log.at(-1), 'u');
  assert.equal(thin.sent.length, 15);
});

/** The wire takes nothing more; a chat waits. */
function fill(bench: Bench, session: RecordingSession): void {
  session.room = 0;
  bench.join('other').port.deliver(inbound(chat('c')));
}

/** Whether the second of two reports from one place, 5 s apart, waits for its time on a thin line. */
function isHeld(first: Track | undefined, second: Track | undefined, budget: Partial<Budget> = {}): boolean {
  const tracks = [first, second];
  const trackOf = () => tracks.shift();
  const bench = limited({ rateBps: 64_000, ...budget }, { trackOf });
  const thin = bench.join('thin');
  const report = reporting(bench);
  report('u', AT);
  bench.clock.advance(5000);
  fill(bench, thin);
  report('u', metresNorth(5));
  const { queue } = bench.peer('thin');
  assert.deepEqual([thin.sent.length, queue.length], [1, 2]);
  return queue.nextDueMs < Number.POSITIVE_INFINITY;
}

test('on a thin line a unit that turned while it moves is news within 10 m; one that stands is not, nor a turn of less than 10 degrees', () => {
  const moves = (course: number, speed = 3) => ({ course, speed });
  assert.equal(isHeld(moves(90), moves(90)), true);
  assert.equal(isHeld(moves(90), moves(99)), true);
  assert.equal(isHeld(moves(90), moves(101)), false);
  assert.equal(isHeld(moves(90), moves(79)), false);
  assert.equal(isHeld(moves(355), moves(4)), true, 'over north');
  assert.equal(isHeld(moves(355), moves(8)), false);
  assert.equal(isHeld(moves(-10), moves(351)), true, 'the same, said otherwise');
  assert.equal(isHeld(moves(90, 0), moves(270, 0)), true, 'stands');
  assert.equal(isHeld(moves(90, 1.3), moves(270, 1.3)), true, 'no screen has an arrow for it');
  assert.equal(isHeld(moves(90, 0), moves(270)), true, 'stood before');
  assert.equal(isHeld(moves(90), moves(270, 0)), true, 'has stopped');
  assert.equal(isHeld(undefined, moves(270)), true, 'nothing was said before');
  assert.equal(isHeld(moves(90), undefined), true, 'nothing is said now');
});

test('where bytes cost money no turn is news', () => {
  assert.equal(isHeld({ course: 90, speed: 3 }, { course: 270, speed: 3 }, { metered: true }), true);
});

test('a turn goes before what tells nothing new, and after what is older', () => {
  const courses = new Map<string, number>();
  const trackOf: TrackOf = ({ message }) =>
    message.kind === 'event' ? { course: courses.get(message.event.uid) ?? 0, speed: 3 } : undefined;
  const bench = limited({ rateBps: 64_000 }, { trackOf });
  const thin = bench.join('thin');
  const report = reporting(bench);
  report('old', AT);
  bench.clock.advance(20_000);
  for (const uid of ['straight', 'turns']) report(uid, AT);
  bench.clock.advance(5000);
  fill(bench, thin);
  courses.set('turns', 45);
  for (const uid of ['straight', 'turns']) report(uid, metresNorth(5));
  report('old', metresNorth(15));
  thin.room = 4;
  thin.port.writable();
  bench.clock.advance(1000);
  assert.deepEqual(thin.log.slice(-4), ['c', 'old', 'turns', 'straight']);
});

test('the unit whose icon is most wrong for longest goes first', () => {
  const bench = limited({ rateBps: 2400 });
  const thin = bench.join('thin');
  const report = reporting(bench);
  for (const uid of ['near', 'far', 'old']) report(uid, AT);
  bench.clock.advance(10_000);
  report('busy', AT); // the line is taken
  report('near', metresNorth(15));
  report('far', metresNorth(500));
  bench.clock.advance(3000);
  assert.deepEqual(thin.log.slice(-3), ['busy', 'far', 'near']);
});

test('on a thin line units that stand have their turn among those that move', () => {
  const bench = limited({ rateBps: 2400 });
  const thin = bench.join('thin');
  const report = reporting(bench);
  const standing = Array.from({ length: 10 }, (_, n) => `stands${n}`);
  const moving = Array.from({ length: 40 }, (_, n) => `moves${n}`);
  for (const uid of standing) report(uid, AT);
  bench.clock.advance(8_000);
  for (const uid of moving) report(uid, AT);
  bench.clock.advance(32_000);
  const before = thin.sent.length;
  for (const uid of moving) report(uid, metresNorth(30));
  for (const uid of standing) report(uid, AT);
  bench.clock.advance(30_000);
  assert.equal(bench.peer('thin').lanes[STILL]!.sent, 10);
  // (The first report finds the line free.)
  assert.deepEqual(thin.log.slice(before + 1, before + 11).sort(), standing);
});

test('of two that are as old the one with the fresher word goes', () => {
  const bench = limited({ rateBps: 2400 });
  const thin = bench.join('thin');
  const report = reporting(bench);
  for (const uid of ['one', 'two']) report(uid, AT);
  bench.clock.advance(20_000);
  thin.room = 0;
  report('one', metresNorth(30));
  bench.clock.advance(10_000);
  report('two', metresNorth(30));
  thin.room = 1;
  thin.port.writable();
  assert.equal(thin.log.at(-1), 'two');
});

test('a measured thin line is treated as one, without any budget', () => {
  const bench = new Bench();
  const thin = bench.join('thin');
  thin.goodputBps = 2400;
  const report = reporting(bench);
  for (const uid of ['near', 'far']) report(uid, AT);
  bench.clock.advance(10_000);
  thin.room = 0;
  report('near', metresNorth(15));
  report('far', metresNorth(500));
  thin.room = 1;
  thin.port.writable();
  assert.equal(thin.log.at(-1), 'far');
  assert.equal(bench.peer('thin').line.status().thin, true);
});

test('a unit that is known to be a goner on arrival is not sent', () => {
  const bench = limited({ rateBps: 8000 });
  const thin = bench.join('thin');
  thin.transitMs = 61_000;
  reporting(bench)('u', AT);
  assert.equal(thin.sent.length, 0);
  assert.equal(bench.peer('thin').lanes[MOVING]!.dropped.expired, 1);
});

test('100,000 uids in a minute: bounded, accounted for, and chat still passes', () => {
  const bench = limited({ rateBps: 2400 });
  const [a, thin] = [bench.join('a'), bench.join('thin')];
  const startedMs = performance.now();
  for (let n = 0; n < 100_000; n++) {
    const timeMs = bench.clock.wallMs();
    a.port.deliver(inbound(position(`u${n}`, { callsign: '', timeMs, staleMs: timeMs + 75_000 })));
    if (n % 100 === 0) bench.clock.advance(60);
  }
  a.port.deliver(inbound(chat('c')));
  a.port.deliver(alert('help'));
  const tookMs = performance.now() - startedMs;
  const { queue } = bench.peer('thin');
  assert.ok(queue.length <= QUEUE_LIMITS.events && queue.bytes <= QUEUE_LIMITS.bytes);
  bench.clock.advance(3000);
  assert.ok(thin.log.includes('help') && thin.log.includes('c'));
  assert.deepEqual(bench.balance(), []);
  assert.ok(tookMs < 60_000, `a minute's flood took ${tookMs} ms`);
  assert.equal(bench.peer('thin').lanes[FILE]!.offered + bench.peer('thin').lanes[CHAT]!.offered, 1);
});
