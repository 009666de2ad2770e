// The bodies of PORTAL02 frames but for records (portal-record.ts): proto/portal.proto, field by field. What cannot be read
// throws ProtocolError; what may be said with it is the link's business.
import { ProtocolError } from '../lib/errors.ts';
import { lengthTag, ProtoReader, ProtoWriter, varintTag } from './proto.ts';

/** Header fields of one Request or Response. */
export const MAX_HEADERS = 64;
const MAX_HEADER_NAME_BYTES = 128;
const MAX_HEADER_VALUE_BYTES = 8192;
const MAX_METHOD_BYTES = 16;
const MAX_HELLO_TEXT_BYTES = 256;
const MAX_CAPABILITIES = 64;
const MAX_LIMITS = 64;

const writer = new ProtoWriter();

export type Headers = Readonly<Record<string, string>>;

export interface PortalRequest {
  readonly id: number;
  readonly method: string;
  readonly path: string;
  /** Lower-case names. */
  readonly headers: Headers;
  /** Shares memory with the frame it came in. */
  readonly body: Buffer;
  readonly hops: number;
}

export interface PortalResponse {
  /** 0: of the handshake. */
  readonly id: number;
  readonly status: number;
  readonly headers: Headers;
  readonly body: Buffer;
  /** Another Response of this id follows. */
  readonly more: boolean;
  readonly hello: Hello | undefined;
}

/** What a hub allows a peer. */
export interface Limit {
  readonly name: string;
  readonly value: number;
}

export interface Hello {
  readonly nodeId: string;
  readonly name: string;
  readonly version: string;
  readonly capabilities: readonly string[];
  /** Never 0. */
  readonly epoch: number;
  readonly resumeEpoch: number;
  readonly resumeId: number;
  readonly limits: readonly Limit[];
  /** What was taken in of `resumeEpoch` is still held: contacts, positions. */
  readonly kept: boolean;
}

/** Ping and Pong. Times in microseconds of the wall clock. */
export interface PortalPing {
  readonly seq: number;
  readonly sentUs: number;
  readonly wallUs: number;
  readonly acked: number;
  readonly credit: number;
  /** In the Pong that answers a Hello: as Hello.kept. */
  readonly kept: boolean;
}

const EMPTY: Buffer = Buffer.alloc(0);

export function requestBody(request: PortalRequest): Buffer {
  writer.int(1, request.id);
  writer.string(2, request.method);
  writer.string(3, request.path);
  writeHeaders(4, request.headers);
  if (request.body.length > 0) writer.bytes(5, request.body);
  writer.int(6, request.hops);
  return writer.finish();
}

export function readRequest(bytes: Buffer): PortalRequest {
  const reader = new ProtoReader(bytes);
  const headers: [string, string][] = [];
  const found = { id: 0, method: '', path: '', body: EMPTY, hops: 0 };
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === varintTag(1)) found.id = reader.varint();
    else if (tag === lengthTag(2)) found.method = reader.string(MAX_METHOD_BYTES);
    else if (tag === lengthTag(3)) found.path = reader.string();
    else if (tag === lengthTag(4)) readHeader(reader, headers);
    else if (tag === lengthTag(5)) found.body = reader.bytes();
    else if (tag === varintTag(6)) found.hops = reader.varint();
    else reader.skip(tag);
  }
  return { ...found, headers: Object.fromEntries(headers) };
}

export function responseBody(response: Partial<PortalResponse> & Pick<PortalResponse, 'status'>): Buffer {
  const { hello } = response;
  writer.int(1, response.id ?? 0);
  writer.int(2, response.status);
  writeHeaders(3, response.headers ?? {});
  if (response.body && response.body.length > 0) writer.bytes(4, response.body);
  writer.bool(5, response.more ?? false);
  if (hello) writer.message(6, () => writeHello(hello));
  return writer.finish();
}

export function readResponse(bytes: Buffer): PortalResponse {
  const reader = new ProtoReader(bytes);
  const headers: [string, string][] = [];
  const found = { id: 0, status: 0, body: EMPTY, more: false, hello: undefined as Hello | undefined };
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === varintTag(1)) found.id = reader.varint();
    else if (tag === varintTag(2)) found.status = reader.varint();
    else if (tag === lengthTag(3)) readHeader(reader, headers);
    else if (tag === lengthTag(4)) found.body = reader.bytes();
    else if (tag === varintTag(5)) found.more = reader.varint() !== 0;
    else if (tag === lengthTag(6)) found.hello = readHello(reader);
    else reader.skip(tag);
  }
  return { ...found, headers: Object.fromEntries(headers) };
}

