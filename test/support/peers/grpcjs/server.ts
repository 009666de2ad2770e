// A TAK server or hub that is dialled (specification §2.4, §2.5, §2.6).
import type { ServerHttp2Session } from 'node:http2';
import type { TLSSocket } from 'node:tls';
import * as grpc from '@grpc/grpc-js';
import { hubDrops, judgeCertificate, judgeEvent, judgeOrder, judgeRol, judgeSubscription } from './judge.ts';
import type { Kind, Role, Settings } from './role.ts';
import {
  describeEvent,
  describeGroups,
  describeRol,
  describeSubscription,
  emit,
  encodeContact,
  encodeEvent,
  encodeGroups,
  encodeRol,
  violation,
} from './say.ts';
import { addressOf, certificateOf, tapServerSessions } from './taps.ts';
import type { FederatedEvent, Subscription } from './wire.ts';
import { decode, encode, METHODS, type Method, path } from './wire.ts';

type Duplex = grpc.ServerDuplexStream<Buffer, Buffer>;
type Writable = grpc.ServerWritableStream<Buffer, Buffer>;
type Call = Duplex | Writable;

/** What the server keeps for one transport. */
interface Connection {
  readonly address: string;
  readonly fingerprint: string;
  readonly session: ServerHttp2Session | undefined;
  readonly opened: string[];
  readonly calls: Map<string, Call>;
  version: number;
  lastHealthMs: number;
  dead: boolean;
  lastPingMs: number;
  pingStrikes: number;
}

/** Faster than this and gRPC servers take it for an attack (§2.6). */
const PING_INTERVAL_MS = 300_000;
const PING_STRIKES = 2;
const ENHANCE_YOUR_CALM = 11;
const MAX_MESSAGE_BYTES = 268_435_456;
/** node:http2 shows a cancelled stream as ended first: how long one may look half-closed. */
const SETTLE_MS = 300;
/** Methods that TAK declares and no link should call (§7.15). */
const DEAD = new Set<string>([
  'BinaryMessageStream',
  'SendOneBlob',
  'SendOneEvent',
  'getIdentity',
  'GetAuthTokenByX509',
  'Getx509Identity',
]);

