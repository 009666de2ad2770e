// One network interface as the hub sees it: what its devices multicast comes in, and what they have not heard themselves goes
// out. Nobody on a mesh proves who he is.
import type { Socket } from 'node:dgram';
import { type CotEvent, type Envelope, isDirected, type Message } from '../../core/message.ts';
import type { CloseReason, DropReason } from '../../core/reason.ts';
import type { PeerIdentity, PeerSpec, Session, SessionPort } from '../../core/session.ts';
import { ProtocolError } from '../../lib/errors.ts';
import { TokenBucket } from '../../lib/token-bucket.ts';
import { isControl, isLeave, scanCot } from '../../wire/cot.ts';
import { asTak, asXml, memo } from '../../wire/encode.ts';
import { frameMesh, meshPayload, readTakControl, scanTak, takControlMessage } from '../../wire/tak.ts';
import type { LinkContext } from '../link.ts';
import type { Address } from '../stream.ts';
import type { MeshConfig } from './config.ts';
import { Devices } from './devices.ts';
import { type Endpoint, Endpoints, readEndpoint, tellByTcp } from './direct.ts';
import type { Interface } from './interfaces.ts';
import { ADVERTISE_MS, CONTESTED_MS, MAX_DIRECT, MAX_IN_FLIGHT } from './limits.ts';
import { type Contested, Speakers } from './speakers.ts';

/** IP and UDP around a datagram; IP and TCP of a connection for one event. */
const HEADER_BYTES = 28;
const CONNECTION_BYTES = 280;
const VERSIONS = { minVersion: 1, maxVersion: 1 };

export class MeshSession implements Session {
  readonly identity: PeerIdentity;
  readonly address: string;
  readonly federated = false;
  readonly interface: Interface;
  readonly #config: MeshConfig;
  readonly #context: LinkContext;
  /** Bound to the interface's address; its port tells our own datagrams from others'. */
  readonly #socket: Socket;
  readonly #devices = new Devices();
  readonly #endpoints = new Endpoints();
  readonly #speakers = new Speakers();
  readonly #intake: TokenBucket;
  #port: SessionPort | undefined;
  #inFlight = 0;
  #direct = 0;
  #sentBytes = 0;
  #full = false;
  #open = true;
  #cancelAdvert = () => {};

  constructor(on: Interface, socket: Socket, config: MeshConfig, context: LinkContext) {
    this.interface = on;
    this.identity = { id: on.name, name: `mesh on ${on.name}`, proof: 'none' };
    this.address = on.address;
    this.#socket = socket;
    this.#config = config;
    this.#context = context;
    this.#intake = new TokenBucket(config.maxPerSecond, config.maxPerSecond, () => context.clock.nowMs());
  }

  begin(spec: PeerSpec): void {
    this.#port = this.#context.hub.attach(spec, this);
    if (this.#config.protocol === 'auto') this.#advertise();
  }

  get open(): boolean {
    return this.#open;
  }

  get busy(): boolean {
    return this.#inFlight + this.#direct > 0;
  }

  get sentBytes(): number {
    return this.#sentBytes;
  }

  // --- in ------------------------------------------------------------------------------------------------------------

  /** A datagram of a device on this interface's network. The memory is the datagram's own. */
  receive(datagram: Buffer, source: Address): void {
    if (!this.#open || this.#isOurs(source)) return;
    if (!this.#intake.tryTake(1)) return this.#port!.refused('rate_limited', datagram.length);
    if (datagram.length > this.#config.maxEventBytes) return this.#port!.refused('too_large', datagram.length);
    try {
      this.#read(datagram, source);
    } catch (error) {
      if (!(error instanceof ProtocolError)) {
        this.#context.log.error({ err: error, from: source.host }, 'fault while reading');
        return this.close('internal_error', error as Error);
      }
      this.#port!.refused('malformed', datagram.length);
      this.#context.log.debug({ from: source.host, code: error.code, size: datagram.length }, 'datagram refused');
    }
  }

  #isOurs({ host, port }: Address): boolean {
    return host === this.interface.address && port === this.#socket.address().port;
  }

  #read(datagram: Buffer, source: Address): void {
    const nowMs = this.#context.clock.nowMs();
    const tak = meshPayload(datagram);
    if (!tak) return this.#heard(scanCot(datagram), { format: 'xml', bytes: datagram }, datagram.length, source);
    const control = readTakControl(tak);
    if (control && control.contactUid !== '') this.#devices.said(control.contactUid, control, nowMs);
    if (control && isAlone(tak)) return;
    const event = scanTak(tak);
    if (control) this.#devices.said(event.uid, control, nowMs);
    this.#heard(event, { format: 'tak', bytes: tak }, datagram.length, source);
  }

  #heard(event: CotEvent, wire: { format: 'xml' | 'tak'; bytes: Buffer }, size: number, source: Address): void {
    if (isControl(event.type)) return this.#port!.refused('unsupported', size);
    this.#devices.heard(event.uid, wire.format === 'xml', this.#context.clock.nowMs());
    const holds = event.callsign === '' || this.#holds(event, source.host);
    const endpoint = this.#config.direct && holds ? readEndpoint(event.endpoint, source.host) : undefined;
    if (endpoint) this.#endpoints.note({ uid: event.uid, callsign: event.callsign, endpoint });
    if (!isLeave(event, wire.bytes)) return this.#port!.deliver({ message: { kind: 'event', event }, wire, size });
    if (event.linkUid === '') return this.#port!.refused('malformed', size);
    const contact = { uid: event.linkUid, callsign: event.callsign };
    this.#port!.deliver({ message: { kind: 'contact', op: 'delete', contact }, size });
  }

  /** False: another device has this uid, and what is for it goes there. */
  #holds({ uid, callsign }: CotEvent, host: string): boolean {
    const { holds, contested } = this.#speakers.heard(uid, host);
    if (contested) this.#tellOf(contested, callsign);
    return holds;
  }

