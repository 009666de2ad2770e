// The composition root: builds everything from one configuration, starts and stops it in order, and knows how it is.
import { join } from 'node:path';
import { FederationCalls, PARTNERS_LINK } from './api/federation-calls.ts';
import { Nodes } from './api/nodes.ts';
import { ProbeDesk } from './api/probe-desk.ts';
import { ProcessMeasures } from './api/process-measures.ts';
import { metricsText } from './api/prometheus.ts';
import { createResources } from './api/resources.ts';
import type { Appliance } from './api/routes/appliance.ts';
import { noteRefusal, noteRequest } from './audit-notes.ts';
import type { ConfigDesk } from './config/desk.ts';
import type { Config, TrustSettings } from './config/schema.ts';
import { DayTraffic } from './core/day-traffic.ts';
import { EventLog } from './core/events.ts';
import { Hub } from './core/hub.ts';
import { LastWays } from './core/last-ways.ts';
import type { Resources } from './core/node.ts';
import { CLOSE_WORDS, DROP_WORDS } from './core/reason.ts';
import { hubStatus, peerStatus, type RelayStatus, unclaimedWarning, type Warning } from './core/status.ts';
import { Doctor } from './doctor/doctor.ts';
import { Emcon } from './emcon.ts';
import { FileDesk } from './file-desk.ts';
import { openIdentity, type StoredIdentity } from './identity/identity.ts';
import { LiveTrust, loadRevocations, loadTrust, mergeTrust, refusalsOf, type Trust } from './identity/trust.ts';
import { childController, sleep } from './lib/abort.ts';
import type { Clock } from './lib/clock.ts';
import { ownHosts, readClockSource, readHost, readMemory } from './lib/host.ts';
import type { Log } from './lib/log.ts';
import type { LogRing } from './lib/log-ring.ts';
import { Besides } from './links/beside.ts';
import type { LinkKind } from './links/link.ts';
import { LinkRunner, type RunnerDeps } from './links/runner.ts';
import { Tunnels } from './links/via.ts';
import { Pairing } from './pairing.ts';
import { PartnerDesk } from './partner-desk.ts';
import { PhoneDoors } from './phone-doors.ts';
import { openRecorder } from './recorder-desk.ts';
import type { Recorder } from './recording/recorder.ts';
import { CERTIFICATES_FOLDER, restartNeeded, Serving } from './serve.ts';
import { AuditStore } from './store/audit.ts';
import { OutboxStore } from './store/outbox.ts';
import { openStore, type Store } from './store/store.ts';
import { restoreTraffic, usageOf } from './store/usage.ts';
import { MqttTelemetry } from './telemetry/mqtt.ts';
import { keepUp, LAST_WAYS_KEY } from './upkeep.ts';
import type { Build } from './version.ts';
import { callingWarnings, clockFrom, crlWarnings, expiryWarnings, hubWarnings, linkWarnings } from './warnings.ts';
import { eventXml } from './wire/cot-write.ts';
import { messageOf } from './wire/message.ts';
import { trackOf } from './wire/track.ts';

/** How long what still waits may go out after the relay was told to stop. */
const DRAIN_MS = 2_000;
const DRAIN_STEP_MS = 50;

export interface RelayOptions {
  readonly config: Config;
  /** Where the configuration came from, and where changes of it go. */
  readonly desk: ConfigDesk;
  readonly kinds: readonly LinkKind<unknown>[];
  readonly clock: Clock;
  readonly log: Log;
  readonly logRing: LogRing;
  /** Ends this relay, to be started again; undefined: nobody would. */
  readonly restart?: (() => void) | undefined;
  readonly build: Build;
  /** The flashed card, when this box was started from one. */
  readonly appliance?: Appliance | undefined;
  /** See PeerClockParts. */
  readonly clockFd?: number | undefined;
}

