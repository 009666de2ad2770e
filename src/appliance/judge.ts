// Does the new release keep what the old one could? It runs, and every link that worked before the update works again.
import type { RelayStatus } from '../core/status.ts';

/** A link that worked. */
export interface Linked {
  readonly name: string;
  /** `connected` to the other end, or `listening`. */
  readonly state: string;
}

const WORKS = new Set(['connected', 'listening']);

export function linkedIn(status: RelayStatus): readonly Linked[] {
  return status.links.filter(({ state }) => WORKS.has(state)).map(({ name, state }) => ({ name, state }));
}

/** What still keeps the release from being kept, in words; undefined: nothing. */
export function missing(status: RelayStatus | undefined, before: readonly Linked[]): string | undefined {
  if (!status) return 'the relay does not answer';
  const now = new Map(linkedIn(status).map(({ name, state }) => [name, state]));
  const lost = before.filter(({ name, state }) => now.get(name) !== state).map(({ name }) => name);
  return lost.length > 0 ? `links that worked before do not work: ${lost.join(', ')}` : undefined;
}

export interface JudgeOptions {
  readonly before: readonly Linked[];
  /** How long it may take. */
  readonly patienceMs: number;
  /** How long all has to be well without a break. */
  readonly steadyMs: number;
  readonly everyMs: number;
  /** Undefined: the relay does not answer. */
  status(): Promise<RelayStatus | undefined>;
  /** Monotonic. */
  nowMs(): number;
  sleep(ms: number): Promise<void>;
}

/** @returns undefined when the release may stay, else why not */
export async function judge({
  before,
  patienceMs,
  steadyMs,
  everyMs,
  status,
  nowMs,
  sleep,
}: JudgeOptions): Promise<string | undefined> {
  const until = nowMs() + patienceMs;
  let wellSinceMs: number | undefined;
  for (;;) {
    const fault = missing(await status(), before);
    if (fault) wellSinceMs = undefined;
    else wellSinceMs ??= nowMs();
    if (wellSinceMs !== undefined && nowMs() - wellSinceMs >= steadyMs) return undefined;
    if (nowMs() >= until) return fault ?? 'it did not run long enough without a fault';
    await sleep(everyMs);
  }
}
