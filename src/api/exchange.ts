// Requests between relays and to local services: what crosses, how much of it, and how long anybody waits.
import type { NodeRequest, NodeResponse, NodeService } from '../core/node.ts';
import { problemResponse } from '../core/node.ts';
import { onAbort } from '../lib/abort.ts';
import type { Clock } from '../lib/clock.ts';

/** Largest body of a request. */
export const MAX_BODY_BYTES = 1024 * 1024;
/** Largest answer: a camera's picture. */
export const MAX_ANSWER_BYTES = 4 * 1024 * 1024;
/** Most relays a request may have passed. */
export const MAX_HOPS = 4;
/** A link answers 504 by itself after 30 s; this is for one that does not. */
export const CALL_TIMEOUT_MS = 35_000;
const MAX_HEADER = 1024;

/** Names of the relays behind the caller, nearest first, as each names the one before: `hub-b/relay-a`. */
export const FROM_HEADER = 'x-waystation-from';
/** Ids of the relays passed. */
export const PASSED_HEADER = 'x-waystation-passed';

/** What a service needs to know to answer; nothing that says who we are or what we may. */
const REQUEST_HEADERS = ['accept', 'accept-language', 'content-type', 'if-modified-since', 'if-none-match'];
const ANSWER_HEADERS = ['allow', 'content-type', 'etag', 'last-modified', 'retry-after'];

type Headers = Readonly<Record<string, string | readonly string[] | undefined>>;

export function requestHeaders(headers: Headers): Record<string, string> {
  return pick(headers, REQUEST_HEADERS);
}

export function answerHeaders(headers: Headers): Record<string, string> {
  return pick(headers, ANSWER_HEADERS);
}

/** One value each, of visible ASCII. */
function pick(headers: Headers, names: readonly string[]): Record<string, string> {
  const picked: Record<string, string> = {};
  for (const name of names) {
    const value = headers[name];
    if (typeof value === 'string' && value.length <= MAX_HEADER && /^[\x20-\x7e]*$/.test(value)) picked[name] = value;
  }
  return picked;
}

/** An answer as far as it may be handed on; one that is too large or no answer at all is replaced by a problem. */
export function checkedAnswer({ status, headers, body, answered }: NodeResponse): NodeResponse {
  if (!Number.isInteger(status) || status < 200 || status > 599) {
    return problemResponse(502, 'bad_answer', `the far end answered with the status ${Number(status)}, which is none`);
  }
  if (body.length > MAX_ANSWER_BYTES) return problemResponse(502, 'answer_too_large', TOO_LARGE);
  return { status, headers: answerHeaders(headers), body, ...(answered && { answered }) };
}

export const TOO_LARGE = `the answer is larger than ${MAX_ANSWER_BYTES >> 20} MiB`;

/** Why a call is aborted of which nobody gave up the answer. */
export const TOO_LATE = Symbol('too late');

/** For whoever no longer listens. */
export const GIVEN_UP = problemResponse(504, 'given_up', 'nobody waits for the answer');

export interface Patience {
  readonly ms: number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** Calls a peer and waits no longer than this, whatever the service does. Resolves always; 504 in place of no answer. */
export function callWithin(
  nodes: Pick<NodeService, 'call'>,
  peer: string,
  request: NodeRequest,
  { ms, clock, signal }: Patience,
): Promise<NodeResponse> {
  if (signal.aborted) return Promise.resolve(GIVEN_UP);
  const controller = new AbortController();
  return new Promise((resolve) => {
    const settle = (answer: NodeResponse, why?: typeof TOO_LATE) => {
      cancel();
      release();
      resolve(answer);
      controller.abort(why);
    };
    const late = () => settle(problemResponse(504, 'no_answer', `${peer} did not answer in ${ms / 1000} s`), TOO_LATE);
    const cancel = clock.after(ms, late);
    const release = onAbort(signal, () => settle(GIVEN_UP));
    nodes.call(peer, request, controller.signal).then(
      (answer) => settle(checkedAnswer(answer)),
      () => settle(problemResponse(502, 'call_failed', `asking ${peer} failed`)),
    );
  });
}
