// One connection with a node of a Portal mesh: its handshake, requests out, requests in, its one end. There is no type byte and no
// number in an answer: a frame that comes while we wait for an answer is that answer, and answers come in the order of the questions.
import type { Socket } from 'node:net';
import { type NodeRequest, type NodeResponse, problemResponse } from '../../core/node.ts';
import { onAbort } from '../../lib/abort.ts';
import { LinkError, ProtocolError } from '../../lib/errors.ts';
import { FrameCutter } from '../frames.ts';
import { DEFAULT_INTAKE, guardIntake } from '../intake.ts';
import type { LinkContext } from '../link.ts';
import { GREETING_MS, MAX_FRAME_BYTES, MAX_UNREAD_BYTES, MAX_WAITING, REQUEST_MS } from './limits.ts';
import {
  type Greeting,
  greetingBytes,
  HEAD,
  METHOD,
  type MeshRequest,
  type MeshResponse,
  readGreeting,
  readRequest,
  readResponse,
  requestBytes,
  responseBytes,
} from './wire.ts';

export interface MemberEvents {
  /** The far end has said who it is. Throws LinkError when it may not stay. */
  greeted(greeting: Greeting): void;
  /** Never rejects. */
  answer(request: MeshRequest): Promise<MeshResponse>;
}

interface Question {
  readonly bytes: Buffer;
  settle(response: NodeResponse): void;
  cancel(): void;
}

/** Methods of requests between relays, as a Portal node numbers them. */
const METHODS: Readonly<Record<string, number>> = {
  GET: METHOD.get,
  PUT: METHOD.set,
  POST: METHOD.call,
  CALL: METHOD.call,
};

export class Member {
  readonly address: string;
  /** Resolves when the socket is closed, with what ended it. */
  readonly closed: Promise<LinkError>;
  readonly counts = { sent: 0, received: 0 };
  lastHeardMs: number | undefined;
  readonly #socket: Socket;
  readonly #events: MemberEvents;
  readonly #context: LinkContext;
  readonly #cutter: FrameCutter;
  #opening: Buffer | undefined = Buffer.alloc(0);
  /** Asked, or to be asked once the one before it is answered. */
  #questions: Question[] = [];
  /** Theirs, not answered yet. */
  #asked = 0;
  #answered: Promise<void> = Promise.resolve();
  #lastId = 0n;
  #cause: LinkError | undefined;
  #cancelDeadline: () => void;

