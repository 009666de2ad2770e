// Keeps one peer connected: directly if that works, else through its hubs in order. A way that says neither yes nor no keeps
// the next one waiting for a moment only. Through a hub it goes on trying the direct way, quietly; when the peer has gone
// silent it races a second connection against the one that may be dead.
import { childController } from '../../lib/abort.ts';
import { Backoff } from '../../lib/backoff.ts';
import type { Clock } from '../../lib/clock.ts';
import { LinkError, ProtocolError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import { TokenBucket } from '../../lib/token-bucket.ts';
import type { Trouble } from '../link.ts';
import type { PeerConfig } from './config.ts';
import {
  FIRST_PROBE_MS,
  FIRST_RETRY_MS,
  HEAD_START_MS,
  HUB_BACK_MS,
  HUB_RETRY_MS,
  MAX_PROBE_MS,
  MAX_RETRY_MS,
  OUTAGE_MS,
  OUTAGE_RETRY_MS,
  STABLE_MS,
  TAKE_OVER_MS,
  TAKE_OVERS,
  TAKE_OVERS_MS,
  WORKED_MS,
} from './limits.ts';
import type { PeerWatcher, PortalPeer } from './peer.ts';
import { DIRECT, type Path } from './seam.ts';
import type { PortalSession } from './session.ts';

/** What it looks at of a peer. */
export type Dialled = Pick<PortalPeer, 'name' | 'session' | 'isSuspect'> & {
  readonly config: Pick<PeerConfig, 'autoConnect'>;
};

export interface DialDeps {
  readonly clock: Clock;
  readonly log: Log;
  /** The ways to the peer as it is configured now; the direct one first, if there is one. */
  paths(): readonly Path[];
  /** Resolves when the peer has a session by this path. Rejects with LinkError or ProtocolError. */
  connect(path: Path, signal: AbortSignal): Promise<void>;
  /** Why there is no connection; undefined: no reason any more. */
  trouble(trouble: Trouble | undefined): void;
  /** Others are reached through this peer. */
  isHub(): boolean;
  readonly random?: () => number;
}

/** `rest`: nothing to do. `all`: the peer needs a connection. `better`: it has one, and a direct one would be better. */
type Mode = 'rest' | 'all' | 'better';

export class Dialler implements PeerWatcher {
  readonly #peer: Dialled;
  readonly #deps: DialDeps;
  readonly #backoff: Backoff;
  readonly #probe: Backoff;
  /** Losses that are followed by another way at once. */
  readonly #takeOvers: TokenBucket;
  /** When the next try is due, monotonic, by mode. */
  readonly #dueMs = { all: 0, better: 0 };
  #attempt: { readonly mode: Mode; abort(): void } | undefined;
  /** Counts changes of the configuration: what was begun before one, and fails after it, says nothing of how it is now. */
  #changes = 0;
  /** Of them, those before the session began. */
  #changesBefore = 0;
  /** Monotonic time since when it is without a connection, or was begun with. */
  #lostMs: number;
  #wake = () => {};
  #news = false;
  #lastWords = '';

  constructor(peer: Dialled, deps: DialDeps) {
    this.#peer = peer;
    this.#deps = deps;
    const random = deps.random ?? Math.random;
    this.#backoff = new Backoff({ firstMs: FIRST_RETRY_MS, maxMs: MAX_RETRY_MS, random });
    this.#probe = new Backoff({ firstMs: FIRST_PROBE_MS, maxMs: MAX_PROBE_MS, floorMs: FIRST_PROBE_MS / 2, random });
    const { clock } = deps;
    this.#lostMs = clock.nowMs();
    this.#takeOvers = new TokenBucket((TAKE_OVERS / TAKE_OVERS_MS) * 1000, TAKE_OVERS, () => clock.nowMs());
  }

  /** Dials until told to stop. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const mode = this.#mode();
      const waitMs = mode === 'rest' ? Number.POSITIVE_INFINITY : this.#dueMs[mode] - this.#deps.clock.nowMs();
      if (mode === 'rest' || waitMs > 0) await this.#wait(waitMs, signal);
      else await this.#round(mode, signal);
    }
  }

  /** Something changed that may matter: the configuration, say. */
  look(): void {
    this.#news = true;
    this.#wake();
  }

  /** Another configuration: what was tried in vain is tried again at once. */
  retry(): void {
    this.#changes++;
    this.#backoff.reset();
    this.#dueMs.all = 0;
    this.#dueMs.better = 0;
    this.look();
  }

  began(session: PortalSession): void {
    this.#changesBefore = this.#changes;
    this.#lastWords = '';
    this.#probe.reset();
    this.#dueMs.better = this.#deps.clock.nowMs() + this.#probe.nextMs();
    // The peer came to us: what we are just trying is needed only if it is better.
    if (session.role === 'server' && session.via === undefined) this.#attempt?.abort();
    this.look();
  }

  ended(lastedMs: number, cause: Error | undefined): void {
    this.#lostMs = this.#deps.clock.nowMs();
    if (lastedMs >= STABLE_MS) this.#backoff.reset();
    // Whatever failed before: with another way at hand it is the hub that died, not the peer. Also when the session was
    // short, unless that happens again and again.
    const takeOver = this.#deps.paths().length > 1 && (lastedMs >= WORKED_MS || this.#takeOvers.tryTake(1));
    const waitMs = takeOver ? (this.#deps.random ?? Math.random)() * TAKE_OVER_MS : this.#nextMs();
    this.#dueMs.all = this.#deps.clock.nowMs() + waitMs;
    this.#stopProbe();
    // The peer let us in and then refused us.
    if (cause instanceof LinkError && cause.retryAfterMs > 0) this.#failed('all', [cause], this.#changesBefore);
    this.look();
  }

  /** A hub of the peer can be asked again. */
  hubIsBack(): void {
    if (this.#peer.session) return;
    const soonMs = this.#deps.clock.nowMs() + (this.#deps.random ?? Math.random)() * HUB_BACK_MS;
    this.#dueMs.all = Math.min(this.#dueMs.all, soonMs);
    this.look();
  }

  suspected(isSilent: boolean): void {
    if (isSilent) {
      this.#dueMs.all = 0;
      this.#stopProbe();
    } else this.#attempt?.abort();
    this.look();
  }

  /** A look at the direct way may take long, and must not stand before what is needed now. */
  #stopProbe(): void {
    if (this.#attempt?.mode === 'better') this.#attempt.abort();
  }

  #mode(): Mode {
    const { session, isSuspect, config } = this.#peer;
    if (!config.autoConnect || this.#deps.paths().length === 0) return 'rest';
    if (!session || isSuspect) return 'all';
    return session.via !== undefined && this.#deps.paths()[0]?.name === DIRECT ? 'better' : 'rest';
  }

  async #round(mode: 'all' | 'better', signal: AbortSignal): Promise<void> {
    const paths = mode === 'all' ? this.#deps.paths() : this.#deps.paths().slice(0, 1);
    const changes = this.#changes;
    const failures = await this.#race(mode, paths, signal);
    this.#attempt = undefined;
    if (failures) this.#failed(mode, failures, changes);
  }

  /**
   * Each way gets a head start over the next, less if it fails sooner; the first that works ends the others. Resolves, once
   * every way has come to its end, with why none worked; undefined: one did, or it was called off.
   */
  async #race(mode: Mode, paths: readonly Path[], signal: AbortSignal): Promise<readonly LinkError[] | undefined> {
    const failures: LinkError[] = [];
    const running = new Map<AbortController, Promise<void>>();
    let isOver = false;
    const end = (winner?: AbortController) => {
      isOver = true;
      for (const controller of running.keys()) if (controller !== winner) controller.abort();
    };
    this.#attempt = { mode, abort: end };
    for (const path of paths) {
      if (isOver || signal.aborted) break;
      const { controller, release } = childController(signal);
      const tried = this.#try(path, controller.signal).then((failure) => {
        release();
        running.delete(controller);
        if (failure) failures.push(failure);
        else if (!isOver) end(controller);
      });
      running.set(controller, tried);
      await this.#headStart(running, () => isOver);
    }
    await Promise.all(running.values());
    return isOver || signal.aborted ? undefined : failures;
  }

  /** Until the time is up, or nobody is left who could use it. */
  async #headStart(running: ReadonlyMap<AbortController, Promise<void>>, isOver: () => boolean): Promise<void> {
    let [cancel, isUp] = [() => {}, false];
    const timeUp = new Promise<void>((resolve) => {
      cancel = this.#deps.clock.after(HEAD_START_MS, () => {
        isUp = true;
        resolve();
      });
    });
    while (!isUp && !isOver() && running.size > 0) await Promise.race([timeUp, ...running.values()]);
    cancel();
  }

  /** Resolves with why it did not work; undefined: it did. */
  async #try(path: Path, signal: AbortSignal): Promise<LinkError | undefined> {
    try {
      await this.#deps.connect(path, signal);
      return undefined;
    } catch (error) {
      if (error instanceof LinkError) return error;
      if (error instanceof ProtocolError)
        return new LinkError(error.code, `${path.name}: ${error.message}`, NOT_PORTAL_FIX);
      this.#deps.log.error({ err: error, peer: this.#peer.name }, 'a fault of our own ended a handshake');
      return new LinkError('internal_error', `${path.name}: a fault in this relay`, 'Its log has the details.');
    }
  }

  #failed(mode: 'all' | 'better', failures: readonly LinkError[], changes: number): void {
    const { clock, log } = this.#deps;
    if (changes !== this.#changes) return;
    if (mode === 'better') {
      this.#dueMs.better = clock.nowMs() + this.#probe.nextMs();
      return;
    }
    const leastMs = Math.max(...failures.map(({ retryAfterMs }) => retryAfterMs));
    const retryInMs = Math.max(this.#isOutage(failures) ? this.#outageMs() : this.#nextMs(), leastMs);
    this.#dueMs.all = clock.nowMs() + retryInMs;
    if (this.#peer.session) return;
    const trouble = troubleOf(failures);
    this.#deps.trouble(trouble);
    const line = { peer: this.#peer.name, code: trouble.code, reason: trouble.words, fix: trouble.fix, retryInMs };
    if (trouble.words === this.#lastWords) log.debug(line, 'still cannot connect');
    else log.warn(line, 'cannot connect, will retry');
    this.#lastWords = trouble.words;
  }

  /** The network is out, and has not been for long: nobody is burdened by tries that reach nobody, and it may be back any moment. */
  #isOutage(failures: readonly LinkError[]): boolean {
    return this.#isRecent && failures.every(({ code }) => OUT.has(code));
  }

  /** It was connected not long ago. */
  get #isRecent(): boolean {
    return this.#deps.clock.nowMs() - this.#lostMs < OUTAGE_MS;
  }

  /** Everything waits for a hub: it is tried more often, for a while. */
  #nextMs(): number {
    const ms = this.#backoff.nextMs();
    const isLong = ms > HUB_RETRY_MS && this.#deps.isHub() && this.#isRecent;
    return isLong ? (this.#deps.random ?? Math.random)() * HUB_RETRY_MS : ms;
  }

  #outageMs(): number {
    return OUTAGE_RETRY_MS * (0.5 + (this.#deps.random ?? Math.random)() / 2);
  }

  /** Until something changes, or the time is up. */
  async #wait(ms: number, signal: AbortSignal): Promise<void> {
    if (this.#news) {
      this.#news = false;
      return;
    }
    await new Promise<void>((resolve) => {
      const cancel = Number.isFinite(ms) ? this.#deps.clock.after(ms, resolve) : () => {};
      this.#wake = () => {
        cancel();
        resolve();
      };
      signal.addEventListener('abort', this.#wake, { once: true });
    });
    signal.removeEventListener('abort', this.#wake);
    this.#wake = () => {};
    this.#news = false;
  }
}

/** What a way says that leads nowhere at all for the moment. */
const OUT: ReadonlySet<string> = new Set(['unreachable', 'connect_timeout', 'name_unavailable', 'hub_away']);

const NOT_PORTAL_FIX =
  'What answers there is no relay like this one, or one of a later version: check address and port (9090 as a rule).';

/** The direct way's trouble counts, for that is what a person can put right; the others are told behind it. */
function troubleOf(failures: readonly LinkError[]): Trouble {
  const [first, ...others] = failures.filter(({ code }) => code !== 'gave_way' && code !== 'aborted');
  if (!first) return { code: 'gave_way', words: 'another connection was made first', fix: '' };
  const words = [first.message, ...others.map(({ message }) => message)].join('; ');
  return { code: first.code, words, fix: first.fix };
}
