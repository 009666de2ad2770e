// A broker in the test's hands, as small as can be: for the contract suite it is the listener at the other end; for tests of bad
// brokers it answers as the script says. The packets are `mqtt-packet`'s.
import { createServer, type Socket } from 'node:net';
import { generate, type IConnectPacket, type IPacket, type Packet, parser } from 'mqtt-packet';
import type { Envelope, Message } from '../../../src/core/message.ts';
import type { CloseReason } from '../../../src/core/reason.ts';
import type { Session, SessionPort } from '../../../src/core/session.ts';
import { aborted } from '../../../src/lib/abort.ts';
import type { Link, LinkContext } from '../../../src/links/link.ts';
import { Outlet } from '../../../src/links/outlet.ts';
import { scanCot } from '../../../src/wire/cot.ts';
import { asTak, asXml } from '../../../src/wire/encode.ts';
import { frameMesh, meshPayload, scanTak } from '../../../src/wire/tak.ts';

/** All that the generator looks at in a CONNECT packet. */
const V5 = { protocolVersion: 5 } as IConnectPacket;

export function packetBytes(packet: Packet): Buffer {
  return generate(packet, V5);
}

/** The answer a broker owes; nothing for a packet that wants none. */
export function answerTo(packet: Packet & IPacket): Packet | undefined {
  switch (packet.cmd) {
    case 'connect':
      return { cmd: 'connack', sessionPresent: false, reasonCode: 0, properties: { receiveMaximum: 20 } } as Packet;
    case 'subscribe':
      return { cmd: 'suback', messageId: packet.messageId!, granted: packet.subscriptions.map(({ qos }) => qos) };
    case 'publish':
      return packet.qos === 1 ? { cmd: 'puback', messageId: packet.messageId!, reasonCode: 0 } : undefined;
    case 'pingreq':
      return { cmd: 'pingresp' };
    default:
      return undefined;
  }
}

/** Listens, and makes every connection a session of the hub's: what the client publishes comes in, what the hub says it is sent. */
/** `tak`: payloads are TakMessages, as in datagrams; else XML. */
export function brokerLink(tak = false): Link {
  return {
    async run(context) {
      const open = new Set<BrokerSession>();
      let count = 0;
      const server = createServer({ noDelay: true }, (socket) => {
        const session = new BrokerSession(socket, `${context.name}/${++count}`, context, tak);
        open.add(session);
        socket.on('close', () => open.delete(session));
      });
      await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
      context.report('listening', `127.0.0.1:${(server.address() as { port: number }).port}`);
      await aborted(context.signal);
      for (const session of open) session.close('shutdown');
      await new Promise((closed) => server.close(closed));
    },
  };
}

class BrokerSession implements Session {
  readonly identity = { id: 'client', name: 'client', proof: 'none' } as const;
  readonly address = 'client';
  readonly federated = true;
  readonly #socket: Socket;
  readonly #key: string;
  readonly #context: LinkContext;
  readonly #outlet: Outlet;
  readonly #tak: boolean;
  #port: SessionPort | undefined;
  #open = true;

  constructor(socket: Socket, key: string, context: LinkContext, tak: boolean) {
    this.#tak = tak;
    this.#socket = socket;
    this.#key = key;
    this.#context = context;
    this.#outlet = new Outlet(
      (bytes, done) => socket.write(bytes, done),
      { writable: () => this.#port?.writable(), stuck: () => this.close('write_timeout') },
      { maxPendingBytes: 64 * 1024, oneFramePerWrite: false, writeTimeoutMs: 60_000, clock: context.clock },
    );
    const packets = parser({ protocolVersion: 5 });
    packets.on('packet', (packet: Packet & IPacket) => this.#take(packet));
    packets.on('error', (error: Error) => this.close('protocol_error', error));
    socket.on('data', (chunk) => this.#open && packets.parse(chunk));
    socket.on('error', () => {});
    socket.on('close', () => this.close('remote_closed'));
  }

  carries(message: Message): boolean {
    return message.kind === 'event';
  }

  send(envelope: Envelope): boolean {
    if (!this.#open) return false;
    const payload = this.#tak ? frameMesh(asTak(envelope)) : asXml(envelope);
    const packet: Packet = { cmd: 'publish', topic: 'cot', payload, qos: 0, dup: false, retain: false };
    return this.#outlet.push(packetBytes(packet), envelope);
  }

  close(reason: CloseReason, cause?: Error): void {
    if (!this.#open) return;
    this.#open = false;
    this.#socket.destroy();
    this.#port?.closed(reason, cause, this.#outlet.close());
  }

  #take(packet: Packet & IPacket): void {
    if (!this.#open) return;
    if (packet.cmd === 'publish') this.#deliver(Buffer.from(packet.payload));
    const answer = answerTo(packet);
    if (answer) this.#outlet.control(packetBytes(answer), 'last');
    if (packet.cmd !== 'subscribe') return;
    const { name, hub } = this.#context;
    this.#port = hub.attach({ key: this.#key, link: name, kind: 'mqtt', name, durable: false, graceMs: 0 }, this);
  }

  #deliver(bytes: Buffer): void {
    const tak = meshPayload(bytes);
    const event = tak ? scanTak(tak) : scanCot(bytes);
    const wire = tak ? ({ format: 'tak', bytes: tak } as const) : ({ format: 'xml', bytes } as const);
    this.#port?.deliver({ message: { kind: 'event', event }, wire, size: bytes.length });
  }
}
