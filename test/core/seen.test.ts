import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CotEvent } from '../../src/core/message.ts';
import { Seen } from '../../src/core/seen.ts';
import { position, START_MS } from './support.ts';

/** The same rules with nothing but lists: every sighting of a second, and what the last one was. */
class Reference {
  readonly #all = new Map<string, { peer: number; size: number; millis: number }[]>();

  check({ uid, type, timeMs, lat, lon }: CotEvent, peer: number, size: number): boolean {
    const key = [uid, type, Math.floor(timeMs / 1000), Math.round(lat * 1e5), Math.round(lon * 1e5)].join('\n');
    const before = this.#all.get(key) ?? [];
    const last = before.at(-1);
    const now = { peer, size, millis: timeMs % 1000 };
    const isCopyOf = (other: typeof now | undefined) => other && (other.peer !== peer || other.size === size);
    const exact = before.findLast(({ millis }) => millis === now.millis);
    if (now.millis === 0 ? isCopyOf(last) : isCopyOf(exact) || (last?.millis === 0 && last.peer !== peer)) return true;
    this.#all.set(key, [...before, now]);
    return false;
  }
}

test('what is a copy and what is not, whatever comes by whatever path', () => {
  const seen = new Seen();
  const reference = new Reference();
  let [state, copies] = [1, 0];
  const below = (n: number) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return (state >>> 8) % n;
  };
  for (let n = 0; n < 40_000; n++) {
    const timeMs = START_MS + below(200) * 1000 + [0, 0, 1, 999, below(1000)][below(5)]!;
    const event = position(`u${below(20)}`, { timeMs, lat: 48 + below(2) * 1e-5, type: ['a-f', 'a-h'][below(2)]! });
    const [peer, size] = [1 + below(3), 300 + below(2)];
    const isCopy = reference.check(event, peer, size);
    if (isCopy) copies++;
    assert.equal(seen.check(event, peer, size, 0), isCopy, JSON.stringify({ n, event, peer, size }));
  }
  assert.ok(copies > 10_000 && copies < 35_000);
});

test('what differs in one thing only is not the same', () => {
  const seen = new Seen();
  const base = position('u1', { timeMs: START_MS + 1 });
  const others: Partial<CotEvent>[] = [
    { uid: 'u2' },
    { uid: 'u' },
    { uid: 'u1a', type: '-f-G-U-C' }, // the same letters, otherwise divided
    { type: 'a-f-G-U' },
    { timeMs: START_MS + 1001 },
    { timeMs: START_MS + 1 + 2 ** 32 * 1000 },
    { lat: base.lat + 1e-5 },
    { lon: -base.lon },
    { lat: base.lon, lon: base.lat },
  ];
  assert.equal(seen.check(base, 1, 9, 0), false);
  for (const other of others) assert.equal(seen.check({ ...base, ...other }, 2, 9, 0), false, JSON.stringify(other));
  for (const other of others) assert.equal(seen.check({ ...base, ...other }, 3, 9, 0), true, JSON.stringify(other));
});

test('the window forgets by number and by age, and holds no more than it may', () => {
  const seen = new Seen({ entries: 100, ageMs: 60_000 });
  const at = (n: number) => position(`u${n}`, { timeMs: START_MS + 5 });
  for (let n = 0; n < 1000; n++) {
    assert.equal(seen.check(at(n), 1, 9, 0), false);
    assert.ok(seen.size <= 202);
  }
  assert.equal(seen.check(at(999), 2, 9, 0), true);
  assert.equal(seen.check(at(0), 2, 9, 0), false);
  assert.equal(seen.checkDigest('d', 0), false);
  assert.equal(seen.checkDigest('d', 59_000), true);
  seen.checkDigest('x', 61_000);
  assert.equal(seen.checkDigest('d', 61_000), true, 'one generation is kept');
  seen.checkDigest('y', 122_000);
  seen.checkDigest('z', 183_000);
  assert.equal(seen.checkDigest('d', 183_000), false);
});
