// One connection to an MQTT 5 broker, by the package `mqtt` on a socket of ours. The package is loaded when it is needed
// first: a box that speaks no MQTT does not carry it in memory. It never reconnects by itself: that is the supervisor's.
import type { Socket } from 'node:net';
import type { MqttClient } from 'mqtt';
import type { PeerIdentity } from '../../core/session.ts';
import { onAbort } from '../../lib/abort.ts';
import { LinkError } from '../../lib/errors.ts';
import { DEFAULT_INTAKE, guardIntake } from '../intake.ts';
import type { LinkContext, Trouble } from '../link.ts';
import { dialTcp, dialTls, formatAddress } from '../stream.ts';
import { type BrokerSettings, passwordOf, tlsOf } from './broker-config.ts';
import { GuardedStream } from './guard.ts';
import { ANSWER_MS, CONNECT_MS, GOODBYE_MS, KEEPALIVE_SECONDS, MAX_UNACKNOWLEDGED, TLS_MS } from './limits.ts';
import { explain, hungUp, refused } from './trouble.ts';

/** MQTT 5 user properties, as the package has them. */
export type UserProperties = Readonly<Record<string, string | readonly string[]>>;

export interface Publication {
  readonly topic: string;
  readonly payload: Buffer;
  readonly properties: UserProperties;
}

export interface BrokerOptions {
  readonly clientId: string;
  /** Published by the broker when we vanish. */
  readonly will?: { readonly topic: string; readonly payload: string } | undefined;
  /** How long the broker keeps what comes for us while we are away; 0: not at all. */
  readonly keepSessionSeconds: number;
  /** Largest packet taken. */
  readonly maxPacketBytes: number;
  /** `acknowledge` is to be called once it need not come again. */
  onPublication(publication: Publication, acknowledge: () => void): void;
}

export interface PublishOptions {
  readonly qos: 0 | 1;
  readonly retain: boolean;
  /** After this the broker throws it away; undefined: never. */
  readonly expirySeconds?: number | undefined;
  readonly contentType?: string | undefined;
  readonly properties?: UserProperties | undefined;
}

export interface Filter {
  readonly topic: string;
  readonly qos: 0 | 1;
  /** Not what we publish ourselves. */
  readonly noLocal: boolean;
}

/** What the broker allows, from its CONNACK. */
interface Allowed {
  readonly inFlight: number;
  readonly packetBytes: number;
  readonly qos: 0 | 1;
  readonly retain: boolean;
  readonly shared: boolean;
}

const MOST: Allowed = { inFlight: 65_535, packetBytes: 268_435_455, qos: 1, retain: true, shared: true };

/** Resolves with a connection that the broker has accepted. Rejects with LinkError or FatalError. */
export async function connectBroker(
  settings: BrokerSettings,
  options: BrokerOptions,
  context: LinkContext,
): Promise<Broker> {
  const where = formatAddress(settings.connect);
  const tls = tlsOf(settings, context);
  const password = passwordOf(settings, context.baseDir);
  if (password !== undefined && !tls) context.warn(passwordInClear(where));
  const deadlines = { connectMs: CONNECT_MS, handshakeMs: TLS_MS };
  const { socket, identity } = tls
    ? await dialTls(settings.connect, tls, deadlines, context)
    : { socket: await dialTcp(settings.connect, deadlines, context), identity: unproven(where) };
  const { MqttClient } = await import('mqtt');
  if (context.signal.aborted) {
    socket.destroy();
    throw new LinkError('aborted', 'told to stop', '');
  }
  const takeIn = guardIntake(socket, DEFAULT_INTAKE, context.clock);
  const stream = new GuardedStream(socket, options.maxPacketBytes, takeIn);
  const client = new MqttClient(() => stream as never, {
    protocolVersion: 5,
    clientId: options.clientId,
    clean: options.keepSessionSeconds === 0,
    keepalive: KEEPALIVE_SECONDS,
    connectTimeout: ANSWER_MS,
    reconnectPeriod: 0,
    resubscribe: false,
    queueQoSZero: false,
    timerVariant: 'native',
    writeCache: false, // 65,536 buffers
    log: () => {},
    customHandleAcks: (topic, payload, packet, done) => {
      broker.received({ topic, payload, properties: packet.properties?.userProperties ?? NONE }, packet.messageId);
      done(HANDLED);
    },
    ...(settings.username === undefined ? {} : { username: settings.username }),
    ...(password === undefined ? {} : { password }),
    ...(options.will
      ? { will: { ...options.will, payload: Buffer.from(options.will.payload), qos: 1, retain: true } }
      : {}),
    properties: {
      sessionExpiryInterval: options.keepSessionSeconds,
      receiveMaximum: MAX_UNACKNOWLEDGED,
      maximumPacketSize: options.maxPacketBytes,
    },
  });
  const broker = new Broker(client, { socket, stream, identity, where }, options, context);
  await broker.accepted;
  return broker;
}

