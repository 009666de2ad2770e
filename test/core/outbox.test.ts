// The outbox in the hub: what is kept, in which order it goes, what ends it; and a row of four hubs in virtual time, of which the
// middle two crash while the link between them is down for a day.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EventLog } from '../../src/core/events.ts';
import { Hub } from '../../src/core/hub.ts';
import type { CotEvent, Envelope, Message, Wire as WireBytes } from '../../src/core/message.ts';
import { OUTBOX_LIMITS, type OutboxLimits } from '../../src/core/outbox.ts';
import type { OutboxDisk, OutboxFound, OutboxRecord, Sighting } from '../../src/core/outbox-disk.ts';
import { DEFAULT_POLICY } from '../../src/core/policy.ts';
import type { CloseReason } from '../../src/core/reason.ts';
import type { Session, SessionPort } from '../../src/core/session.ts';
import { peerStatus, totals } from '../../src/core/status.ts';
import { ManualClock } from '../../src/lib/clock.ts';
import { chat, position, START_MS } from './support.ts';

const HOUR_MS = 3_600_000;
const COMMIT_MS = 200;

const messageOf = ({ bytes }: WireBytes): Message => ({ kind: 'event', event: JSON.parse(bytes.toString()) });
const bytesOf = (event: CotEvent) => Buffer.from(JSON.stringify(event));
const inbound = (event: CotEvent) => ({
  message: { kind: 'event' as const, event },
  wire: { format: 'xml' as const, bytes: bytesOf(event) },
  size: 1,
});
const marker = (uid: string, fields: Partial<CotEvent> = {}) =>
  position(uid, { type: 'b-m-p-s-m', how: 'h-g-i-g-o', staleMs: START_MS + 365 * 24 * HOUR_MS, ...fields });
const alert = (uid: string, fields: Partial<CotEvent> = {}) =>
  position(uid, { type: 'b-a-o-tbl', how: 'h-e', ...fields });
const deletion = (uid: string) => chat(`del-${uid}`, { type: 't-x-d-d', linkUid: uid });

/** A disk that forgets at a crash what was not committed. */
class MemoryDisk implements OutboxDisk {
  readonly found: OutboxFound;
  readonly warnings = [];
  writable = true;
  readonly records = new Map<number, OutboxRecord>();
  readonly #clock: ManualClock;
  #committed: {
    records: Map<number, OutboxRecord>;
    sightings: Sighting[];
    seeds: readonly [number, number] | undefined;
  };
  #sightings: Sighting[];
  #seeds: readonly [number, number] | undefined;
  #waiters: (() => void)[] = [];
  #isDirty = false;
  #crashed = false;

  constructor(clock: ManualClock, before?: MemoryDisk) {
    this.#clock = clock;
    const { records = new Map(), sightings = [], seeds } = before?.crash() ?? {};
    this.records = new Map(records);
    this.#sightings = [...sightings];
    this.#seeds = seeds;
    this.#committed = { records: new Map(records), sightings: [...sightings], seeds };
    const entries = [...records].map(([id, { peer, lane, receivedWallMs, conflate, wire }]) => ({
      ...{ id, peer, lane, receivedWallMs, conflate },
      bytes: wire.bytes.length,
    }));
    this.found = { entries: entries.sort((a, b) => a.id - b.id), sightings: [...sightings], seeds };
  }

  put(id: number, record: OutboxRecord): void {
    this.records.set(id, record);
    this.#dirty();
  }

  remove(id: number): void {
    this.records.delete(id);
    this.#dirty();
  }

  fetch(id: number): OutboxRecord | undefined {
    return this.records.get(id);
  }

  remember(sighting: Sighting): void {
    this.#sightings.push(sighting);
    this.#dirty();
  }

  setSeeds(seeds: readonly [number, number]): void {
    this.#seeds = seeds;
    this.#committed = { ...this.#committed, seeds };
  }

  safely(done: () => void): void {
    if (this.#isDirty && this.writable) this.#waiters.push(done);
    else done();
  }

  /** The relay has ended, at once: what is left. */
  crash() {
    this.#crashed = true;
    return this.#committed;
  }

  #dirty(): void {
    if (this.#isDirty) return;
    this.#isDirty = true;
    this.#clock.after(COMMIT_MS, () => {
      if (this.#crashed) return;
      this.#isDirty = false;
      this.#committed = { records: new Map(this.records), sightings: [...this.#sightings], seeds: this.#seeds };
      for (const done of this.#waiters.splice(0)) done();
    });
  }
}

