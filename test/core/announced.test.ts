import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Announced } from '../../src/core/announced.ts';

let seq = 0;
const contact = (uid: string, callsign = uid.toUpperCase()) => ({ uid, callsign });

test('each connection knows what it was told, by the name it was told', () => {
  const announced = new Announced();
  const [one, two] = [announced.begin(), announced.begin()];
  for (let n = 0; n < 100; n++) one.add(contact(`u${n}`), ++seq);
  two.add(contact('u70'), ++seq);
  assert.deepEqual(
    [one.knows(contact('u70')), two.knows(contact('u70')), two.knows(contact('u71'))],
    [true, true, false],
  );
  assert.deepEqual([one.has('u71'), two.has('u71'), two.has('nobody')], [true, false, false]);
  one.delete('u70');
  one.delete('nobody');
  assert.deepEqual([one.has('u70'), one.knows(contact('u70')), two.knows(contact('u70'))], [false, false, true]);
});

test('who was told by an earlier name is to be told the new one, and knows all the same that the contact is there', () => {
  const announced = new Announced();
  const [one, two] = [announced.begin(), announced.begin()];
  for (const told of [one, two]) told.add(contact('u', 'OLD'), ++seq);
  assert.equal(two.knows(contact('u', 'NEW')), false);
  one.add(contact('u', 'NEW'), ++seq);
  assert.deepEqual([one.knows(contact('u', 'NEW')), one.knows(contact('u', 'OLD'))], [true, false]);
  assert.deepEqual([two.knows(contact('u', 'NEW')), two.has('u')], [false, true]);
  two.add(contact('u', 'NEW'), ++seq);
  assert.equal(two.knows(contact('u', 'NEW')), true);
});

test('a word that waited does not bring back the name that was', () => {
  const announced = new Announced();
  const [one, two] = [announced.begin(), announced.begin()];
  one.add(contact('u', 'NEW'), 7);
  two.add(contact('u', 'OLD'), 5);
  assert.deepEqual([one.knows(contact('u', 'NEW')), two.knows(contact('u', 'NEW')), two.has('u')], [true, false, true]);
  one.add(contact('u', 'OLD'), 5);
  assert.equal(one.knows(contact('u', 'NEW')), false, 'it shows the old one now');
});

test('of too many the one announced first is forgotten by all; a connection that ended counts no more', () => {
  const announced = new Announced(3);
  const [one, two] = [announced.begin(), announced.begin()];
  for (const uid of ['a', 'b', 'c']) for (const told of [one, two]) told.add(contact(uid), ++seq);
  one.add(contact('d'), ++seq);
  assert.deepEqual(
    ['a', 'b', 'c', 'd'].map((uid) => [one.has(uid), two.has(uid)]),
    [
      [false, false],
      [true, true],
      [true, true],
      [true, false],
    ],
  );
  two.end();
  one.add(contact('e'), ++seq);
  assert.deepEqual([one.has('b'), one.has('e'), announced.begin().has('e')], [false, true, false]);
});
