// Federates that a listening link knows by name: each by the fingerprint of its certificate, with toggles and rules of its own. They
// come and go, and change, while the others stay connected.
import { isDeepStrictEqual } from 'node:util';
import * as z from 'zod';
import type { Policy } from '../core/policy.ts';
import { LiveTrust, type Trust } from '../identity/trust.ts';
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
  })
  .transform(({ name, pin, policy }): Federate => ({ name, pin, policy }));

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
  #context: LinkContext | undefined;
  #list: readonly Federate[];

  constructor(list: readonly Federate[]) {
    this.#list = list;
    this.#trust = new LiveTrust(trusting(list));
  }

  /** To be merged with whom else the link trusts. */
  get trust(): Trust {
    return this.#trust;
  }

  begin(context: LinkContext): void {
    this.#context = context;
    for (const { pin, policy } of this.#list) context.hub.setPeerPolicy(keyOf(context, pin), policy);
  }

  has(fingerprint: string): boolean {
    return this.#list.some(({ pin }) => pin === fingerprint);
  }

  /** What the federate with this certificate is called; otherwise what its certificate says. */
  nameOf(fingerprint: string, said: string): string {
    return this.#list.find(({ pin }) => pin === fingerprint)?.name ?? said;
  }

  /** Who is gone is cut off before this returns, unless somebody else vouches for it. */
  update(list: readonly Federate[]): void {
    const before = this.#list;
    this.#list = list;
    const context = this.#context;
    for (const { pin } of before) {
      if (list.some((one) => one.pin === pin)) continue;
      context?.hub.setPeerPolicy(keyOf(context, pin), undefined);
    }
    if (context) this.begin(context);
    if (!isDeepStrictEqual(trusting(before), trusting(list))) this.#trust.become(trusting(list));
  }
}

function trusting(list: readonly Federate[]): Trust {
  return { cas: [], pins: list.map(({ pin }) => pin) };
}

function keyOf({ name }: LinkContext, pin: string): string {
  return `${name}/${pin}`;
}
