// Keeps the links running that the configuration asks for. A new configuration is compared by link name: what did not
// change is not touched, a change of policy reaches the hub without a reconnect, a link that can takes its new settings
// over as it runs, everything else is stopped, then started.
import { isDeepStrictEqual } from 'node:util';
import type { Budget } from '../core/budget.ts';
import type { Policy } from '../core/policy.ts';
import type { QueueLimits } from '../core/queue.ts';
import type { HubPort } from '../core/session.ts';
import type { LinkStatus as CoreLinkStatus } from '../core/status.ts';
import { childController, onAbort, sleep } from '../lib/abort.ts';
import { allowList } from '../lib/address.ts';
import type { BackoffOptions } from '../lib/backoff.ts';
import type { Clock } from '../lib/clock.ts';
import { FatalError, LinkError, ProtocolError } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import { supervise } from '../lib/supervise.ts';
import type { Link, LinkContext, LinkKind, LinkState, Trouble } from './link.ts';
import type { Via } from './via.ts';

/** A link told to stop is given up after this long: logged by name, and what waits for it goes on. */
export const STOP_DEADLINE_MS = 5_000;
/** A refusal is told (log, onRefusal) at most this often per code; every one is counted. */
export const REFUSAL_QUIET_MS = 10_000;
/** Refusal codes counted apart, per link; further ones are counted as `other`. */
export const MAX_REFUSAL_CODES = 32;
/** Warnings of one link that are shown. */
export const MAX_WARNINGS = 16;
/** A link that failed in a tunnel whose way has come back meanwhile is tried again within this. */
const WAY_BACK_MS = 1_000;
/** Words that come from outside are cut to this many characters. */
const MAX_WORDS = 500;

/** One checked entry of `links:`. */
export interface LinkEntry {
  readonly name: string;
  readonly kind: string;
  readonly enabled: boolean;
  /** Not run for now, though it should be: its peers and what waits for them stay. */
  readonly held?: boolean;
  readonly policy: Policy;
  readonly queue: QueueLimits;
  readonly budget: Budget;
  /** Networks whose addresses may connect to it; absent or empty: all. */
  readonly listenFrom?: readonly string[];
  /** The kind's own keys, as its schema returned them. */
  readonly settings: unknown;
}

export interface LinkStatus extends CoreLinkStatus {
  readonly state: LinkState;
  /** Wall clock, milliseconds: when a waiting link tries again. */
  readonly retryAtMs?: number | undefined;
}

/** What the runner needs of the hub, beyond what it hands to the links. */
export interface RunnerHub extends HubPort {
  /** What peers of the link may do; at once, and for peers to come. */
  setPolicy(link: string, policy: Policy, queue: QueueLimits, budget: Budget): void;
  /** The link is gone: so are its peers. */
  forget(link: string): void;
}

export interface RunnerDeps {
  readonly kinds: readonly LinkKind<unknown>[];
  readonly hub: RunnerHub;
  /** The link's surroundings, but for what the runner adds. */
  contextFor(name: string, log: Log, signal: AbortSignal): Omit<LinkContext, 'signal' | 'report' | 'refuse' | 'warn'>;
  readonly log: Log;
  readonly clock: Clock;
  readonly backoff?: BackoffOptions;
  /** Told when a link changes state. Must be quick and must not throw. */
  onChange?(status: LinkStatus): void;
  /** Told of refused strangers, see REFUSAL_QUIET_MS. Must be quick and must not throw. */
  onRefusal?(link: string, address: string, trouble: Trouble): void;
}

export class LinkRunner {
  readonly #deps: RunnerDeps;
  #wanted: readonly LinkEntry[] = [];
  #appliedMs = 0;
  readonly #links = new Map<string, RunningLink>();
  /** An apply() or restart() has not been looked at yet. */
  #pending = false;
  #wake: () => void = () => {};

  constructor(deps: RunnerDeps) {
    this.#deps = deps;
  }

