import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LinkBudget, PROFILE_BUDGETS } from '../../src/core/budget.ts';
import { ManualClock } from '../../src/lib/clock.ts';
import { keepUsage, usageOf } from '../../src/store/usage.ts';

function memory(text?: string) {
  const kept = new Map<string, string>(text === undefined ? [] : [['usage/sat', text]]);
  const sets: string[] = [];
  return {
    sets,
    get: (key: string) => kept.get(key),
    set: (key: string, value: string | undefined) => {
      sets.push(key);
      if (value !== undefined) kept.set(key, value);
    },
  };
}

test('what was spent is there after a restart', () => {
  const clock = new ManualClock();
  const store = memory();
  const budget = new LinkBudget(PROFILE_BUDGETS.satcom, clock);
  budget.spend(12_345);
  const free = new LinkBudget(PROFILE_BUDGETS.lan, clock);
  const budgets = new Map([
    ['sat', budget],
    ['lan', free],
  ]);
  keepUsage(store, budgets, 'underway');
  keepUsage(store, budgets, 'last');
  assert.deepEqual(store.sets, ['usage/sat'], 'written when it changed, and only where there is a budget');
  const next = new LinkBudget(PROFILE_BUDGETS.satcom, clock);
  next.restore(usageOf(store, 'sat')!);
  assert.equal(next.usage.bytes, 12_345);
});

test('keepalives alone do not wear the card: noted by the percent, and to the byte at the end', () => {
  const clock = new ManualClock();
  const store = memory();
  const budget = new LinkBudget({ ...PROFILE_BUDGETS.satcom, perDayBytes: 1_000_000 }, clock);
  const budgets = new Map([['sat', budget]]);
  for (let minutes = 0; minutes < 1_440; minutes++) {
    budget.spend(120);
    keepUsage(store, budgets, 'underway');
  }
  assert.equal(usageOf(store, 'sat')!.bytes > 172_800 - 10_000, true, 'a power cut gives back one percent at most');
  assert.ok(store.sets.length <= 18, `${store.sets.length} times`);
  keepUsage(store, budgets, 'last');
  assert.equal(usageOf(store, 'sat')!.bytes, 172_800);
});

test('what is kept and makes no sense is as nothing', () => {
  for (const text of ['', 'x', '1', '1 -5', '1 NaN', '1e400 7', '20454 1.5'])
    assert.equal(usageOf(memory(text), 'sat'), undefined);
});
