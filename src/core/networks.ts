// Networks inside one box: a link's or peer's policy says in which it is. What is said in one stays there, but for where two of them
// federate: then it crosses as far as both sides let it, and no further than that one step.
//
// The hub is one. What keeps networks apart is asked where policy is (permit), so that pictures, contacts, files and requests of other
// relays are kept apart by the same answer; and the recent-id window tells apart in which network something was heard.
import { createHash } from 'node:crypto';
import type { Envelope } from './message.ts';
import { type Border, DEFAULT_POLICY, type Policy, permit } from './policy.ts';

/** The network of links that name none. */
export const MAIN_NETWORK = 'main';

export interface NetworkEntry {
  readonly name: string;
  /** Whom it federates with, and what it takes from them (`in`, `dpIn`) and gives them. No rules, and no renaming. */
  readonly peers: readonly { readonly name: string; readonly policy: Policy }[];
}

/** What crosses from one network into another. */
export interface CrossingStatus {
  readonly from: string;
  readonly to: string;
  readonly crossed: number;
  readonly stopped: number;
  /** Wall clock, milliseconds; null: never. */
  readonly lastMs: number | null;
}

interface Crossing {
  /** All must permit. */
  readonly policies: readonly Policy[];
  /** Of what came lately, what was heard there by another way. */
  readonly known: WeakSet<Envelope>;
  crossed: number;
  stopped: number;
  lastMs: number | null;
}

/** Which of the box's networks whoever has this policy is in. */
export function networkOf({ border, network }: Policy): string {
  return border?.network ?? (network || MAIN_NETWORK);
}

export class Networks {
  /** The main one first. */
  readonly names: readonly string[];
  /** By the network it leads out of, then by the one it leads into. */
  readonly #crossings = new Map<string, Map<string, Crossing>>();
  readonly #networkOf: (key: string) => string;

  /** @param networkOf of the peer with this key */
  constructor(entries: readonly NetworkEntry[], networkOf: (key: string) => string) {
    this.#networkOf = networkOf;
    this.names = [...new Set([MAIN_NETWORK, ...entries.map(({ name }) => name)])];
    for (const { name, peers } of entries) {
      for (const peer of peers) {
        const theirs = entries.find((entry) => entry.name === peer.name)?.peers.find((one) => one.name === name);
        this.#open(name, peer.name, [peer.policy, asTaker(theirs?.policy ?? DEFAULT_POLICY)]);
        this.#open(peer.name, name, [theirs?.policy ?? DEFAULT_POLICY, asTaker(peer.policy)]);
      }
    }
  }

  /** The policy with the border of a network. */
  bounded(policy: Policy, network: string): Policy {
    return { ...policy, network, border: new NetworkBorder(network, this, this.#networkOf) };
  }

  /** Whether what is said in one network may go into another. */
  lets(envelope: Envelope, from: string, to: string): boolean {
    if (from === to) return true;
    const crossing = this.#crossings.get(from)?.get(to);
    return crossing !== undefined && permits(crossing, envelope) && !crossing.known.has(envelope);
  }

  /** Something may go from one to the other. */
  reaches(from: string, to: string): boolean {
    return (
      from === to ||
      (this.#crossings
        .get(from)
        ?.get(to)
        ?.policies.every(({ out }) => out) ??
        false)
    );
  }

  /**
   * A message was let in, in that network: asks once for each other one that it may go into whether it was heard there before, and
   * counts. `noted`: notes it with that salt; true when it was there.
   */
  arrived(envelope: Envelope, network: string, wallMs: number, noted: (salt: number) => boolean): void {
    for (const [to, crossing] of this.#crossings.get(network) ?? []) {
      if (!permits(crossing, envelope)) crossing.stopped++;
      else if (noted(saltOf(to))) crossing.known.add(envelope);
      else {
        crossing.crossed++;
        crossing.lastMs = wallMs;
      }
    }
  }

  status(): readonly CrossingStatus[] {
    return [...this.#crossings].flatMap(([from, others]) =>
      Array.from(others, ([to, { crossed, stopped, lastMs }]) => ({ from, to, crossed, stopped, lastMs })),
    );
  }

  #open(from: string, to: string, policies: readonly Policy[]): void {
    const others = this.#crossings.get(from) ?? new Map<string, Crossing>();
    this.#crossings.set(from, others);
    if (!others.has(to)) others.set(to, { policies, known: new WeakSet(), crossed: 0, stopped: 0, lastMs: null });
  }
}

class NetworkBorder implements Border {
  readonly network: string;
  readonly salt: number;
  readonly #networks: Networks;
  readonly #networkOf: (key: string) => string;

  constructor(network: string, networks: Networks, networkOf: (key: string) => string) {
    this.network = network;
    this.salt = saltOf(network);
    this.#networks = networks;
    this.#networkOf = networkOf;
  }

  lets(envelope: Envelope): boolean {
    return envelope.from === '' || this.#networks.lets(envelope, this.#networkOf(envelope.from), this.network);
  }

  opensTo(network: string): boolean {
    return this.#networks.reaches(network, this.network);
  }

  /** For policy tests. */
  toString(): string {
    return `what federates with ${this.network}`;
  }

  /** It is no part of what is shown of a policy. */
  toJSON(): undefined {
    return undefined;
  }
}

function permits({ policies }: Crossing, envelope: Envelope): boolean {
  return policies.every((policy) => permit(envelope, policy) === undefined);
}

/** What a side takes in, said as what it would be sent. */
function asTaker(policy: Policy): Policy {
  return { ...policy, out: policy.in, dpOut: policy.dpIn, groupsOut: policy.groupsIn };
}

/** Tells the recent-id windows of networks apart. The same after a restart. */
function saltOf(network: string): number {
  return network === MAIN_NETWORK ? 0 : createHash('sha256').update(network).digest().readUInt32LE() || 1;
}
