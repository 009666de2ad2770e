// The link's end of the seam: one port per session, deaf once it has closed.
import type { Envelope, Inbound } from './message.ts';
import { paceOf } from './pace.ts';
import type { Peer } from './peer.ts';
import { type CloseReason, countDrop, type DropReason } from './reason.ts';
import type { Pace, Returned, Session, SessionPort } from './session.ts';

/** What a port passes on to the hub. */
export interface PortHub {
  deliver(peer: Peer, inbound: Inbound): void;
  safely(done: () => void): void;
  tellsAnew(peer: Peer): void;
  ended(
    peer: Peer,
    session: Session,
    reason: CloseReason,
    cause: Error | undefined,
    returned: Returned | undefined,
  ): void;
}

export class HubSessionPort implements SessionPort {
  readonly #hub: PortHub;
  readonly #peer: Peer;
  readonly #session: Session;
  #open = true;

  constructor(hub: PortHub, peer: Peer, session: Session) {
    this.#hub = hub;
    this.#peer = peer;
    this.#session = session;
  }

  deliver(inbound: Inbound): void {
    if (this.#current()) this.#hub.deliver(this.#peer, inbound);
  }

  refused(reason: DropReason, size: number): void {
    if (!this.#current()) return;
    this.#peer.received.events++;
    this.#peer.received.bytes += size;
    countDrop(this.#peer.refused, reason);
  }

  undeliverable(reason: DropReason, envelope: Envelope): void {
    if (this.#open) this.#peer.undeliverable(envelope, reason);
  }

  safely(done: () => void): void {
    this.#hub.safely(done);
  }

  writable(): void {
    if (this.#current()) this.#peer.writable();
  }

  arrived(envelope: Envelope): void {
    if (this.#open) this.#peer.arrived(envelope);
  }

  pace(): Pace {
    return this.#peer.pace();
  }

  rtt(ms: number): void {
    if (this.#current()) this.#peer.rttMs = ms;
  }

  named(name: string): void {
    if (this.#current()) this.#peer.saidName = name;
  }

  tellsAnew(): void {
    if (this.#current()) this.#hub.tellsAnew(this.#peer);
  }

  groups(names: readonly string[]): void {
    if (this.#current()) this.#peer.saidGroups = names;
  }

  closed(reason: CloseReason, cause?: Error, returned?: Returned): void {
    if (!this.#open) return;
    this.#open = false;
    this.#hub.ended(this.#peer, this.#session, reason, cause, returned);
  }

  /** Not one that was replaced, or whose peer was dismissed, and that is slow to close: nobody listens to it any more. */
  #current(): boolean {
    return this.#open && this.#peer.session === this.#session;
  }
}

/** For a session that was turned away: nothing it does counts. */
export const CLOSED_PORT: SessionPort = {
  deliver() {},
  refused() {},
  undeliverable() {},
  safely(done) {
    done();
  },
  writable() {},
  arrived() {},
  pace: () => paceOf(undefined),
  rtt() {},
  named() {},
  tellsAnew() {},
  groups() {},
  closed() {},
};
