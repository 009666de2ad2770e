// A map that forgets what was not renewed for longest when it holds too many entries or too many bytes.

export interface RecentLimits {
  readonly entries: number;
  readonly bytes: number;
}

export interface RecentOptions<Value> extends RecentLimits {
  sizeOf(value: Value): number;
  /** Told of what had to go for newer ones. */
  onForget?(key: string, value: Value): void;
}

export class Recent<Value> {
  readonly #options: RecentOptions<Value>;
  /** In order of renewal, the oldest first. */
  readonly #entries = new Map<string, Value>();
  #bytes = 0;

  constructor(options: RecentOptions<Value>) {
    this.#options = options;
  }

  get size(): number {
    return this.#entries.size;
  }

  get(key: string): Value | undefined {
    return this.#entries.get(key);
  }

  /** In order of renewal, the oldest first. Not to be walked slowly: what is renewed meanwhile comes again, at the end. */
  values(): IterableIterator<Value> {
    return this.#entries.values();
  }

  keys(): string[] {
    return [...this.#entries.keys()];
  }

  entries(): IterableIterator<[string, Value]> {
    return this.#entries.entries();
  }

  /** Keeps the value as the newest. */
  set(key: string, value: Value): void {
    this.delete(key);
    this.#entries.set(key, value);
    this.#bytes += this.#options.sizeOf(value);
    while (this.#isFull()) this.#forgetOldest();
  }

  /** Puts the value in the place of the one before it: no newer than that. */
  replace(key: string, value: Value): void {
    const before = this.#entries.get(key);
    if (before === undefined) return;
    this.#bytes += this.#options.sizeOf(value) - this.#options.sizeOf(before);
    this.#entries.set(key, value);
  }

  delete(key: string): void {
    const value = this.#entries.get(key);
    if (value === undefined) return;
    this.#entries.delete(key);
    this.#bytes -= this.#options.sizeOf(value);
  }

  #isFull(): boolean {
    const { entries, bytes } = this.#options;
    return this.#entries.size > entries || (this.#bytes > bytes && this.#entries.size > 1);
  }

  #forgetOldest(): void {
    const [key, value] = this.#entries.entries().next().value!;
    this.delete(key);
    this.#options.onForget?.(key, value);
  }
}
