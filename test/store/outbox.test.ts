// What waits for peers, on disk: over restarts, power cuts, broken files, disks that are full or cannot be written.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { type TestContext, test } from 'node:test';
import { setImmediate, setTimeout } from 'node:timers/promises';
import type { OutboxRecord } from '../../src/core/outbox-disk.ts';
import type { Warning } from '../../src/core/status.ts';
import { ManualClock } from '../../src/lib/clock.ts';
import { silentLog } from '../../src/lib/log.ts';
import { BETWEEN_MS, LAZY_MS, OutboxStore, type OutboxStoreOptions, OWED_MS } from '../../src/store/outbox.ts';
import { BATCH_SIGHTINGS, MAX_SIGHTINGS, OUTBOX_STEPS } from '../../src/store/outbox-file.ts';

const isRoot = process.getuid?.() === 0;
const DAY_MS = 24 * 3_600_000;

function record(text: string, fields: Partial<OutboxRecord> = {}): OutboxRecord {
  return {
    peer: 'relays/b',
    lane: 1,
    from: 'phones/x',
    receivedWallMs: Date.UTC(2026, 0, 1),
    wire: { format: 'xml', bytes: Buffer.from(text) },
    groups: ['Blue'],
    provenance: [{ id: 'n1', name: 'Näme' }],
    hops: { max: 3, current: 1 },
    conflate: '',
    ...fields,
  };
}

function rig(t: TestContext, folder = mkdtempSync(join(tmpdir(), 'waystation-outbox-'))) {
  const clock = new ManualClock();
  const path = join(folder, 'data', 'outbox.db');
  const stores: OutboxStore[] = [];
  const troubles: Warning[] = [];
  t.after(async () => {
    for (const store of stores) await store.close();
    rmSync(folder, { recursive: true, force: true });
  });
  const open = (options: Partial<OutboxStoreOptions> = {}) => {
    const store = new OutboxStore({
      ...{ path, clock, log: silentLog, onTrouble: (warning: Warning) => void troubles.push(warning) },
      ...options,
    });
    stores.push(store);
    return store;
  };
  /** Lets all that is due be written and synced. */
  const settle = async (ms = LAZY_MS + BETWEEN_MS) => {
    clock.advance(ms);
    await setTimeout(20);
  };
  return { folder, path, clock, open, settle, troubles };
}

const safe = (store: OutboxStore) => {
  let done = false;
  store.safely(() => {
    done = true;
  });
  return () => done;
};
const codes = (store: OutboxStore) => store.warnings.map(({ code }) => code);

/** Bytes this process has handed to write(2) and the like, whatever became of them. */
const written = () => Number(/wchar: (\d+)/.exec(readFileSync('/proc/self/io', 'utf8'))![1]);

test('what waits, what was seen and the key of that survive a restart, whole and in order', async (t) => {
  const { open } = rig(t);
  const first = open();
  assert.deepEqual(first.found, { entries: [], sightings: [], seeds: undefined });
  const records = [record('one'), record('two', { lane: 2, conflate: 'uid\nx' }), record('three', { peer: 'hq' })];
  for (const [index, one] of records.entries()) first.put(index + 1, one);
  first.put(4, record('gone'));
  first.remove(4);
  first.setSeeds([1, 4_000_000_000]);
  first.remember({ a: -5, b: 7, value: 2 ** 52 });
  first.remember({ a: 1, b: 2, value: 3 });
  await first.close();
  const second = open();
  assert.deepEqual(
    second.found.entries.map(({ id, peer, lane, bytes, conflate }) => [id, peer, lane, bytes, conflate]),
    [
      [1, 'relays/b', 1, 3, ''],
      [2, 'relays/b', 2, 3, 'uid\nx'],
      [3, 'hq', 1, 5, ''],
    ],
  );
  assert.deepEqual(
    [1, 2, 3].map((id) => second.fetch(id)),
    records,
  );
  assert.equal(second.fetch(4), undefined);
  assert.deepEqual(second.found.seeds, [1, 4_000_000_000]);
  assert.deepEqual(second.found.sightings, [
    { a: -5, b: 7, value: 2 ** 52 },
    { a: 1, b: 2, value: 3 },
  ]);
  second.remove(2);
  await second.close();
  assert.deepEqual(
    open().found.entries.map(({ id }) => id),
    [1, 3],
  );
});

