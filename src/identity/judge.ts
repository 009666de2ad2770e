// Decides whether a peer's certificate is good enough, and says in words why not.
//
// TLS runs with `requestCert: true, rejectUnauthorized: false`, and judge() rules before the first application byte is used.
// Sound, because the handshake itself still proves possession of the private key, whatever the chain is worth: a server
// signs the key exchange; a client that sends a certificate must send CertificateVerify, and OpenSSL ends the handshake when
// that signature is wrong. Only what OpenSSL's path validation would have said is ignored, and said here instead: OpenSSL
// insists on serverAuth for servers (TAK on clientAuth), knows no pins, and cannot explain itself.
// A resumed session carries the leaf only, or nothing; links switch resumption off. One that came would be judged by that.
import { X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import type { PeerIdentity } from '../core/session.ts';
import { type Crl, isListed } from './crl.ts';
import type { Notice } from './files.ts';
import type { Trust } from './trust.ts';
import {
  commonName,
  extensions,
  fingerprint,
  hasStrongSignature,
  issuerName,
  OID,
  pathLength,
  pemBlocks,
} from './x509.ts';

export type Verdict =
  | { readonly ok: true; readonly identity: PeerIdentity }
  | { readonly ok: false; readonly code: string; readonly words: string; readonly fix: string };

/** Certificates a peer may present, leaf included. */
const MAX_CHAIN = 6;
const MIN_RSA_BITS = 2048;
/** P-256, P-384, P-521 as OpenSSL names them. */
const CURVES: ReadonlySet<string | undefined> = new Set(['prime256v1', 'secp384r1', 'secp521r1']);
const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2';
const SERVER_AUTH = '1.3.6.1.5.5.7.3.1';
const ANY_USAGE = '2.5.29.37.0';
/** Critical extensions that are obeyed here, or restrict nothing we rely on (policies). */
const UNDERSTOOD: ReadonlySet<string> = new Set([
  OID.basicConstraints,
  OID.keyUsage,
  OID.extendedKeyUsage,
  OID.subjectAltName,
  OID.subjectKeyId,
  OID.authorityKeyId,
  OID.certificatePolicies,
]);

/** The certificates the peer sent, leaf first; one more than judge() takes at most, empty when it sent none. */
export function peerChain(socket: TLSSocket): X509Certificate[] {
  const chain: X509Certificate[] = [];
  let next = socket.getPeerX509Certificate();
  while (next && chain.length <= MAX_CHAIN && !chain.includes(next)) {
    chain.push(next);
    next = next.issuerCertificate;
  }
  return chain;
}

/**
 * Judges the certificates a peer presented, leaf first. `role`: the part the peer plays in TLS. `nowMs`: wall clock.
 * Never throws. Codes: no_certificate, chain_too_long, malformed, revoked, no_cn, ca_as_leaf, unknown_ca, not_pinned, bad_signature,
 * weak_key, weak_signature, chain_not_allowed, unsupported_extension, not_yet_valid, expired, wrong_eku; and those of the trust's objections.
 */
export function judge(
  chain: readonly X509Certificate[],
  trust: Trust,
  role: 'client' | 'server',
  nowMs: number,
): Verdict {
  const leaf = chain[0];
  if (!leaf) return { ok: false, ...NO_CERTIFICATE };
  if (chain.length > MAX_CHAIN) return { ok: false, ...CHAIN_TOO_LONG };
  try {
    // A chain file often holds the leaf once more.
    const others = chain.slice(1).filter(({ raw }) => !raw.equals(leaf.raw));
    const anchors = anchorsOf(trust);
    const objection = objectionTo(leaf, others, anchors, role, nowMs) ?? objected(leaf, anchors);
    if (objection) return { ok: false, ...objection };
    return { ok: true, identity: { id: fingerprint(leaf), name: commonName(leaf), proof: 'certificate' } };
  } catch (error) {
    return { ok: false, ...malformed(error) };
  }
}

interface Anchors {
  readonly bySubject: ReadonlyMap<string, readonly X509Certificate[]>;
  readonly pins: ReadonlySet<string>;
  readonly revoked: ReadonlySet<string>;
  readonly crls: readonly Crl[];
  readonly objections: NonNullable<Trust['objections']>;
}

const parsed = new WeakMap<Trust, Anchors>();

function anchorsOf(given: Trust): Anchors {
  const trust = given.now?.() ?? given;
  const known = parsed.get(trust);
  if (known) return known;
  const certificates = trust.cas.flatMap(pemBlocks).map((pem) => new X509Certificate(pem));
  const anchors = {
    bySubject: Map.groupBy(certificates, (certificate) => certificate.subject),
    pins: new Set(trust.pins),
    revoked: new Set(trust.revoked),
    crls: trust.crls ?? [],
    objections: trust.objections ?? [],
  };
  parsed.set(trust, anchors);
  return anchors;
}

function objected(leaf: X509Certificate, { objections }: Anchors): Notice | undefined {
  for (const objection of objections) {
    const notice = objection(leaf);
    if (notice) return notice;
  }
  return undefined;
}

function objectionTo(
  leaf: X509Certificate,
  others: readonly X509Certificate[],
  anchors: Anchors,
  role: 'client' | 'server',
  nowMs: number,
): Notice | undefined {
  if (anchors.revoked.has(fingerprint(leaf))) return revoked(leaf);
  if (!commonName(leaf)) return noName(leaf);
  // A pinned leaf was chosen by a person, certificate for certificate: who signed it and for what use does not matter.
  if (anchors.pins.has(fingerprint(leaf))) {
    const signer = others.find((certificate) => hasSigned(certificate, leaf));
    return listed([leaf, ...(signer ? [signer] : [])], anchors) ?? weakKey([leaf]) ?? outOfDate([leaf], nowMs);
  }
  if (leaf.ca) return authorityAsLeaf(leaf);
  const path =
    findPath([leaf], new Set(others), anchors, (certificate) => isCurrent(certificate, nowMs)) ??
    findPath([leaf], new Set(others), anchors, () => true);
  if (!path) return notTrusted(leaf, others, anchors);
  return (
    listed(path, anchors) ??
    weakKey(path) ??
    weakSignature(path) ??
    notAllowed(path) ??
    outOfDate(path, nowMs) ??
    wrongUse(leaf, role)
  );
}

/**
 * A path from the leaf to a trusted authority, or to a pinned one among those presented. Every presented certificate is
 * visited once, so that certificates made to sign each other in all directions cost no more than honest ones.
 */
function findPath(
  path: readonly X509Certificate[],
  unvisited: Set<X509Certificate>,
  anchors: Anchors,
  usable: (certificate: X509Certificate) => boolean,
): readonly X509Certificate[] | undefined {
  const tip = path.at(-1)!;
  if (anchors.pins.has(fingerprint(tip))) return path;
  const trusted = anchors.bySubject.get(tip.issuer)?.find((anchor) => usable(anchor) && hasSigned(anchor, tip));
  if (trusted) return [...path, trusted];
  for (const candidate of unvisited) {
    if (!usable(candidate) || !hasSigned(candidate, tip)) continue;
    unvisited.delete(candidate);
    const found = findPath([...path, candidate], unvisited, anchors, usable);
    if (found) return found;
  }
  return undefined;
}

function hasSigned(authority: X509Certificate, certificate: X509Certificate): boolean {
  return authority.ca && certificate.checkIssued(authority) && certificate.verify(authority.publicKey);
}

function isCurrent(certificate: X509Certificate, nowMs: number): boolean {
  return certificate.validFromDate.getTime() <= nowMs && nowMs <= certificate.validToDate.getTime();
}

const NO_CERTIFICATE: Notice = {
  code: 'no_certificate',
  words: 'the peer sent no certificate',
  fix: 'Give the peer a certificate with its key, signed by an authority this link trusts, and set it to present it.',
};

const CHAIN_TOO_LONG: Notice = {
  code: 'chain_too_long',
  words: `the peer sent more than ${MAX_CHAIN} certificates`,
  fix: 'Have the peer send its own certificate and the authorities that signed it, nothing else.',
};

function malformed(error: unknown): Notice {
  return {
    code: 'malformed',
    words: `a certificate of the peer cannot be read: ${error instanceof Error ? error.message : String(error)}`,
    fix: "Have the peer's certificate made again with a usual tool (openssl, TAK's makeCert.sh).",
  };
}

function revoked(leaf: X509Certificate): Notice {
  return {
    code: 'revoked',
    words: `the certificate of ${who(leaf)} was revoked on this box`,
    fix: 'If it is welcome after all: a phone is given a new one ("waystation phone add"); a federate is taken out of "revoked".',
  };
}

/** Named by a list of the authority above it. */
function listed(path: readonly X509Certificate[], { crls }: Anchors): Notice | undefined {
  const found = path.find((certificate, index) => isListed(certificate, path[index + 1], crls));
  return (
    found && {
      code: 'revoked',
      words: `${who(found)} stands on the revocation list of the authority that signed it`,
      fix: 'Have the peer given a new certificate. If the list is wrong, put a newer one in its place, and reload.',
    }
  );
}

function noName(leaf: X509Certificate): Notice {
  return {
    code: 'no_cn',
    words: `the certificate of the peer has no name (CN) in its subject: ${who(leaf)}`,
    fix: "Have the peer's certificate made again with a CN: TAK names its federates by it.",
  };
}

function authorityAsLeaf(leaf: X509Certificate): Notice {
  return {
    code: 'ca_as_leaf',
    words: `the peer presents an authority's certificate as its own: ${who(leaf)}`,
    fix: `Give the peer a certificate signed by that authority. If it signed this one for itself and is meant to use it, pin it: ${pin(leaf)}`,
  };
}

/** Finds out how far the presented chain goes, and what stands where a trusted authority should. */
function notTrusted(leaf: X509Certificate, others: readonly X509Certificate[], anchors: Anchors): Notice {
  const unvisited = new Set(others);
  let top = leaf;
  for (let next: X509Certificate | undefined = leaf; next; ) {
    top = next;
    next = [...unvisited].find((candidate) => hasSigned(candidate, top));
    if (next) unvisited.delete(next);
  }
  const namesakes = [...(anchors.bySubject.get(top.issuer) ?? []), ...others];
  const namesake = namesakes.find((certificate) => certificate !== top && certificate.subject === top.issuer);
  if (namesake) return badSignature(top, namesake);
  if (anchors.bySubject.size === 0 && anchors.pins.size > 0) return notPinned(leaf);
  return unknownAuthority(leaf, top, anchors);
}

function badSignature(signed: X509Certificate, namesake: X509Certificate): Notice {
  return {
    code: 'bad_signature',
    words: `${who(signed)} names an authority known here, but was not signed with the key of that one, ${who(namesake)}`,
    fix: 'The authority was probably made anew under its old name, or two have the same name: get the certificate of the one that signed this, and trust that.',
  };
}

function notPinned(leaf: X509Certificate): Notice {
  return {
    code: 'not_pinned',
    words: `${who(leaf)} is not a certificate pinned for this link, nor signed by a pinned authority that came with it`,
    fix: `Ask the peer's operator to read out its SHA-256 fingerprint. If it is the same, put it in place of the old pin: ${pin(leaf)}`,
  };
}

function unknownAuthority(leaf: X509Certificate, top: X509Certificate, anchors: Anchors): Notice {
  const nobody = anchors.bySubject.size + anchors.pins.size === 0;
  const words = nobody ? `this link trusts nobody yet, so not ${who(leaf)} either` : `${who(leaf)} is not trusted here`;
  if (top.subject !== top.issuer) {
    return {
      code: 'unknown_ca',
      words: `${words}: the peer did not send the certificate of "${issuerName(top)}", which signed ${top === leaf ? 'it' : who(top)}`,
      fix: `Add the certificate of "${issuerName(top)}" to what this link trusts. If that is an intermediate of an authority trusted here, have the peer send its whole chain.`,
    };
  }
  return {
    code: 'unknown_ca',
    words: top === leaf ? `${words}: it signed itself` : `${words}: the authority above it is ${who(top)}`,
    fix: `If this peer is welcome, compare the fingerprint with its operator and trust ${top === leaf ? 'it' : 'that authority'}: ${pin(top)}`,
  };
}

function weakKey(path: readonly X509Certificate[]): Notice | undefined {
  const weak = path.find((certificate) => !hasStrongKey(certificate));
  if (!weak) return undefined;
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = weak.publicKey;
  return {
    code: 'weak_key',
    words: `the key of ${who(weak)} is too weak or of an unusual kind: ${type} ${details?.modulusLength ?? details?.namedCurve ?? ''}`,
    fix: `Have that certificate made again with an RSA key of ${MIN_RSA_BITS} bits or more, or an EC key on P-256.`,
  };
}

function hasStrongKey({ publicKey }: X509Certificate): boolean {
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = publicKey;
  if (type === 'rsa' || type === 'rsa-pss') return (details?.modulusLength ?? 0) >= MIN_RSA_BITS;
  return type === 'ed25519' || (type === 'ec' && CURVES.has(details?.namedCurve));
}

/** The last of a path is trusted for itself: its own signature proves nothing. */
function weakSignature(path: readonly X509Certificate[]): Notice | undefined {
  const weak = path.slice(0, -1).find((certificate) => !hasStrongSignature(certificate));
  return (
    weak && {
      code: 'weak_signature',
      words: `${who(weak)} was signed with ${weak.signatureAlgorithm ?? 'an unknown method'}, which can be forged`,
      fix: 'Have that certificate signed again with SHA-256.',
    }
  );
}

/** Restrictions that authorities put on what is below them: path length, and whatever else is marked critical. */
function notAllowed(path: readonly X509Certificate[]): Notice | undefined {
  const crossed = path.find((certificate, index) => index > 0 && index - 1 > pathLength(certificate));
  if (crossed) {
    return {
      code: 'chain_not_allowed',
      words: `${who(crossed)} may not have that many authorities below it`,
      fix: 'Have the peer use a certificate signed by that authority itself, or trust the lower authority directly.',
    };
  }
  for (const certificate of path) {
    for (const [id, { critical }] of extensions(certificate)) {
      if (critical && !UNDERSTOOD.has(id)) return unsupported(certificate, id);
    }
  }
  return undefined;
}

function unsupported(certificate: X509Certificate, id: string): Notice {
  return {
    code: 'unsupported_extension',
    words: `${who(certificate)} has a critical restriction that this relay does not know (object identifier ${id})`,
    fix: `Have it made again without that restriction, or pin the peer's own certificate.`,
  };
}

function outOfDate(path: readonly X509Certificate[], nowMs: number): Notice | undefined {
  const certificate = path.find((candidate) => !isCurrent(candidate, nowMs));
  if (!certificate) return undefined;
  const clock = `the clock of this box says ${date(nowMs)}`;
  if (nowMs < certificate.validFromDate.getTime()) {
    return {
      code: 'not_yet_valid',
      words: `${who(certificate)} is valid only from ${date(certificate.validFromDate.getTime())}, and ${clock}`,
      fix: 'Set the clock of this box if it is behind. If it is right, the clock of the peer was ahead when the certificate was made: set that one and make the certificate again.',
    };
  }
  return {
    code: 'expired',
    words: `${who(certificate)} ended on ${date(certificate.validToDate.getTime())}, and ${clock}`,
    fix: `Have ${certificate === path[0] ? "the peer's certificate" : 'the certificate of that authority'} renewed. If the clock of this box is wrong, set it.`,
  };
}

/**
 * As lenient as TAK (§2.1): a client needs clientAuth; a server clientAuth, as TAK demands, or serverAuth, as OpenSSL does;
 * a certificate that says nothing may be used for anything.
 */
function wrongUse(leaf: X509Certificate, role: 'client' | 'server'): Notice | undefined {
  const usages: readonly string[] | undefined = leaf.keyUsage;
  const wanted = role === 'client' ? [CLIENT_AUTH, ANY_USAGE] : [CLIENT_AUTH, SERVER_AUTH, ANY_USAGE];
  if (!usages || usages.some((usage) => wanted.includes(usage))) return undefined;
  return {
    code: 'wrong_eku',
    words: `${who(leaf)} was made for another use: its extended key usage lacks ${role === 'client' ? 'clientAuth' : 'serverAuth and clientAuth'}`,
    fix: "Have the peer's certificate made again for clientAuth and serverAuth, which is what federation needs; certificates of public authorities lack clientAuth.",
  };
}

/** `"relay-b" (issued by "Site B CA", SHA-256 0123456789abcdef…)` */
function who(certificate: X509Certificate): string {
  const issuer = certificate.subject === certificate.issuer ? 'itself' : `"${issuerName(certificate)}"`;
  return `"${commonName(certificate)}" (issued by ${issuer}, SHA-256 ${fingerprint(certificate).slice(0, 16)}…)`;
}

/** As it is written in the configuration. */
function pin(certificate: X509Certificate): string {
  return `SHA256:${fingerprint(certificate)}`;
}

function date(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 16).replace('T', ' ')} UTC`;
}
