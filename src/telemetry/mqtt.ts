// Tells an MQTT broker how this box does. Never a condition of running: a broker that is away, lies or hangs costs a warning on
// the status page. At most one round is unacknowledged: to a broker that does not answer nothing more is said.
import { isDeepStrictEqual } from 'node:util';
import type { EventLog } from '../core/events.ts';
import type { RelayStatus, Warning } from '../core/status.ts';
import { aborted, childController, onAbort, sleep } from '../lib/abort.ts';
import type { Clock } from '../lib/clock.ts';
import { FatalError, LinkError } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import { supervise } from '../lib/supervise.ts';
import type { LinkContext } from '../links/link.ts';
import { type Broker, connectBroker } from '../links/mqtt/broker.ts';
import type { BrokerSettings } from '../links/mqtt/broker-config.ts';
import { discoveryPayload } from './discovery.ts';
import { linkState, relayState } from './state.ts';

export interface TelemetrySettings {
  readonly broker: BrokerSettings;
  /** Topics begin with this. */
  readonly topic: string;
  readonly intervalMs: number;
  /** Prefix under which Home Assistant looks; undefined: it is told nothing. */
  readonly discovery: string | undefined;
}

export interface TelemetryDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly events: EventLog;
  snapshot(): RelayStatus;
  /** Surroundings of a connection, as of a link. */
  contextFor(signal: AbortSignal, warn: (trouble: Warning) => () => void): LinkContext;
}

/** Changes are told this long after they happened, with all that happened meanwhile. */
const GATHER_MS = 1_000;
/** A round that the broker does not acknowledge for so long: it lies. */
const ACK_MS = 60_000;
/** What was not told again for so many intervals is not known any more. */
const LIVES = 3;
/** For the last word, and a broker's acknowledgement of it. */
const GOODBYE_MS = 1_000;
/** A broker has nothing to say to us: its acknowledgements are small. */
const MAX_PACKET_BYTES = 16_384;
/** Things that happen and change what was told. */
const NEWS: ReadonlySet<string> = new Set(['link_state', 'peer_up', 'peer_down', 'warning', 'config_applied']);

export class MqttTelemetry {
  readonly #deps: TelemetryDeps;
  #settings: TelemetrySettings | undefined;
  #stop = () => {};
  #trouble: Warning | undefined;
  readonly #said = new Set<Warning>();

  constructor(deps: TelemetryDeps) {
    this.#deps = deps;
  }

