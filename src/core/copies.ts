// Which messages came before, by this or another path. What must not be told twice (alerts, chat, markers, missions) is
// remembered over restarts too, where there is a disk.
import { type Inbound, MARKER } from './message.ts';
import type { OutboxDisk } from './outbox-disk.ts';
import type { Peer } from './peer.ts';
import { laneOf } from './policy.ts';
import { LASTING_LIMITS, randomSeeds, Seen, type SeenLimits } from './seen.ts';

export class Copies {
  readonly #passing: Seen;
  readonly #lasting: Seen;
  readonly #disk: OutboxDisk | undefined;

  constructor(limits: SeenLimits, disk: OutboxDisk | undefined) {
    this.#passing = new Seen(limits);
    this.#disk = disk;
    this.#lasting = lastingSeen(disk);
  }

  /** Whether it came before, in that network; from now on it has. What has neither uid and time nor a digest never did. */
  check(peer: Peer, inbound: Inbound, nowMs: number, salt = peer.policy.border?.salt ?? 0): boolean {
    const { message, wire, digest } = inbound;
    if (message.kind !== 'event' && digest === undefined) return false;
    const lasts = laneOf(message) <= MARKER;
    const seen = lasts ? this.#lasting : this.#passing;
    const isCopy =
      message.kind === 'event'
        ? seen.check(message.event, peer.number, wire?.bytes.length ?? 0, nowMs, salt)
        : seen.checkDigest(digest!, nowMs, salt);
    if (!isCopy && lasts && peer.spec.durable) this.#disk?.remember(seen.last!);
    return isCopy;
  }
}

/** With what was noted before the restart. */
function lastingSeen(disk: OutboxDisk | undefined): Seen {
  const seeds = disk?.found.seeds ?? randomSeeds();
  if (!disk?.found.seeds) disk?.setSeeds(seeds);
  const seen = new Seen(LASTING_LIMITS, seeds);
  for (const sighting of disk?.found.sightings ?? []) seen.restore(sighting);
  return seen;
}
