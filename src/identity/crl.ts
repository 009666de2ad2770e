// Certificate revocation lists (RFC 5280 §5): files that an authority hands out, for boxes that cannot ask it. Read when the
// configuration is; their signature is checked when a chain shows the authority that made them.
import { type KeyObject, verify, type X509Certificate } from 'node:crypto';
import { children, type Part } from './der.ts';

/** As the bytes of the issuer's name, and serials in lower hex without leading zeros. */
export interface Crl {
  readonly issuer: string;
  readonly serials: ReadonlySet<string>;
  /** When the authority meant to have made the next one. */
  readonly nextUpdateMs: number | undefined;
  /** Where it was read from, for words. */
  readonly file?: string | undefined;
  isSignedBy(key: KeyObject): boolean;
}

const MAX_ENTRIES = 100_000;
const SEQUENCE = 0x30;
const INTEGER = 0x02;
/** Object identifiers of signatures, as their DER body in hex, with the hash; Ed25519 has none. */
const HASHES: Readonly<Record<string, string | null>> = {
  '2a864886f70d01010b': 'sha256',
  '2a864886f70d01010c': 'sha384',
  '2a864886f70d01010d': 'sha512',
  '2a8648ce3d040302': 'sha256',
  '2a8648ce3d040303': 'sha384',
  '2a8648ce3d040304': 'sha512',
  '2b6570': null,
};

/** PEM or DER. @throws RangeError when it is none, or too long */
export function readCrl(bytes: Buffer): Crl {
  const [tbs, algorithm, signature] = children(only(derOf(bytes)).whole);
  if (!tbs || !algorithm || !signature || signature.tag !== 0x03) throw new RangeError('not a revocation list');
  const parts = children(tbs.whole).filter(({ tag }, index) => !(index === 0 && tag === INTEGER));
  const [, issuer, , ...rest] = parts;
  if (issuer?.tag !== SEQUENCE) throw new RangeError('not a revocation list');
  const isTime = ({ tag }: Part) => tag === 0x17 || tag === 0x18;
  const next = rest.find(isTime);
  const entries = rest.find(({ tag }) => tag === SEQUENCE);
  const listed = entries ? children(entries.whole) : [];
  if (listed.length > MAX_ENTRIES) throw new RangeError(`more than ${MAX_ENTRIES} entries`);
  const hash = HASHES[children(algorithm.whole)[0]?.body.toString('hex') ?? ''];
  return {
    issuer: issuer.whole.toString('hex'),
    serials: new Set(listed.map((entry) => serialOf(children(entry.whole)[0]))),
    nextUpdateMs: next && timeOf(next),
    isSignedBy: (key) => hash !== undefined && verify(hash, tbs.whole, key, signature.body.subarray(1)),
  };
}

/** Whether a list of this certificate's authority names it. `authority`: the certificate above it, when the chain shows it. */
export function isListed(
  certificate: X509Certificate,
  authority: X509Certificate | undefined,
  crls: readonly Crl[],
): boolean {
  if (crls.length === 0) return false;
  const issuer = issuerOf(certificate);
  const serial = plain(certificate.serialNumber);
  return crls.some(
    (crl) => crl.issuer === issuer && crl.serials.has(serial) && (!authority || crl.isSignedBy(authority.publicKey)),
  );
}

function issuerOf({ raw }: X509Certificate): string {
  const [tbs] = children(only(raw).whole);
  const parts = children(tbs!.whole).filter(({ tag }, index) => !(index === 0 && tag === 0xa0));
  return parts[2]?.whole.toString('hex') ?? '';
}

function serialOf(part: Part | undefined): string {
  if (part?.tag !== INTEGER) throw new RangeError('an entry has no serial number');
  return plain(part.body.toString('hex'));
}

function plain(hex: string): string {
  return hex.toLowerCase().replace(/^0+(?=.)/, '');
}

function derOf(bytes: Buffer): Buffer {
  const base64 = /-----BEGIN X509 CRL-----([^-]+)-----END X509 CRL-----/.exec(bytes.toString('latin1'))?.[1];
  return base64 === undefined ? bytes : Buffer.from(base64, 'base64');
}

function only(der: Buffer): { readonly whole: Buffer } {
  if (der[0] !== SEQUENCE) throw new RangeError('not DER');
  return { whole: der };
}

function timeOf({ tag, body }: Part): number | undefined {
  const text = body.toString('latin1');
  const [, year = '', rest = ''] = (tag === 0x17 ? /^(\d\d)(\d{10})Z$/ : /^(\d{4})(\d{10})Z$/).exec(text) ?? [];
  if (rest === '') return undefined;
  const full = tag === 0x17 ? Number(year) + (Number(year) < 50 ? 2000 : 1900) : Number(year);
  const [month, day, hour, minute, second] = rest.match(/../g)!.map(Number) as [number, number, number, number, number];
  return Date.UTC(full, month - 1, day, hour, minute, second);
}
