// Schema of the grpc-js peer: its own fig.proto, codec, method table and a scanner for fields the schema does not know.
// Streams carry plain Buffers; whoever needs the meaning decodes.
import { fileURLToPath } from 'node:url';
import { loadSync, type MessageTypeDefinition } from '@grpc/proto-loader';

export interface Identity {
  readonly name: string;
  readonly uid: string;
  readonly description: string;
  readonly type: string;
  readonly serverId: string;
}
export interface Subscription {
  readonly identity: Identity | null;
  readonly filter: string;
  readonly version: { readonly major: number; readonly minor: number; readonly patch: number } | null;
}
export interface ProvenanceEntry {
  readonly federationServerId: string;
  readonly federationServerName: string;
}
export interface FederateHops {
  readonly maxHops: number;
  readonly currentHops: number;
}
export interface GeoEvent {
  readonly sendTime: number;
  readonly startTime: number;
  readonly staleTime: number;
  readonly lat: number;
  readonly lon: number;
  readonly hae: number;
  readonly ce: number;
  readonly le: number;
  readonly uid: string;
  readonly type: string;
  readonly coordSource: string;
  readonly other: string;
  readonly battery: number;
  readonly ploc: string;
  readonly palt: string;
  readonly speed: number;
  readonly course: number;
  readonly ptpUids: readonly string[];
  readonly ptpCallsigns: readonly string[];
  readonly feedUid: string;
  readonly missionNames: readonly string[];
}
export interface ContactListEntry {
  readonly operation: string;
  readonly uid: string;
  readonly callsign: string;
}
/** The envelope fields that events, groups and ROL share. */
export interface Routed {
  readonly federateGroups: readonly string[];
  readonly federateProvenance: readonly ProvenanceEntry[];
  readonly federateHops: FederateHops | null;
}
export interface FederatedEvent extends Routed {
  readonly event: GeoEvent | null;
  readonly contact: ContactListEntry | null;
}
export interface FederateGroups extends Routed {
  readonly streamUpdate: { readonly status: string } | null;
  readonly nestedGroups: readonly FederateGroups[];
}
export interface Rol extends Routed {
  readonly program: string;
  readonly payload: readonly { readonly type: string; readonly data: Buffer; readonly description: string }[];
}
export interface Health {
  readonly status: string;
}
interface Types {
  readonly Subscription: Subscription;
  readonly FederatedEvent: FederatedEvent;
  readonly GeoEvent: GeoEvent;
  readonly FederateGroups: FederateGroups;
  readonly ROL: Rol;
  readonly ClientHealth: Health;
  readonly ServerHealth: Health;
}

/** How the method is shaped on our side; a client-stream method is opened as bidi so that its early answer is seen. */
export type Shape = 'bidi' | 'server-stream';
export const METHODS = {
  ClientEventStream: 'server-stream',
  ServerEventStream: 'bidi',
  HealthCheck: 'server-stream',
  ServerFederateGroupsStream: 'server-stream',
  ClientFederateGroupsStream: 'bidi',
  ClientROLStream: 'server-stream',
  ServerROLStream: 'bidi',
  BinaryMessageStream: 'bidi',
  SendOneBlob: 'server-stream',
  SendOneEvent: 'server-stream',
  getIdentity: 'server-stream',
  GetAuthTokenByX509: 'server-stream',
  Getx509Identity: 'server-stream',
} as const satisfies Record<string, Shape>;
export type Method = keyof typeof METHODS;

export const path = (method: Method): string => `/com.atakmap.FederatedChannel/${method}`;

const folder = fileURLToPath(new URL('..', import.meta.url));
const schema = loadSync('fig.proto', {
  includeDirs: [folder],
  keepCase: true,
  longs: Number,
  enums: String,
  defaults: true,
});

function definition(type: string): MessageTypeDefinition<object, object> {
  return schema[`com.atakmap.${type}`] as MessageTypeDefinition<object, object>;
}

export function encode(type: keyof Types, value: object): Buffer {
  return definition(type).serialize(value);
}

/** Throws when the bytes are not such a message. */
export function decode<T extends keyof Types>(type: T, bytes: Buffer): Types[T] {
  return definition(type).deserialize(bytes) as Types[T];
}

/** One length-delimited field, for building what the schema cannot say. */
export function lengthDelimited(number: number, content: Buffer): Buffer {
  return Buffer.concat([varint(number * 8 + 2), varint(content.length), content]);
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 127; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
  return Buffer.from([...bytes, rest]);
}

/** A field as it stands in the bytes; `content` is empty for scalars. */
interface RawField {
  readonly number: number;
  readonly content: Buffer;
}

function* rawFields(bytes: Buffer): Generator<RawField> {
  let at = 0;
  const next = (): number => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = bytes[at++];
      if (byte === undefined) throw new Error('truncated');
      value += (byte % 128) * scale;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const tag = next();
    const length = skip[tag % 8]?.(next);
    if (length === undefined) throw new Error(`wire type ${tag % 8}`);
    yield { number: Math.floor(tag / 8), content: tag % 8 === 2 ? bytes.subarray(at, at + length) : Buffer.alloc(0) };
    at += length;
  }
}

/** Bytes to pass over, by wire type. */
const skip: Partial<Record<number, (next: () => number) => number>> = {
  0: (next) => {
    next();
    return 0;
  },
  1: () => 8,
  2: (next) => next(),
  5: () => 4,
};

/** Field numbers beyond the schema: `99` of the FederatedEvent itself, `event.99` of its GeoEvent. */
export function unknownFields(bytes: Buffer): string[] {
  const found: string[] = [];
  for (const field of rawFields(bytes)) {
    if (field.number > 6) found.push(String(field.number));
    if (field.number !== 1) continue;
    for (const inner of rawFields(field.content)) if (inner.number > 30) found.push(`event.${inner.number}`);
  }
  return found;
}
