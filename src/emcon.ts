// Radio silence (EMCON): every link stops but the listeners for phones here, until somebody ends it; also over a restart. What is
// meant for peers waits. Part of the composition root.
import type { EmconState } from './api/routes/traffic.ts';
import type { Clock } from './lib/clock.ts';
import type { LinkEntry } from './links/runner.ts';
import type { Store } from './store/store.ts';

const KEY = 'emcon';

export class Emcon {
  readonly #store: Pick<Store, 'get' | 'set' | 'flush'>;
  readonly #clock: Clock;

  constructor(store: Pick<Store, 'get' | 'set' | 'flush'>, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
  }

  get state(): EmconState {
    const [since, ...by] = (this.#store.get(KEY) ?? '').split(' ');
    return since ? { silent: true, since, by: by.join(' ') } : { silent: false, since: null, by: null };
  }

  set(silent: boolean, who: string): EmconState {
    if (silent !== this.state.silent) {
      this.#store.set(KEY, silent ? `${new Date(this.#clock.wallMs()).toISOString()} ${who}` : undefined);
      this.#store.flush();
    }
    return this.state;
  }

  /** The links as they may run now. */
  held(links: readonly LinkEntry[]): readonly LinkEntry[] {
    if (!this.state.silent) return links;
    return links.map((link) => (isForPhones(link) ? link : { ...link, held: true }));
  }
}

/** Waits for phones, and sends to nobody who did not come by himself. */
function isForPhones({ kind, settings }: LinkEntry): boolean {
  const { listen } = settings as { readonly listen?: readonly unknown[] };
  return kind === 'cot' && (listen?.length ?? 0) > 0;
}
