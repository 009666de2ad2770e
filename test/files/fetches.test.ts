// Files on their way from other boxes, with boxes that are away, lie, give too much, or nothing.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { Envelope } from '../../src/core/message.ts';
import { type NodeResponse, problemResponse } from '../../src/core/node.ts';
import { Fetches } from '../../src/files/fetches.ts';
import type { Offer } from '../../src/files/offers.ts';
import { FileRefusal } from '../../src/files/refusal.ts';
import { RESERVE_BYTES, Shelf } from '../../src/files/shelf.ts';
import { Transfers } from '../../src/files/transfers.ts';
import { systemClock } from '../../src/lib/clock.ts';

const BYTES = Buffer.from('the bytes of a file '.repeat(2_000));
const HASH = createHash('sha256').update(BYTES).digest('hex');

type Answer = (at: number, count: number, source: string) => NodeResponse | undefined;

const part = (body: Buffer): NodeResponse => ({ status: 200, headers: {}, body });
const honest: Answer = (at, count) => part(BYTES.subarray(at, at + count));

function bench(t: TestContext, answer: Answer, disk = { free: 10 * RESERVE_BYTES }) {
  const dir = mkdtempSync(join(tmpdir(), 'waystation-fetch-'));
  const stop = new AbortController();
  t.after(() => {
    stop.abort();
    rmSync(dir, { recursive: true, force: true });
  });
  const limits = { fileBytes: 1_000_000, bytes: 4_000_000, ageMs: 3_600_000 };
  const shelf = new Shelf({ dir, limits, clock: systemClock, free: () => disk.free });
  shelf.open();
  const asked: { source: string; at: number }[] = [];
  const transfers = new Transfers(systemClock);
  const fetches = new Fetches({
    shelf,
    transfers,
    clock: systemClock,
    signal: stop.signal,
    nameOf: (source) => source,
    ask(source, path) {
      const query = new URLSearchParams(path.split('?')[1]);
      const at = Number(query.get('at'));
      asked.push({ source, at });
      const given = answer(at, Number(query.get('bytes')), source);
      return given && Promise.resolve(given);
    },
  });
  return { shelf, fetches, asked, transfers };
}

const offer = (more: Partial<Offer> = {}): Offer => ({
  ...{ hash: HASH, name: 'a.bin', size: BYTES.length, atMs: 0, envelope: {} as Envelope, sources: ['hub'] },
  ...more,
});

async function read(fetches: Fetches, of: Offer): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of fetches.begin(of).read(0, of.size - 1, new AbortController().signal)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

const refused = (code: string) => (error: unknown) => error instanceof FileRefusal && error.code === code;

test('it is read while it comes, and is on the shelf when it is whole', async (t) => {
  const { shelf, fetches } = bench(t, honest);
  assert.deepEqual(await read(fetches, offer()), BYTES);
  assert.equal(shelf.get(HASH)?.uploader, 'hub');
  assert.ok(!existsSync(shelf.partPath(HASH)));
});

test('goes on where it ended', async (t) => {
  const { shelf, fetches, asked } = bench(t, honest);
  writeFileSync(shelf.partPath(HASH), BYTES.subarray(0, 30_000));
  assert.deepEqual(await read(fetches, offer()), BYTES);
  assert.equal(asked[0]!.at, 30_000);
});

test('the second source is asked when the first has it not, and one that is away is waited for', async (t) => {
  let away = 2;
  const { fetches, asked } = bench(t, (at, count, source) => {
    if (source === 'first') return problemResponse(404, 'not_offered', 'no');
    return away-- > 0 ? problemResponse(502, 'not_connected', 'away') : honest(at, count, source);
  });
  assert.deepEqual(await read(fetches, offer({ sources: ['first', 'second'] })), BYTES);
  assert.deepEqual(
    asked.slice(0, 2).map(({ source }) => source),
    ['first', 'second'],
  );
});

test('other bytes than announced are never given out whole, nor kept', async (t) => {
  const { shelf, fetches } = bench(t, (_, count) => part(Buffer.alloc(count, 7)));
  const got: Buffer[] = [];
  await assert.rejects(async () => {
    const stream = fetches.begin(offer()).read(0, BYTES.length - 1, new AbortController().signal);
    for await (const chunk of stream) got.push(chunk);
  }, refused('hash_wrong'));
  assert.ok(Buffer.concat(got).length < BYTES.length);
  assert.ok(!shelf.get(HASH) && !existsSync(shelf.partPath(HASH)));
});

test('who gives too much, nothing, or may not be asked', async (t) => {
  const lies: readonly Answer[] = [
    (_, count) => part(Buffer.alloc(count + 1)),
    () => part(Buffer.alloc(0)),
    () => problemResponse(400, 'bad_part', 'no'),
    () => undefined,
  ];
  for (const answer of lies) await assert.rejects(read(bench(t, answer).fetches, offer()), refused('no_such_file'));
});

test('what is announced as too large is not begun, and a disk that fills up ends it', async (t) => {
  assert.throws(() => bench(t, honest).fetches.begin(offer({ size: 1e10 })), refused('file_too_large'));
  const disk = { free: 10 * RESERVE_BYTES };
  const { fetches } = bench(
    t,
    (at, count, source) => {
      disk.free = 0;
      return honest(at, count, source);
    },
    disk,
  );
  await assert.rejects(read(fetches, offer()), refused('disk_full'));
});