export class Relay {
  readonly identity: StoredIdentity;
  readonly #options: RelayOptions;
  readonly #events: EventLog;
  readonly #store: Store;
  readonly #hub: Hub;
  readonly #traffic = new DayTraffic();
  /** What waits for peers, on disk. */
  readonly #outbox: OutboxStore;
  readonly #runner: LinkRunner;
  readonly #telemetry: MqttTelemetry;
  /** Ways to ask peers, by link. */
  readonly #calls = new FederationCalls();
  readonly #nodes = new Nodes(this.#calls);
  readonly #partners: PartnerDesk;
  readonly #tunnels = new Tunnels();
  readonly #measures = new ProcessMeasures();
  readonly #besides = new Besides();
  readonly #pairing: Pairing;
  readonly #resources: Resources;
  readonly #startedMs: number;
  readonly #startedWallMs: number;
  #config: Config;
  readonly #trust: LiveTrust;
  readonly #doors = new PhoneDoors({ config: () => this.#config, caPem: () => this.identity.ca.certPem });
  /** The same, but for whom this box has revoked itself. */
  readonly #linkTrust: Trust;
  readonly #audit: AuditStore;
  readonly #emcon: Emcon;
  /** As this relay started: some of it takes hold only then. */
  readonly #started: Config;
  /** Folder that relative file names of the configuration start from. */
  #baseDir: string;
  readonly #serving: Serving;
  readonly #files: FileDesk;
  readonly #recorder: Recorder;

