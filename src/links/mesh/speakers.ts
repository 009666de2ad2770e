// From which address each unit of one interface is heard. Nobody on a mesh proves who he is; but two that speak under one uid by turns
// are two, and are both named.
import { Moves } from '../../core/claims.ts';
import { MAX_CONTESTED, MAX_HEARD } from './limits.ts';

export interface Contested {
  readonly uid: string;
  /** Who was heard first, and the other: addresses. */
  readonly holder: string;
  readonly rival: string;
}

export class Speakers {
  /** Address by uid, the one not heard for longest first. */
  readonly #from = new Map<string, string>();
  readonly #moves = new Moves();
  readonly #contested = new Map<string, Contested>();

  /** `holds`: false when another address has the uid and keeps it; `contested`: by whom it is from now on. */
  heard(uid: string, host: string): { readonly holds: boolean; readonly contested?: Contested } {
    const known = this.#contested.get(uid);
    if (known) return { holds: known.rival !== host };
    const before = this.#from.get(uid);
    this.#from.delete(uid);
    this.#from.set(uid, host);
    if (this.#from.size > MAX_HEARD) this.#from.delete(this.#from.keys().next().value!);
    if (before === undefined || before === host || !this.#moves.isBack(uid, before, host)) return { holds: true };
    if (this.#contested.size >= MAX_CONTESTED) return { holds: true };
    const contested = { uid, holder: host, rival: before };
    this.#contested.set(uid, contested);
    return { holds: true, contested };
  }

  /** It was told long enough: whoever speaks next is the one. */
  settle(uid: string): void {
    this.#contested.delete(uid);
  }
}
