// CPace (draft-irtf-cfrg-cpace-21, CPACE-X25519-SHA512, initiator and responder): two sides that know the same short code come
// to a strong key. Whoever listens learns nothing about the code; whoever takes part tries one code each time, and no more by
// computing at home. X25519 is OpenSSL's; what it lacks is the map from a hash onto the curve.
import { createHash, createPrivateKey, createPublicKey, diffieHellman, type KeyObject, randomBytes } from 'node:crypto';

const DSI = Buffer.from('CPace255');
const DSI_KEY = Buffer.from('CPace255_ISK');
/** Block size of SHA-512: code and padding fill the first block. */
const BLOCK = 128;
export const SHARE_BYTES = 32;
/** RFC 8410 frames around 32 raw bytes. */
const PRIVATE_HEAD = Buffer.from('302e020100300506032b656e04220420', 'hex');
const PUBLIC_HEAD = Buffer.from('302a300506032b656e032100', 'hex');

export interface CpaceInputs {
  /** The code. */
  readonly password: Buffer;
  /** Who talks, and over which channel: both sides must mean the same. */
  readonly channel: Buffer;
  readonly session: Buffer;
}

/** What either side says beside its share. */
export interface CpaceData {
  readonly initiator: Buffer;
  readonly responder: Buffer;
}

const NO_DATA: CpaceData = { initiator: Buffer.alloc(0), responder: Buffer.alloc(0) };

/** One side's part in one run; good for that one. */
export class Cpace {
  /** To be sent to the other side. */
  readonly share: Buffer;
  readonly #session: Buffer;
  readonly #secret: KeyObject;

  /** `scalar`: for the draft's vectors; otherwise random. */
  constructor({ password, channel, session }: CpaceInputs, scalar = randomBytes(SHARE_BYTES)) {
    this.#session = session;
    this.#secret = createPrivateKey({ key: Buffer.concat([PRIVATE_HEAD, scalar]), format: 'der', type: 'pkcs8' });
    this.share = multiply(this.#secret, cpaceGenerator(password, channel, session));
  }

  /** The key, 64 bytes. Undefined: the other's share is no share (of low order), which ends the run. */
  key(role: keyof CpaceData, theirs: Buffer, data: CpaceData = NO_DATA): Buffer | undefined {
    const shared = theirs.length === SHARE_BYTES ? tryMultiply(this.#secret, theirs) : undefined;
    if (!shared) return undefined;
    const [first, second] = role === 'initiator' ? [this.share, theirs] : [theirs, this.share];
    const transcript = [lengthAndValue(first, data.initiator), lengthAndValue(second, data.responder)];
    return sha512(lengthAndValue(DSI_KEY, this.#session, shared), ...transcript);
  }
}

/** A point of the curve that only who knows the password can name. */
export function cpaceGenerator(password: Buffer, channel: Buffer, session: Buffer): Buffer {
  const padding = Math.max(0, BLOCK - 1 - lengthAndValue(password).length - lengthAndValue(DSI).length);
  const text = lengthAndValue(DSI, password, Buffer.alloc(padding), channel, session);
  return onCurve(sha512(text).subarray(0, SHARE_BYTES));
}

/** Each with its length before it, LEB128. */
export function lengthAndValue(...parts: readonly Buffer[]): Buffer {
  return Buffer.concat(
    parts.flatMap((part) => {
      const length: number[] = [];
      for (let rest = part.length; ; rest >>= 7) {
        length.push(rest < 128 ? rest : (rest & 127) | 128);
        if (rest < 128) return [Buffer.from(length), part];
      }
    }),
  );
}

function sha512(...parts: readonly Buffer[]): Buffer {
  const hash = createHash('sha512');
  for (const part of parts) hash.update(part);
  return hash.digest();
}

/** X25519 with any point. Throws for one of low order. */
function multiply(secret: KeyObject, point: Buffer): Buffer {
  const publicKey = createPublicKey({ key: Buffer.concat([PUBLIC_HEAD, point]), format: 'der', type: 'spki' });
  return diffieHellman({ privateKey: secret, publicKey });
}

function tryMultiply(secret: KeyObject, point: Buffer): Buffer | undefined {
  try {
    return multiply(secret, point);
  } catch {
    return undefined; // OpenSSL refuses the neutral element, as the draft demands
  }
}

// --- Elligator 2 (RFC 9380 §6.7.1), without the second coordinate. The hash is known to nobody outside; the time big integers
// take tells next to nothing of it, and it is another one in each run.

const FIELD = 2n ** 255n - 19n;
const CURVE_A = 486_662n;
const NON_SQUARE = 2n;

function onCurve(bytes: Buffer): Buffer {
  const r = littleEndian(bytes) & (2n ** 255n - 1n);
  const v = modulo(-CURVE_A * power(modulo(1n + NON_SQUARE * r * r), FIELD - 2n));
  const isSquare = power(modulo(v * v * v + CURVE_A * v * v + v), (FIELD - 1n) / 2n) === 1n;
  const u = isSquare ? v : modulo(-v - CURVE_A);
  return Buffer.from(u.toString(16).padStart(64, '0'), 'hex').reverse();
}

function littleEndian(bytes: Buffer): bigint {
  return BigInt(`0x${Buffer.from(bytes).reverse().toString('hex')}`);
}

function modulo(value: bigint): bigint {
  const rest = value % FIELD;
  return rest < 0n ? rest + FIELD : rest;
}

function power(base: bigint, exponent: bigint): bigint {
  let result = 1n;
  for (let [square, left] = [modulo(base), exponent]; left > 0n; left >>= 1n) {
    if (left & 1n) result = (result * square) % FIELD;
    square = (square * square) % FIELD;
  }
  return result;
}
