// Records in fewer bytes, out and in. Both ends keep the same memory of what passed on this connection: the last 32 kB as
// deflate's dictionary, and of every unit its last position, beside which the next one is told by its differences. Packing a
// record changes nothing until commit(): what the wire has no room for after all was never said.
//
// Each record is deflated for itself with that memory as its dictionary, in place of one long stream: as many bytes, and its size is
// known before it is sent, nothing waits for a thread, and inflating is bounded by one number.
import { constants, deflateRawSync, inflateRawSync } from 'node:zlib';
import { type Envelope, isPositionLane } from '../../core/message.ts';
import { readAsset } from '../../lib/asset.ts';
import { ProtocolError } from '../../lib/errors.ts';
import { coarseXml } from '../../wire/coarse.ts';
import { joinRecord, packedField, type RecordParts, splitRecord, type Unpack } from '../../wire/portal-record.ts';
import { ProtoReader, varintLength, writeVarint } from '../../wire/proto.ts';
import { applyDelta, deltaOf, type Numbers, numbersOf, shrunk, textOf, unshrunk } from '../../wire/xml-numbers.ts';
import { MAX_UNIT_BYTES, MAX_UNITS, MAX_UNPACKED, MEMORY_BYTES } from './limits.ts';

/** Capability: reads packed records, with the dictionary of this name. */
export const PACKS = 'pack1';

/** What both ends have seen before the first record: CoT as phones write it. Never to be changed; another one is another capability. */
let dictionary: Buffer | undefined;
const firstMemory = () => (dictionary ??= readAsset('src/links/portal/pack1.dict'));

const AGE_UNIT_MS = 100;
/** The clock that the first time is told beside: 2026-01-01. */
const FIRST_TIME_MS = 1_767_225_600_000;

/** Lossless, or positions to a metre and a second. */
export type Precision = 'exact' | 'coarse';

export interface Planned {
  /** A field of Events. */
  readonly field: Buffer;
  /** It was said. To be called before the next plan(), or not at all. */
  commit(): void;
}

/** A unit's last position. */
interface Unit {
  readonly number: number;
  readonly rest: Buffer;
  readonly format: RecordParts['format'];
  numbers: Numbers;
  mask: Buffer;
}

/** What both ends remember. */
class Memory {
  #tail = firstMemory();
  timeMs = FIRST_TIME_MS;

  get tail(): Buffer {
    return this.#tail;
  }

  add(bytes: Buffer): void {
    const kept = Math.max(0, MEMORY_BYTES - bytes.length);
    const before = this.#tail.length > kept ? this.#tail.subarray(this.#tail.length - kept) : this.#tail;
    this.#tail = Buffer.concat([before, bytes.subarray(Math.max(0, bytes.length - MEMORY_BYTES))]);
  }
}

export class PackOut {
  readonly #memory = new Memory();
  /** Least recently told first. */
  readonly #units = new Map<string, Unit>();
  #last: { readonly envelope: Envelope; readonly planned: Planned | undefined } | undefined;

  /** undefined: it is no shorter packed. The same until the next commit(). */
  plan(envelope: Envelope, record: Buffer, ageMs: number, precision: Precision): Planned | undefined {
    if (this.#last?.envelope === envelope) return this.#last.planned;
    const planned = this.#plan(envelope, record, Math.round(ageMs / AGE_UNIT_MS), precision);
    this.#last = { envelope, planned };
    return planned;
  }

  #plan(envelope: Envelope, record: Buffer, age: number, precision: Precision): Planned | undefined {
    const parts = record.length > MAX_UNPACKED ? undefined : splitRecord(record);
    if (!parts) return undefined;
    if (parts.format !== 'xml') return this.#deflated(parts, parts.payload, undefined, age);
    const isPosition = isPositionLane(envelope.lane) && envelope.message.kind === 'event';
    const text = parts.payload.toString('latin1');
    const told = isPosition && precision === 'coarse' ? coarseXml(text) : text;
    if (!isPosition || told.length + parts.rest.length > MAX_UNIT_BYTES)
      return this.#shrunk(parts, told, undefined, age);
    const numbers = numbersOf(told);
    if (!numbers) return this.#shrunk(parts, told, undefined, age);
    const key = keyOf(envelope, parts);
    const unit = this.#units.get(key);
    const again = unit && this.#again(key, unit, numbers, age);
    return again ?? this.#shrunk(parts, told, { key, numbers }, age);
  }