  /** Makes this the broker to tell; undefined: none. Returns at once. */
  apply(settings: TelemetrySettings | undefined): void {
    if (isDeepStrictEqual(settings, this.#settings) && !this.#trouble) return;
    this.#settings = settings;
    this.#stop();
  }

  get warnings(): readonly Warning[] {
    return [...(this.#trouble ? [this.#trouble] : []), ...this.#said];
  }

  /** Resolves after abort. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const { controller, release } = childController(signal);
      this.#stop = () => controller.abort();
      if (this.#settings) await this.#keepTelling(this.#settings, controller.signal);
      await aborted(controller.signal);
      release();
      this.#trouble = undefined;
    }
  }

  async #keepTelling(settings: TelemetrySettings, signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#deps;
    const onFailure = (error: Error) => {
      this.#trouble = warningOf(error);
    };
    try {
      await supervise((inner) => this.#tell(settings, inner), { signal, clock, log, onFailure });
    } catch (error) {
      log.error({ reason: (error as FatalError).message }, 'telemetry failed for good');
      onFailure(error as FatalError);
    }
  }

  /** One connection. */
  async #tell(settings: TelemetrySettings, signal: AbortSignal): Promise<void> {
    const context = this.#deps.contextFor(signal, (trouble) => {
      this.#said.add(trouble);
      return () => this.#said.delete(trouble);
    });
    try {
      const teller = new Teller(settings, this.#deps, context);
      await teller.run(() => {
        this.#trouble = undefined;
      });
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      this.#said.clear();
    }
  }
}

class Teller {
  readonly #settings: TelemetrySettings;
  readonly #deps: TelemetryDeps;
  readonly #context: LinkContext;
  readonly #base: string;
  #broker!: Broker;
  /** Publications that the broker has not acknowledged, and since when there have been any. */
  #unacknowledged = 0;
  #sinceMs = 0;
  /** State of every link as it was told last. */
  #told = new Map<string, string>();
  #described: readonly string[] | undefined;

  constructor(settings: TelemetrySettings, deps: TelemetryDeps, context: LinkContext) {
    this.#settings = settings;
    this.#deps = deps;
    this.#context = context;
    this.#base = `${settings.topic}/${context.node.id}`;
  }

  /** Resolves after abort; rejects when the connection ends or the broker does not do its part. */
  async run(onUp: () => void): Promise<void> {
    const { signal } = this.#context;
    const { broker } = this.#settings;
    this.#broker = await connectBroker(
      broker,
      {
        clientId: broker.clientId ?? `waystation-${this.#context.node.id}`.slice(0, 64),
        will: { topic: this.#availability, payload: 'offline' },
        keepSessionSeconds: 0,
        maxPacketBytes: MAX_PACKET_BYTES,
        onPublication: (_, acknowledge) => acknowledge(),
      },
      this.#context,
    );
    onUp();
    const wake = new Waker();
    const quiet = this.#deps.events.subscribe(({ event }) => NEWS.has(event.type) && wake.now());
    const release = onAbort(signal, () => wake.now());
    try {
      await Promise.race([this.#rounds(wake, signal), this.#loss()]);
      await this.#goodbye();
    } finally {
      quiet();
      release();
      this.#broker.end();
      await this.#broker.closed;
    }
  }

  get #availability(): string {
    return `${this.#base}/availability`;
  }

  async #loss(): Promise<never> {
    throw (await this.#broker.closed) ?? new LinkError('ended', `${this.#broker.where}: the connection ended`, '');
  }

  /** Everything every interval, what changed soon after it did. */
  async #rounds(wake: Waker, signal: AbortSignal): Promise<void> {
    let dueMs = 0;
    while (!signal.aborted) {
      const nowMs = this.#deps.clock.nowMs();
      this.#checkAnswers(nowMs);
      if (this.#unacknowledged === 0) {
        const all = nowMs >= dueMs;
        if (all) dueMs = nowMs + this.#settings.intervalMs;
        this.#round(all);
      }
      await sleep(GATHER_MS, signal);
      if (this.#unacknowledged === 0) await wake.wait(this.#settings.intervalMs - GATHER_MS, signal);
    }
  }

  /** @throws LinkError */
  #checkAnswers(nowMs: number): void {
    if (this.#unacknowledged === 0 || nowMs - this.#sinceMs < ACK_MS) return;
    const words = `${this.#broker.where} does not acknowledge what it is told`;
    throw new LinkError('no_answer', words, 'Look at the broker’s log: it may be out of memory or disk.');
  }

  #round(all: boolean): void {
    const status = this.#deps.snapshot();
    const links = status.links.map(({ name }) => name);
    if (all) this.#say(this.#availability, 'online');
    if (!isDeepStrictEqual(links, this.#described)) this.#describe(status, links);
    this.#say(`${this.#base}/status`, JSON.stringify(relayState(status)));
    const told = new Map<string, string>();
    for (const link of status.links) {
      const state = linkState(link, status.peers);
      const gist = `${state.state} ${state.peers_connected}`;
      told.set(link.name, gist);
      if (all || this.#told.get(link.name) !== gist) this.#say(this.#linkTopic(link.name), JSON.stringify(state));
    }
    for (const gone of this.#told.keys()) if (!told.has(gone)) this.#say(this.#linkTopic(gone), '');
    this.#told = told;
  }

  #describe({ name, version }: RelayStatus, links: readonly string[]): void {
    const { discovery, intervalMs } = this.#settings;
    const { id } = this.#context.node;
    const goneLinks = (this.#described ?? []).filter((before) => !links.includes(before));
    this.#described = links;
    if (discovery === undefined) return;
    const payload = discoveryPayload({
      id,
      name,
      version,
      status: `${this.#base}/status`,
      availability: this.#availability,
      link: (link) => this.#linkTopic(link),
      links,
      goneLinks,
      expireAfterSeconds: Math.ceil((LIVES * intervalMs) / 1000),
    });
    this.#say(`${discovery}/device/${id.replace(/[^a-zA-Z0-9_-]/g, '_')}/config`, JSON.stringify(payload));
  }

  #linkTopic(name: string): string {
    return `${this.#base}/link/${name}`;
  }

  /** Retained: whoever comes later knows at once. */
  #say(topic: string, payload: string): void {
    if (this.#unacknowledged++ === 0) this.#sinceMs = this.#deps.clock.nowMs();
    const { qos, retain } = this.#broker.allowed;
    this.#broker.publish(topic, payload, { qos, retain }, (error) => {
      this.#unacknowledged--;
      if (error?.code === undefined) return;
      const words = `${this.#broker.where} does not take ${topic}: ${error.message}`;
      const fix = 'Let this client write there in the broker’s access list, or choose another telemetry.mqtt.topic.';
      this.#broker.destroy(new LinkError('publish_refused', words, fix));
    });
  }

  async #goodbye(): Promise<void> {
    if (!this.#broker.isOpen) return;
    this.#say(this.#availability, 'offline');
    const deadlineMs = this.#deps.clock.nowMs() + GOODBYE_MS;
    const never = new AbortController().signal;
    while (this.#unacknowledged > 0 && this.#broker.isOpen && this.#deps.clock.nowMs() < deadlineMs) {
      await sleep(10, never);
    }
  }
}

/** A pause that ends early when something happens, also when it happened before the pause. */
class Waker {
  #isDue = false;
  #wake = () => {};

  now(): void {
    this.#isDue = true;
    this.#wake();
  }

  async wait(ms: number, signal: AbortSignal): Promise<void> {
    if (!this.#isDue && !signal.aborted) {
      const { controller, release } = childController(signal);
      this.#wake = () => controller.abort();
      await sleep(ms, controller.signal);
      release();
    }
    this.#wake = () => {};
    this.#isDue = false;
  }
}

function warningOf(error: Error): Warning {
  const known = error instanceof LinkError || error instanceof FatalError;
  return {
    code: `telemetry_${known ? error.code : 'failed'}`,
    words: `MQTT telemetry: ${error.message}`,
    fix: known ? error.fix : 'The log has the details.',
  };
}
