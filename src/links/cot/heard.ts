// What went by the main connection of late, either way: an event that comes by a phone's connection as well was for everybody.
import type { CotEvent } from '../../core/message.ts';
import { MAX_HEARD } from './limits.ts';

export class Heard {
  /** The oldest first. */
  readonly #ids = new Set<string>();

  /** The same for every copy of an event. Times are compared in seconds: servers print them so. */
  idOf({ uid, type, timeMs }: CotEvent): string {
    return `${type} ${Math.floor(timeMs / 1000)} ${uid}`;
  }

  has(event: CotEvent): boolean {
    return this.#ids.has(this.idOf(event));
  }

  note(event: CotEvent): string {
    const id = this.idOf(event);
    this.#ids.add(id);
    if (this.#ids.size > MAX_HEARD) this.#ids.delete(this.#ids.values().next().value!);
    return id;
  }
}