  /** The differences alone. */
  #again(key: string, unit: Unit, numbers: Numbers, age: number): Planned | undefined {
    const delta = deltaOf(numbers, unit.numbers);
    if (!delta) return undefined;
    const isUsual = delta.mask.equals(unit.mask);
    const head = varints(2 * unit.number + (isUsual ? 0 : 1), age);
    const bytes = Buffer.concat(isUsual ? [head, delta.bytes] : [head, delta.mask, delta.bytes]);
    return this.#planned(packedField('again', bytes), () => {
      unit.numbers = numbers;
      unit.mask = delta.mask;
      this.#units.delete(key);
      this.#units.set(key, unit);
    });
  }

  #shrunk(parts: RecordParts, text: string, position: { key: string; numbers: Numbers } | undefined, age: number) {
    const short = shrunk(text, this.#memory.timeMs);
    const payload = short?.bytes ?? Buffer.from(text, 'latin1');
    const unit = position && this.#makeUnit(position.key, position.numbers, parts);
    const planned = this.#deflated(parts, payload, unit, age, short !== undefined);
    if (!planned) return undefined;
    return this.#planned(planned.field, () => {
      planned.commit();
      if (short) this.#memory.timeMs = short.timeMs;
      if (position && unit) this.#keep(position.key, unit);
    });
  }

  /** Deflated with what both ends have seen. */
  #deflated(
    parts: RecordParts,
    payload: Buffer,
    unit: Unit | undefined,
    age: number,
    isShrunk = false,
  ): Planned | undefined {
    const head = varints(2 * (unit ? unit.number + 1 : 0) + (isShrunk ? 1 : 0), age);
    const plain = Buffer.concat([head, joinRecord({ ...parts, payload })]);
    const { tail } = this.#memory;
    const field = packedField(
      'deflated',
      deflateRawSync(plain, { level: constants.Z_BEST_COMPRESSION, dictionary: tail }),
    );
    if (field.length >= plain.length) return undefined;
    return this.#planned(field, () => this.#memory.add(plain));
  }

  #planned(field: Buffer, commit: () => void): Planned {
    return {
      field,
      commit: () => {
        this.#last = undefined;
        commit();
      },
    };
  }

  #makeUnit(key: string, numbers: Numbers, { rest, format }: RecordParts): Unit {
    const mask = Buffer.alloc(0);
    const known = this.#units.get(key);
    if (known) return { number: known.number, rest, format, numbers, mask };
    const [oldest] = this.#units.values();
    const number = this.#units.size < MAX_UNITS ? this.#units.size : oldest!.number;
    return { number, rest, format, numbers, mask };
  }

  #keep(key: string, unit: Unit): void {
    const [oldestKey, oldest] = this.#units.entries().next().value ?? [];
    if (oldest?.number === unit.number && oldestKey !== undefined) this.#units.delete(oldestKey);
    this.#units.delete(key);
    this.#units.set(key, unit);
  }
}

/** What is told of a unit beside its payload seldom changes, and then back again. */
function keyOf({ message }: Envelope, { rest }: RecordParts): string {
  return message.kind === 'event' ? `${message.event.uid}\n${rest.toString('latin1')}` : '';
}

export class PackIn {
  readonly #memory = new Memory();
  readonly #units = new Map<number, Unit>();
  /** Told of every packed record's size unpacked. */
  readonly #charge: (bytes: number) => void;

  constructor(charge: (bytes: number) => void) {
    this.#charge = charge;
  }

  /** Throws ProtocolError `packed_…`; the memory is of no use after that. */
  unpack: Unpack = ({ kind, bytes }) => {
    return kind === 'again' ? this.#again(bytes) : this.#deflated(bytes);
  };

