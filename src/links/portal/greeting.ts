// The handshake inside TLS: challenge, answer, 200, and the client's Hello. Two small machines, one for each side; each hands
// its connection on within the turn in which it is proven, so that no frame behind is lost.
import { onAbort } from '../../lib/abort.ts';
import { LinkError, ProtocolError } from '../../lib/errors.ts';
import { FRAME, type FrameType, portalFrame } from '../../wire/portal.ts';
import { type Hello, readResponse, responseBody } from '../../wire/portal-bodies.ts';
import type { LinkContext } from '../link.ts';
import { Connection, type FrameTaker, type Way } from './connection.ts';
import type { KeyGuard } from './key-guard.ts';
import { HANDSHAKE_MS, HELLO_MS, HELLO_ROUND_TRIPS, MAX_BODY, NONCE_BYTES } from './limits.ts';
import type { Secured } from './secure.ts';
import { hungUp, plainText, reflected, refusedBy, silentGreeting, WRONG_KEY_FRAME } from './words.ts';

/** A proven connection, to be taken over at once: handTo() before the call returns. */
export interface Greeted {
  readonly connection: Connection;
  /** Of the far end; undefined: it knows the frames and nothing else. */
  readonly hello: Hello | undefined;
  /** Round trip of the handshake, the far end's work included. */
  readonly rttMs: number;
}

export interface GreetingOptions {
  readonly secured: Secured;
  readonly way: Way;
  readonly guard: KeyGuard;
  /** The federation key shared with this peer alone; undefined: the one of the link. */
  readonly key?: Buffer | undefined;
  /** Whom wrong keys are counted for. */
  readonly suspect: string;
  readonly ourPin: string;
  readonly signal: AbortSignal;
  /** Our Hello for the 200, made when it is sent. */
  hello(): Hello;
  /** The key was right, on whichever side that shows. */
  authenticated(): void;
  /** Takes the connection. Throws LinkError when it is not wanted after all; may have ended it with words of its own. */
  proven(greeted: Greeted): void;
}

/** As the client. Resolves when the connection is taken. Rejects with LinkError or ProtocolError; the connection is ended then. */
export function greetAsClient(options: GreetingOptions, context: LinkContext): Promise<void> {
  return greet(options, context, (greeting) => new Called(greeting, options, context));
}

/** As the server. Likewise. */
export function greetAsServer(options: GreetingOptions, context: LinkContext): Promise<void> {
  return greet(options, context, (greeting) => new Calling(greeting, options, context));
}

interface Outcome {
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** What one side says and expects. */
interface Part {
  frame(type: FrameType, body: Buffer): void;
  /** It is over, one way or the other. */
  stop(): void;
}

function greet(options: GreetingOptions, context: LinkContext, make: (of: Greeting) => Part): Promise<void> {
  return new Promise((resolve, reject) => new Greeting(options, context, make, { resolve, reject }));
}

/** What both sides have in common: the connection, the deadline, the end. */
class Greeting implements FrameTaker {
  readonly connection: Connection;
  readonly #options: GreetingOptions;
  readonly #outcome: Outcome;
  readonly #part: Part;
  readonly #cancelDeadline: () => void;
  #release = () => {};
  #over = false;

