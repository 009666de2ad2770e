// Federates that a listening link knows by name: each by the fingerprint of its certificate, with toggles and rules of its own. They
// come and go, and change, while the others stay connected.
import { isDeepStrictEqual } from 'node:util';
import * as z from 'zod';
import type { Policy } from '../core/policy.ts';
import { LiveTrust, type Trust } from '../identity/trust.ts';
import type { GroupHops } from '../wire/federation-stamps.ts';
import { groupHopsEntry, limitsOf, maxHopsOut, withinBoth } from './group-hops.ts';
import type { LinkContext } from './link.ts';
import { federatePolicyKeys } from './policy-keys.ts';

const MAX_FEDERATES = 256;

export interface Federate {
  /** What it is called here. */
  readonly name: string;
  /** SHA-256 of its certificate, lower hex. */
  readonly pin: string;
  /** undefined: the link's. */
  readonly policy: Policy | undefined;
  /** Besides the link's: the lesser of both holds. */
  readonly hops: GroupHops | undefined;
}

const pin = z
  .string()
  .max(256)
  .transform((value, context): string => {
    const hex = value
      .replace(/^sha-?256:/i, '')
      .replaceAll(':', '')
      .trim()
      .toLowerCase();
    if (/^[0-9a-f]{64}$/.test(hex)) return hex;
    context.issues.push({ code: 'custom', message: 'expected SHA256: and 64 hexadecimal digits', input: value });
    return z.NEVER;
  });

const federate = z
  .strictObject({
    name: z
      .string()
      .regex(/^[^\p{C}]{1,64}$/u, 'expected 1 to 64 characters')
      .describe('What it is called here.'),
    pin: pin.describe(
      'SHA-256 fingerprint of its federation certificate. Until it stands here its handshake is refused.',
    ),
    policy: federatePolicyKeys.optional().describe('What may cross, in place of the policy of the link.'),
    group_hops: groupHopsEntry
      .optional()
      .describe(
        'Most hops of what goes out to it, by TAK group as it is called there; -1: unlimited. The link’s hold as well: the lesser of both.',
      ),
    max_hops_out: maxHopsOut
      .optional()
      .describe('Most hops of what goes out to it, in whatever group. -1, the default: unlimited.'),
  })
  .transform(
    ({ name, pin, policy, group_hops, max_hops_out }): Federate => ({
      name,
      pin,
      policy,
      hops: limitsOf(Object.entries(group_hops ?? {}), max_hops_out),
    }),
  );

/** The key `peers` of a link that listens. */
export const federates = z
  .array(federate)
  .max(MAX_FEDERATES)
  .default([])
  .superRefine((list, context) => {
    list.forEach((one, index) => {
      if (list.slice(0, index).some((other) => other.pin === one.pin))
        context.addIssue({ code: 'custom', path: [index, 'pin'], message: 'already the fingerprint of a peer' });
    });
  })
  .describe('Federates let in by the fingerprint of their certificate.');

/** Those of one running listener. */
export class Federates {
  readonly #trust: LiveTrust;
  readonly #linkHops: GroupHops | undefined;
  #context: LinkContext | undefined;
  #list: readonly Federate[];
  /** By fingerprint, of those that have limits of their own: what is allowed in all. */
  #hops: ReadonlyMap<string, GroupHops | undefined>;

  /** @param linkHops of the link, for all its peers */
  constructor(list: readonly Federate[], linkHops: GroupHops | undefined) {
    this.#list = list;
    this.#linkHops = linkHops;
    this.#hops = hopsOf(list, linkHops);
    this.#trust = new LiveTrust(trusting(list));
  }

  /** To be merged with whom else the link trusts. */
  get trust(): Trust {
    return this.#trust;
  }

  begin(context: LinkContext): void {
    this.#context = context;
    for (const { name, pin, policy } of this.#list) {
      context.hub.setPeerPolicy(keyOf(context, pin), policy);
      context.hub.setPeerName(keyOf(context, pin), name);
    }
  }

  has(fingerprint: string): boolean {
    return this.#list.some(({ pin }) => pin === fingerprint);
  }

  /** What the federate with this certificate is called; otherwise what its certificate says. */
  nameOf(fingerprint: string, said: string): string {
    return this.#list.find(({ pin }) => pin === fingerprint)?.name ?? said;
  }

  /** How far what goes out to whoever has this certificate may travel. Asked for every message. */
  hopsOf(fingerprint: string): GroupHops | undefined {
    return this.#hops.get(fingerprint) ?? this.#linkHops;
  }

  /** Who is gone is cut off before this returns, unless somebody else vouches for it. */
  update(list: readonly Federate[]): void {
    const before = this.#list;
    this.#list = list;
    this.#hops = hopsOf(list, this.#linkHops);
    const context = this.#context;
    for (const { pin } of before) {
      if (list.some((one) => one.pin === pin)) continue;
      context?.hub.setPeerPolicy(keyOf(context, pin), undefined);
      context?.hub.setPeerName(keyOf(context, pin), '');
    }
    if (context) this.begin(context);
    if (!isDeepStrictEqual(trusting(before), trusting(list))) this.#trust.become(trusting(list));
  }
}

function trusting(list: readonly Federate[]): Trust {
  return { cas: [], pins: list.map(({ pin }) => pin) };
}

function hopsOf(list: readonly Federate[], link: GroupHops | undefined): ReadonlyMap<string, GroupHops | undefined> {
  return new Map(list.flatMap(({ pin, hops }) => (hops ? [[pin, withinBoth(link, hops)] as const] : [])));
}

function keyOf({ name }: LinkContext, pin: string): string {
  return `${name}/${pin}`;
}
