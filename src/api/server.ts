// HTTP for this box: one router behind up to three listeners, and the WebSocket of live events.
import { aborted, sleep } from '../lib/abort.ts';
import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import { type Listener, listen, type Place } from './listener.ts';
import { Live, type LiveDeps } from './live.ts';
import { openApiRoute } from './openapi.ts';
import type { Route } from './route.ts';
import { Router, type RouterDeps } from './router.ts';

const RETRY_MS = 5_000;
/** For a request with a file: 128 MB at half a megabit a second. */
const FILE_TIMEOUT_MS = 36 * 60_000;

export interface ApiPlace {
  readonly place: Place;
  /** Networks whose addresses may connect; empty: all. */
  readonly from: readonly string[];
}

export interface ApiOptions extends Omit<RouterDeps, 'routes'>, Omit<LiveDeps, 'onRefused'> {
  readonly clock: Clock;
  readonly log: Log;
  readonly places: readonly ApiPlace[];
  readonly routes: readonly Route[];
  /** Told the address once a place is bound. */
  onListening?(kind: Place['kind'], address: string): void;
  /** A place cannot be served now; it is tried again. */
  onTrouble?(kind: Place['kind'], error: Error): void;
}

/** Refusals by code and requests, as far as this API has seen them. */
export interface ApiCounters {
  readonly requests: number;
  readonly refused: Readonly<Record<string, number>>;
  readonly watchers: number;
}

export class ApiServer {
  readonly #options: ApiOptions;
  readonly #router: Router;
  readonly #live: Live;

  constructor(options: ApiOptions) {
    this.#options = options;
    this.#router = new Router({ ...options, routes: [...options.routes, openApiRoute(options.routes)] });
    this.#live = new Live({ ...options, onRefused: (code) => this.#router.count(code) });
  }

  get counters(): ApiCounters {
    return { requests: this.#router.requests, refused: { ...this.#router.refused }, watchers: this.#live.watchers };
  }

  /** Serves at every place until aborted; a place that cannot be bound is tried again, and harms no other. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all(this.#options.places.map((place) => this.#serve(place, signal)));
    this.#live.close();
  }

  async #serve({ place, from }: ApiPlace, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const listener = await this.#listen(place, from);
      if (!listener) {
        await sleep(RETRY_MS, signal);
        continue;
      }
      this.#live.serve(listener.server, place.kind);
      this.#options.onListening?.(place.kind, listener.address);
      await aborted(signal);
      this.#live.close();
      await listener.close();
    }
  }

  async #listen(place: Place, from: readonly string[]): Promise<Listener | undefined> {
    const { clock, log, routes } = this.#options;
    const takesFiles = routes.some(({ bodyKind }) => bodyKind === 'file');
    const requestTimeoutMs = takesFiles ? FILE_TIMEOUT_MS : this.#options.requestTimeoutMs;
    try {
      return await listen({
        place,
        from,
        clock,
        log,
        requestTimeoutMs,
        onRequest: (request, response) => this.#router.handle(request, response, place.kind),
        onRefused: (code) => this.#router.count(code),
      });
    } catch (error) {
      this.#options.onTrouble?.(place.kind, error as Error);
      return undefined;
    }
  }
}
