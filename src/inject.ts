// Events put in through the API: taken in as from a phone of this box. Part of the composition root.
import type { Injected } from './api/routes/traffic.ts';
import type { Hub } from './core/hub.ts';
import { DEFAULT_POLICY } from './core/policy.ts';
import type { DropReason } from './core/reason.ts';
import type { SessionPort } from './core/session.ts';
import type { Clock } from './lib/clock.ts';
import { ProtocolError } from './lib/errors.ts';
import { scanCot } from './wire/cot.ts';

const LINK = 'api';
/** Units that came this way are there as long as events come, and so much longer: as with a phone that went out of reach. */
const IDLE_MS = 10 * 60_000;

export class Injector {
  readonly #hub: Hub;
  readonly #clock: Clock;
  #port: SessionPort | undefined;
  #cancel = () => {};

  constructor(hub: Hub, clock: Clock) {
    this.#hub = hub;
    this.#clock = clock;
  }

  inject(xml: Buffer): Injected {
    let event: ReturnType<typeof scanCot>;
    try {
      event = scanCot(xml);
    } catch (error) {
      if (error instanceof ProtocolError) return { malformed: error.message };
      throw error;
    }
    const port = this.#attached();
    const before = this.#refusals();
    port.deliver({ message: { kind: 'event', event }, wire: { format: 'xml', bytes: xml }, size: xml.length });
    const after = this.#refusals();
    const refused = Object.keys(after).find((reason) => after[reason as DropReason] !== before[reason as DropReason]);
    return { uid: event.uid, type: event.type, refused: refused as DropReason | undefined };
  }

  #attached(): SessionPort {
    this.#cancel();
    this.#cancel = this.#clock.after(IDLE_MS, () => this.#end());
    if (this.#port) return this.#port;
    // Nothing goes out this way: programs watch the WebSocket.
    this.#hub.setPolicy(LINK, { ...DEFAULT_POLICY, out: false });
    const spec = { key: LINK, link: LINK, kind: LINK, name: 'API', durable: false, graceMs: 0 };
    this.#port = this.#hub.attach(spec, {
      identity: { id: LINK, name: 'API', proof: 'secret' },
      address: '',
      federated: false,
      carries: () => false,
      send: () => false,
      close: () => this.#end(),
    });
    return this.#port;
  }

  #refusals(): Readonly<Partial<Record<DropReason, number>>> {
    const peer = this.#hub.peers().find(({ spec }) => spec.key === LINK);
    return { ...peer?.refused };
  }

  #end(): void {
    const port = this.#port;
    this.#port = undefined;
    this.#cancel();
    port?.closed('shutdown');
  }
}
