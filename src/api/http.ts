// Small things that every answer of the API needs: JSON, problems, headers of caution, and bodies that end.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { problemOf, type Refusal } from './refusal.ts';

/** For every answer; a page sets its own policy over these. */
const CAUTION: Readonly<Record<string, string>> = {
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
};

export function setCaution(response: ServerResponse): void {
  for (const [name, value] of Object.entries(CAUTION)) response.setHeader(name, value);
}

export function json(response: ServerResponse, status: number, body: unknown, type = 'application/json'): void {
  const bytes = Buffer.from(`${JSON.stringify(body)}\n`);
  response.writeHead(status, { 'content-type': type, 'content-length': bytes.length });
  response.end(bytes);
}

/** RFC 9457 problem details. */
export function problem(response: ServerResponse, refusal: Refusal): void {
  for (const [name, value] of Object.entries(refusal.headers)) response.setHeader(name, value);
  json(response, refusal.status, problemOf(refusal), 'application/problem+json');
}

/** What a refused request still sends is thrown away for so long, so that the answer is read. */
const LINGER_MS = 2_000;

/**
 * For an answer that comes before all of the request has: `connection: close` would have Node close at once, and the reset for
 * what is still coming take the answer with it.
 */
export function passOver(request: IncomingMessage): void {
  if (request.complete) return;
  request.on('error', () => {});
  request.resume();
  const timer = setTimeout(() => request.destroy(), LINGER_MS);
  request.once('close', () => clearTimeout(timer));
}

/** The whole body; undefined: longer than `max` bytes. Rejects when the connection ends first; the server bounds the time. */
export function readBody(request: IncomingMessage, max: number): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  let length = 0;
  return new Promise((resolve, reject) => {
    request.on('data', (chunk: Buffer) => {
      length += chunk.length;
      if (length <= max) chunks.push(chunk);
      else resolve(undefined);
    });
    request.on('end', () => resolve(Buffer.concat(chunks)));
    request.on('error', reject);
    request.on('close', () => reject(new Error('the connection ended before the body did')));
  });
}