test('it counts as safe when it is synced, not before; many share one sync; order is kept', async (t) => {
  const { open, clock } = rig(t);
  const syncs: (() => void)[] = [];
  const store = open({ sync: () => new Promise((done) => void syncs.push(done)) });
  assert.equal(safe(store)(), true, 'nothing waits');
  const order: number[] = [];
  for (let id = 1; id <= 10; id++) {
    store.put(id, record(`m${id}`));
    store.safely(() => order.push(id));
  }
  clock.advance(OWED_MS);
  await setImmediate();
  assert.deepEqual([syncs.length, order.length], [1, 0], 'committed, and not yet safe');
  // Comes while the card is busy: with the next commit. What brings nothing new is as safe as what went before.
  const other = safe(store);
  store.put(11, record('late'));
  const late = safe(store);
  syncs.shift()!();
  await setTimeout(5);
  assert.deepEqual(order, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  assert.deepEqual([other(), late()], [true, false]);
  clock.advance(BETWEEN_MS);
  await setImmediate();
  assert.equal(late(), false);
  syncs.shift()!();
  await setTimeout(5);
  assert.equal(late(), true);
});

test('the event loop does not wait for the card', async (t) => {
  const { open, clock } = rig(t);
  const store = open({ sync: () => setTimeout(300) as Promise<void> });
  store.put(1, record('x'));
  const isSafe = safe(store);
  clock.advance(OWED_MS);
  const beganMs = performance.now();
  let turns = 0;
  while (!isSafe()) {
    await setImmediate();
    turns++;
    assert.ok(performance.now() - beganMs < 10_000);
  }
  assert.ok(turns > 20, `only ${turns} turns`);
});

test('a power cut at any moment costs nothing that was safe, and never the file', async (t) => {
  const { folder, path, open, clock } = rig(t);
  const durable = new Map<string, Buffer>();
  const durableNow = () => {
    for (const file of [path, `${path}-wal`]) durable.set(file, readFileSync(file));
  };
  const sync = async (fd: number) => {
    const file = readlinkSync(`/proc/self/fd/${fd}`);
    const content = readFileSync(file);
    await setTimeout(Math.random() * 10);
    durable.set(file, content);
  };
  const store = open({ sync, maxLogBytes: 60_000 });
  durableNow(); // opening syncs as SQLite does
  const kept = new Map<number, OutboxRecord>();
  const sure = new Set<number>();
  const gone = new Set<number>();
  let id = 0;
  let checkpoints = 0;
  let logBytes = 0;
  for (let cut = 0; cut < 120; cut++) {
    for (let message = 0; message < 3; message++) {
      const one = ++id;
      kept.set(one, record(`m${one} ${'x'.repeat(Math.floor(Math.random() * 3000))}`));
      store.put(one, kept.get(one)!);
      store.safely(() => sure.add(one));
      store.remember({ a: one, b: 0, value: 0 });
    }
    const old = [...sure].find((one) => !gone.has(one));
    if (old && sure.size - gone.size > 20) {
      store.remove(old);
      gone.add(old);
    }
    clock.advance(BETWEEN_MS);
    await setTimeout(Math.random() * 4);
    const image = join(folder, `cut-${cut}`);
    mkdirSync(image);
    const sureThen = [...sure].filter((one) => !gone.has(one));
    for (const [file, before] of durable) {
      const now = readFileSync(file);
      writeFileSync(join(image, basename(file)), torn(before, now));
      if (file.endsWith('-wal')) {
        if (now.readUInt32BE(16) !== logBytes) checkpoints++;
        logBytes = now.readUInt32BE(16); // the salt: another one when the log begins anew
      }
    }
    const after = new OutboxStore({ path: join(image, 'outbox.db'), clock, log: silentLog });
    assert.deepEqual(codes(after), [], `cut ${cut}`);
    const found = new Set(after.found.entries.map((entry) => entry.id));
    assert.deepEqual(
      sureThen.filter((one) => !found.has(one)),
      [],
      `cut ${cut}`,
    );
    for (const one of found) assert.deepEqual(after.fetch(one), kept.get(one));
    const seen = new Set(after.found.sightings.map(({ a }) => a));
    assert.deepEqual(
      sureThen.filter((one) => !seen.has(one)),
      [],
    );
    await after.close();
    rmSync(image, { recursive: true });
  }
  assert.ok(checkpoints > 3, `${checkpoints} logs`);
  assert.ok(sure.size > 100);
});

/** What the card holds after a power cut: of every block that was not synced the old or the new, and any length between. */
function torn(before: Buffer, now: Buffer, block = 512): Buffer {
  const length =
    before.length + Math.floor(Math.random() * (Math.max(0, now.length - before.length) / block + 1)) * block;
  const found = Buffer.alloc(Math.min(length, Math.max(now.length, before.length)));
  for (let at = 0; at < found.length; at += block) {
    const from = at >= before.length || (at < now.length && Math.random() < 0.5) ? now : before;
    from.copy(found, at, at, at + block);
  }
  return found;
}

test('a broken file is moved aside and told of, and a new one works', async (t) => {
  const { path, open, settle, troubles } = rig(t);
  const first = open();
  for (let id = 1; id < 50; id++) first.put(id, record('x'.repeat(500)));
  await first.close();
  const bytes = readFileSync(path);
  bytes.fill(0xaa, 100, bytes.length - 1000);
  writeFileSync(path, bytes);
  const second = open();
  assert.deepEqual([second.found.entries, codes(second)], [[], ['outbox_corrupt']]);
  assert.deepEqual(
    troubles.map(({ code }) => code),
    ['outbox_corrupt'],
  );
  assert.equal(readdirSync(join(path, '..')).filter((name) => name.startsWith('outbox.db.corrupt-')).length, 1);
  second.put(1, record('new'));
  const isSafe = safe(second);
  await settle();
  assert.ok(isSafe());
  await second.close();
  assert.equal(open().found.entries.length, 1);
});

test('a damaged record is passed over and told of; the others live', async (t) => {
  const { path, open, troubles } = rig(t);
  const first = open();
  for (let id = 1; id <= 3; id++) first.put(id, record(`m${id}`));
  await first.close();
  const db = new DatabaseSync(path);
  db.exec("UPDATE waiting SET payload = CAST('m9' AS BLOB) WHERE id = 2");
  db.close();
  const second = open();
  assert.deepEqual(
    second.found.entries.map(({ id }) => id),
    [1, 3],
  );
  assert.deepEqual(
    troubles.map(({ code }) => code),
    ['outbox_damaged'],
  );
  await second.close();
  const third = open();
  assert.deepEqual(codes(third), [], 'told once: it is gone');
});

test('a file of an earlier release is taken further, after a copy; a later one is used as it is', async (t) => {
  const { path, open } = rig(t);
  const first = open();
  first.put(1, record('old'));
  await first.close();
  const db = new DatabaseSync(path);
  // As a release would have written it that knew of neither hops nor provenance.
  const head = JSON.stringify({ from: 'f', groups: [], later: 'ignored' });
  const { peer, lane, received, format } = db.prepare('SELECT * FROM waiting').get() as Record<string, never>;
  const { crc32 } = await import('node:zlib');
  const sum = crc32(Buffer.from('old'), crc32([1, peer, lane, received, '', format, head].join('\n')));
  db.prepare('UPDATE waiting SET head = ?, sum = ?').run(head, sum);
  db.close();
  const later = [...OUTBOX_STEPS, "ALTER TABLE waiting ADD COLUMN note TEXT NOT NULL DEFAULT ''"];
  const second = open({ steps: later });
  assert.deepEqual(codes(second), []);
  const { hops, provenance, from, wire } = second.fetch(1)!;
  assert.deepEqual([hops, provenance, from, String(wire.bytes)], [{ max: -1, current: 0 }, [], 'f', 'old']);
  second.put(2, record('new'));
  await second.close();
  assert.ok(readdirSync(join(path, '..')).includes('outbox.db.v1'));
  const rolledBack = open();
  assert.deepEqual(
    rolledBack.found.entries.map(({ id }) => id),
    [1, 2],
  );
  rolledBack.put(3, record('by the old one'));
  await rolledBack.close();
  assert.equal(open({ steps: later }).found.entries.length, 3);
});

test('a folder that cannot be written: the relay works from memory, and says so', async (t) => {
  const { folder, open } = rig(t);
  writeFileSync(join(folder, 'data'), 'a file where the folder should be');
  const store = open();
  assert.deepEqual([codes(store), store.writable], [['outbox_in_memory'], false]);
  store.put(1, record('x'));
  assert.equal(safe(store)(), true, 'nobody is kept waiting for what cannot be');
  assert.equal(store.fetch(1)?.wire.bytes.toString(), 'x');
});

/** A file system of its own, so large. */
function smallDisk(t: TestContext, kilobytes: number): string | undefined {
  const folder = mkdtempSync(join(tmpdir(), 'waystation-disk-'));
  if (!isRoot || spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${kilobytes}k`, 'tmpfs', folder]).status !== 0) {
    rmSync(folder, { recursive: true });
    return undefined;
  }
  t.after(() => spawnSync('umount', ['-l', folder]));
  return folder;
}

test('a full disk: told of, nobody waits, all of it is written when there is room', async (t) => {
  const folder = smallDisk(t, 256);
  if (!folder) return t.skip('needs root and the right to mount a small tmpfs');
  const { open, settle, troubles } = rig(t, folder);
  const store = open();
  const filler = join(folder, 'filler');
  writeFileSync(filler, Buffer.alloc(statSync(folder).blksize * 20));
  for (let id = 1; id <= 100; id++) store.put(id, record('x'.repeat(2_000)));
  const isSafe = safe(store);
  await settle();
  assert.equal(isSafe(), true);
  assert.deepEqual([codes(store), store.writable], [['outbox_not_written'], false]);
  assert.match(store.warnings[0]!.words, /full/);
  assert.equal(store.fetch(100)?.wire.bytes.length, 2_000);
  store.remove(1);
  for (let id = 20; id <= 100; id++) store.remove(id);
  rmSync(filler);
  await settle(60_000);
  assert.deepEqual([codes(store), store.writable], [[], true]);
  assert.equal(troubles.length, 1);
  await store.close();
  assert.deepEqual(
    open().found.entries.map(({ id }) => id),
    Array.from({ length: 18 }, (_, index) => index + 2),
  );
});

test('a disk that turns read-only: told of, and the relay runs', async (t) => {
  const folder = smallDisk(t, 4_096);
  if (!folder) return t.skip('needs root and the right to mount a small tmpfs');
  const { open, settle } = rig(t, folder);
  const store = open();
  store.put(1, record('before'));
  await settle();
  assert.deepEqual(codes(store), []);
  await store.close();
  if (spawnSync('mount', ['-o', 'remount,ro', folder]).status !== 0) return t.skip('could not be made read-only');
  const second = open();
  assert.deepEqual(codes(second), ['outbox_in_memory']);
  second.put(2, record('x'));
  assert.equal(safe(second)(), true);
  spawnSync('mount', ['-o', 'remount,rw', folder]);
});

test('what is remembered is bounded', async (t) => {
  const { open, settle } = rig(t);
  const store = open();
  for (let batch = 0; batch < 12; batch++) {
    for (let n = 0; n < 5_000; n++) store.remember({ a: batch, b: n, value: 0 });
    if (batch % 5 === 4) await settle(); // several while the disk is slow
  }
  await store.close();
  const { sightings } = open().found;
  assert.ok(
    sightings.length >= MAX_SIGHTINGS && sightings.length < MAX_SIGHTINGS + BATCH_SIGHTINGS,
    String(sightings.length),
  );
  assert.deepEqual(sightings.at(-1), { a: 11, b: 4_999, value: 0 });
});

test('how little is written: nothing on an idle day, nothing for what arrives at once, few pages for what waits', async (t) => {
  const { path, open, settle, clock } = rig(t);
  const store = open();
  store.put(1, record('x'));
  await settle();
  store.remove(1);
  await settle(10_000);
  const before = written();
  const files = () => [path, `${path}-wal`].map((file) => statSync(file).size + statSync(file).mtimeMs);
  const [was] = [files()];
  for (let hour = 0; hour < 24; hour++) {
    clock.advance(DAY_MS / 24);
    await setImmediate();
  }
  assert.deepEqual(files(), was, 'an idle day touches no file');
  // Healthy links: each is gone before the commit is due.
  for (let id = 2; id < 1_000; id++) {
    store.put(id, record('x'.repeat(400)));
    store.remove(id);
    clock.advance(10);
  }
  await settle(10_000);
  assert.deepEqual(files(), was, 'what arrives at once touches no file');
  const idle = written() - before;
  // Ten messages to a commit, as on a busy line whose far end is away.
  const size = () => statSync(`${path}-wal`).size + statSync(path).size;
  const start = size();
  for (let batch = 0; batch < 10; batch++) {
    for (let n = 0; n < 10; n++) {
      store.put(10_000 + batch * 10 + n, record('x'.repeat(400)));
      store.remember({ a: batch, b: n, value: 0 });
    }
    await settle();
  }
  const each = (size() - start) / 100;
  t.diagnostic(`${Math.round(each)} bytes written for a message of 400, ten at a time; ${idle} on an idle day`);
  assert.ok(each < 4_000, String(each));
  assert.ok(idle < 1e6, String(idle));
});
