// A file on its way in: multipart as ATAK's mission packages are sent, or the bare body of Enterprise Sync. Streamed, never held.
import type { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import busboy from 'busboy';
import { FileRefusal } from '../../files/refusal.ts';
import { type Claim, isHash, type StoredFile } from '../../files/shelf.ts';
import type { Transfer } from '../../files/transfers.ts';
import type { MartiParts, MartiRequest } from './context.ts';

/** What multipart may put around a file. */
const WRAPPING_BYTES = 65_536;
const FORM_LIMITS = { files: 1, fields: 16, fieldSize: 4_096, fieldNameSize: 128, headerPairs: 16, parts: 17 };

/** @throws FileRefusal */
export async function takeUpload(
  { shelf, transfers }: Pick<MartiParts, 'shelf' | 'transfers'>,
  { request, query, caller }: MartiRequest,
): Promise<StoredFile> {
  const hash = query.get('hash')?.toLowerCase() || undefined;
  if (hash !== undefined && !isHash(hash)) throw new FileRefusal('bad_hash', 'hash is 64 hexadecimal digits');
  const announced = Number(request.headers['content-length'] ?? 0);
  shelf.checkRoom(Math.max(0, announced - WRAPPING_BYTES));
  const claim: Claim = {
    name: query.get('filename') ?? query.get('name') ?? '',
    uploader: caller.name,
    creatorUid: query.get('creatorUid') ?? query.get('CreatorUid') ?? '',
    keywords: query.getAll('keywords').flatMap((text) => text.split(',')),
    hash,
  };
  const transfer = transfers.begin({
    ...{ hash: hash ?? '', name: claim.name, direction: 'in', peer: caller.name, size: announced },
  });
  const take: Take = (stream, of) => shelf.take(counted(complete(stream), transfer), of);
  try {
    const file = await taken(request, claim, take, { announced, most: shelf.limits.fileBytes });
    transfer.of = { ...transfer.of, hash: file.hash, name: file.name, size: file.size };
    transfer.become('whole');
    return file;
  } catch (error) {
    transfer.become('failed', (error as Error).message);
    throw error;
  }
}

type Take = (stream: Readable, claim: Claim) => Promise<StoredFile>;

async function taken(
  request: IncomingMessage,
  claim: Claim,
  take: Take,
  { announced, most }: { readonly announced: number; readonly most: number },
): Promise<StoredFile> {
  if (/^multipart\/form-data/i.test(request.headers['content-type'] ?? '')) return takeForm(request, claim, take, most);
  const size = request.headers['content-length'] === undefined ? undefined : announced;
  return take(request, { ...claim, size });
}

async function takeForm(request: IncomingMessage, claim: Claim, take: Take, most: number): Promise<StoredFile> {
  const form = formOf(request, most + 1);
  let taken: Promise<StoredFile> | undefined;
  form.on('file', (_field: string, stream: Readable, info: { filename?: string }) => {
    taken = take(stream, { ...claim, name: claim.name || info.filename || '' });
    // Heard below; until then it must not count as unheard, and the form must not wait for a file that is refused.
    taken.catch((error: Error) => form.destroy(error));
  });
  const broken = await poured(request, form);
  if (!taken) throw new FileRefusal('bad_request', 'there is no file in the form (its part is called assetfile)');
  const file = await taken;
  if (broken) throw incomplete();
  return file;
}

/** Resolves when the form has read all, or why it has not. The request stays open in any case: the answer goes out on it. */
export function poured(request: IncomingMessage, form: busboy.Busboy): Promise<unknown> {
  return new Promise((resolve) => {
    form.once('error', resolve);
    form.once('close', () => resolve(undefined));
    request.on('error', () => {});
    request.once('close', () => {
      if (!request.complete) form.destroy(incomplete());
    });
    request.pipe(form);
  }).finally(() => request.unpipe(form));
}

export function formOf(request: IncomingMessage, fileSize: number): busboy.Busboy {
  try {
    return busboy({ headers: request.headers, limits: { ...FORM_LIMITS, fileSize }, defParamCharset: 'utf8' });
  } catch (error) {
    throw new FileRefusal('bad_request', `the form cannot be read: ${(error as Error).message}`);
  }
}

/** The stream, which ends in words when it is cut off; it stays open, so that a refusal can still be answered. */
export function complete(stream: Readable): AsyncIterable<Buffer> {
  stream.on('error', () => {}); // nobody may be reading it: what came before it was refused
  return chunksOf(stream);
}

async function* chunksOf(stream: Readable): AsyncIterable<Buffer> {
  try {
    for await (const chunk of stream.iterator({ destroyOnReturn: false })) yield chunk as Buffer;
  } catch (error) {
    throw error instanceof FileRefusal ? error : incomplete();
  }
}

async function* counted(chunks: AsyncIterable<Buffer>, transfer: Transfer): AsyncIterable<Buffer> {
  for await (const chunk of chunks) {
    transfer.moved(chunk.length);
    yield chunk;
  }
}

function incomplete(): FileRefusal {
  return new FileRefusal('incomplete', 'the connection or the form ended before the file did');
}
