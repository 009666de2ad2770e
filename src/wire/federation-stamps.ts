// What federation messages carry beside their content: groups, provenance, hops and limits per group. They are fields 3 to
// 6 of FederatedEvent and of ROL; other messages have the same at other numbers.
//
// Protobuf parsers merge a message field that occurs twice (scalars: the last wins, repeated fields add up), so everything
// is collected into one record: policy sees what a receiver will see.
import type { Hops, Provenance } from '../core/message.ts';
import { ProtocolError } from '../lib/errors.ts';
import { lengthTag, type ProtoReader, type ProtoWriter, varintTag } from './proto.ts';

/** Groups of one message, and limits per group. */
const MAX_GROUPS = 1024;
/** Servers a message may have passed. */
const MAX_PROVENANCE = 64;
/** Bytes of a name, a server's id, a group. */
export const MAX_NAME_BYTES = 1024;

/** More hops than this are as good as this many: the count must stay a number that can be counted up. */
const MAX_HOPS = 1_000_000;

/** ProtoReader.tag() of the fields, as FederatedEvent and ROL number them. */
export const GROUP = lengthTag(3);
export const PROVENANCE = lengthTag(4);
export const HOPS = lengthTag(5);
export const GROUP_LIMITS = lengthTag(6);

/** fig.proto FederateGroupHopLimit */
export interface GroupHopLimit {
  readonly group: string;
  /** -1: unlimited. */
  readonly max: number;
  readonly current: number;
}

/** How far what goes out may travel, as an operator wants it: hops in all; -1: unlimited. */
export interface GroupHops {
  /** By group. */
  readonly most: ReadonlyMap<string, number>;
  /** In whatever group. */
  readonly all: number;
  /** Tells these limits from others where encodings are shared. */
  readonly key: string;
}

/** What a relay leaves on a message that it hands on. */
export interface Stamp {
  readonly groups: readonly string[];
  readonly self: Provenance;
  /** As they go out: this relay's own hop counted. */
  readonly hops: Hops;
  /** Servers passed before this one that the bytes do not name yet. */
  readonly earlier?: readonly Provenance[] | undefined;
  /** Besides what the message itself asks for. */
  readonly groupHops?: GroupHops | undefined;
}

export type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** What FederatedEvent and ROL carry beside their content. */
export class StampScan {
  groups: string[] | undefined;
  provenance: Provenance[] | undefined;
  hops: Mutable<Hops> | undefined;
  limits: GroupHopLimit[] | undefined;
  useLimits = false;
}

/** Reads fields 3 to 6; false when the field is another one. */
export function scanStamp(reader: ProtoReader, tag: number, into: StampScan): boolean {
  switch (tag) {
    case GROUP:
      into.groups ??= [];
      if (into.groups.length >= MAX_GROUPS) throw tooMany('groups', MAX_GROUPS);
      into.groups.push(reader.string(MAX_NAME_BYTES));
      return true;
    case PROVENANCE:
      into.provenance ??= [];
      if (into.provenance.length >= MAX_PROVENANCE) throw tooMany('provenance', MAX_PROVENANCE);
      into.provenance.push(scanProvenance(reader));
      return true;
    case HOPS:
      into.hops ??= { max: 0, current: 0 };
      scanHops(reader, into.hops);
      return true;
    case GROUP_LIMITS:
      nested(reader, () => scanLimits(reader, into));
      return true;
    default:
      return false;
  }
}

function scanProvenance(reader: ProtoReader): Provenance {
  const outer = reader.enter();
  let id = '';
  let name = '';
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === lengthTag(1)) id = reader.string(MAX_NAME_BYTES);
    else if (tag === lengthTag(2)) name = reader.string(MAX_NAME_BYTES);
    else reader.skip(tag);
  }
  reader.leave(outer);
  return { id, name };
}

function scanHops(reader: ProtoReader, into: Mutable<Hops>): void {
  const outer = reader.enter();
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === varintTag(1)) into.max = hopLimit(reader);
    else if (tag === varintTag(2)) into.current = hopCount(reader);
    else reader.skip(tag);
  }
  reader.leave(outer);
}

function scanLimits(reader: ProtoReader, into: StampScan): void {
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === lengthTag(1)) {
      into.limits ??= [];
      if (into.limits.length >= MAX_GROUPS) throw tooMany('group limits', MAX_GROUPS);
      const outer = reader.enter();
      into.limits.push(scanLimit(reader));
      reader.leave(outer);
    } else if (tag === varintTag(2)) into.useLimits = reader.int64() !== 0;
    else reader.skip(tag);
  }
}

function scanLimit(reader: ProtoReader): GroupHopLimit {
  const limit = { group: '', max: 0, current: 0 };
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === lengthTag(1)) limit.group = reader.string(MAX_NAME_BYTES);
    else if (tag === varintTag(2)) limit.max = hopLimit(reader);
    else if (tag === varintTag(3)) limit.current = hopCount(reader);
    else reader.skip(tag);
  }
  return limit;
}

