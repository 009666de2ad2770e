// PORTAL02 streams, bent and broken, packed records and pieces among them: whatever comes in, only ProtocolError may come out; what is
// let through must be sayable to the next relay, and mean the same there. A longer run than the test suite's: node test/fuzz/portal.ts --seconds 60 --seed 7
import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { Envelope, Inbound } from '../../src/core/message.ts';
import { laneOf } from '../../src/core/policy.ts';
import { ProtocolError } from '../../src/lib/errors.ts';
import { ChunksIn, ChunksOut, EVENTS, FILES, type Share } from '../../src/links/portal/chunks.ts';
import { MAX_EVENT_PIECES, MAX_UNIT_BYTES, MAX_UNPACKED } from '../../src/links/portal/limits.ts';
import { PackIn, PackOut } from '../../src/links/portal/packing.ts';
import { scanCot } from '../../src/wire/cot.ts';
import { federatedFromXml } from '../../src/wire/federation-xml.ts';
import { FRAME, type FrameType, PortalDeframer, portalFrame } from '../../src/wire/portal.ts';
import {
  pingBody,
  readPing,
  readRequest,
  readResponse,
  requestBody,
  responseBody,
} from '../../src/wire/portal-bodies.ts';
import { chunkField } from '../../src/wire/portal-pieces.ts';
import {
  ackedField,
  inboundOf,
  type PortalRecord,
  type Reading,
  recordField,
  recordOf,
  scanEvents,
} from '../../src/wire/portal-record.ts';
import { takFromXml } from '../../src/wire/tak.ts';
import { CORPUS } from '../fixtures/events.ts';
import { Island } from '../support/island.ts';
import { CONTACT, ROL } from '../wire/federation-golden.ts';

const NOW = Date.UTC(2026, 10, 20, 14, 3, 21, 123);
const MAX_BODY = 1 << 20;
const SELF = { id: 'ws-1', name: 'one' };
const NEXT = { id: 'ws-2', name: 'two' };

/** What breaks readers that trust lengths, and XML that is pasted together. */
const SPLICES: readonly Buffer[] = [
  ...['</event>', '<event', '<!--', '<!DOCTYPE x>', '\0', 'ü', 'PRT\0'].map((text) => Buffer.from(text)),
  ...['ff', 'ffffffffffffffffff01', '80808080808080808080', '0a7f', '0a00', '1002', '50525400000203ffffffff'].map(
    (hex) => Buffer.from(hex, 'hex'),
  ),
];

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

function envelopeOf({ message, wire, groups = [], provenance = [], hops }: Omit<Inbound, 'size'>): Envelope {
  return {
    seq: 1,
    message,
    wire,
    from: 'a',
    receivedWallMs: NOW,
    receivedMs: 0,
    expiresMs: Number.POSITIVE_INFINITY,
    groups,
    provenance,
    hops: hops ?? { max: -1, current: 0 },
    lane: 1,
    conflate: '',
    encodings: undefined,
  };
}

/** Frames that belong together, in order. */
type Stream = readonly Buffer[];

