// A relay with a link of every kind, two ends to each: one that says, one that hears. The ends are the same links over real
// sockets, brokers in the test's hands for MQTT, and bare sockets for the mesh.
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { TestContext } from 'node:test';
import type { Wire } from '../../../src/core/message.ts';
import { LINK_KINDS } from '../../../src/links/index.ts';
import type { LinkKind } from '../../../src/links/link.ts';
import { scanCot } from '../../../src/wire/cot.ts';
import { asXml } from '../../../src/wire/encode.ts';
import { testIdentity } from '../../support/pki.ts';
import { TestRelay } from '../fed2/interop-relay.ts';
import { changed, envelope, type RecordedSession, type RunningLink, runLink, until } from '../memory.ts';
import { brokerLink } from '../mqtt/fake-broker.ts';
import { KINDS, type Kind } from './losses.ts';

const KEY = 'correct horse battery staple';
const ON = '127.0.0.1';
const ids = { say: testIdentity('sayer'), hear: testIdentity('hearer') } as const;
const SIDES = ['say', 'hear'] as const;
export type Side = (typeof SIDES)[number];

/** An event as it arrived. */
export interface Arrival {
  readonly xml: string;
  readonly wire: Wire;
}

export interface End {
  /** Where its device takes messages for itself alone, as in contact@endpoint. */
  readonly endpoint: string;
  say(xml: string): Promise<void>;
  /** An event with this in it that came, if it came. */
  find(uid: string): Arrival | undefined;
}

function kindOf(name: string): LinkKind<unknown> {
  return (LINK_KINDS as readonly LinkKind<unknown>[]).find(({ kind }) => kind === name)!;
}

const link = (name: string, keys: object) => kindOf(name).create(kindOf(name).schema.parse(keys));

export class Stand {
  readonly relay: TestRelay;
  readonly ends: ReadonlyMap<string, End>;

  private constructor(relay: TestRelay, ends: ReadonlyMap<string, End>) {
    this.relay = relay;
    this.ends = ends;
  }

  end(kind: Kind, side: Side): End {
    return this.ends.get(`${kind} ${side}`)!;
  }

  static async open(t: TestContext): Promise<Stand> {
    const brokers = new Map<string, RunningLink>();
    const addresses = new Map<string, string>();
    for (const kind of ['mqtt xml', 'mqtt tak'] as const) {
      for (const side of SIDES) {
        const broker = runLink(t, brokerLink(kind === 'mqtt tak'));
        brokers.set(`${kind} ${side}`, broker);
        addresses.set(`${kind} ${side}`, `${ON}:${await broker.port()}`);
      }
    }
    const trust = SIDES.map((side) => `SHA256:${ids[side].ca.fingerprint}`);
    const base = 20_000 + (process.pid % 20_000);
    const last = (process.pid % 250) + 1;
    const groups = (side: Side) => {
      const at = base + (side === 'say' ? 10 : 20);
      return { sa: `239.78.${side.length}.${last}:${at}`, chat: `239.79.${side.length}.${last}:${at + 1}` };
    };
    const listen = `${ON}:0`;
    const mqtt = (kind: Kind, side: Side, payload: string) => ({
      kind: 'mqtt',
      connect: addresses.get(`${kind} ${side}`)!,
      subscribe: 'cot',
      publish: 'cot',
      payload,
    });
    const relay = new TestRelay(t, {
      xml: { kind: 'cot', listen, protocol: 'xml' },
      tak: { kind: 'cot', listen },
      fed1: { kind: 'fed1', listen, trust },
      fed2: { kind: 'fed2', listen, trust },
      portal: {
        kind: 'portal',
        listen,
        federation_key: KEY,
        peers: SIDES.map((side) => ({ name: side, pin: ids[side].portal().fingerprint })),
      },
      'mqtt-xml-say': mqtt('mqtt xml', 'say', 'xml'),
      'mqtt-xml-hear': mqtt('mqtt xml', 'hear', 'xml'),
      'mqtt-tak-say': mqtt('mqtt tak', 'say', 'tak'),
      'mqtt-tak-hear': mqtt('mqtt tak', 'hear', 'tak'),
      'mesh-say': { kind: 'mesh', interfaces: ['lo'], ...groups('say') },
      'mesh-hear': { kind: 'mesh', interfaces: ['lo'], ...groups('hear') },
    } as never);
    const ends = new Map<string, End>();
    for (const side of SIDES) {
      const identity = ids[side];
      const run = (name: string, keys: object) =>
        runLink(t, link(name, keys), { identity, trust: relay.identity.trust });
      const at = async (name: string) => `${ON}:${await relay.port(name)}`;
      const add = (kind: Kind, end: End) => ends.set(`${kind} ${side}`, end);
      const flow = { flow_tag: false };
      add('cot xml', await dialled(run('cot', { connect: await at('xml'), protocol: 'xml', ...flow })));
      const tak = run('cot', { connect: await at('tak'), ...flow });
      const spoken = await tak.hub.session();
      await until('protobuf', () => spoken.writables > 0);
      add('cot tak', await dialled(tak));
      add('fed1', await dialled(run('fed1', { connect: await at('fed1') })));
      add('fed2', await dialled(run('fed2', { connect: await at('fed2') })));
      const peers = [{ name: 'relay', pin: relay.identity.portal().fingerprint, address: await at('portal') }];
      const node = { id: identity.id, name: side, version: '0.1.0' };
      const portal = runLink(t, link('portal', { federation_key: KEY, peers }), { identity, node });
      add('portal', await dialled(portal));
      for (const kind of ['mqtt xml', 'mqtt tak'] as const) add(kind, await dialled(brokers.get(`${kind} ${side}`)!));
      add('mesh', await MeshEnd.open(t, groups(side)));
    }
    await until('every peer', () => relay.hub.peers().filter(({ session }) => session).length >= 2 * KINDS.length);
    return new Stand(relay, ends);
  }
}

