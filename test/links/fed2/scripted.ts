// Far ends of a fed2 link that do exactly what a test says: a server that is dialled and a client that dials, on bare
// node:http2. What they receive is written down; `until` of memory.ts waits for it.
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  createSecureServer,
  type Http2Stream,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import type { KeyPair } from '../../../src/identity/identity.ts';
import { type Fed2Config, fed2Schema } from '../../../src/links/fed2/config.ts';
import { Deframer, frame, MAX_FRAME_BYTES, type Method, methodOf, PATHS } from '../../../src/links/fed2/grpc.ts';
import { fed2Kind } from '../../../src/links/fed2/index.ts';
import type { Link } from '../../../src/links/link.ts';
import {
  CONNECTION_TYPE,
  clientHealth,
  groupsMessage,
  SERVING,
  serverHealth,
  subscription,
} from '../../../src/wire/federation.ts';
import { changed } from '../memory.ts';

const GRPC = { ':status': 200, 'content-type': 'application/grpc' } as const;
const NOWHERE = { groups: [], self: { id: 'tak', name: 'TAK' }, hops: { max: -1, current: 1 } };

const SERVING_GROUPS = groupsMessage({ ...NOWHERE, serving: true });
export const HEALTHY = serverHealth(SERVING.serving);
export const ALIVE = clientHealth(SERVING.serving);

export function fed2(keys: object): Link {
  return fed2Kind.create(fed2Config(keys));
}

export function fed2Config(keys: object): Fed2Config {
  return fed2Schema.parse(keys);
}

export function groupsOf(...groups: string[]): Buffer {
  return groupsMessage({ ...NOWHERE, groups });
}

export function hello(over: Partial<Parameters<typeof subscription>[0]> = {}): Buffer {
  return subscription({
    name: 'scripted',
    uid: '0123',
    type: CONNECTION_TYPE.takClient,
    serverId: 'scripted-id',
    version: { major: 5, minor: 7, patch: 0, branch: '', variant: '' },
    filter: '',
    ...over,
  });
}

/** One stream, seen from the scripted side. */
export class Called<Stream extends Http2Stream = Http2Stream> {
  readonly method: Method | undefined;
  readonly stream: Stream;
  readonly headers: IncomingHttpHeaders;
  readonly messages: Buffer[] = [];
  /** grpc-status, wherever it came. */
  status: string | undefined;
  ended = false;
  closed = false;

  constructor(path: string, stream: Stream, headers: IncomingHttpHeaders) {
    this.method = methodOf(path);
    this.stream = stream;
    this.headers = headers;
    const deframer = new Deframer(MAX_FRAME_BYTES, {
      message: (payload) => {
        this.messages.push(Buffer.from(payload));
        changed();
      },
      oversize: () => {},
    });
    stream.on('error', () => {});
    stream.on('data', (chunk: Buffer) => deframer.push(chunk));
    stream.on('end', () => {
      this.ended = true;
      changed();
    });
    stream.on('close', () => {
      this.closed = true;
      changed();
    });
  }

  say(payload: Buffer): void {
    this.stream.write(frame(payload));
  }
}

export type ServerCall = Called<ServerHttp2Stream>;
type Script = Partial<Record<Method, (call: ServerCall) => void>>;

/** As a TAK server: answers late, and only where it must. */
const LIKE_TAK: Required<Script> = {
  serverGroups: (call) => whenAsked(call, () => call.say(SERVING_GROUPS)),
  clientEvents: accept,
  serverEvents: (call) => {
    accept(call);
    call.say(hello({ name: 'TAK', type: CONNECTION_TYPE.takServer }));
  },
  clientGroups: accept,
  health: (call) => whenAsked(call, () => answer(call, HEALTHY)),
  serverRol: accept,
  clientRol: accept,
};

/** Answers with headers, so that messages may follow. */
export function accept({ stream }: ServerCall): void {
  stream.respond(GRPC, { waitForTrailers: true });
}

/** Runs when the whole request is there. */
export function whenAsked(call: ServerCall, run: () => void): void {
  call.stream.once('end', () => {
    if (call.stream.closed || call.stream.destroyed) return;
    accept(call);
    run();
  });
}

