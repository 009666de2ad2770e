// What the relay remembers: across restarts, from broken files, on disks that cannot be written.
import assert from 'node:assert/strict';
import {
  chmodSync,
  closeSync,
  copyFileSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { type TestContext, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { ManualClock } from '../../src/lib/clock.ts';
import { silentLog } from '../../src/lib/log.ts';
import { STORE_STEPS } from '../../src/store/file.ts';
import { MAX_PEERS, MAX_TEXT, openStore, type Store } from '../../src/store/store.ts';

const isRoot = process.getuid?.() === 0;
const START = Date.UTC(2026, 0, 1);
const alice = { key: 'phones/alice', link: 'phones', name: 'ALICE', kind: 'cot', address: '10.0.0.1:5' };
const bob = { key: 'phones/bob', link: 'phones', name: 'BOB', kind: 'cot', address: '10.0.0.2:5' };

function rig(t: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), 'waystation-store-'));
  const path = join(folder, 'data', 'store.db');
  const clock = new ManualClock(START);
  const stores: Store[] = [];
  t.after(() => {
    for (const store of stores) store.close();
    rmSync(folder, { recursive: true });
  });
  const open = (at = path, steps = STORE_STEPS) => {
    const store = openStore({ path: at, log: silentLog, clock, steps });
    stores.push(store);
    return store;
  };
  return { folder, path, clock, open };
}

const codes = (store: Store) => store.warnings.map((warning) => warning.code);

test('peers and values survive a restart, with when they were first and last seen', (t) => {
  const { open, clock } = rig(t);
  const first = open();
  assert.deepEqual(first.peers(), []);
  assert.equal(first.get('id'), undefined);
  first.touchPeer(alice);
  first.set('id', 'x1');
  first.set('gone', 'y');
  first.set('gone', undefined);
  clock.advance(4_000);
  first.touchPeer(bob);
  clock.advance(1_000);
  first.touchPeer({ ...alice, address: '10.0.0.9:7', name: 'Alice 2' });
  first.close();
  const second = open();
  assert.deepEqual(second.peers(), [
    { ...alice, address: '10.0.0.9:7', name: 'Alice 2', firstSeenMs: START, lastSeenMs: START + 5_000 },
    { ...bob, firstSeenMs: START + 4_000, lastSeenMs: START + 4_000 },
  ]);
  assert.equal(second.get('id'), 'x1');
  assert.equal(second.get('gone'), undefined);
  second.set('id', undefined);
  second.close();
  assert.equal(open().get('id'), undefined);
  assert.deepEqual(codes(second), []);
});

test('the file is for its owner alone', (t) => {
  const { open, path } = rig(t);
  open().set('a', 'b');
  assert.equal(statSync(path).mode & 0o777, 0o600);
});

test('nothing is written before the commit, and one commit writes all of it', (t) => {
  const { open, path } = rig(t);
  const store = open();
  const other = new DatabaseSync(path, { readOnly: true });
  t.after(() => other.close());
  const count = () =>
    other.prepare('SELECT (SELECT count(*) FROM peers_seen) + (SELECT count(*) FROM meta) AS n').get()?.n;
  store.touchPeer(alice);
  store.touchPeer(bob);
  store.set('k', 'v');
  assert.equal(count(), 0);
  store.flush();
  assert.equal(count(), 3);
});

test('run commits by itself, and once more when told to stop', async (t) => {
  const { open, path } = rig(t);
  const store = open();
  const other = new DatabaseSync(path, { readOnly: true });
  t.after(() => other.close());
  const keys = () =>
    other
      .prepare('SELECT key FROM meta ORDER BY key')
      .all()
      .map((row) => row.key);
  const controller = new AbortController();
  const done = store.run(controller.signal);
  store.set('a', '1');
  while (keys().length === 0) await setTimeout(50);
  store.set('b', '2');
  controller.abort();
  await done;
  assert.deepEqual(keys(), ['a', 'b']);
});

test('the peers not seen for longest are forgotten, in memory and in the file', (t) => {
  const { open, clock } = rig(t);
  const store = open();
  for (let index = 0; index < MAX_PEERS; index++) store.touchPeer({ ...alice, key: `k${index}` });
  store.flush();
  clock.advance(1);
  store.touchPeer({ ...alice, key: 'k0' });
  store.touchPeer({ ...alice, key: 'new' });
  assert.equal(store.peers().length, MAX_PEERS);
  store.close();
  const keys = new Set(
    open()
      .peers()
      .map((peer) => peer.key),
  );
  assert.equal(keys.size, MAX_PEERS);
  assert.deepEqual([keys.has('k0'), keys.has('k1'), keys.has('k2'), keys.has('new')], [true, false, true, true]);
});

test('what peers say of themselves is bounded and cannot break out of the SQL', (t) => {
  const { open } = rig(t);
  const store = open();
  const name = `'); DROP TABLE peers_seen; --\u0000\ud800${'x'.repeat(10_000)}`;
  store.touchPeer({ ...alice, name, address: name });
  store.close();
  const [peer] = open().peers();
  assert.equal(peer?.name.length, MAX_TEXT);
  assert.ok(peer?.name.startsWith("'); DROP TABLE"));
});

