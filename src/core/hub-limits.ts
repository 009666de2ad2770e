// What the hub holds at most.
import { BACKLOG_BYTES } from './backlog.ts';
import { PICTURE_LIMITS, type PictureLimits } from './picture.ts';
import { QUEUE_LIMITS, type QueueLimits } from './queue.ts';
import { SEEN_LIMITS, type SeenLimits } from './seen.ts';

export interface HubLimits {
  readonly queue: QueueLimits;
  /** Bytes of all queues together. */
  readonly backlog: number;
  readonly picture: PictureLimits;
  readonly seen: SeenLimits;
  /** Peers known at once, connected or not. */
  readonly peers: number;
  /** A durable peer that was not configured is forgotten after this long without a connection. */
  readonly forgetMs: number;
}

export const HUB_LIMITS: HubLimits = {
  queue: QUEUE_LIMITS,
  backlog: BACKLOG_BYTES,
  picture: PICTURE_LIMITS,
  seen: SEEN_LIMITS,
  peers: 4096,
  forgetMs: 3_600_000,
};
