// The seams' in-memory twins, for every link's tests: a hub that records instead of routing, a context to run a link in, and
// a link without sockets (two sessions back to back) that keeps the whole contract of contract.ts.
import type { Duplex } from 'node:stream';
import type { TestContext } from 'node:test';
import type { Envelope, Inbound, Message } from '../../src/core/message.ts';
import { type NodeService, problemResponse, type Resources } from '../../src/core/node.ts';
import { paceOf } from '../../src/core/pace.ts';
import type { Policy } from '../../src/core/policy.ts';
import { type CloseReason, countDrop, type DropCounts, type DropReason } from '../../src/core/reason.ts';
import type { HubPort, PeerSpec, Returned, Session, SessionPort } from '../../src/core/session.ts';
import type { Identity } from '../../src/identity/identity.ts';
import type { Trust } from '../../src/identity/trust.ts';
import { aborted } from '../../src/lib/abort.ts';
import { type Clock, systemClock } from '../../src/lib/clock.ts';
import { LinkError } from '../../src/lib/errors.ts';
import { silentLog } from '../../src/lib/log.ts';
import { Besides } from '../../src/links/beside.ts';
import type { Link, LinkContext, LinkState, Node, Trouble } from '../../src/links/link.ts';
import { Outlet } from '../../src/links/outlet.ts';
import { Tunnels } from '../../src/links/via.ts';
import { testIdentity } from '../support/pki.ts';
import type { MemoryWire } from './wire.ts';

/** Only to fail instead of hanging; nothing in a passing test takes this long. */
const PATIENCE_MS = 60_000;

const checks = new Set<() => void>();

/** Whatever a test may wait for has changed. */
export function changed(): void {
  for (const check of [...checks]) check();
}

/** Resolves with the first value of `find` that is not undefined or false, looked at after every change. Rejects in the end. */
export async function until<T>(what: string, find: () => T | undefined | false): Promise<T> {
  const found = await within(PATIENCE_MS, find);
  if (found === undefined) throw new Error(`waited in vain for ${what}`);
  return found;
}

/** As until(); undefined when it did not come in that time. */
export function within<T>(ms: number, find: () => T | undefined | false): Promise<T | undefined> {
  return new Promise((resolve) => {
    const settle = (found: T | undefined) => {
      clearTimeout(timer);
      checks.delete(check);
      resolve(found);
    };
    const check = () => {
      const found = find();
      if (found !== undefined && found !== false) settle(found);
    };
    const timer = setTimeout(settle, ms, undefined);
    checks.add(check);
    check();
  });
}

export interface Closing {
  readonly reason: CloseReason;
  readonly cause: Error | undefined;
  readonly returned: Returned | undefined;
}

/** One attached session and all that its link told the hub of it. */
export class RecordedSession {
  readonly spec: PeerSpec;
  readonly session: Session;
  readonly delivered: Inbound[] = [];
  readonly refused: DropCounts = {};
  readonly undeliverable: DropCounts = {};
  readonly names: string[] = [];
  readonly rtts: number[] = [];
  readonly closings: Closing[] = [];
  readonly arrived: Envelope[] = [];
  pace = paceOf(undefined);
  writables = 0;

  constructor(spec: PeerSpec, session: Session) {
    this.spec = spec;
    this.session = session;
  }

  /** The port to hand to the link. As the seam says, it does nothing after closed(). */
  readonly port: SessionPort = {
    deliver: (inbound) => this.#record(() => this.delivered.push(inbound)),
    refused: (reason) => this.#record(() => countDrop(this.refused, reason)),
    undeliverable: (reason) => this.#record(() => countDrop(this.undeliverable, reason)),
    safely: (done) => done(),
    writable: () => this.#record(() => this.writables++),
    // May come out of a send() that is itself looked at: after it.
    arrived: (envelope) => {
      this.arrived.push(envelope);
      setImmediate(changed);
    },
    pace: () => this.pace,
    rtt: (ms) => this.#record(() => this.rtts.push(ms)),
    named: (name) => this.#record(() => this.names.push(name)),
    tellsAnew: () => {},
    groups: () => {},
    closed: (reason, cause, returned) => {
      this.closings.push({ reason, cause, returned });
      changed();
    },
  };

