// Experimental: a node in a mesh of Portal cores, by their own wire. Status and the latest tracks can be read; nothing else can.
// It has nothing to do with PORTAL02 between relays (kind `portal`) but the first eight bytes.
import { timingSafeEqual } from 'node:crypto';
import type { Socket } from 'node:net';
import type { NodePeer, NodeRequest, NodeService } from '../../core/node.ts';
import type { PeerSpec, Session, SessionPort } from '../../core/session.ts';
import { onAbort, sleep } from '../../lib/abort.ts';
import { LinkError } from '../../lib/errors.ts';
import type { LinkContext, LinkKind, Trouble } from '../link.ts';
import { dialTcp, dialTls, formatAddress, listenTcp, listenTls, peerAddress } from '../stream.ts';
import { type PortalMeshConfig, portalMeshSchema, tlsOf } from './config.ts';
import { CONNECT_MS, FRAME_EXTRA_BYTES, LOOK_MS, MAX_FRAME_BYTES, TLS_MS } from './limits.ts';
import { isTunnel, Member } from './member.ts';
import { type Greeting, keyHashOf, METHOD, type MeshRequest, type MeshResponse } from './wire.ts';

export const portalMeshKind: LinkKind<PortalMeshConfig> = {
  kind: 'portal-mesh',
  schema: portalMeshSchema,
  create: (config) => ({ run: (context) => new Mesh(config, context).run() }),
  ways(config) {
    const { listen, connect } = config;
    const way = { trust: config.trust, ...(config.tls && { tls: (context: LinkContext) => tlsOf(config, context)! }) };
    return {
      listens: listen ? [{ ...way, address: listen }] : [],
      dials: connect ? [{ ...way, address: connect }] : [],
    };
  },
};

/** What a node may read, as it asks for it, and what that is here. */
const READABLE: ReadonlyMap<string, string> = new Map([
  ['/core/status', '/health'],
  ['/cot/status', '/status'],
  ['/cot/tracks', '/units'],
]);

/** A node with its connections: Portal makes five at once, all under one name. */
interface Neighbour {
  readonly members: Set<Member>;
  readonly port: SessionPort;
}

class Mesh {
  readonly #config: PortalMeshConfig;
  readonly #context: LinkContext;
  readonly #self: Greeting;
  readonly #neighbours = new Map<string, Neighbour>();

  constructor(config: PortalMeshConfig, context: LinkContext) {
    this.#config = config;
    this.#context = context;
    const name = config.node ?? `waystation-${context.node.id.slice(0, 8)}`;
    this.#self = { name, keyHash: keyHashOf(config.federationKey) };
  }

  async run(): Promise<void> {
    const { connect, federationKey } = this.#config;
    this.#context.warn(federationKey === undefined ? NO_KEY : NO_PROOF);
    if (connect) await this.#dial(connect);
    else await this.#listen();
  }

  // --- ways ----------------------------------------------------------------------------------------------------------

  async #listen(): Promise<void> {
    const { listen, maxConnections } = this.#config;
    const context = this.#context;
    const accept = (socket: Socket) => {
      const member = this.#begin(socket, peerAddress(socket));
      const release = onAbort(context.signal, () => member.end());
      void member.closed.then(({ code, message, fix }) => {
        release();
        if (code !== 'ended' && !context.signal.aborted) context.refuse(member.address, { code, words: message, fix });
      });
    };
    const tls = tlsOf(this.#config, context);
    const limits = { maxConnections, handshakeMs: TLS_MS };
    if (!tls) return listenTcp([listen!], accept, limits, context);
    return listenTls([listen!], tls, ({ socket }) => accept(socket), limits, context);
  }

  /** One connection. Resolves after abort; rejects with LinkError when it ends. */
  async #dial(address: NonNullable<PortalMeshConfig['connect']>): Promise<void> {
    const context = this.#context;
    const deadlines = { connectMs: CONNECT_MS, handshakeMs: TLS_MS };
    const tls = tlsOf(this.#config, context);
    let socket: Socket;
    try {
      socket = tls
        ? (await dialTls(address, tls, deadlines, context)).socket
        : await dialTcp(address, deadlines, context);
    } catch (error) {
      if (context.signal.aborted) return;
      throw error;
    }
    const where = formatAddress(address);
    const member = this.#begin(socket, where, () => context.report('connected', where));
    const node = new DialledNode(member, context, address);
    const withdraw = context.provideNodes(node);
    const over = new AbortController();
    const release = onAbort(context.signal, () => member.end());
    try {
      void node.look(over.signal);
      const cause = await member.closed;
      if (!context.signal.aborted) throw cause;
    } finally {
      over.abort();
      release();
      withdraw();
    }
  }

  // --- nodes ---------------------------------------------------------------------------------------------------------

  #begin(socket: Socket, address: string, onGreeted = () => {}): Member {
    let name: string | undefined;
    const member: Member = new Member(
      socket,
      address,
      this.#self,
      {
        greeted: (greeting) => {
          this.#admit(greeting, address);
          name = greeting.name;
          this.#join(name, member);
          onGreeted();
        },
        answer: (request) => this.#answer(request, name!, address),
      },
      this.#context,
    );
    void member.closed.then(() => name !== undefined && this.#leave(name, member));
    return member;
  }

