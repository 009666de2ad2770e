// A TAK server or hub that dials (specification §2.3, §2.5).
import type { TLSSocket } from 'node:tls';
import * as grpc from '@grpc/grpc-js';
import { judgeCertificate, judgeEvent, judgeRol, judgeServing, judgeSubscription } from './judge.ts';
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
import { certificateOf, tapClientSockets } from './taps.ts';
import { decode, encode, type Method, path } from './wire.ts';

type Duplex = grpc.ClientDuplexStream<Buffer, Buffer>;
type Readable = grpc.ClientReadableStream<Buffer>;
type Call = Duplex | Readable;

const bytes = (value: Buffer): Buffer => value;
const CONNECT_MS = 10_000;
const OPTIONS = {
  'grpc.max_receive_message_length': 268_435_456,
  'grpc.max_send_message_length': 268_435_456,
  'grpc.use_local_subchannel_pool': 1,
};

export class ClientRole implements Role {
  readonly #settings: Settings;
  #link: Link | undefined;
  #socket: TLSSocket | undefined;

  constructor(settings: Settings) {
    this.#settings = settings;
  }

  async start(): Promise<void> {
    tapClientSockets((socket) => {
      this.#socket = socket;
      socket.once('close', () => this.#link?.down('the transport broke'));
      const certificate = certificateOf(socket, 'client');
      if (certificate) judgeCertificate(certificate);
    });
    this.#dial();
  }

  #dial = (): void => {
    this.#link = new Link(this.#settings, (retry) => {
      if (retry) setTimeout(this.#dial, this.#settings.retryMs);
    });
    this.#link.connect();
  };

  send(kind: Kind, message: Buffer): void {
    this.#link?.send(kind, message);
  }

  stall(stalled: boolean): void {
    this.#link?.stall(stalled);
  }

  health(status: string | undefined): void {
    this.#link?.mute(status);
  }

  end(method: string): void {
    this.#link?.cancel(method);
  }

  goaway(): void {
    this.#link?.down('told to leave');
  }

  drop(): void {
    this.#socket?.destroy();
  }
}

/** One connection of the client, from dialling to its end. */
class Link {
  readonly #settings: Settings;
  readonly #ended: (retry: boolean) => void;
  readonly #client: grpc.Client;
  readonly #calls = new Map<string, Call>();
  readonly #timers: NodeJS.Timeout[] = [];
  #order = 0;
  #servings = 0;
  #healthy = false;
  #status = 'SERVING';
  #muted = false;
  #state: 'up' | 'down' = 'up';

  constructor(settings: Settings, ended: (retry: boolean) => void) {
    this.#settings = settings;
    this.#ended = ended;
    const { ca, key, cert, host, port } = settings;
    // §2.1: TAK does not compare the name with the certificate.
    const credentials = grpc.credentials.createSsl(ca, key, cert, { checkServerIdentity: () => undefined });
    this.#client = new grpc.Client(`${host}:${port}`, credentials, OPTIONS);
  }

  connect(): void {
    this.#client.waitForReady(Date.now() + CONNECT_MS, (error) => {
      if (this.#state === 'down') return;
      if (error) return this.down(`not connected: ${error.message}`);
      emit({ at: 'connected', peer: this.#client.getChannel().getTarget() });
      if (this.#settings.as === 'takserver') this.#startTak();
      else this.#startHub();
      this.#later(this.#settings.healthMs, () => this.#healthCheck());
    });
  }

  #startTak(): void {
    this.#openDuplex('ClientFederateGroupsStream');
    this.#openReader('ServerFederateGroupsStream', this.#subscription({ version: 0 }));
    this.#openReader('ClientEventStream', this.#subscription({}));
    this.#openDuplex('ServerROLStream');
  }

  #startHub(): void {
    this.#openReader('ClientEventStream', this.#subscription({ version: 0 }));
    this.#openReader('ServerFederateGroupsStream', this.#subscription({ version: 0, type: 'FEDERATION_HUB_SERVER' }));
    this.#openDuplex('ClientFederateGroupsStream');
    this.#openDuplex('ServerROLStream');
  }

