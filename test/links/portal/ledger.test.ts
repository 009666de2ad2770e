// Numbers across connections: nothing that arrived is sent again, nothing that did not is lost.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Envelope } from '../../../src/core/message.ts';
import { ProtocolError } from '../../../src/lib/errors.ts';
import { Ledger } from '../../../src/links/portal/ledger.ts';
import { sampleEvent } from '../contract.ts';

const fails = (code: string) => (error: unknown) => error instanceof ProtocolError && error.code === code;

/** Sends so many; returns them. */
function send(ledger: Ledger, count: number): Envelope[] {
  return Array.from({ length: count }, (_, n) => {
    const envelope = sampleEvent(`U-${n}`);
    ledger.sent(envelope, 100, n);
    return envelope;
  });
}

test('records are numbered from 1; an acknowledgement settles all up to its number', () => {
  const ledger = new Ledger();
  assert.equal(ledger.nextId, 1);
  const sent = send(ledger, 5);
  assert.deepEqual([ledger.nextId, ledger.unacknowledged, ledger.waitingSinceMs], [6, 5, 0]);
  assert.deepEqual(ledger.acknowledged(3), { bytes: 300, sentMs: 2, envelopes: sent.slice(0, 3) });
  assert.deepEqual([ledger.unacknowledged, ledger.waitingSinceMs], [2, 3]);
  assert.equal(ledger.acknowledged(3), undefined);
  assert.equal(ledger.acknowledged(0), undefined);
  assert.deepEqual(ledger.acknowledged(5), { bytes: 200, sentMs: 4, envelopes: sent.slice(3) });
  assert.equal(ledger.waitingSinceMs, undefined);
  assert.throws(() => ledger.acknowledged(6), fails('ack_ahead'));
});

test('what was in doubt and had arrived is not sent again; the rest is, under numbers without a gap', () => {
  const ledger = new Ledger();
  const sent = send(ledger, 5);
  ledger.acknowledged(1);
  assert.deepEqual(ledger.suspend(), sent.slice(1), 'in order');
  ledger.resume(3, true);
  assert.deepEqual(
    sent.map((envelope) => ledger.hasArrived(envelope)),
    [true, true, true, false, false],
  );
  assert.equal(ledger.nextId, 4);
  for (const envelope of sent.slice(3)) ledger.sent(envelope, 100, 9);
  assert.deepEqual(ledger.acknowledged(5)?.envelopes, sent.slice(3));
});

test('however sending and acknowledging take turns, each record is settled once, in order; pieces count by their bytes alone', () => {
  const ledger = new Ledger();
  const sent: Envelope[] = [];
  const settled: Envelope[] = [];
  let bytes = 0;
  for (let turn = 1; turn <= 200; turn++) {
    sent.push(...send(ledger, turn % 7));
    ledger.sent(undefined, 1, turn);
    const done = ledger.acknowledged(Math.max(0, ledger.nextId - 1 - (turn % 5)));
    settled.push(...(done?.envelopes ?? []));
    bytes += done?.bytes ?? 0;
  }
  const left = ledger.unacknowledged;
  const inDoubt = ledger.suspend();
  assert.deepEqual([...settled, ...inDoubt], sent);
  assert.equal(bytes + 100 * inDoubt.length + (left - inDoubt.length), 100 * sent.length + 200);
  assert.equal(ledger.unacknowledged, 0);
  ledger.resume(ledger.nextId - 1, true);
  assert.ok(inDoubt.every((envelope) => ledger.hasArrived(envelope)));
});

test('a peer that no longer holds what it had is told again, but not what was in doubt and arrived', () => {
  const ledger = new Ledger();
  const sent = send(ledger, 3);
  ledger.acknowledged(2);
  ledger.suspend();
  ledger.resume(3, false);
  assert.deepEqual(
    sent.map((envelope) => ledger.hasArrived(envelope)),
    [false, false, true],
  );
});

test('a peer that knows nothing of our numbering starts it anew', () => {
  const ledger = new Ledger();
  const sent = send(ledger, 3);
  ledger.suspend();
  ledger.resume(0, false);
  assert.equal(ledger.nextId, 1);
  assert.ok(!sent.some((envelope) => ledger.hasArrived(envelope)));
});

test('connections that end before they resume keep what was in doubt before them', () => {
  const ledger = new Ledger();
  const sent = send(ledger, 2);
  assert.equal(ledger.suspend().length, 2);
  assert.deepEqual(ledger.suspend(), []);
  ledger.resume(1, true);
  assert.deepEqual(
    sent.map((envelope) => ledger.hasArrived(envelope)),
    [true, false],
  );
  assert.throws(() => ledger.resume(9, true), fails('ack_ahead'));
});

test('what comes in is numbered without gaps, per epoch of the sender', () => {
  const ledger = new Ledger();
  ledger.receiveFrom(77);
  ledger.take(1);
  ledger.take(2);
  assert.throws(() => ledger.take(2), fails('record_gap'));
  assert.throws(() => ledger.take(4), fails('record_gap'));
  assert.deepEqual([ledger.theirEpoch, ledger.received, ledger.taken], [77, 0, 2]);
  ledger.settled(2);
  ledger.settled(1);
  assert.deepEqual([ledger.received, ledger.receivedOf(77), ledger.receivedOf(78)], [2, 2, 0]);
  ledger.take(3);
  ledger.receiveFrom(77);
  ledger.take(3); // was not safe: it comes again
  ledger.receiveFrom(78);
  assert.equal(ledger.received, 0);
  ledger.take(1);
});

test('epochs differ and are never 0', () => {
  const epochs = Array.from({ length: 20 }, () => new Ledger().epoch);
  assert.equal(new Set(epochs).size, 20);
  assert.ok(epochs.every((epoch) => epoch > 0 && Number.isSafeInteger(epoch)));
});
