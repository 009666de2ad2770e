// Says what is wrong with a link, and with the box: from what the links know anyway, and by going the way to the far end anew where
// that does not work. A link that is up is left in peace: a second connection may cost it the first.
import type { Check, Diagnosis, DoctorReport } from '../core/diagnosis.ts';
import { diagnosisOf, reportOf } from '../core/diagnosis.ts';
import type { NumberedEvent } from '../core/events.ts';
import type { NodePeer } from '../core/node.ts';
import type { LinkStatus, PeerStatus, RelayStatus } from '../core/status.ts';
import { childController } from '../lib/abort.ts';
import type { Clock } from '../lib/clock.ts';
import { LinkError } from '../lib/errors.ts';
import { silentLog } from '../lib/log.ts';
import type { LinkContext, LinkKind, Way, Ways } from '../links/link.ts';
import type { LinkEntry } from '../links/runner.ts';
import { formatAddress } from '../links/stream.ts';
import { boxChecks, type Memory } from './box.ts';
import { doorChecks } from './door.ts';
import { clockChecks, flowChecks, MAX_PEERS } from './flow.ts';
import { awayChecks, natChecks, queueChecks } from './line.ts';
import { reachChecks } from './reach.ts';
import { settingsChecks } from './settings.ts';
import { ok, span, unknown, warn } from './words.ts';

/** All far ends of one report together. */
const TRY_MS = 25_000;
/** Far ends tried at once. */
const MAX_TRIES = 8;
/** Reports under way. */
const MAX_REPORTS = 4;
/** Far ends of one link that are tried. */
const MAX_WAYS = 24;

export interface DoctorDeps {
  readonly kinds: readonly LinkKind<unknown>[];
  readonly clock: Clock;
  /** As configured. */
  entries(): readonly LinkEntry[];
  snapshot(): RelayStatus;
  /** The oldest first. */
  events(): readonly NumberedEvent[];
  nodePeers(link: string): readonly NodePeer[];
  /** Entries of the whole relay's trust, as absolute names. */
  trust(): readonly string[];
  hosts(): readonly string[];
  memory(): Memory;
  contextFor(link: string, signal: AbortSignal): Omit<LinkContext, 'signal' | 'report' | 'refuse' | 'warn'>;
}

export class Doctor {
  readonly #deps: DoctorDeps;
  #reports = 0;

  constructor(deps: DoctorDeps) {
    this.#deps = deps;
  }