  /** TAK names its version on ClientEventStream, a hub never does and leaves its type out on the groups stream. */
  #subscription(over: { readonly version?: number; readonly type?: string }): Buffer {
    const { as, stamp, version } = this.#settings;
    const type = over.type ?? (as === 'takserver' ? 'FEDERATION_TAK_CLIENT' : 'FEDERATION_HUB_CLIENT');
    const major = over.version ?? (as === 'takserver' ? version : 0);
    const identity = { name: stamp.name, uid: 'c'.repeat(32), type, serverId: stamp.serverId };
    return encode('Subscription', { identity, ...(major > 0 ? { version: { major } } : {}) });
  }

  #openDuplex(method: Method): Duplex {
    const call = this.#client.makeBidiStreamRequest(path(method), bytes, bytes, new grpc.Metadata());
    this.#opened(method, call);
    call.on('data', (message: Buffer) => this.#answered(method, message));
    return call;
  }

  #openReader(method: Method, request: Buffer): Readable {
    const call = this.#client.makeServerStreamRequest(path(method), bytes, bytes, request, new grpc.Metadata());
    this.#opened(method, call);
    call.on('data', (message: Buffer) => this.#received(method, message));
    return call;
  }

  #opened(method: Method, call: Call): void {
    this.#calls.set(method, call);
    emit({ at: 'rpc', method, order: ++this.#order });
    call.on('error', () => undefined);
    call.on('status', (status: grpc.StatusObject) => this.#closed(method, status));
  }

  /** Any end of any stream ends the link (§2.3). */
  #closed(method: string, status: grpc.StatusObject): void {
    if (this.#state === 'down') return;
    emit({ at: 'closed', method, code: status.code, details: status.details });
    if (status.code === grpc.status.OK) violation('stream_ended', `${method} was completed; it must stay open`);
    this.down(`${method} ended`);
  }

  /** The early Subscription: a hub finds double links by its serverId (§2.5). */
  #answered(method: Method, message: Buffer): void {
    const subscription = decode('Subscription', message);
    emit({ ...describeSubscription(method, subscription), early: this.#calls.has(method) });
    judgeSubscription(method, subscription, this.#settings.far);
    const serverId = subscription.identity?.serverId ?? '';
    if (this.#settings.as === 'takserver' || !this.#settings.linked.includes(serverId)) return;
    emit({ at: 'duplicate', serverId });
    this.down('linked already', false);
  }

  #received(method: Method, message: Buffer): void {
    const { own } = this.#settings.stamp;
    if (method === 'ClientEventStream') {
      const value = decode('FederatedEvent', message);
      for (const line of describeEvent(value, message)) emit(line);
      judgeEvent(value, own);
    } else if (method === 'ClientROLStream') {
      const value = decode('ROL', message);
      emit(describeRol(value));
      judgeRol(value, own);
    } else {
      this.#groupsReceived(message);
    }
  }

  #groupsReceived(message: Buffer): void {
    const value = decode('FederateGroups', message);
    emit(describeGroups(value));
    judgeServing(value, this.#servings);
    if (value.streamUpdate?.status === 'SERVING') this.#serving();
  }

  /** Every SERVING opens a ServerEventStream, as the real one does. */
  #serving(): void {
    const { as, groups, local, stamp } = this.#settings;
    this.#servings++;
    const events = this.#openDuplex('ServerEventStream');
    if (as === 'fedhub') events.write(encode('FederatedEvent', {}));
    if (groups) this.send('groups', encodeGroups({ ...groups, serving: as === 'fedhub' }));
    for (const contact of local.contacts) events.write(encodeContact(contact, stamp));
    for (const event of local.events) events.write(encodeEvent(event, stamp));
  }

  // ---- HealthCheck --------------------------------------------------------------------------------------------------

  #healthCheck(): void {
    if (this.#muted || this.#state === 'down') return;
    const request = encode('ClientHealth', { status: this.#status });
    const call = this.#client.makeServerStreamRequest(path('HealthCheck'), bytes, bytes, request, new grpc.Metadata());
    let answer = 'UNKNOWN';
    call.on('data', (message: Buffer) => {
      answer = decode('ServerHealth', message).status;
      this.#healthAnswered(answer);
    });
    call.on('error', () => undefined);
    call.on('status', (status: grpc.StatusObject) => this.#healthCompleted(answer, status));
    this.#later(this.#settings.healthMs, () => this.#healthCheck());
  }

  #healthAnswered(answer: string): void {
    if (answer !== 'SERVING') return this.down(`health is ${answer}`);
    if (this.#healthy) return;
    this.#healthy = true;
    this.#openReader('ClientROLStream', this.#subscription({}));
    for (const rol of this.#settings.backlog) this.send('rol', encodeRol(rol, this.#settings.stamp));
  }

  #healthCompleted(answer: string, status: grpc.StatusObject): void {
    if (this.#state === 'down') return;
    emit({ at: 'health', answer, code: status.code });
    if (status.code !== grpc.status.OK) this.down(`HealthCheck failed: ${status.details}`);
  }

  // ---- orders -------------------------------------------------------------------------------------------------------

  send(kind: Kind, message: Buffer): void {
    const method = { event: 'ServerEventStream', rol: 'ServerROLStream', groups: 'ClientFederateGroupsStream' }[kind];
    const call = this.#calls.get(method) as Duplex | undefined;
    if (!call || this.#state === 'down') return violation('fault', `told to send, but no ${method} is open`);
    call.write(message);
  }

  stall(stalled: boolean): void {
    for (const call of this.#calls.values()) stalled ? call.pause() : call.resume();
  }

  mute(status: string | undefined): void {
    this.#muted = status === undefined;
    this.#status = status ?? 'SERVING';
  }

  cancel(method: string): void {
    this.#calls.get(method)?.cancel();
  }

  down(reason: string, retry = true): void {
    if (this.#state === 'down') return;
    this.#state = 'down';
    for (const timer of this.#timers) clearTimeout(timer);
    for (const call of this.#calls.values()) call.cancel();
    this.#client.close();
    emit({ at: 'disconnected', reason });
    this.#ended(retry);
  }

  #later(delayMs: number, act: () => void): void {
    this.#timers.push(setTimeout(act, delayMs));
  }
}