  /** Throws LinkError. */
  #admit({ name, keyHash }: Greeting, address: string): void {
    if (this.#config.federationKey !== undefined && !timingSafeEqual(keyHash, this.#self.keyHash)) {
      const fix = 'Both need the same federation_key, to the letter.';
      throw new LinkError('wrong_key', `${address}, which calls itself ${name}, has another federation key`, fix);
    }
    if (name === this.#self.name) {
      throw new LinkError(
        'own_name',
        `${address} calls itself ${name}, as this relay does`,
        'Give one of them another name: node.',
      );
    }
  }

  #join(name: string, member: Member): void {
    const known = this.#neighbours.get(name);
    if (known) return void known.members.add(member);
    const { name: link } = this.#context;
    const members = new Set([member]);
    const spec: PeerSpec = { key: `${link}/${name}`, link, kind: 'portal-mesh', name, durable: false, graceMs: 0 };
    const session: Session = {
      identity: { id: member.address, name, proof: 'none' },
      address: member.address,
      federated: false,
      // It asks; it is told nothing by itself.
      carries: () => false,
      send: () => false,
      close: () => {
        for (const one of members) one.end();
      },
    };
    this.#neighbours.set(name, { members, port: this.#context.hub.attach(spec, session) });
  }

  #leave(name: string, member: Member): void {
    const known = this.#neighbours.get(name);
    if (!known?.members.delete(member) || known.members.size > 0) return;
    this.#neighbours.delete(name);
    known.port.closed(this.#context.signal.aborted ? 'shutdown' : 'remote_closed', undefined, []);
  }

  async #answer({ method, path: asked, body }: MeshRequest, name: string, address: string): Promise<MeshResponse> {
    const context = this.#context;
    const own = `/${this.#self.name}/`;
    const path = asked.startsWith(own) ? asked.slice(own.length - 1) : asked;
    if (isTunnel(path)) {
      context.refuse(address, { ...TUNNEL, words: `${name} asked for ${path.slice(0, 80)}: a shell or a port` });
      return said(403, 'no path leads to a shell or a port here');
    }
    if (path === '/node/functions/identity_proof') return said(401, 'this relay keeps no keys of Portal users');
    const [place, query] = path.split('?', 2);
    const resource = READABLE.get(place!);
    if (!resource) return said(404, `there is nothing here but ${[...READABLE.keys()].join(', ')}`);
    if (method !== METHOD.get || body.length > 0) return said(403, 'this can only be read');
    const request: NodeRequest = {
      method: 'GET',
      path: query === undefined ? resource : `${resource}?${query}`,
      headers: {},
      body: Buffer.alloc(0),
      hops: 1,
    };
    const answer = await context.resources.handle(request, { name, link: context.name }, context.signal);
    if (answer.body.length > MAX_FRAME_BYTES - FRAME_EXTRA_BYTES)
      return said(500, 'too much for one frame: ask with ?limit=');
    return answer;
  }
}

/** The node that was dialled, as one that can be asked. Its name is the link's: what it calls itself, anybody may. */
class DialledNode implements NodeService {
  readonly #member: Member;
  readonly #context: LinkContext;
  readonly #address: { readonly host: string; readonly port: number };
  #latencyMs: number | null = null;

  constructor(member: Member, context: LinkContext, address: { readonly host: string; readonly port: number }) {
    this.#member = member;
    this.#context = context;
    this.#address = address;
  }

  peers(): readonly NodePeer[] {
    const { counts, lastHeardMs } = this.#member;
    const { host, port } = this.#address;
    return [
      {
        ...{ name: this.#context.name, host, port, via: 'direct', status: 'connected' },
        latencyMs: this.#latencyMs,
        lastContactMs: lastHeardMs ?? null,
        messagesSent: counts.sent,
        messagesReceived: counts.received,
      },
    ];
  }

  call(_peer: string, request: NodeRequest, signal: AbortSignal) {
    return this.#member.ask(request, signal);
  }

  /** Asks for its status now and then: the only sign of life there is, and the round trip. */
  async look(signal: AbortSignal): Promise<void> {
    const { clock } = this.#context;
    while (!signal.aborted) {
      await sleep(this.#latencyMs === null ? 1_000 : LOOK_MS, signal);
      if (signal.aborted) return;
      const startedMs = clock.nowMs();
      const request = { method: 'GET', path: '/core/status', headers: {}, body: Buffer.alloc(0), hops: 0 };
      const { status } = await this.#member.ask(request, signal);
      if (status !== 502 && status !== 504) this.#latencyMs = Math.round(clock.nowMs() - startedMs);
    }
  }
}

function said(status: number, words: string): MeshResponse {
  return { status, headers: { 'content-type': 'text/plain' }, body: Buffer.from(words) };
}

const TUNNEL = {
  code: 'tunnel_refused',
  fix: 'A Portal node with the mesh’s key may do that to every other Portal node. Find out who runs it.',
};

const NO_PROOF: Trouble = {
  code: 'mesh_unproven',
  words: 'nobody in a Portal mesh proves who he is: whoever sees one connection has its key',
  fix: 'Keep it on a network that you trust, or in a VPN. Between relays use kind portal.',
};

const NO_KEY: Trouble = {
  ...NO_PROOF,
  words: 'this Portal mesh has no key: whoever reaches the port is in it, and nobody proves who he is',
};
