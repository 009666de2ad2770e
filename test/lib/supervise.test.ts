import assert from 'node:assert/strict';
import { test } from 'node:test';
import { aborted } from '../../src/lib/abort.ts';
import { ManualClock, systemClock } from '../../src/lib/clock.ts';
import { FatalError, LinkError } from '../../src/lib/errors.ts';
import { silentLog } from '../../src/lib/log.ts';
import { supervise } from '../../src/lib/supervise.ts';
import { TokenBucket } from '../../src/lib/token-bucket.ts';

const backoff = { firstMs: 1, maxMs: 4, random: () => 1 };

test('what fails or ends is run again after growing pauses, until told to stop', async () => {
  const stop = new AbortController();
  const told: [string, number][] = [];
  let runs = 0;
  await supervise(
    async (signal) => {
      runs++;
      if (runs === 1) throw new Error('one');
      if (runs === 2) return;
      if (runs === 3) throw 'three';
      if (runs === 4) throw new LinkError('busy', 'four', '', { retryAfterMs: 9 });
      stop.abort();
      await aborted(signal);
      throw new Error('on its way out');
    },
    {
      signal: stop.signal,
      clock: systemClock,
      log: silentLog,
      backoff,
      onFailure: (e, ms) => told.push([e.message, ms]),
    },
  );
  assert.deepEqual(told, [
    ['one', 1],
    ['the connection ended', 2],
    ['three', 4],
    ['four', 9],
  ]);
});

test('a run that lasted clears the back-off; what never will work ends it', async () => {
  const clock = new ManualClock();
  const pauses: number[] = [];
  let runs = 0;
  const running = supervise(
    async () => {
      runs++;
      if (runs === 3) clock.advance(60_000);
      if (runs === 5) throw new FatalError('bad_key', 'no key', 'put it there');
      throw new Error('again');
    },
    { signal: new AbortController().signal, clock, log: silentLog, backoff, onFailure: (_, ms) => pauses.push(ms) },
  );
  await assert.rejects(running, { code: 'bad_key' });
  assert.deepEqual(pauses, [1, 2, 1, 2]);
});

test('told to stop before it begins, or while it waits, nothing more is run', async () => {
  const stop = new AbortController();
  let runs = 0;
  const options = {
    signal: stop.signal,
    clock: systemClock,
    log: silentLog,
    backoff: { firstMs: 1e6, maxMs: 1e6, random: () => 1 },
  };
  const fails = async () => {
    runs++;
    throw new Error('no');
  };
  const waiting = supervise(fails, options);
  setImmediate(() => stop.abort());
  await waiting;
  await supervise(fails, options);
  assert.equal(runs, 1);
});

test('a bucket gives what it has saved up, goes into debt and says for how long', () => {
  const clock = new ManualClock();
  const bucket = new TokenBucket(1000, 500, () => clock.nowMs());
  assert.equal(bucket.take(500), 0);
  assert.equal(bucket.take(250), 250);
  assert.equal(bucket.tryTake(1), false);
  clock.advance(251);
  assert.equal(bucket.tryTake(1), true);
  clock.advance(1e9);
  assert.equal(bucket.tryTake(501), false, 'no more than the burst is saved');
  assert.equal(bucket.tryTake(500), true);
});
