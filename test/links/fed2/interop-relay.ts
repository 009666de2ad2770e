// A relay of hub and fed2 links, as the real one is put together, for the emulated peers to talk to; and the peers' side of
// it: certificates and flags that fit.
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { NO_BUDGET } from '../../../src/core/budget.ts';
import { EventLog } from '../../../src/core/events.ts';
import { Hub } from '../../../src/core/hub.ts';
import type { Peer as HubPeer } from '../../../src/core/peer.ts';
import { DEFAULT_POLICY, type Policy } from '../../../src/core/policy.ts';
import { QUEUE_LIMITS } from '../../../src/core/queue.ts';
import type { CloseReason } from '../../../src/core/reason.ts';
import { type Clock, systemClock } from '../../../src/lib/clock.ts';
import { silentLog } from '../../../src/lib/log.ts';
import { Besides } from '../../../src/links/beside.ts';
import { LINK_KINDS } from '../../../src/links/index.ts';
import type { LinkKind } from '../../../src/links/link.ts';
import { LinkRunner, type LinkStatus } from '../../../src/links/runner.ts';
import { scanCot } from '../../../src/wire/cot.ts';
import { RecordingSession } from '../../core/support.ts';
import { makePair, type Pair } from '../../support/peers/certs.ts';
import { type Peer, type PeerOptions, type Stack, startPeer } from '../../support/peers/spawn.ts';
import { testIdentity } from '../../support/pki.ts';
import { NOTHING_KEPT } from '../memory.ts';

/** Only to fail instead of hanging. */
const PATIENCE_MS = 60_000;
const LOOK_MS = 20;

/** The keys of each link by its name; fed2 unless it says otherwise. */
export type Links = Readonly<Record<string, LinkKeys>>;
type LinkKeys = { readonly kind?: string; readonly policy?: Partial<Policy> };

/** As the system's clock, but for durations: timers fire, and monotonic time passes, `speed` times as fast. */
export function fastClock(speed: number): Clock {
  return {
    wallMs: systemClock.wallMs,
    nowMs: () => systemClock.nowMs() * speed,
    after: (delayMs, run) => systemClock.after(delayMs / speed, run),
  };
}

const KINDS = LINK_KINDS as readonly LinkKind<unknown>[];
const IDENTITY = testIdentity('relay');
const pairs = new Map<string, Pair>();

/** The certificate of the emulated peer of this name, made once. */
export function pairOf(name: string): Pair {
  const pair = pairs.get(name) ?? makePair(name);
  pairs.set(name, pair);
  return pair;
}

export class TestRelay {
  readonly identity = IDENTITY;
  readonly events: EventLog;
  readonly hub: Hub;
  /** What links remember, by link and key. */
  readonly memory: Map<string, string>;
  readonly #runner: LinkRunner;

