// Short strings out of buffers, without making them anew each time. A stream repeats its uids, types and server names
// endlessly: finding one again costs less than half of decoding it, and all copies share its memory.

/** Longer strings are not kept. */
const MAX_BYTES = 48;
/** Strings kept: the newest that fell on each slot. A power of two. */
const SLOTS = 1024;

const cache: string[] = new Array(SLOTS).fill('');

/** The string at bytes[at..at + length) if it is short and ASCII; undefined if not. The bytes must be there. */
export function asciiAt(bytes: Buffer, at: number, length: number): string | undefined {
  if (length > MAX_BYTES) return undefined;
  const slot = slotOf(bytes, at, length);
  const found = cache[slot]!;
  if (found.length === length && isSame(found, bytes, at)) return found;
  if (!isAsciiAt(bytes, at, length)) return undefined;
  const text = bytes.toString('latin1', at, at + length);
  cache[slot] = text;
  return text;
}

/** True when no byte of the `length` bytes has its high bit set. */
export function isAsciiAt(bytes: Buffer, at: number, length: number): boolean {
  for (let i = at; i < at + length; i++) if (bytes[i]! > 0x7f) return false;
  return true;
}

function isSame(text: string, bytes: Buffer, at: number): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) !== bytes[at + i]) return false;
  return true;
}

/** From the length and the bytes in which uids and types differ: the third, the middle one and the last three. */
function slotOf(bytes: Buffer, at: number, length: number): number {
  if (length < 3) return length === 0 ? 0 : (bytes[at]! * 31 + bytes[at + length - 1]!) & (SLOTS - 1);
  const last = at + length - 1;
  const head = (bytes[at + 2]! * 31 + bytes[at + (length >> 1)]!) * 31 + length;
  const tail = (bytes[last - 2]! * 31 + bytes[last - 1]!) * 31 + bytes[last]!;
  return (head * 127 + tail) & (SLOTS - 1);
}
