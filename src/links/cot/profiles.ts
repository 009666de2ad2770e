// How the makes of TAK servers differ, as far as a client must know (sources: README.md beside this file).

import { PER_PHONE } from './limits.ts';

export const PROFILE_NAMES = ['takserver', 'opentakserver', 'goatak', 'taky', 'freetakserver', 'generic'] as const;
export type ProfileName = (typeof PROFILE_NAMES)[number];

export interface Profile {
  /** Change over to TAK protocol 1 when the server offers it. */
  readonly negotiates: boolean;
  /** Nothing but our own position is sent before the offer has come, or this long has passed. */
  readonly offerWaitMs: number;
  /** A larger XML event is lost there, or costs the connection. */
  readonly maxXmlBytes: number;
  /** One event per write and TLS record, each awaiting the last. */
  readonly oneFramePerWrite: boolean;
  /** Events leave without an XML declaration in front. */
  readonly undeclared: boolean;
  /** Our own position is repeated after this long: servers drop contacts whose position went stale. */
  readonly positionMs: number;
  /** It knows one contact for each connection, so phones get one each, up to this many; undefined: it knows them all. */
  readonly perPhone: number | undefined;
}

const POSITION_MS = 60_000;
const ORDINARY: Profile = {
  negotiates: true,
  offerWaitMs: 0,
  maxXmlBytes: Number.POSITIVE_INFINITY,
  oneFramePerWrite: false,
  undeclared: false,
  positionMs: POSITION_MS,
  perPhone: PER_PHONE,
};
const XML_ONLY: Profile = { ...ORDINARY, negotiates: false };

export const PROFILES: Readonly<Record<ProfileName, Profile>> = {
  takserver: ORDINARY,
  // Cuts each read at </event> and throws the rest away: an event must arrive whole, so alone in its TLS record.
  opentakserver: { ...XML_ONLY, maxXmlBytes: 16_384, oneFramePerWrite: true },
  // Its XML reader ends the connection at 2 KiB; its protobuf reader does not.
  goatak: { ...ORDINARY, offerWaitMs: 10_000, maxXmlBytes: 2_048, perPhone: undefined },
  taky: XML_ONLY,
  // Takes a read that is not whole events for a goodbye, so an event must fit a TLS record; and throws away all that stands
  // between the first XML declaration of a read and its last.
  freetakserver: { ...XML_ONLY, maxXmlBytes: 16_384, oneFramePerWrite: true, undeclared: true },
  generic: { ...ORDINARY, perPhone: undefined },
};
