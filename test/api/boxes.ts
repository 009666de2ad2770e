// Relays without sockets between them: each with a hub, its resources and its API; joined by links in memory that carry events
// and requests as a real one does.
import type { TestContext } from 'node:test';
import { type NodeApiDeps, nodeRoutes } from '../../src/api/node.ts';
import { Nodes } from '../../src/api/nodes.ts';
import { ProbeDesk } from '../../src/api/probe-desk.ts';
import { createResources } from '../../src/api/resources.ts';
import { statusRoutes } from '../../src/api/routes/status.ts';
import type { ResourceEntry } from '../../src/config/resources.ts';
import { EventLog } from '../../src/core/events.ts';
import { Hub } from '../../src/core/hub.ts';
import type { Envelope } from '../../src/core/message.ts';
import type { NodePeer, NodeRequest, NodeResponse, Resources } from '../../src/core/node.ts';
import { DEFAULT_POLICY, type Policy } from '../../src/core/policy.ts';
import type { CloseReason } from '../../src/core/reason.ts';
import { CLOSE_WORDS, DROP_WORDS } from '../../src/core/reason.ts';
import type { PeerSpec, Session, SessionPort } from '../../src/core/session.ts';
import { networkStatus, peerStatus, type RelayStatus, totals } from '../../src/core/status.ts';
import { type Clock, systemClock } from '../../src/lib/clock.ts';
import { silentLog } from '../../src/lib/log.ts';
import { RecordingSession } from '../core/support.ts';
import { serveApi } from './api-server.ts';

/** A clock that is wrong by so much. */
export function skewed(ms: number, clock: Clock = systemClock): Clock {
  return {
    wallMs: () => clock.wallMs() + ms,
    nowMs: () => clock.nowMs(),
    after: (delayMs, run) => clock.after(delayMs, run),
  };
}

export class Box {
  readonly name: string;
  readonly clock: Clock;
  readonly hub: Hub;
  readonly nodes = new Nodes();
  readonly resources: Resources;
  readonly deps: NodeApiDeps;
  /** As if of the configuration. */
  entries: ResourceEntry[] = [];
  readonly #wires: Wire[] = [];

  constructor(name: string, clock: Clock = systemClock) {
    this.name = name;
    this.clock = clock;
    this.hub = new Hub({ nodeId: `id-${name}`, clock, events: new EventLog(() => clock.wallMs()) });
    const { hub, nodes } = this;
    const desk = new ProbeDesk({ hub, clock });
    const snapshot = () => this.snapshot();
    this.resources = createResources({
      nodeId: `id-${name}`,
      hub,
      nodes,
      clock,
      log: silentLog,
      entries: () => this.entries,
      snapshot,
      probe: (request, target, caller, signal) => desk.answer(request, target, caller, signal),
    });
    this.deps = {
      hub,
      nodes,
      clock,
      log: silentLog,
      snapshot,
      name: () => name,
      encode: ({ uid }) => ({ format: 'xml', bytes: Buffer.from(uid) }),
    };
    nodes.provide('portal', {
      peers: () => this.#wires.map((wire) => wire.peer()),
      call: (peer, request) => {
        const wire = this.#wires.find((one) => one.to.name === peer);
        return wire ? wire.call(request) : Promise.resolve({ status: 404, headers: {}, body: Buffer.alloc(0) });
      },
    });
  }

  /** Everything other relays are told must come from here; what they must not be told is marked SECRET. */
  snapshot(): RelayStatus {
    return {
      name: this.name,
      id: `id-${this.name}`,
      version: '1.2.3',
      commit: 'abc',
      now: new Date(this.clock.wallMs()).toISOString(),
      startedAt: new Date(0).toISOString(),
      uptimeMs: 1000,
      caFingerprint: 'SECRET',
      federationFingerprint: 'SECRET',
      certificates: [],
      links: [
        {
          name: 'portal',
          kind: 'portal',
          enabled: true,
          state: 'waiting',
          detail: 'SECRET',
          sinceMs: 0,
          refusals: {},
          lastTrouble: { code: 'refused', words: 'SECRET', fix: 'SECRET', atMs: 0 },
        },
      ],
      peers: this.hub.peers().map((peer) => peerStatus(peer, this.clock)),
      departed: [],
      byNetwork: networkStatus(this.hub),
      totals: totals(this.hub),
      units: this.hub.picture.units,
      contacts: this.hub.picture.contacts,
      warnings: [{ code: 'disk', words: 'SECRET is called like another', fix: 'SECRET' }],
      memory: { rssBytes: 1 },
      host: { temperatureC: null, underVoltage: null, storage: null, wear: null },
      words: { drop: DROP_WORDS, close: CLOSE_WORDS },
    };
  }

