// Ingress flood control: a byte bucket that pauses the one socket that sends too fast, before its bytes are decoded.
// The sender's own TCP then slows it down; nobody else notices.
import type { Clock } from '../lib/clock.ts';
import { TokenBucket } from '../lib/token-bucket.ts';

export interface IntakeRate {
  readonly bytesPerSecond: number;
  /** Bytes that may come at once after a quiet time. */
  readonly burst: number;
}

/** Far above what people and sensors send (a 300-unit exercise: about 0.1 MiB/s), far below what stalls the event loop. */
export const DEFAULT_INTAKE: IntakeRate = { bytesPerSecond: 8 * 1024 * 1024, burst: 4 * 1024 * 1024 };

/**
 * Returns `take`: call it with the size of every chunk before decoding it. The chunk in hand is still decoded; over the rate the
 * socket is paused until the debt is paid.
 */
export function guardIntake(
  socket: { pause(): unknown; resume(): unknown },
  rate: IntakeRate,
  clock: Clock,
): (bytes: number) => void {
  const bucket = new TokenBucket(rate.bytesPerSecond, rate.burst, () => clock.nowMs());
  let paused = false;
  return (bytes) => {
    const waitMs = bucket.take(bytes);
    if (waitMs === 0 || paused) return;
    paused = true;
    socket.pause();
    clock.after(waitMs, () => {
      paused = false;
      socket.resume();
    });
  };
}
