// The recorder: what it writes and how seldom, how much it keeps, what a power cut and a full or missing disk do to it. What it wrote is
// read by gzip, too.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { Envelope } from '../../src/core/message.ts';
import { ManualClock } from '../../src/lib/clock.ts';
import { silentLog } from '../../src/lib/log.ts';
import { Recorder } from '../../src/recording/recorder.ts';
import { scanCot } from '../../src/wire/cot.ts';
import { asXml } from '../../src/wire/encode.ts';
import { envelope } from '../links/memory.ts';
import { sa } from '../support/cot-client.ts';

const T0 = Date.UTC(2026, 10, 1);
const MIB = 1024 * 1024;
const noGzip = spawnSync('gzip', ['--version']).status === 0 ? false : 'gzip is not installed';

function bench(t: TestContext, limit = MIB) {
  const dir = join(mkdtempSync(join(tmpdir(), 'waystation-recorder-')), 'ring');
  t.after(() => rmSync(join(dir, '..'), { recursive: true, force: true }));
  const taps = new Set<(envelope: Envelope) => void>();
  const make = (bytes = limit) => {
    const recorder = new Recorder({
      dir,
      clock: new ManualClock(T0),
      log: silentLog,
      tap: (listener) => {
        taps.add(listener);
        return () => taps.delete(listener);
      },
      toXml: (one) => asXml(one).toString(),
    });
    recorder.apply(bytes);
    return recorder;
  };
  const say = (uid: string, receivedWallMs: number, more = '') => {
    const bytes = Buffer.from(sa(uid, uid, receivedWallMs).replace('<track', `${more}<track`));
    const event = { kind: 'event', event: scanCot(bytes) } as const;
    for (const tap of taps) tap(envelope(event, { wire: { format: 'xml', bytes }, receivedWallMs }));
  };
  const files = () => readdirSync(dir).sort();
  return { dir, make, say, files, taps };
}

async function uidsOf(recorder: Recorder, since = 0, until = Number.POSITIVE_INFINITY): Promise<string[]> {
  const uids: string[] = [];
  for await (const { uid } of recorder.read(since, until)) uids.push(uid);
  return uids;
}

test('off: nothing is listened to, nothing is on disk', async (t) => {
  const { make, taps, dir } = bench(t);
  const recorder = make(0);
  assert.equal(taps.size, 0);
  assert.throws(() => readdirSync(dir));
  assert.deepEqual(recorder.status(), { on: false, bytes: 0, limit: 0, from: null, events: 0, missed: 0, writes: 0 });
  assert.deepEqual(await recorder.flush(), undefined);
});

test('many events are one write; a restart finds them, and a time is cut out of them', { skip: noGzip }, async (t) => {
  const { make, say, files, dir } = bench(t);
  const first = make();
  for (let n = 0; n < 500; n++) say(`U-${n}`, T0 + n * 1000);
  await first.flush();
  assert.deepEqual([first.status().events, first.status().writes], [500, 1]);
  assert.equal(statSync(join(dir, files()[0]!)).mode & 0o777, 0o600);
  const { stdout } = spawnSync('gzip', ['-dc', join(dir, files()[0]!)], { maxBuffer: 1 << 26 });
  const lines = String(stdout).trim().split('\n');
  assert.equal(lines.length, 500);
  assert.equal(JSON.parse(lines[7]!).received, new Date(T0 + 7_000).toISOString());

  const again = make();
  say('LATE', T0 + 600_000);
  assert.equal((await uidsOf(again)).length, 501, 'what waits is read too');
  assert.deepEqual(await uidsOf(again, T0 + 10_000, T0 + 12_000), ['U-10', 'U-11', 'U-12']);
  assert.equal(again.status().from, new Date(T0).toISOString());
});

test('the ring keeps its size: the oldest goes; a smaller size takes hold at once', async (t) => {
  const { make, say, dir, files } = bench(t);
  const recorder = make(MIB);
  const sizeNow = () => files().reduce((sum, name) => sum + statSync(join(dir, name)).size, 0);
  // What cannot be packed, so that the size is what it is.
  let state = 1;
  const noise = () =>
    Array.from({ length: 4_000 }, () => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
      return String.fromCharCode(48 + ((state >>> 16) % 74)).replace(/[<>&"'\\]/, '.');
    }).join('');
  for (let n = 0; n < 1_000; n++) {
    say(`U-${n}`, T0 + n * 1000, `<remarks>${noise()}</remarks>`);
    if (n % 20 === 19) await recorder.flush();
    if (n % 100 === 99) assert.ok(sizeNow() <= MIB, `${sizeNow()} bytes after ${n}`);
  }
  assert.equal(sizeNow(), recorder.status().bytes);
  const uids = await uidsOf(recorder);
  assert.ok(uids.length > 100 && uids.length < 600, `${uids.length} are left`);
  assert.equal(uids.at(-1), 'U-999');
  assert.deepEqual(
    uids,
    Array.from({ length: uids.length }, (_, n) => `U-${1_000 - uids.length + n}`),
  );
  recorder.apply(300_000);
  assert.ok(sizeNow() <= 300_000);
  recorder.apply(0);
  say('UNHEARD', T0);
  assert.equal((await uidsOf(recorder)).includes('UNHEARD'), false);
});

test('a power cut in the middle of a write costs that write alone', async (t) => {
  const { make, say, dir, files } = bench(t);
  const recorder = make();
  say('BEFORE', T0);
  await recorder.flush();
  const path = join(dir, files()[0]!);
  const whole = statSync(path).size;
  say('CUT', T0 + 1_000);
  await recorder.flush();
  truncateSync(path, whole + 30);
  const again = make();
  say('AFTER', T0 + 2_000);
  await again.flush();
  const uids = await uidsOf(again);
  assert.equal(uids[0], 'BEFORE');
  assert.ok(!uids.includes('CUT'));
  assert.ok(uids.includes('AFTER'), 'a member behind one that is damaged is not lost');
  writeFileSync(join(dir, '00000099-5.jsonl.gz'), 'no gzip at all');
  assert.ok((await uidsOf(make())).includes('BEFORE'));
});

test('where it cannot write it says so, counts, and goes on when it can', async (t) => {
  const { make, say, dir } = bench(t);
  mkdirSync(join(dir, '..'), { recursive: true });
  const recorder = make();
  say('A', T0);
  rmSync(dir, { recursive: true });
  writeFileSync(dir, 'a file in its place');
  await recorder.flush();
  assert.equal(recorder.warnings[0]?.code, 'recorder_failed');
  assert.equal(recorder.status().missed, 1);
  rmSync(dir);
  mkdirSync(dir);
  say('B', T0);
  await recorder.flush();
  assert.deepEqual(recorder.warnings, []);
  assert.deepEqual(await uidsOf(recorder), ['B']);
});

test('a flood that the disk does not keep up with is left out, and memory stays bounded', async (t) => {
  const { make, say } = bench(t);
  const recorder = make();
  for (let n = 0; n < 10_000; n++) say(`U-${n}`, T0, `<remarks>${'x'.repeat(1_000)}</remarks>`);
  const { events, missed } = recorder.status();
  assert.equal(events + missed, 10_000);
  assert.ok(events * 1_500 < 6 * MIB && missed > 5_000, `${events} kept, ${missed} left out`);
  await recorder.flush();
  say('NEXT', T0);
  assert.ok((await uidsOf(recorder)).includes('NEXT'));
});