  /** A phone on the link `phones`: it records what it is sent, and says what a test delivers by its port. */
  phone(uid: string): RecordingSession {
    const session = new RecordingSession(uid);
    Object.assign(session, { federated: false, address: 'SECRET' });
    const spec = { key: `phones/${uid}`, link: 'phones', kind: 'cot', name: uid, durable: false, graceMs: 0 };
    session.port = this.hub.attach(spec, session);
    return session;
  }

  /** Asks this box as its peer `caller` would. */
  ask(
    method: string,
    path: string,
    { caller = 'asker', headers = {}, body = Buffer.alloc(0), hops = 0 }: AskOptions = {},
  ) {
    const request = { method, path, headers, body, hops };
    return this.resources.handle(request, { name: caller, link: 'portal' }, new AbortController().signal);
  }

  /** Its HTTP API on a port of its own. Resolves to the URL. */
  async serve(t: TestContext): Promise<string> {
    const api = await serveApi(t, {
      routes: [...statusRoutes({ snapshot: () => this.snapshot(), metrics: () => 'up 1\n' }), ...nodeRoutes(this.deps)],
      tap: (listener) => this.hub.tap(listener),
    });
    return api.url;
  }

  plug(wire: Wire): void {
    this.#wires.push(wire);
  }
}

interface AskOptions {
  readonly caller?: string;
  readonly headers?: Record<string, string>;
  readonly body?: Buffer;
  readonly hops?: number;
}

export interface LinkOptions {
  readonly policy?: Partial<Policy>;
  /** What the other side thinks of us. */
  readonly backPolicy?: Partial<Policy>;
}

/** Joins two boxes for events and requests. */
export function join(a: Box, b: Box, { policy = {}, backPolicy = {} }: LinkOptions = {}): { ab: Wire; ba: Wire } {
  const [ab, ba] = [new Wire(a, b), new Wire(b, a)];
  ab.back = ba;
  ba.back = ab;
  for (const [box, wire, rules] of [
    [a, ab, policy],
    [b, ba, backPolicy],
  ] as const) {
    box.plug(wire);
    box.hub.setPeerPolicy(wire.spec.key, { ...DEFAULT_POLICY, ...rules });
    wire.up();
  }
  return { ab, ba };
}

/** One direction: the session that `from` has with `to`. */
export class Wire implements Session {
  readonly from: Box;
  readonly to: Box;
  back!: Wire;
  readonly identity;
  readonly address = '192.0.2.1:9090';
  readonly federated = true;
  readonly spec: PeerSpec;
  #port: SessionPort | undefined;
  connected = false;
  /** Set, takes the place of the other box's answers; or never answers. */
  answer: ((request: NodeRequest) => Promise<NodeResponse>) | undefined;
  /** Events are taken and lost. */
  blackHole = false;
  via = 'direct';
  lastContactMs: number | null = Date.UTC(2026, 0, 1);

  constructor(from: Box, to: Box) {
    this.from = from;
    this.to = to;
    this.identity = { id: to.name, name: to.name, proof: 'certificate' as const };
    this.spec = { key: `portal/${to.name}`, link: 'portal', kind: 'portal', name: to.name, durable: true, graceMs: 0 };
  }

  up(): void {
    this.connected = true;
    this.#port = this.from.hub.attach(this.spec, this);
  }

  down(): void {
    this.connected = false;
    this.#port?.closed('network_error', new Error('the cable was cut'));
  }

  peer(): NodePeer {
    const up = this.connected;
    return {
      name: this.to.name,
      host: '192.0.2.1',
      port: 9090,
      via: up ? this.via : '',
      status: up ? 'connected' : 'disconnected',
      latencyMs: up ? 4 : null,
      lastContactMs: this.lastContactMs,
      messagesSent: 7,
      messagesReceived: 9,
    };
  }

  call(request: NodeRequest): Promise<NodeResponse> {
    if (this.answer) return this.answer(request);
    const caller = { name: this.from.name, link: 'portal' };
    const carried = { ...request, hops: request.hops + 1 };
    return this.to.resources.handle(carried, caller, new AbortController().signal);
  }

  carries(): boolean {
    return true;
  }

  send(envelope: Envelope, groups: readonly string[]): boolean {
    if (!this.connected) return false;
    const { message, wire, provenance, hops } = envelope;
    const passed = { id: `id-${this.from.name}`, name: this.from.name };
    setImmediate(() => {
      if (this.blackHole) return;
      this.back.#port?.deliver({
        message,
        wire,
        size: 100,
        groups,
        provenance: [...provenance, passed],
        hops: { ...hops, current: hops.current + 1 },
      });
    });
    return true;
  }

  close(reason: CloseReason): void {
    this.connected = false;
    this.#port?.closed(reason);
  }
}

/** The body, unchecked: tests say what they expect of it. */
export function jsonOf(response: NodeResponse): ReturnType<typeof JSON.parse> {
  return JSON.parse(response.body.toString('utf8'));
}