  /** Trusts the peers `near` and `far`. Stopped after the test. */
  constructor(t: TestContext, links: Links, clock: Clock = systemClock, memory = new Map<string, string>()) {
    const besides = new Besides();
    this.memory = memory;
    this.events = new EventLog(clock.wallMs);
    this.hub = new Hub({ nodeId: IDENTITY.id, clock, events: this.events });
    this.#runner = new LinkRunner({
      kinds: KINDS,
      hub: this.hub,
      clock,
      log: silentLog,
      contextFor: (name, log, signal) => ({
        ...NOTHING_KEPT,
        memory: {
          get: (key) => this.memory.get(`${name}/${key}`),
          set: (key, value) => void this.memory.set(`${name}/${key}`, value),
        },
        standBeside: (listener, take) => besides.add(listener, take),
        handOver: (secured) => besides.handOver(name, secured, signal),
        name,
        clock,
        log,
        hub: this.hub,
        identity: IDENTITY,
        trust: { cas: ['near', 'far'].map((peer) => pairOf(peer).caPem), pins: [] },
        node: { id: IDENTITY.id, name: 'Relay', version: '0.1.0' },
        baseDir: '.',
      }),
    });
    this.apply(links);
    const controller = new AbortController();
    const ended = this.#runner.run(controller.signal);
    t.after(async () => {
      controller.abort();
      await ended;
    });
  }

  /** Makes these the links. */
  apply(links: Links): void {
    const entries = Object.entries(links).map(([name, { kind = 'fed2', policy = {}, ...keys }]) => ({
      name,
      kind,
      enabled: true,
      policy: { ...DEFAULT_POLICY, ...policy },
      queue: QUEUE_LIMITS,
      budget: NO_BUDGET,
      settings: KINDS.find((candidate) => candidate.kind === kind)!.schema.parse(keys),
    }));
    this.#runner.apply({ links: entries });
  }

  /** A phone of the relay's own: what it says in XML, and what it is sent. */
  phone(name: string): RecordingSession & { say(xml: string): void } {
    const session = new RecordingSession(name);
    const spec = { key: name, link: 'phones', kind: 'memory', name, durable: false, graceMs: 0 };
    session.port = this.hub.attach(spec, session);
    const say = (xml: string) => {
      const bytes = Buffer.from(xml);
      const message = { kind: 'event', event: scanCot(bytes) } as const;
      session.port.deliver({ message, wire: { format: 'xml', bytes }, size: bytes.length });
    };
    return Object.assign(session, { say });
  }

  link(name: string): LinkStatus {
    return this.#runner.statuses().find((status) => status.name === name)!;
  }

  /** The one peer of a link, connected. */
  peer(link: string): Promise<HubPeer> {
    const connected = () => this.hub.peers().find((peer) => peer.spec.link === link && peer.session);
    return until(`a peer of ${link}`, connected, () => JSON.stringify(this.link(link)));
  }

  /** The port a link listens on. */
  port(link: string): Promise<number> {
    const find = () => /:(\d+)$/.exec(this.link(link).detail)?.[1];
    return until(`the port of ${link}`, find, () => JSON.stringify(this.link(link))).then(Number);
  }

  /** The last trouble of a link, once it has that code. */
  trouble(link: string, code: string): Promise<NonNullable<LinkStatus['lastTrouble']>> {
    const find = () => {
      const { lastTrouble } = this.link(link);
      return lastTrouble?.code === code && lastTrouble;
    };
    return until(`trouble ${code} of ${link}`, find, () => JSON.stringify(this.link(link)));
  }

  /** Ends of connections so far: reason and words. */
  endings(): readonly { readonly reason: CloseReason; readonly words: string }[] {
    return this.events.since(0).events.flatMap(({ event }) => (event.type === 'peer_down' ? [event] : []));
  }

  /** The first connection that ended for one of these reasons. */
  ending(...reasons: readonly CloseReason[]): Promise<{ readonly words: string }> {
    const find = () => this.endings().find(({ reason }) => reasons.includes(reason));
    return until(`a connection ended by ${reasons.join(' or ')}`, find, () => JSON.stringify(this.endings()));
  }
}

export async function until<T>(what: string, find: () => T | undefined | false, state: () => string): Promise<T> {
  for (const deadline = Date.now() + PATIENCE_MS; Date.now() < deadline; await sleep(LOOK_MS)) {
    const found = find();
    if (found !== undefined && found !== false) return found;
  }
  throw new Error(`waited in vain for ${what}; it stands at ${state()}`);
}

export type As = PeerOptions['as'];
type Flags = NonNullable<PeerOptions['flags']>;

/** A peer that listens, for a link to dial. Its certificate is `far`'s. */
export function startFar(t: TestContext, stack: Stack, as: As, flags: Flags = {}, port = 0): Promise<Peer> {
  const { chainPem, keyPem } = pairOf('far');
  const caPem = IDENTITY.ca.certPem;
  return startPeer(t, {
    stack,
    as,
    role: 'server',
    port,
    chainPem,
    keyPem,
    caPem,
    flags: { 'server-id': 'FAR', ...flags },
  });
}

/** A peer that dials. Its certificate is `near`'s. */
export function startNear(t: TestContext, stack: Stack, as: As, port: number, flags: Flags = {}): Promise<Peer> {
  const { chainPem, keyPem } = pairOf('near');
  const caPem = IDENTITY.ca.certPem;
  const given = {
    'server-id': 'NEAR',
    'health-ms': 300,
    'retry-ms': 300,
    ...(stack === 'python' ? { authority: 'relay' } : {}),
    ...flags,
  };
  return startPeer(t, { stack, as, role: 'client', port, chainPem, keyPem, caPem, flags: given });
}

export const listening = (over: object = {}): object => ({ listen: '127.0.0.1:0', ...over });
export const dialling = (peer: Peer, over: object = {}): object => ({
  connect: `127.0.0.1:${peer.port}`,
  health_interval_seconds: 1,
  ...over,
});
