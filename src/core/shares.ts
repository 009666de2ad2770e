// A bounded map whose entries belong to somebody. When it holds too much, whoever adds beyond an equal share loses of his own
// what was not renewed for longest, and only who has less than that takes from who has most: a flood costs nobody else anything.

export interface SharesOptions<Value> {
  readonly entries: number;
  readonly bytes: number;
  sizeOf(value: Value): number;
  ownerOf(value: Value): string;
  /** Told of what had to go for newer ones. */
  onForget?(key: string, value: Value): void;
}

interface Share {
  /** In order of renewal, the oldest first. */
  readonly keys: Set<string>;
  bytes: number;
}

export class Shares<Value> {
  readonly #options: SharesOptions<Value>;
  readonly #values = new Map<string, Value>();
  readonly #shares = new Map<string, Share>();
  #bytes = 0;

  constructor(options: SharesOptions<Value>) {
    this.#options = options;
  }

  get size(): number {
    return this.#values.size;
  }

  get(key: string): Value | undefined {
    return this.#values.get(key);
  }

  /** In order of their setting, whosever they are. */
  keys(): string[] {
    return [...this.#values.keys()];
  }

  values(): IterableIterator<Value> {
    return this.#values.values();
  }

  entries(): IterableIterator<[string, Value]> {
    return this.#values.entries();
  }

  /** The value as it is, as the newest of its owner. */
  renew(key: string, value: Value): void {
    const keys = this.#shares.get(this.#options.ownerOf(value))!.keys;
    keys.delete(key);
    keys.add(key);
  }

  /** Keeps the value as the newest of its owner. */
  set(key: string, value: Value): void {
    const { ownerOf } = this.#options;
    const owner = ownerOf(value);
    const before = this.#values.get(key);
    if (before !== undefined && ownerOf(before) === owner) {
      this.replace(key, value);
      this.renew(key, value);
      this.#values.delete(key);
      this.#values.set(key, value);
    } else {
      this.delete(key);
      this.#put(key, value, owner);
    }
    while (this.#isFull()) this.#forgetFor(owner);
  }

  /** Puts the value in the place of the one before it: no newer than that, if it is the same owner's. */
  replace(key: string, value: Value): void {
    const before = this.#values.get(key);
    if (before === undefined) return;
    const { ownerOf, sizeOf } = this.#options;
    if (ownerOf(before) !== ownerOf(value)) return this.set(key, value);
    const more = sizeOf(value) - sizeOf(before);
    this.#shares.get(ownerOf(value))!.bytes += more;
    this.#bytes += more;
    this.#values.set(key, value);
  }

  delete(key: string): void {
    const value = this.#values.get(key);
    if (value === undefined) return;
    this.#values.delete(key);
    const owner = this.#options.ownerOf(value);
    const size = this.#options.sizeOf(value);
    const share = this.#shares.get(owner)!;
    share.keys.delete(key);
    share.bytes -= size;
    this.#bytes -= size;
    if (share.keys.size === 0) this.#shares.delete(owner);
  }

  #put(key: string, value: Value, owner: string): void {
    const size = this.#options.sizeOf(value);
    let share = this.#shares.get(owner);
    if (!share) {
      share = { keys: new Set(), bytes: 0 };
      this.#shares.set(owner, share);
    }
    share.keys.add(key);
    share.bytes += size;
    this.#bytes += size;
    this.#values.set(key, value);
  }

  #isFull(): boolean {
    const { entries, bytes } = this.#options;
    return this.#values.size > entries || (this.#bytes > bytes && this.#values.size > 1);
  }

  /** Makes room for what this owner has just added. */
  #forgetFor(owner: string): void {
    const { entries, bytes } = this.#options;
    const byNumber = this.#values.size > entries;
    const held = (share: Share) => (byNumber ? share.keys.size : share.bytes);
    let victim = this.#shares.get(owner)!;
    // Most floods end here, without looking at anybody else.
    if (victim.keys.size === 1 || held(victim) * this.#shares.size <= (byNumber ? entries : bytes)) {
      for (const share of this.#shares.values()) if (held(share) > held(victim)) victim = share;
    }
    const key = victim.keys.values().next().value!;
    const value = this.#values.get(key)!;
    this.delete(key);
    this.#options.onForget?.(key, value);
  }
}
