// A file on its way out, whole or from where the last try ended (Range, RFC 9110 §14).
import type { ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { FileRefusal } from '../../files/refusal.ts';
import type { Transfers } from '../../files/transfers.ts';
import type { Found, MartiRequest } from './context.ts';

/** First and last byte asked for; undefined: all; 'none': nothing of it is there. Several ranges in one request are answered with all. */
export function rangeOf(header: string | undefined, size: number): readonly [number, number] | 'none' | undefined {
  const match = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header ?? '');
  if (!match || (match[1] === '' && match[2] === '')) return undefined;
  if (match[1] === '') {
    const last = Number(match[2]);
    return last === 0 ? 'none' : [Math.max(0, size - last), size - 1];
  }
  const start = Number(match[1]);
  const end = match[2] === '' ? size - 1 : Math.min(size - 1, Number(match[2]));
  if (end < start && match[2] !== '' && Number(match[2]) < start) return undefined;
  return start >= size ? 'none' : [start, end];
}

/** Resolves when the answer has ended, or the phone has gone. */
export async function sendFile(
  found: Found,
  transfers: Transfers,
  { request, caller }: MartiRequest,
  response: ServerResponse,
): Promise<void> {
  const { hash, name, size, mime, addedMs } = found.file;
  const etag = `"${hash}"`;
  const condition = request.headers['if-range'];
  const range = condition === undefined || condition === etag ? rangeOf(request.headers.range, size) : undefined;
  response.setHeader('accept-ranges', 'bytes');
  response.setHeader('etag', etag);
  if (range === 'none') {
    response.writeHead(416, { 'content-range': `bytes */${size}`, 'content-length': 0 });
    return void response.end();
  }
  const [start, end] = range ?? [0, size - 1];
  response.writeHead(range ? 206 : 200, {
    'content-type': mime,
    'content-length': end - start + 1,
    'content-disposition': `attachment; filename="${name.replace(/[^\x20-\x7e]|["\\%]/g, '_')}"; filename*=UTF-8''${encodeURIComponent(name)}`,
    'last-modified': new Date(addedMs).toUTCString(),
    ...(range ? { 'content-range': `bytes ${start}-${end}/${size}` } : {}),
  });
  if (request.method === 'HEAD') return void response.end();
  response.flushHeaders();
  const gone = new AbortController();
  response.once('close', () => gone.abort());
  const transfer = transfers.begin({ hash, name, size, direction: 'out', peer: caller.name });
  transfer.startAt(start);
  // The last bytes wait until it is certain that they are the last: whoever has all that was announced hangs up.
  const counted = async function* () {
    let left = end - start + 1;
    let last: Buffer | undefined;
    for await (const chunk of found.read(start, end, gone.signal)) {
      transfer.moved(chunk.length);
      left -= chunk.length;
      if (left > 0) yield chunk;
      else last = chunk;
    }
    if (last) yield last;
  };
  try {
    await pipeline(Readable.from(counted(), { objectMode: false }), response);
    transfer.become('whole');
  } catch (error) {
    transfer.become('failed', error instanceof FileRefusal ? error.message : 'whoever asked for it went away');
    response.destroy(); // headers are out: that fewer bytes came than announced is how the phone learns of it
  }
}
