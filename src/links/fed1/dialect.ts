// What a make of server wants and does on this wire: the takserver dialect is the protocol as it is meant.
import type { Envelope } from '../../core/message.ts';
import type { DropReason } from '../../core/reason.ts';
import type { FederatedScan } from '../../wire/federation.ts';
import type { ProfileName } from './config.ts';
import {
  FTS_MAX_BODY_BYTES,
  FTS_MAX_FRAME_BYTES,
  FTS_MAX_MALFORMED_RUN,
  MAX_FRAME_BYTES,
  MAX_MALFORMED_RUN,
} from './limits.ts';

/** One per connection: it may remember. */
export interface Dialect {
  /** One FederatedEvent, without its length, in memory that nobody changes; or why not. `announced`: said in the same message. */
  encode(envelope: Envelope, groups: readonly string[], announced?: Envelope): Buffer | DropReason;
  /** What came, as it was meant. Throws ProtocolError. */
  read(payload: Buffer): Buffer;
  /** What came was told to the hub. */
  heard(scan: FederatedScan): void;
}

/** Fixed properties of a make. */
export interface Profile {
  /** Largest FederatedEvent it takes; undefined: as configured. */
  readonly maxBodyBytes: number | undefined;
  /** A length beyond means that it has lost its step. */
  readonly maxFrameBytes: number;
  readonly maxMalformedRun: number;
  /** One message per write and TLS record, each awaiting the last. */
  readonly oneFramePerWrite: boolean;
  /** A contact and its first position go in one message. */
  readonly joinsContacts: boolean;
  /** It lets in whoever reaches it. */
  readonly authenticatesNobody: boolean;
}

export const PROFILES: Readonly<Record<ProfileName, Profile>> = {
  takserver: {
    maxBodyBytes: undefined,
    maxFrameBytes: MAX_FRAME_BYTES,
    maxMalformedRun: MAX_MALFORMED_RUN,
    oneFramePerWrite: false,
    joinsContacts: false,
    authenticatesNobody: false,
  },
  freetakserver: {
    maxBodyBytes: FTS_MAX_BODY_BYTES,
    maxFrameBytes: FTS_MAX_FRAME_BYTES,
    maxMalformedRun: FTS_MAX_MALFORMED_RUN,
    // Its reader leaves the second message of a record lying until more comes, and loses what is longer than one.
    oneFramePerWrite: true,
    // It makes an event without uid of a contact that comes alone.
    joinsContacts: true,
    authenticatesNobody: true,
  },
};
