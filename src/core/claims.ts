// Two who say that they are the same unit. That somebody comes by another peer than before is no news: phones reconnect, and are on
// a mesh as well. When the first speaks again after the second has, both are there, and one is not who he says.
import type { CotEvent, Envelope } from './message.ts';
import type { Peer } from './peer.ts';

const MAX_MOVES = 1_024;
export const MAX_CLAIMS = 64;

/** Units that went from one place to another, to find those that go back. */
export class Moves {
  /** The move last seen of each unit, the oldest first. */
  readonly #last = new Map<string, string>();

  /** True when it was seen to go from `to` to `from` before. */
  isBack(uid: string, from: string, to: string): boolean {
    const back = this.#last.get(uid) === `${to}\n${from}`;
    this.#last.delete(uid);
    this.#last.set(uid, `${from}\n${to}`);
    if (this.#last.size > MAX_MOVES) this.#last.delete(this.#last.keys().next().value!);
    return back;
  }
}

export interface Claim {
  readonly uid: string;
  /** Keys of the peers: who is written to under that uid, and the other. */
  readonly holder: string;
  readonly rival: string;
  /** What each calls himself. */
  readonly callsigns: readonly [holder: string, rival: string];
}

export class Claims {
  readonly #moves = new Moves();
  readonly #claims = new Map<string, Claim>();

  /**
   * A unit whose first way was `before` spoke by `now`. `holds`: false when it is contested, and another keeps the name and what is
   * written to it. `claim`: it is contested from now on.
   */
  spoke(
    { uid, callsign }: CotEvent,
    before: { readonly peer: Peer; readonly callsign: string },
    now: Peer,
  ): { readonly holds: boolean; readonly claim?: Claim } {
    const known = this.#claims.get(uid);
    if (known) return { holds: known.rival !== now.spec.key };
    if (!areTwo(before.peer, now, before.callsign === callsign)) return { holds: true };
    if (!this.#moves.isBack(uid, before.peer.spec.key, now.spec.key)) return { holds: true };
    if (this.#claims.size >= MAX_CLAIMS) return { holds: true };
    // The earlier one, unless only the later can prove who he is.
    const holds = isProven(now) || !isProven(before.peer);
    const [mine, others] = [now.spec.key, before.peer.spec.key];
    const claim: Claim = holds
      ? { uid, holder: mine, rival: others, callsigns: [callsign, before.callsign] }
      : { uid, holder: others, rival: mine, callsigns: [before.callsign, callsign] };
    this.#claims.set(uid, claim);
    return { holds, claim };
  }

  /** A peer is gone, and what was contested with it. */
  left(key: string): void {
    for (const [uid, { holder, rival }] of this.#claims) {
      if (holder === key || rival === key) this.#claims.delete(uid);
    }
  }

  list(): readonly Claim[] {
    return [...this.#claims.values()];
  }
}

/** Whether a unit says itself by which peer it comes: not what servers and relays pass on, which have many ways. */
export function isFirstHand({ provenance }: Envelope, { spec }: Peer): boolean {
  return provenance.length === 0 && !spec.durable;
}

/** Not one device with two connections, or on a mesh and connected. */
function areTwo(a: Peer, b: Peer, alike: boolean): boolean {
  if (!a.session || !b.session || a.spec.durable) return false;
  if ((a.spec.kind === 'mesh' || b.spec.kind === 'mesh') && alike) return false;
  return !(isProven(a) && isProven(b)) || a.session.identity.id !== b.session.identity.id;
}

function isProven({ session }: Peer): boolean {
  return session?.identity.proof === 'certificate';
}