function passwordInClear(where: string): Trouble {
  const words = `the password for ${where} is sent where everybody on the way can read it`;
  return { code: 'password_in_clear', words, fix: 'use tls with this broker, unless the network is safe by itself' };
}

function unproven(where: string): PeerIdentity {
  return { id: where, name: where, proof: 'none' };
}

interface Line {
  readonly socket: Socket;
  readonly stream: GuardedStream;
  readonly identity: PeerIdentity;
  readonly where: string;
}

export class Broker {
  readonly where: string;
  readonly identity: PeerIdentity;
  /** Settles with the broker's answer to our CONNECT. */
  readonly accepted: Promise<void>;
  /** Resolves when the connection is closed: why, unless we closed it. */
  readonly closed: Promise<LinkError | undefined>;
  allowed: Allowed = MOST;
  readonly #client: MqttClient;
  readonly #line: Line;
  readonly #context: LinkContext;
  readonly #options: BrokerOptions;
  #state: 'opening' | 'open' | 'ending' | 'closed' = 'opening';
  #loss: LinkError | undefined;

  constructor(client: MqttClient, line: Line, options: BrokerOptions, context: LinkContext) {
    this.#client = client;
    this.#line = line;
    this.#context = context;
    this.#options = options;
    this.where = line.where;
    this.identity = line.identity;
    client.on('error', (error) => error !== HANDLED && this.#lose(error));
    line.stream.on('error', (error) => this.#lose(error));
    client.on('disconnect', (packet) => {
      this.#lose(refused(this.where, packet.reasonCode ?? 0, 'the broker ended the connection'));
    });
    client.on('message', (topic, payload, packet) => {
      this.received({ topic, payload, properties: packet.properties?.userProperties ?? NONE }, undefined);
    });
    this.accepted = new Promise((resolve, reject) => {
      client.once('connect', ({ properties }) => {
        this.#state = 'open';
        this.allowed = {
          inFlight: properties?.receiveMaximum ?? MOST.inFlight,
          packetBytes: properties?.maximumPacketSize ?? MOST.packetBytes,
          qos: properties?.maximumQoS === 0 ? 0 : 1,
          retain: properties?.retainAvailable !== false,
          shared: properties?.sharedSubscriptionAvailable !== false,
        };
        resolve();
      });
      line.stream.once('close', () => reject(this.#loss ?? hungUp(this.where)));
    });
    this.accepted.catch(() => {});
    const release = onAbort(context.signal, () => this.#state === 'opening' && this.destroy());
    this.closed = new Promise((resolve) => {
      line.stream.once('close', () => {
        release();
        const wanted = this.#state === 'ending';
        this.#state = 'closed';
        client.end(true);
        resolve(wanted ? undefined : (this.#loss ?? hungUp(this.where)));
      });
    });
  }

  /** An event came; one with an id wants to be acknowledged. */
  received(publication: Publication, id: number | undefined): void {
    if (this.#state !== 'open') return;
    this.#options.onPublication(publication, () => id !== undefined && this.#acknowledge(id));
  }

  /** PUBACK, MQTT 5 §3.4: without a reason it means success. The package writes whole packets, so it may stand between two. */
  #acknowledge(id: number): void {
    if (this.#state === 'open') this.#line.stream.write(Buffer.from([0x40, 2, id >> 8, id & 255]));
  }

  get isOpen(): boolean {
    return this.#state === 'open';
  }

  /** Bytes given to the network on this connection. */
  get sentBytes(): number {
    return this.#line.socket.bytesWritten;
  }

  /** Bytes handed over that the network has not taken. */
  get unwrittenBytes(): number {
    return this.#line.stream.writableLength + this.#line.socket.writableLength;
  }

  /** Rejects with LinkError when the broker does not grant all of them, or does not answer. */
  async subscribe(filters: readonly Filter[]): Promise<void> {
    if (filters.length === 0) return;
    const wanted = Object.fromEntries(filters.map(({ topic, qos, noLocal }) => [topic, { qos, nl: noLocal }]));
    let cancel = () => {};
    const deadline = new Promise<never>((_, reject) => {
      cancel = this.#context.clock.after(ANSWER_MS, () => {
        reject(
          new LinkError('no_answer', `${this.where} does not answer our subscription`, 'Look at the broker’s log.'),
        );
      });
    });
    try {
      const lost = this.closed.then((loss) => {
        throw loss ?? hungUp(this.where);
      });
      await Promise.race([this.#client.subscribeAsync(wanted), deadline, lost]);
    } catch (error) {
      if (error instanceof LinkError) throw error;
      if (this.#loss) throw this.#loss;
      const words = `${this.where} does not let us listen to ${filters.map(({ topic }) => topic).join(', ')}`;
      throw new LinkError('subscribe_refused', `${words}: ${wordsOf(error)}`, SUBSCRIBE_FIX, { cause: error });
    } finally {
      cancel();
    }
  }

  /** `done` is called when the broker has acknowledged it (QoS 0: when the socket has it), or with why it never will. */
  publish(
    topic: string,
    payload: Buffer | string,
    options: PublishOptions,
    done: (error?: PublishError) => void,
  ): void {
    const { qos, retain, expirySeconds, contentType, properties } = options;
    const all = {
      ...(expirySeconds === undefined ? {} : { messageExpiryInterval: expirySeconds }),
      ...(contentType === undefined ? {} : { contentType }),
      ...(properties === undefined ? {} : { userProperties: properties as Record<string, string | string[]> }),
    };
    this.#client.publish(topic, payload, { qos, retain, properties: all }, (error) => done(error as PublishError));
  }

  /** Says DISCONNECT (no will is published), and closes when the broker does, or soon. */
  end(): void {
    if (this.#state === 'closed' || this.#state === 'ending') return;
    this.#state = 'ending';
    this.#client.end(false, {}, () => {});
    // The package waits for acknowledgements first; what is not acknowledged by now was given back.
    this.#client.emit('outgoingEmpty');
    const cancel = this.#context.clock.after(GOODBYE_MS, () => this.#line.stream.destroy());
    this.#line.stream.once('close', cancel);
  }

  /** Closes at once: the broker publishes the will. */
  destroy(error?: Error): void {
    if (error) this.#lose(error);
    this.#line.stream.destroy();
  }

  #lose(error: Error): void {
    this.#loss ??= explain(error, this.where, this.#state === 'opening');
    this.#line.stream.destroy();
  }
}

/**
 * Tells the package that we acknowledge the event ourselves, later: it would wait for one acknowledgement before it reads on, and
 * one that waits for the disk would hold up all that follow.
 */
const HANDLED = new Error('acknowledged by us');

/** With the reason code of an acknowledgement that is a refusal. */
export type PublishError = Error & { readonly code?: number };

const NONE: UserProperties = {};
const SUBSCRIBE_FIX = 'Let this client read these topics in the broker’s access list, or correct subscribe.';

function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