async function dialled(running: RunningLink): Promise<End> {
  return new LinkEnd(await running.hub.session());
}

class LinkEnd implements End {
  readonly endpoint = '*:-1:stcp';
  readonly #session: RecordedSession;

  constructor(session: RecordedSession) {
    this.#session = session;
  }

  async say(xml: string): Promise<void> {
    const bytes = Buffer.from(xml);
    const said = envelope({ kind: 'event', event: scanCot(bytes) }, { wire: { format: 'xml', bytes } });
    for (;;) {
      const before = this.#session.writables;
      if (this.#session.session.send(said, [])) return;
      await until('room', () => this.#session.writables > before);
    }
  }

  find(uid: string): Arrival | undefined {
    const inbound = this.#session.delivered.find(
      ({ message }) => message.kind === 'event' && message.event.uid === uid,
    );
    if (inbound?.message.kind !== 'event') return undefined;
    const { message, wire } = inbound;
    return { wire: wire!, xml: asXml(envelope(message, { wire })).toString() };
  }
}

/** Devices on a mesh: what is multicast is heard by a socket, what is for one device by its port. */
class MeshEnd implements End {
  readonly heard: Buffer[] = [];
  endpoint = '';
  readonly #mouth: Socket;
  readonly #groups: { readonly sa: string; readonly chat: string };

  private constructor(mouth: Socket, groups: { readonly sa: string; readonly chat: string }) {
    this.#mouth = mouth;
    this.#groups = groups;
  }

  static async open(t: TestContext, groups: { readonly sa: string; readonly chat: string }): Promise<MeshEnd> {
    const mouth = createSocket('udp4');
    t.after(() => mouth.close());
    mouth.bind({ address: ON, port: 0 });
    await once(mouth, 'listening');
    mouth.setMulticastInterface(ON);
    const end = new MeshEnd(mouth, groups);
    const note = (bytes: Buffer) => {
      end.heard.push(bytes);
      changed();
    };
    for (const group of [groups.sa, groups.chat]) {
      const [address = '', port = ''] = group.split(':');
      const ear = createSocket({ type: 'udp4', reuseAddr: true });
      t.after(() => ear.close());
      ear.bind({ address, port: Number(port) });
      await once(ear, 'listening');
      ear.addMembership(address, ON);
      // Its own words, and what other devices say, are not what a relay told it.
      ear.on('message', (bytes, from) => from.port !== mouth.address().port && note(bytes));
    }
    const server = createServer((socket) => {
      const parts: Buffer[] = [];
      socket.on('data', (part) => parts.push(part as Buffer));
      socket.on('end', () => {
        note(Buffer.concat(parts));
        socket.end();
      });
    });
    server.listen(0, ON);
    await once(server, 'listening');
    t.after(() => server.close());
    end.endpoint = `${ON}:${(server.address() as { port: number }).port}:tcp`;
    return end;
  }

  async say(xml: string): Promise<void> {
    const isChat = xml.includes('type="b-t-f');
    const [host, port] = (isChat ? this.#groups.chat : this.#groups.sa).split(':');
    await new Promise<void>((done, fail) =>
      this.#mouth.send(xml, Number(port), host, (error) => (error ? fail(error) : done())),
    );
  }

  find(uid: string): Arrival | undefined {
    const bytes = this.heard.find((one) => one.includes(`uid="${uid}"`) || one.includes(`uid='${uid}'`));
    return bytes && { wire: { format: 'xml', bytes }, xml: bytes.toString() };
  }
}
