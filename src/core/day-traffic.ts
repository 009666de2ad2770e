// Bytes of the day by link, in and out, whatever they cost. Looked at now and then, so nothing is done per message. What a budget
// allows is counted as it is spent (budget.ts).
import { DAY_MS } from './budget.ts';
import type { Peer } from './peer.ts';

/** How often to look. */
export const TRAFFIC_SAMPLE_MS = 10_000;

/** Of one day, counted from the epoch, UTC. */
export interface Traffic {
  readonly day: number;
  readonly inBytes: number;
  readonly outBytes: number;
}

/** What was seen of a peer at the last look. */
interface Seen {
  readonly inBytes: number;
  readonly outBytes: number;
}

type Seeable = Pick<Peer, 'sentBytes' | 'received'> & { readonly spec: Pick<Peer['spec'], 'key' | 'link'> };

export class DayTraffic {
  readonly #links = new Map<string, Traffic>();
  #seen: ReadonlyMap<string, Seen> = new Map();

  sample(peers: readonly Seeable[], wallMs: number): void {
    const day = dayOf(wallMs);
    const seen = new Map<string, Seen>();
    for (const { spec, sentBytes, received } of peers) {
      const now = { inBytes: received.bytes, outBytes: sentBytes };
      seen.set(spec.key, now);
      const before = this.#seen.get(spec.key);
      this.#add(spec.link, {
        day,
        inBytes: Math.max(0, now.inBytes - (before?.inBytes ?? 0)),
        outBytes: Math.max(0, now.outBytes - (before?.outBytes ?? 0)),
      });
    }
    this.#seen = seen;
  }

  /** What a link carried before this relay started. */
  restore(link: string, traffic: Traffic): void {
    this.#links.set(link, traffic);
  }

  /** What a link has carried today; undefined: nothing that is known of. */
  today(link: string, wallMs: number): Traffic | undefined {
    const traffic = this.#links.get(link);
    return traffic?.day === dayOf(wallMs) ? traffic : undefined;
  }

  #add(link: string, more: Traffic): void {
    const before = this.#links.get(link);
    const same = before?.day === more.day ? before : undefined;
    this.#links.set(link, {
      day: more.day,
      inBytes: (same?.inBytes ?? 0) + more.inBytes,
      outBytes: (same?.outBytes ?? 0) + more.outBytes,
    });
  }
}

function dayOf(wallMs: number): number {
  return Math.floor(wallMs / DAY_MS);
}
