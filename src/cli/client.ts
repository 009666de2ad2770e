// The commands' way to the running relay: its Unix socket, else its plain HTTP on this computer, or what --api names.
import { existsSync, readFileSync } from 'node:fs';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { join } from 'node:path';
import { WebSocket } from 'ws';
import { loadConfig } from '../config/load.ts';
import { printable } from '../config/problem.ts';
import type { RelayStatus } from '../core/status.ts';
import { childController, onAbort } from '../lib/abort.ts';
import { FatalError, LinkError } from '../lib/errors.ts';
import { type CliContext, DEFAULT_API, UsageError } from './command.ts';

const TIMEOUT_MS = 5_000;
/** Nothing the relay tells a command is longer. */
const MAX_ANSWER_BYTES = 16 * 1024 * 1024;
/** In the relay's data folder. */
const SOCKET_FILE = 'api.sock';

/** For parseArgs. */
export const API_OPTIONS = {
  api: { type: 'string' },
  token: { type: 'string' },
  ca: { type: 'string' },
} as const;

export const API_HELP = [
  '  --api URL       where the relay answers: https://HOST:8443, http://127.0.0.1:8080 or unix:PATH',
  '                  (default: the socket in its data folder, which needs no token)',
  '  --token TOKEN   "waystation token create" makes one (default: $WAYSTATION_TOKEN)',
  '  --ca FILE       CA certificate of that relay ("waystation cert show --ca" there)',
].join('\n');

export interface ApiChoice {
  readonly api?: string | undefined;
  readonly token?: string | undefined;
  readonly ca?: string | undefined;
}

/** Where to ask. */
export interface ApiTarget {
  /** For words. */
  readonly name: string;
  readonly base: URL;
  readonly socketPath?: string | undefined;
  readonly token?: string | undefined;
  readonly ca?: string | undefined;
}

/** @throws UsageError when `--api` is no address, FatalError when the CA cannot be read */
export async function findApi({ api, token, ca }: ApiChoice, context: CliContext): Promise<ApiTarget> {
  const common = { token: token ?? context.env.token, ca: ca === undefined ? undefined : readCa(ca) };
  if (api === undefined) {
    const socketPath = join(await dataFolder(context), SOCKET_FILE);
    if (existsSync(socketPath)) return { ...common, name: socketPath, base: new URL('http://localhost'), socketPath };
    return { ...common, name: DEFAULT_API, base: new URL(DEFAULT_API) };
  }
  if (api.startsWith('unix:')) {
    return { ...common, name: api, base: new URL('http://localhost'), socketPath: api.slice('unix:'.length) };
  }
  const base = URL.parse(api.includes('://') ? api : `http://${api}`);
  if (base?.protocol === 'http:' || base?.protocol === 'https:') return { ...common, name: api, base };
  throw new UsageError(`"${api}" is not the address of an API, such as http://127.0.0.1:8080`);
}

/** Where the relay that this user would run keeps its state. */
async function dataFolder({ env, defaults }: CliContext): Promise<string> {
  if (env.data) return env.data;
  const loaded = await loadConfig({ env, defaults }).catch(() => undefined);
  return loaded && 'config' in loaded ? loaded.config.data : defaults.dataFolder;
}

function readCa(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new FatalError('ca_unreadable', `cannot read ${path}`, 'name the PEM file of the relay’s CA', error);
  }
}

/** Asks the relay for its status. Rejects with LinkError `not_running`. */
export async function fetchStatus(api: ApiTarget): Promise<RelayStatus> {
  const answer = await askApi(api, '/api/status', { timeoutMs: TIMEOUT_MS, signal: new AbortController().signal });
  if (answer.status < 200 || answer.status > 299) throw refusal(answer);
  try {
    return JSON.parse(answer.body.toString('utf8')) as RelayStatus;
  } catch (error) {
    throw notARelay(api, error);
  }
}

function notARelay({ name }: ApiTarget, cause: unknown): LinkError {
  const fix = 'name its address with --api';
  return new LinkError('not_a_relay', `what answers at ${name} is no Waystation`, fix, { cause });
}

export interface ApiRequest {
  readonly method?: string;
  readonly body?: Buffer | string;
  /** Media type of the body. */
  readonly type?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly timeoutMs?: number;
  readonly signal: AbortSignal;
}

export interface ApiAnswer {
  readonly status: number;
  /** Media type, without parameters; '' when none is said. */
  readonly type: string;
  readonly body: Buffer;
}

/** Asks the relay for anything. Rejects with LinkError `not_running`, or `no_answer` when it takes too long. */
export async function askApi(api: ApiTarget, path: string, request: ApiRequest): Promise<ApiAnswer> {
  const { timeoutMs = TIMEOUT_MS, signal } = request;
  const { controller, release } = childController(signal);
  const timer = setTimeout(() => controller.abort(), timeoutMs);
  try {
    return await exchange(api, path, request, controller.signal);
  } catch (error) {
    if (!controller.signal.aborted) throw notRunning(api, error as NodeJS.ErrnoException);
    throw new LinkError('no_answer', `no answer in ${timeoutMs / 1000} s`, 'try again, or look at "waystation status"');
  } finally {
    clearTimeout(timer);
    release();
  }
}

