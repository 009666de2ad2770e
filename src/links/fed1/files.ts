// A file brought to a v1 federate as TAK Server does it: HTTPS on 8444 with the federation certificates. First it is asked whether it has the
// file (missionquery), then it is given it (missionupload); either answer is the address under which its own clients find it.
import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http';
import type { Pace } from '../../core/session.ts';
import { LinkError } from '../../lib/errors.ts';
import type { LinkContext, SharedFile } from '../link.ts';
import { type Address, dialTls, formatAddress, type TlsSettings } from '../stream.ts';
import { CONNECT_MS, FILE_ANSWER_BYTES, FILE_IDLE_MS, FILE_PIECE_BYTES, FILE_URL_CHARS, TLS_MS } from './limits.ts';

export interface FilesAt {
  readonly address: Address;
  readonly tls: TlsSettings;
  readonly context: LinkContext;
  readonly signal: AbortSignal;
  pace(): Pace;
}

interface Answer {
  readonly status: number;
  readonly text: string;
}

/** Resolves to the file's address there. Rejects with LinkError. */
export async function bringFile(file: SharedFile, to: FilesAt): Promise<string> {
  const known = await ask(to, { method: 'GET', path: `/Marti/sync/missionquery?hash=${file.hash}` });
  if (known.status === 200) return urlOf(known, to);
  if (known.status < 400 || known.status > 499) throw refused(known, to);
  const path = `/Marti/sync/missionupload?hash=${file.hash}&filename=${encodeURIComponent(file.name)}`;
  const form = formOf(file);
  const length = form.head.length + file.size + form.tail.length;
  const headers = { 'content-type': `multipart/form-data; boundary=${form.boundary}`, 'content-length': length };
  const given = await ask(to, { method: 'POST', path, headers }, (request) => send(request, form, file, to));
  if (given.status !== 200) throw refused(given, to);
  return urlOf(given, to);
}

/** As ATAK and TAK Server send it: one part, `assetfile`. */
function formOf({ hash, name, mime }: SharedFile) {
  const boundary = `waystation-${hash.slice(0, 32)}`;
  const safe = name.replace(/["\\\p{C}]/gu, '_');
  const part = `content-disposition: form-data; name="assetfile"; filename="${safe}"\r\ncontent-type: ${mime}`;
  const head = Buffer.from(`--${boundary}\r\n${part}\r\n\r\n`);
  return { boundary, head, tail: Buffer.from(`\r\n--${boundary}--\r\n`) };
}

async function send(
  request: ClientRequest,
  form: ReturnType<typeof formOf>,
  file: SharedFile,
  to: FilesAt,
): Promise<void> {
  await written(request, form.head);
  for (let at = 0; at < file.size && !request.destroyed; ) {
    const { rateBps, recordBytes } = to.pace();
    const piece = await file.read(at, Math.min(FILE_PIECE_BYTES, recordBytes, file.size - at));
    if (piece.length === 0) throw new Error('the file is shorter than it was');
    await written(request, piece);
    file.moved(piece.length);
    at += piece.length;
    // It shares the line with the events: where that is known to be thin it takes no more than its time.
    if (rateBps !== undefined) await pause(to.context, (piece.length * 8_000) / rateBps);
  }
  request.end(form.tail);
}

/** Resolves when the request takes more, or has ended. */
function written(request: ClientRequest, bytes: Buffer): Promise<void> {
  return new Promise((resolve) => {
    if (request.destroyed || request.write(bytes)) return resolve();
    const on = () => {
      request.off('drain', on);
      request.off('close', on);
      resolve();
    };
    request.on('drain', on);
    request.on('close', on);
  });
}

function pause({ clock }: LinkContext, ms: number): Promise<void> {
  return new Promise((resolve) => void clock.after(ms, resolve));
}

interface Question {
  readonly method: string;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string | number>>;
}

/** One request on a connection of its own. Rejects with LinkError. */
async function ask(
  { address, tls, context, signal }: FilesAt,
  { method, path, headers }: Question,
  body?: (request: ClientRequest) => Promise<void>,
): Promise<Answer> {
  const quiet = { ...context, signal, report() {} };
  const { socket } = await dialTls(address, tls, { connectMs: CONNECT_MS, handshakeMs: TLS_MS }, quiet);
  const where = formatAddress(address);
  const stop = () => socket.destroy();
  signal.addEventListener('abort', stop);
  socket.setTimeout(FILE_IDLE_MS, () => socket.destroy(new Error('nothing moved for too long')));
  try {
    return await new Promise<Answer>((resolve, reject) => {
      const host = `${address.host.includes(':') ? `[${address.host}]` : address.host}:${address.port}`;
      const given = { host, connection: 'close', 'user-agent': `Waystation/${context.node.version}`, ...headers };
      const request = httpRequest({ createConnection: () => socket, method, path, headers: given });
      request.on('response', (response) => collect(response, resolve, reject));
      request.on('error', reject);
      if (body) body(request).catch(reject);
      else request.end();
    });
  } catch (error) {
    if (error instanceof LinkError) throw error;
    const words = `${where}: ${(error as Error).message}`;
    throw new LinkError('files_refused', words, FIX, { cause: error });
  } finally {
    signal.removeEventListener('abort', stop);
    socket.destroy();
  }
}

function collect(response: IncomingMessage, resolve: (answer: Answer) => void, reject: (error: Error) => void): void {
  let text = '';
  response.on('data', (chunk) => {
    text += chunk;
    if (text.length > FILE_ANSWER_BYTES) response.destroy(new Error('it answers at too great a length'));
  });
  response.on('end', () => resolve({ status: response.statusCode ?? 0, text: text.trim() }));
  response.on('error', reject);
}

/** What it says is passed on to its own clients, and nowhere else; but nothing that is no address. */
function urlOf(answer: Answer, to: FilesAt): string {
  const isUrl = answer.text.length <= FILE_URL_CHARS && /^https?:\/\/[^\s<>"']+$/.test(answer.text);
  if (!isUrl || !URL.canParse(answer.text)) throw refused(answer, to);
  return answer.text;
}

function refused({ status, text }: Answer, { address }: FilesAt): LinkError {
  const said = text.replace(/\p{C}/gu, ' ').slice(0, 100);
  return new LinkError('files_refused', `${formatAddress(address)} answered ${status}: ${JSON.stringify(said)}`, FIX);
}

const FIX =
  'Files go to v1 federates by HTTPS (TAK Server: port 8444, with its federation truststore). Open that port towards this box, set files_port if it ' +
  'is another, or files_port: false if there is none: then files are announced as they came.';
