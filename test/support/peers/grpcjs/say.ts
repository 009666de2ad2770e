// The peer's two tongues: JSON lines for the test that drives it, protobuf for the link it judges.
import { createHash } from 'node:crypto';
import type { FederatedEvent, FederateGroups, Rol, Routed, Subscription } from './wire.ts';
import { encode, lengthDelimited, unknownFields } from './wire.ts';

export interface Line {
  readonly at: string;
  readonly [key: string]: unknown;
}

/** Writes one line for the driver. */
export function emit(line: Line): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

/** Something a real peer would choke on. */
export function violation(rule: string, words: string): void {
  emit({ at: 'violation', rule, words });
}

/** Something a real peer survives but an operator would regret. */
export function note(rule: string, words: string): void {
  emit({ at: 'note', rule, words });
}

/** Who a peer is and how it stamps what it sends. */
export interface Stamp {
  readonly as: 'takserver' | 'fedhub';
  readonly name: string;
  readonly serverId: string;
  /** Provenance id: the server id, for a hub with a nonce per process. */
  readonly own: string;
  readonly maxHops: number;
}

interface EnvelopeInput {
  readonly groups?: readonly string[];
  readonly provenance?: readonly { readonly id: string; readonly name: string }[];
  readonly hops?: { readonly max: number; readonly current: number };
}

export interface EventInput extends EnvelopeInput {
  readonly uid: string;
  readonly type?: string;
  readonly how?: string;
  readonly other?: string;
  /** Pads `other` with text to this many bytes. */
  readonly otherBytes?: number;
  readonly timeMs?: number;
  readonly staleMs?: number;
  readonly contact?: ContactInput;
  /** Adds field 99 to the envelope and 98 to the event. */
  readonly unknown?: boolean;
  /** Any further GeoEvent field by its own name: lat, speed, ptpUids, … */
  readonly [field: string]: unknown;
}

export interface ContactInput extends EnvelopeInput {
  readonly op?: string;
  readonly uid: string;
  readonly callsign?: string;
}

export interface RolInput extends EnvelopeInput {
  readonly program: string;
  readonly payload?: readonly { readonly text?: string; readonly base64?: string; readonly description?: string }[];
}

export interface GroupsInput {
  readonly groups?: readonly string[];
  /** How a hub lists them: one entry per server behind it. */
  readonly nested?: readonly { readonly groups: readonly string[]; readonly from: string; readonly hops?: number }[];
  readonly serving?: boolean;
}

/** Stamps as the real ones do: a TAK server only speaks for itself, a hub for a server one hop behind it. */
function envelope(input: EnvelopeInput, stamp: Stamp): object {
  const self = { id: stamp.own, name: stamp.name };
  const origin = { id: 'origin-tak', name: 'origin' };
  const provenance = input.provenance ?? (stamp.as === 'fedhub' ? [origin, self] : [self]);
  const hops = input.hops ?? { max: stamp.maxHops, current: stamp.as === 'fedhub' ? 2 : 1 };
  return {
    federateGroups: input.groups ?? [],
    federateProvenance: provenance.map(({ id, name }) => ({ federationServerId: id, federationServerName: name })),
    federateHops: { maxHops: hops.max, currentHops: hops.current },
  };
}

const ENVELOPE_KEYS = new Set([
  'groups',
  'provenance',
  'hops',
  'how',
  'otherBytes',
  'timeMs',
  'staleMs',
  'contact',
  'unknown',
]);

/** A GeoEvent with whole-second times, as every TAK server prints them. */
function geoEvent(input: EventInput): object {
  const second = (ms: number) => Math.floor(ms / 1000) * 1000;
  const timeMs = second(input.timeMs ?? Date.now());
  const extra = Object.entries(input).filter(([key]) => !ENVELOPE_KEYS.has(key));
  const other = input.other ?? `<detail><contact callsign="${input.uid}"/></detail>`;
  return {
    type: 'a-f-G-U-C',
    ce: 999999,
    le: 999999,
    ...Object.fromEntries(extra),
    coordSource: input.how ?? 'm-g',
    sendTime: timeMs,
    startTime: timeMs,
    staleTime: second(input.staleMs ?? timeMs + 300_000),
    other: input.otherBytes ? pad(other, input.otherBytes) : other,
  };
}

