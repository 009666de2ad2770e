// What a client of a TAK server says and answers: credentials, its own position, pings, the change to TAK protocol 1.
import type { CotEvent } from '../../core/message.ts';
import { authXml, pingXml, takpRequestXml } from '../../wire/cot-write.ts';
import type { LinkContext } from '../link.ts';
import type { CotConfig } from './config.ts';
import { takpAccepted, takpVersions } from './control.ts';
import { PING_MS, TAKP_ANSWER_MS } from './limits.ts';
import { PROFILES, type Profile } from './profiles.ts';
import type { CotSession, Role } from './session.ts';

/** Who the client is on one connection. */
export interface Self {
  readonly uid: string;
  readonly callsign: string;
  /** Its position as it is said now, XML. */
  position(): Buffer;
  /** It is said again after this long; undefined: whoever it is says it himself. */
  readonly repeatMs?: number | undefined;
  /** The hub knows of the connection. */
  attached(): void;
}

export class ClientRole implements Role {
  readonly #session: CotSession;
  readonly #config: CotConfig;
  readonly #profile: Profile;
  readonly #context: LinkContext;
  readonly #self: Self;
  #takp: 'none' | 'awaiting offer' | 'asked' | 'settled' = 'none';
  #cancelTakp = () => {};
  #cancelPosition = () => {};
  /** Monotonic time of the ping that is not answered yet. */
  #pingedMs: number | undefined;

  constructor(session: CotSession, config: CotConfig, self: Self, context: LinkContext) {
    this.#session = session;
    this.#config = config;
    this.#profile = PROFILES[config.profile];
    this.#context = context;
    this.#self = self;
  }

  /** Our own position comes before anybody's: servers bind the connection to the first contact they see on it. */
  begin(): void {
    const { auth, takProtocol } = this.#config;
    const { uid, callsign } = this.#self;
    if (auth) this.#session.say(authXml({ ...auth, uid, callsign }), 'last');
    this.#sayPosition();
    if (takProtocol && this.#profile.offerWaitMs > 0) this.#awaitOffer(this.#profile.offerWaitMs);
    this.#session.attach();
    this.#self.attached();
  }

  /** Servers have no business sending credentials. */
  auth(): void {}

  control(event: CotEvent, frame: Buffer): void {
    if (event.type === 't-x-takp-v') return this.#offered(event.uid, takpVersions(frame));
    if (event.type === 't-x-takp-r') return this.#answered(takpAccepted(frame));
    // The pong, or our ping sent back (OpenTAKServer). A ping of the server's own is not answered: it is no client.
    if (this.#pingedMs === undefined || !event.type.startsWith('t-x-c-t')) return;
    this.#session.rtt(this.#context.clock.nowMs() - this.#pingedMs);
    this.#pingedMs = undefined;
  }

  admits(): boolean {
    return true;
  }

  silent(silentMs: number): number {
    if (silentMs >= PING_MS && this.#takp !== 'asked') {
      this.#pingedMs ??= this.#context.clock.nowMs();
      this.#session.say(pingXml(this.#self.uid, this.#context.clock.wallMs()), 'first');
    }
    return (Math.floor(silentMs / PING_MS) + 1) * PING_MS;
  }

  end(): void {
    this.#cancelTakp();
    this.#cancelPosition();
  }

  #sayPosition(): void {
    if (this.#takp !== 'asked') this.#session.say(this.#self.position(), 'last');
    const { repeatMs } = this.#self;
    if (repeatMs) this.#cancelPosition = this.#context.clock.after(repeatMs, () => this.#sayPosition());
  }

  #awaitOffer(waitMs: number): void {
    this.#takp = 'awaiting offer';
    this.#session.hold();
    this.#cancelTakp = this.#context.clock.after(waitMs, () => this.#stayWithXml());
  }

  /** Having asked, a client says nothing until it is answered: what it says may already be read as protobuf. */
  #offered(uid: string, versions: readonly number[]): void {
    const willing = this.#config.takProtocol && this.#profile.negotiates && versions.includes(1);
    if (!willing || this.#takp === 'asked' || this.#takp === 'settled') return;
    this.#cancelTakp();
    this.#session.say(takpRequestXml(uid, 1, this.#context.clock.wallMs()), 'last');
    this.#session.hold();
    this.#takp = 'asked';
    this.#cancelTakp = this.#context.clock.after(TAKP_ANSWER_MS, () => this.#stayWithXml());
  }

  #answered(agreed: boolean): void {
    if (this.#takp !== 'asked') return;
    if (!agreed) return this.#stayWithXml();
    this.#settle();
    this.#session.speakTak();
    this.#session.release();
  }

  /** No offer, no agreement or no answer. ATAK reconnects when it is not answered; going on costs nobody anything. */
  #stayWithXml(): void {
    this.#settle();
    this.#session.release();
  }

  #settle(): void {
    this.#cancelTakp();
    this.#takp = 'settled';
  }
}