  /**
   * Makes these the links to run. Returns at once: policies are in force and outdated links told to stop; run() does
   * the rest, in the order of the calls. A link that had failed for good is tried again by every call.
   */
  apply(config: { readonly links: readonly LinkEntry[] }): void {
    this.#wanted = config.links;
    this.#appliedMs = this.#deps.clock.wallMs();
    for (const link of this.#links.values()) this.#update(link, this.#wantedOf(link.entry.name));
    this.#lookAgain();
  }

  /**
   * Stops links and starts them again as they are, because something else they are built from changed: trust, our
   * certificates. Returns at once. Without `names`: all of them.
   */
  restart(names?: readonly string[]): void {
    for (const link of this.#links.values()) if (names?.includes(link.entry.name) ?? true) link.stop();
    this.#lookAgain();
  }

  /** A portal link reaches that peer again: links that wait to dial through it need not wait any longer. */
  wayIsBack(portal: string, peer: string): void {
    for (const link of this.#links.values()) link.wayIsBack(portal, peer);
  }

  /** One for every configured link, in the order of the file. */
  statuses(): LinkStatus[] {
    return this.#wanted.map((entry) => this.#links.get(entry.name)?.status() ?? idleStatus(entry, this.#appliedMs));
  }

  /** Runs links until told to stop. Resolves when all are stopped, or STOP_DEADLINE_MS after the abort. */
  async run(signal: AbortSignal): Promise<void> {
    const release = onAbort(signal, () => {
      for (const link of this.#links.values()) link.stop();
      this.#wake();
    });
    this.#pending = true;
    while (!signal.aborted) {
      this.#pending = false;
      await this.#settle(signal);
      await this.#nextCall(signal);
    }
    release();
    await this.#stopped([...this.#links.values()]);
    this.#links.clear();
  }

  /** Brings a running link in line with its entry, as far as that can be done without waiting. */
  #update(link: RunningLink, wanted: LinkEntry | undefined): void {
    if (link.leaving) return;
    if (
      !wanted?.enabled ||
      wanted.held ||
      link.failed ||
      !(sameTransport(link.entry, wanted) || link.takesOver(wanted))
    ) {
      return link.stop();
    }
    const before = link.entry;
    link.become(wanted);
    const { name, policy, queue, budget } = wanted;
    if (isDeepStrictEqual([before.policy, before.queue, before.budget], [policy, queue, budget])) return;
    this.#deps.hub.setPolicy(name, policy, queue, budget);
  }

  /** Waits for what is stopping, then starts what is missing: a port must be free before another link takes it. */
  async #settle(signal: AbortSignal): Promise<void> {
    for (;;) {
      const leaving = [...this.#links.values()].filter((link) => link.leaving);
      if (leaving.length === 0) break;
      await this.#stopped(leaving);
      for (const link of leaving) this.#remove(link);
    }
    if (signal.aborted) return;
    for (const entry of this.#wanted) {
      if (entry.enabled && !entry.held && !this.#links.has(entry.name)) this.#start(entry);
    }
  }

  #start(entry: LinkEntry): void {
    const link = new RunningLink(entry, this.#deps);
    this.#links.set(entry.name, link);
    this.#deps.hub.setPolicy(entry.name, entry.policy, entry.queue, entry.budget);
    link.start();
  }

  /** Peers outlive a change of their link's settings, but not its removal, nor its becoming something else. */
  #remove(link: RunningLink): void {
    const { name, kind } = link.entry;
    this.#links.delete(name);
    const wanted = this.#wantedOf(name);
    if (!wanted?.enabled || wanted.kind !== kind) this.#deps.hub.forget(name);
  }

  async #stopped(links: readonly RunningLink[]): Promise<void> {
    let cancel = () => {};
    const deadline = new Promise<void>((resolve) => {
      cancel = this.#deps.clock.after(STOP_DEADLINE_MS, resolve);
    });
    await Promise.race([Promise.all(links.map((link) => link.done)), deadline]);
    cancel();
    for (const link of links) {
      if (!link.ended)
        this.#deps.log.error({ link: link.entry.name }, 'link did not stop in time, going on without it');
    }
  }

  #lookAgain(): void {
    this.#pending = true;
    this.#wake();
  }

  async #nextCall(signal: AbortSignal): Promise<void> {
    if (this.#pending || signal.aborted) return;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    this.#wake = () => {};
  }

  #wantedOf(name: string): LinkEntry | undefined {
    return this.#wanted.find((entry) => entry.name === name);
  }
}

