import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Message, Wire } from '../../src/core/message.ts';
import { scanCot } from '../../src/wire/cot.ts';
import { federatedFromXml } from '../../src/wire/federation-xml.ts';
import { takFromXml } from '../../src/wire/tak.ts';
import { trackOf } from '../../src/wire/track.ts';

function eventWith(detail: string): Buffer {
  return Buffer.from(
    '<event version="2.0" uid="u" type="a-f-G" how="m-g" time="2026-11-20T14:03:21Z" start="2026-11-20T14:03:21Z" ' +
      `stale="2026-11-20T14:09:36Z"><point lat="1" lon="2" hae="3" ce="4" le="5"/><detail>${detail}</detail></event>`,
  );
}

/** By each format in which the event may come. */
function tracksIn(xml: Buffer) {
  const event = scanCot(xml);
  const message: Message = { kind: 'event', event };
  const wires: readonly Wire[] = [
    { format: 'xml', bytes: xml },
    { format: 'tak', bytes: takFromXml(xml, event) },
    { format: 'fed', bytes: federatedFromXml(xml, event) },
  ];
  return wires.map((wire) => trackOf({ message, wire }));
}

const same = <T>(value: T) => [value, value, value];

test('a track is found in every format', () => {
  const found = { course: 237.5, speed: 1.5 };
  for (const track of [
    '<track speed="1.5" course="237.5"/>',
    "<track course='237.5'\n speed = '1.5' slope='0'/>",
    '<contact callsign="A"/><track course="237.5" speed="1.5"></track><remarks>north</remarks>',
  ]) {
    assert.deepEqual(tracksIn(eventWith(track)), same(found), track);
  }
});

test('what is not said, or no number, is no track', () => {
  for (const track of [
    '',
    '<track/>',
    '<track speed="fast" course="1"/>',
    '<track speed="2" course="NaN"/>',
    '<remarks>x</remarks>',
  ]) {
    assert.deepEqual(tracksIn(eventWith(track)), same(undefined), track);
  }
});

test('only events have one', () => {
  const message: Message = { kind: 'mission', summary: '' };
  assert.equal(
    trackOf({ message, wire: { format: 'rol', bytes: eventWith('<track speed="1" course="2"/>') } }),
    undefined,
  );
  assert.equal(trackOf({ message: { kind: 'event', event: scanCot(eventWith('')) }, wire: undefined }), undefined);
});