  #tellOf({ uid, holder, rival }: Contested, callsign: string): void {
    const withdraw = this.#context.warn({
      code: 'uid_claimed',
      words: `two devices on ${this.interface.name} say that they are ${JSON.stringify(uid)} (${JSON.stringify(callsign)}): ${holder}, who is written to, and ${rival}; both are shown`,
      fix: 'find out who has that uid by right: two phones may have been set up from one backup; let phones connect with certificates where that matters',
    });
    this.#context.clock.after(CONTESTED_MS, () => {
      withdraw();
      this.#speakers.settle(uid);
    });
  }

  // --- out -----------------------------------------------------------------------------------------------------------

  carries(message: Message): boolean {
    return message.kind === 'event' && !isControl(message.event.type);
  }

  send(envelope: Envelope): boolean {
    const { message } = envelope;
    if (!this.#open || message.kind !== 'event') return false;
    if (this.#inFlight >= MAX_IN_FLIGHT || this.#direct >= MAX_DIRECT) {
      this.#full = true;
      return false;
    }
    const refusal = isDirected(message.event)
      ? this.#tell(envelope, message.event)
      : this.#cast(envelope, message.event);
    if (refusal) this.#port!.undeliverable(refusal, envelope);
    return true;
  }

  /** To everybody. A unit that is on this mesh itself was heard by all who are. */
  #cast(envelope: Envelope, event: CotEvent): DropReason | undefined {
    if (this.#devices.isHere(event.uid, this.#context.clock.nowMs())) return 'duplicate';
    const version = this.#config.protocol === 'auto' ? this.#devices.version(this.#context.clock.nowMs()) : 0;
    const bytes = this.#encode(envelope, version);
    if (!bytes) return 'malformed';
    if (bytes.length > this.#config.maxEventBytes) return 'too_large';
    this.#datagram(bytes, event.type.startsWith('b-t-f') ? this.#config.chat : this.#config.sa);
    return undefined;
  }

  /** To those it names, where they can be reached; nobody else hears of it. */
  #tell(envelope: Envelope, { destUids, destCallsigns }: CotEvent): DropReason | undefined {
    const endpoints = this.#config.direct ? this.#endpoints.of(destUids, destCallsigns) : [];
    if (endpoints.length === 0) return 'no_recipient';
    const bytes = this.#encode(envelope, 0);
    if (!bytes) return 'malformed';
    for (const endpoint of endpoints) this.#deliverTo(endpoint, bytes, envelope);
    return undefined;
  }

  #deliverTo(endpoint: Endpoint, bytes: Buffer, envelope: Envelope): void {
    if (endpoint.transport === 'udp') return this.#datagram(bytes, endpoint);
    this.#direct++;
    this.#sentBytes += bytes.length + CONNECTION_BYTES;
    void tellByTcp(endpoint, this.interface.address, bytes, this.#context.clock).then((taken) => {
      this.#direct--;
      if (!this.#open) return;
      if (!taken) this.#port!.undeliverable('peer_gone', envelope);
      this.#offerRoom();
    });
  }

  #encode(envelope: Envelope, version: 0 | 1): Buffer | undefined {
    try {
      return version === 0 ? asXml(envelope) : memo(envelope, 'mesh-tak', () => frameMesh(asTak(envelope)));
    } catch (error) {
      this.#context.log.error({ err: error, from: envelope.from }, 'message could not be encoded');
      return undefined;
    }
  }

  /** Nobody tells whether a datagram arrives. The system takes it at once, or says that the network is not there. */
  #datagram(bytes: Buffer, { host, port }: Address): void {
    this.#inFlight++;
    this.#sentBytes += bytes.length + HEADER_BYTES;
    this.#socket.send(bytes, port, host, (error) => {
      this.#inFlight--;
      if (error) this.#context.log.debug({ err: error, to: host }, 'datagram not sent');
      this.#offerRoom();
    });
  }

  #offerRoom(): void {
    if (!this.#full || !this.#open) return;
    this.#full = false;
    this.#port?.writable();
  }

  #advertise(): void {
    const message = takControlMessage({ ...VERSIONS, contactUid: this.#context.node.id });
    this.#datagram(frameMesh(message), this.#config.sa);
    this.#cancelAdvert = this.#context.clock.after(ADVERTISE_MS, () => this.#advertise());
  }

  close(reason: CloseReason, cause?: Error): void {
    if (!this.#open) return;
    this.#open = false;
    this.#cancelAdvert();
    this.#socket.close();
    this.#port?.closed(reason, cause);
  }
}

/** A TakMessage with nothing but a TakControl: takControl is field 1, cotEvent field 2. */
function isAlone(tak: Buffer): boolean {
  const length = tak[1] ?? 0;
  return tak[0] === 0x0a && length < 0x80 && tak.length === 2 + length;
}
