// Random lives of a hub, against rules that must hold after every step: the books balance, nothing forbidden is sent, nothing
// is sent twice on one connection or after its end, contacts come before positions, queues keep their bounds; and in the end
// everybody has the picture. A failure names its seed; SEEDS=n runs n of them, SEED=n that one alone.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Budget, NO_BUDGET } from '../../src/core/budget.ts';
import type { CotEvent, Envelope, Inbound, Message } from '../../src/core/message.ts';
import { DEFAULT_POLICY, type Policy } from '../../src/core/policy.ts';
import { Bench, chat, contact, inbound, phoneSays, position, RecordingSession } from './support.ts';

const SEEDS = Number(process.env.SEEDS ?? 250);
const STEPS = 150;
const QUEUE = { events: 40, bytes: 4000 };

/** Mulberry32. */
class Dice {
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  below(n: number): number {
    return Math.floor(this.next() * n);
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  of<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }
}

/** The reference: what there is to know of a unit does not change, so that a leak is a leak. */
interface Unit {
  readonly uid: string;
  readonly type: string;
  readonly groups: readonly string[] | undefined;
  readonly named: boolean;
}

const UNITS: readonly Unit[] = Array.from({ length: 12 }, (_, n) => ({
  uid: `u${n}`,
  type: n % 3 === 0 ? 'a-h-G' : 'a-f-G-U-C',
  groups: [undefined, ['Red'], ['Blue'], ['Red', 'Blue']][n % 4],
  named: n % 5 !== 4,
}));
const unitOf = new Map(UNITS.map((unit) => [unit.uid, unit]));

const POLICIES: readonly Policy[] = [
  DEFAULT_POLICY,
  DEFAULT_POLICY,
  { ...DEFAULT_POLICY, out: false },
  { ...DEFAULT_POLICY, in: false },
  { ...DEFAULT_POLICY, dpOut: false },
  { ...DEFAULT_POLICY, blockTypes: ['a-h'] },
  { ...DEFAULT_POLICY, allowTypes: ['a-f', 'b-a'] },
  { ...DEFAULT_POLICY, groupsOut: ['Red'] },
  { ...DEFAULT_POLICY, groupsOut: ['Blue'], blockTypes: ['b-t'] },
];

const BUDGETS: readonly Budget[] = [
  NO_BUDGET,
  NO_BUDGET,
  { ...NO_BUDGET, rateBps: 300 },
  { ...NO_BUDGET, rateBps: 1_000_000, metered: true },
  { ...NO_BUDGET, metered: true },
  { ...NO_BUDGET, perDayBytes: 2000 },
];

/** In words of its own, what the policy lets out. */
function mayHave(policy: Policy, { message, groups }: Envelope): boolean {
  if (message.kind === 'mission' || message.kind === 'blob') return policy.dpOut;
  const uid = message.kind === 'event' ? message.event.uid : message.contact.uid;
  const type = message.kind === 'event' ? message.event.type : unitOf.get(uid)!.type;
  if (!policy.out || policy.blockTypes.some((prefix) => type.startsWith(prefix))) return false;
  if (policy.allowTypes.length > 0 && !policy.allowTypes.some((prefix) => type.startsWith(prefix))) return false;
  if (policy.groupsOut.length === 0) return true;
  const truth = unitOf.get(uid)?.groups ?? groups;
  return policy.groupsOut.some((group) => truth.includes(group) && groups.includes(group));
}

/** A connection, and what was said on it. */
class Wire extends RecordingSession {
  readonly told = new Set<string>();
  readonly seqs = new Set<number>();
  over = false;

  override send(envelope: Envelope, groups: readonly string[]): boolean {
    const taken = super.send(envelope, groups);
    if (taken) this.#note(envelope);
    return taken;
  }

  #note({ seq, message }: Envelope): void {
    this.seqs.add(seq);
    if (message.kind !== 'contact') return;
    if (message.op === 'delete') this.told.delete(message.contact.uid);
    else this.told.add(message.contact.uid);
  }
}

/** A peer as the test has it. */
interface Side {
  readonly key: string;
  readonly durable: boolean;
  readonly keepsContacts: boolean;
  wire: Wire | undefined;
  /** Units it spoke of itself. */
  readonly spoke: Set<string>;
  /** What came back when the next connection was up already, and might have been told of it as part of the picture. */
  readonly broughtLate: Set<number>;
}

