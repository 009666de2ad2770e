// Federation messages, bent and broken: whatever comes in, only ProtocolError may come out, and what is let through must
// be sayable on every wire. A longer run than the test suite's: node test/fuzz/federation.ts --seconds 60 --seed 7
import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { CotEvent } from '../../src/core/message.ts';
import { ProtocolError } from '../../src/lib/errors.ts';
import { scanCot } from '../../src/wire/cot.ts';
import {
  forwardFederated,
  scanFederated,
  scanGroupHopLimits,
  scanGroups,
  scanHealth,
  scanRol,
  scanSubscription,
} from '../../src/wire/federation.ts';
import { plainFederated, shiftFederated } from '../../src/wire/federation-plain.ts';
import { federatedFromXml, xmlFromFederated } from '../../src/wire/federation-xml.ts';
import { messageOfRol, resourceOf, rolFromOffer, withSenderUrl, xmlFromRol } from '../../src/wire/package.ts';
import { ProtoWriter } from '../../src/wire/proto.ts';
import { takFromXml } from '../../src/wire/tak.ts';
import { trackOf } from '../../src/wire/track.ts';
import { CORPUS } from '../fixtures/events.ts';
import { CONTACT, EVENT, GROUPS, ROL, SUBSCRIPTION } from '../wire/federation-golden.ts';

const NOW = Date.UTC(2026, 0, 1, 12, 0, 0, 123);
/** By which times are moved. */
const ZONE_MS = -5 * 3_600_000;
const SELF = { id: 'relay-1', name: 'Relay' };
const STAMP = { groups: ['Blue'], self: SELF, hops: { max: -1, current: 1 } };
/** The most servers a message may have passed; forwarding adds one. */
const MAX_PROVENANCE = 64;

/** What breaks XML that is pasted together, and protobuf that trusts its lengths. */
const SPLICES: readonly Buffer[] = [
  ...[
    '</detail>',
    '</event>',
    '<event>',
    '<event/>',
    '<detail>',
    '<!--',
    '-->',
    '<![CDATA[',
    ']]>',
    '<!DOCTYPE x>',
    '<?x?>',
    '&lt;',
    '&#0;',
    '&x;',
    '"',
    "'",
    '<marti><dest uid="Z"/></marti>',
    '<track speed="1" course="2"/>',
    '<image>QUJD</image>',
    '\0',
    '\ufffe',
    'ü',
  ].map((text) => Buffer.from(text)),
  ...['ff', 'c0af', 'ffffffffffffffffff01', '80808080808080808080', '0b', '0c', '2a00', '0a7f', '620a', '8001'].map(
    hex,
  ),
];

function hex(text: string): Buffer {
  return Buffer.from(text, 'hex');
}

type Random = (below: number) => number;

/** mulberry32 */
function seeded(seed: number): Random {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

function startingPoints(): Buffer[] {
  const events = CORPUS.map(({ xml }) => xml(NOW)).map((xml) => federatedFromXml(xml, scanCot(xml)));
  const whole = events.map((event) => forwardFederated(event, STAMP));
  const offers = CORPUS.map(({ xml }) => xml(NOW)).flatMap((xml) => rolFromOffer(xml, scanCot(xml)) ?? []);
  const golden = [EVENT, CONTACT, GROUPS, ROL, SUBSCRIPTION].map(({ bytes }) => bytes);
  return [...golden, ...events, ...whole, ...offers, ...offers.map(plainOffer), ...offers.map(withFile)];
}

/** As TAK Server says it: without the event beside the addressees. */
function plainOffer(rol: Buffer): Buffer {
  const writer = new ProtoWriter();
  const program = rol.toString('utf8', rol.indexOf('announce'));
  writer.string(
    1,
    program.replace(/"senderUid":"(?:[^"\\]|\\.)*"/, '"senderUid":"{\\"callsigns\\":[\\"B\\"],\\"uids\\":[]}"'),
  );
  return writer.finish();
}

function withFile(rol: Buffer): Buffer {
  return Buffer.concat([Buffer.from(rol.toString('latin1').replace('announce', 'disperse'), 'latin1'), FILE]);
}

/** ROL.payload */
const FILE = hex('12061204' + '61626364');

/** What is said of files, whatever was said; and what was understood can be said again. */
function checkRol(bytes: Buffer, summary: string): void {
  resourceOf(bytes, summary);
  const message = messageOfRol(bytes, summary);
  if (message.kind !== 'event') return;
  const xml = xmlFromRol(bytes);
  assert.deepEqual(said(scanCot(xml)), said(message.event));
  takFromXml(xml, message.event);
  federatedFromXml(xml, message.event);
  rolFromOffer(xml, message.event);
  const moved = withSenderUrl(xml, 'http://192.0.2.1/?a=1&b="2"');
  if (moved) assert.equal(scanCot(moved).uid, message.event.uid);
}

