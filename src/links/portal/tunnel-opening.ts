// The clear-text opening of a splice connection: one REQUEST `SPLICE /splice/TOKEN`, one RESPONSE, and from then on the bytes
// of whoever is at the other end.
import type { Socket } from 'node:net';
import { childController, onAbort } from '../../lib/abort.ts';
import type { Clock } from '../../lib/clock.ts';
import { LinkError, ProtocolError } from '../../lib/errors.ts';
import { FRAME, type FrameType, HEAD_BYTES, PortalDeframer, portalFrame } from '../../wire/portal.ts';
import { readRequest, readResponse, requestBody, responseBody } from '../../wire/portal-bodies.ts';
import type { LinkContext } from '../link.ts';
import { type Address, dialTcp, formatAddress } from '../stream.ts';
import {
  MAX_ANSWER_FRAME_BYTES,
  MAX_SPLICE_FRAME_BYTES,
  SPLICE_ANSWER_MS,
  SPLICE_CONNECT_MS,
} from './tunnel-limits.ts';
import { type Refusal, readRefusal, refusalBody } from './tunnel-words.ts';

/** Keeps the first words of a dialler to itself: a splice is one step of a dial that reports for itself. */
const QUIET = { report: () => {} };
const SPLICE_PATH = /^\/splice\/([A-Za-z0-9_-]{43})$/;
const EMPTY = Buffer.alloc(0);

/** What a wait is bound by. */
export interface Patience {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly ms: number;
}

/**
 * Opens this side of a splice at a hub's address. Resolves once the other side is there too; what is read next is from
 * there. Rejects with LinkError. The caller owns the socket.
 */
export async function openSplice(
  address: Address,
  token: string,
  context: LinkContext,
  parent: AbortSignal,
): Promise<Socket> {
  // Of its own: the caller's signal may abort later, when it has chosen this way over others.
  const { controller, release } = childController(parent);
  const { signal } = controller;
  try {
    const deadlines = { connectMs: SPLICE_CONNECT_MS, handshakeMs: SPLICE_ANSWER_MS };
    const socket = await dialTcp(address, deadlines, { ...context, ...QUIET, signal });
    socket.write(spliceRequest(token));
    await readSpliceAnswer(socket, formatAddress(address), { clock: context.clock, signal, ms: SPLICE_ANSWER_MS });
    return socket;
  } finally {
    release();
  }
}

export function spliceRequest(token: string): Buffer {
  const request = { id: 1, method: 'SPLICE', path: `/splice/${token}`, headers: {}, body: EMPTY, hops: 0 };
  return portalFrame(FRAME.request, requestBody(request));
}

/** The token a splice connection begins with. Rejects with ProtocolError, or LinkError when it does not come in time. */
export async function readSpliceToken(socket: Socket, patience: Patience): Promise<string> {
  const body = await readFrame(socket, FRAME.request, MAX_SPLICE_FRAME_BYTES, patience);
  const { method, path } = readRequest(body);
  const token = method === 'SPLICE' ? SPLICE_PATH.exec(path)?.[1] : undefined;
  if (token) return token;
  throw new ProtocolError('splice_request', 'in clear nothing but a splice can be asked for');
}

export function spliceAccepted(): Buffer {
  return portalFrame(FRAME.response, responseBody({ id: 1, status: 200 }));
}

export function spliceRefused(refusal: Refusal): Buffer {
  const { status } = refusal;
  return portalFrame(FRAME.response, responseBody({ id: 1, status, body: refusalBody(refusal) }));
}

/** Resolves when the answer is 200. Else the socket is destroyed and it rejects with LinkError, its code the refusal's. */
async function readSpliceAnswer(socket: Socket, who: string, patience: Patience): Promise<void> {
  try {
    const frame = await readFrame(socket, FRAME.response, MAX_ANSWER_FRAME_BYTES, patience);
    const { status, body } = readResponse(frame);
    if (status !== 200) throw readRefusal(who, status, body);
  } catch (error) {
    socket.destroy();
    if (!(error instanceof ProtocolError)) throw error;
    const words = `${who} does not speak PORTAL02: ${error.message}`;
    throw new LinkError(error.code, words, 'Check the address of the hub.', { cause: error });
  }
}

/** Reads one frame of that type and leaves unread what follows it. */
function readFrame(socket: Socket, wanted: FrameType, maxBytes: number, patience: Patience): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    let body: Buffer | undefined;
    const deframer = new PortalDeframer(maxBytes - HEAD_BYTES, (type, found) => {
      if (type !== wanted) throw new ProtocolError('splice_frame', `frame type ${type} in the opening of a splice`);
      body = Buffer.from(found);
    });
    const settle = (failure?: Error) => {
      cancelDeadline();
      release();
      socket.off('readable', read).off('end', ended).off('close', ended);
      if (failure) reject(failure);
      else resolve(body!);
    };
    const read = () => {
      try {
        // Byte by byte: frames here are a hundred bytes long, and nothing behind one may be touched.
        for (let byte = socket.read(1); byte; byte = socket.read(1)) {
          deframer.push(byte);
          if (body) return settle();
        }
      } catch (error) {
        settle(error as Error);
      }
    };
    const ended = () => settle(new LinkError('splice_closed', 'the connection ended before the tunnel was open', ''));
    const late = () => settle(new LinkError('splice_timeout', 'the other end said nothing in time', ''));
    const cancelDeadline = patience.clock.after(patience.ms, late);
    socket.on('readable', read).on('end', ended).on('close', ended);
    let release = () => {};
    release = onAbort(patience.signal, () => settle(new LinkError('aborted', 'told to stop', '')));
    if (socket.destroyed) ended();
    else read();
  });
}
