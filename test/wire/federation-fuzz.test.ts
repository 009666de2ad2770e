import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fuzzFederation } from '../fuzz/federation.ts';

const ROUNDS = 6000;

test('bent federation messages raise nothing but ProtocolError, and what passes can be said on every wire', () => {
  const { rounds, accepted } = fuzzFederation(20_261_121, (done) => done === ROUNDS);
  assert.equal(rounds, ROUNDS);
  // Were all refused, or none, the inputs would prove little.
  assert.ok(accepted > ROUNDS / 20 && accepted < ROUNDS - ROUNDS / 20, `${accepted} of ${rounds} accepted`);
});
