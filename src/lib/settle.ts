// What a process does when it has nothing to do: it keeps what it compiled, and gives back memory that it no longer needs.
import { flushCompileCache } from 'node:module';
import { getHeapStatistics } from 'node:v8';
import { sleep } from './abort.ts';

/** Quiet is who used less than 2 % of one core for so long: when it has just started, and later, when the next load may be near. */
const LOOK_MS = 20_000;
const LATER_MS = 5 * 60_000;
const QUIET = 0.02;
/** A heap that has grown by less since is left alone. */
const WORTH_BYTES = 4 * 1024 * 1024;
/** A heap larger than this would stand still too long. */
const SMALL_HEAP_BYTES = 64 * 1024 * 1024;

/** Until aborted: settles when the start is over, and when it has grown and is quiet again. Never rejects. */
export async function settleWhenQuiet(signal: AbortSignal, firstMs = LOOK_MS, laterMs = LATER_MS): Promise<void> {
  let settledBytes = 0;
  while (!signal.aborted) {
    const lookMs = settledBytes === 0 ? firstMs : laterMs;
    const before = process.cpuUsage();
    await sleep(lookMs, signal);
    const { user, system } = process.cpuUsage(before);
    if (signal.aborted || user + system > QUIET * lookMs * 1000 || heapBytes() < settledBytes + WORTH_BYTES) continue;
    settle();
    settledBytes = heapBytes();
  }
}

/**
 * Writes compiled code into NODE_COMPILE_CACHE now: Node itself does when it ends in order, and a box ends when its power is cut.
 * Then collects all garbage and gives the system back what it was in. V8 would leave both be, for it collects when it needs
 * room, which an idle relay never does. One pause, of about 60 ms of a desktop's CPU.
 * Whether memory was given back: not with a large heap, nor where Node was started without `--expose-gc`.
 */
export function settle(): boolean {
  flushCompileCache();
  if (!globalThis.gc || getHeapStatistics().used_heap_size > SMALL_HEAP_BYTES) return false;
  globalThis.gc({ type: 'major', flavor: 'last-resort' });
  return true;
}

function heapBytes(): number {
  return getHeapStatistics().total_heap_size;
}
