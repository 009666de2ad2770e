// A connection to a broker as the hub sees it: events of the topics listened to come in, events go out to topics of their own.
import type { CotEvent, Envelope, Message } from '../../core/message.ts';
import type { CloseReason, DropReason } from '../../core/reason.ts';
import type { PeerIdentity, PeerSpec, Session, SessionPort } from '../../core/session.ts';
import { type LinkError, ProtocolError } from '../../lib/errors.ts';
import { isControl, isLeave } from '../../wire/cot.ts';
import type { LinkContext } from '../link.ts';
import { formatVia } from '../via.ts';
import type { Broker, Publication, PublishError } from './broker.ts';
import type { MqttConfig } from './config.ts';
import { InFlight } from './in-flight.ts';
import {
  ACK_MS,
  MAX_EARLY_BYTES,
  MAX_EARLY_EVENTS,
  MAX_IN_FLIGHT_BYTES,
  MAX_UNWRITTEN_BYTES,
  PACKET_EXTRA_BYTES,
} from './limits.ts';
import { contentType, encoded, readPayload } from './payload.ts';
import { readStamps, userProperties } from './stamps.ts';
import { topicOf } from './topics.ts';

/** How often the oldest event without acknowledgement, and a full socket, are looked at. */
const LOOK_MS = 5_000;
/** A full socket is looked at again after this. */
const DRAIN_LOOK_MS = 20;
/** The type of the notice that a unit left. */
const LEAVE = 't-x-d-d';

export class MqttSession implements Session {
  readonly identity: PeerIdentity;
  readonly address: string;
  readonly via: string | undefined;
  /** Relays on the broker stamp path and hops. */
  readonly federated = true;
  readonly #config: MqttConfig;
  readonly #context: LinkContext;
  readonly #broker: Broker;
  readonly #inFlight: InFlight;
  #port: SessionPort | undefined;
  #state: 'early' | 'attached' | 'closed' = 'early';
  #full = false;
  #sending = false;
  #cancelLook = () => {};
  #cancelDrain = () => {};

  constructor(broker: Broker, config: MqttConfig, context: LinkContext) {
    this.#broker = broker;
    this.#config = config;
    this.#context = context;
    this.identity = broker.identity;
    this.address = broker.where;
    this.via = config.broker.connect.via && formatVia(config.broker.connect.via);
    const events = Math.min(config.maxInFlight, broker.allowed.inFlight);
    this.#inFlight = new InFlight({ events, bytes: MAX_IN_FLIGHT_BYTES });
  }

  /** Tells the hub, then hands in what came `early`. */
  attach(spec: PeerSpec, early: Early): void {
    this.#port = this.#context.hub.attach(spec, this);
    if (this.#state === 'closed') return this.#port.closed('internal_error');
    this.#state = 'attached';
    early.drain((publication, acknowledge) => this.receive(publication, acknowledge));
    for (const size of early.lost) this.#port.refused('rate_limited', size);
    this.#look();
  }

  get sentBytes(): number {
    return this.#broker.sentBytes;
  }

  get acknowledges(): boolean {
    return this.#qos === 1;
  }

  get #qos(): 0 | 1 {
    return this.#config.qos === 1 ? this.#broker.allowed.qos : 0;
  }

  get busy(): boolean {
    return this.#inFlight.size > 0;
  }

  // --- in ------------------------------------------------------------------------------------------------------------