  /** Says who we are at once; so does the far end. */
  constructor(socket: Socket, address: string, greeting: Greeting, events: MemberEvents, context: LinkContext) {
    this.address = address;
    this.#socket = socket;
    this.#events = events;
    this.#context = context;
    this.#cutter = new FrameCutter(HEAD, MAX_FRAME_BYTES, { message: (frame) => this.#frame(frame), oversize() {} });
    this.#cancelDeadline = context.clock.after(GREETING_MS, () => this.end(noGreeting(address)));
    const take = guardIntake(socket, DEFAULT_INTAKE, context.clock);
    socket.on('data', (chunk: Buffer) => {
      take(chunk.length);
      this.#read(chunk);
    });
    socket.on('end', () => socket.destroy());
    this.closed = new Promise((resolve) => {
      socket.once('close', () => {
        this.#over();
        resolve(this.#cause ?? hungUp(address, this.#opening !== undefined));
      });
    });
    socket.write(greetingBytes(greeting));
  }

  /** Ends it; `cause` says why, if it is not our own wish. */
  end(cause?: LinkError): void {
    this.#cause ??= cause;
    this.#socket.destroy();
  }

  /** Resolves with the answer, or with one made here. Never rejects. */
  ask({ method, path, headers, body }: NodeRequest, signal: AbortSignal): Promise<NodeResponse> {
    const number = METHODS[method];
    if (number === undefined) return refusal(405, 'method_not_allowed', `a Portal node knows no ${method}`);
    if (isTunnel(path))
      return refusal(403, 'tunnel_refused', 'tunnels of a Portal mesh are never used: they lead to shells and ports');
    if (this.#socket.destroyed || this.#opening)
      return refusal(502, 'not_connected', `${this.address} is not connected`);
    if (this.#questions.length >= MAX_WAITING)
      return refusal(503, 'busy', `${MAX_WAITING} requests wait for their answers`);
    const bytes = requestBytes({ id: ++this.#lastId, method: number, path, headers, body });
    return new Promise((resolve) => {
      // Whoever no longer waits leaves his place in the order.
      const release = onAbort(signal, () => resolve(problemResponse(504, 'gave_up', 'whoever asked no longer waits')));
      // Without the answer to this one nobody knows which question the next answer is for.
      const cancelDeadline = this.#context.clock.after(REQUEST_MS, () => this.end(noAnswer(this.address)));
      const cancel = () => {
        release();
        cancelDeadline();
      };
      const settle = (response: NodeResponse) => {
        cancel();
        resolve(response);
      };
      this.#questions.push({ bytes, settle, cancel });
      if (this.#questions.length === 1) this.#socket.write(bytes);
      this.counts.sent++;
    });
  }

  #read(chunk: Buffer): void {
    this.lastHeardMs = this.#context.clock.wallMs();
    try {
      const rest = this.#opening ? this.#greet(Buffer.concat([this.#opening, chunk])) : chunk;
      if (rest) this.#cutter.push(rest);
    } catch (error) {
      if (!(error instanceof ProtocolError || error instanceof LinkError)) throw error;
      this.#cutter.stop();
      this.end(error instanceof LinkError ? error : broken(this.address, error));
    }
  }

  /** What follows the handshake; undefined: it is not over. */
  #greet(bytes: Buffer): Buffer | undefined {
    this.#opening = bytes;
    const found = readGreeting(bytes);
    if (!found) return undefined;
    this.#cancelDeadline();
    this.#events.greeted(found.greeting);
    this.#opening = undefined;
    return bytes.subarray(found.end);
  }

  #frame(frame: Buffer): void {
    this.counts.received++;
    const [question] = this.#questions;
    if (!question) return this.#serve(readRequest(frame));
    const { status, headers, body } = readResponse(frame);
    this.#questions.shift();
    const [next] = this.#questions;
    if (next) this.#socket.write(next.bytes);
    question.settle({ status, headers, body: Buffer.from(body) });
  }

  /** One after the other, in the order they came. */
  #serve(request: MeshRequest): void {
    if (this.#asked >= MAX_WAITING || this.#socket.writableLength > MAX_UNREAD_BYTES) {
      throw new LinkError('too_many_requests', `${this.address} asks faster than it reads the answers`, '');
    }
    this.#asked++;
    const answer = this.#events.answer(request);
    this.#answered = this.#answered.then(async () => {
      const bytes = responseBytes(await answer);
      this.#asked--;
      if (!this.#socket.destroyed) this.#socket.write(bytes);
    });
  }

  #over(): void {
    this.#cancelDeadline();
    this.#cutter.stop();
    const lost = problemResponse(502, 'connection_lost', `the connection with ${this.address} ended before the answer`);
    for (const question of this.#questions.splice(0)) question.settle(lost);
  }
}

/** Of a path: it would lead to a shell or a port. */
export function isTunnel(path: string): boolean {
  return /(^|\/)tunnel(\/|$)/i.test(decoded(path));
}

function decoded(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}

function refusal(status: number, code: string, words: string): Promise<NodeResponse> {
  return Promise.resolve(problemResponse(status, code, words));
}

function noGreeting(address: string): LinkError {
  const fix = 'Is it the port of a Portal node (9700), and does every node of the mesh have TLS, or none?';
  return new LinkError('no_greeting', `${address} did not say who it is within ${GREETING_MS / 1000} s`, fix);
}

function noAnswer(address: string): LinkError {
  return new LinkError(
    'no_answer',
    `${address} did not answer a request within ${REQUEST_MS / 1000} s`,
    'The node hangs, or the way to it does.',
  );
}

function hungUp(address: string, early: boolean): LinkError {
  if (!early) return new LinkError('ended', `${address} hung up`, '');
  const fix = 'A Portal node hangs up without a word on whoever has another federation_key. Compare them.';
  return new LinkError('wrong_key', `${address} hung up in the handshake`, fix);
}

function broken(address: string, { code, message }: ProtocolError): LinkError {
  return new LinkError(code, `${address}: ${message}`, 'Is it a Portal node, with TLS as this link has it?');
}