export function pingBody(ping: Partial<PortalPing>): Buffer {
  writer.int(1, ping.seq ?? 0);
  writer.int(2, ping.sentUs ?? 0);
  writer.int(3, ping.wallUs ?? 0);
  writer.int(4, ping.acked ?? 0);
  writer.int(5, ping.credit ?? 0);
  writer.bool(6, ping.kept ?? false);
  return writer.finish();
}

/** Reads a Ping or a Pong; an empty one says 0 of everything. */
export function readPing(bytes: Buffer): PortalPing {
  const reader = new ProtoReader(bytes);
  const found = { seq: 0, sentUs: 0, wallUs: 0, acked: 0, credit: 0, kept: false };
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === varintTag(1)) found.seq = reader.varint();
    else if (tag === varintTag(2)) found.sentUs = reader.int64();
    else if (tag === varintTag(3)) found.wallUs = reader.int64();
    else if (tag === varintTag(4)) found.acked = reader.varint();
    else if (tag === varintTag(5)) found.credit = reader.varint();
    else if (tag === varintTag(6)) found.kept = reader.varint() !== 0;
    else reader.skip(tag);
  }
  return found;
}

function writeHeaders(field: number, headers: Headers): void {
  for (const [name, value] of Object.entries(headers)) {
    writer.message(field, () => {
      writer.string(1, name);
      writer.string(2, value);
    });
  }
}

function readHeader(reader: ProtoReader, into: [string, string][]): void {
  if (into.length >= MAX_HEADERS) throw new ProtocolError('too_many', `more than ${MAX_HEADERS} headers`);
  const outer = reader.enter();
  let name = '';
  let value = '';
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === lengthTag(1)) name = reader.string(MAX_HEADER_NAME_BYTES).toLowerCase();
    else if (tag === lengthTag(2)) value = reader.string(MAX_HEADER_VALUE_BYTES);
    else reader.skip(tag);
  }
  reader.leave(outer);
  into.push([name, value]);
}

function writeHello(hello: Hello): void {
  writer.string(1, hello.nodeId);
  writer.string(2, hello.name);
  writer.string(3, hello.version);
  for (const capability of hello.capabilities) writer.string(4, capability);
  writer.int(5, hello.epoch);
  writer.int(6, hello.resumeEpoch);
  writer.int(7, hello.resumeId);
  for (const { name, value } of hello.limits) {
    writer.message(8, () => {
      writer.string(1, name);
      writer.int(2, value);
    });
  }
  writer.bool(9, hello.kept);
}

function readHello(reader: ProtoReader): Hello {
  const outer = reader.enter();
  const capabilities: string[] = [];
  const limits: Limit[] = [];
  const found = { nodeId: '', name: '', version: '', epoch: 0, resumeEpoch: 0, resumeId: 0, kept: false };
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === lengthTag(1)) found.nodeId = reader.string(MAX_HELLO_TEXT_BYTES);
    else if (tag === lengthTag(2)) found.name = reader.string(MAX_HELLO_TEXT_BYTES);
    else if (tag === lengthTag(3)) found.version = reader.string(MAX_HELLO_TEXT_BYTES);
    else if (tag === lengthTag(4)) bounded(capabilities, MAX_CAPABILITIES).push(reader.string(MAX_HELLO_TEXT_BYTES));
    else if (tag === varintTag(5)) found.epoch = reader.varint();
    else if (tag === varintTag(6)) found.resumeEpoch = reader.varint();
    else if (tag === varintTag(7)) found.resumeId = reader.varint();
    else if (tag === lengthTag(8)) bounded(limits, MAX_LIMITS).push(readLimit(reader));
    else if (tag === varintTag(9)) found.kept = reader.varint() !== 0;
    else reader.skip(tag);
  }
  reader.leave(outer);
  if (found.epoch === 0) throw new ProtocolError('portal_hello', 'a Hello without an epoch');
  return { ...found, capabilities, limits };
}

function readLimit(reader: ProtoReader): Limit {
  const outer = reader.enter();
  const limit = { name: '', value: 0 };
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === lengthTag(1)) limit.name = reader.string(MAX_HELLO_TEXT_BYTES);
    else if (tag === varintTag(2)) limit.value = reader.varint();
    else reader.skip(tag);
  }
  reader.leave(outer);
  return limit;
}

function bounded<T>(list: T[], most: number): T[] {
  if (list.length >= most) throw new ProtocolError('too_many', `more than ${most} entries in a Hello`);
  return list;
}