  get events(): readonly Inbound[] {
    return this.delivered.filter(({ message }) => message.kind === 'event');
  }

  /** Uids of the events delivered so far, in order. */
  get uids(): readonly string[] {
    return this.delivered.flatMap(({ message }) => (message.kind === 'event' ? [message.event.uid] : []));
  }

  event(uid: string): Promise<Inbound> {
    return until(`event ${uid}`, () =>
      this.delivered.find(({ message }) => message.kind === 'event' && message.event.uid === uid),
    );
  }

  drop(reason: DropReason, count = 1): Promise<boolean> {
    return until(`${count} refused as ${reason}`, () => (this.refused[reason] ?? 0) >= count);
  }

  closing(): Promise<Closing> {
    return until(`the end of ${this.spec.key}`, () => this.closings[0]);
  }

  #record(note: () => void): void {
    if (this.closings.length > 0) return;
    note();
    changed();
  }
}

/** A hub that routes nothing and remembers everything. */
export class RecordingHub implements HubPort {
  readonly expected: PeerSpec[] = [];
  readonly sessions: RecordedSession[] = [];
  /** As they stand, by peer. */
  readonly troubles = new Map<string, Trouble>();
  readonly policies = new Map<string, Policy>();
  readonly givenNames = new Map<string, string>();
  readonly dismissed: string[] = [];

  expect(spec: PeerSpec): void {
    this.expected.push(spec);
  }

  setPeerPolicy(key: string, policy: Policy | undefined): void {
    if (policy) this.policies.set(key, policy);
    else this.policies.delete(key);
    changed();
  }

  setPeerName(key: string, name: string): void {
    if (name) this.givenNames.set(key, name);
    else this.givenNames.delete(key);
    changed();
  }

  trouble(key: string, trouble: Trouble | undefined): void {
    if (trouble) this.troubles.set(key, trouble);
    else this.troubles.delete(key);
    changed();
  }

  dismiss(key: string): void {
    this.dismissed.push(key);
    changed();
  }

  attach(spec: PeerSpec, session: Session): SessionPort {
    const recorded = new RecordedSession(spec, session);
    this.sessions.push(recorded);
    changed();
    return recorded.port;
  }

  /** The n-th session attached, once it is there. */
  session(index = 0): Promise<RecordedSession> {
    return until(`session ${index}`, () => this.sessions[index]);
  }
}

export interface RunOptions {
  readonly identity?: Identity;
  /** Whom the whole relay trusts. Default: nobody. */
  readonly trust?: Trust;
  /** Phones of other boxes, and which phones may not come in by this link. */
  readonly guests?: Trust;
  readonly node?: Node;
  readonly clock?: Clock;
  readonly name?: string;
  readonly baseDir?: string;
  /** What the link remembers of an earlier run. */
  readonly memory?: Map<string, string>;
  /** Shared by links that open tunnels for each other. */
  readonly tunnels?: Tunnels;
  /** Shared by links that share a port. */
  readonly besides?: Besides;
  /** Answers to its peers' requests. Default: 404. */
  readonly resources?: Resources;
  /** Whose addresses may connect. Default: all. */
  readonly admits?: (address: string) => boolean;
  /** Stops the link in place of stop(). */
  readonly signal?: AbortSignal;
}

/** A link that runs, and what it told. Stopped at the end of the test. */
export interface RunningLink {
  readonly hub: RecordingHub;
  readonly context: LinkContext;
  /** The way to ask its peers, while it offers one. */
  readonly nodes: NodeService | undefined;
  readonly reports: readonly { readonly state: LinkState; readonly detail: string }[];
  readonly refusals: readonly { readonly address: string; readonly trouble: Trouble }[];
  /** What it shows at the moment. */
  readonly warnings: ReadonlySet<Trouble>;
  /** How run() ended; settles, never rejects. */
  readonly ended: Promise<Error | undefined>;
  /** The port a listener is bound to. */
  port(): Promise<number>;
  refusal(code: string): Promise<Trouble>;
  /** Aborts and waits for run(); fails when it does not end. */
  stop(): Promise<Error | undefined>;
}

/** What a context has for links that remember, and that carry requests, where a test is about neither. */
export const NOTHING_KEPT: Pick<
  LinkContext,
  'memory' | 'resources' | 'provideNodes' | 'provideTunnels' | 'openTunnel' | 'wayIsBack' | 'standBeside' | 'handOver'