function startingPoints(): Stream[] {
  const records: Omit<Inbound, 'size'>[] = CORPUS.slice(0, 8).flatMap(({ xml }) => {
    const bytes = xml(NOW);
    const event = scanCot(bytes);
    const message = { kind: 'event', event } as const;
    return [
      { message, wire: { format: 'xml', bytes }, groups: ['Blue'], hops: { max: 5, current: 1 } },
      { message, wire: { format: 'tak', bytes: takFromXml(bytes, event) } },
      { message, wire: { format: 'fed', bytes: federatedFromXml(bytes, event) }, provenance: [{ id: 't', name: 'T' }] },
    ] as const;
  });
  const contact = { uid: 'U', callsign: 'C' };
  records.push({ message: { kind: 'contact', op: 'create', contact } });
  records.push({ message: { kind: 'contact', op: 'create', contact }, wire: { format: 'fed', bytes: CONTACT.bytes } });
  records.push({ message: { kind: 'mission', summary: '' }, wire: { format: 'rol', bytes: ROL.bytes } });
  const hello = { nodeId: 'n', name: 'n', version: '1', capabilities: ['ack'], epoch: 7, resumeEpoch: 8, resumeId: 9 };
  const bodies: readonly (readonly [FrameType, Buffer])[] = [
    ...records.map((record) => {
      const field = recordField(3, 4, recordOf(envelopeOf(record), record.groups ?? [], SELF));
      return [FRAME.event, Buffer.concat([ackedField(5), field])] as const;
    }),
    [
      FRAME.request,
      requestBody({ id: 1, method: 'GET', path: '/x', headers: { a: 'b' }, body: Buffer.from('x'), hops: 1 }),
    ],
    [FRAME.response, responseBody({ id: 1, status: 200, headers: { a: 'b' }, body: Buffer.from('x'), more: true })],
    [FRAME.response, responseBody({ status: 200, hello: { ...hello, limits: [{ name: 't', value: 1 }], kept: true } })],
    [FRAME.ping, pingBody({ seq: 1, sentUs: -2, wallUs: 3, acked: 4, credit: 5 })],
  ];
  return [...bodies.map(([type, body]) => [portalFrame(type, body)]), packedStream('exact'), packedStream('coarse')];
}

/** What an island says, packed: each unit's text once, then what changes; every other chat and marker in pieces, and a file. */
function packedStream(precision: 'exact' | 'coarse'): Stream {
  const out = new PackOut();
  const frames: Buffer[] = [];
  const say = (bytes: Buffer) => frames.push(portalFrame(FRAME.event, bytes));
  const cut = (bytes: Buffer, share: Share, size: number, commit = () => {}) => {
    const chunks = new ChunksOut(share);
    chunks.add(envelopeOf({ message: { kind: 'mission', summary: '' } }), bytes, commit);
    for (let piece = chunks.next(size); piece; piece = chunks.next(size)) {
      say(chunkField(piece.chunk));
      chunks.sent(piece);
    }
  };
  const island = new Island({ seed: 5, units: 4, wallMs: NOW, chatEveryMs: 20_000, markerEveryMs: 20_000 });
  for (const { kind, xml } of island.events()) {
    const message = { kind: 'event', event: scanCot(xml) } as const;
    const envelope = { ...envelopeOf({ message, wire: { format: 'xml', bytes: xml } }), lane: laneOf(message) };
    const { field, commit } = out.plan(envelope, recordOf(envelope, ['Blue'], SELF), 1_000, precision)!;
    if (kind !== 'position' && frames.length % 2 === 0) cut(field, EVENTS, 40, commit);
    else {
      say(field);
      commit();
    }
    if (frames.length > 40) break;
  }
  const file = envelopeOf({ message: { kind: 'mission', summary: '' }, wire: { format: 'rol', bytes: ROL.bytes } });
  cut(recordOf(file, [], SELF), FILES, 100);
  return frames;
}

/** As a session reads, for one connection. */
function reading(): Reading {
  const pack = new PackIn(() => {});
  const [files, events] = [new ChunksIn(), new ChunksIn(MAX_EVENT_PIECES)];
  let unpack = pack.unpack;
  return {
    unpack: pack.unpack,
    collect: (chunk) => files.take(chunk),
    collectField: (chunk) => {
      if (chunk.total > 0) unpack = pack.unpackLater();
      const field = events.take(chunk);
      return field && { field, unpack };
    },
    onPiece: () => {},
  };
}

/** One or two changes: a byte, a cut, a repetition, a splice. */
function bent(bytes: Buffer, random: Random): Buffer {
  let result = bytes;
  for (let changes = 1 + random(2); changes > 0; changes--) {
    const at = random(result.length + 1);
    const to = Math.min(result.length, at + random(24));
    switch (random(5)) {
      case 0:
        result = Buffer.concat([result.subarray(0, at), result.subarray(to)]);
        break;
      case 1:
        result = Buffer.concat([result.subarray(0, to), result.subarray(at)]);
        break;
      case 2:
        result = Buffer.concat([result.subarray(0, at), SPLICES[random(SPLICES.length)]!, result.subarray(at)]);
        break;
      default:
        result = Buffer.from(result);
        if (at < result.length) result[at] = random(256);
    }
  }
  return result;
}