export class ServerRole implements Role {
  readonly #settings: Settings;
  readonly #connections = new Map<string, Connection>();
  /** TAK: which connection holds the federate of a certificate. */
  readonly #federates = new Map<string, Connection>();
  /** Hub: every contact it ever heard of, deletions included. */
  readonly #contacts = new Map<string, Buffer>();
  readonly #server = new grpc.Server({
    'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
    'grpc.max_send_message_length': MAX_MESSAGE_BYTES,
  });
  #answer = 'SERVING';
  #stalled = false;

  constructor(settings: Settings) {
    this.#settings = settings;
  }

  async start(): Promise<void> {
    const { host, port, ca, key, cert, deadMs } = this.#settings;
    tapServerSessions(this.#connected);
    this.#server.addService(serviceDefinition(), this.#handlers());
    const pair = [{ private_key: key, cert_chain: cert }];
    const credentials = grpc.ServerCredentials.createSsl(ca, pair, true);
    const bound = await new Promise<number>((resolve, reject) => {
      this.#server.bindAsync(`${host}:${port}`, credentials, (error, got) => (error ? reject(error) : resolve(got)));
    });
    setInterval(this.#expire, Math.max(20, deadMs / 3));
    emit({ at: 'listening', port: bound });
  }

  send(kind: Kind, bytes: Buffer): void {
    const method = { event: 'ClientEventStream', rol: 'ClientROLStream', groups: 'ServerFederateGroupsStream' }[kind];
    const open = [...this.#connections.values()].flatMap(({ calls }) => calls.get(method) ?? []);
    if (open.length === 0) violation('fault', `told to send, but no ${method} is open`);
    for (const call of open) call.write(bytes);
  }

  stall(stalled: boolean): void {
    this.#stalled = stalled;
    for (const { calls } of this.#connections.values()) {
      for (const call of calls.values()) if ('resume' in call) stalled ? call.pause() : call.resume();
    }
  }

  health(status: string | undefined): void {
    this.#answer = status ?? 'SERVING';
  }

  end(method: string, code: number, details: string): void {
    for (const { calls } of this.#connections.values()) {
      const call = calls.get(method);
      if (call) code === 0 ? call.end() : fail(call, code, details);
    }
  }

  goaway(): void {
    for (const { session } of this.#connections.values()) session?.goaway(0);
  }

  drop(): void {
    for (const { session } of this.#connections.values()) session?.destroy();
  }

  #connected = (session: ServerHttp2Session, socket: TLSSocket): void => {
    const address = addressOf(socket);
    const certificate = certificateOf(socket, 'server');
    const connection: Connection = {
      address,
      fingerprint: socket.getPeerCertificate().fingerprint256 ?? '',
      session,
      opened: [],
      calls: new Map(),
      version: 0,
      lastHealthMs: Date.now(),
      dead: false,
      lastPingMs: -Infinity,
      pingStrikes: 0,
    };
    this.#connections.set(address, connection);
    session.on('ping', () => this.#pinged(connection));
    session.on('error', () => undefined);
    // node:http2 at times misses that a peer which said GOAWAY is gone: a write of its own never ends, and nothing is read.
    session.on('goaway', () => setTimeout(() => socket.destroy(), SETTLE_MS));
    socket.on('close', () => this.#disconnected(connection));
    emit({ at: 'connected', peer: address, alpn: socket.alpnProtocol, tls: socket.getProtocol() });
    if (certificate) judgeCertificate(certificate);
  };

  #disconnected(connection: Connection): void {
    this.#connections.delete(connection.address);
    this.#forget(connection);
    emit({ at: 'disconnected', peer: connection.address });
  }

  #forget(connection: Connection): void {
    if (this.#federates.get(connection.fingerprint) === connection) this.#federates.delete(connection.fingerprint);
  }

  #pinged(connection: Connection): void {
    const sinceMs = Date.now() - connection.lastPingMs;
    connection.lastPingMs = Date.now();
    if (sinceMs >= PING_INTERVAL_MS) return;
    violation('ping_too_fast', `HTTP/2 PING ${sinceMs} ms after the last; every 5 minutes is allowed`);
    if (++connection.pingStrikes <= PING_STRIKES) return;
    connection.session?.goaway(ENHANCE_YOUR_CALM, 0, Buffer.from('too_many_pings'));
    connection.session?.destroy();
  }

  #handlers(): grpc.UntypedServiceImplementation {
    const names = Object.keys(METHODS) as Method[];
    return Object.fromEntries(names.map((name) => [name, (call: Call) => this.#called(name, call)]));
  }

  /** One RPC: registers it with its connection, judges its place, lets the method do its part. */
  #called(method: Method, call: Call): void {
    const connection = this.#connections.get(call.getPeer());
    if (!connection) return fail(call, grpc.status.INTERNAL, 'no such connection');
    call.on('error', () => undefined);
    if (method === 'HealthCheck') return this.#healthCheck(connection, call as Writable);
    connection.opened.push(method);
    connection.calls.set(method, call);
    emit({ at: 'rpc', method, order: connection.opened.length, peer: connection.address });
    call.on('cancelled', () => this.#cancelled(method, connection, call));
    if (this.#settings.deny) return fail(call, grpc.status.PERMISSION_DENIED, 'CA is not part of the active policy');
    judgeOrder(this.#settings.as, method, connection.opened, () => {
      if (this.#settings.as === 'fedhub') fail(call, grpc.status.UNKNOWN, '');
    });
    if (DEAD.has(method)) return this.#deadMethod(method, call);
    if (METHODS[method] === 'bidi') this.#clientStreams(method, connection, call as Duplex);
    else this.#serverStreams(method, connection, call as Writable);
  }

  #deadMethod(method: string, call: Call): void {
    violation('dead_rpc', `${method} is of no use and is never answered`);
    if (method === 'getIdentity') fail(call, grpc.status.UNIMPLEMENTED, '');
  }

  #cancelled(method: string, connection: Connection, call: Call): void {
    emit({ at: 'closed', method, code: grpc.status.CANCELLED, details: '', peer: connection.address });
    if (connection.calls.get(method) === call) connection.calls.delete(method);
    if (method === 'ServerEventStream' || method === 'ServerROLStream') this.#forget(connection);
  }

  // ---- HealthCheck --------------------------------------------------------------------------------------------------

  #healthCheck(connection: Connection, call: Writable): void {
    connection.lastHealthMs = Date.now();
    const status = connection.calls.has('ClientEventStream') ? this.#answer : 'NOT_CONNECTED';
    emit({ at: 'health', status: decode('ClientHealth', call.request).status, answer: status });
    call.write(encode('ServerHealth', { status }));
    if (connection.version > 0) call.end(); // else the answer is sent and the call never completed (§2.4)
  }

  /** Streams without HealthCheck die; the federate's record stays until the transport breaks (§2.6). */
  #expire = (): void => {
    for (const connection of this.#connections.values()) {
      const silentMs = Date.now() - connection.lastHealthMs;
      if (connection.dead || !connection.calls.has('ClientEventStream') || silentMs <= this.#settings.deadMs) continue;
      connection.dead = true;
      emit({ at: 'dead', peer: connection.address });
      for (const method of ['ClientEventStream', 'ClientROLStream']) {
        const call = connection.calls.get(method);
        if (call) fail(call, grpc.status.DEADLINE_EXCEEDED, 'Client health check timeout');
        connection.calls.delete(method);
      }
    }
  };

  // ---- server to client ---------------------------------------------------------------------------------------------

  #serverStreams(method: Method, connection: Connection, call: Writable): void {
    const subscription = decode('Subscription', call.request);
    emit(describeSubscription(method, subscription));
    judgeSubscription(method, subscription, this.#settings.far);
    if (!subscription.identity?.name) return fail(call, grpc.status.UNKNOWN, '');
    if (method === 'ServerFederateGroupsStream') this.#sayServing(call);
    if (method === 'ClientEventStream') this.#subscribed(connection, subscription, call);
    if (method === 'ClientROLStream') this.#catchUp(call);
  }

  #sayServing(call: Writable): void {
    const { as, groups } = this.#settings;
    call.write(encodeGroups({ serving: true, ...(as === 'fedhub' ? groups : {}) }));
  }

  #subscribed(connection: Connection, subscription: Subscription, call: Writable): void {
    connection.version = subscription.version?.major ?? 0;
    connection.lastHealthMs = Date.now();
    if (this.#settings.as === 'takserver') return;
    for (const contact of this.#contacts.values()) call.write(contact);
    for (const contact of this.#settings.local.contacts) call.write(encodeContact(contact, this.#settings.stamp));
    call.write(encode('FederatedEvent', { federateGroups: this.#settings.groups?.groups ?? [] }));
  }

  #catchUp(call: Writable): void {
    for (const rol of this.#settings.backlog) call.write(encodeRol(rol, this.#settings.stamp));
    if (this.#settings.rolCompletes) call.end();
  }

  // ---- client to server ---------------------------------------------------------------------------------------------

  #clientStreams(method: Method, connection: Connection, call: Duplex): void {
    if (method === 'ServerEventStream' && !this.#admit(connection, call)) return;
    if (this.#settings.early) call.write(this.#ownSubscription());
    call.on('data', (bytes: Buffer) => this.#received(method, connection, call, bytes));
    call.on('end', () => setTimeout(judgeHalfClose, SETTLE_MS, method, call));
    if (this.#stalled) call.pause();
    if (method === 'ServerEventStream') this.#snapshot(connection);
  }

  /** TAK: one link per certificate (§2.2). */
  #admit(connection: Connection, call: Duplex): boolean {
    if (this.#settings.as === 'fedhub') return true;
    const holder = this.#federates.get(connection.fingerprint);
    if (holder && holder !== connection) {
      emit({ at: 'duplicate', peer: connection.address });
      fail(call, grpc.status.UNKNOWN, `Disallowing duplicate federate connection ${connection.fingerprint}`);
      return false;
    }
    this.#federates.set(connection.fingerprint, connection);
    return true;
  }

  #ownSubscription(): Buffer {
    const { as, stamp, version } = this.#settings;
    const type = as === 'takserver' ? 'FEDERATION_TAK_SERVER' : 'FEDERATION_HUB_SERVER';
    const identity = { name: stamp.name, uid: 'a'.repeat(32), type, serverId: stamp.serverId };
    return encode('Subscription', { identity, ...(as === 'takserver' ? { version: { major: version } } : {}) });
  }

  /** TAK: groups, contacts and last positions; lost when there is no ClientEventStream to carry them (§2.4). */
  #snapshot({ calls }: Connection): void {
    const { as, groups, local, stamp } = this.#settings;
    if (as === 'fedhub') return;
    if (groups) calls.get('ServerFederateGroupsStream')?.write(encodeGroups(groups));
    for (const contact of local.contacts) calls.get('ClientEventStream')?.write(encodeContact(contact, stamp));
    for (const event of local.events) calls.get('ClientEventStream')?.write(encodeEvent(event, stamp));
  }

  #received(method: Method, connection: Connection, call: Duplex, bytes: Buffer): void {
    const { own } = this.#settings.stamp;
    if (method === 'ServerEventStream') {
      const value = decode('FederatedEvent', bytes);
      for (const line of describeEvent(value, bytes)) emit(line);
      judgeEvent(value, own);
      if (this.#settings.as === 'fedhub') this.#asHub(value, bytes);
    } else if (method === 'ServerROLStream') {
      const value = decode('ROL', bytes);
      emit(describeRol(value));
      judgeRol(value, own);
    } else {
      this.#groupsReceived(connection, call, bytes);
    }
  }

  /** A hub keeps contacts and passes on what may travel further. */
  #asHub(value: FederatedEvent, bytes: Buffer): void {
    if (value.contact) this.#contacts.set(value.contact.uid, bytes);
    const reason = hubDrops(value, this.#settings.stamp.own);
    if (reason && value.event) emit({ at: 'dropped', uid: value.event.uid, reason });
  }

  #groupsReceived(connection: Connection, call: Duplex, bytes: Buffer): void {
    emit(describeGroups(decode('FederateGroups', bytes)));
    judgeOrder(this.#settings.as, 'groups', connection.opened, () => fail(call, grpc.status.INTERNAL, ''));
  }
}

function judgeHalfClose(method: string, call: Duplex): void {
  if (!call.cancelled) violation('half_close', `${method} was half-closed, which nobody notices: cancel it`);
}

function fail(call: Call, code: number, details: string): void {
  call.emit('error', { code, details });
}

/** Bytes in, bytes out, unary methods as server streams so that an answer can stay uncompleted. */
function serviceDefinition(): grpc.ServiceDefinition {
  const bytes = (value: Buffer) => value;
  const entries = Object.entries(METHODS).map(([name, shape]) => [
    name,
    {
      path: path(name as Method),
      requestStream: shape === 'bidi',
      responseStream: true,
      requestSerialize: bytes,
      requestDeserialize: bytes,
      responseSerialize: bytes,
      responseDeserialize: bytes,
    },
  ]);
  return Object.fromEntries(entries);
}
