// The last quarter of an hour of each peer, for rates and small charts: counters sampled every ten seconds, a ring per peer.
import type { Peer } from './peer.ts';

export const SAMPLE_MS = 10_000;
/** Samples kept: fifteen minutes. */
export const SAMPLES = 90;
/** Peers followed at once; those that came first stay. */
export const MAX_FOLLOWED = 256;
/** What a rate is the mean of. */
const RATE_SAMPLES = 6;

/** Events per second. */
export interface Rates {
  readonly in: number;
  readonly out: number;
}

interface Track {
  /** Totals at the last sample. */
  received: number;
  sent: number;
  /** Events of each ten seconds, the newest last. */
  readonly ins: number[];
  readonly outs: number[];
}

export const NO_RATES: Rates = { in: 0, out: 0 };

export class History {
  readonly #tracks = new Map<string, Track>();

  /** Call every SAMPLE_MS with the peers there are; those that are gone are forgotten. */
  sample(peers: readonly Peer[]): void {
    const keys = new Set(peers.map(({ spec }) => spec.key));
    for (const key of this.#tracks.keys()) if (!keys.has(key)) this.#tracks.delete(key);
    for (const peer of peers) this.#follow(peer);
  }

  /** Mean over the last minute. */
  rates(key: string): Rates {
    const track = this.#tracks.get(key);
    return track ? { in: rate(track.ins), out: rate(track.outs) } : NO_RATES;
  }

  /** Events in and out together, per ten seconds, the newest last; at most SAMPLES. */
  chart(key: string): readonly number[] {
    const track = this.#tracks.get(key);
    return track ? track.ins.map((count, at) => count + track.outs[at]!) : [];
  }

  #follow(peer: Peer): void {
    const { key } = peer.spec;
    const received = peer.received.events;
    const sent = peer.lanes.reduce((sum, lane) => sum + lane.sent, 0);
    const track = this.#tracks.get(key);
    if (!track) {
      if (this.#tracks.size < MAX_FOLLOWED) this.#tracks.set(key, { received, sent, ins: [], outs: [] });
      return;
    }
    // What was sent may be taken back when a connection ends.
    push(track.ins, Math.max(0, received - track.received));
    push(track.outs, Math.max(0, sent - track.sent));
    track.received = received;
    track.sent = sent;
  }
}

function push(ring: number[], count: number): void {
  ring.push(count);
  if (ring.length > SAMPLES) ring.shift();
}

function rate(counts: readonly number[]): number {
  const last = counts.slice(-RATE_SAMPLES);
  if (last.length === 0) return 0;
  return (last.reduce((sum, count) => sum + count, 0) / last.length / SAMPLE_MS) * 1000;
}
