// What the clocks of peers say, for the daemon that keeps this box's own: a board has no battery, and out there a relay with a GPS receiver or
// an uplink may be all there is to ask. The relay itself may not set the clock; chrony decides, and believes NTP and GPS first
// (overlays/image/etc/chrony/chrony.conf). Part of the composition root.
import { writeSync } from 'node:fs';
import type { NodePeer } from './core/node.ts';
import { RELEASE_MS } from './identity/identity.ts';
import { sleep } from './lib/abort.ts';
import type { Clock } from './lib/clock.ts';
import type { Log } from './lib/log.ts';

/** Peers whose clocks differ by less agree. */
const AGREE_MS = 2_000;
const EVERY_MS = 16_000;
const FIRST_MS = 2_000;
/** `struct sock_sample` of chrony's refclock_sock.c, 64 bits. */
const SAMPLE_BYTES = 40;
const MAGIC = 0x534f434b;

export interface PeerClockParts {
  /** Links list here only peers that have proved who they are (PORTAL02: certificate and key). */
  peers(): readonly NodePeer[];
  readonly clock: Clock;
  readonly log: Log;
  /** Chrony's socket, opened by systemd; undefined: nobody asks. */
  readonly fd: number | undefined;
}

/** Until aborted. Never rejects. */
export async function tellPeerClock({ peers, clock, log, fd }: PeerClockParts, signal: AbortSignal): Promise<void> {
  if (fd === undefined) return;
  for (await sleep(FIRST_MS, signal); !signal.aborted; await sleep(EVERY_MS, signal)) {
    const offsetMs = believed(peers(), clock.wallMs());
    if (offsetMs === undefined) continue;
    try {
      writeSync(fd, sample(clock.wallMs(), offsetMs));
    } catch (error) {
      log.warn({ err: error }, 'the clock daemon could not be told the time of peers');
      return; // it was started anew: its socket is another one
    }
  }
}

/**
 * How much peers are ahead of us, milliseconds: what the most of them agree on, if more do than do not. Undefined: nobody says, or they
 * disagree. Clocks from before this program was written were never set.
 */
export function believed(peers: readonly NodePeer[], wallMs: number): number | undefined {
  const offsets = peers
    .filter(({ status }) => status === 'connected')
    .map(({ clockOffsetMs }) => clockOffsetMs ?? Number.NaN)
    .filter((offsetMs) => wallMs + offsetMs > RELEASE_MS)
    .sort((a, b) => a - b);
  const camp = (one: number) => offsets.filter((other) => Math.abs(other - one) < AGREE_MS);
  const largest = offsets.map(camp).sort((a, b) => b.length - a.length)[0] ?? [];
  return largest.length * 2 > offsets.length ? largest[Math.floor(largest.length / 2)] : undefined;
}

/** One sample as chrony reads it: our time, and how much the true one is ahead of it. */
export function sample(wallMs: number, offsetMs: number): Buffer {
  const bytes = Buffer.alloc(SAMPLE_BYTES);
  bytes.writeBigInt64LE(BigInt(Math.floor(wallMs / 1000)), 0);
  bytes.writeBigInt64LE(BigInt(Math.round((wallMs % 1000) * 1000)), 8);
  bytes.writeDoubleLE(offsetMs / 1000, 16);
  bytes.writeInt32LE(MAGIC, 36); // between them: no pulse, no leap second, padding
  return bytes;
}