test('a file that is no database is moved aside and a new one begun', (t) => {
  const { open, path, folder } = rig(t);
  open().close();
  writeFileSync(path, 'this is not a database '.repeat(1000));
  const store = open();
  assert.deepEqual(codes(store), ['store_corrupt']);
  store.set('a', '1');
  store.close();
  assert.equal(open().get('a'), '1');
  const aside = readdirSync(join(folder, 'data')).filter((name) => name.includes('.corrupt-'));
  assert.deepEqual(aside, ['store.db.corrupt-20260101T000000000Z']);
  assert.match(readFileSync(join(folder, 'data', aside[0]!), 'utf8'), /^this is not a database/);
});

test('a database with a broken page is moved aside; only the latest such file is kept', (t) => {
  const { open, path, folder, clock } = rig(t);
  for (let round = 0; round < 2; round++) {
    const store = open();
    for (let index = 0; index < 2000; index++) store.touchPeer({ ...alice, key: `k${index}` });
    store.close();
    const file = openSync(path, 'r+');
    writeSync(file, Buffer.alloc(8192, 0xa5), 0, 8192, 4096);
    closeSync(file);
    clock.advance(60_000);
    const next = open();
    assert.deepEqual(codes(next), ['store_corrupt']);
    assert.deepEqual(next.peers(), []);
    next.close();
  }
  assert.equal(readdirSync(join(folder, 'data')).filter((name) => name.includes('.corrupt-')).length, 1);
});

test('an empty file is a new store', (t) => {
  const { open, path } = rig(t);
  open().close();
  writeFileSync(path, '');
  const store = open();
  assert.deepEqual(codes(store), []);
  store.set('a', '1');
  store.close();
  assert.equal(open().get('a'), '1');
});

test('where no file can be made the store works from memory and says so', (t) => {
  const { open, folder } = rig(t);
  writeFileSync(join(folder, 'plain'), '');
  for (const path of [join(folder, 'plain', 'store.db'), folder]) {
    const store = open(path);
    assert.deepEqual(codes(store), ['store_in_memory']);
    assert.match(store.warnings[0]?.words ?? '', /cannot be used: /);
    assert.match(store.warnings[0]?.fix ?? '', /data folder/);
    store.touchPeer(alice);
    store.set('a', '1');
    store.flush();
    assert.equal(store.peers().length, 1);
    assert.equal(store.get('a'), '1');
    store.close();
  }
});

test('a store that cannot be written keeps everything, says so, and recovers', (t) => {
  const { open, path } = rig(t);
  const store = open();
  const blocker = new DatabaseSync(path);
  t.after(() => blocker.close());
  blocker.exec('BEGIN EXCLUSIVE');
  store.touchPeer(alice);
  store.set('a', '1');
  store.flush();
  store.flush();
  assert.deepEqual(codes(store), ['store_not_written']);
  assert.equal(store.peers().length, 1);
  blocker.exec('ROLLBACK');
  store.flush();
  assert.deepEqual(codes(store), []);
  store.close();
  assert.equal(open().get('a'), '1');
});

test('a read-only folder is worked around from memory', { skip: isRoot && 'root may write anywhere' }, (t) => {
  const { open, folder } = rig(t);
  chmodSync(folder, 0o500);
  const store = open();
  assert.deepEqual(codes(store), ['store_in_memory']);
  store.set('a', '1');
  assert.equal(store.get('a'), '1');
  chmodSync(folder, 0o700);
});

test('a commit that fails half-way writes nothing', (t) => {
  const { open, path } = rig(t);
  const store = open();
  const other = new DatabaseSync(path);
  // What SQLite says of a full disk, without needing one.
  other.exec("CREATE TRIGGER full BEFORE INSERT ON meta BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END");
  other.close();
  store.set('a', '1');
  store.touchPeer(alice);
  store.flush();
  assert.match(store.warnings[0]?.words ?? '', /disk is full/);
  store.close();
  const next = open();
  assert.deepEqual([next.get('a'), next.peers()], [undefined, []], 'all of it or nothing');
});

test('schema steps are taken once, in order, after a copy of the file', (t) => {
  const { open, path, folder } = rig(t);
  const store = open();
  store.touchPeer(alice);
  store.close();
  const files = () => readdirSync(join(folder, 'data')).toSorted();
  assert.deepEqual(files(), ['store.db'], 'nothing to copy for a new file');
  const more = [...STORE_STEPS, 'CREATE TABLE two (a TEXT) STRICT', "INSERT INTO two VALUES ('once')"];
  open(path, more).close();
  open(path, more).close();
  assert.deepEqual(files(), ['store.db', 'store.db.v1']);
  const now = new DatabaseSync(path);
  assert.equal(now.prepare('SELECT count(*) AS n FROM two').get()?.n, 1);
  now.close();
  copyFileSync(`${path}.v1`, `${path}.back`);
  const back = open(`${path}.back`);
  assert.equal(back.peers().length, 1);
});

test('a rolled-back release still uses the file of a newer one', (t) => {
  const { open, path } = rig(t);
  const newer = open(path, [...STORE_STEPS, 'ALTER TABLE peers_seen ADD COLUMN extra TEXT']);
  newer.touchPeer(alice);
  newer.close();
  const older = open(path);
  assert.deepEqual(codes(older), []);
  older.touchPeer(bob);
  older.close();
  assert.equal(open(path).peers().length, 2);
});

test('a step that fails leaves the file as it was', (t) => {
  const { open, path } = rig(t);
  const store = open();
  store.set('a', '1');
  store.close();
  const broken = open(path, [...STORE_STEPS, 'CREATE TABLE three (a TEXT) STRICT; NONSENSE']);
  assert.deepEqual(codes(broken), ['store_in_memory']);
  broken.close();
  assert.equal(open(path).get('a'), '1');
});
