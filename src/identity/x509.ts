// Writes X.509 certificates and looks into the parts of them that node:crypto does not show. node:crypto signs with RSA,
// EC and Ed25519 keys but makes no certificates; node-forge makes certificates but only RSA ones. So the DER stands here.
import { createHash, createPublicKey, type KeyObject, randomBytes, sign, X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { domainToASCII } from 'node:url';
import { bitString, children, integer, objectId, type Part, sequence, time, tlv, tlvAt } from './der.ts';

/** ub-common-name of RFC 5280, appendix A.1. */
export const MAX_NAME = 64;

/** Contents of the object identifiers we write or look for, as hex. */
export const OID = {
  commonName: '550403', // 2.5.4.3
  organizationalUnit: '55040b', // 2.5.4.11
  subjectKeyId: '551d0e', // 2.5.29.14
  keyUsage: '551d0f', // 2.5.29.15
  subjectAltName: '551d11', // 2.5.29.17
  basicConstraints: '551d13', // 2.5.29.19
  certificatePolicies: '551d20', // 2.5.29.32
  authorityKeyId: '551d23', // 2.5.29.35
  extendedKeyUsage: '551d25', // 2.5.29.37
  serverAuth: '2b06010505070301', // 1.3.6.1.5.5.7.3.1
  clientAuth: '2b06010505070302', // 1.3.6.1.5.5.7.3.2
} as const;

const RSASSA_PSS = '2a864886f70d01010a';
const STRONG_SIGNATURES: ReadonlySet<string> = new Set([
  '2a864886f70d01010b', // sha256WithRSAEncryption, then SHA-384 and SHA-512
  '2a864886f70d01010c',
  '2a864886f70d01010d',
  '2a8648ce3d040302', // ecdsa-with-SHA256, then SHA-384 and SHA-512
  '2a8648ce3d040303',
  '2a8648ce3d040304',
  '2b6570', // Ed25519
]);
const SHA_2 = /60864801650304020[123]/;

export interface CertificatePlan {
  readonly commonName: string;
  /** OU of the subject; '': none. */
  readonly unit?: string | undefined;
  /** The key the certificate is for; a private key stands for its public half. */
  readonly key: KeyObject;
  /** Who signs. Undefined: signed with `key` itself. */
  readonly issuer?: { readonly certificate: X509Certificate; readonly key: KeyObject } | undefined;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** A certificate authority; `pathLength`: how many authorities may stand below it. */
  readonly authority?: { readonly pathLength?: number } | undefined;
  /** Extended key usages; empty: the extension is left out, which means any. */
  readonly usages?: readonly ('client' | 'server')[] | undefined;
  /** Host names and IP addresses. */
  readonly hosts?: readonly string[] | undefined;
}

/** Makes a certificate: version 3, SHA-256, a random positive serial of 16 bytes. */
export function makeCertificate(plan: CertificatePlan): X509Certificate {
  const signer = plan.issuer?.key ?? plan.key;
  const subject = name(plan.commonName, plan.unit);
  const spki = publicHalf(plan.key).export({ type: 'spki', format: 'der' });
  const algorithm = signatureAlgorithm(signer);
  const tbs = sequence(
    tlv(0xa0, integer(Buffer.of(2))),
    integer(serial()),
    algorithm,
    plan.issuer ? certificateParts(plan.issuer.certificate).subject : subject,
    sequence(time(plan.notBeforeMs), time(plan.notAfterMs)),
    subject,
    spki,
    tlv(0xa3, sequence(...extensionsOf(plan, spki))),
  );
  const signature = sign(signer.asymmetricKeyType === 'ed25519' ? null : 'sha256', tbs, signer);
  return new X509Certificate(sequence(tbs, algorithm, bitString(signature)));
}

/** The subjectAltName content for these hosts, sorted so that equal sets give equal bytes; undefined when none is usable. */
export function altNames(hosts: readonly string[]): Buffer | undefined {
  const names = [...new Set(hosts.map((host) => host.trim().toLowerCase()))].sort().map(altName);
  const usable = names.filter((entry) => entry !== undefined);
  return usable.length > 0 ? sequence(...usable) : undefined;
}

export interface Extension {
  readonly critical: boolean;
  /** The extension's own DER. */
  readonly value: Buffer;
}

/** Extensions of a certificate by object identifier (hex, as in OID). Throws RangeError on DER that does not add up. */
export function extensions(certificate: X509Certificate): Map<string, Extension> {
  const found = new Map<string, Extension>();
  for (const entry of certificateParts(certificate).extensions) {
    const [id, ...rest] = children(entry);
    const value = rest.at(-1);
    if (!id || !value || found.has(id.body.toString('hex'))) throw new RangeError('extension empty or twice');
    found.set(id.body.toString('hex'), { critical: isTrue(rest[0]), value: value.body });
  }
  return found;
}

function isTrue(part: Part | undefined): boolean {
  return part?.tag === 0x01 && part.body[0] !== 0;
}

/** Whether the signature on the certificate rests on SHA-2 (or is Ed25519, which does). MD5 and SHA-1 can be forged. */
export function hasStrongSignature(certificate: X509Certificate): boolean {
  const [id, parameters] = children(children(certificate.raw)[1]?.whole ?? Buffer.alloc(0));
  const algorithm = id?.body.toString('hex') ?? '';
  if (algorithm !== RSASSA_PSS) return STRONG_SIGNATURES.has(algorithm);
  // RFC 4055 §3.1: the hash is in the parameters; left out it means SHA-1.
  const hash = parameters && children(parameters.whole).find((part) => part.tag === 0xa0);
  return hash !== undefined && SHA_2.test(hash.body.toString('hex'));
}

/** How many authorities may stand below this one: basicConstraints pathLenConstraint (RFC 5280 §4.2.1.9). */
export function pathLength(certificate: X509Certificate): number {
  const constraints = extensions(certificate).get(OID.basicConstraints);
  const limit = constraints && children(constraints.value).find((part) => part.tag === 0x02);
  return limit ? Number.parseInt(limit.body.toString('hex'), 16) : Number.POSITIVE_INFINITY;
}

/** SHA-256 of the DER, lower hex, no colons. */
export function fingerprint(certificate: X509Certificate): string {
  return certificate.fingerprint256.replaceAll(':', '').toLowerCase();
}

/** The subject's CN (the first, when there are several), fit to be shown; '' when there is none. */
export function commonName(certificate: X509Certificate): string {
  return firstName(certificate.toLegacyObject().subject?.CN);
}

/** The subject's OU, likewise. */
export function organizationalUnit(certificate: X509Certificate): string {
  return firstName(certificate.toLegacyObject().subject?.OU);
}

/** The CN of whoever signed it, likewise. */
export function issuerName(certificate: X509Certificate): string {
  return firstName(certificate.toLegacyObject().issuer?.CN);
}

/** The certificates in a PEM text, armour included. */
export function pemBlocks(text: string): readonly string[] {
  return text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
}

/** Without control and direction characters, cut to what a common name may hold. */
export function cleanName(name: string, maxLength = MAX_NAME): string {
  return [...name.replace(/[\p{Cc}\p{Cf}]/gu, '').trim()].slice(0, maxLength).join('');
}

function firstName(name: string | readonly string[] | undefined): string {
  return cleanName(typeof name === 'string' ? name : (name?.[0] ?? ''));
}

function publicHalf(key: KeyObject): KeyObject {
  return key.type === 'private' ? createPublicKey(key) : key;
}

function extensionsOf(plan: CertificatePlan, spki: Buffer): Buffer[] {
  const written = [
    extension(OID.basicConstraints, true, basicConstraints(plan.authority)),
    extension(OID.keyUsage, true, keyUsage(plan)),
    extension(OID.subjectKeyId, false, tlv(0x04, keyId(spki))),
  ];
  const authorityKeyId = plan.issuer ? issuerKeyId(plan.issuer.certificate) : keyId(spki);
  if (authorityKeyId) written.push(extension(OID.authorityKeyId, false, sequence(tlv(0x80, authorityKeyId))));
  const usages = (plan.usages ?? []).map((usage) => objectId(usage === 'client' ? OID.clientAuth : OID.serverAuth));
  if (usages.length > 0) written.push(extension(OID.extendedKeyUsage, false, sequence(...usages)));
  const names = altNames(plan.hosts ?? []);
  if (names) written.push(extension(OID.subjectAltName, false, names));
  return written;
}

function extension(id: string, critical: boolean, value: Buffer): Buffer {
  return sequence(objectId(id), ...(critical ? [tlv(0x01, Buffer.of(0xff))] : []), tlv(0x04, value));
}

function basicConstraints(authority: CertificatePlan['authority']): Buffer {
  if (!authority) return sequence();
  const limit = authority.pathLength === undefined ? [] : [integer(Buffer.of(authority.pathLength))];
  return sequence(tlv(0x01, Buffer.of(0xff)), ...limit);
}

/** RFC 5280 §4.2.1.3, bits counted from the left; only an RSA key can encipher keys (RFC 8813). */
function keyUsage(plan: CertificatePlan): Buffer {
  if (plan.authority) return tlv(0x03, Buffer.of(1, 0b0000_0110)); // keyCertSign, cRLSign
  if (plan.key.asymmetricKeyType === 'rsa') return tlv(0x03, Buffer.of(5, 0b1010_0000)); // digitalSignature, keyEncipherment
  return tlv(0x03, Buffer.of(7, 0b1000_0000)); // digitalSignature
}

/** RFC 7093 §2 method 1: the leftmost 160 bits of the SHA-256 of the public key's bits. */
function keyId(spki: Buffer): Buffer {
  const bits = children(spki)[1]?.body.subarray(1) ?? spki;
  return createHash('sha256').update(bits).digest().subarray(0, 20);
}

function issuerKeyId(issuer: X509Certificate): Buffer | undefined {
  const id = extensions(issuer).get(OID.subjectKeyId);
  return id && tlvAt(id.value, 0).body;
}

/** RFC 5280 §4.1.1.2: NULL parameters for RSA, none for ECDSA (RFC 5758) and Ed25519 (RFC 8410). */
function signatureAlgorithm(key: KeyObject): Buffer {
  if (key.asymmetricKeyType === 'rsa') return sequence(objectId('2a864886f70d01010b'), tlv(0x05));
  return sequence(objectId(key.asymmetricKeyType === 'ed25519' ? '2b6570' : '2a8648ce3d040302'));
}

function altName(host: string): Buffer | undefined {
  if (isIP(host)) return tlv(0x87, addressBytes(host));
  const ascii = domainToASCII(host);
  return ascii ? tlv(0x82, Buffer.from(ascii, 'latin1')) : undefined;
}

function addressBytes(address: string): Buffer {
  if (isIP(address) === 4) return Buffer.from(address.split('.').map(Number));
  // The URL parser writes any IPv6 address as hex groups with at most one "::".
  const [head = '', tail] = new URL(`http://[${address.replace(/%.*/, '')}]`).hostname.slice(1, -1).split('::');
  const groups = (text: string) => (text ? text.split(':') : []);
  const before = groups(head);
  const after = groups(tail ?? '');
  const zeros = new Array<string>(8 - before.length - after.length).fill('0');
  return Buffer.from([...before, ...zeros, ...after].map((group) => group.padStart(4, '0')).join(''), 'hex');
}

/** Positive, never starting with a zero byte (RFC 5280 §4.1.2.2). */
function serial(): Buffer {
  const bytes = randomBytes(16);
  bytes[0] = (bytes[0]! & 0x7f) | 0x40;
  return bytes;
}

/** A distinguished name: TAK needs a CN and nothing else (tak-federation §2.1). */
function name(commonName: string, unit = ''): Buffer {
  const part = (id: string, text: string) => tlv(0x31, sequence(objectId(id), tlv(0x0c, Buffer.from(text, 'utf8'))));
  const named = part(OID.commonName, commonName);
  return unit === '' ? sequence(named) : sequence(part(OID.organizationalUnit, unit), named);
}

/** TBSCertificate of RFC 5280 §4.1: version, serial, signature, issuer, validity, subject, key, …, [3] extensions. */
function certificateParts(certificate: X509Certificate): { subject: Buffer; extensions: Buffer[] } {
  const tbs = children(tlvAt(tlvAt(certificate.raw, 0).body, 0).whole);
  const versioned = tbs[0]?.tag === 0xa0 ? 1 : 0;
  const subject = tbs[versioned + 4];
  if (!subject) throw new RangeError('certificate without a subject');
  const holder = tbs.find((part) => part.tag === 0xa3);
  return { subject: subject.whole, extensions: holder ? children(holder.body).map((part) => part.whole) : [] };
}