  /** Acknowledges what need not come again: also what cannot be read, which would be no better the next time. */
  receive(publication: Publication, acknowledge: () => void): void {
    if (this.#state !== 'attached') return;
    this.#take(publication);
    this.#port!.safely(acknowledge);
  }

  #take(publication: Publication): void {
    const { payload, topic } = publication;
    const size = payload.length + Buffer.byteLength(topic);
    if (payload.length === 0) return; // how a retained event is taken away
    if (payload.length > this.#config.maxEventBytes) return this.#port!.refused('too_large', size);
    try {
      this.#deliver(publication, size);
    } catch (error) {
      if (!(error instanceof ProtocolError)) {
        this.#context.log.error({ err: error }, 'fault while reading');
        return this.close('internal_error', error as Error);
      }
      this.#port!.refused('malformed', size);
      this.#context.log.debug({ code: error.code, reason: error.message, size }, 'event refused');
    }
  }

  #deliver(publication: Publication, size: number): void {
    const stamps = readStamps(publication.properties);
    if (!stamps) throw new ProtocolError('bad_stamps', 'the user properties that relays leave are broken');
    const { event, wire } = readPayload(publication, this.#config.sensors, this.#context.clock.wallMs());
    if (isControl(event.type)) return this.#port!.refused('unsupported', size);
    if (!isLeave(event, wire.bytes))
      return this.#port!.deliver({ message: { kind: 'event', event }, wire, size, ...stamps });
    if (event.linkUid === '') return this.#port!.refused('malformed', size);
    this.#port!.deliver({ message: leaveOf(event), size, ...stamps });
  }

  // --- out -----------------------------------------------------------------------------------------------------------

  carries(message: Message): boolean {
    if (this.#config.publish === undefined) return false;
    if (message.kind === 'contact') return message.op === 'delete';
    return message.kind === 'event' && !isControl(message.event.type);
  }

  send(envelope: Envelope, groups: readonly string[]): boolean {
    if (this.#state !== 'attached' || !this.#broker.isOpen) return false;
    this.#sending = true;
    try {
      return this.#publish(envelope, groups);
    } finally {
      this.#sending = false;
    }
  }

  #publish(envelope: Envelope, groups: readonly string[]): boolean {
    const payload = this.#encode(envelope);
    const properties = userProperties({ ...envelope, groups }, this.#context.node.id);
    const lost = this.#unsayable(payload, properties !== undefined);
    if (lost || !payload) return this.#lose(envelope, lost ?? 'malformed');
    if (!this.#inFlight.hasRoom(payload.length)) return this.#refuse();
    if (this.#broker.unwrittenBytes > MAX_UNWRITTEN_BYTES) return this.#refuseUntilDrained();
    const options = {
      qos: this.#qos,
      retain: this.#config.retain && this.#broker.allowed.retain && envelope.message.kind === 'event',
      expirySeconds: this.#expirySeconds(envelope),
      contentType: contentType(this.#config.payload),
      properties,
    };
    const key = this.#inFlight.start(envelope, payload.length, this.#context.clock.nowMs());
    this.#broker.publish(this.#topicOf(envelope), payload, options, (error) => this.#landed(key, error));
    return true;
  }

  #encode(envelope: Envelope): Buffer | undefined {
    try {
      return encoded(envelope, this.#config.payload);
    } catch (error) {
      this.#context.log.error({ err: error, from: envelope.from }, 'message could not be encoded');
      return undefined;
    }
  }

  #unsayable(payload: Buffer | undefined, stamped: boolean): DropReason | undefined {
    if (!payload) return 'malformed';
    if (!stamped) return 'hop_limit';
    const most = Math.min(this.#config.maxEventBytes, this.#broker.allowed.packetBytes - PACKET_EXTRA_BYTES);
    return payload.length > most ? 'too_large' : undefined;
  }

  #lose(envelope: Envelope, reason: DropReason): true {
    this.#port!.undeliverable(reason, envelope);
    return true;
  }

  #topicOf({ message }: Envelope): string {
    const [uid, type] =
      message.kind === 'event'
        ? [message.event.uid, message.event.type]
        : [message.kind === 'contact' ? message.contact.uid : '', LEAVE];
    return topicOf(this.#config.publish!, { uid, type, node: this.#context.node.id });
  }

  /** What is out of date is not worth keeping at the broker either. */
  #expirySeconds({ expiresMs }: Envelope): number | undefined {
    if (!Number.isFinite(expiresMs)) return undefined;
    return Math.max(1, Math.ceil((expiresMs - this.#context.clock.nowMs()) / 1000));
  }

  #refuse(): false {
    this.#full = true;
    return false;
  }

  /** The package does not tell when its stream has room again. */
  #refuseUntilDrained(): false {
    this.#cancelDrain();
    this.#cancelDrain = this.#context.clock.after(DRAIN_LOOK_MS, () => {
      if (this.#broker.unwrittenBytes > MAX_UNWRITTEN_BYTES) this.#refuseUntilDrained();
      else this.#offerRoom();
    });
    return this.#refuse();
  }

  #landed(key: number, error: PublishError | undefined): void {
    if (this.#state !== 'attached') return;
    // Not the broker's word on this event but the end of the connection: it is given back with the others, in its place.
    if (error && error.code === undefined) return this.#broker.destroy(error);
    const flight = this.#inFlight.land(key);
    if (!flight) return;
    if (error) this.#turnedDown(flight.envelope, error);
    else this.#arrived(flight.envelope, this.#context.clock.nowMs() - flight.sinceMs);
    this.#offerRoom();
  }

  #arrived(envelope: Envelope, tookMs: number): void {
    if (!this.acknowledges) return;
    this.#port!.arrived(envelope);
    this.#port!.rtt(Math.round(tookMs));
  }

  /** The broker said no to this one event. */
  #turnedDown(envelope: Envelope, { code = 0, message: words }: PublishError): void {
    const { message } = envelope;
    this.#port!.undeliverable(REFUSALS[code] ?? 'unsupported', envelope);
    const what = message.kind === 'event' ? message.event.type : LEAVE;
    this.#context.refuse(this.address, {
      code: 'publish_refused',
      words: `the broker does not take an event of type ${what}: ${words}`,
      fix: 'Let this client write to its topic in the broker’s access list, or correct publish.',
    });
  }