function bend(bytes: Buffer, random: Random, others: readonly Buffer[]): Buffer {
  const at = random(bytes.length + 1);
  const to = Math.min(bytes.length, at + random(12));
  const copy = Buffer.from(bytes);
  switch (random(8)) {
    case 0:
      if (at < copy.length) copy[at]! ^= 1 << random(8);
      return copy;
    case 1:
      if (at < copy.length) copy[at] = random(256);
      return copy;
    case 2:
      return copy.subarray(0, at);
    case 3:
      return Buffer.concat([copy.subarray(0, at), copy.subarray(to)]);
    case 4:
      return Buffer.concat([copy.subarray(0, to), copy.subarray(at)]);
    case 5:
      return Buffer.concat([copy, others[random(others.length)]!]);
    case 6: {
      // Over bytes of the same number, so that lengths stay right and the pieces get further in.
      const splice = SPLICES[random(SPLICES.length)]!;
      splice.copy(copy, Math.min(at, Math.max(0, copy.length - splice.length)));
      return copy;
    }
    default:
      return Buffer.concat([copy.subarray(0, at), SPLICES[random(SPLICES.length)]!, copy.subarray(at)]);
  }
}

/** The result, or undefined when the input was refused in the way it should be. */
function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof ProtocolError) return undefined;
    throw error;
  }
}

/** Everything but coordinates, which may lose digits far behind the decimal point, and the feed, which XML cannot say. */
function said(event: CotEvent): unknown {
  const { lat, lon, hae, ce, le, destUids, destCallsigns, destMissions, feedUid: _, ...rest } = event;
  return { ...rest, dests: [new Set(destUids), new Set(destCallsigns), new Set(destMissions)] };
}

function checkEvent(bytes: Buffer, event: CotEvent): void {
  trackOf({ message: { kind: 'event', event }, wire: { format: 'fed', bytes } });
  const xml = xmlFromFederated(bytes, event);
  const again = scanCot(xml);
  assert.deepEqual(said(again), said(event));
  for (const place of ['lat', 'lon', 'hae', 'ce', 'le'] as const) {
    assert.ok(Math.abs(again[place] - event[place]) < 1e-9, place);
  }
  takFromXml(xml, again);
  const back = scanFederated(federatedFromXml(xml, again)).event;
  if (event.type === 't-x-d-d') return;
  assert.deepEqual(said(back!), said(event));
  assert.deepEqual(said(scanFederated(plainFederated(xml, again)).event!), said(event));
  const moved = attempt(() => scanFederated(shiftFederated(bytes, ZONE_MS)).event!);
  const back0 = moved && { ...moved, timeMs: event.timeMs, startMs: event.startMs, staleMs: event.staleMs };
  if (moved) assert.equal(moved.timeMs, event.timeMs + ZONE_MS);
  if (back0) assert.deepEqual(back0, event);
}

function checkOne(bytes: Buffer): boolean {
  for (const scan of [scanGroups, scanSubscription, scanHealth, scanGroupHopLimits]) attempt(() => scan(bytes));
  const rol = attempt(() => scanRol(bytes));
  if (rol && (rol.provenance?.length ?? 0) < MAX_PROVENANCE) {
    assert.equal(scanRol(forwardFederated(bytes, STAMP)).summary, rol.summary);
  }
  if (rol) checkRol(bytes, rol.summary);
  attempt(() => forwardFederated(bytes, STAMP));
  const scan = attempt(() => scanFederated(bytes));
  if (!scan) return false;
  if (scan.event) checkEvent(scan.eventBytes, scan.event);
  if (scan.contact) assert.deepEqual(scanFederated(scan.contact.bytes).contact?.contact, scan.contact.contact);
  if ((scan.provenance?.length ?? 0) < MAX_PROVENANCE) {
    const relayed = scanFederated(forwardFederated(bytes, STAMP));
    assert.deepEqual(relayed.event, scan.event);
    assert.deepEqual(relayed.provenance?.at(-1), SELF);
  }
  return true;
}

export interface FuzzResult {
  readonly rounds: number;
  /** Inputs that were let through. */
  readonly accepted: number;
}

/** Goes on until `enough` says so. Throws with seed and input when something is wrong. */
export function fuzzFederation(seed: number, enough: (rounds: number) => boolean): FuzzResult {
  const random = seeded(seed);
  const points = startingPoints();
  let accepted = 0;
  let rounds = 0;
  for (; !enough(rounds); rounds++) {
    let bytes = points[random(points.length)]!;
    for (let bends = 1 + random(4); bends > 0; bends--) bytes = bend(bytes, random, points);
    try {
      if (checkOne(bytes)) accepted++;
    } catch (error) {
      throw new Error(`seed ${seed}, round ${rounds}, input ${bytes.toString('hex')}`, { cause: error });
    }
  }
  return { rounds, accepted };
}

function main(): void {
  const { values } = parseArgs({
    options: { seconds: { type: 'string', default: '60' }, seed: { type: 'string', default: '1' } },
  });
  const end = performance.now() + Number(values.seconds) * 1000;
  const { rounds, accepted } = fuzzFederation(
    Number(values.seed),
    (done) => done % 256 === 0 && performance.now() > end,
  );
  process.stdout.write(`seed ${values.seed}: ${rounds} inputs, ${accepted} accepted, none against the rules\n`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main();
