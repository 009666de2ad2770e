// What changed on the page from rendering to rendering: every text, section and item knows since which rendering it is what it is, so
// any page can be told what came after the one that it shows.
import { randomBytes } from 'node:crypto';
import type { Clock } from '../../lib/clock.ts';
import { type Cell, Cells, type ListItem, type Section } from './cells.ts';
import { Html, html, MARK } from './html.ts';

/** Of a section that always changes: what is not urgent is told so often. */
export const CALM_MS = 60_000;
/** New items of one list that are told at once. */
export const MAX_ITEMS = 20;

/** What a page is told, by the `data-k` or `id` of its parts. */
export interface News {
  /** Sections made anew. */
  readonly parts?: Readonly<Record<string, string>>;
  /** Texts. */
  readonly cells?: Readonly<Record<string, string>>;
  /** New items of lists, the newest last. */
  readonly add?: Readonly<Record<string, readonly string[]>>;
}

type Since<Thing> = Thing & { readonly since: number };
type KeptSection = Since<Section & { readonly toldMs: number }>;

interface KeptList {
  readonly section: string;
  readonly items: ReadonlyMap<number, Since<ListItem>>;
}

export class Changes {
  readonly #render: (cells: Cells) => Html;
  readonly #clock: Clock;
  /** Numbers of renderings mean nothing in another process. */
  readonly #life = randomBytes(4).toString('base64url');
  #number = 0;
  #cells = new Cells(0);
  #body: Html = html``;
  #values: ReadonlyMap<string, Since<Cell>> = new Map();
  #sections: ReadonlyMap<string, KeptSection> = new Map();
  #lists: ReadonlyMap<string, KeptList> = new Map();

  /** `render` makes the body of the page, in sections. */
  constructor(render: (cells: Cells) => Html, clock: Clock) {
    this.#render = render;
    this.#clock = clock;
  }

  /** Of the last rendering. */
  get number(): number {
    return this.#number;
  }

  /** Its name for pages. */
  get name(): string {
    return `${this.#life}.${this.#number}`;
  }

  /** 0: of nothing that is known here. */
  numberOf(name: string): number {
    const [life, text] = name.split('.');
    const number = life === this.#life ? Number(text) : 0;
    return Number.isInteger(number) && number > 0 && number <= this.#number ? number : 0;
  }

  /** Renders the page, and notes what changed since. */
  look(): void {
    const cells = new Cells(this.#clock.wallMs());
    this.#body = this.#render(cells);
    this.#cells = cells;
    const since = ++this.#number;
    const { values, sections, lists } = cells;
    this.#values = mapped(values, (cell, key) => {
      const old = this.#values.get(key);
      return old && isSame(old.value, cell.value)
        ? { ...cell, value: old.value, since: old.since }
        : { ...cell, since };
    });
    this.#sections = mapped(sections, (section, id) => this.#kept(section, this.#sections.get(id)));
    this.#lists = mapped(lists, ({ section, items }, key) => {
      const old = this.#lists.get(key)?.items;
      const kept = items.map((item) => [item.id, { ...item, since: old?.get(item.id)?.since ?? since }] as const);
      return { section, items: new Map(kept) };
    });
  }

  /** The last rendering, put together. */
  whole(): Html {
    return this.#cells.whole(this.#body);
  }

  /** All that came after rendering `seen`; undefined: nothing did. */
  after(seen: number): News | undefined {
    const parts = entriesOf(this.#sections, ({ since, outer }, id) =>
      since > seen && !this.#isNew(outer, seen) ? this.#cells.whole(new Html(MARK.at(id))).text : undefined,
    );
    const cells = entriesOf(this.#values, ({ since, value, section }) =>
      since > seen && !this.#isNew(section, seen) ? value : undefined,
    );
    const add = entriesOf(this.#lists, ({ section, items }) => {
      const fresh = [...items.values()].filter((item) => item.since > seen);
      return fresh.length > 0 && !this.#isNew(section, seen) ? newest(fresh) : undefined;
    });
    return parts || cells || add
      ? { ...(parts && { parts }), ...(cells && { cells }), ...(add && { add }) }
      : undefined;
  }

  #kept(section: Section, old: KeptSection | undefined): KeptSection {
    const nowMs = this.#clock.nowMs();
    if (old) {
      const calm = section.urgent !== undefined && section.urgent === old.urgent && nowMs - old.toldMs < CALM_MS;
      if (calm || section.skeleton === old.skeleton) return { ...section, ...unchanged(old) };
    }
    return { ...section, since: this.#number, toldMs: nowMs };
  }

  /** This section, or one around it, was made anew. */
  #isNew(id: string, seen: number): boolean {
    for (let at = this.#sections.get(id); at; at = this.#sections.get(at.outer)) if (at.since > seen) return true;
    return false;
  }
}

/** A time that is reckoned back from now comes out a second earlier or later. */
function isSame(old: string, value: string): boolean {
  if (old === value) return true;
  return (
    old.startsWith('@') && value.startsWith('@') && Math.abs(Number(old.slice(1)) - Number(value.slice(1))) <= 1_000
  );
}

function unchanged({ skeleton, since, toldMs }: KeptSection) {
  return { skeleton, since, toldMs };
}

function mapped<A, B>(map: ReadonlyMap<string, A>, to: (one: A, key: string) => B): Map<string, B> {
  return new Map(Array.from(map, ([key, one]) => [key, to(one, key)]));
}

/** Those for which there is something to say; undefined: none. */
function entriesOf<A, B>(
  map: ReadonlyMap<string, A>,
  say: (one: A, key: string) => B | undefined,
): Record<string, B> | undefined {
  const said = [...map].flatMap(([key, one]): [string, B][] => {
    const words = say(one, key);
    return words === undefined ? [] : [[key, words]];
  });
  return said.length > 0 ? Object.fromEntries(said) : undefined;
}

function newest(items: readonly ListItem[]): readonly string[] {
  const shown = items.slice(-MAX_ITEMS).map((item) => item.html().text);
  const more = items.length - shown.length;
  return more === 0 ? shown : [html`<li class="muted">${more} more came at once</li>`.text, ...shown];
}
