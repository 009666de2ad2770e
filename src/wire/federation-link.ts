// The small messages of a federation link: who we are, what we share, that we are well (fig.proto Subscription,
// FederateGroups, ClientHealth, ServerHealth).
import type { Hops, Provenance } from '../core/message.ts';
import { ProtocolError } from '../lib/errors.ts';
import {
  GROUP,
  HOPS,
  MAX_NAME_BYTES,
  type Mutable,
  nested,
  PROVENANCE,
  type Stamp,
  StampScan,
  scanStamp,
  writeHops,
  writeProvenance,
} from './federation-stamps.ts';
import { lengthTag, ProtoReader, ProtoWriter, varintTag } from './proto.ts';

/** Depth of FederateGroups inside FederateGroups. */
const MAX_NESTING = 8;

/** fig.proto Identity.ConnectionType. An unset type says "hub server". */
export const CONNECTION_TYPE = { hubServer: 0, hubClient: 1, takServer: 2, takClient: 3 } as const;

/** fig.proto ServerHealth.ServingStatus; ClientHealth has the first three. */
export const SERVING = { unknown: 0, serving: 1, notServing: 2, notConnected: 3 } as const;

const writer = new ProtoWriter();

export interface GroupsScan {
  /** Of the message and of those nested in it. */
  readonly groups: readonly string[];
  /** ServerHealth status (SERVING); undefined when the message says nothing of it. */
  readonly status: number | undefined;
  readonly provenance: readonly Provenance[] | undefined;
  readonly hops: Hops | undefined;
}

export interface GroupsMessage extends Stamp {
  /** The first message of a groups stream, and only that one, says that the link may begin. */
  readonly serving?: boolean | undefined;
}

/** FederateGroups */
export function groupsMessage(message: GroupsMessage): Buffer {
  if (message.serving) writer.message(1, () => writer.int(1, SERVING.serving));
  for (const group of message.groups) writer.string(2, group);
  for (const server of message.earlier ?? []) writeProvenance(writer, 3, server);
  writeProvenance(writer, 3, message.self);
  writeHops(writer, 4, message.hops);
  return writer.finish();
}

/** Reads FederateGroups, those nested in it included. */
export function scanGroups(bytes: Buffer): GroupsScan {
  const stamps = new StampScan();
  const status = scanGroupsLevel(new ProtoReader(bytes), stamps, 0);
  return { groups: [...new Set(stamps.groups)], status, provenance: stamps.provenance, hops: stamps.hops };
}

/** Returns the status. Of nested messages only the groups count: where those have been is not our concern. */
function scanGroupsLevel(reader: ProtoReader, stamps: StampScan, depth: number): number | undefined {
  if (depth > MAX_NESTING) throw new ProtocolError('too_deep', `groups nested deeper than ${MAX_NESTING}`);
  let status: number | undefined;
  while (reader.more()) {
    const tag = reader.tag();
    // Groups, provenance and hops stand one number lower here than in FederatedEvent.
    const stampTag = tag + 8;
    if (tag === lengthTag(1)) nested(reader, () => (status = readStatus(reader)));
    else if (tag === lengthTag(5)) nested(reader, () => scanGroupsLevel(reader, stamps, depth + 1));
    else if (stampTag === GROUP) scanStamp(reader, stampTag, stamps);
    else if (depth === 0 && (stampTag === PROVENANCE || stampTag === HOPS)) scanStamp(reader, stampTag, stamps);
    else reader.skip(tag);
  }
  return status;
}

/** TAK Server versions 0.x are refused by TAK servers. */
export interface TakVersion {
  readonly major: number;
  readonly minor: number;
  readonly patch: number;
  readonly branch: string;
  readonly variant: string;
}

export interface Subscription {
  /** Must not be empty: TAK servers refuse a federate without a name. */
  readonly name: string;
  readonly uid: string;
  /** CONNECTION_TYPE */
  readonly type: number;
  /** Stable and unique; hubs find double links by it. */
  readonly serverId: string;
  readonly version: TakVersion;
  readonly filter: string;
}

const NO_VERSION: TakVersion = { major: 0, minor: 0, patch: 0, branch: '', variant: '' };

/** Subscription, as the request of a stream towards us and the answer to a stream from the peer. */
export function subscription(of: Subscription): Buffer {
  writer.message(1, () => {
    writer.string(1, of.name);
    writer.string(2, of.uid);
    writer.int(4, of.type);
    writer.string(5, of.serverId);
  });
  writer.string(2, of.filter);
  writer.message(3, () => {
    writer.int(1, of.version.major);
    writer.int(2, of.version.minor);
    writer.int(3, of.version.patch);
    writer.string(4, of.version.branch);
    writer.string(5, of.version.variant);
  });
  return writer.finish();
}

/** Reads a Subscription; what it does not say is '' or 0. */
export function scanSubscription(bytes: Buffer): Subscription {
  const reader = new ProtoReader(bytes);
  const found = { name: '', uid: '', type: 0, serverId: '', version: { ...NO_VERSION }, filter: '' };
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === lengthTag(1)) nested(reader, () => scanIdentity(reader, found));
    else if (tag === lengthTag(2)) found.filter = reader.string(MAX_NAME_BYTES);
    else if (tag === lengthTag(3)) nested(reader, () => scanVersion(reader, found.version));
    else reader.skip(tag);
  }
  return found;
}

function scanIdentity(reader: ProtoReader, into: Mutable<Subscription>): void {
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === lengthTag(1)) into.name = reader.string(MAX_NAME_BYTES);
    else if (tag === lengthTag(2)) into.uid = reader.string(MAX_NAME_BYTES);
    else if (tag === varintTag(4)) into.type = reader.int64();
    else if (tag === lengthTag(5)) into.serverId = reader.string(MAX_NAME_BYTES);
    else reader.skip(tag);
  }
}

function scanVersion(reader: ProtoReader, into: Mutable<TakVersion>): void {
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === varintTag(1)) into.major = reader.int64();
    else if (tag === varintTag(2)) into.minor = reader.int64();
    else if (tag === varintTag(3)) into.patch = reader.int64();
    else if (tag === lengthTag(4)) into.branch = reader.string(MAX_NAME_BYTES);
    else if (tag === lengthTag(5)) into.variant = reader.string(MAX_NAME_BYTES);
    else reader.skip(tag);
  }
}

/** ClientHealth; `status` of SERVING. */
export function clientHealth(status: number): Buffer {
  writer.int(1, status);
  return writer.finish();
}

/** ServerHealth; `status` of SERVING. The same bytes as ClientHealth. */
export const serverHealth = clientHealth;

/** The status of a ClientHealth or ServerHealth: SERVING, or a number of a later schema. */
export function scanHealth(bytes: Buffer): number {
  return readStatus(new ProtoReader(bytes));
}

function readStatus(reader: ProtoReader): number {
  let status: number = SERVING.unknown;
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === varintTag(1)) status = reader.int64();
    else reader.skip(tag);
  }
  return status;
}