/** One link from its start to its stop, through all its failures. */
class RunningLink {
  #entry!: LinkEntry;
  /** Whose addresses may connect, by the entry. */
  #admits!: (address: string) => boolean;
  leaving = false;
  ended = false;
  done: Promise<void> = Promise.resolve();
  readonly #deps: RunnerDeps;
  readonly #log: Log;
  readonly #controller = new AbortController();
  #link: Link | undefined;
  /** The tunnel that it dials through. */
  #via: Via | undefined;
  /** The way to the tunnel's end has come back since the run began. */
  #isWayBack = false;
  #hurry = () => {};

  #state: LinkState = 'starting';
  #detail = '';
  #sinceMs: number;
  #retryAtMs: number | undefined;
  #lastTrouble: CoreLinkStatus['lastTrouble'];
  readonly #refusals = new Map<string, { count: number; toldMs: number }>();
  #lastRefusal: CoreLinkStatus['lastRefusal'];
  readonly #warnings = new Set<Trouble>();

  constructor(entry: LinkEntry, deps: RunnerDeps) {
    this.become(entry);
    this.#deps = deps;
    this.#log = deps.log.child({ link: entry.name });
    this.#sinceMs = deps.clock.wallMs();
  }

  get entry(): LinkEntry {
    return this.#entry;
  }

  /** Goes on as this entry has it. */
  become(entry: LinkEntry): void {
    this.#entry = entry;
    this.#admits = allowList(entry.listenFrom ?? []);
  }

  get failed(): boolean {
    return this.#state === 'failed';
  }

  start(): void {
    this.done = this.#keepRunning();
  }

  /** Whether the link goes on with the settings of another entry without being restarted. */
  takesOver({ kind, settings }: LinkEntry): boolean {
    return kind === this.entry.kind && (this.#link?.update?.(settings) ?? false);
  }

  /** Tells the link to stop; `done` tells when it has. Idempotent. */
  stop(): void {
    if (this.leaving) return;
    this.leaving = true;
    this.#controller.abort();
    this.#become('stopped', '');
  }

  /** Whatever failed on the way there is worth another try now. */
  wayIsBack(link: string, peer: string): void {
    if (this.#via?.link !== link || this.#via.peer !== peer) return;
    this.#isWayBack = true;
    this.#hurry();
  }

  status(): LinkStatus {
    const { name, kind, enabled } = this.entry;
    return {
      name,
      kind,
      enabled,
      state: this.#state,
      detail: this.#detail,
      sinceMs: this.#sinceMs,
      retryAtMs: this.#retryAtMs,
      lastTrouble: this.#lastTrouble,
      refusals: Object.fromEntries([...this.#refusals].map(([code, { count }]) => [code, count])),
      lastRefusal: this.#lastRefusal,
      warnings: [...this.#warnings],
    };
  }

  async #keepRunning(): Promise<void> {
    const { clock, backoff } = this.#deps;
    try {
      await supervise((signal) => this.#runOnce(signal), {
        signal: this.#controller.signal,
        clock,
        log: this.#log,
        ...(backoff ? { backoff } : {}),
        onFailure: (error, retryInMs) => this.#wait(error, retryInMs),
        pause: (ms, signal) => this.#pause(ms, signal),
      });
    } catch (error) {
      this.#fail(error as FatalError);
    }
    this.ended = true;
  }

  async #pause(ms: number, signal: AbortSignal): Promise<void> {
    const { controller, release } = childController(signal);
    this.#hurry = () => controller.abort();
    await sleep(this.#isWayBack ? Math.min(ms, WAY_BACK_MS) : ms, controller.signal);
    this.#hurry = () => {};
    release();
  }

  async #runOnce(signal: AbortSignal): Promise<void> {
    let current = true;
    this.#isWayBack = false;
    this.#become('starting', '');
    try {
      this.#link ??= this.#create();
      const context = this.#deps.contextFor(this.entry.name, this.#log, signal);
      await this.#link.run({
        ...context,
        signal,
        openTunnel: (via, until) => {
          this.#via = via;
          return context.openTunnel(via, until);
        },
        admits: (address) => this.#admits(address),
        report: (state, detail = '') => {
          if (current && !this.leaving) this.#become(state, detail);
        },
        refuse: (address, trouble) => {
          if (current) this.#refused(address, trouble);
        },
        warn: (trouble) => {
          if (current && this.#warnings.size < MAX_WARNINGS) this.#warnings.add(trouble);
          return () => this.#warnings.delete(trouble);
        },
      });
    } finally {
      current = false;
      this.#warnings.clear();
    }
  }

  #create(): Link {
    const { kind, settings } = this.entry;
    const found = this.#deps.kinds.find((candidate) => candidate.kind === kind);
    if (found) return found.create(settings);
    throw new FatalError(
      'unknown_kind',
      `there is no kind of link called ${kind}`,
      'correct the kind in the configuration',
    );
  }