/** Half of the time the body alone, so that what is behind the frame is reached as well. */
function bentFrame(frame: Buffer, random: Random): Buffer {
  if (random(2) === 0) return bent(frame, random);
  return portalFrame(frame[6] as FrameType, bent(frame.subarray(11), random));
}

/** One frame of a stream is bent. */
function bentStream(frames: Stream, random: Random): Buffer {
  const index = random(frames.length);
  return Buffer.concat(frames.map((frame, at) => (at === index ? bentFrame(frame, random) : frame)));
}

/** Of the most that a packed record may become. */
const MOST_BYTES = Math.max(MAX_BODY, MAX_UNPACKED, 2 * MAX_UNIT_BYTES);

/** True when something of it got through. */
function read(type: FrameType, body: Buffer, how: Reading): boolean {
  if (type === FRAME.request) return readRequest(body).id >= 0;
  if (type === FRAME.response) return readResponse(body).status >= 0;
  if (type === FRAME.ping || type === FRAME.pong) return readPing(body).seq >= 0;
  let through = false;
  if (type !== FRAME.event) return through;
  const onRecord = (record: PortalRecord) => {
    assert.ok(record.payload.length <= MOST_BYTES, `${record.payload.length} bytes`);
    const found = inboundOf(record);
    if (found === 'hop_limit') return;
    for (const inbound of found) crossesAgain(inbound);
    through ||= found.length > 0;
  };
  scanEvents(body, (record) => passesOver(() => onRecord(record)), how);
  return through;
}

/** A record that cannot be read does not end the connection (events-in.ts): what follows is read all the same. */
function passesOver(take: () => void): void {
  try {
    take();
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
  }
}

/** The next relay reads the same message, with one hop and one server more. */
function crossesAgain(inbound: Inbound): void {
  // Our hub stops those that have been through as many servers as it can say.
  if ((inbound.provenance?.length ?? 0) >= 60) return;
  const envelope = envelopeOf(inbound);
  const seen: Inbound[] = [];
  scanEvents(recordField(1, 0, recordOf(envelope, envelope.groups, NEXT)), (record) => {
    const found = inboundOf(record);
    if (found !== 'hop_limit') seen.push(...found);
  });
  if (seen.length === 0) return;
  assert.deepEqual(seen[0]!.message, inbound.message);
  assert.equal(seen[0]!.hops?.current, Math.min(1_000_000, envelope.hops.current + 1));
  assert.equal(seen[0]!.provenance?.at(-1)?.id, NEXT.id);
}

/** Runs until `stop` says so; returns how many streams were tried, and of how many something got through. */
export function fuzzPortal(seed: number, stop: (rounds: number) => boolean): { rounds: number; accepted: number } {
  const random = seeded(seed);
  const frames = startingPoints();
  let rounds = 0;
  let accepted = 0;
  for (; !stop(rounds); rounds++) {
    // Half of them packed.
    const which = random(2) === 0 ? frames.length - 1 - random(2) : random(frames.length);
    const stream = bentStream(frames[which]!, random);
    let through = false;
    const how = reading();
    const deframer = new PortalDeframer(MAX_BODY, (type, body) => (through = read(type, body, how) || through));
    try {
      for (let at = 0; at < stream.length; ) {
        const end = at + 1 + random(stream.length);
        deframer.push(stream.subarray(at, end));
        at = end;
      }
    } catch (error) {
      if (error instanceof ProtocolError) continue;
      throw new Error(`seed ${seed}, round ${rounds}: ${stream.toString('base64')}`, { cause: error });
    }
    if (through) accepted++;
  }
  return { rounds, accepted };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({
    options: { seconds: { type: 'string', default: '10' }, seed: { type: 'string', default: '1' } },
  });
  const end = Date.now() + Number(values.seconds) * 1000;
  const { rounds, accepted } = fuzzPortal(Number(values.seed), () => Date.now() > end);
  process.stdout.write(`${rounds} streams, of ${accepted} something got through\n`);
}
