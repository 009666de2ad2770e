// An order in which things are moved to the end, and left, by their place in it. A Map in which they are deleted and set anew keeps the same
// order, but V8 makes a new table for it ever so often, to which the old one points: once one of them is old, all that was ever set
// outlives the next young collections, and a relay pays for it by full ones.

/** A place in a chain. */
export interface Place<Item> {
  readonly item: Item;
  previous: Place<Item> | undefined;
  next: Place<Item> | undefined;
}

export class Chain<Item> {
  #first: Place<Item> | undefined;
  #last: Place<Item> | undefined;
  #length = 0;

  get first(): Item | undefined {
    return this.#first?.item;
  }

  get length(): number {
    return this.#length;
  }

  add(item: Item): Place<Item> {
    const place: Place<Item> = { item, previous: undefined, next: undefined };
    this.#append(place);
    return place;
  }

  toEnd(place: Place<Item>): void {
    if (place === this.#last) return;
    this.remove(place);
    this.#append(place);
  }

  remove(place: Place<Item>): void {
    const { previous, next } = place;
    if (previous) previous.next = next;
    else this.#first = next;
    if (next) next.previous = previous;
    else this.#last = previous;
    place.previous = undefined;
    place.next = undefined;
    this.#length--;
  }

  /** From the first to the last. The one at hand may be removed meanwhile, and no other. */
  *[Symbol.iterator](): IterableIterator<Item> {
    for (let place = this.#first; place; ) {
      const { next } = place;
      yield place.item;
      place = next;
    }
  }

  #append(place: Place<Item>): void {
    place.previous = this.#last;
    if (this.#last) this.#last.next = place;
    else this.#first = place;
    this.#last = place;
    this.#length++;
  }
}
