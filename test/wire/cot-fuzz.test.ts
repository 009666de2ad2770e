// A short run of the fuzzer with a fixed seed; `node test/fuzz/cot.ts` runs for as long as one likes.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fuzz } from '../fuzz/cot.ts';

test('broken events: two readers agree, nothing but ProtocolError is thrown, conversions keep what was said', () => {
  const { cases, acceptedXml, acceptedTak } = fuzz(1, (done) => done < 2000);
  assert.equal(cases, 2000);
  // Mutations that all end in a refusal would test little.
  assert.ok(acceptedXml > 200, `${acceptedXml} accepted as XML`);
  assert.ok(acceptedTak > 200, `${acceptedTak} accepted as TAK`);
});
