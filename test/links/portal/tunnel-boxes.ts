// Relays as far as tunnels need them: each has a listener for splices and knows whom it is connected with; requests go from
// one to the other in memory. What runs between the sockets is real.
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import type { TestContext } from 'node:test';
import { type TLSSocket, TLSSocket as TlsSocket } from 'node:tls';
import { type NodeRequest, type NodeResponse, problemResponse } from '../../../src/core/node.ts';
import type { KeyPair } from '../../../src/identity/identity.ts';
import { type Clock, systemClock } from '../../../src/lib/clock.ts';
import type { LinkContext } from '../../../src/links/link.ts';
import type { Sessions } from '../../../src/links/portal/seam.ts';
import { PortalTunnels } from '../../../src/links/portal/tunnel.ts';
import { exposeSchema, tunnelsSchema } from '../../../src/links/portal/tunnel-config.ts';
import { parseAddress, type TlsSettings } from '../../../src/links/stream.ts';
import { pinning, testIdentity } from '../../support/pki.ts';
import { runLink } from '../memory.ts';

export interface BoxOptions {
  readonly hub?: boolean;
  /** As in the configuration file. */
  readonly tunnels?: object;
  readonly expose?: object;
  readonly clock?: Clock;
}

export class Box {
  readonly name: string;
  readonly tlsLeaf: KeyPair;
  readonly tunnels: PortalTunnels;
  readonly context: LinkContext;
  /** What was refused here, code by code. */
  readonly refused: readonly { readonly address: string; readonly trouble: { code: string; words: string } }[];
  /** Connections that came through a tunnel to this relay itself. */
  readonly accepted: { readonly socket: Socket; readonly hub: string; readonly peer: string }[] = [];
  readonly joining: { readonly socket: Socket; readonly hub: string; readonly peer: string }[] = [];
  /** Peers whose answers were overdue. */
  readonly doubted: string[] = [];
  /** Address of its listener, unless something was put in front of it. */
  address = '';
  /** Boxes it knows by name. */
  readonly peers = new Map<string, Box>();
  readonly #connected = new Set<string>();
  readonly #dialled = new Set<string>();
  readonly hubs = new Map<string, readonly string[]>();
  /** Sees a request before it is answered, and may answer in the box's place. */
  intercept: ((request: NodeRequest, from: string) => NodeResponse | undefined) | undefined;