  /**
   * `link`: that one alone; undefined: all, and the box. `tries`: whether far ends are tried, too. Undefined: there is no such
   * link. Rejects with LinkError `busy`.
   */
  async report(link: string | undefined, tries: boolean, signal: AbortSignal): Promise<DoctorReport | undefined> {
    const entries = this.#deps.entries().filter(({ name }) => link === undefined || name === link);
    if (link !== undefined && entries.length === 0) return undefined;
    if (this.#reports >= MAX_REPORTS)
      throw new LinkError('busy', 'other diagnoses are under way', 'try again in a moment');
    this.#reports++;
    const { controller, release } = childController(signal);
    const cancel = this.#deps.clock.after(TRY_MS, () => controller.abort());
    try {
      const status = this.#deps.snapshot();
      const limit = limiter(MAX_TRIES);
      const run = { status, signal: controller.signal, tries, limit };
      const links = await Promise.all(entries.map((entry) => this.#link(entry, run)));
      const box = link === undefined ? [diagnosisOf('', '', boxChecks(status, this.#deps.memory()), WELL_BOX)] : [];
      return reportOf(status.now, tries, [...links, ...box]);
    } finally {
      cancel();
      release();
      this.#reports--;
    }
  }

  async #link(entry: LinkEntry, run: Run): Promise<Diagnosis> {
    const { clock, kinds } = this.#deps;
    const { name, kind } = entry;
    const status = run.status.links.find((one) => one.name === name);
    const silent = run.status.emcon?.silent === true && status?.state === 'stopped';
    const settings = settingsChecks(entry, silent, clock);
    if (!entry.enabled || silent || !status) return diagnosisOf(name, kind, settings, 'not running');
    const peers = run.status.peers.filter(({ link }) => link === name);
    const ways = kinds.find((one) => one.kind === kind)?.ways?.(entry.settings) ?? NO_WAYS;
    const way = [
      ...this.#door(ways, status, peers, run.status),
      ...(await this.#far(ways, status, peers, { entry, run })),
    ];
    const checks = [
      ...settings,
      ...way,
      ...(way.some(({ finding }) => finding === 'bad') ? [] : standing(status)),
      ...this.#peers(peers, status),
      ...clockChecks(this.#deps.nodePeers(name)),
      ...(status.warnings ?? []).map(({ code, words, fix }) => warn(code, '', words, fix)),
    ];
    return diagnosisOf(name, kind, checks, wellWords(status, peers, clock));
  }

  #door({ listens }: Ways, status: LinkStatus, peers: readonly PeerStatus[], { departed }: RelayStatus): Check[] {
    const { clock, hosts } = this.#deps;
    const gone = departed.filter(({ link }) => link === status.name);
    return doorChecks({ ways: listens, status, peers, departed: gone, hosts: hosts(), clock });
  }

  async #far({ dials }: Ways, status: LinkStatus, peers: readonly PeerStatus[], at: At): Promise<Check[]> {
    const isUp = ({ peer }: Way) =>
      peer === undefined
        ? status.state === 'connected' &&
          peers.some(({ connected, lastHeardMsAgo }) => connected && lastHeardMsAgo !== null)
        : peers.some((one) => one.connected && one.key === `${status.name}/${peer}`);
    const found = dials.slice(0, MAX_WAYS).map(async (way) => {
      const of = way.peer ?? formatAddress(way.address);
      if (isUp(way)) return [ok('port', of, 'name, port and TLS are good: it is connected')];
      if (!at.run.tries) return [unknown('port', of, `the way to ${formatAddress(way.address)} was not tried`)];
      return at.run.limit(() => this.#try(way, at));
    });
    return (await Promise.all(found)).flat();
  }

  #try(way: Way, { entry, run: { signal } }: At): Promise<Check[]> {
    const given = this.#deps.contextFor(entry.name, signal);
    const context: LinkContext = {
      ...given,
      signal,
      log: silentLog,
      memory: { get: (key) => given.memory.get(key), set: () => {} },
      report: () => {},
      refuse: () => {},
      warn: () => () => {},
    };
    return reachChecks(way, this.#deps.trust(), context);
  }

  #peers(peers: readonly PeerStatus[], status: LinkStatus): Check[] {
    const events = this.#deps.events();
    const nowMs = this.#deps.clock.wallMs();
    return peers
      .slice(0, MAX_PEERS)
      .flatMap((peer) => [
        ...natChecks(peer, status.kind, events),
        ...(peer.connected ? flowChecks(peer) : awayChecks(peer, nowMs)),
        ...queueChecks(peer, status),
      ]);
  }
}

interface Run {
  readonly status: RelayStatus;
  readonly signal: AbortSignal;
  readonly tries: boolean;
  readonly limit: <T>(task: () => Promise<T>) => Promise<T>;
}

interface At {
  readonly entry: LinkEntry;
  readonly run: Run;
}

const NO_WAYS: Ways = { listens: [], dials: [] };
const WELL_BOX = 'clock, storage, memory, power and certificates are good';

/** What the link itself met last, where its ways are good: a refusal in its own protocol. */
function standing({ state, lastTrouble, detail }: LinkStatus): Check[] {
  if (state === 'connected') return [ok('link', '', `connected: ${detail}`)];
  if (state === 'listening') return [];
  if (!lastTrouble) return [unknown('link', '', `${state} ${detail}`.trim())];
  const { words, fix } = lastTrouble;
  return [{ id: 'link', of: '', finding: 'bad', words, fix }];
}

function wellWords({ state, detail, sinceMs }: LinkStatus, peers: readonly PeerStatus[], clock: Clock): string {
  const up = peers.filter(({ connected }) => connected).length;
  const count = state === 'listening' ? `, ${up} connected` : '';
  return `${state} ${detail} for ${span(clock.wallMs() - sinceMs)}${count}, nothing found wrong`;
}

/** Runs so many tasks at once, the others after them. */
function limiter(most: number): <T>(task: () => Promise<T>) => Promise<T> {
  let running = 0;
  const waiting: (() => void)[] = [];
  return async (task) => {
    if (running >= most) await new Promise<void>((resolve) => waiting.push(resolve));
    running++;
    try {
      return await task();
    } finally {
      running--;
      waiting.shift()?.();
    }
  };
}
