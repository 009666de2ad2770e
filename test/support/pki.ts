// Certificates for tests, made in a millisecond: authorities, leaves and every bad case. EC keys unless a test asks for
// another kind; a key is made once per kind and name in a process.
import { createHash, generateKeyPairSync, type KeyObject, type X509Certificate } from 'node:crypto';
import type { Identity, KeyPair } from '../../src/identity/identity.ts';
import type { Trust } from '../../src/identity/trust.ts';
import { makeCertificate } from '../../src/identity/x509.ts';

/** `rsa1024` is too weak on purpose. */
export type KeyKind = 'ec' | 'rsa' | 'rsa1024' | 'ed25519';

interface Dates {
  /** Default: yesterday. */
  readonly notBefore?: Date;
  /** Default: in a year. */
  readonly notAfter?: Date;
}

export interface CaOptions extends Dates {
  readonly cn: string;
  readonly key?: KeyKind;
  /** The authority that signs this one. */
  readonly intermediateOf?: TestCa;
  readonly pathLength?: number;
  /** Makes another key although one of this name exists: a remade CA. */
  readonly freshKey?: boolean;
}

export interface LeafOptions extends Dates {
  readonly cn: string;
  /** OU of its subject. */
  readonly unit?: string | undefined;
  /** Default: both. `none`: the certificate says nothing about its use. */
  readonly eku?: readonly ('client' | 'server')[] | 'none';
  /** Host names and addresses. */
  readonly sans?: readonly string[];
  readonly key?: KeyKind;
}

export interface TestCa {
  readonly commonName: string;
  /** This authority alone. */
  readonly certPem: string;
  readonly keyPem: string;
  /** SHA-256 of the DER, lower hex. */
  readonly fingerprint: string;
  readonly notAfterMs: number;
  /** This authority, then those above it up to the root. */
  readonly chainPem: string;
  readonly x509: X509Certificate;
  readonly key: KeyObject;
}

/** A KeyPair, so it can stand wherever the relay's own certificate does. `certPem`: leaf, then its authorities. */
export interface TestLeaf extends KeyPair {
  readonly leafPem: string;
  readonly caPem: string;
  readonly caFingerprint: string;
  readonly x509: X509Certificate;
}

const DAY_MS = 24 * 60 * 60 * 1000;
const keys = new Map<string, KeyObject>();

/** A private key; the same one for the same kind and name. */
export function testKey(kind: KeyKind, name: string): KeyObject {
  const id = `${kind} ${name}`;
  const key = keys.get(id) ?? newKey(kind);
  keys.set(id, key);
  return key;
}

export function makeCa(options: CaOptions): TestCa {
  const key = options.freshKey ? newKey(options.key ?? 'ec') : testKey(options.key ?? 'ec', `ca ${options.cn}`);
  const above = options.intermediateOf;
  const x509 = makeCertificate({
    commonName: options.cn,
    key,
    issuer: above && { certificate: above.x509, key: above.key },
    authority: options.pathLength === undefined ? {} : { pathLength: options.pathLength },
    ...dates(options),
  });
  const certPem = x509.toString();
  return {
    commonName: options.cn,
    certPem,
    keyPem: pem(key),
    fingerprint: fingerprint(x509),
    notAfterMs: x509.validToDate.getTime(),
    chainPem: certPem + (above?.chainPem ?? ''),
    x509,
    key,
  };
}

export function makeLeaf(ca: TestCa, options: LeafOptions): TestLeaf {
  const key = testKey(options.key ?? 'ec', `leaf ${options.cn}`);
  const x509 = makeCertificate({
    commonName: options.cn,
    unit: options.unit,
    key,
    issuer: { certificate: ca.x509, key: ca.key },
    usages: options.eku === 'none' ? [] : (options.eku ?? ['client', 'server']),
    hosts: options.sans,
    ...dates(options),
  });
  return testLeaf(x509, key, ca);
}

/** A self-signed certificate that is nobody's authority, as some servers make for themselves. */
export function makeSelfSigned(options: LeafOptions & { readonly authority?: boolean }): TestLeaf {
  const key = testKey(options.key ?? 'ec', `leaf ${options.cn}`);
  const x509 = makeCertificate({
    commonName: options.cn,
    key,
    authority: options.authority ? {} : undefined,
    usages: options.eku === 'none' ? [] : (options.eku ?? ['client', 'server']),
    hosts: options.sans,
    ...dates(options),
  });
  return testLeaf(x509, key, { chainPem: '', certPem: x509.toString(), fingerprint: fingerprint(x509) });
}

/** Trust in these authorities. */
export function trusting(...cas: readonly { readonly certPem: string }[]): Trust {
  return { cas: cas.map((ca) => ca.certPem), pins: [] };
}

/** Trust in these very certificates. */
export function pinning(...certificates: readonly { readonly fingerprint: string }[]): Trust {
  return { cas: [], pins: certificates.map((certificate) => certificate.fingerprint) };
}

/** An identity that lives in memory: what links need in tests, without files and without waiting for RSA keys. */
export function testIdentity(name: string): Identity & { readonly trust: Trust } {
  const ca = makeCa({ cn: `${name} CA` });
  const leaves = new Map<string, TestLeaf>();
  const leaf = (id: string, { selfSigned, ...options }: LeafOptions & { readonly selfSigned?: boolean }) => {
    const made = leaves.get(id) ?? (selfSigned ? makeSelfSigned(options) : makeLeaf(ca, options));
    leaves.set(id, made);
    return made;
  };
  return {
    id: `ws-${createHash('sha256').update(name).digest('hex').slice(0, 16)}`,
    ca,
    trust: trusting(ca),
    federation: (link = '') => leaf(`federation ${link}`, { cn: name }),
    server: () => leaf('server', { cn: name, eku: ['server'], sans: ['localhost', '127.0.0.1', '::1'] }),
    portal: () => leaf('portal', { cn: name, selfSigned: true }),
    issueClient: (client, _days, unit) => makeLeaf(ca, { cn: client, unit, eku: ['client'] }),
    revocations: { cas: [], pins: [] },
  };
}

function testLeaf(
  x509: X509Certificate,
  key: KeyObject,
  ca: { readonly chainPem: string; readonly certPem: string; readonly fingerprint: string },
): TestLeaf {
  return {
    certPem: x509.toString() + ca.chainPem,
    leafPem: x509.toString(),
    keyPem: pem(key),
    fingerprint: fingerprint(x509),
    commonName: x509.toLegacyObject().subject.CN as string,
    notAfterMs: x509.validToDate.getTime(),
    caPem: ca.certPem,
    caFingerprint: ca.fingerprint,
    x509,
  };
}

function newKey(kind: KeyKind): KeyObject {
  if (kind === 'ec') return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
  if (kind === 'ed25519') return generateKeyPairSync('ed25519').privateKey;
  return generateKeyPairSync('rsa', { modulusLength: kind === 'rsa' ? 2048 : 1024 }).privateKey;
}

function dates(options: Dates): { notBeforeMs: number; notAfterMs: number } {
  const now = Date.now();
  return {
    notBeforeMs: options.notBefore?.getTime() ?? now - DAY_MS,
    notAfterMs: options.notAfter?.getTime() ?? now + 365 * DAY_MS,
  };
}

function pem(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }) as string;
}

function fingerprint(certificate: X509Certificate): string {
  return createHash('sha256').update(certificate.raw).digest('hex');
}
