// Which phones may come in by which link, where the box has several networks: a certificate is good in the network that it was made for.
// Those this box made carry it in their subject (OU), so that it holds whatever becomes of the list of phones; one without was made for
// the main network. Part of the composition root.
import { X509Certificate } from 'node:crypto';
import type { Config } from './config/schema.ts';
import { MAIN_NETWORK, networkOf } from './core/networks.ts';
import { LiveTrust, mergeTrust, type Trust } from './identity/trust.ts';
import { commonName, fingerprint, organizationalUnit } from './identity/x509.ts';
import type { Trouble } from './links/link.ts';
import type { Guest } from './onboarding/phones.ts';
import { cotPorts } from './phone-desk.ts';

export interface PhoneDoorParts {
  /** As configured now. */
  config(): Config;
  /** Our authority's certificate, PEM. */
  caPem(): string;
}

export class PhoneDoors {
  readonly #parts: PhoneDoorParts;
  readonly #guests = new LiveTrust({ cas: [], pins: [] });
  /** Of guests, by fingerprint. */
  #networks: ReadonlyMap<string, string> = new Map();
  #ca: X509Certificate | undefined;

  constructor(parts: PhoneDoorParts) {
    this.#parts = parts;
  }

  /** Phones with certificates of other boxes, whichever network they are for. */
  get guests(): Trust {
    return this.#guests;
  }

  /** From now on. Whoever is none any more is cut off before this returns. */
  welcome(guests: readonly Guest[]): void {
    this.#networks = new Map(guests.map(({ fingerprint, network }) => [fingerprint, network]));
    this.#guests.become({ cas: [], pins: guests.map((guest) => guest.fingerprint) });
  }

  /** The same as one link takes them: what is of another network is refused there, of ours too. The configuration is looked at anew each time. */
  at(link: string): Trust {
    const objections = [(leaf: X509Certificate) => this.#objection(leaf, link)];
    return mergeTrust(this.#guests, { cas: [], pins: [], objections });
  }

  #objection(leaf: X509Certificate, link: string): Trouble | undefined {
    const { networks, links } = this.#parts.config();
    if (networks.length === 0) return undefined;
    const policy = links.find(({ name }) => name === link)?.policy;
    if (!policy) return undefined; // about to end
    const here = networkOf(policy);
    const made = this.#networkOf(leaf);
    if (made === undefined || made === here) return undefined;
    const { tls } = cotPorts(links, made);
    const there = tls === undefined ? '' : `Let it connect to port ${tls}, where network ${made} is, or give`;
    return {
      code: 'other_network',
      words: `the certificate of "${commonName(leaf)}" was made for network ${made}, and this link is in network ${here}`,
      fix: `${there || 'Give'} it a certificate for this one: "waystation phone add NAME --network ${here}".`,
    };
  }

  /** Undefined: neither made here nor a guest's; the link itself names whoever signed it. */
  #networkOf(leaf: X509Certificate): string | undefined {
    const guest = this.#networks.get(fingerprint(leaf));
    if (guest !== undefined) return guest;
    this.#ca ??= new X509Certificate(this.#parts.caPem());
    const ours = leaf.checkIssued(this.#ca) && leaf.verify(this.#ca.publicKey);
    return ours ? organizationalUnit(leaf) || MAIN_NETWORK : undefined;
  }
}
