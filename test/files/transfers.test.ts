// What is told of files on their way: how far, how fast, how many.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MAX_TRANSFERS, type TransferOf, Transfers } from '../../src/files/transfers.ts';
import { ManualClock } from '../../src/lib/clock.ts';

const photo = (more: Partial<TransferOf> = {}): TransferOf => ({
  ...{ hash: 'ab'.repeat(32), name: 'photo.jpg', direction: 'in', peer: 'hub', size: 100_000, ...more },
});

test('how far and how fast: bytes of the last ten seconds, whatever was there before', () => {
  const clock = new ManualClock();
  const transfers = new Transfers(clock);
  const transfer = transfers.begin(photo());
  transfer.startAt(40_000);
  for (let second = 0; second < 20; second++) {
    transfer.moved(second < 10 ? 100 : 1_000);
    clock.advance(1_000);
  }
  const [told] = transfers.statuses();
  assert.deepEqual([told!.got, told!.size, told!.state], [51_000, 100_000, 'moving']);
  assert.ok(told!.rate >= 900 && told!.rate <= 1_000, String(told!.rate));
  clock.advance(11_000);
  assert.equal(transfers.statuses()[0]!.rate, 0, 'nothing moves any more');
  transfer.become('whole');
  assert.deepEqual(transfers.totals.in, { whole: 1, failed: 0, bytes: 11_000 });
});

test('one that is asked for in pieces is one transfer; a quiet one waits, one that ended begins anew', () => {
  const clock = new ManualClock();
  const transfers = new Transfers(clock);
  const out = photo({ direction: 'out' });
  const first = transfers.going(out);
  first.moved(10);
  assert.equal(transfers.going(out), first);
  assert.notEqual(transfers.going({ ...out, peer: 'another' }), first);
  clock.advance(61_000);
  assert.equal(transfers.statuses().find(({ got }) => got === 10)!.state, 'waiting');
  first.become('failed', 'gone');
  assert.notEqual(transfers.going(out), first);
});

test('the list is bounded, and those under way stay in it', () => {
  const transfers = new Transfers(new ManualClock());
  const going = transfers.begin(photo({ name: 'going' }));
  for (let n = 0; n < 3 * MAX_TRANSFERS; n++) transfers.begin(photo({ name: String(n) })).become('failed', 'no');
  const told = transfers.statuses();
  assert.equal(told.length, MAX_TRANSFERS);
  assert.equal(told.at(-1)!.name, 'going');
  assert.equal(transfers.totals.in.failed, 3 * MAX_TRANSFERS);
  going.become('whole');
  going.become('failed', 'too late');
  assert.equal(transfers.totals.in.whole, 1, 'what ended has ended');
});