function pad(other: string, bytes: number): string {
  const frame = '<remarks></remarks></detail>'.length;
  const head = other.replace('</detail>', '');
  return `${head}<remarks>${'x'.repeat(Math.max(0, bytes - head.length - frame))}</remarks></detail>`;
}

export function encodeEvent(input: EventInput, stamp: Stamp): Buffer {
  const geo = encode('GeoEvent', geoEvent(input));
  const inner = input.unknown ? Buffer.concat([geo, lengthDelimited(98, Buffer.from('inner future'))]) : geo;
  const rest = encode('FederatedEvent', {
    ...envelope(input, stamp),
    contact: input.contact ? contactEntry(input.contact) : null,
  });
  const parts = [lengthDelimited(1, inner), rest];
  if (input.unknown) parts.push(lengthDelimited(99, Buffer.from('outer future')));
  return Buffer.concat(parts);
}

function contactEntry(input: ContactInput): object {
  return { operation: input.op ?? 'CREATE', uid: input.uid, callsign: input.callsign ?? '' };
}

export function encodeContact(input: ContactInput, stamp: Stamp): Buffer {
  return encode('FederatedEvent', { ...envelope(input, stamp), contact: contactEntry(input) });
}

export function encodeRol(input: RolInput, stamp: Stamp): Buffer {
  const payload = (input.payload ?? []).map(({ text = '', base64, description }) => ({
    type: 'OTHER',
    data: base64 === undefined ? Buffer.from(text) : Buffer.from(base64, 'base64'),
    description: description ?? 'tak.server.cot.CotEventContainer',
  }));
  return encode('ROL', { ...envelope(input, stamp), program: input.program, payload });
}

export function encodeGroups(input: GroupsInput): Buffer {
  const nestedGroups = (input.nested ?? []).map(({ groups, from, hops }) => ({
    federateGroups: groups,
    federateProvenance: [{ federationServerId: from, federationServerName: from }],
    federateHops: { maxHops: -1, currentHops: hops ?? 1 },
  }));
  return encode('FederateGroups', {
    federateGroups: input.groups ?? [],
    nestedGroups,
    ...(input.serving ? { streamUpdate: { status: 'SERVING' } } : {}),
  });
}

function describeRouted(value: Routed): object {
  return {
    groups: value.federateGroups,
    provenance: value.federateProvenance.map((entry) => ({
      id: entry.federationServerId,
      name: entry.federationServerName,
    })),
    hops: value.federateHops && { max: value.federateHops.maxHops, current: value.federateHops.currentHops },
  };
}

const LONGEST_SHOWN = 4000;

/** One or two lines: an event, a contact, or `empty`. */
export function describeEvent(value: FederatedEvent, bytes: Buffer): Line[] {
  const routed = describeRouted(value);
  const lines: Line[] = [];
  if (value.contact) {
    const { operation, uid, callsign } = value.contact;
    lines.push({ at: 'contact', op: operation, uid, callsign, ...routed });
  }
  if (value.event) {
    const { coordSource, other, ...geo } = value.event;
    lines.push({
      at: 'event',
      ...geo,
      how: coordSource,
      other: other.length > LONGEST_SHOWN ? '' : other,
      otherBytes: Buffer.byteLength(other),
      otherSha256: createHash('sha256').update(other).digest('hex'),
      unknown: unknownFields(bytes),
      ...routed,
    });
  }
  return lines.length > 0 ? lines : [{ at: 'empty', ...routed }];
}

export function describeGroups(value: FederateGroups): Line {
  return {
    at: 'groups',
    status: value.streamUpdate?.status ?? null,
    nested: value.nestedGroups.map(describeRouted),
    ...describeRouted(value),
  };
}

export function describeRol(value: Rol): Line {
  const payload = value.payload.map(({ data, description }) => ({
    text: data.length > LONGEST_SHOWN ? '' : data.toString('utf8'),
    bytes: data.length,
    sha256: createHash('sha256').update(data).digest('hex'),
    description,
  }));
  return { at: 'rol', program: value.program, payload, ...describeRouted(value) };
}

export function describeSubscription(method: string, value: Subscription): Line {
  const { identity, version, filter } = value;
  return { at: 'subscription', method, identity, filter, version: version?.major ?? 0 };
}