  constructor(options: GreetingOptions, context: LinkContext, make: (of: Greeting) => Part, outcome: Outcome) {
    this.#options = options;
    this.#outcome = outcome;
    this.connection = new Connection(options.secured, options.way, this, context);
    this.#part = make(this);
    this.#cancelDeadline = context.clock.after(HANDSHAKE_MS, () => {
      this.fail(silentGreeting(options.way.address, HANDSHAKE_MS / 1000));
    });
    this.#release = onAbort(options.signal, () => this.fail(new LinkError('aborted', 'told to stop', '')));
  }

  frame(type: FrameType, body: Buffer): void {
    this.#part.frame(type, body);
  }

  heard(): void {}

  failed(error: unknown): void {
    this.fail(error instanceof Error ? error : new Error(String(error)));
  }

  gone(loss: LinkError | undefined): void {
    this.fail(loss ?? hungUp(this.#options.way.address));
  }

  /** Hands the connection on. False: it was not wanted. */
  proven(hello: Hello | undefined, rttMs: number): boolean {
    if (this.#over) return false;
    try {
      this.#options.proven({ connection: this.connection, hello, rttMs });
    } catch (error) {
      this.failed(error);
      return false;
    }
    this.#settle();
    this.#outcome.resolve();
    return true;
  }

  fail(error: Error, lastWord?: Buffer): void {
    if (this.#over) return;
    this.#settle();
    if (lastWord) this.connection.end(lastWord);
    else if (!this.connection.over) this.connection.destroy();
    this.#outcome.reject(error);
  }

  #settle(): void {
    this.#over = true;
    this.#part.stop();
    this.#cancelDeadline();
    this.#release();
  }
}

/** The client: is asked, answers, is let in. */
class Called implements Part {
  readonly #greeting: Greeting;
  readonly #options: GreetingOptions;
  readonly #context: LinkContext;
  #answeredMs: number | undefined;

  constructor(greeting: Greeting, options: GreetingOptions, context: LinkContext) {
    this.#greeting = greeting;
    this.#options = options;
    this.#context = context;
  }

  frame(type: FrameType, body: Buffer): void {
    if (type === FRAME.response) return this.#response(body);
    if (type !== FRAME.challenge || this.#answeredMs !== undefined) throw unexpected(type);
    if (body.length !== NONCE_BYTES) throw new ProtocolError('bad_challenge', `a challenge of ${body.length} bytes`);
    const answer = this.#options.guard.answer(body, this.#options.key);
    if (!answer) return this.#greeting.fail(reflected(this.#options.way.address));
    this.#answeredMs = this.#context.clock.nowMs();
    // The server has proved by its certificate that it is the peer: its Hello may be longer.
    this.#greeting.connection.allow(MAX_BODY);
    this.#greeting.connection.write(portalFrame(FRAME.answer, answer));
  }

  stop(): void {}

  #response(bytes: Buffer): void {
    const { id, status, body, hello } = readResponse(bytes);
    if (id !== 0) throw new ProtocolError('bad_greeting', `a response to request ${id} before the handshake ended`);
    const { way, ourPin } = this.#options;
    if (status !== 200) return this.#greeting.fail(refusedBy(status, plainText(body), way.address, ourPin));
    if (this.#answeredMs === undefined) throw new ProtocolError('no_challenge', 'a 200 without a challenge before it');
    this.#options.authenticated();
    this.#greeting.proven(hello, this.#context.clock.nowMs() - this.#answeredMs);
  }
}

/** The server: asks, judges, lets in, and waits a moment for the client's Hello. */
class Calling implements Part {
  readonly #greeting: Greeting;
  readonly #options: GreetingOptions;
  readonly #context: LinkContext;
  readonly #nonce: Buffer;
  readonly #askedMs: number;
  /** Set when the key was right. */
  #rttMs: number | undefined;
  #cancelHello = () => {};

  constructor(greeting: Greeting, options: GreetingOptions, context: LinkContext) {
    this.#greeting = greeting;
    this.#options = options;
    this.#context = context;
    this.#nonce = options.guard.challenge();
    this.#askedMs = context.clock.nowMs();
    greeting.connection.write(portalFrame(FRAME.challenge, this.#nonce));
  }

  frame(type: FrameType, body: Buffer): void {
    if (this.#rttMs === undefined) return this.#answer(type, body);
    if (type === FRAME.response) return this.#hello(body, this.#rttMs);
    // From a peer that sends no Hello this is the first frame of the session.
    if (this.#greeting.proven(undefined, this.#rttMs)) this.#greeting.connection.pass(type, body);
  }

  stop(): void {
    this.#cancelHello();
  }

  #answer(type: FrameType, body: Buffer): void {
    if (type !== FRAME.answer) throw unexpected(type);
    const { guard, key, suspect, way, hello } = this.#options;
    if (!guard.accepts(this.#nonce, body, suspect, key)) {
      const words = `${way.address} does not have our federation key`;
      return this.#greeting.fail(new LinkError('wrong_key', words, ''), WRONG_KEY_FRAME);
    }
    this.#options.authenticated();
    const { clock } = this.#context;
    const rttMs = clock.nowMs() - this.#askedMs;
    this.#rttMs = rttMs;
    const { connection } = this.#greeting;
    connection.allow(MAX_BODY);
    connection.write(portalFrame(FRAME.response, responseBody({ status: 200, hello: hello() })));
    this.#cancelHello = clock.after(HELLO_MS + HELLO_ROUND_TRIPS * rttMs, () =>
      this.#greeting.proven(undefined, rttMs),
    );
  }

  /** The client's Hello, or its word that it wants no connection with us after all. */
  #hello(bytes: Buffer, rttMs: number): void {
    const { id, status, hello, body } = readResponse(bytes);
    if (id !== 0) throw new ProtocolError('bad_greeting', `a response to request ${id} in place of a Hello`);
    const { way, ourPin } = this.#options;
    if (status === 200) this.#greeting.proven(hello, rttMs);
    else this.#greeting.fail(refusedBy(status, plainText(body), way.address, ourPin));
  }
}

function unexpected(type: FrameType): ProtocolError {
  return new ProtocolError('bad_greeting', `frame type ${type} in place of the handshake`);
}
