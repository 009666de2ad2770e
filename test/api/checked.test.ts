// What a request is told that has a wrong value: words from which the right one can be found.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checked } from '../../src/api/checked.ts';
import { Refusal } from '../../src/api/refusal.ts';
import { presets } from '../../src/onboarding/presets.ts';

function wrong(value: object): string {
  try {
    checked(presets, value, 'the body');
  } catch (error) {
    if (error instanceof Refusal) return error.message;
    throw error;
  }
  assert.fail('it was accepted');
}

test('a value that is in none of several lists is answered with all that are', () => {
  assert.match(wrong({ team: 'Purple-ish' }), /^the body: team: expected one of nothing, White, .*Purple/);
  assert.match(wrong({ role: 'Boss' }), /role: expected one of nothing, Team Member, .*Medic/);
  assert.match(wrong({ callsign: '\n' }), /callsign: expected /);
});
