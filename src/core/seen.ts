// The recent-id window: has this event been here before, by whatever path? The last defence against loops through peers
// that keep neither provenance nor flow tags.
//
// TAK prints times in whole seconds (tak-federation §3.2), so the copy that passed a TAK Server differs from the original
// in its milliseconds. An event is therefore remembered under its second, with its milliseconds beside.
//
// What is remembered are hashes in tables of fixed size: this runs for every message, and as strings and objects the window
// took most of the hub's time.
import { randomInt } from 'node:crypto';
import type { CotEvent } from './message.ts';
import type { Sighting } from './outbox-disk.ts';

interface Trace {
  /** Number of the peer it came from. */
  readonly peer: number;
  /** Bytes of the event: tells an edit within the same second from a copy, when both come from one peer. */
  readonly size: number;
  /** Within the second; 0 also when the copy has none. */
  readonly millis: number;
}

export interface SeenLimits {
  /** Sightings per generation; two generations are kept. */
  readonly entries: number;
  /** Age after which a generation is dropped, milliseconds. */
  readonly ageMs: number;
}

export const SEEN_LIMITS: SeenLimits = { entries: 65_536, ageMs: 10 * 60_000 };

/** What the window of messages that must not be told twice holds: what may come back after a day's outage. */
export const LASTING_LIMITS: SeenLimits = { entries: 32_768, ageMs: 26 * 3_600_000 };

export type Seeds = readonly [number, number];

export function randomSeeds(): Seeds {
  return [randomInt(2 ** 32), randomInt(2 ** 32)];
}

export class Seen {
  readonly #limits: SeenLimits;
  /** Secret: whoever could make two keys meet could make others' messages vanish. */
  readonly #seeds: Seeds;
  /** What was noted last. */
  #lastHash: Hash | undefined;
  #lastTrace: Trace | undefined;
  #young: Generation;
  #old: Generation;
  #bornMs = 0;

  constructor(limits: SeenLimits = SEEN_LIMITS, seeds: Seeds = randomSeeds()) {
    this.#limits = limits;
    this.#seeds = seeds;
    this.#young = new Generation(limits.entries);
    this.#old = new Generation(limits.entries);
  }

