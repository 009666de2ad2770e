// A release from a server, as a stream. What it is worth is said by its signature, not by where it came from.
import { Readable } from 'node:stream';
import { LinkError } from '../lib/errors.ts';

/** Over a slow line. */
const DOWNLOAD_MS = 6 * 3_600_000;

/** Rejects with LinkError `update_unreachable`. */
export async function download(url: string, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
  const late = AbortSignal.any([signal, AbortSignal.timeout(DOWNLOAD_MS)]);
  const trouble = (words: string, cause?: unknown) =>
    new LinkError('update_unreachable', `${url}: ${words}`, 'check the address, and that this box reaches it', {
      cause,
    });
  const response = await fetch(url, { signal: late }).catch((error: unknown) => {
    throw trouble(error instanceof Error ? String(error.cause ?? error.message) : String(error), error);
  });
  if (!response.ok || !response.body) throw trouble(`the server said ${response.status}`);
  return Readable.fromWeb(response.body as never);
}