  private constructor(t: TestContext, name: string, options: BoxOptions) {
    this.name = name;
    this.tlsLeaf = testIdentity(name).federation();
    const { clock = systemClock, hub = false } = options;
    const running = runLink(
      t,
      { run: ({ signal }) => once(signal, 'abort').then(() => {}) },
      { clock, name: 'portal' },
    );
    this.context = running.context;
    this.refused = running.refusals;
    const settings = {
      hub,
      tunnels: tunnelsSchema.parse(options.tunnels ?? {}),
      expose: exposeSchema.parse(options.expose ?? {}),
    };
    this.tunnels = new PortalTunnels(settings, this.#sessions(), this.context);
    t.after(() => this.tunnels.close());
  }

  static async start(t: TestContext, name: string, options: BoxOptions = {}): Promise<Box> {
    const box = new Box(t, name, options);
    const server = createServer((socket) => {
      t.after(() => socket.destroy());
      socket.on('error', () => {});
      socket.once('data', (first: Buffer) => {
        socket.pause();
        box.tunnels.onSplice(socket, first);
      });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    t.after(() => server.close());
    box.address = `127.0.0.1:${(server.address() as { port: number }).port}`;
    return box;
  }

  /** TLS of this box with that peer. */
  tlsWith(peer: Box): TlsSettings {
    return { keyPair: this.tlsLeaf, trust: pinning(peer.tlsLeaf), alpn: [], verifyName: false };
  }

  /** Both know each other. */
  know(peer: Box): void {
    this.peers.set(peer.name, peer);
    peer.peers.set(this.name, this);
  }

  /** A session with `peer`, dialled from here. */
  dial(peer: Box): void {
    this.know(peer);
    this.#connected.add(peer.name);
    this.#dialled.add(peer.name);
    peer.#connected.add(this.name);
  }

  hangUp(peer: Box): void {
    for (const [one, other] of [[this, peer] as const, [peer, this] as const]) {
      one.#connected.delete(other.name);
      one.#dialled.delete(other.name);
    }
  }

  /** Asks a peer, as a session does. */
  async call(peer: string, request: NodeRequest, signal = this.context.signal): Promise<NodeResponse> {
    const box = this.peers.get(peer);
    if (!box || !this.#connected.has(peer)) return problemResponse(502, 'peer_away', `${peer} is away`);
    const early = box.intercept?.(request, this.name);
    if (early) return early;
    const passed = { ...request, hops: request.hops + 1 };
    const answer = box.tunnels.handle(passed, { name: this.name, link: 'portal' }, signal);
    return answer ?? problemResponse(404, 'not_found', 'no such resource');
  }

  /** TLS on a connection that came through a tunnel, as a session does when it was dialled. */
  async serveTls(from: Box): Promise<TLSSocket> {
    const { socket } = await until('a connection through the tunnel', () => this.accepted.shift());
    const { keyPair } = this.tlsWith(from);
    const tls = new TlsSocket(socket, {
      isServer: true,
      cert: keyPair.certPem,
      key: keyPair.keyPem,
      requestCert: true,
      rejectUnauthorized: false,
    });
    tls.on('error', () => tls.destroy());
    await once(tls, 'secure');
    return tls;
  }

  refusal(code: string) {
    return until(`refusal ${code}`, () => this.refused.find(({ trouble }) => trouble.code === code)?.trouble);
  }

  #sessions(): Sessions {
    return {
      call: (peer, request, signal) => this.call(peer, request, signal),
      connected: (peer) => this.#connected.has(peer),
      rttMs: () => 0,
      doubt: (peer) => this.doubted.push(peer),
      accept: (socket, hub, peer) => {
        this.accepted.push({ socket, hub, peer });
      },
      acceptJoining: (socket, hub, peer) => {
        this.joining.push({ socket, hub, peer });
      },
      dialled: (peer) => (this.#dialled.has(peer) ? parseAddress(this.peers.get(peer)!.address) : undefined),
      hubs: (peer) => this.hubs.get(peer) ?? [],
      tls: (peer) => {
        const box = this.peers.get(peer);
        return box && this.tlsWith(box);
      },
    };
  }
}

/** a and b, both connected to hub, each knowing the other. */
export async function trio(
  t: TestContext,
  options: { readonly a?: BoxOptions; readonly b?: BoxOptions; readonly hub?: BoxOptions } = {},
): Promise<{ a: Box; b: Box; hub: Box }> {
  const a = await Box.start(t, 'a', options.a);
  const b = await Box.start(t, 'b', options.b);
  const hub = await Box.start(t, 'hub', { hub: true, ...options.hub });
  a.know(b);
  a.dial(hub);
  b.dial(hub);
  a.hubs.set('b', ['hub']);
  return { a, b, hub };
}

/** A service that sends back what it is told; its address, and the connections it had. */
export async function echo(t: TestContext): Promise<{ address: string; connections: Socket[] }> {
  const connections: Socket[] = [];
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    connections.push(socket);
    socket.on('error', () => {});
    socket.pipe(socket);
    t.after(() => socket.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  return { address: `127.0.0.1:${(server.address() as { port: number }).port}`, connections };
}

/** Stands in front of a box, hears everything, and may change it. Toward the box and back alike. */
export async function tapped(t: TestContext, box: Box, change: (bytes: Buffer) => Buffer = (bytes) => bytes) {
  const target = parseAddress(box.address)!;
  const heard: Buffer[] = [];
  const server = createServer((left) => {
    const right = connect(target);
    for (const [from, into] of [[left, right] as const, [right, left] as const]) {
      t.after(() => from.destroy());
      from.on('error', () => into.destroy());
      from.on('close', () => into.destroy());
      from.on('data', (chunk: Buffer) => {
        heard.push(chunk);
        into.write(change(chunk));
      });
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  box.address = `127.0.0.1:${(server.address() as { port: number }).port}`;
  return { heard: () => Buffer.concat(heard) };
}

const PATIENCE_MS = 60_000;
const LOOK_MS = 5;

/** The first value of `find` that is not undefined or false. */
export async function until<T>(what: string, find: () => T | undefined | false): Promise<T> {
  for (let waitedMs = 0; waitedMs < PATIENCE_MS; waitedMs += LOOK_MS) {
    const found = find();
    if (found !== undefined && found !== false) return found;
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
  throw new Error(`waited in vain for ${what}`);
}

/** Waits until the socket has said at least that. */
export async function heard(socket: Socket, text: string): Promise<string> {
  let all = '';
  socket.on('data', (chunk: Buffer) => {
    all += chunk.toString('latin1');
  });
  await until(`to hear ${text.slice(0, 40)}`, () => all.includes(text));
  return all;
}

/** Resolves when the socket has hung up or broken. */
export function gone(socket: Socket): Promise<void> {
  if (socket.destroyed) return Promise.resolve();
  return new Promise((resolve) => {
    for (const event of ['end', 'close', 'error']) socket.once(event, () => resolve());
    socket.resume();
  });
}
