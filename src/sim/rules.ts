// The rules by which other relays and libraries queue, as models of the rule alone: what is kept, what goes when it is full.
// They are not tests of those products.
import type { Offered } from './load.ts';

export interface Rule {
  offer(offered: Offered): void;
  /** The next to be written; undefined: nothing waits. */
  next(): Offered | undefined;
}

/** First in, first out; nothing is ever dropped (Federation Hub, while there is memory). */
export function unbounded(): Rule {
  const queue = new Fifo();
  return { offer: (offered) => queue.push(offered), next: () => queue.shift() };
}

/** Full at so many: the newest is dropped (Mosquitto 1000, goatak 50). */
export function dropNewest(most: number): Rule {
  const queue = new Fifo();
  return { offer: (offered) => void (queue.length < most && queue.push(offered)), next: () => queue.shift() };
}

/** Full at so many: the oldest is dropped (PyTAK 100, Tailscale DERP 32). */
export function dropOldest(most: number): Rule {
  const queue = new Fifo();
  const offer = (offered: Offered) => {
    if (queue.length >= most) queue.shift();
    queue.push(offered);
  };
  return { offer, next: () => queue.shift() };
}

/** First in, first out up to so many bytes, then the latest of each key; those go when `low` bytes are left (Signal K). */
export function latestWhenFull(most: number, low: number): Rule {
  const queue = new Fifo();
  const latest = new Map<string, Offered>();
  let full = false;
  const offer = (offered: Offered) => {
    full ||= queue.bytes + offered.bytes > most;
    if (full) latest.set(offered.event.uid, offered);
    else queue.push(offered);
  };
  const next = () => {
    if (full && queue.bytes <= low) {
      for (const offered of latest.values()) queue.push(offered);
      latest.clear();
      full = false;
    }
    return queue.shift();
  };
  return { offer, next };
}

class Fifo {
  #items: Offered[] = [];
  #head = 0;
  bytes = 0;

  get length(): number {
    return this.#items.length - this.#head;
  }

  push(offered: Offered): void {
    this.#items.push(offered);
    this.bytes += offered.bytes;
  }

  shift(): Offered | undefined {
    const offered = this.#items[this.#head];
    if (!offered) return undefined;
    this.bytes -= offered.bytes;
    if (++this.#head > 1024 && this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return offered;
  }
}