  #wait(error: Error, retryInMs: number): void {
    this.#trouble(error);
    this.#become('waiting', `next try in ${Math.ceil(retryInMs / 1000)} s`, this.#deps.clock.wallMs() + retryInMs);
  }

  #fail(error: FatalError): void {
    if (this.leaving) return;
    this.#log.error({ code: error.code, reason: error.message, fix: error.fix }, 'failed for good');
    this.#trouble(error);
    this.#become('failed', '');
  }

  #trouble(error: Error): void {
    this.#lastTrouble = { ...troubleOf(error), atMs: this.#deps.clock.wallMs() };
  }

  #become(state: LinkState, detail: string, retryAtMs?: number): void {
    if (state !== this.#state) this.#sinceMs = this.#deps.clock.wallMs();
    this.#state = state;
    this.#detail = detail.slice(0, MAX_WORDS);
    this.#retryAtMs = retryAtMs;
    this.#deps.onChange?.(this.status());
  }

  #refused(address: string, trouble: Trouble): void {
    const known = this.#refusals.has(trouble.code) || this.#refusals.size < MAX_REFUSAL_CODES;
    const code = known ? trouble.code : 'other';
    const words = trouble.words.slice(0, MAX_WORDS);
    const tally = this.#refusals.get(code) ?? { count: 0, toldMs: Number.NEGATIVE_INFINITY };
    this.#refusals.set(code, tally);
    tally.count++;
    this.#lastRefusal = { code, words, fix: trouble.fix, address, atMs: this.#deps.clock.wallMs() };
    const nowMs = this.#deps.clock.nowMs();
    if (nowMs - tally.toldMs < REFUSAL_QUIET_MS) return;
    tally.toldMs = nowMs;
    this.#log.warn({ code, address, reason: words, count: tally.count }, 'refused a connection');
    this.#deps.onRefusal?.(this.entry.name, address, { code, words, fix: trouble.fix });
  }
}

function sameTransport(a: LinkEntry, b: LinkEntry): boolean {
  return a.kind === b.kind && isDeepStrictEqual(a.settings, b.settings);
}

function idleStatus({ name, kind, enabled, held }: LinkEntry, sinceMs: number): LinkStatus {
  const state = enabled && !held ? 'starting' : 'stopped';
  return { name, kind, enabled, state, detail: held ? 'radio silence' : '', sinceMs, refusals: {} };
}

function troubleOf(error: Error): Trouble {
  const words = error.message.slice(0, MAX_WORDS);
  if (error instanceof LinkError || error instanceof FatalError) return { code: error.code, words, fix: error.fix };
  if (error instanceof ProtocolError) {
    return {
      code: error.code,
      words,
      fix: 'the other end broke the protocol: check that it is what this link expects',
    };
  }
  return { code: 'internal_error', words, fix: 'this is a fault in Waystation: its log has the details' };
}