/** A hub that may crash and come back with what its disk holds. */
class Box {
  readonly name: string;
  readonly clock: ManualClock;
  readonly limits: OutboxLimits;
  readonly shown: string[] = [];
  disk: MemoryDisk;
  hub: Hub;

  constructor(name: string, clock: ManualClock, limits = OUTBOX_LIMITS) {
    this.name = name;
    this.clock = clock;
    this.limits = limits;
    this.disk = new MemoryDisk(clock);
    this.hub = this.#begin();
  }

  crash(): void {
    this.disk = new MemoryDisk(this.clock, this.disk);
    this.hub = this.#begin();
  }

  #begin(): Hub {
    const { clock, limits, disk } = this;
    const events = new EventLog(() => clock.wallMs());
    const hub = new Hub({ nodeId: this.name, clock, events, outbox: { disk, limits, messageOf } });
    hub.tap(({ message }) => message.kind === 'event' && this.shown.push(message.event.uid));
    return hub;
  }

  peer(key: string) {
    return this.hub.peers().find(({ spec }) => spec.key === key)!;
  }

  status(key: string) {
    return peerStatus(this.peer(key), this.clock);
  }

  /** offered = sent + dropped + waiting. */
  balances(): boolean {
    return this.hub
      .peers()
      .every((peer) =>
        peerStatus(peer, this.clock).lanes.every(
          ({ offered, sent, queued, dropped }) =>
            offered === sent + queued + Object.values(dropped).reduce((a, b) => a + b, 0),
        ),
      );
  }
}

const specOf = (key: string, durable = true) => ({ key, link: key, kind: 'memory', name: key, durable, graceMs: 0 });

/** The near end of a line to another box, which acknowledges once it is safe there. */
class Line implements Session {
  readonly identity = { id: 'x', name: 'x', proof: 'certificate' as const };
  readonly address = 'x';
  readonly federated = true;
  readonly acknowledges = true;
  readonly unacknowledged = new Set<Envelope>();
  port!: SessionPort;
  isOpen = true;
  readonly #room: number;
  readonly #far: (envelope: Envelope, arrived: () => void) => void;

  constructor(room: number, far: Line['far']) {
    this.#room = room;
    this.#far = far;
  }

  get far(): (envelope: Envelope, arrived: () => void) => void {
    return this.#far;
  }

  carries(message: Message): boolean {
    return message.kind === 'event';
  }

  send(envelope: Envelope): boolean {
    if (!this.isOpen || this.unacknowledged.size >= this.#room) return false;
    this.unacknowledged.add(envelope);
    this.#far(envelope, () => {
      if (!this.isOpen) return;
      this.unacknowledged.delete(envelope);
      this.port.arrived(envelope);
      this.port.writable();
    });
    return true;
  }

  close(reason: CloseReason): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    this.port.closed(reason, undefined, [...this.unacknowledged]);
  }
}

/** A line from one box to the next, up or down; both ends may crash. */
class Wire {
  readonly from: Box;
  readonly to: Box;
  readonly delayMs: number;
  readonly room: number;
  near: Line | undefined;
  #back: SessionPort | undefined;

  constructor(from: Box, to: Box, { delayMs = 30, room = 20 } = {}) {
    this.from = from;
    this.to = to;
    this.delayMs = delayMs;
    this.room = room;
    from.hub.expect(specOf(to.name));
    to.hub.expect(specOf(from.name));
  }

