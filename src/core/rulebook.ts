// What the configuration says of links and their peers: policy, queue, names, and in which of the box's networks they are.
import { MAIN_NETWORK, type NetworkEntry, Networks } from './networks.ts';
import { DEFAULT_POLICY, type Policy } from './policy.ts';
import type { QueueLimits } from './queue.ts';
import type { PeerSpec } from './session.ts';

/** What one link's peers are subject to. */
interface LinkRules {
  readonly policy: Policy;
  readonly queue: QueueLimits;
}

export class Rulebook {
  readonly #links = new Map<string, LinkRules>();
  readonly #peers = new Map<string, Policy>();
  readonly #names = new Map<string, string>();
  #networks: Networks | undefined;
  /** Of #networks, as text. */
  #entries = '[]';

  /** Undefined: the box is one network. */
  get networks(): Networks | undefined {
    return this.#networks;
  }

  /** The same again changes nothing: what was counted and noted stays. */
  setNetworks(entries: readonly NetworkEntry[]): void {
    const text = JSON.stringify(entries);
    if (text === this.#entries) return;
    this.#entries = text;
    this.#networks = entries.length > 0 ? new Networks(entries, (key) => this.#networkOf(key)) : undefined;
  }

  setLink(link: string, rules: LinkRules): void {
    this.#links.set(link, rules);
  }

  /** In place of its link's; undefined: the link's again. */
  setPeer(key: string, policy: Policy | undefined): void {
    if (policy) this.#peers.set(key, policy);
    else this.#peers.delete(key);
  }

  /** What a peer is called here; '': as it calls itself. */
  setName(key: string, name: string): void {
    if (name) this.#names.set(key, name);
    else this.#names.delete(key);
  }

  nameOf(key: string): string {
    return this.#names.get(key) ?? '';
  }

  /** The link is no longer configured, and what was said about its peers neither. */
  forget(link: string): void {
    this.#links.delete(link);
    for (const said of [this.#peers, this.#names]) {
      for (const key of said.keys()) if (linkOf(key) === link) said.delete(key);
    }
  }

  queueOf(link: string): QueueLimits | undefined {
    return this.#links.get(link)?.queue;
  }

  policyOf({ key, link }: Pick<PeerSpec, 'key' | 'link'>): Policy {
    const own = this.#peers.get(key) ?? this.#links.get(link)?.policy ?? DEFAULT_POLICY;
    return this.#networks ? this.#networks.bounded(own, this.#networkOf(key)) : own;
  }

  /** The box's networks, and the links that are in each; none: it is one. */
  networkLinks(): ReadonlyMap<string, readonly string[]> {
    const links = [...this.#links.keys()];
    const names = this.#networks?.names ?? [];
    return new Map(names.map((name) => [name, links.filter((link) => this.#networkOf(link) === name)]));
  }

  /** A peer with rules of its own is in its link's network unless they say so: else rules would let it out. */
  #networkOf(key: string): string {
    return this.#peers.get(key)?.network || this.#links.get(linkOf(key))?.policy.network || MAIN_NETWORK;
  }
}

/** Keys of peers are `link`, or `link/identity`. */
function linkOf(key: string): string {
  return key.split('/', 1)[0]!;
}