> = {
  memory: { get: () => undefined, set() {} },
  resources: { handle: async ({ path }) => problemResponse(404, 'not_found', `no ${path} in this test`) },
  provideNodes: () => () => {},
  provideTunnels: () => () => {},
  openTunnel: async (via, signal) => new Tunnels().open(via, signal),
  wayIsBack() {},
  standBeside: () => () => {},
  handOver: () => false,
};

export function runLink(t: TestContext, link: Link, options: RunOptions = {}): RunningLink {
  const controller = new AbortController();
  const hub = new RecordingHub();
  const reports: { state: LinkState; detail: string }[] = [];
  const refusals: { address: string; trouble: Trouble }[] = [];
  const identity = options.identity ?? testIdentity('relay');
  const memory = options.memory ?? new Map<string, string>();
  const tunnels = options.tunnels ?? new Tunnels();
  const besides = options.besides ?? new Besides();
  const warnings = new Set<Trouble>();
  let nodes: NodeService | undefined;
  const context: LinkContext = {
    name: options.name ?? 'test',
    signal: options.signal ?? controller.signal,
    clock: options.clock ?? systemClock,
    log: silentLog,
    hub,
    identity,
    trust: options.trust ?? { cas: [], pins: [] },
    guests: options.guests,
    node: options.node ?? { id: identity.id, name: 'Relay', version: '0.0.0' },
    baseDir: options.baseDir ?? '.',
    memory: { get: (key) => memory.get(key), set: (key, value) => memory.set(key, value) },
    resources: options.resources ?? NOTHING_KEPT.resources,
    ...(options.admits && { admits: options.admits }),
    provideNodes(service) {
      nodes = service;
      return () => {
        nodes = undefined;
      };
    },
    provideTunnels: (opener) => tunnels.provide(options.name ?? 'test', opener),
    openTunnel: (via, signal) => tunnels.open(via, signal),
    wayIsBack() {},
    standBeside: (listener, take) => besides.add(listener, take),
    handOver: (secured) => besides.handOver(options.name ?? 'test', secured, context.signal),
    warn(trouble) {
      warnings.add(trouble);
      changed();
      return () => {
        warnings.delete(trouble);
        changed();
      };
    },
    report(state, detail = '') {
      reports.push({ state, detail });
      changed();
    },
    refuse(address, trouble) {
      refusals.push({ address, trouble });
      changed();
    },
  };
  const ended = link.run(context).then(
    () => undefined,
    (error: Error) => error,
  );
  let isOver = false;
  void ended.then(() => {
    isOver = true;
    changed();
  });
  const stop = async () => {
    controller.abort();
    await until(`link ${context.name} to stop`, () => isOver);
    return ended;
  };
  t.after(stop);
  return {
    hub,
    context,
    get nodes() {
      return nodes;
    },
    reports,
    refusals,
    warnings,
    ended,
    port: () =>
      until('a listener', () => {
        const listening = reports.find(({ state }) => state === 'listening');
        return listening && Number(/:(\d+)$/.exec(listening.detail)?.[1]);
      }),
    refusal: (code) => until(`refusal ${code}`, () => refusals.find((r) => r.trouble.code === code)?.trouble),
    stop,
  };
}

let lastSeq = 0;

/** An envelope as the hub would route it. */
export function envelope(message: Message, over: Partial<Envelope> = {}): Envelope {
  return {
    seq: ++lastSeq,
    message,
    wire: undefined,
    from: 'somebody',
    receivedWallMs: Date.now(),
    receivedMs: performance.now(),
    expiresMs: Number.POSITIVE_INFINITY,
    groups: [],
    provenance: [],
    hops: { max: -1, current: 0 },
    lane: 1,
    conflate: '',
    encodings: undefined,
    ...over,
  };
}

// --- the link without sockets ----------------------------------------------------------------------------------------

export const MEMORY_LIMIT = 64 * 1024;
/** Malformed messages in a row that end a session. */
const MEMORY_PATIENCE = 10;

