// The note on phones that share the main connection: chat from the server does not reach them.
import type { LinkContext } from '../link.ts';
import { MAX_SHARING, NOTE_AFTER_MS } from './limits.ts';

const NAMED = 5;

export class Sharing {
  readonly #context: LinkContext;
  /** Callsigns and what could be done, by uid. */
  readonly #units = new Map<string, { readonly callsign: string; readonly why: string }>();
  #withdraw = () => {};
  #cancel: (() => void) | undefined;

  constructor(context: LinkContext) {
    this.#context = context;
  }

  add(uid: string, callsign: string, why: string): void {
    const known = this.#units.get(uid);
    if ((known?.callsign === callsign && known.why === why) || (!known && this.#units.size >= MAX_SHARING)) return;
    this.#units.set(uid, { callsign, why });
    this.#noteSoon();
  }

  delete(uid: string): void {
    if (this.#units.delete(uid)) this.#noteSoon();
  }

  end(): void {
    this.#cancel?.();
    this.#withdraw();
  }

  /** Units come by the dozen: told once. */
  #noteSoon(): void {
    this.#cancel ??= this.#context.clock.after(NOTE_AFTER_MS, () => {
      this.#cancel = undefined;
      this.#note();
    });
  }

  #note(): void {
    this.#withdraw();
    this.#withdraw = () => {};
    const [first] = this.#units.values();
    if (!first) return;
    const names = [...this.#units.values()].slice(0, NAMED).map(({ callsign }) => callsign.slice(0, 64));
    const more = this.#units.size - names.length;
    const who = more > 0 ? `${names.join(', ')} and ${more} more` : names.join(', ');
    this.#withdraw = this.#context.warn({
      code: 'chat_does_not_reach',
      words: `chat and files from the server do not reach ${who}: it knows one contact for each connection, and they share ours`,
      fix: first.why,
    });
  }
}