/** Any negative limit means unlimited. */
function hopLimit(reader: ProtoReader): number {
  return Math.min(Math.max(reader.int64(), -1), MAX_HOPS);
}

/** A message that claims to have made fewer than no hops has made none. */
function hopCount(reader: ProtoReader): number {
  return Math.min(Math.max(reader.int64(), 0), MAX_HOPS);
}

/** The groups whose limit allows one more hop. A group without a limit has none. */
export function groupsWithinLimits(groups: readonly string[], limits: readonly GroupHopLimit[]): readonly string[] {
  const exhausted = new Set<string>();
  for (const limit of limits) if (isExhausted(limit)) exhausted.add(limit.group);
  return groups.filter((group) => !exhausted.has(group));
}

/**
 * The groups a message with limits of its own is in here, and the hops it has left: the limits stand in place of the one for all
 * (tak-federation §2.8). In groups that are exhausted it goes nowhere else; that is all it may do when all of them are, and then
 * they are told. undefined: it had made too many hops before.
 */
export function arrivedWithin(
  groups: readonly string[],
  limits: readonly GroupHopLimit[],
  current: number,
): { readonly groups: readonly string[]; readonly hops: Hops } | undefined {
  const onward = groupsWithinLimits(groups, limits);
  if (onward.length > 0) return { groups: onward, hops: { max: -1, current } };
  const ending = new Set(limits.flatMap((limit) => (limit.current === limit.max ? [limit.group] : [])));
  const here = groups.filter((group) => ending.has(group));
  return here.length > 0 ? { groups: here, hops: { max: current, current } } : undefined;
}

function isExhausted(limit: GroupHopLimit): boolean {
  return limit.max >= 0 && limit.current >= limit.max;
}

/** Writes fields 3 to 6. `found`: the limits the message had; they are counted up if it uses them. */
export function writeStamp(writer: ProtoWriter, stamp: Stamp, found: StampScan): void {
  const limits = stamp.groupHops ? limitedBy(stamp.groupHops, stamp, found) : found;
  const groups = limits.useLimits ? groupsWithinLimits(stamp.groups, limits.limits ?? []) : stamp.groups;
  for (const group of groups) writer.string(3, group);
  for (const server of stamp.earlier ?? []) writeProvenance(writer, 4, server);
  writeProvenance(writer, 4, stamp.self);
  writeHops(writer, 5, stamp.hops);
  if (limits.limits || limits.useLimits) writer.message(6, () => writeLimits(writer, limits));
}

type Limits = Pick<StampScan, 'limits' | 'useLimits'>;

/**
 * The limits as they stood before this hop, with those of the operator. Limits per group stand in place of the one for all
 * (tak-federation §2.8), so that one becomes the limit of every group.
 */
function limitedBy({ most, all }: GroupHops, { groups, hops }: Stamp, found: StampScan): Limits {
  const counts = (all >= 0 && found.useLimits) || groups.some((group) => most.has(group));
  if (!counts) return found;
  const known = new Map(found.useLimits ? found.limits?.map((limit) => [limit.group, limit]) : []);
  for (const group of groups) {
    const max = found.useLimits ? -1 : hops.max;
    const before = known.get(group) ?? { group, max, current: hops.current - 1 };
    known.set(group, { ...before, max: lesser(lesser(before.max, most.get(group) ?? -1), all) });
  }
  return { limits: [...known.values()], useLimits: true };
}

/** Of two limits the one that allows less; below 0: none. */
export function lesser(a: number, b: number): number {
  return a < 0 || (b >= 0 && b < a) ? b : a;
}

function writeLimits(writer: ProtoWriter, { limits = [], useLimits }: Limits): void {
  const step = useLimits ? 1 : 0;
  for (const limit of limits) {
    if (useLimits && isExhausted(limit)) continue;
    writer.message(1, () => {
      writer.string(1, limit.group);
      writer.int(2, limit.max);
      writer.int(3, limit.current + step);
    });
  }
  writer.bool(2, useLimits);
}

export function writeProvenance(writer: ProtoWriter, field: number, server: Provenance): void {
  writer.message(field, () => {
    writer.string(1, server.id);
    writer.string(2, server.name);
  });
}

export function writeHops(writer: ProtoWriter, field: number, hops: Hops): void {
  writer.message(field, () => {
    writer.int(1, hops.max);
    writer.int(2, hops.current);
  });
}

/** Reads a nested message; `read` finds the reader narrowed to it. */
export function nested(reader: ProtoReader, read: () => unknown): void {
  const outer = reader.enter();
  read();
  reader.leave(outer);
}

function tooMany(what: string, limit: number): ProtocolError {
  return new ProtocolError('too_many', `more than ${limit} ${what}`);
}
