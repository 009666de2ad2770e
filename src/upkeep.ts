// What the relay does now and then, beside relaying: certificates renewed, the clock daemon told of peers' clocks, and kept for the
// next start what lines have cost and who is where. Part of the composition root.
import type { Nodes } from './api/nodes.ts';
import { type DayTraffic, TRAFFIC_SAMPLE_MS } from './core/day-traffic.ts';
import type { Hub } from './core/hub.ts';
import type { StoredIdentity } from './identity/identity.ts';
import { sleep } from './lib/abort.ts';
import type { Clock } from './lib/clock.ts';
import type { Log } from './lib/log.ts';
import { tellPeerClock } from './peer-clock.ts';
import type { Store } from './store/store.ts';
import { keepTraffic, keepUsage, TRAFFIC_EVERY_MS, USAGE_EVERY_MS } from './store/usage.ts';

/** How often certificates are looked at. */
const RENEW_MS = 6 * 3_600_000;
/** How often who is where is saved, when it changed. */
const LAST_WAYS_MS = 120_000;
export const LAST_WAYS_KEY = 'core/last-ways';

export interface UpkeepParts {
  readonly hub: Hub;
  readonly store: Store;
  readonly identity: StoredIdentity;
  readonly clock: Clock;
  readonly log: Log;
  readonly traffic: DayTraffic;
  /** See PeerClockParts. */
  readonly nodes: Pick<Nodes, 'peers'>;
  readonly clockFd?: number | undefined;
}

/** Until aborted. Never rejects. */
export async function keepUp(parts: UpkeepParts, signal: AbortSignal): Promise<void> {
  const { hub, store, identity, clock, log, traffic, nodes, clockFd } = parts;
  const renew = () => {
    for (const what of identity.renewDue(clock.wallMs())) log.info({ what }, 'certificate renewed');
  };
  renew();
  await Promise.all([
    tellPeerClock({ clock, log, fd: clockFd, peers: () => nodes.peers() }, signal),
    every(RENEW_MS, () => signal.aborted || renew(), signal),
    every(USAGE_EVERY_MS, () => keepUsage(store, hub.budgets(), signal.aborted ? 'last' : 'underway'), signal),
    every(TRAFFIC_SAMPLE_MS, () => traffic.sample(hub.peers(), clock.wallMs()), signal),
    every(TRAFFIC_EVERY_MS, () => keepTraffic(store, [...hub.budgets().keys()], traffic, clock.wallMs()), signal),
    every(
      LAST_WAYS_MS,
      () => {
        const changed = hub.lastWays.save();
        if (changed !== undefined) store.set(LAST_WAYS_KEY, changed);
      },
      signal,
    ),
  ]);
}

/** Also once more at the end: nothing of the last stretch is lost by an orderly stop. */
async function every(ms: number, task: () => unknown, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await sleep(ms, signal);
    task();
  }
}
