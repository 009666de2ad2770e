// What a peer is called: by whoever runs this box, by its certificate, by itself.
import type { Peer } from './peer.ts';

type Names = Pick<Peer, 'givenName' | 'saidName' | 'session' | 'spec'>;

/** As it is called here, if it was named here; else as it calls itself, else as its certificate or configuration does. */
export function nameOf({ givenName, saidName, session, spec }: Names): string {
  return givenName || saidName || session?.identity.name || spec.name;
}

/** What it calls itself, where it was given another name here; null: it is shown by no other. */
export function saidBeside({ givenName, saidName }: Names): string | null {
  return givenName && saidName && saidName !== givenName ? saidName : null;
}
