// Packed records and pieces between two relays, through sessions and lines that break: what comes out is what went in, once and in order.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import type { Envelope } from '../../../src/core/message.ts';
import { paceOf } from '../../../src/core/pace.ts';
import { laneOf } from '../../../src/core/policy.ts';
import { scanCot } from '../../../src/wire/cot.ts';
import { atakSa, emergency, geoChat, plainEvent } from '../../fixtures/events.ts';
import { Island } from '../../support/island.ts';
import { sampleEvent } from '../contract.ts';
import { until } from '../memory.ts';
import { addressOf, hurry, LISTEN, Line, peer, relay, send } from './rig.ts';

function envelopes(count: number): Envelope[] {
  const made: Envelope[] = [];
  for (const { xml } of new Island({ seed: 4, units: 12, wallMs: Date.now(), chatEveryMs: 30_000 }).events()) {
    const message = { kind: 'event', event: scanCot(xml) } as const;
    const wire = { format: 'xml', bytes: xml } as const;
    if (made.push({ ...sampleEvent('x'), message, wire, lane: laneOf(message), encodings: undefined }) === count) break;
  }
  return made;
}

test('packed: every byte, in a tenth of the bytes, also after the line broke', async (t) => {
  hurry(t);
  const b = relay(t, 'b', { listen: LISTEN, peers: [peer('a')] });
  const line = await Line.open(t, await b.port());
  const a = relay(t, 'a', { peers: [peer('b', { address: await addressOf(line), compress: 'on' })] });
  for (let session = 0; session < 2; session++) {
    const near = await a.hub.session(session);
    const far = await b.hub.session(session);
    await until('the peer to take records', () => near.session.acknowledges);
    line.reset();
    const sent = envelopes(600);
    for (const envelope of sent) await send(near, envelope);
    await until('all of them', () => far.delivered.length >= sent.length);
    for (const [index, { wire }] of sent.entries()) {
      const text = wire!.bytes.toString();
      // The declaration is not part of the event, packed or not.
      assert.equal(String(far.delivered[index]!.wire?.bytes), text.slice(text.indexOf('<event')));
    }
    const plain = sent.reduce((sum, { wire }) => sum + wire!.bytes.length, 0);
    assert.ok(line.up < plain / 5, `${line.up} of ${plain}`);
    line.cut();
  }
});

test('a file near the limit goes in pieces; events are not behind it; what was not finished comes back', async (t) => {
  hurry(t);
  const b = relay(t, 'b', { listen: LISTEN, peers: [peer('a')] });
  const line = await Line.open(t, await b.port());
  const a = relay(t, 'a', { peers: [peer('b', { address: await addressOf(line), compress: 'on' })] });
  const near = await a.hub.session();
  const far = await b.hub.session();
  // fig.proto BinaryBlob: field 1, a million bytes.
  const bytes = Buffer.concat([Buffer.from('0ac0843d', 'hex'), Buffer.alloc(1_000_000, 'blob ')]);
  const file: Envelope = {
    ...sampleEvent('x'),
    message: { kind: 'blob', summary: 'file' },
    wire: { format: 'blob', bytes },
    lane: 5,
    encodings: undefined,
  };
  line.bytesPerSecond = 2_000_000;
  await send(near, file);
  await send(near, sampleEvent('alert'));
  await far.event('alert');
  assert.ok(!far.delivered.some(({ message }) => message.kind === 'blob'), 'the event was not behind the file');
  await until('the file', () => far.delivered.some(({ message }) => message.kind === 'blob'));
  const got = far.delivered.find(({ message }) => message.kind === 'blob');
  assert.ok(got!.wire!.bytes.equals(bytes));
  await until('word that it arrived', () => near.arrived.includes(file));
  await send(near, { ...file, encodings: undefined });
  line.cut();
  await until('its end', () => near.closings.length > 0);
  assert.equal(near.closings[0]!.returned!.filter(({ message }) => message.kind === 'blob').length, 1);
});

const NOW = Date.now();

function envelopeOf(xml: Buffer, conflate = ''): Envelope {
  const message = { kind: 'event', event: scanCot(xml) } as const;
  const wire = { format: 'xml', bytes: xml } as const;
  return { ...sampleEvent('x'), message, wire, lane: laneOf(message), conflate, encodings: undefined };
}

test('a drawing on a thin line goes in pieces: alerts pass, positions take turns with it, chat and other words of it wait', async (t) => {
  hurry(t);
  const b = relay(t, 'b', { listen: LISTEN, peers: [peer('a')] });
  const a = relay(t, 'a', { peers: [peer('b', { address: await addressOf(b), compress: 'on' })] });
  const near = await a.hub.session();
  const far = await b.hub.session();
  await until('the peer to take records', () => near.session.acknowledges);
  near.pace = paceOf(2_400);
  const points = Array.from({ length: 60 }, (_, n) => createHash('sha256').update(String(n)).digest('hex'));
  const drawing = (size: number) =>
    envelopeOf(
      plainEvent(NOW + size, 'u-d-f', 'drawing', `<remarks>${points.slice(0, size).join(' ')}</remarks>`),
      'd',
    );
  const waits = [drawing(60), drawing(50), envelopeOf(geoChat(NOW))];
  const [alert, position] = [envelopeOf(emergency(NOW)), envelopeOf(atakSa(NOW))];
  await send(near, waits[0]!);
  assert.ok(near.session.send(alert, []), 'an alert passes at once');
  for (const envelope of [waits[1]!, waits[2]!]) assert.ok(!near.session.send(envelope, []), 'not before it has ended');
  // As the hub does: at once, when there is room.
  const queue = [position, ...waits.slice(1)];
  const pump = () => {
    while (queue[0] && near.session.send(queue[0], [])) queue.shift();
  };
  t.mock.method(near.port, 'writable', pump);
  pump();
  await until('all of them', () => far.delivered.length === 5);
  assert.deepEqual(
    far.delivered.map(({ wire }) => String(wire!.bytes)),
    [alert, position, ...waits].map(({ wire }) => String(wire!.bytes)),
  );
  await until('word that they arrived', () => near.arrived.length === 5);
});

test('not packed, a position goes as TAK protobuf where the line is thin, and has passed who sent it', async (t) => {
  hurry(t);
  const b = relay(t, 'b', { listen: LISTEN, peers: [peer('a')] });
  const line = await Line.open(t, await b.port());
  const a = relay(t, 'a', { peers: [peer('b', { address: await addressOf(line), compress: 'off' })] });
  const near = await a.hub.session();
  const far = await b.hub.session();
  await until('the peer to take records', () => near.session.acknowledges);
  const bytesFor = async (envelope: Envelope) => {
    line.reset();
    const before = far.delivered.length;
    await send(near, envelope);
    await until('it', () => far.delivered.length > before);
    return line.up;
  };
  const [wide, thin] = [atakSa(NOW), atakSa(NOW + 1)];
  const whole = await bytesFor({ ...envelopeOf(wide), provenance: [{ id: 'before', name: 'b' }] });
  near.pace = paceOf(2_400);
  const brief = await bytesFor({ ...envelopeOf(thin), provenance: [{ id: 'before', name: 'b' }] });
  assert.ok(brief < 0.6 * whole, `${brief} and ${whole}`);
  const [first, second] = far.delivered;
  assert.equal(String(first!.wire!.bytes), String(wide));
  assert.deepEqual(second!.provenance, first!.provenance);
  assert.equal(second!.provenance!.at(-1)!.id, 'ws-a');
  assert.equal(second!.wire!.format, 'tak');
  assert.deepEqual(second!.message, { kind: 'event', event: scanCot(thin) });
});
