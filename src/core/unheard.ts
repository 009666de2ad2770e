// Contacts behind a peer that restarted, or lost what it had told: it tells anew who is there, and whom it does not name again
// in time left while nobody listened.

/** From a connection on. Whoever stands behind a peer that restarted has up to a minute to come back to it; a thin line needs longer to tell. */
export const RETELL_MS = 5 * 60_000;

export class Unheard {
  /** Uids by the key of the peer. */
  readonly #uids = new Map<string, Set<string>>();

  /** The peer will tell anew; so far it has named nobody. */
  begin(peer: string, uids: Iterable<string>): void {
    const waiting = new Set(uids);
    if (waiting.size > 0) this.#uids.set(peer, waiting);
    else this.#uids.delete(peer);
  }

  waitsFor(peer: string): boolean {
    return this.#uids.has(peer);
  }

  heard(peer: string, uid: string): void {
    if (this.#uids.size > 0) this.#uids.get(peer)?.delete(uid);
  }

  /** The time is up. Returns those it did not name. */
  end(peer: string): Iterable<string> {
    const left = this.#uids.get(peer) ?? [];
    this.#uids.delete(peer);
    return left;
  }
}
