// gRPC over HTTP/2 as fed2 needs it: method paths, message frames, headers and status. Knows nothing of TAK's messages.
// (github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md)
import { constants, type IncomingHttpHeaders, type OutgoingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import { addAbortSignal, type Duplex } from 'node:stream';
import { ProtocolError } from '../../lib/errors.ts';
import { FrameCutter, type FrameEvents, type FrameHead } from '../frames.ts';

/** Compressed flag and big-endian length before every message. */
export const FRAME_HEAD_BYTES = 5;
/** What TAK and the hub take at most (tak-federation §2.7). A length beyond is not a length. */
export const MAX_FRAME_BYTES = 256 << 20;
/** grpc-message is for people; a longer one is cut. */
const MAX_WORDS = 300;

const SERVICE = '/com.atakmap.FederatedChannel';

/** The methods that are spoken. The data flows as named: `toPeer` in the stream's response, `toServer` in its request. */
export const PATHS = {
  clientEvents: `${SERVICE}/ClientEventStream`,
  serverEvents: `${SERVICE}/ServerEventStream`,
  serverGroups: `${SERVICE}/ServerFederateGroupsStream`,
  clientGroups: `${SERVICE}/ClientFederateGroupsStream`,
  clientRol: `${SERVICE}/ClientROLStream`,
  serverRol: `${SERVICE}/ServerROLStream`,
  health: `${SERVICE}/HealthCheck`,
} as const;
export type Method = keyof typeof PATHS;

const METHOD_OF: ReadonlyMap<string, Method> = new Map(
  Object.entries(PATHS).map(([method, path]) => [path, method as Method]),
);

/** The method a `:path` names; undefined for those nobody uses (§7.15), token auth (§2.9) and anything unknown. */
export function methodOf(path: string | undefined): Method | undefined {
  return path === undefined ? undefined : METHOD_OF.get(path);
}

/** Status codes in use (doc/statuscodes.md). */
export const STATUS = {
  ok: 0,
  cancelled: 1,
  unknown: 2,
  deadlineExceeded: 4,
  alreadyExists: 6,
  permissionDenied: 7,
  resourceExhausted: 8,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  unauthenticated: 16,
} as const;

export interface GrpcStatus {
  readonly code: number;
  readonly words: string;
}

const STATUS_NAMES = [
  'OK',
  'CANCELLED',
  'UNKNOWN',
  'INVALID_ARGUMENT',
  'DEADLINE_EXCEEDED',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'PERMISSION_DENIED',
  'RESOURCE_EXHAUSTED',
  'FAILED_PRECONDITION',
  'ABORTED',
  'OUT_OF_RANGE',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
  'UNAUTHENTICATED',
];

/** `UNAVAILABLE`, or `status 99`. */
export function statusName(code: number): string {
  return STATUS_NAMES[code] ?? `status ${code}`;
}

/** One message as it stands in a stream: flag 0, length, payload. */
export function frame(payload: Buffer): Buffer {
  const bytes = Buffer.allocUnsafe(FRAME_HEAD_BYTES + payload.length);
  bytes[0] = 0;
  bytes.writeUInt32BE(payload.length, 1);
  payload.copy(bytes, FRAME_HEAD_BYTES);
  return bytes;
}

/** What stands before every message: a flag, then the length. Throws ProtocolError `grpc_flag`, `grpc_compressed`, `grpc_length`. */
const HEAD: FrameHead = {
  bytes: FRAME_HEAD_BYTES,
  lengthOf(bytes, at) {
    if (bytes[at] !== 0) throw badFlag(bytes[at]!);
    const length = bytes.readUInt32BE(at + 1);
    if (length > MAX_FRAME_BYTES) throw new ProtocolError('grpc_length', `a message of ${length} bytes was announced`);
    return length;
  },
};

/** Cuts a stream's chunks into messages. */
export class Deframer extends FrameCutter {
  constructor(maxBytes: number, events: FrameEvents) {
    super(HEAD, maxBytes, events);
  }
}

function badFlag(flag: number): ProtocolError {
  if (flag === 1) return new ProtocolError('grpc_compressed', 'a compressed message, though no compression was agreed');
  return new ProtocolError('grpc_flag', `a message begins with flag ${flag}`);
}

/** Headers of a call. `te` tells gRPC servers that no proxy ate the trailers. */
export function requestHeaders(authority: string, method: Method, userAgent: string): OutgoingHttpHeaders {
  return {
    ':method': 'POST',
    ':scheme': 'https',
    ':authority': authority,
    ':path': PATHS[method],
    'content-type': 'application/grpc',
    te: 'trailers',
    'user-agent': userAgent,
  };
}

export const RESPONSE_HEADERS: OutgoingHttpHeaders = { ':status': 200, 'content-type': 'application/grpc' };

/** What is wrong with a call's headers; undefined: nothing. (A `te` other than `trailers` nghttp2 refuses by itself.) */
export function badRequest(headers: IncomingHttpHeaders): GrpcStatus | undefined {
  if (headers[':method'] !== 'POST') return { code: STATUS.internal, words: 'gRPC calls are POST' };
  if (!isGrpc(headers)) return { code: STATUS.internal, words: 'content-type is not application/grpc' };
  const encoding = headers['grpc-encoding'] ?? 'identity';
  if (encoding === 'identity') return undefined;
  return { code: STATUS.unimplemented, words: `grpc-encoding ${encoding} is not offered here` };
}

function isGrpc(headers: IncomingHttpHeaders): boolean {
  return /^application\/grpc($|[+;])/.test(headers['content-type'] ?? '');
}

/** Answers a call with a status and nothing else (`Trailers-Only`), and ends it. */
export function refuseCall(stream: ServerHttp2Stream, status: GrpcStatus): void {
  stream.respond(
    { ...RESPONSE_HEADERS, 'grpc-accept-encoding': 'identity', ...statusHeaders(status) },
    { endStream: true },
  );
  // The request half may still be open; nobody will read it.
  stream.close(constants.NGHTTP2_NO_ERROR);
}

/** Answers a unary call with one framed message and OK. */
export function answerCall(stream: ServerHttp2Stream, framed: Buffer): void {
  if (stream.closed || stream.destroyed) return;
  stream.respond(RESPONSE_HEADERS, { waitForTrailers: true });
  endCall(stream, framed);
}

/** Ends a call that was answered with `waitForTrailers`: a last framed message, if any, then OK. */
export function endCall(stream: ServerHttp2Stream, framed?: Buffer): void {
  if (stream.closed || stream.destroyed) return;
  stream.once('wantTrailers', () => stream.sendTrailers(statusHeaders({ code: STATUS.ok, words: '' })));
  if (framed) stream.end(framed);
  else stream.end();
}

/** RST_STREAM(CANCEL) and nothing before it: node's close() would half-close first, which TAK takes for nothing at all (§2.6). */
export function cancel(stream: Duplex): void {
  addAbortSignal(ABORTED, stream);
}

const ABORTED = AbortSignal.abort();

function statusHeaders({ code, words }: GrpcStatus): OutgoingHttpHeaders {
  return words ? { 'grpc-status': code, 'grpc-message': encodeWords(words) } : { 'grpc-status': code };
}

/**
 * The status in trailers, or in headers that end a stream. A response that is no gRPC becomes a status as gRPC has it
 * (doc/http-grpc-status-mapping.md); undefined: headers that carry no verdict.
 */
export function readStatus(headers: IncomingHttpHeaders): GrpcStatus | undefined {
  const given = headers['grpc-status'];
  if (given !== undefined) {
    const code = /^\d{1,3}$/.test(String(given)) ? Number(given) : STATUS.unknown;
    return { code, words: decodeWords(String(headers['grpc-message'] ?? '')) };
  }
  const http = headers[':status'] as number | string | undefined;
  if (http === undefined) return undefined;
  if (Number(http) !== 200) return { code: HTTP_STATUS[Number(http)] ?? STATUS.unknown, words: `HTTP status ${http}` };
  if (isGrpc(headers)) return undefined;
  return { code: STATUS.unknown, words: `answered with ${headers['content-type'] ?? 'no content type'}` };
}

const HTTP_STATUS: Readonly<Record<number, number>> = {
  400: STATUS.internal,
  401: STATUS.unauthenticated,
  403: STATUS.permissionDenied,
  404: STATUS.unimplemented,
  429: STATUS.unavailable,
  502: STATUS.unavailable,
  503: STATUS.unavailable,
  504: STATUS.unavailable,
};

/** Percent-encoding of grpc-message: everything but printable ASCII, and '%' itself. */
export function encodeWords(words: string): string {
  let text = '';
  for (const byte of Buffer.from(words.slice(0, MAX_WORDS))) {
    if (byte >= 0x20 && byte <= 0x7e && byte !== 0x25) text += String.fromCharCode(byte);
    else text += `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return text;
}

/** The words back, whatever a peer made of the encoding: what is not an escape stays, controls become spaces, long ones are cut. */
export function decodeWords(text: string): string {
  const bytes = text.replace(/%([0-9a-fA-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  const words = /%/.test(text) ? Buffer.from(bytes, 'latin1').toString() : text;
  return words.slice(0, MAX_WORDS).replace(/[\u0000-\u001f\u007f-\u009f]/g, ' ');
}
