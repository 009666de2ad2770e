// Bodies of requests: bounded in bytes and depth (and, by the listener, in time), then JSON or a form.
import type { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import { FileRefusal } from '../files/refusal.ts';
import { readBody } from './http.ts';
import { complete, formOf, poured } from './marti/upload.ts';
import { Refusal } from './refusal.ts';
import type { Route, Upload } from './route.ts';

export const MAX_JSON_BYTES = 64 * 1024;
/** Brackets within brackets. */
export const MAX_JSON_DEPTH = 16;
const MAX_FORM_FIELDS = 256;

/** What the route's handler or schema is given. Rejects with Refusal. */
export async function takeBody(request: IncomingMessage, route: Route, withinMs: number): Promise<unknown> {
  const kind = route.bodyKind ?? (route.body ? 'json' : 'none');
  if (kind === 'file') return takeFile(request);
  const max = route.maxBodyBytes ?? (kind === 'none' ? 0 : MAX_JSON_BYTES);
  if (Number(request.headers['content-length'] ?? 0) > max) throw tooLarge(max);
  const bytes = await inTime(readBody(request, max), withinMs);
  if (!bytes) throw tooLarge(max);
  if (kind === 'none') return undefined;
  if (kind === 'bytes') return bytes;
  const type = (request.headers['content-type'] ?? '').split(';', 1)[0]!.trim().toLowerCase();
  if (kind === 'form' && type === 'application/x-www-form-urlencoded') return parseForm(bytes.toString('utf8'));
  if (bytes.length === 0) return {};
  if (type !== 'application/json' && !/^application\/[a-z.-]+\+json$/.test(type)) {
    const said = type === '' ? 'nothing' : JSON.stringify(type.slice(0, 64));
    throw new Refusal(415, 'wrong_content_type', `a body must be application/json, this one says it is ${said}`, {
      fix: 'send the header "Content-Type: application/json"',
    });
  }
  return parseJson(bytes);
}

/** A form's fields up to its file, or the bare body. */
async function takeFile(request: IncomingMessage): Promise<Upload> {
  if (!/^multipart\/form-data/i.test(request.headers['content-type'] ?? '')) return { bytes: complete(request) };
  const form = formOf(request, Number.MAX_SAFE_INTEGER);
  let csrf: string | undefined;
  form.on('field', (name, value) => {
    if (name === 'csrf') csrf = value;
  });
  return new Promise((resolve, reject) => {
    form.once('file', (_field: string, stream: Readable) => resolve({ csrf, bytes: complete(stream) }));
    poured(request, form).then((broken) =>
      reject(broken ?? new FileRefusal('bad_request', 'there is no file in the form')),
    );
  });
}

/** The listener waits for the slowest of all bodies, a file; others have less time. */
function inTime<T>(body: Promise<T>, withinMs: number): Promise<T> {
  return new Promise((resolve, reject) => {
    const late = () => reject(new Refusal(408, 'request_timeout', 'the body took too long to come'));
    const timer = setTimeout(late, withinMs);
    body.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

function tooLarge(max: number): Refusal {
  const words = max === 0 ? 'no body is taken here' : `a body may have ${max} bytes here`;
  return new Refusal(413, 'body_too_large', words);
}

function parseJson(bytes: Buffer): unknown {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new Refusal(400, 'not_utf8', 'the body is not UTF-8 text');
  }
  if (tooDeep(text)) {
    throw new Refusal(400, 'too_deep', `the JSON is nested more than ${MAX_JSON_DEPTH} deep`);
  }
  try {
    return JSON.parse(text);
  } catch (error) {
    const words = error instanceof Error ? error.message.slice(0, 200) : '';
    throw new Refusal(400, 'not_json', `the body is not JSON: ${words}`);
  }
}

/** Counts brackets outside texts; what is no JSON at all is found later. */
function tooDeep(text: string): boolean {
  let depth = 0;
  let inText = false;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (inText) {
      if (code === 0x5c) at++;
      else if (code === 0x22) inText = false;
    } else if (code === 0x22) inText = true;
    else if (code === 0x7b || code === 0x5b) {
      if (++depth > MAX_JSON_DEPTH) return true;
    } else if (code === 0x7d || code === 0x5d) depth--;
  }
  return false;
}

/** Fields as text; a field given several times as a list. */
function parseForm(text: string): Record<string, string | string[]> {
  const fields = new Map<string, string | string[]>();
  let count = 0;
  for (const [name, value] of new URLSearchParams(text)) {
    if (++count > MAX_FORM_FIELDS)
      throw new Refusal(400, 'too_many_fields', `a form may have ${MAX_FORM_FIELDS} fields`);
    const before = fields.get(name);
    fields.set(name, before === undefined ? value : [...(Array.isArray(before) ? before : [before]), value]);
  }
  return Object.fromEntries(fields);
}