  up(): void {
    this.down();
    const { from, to } = this;
    const sink = new Line(0, () => {});
    sink.port = to.hub.attach(specOf(from.name), sink);
    const back = sink.port;
    this.#back = back;
    const { clock } = from;
    const near = new Line(this.room, ({ wire, receivedMs }, arrived) => {
      const waitedMs = clock.nowMs() - receivedMs;
      clock.after(this.delayMs, () => {
        if (this.#back !== back) return;
        const { message } = inbound(JSON.parse(wire!.bytes.toString()));
        back.deliver({ message, wire, size: wire!.bytes.length, waitedMs, provenance: [{ id: from.name, name: '' }] });
        back.safely(() => clock.after(this.delayMs, () => this.#back === back && arrived()));
      });
    });
    near.port = from.hub.attach(specOf(to.name), near);
    this.near = near;
    clock.advance(0);
  }

  /** `crashed`: the end that is no longer there to be told. */
  down(crashed?: Box): void {
    if (crashed !== this.from) this.near?.close('network_error');
    if (crashed !== this.to) this.#back?.closed('network_error');
    this.near = undefined;
    this.#back = undefined;
  }
}

/** Says things into a box as a phone would. */
function talker(box: Box): (event: CotEvent) => void {
  const session = new Line(0, () => {});
  session.port = box.hub.attach(specOf('phone', false), session);
  return (event) => session.port.deliver(inbound(event));
}

function pair(limits?: OutboxLimits, wire?: { delayMs?: number; room?: number }) {
  const clock = new ManualClock(START_MS);
  const [a, b] = [new Box('a', clock, limits), new Box('b', clock)];
  return { clock, a, b, line: new Wire(a, b, wire), say: talker(a) };
}

test('what waits is counted as waiting, survives a crash, goes once, alerts first', () => {
  const { clock, a, b, line, say } = pair();
  for (let n = 0; n < 10; n++) say(marker(`m${n}`));
  for (let n = 0; n < 10; n++) say(chat(`c${n}`));
  say(alert('help'));
  say(position('unit'));
  clock.advance(5_000);
  const { outbox, lanes } = a.status('b');
  assert.deepEqual([outbox!.messages, outbox!.oldestMs, outbox!.onDisk, outbox!.restored], [21, 5_000, 0, 0]);
  assert.deepEqual(
    lanes.map(({ queued }) => queued),
    [1, 10, 10, 1, 0, 0],
  );
  a.crash();
  clock.advance(60_000);
  new Wire(a, b);
  const after = a.status('b');
  assert.deepEqual(after.outbox, { messages: 21, bytes: outbox!.bytes, oldestMs: 65_000, onDisk: 21, restored: 21 });
  assert.deepEqual(after.lanes.map(({ queued, offered }) => [queued, offered]).slice(0, 3), [
    [1, 1],
    [10, 10],
    [10, 10],
  ]);
  assert.equal(totals(a.hub).queued, 21);
  line.up();
  clock.advance(10_000);
  assert.equal(b.shown[0], 'help');
  assert.deepEqual(
    [...b.shown].sort(),
    ['help', ...Array.from({ length: 10 }, (_, n) => [`c${n}`, `m${n}`]).flat()].sort(),
  );
  assert.deepEqual(
    [a.status('b').outbox!.messages, a.disk.records.size, a.balances(), b.balances()],
    [0, 0, true, true],
  );
});

test('far more than memory holds waits on disk alone, and comes in order', () => {
  const { clock, a, b, line, say } = pair();
  for (let n = 0; n < 3_000; n++) say(chat(`c${n}`));
  const { outbox, queuedBytes } = a.status('b');
  assert.equal(outbox!.messages, 3_000);
  assert.ok(outbox!.onDisk >= 2_488, String(outbox!.onDisk));
  assert.equal(queuedBytes, outbox!.bytes);
  assert.ok(a.peer('b').queue.length <= 512 && a.peer('b').queue.bytes <= 256 * 1024);
  line.up();
  clock.advance(3_600_000);
  assert.deepEqual(
    b.shown,
    Array.from({ length: 3_000 }, (_, n) => `c${n}`),
  );
  assert.ok(a.balances());
});

test('the bound: the oldest markers go first, then chat, by name; alerts stay', () => {
  const { a, say } = pair({ bytes: 60_000, ageMs: 24 * HOUR_MS });
  const size = bytesOf(chat('c0')).length;
  for (let n = 0; n < 10; n++) say(alert(`a${n}`));
  for (let n = 0; n < 20; n++) say(marker(`m${n}`));
  for (let n = 0; n < 500; n++) say(chat(`c${n}`));
  const { outbox, lanes } = a.status('b');
  assert.ok(outbox!.bytes <= 60_000 && outbox!.bytes > 60_000 - 2 * size);
  assert.deepEqual(
    lanes.slice(0, 3).map(({ queued, dropped }) => [queued, dropped.outbox_full ?? 0]),
    [
      [10, 0],
      [lanes[1]!.queued, 500 - lanes[1]!.queued],
      [0, 20],
    ],
  );
  assert.ok(a.balances());
  assert.equal(a.disk.records.size, outbox!.messages);
});

test('after a day and an hour it is too old, by name; a clock that jumps ends nothing', () => {
  const { clock, a, line, b, say } = pair();
  say(chat('early'));
  clock.advance(1_000);
  for (const jump of [HOUR_MS, -HOUR_MS, -HOUR_MS, HOUR_MS]) {
    clock.jumpWall(jump);
    a.crash();
    new Wire(a, b);
    assert.equal(a.status('b').outbox!.messages, 1, `after a jump of ${jump}`);
    clock.advance(1_000);
  }
  // A box without a battery, in 1970.
  clock.jumpWall(-START_MS);
  a.crash();
  new Wire(a, b);
  clock.jumpWall(START_MS);
  a.crash();
  new Wire(a, b);
  clock.advance(24 * HOUR_MS);
  assert.equal(a.status('b').outbox!.messages, 1, 'a day of outage is survived');
  clock.advance(1.1 * HOUR_MS);
  assert.deepEqual(a.status('b').lanes[1]!.dropped, { too_old: 1 });
  assert.equal(a.disk.records.size, 0);
  line.up();
  clock.advance(1_000);
  assert.deepEqual([b.shown, a.balances()], [[], true]);
});

test('edits of a marker: the last one is never lost, on disk or off; a delete ends what waits on disk', () => {
  const { clock, a, b, say } = pair();
  for (let n = 0; n < 600; n++) say(marker(`filler${n}`));
  for (let edit = 1; edit <= 50; edit++) say(marker('edited', { lat: edit, timeMs: START_MS + edit }));
  say(marker('deleted'));
  assert.equal(a.status('b').outbox!.messages, 602);
  say(deletion('deleted'));
  assert.deepEqual([a.status('b').outbox!.messages, a.status('b').lanes[2]!.dropped], [602, { superseded: 50 }]);
  clock.advance(1_000);
  a.crash();
  new Wire(a, b).up();
  const lats: number[] = [];
  b.hub.tap(
    ({ message }) => message.kind === 'event' && message.event.uid === 'edited' && lats.push(message.event.lat),
  );
  clock.advance(600_000);
  assert.deepEqual(lats, [50]);
  assert.ok(!b.shown.includes('deleted'));
  assert.ok(a.balances());
});

test('a peer that comes again with what it said before a crash of ours is heard once; an alert is in the picture all the same', () => {
  const { clock, a, b, line, say } = pair();
  line.up();
  say(chat('hello'));
  say(alert('help'));
  clock.advance(1_000);
  assert.deepEqual(b.shown, ['help', 'hello'].reverse());
  b.crash();
  const port = b.hub.attach(specOf('a'), new Line(0, () => {}));
  for (const event of [chat('hello'), alert('help'), chat('new')]) port.deliver({ ...inbound(event), waitedMs: 0 });
  assert.deepEqual(b.shown, ['hello', 'help', 'new']);
  assert.deepEqual(b.peer('a').refused, { duplicate: 2 });
  assert.ok(b.hub.picture.alert('help'), 'who connects from now on is told of it');
  assert.ok(a.balances());
});

test('what is acknowledged is safe there: a crash before that, and it comes again', () => {
  const { clock, a, b, line, say } = pair();
  line.up();
  say(chat('hello'));
  clock.advance(40); // taken in over there, not committed
  assert.deepEqual([b.shown, a.status('b').outbox!.messages], [['hello'], 1]);
  b.crash();
  line.down(b);
  const again = new Wire(a, b);
  again.up();
  clock.advance(1_000);
  assert.deepEqual(
    [b.shown, a.status('b').outbox!.messages],
    [['hello', 'hello'], 0],
    'it was not safe, so it came again',
  );
});

test('a disk that cannot be written: it waits in memory as if there were none', () => {
  const { a, say } = pair();
  a.disk.writable = false;
  for (let n = 0; n < 5_000; n++) say(chat(`c${n}`));
  const { outbox, lanes } = a.status('b');
  assert.deepEqual([outbox!.onDisk, lanes[1]!.queued, lanes[1]!.dropped], [0, 4_096, { queue_full: 904 }]);
  assert.ok(a.balances());
});

test('a record that cannot be read back is counted as damaged', () => {
  const { clock, a, b, say } = pair();
  for (let n = 0; n < 5; n++) say(chat(`c${n}`));
  clock.advance(1_000);
  a.crash();
  a.disk.records.set(2, { ...a.disk.records.get(2)!, wire: { format: 'xml', bytes: Buffer.from('{') } });
  a.disk.records.delete(4);
  new Wire(a, b).up();
  clock.advance(1_000);
  assert.deepEqual(b.shown, ['c0', 'c2', 'c4']);
  assert.deepEqual([a.status('b').lanes[1]!.dropped, a.balances()], [{ damaged: 2 }, true]);
});

test('a peer that is no longer configured takes its outbox with it; one that nobody names is kept for a day', () => {
  const { clock, a, b, say } = pair();
  say(chat('c'));
  clock.advance(1_000);
  a.crash();
  assert.equal(a.hub.unclaimed, 1);
  clock.advance(23 * HOUR_MS);
  assert.equal(a.hub.unclaimed, 1);
  new Wire(a, b);
  assert.deepEqual([a.hub.unclaimed, a.status('b').outbox!.messages], [0, 1]);
  a.hub.setPolicy('b', DEFAULT_POLICY);
  a.hub.dismiss('b');
  assert.deepEqual([a.disk.records.size, a.hub.departed.get('b')!.dropped], [0, { peer_gone: 1 }]);
  a.crash();
  clock.advance(3 * HOUR_MS);
  assert.equal(a.hub.unclaimed, 0);
});

/** Mulberry32. */
function dice(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let z = Math.imul(state ^ (state >>> 15), 1 | state);
    z ^= z + Math.imul(z ^ (z >>> 7), 61 | z);
    return ((z ^ (z >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** source - a - b - sink; a and b crash, lines are cut, and between a and b there is nothing for `outageMs`. */
function chain(seed: number, outageMs: number, crashes: number) {
  const clock = new ManualClock(START_MS);
  const random = dice(seed);
  const [source, a, b, sink] = ['source', 'a', 'b', 'sink'].map((name) => new Box(name, clock)) as [Box, Box, Box, Box];
  let lines = [
    new Wire(source, a),
    new Wire(a, b, { room: 1 + Math.floor(random() * 20), delayMs: 10 + random() * 1_500 }),
    new Wire(b, sink),
  ];
  const say = talker(source);
  const said: string[] = [];
  const speak = () => {
    const uid = `e${said.length}`;
    const fields = { timeMs: Math.round(clock.wallMs()), staleMs: Math.round(clock.wallMs()) + 60_000 };
    said.push(uid);
    say([alert, chat, marker][Math.floor(random() * 3)]!(uid, fields));
    say(position('unit', { timeMs: fields.timeMs }));
  };
  let outage = false;
  const connect = () => {
    for (const [index, line] of lines.entries()) if (!line.near?.isOpen && !(index === 1 && outage)) line.up();
  };
  const crash = (box: Box) => {
    box.crash();
    for (const line of lines) if (line.from === box || line.to === box) line.down(box);
    lines = lines.map((line) => (line.from === box || line.to === box ? new Wire(line.from, line.to, line) : line));
  };
  const step = (ms: number) => {
    for (let passed = 0; passed < ms; ) {
      const pause = Math.min(ms - passed, random() * (ms / 20));
      clock.advance(pause);
      passed += pause;
      speak();
      if (random() < 0.1) lines[Math.floor(random() * 3)]!.down();
      connect();
    }
  };
  connect();
  for (let n = 0; n < crashes; n++) {
    step(1_000);
    crash(random() < 0.5 ? a : b);
    connect();
  }
  outage = true;
  lines[1]!.down();
  for (let n = 0; n < 10; n++) {
    step(outageMs / 10);
    crash(random() < 0.5 ? a : b);
    connect();
  }
  outage = false;
  connect();
  for (let n = 0; n < crashes; n++) {
    step(1_000);
    crash(random() < 0.5 ? a : b);
    connect();
  }
  for (let n = 0; n < 50; n++) {
    clock.advance(20_000);
    connect();
  }
  return { boxes: [source, a, b, sink], said, shown: sink.shown.filter((uid) => uid.startsWith('e')) };
}

const SEEDS = 5;

test('a day without a line, with crashes before, during and after it: nothing lost, nothing twice, the books balance', (t) => {
  let total = 0;
  for (let seed = 1; seed <= SEEDS; seed++) {
    const { boxes, said, shown } = chain(seed, 24 * HOUR_MS, 10);
    total += said.length;
    assert.deepEqual(
      [said.filter((uid) => !shown.includes(uid)), shown.length],
      [[], new Set(shown).size],
      `seed ${seed}`,
    );
    assert.deepEqual(
      boxes.map((box) => [box.name, box.balances(), box.disk.records.size]),
      boxes.map(({ name }) => [name, true, 0]),
    );
  }
  t.diagnostic(`${total} messages, ${30 * SEEDS} crashes`);
});
