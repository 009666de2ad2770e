// Asks a local HTTP service that the configuration maps a path to. Nothing of the answer is believed: not its length, not
// where it wants us to go next, not that it ends.
import { request as httpRequest, type IncomingMessage } from 'node:http';
import type { Service } from '../config/resources.ts';
import { type NodeRequest, type NodeResponse, problemResponse } from '../core/node.ts';
import { onAbort } from '../lib/abort.ts';
import type { Clock } from '../lib/clock.ts';
import { answerHeaders, GIVEN_UP, MAX_ANSWER_BYTES, requestHeaders, TOO_LARGE } from './exchange.ts';

/** From asking to the last byte of the answer. */
export const SERVICE_TIMEOUT_MS = 10_000;

export interface ServiceRequest extends Pick<NodeRequest, 'method' | 'headers' | 'body'> {
  /** Behind the service's base, as parseTarget() let it pass: begins with a slash, or is empty. */
  readonly rest: string;
  /** With its `?`, or empty. */
  readonly query: string;
}

/** Resolves always: with the answer, or with a problem 502 or 504 in its place. */
export function askService(
  service: Service,
  ask: ServiceRequest,
  { clock, signal }: { readonly clock: Clock; readonly signal: AbortSignal },
): Promise<NodeResponse> {
  const path = servicePath(service, ask);
  if (signal.aborted) return Promise.resolve(GIVEN_UP);
  if (path === undefined) return Promise.resolve(problemResponse(400, 'bad_path', 'the path leads out of the service'));
  const body = ask.method === 'GET' ? Buffer.alloc(0) : ask.body;
  const length = ask.method === 'GET' ? {} : { 'content-length': body.length };
  return new Promise((resolve) => {
    const outgoing = httpRequest({
      host: service.host,
      port: service.port,
      method: ask.method,
      path,
      headers: { ...requestHeaders(ask.headers), ...length, 'user-agent': 'waystation' },
      agent: false,
      maxHeaderSize: 16_384,
    });
    const settle = (answer: NodeResponse) => {
      cancel();
      release();
      resolve(answer);
      outgoing.destroy();
    };
    const fail = (code: string, words: string) =>
      settle(problemResponse(code === 'no_answer' ? 504 : 502, code, words));
    const cancel = clock.after(SERVICE_TIMEOUT_MS, () =>
      fail('no_answer', `the service behind this path did not answer in ${SERVICE_TIMEOUT_MS / 1000} s`),
    );
    const release = onAbort(signal, () => settle(GIVEN_UP));
    outgoing.on('error', (error: NodeJS.ErrnoException) => fail('service_failed', words(error)));
    outgoing.on('close', () => fail('service_failed', 'the service behind this path hung up'));
    outgoing.on('response', (incoming) => collect(incoming, settle, fail));
    outgoing.end(body);
  });
}

/** The path to ask for; undefined when it does not lie under the service's base after all. */
function servicePath({ base }: Service, { rest, query }: ServiceRequest): string | undefined {
  const joined = `${base}${rest}` || '/';
  // By another parser than ours: it resolves dots in every spelling.
  const parsed = URL.canParse(joined, 'http://localhost') ? new URL(joined, 'http://localhost') : undefined;
  const inside = parsed?.host === 'localhost' && (parsed.pathname === base || parsed.pathname.startsWith(`${base}/`));
  return inside ? `${joined}${query}` : undefined;
}

function collect(
  incoming: IncomingMessage,
  settle: (answer: NodeResponse) => void,
  fail: (code: string, words: string) => void,
): void {
  const status = incoming.statusCode ?? 0;
  if (status < 200 || (status >= 300 && status < 400 && status !== 304)) {
    return fail('service_redirects', `the service behind this path answered ${status}; it is not followed elsewhere`);
  }
  if (Number(incoming.headers['content-length']) > MAX_ANSWER_BYTES) return fail('answer_too_large', TOO_LARGE);
  const chunks: Buffer[] = [];
  let length = 0;
  incoming.on('data', (chunk: Buffer) => {
    length += chunk.length;
    if (length > MAX_ANSWER_BYTES) fail('answer_too_large', TOO_LARGE);
    else chunks.push(chunk);
  });
  incoming.on('error', () => fail('service_failed', 'the service behind this path hung up'));
  incoming.on('end', () => settle({ status, headers: answerHeaders(incoming.headers), body: Buffer.concat(chunks) }));
}

/** Without the address: whoever asks need not know where the service stands. */
function words({ code }: NodeJS.ErrnoException): string {
  return `the service behind this path cannot be asked (${code ?? 'no HTTP'})`;
}
