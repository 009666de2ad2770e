// Requests of ours to one peer on one connection, until they are answered or given up.
import { type NodeResponse, problemResponse } from '../../core/node.ts';
import { onAbort } from '../../lib/abort.ts';
import type { Clock } from '../../lib/clock.ts';
import type { PortalResponse } from '../../wire/portal-bodies.ts';
import { MAX_OUTSTANDING, MAX_RESPONSE_BYTES } from './limits.ts';

interface Call {
  readonly sentMs: number;
  readonly settle: (response: NodeResponse) => void;
  /** From the first piece of the answer. */
  first: PortalResponse | undefined;
  readonly pieces: Buffer[];
  bytes: number;
}

export class Calls {
  readonly #clock: Clock;
  readonly #calls = new Map<number, Call>();
  #nextId = 1;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get outstanding(): number {
    return this.#calls.size;
  }

  /** When the oldest unanswered request was sent, monotonic. */
  get waitingSinceMs(): number | undefined {
    const [oldest] = this.#calls.values();
    return oldest?.sentMs;
  }

  /** Sends with a number of its own; resolves with the answer, or one of ours: 504 too late, 499 given up, 429 too many. */
  make(send: (id: number) => void, signal: AbortSignal, timeoutMs: number): Promise<NodeResponse> {
    if (this.#calls.size >= MAX_OUTSTANDING) return Promise.resolve(TOO_MANY);
    const id = this.#nextId++;
    return new Promise((resolve) => {
      const settle = (response: NodeResponse) => {
        cancelTimeout();
        release();
        this.#calls.delete(id);
        resolve(response);
      };
      let release = () => {};
      const cancelTimeout = this.#clock.after(timeoutMs, () => settle(unanswered(timeoutMs)));
      this.#calls.set(id, { sentMs: this.#clock.nowMs(), settle, first: undefined, pieces: [], bytes: 0 });
      send(id);
      release = onAbort(signal, () => settle(GIVEN_UP));
    });
  }

  /** A piece of an answer came. One that nobody waits for any more is passed over. */
  answered(response: PortalResponse): void {
    const call = this.#calls.get(response.id);
    if (!call) return;
    call.first ??= response;
    call.bytes += response.body.length;
    if (call.bytes > MAX_RESPONSE_BYTES) return call.settle(TOO_LARGE);
    call.pieces.push(response.more || call.pieces.length > 0 ? Buffer.from(response.body) : response.body);
    if (response.more) return;
    const { status, headers } = call.first;
    call.settle({ status, headers, body: call.pieces.length === 1 ? call.pieces[0]! : Buffer.concat(call.pieces) });
  }

  /** The connection ended. */
  close(): void {
    for (const call of this.#calls.values()) call.settle(LOST);
  }
}

function unanswered(ms: number): NodeResponse {
  return problemResponse(504, 'no_answer', `the peer did not answer within ${Math.round(ms / 1000)} s`);
}

const TOO_MANY = problemResponse(
  429,
  'too_many_requests',
  `${MAX_OUTSTANDING} requests to this peer wait for an answer`,
);
const GIVEN_UP = problemResponse(499, 'given_up', 'whoever asked has gone');
const TOO_LARGE = problemResponse(502, 'response_too_large', `the answer is larger than ${MAX_RESPONSE_BYTES} bytes`);
const LOST = problemResponse(502, 'connection_lost', 'the connection ended before the answer came');
