// Where phones bring and fetch files: ports of their own, plain for phones without certificates, TLS for those with a certificate of
// this box; and one for servers that federate by v1. Nothing of the status page is here, and nothing of this is there.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { TLSSocket } from 'node:tls';
import { FileRefusal } from '../../files/refusal.ts';
import { aborted, sleep } from '../../lib/abort.ts';
import { plainAddress } from '../../lib/address.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Log } from '../../lib/log.ts';
import { json, passOver, setCaution } from '../http.ts';
import { listen, type Place } from '../listener.ts';
import type { MartiCaller, MartiParts } from './context.ts';
import { answerMarti } from './routes.ts';

const RETRY_MS = 5_000;
/** For a whole file over a slow Wi-Fi; one on which nothing moves ends sooner (api/listener.ts). */
const UPLOAD_MS = 3_600_000;
const MAX_TARGET = 2_048;
/** What TAK Server asks of another by v1. */
const FOR_FEDERATES: ReadonlySet<string> = new Set([
  '/Marti/sync/missionquery',
  '/Marti/sync/missionupload',
  '/Marti/sync/content',
]);

export type MartiPlace = Exclude<Place, { readonly kind: 'socket' }>;

export interface MartiServerOptions extends MartiParts {
  readonly places: readonly MartiPlace[];
  readonly clock: Clock;
  readonly log: Log;
  /** Whose certificate it is; undefined: not to be let in. Asked for every request: one may be revoked meanwhile. */
  judge(socket: TLSSocket, kind: MartiPlace['kind']): Omit<MartiCaller, 'address'> | undefined;
  onListening(kind: MartiPlace['kind'], address: string): void;
  onTrouble(kind: MartiPlace['kind'], error: Error): void;
  /** Counts what was refused, by code. */
  onRefused(code: string): void;
}

/** Serves at every place until aborted. Never rejects. */
export async function serveMarti(options: MartiServerOptions, signal: AbortSignal): Promise<void> {
  await Promise.all(options.places.map((place) => serveAt(place, options, signal)));
}

async function serveAt(place: MartiPlace, options: MartiServerOptions, signal: AbortSignal): Promise<void> {
  const { clock, log, onRefused } = options;
  while (!signal.aborted) {
    try {
      const listener = await listen({
        place,
        from: [],
        clock,
        log,
        requestTimeoutMs: UPLOAD_MS,
        setting: 'files',
        onRequest: (request, response) => void handle(request, response, place.kind, options),
        onRefused,
      });
      options.onListening(place.kind, listener.address);
      await aborted(signal);
      await listener.close();
    } catch (error) {
      options.onTrouble(place.kind, error as Error);
      await sleep(RETRY_MS, signal);
    }
  }
}

/** Never rejects. */
async function handle(
  request: IncomingMessage,
  response: ServerResponse,
  kind: MartiPlace['kind'],
  options: MartiServerOptions,
): Promise<void> {
  response.on('error', () => {});
  setCaution(response);
  try {
    const caller = callerOf(request, kind, options);
    if (!caller)
      return refuse(
        options,
        request,
        response,
        401,
        'no_certificate',
        kind === 'federates'
          ? 'this port is for servers that are connected as federates, with the same certificate'
          : 'this port is for phones with a certificate of this box',
      );
    const target = targetOf(request.url ?? '');
    if (!target) return refuse(options, request, response, 400, 'bad_path', 'the path cannot be read');
    // Phones say none of these. A web page that somebody on this network looks at must not bring or read files in his name.
    if (request.headers.origin !== undefined || request.headers['sec-fetch-site'] !== undefined) {
      return refuse(
        options,
        request,
        response,
        403,
        'browser',
        'this port is for TAK clients; the status page has one of its own',
      );
    }
    if (kind === 'federates' && !FOR_FEDERATES.has(target.pathname)) {
      return refuse(options, request, response, 404, 'not_found', 'federates bring and fetch files here, nothing else');
    }
    const asked = { request, caller, base: baseOf(request, kind), path: target.pathname, query: target.searchParams };
    await answerMarti(options, asked, response);
  } catch (error) {
    if (error instanceof FileRefusal)
      return refuse(options, request, response, error.status, error.code, error.message);
    options.log.error({ err: error, path: request.url?.slice(0, 200) }, 'a fault while answering a phone');
    refuse(options, request, response, 500, 'internal_error', 'a fault in this box; its log has the details');
  }
}

function callerOf(
  request: IncomingMessage,
  kind: MartiPlace['kind'],
  { judge }: MartiServerOptions,
): MartiCaller | undefined {
  const address = plainAddress(request.socket.remoteAddress ?? '');
  if (kind === 'plain') return { name: address, fingerprint: undefined, address, isFederate: false };
  const proven = judge(request.socket as TLSSocket, kind);
  return proven && { ...proven, address };
}

function targetOf(url: string): URL | undefined {
  if (!url.startsWith('/') || url.length > MAX_TARGET || /[\\]|%2f|%5c|%00/i.test(url.split('?', 1)[0]!))
    return undefined;
  return URL.parse(`http://box${url}`) ?? undefined;
}

/** As the phone reached us, if it says so in a way that is fit to be passed on; else by the address it reached. */
function baseOf(request: IncomingMessage, kind: MartiPlace['kind']): string {
  const { localAddress = '', localPort = 0 } = request.socket;
  const plain = plainAddress(localAddress);
  const own = `${plain.includes(':') ? `[${plain}]` : plain}:${localPort}`;
  const said = request.headers.host ?? '';
  const host = /^(?:[a-z0-9.-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::\d{1,5})?$/i.test(said) ? said : own;
  return `${kind === 'plain' ? 'http' : 'https'}://${host}`;
}

function refuse(
  { onRefused }: MartiServerOptions,
  request: IncomingMessage,
  response: ServerResponse,
  status: number,
  code: string,
  detail: string,
): void {
  onRefused(code);
  if (response.headersSent || response.destroyed) return void response.destroy();
  passOver(request);
  json(
    response,
    status,
    { type: 'about:blank', title: code.replaceAll('_', ' '), status, code, detail },
    'application/problem+json',
  );
}
