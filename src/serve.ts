// What the API is given of the relay: which places, which routes, who may. Part of the composition root.
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { Accounts } from './api/access/accounts.ts';
import { SetupCode } from './api/access/setup-code.ts';
import { type FederationCalls, outcomeOf, PARTNERS_LINK } from './api/federation-calls.ts';
import { type NodeApiDeps, nodeRoutes } from './api/node.ts';
import { boxPages } from './api/page/box.ts';
import { doctorPageRoutes } from './api/page/doctor.ts';
import { federationPages } from './api/page/federation.ts';
import { fleetPages } from './api/page/fleet.ts';
import { joinPages } from './api/page/join.ts';
import { OpenPages } from './api/page/open-pages.ts';
import { partnerPages } from './api/page/partners.ts';
import { phonePages } from './api/page/phones.ts';
import { policyPages } from './api/page/policy.ts';
import { recordingPages } from './api/page/recording.ts';
import { lookRoutes, type PageDeps } from './api/page/routes.ts';
import { runningRoutes } from './api/page/running.ts';
import { steerRoutes } from './api/page/steer.ts';
import type { PhoneOffice } from './api/phones.ts';
import type { Route } from './api/route.ts';
import type { Deed } from './api/router.ts';
import { accessRoutes } from './api/routes/access.ts';
import { type Appliance, applianceRoutes } from './api/routes/appliance.ts';
import { auditLogRoutes } from './api/routes/audit-log.ts';
import { bundleRoutes } from './api/routes/bundle.ts';
import { configRoutes } from './api/routes/config.ts';
import { type DoctorRouteDeps, doctorRoutes } from './api/routes/doctor.ts';
import { enrollRoutes } from './api/routes/enroll.ts';
import { federateRoutes } from './api/routes/federates.ts';
import { federationRoutes } from './api/routes/federation.ts';
import { HANDOVER_PATH, handoverRoutes } from './api/routes/handover.ts';
import { importRoutes } from './api/routes/import.ts';
import { linkRoutes } from './api/routes/links.ts';
import { networkRoutes } from './api/routes/networks.ts';
import { pairingRoutes } from './api/routes/pairing.ts';
import { type PartnerRouteDeps, partnerRoutes } from './api/routes/partners.ts';
import { phoneRoutes } from './api/routes/phones.ts';
import { policyRoutes } from './api/routes/policy.ts';
import { queueRoutes } from './api/routes/queue.ts';
import { recordingRoutes } from './api/routes/recording.ts';
import { restartRoutes } from './api/routes/restart.ts';
import { statusRoutes } from './api/routes/status.ts';
import { type TrafficDeps, trafficRoutes } from './api/routes/traffic.ts';
import { type ApiCounters, type ApiPlace, ApiServer } from './api/server.ts';
import type { ConfigDesk } from './config/desk.ts';
import type { Config } from './config/schema.ts';
import { reportOf } from './core/diagnosis.ts';
import type { EventLog } from './core/events.ts';
import { listUnits } from './core/fleet.ts';
import type { Hub } from './core/hub.ts';
import type { Resources } from './core/node.ts';
import type { RelayStatus } from './core/status.ts';
import type { Emcon } from './emcon.ts';
import type { StoredIdentity } from './identity/identity.ts';
import { Injector } from './inject.ts';
import type { Clock } from './lib/clock.ts';
import { FatalError, LinkError } from './lib/errors.ts';
import type { Log } from './lib/log.ts';
import type { LogRing } from './lib/log-ring.ts';
import type { LinkEntry } from './links/runner.ts';
import type { Pairing } from './pairing.ts';
import type { PartnerDesk } from './partner-desk.ts';
import { phoneOffice } from './phone-desk.ts';
import type { PhoneDoors } from './phone-doors.ts';
import type { Recorder } from './recording/recorder.ts';
import type { AuditStore } from './store/audit.ts';
import type { Store } from './store/store.ts';
import { liveBundle, type MadeBundle } from './support.ts';
import { scanCot } from './wire/cot.ts';
import { asXml } from './wire/encode.ts';

