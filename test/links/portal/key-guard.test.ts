// The federation key: answers, guesses, challenges sent back.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { ManualClock } from '../../../src/lib/clock.ts';
import { KeyGuard } from '../../../src/links/portal/key-guard.ts';
import { SHUT_OUT_MS, WRONG_KEYS } from '../../../src/links/portal/limits.ts';

const KEY = Buffer.from('correct horse battery staple');

function rig() {
  const clock = new ManualClock();
  return { clock, guard: new KeyGuard(KEY, clock) };
}

test('the answer is SHA-256 of challenge and key, as documented', () => {
  const { guard } = rig();
  const nonce = Buffer.alloc(32, 7);
  const answer = createHash('sha256')
    .update(Buffer.concat([nonce, KEY]))
    .digest();
  assert.deepEqual(guard.answer(nonce), answer);
  assert.ok(guard.accepts(nonce, answer, 'x'));
  assert.ok(!guard.accepts(Buffer.alloc(32, 8), answer, 'x'), 'an answer to another challenge');
  for (const wrong of [Buffer.alloc(32), Buffer.alloc(0), answer.subarray(1), Buffer.concat([answer, answer])]) {
    assert.ok(!guard.accepts(nonce, wrong, 'y'));
  }
});

test('no challenge is made twice, and none of our own is answered', () => {
  const { guard } = rig();
  const nonces = Array.from({ length: 50 }, () => guard.challenge());
  assert.equal(new Set(nonces.map((nonce) => nonce.toString('hex'))).size, 50);
  for (const nonce of nonces) {
    assert.equal(nonce.length, 32);
    assert.equal(guard.answer(nonce), undefined);
  }
});

test('three wrong keys within a minute shut that address out for a minute, and no other', () => {
  const { clock, guard } = rig();
  const guess = (from: string) => guard.accepts(guard.challenge(), Buffer.alloc(32), from);
  for (let n = 1; n < WRONG_KEYS; n++) guess('10.0.0.1');
  assert.ok(!guard.shutOut('10.0.0.1'));
  clock.advance(61_000);
  guess('10.0.0.1');
  assert.ok(!guard.shutOut('10.0.0.1'), 'guesses of a minute ago do not count');
  for (let n = 1; n < WRONG_KEYS; n++) guess('10.0.0.1');
  assert.ok(guard.shutOut('10.0.0.1'));
  assert.ok(!guard.shutOut('10.0.0.2'));
  clock.advance(SHUT_OUT_MS);
  assert.ok(!guard.shutOut('10.0.0.1'));
});

test('guesses from very many addresses are counted in bounded memory, the latest ones', () => {
  const { guard } = rig();
  for (let n = 0; n < 5_000; n++) guard.accepts(guard.challenge(), Buffer.alloc(32), `10.1.${n >> 8}.${n & 255}`);
  for (let n = 0; n < WRONG_KEYS; n++) guard.accepts(guard.challenge(), Buffer.alloc(32), 'last');
  assert.ok(guard.shutOut('last'));
});
