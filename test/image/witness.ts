// Who counts what a box that is cut off again and again passes on: two relays on the host with the box between them, source - box - sink.
// A phone at the source says something that must not be lost every second, whether the box is up or not; its fellow at the sink must
// be shown all of it, once. Neither of the two relays is ever stopped. The door before the sink is, so that the box keeps things, too.
import assert from 'node:assert/strict';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Phone, phone } from '../support/cot-client.ts';
import { countsOf, Load } from '../support/outbox-chain.ts';
import { freePorts, RelayHome } from '../support/relay-process.ts';
import { FROM_BOX, PORTAL_KEY, START_MS } from './lab.ts';

const EVERY_MS = 1000;
/** A phone that is silent is taken for dead. */
const ANNOUNCE_MS = 10_000;

export class Witness {
  readonly #source: RelayHome;
  readonly #sink: RelayHome;
  readonly #door: Door;
  readonly #listener: Phone;
  readonly #load: Load;
  readonly #after: readonly (() => unknown)[];
  /** Peers for the box's portal link, as YAML. */
  readonly peers: string;

  private constructor(parts: {
    readonly source: RelayHome;
    readonly sink: RelayHome;
    readonly door: Door;
    readonly listener: Phone;
    readonly load: Load;
    readonly peers: string;
    readonly after: readonly (() => unknown)[];
  }) {
    this.#source = parts.source;
    this.#sink = parts.sink;
    this.#door = parts.door;
    this.#listener = parts.listener;
    this.#load = parts.load;
    this.#after = parts.after;
    this.peers = parts.peers;
  }

  /** @param boxPin of the certificate that the box shows to other relays */
  static async create(boxPin: string): Promise<Witness> {
    const after: (() => unknown)[] = [];
    const home = { after: (undo: () => unknown) => void after.push(undo) };
    const [source, sink] = [new RelayHome(home, 'source'), new RelayHome(home, 'sink')];
    const [doorPort, ...ports] = (await freePorts(7)) as [number, ...number[]];
    const configure = (relay: RelayHome, at: number) =>
      relay.configure(
        ports[at]!,
        `links:\n  - { name: phones, kind: cot, listen: ${ports[at + 1]} }\n` +
          `  - { name: relays, kind: portal, listen: "127.0.0.1:${ports[at + 2]}", ${PORTAL_KEY}, peers: [{ name: box, pin: ${boxPin} }] }\n`,
      );
    configure(source, 0);
    configure(sink, 3);
    await Promise.all([source.start(), sink.start()]);
    const door = await Door.create(doorPort, ports[5]!);
    after.push(() => door.close());
    const listener = await phone(home, { port: ports[4]! });
    listener.announce('LISTENER', 'LISTENER');
    const announcing = setInterval(() => listener.announce('LISTENER', 'LISTENER'), ANNOUNCE_MS);
    after.push(() => clearInterval(announcing));
    const load = new Load(await phone(home, { port: ports[1]! }), EVERY_MS);
    after.push(() => load.stop());
    const peer = async (relay: RelayHome, port: number) =>
      `{ name: ${relay.name}, pin: "${await relay.portalPin()}", address: "${FROM_BOX}:${port}" }`;
    const peers = `${await peer(source, ports[2]!)}, ${await peer(sink, doorPort)}`;
    return new Witness({ source, sink, door, listener, load, peers, after });
  }

  /** Until the door opens again the box keeps what it has for the sink. */
  door(open: boolean): void {
    this.#door.open = open;
  }

  /** Resolves when both relays have the box. */
  async untilJoined(): Promise<void> {
    const joined = async (relay: RelayHome) =>
      (await relay.status()).peers.some(({ link, connected }) => link === 'relays' && connected);
    for (const until = performance.now() + START_MS; ; await sleep(1000)) {
      if ((await joined(this.#source)) && (await joined(this.#sink))) return;
      assert.ok(performance.now() < until, 'the box did not join its neighbours');
    }
  }

  /** Stops talking, waits for what is under way, and judges. Returns figures for a person. */
  async judge(): Promise<string> {
    this.door(true);
    this.#load.stop();
    const { said } = this.#load;
    const missing = () => [...said].filter((uid) => !this.#listener.has(uid));
    for (const until = performance.now() + START_MS; missing().length > 0 && performance.now() < until; )
      await sleep(2000);
    await sleep(15_000); // whatever comes twice comes now
    assert.ok(!this.#listener.closed, 'the phone at the sink was cut off: nothing can be said of what it missed');
    const counts = countsOf(this.#listener.events);
    const lost = missing();
    const twice = [...said].filter((uid) => counts.get(uid)! > 1);
    assert.deepEqual({ lost, twice }, { lost: [], twice: [] });
    return `${said.size} alerts, chats and markers crossed the box, 0 lost, 0 twice`;
  }

  async stop(): Promise<void> {
    for (const undo of [...this.#after].reverse()) await undo();
  }
}

/** A way to a port of the host that can be shut: whoever is inside is thrown out. */
class Door {
  readonly #server: Server;
  readonly #inside = new Set<Socket>();
  #open = true;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async create(port: number, to: number): Promise<Door> {
    const server = createServer();
    const door = new Door(server);
    server.on('connection', (from) => door.#pass(from, to));
    await new Promise<void>((resolve, reject) => server.once('error', reject).listen(port, '127.0.0.1', resolve));
    return door;
  }

  set open(open: boolean) {
    this.#open = open;
    if (!open) for (const socket of this.#inside) socket.destroy();
  }

  close(): void {
    this.open = false;
    this.#server.close();
  }

  #pass(from: Socket, to: number): void {
    if (!this.#open) return void from.destroy();
    const on = connect(to, '127.0.0.1');
    for (const [one, other] of [
      [from, on],
      [on, from],
    ] as const) {
      this.#inside.add(one);
      one.on('error', () => {});
      one.on('close', () => {
        this.#inside.delete(one);
        other.destroy();
      });
      one.pipe(other);
    }
  }
}
