// A few kills at random moments of provisioning and updating; `node test/appliance/cuts.ts 2000` for more.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cuts } from './cuts.ts';

test('killed at random moments, the box is always one that starts', async () => {
  const { killed, states } = await cuts(4);
  assert.equal(killed, 4);
  assert.ok(Object.keys(states).every((state) => ['writing', 'trial', 'kept', 'returned', 'failed'].includes(state)));
});