/** One message, then OK. */
export function answer({ stream }: ServerCall, payload: Buffer): void {
  stream.once('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
  stream.end(frame(payload));
}

/** Refuses a call that was not answered yet. */
export function refuse({ stream }: ServerCall, code: number, words = ''): void {
  stream.respond({ ...GRPC, 'grpc-status': code, 'grpc-message': encodeURIComponent(words) }, { endStream: true });
}

/** Ends a call that was answered, with a status. */
export function endWith({ stream }: ServerCall, code: number, words = ''): void {
  stream.once('wantTrailers', () =>
    stream.sendTrailers({ 'grpc-status': code, 'grpc-message': encodeURIComponent(words) }),
  );
  stream.end();
}

export class ScriptedServer {
  readonly calls: ServerCall[] = [];
  readonly sessions: ServerHttp2Session[] = [];
  pings = 0;
  /** HTTP/2 sessions that have ended. */
  gone = 0;
  port = 0;

  static async start(t: TestContext, pair: KeyPair, script: Script = {}): Promise<ScriptedServer> {
    const scripted = new ScriptedServer();
    const server = createSecureServer({
      cert: pair.certPem,
      key: pair.keyPem,
      requestCert: true,
      rejectUnauthorized: false,
    });
    server.on('session', (session) => scripted.#watch(session));
    server.on('stream', (stream, headers) => {
      const call = new Called(headers[':path'] ?? '', stream, headers);
      scripted.calls.push(call);
      const method = call.method;
      if (method) (script[method] ?? LIKE_TAK[method])(call);
      changed();
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    scripted.port = (server.address() as AddressInfo).port;
    t.after(() => {
      for (const session of scripted.sessions) session.destroy();
      server.close();
    });
    return scripted;
  }

  #watch(session: ServerHttp2Session): void {
    this.sessions.push(session);
    session.on('error', () => {});
    session.on('ping', () => this.pings++);
    session.on('close', () => {
      this.gone++;
      changed();
    });
  }

  /** Methods in the order they were called, without health checks. */
  get order(): string[] {
    return this.calls.flatMap(({ method }) => (method && method !== 'health' ? [method] : []));
  }

  of(method: Method): ServerCall[] {
    return this.calls.filter((call) => call.method === method);
  }

  last(method: Method): ServerCall | undefined {
    return this.of(method).at(-1);
  }
}

export type ClientCall = Called<ClientHttp2Stream>;

export class ScriptedClient {
  readonly session: ClientHttp2Session;
  readonly socket: TLSSocket;
  closed = false;

  constructor(socket: TLSSocket) {
    this.socket = socket;
    this.session = connect('https://peer', { createConnection: () => socket });
    this.session.on('error', () => {});
    // node:http2 would wait for a goodbye of the far end.
    this.session.on('goaway', () => setImmediate(() => socket.destroy()));
    this.session.on('close', () => {
      this.closed = true;
      changed();
    });
  }

  static async dial(t: TestContext, port: number, pair: KeyPair): Promise<ScriptedClient> {
    const client = new ScriptedClient(await dialTls(t, port, pair, ['h2']));
    t.after(() => client.session.destroy());
    return client;
  }

  /** `payload`: the whole request, which ends with it. */
  call(method: Method | string, payload?: Buffer, headers: Record<string, string> = {}): ClientCall {
    const path = method in PATHS ? PATHS[method as Method] : method;
    const stream = this.session.request(
      { ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers', ...headers },
      { endStream: false },
    );
    const call = new Called(path, stream, {});
    const note = (headers: IncomingHttpHeaders) => {
      if (headers['grpc-status'] !== undefined) call.status = String(headers['grpc-status']);
      changed();
    };
    stream.on('response', note);
    stream.on('trailers', note);
    if (payload) stream.end(frame(payload));
    return call;
  }

  /** Everything up, in TAK's order. */
  federate() {
    const clientGroups = this.call('clientGroups');
    const serverGroups = this.call('serverGroups', hello());
    const clientEvents = this.call('clientEvents', hello());
    const serverRol = this.call('serverRol');
    const serverEvents = this.call('serverEvents');
    return { clientGroups, serverGroups, clientEvents, serverRol, serverEvents };
  }
}

export function dialTls(t: TestContext, port: number, pair: KeyPair, alpn: string[]): Promise<TLSSocket> {
  const socket = connectTls({
    host: '127.0.0.1',
    port,
    cert: pair.certPem,
    key: pair.keyPem,
    rejectUnauthorized: false,
    ...(alpn.length > 0 ? { ALPNProtocols: alpn } : {}),
  });
  t.after(() => socket.destroy());
  return new Promise((resolve, reject) => {
    socket.on('error', reject);
    socket.once('secureConnect', () => resolve(socket));
  });
}
