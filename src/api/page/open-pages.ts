// The open status pages, by what whoever looks may see and do: everybody, those who may look, those who may change things.
import type { WebSocket } from 'ws';
import type { RelayStatus } from '../../core/status.ts';
import type { PageOpening } from '../live.ts';
import { publicStatus } from '../public-status.ts';
import { type Caller, mayAct, type Role } from '../route.ts';
import type { Charts } from './cards.ts';
import type { Cells } from './cells.ts';
import type { Html } from './html.ts';
import { LivePages } from './live.ts';
import type { PageDeps } from './routes.ts';
import { main } from './view.ts';

/** Events listed on the page. */
const MAX_EVENTS = 100;
/** Units drawn. */
const MAX_UNITS = 100;

type Sight = Extract<Role, 'public' | 'viewer' | 'operator'>;

export class OpenPages {
  readonly #pages: Readonly<Record<Sight, LivePages>>;

  constructor(deps: PageDeps) {
    const of = (sight: Sight) => new LivePages((cells) => renderMain(deps, sight, cells), deps.clock);
    this.#pages = { public: of('public'), viewer: of('viewer'), operator: of('operator') };
  }

  get count(): number {
    return Object.values(this.#pages).reduce((sum, { count }) => sum + count, 0);
  }

  /** What is inside the page, as whoever asks may see it. */
  serve(caller: Pick<Caller, 'role'>): { readonly main: Html; readonly at: string } {
    return this.#of(caller).serve();
  }

  open(socket: WebSocket, caller: Pick<Caller, 'role'>, opening: PageOpening): void {
    this.#of(caller).add(socket, opening);
  }

  close(): void {
    for (const pages of Object.values(this.#pages)) pages.stop();
  }

  #of({ role }: Pick<Caller, 'role'>): LivePages {
    return this.#pages[mayAct(role, 'operator') ? 'operator' : mayAct(role, 'viewer') ? 'viewer' : 'public'];
  }
}

function renderMain(deps: PageDeps, sight: Sight, cells: Cells): Html {
  const seen = sight !== 'public';
  const snapshot = deps.snapshot();
  const data = {
    status: seen ? snapshot : publicStatus(snapshot),
    charts: seen ? deps.charts : chartsByName(snapshot, deps.charts),
    units: seen ? deps.units(MAX_UNITS) : undefined,
    events: seen ? deps.events(MAX_EVENTS) : [],
    log: seen ? deps.log() : undefined,
    mayChange: sight === 'operator',
  };
  return main(data, cells);
}

/** The public status knows peers by their names alone. */
function chartsByName({ peers }: RelayStatus, charts: Charts): Charts {
  const keys = new Map(peers.map(({ name, key }) => [name, key]));
  const keyOf = (name: string) => keys.get(name) ?? name;
  return { rates: (name) => charts.rates(keyOf(name)), chart: (name) => charts.chart(keyOf(name)) };
}