  /** @throws FatalError when the identity or what is trusted cannot be read */
  constructor(options: RelayOptions) {
    const { config, clock, log } = options;
    this.#options = options;
    this.#config = config;
    this.#started = config;
    this.#baseDir = options.desk.baseDir;
    this.#startedMs = clock.nowMs();
    this.#startedWallMs = clock.wallMs();
    this.#events = new EventLog(() => clock.wallMs());
    this.#store = openStore({ path: join(config.data, 'waystation.db'), clock, log: log.child({ part: 'store' }) });
    this.identity = openIdentity({
      dir: join(config.data, 'identity'),
      name: config.name,
      hosts: config.hosts ?? ownHosts(config.name),
      clock,
      log: log.child({ part: 'identity' }),
    });
    this.#trust = new LiveTrust(trustOf(config));
    this.#linkTrust = mergeTrust(this.#trust, this.identity.revocations);
    this.#audit = new AuditStore({ path: join(config.data, 'audit.db'), clock, log: log.child({ part: 'audit' }) });
    this.#emcon = new Emcon(this.#store, clock);
    this.#outbox = new OutboxStore({
      path: join(config.data, 'outbox.db'),
      clock,
      log: log.child({ part: 'outbox' }),
      onTrouble: (warning) => this.#events.add({ type: 'warning', ...warning }),
    });
    const { bytes, hours } = config.limits.outbox;
    this.#hub = new Hub({
      ...{ nodeId: this.identity.id, clock, events: this.#events, trackOf },
      lastWays: new LastWays(clock, this.#store.get(LAST_WAYS_KEY)),
      outbox: { disk: this.#outbox, limits: { bytes, ageMs: hours * 3_600_000 }, messageOf },
    });
    const names = config.links.map(({ name }) => name);
    for (const name of names) {
      const usage = usageOf(this.#store, name);
      if (usage) this.#hub.setUsage(name, usage);
    }
    restoreTraffic(this.#store, names, this.#traffic);
    this.#partners = new PartnerDesk({
      ...{ dir: join(config.data, 'identity'), store: this.#store, identity: this.identity, clock, calls: this.#calls },
      refusals: refusalsOf(this.#linkTrust),
      silent: () => this.#emcon.state.silent,
    });
    this.#nodes.provide(PARTNERS_LINK, this.#partners);
    this.#resources = this.#ownResources();
    this.#runner = new LinkRunner({
      kinds: options.kinds,
      hub: this.#hub,
      contextFor: (name, linkLog, signal) => this.#linkContext(name, linkLog, signal),
      log: log.child({ part: 'links' }),
      clock,
      onChange: ({ name, state, detail }) => this.#events.add({ type: 'link_state', link: name, state, detail }),
      onRefusal: (link, address, trouble) => {
        this.#events.add({ type: 'peer_refused', link, address, ...trouble });
        noteRefusal(this.#audit, link, address, trouble);
      },
    });
    this.#telemetry = this.#ownTelemetry();
    this.#pairing = new Pairing({
      ...{ desk: options.desk, clock, audit: this.#audit, identity: this.identity },
      log: log.child({ part: 'pairing' }),
      codeFile: join(config.data, 'joining-code'),
      folder: join(config.data, CERTIFICATES_FOLDER),
      name: () => this.#config.name,
      through: (way, until) => this.#tunnels.join(way, until),
    });
    this.#recorder = openRecorder(config, this.#hub, options);
    this.#serving = this.#makeServing();
    this.#files = this.#makeFiles();
    options.desk.onApply((changed, baseDir) => this.apply(changed, baseDir));
  }

  /** A broker is no link, and is reached like one. */
  #ownTelemetry(): MqttTelemetry {
    const { clock } = this.#options;
    const log = this.#options.log.child({ part: 'telemetry' });
    return new MqttTelemetry({
      clock,
      log,
      events: this.#events,
      snapshot: () => this.snapshot(),
      contextFor: (signal, warn) => ({
        ...this.#linkContext('telemetry', log, signal),
        signal,
        report: () => {},
        refuse: () => {},
        warn,
      }),
    });
  }

  /** Relays until aborted; then lets what waits go out, says goodbye and closes everything. */
  async run(signal: AbortSignal): Promise<void> {
    const { log, build } = this.#options;
    const quiet = this.#events.subscribe(({ event }) => {
      if (event.type === 'peer_up' || event.type === 'peer_down') log.info(event, event.type.replace('_', ' '));
      if (event.type === 'peer_up') this.#remember(event.peer);
    });
    this.#events.add({ type: 'relay_started', version: build.version });
    const links = childController(new AbortController().signal);
    this.#applyLinks();
    const parts = [
      this.#runner.run(links.controller.signal),
      this.#store.run(signal),
      this.#audit.run(signal),
      this.#telemetry.run(signal),
      keepUp({ ...this.#options, ...this.#shared, traffic: this.#traffic }, signal),
      this.#recorder.run(signal),
      this.#serving.run(signal),
      this.#files.run(signal),
      this.#drainThenStop(signal, links.controller),
    ];
    await Promise.all(parts);
    this.#store.close();
    this.#audit.close();
    this.#measures.stop();
    await this.#outbox.close();
    quiet();
  }

  /** Federates are remembered over restarts: when they were first and last here. Clients come and go uncounted. */
  #remember(key: string): void {
    const peer = this.#hub.peers().find(({ spec }) => spec.key === key);
    if (!peer?.spec.durable || !peer.session) return;
    const { link, kind } = peer.spec;
    this.#store.touchPeer({ key, link, kind, name: peer.session.identity.name, address: peer.session.address });
  }

  /** Takes over a new configuration; links that did not change keep their connections. @throws FatalError */
  apply(config: Config, baseDir = this.#baseDir): void {
    // First all that may fail: then either everything is taken over or nothing.
    const trust = trustOf(config);
    this.identity.renewDue(this.#options.clock.wallMs(), config.hosts ?? ownHosts(config.name));
    const renamed = config.name !== this.#config.name;
    this.#config = config;
    this.#baseDir = baseDir;
    this.#options.log.level = config.log.level;
    this.#recorder.apply(config.recorder.bytes);
    for (const key of restartNeeded(this.#started, config)) {
      this.#options.log.warn({ setting: key }, 'a setting takes hold at the next start');
    }
    // Before links start that rely on it; whoever lost it is cut off here and now.
    this.#trust.become(trust);
    this.#applyLinks();
    if (renamed) this.#runner.restart();
    this.#events.add({ type: 'config_applied', links: config.links.map(({ name }) => name) });
  }

  /** The configured links, as far as they may run now. */
  #applyLinks(): void {
    this.#hub.setNetworks(this.#config.networks);
    this.#runner.apply({ links: this.#emcon.held(this.#config.links) });
    this.#telemetry.apply(this.#emcon.state.silent ? undefined : this.#config.telemetry.mqtt);
  }

  /** A new configuration was not taken over; the old one stays in force. */
  configRefused(words: string): void {
    this.#options.log.error({ words }, 'configuration not reloaded, the old one stays in force');
    this.#events.add({ type: 'config_refused', words });
  }

  /** The one status that everything else renders. */
  snapshot(): RelayStatus {
    const { clock, build } = this.#options;
    const links = this.#runner.statuses();
    const nowMs = clock.wallMs();
    const appliance = this.#options.appliance?.status();
    return {
      name: this.#config.name,
      id: this.identity.id,
      version: build.version,
      commit: build.commit,
      now: new Date(nowMs).toISOString(),
      clockFrom: clockFrom(appliance, readClockSource()),
      startedAt: new Date(this.#startedWallMs).toISOString(),
      uptimeMs: Math.round(clock.nowMs() - this.#startedMs),
      caFingerprint: this.identity.ca.fingerprint,
      federationFingerprint: this.identity.federation().fingerprint,
      certificates: this.identity
        .expiring(nowMs)
        .map(({ what, notAfterMs, daysLeft }) => ({ what, notAfter: new Date(notAfterMs).toISOString(), daysLeft })),
      links: links.map((link) => ({
        ...link,
        budget: this.#hub.budgets().get(link.name)?.status() ?? null,
        traffic: this.#traffic.today(link.name, nowMs) ?? null,
      })),
      peers: this.#hub.peers().map((peer) => peerStatus(peer, clock, this.#hub.history.rates(peer.spec.key))),
      ...hubStatus(this.#hub),
      warnings: this.#warnings(nowMs),
      emcon: this.#emcon.state,
      files: this.#files.status(),
      recorder: this.#recorder.status(),
      memory: { rssBytes: process.memoryUsage.rss() },
      host: readHost(this.#config.data),
      appliance,
      words: { drop: DROP_WORDS, close: CLOSE_WORDS },
    };
  }

  #linkContext(name: string, log: Log, signal: AbortSignal): ReturnType<RunnerDeps['contextFor']> {
    const { clock, build } = this.#options;
    return {
      name,
      clock,
      log,
      baseDir: this.#baseDir,
      hub: this.#hub,
      identity: this.identity,
      trust: this.#linkTrust,
      guests: this.#doors.at(name),
      node: { id: this.identity.id, name: this.#config.name, version: build.version },
      memory: {
        get: (key) => this.#store.get(`link/${name}/${key}`),
        set: (key, value) => this.#store.set(`link/${name}/${key}`, value),
      },
      resources: this.#resources,
      files: this.#files,
      provideNodes: (service) => this.#nodes.provide(name, service),
      provideTunnels: (opener) => this.#tunnels.provide(name, opener),
      openTunnel: (via, until) => this.#tunnels.open(via, until),
      wayIsBack: (peer) => this.#runner.wayIsBack(name, peer),
      standBeside: (listener, take) => this.#besides.add(listener, take),
      handOver: (secured) => this.#besides.handOver(name, secured, signal),
      pairing: this.#pairing,
    };
  }

  #metrics(): string {
    return metricsText({
      status: this.snapshot(),
      timings: this.#hub.timings,
      process: this.#measures.figures(),
      api: this.#serving.counters,
      calls: this.#calls.counts(),
    });
  }

  /** What peers may ask of us. */
  #ownResources(): Resources {
    const { clock, log } = this.#options;
    const desk = new ProbeDesk({ hub: this.#hub, clock });
    return createResources({
      nodeId: this.identity.id,
      hub: this.#hub,
      nodes: this.#nodes,
      clock,
      log: log.child({ part: 'resources' }),
      entries: () => this.#config.resources,
      snapshot: () => this.snapshot(),
      file: (hash, asked) => this.#files.answer(hash, asked),
      policyOf: (caller) => this.#partners.policyOf(caller),
      probe: (request, target, caller, signal) => desk.answer(request, target, caller, signal),
      onRequest: (request) => {
        this.#calls.answered(request);
        noteRequest(this.#audit, request);
      },
    });
  }

  #makeDoctor(): Doctor {
    const { clock, kinds, log } = this.#options;
    return new Doctor({
      kinds,
      clock,
      entries: () => this.#config.links,
      snapshot: () => this.snapshot(),
      events: () => this.#events.since(0).events,
      nodePeers: (link) => this.#nodes.of(link),
      trust: () => this.#config.trust.paths,
      hosts: () => this.#config.hosts ?? ownHosts(this.#config.name),
      memory: readMemory,
      contextFor: (name, signal) => this.#linkContext(name, log.child({ part: 'doctor' }), signal),
    });
  }

  #makeServing(): Serving {
    const { clock, desk, log, logRing } = this.#options;
    const apiLog = log.child({ part: 'api' });
    const snapshot = () => this.snapshot();
    const doctor = this.#makeDoctor();
    return new Serving({
      ...this.#shared,
      desk,
      events: this.#events,
      clock,
      log: apiLog,
      node: {
        hub: this.#hub,
        nodes: this.#nodes,
        clock,
        log: apiLog,
        name: () => this.#config.name,
        snapshot,
        encode: (event) => ({ format: 'xml', bytes: eventXml(event, '<detail/>') }),
      },
      name: () => this.#config.name,
      hosts: () => this.#config.hosts ?? ownHosts(this.#config.name),
      links: () => this.#config.links,
      snapshot,
      metrics: () => this.#metrics(),
      logRing,
      emcon: this.#emcon,
      pairing: this.#pairing,
      recorder: this.#recorder,
      partners: this.#partners,
      doors: this.#doors,
      resources: this.#resources,
      calls: this.#calls,
      onEmcon: () => this.#applyLinks(),
      restart: this.#options.restart,
      appliance: this.#options.appliance,
      doctor: { diagnose: (link, tries, until) => doctor.report(link, tries, until) },
      onTrouble: (trouble) => this.#events.add({ type: 'warning', ...trouble }),
    });
  }

  /** What many parts are given. */
  get #shared() {
    const { identity } = this;
    return {
      ...{ started: this.#started, hub: this.#hub, nodes: this.#nodes, store: this.#store, audit: this.#audit },
      identity,
    };
  }

  #makeFiles(): FileDesk {
    const { clock, log, build } = this.#options;
    return new FileDesk({
      ...this.#shared,
      clock,
      log: log.child({ part: 'files' }),
      version: build.version,
      phones: mergeTrust(this.#doors.guests, refusalsOf(this.#linkTrust)),
      config: () => this.#config,
    });
  }

  async #drainThenStop(signal: AbortSignal, links: AbortController): Promise<void> {
    await new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      else signal.addEventListener('abort', () => resolve(), { once: true });
    });
    this.#events.add({ type: 'relay_stopping' });
    const never = new AbortController().signal;
    for (let waited = 0; waited < DRAIN_MS && this.#hub.backlog(); waited += DRAIN_STEP_MS) {
      await sleep(DRAIN_STEP_MS, never);
    }
    this.#hub.closeAll('shutdown');
    links.abort();
  }

  #warnings(nowMs: number): readonly Warning[] {
    return [
      ...this.identity.warnings,
      ...this.#store.warnings,
      ...this.#outbox.warnings,
      ...this.#telemetry.warnings,
      ...this.#audit.warnings,
      ...unclaimedWarning(this.#hub.unclaimed),
      ...this.#serving.troubles,
      ...this.#files.warnings,
      ...this.#recorder.warnings,
      ...hubWarnings(this.#hub),
      ...linkWarnings(this.#runner.statuses()),
      ...expiryWarnings(this.identity, nowMs),
      ...crlWarnings(this.#trust.crls, nowMs),
      ...callingWarnings(this.#partners.certificates.pairs, nowMs),
    ];
  }

  get serving(): Serving {
    return this.#serving;
  }

  /** Where the status is served; '' until it is. */
  get apiAddress(): string {
    return this.#serving.plainAddress;
  }
}

/** Whom the whole relay trusts as a federate. @throws FatalError when a file of it cannot be used */
export function trustOf(config: Config): Trust {
  const entries = ({ paths, pins }: TrustSettings) => [...paths, ...pins.map((pin) => `SHA256:${pin}`)];
  return mergeTrust(loadTrust(entries(config.trust), '/'), loadRevocations(entries(config.revoked), '/'));
}
