// `via:` of a link that dials: its connection is opened by a portal link, as a tunnel to a service that a peer exposes.
import type { Socket } from 'node:net';
import * as z from 'zod';
import { LinkError } from '../lib/errors.ts';

/** A service of a peer of a link. */
export interface Via {
  readonly link: string;
  readonly peer: string;
  /** As the peer's `expose:` calls it. */
  readonly service: string;
}

export function formatVia({ link, peer, service }: Via): string {
  return `${link}/${peer}/${service}`;
}

/** A link that opens tunnels. */
export interface TunnelOpener {
  /** Rejects with LinkError; gives up when the signal aborts. The caller owns the socket. */
  open(peer: string, service: string, signal: AbortSignal): Promise<Socket>;
  /** To a relay that is no peer yet, through a hub that calls it so. Nobody is proven. Rejects with LinkError. The caller owns the socket. */
  join(hub: string, peer: string, signal: AbortSignal): Promise<Socket>;
}

/** A relay by the name that a hub has for it. */
export interface ThroughHub {
  readonly link: string;
  readonly hub: string;
  readonly peer: string;
}

const VIA = /^([a-z0-9][a-z0-9._-]{0,31})\/([a-z0-9][a-z0-9._-]{0,31})\/([a-z0-9][a-z0-9._-]{0,31})$/;

export const viaSchema = z
  .string()
  .transform((value, context): Via => {
    const [, link, peer, service] = VIA.exec(value) ?? [];
    if (link && peer && service) return { link, peer, service };
    const message = 'expected LINK/PEER/NAME, such as portal/relay-b/takserver';
    context.issues.push({ code: 'custom', message, input: value });
    return z.NEVER;
  })
  .describe('connect: through a portal link, as LINK/PEER/NAME of what that peer exposes. connect then only names it.');

/** The address, dialled through that tunnel. */
export function through<A extends object>(
  address: A | undefined,
  via: Via | undefined,
): (A & { via?: Via }) | undefined {
  return address && via ? { ...address, via } : address;
}

/** The links that open tunnels, by name. */
export class Tunnels {
  readonly #openers = new Map<string, TunnelOpener>();

  /** The link opens tunnels from now on. Returns its removal. */
  provide(link: string, opener: TunnelOpener): () => void {
    this.#openers.set(link, opener);
    return () => {
      if (this.#openers.get(link) === opener) this.#openers.delete(link);
    };
  }

  /** Rejects with LinkError. The caller owns the socket. */
  async open({ link, peer, service }: Via, signal: AbortSignal): Promise<Socket> {
    return this.#openerOf(link).open(peer, service, signal);
  }

  /** Through a hub, to a relay that is no peer yet. Rejects with LinkError. The caller owns the socket. */
  async join({ link, hub, peer }: ThroughHub, signal: AbortSignal): Promise<Socket> {
    return this.#openerOf(link).join(hub, peer, signal);
  }

  #openerOf(link: string): TunnelOpener {
    const opener = this.#openers.get(link);
    if (opener) return opener;
    const fix = 'via begins with the name of a link of kind portal; it must be enabled and running.';
    throw new LinkError('no_tunnels', `no link called ${link} opens tunnels`, fix);
  }
}
