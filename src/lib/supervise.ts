// Keeps one run(signal) running: restarts it with growing pauses until told to stop or told that it never will work.
import { sleep } from './abort.ts';
import { Backoff, type BackoffOptions } from './backoff.ts';
import type { Clock } from './clock.ts';
import { FatalError, LinkError } from './errors.ts';
import type { Log } from './log.ts';

export interface SuperviseOptions {
  readonly signal: AbortSignal;
  readonly clock: Clock;
  readonly log: Log;
  readonly backoff?: BackoffOptions;
  /** A run that lasted this long clears the back-off. */
  readonly healthyMs?: number;
  /** Waits before the next run; may be shorter, when there is news. Default: sleep(). */
  pause?(ms: number, signal: AbortSignal): Promise<void>;
  /** Told of every failure and of the pause that follows it. */
  onFailure?(error: Error, retryInMs: number): void;
}

export const DEFAULT_BACKOFF: BackoffOptions = { firstMs: 1_000, maxMs: 60_000 };

/** Resolves after abort. Rejects only with a FatalError. First failure is logged at warn, identical repeats at debug. */
export async function supervise(run: (signal: AbortSignal) => Promise<void>, options: SuperviseOptions): Promise<void> {
  const { signal, clock, log, healthyMs = 60_000, pause = sleep } = options;
  const backoff = new Backoff(options.backoff ?? DEFAULT_BACKOFF);
  let lastWords = '';
  while (!signal.aborted) {
    const startedMs = clock.nowMs();
    let failure: Error;
    try {
      await run(signal);
      if (signal.aborted) return;
      failure = new LinkError('ended', 'the connection ended', '');
    } catch (error) {
      if (signal.aborted) return;
      failure = error instanceof Error ? error : new Error(String(error));
      if (failure instanceof FatalError) throw failure;
    }
    if (clock.nowMs() - startedMs >= healthyMs) backoff.reset();
    const retryInMs = Math.max(backoff.nextMs(), failure instanceof LinkError ? failure.retryAfterMs : 0);
    const words = failure.message;
    const line = { code: failure instanceof LinkError ? failure.code : failure.name, retryInMs, reason: words };
    if (words === lastWords) log.debug(line, 'still failing');
    else log.warn(failure instanceof LinkError ? line : { ...line, err: failure }, 'failed, will retry');
    lastWords = words;
    options.onFailure?.(failure, retryInMs);
    await pause(retryInMs, signal);
  }
}