/** Beside keys and state, in a folder only our user may enter. */
export const SOCKET_FILE = 'api.sock';
export const SETUP_CODE_FILE = 'setup-code';
/** Certificates of peers that came through the API. */
export const CERTIFICATES_FOLDER = 'peers';

/** Of each, in a support bundle. */
const BUNDLE_PEERS = 256;
const BUNDLE_AUDIT = 500;

export interface ServeParts {
  /** As it was when the relay started: where the API listens does not change while it runs. */
  readonly started: Config;
  readonly desk: ConfigDesk;
  readonly hub: Hub;
  readonly events: EventLog;
  readonly store: Store;
  readonly identity: StoredIdentity;
  readonly clock: Clock;
  readonly log: Log;
  readonly node: NodeApiDeps;
  readonly audit: AuditStore;
  readonly logRing: LogRing;
  readonly emcon: Emcon;
  readonly pairing: Pairing;
  readonly recorder: Recorder;
  readonly partners: PartnerDesk;
  readonly doors: PhoneDoors;
  readonly resources: Resources;
  readonly calls: FederationCalls;
  /** Radio silence began or ended. */
  onEmcon(): void;
  readonly doctor: DoctorRouteDeps;
  /** See RestartDeps. */
  readonly restart: (() => void) | undefined;
  readonly appliance: Appliance | undefined;
  /** What this box is called now, and its names and addresses. */
  name(): string;
  hosts(): readonly string[];
  /** As configured now. */
  links(): readonly LinkEntry[];
  snapshot(): RelayStatus;
  metrics(): string;
  /** Some of the API cannot be served now. */
  onTrouble(trouble: ServeTrouble): void;
}

/** Warning codes and words of what is not served; by kind of place. */
export interface ServeTrouble {
  readonly code: string;
  readonly words: string;
  readonly fix: string;
}

export class Serving {
  readonly accounts: Accounts;
  readonly #parts: ServeParts;
  readonly #addresses = new Map<ApiPlace['place']['kind'], string>();
  readonly #troubles = new Map<ApiPlace['place']['kind'], ServeTrouble>();
  readonly #pages: OpenPages;
  readonly #phones: PhoneOffice;
  readonly #server: ApiServer;
  /** Where phones enrol; undefined: nowhere. It serves nothing else. */
  readonly #enrolment: ApiServer | undefined;
  /** Aborted when the API ends, for what outlives the request that began it. */
  readonly #ending = new AbortController();

  constructor(parts: ServeParts) {
    const { started, store, clock } = parts;
    this.#parts = parts;
    this.accounts = new Accounts({
      memory: {
        get: (key) => store.get(key),
        set: (key, value) => store.set(key, value),
        flush: () => store.flush(),
      },
      clock,
      setupCode: new SetupCode(join(started.data, SETUP_CODE_FILE)),
    });
    this.#pages = new OpenPages(this.#page());
    this.#phones = phoneOffice({ ...parts, api: () => this.#places() });
    this.#server = this.#serverAt(this.#apiPlaces(), this.#routes());
    const { enroll } = started.api;
    if (enroll) {
      const place = { kind: 'enroll' as const, ...enroll, keys: () => parts.identity.server() };
      this.#enrolment = this.#serverAt([{ place, from: [] }], enrollRoutes(this.#phones));
    }
  }

