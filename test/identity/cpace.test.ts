// CPace against the vectors of draft-irtf-cfrg-cpace-21, appendix B.1: every intermediate value, and the shares that are none.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Cpace, cpaceGenerator, lengthAndValue } from '../../src/identity/cpace.ts';

const hex = (text: string) => Buffer.from(text, 'hex');
const PASSWORD = Buffer.from('Password');
const CHANNEL = hex('6f630b425f726573706f6e6465720b415f696e69746961746f72');
const SESSION = hex('7e4b4791d6a8ef019b936c79fb7f2c57');
const INPUTS = { password: PASSWORD, channel: CHANNEL, session: SESSION };
const YA = hex('21b4f4bd9e64ed355c3eb676a28ebedaf6d8f17bdc365995b319097153044080');
const YB = hex('848b0779ff415f0af4ea14df9dd1d3c29ac41d836c7808896c4eba19c51ac40a');

test('lengths before values', () => {
  assert.equal(
    lengthAndValue(Buffer.from('1234'), Buffer.from('5'), Buffer.alloc(0), Buffer.from('6789')).toString('hex'),
    '04313233340135000436373839',
  );
  assert.equal(lengthAndValue(Buffer.alloc(128, 7)).subarray(0, 3).toString('hex'), '800107');
});

test('the generator of the draft', () => {
  const generator = cpaceGenerator(PASSWORD, CHANNEL, SESSION).toString('hex');
  assert.equal(generator, '64e8099e3ea682cfdc5cb665c057ebb514d06bf23ebc9f743b51b82242327074');
});

test('the shares of the draft', () => {
  assert.equal(
    new Cpace(INPUTS, YA).share.toString('hex'),
    '1b02dad6dbd29a07b6d28c9e04cb2f184f0734350e32bb7e62ff9dbcfdb63d15',
  );
  assert.equal(
    new Cpace(INPUTS, YB).share.toString('hex'),
    '20cda5955f82c4931545bcbf40758ce1010d7db4db2a907013d79c7a8fcf957f',
  );
});

test('the key of the draft', () => {
  const [a, b] = [new Cpace(INPUTS, YA), new Cpace(INPUTS, YB)];
  const data = { initiator: Buffer.from('ADa'), responder: Buffer.from('ADb') };
  const key = a.key('initiator', b.share, data)?.toString('hex');
  assert.equal(
    key,
    'a051ee5ee2499d16da3f69f430218b8ea94a18a45b67f9e86495b382c33d14a5c38cecc0cc834f960e39e0d1bf7d76b9ef5d54eecc5e0f386c97ad12da8c3d5f',
  );
  assert.equal(b.key('responder', a.share, data)?.toString('hex'), key);
});

test('one code, one channel, one session: one key; anything else: another', () => {
  const a = new Cpace(INPUTS);
  const keyWith = (more: Partial<typeof INPUTS>) => {
    const b = new Cpace({ ...INPUTS, ...more });
    return a.key('initiator', b.share)?.equals(b.key('responder', a.share)!);
  };
  assert.equal(keyWith({}), true);
  assert.equal(keyWith({ password: Buffer.from('Passwort') }), false);
  assert.equal(keyWith({ channel: Buffer.from('another') }), false);
  assert.equal(keyWith({ session: Buffer.from('another') }), false);
});

test('shares of low order end the run', () => {
  const a = new Cpace(INPUTS);
  for (const share of [
    '0000000000000000000000000000000000000000000000000000000000000000',
    '0100000000000000000000000000000000000000000000000000000000000000',
    'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
    'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
    '5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157',
    'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
    'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
    '',
    '00',
  ]) {
    assert.equal(a.key('initiator', hex(share)), undefined, share);
  }
});
