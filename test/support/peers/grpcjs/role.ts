// What the two roles share: the settings they start with and the orders they take.
import type { Far } from './judge.ts';
import type { ContactInput, EventInput, GroupsInput, RolInput, Stamp } from './say.ts';

export interface Settings {
  readonly as: 'takserver' | 'fedhub';
  readonly host: string;
  readonly port: number;
  /** PEM. */
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly ca: Buffer;
  readonly stamp: Stamp;
  readonly far: Far;
  readonly healthMs: number;
  readonly deadMs: number;
  readonly retryMs: number;
  readonly version: number;
  readonly groups: GroupsInput | undefined;
  /** Contacts and last positions of the peer's own users; pushed when the link is up. */
  readonly local: { readonly contacts: readonly ContactInput[]; readonly events: readonly EventInput[] };
  /** Missions waiting for the far end. */
  readonly backlog: readonly RolInput[];
  /** The hub's bug: ClientROLStream is completed when the backlog is through. */
  readonly rolCompletes: boolean;
  /** Whether the Subscription that answers a client stream comes at once or never, as from peers of other makers. */
  readonly early: boolean;
  /** A hub whose policy does not know the far CA. */
  readonly deny: boolean;
  /** Server ids a hub is linked to already. */
  readonly linked: readonly string[];
}

export type Kind = 'event' | 'rol' | 'groups';

/** A stream that can carry bytes out. */
export interface Outlet {
  write(bytes: Buffer): boolean;
}

export interface Role {
  start(): Promise<void>;
  /** Sends on every stream that carries this kind. */
  send(kind: Kind, bytes: Buffer): void;
  /** Stops or goes on reading what the far end streams. */
  stall(stalled: boolean): void;
  /** Client: stops HealthChecks. Server: `status` is the next answers. */
  health(status: string | undefined): void;
  /** Ends the streams of this method: with OK, or with an error. */
  end(method: string, code: number, details: string): void;
  /** Announces the end of every connection and leaves the rest to the far end. */
  goaway(): void;
  /** Breaks every transport; a server goes on listening, a client dials again. */
  drop(): void;
}
