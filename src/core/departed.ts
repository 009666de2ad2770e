// What peers of a link did that are no longer there: the sums stay right when clients come and go.
import { LANES, type Lane } from './message.ts';
import type { LaneCounters, Peer } from './peer.ts';
import { countDrop, type DropCounts, type DropReason } from './reason.ts';

/** Sums of what peers of a link, in one network, did that are no longer there: offered is sent and dropped together. */
export class Departed {
  readonly link: string;
  /** Which of the box's networks they were in. */
  readonly network: string;
  peers = 0;
  readonly received = { events: 0, bytes: 0 };
  readonly refused: DropCounts = {};
  readonly lanes: readonly LaneCounters[] = LANES.map(() => ({ received: 0, offered: 0, sent: 0, dropped: {} }));

  constructor(link: string, network: string) {
    this.link = link;
    this.network = network;
  }

  add(peer: Peer): void {
    this.peers++;
    this.received.events += peer.received.events;
    this.received.bytes += peer.received.bytes;
    addDrops(this.refused, peer.refused);
    for (const [index, lane] of peer.lanes.entries()) {
      const sums = this.lanes[index]!;
      sums.received += lane.received;
      sums.offered += lane.offered;
      sums.sent += lane.sent;
      addDrops(sums.dropped, lane.dropped);
    }
  }

  /** Was counted as sent, and was not. */
  correct(lane: Lane, reason: DropReason): void {
    this.lanes[lane]!.sent--;
    countDrop(this.lanes[lane]!.dropped, reason);
  }

  get offered(): number {
    return this.lanes.reduce((sum, { offered }) => sum + offered, 0);
  }

  get sent(): number {
    return this.lanes.reduce((sum, { sent }) => sum + sent, 0);
  }

  get dropped(): DropCounts {
    const sums: DropCounts = {};
    for (const { dropped } of this.lanes) addDrops(sums, dropped);
    return sums;
  }
}

/** Adds drop counters to others. */
export function addDrops(into: DropCounts, counts: DropCounts): void {
  for (const [reason, count] of Object.entries(counts)) countDrop(into, reason as DropReason, count);
}