  #offerRoom(): void {
    if (!this.#full || this.#sending || this.#state !== 'attached') return;
    this.#full = false;
    this.#port!.writable();
  }

  /** A broker that takes events and never acknowledges them is as good as none. */
  #look(): void {
    this.#cancelLook = this.#context.clock.after(LOOK_MS, () => {
      if (this.#inFlight.oldestMs(this.#context.clock.nowMs()) >= ACK_MS) return this.close('write_timeout');
      this.#look();
    });
  }

  // --- the end -------------------------------------------------------------------------------------------------------

  close(reason: CloseReason, cause?: Error): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#cancelLook();
    this.#cancelDrain();
    const returned = this.#inFlight.giveBack();
    if (POLITE.has(reason)) this.#broker.end();
    else this.#broker.destroy();
    this.#port?.closed(reason, cause, returned);
  }

  /** The connection is gone. */
  lost(loss: LinkError | undefined): void {
    this.close(loss && loss.code !== 'closed' ? 'network_error' : 'remote_closed', loss);
  }
}

const POLITE: ReadonlySet<CloseReason> = new Set(['shutdown', 'config_changed', 'replaced', 'peer_limit']);

/** MQTT 5 §3.4.2.1: reason codes of PUBACK. */
const REFUSALS: Readonly<Record<number, DropReason>> = {
  135: 'filtered_out', // not authorized
  149: 'too_large',
  150: 'rate_limited',
  151: 'rate_limited', // quota exceeded
};

/** What came before the broker said that we may listen: kept, bounded, until the hub knows the peer. */
export class Early {
  #kept: { readonly publication: Publication; readonly acknowledge: () => void }[] = [];
  #bytes = 0;
  readonly #lost: number[] = [];

  keep(publication: Publication, acknowledge: () => void): void {
    const size = publication.payload.length;
    if (this.#kept.length >= MAX_EARLY_EVENTS || this.#bytes + size > MAX_EARLY_BYTES) {
      if (this.#lost.length < MAX_EARLY_EVENTS) this.#lost.push(size);
      return acknowledge();
    }
    this.#bytes += size;
    this.#kept.push({ publication, acknowledge });
  }

  get lost(): readonly number[] {
    return this.#lost;
  }

  drain(take: (publication: Publication, acknowledge: () => void) => void): void {
    const kept = this.#kept;
    this.#kept = [];
    for (const { publication, acknowledge } of kept) take(publication, acknowledge);
  }
}

function leaveOf({ linkUid, callsign }: CotEvent): Message {
  return { kind: 'contact', op: 'delete', contact: { uid: linkUid, callsign } };
}
