// A bounded map whose entries belong to somebody. When it holds too much, whoever adds beyond an equal share loses of his own
// what was not renewed for longest, and only who has less than that takes from who has most: a flood costs nobody else anything.
import { Chain, type Place } from '../lib/chain.ts';

export interface SharesOptions<Value> {
  readonly entries: number;
  readonly bytes: number;
  sizeOf(value: Value): number;
  ownerOf(value: Value): string;
  /** Told of what had to go for newer ones. */
  onForget?(key: string, value: Value): void;
}

class Entry<Value> {
  readonly key: string;
  value: Value;
  readonly share: Share<Value>;
  /** Among all. */
  readonly place: Place<Entry<Value>>;
  /** Among those of its owner. */
  readonly placeInShare: Place<Entry<Value>>;

  constructor(key: string, value: Value, share: Share<Value>, all: Chain<Entry<Value>>) {
    this.key = key;
    this.value = value;
    this.share = share;
    this.place = all.add(this);
    this.placeInShare = share.entries.add(this);
  }
}

interface Share<Value> {
  readonly owner: string;
  /** In order of renewal, the oldest first. */
  readonly entries: Chain<Entry<Value>>;
  bytes: number;
}

export class Shares<Value> {
  readonly #options: SharesOptions<Value>;
  readonly #entries = new Map<string, Entry<Value>>();
  /** In order of setting. */
  readonly #order = new Chain<Entry<Value>>();
  readonly #shares = new Map<string, Share<Value>>();
  #bytes = 0;

  constructor(options: SharesOptions<Value>) {
    this.#options = options;
  }

  get size(): number {
    return this.#entries.size;
  }

  get(key: string): Value | undefined {
    return this.#entries.get(key)?.value;
  }

  /** In order of their setting, whosever they are. */
  keys(): string[] {
    return Array.from(this.#order, ({ key }) => key);
  }

  *values(): IterableIterator<Value> {
    for (const { value } of this.#order) yield value;
  }

  /** The one at hand may be deleted meanwhile. */
  *entries(): IterableIterator<[string, Value]> {
    for (const { key, value } of this.#order) yield [key, value];
  }

  /** The value as it is, as the newest of its owner. */
  renew(key: string): void {
    const entry = this.#entries.get(key);
    entry?.share.entries.toEnd(entry.placeInShare);
  }

  /** Keeps the value as the newest of its owner. */
  set(key: string, value: Value): void {
    const owner = this.#options.ownerOf(value);
    const entry = this.#entries.get(key);
    if (entry?.share.owner === owner) {
      this.#change(entry, value);
      entry.share.entries.toEnd(entry.placeInShare);
      this.#order.toEnd(entry.place);
    } else {
      if (entry) this.#remove(entry);
      this.#put(key, value, owner);
    }
    while (this.#isFull()) this.#forgetFor(owner);
  }

  /** Puts the value in the place of the one before it: no newer than that, if it is the same owner's. */
  replace(key: string, value: Value): void {
    const entry = this.#entries.get(key);
    if (!entry) return;
    if (entry.share.owner === this.#options.ownerOf(value)) this.#change(entry, value);
    else this.set(key, value);
  }

  delete(key: string): void {
    const entry = this.#entries.get(key);
    if (entry) this.#remove(entry);
  }

  #change(entry: Entry<Value>, value: Value): void {
    const { sizeOf } = this.#options;
    const more = sizeOf(value) - sizeOf(entry.value);
    entry.share.bytes += more;
    this.#bytes += more;
    entry.value = value;
  }

  #remove(entry: Entry<Value>): void {
    const { key, value, share } = entry;
    const size = this.#options.sizeOf(value);
    this.#entries.delete(key);
    this.#order.remove(entry.place);
    share.entries.remove(entry.placeInShare);
    share.bytes -= size;
    this.#bytes -= size;
    if (share.entries.length === 0) this.#shares.delete(share.owner);
  }

  #put(key: string, value: Value, owner: string): void {
    const size = this.#options.sizeOf(value);
    let share = this.#shares.get(owner);
    if (!share) {
      share = { owner, entries: new Chain(), bytes: 0 };
      this.#shares.set(owner, share);
    }
    share.bytes += size;
    this.#bytes += size;
    this.#entries.set(key, new Entry(key, value, share, this.#order));
  }

  #isFull(): boolean {
    const { entries, bytes } = this.#options;
    return this.#entries.size > entries || (this.#bytes > bytes && this.#entries.size > 1);
  }

  /** Makes room for what this owner has just added. */
  #forgetFor(owner: string): void {
    const { entries, bytes } = this.#options;
    const byNumber = this.#entries.size > entries;
    const held = (share: Share<Value>) => (byNumber ? share.entries.length : share.bytes);
    let victim = this.#shares.get(owner)!;
    // Most floods end here, without looking at anybody else.
    if (victim.entries.length === 1 || held(victim) * this.#shares.size <= (byNumber ? entries : bytes)) {
      for (const share of this.#shares.values()) if (held(share) > held(victim)) victim = share;
    }
    const { key, value } = victim.entries.first!;
    this.delete(key);
    this.#options.onForget?.(key, value);
  }
}
