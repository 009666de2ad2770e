// The parts of the page that change while it is open. Rendering leaves a mark in the page for each and notes here what stands there:
// texts (cells), lists that grow at their beginning, and sections, which are made anew when anything else in them changes. So it costs
// little to see that nothing did; the page is put together only where somebody asks for it. live.ts tells open pages.
import { createHash } from 'node:crypto';
import { Html, html, MARK } from './html.ts';
import { duration } from './words.ts';

export interface Cell {
  /** Text; `@` and milliseconds since the epoch: a time whose age is shown; of a chart its heights, a digit to base 36 each. */
  readonly value: string;
  readonly section: string;
}

export interface Section {
  /** All of it but its cells, lists and inner sections, which it only names: when that differs, it has to be made anew. */
  readonly skeleton: string;
  /** The section around it; '': none. */
  readonly outer: string;
  /** Where given, only a change of this is told at once, others once a minute. */
  readonly urgent: string | undefined;
}

export interface ListItem {
  readonly id: number;
  /** Asked for when it is shown, seldom. */
  html(): Html;
}

export class Cells {
  readonly nowMs: number;
  readonly values = new Map<string, Cell>();
  readonly sections = new Map<string, Section>();
  /** The newest last. */
  readonly lists = new Map<string, { readonly items: readonly ListItem[]; readonly section: string }>();
  /** What stands at a mark. */
  readonly #shown = new Map<string, () => string>();
  #section = '';

  constructor(nowMs: number) {
    this.nowMs = nowMs;
  }

  /** `make` gives one element with this id. */
  section(id: string, make: () => Html, urgent?: string): Html {
    const outer = this.#section;
    this.#section = id;
    const skeleton = make().text;
    this.#section = outer;
    this.sections.set(id, { skeleton, outer, urgent });
    return this.#mark(id, () => skeleton);
  }

  text(key: string, value: string | number): Html {
    const k = this.#note(key, String(value));
    return html`<span data-k="${k}">${this.#mark(k, () => html`${value}`.text)}</span>`;
  }

  /** How long ago that was, with the word behind it ("old"); ticks in the page without being sent. `agoMs` null: never. */
  age(key: string, agoMs: number | null, behind = ''): Html {
    if (agoMs === null) return html`–`;
    const ms = String(Math.round((this.nowMs - agoMs) / 1000) * 1000);
    const k = this.#note(key, `@${ms}`);
    const said = html`<time data-k="${k}" data-t="${this.#mark(`${k}@`, () => ms)}">${this.#mark(k, () => duration(agoMs))}</time>`;
    return behind === '' ? said : html`${said} ${behind}`;
  }

  /** An attribute that changes: to be put into a tag. */
  attribute(key: string, name: string, value: string | number): Html {
    const k = this.#note(key, String(value));
    return html` data-k="${k}" data-a="${name}" ${new Html(name)}="${this.#mark(k, () => html`${value}`.text)}"`;
  }

  /** The path of a chart, to be put into its tag: heights from 0 to 35, the newest last, at `width`. */
  chart(key: string, heights: readonly number[], width: number): Html {
    const k = this.#note(key, heights.map((one) => one.toString(36)).join(''));
    const path = () =>
      heights.map((y, at) => `${at === 0 ? 'M' : 'L'}${width - heights.length + at} ${y}`).join('') || 'M0 0';
    return html` data-k="${k}" data-c="${width}" d="${this.#mark(k, path)}"`;
  }

  /** The newest last; the page shows them the other way round. */
  list(key: string, items: readonly ListItem[], most: number): Html {
    const k = shortKey(key);
    this.lists.set(k, { items, section: this.#section });
    const shown = () =>
      items
        .toReversed()
        .map((item) => item.html().text)
        .join('');
    return html`<ol class="log" data-k="${k}" data-most="${most}">${this.#mark(k, shown)}</ol>`;
  }

  /** Everything in its place. */
  whole({ text }: Html): Html {
    return new Html(
      text.replace(MARK.pattern, (_, place: string) => this.whole(new Html(this.#shown.get(place)!())).text),
    );
  }

  #note(key: string, value: string): string {
    const k = shortKey(key);
    this.values.set(k, { value, section: this.#section });
    return k;
  }

  #mark(place: string, shown: () => string): Html {
    this.#shown.set(place, shown);
    return new Html(MARK.at(place));
  }
}

/** Keys name peers, and are sent with every change. */
const shortKeys = new Map<string, string>();
const MAX_KEYS = 16_384;

function shortKey(key: string): string {
  const known = shortKeys.get(key);
  if (known !== undefined) return known;
  if (shortKeys.size >= MAX_KEYS) shortKeys.clear();
  const short = createHash('sha256').update(key).digest('base64url').slice(0, 8);
  shortKeys.set(key, short);
  return short;
}
