// Two links on one port. A listener that tells protocols apart by ALPN hands what is not its own to the link that stands
// `beside:` it; neither knows the other's kind.
import { LinkError } from '../lib/errors.ts';
import type { Secured } from './stream.ts';

/** Takes a connection over: its certificate has been judged. Its socket must be closed when `signal` aborts, too. */
export type TakeOver = (secured: Secured, signal: AbortSignal) => void;

/** Who stands beside which listener, by the listener's name. */
export class Besides {
  readonly #takers = new Map<string, TakeOver>();

  /** Returns the removal. Throws LinkError when another stands there already. */
  add(listener: string, take: TakeOver): () => void {
    if (this.#takers.has(listener)) {
      const fix = 'Only one link may stand beside another: give this one a port of its own with listen.';
      throw new LinkError('beside_taken', `another link stands beside ${listener} already`, fix);
    }
    this.#takers.set(listener, take);
    return () => {
      if (this.#takers.get(listener) === take) this.#takers.delete(listener);
    };
  }

  /** False: nobody stands beside this listener. */
  handOver(listener: string, secured: Secured, signal: AbortSignal): boolean {
    const take = this.#takers.get(listener);
    take?.(secured, signal);
    return take !== undefined;
  }
}
