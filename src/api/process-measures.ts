// How this process does: CPU, memory, and how late the event loop is. Measuring lateness costs a timer, so it begins with the
// first question: a box that nobody scrapes pays nothing.
import { type IntervalHistogram, monitorEventLoopDelay, performance } from 'node:perf_hooks';

/** How often the loop is looked at. */
const RESOLUTION_MS = 50;
/** The figures are of the last one to two windows: two programs that ask do not take them from each other. */
const WINDOW_MS = 60_000;

export interface ProcessFigures {
  readonly cpuSeconds: number;
  /** Seconds the event loop did something, since the start. */
  readonly loopBusySeconds: number;
  readonly rssBytes: number;
  readonly heapUsedBytes: number;
  readonly externalBytes: number;
  /** How late the loop was, seconds, by percentile. */
  readonly loopDelay: Readonly<Record<'50' | '99' | '100', number>>;
}

export class ProcessMeasures {
  #delay: IntervalHistogram | undefined;
  #sinceMs = 0;

  figures(): ProcessFigures {
    const { user, system } = process.cpuUsage();
    const { rss, heapUsed, external } = process.memoryUsage();
    return {
      cpuSeconds: (user + system) / 1e6,
      loopBusySeconds: performance.eventLoopUtilization().active / 1000,
      rssBytes: rss,
      heapUsedBytes: heapUsed,
      externalBytes: external,
      loopDelay: this.#loopDelay(),
    };
  }

  stop(): void {
    this.#delay?.disable();
    this.#delay = undefined;
  }

  #loopDelay(): ProcessFigures['loopDelay'] {
    if (!this.#delay) {
      this.#delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
      this.#delay.enable();
      this.#sinceMs = performance.now();
    }
    const lateness = (ns: number) => Math.max(0, ns / 1e9 - RESOLUTION_MS / 1000);
    const delay = this.#delay;
    const empty = delay.count === 0;
    const found = {
      50: empty ? 0 : lateness(delay.percentile(50)),
      99: empty ? 0 : lateness(delay.percentile(99)),
      100: empty ? 0 : lateness(delay.max),
    };
    if (performance.now() - this.#sinceMs > WINDOW_MS) {
      delay.reset();
      this.#sinceMs = performance.now();
    }
    return found;
  }
}