function newSide(key: string, n: number): Side {
  const kind = { durable: n % 2 === 0, keepsContacts: n % 3 !== 2 };
  return { key, ...kind, wire: undefined, spoke: new Set(), broughtLate: new Set() };
}

class World {
  readonly #dice: Dice;
  readonly #bench = new Bench({ queue: QUEUE, forgetMs: 600_000 });
  readonly #sides: readonly Side[];
  readonly #said: Inbound[] = [];
  /** What the hub routed to everybody, as a tap sees it. */
  readonly #routed: Envelope[] = [];
  readonly #late: (() => void)[] = [];
  #serial = 0;
  #depth = 0;
  /** A message came while another was being sent: which of them is first then depends on whom one asks. */
  #interrupted = false;

  constructor(seed: number) {
    this.#dice = new Dice(seed);
    this.#sides = ['a', 'b', 'c', 'd/1', 'd/2', 'e'].map(newSide);
    this.#bench.hub.tap((envelope) => this.#routed.push(envelope));
    for (const one of this.#sides) if (this.#dice.chance(0.7)) this.#connect(one);
  }

  /** `w` is never full, never away and may have everything: it sees all that passes, in order and once. */
  live(): void {
    const witness = newSide('w', 0);
    this.#connect(witness);
    const { wire } = witness;
    wire!.room = Number.POSITIVE_INFINITY;
    for (let step = 0; step < STEPS; step++) {
      this.#step();
      this.#check();
    }
    const all = this.#routed.filter(({ message }) => message.kind !== 'event' || message.event.destUids.length === 0);
    const seqs = (list: readonly Envelope[]) =>
      list.filter(({ message }) => message.kind !== 'contact').map(({ seq }) => seq);
    const passed = seqs(wire!.sent);
    if (this.#interrupted) passed.sort((a, b) => a - b);
    assert.deepEqual(passed, seqs(all), 'the witness saw everything');
    this.#settle();
    this.#check();
  }

  // --- what may happen -----------------------------------------------------------------------------------------------

  #step(): void {
    const side = this.#dice.of(this.#sides);
    const { wire } = side;
    const die = this.#dice.below(100);
    if (die < 50) return this.#speak(side);
    if (die < 60) return this.#bench.clock.advance(this.#dice.of([1, 20, 50, 60, 500, 3000]));
    if (die < 70) return wire ? this.#breathe(wire) : this.#connect(side);
    if (die < 76) return wire ? this.#choke(wire) : this.#connect(side);
    if (die < 82) return this.#connect(side);
    if (die < 88) return void (wire && this.#hangUp(side, wire));
    if (die < 94) return this.#rule(side.key.split('/')[0]!);
    if (die < 95) return this.#bench.hub.setPeerPolicy(side.key, this.#dice.of([undefined, ...POLICIES]));
    if (die < 96) return this.#dismiss(side);
    if (die < 97) return this.#bench.clock.jumpWall(this.#dice.of([-3_600_000, 3_600_000]));
    if (die < 98) return this.#bench.clock.advance(this.#dice.of([40_000, 90_000, 700_000]));
    if (die < 99) return this.#bench.hub.expect(this.#specOf(side));
    this.#late.shift()?.();
  }

  #rule(link: string): void {
    this.#bench.hub.setPolicy(link, this.#dice.of(POLICIES), QUEUE, this.#dice.of(BUDGETS));
  }

  #speak(side: Side): void {
    if (!side.wire || side.wire.over) return this.#connect(side);
    const { message, ...rest } =
      this.#dice.chance(0.1) && this.#said.length > 0 ? this.#dice.of(this.#said) : this.#news();
    this.#said.push({ message, ...rest });
    const uid = message.kind === 'event' ? message.event.uid : message.kind === 'contact' ? message.contact.uid : '';
    side.spoke.add(uid);
    side.wire.port.deliver({ message, ...rest });
  }