/** Accepts what comes over the wire. Memory links speak: u32 length, then message and wire bytes as JSON; both sides say HELO first. */
export function memoryListener(wire: MemoryWire): Link {
  return {
    async run(context) {
      let count = 0;
      const open = new Set<Promise<void>>();
      wire.onConnection = (end) => {
        const ended = runSession(end, `${context.name}/${++count}`, context).finally(() => open.delete(ended));
        open.add(ended);
      };
      context.report('listening', 'memory:1');
      await aborted(context.signal);
      wire.onConnection = undefined;
      await Promise.all(open);
    },
  };
}

export function memoryDialler(wire: MemoryWire): Link {
  return {
    async run(context) {
      context.report('connecting', 'memory:1');
      if (context.signal.aborted) return;
      await runSession(wire.connect(), context.name, context);
      if (!context.signal.aborted) throw new LinkError('ended', 'the connection ended', '');
    },
  };
}

async function runSession(end: Duplex, key: string, context: LinkContext): Promise<void> {
  const session = new MemorySession(end, key, context);
  await Promise.race([session.ended, aborted(context.signal)]);
  session.close('shutdown');
}

class MemorySession implements Session {
  readonly identity = { id: 'memory', name: 'memory', proof: 'none' } as const;
  readonly address = 'memory:1';
  readonly federated = false;
  readonly ended: Promise<void>;
  readonly #end: Duplex;
  readonly #key: string;
  readonly #context: LinkContext;
  readonly #outlet: Outlet;
  #port: SessionPort | undefined;
  #pending = Buffer.alloc(0);
  #malformed = 0;
  #open = true;
  #finish = () => {};

  constructor(end: Duplex, key: string, context: LinkContext) {
    this.#end = end;
    this.#key = key;
    this.#context = context;
    this.ended = new Promise((resolve) => {
      this.#finish = resolve;
    });
    this.#outlet = new Outlet(
      (bytes, done) => end.write(bytes, done),
      { writable: () => this.#port?.writable(), stuck: () => this.close('write_timeout') },
      { maxPendingBytes: 64 * 1024, oneFramePerWrite: false, writeTimeoutMs: 60_000, clock: context.clock },
    );
    end.on('error', () => {});
    end.on('data', (chunk: Buffer) => this.#read(chunk));
    end.on('close', () => this.close('remote_closed'));
    this.#outlet.control(framed(Buffer.from('HELO')), 'last');
  }

  carries(message: Message): boolean {
    return message.kind === 'event' || message.kind === 'contact';
  }

  send(envelope: Envelope): boolean {
    if (!this.#open) return false;
    const { message, wire } = envelope;
    const json = Buffer.from(JSON.stringify({ message, wire: wire?.bytes.toString() }));
    if (json.length <= MEMORY_LIMIT) return this.#outlet.push(framed(json), envelope);
    this.#port?.undeliverable('too_large', envelope);
    return true;
  }

  close(reason: CloseReason): void {
    if (!this.#open) return;
    this.#open = false;
    this.#end.destroy();
    this.#port?.closed(reason, undefined, this.#outlet.close());
    this.#finish();
  }

  #attach(): void {
    const { name, hub } = this.#context;
    this.#port = hub.attach({ key: this.#key, link: name, kind: 'memory', name, durable: false, graceMs: 0 }, this);
  }

  #read(chunk: Buffer): void {
    this.#pending = Buffer.concat([this.#pending, chunk]);
    while (this.#open && this.#pending.length >= 4) {
      const length = this.#pending.readUInt32BE(0);
      if (length > MEMORY_LIMIT) return this.close('protocol_error');
      if (this.#pending.length < 4 + length) return;
      this.#take(this.#pending.subarray(4, 4 + length));
      this.#pending = this.#pending.subarray(4 + length);
    }
  }

  #take(body: Buffer): void {
    if (body.equals(Buffer.from('HELO'))) return this.#attach();
    try {
      const { message } = JSON.parse(body.toString()) as { message: Message };
      this.#malformed = 0;
      this.#port?.deliver({ message, size: body.length + 4 });
    } catch {
      this.#port?.refused('malformed', body.length + 4);
      if (++this.#malformed >= MEMORY_PATIENCE) this.close('protocol_error');
    }
  }
}

function framed(body: Buffer): Buffer {
  const header = Buffer.alloc(4);
  header.writeUInt32BE(body.length);
  return Buffer.concat([header, body]);
}