  /** True when the event was here before; remembers it when not. `peer` is a number of the peer's own, `size` in bytes. Of another salt it is another event. */
  check(event: CotEvent, peer: number, size: number, nowMs: number, salt = 0): boolean {
    this.#turn(nowMs);
    const second = Math.floor(event.timeMs / 1000);
    const trace: Trace = { peer, size, millis: event.timeMs - second * 1000 };
    const hash = this.#hashOf(event, second, salt);
    const before = this.#get(hash.key);
    if (before && this.#isCopy(trace, before, hash)) return true;
    this.#note(hash, trace, before);
    return false;
  }

  /** True when a message without uid and time, known by a digest of its content, was here before. */
  checkDigest(digest: string, nowMs: number, salt = 0): boolean {
    this.#turn(nowMs);
    const hash = new Hash(...this.#seeds).text(salt === 0 ? digest : `${salt} ${digest}`);
    if (this.#get(hash.key)) return true;
    this.#note(hash, { peer: 0, size: 0, millis: 0 }, undefined);
    return false;
  }

  get size(): number {
    return this.#young.size + this.#old.size;
  }

  /** What the last check() that said false has noted, to be kept over a restart. */
  get last(): Sighting | undefined {
    const [hash, trace] = [this.#lastHash, this.#lastTrace];
    return hash && trace && { a: hash.a, b: hash.b, value: packed(trace) };
  }

  /** Takes in what was noted before a restart, in the same order. */
  restore({ a, b, value }: Sighting): void {
    const hash = new Hash(a, b);
    this.#note(hash, unpacked(value), this.#get(hash.key));
  }

  #note(hash: Hash, trace: Trace, before: Trace | undefined): void {
    // The first of a second stands under it; when another comes it makes room.
    if (before && before.millis !== 0) this.#young.set(hash.within(before.millis), before);
    this.#young.set(hash.key, trace);
    this.#lastHash = hash;
    this.#lastTrace = trace;
  }

  /** `before` was seen in the same second. A copy without milliseconds may be of any; one with them of its own, or of one without. */
  #isCopy(now: Trace, before: Trace, hash: Hash): boolean {
    if (now.millis === 0 || now.millis === before.millis) return sameCopy(before, now);
    if (before.millis === 0 && before.peer !== now.peer) return true;
    const exact = this.#get(hash.within(now.millis));
    return exact !== undefined && sameCopy(exact, now);
  }

  #hashOf({ uid, type, lat, lon }: CotEvent, second: number, salt: number): Hash {
    const hash = new Hash(...this.#seeds).text(uid).text(type).number(second);
    if (salt !== 0) hash.number(salt);
    return hash.number(Math.round(lat * 1e5)).number(Math.round(lon * 1e5));
  }

  #get(key: number): Trace | undefined {
    return this.#young.get(key) ?? this.#old.get(key);
  }

  #turn(nowMs: number): void {
    if (this.#young.size < this.#limits.entries && nowMs - this.#bornMs < this.#limits.ageMs) return;
    [this.#young, this.#old] = [this.#old, this.#young];
    this.#young.clear();
    this.#bornMs = nowMs;
  }
}

/** From another peer every match is a copy. From the same peer only the same length is: an edit has another. */
function sameCopy(before: Trace, now: Trace): boolean {
  return before.peer !== now.peer || before.size === now.size;
}

/** Two multiplicative hashes of 32 bits, side by side. */
class Hash {
  #a: number;
  #b: number;

  constructor(a: number, b: number) {
    this.#a = a;
    this.#b = b;
  }

  get a(): number {
    return this.#a | 0;
  }

  get b(): number {
    return this.#b | 0;
  }

  text(text: string): this {
    let a = this.#a;
    let b = this.#b;
    for (let at = 0; at < text.length; at++) {
      const code = text.charCodeAt(at);
      a = Math.imul(a ^ code, 0x9e3779b1);
      b = Math.imul(b ^ code, 0x5f356495);
    }
    this.#a = a;
    this.#b = b;
    return this.number(text.length);
  }

  /** A whole number of at most 53 bits. */
  number(value: number): this {
    const high = Math.floor(value / 2 ** 32);
    this.#a = mixed(this.#a ^ value, high);
    this.#b = mixed(this.#b ^ high, value);
    return this;
  }

  /** 53 bits, never 0. */
  get key(): number {
    return joined(this.#a, this.#b);
  }

  /** The key of one millisecond of what this is the hash of. */
  within(millis: number): number {
    return joined(mixed(this.#a, millis), mixed(this.#b, ~millis));
  }
}

function joined(a: number, b: number): number {
  return (mixed(b, a) & 0x1fffff) * 2 ** 32 + (mixed(a, b) >>> 0) || 1;
}

/** The finishing steps of MurmurHash3. */
function mixed(value: number, salt: number): number {
  let h = Math.imul(value ^ (value >>> 16), 0x85ebca6b) ^ salt;
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}

const SIZE_BITS = 22;
const MILLIS_BITS = 10;

function packed({ peer, size, millis }: Trace): number {
  return (peer & 0x1fffff) * 2 ** 32 + Math.min(size, 2 ** SIZE_BITS - 1) * 2 ** MILLIS_BITS + millis;
}

function unpacked(value: number): Trace {
  const low = value >>> 0;
  return { peer: Math.floor(value / 2 ** 32), size: low >>> MILLIS_BITS, millis: low & (2 ** MILLIS_BITS - 1) };
}

/** A hash table, about half full at most: keys that meet stand next to each other. A pair of numbers for each sighting. */
class Generation {
  readonly #mask: number;
  /** The key (0: free), then peer, size and milliseconds in one number. */
  readonly #pairs: Float64Array;
  size = 0;

  constructor(entries: number) {
    const places = 2 ** Math.ceil(Math.log2(2 * entries));
    this.#mask = places - 1;
    this.#pairs = new Float64Array(2 * places);
  }

  get(key: number): Trace | undefined {
    const at = this.#placeOf(key);
    if (this.#pairs[at] === 0) return undefined;
    return unpacked(this.#pairs[at + 1]!);
  }

  set(key: number, trace: Trace): void {
    const at = this.#placeOf(key);
    if (this.#pairs[at] === 0) this.size++;
    this.#pairs[at] = key;
    this.#pairs[at + 1] = packed(trace);
  }

  clear(): void {
    this.#pairs.fill(0);
    this.size = 0;
  }

  /** Where the key stands, or would. */
  #placeOf(key: number): number {
    let place = key & this.#mask;
    for (;;) {
      const there = this.#pairs[2 * place];
      if (there === 0 || there === key) return 2 * place;
      place = (place + 1) & this.#mask;
    }
  }
}