  #news(): Inbound {
    const unit = this.#dice.of(UNITS);
    const { uid, groups } = unit;
    const nowMs = this.#bench.clock.wallMs();
    const timeMs = nowMs - (this.#dice.chance(0.1) ? this.#dice.below(20_000) : 0);
    const base = { timeMs, staleMs: timeMs + 75_000 };
    const more = groups ? { groups } : {};
    const id = `m${++this.#serial}`;
    switch (this.#dice.below(10)) {
      case 0:
        return { ...inbound(chat(id, { ...base, staleMs: nowMs + 86_400_000 })), ...more };
      case 1:
        return inbound(chat(id, { ...base, staleMs: nowMs + 86_400_000, destUids: [this.#dice.of(UNITS).uid] }));
      case 2:
        return inbound(position(`alert ${uid}`, { ...base, type: this.#dice.of(['b-a-o-tbl', 'b-a-o-can']) }), more);
      case 3:
        return { ...contact(this.#dice.of(['create', 'update', 'delete']), uid, this.#callsign(unit)), ...more };
      case 4:
        return { message: { kind: 'mission', summary: id }, size: 10, digest: id };
      default:
        return inbound(this.#report(unit, base), more);
    }
  }

  #report(unit: Unit, times: Pick<CotEvent, 'timeMs' | 'staleMs'>): CotEvent {
    const { uid, type } = unit;
    return position(uid, { ...times, type, callsign: unit.named ? this.#callsign(unit) : '' });
  }

  #callsign({ uid }: Unit): string {
    return this.#dice.chance(0.9) ? uid.toUpperCase() : `${uid} renamed`;
  }

  #specOf({ key, durable }: Side) {
    return this.#bench.spec(key, { durable, graceMs: durable ? 30_000 : 0 });
  }

  #connect(side: Side): void {
    const wire = new Wire(side.key);
    wire.goodputBps = this.#dice.of([undefined, undefined, 2400, 1e7]);
    wire.transitMs = this.#dice.of([undefined, 5000]);
    if (!side.keepsContacts) wire.says = phoneSays;
    wire.closesLate = this.#dice.chance(0.2);
    wire.room = this.#dice.of([0, 3, 1000, 1000]);
    wire.onSend = (envelope) => this.#witnessed(side, wire, envelope);
    const before = side.wire;
    wire.port = this.#bench.hub.attach(this.#specOf(side), wire);
    side.wire = wire;
    if (before && !before.over) this.#closeLate(side, before);
    if (this.#dice.chance(0.8)) this.#bench.clock.advance(0);
  }

  #hangUp(side: Side, wire: Wire): void {
    side.wire = undefined;
    if (wire.over) return;
    wire.over = true;
    wire.closedWith.push('network_error');
    wire.port.closed('network_error', undefined, this.#unsent(wire));
  }

  #dismiss(side: Side): void {
    const { wire } = side;
    this.#bench.hub.dismiss(side.key);
    if (wire && !wire.over) this.#closeLate(side, wire);
    side.wire = undefined;
  }

  /** It was told to close: now, or when the dice say so, it says that it has. */
  #closeLate(side: Side, wire: Wire): void {
    assert.equal(wire.closedWith.length, 1, 'a session that is let go is closed once');
    wire.over = true;
    if (!wire.closesLate) return;
    this.#late.push(() => {
      const returned = this.#unsent(wire);
      for (const { seq } of returned) side.broughtLate.add(seq);
      wire.port.closed('replaced', undefined, returned);
    });
  }

  /** The last few that it took. */
  #unsent(wire: Wire): readonly Envelope[] {
    return wire.sent.slice(wire.sent.length - this.#dice.below(4));
  }

  #choke(wire: Wire): void {
    wire.room = this.#dice.of([0, 0, 1, 5]);
  }

  #breathe(wire: Wire): void {
    if (wire.over) return;
    wire.room = this.#dice.of([1, 2, 10, 1000]);
    wire.port.writable();
  }

  /** Called for every message that a session is handed. */
  #witnessed(side: Side, wire: Wire, envelope: Envelope): void {
    const { message } = envelope;
    assert.ok(!wire.over && wire.closedWith.length === 0, 'nothing is sent on a connection that ended');
    const peer = this.#bench.peer(side.key);
    assert.equal(peer.session, wire);
    assert.ok(mayHave(peer.policy, envelope), `forbidden: ${JSON.stringify(message)}`);
    assert.notEqual(envelope.from, side.key, 'nobody is told what he said himself');
    if (wire.room <= 0) return;
    assert.ok(
      !wire.seqs.has(envelope.seq) || side.broughtLate.has(envelope.seq),
      `sent twice: ${JSON.stringify(message)}`,
    );
    this.#contactsFirst(side, wire, message);
    if (this.#depth === 0 && side.key !== 'w' && this.#dice.chance(0.02)) this.#mischief(side, wire, envelope);
  }

  #contactsFirst(side: Side, { told }: Wire, message: Message): void {
    if (message.kind !== 'event' || !side.keepsContacts || !unitOf.get(message.event.uid)?.named) return;
    const { uid } = message.event;
    if (!this.#bench.hub.picture.roster.entry(uid)) return; // he left, and nobody told this peer
    assert.ok(told.has(uid) || side.spoke.has(uid), `${uid} was not announced`);
  }

  /** What a session may do while it is handed a message, though no good one does. */
  #mischief(side: Side, wire: Wire, envelope: Envelope): void {
    this.#depth++;
    const others = this.#sides.filter((other) => other !== side && other.wire && !other.wire.over);
    switch (this.#dice.below(4)) {
      case 0:
        wire.port.writable();
        break;
      case 1:
        wire.port.undeliverable('too_large', envelope);
        break;
      case 2:
        this.#hangUp(side, wire);
        break;
      default:
        this.#interrupted = true;
        if (others.length > 0) this.#speak(this.#dice.of(others));
    }
    this.#depth--;
  }

  // --- what must hold ------------------------------------------------------------------------------------------------

  #check(): void {
    const { hub } = this.#bench;
    assert.deepEqual(this.#bench.balance(), [], 'the books balance');
    for (const { queue } of hub.peers()) {
      assert.ok(queue.length <= QUEUE.events);
      assert.ok(queue.bytes <= QUEUE.bytes || queue.length === 1);
    }
    for (const { offered, sent, dropped } of hub.departed.values()) {
      assert.equal(offered, sent + Object.values(dropped).reduce((sum, count) => sum + count, 0));
    }
    for (const { wire } of this.#sides) assert.ok(!wire || wire.closedWith.length <= 1);
  }

  /** Peace: all doors open, all wires free. Everybody has the picture, and nothing waits. */
  #settle(): void {
    const { hub, clock } = this.#bench;
    this.#depth++; // no more mischief
    for (const side of this.#sides) {
      hub.setPolicy(side.key.split('/')[0]!, DEFAULT_POLICY, QUEUE);
      hub.setPeerPolicy(side.key, undefined);
    }
    for (const finish of this.#late.splice(0)) finish();
    for (const side of this.#sides) {
      this.#connect(side);
      this.#breathe(side.wire!);
    }
    for (let round = 0; round < 50; round++) {
      for (const { wire } of this.#sides) if (wire && !wire.over) wire.port.writable();
      for (const { wire } of this.#sides) if (wire) wire.room = Number.POSITIVE_INFINITY;
      clock.advance(100);
    }
    assert.equal(hub.backlog(), false);
    for (const side of this.#sides) if (side.wire && !side.wire.over) this.#hasPicture(side, side.wire);
  }

  #hasPicture({ key }: Side, { sent }: Wire): void {
    const nowMs = this.#bench.clock.nowMs();
    for (const latest of this.#bench.hub.picture.positions()) {
      if (latest.from === key || latest.expiresMs <= nowMs || latest.message.kind !== 'event') continue;
      const { uid } = latest.message.event;
      const words = sent.filter(({ message }) => message.kind === 'event' && message.event.uid === uid);
      assert.equal(words.at(-1)?.seq, latest.seq, `${key} has the last word of ${uid}`);
    }
  }
}

test('whatever happens, the rules hold', () => {
  const only = process.env.SEED;
  const seeds = only ? [Number(only)] : Array.from({ length: SEEDS }, (_, n) => n + 1);
  for (const seed of seeds) {
    try {
      new World(seed).live();
    } catch (error) {
      throw new Error(`SEED=${seed}: ${(error as Error).message}`, { cause: error });
    }
  }
});
