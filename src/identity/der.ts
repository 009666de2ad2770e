// DER (X.690), as much of it as certificates need. Written from the inside out; read with every length checked.

/** UTCTime through 2049, GeneralizedTime after it (RFC 5280 §4.1.2.5). */
export function time(ms: number): Buffer {
  const digits = new Date(ms).toISOString().replace(/[-:T]|\.\d+/g, '');
  const short = ms >= Date.UTC(1950, 0) && ms < Date.UTC(2050, 0);
  return short ? tlv(0x17, Buffer.from(digits.slice(2))) : tlv(0x18, Buffer.from(digits));
}

export function sequence(...parts: Buffer[]): Buffer {
  return tlv(0x30, ...parts);
}

export function integer(bytes: Buffer): Buffer {
  return tlv(0x02, bytes);
}

export function objectId(hex: string): Buffer {
  return tlv(0x06, Buffer.from(hex, 'hex'));
}

export function bitString(bytes: Buffer): Buffer {
  return tlv(0x03, Buffer.of(0), bytes);
}

export function tlv(tag: number, ...parts: Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  if (body.length < 0x80) return Buffer.concat([Buffer.of(tag, body.length), body]);
  const digits = body.length.toString(16);
  const length = Buffer.from(digits.length % 2 === 0 ? digits : `0${digits}`, 'hex');
  return Buffer.concat([Buffer.of(tag, 0x80 | length.length), length, body]);
}

export interface Part {
  readonly tag: number;
  readonly body: Buffer;
  /** Tag and length included. */
  readonly whole: Buffer;
}

/** The value at `offset`. Certificates have been through OpenSSL's parser, but the lengths are checked all the same. */
export function tlvAt(der: Buffer, offset: number): Part {
  const tag = der.readUInt8(offset);
  const first = der.readUInt8(offset + 1);
  const lengthBytes = first < 0x80 ? 0 : first & 0x7f;
  if (first === 0x80 || lengthBytes > 4) throw new RangeError('DER length of an unknown form');
  const length = lengthBytes === 0 ? first : der.readUIntBE(offset + 2, lengthBytes);
  const start = offset + 2 + lengthBytes;
  if (start + length > der.length) throw new RangeError('DER value longer than what holds it');
  return { tag, body: der.subarray(start, start + length), whole: der.subarray(offset, start + length) };
}

/** The values inside the constructed value that `der` is. */
export function children(der: Buffer): Part[] {
  const { body } = tlvAt(der, 0);
  const parts: Part[] = [];
  for (let offset = 0; offset < body.length; offset += parts.at(-1)!.whole.length) parts.push(tlvAt(body, offset));
  return parts;
}