  /** For what comes in pieces, of which the first has come: with what both ends remember now. */
  unpackLater(): Unpack {
    const { tail, timeMs } = this.#memory;
    return ({ bytes }) => this.#deflated(bytes, tail, timeMs);
  }

  #again(bytes: Buffer): ReturnType<Unpack> {
    const reader = new ProtoReader(bytes);
    const head = reader.varint();
    const ageMs = reader.varint() * AGE_UNIT_MS;
    const unit = this.#units.get(Math.floor(head / 2));
    if (!unit) throw new ProtocolError('packed_unit', 'the difference to a position that was never told');
    const maskBytes = (unit.numbers.values.length + 7) >> 3;
    const at = reader.pos + (head % 2 === 1 ? maskBytes : 0);
    const mask = head % 2 === 1 ? Buffer.from(bytes.subarray(reader.pos, at)) : unit.mask;
    if (mask.length !== maskBytes) throw new ProtocolError('packed_length', 'a packed record that ends too early');
    unit.numbers = applyDelta(unit.numbers, mask, bytes.subarray(at));
    unit.mask = mask;
    const payload = Buffer.from(textOf(unit.numbers), 'latin1');
    // Values may grow with every difference.
    if (payload.length > 2 * MAX_UNIT_BYTES) throw tooLarge();
    this.#charge(payload.length);
    return { record: joinRecord({ format: unit.format, payload, rest: unit.rest }), ageMs };
  }

  #deflated(bytes: Buffer, tail = this.#memory.tail, timeMs = this.#memory.timeMs): ReturnType<Unpack> {
    const plain = inflate(bytes, tail);
    this.#charge(plain.length);
    const reader = new ProtoReader(plain);
    const head = reader.varint();
    const ageMs = reader.varint() * AGE_UNIT_MS;
    const short = plain.subarray(reader.pos);
    const parts = splitRecord(short);
    if (!parts) throw new ProtocolError('packed_record', 'a packed record without a payload');
    this.#memory.add(plain);
    const payload = head % 2 === 1 ? this.#unshrunk(parts.payload, timeMs) : parts.payload;
    const number = Math.floor(head / 2) - 1;
    if (number >= 0) this.#keep(number, { ...parts, payload });
    return { record: head % 2 === 1 ? joinRecord({ ...parts, payload }) : short, ageMs };
  }

  #unshrunk(payload: Buffer, besideMs: number): Buffer {
    const { text, timeMs } = unshrunk(payload, besideMs, MAX_UNPACKED);
    this.#memory.timeMs = timeMs;
    return Buffer.from(text, 'latin1');
  }

  #keep(number: number, { format, payload, rest }: RecordParts): void {
    const numbers =
      payload.length + rest.length <= 2 * MAX_UNIT_BYTES ? numbersOf(payload.toString('latin1')) : undefined;
    if (!numbers || number >= MAX_UNITS) throw new ProtocolError('packed_unit', 'a position that cannot be remembered');
    // In memory of its own: the rest of the record is not kept for its sake.
    this.#units.set(number, { number, format, rest: Buffer.from(rest), numbers, mask: Buffer.alloc(0) });
  }
}

function inflate(bytes: Buffer, dictionary: Buffer): Buffer {
  try {
    return inflateRawSync(bytes, { dictionary, maxOutputLength: MAX_UNPACKED });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') throw tooLarge();
    const words = error instanceof Error ? error.message : String(error);
    throw new ProtocolError('packed_corrupt', `a packed record cannot be unpacked: ${words}`);
  }
}

function tooLarge(): ProtocolError {
  return new ProtocolError('packed_size', `a packed record of more than ${MAX_UNPACKED} bytes`);
}

function varints(...numbers: readonly number[]): Buffer {
  const bytes = Buffer.allocUnsafe(numbers.reduce((sum, n) => sum + varintLength(n), 0));
  let at = 0;
  for (const n of numbers) at = writeVarint(bytes, at, n);
  return bytes;
}
