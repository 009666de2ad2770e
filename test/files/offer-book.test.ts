// Announcements over a restart: what comes back is what was known, and nothing of what was changed meanwhile.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { Envelope } from '../../src/core/message.ts';
import { OfferBook } from '../../src/files/offer-book.ts';
import { MAX_OFFERS, Offers } from '../../src/files/offers.ts';
import { ManualClock } from '../../src/lib/clock.ts';
import { messageOf } from '../../src/wire/message.ts';
import { ProtoWriter } from '../../src/wire/proto.ts';

const HOUR_MS = 3_600_000;
const hashOf = (name: string) => createHash('sha256').update(name).digest('hex');

function announced(name: string, more: Partial<Envelope> = {}): Envelope {
  const at = '2026-01-01T00:00:00Z';
  const xml = `<event version="2.0" uid="share-${name}" type="b-f-t-r" how="h-e" time="${at}" start="${at}" stale="2026-01-02T00:00:00Z"><point lat="0" lon="0" hae="0" ce="1" le="1"/><detail><fileshare filename="${name}" senderUrl="http://x/y" sizeInBytes="5" sha256="${hashOf(name)}"/></detail></event>`;
  const wire = { format: 'xml', bytes: Buffer.from(xml) } as const;
  return {
    ...{ seq: 1, message: messageOf(wire), wire, from: 'hub', receivedWallMs: Date.UTC(2026, 0, 1), receivedMs: 0 },
    ...{ expiresMs: 1, groups: ['Blue'], provenance: [{ id: 'a', name: 'A' }], hops: { max: 3, current: 2 }, lane: 1 },
    ...{ conflate: '', encodings: undefined },
    ...more,
  } as Envelope;
}

function bench(t: TestContext) {
  const dir = mkdtempSync(join(tmpdir(), 'waystation-offers-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const clock = new ManualClock();
  const faults: Error[] = [];
  const open = () => {
    const book = new OfferBook({ dir, ageMs: 72 * HOUR_MS, clock, onFault: (error) => faults.push(error) });
    const offers = new Offers(72 * HOUR_MS, (hash, offer) => book.note(hash, offer));
    offers.restore(book.read());
    return { book, offers };
  };
  /** Writes all that is known, as at the end. */
  const close = ({ book }: ReturnType<typeof open>) => {
    const stop = new AbortController();
    const written = book.run(stop.signal);
    stop.abort();
    return written;
  };
  return { dir, clock, open, close, faults };
}

test('who announced what, to whom it may go, and how long ago', async (t) => {
  const { clock, open, close, dir, faults } = bench(t);
  const first = open();
  first.offers.note(announced('a.zip'), clock.nowMs());
  first.offers.note(announced('a.zip', { from: 'box-b' }), clock.nowMs());
  first.offers.note(announced('b.zip'), clock.nowMs());
  await close(first);
  assert.equal(readdirSync(dir).length, 2);
  clock.advance(71 * HOUR_MS);
  const { offers } = open();
  const offer = offers.get(hashOf('a.zip'), clock.nowMs())!;
  assert.deepEqual([offer.name, offer.size, offer.sources], ['a.zip', 5, ['box-b', 'hub']]);
  const { groups, provenance, hops, from } = offer.envelope;
  assert.deepEqual(
    [groups, provenance, hops, from],
    [['Blue'], [{ id: 'a', name: 'A' }], { max: 3, current: 2 }, 'box-b'],
  );
  clock.advance(2 * HOUR_MS);
  assert.equal(offers.get(hashOf('a.zip'), clock.nowMs()), undefined, 'it grew old over the restart');
  assert.equal(open().offers.size, 0);
  assert.deepEqual([readdirSync(dir), faults], [[], []]);
});

test('half a file, another hash, a stranger: gone, and the rest is there', async (t) => {
  const { dir, open, close, clock } = bench(t);
  const first = open();
  for (const name of ['a', 'b', 'c']) first.offers.note(announced(name), clock.nowMs());
  await close(first);
  const path = (name: string) => join(dir, hashOf(name));
  writeFileSync(path('b'), readFileSync(path('b')).subarray(0, 100));
  writeFileSync(path('c'), readFileSync(path('a')));
  writeFileSync(join(dir, `${hashOf('d')}.new`), '{}');
  writeFileSync(join(dir, 'x'.repeat(64)), 'x');
  writeFileSync(path('e'), Buffer.alloc(1 << 20));
  assert.equal(open().offers.size, 1);
  assert.deepEqual(readdirSync(dir), [hashOf('a')]);
});

test('never more than may be, in memory and on the disk; no file is held', async (t) => {
  const { dir, open, close, clock } = bench(t);
  const first = open();
  for (let n = 0; n < MAX_OFFERS + 50; n++) first.offers.note(announced(String(n)), clock.nowMs());
  const writer = new ProtoWriter();
  writer.string(1, `create resource\n${JSON.stringify({ hash: hashOf('big'), filename: 'big' })};`);
  writer.message(2, () => writer.bytes(2, Buffer.alloc(1 << 20)));
  const wire = { format: 'rol', bytes: writer.finish() } as const;
  first.offers.note(announced('big', { wire, message: messageOf(wire) }), clock.nowMs());
  assert.equal(first.offers.get(hashOf('big'), clock.nowMs())?.envelope.wire, undefined);
  assert.equal(first.offers.size, MAX_OFFERS);
  await close(first);
  assert.equal(readdirSync(dir).length, MAX_OFFERS - 1);
});