function exchange(
  { base, socketPath, token, ca }: ApiTarget,
  path: string,
  { method = 'GET', body, type, headers = {} }: ApiRequest,
  signal: AbortSignal,
): Promise<ApiAnswer> {
  const content = body === undefined ? {} : { 'content-length': Buffer.byteLength(body) };
  const options = {
    host: base.hostname.replace(/^\[|\]$/g, ''),
    port: base.port || (base.protocol === 'https:' ? 443 : 80),
    ...(socketPath === undefined ? {} : { socketPath }),
    ...(ca === undefined ? {} : { ca }),
    path,
    method,
    agent: false as const,
    signal,
    headers: {
      host: base.host,
      ...authorization(token),
      ...(type ? { 'content-type': type } : {}),
      ...content,
      ...headers,
    },
  };
  return new Promise((resolve, reject) => {
    const send = base.protocol === 'https:' ? httpsRequest : httpRequest;
    const outgoing = send(options, (incoming) => collect(incoming).then(resolve, reject));
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

function authorization(token: string | undefined): Record<string, string> {
  return token ? { authorization: `Bearer ${token}` } : {};
}

async function collect(incoming: IncomingMessage): Promise<ApiAnswer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of incoming as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > MAX_ANSWER_BYTES) throw new Error('the answer does not end');
    chunks.push(chunk);
  }
  const said = incoming.headers['content-type'] ?? '';
  const type = said.split(';', 1)[0]!.trim().toLowerCase();
  return { status: incoming.statusCode ?? 0, type, body: Buffer.concat(chunks) };
}

/** As Node and OpenSSL name what may be wrong with a server's certificate. */
const UNTRUSTED = /CERT|VERIFY|SELF_SIGNED|ISSUER/;

function notRunning({ name, socketPath }: ApiTarget, cause: NodeJS.ErrnoException): LinkError {
  if (socketPath !== undefined && cause.code === 'EACCES') {
    const fix = 'run the command as the user the relay runs as (sudo -u waystation), or use --api with a token';
    return new LinkError('not_allowed', `${name} may not be opened by this user`, fix, { cause });
  }
  if (UNTRUSTED.test(cause.code ?? '')) {
    const fix =
      'name its CA with --ca FILE ("waystation cert show --ca" there) and the address as it stands in its certificate';
    return new LinkError('not_trusted', `the certificate of ${name} is not trusted: ${cause.message}`, fix, { cause });
  }
  const why = cause.code === 'ECONNREFUSED' || cause.code === 'ENOENT' ? '' : `: ${cause.message}`;
  const fix = 'start it with "waystation run", or name its address with --api';
  return new LinkError('not_running', `no relay answers at ${name}${why}`, fix, { cause });
}

/** The JSON of a good answer; of one without a body, undefined. Rejects with LinkError in the relay's own words for any other. */
export async function askJson<T>(api: ApiTarget, path: string, request: ApiRequest): Promise<T> {
  const answer = await askApi(api, path, request);
  if (answer.status < 200 || answer.status > 299) throw refusal(answer);
  return (answer.body.length === 0 ? undefined : JSON.parse(answer.body.toString('utf8'))) as T;
}

/** As askJson, with a body of JSON. */
export function sendJson<T>(
  api: ApiTarget,
  method: string,
  path: string,
  body: unknown,
  signal: AbortSignal,
): Promise<T> {
  return askJson<T>(api, path, {
    method,
    body: JSON.stringify(body),
    type: 'application/json',
    signal,
    timeoutMs: 15_000,
  });
}

/** What the relay, or the peer behind it, refused, in its words. */
export function refusal({ status, body }: ApiAnswer): LinkError {
  const text = body.toString('utf8');
  let said: { detail?: unknown; code?: unknown; fix?: unknown } = {};
  try {
    said = JSON.parse(text) as typeof said;
  } catch {
    // not JSON: its own text will do
  }
  const words = String(said.detail ?? text.slice(0, 500));
  const code = typeof said.code === 'string' && said.code.startsWith('config') ? said.code : 'refused';
  return new LinkError(
    code,
    printable(`${status} ${words}`, 1000),
    typeof said.fix === 'string' ? printable(said.fix, 500) : '',
  );
}

/** Streams live events, one JSON text each, until aborted or the relay ends. */
export function watchEvents(api: ApiTarget, onEvent: (json: string) => void, signal: AbortSignal): Promise<void> {
  const { base, socketPath, token, ca } = api;
  const host = base.protocol === 'https:' ? `wss://${base.host}` : `ws://${base.host}`;
  const url = socketPath === undefined ? `${host}/api/events` : `ws+unix:${socketPath}:/api/events`;
  return new Promise((resolve, reject) => {
    const options = {
      handshakeTimeout: TIMEOUT_MS,
      headers: authorization(token),
      ...(ca === undefined ? {} : { ca }),
    };
    const socket = new WebSocket(url, options);
    const release = onAbort(signal, () => socket.close());
    let opened = false;
    socket.on('open', () => {
      opened = true;
    });
    socket.on('message', (data) => onEvent(String(data)));
    socket.on('unexpected-response', (_, response) => {
      const words = `${api.name} does not answer as a relay does: ${response.statusCode}`;
      reject(new LinkError('refused', words, 'name its address with --api; a relay has a limited number of watchers'));
      socket.terminate();
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (!opened) reject(notRunning(api, error));
    });
    socket.on('close', () => {
      release();
      resolve();
    });
  });
}