  #serverAt(places: readonly ApiPlace[], routes: readonly Route[]): ApiServer {
    const { clock, log, hub, hosts } = this.#parts;
    return new ApiServer({
      places,
      routes,
      accounts: this.accounts,
      hosts: () => hosts().map((host) => host.toLowerCase()),
      secureAddress: () => this.secureAddress,
      clock,
      log,
      onDeed: (deed) => this.#noted(deed),
      tap: (listener) => hub.tap(listener),
      openPage: (socket, caller, opening) => this.#pages.open(socket, caller, opening),
      toXml: (envelope) => asXml(envelope).toString('utf8'),
      onListening: (kind, address) => {
        this.#addresses.set(kind, address);
        this.#troubles.delete(kind);
      },
      onTrouble: (kind, error) => this.#failed(kind, error),
    });
  }

  /** Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    void this.accounts.setupCode; // its file is there before anybody can be asked for it
    await Promise.all([this.#server.run(signal), this.#enrolment?.run(signal)]);
    this.#ending.abort();
    this.#pages.close();
  }

  /** `host:port` of plain HTTP; '' until it is served. */
  get plainAddress(): string {
    return this.#addresses.get('plain') ?? '';
  }

  /** `https://host:port`; '' when it is not served. */
  get secureAddress(): string {
    const address = this.#addresses.get('tls');
    return address ? `https://${address}` : '';
  }

  get counters(): ApiCounters {
    const [api, enrolment] = [this.#server.counters, this.#enrolment?.counters];
    if (!enrolment) return api;
    const refused: Record<string, number> = { ...api.refused };
    for (const [code, count] of Object.entries(enrolment.refused)) refused[code] = (refused[code] ?? 0) + count;
    return { ...api, requests: api.requests + enrolment.requests, refused };
  }

  get troubles(): readonly ServeTrouble[] {
    return [...this.#troubles.values()];
  }

  /** Where phones find this box's pages, with the ports as bound. */
  #places() {
    const { started } = this.#parts;
    const { listen, tls, enroll } = started.api;
    const bound = (kind: ApiPlace['place']['kind'], { port }: { readonly port: number }) =>
      Number(/:(\d+)$/.exec(this.#addresses.get(kind) ?? '')?.[1] ?? port);
    return {
      http: { host: listen.host, port: bound('plain', listen) },
      https: tls && { host: tls.host, port: bound('tls', tls) },
      enroll: enroll && bound('enroll', enroll),
      files: { tls: started.files.tls?.port, plain: started.files.listen?.port },
    };
  }

  #apiPlaces(): ApiPlace[] {
    const { started, identity } = this.#parts;
    const { listen, listenFrom, tls, tlsFrom } = started.api;
    const asksCertificate = () => this.#parts.partners.partners.count > 0;
    return [
      { place: { kind: 'plain', ...listen }, from: listenFrom },
      ...(tls
        ? [{ place: { kind: 'tls' as const, ...tls, keys: () => identity.server(), asksCertificate }, from: tlsFrom }]
        : []),
      { place: { kind: 'socket', path: join(started.data, SOCKET_FILE) }, from: [] },
    ];
  }

  #routes() {
    const { desk, snapshot, metrics, started, hub, clock, emcon, audit, logRing, restart } = this.#parts;
    const injector = new Injector(hub, clock);
    const config = {
      desk,
      restartNeeded: ({ config }: { readonly config: Config }) => restartNeeded(started, config),
    };
    const traffic: TrafficDeps = {
      inject: (xml) => injector.inject(xml),
      emcon: () => emcon.state,
      setEmcon: (silent, who) => {
        const state = emcon.set(silent, who);
        this.#parts.onEmcon();
        return state;
      },
    };
    const { recorder, name } = this.#parts;
    const recording = {
      name,
      recorder: () => recorder.status(),
      recorded: (sinceMs: number, untilMs: number) => recorder.read(sinceMs, untilMs),
    };
    const pairing = { pairing: this.#parts.pairing, clock, hosts: () => this.#parts.hosts() };
    const { identity, links } = this.#parts;
    const policy = { hub, clock, nodeId: identity.id, links, scan: scanCot };
    const federation = { ...config, snapshot, published: () => this.#published() };
    return [
      ...statusRoutes({ snapshot, metrics }),
      ...accessRoutes(this.accounts),
      ...linkRoutes({ ...config, links: () => snapshot().links }),
      ...configRoutes(config),
      ...pairingRoutes(pairing),
      ...this.#partnerRoutes(),
      ...this.#handoverRoutes(),
      ...importRoutes({ ...config, folder: join(started.data, CERTIFICATES_FOLDER) }),
      ...federateRoutes(federation),
      ...networkRoutes(federation),
      ...federationPages({ ...this.#page(), ...federation, ...pairing }),
      ...federationRoutes({ ...config, snapshot, folder: join(started.data, CERTIFICATES_FOLDER) }),
      ...trafficRoutes(traffic),
      ...this.#boxRoutes(),
      ...restartRoutes({ restart }),
      ...runningRoutes({ ...this.#page(), setEmcon: traffic.setEmcon, restart }),
      ...auditLogRoutes({ audit: (query) => audit.list(query), log: (after) => logRing.since(after) }),
      ...nodeRoutes(this.#node()),
      ...queueRoutes({ hub, clock }),
      ...doctorRoutes(this.#parts.doctor),
      ...bundleRoutes({ bundle: (signal) => this.#bundle(signal) }),
      ...doctorPageRoutes({ ...this.#page(), ...this.#parts.doctor, restart }),
      ...lookRoutes(this.#page(), this.#pages),
      ...steerRoutes({ ...this.#page(), ...config, accounts: this.accounts, links: () => snapshot().links }),
      ...phoneRoutes(this.#phones, { clock }),
      ...joinPages(this.#page(), this.#phones),
      ...phonePages(this.#page(), this.#phones),
      ...recordingRoutes(recording),
      ...recordingPages({ ...this.#page(), ...recording }),
      ...policyRoutes(policy),
      ...policyPages({ ...this.#page(), ...policy }),
    ];
  }

  /** What a box that was started from the card image can do, and no other. */
  #boxRoutes(): Route[] {
    const { appliance } = this.#parts;
    if (!appliance) return [];
    const deps = { ...this.#page(), appliance, signal: this.#ending.signal };
    return [...applianceRoutes(deps), ...boxPages(deps)];
  }

  async #bundle(signal: AbortSignal): Promise<MadeBundle> {
    const { desk, snapshot, events, audit, logRing, metrics, doctor, clock } = this.#parts;
    const status = snapshot();
    const busy = reportOf(status.now, false, []);
    return liveBundle(status.name, await desk.state(), {
      wallMs: clock.wallMs(),
      doctor: (await doctor.diagnose(undefined, true, signal).catch(() => undefined)) ?? busy,
      status: { ...status, peers: status.peers.slice(0, BUNDLE_PEERS) },
      events: events.since(0).events,
      audit: audit.list({ limit: BUNDLE_AUDIT }),
      log: logRing.since(0).lines.map(({ text }) => text),
      metrics: metrics(),
      secrets: [this.accounts.setupCode ?? ''],
    });
  }

  #published() {
    const { identity, desk } = this.#parts;
    return { nodeId: identity.id, leaf: identity.federation(), ca: identity.ca, hosts: desk.config.hosts };
  }

  #page(): PageDeps {
    const { hub, events, identity, clock, snapshot, logRing } = this.#parts;
    return {
      clock,
      charts: hub.history,
      snapshot,
      silent: () => this.#parts.emcon.state.silent,
      units: (limit) =>
        listUnits(hub, { search: '', limit, may: () => true }, { nowMs: clock.nowMs(), wallMs: clock.wallMs() }),
      events: (most) => events.since(0).events.slice(-most),
      log: () => logRing.since(0).lines,
      caPem: () => identity.ca.certPem,
      federationPem: () => identity.federation().certPem,
      secureAddress: () => this.secureAddress,
    };
  }

  #node(): NodeApiDeps {
    const { node, audit } = this.#parts;
    return {
      ...node,
      onPeerCalled: ({ who, address, peer, method, path, status }) =>
        audit.add({
          kind: 'request',
          who,
          from: address,
          action: 'Federation.PeerCalled',
          target: peer,
          outcome: String(status),
          detail: `${method} ${path}`,
        }),
    };
  }

  #partnerRoutes(): Route[] {
    const deps = this.#partnerDeps();
    const { hub, nodes, onPeerCalled } = this.#node();
    return [
      ...partnerRoutes(deps),
      ...partnerPages({ ...this.#page(), ...deps }),
      ...fleetPages({ ...this.#page(), hub, nodes, onPeerCalled }),
    ];
  }

  #partnerDeps(): PartnerRouteDeps {
    const { partners: desk, identity, snapshot, resources, node, audit, calls } = this.#parts;
    const note = (
      action: string,
      who: string,
      entry: { from: string; target: string; outcome: string; detail: string },
    ) => audit.add({ kind: 'request', who, action, ...entry });
    return {
      ...desk.forRoutes(),
      resources,
      about: snapshot,
      published: () => ({ serverPin: identity.ca.fingerprint, caPem: identity.ca.certPem, url: this.secureAddress }),
      takenNames: () => node.nodes.peers().map(({ name }) => name),
      onRemoteRequest: (peer, from, detail) =>
        note('Federation.RemoteRequest', peer, { from, target: PARTNERS_LINK, outcome: '200', detail }),
      onPeerCalled: ({ caller, peer, path, status, outcome }) => {
        calls.note(peer, 'out', outcome);
        note('Federation.PeerCalled', caller.name, {
          ...{ from: caller.address, target: peer, outcome: String(status), detail: `GET ${path}` },
        });
      },
    };
  }

  #handoverRoutes() {
    const { partners: desk, identity, clock, audit, calls } = this.#parts;
    const request = { kind: 'request' } as const;
    return handoverRoutes({
      partners: desk.partners,
      office: this.#phones,
      clock,
      nodeId: identity.id,
      caPem: identity.ca.certPem,
      sign: (bytes) => identity.sign(bytes),
      ask: async (target, wanted, { name: who, address: from }, signal) => {
        const answer = await desk.ask(target, wanted, signal);
        calls.note(target, 'out', outcomeOf(answer));
        const [outcome, detail] = [String(answer.status), `${wanted.method} ${wanted.path}`];
        audit.add({ ...request, who, from, action: 'Federation.PeerCalled', target, outcome, detail });
        return answer;
      },
      onAdopted: (peer, from, detail) => {
        const asked = { ...request, who: peer, from, action: 'Federation.RemoteRequest', target: PARTNERS_LINK };
        audit.add({ ...asked, outcome: '200', detail: `POST ${HANDOVER_PATH}` });
        audit.add({ kind: 'change', who: peer, from, action: 'phone_adopted', target: peer, outcome: 'ok', detail });
      },
    });
  }

  #noted({ caller, address, method, path, code, note }: Deed): void {
    this.#parts.audit.add({
      kind: code === '' ? 'change' : 'refused',
      who: caller?.name ?? 'anybody',
      from: address,
      action: `${method} ${path}`,
      target: '',
      outcome: code || 'ok',
      detail: note,
    });
  }

  #failed(kind: ApiPlace['place']['kind'], error: Error): void {
    const known = error instanceof LinkError || error instanceof FatalError;
    const trouble = { code: known ? error.code : 'internal_error', words: error.message, fix: known ? error.fix : '' };
    if (isDeepStrictEqual(this.#troubles.get(kind), trouble)) return;
    this.#troubles.set(kind, trouble);
    this.#parts.log.warn({ ...trouble, place: kind }, 'the API is not served here');
    this.#parts.onTrouble(trouble);
  }
}

/** Keys of the configuration that a running relay does not take over. */
export function restartNeeded(started: Config, config: Config): string[] {
  const same = (pick: (one: Config) => unknown) => isDeepStrictEqual(pick(started), pick(config));
  return [
    ...(same(({ api }) => api) ? [] : ['api']),
    ...(same(({ data }) => data) ? [] : ['data']),
    ...(same(({ files }) => files) ? [] : ['files']),
  ];
}
