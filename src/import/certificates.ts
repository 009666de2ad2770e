// Certificates and keys that came with an import: taken apart, and what is wrong with them said before a handshake fails of it.
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import type nodeForge from 'node-forge';
import { commonName, fingerprint, pemBlocks } from '../identity/x509.ts';
import { type Finding, fileRef, type Plan, slug } from './plan.ts';

/** A P12 that asks for more rounds is made to stand still. */
const MAX_ITERATIONS = 1_000_000;
const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2';

export interface Bundle {
  readonly certificates: readonly X509Certificate[];
  readonly key: KeyObject | undefined;
}

/** Says in words why it cannot be read. */
export class Unreadable extends Error {
  readonly fix: string;
  constructor(words: string, fix: string) {
    super(words);
    this.fix = fix;
  }
}

/** PEM: certificates and, perhaps, a key. @throws Unreadable */
export function readPem(text: string, password: string | undefined): Bundle {
  const certificates = pemBlocks(text).map((block) => {
    try {
      return new X509Certificate(block);
    } catch {
      throw new Unreadable('a certificate in it is damaged', 'have the file made or copied again');
    }
  });
  const block = /-----BEGIN ((?:RSA |EC |ENCRYPTED )?PRIVATE KEY)-----[\s\S]+?-----END \1-----/.exec(text)?.[0];
  return { certificates, key: block === undefined ? undefined : keyOf(block, password) };
}

function keyOf(block: string, password: string | undefined): KeyObject {
  const isLocked = /ENCRYPTED/.test(block);
  if (isLocked && password === undefined)
    throw new Unreadable('the private key has a password', 'name it with --password-file');
  try {
    return createPrivateKey({ key: block, ...(isLocked ? { passphrase: password } : {}) });
  } catch {
    if (isLocked) throw new Unreadable('the password of the private key is wrong', 'ask whoever made the file');
    throw new Unreadable('the private key in it is damaged', 'have the file made or copied again');
  }
}

/** @throws Unreadable */
export async function readP12(bytes: Buffer, password: string): Promise<Bundle> {
  const loaded = (await import('node-forge')) as unknown as { readonly default: typeof nodeForge };
  const forge = loaded.default;
  let p12: nodeForge.pkcs12.Pkcs12Pfx;
  try {
    const asn1 = forge.asn1.fromDer(bytes.toString('latin1'));
    if (rounds(asn1) > MAX_ITERATIONS)
      throw new Unreadable('it asks for too many rounds of its password', 'have it made again');
    p12 = forge.pkcs12.pkcs12FromAsn1(asn1, false, password);
  } catch (error) {
    if (error instanceof Unreadable) throw error;
    const words = error instanceof Error ? error.message : String(error);
    if (/mac|password/i.test(words)) {
      throw new Unreadable(
        'the password of the P12 file is wrong',
        'ask whoever made it; "atakatak" is usual for TAK, and no secret',
      );
    }
    throw new Unreadable(
      'it is no P12 file that can be read here',
      'convert it: openssl pkcs12 -in FILE -nodes -out FILE.pem, and import that',
    );
  }
  const bags = p12.safeContents.flatMap(({ safeBags }) => safeBags);
  const certificates = bags
    .filter(({ cert }) => cert)
    .map(({ cert }) => new X509Certificate(forge.pki.certificateToPem(cert!)));
  const key = bags.find((bag) => bag.key)?.key;
  return { certificates, key: key ? createPrivateKey(forge.pki.privateKeyToPem(key)) : undefined };
}

/** The largest whole number that stands in the open part of the file. */
function rounds(asn1: nodeForge.asn1.Asn1, depth = 0): number {
  const { value } = asn1;
  if (depth > 16) return 0;
  if (Array.isArray(value)) return Math.max(0, ...value.map((one) => rounds(one as nodeForge.asn1.Asn1, depth + 1)));
  if ((asn1.type as unknown as number) !== 2 || value.length > 6) return 0;
  return Number.parseInt(Buffer.from(value, 'latin1').toString('hex') || '0', 16);
}

export interface Sorted {
  readonly plan: Pick<Plan, 'files' | 'findings'>;
  /** File references; undefined: there is none that can be used. */
  readonly cert: string | undefined;
  readonly key: string | undefined;
  readonly trust: readonly string[];
}

/** Our own pair and whom to trust, each explained. `as`: what the files are called. */
export function sortOut({ certificates, key }: Bundle, as: string, nowMs: number): Sorted {
  const findings: Finding[] = certificates.flatMap((one) => datesOf(one, nowMs));
  const own = key && certificates.find((one) => one.checkPrivateKey(key));
  if (key && !own) {
    findings.push({
      level: 'refused',
      words: 'the private key belongs to none of the certificates that came with it',
      fix: 'ask for the certificate that was made for this key',
    });
  }
  if (own?.ca) {
    findings.push({
      level: 'refused',
      words: `the certificate with the key, ${who(own)}, is an authority's: it signs others and is not shown to servers`,
      fix: 'give that key back and delete it here; ask for a client certificate signed by that authority',
    });
  }
  const usages: readonly string[] | undefined = own?.keyUsage;
  if (own && usages && !usages.includes(CLIENT_AUTH) && !usages.includes('2.5.29.37.0')) {
    findings.push({
      level: 'warning',
      words: `${who(own)} was made for servers (extended key usage without clientAuth): TAK Servers refuse it from whoever dials`,
      fix: 'have it made with clientAuth and serverAuth',
    });
  }
  const usable = key && own && !own.ca ? { key, own } : undefined;
  const above = certificates.filter((one) => one !== own);
  const others = above.filter((one) => !one.ca && one !== own);
  for (const leaf of others) {
    findings.push({
      level: 'warning',
      words: `${who(leaf)} is a server's own certificate, not an authority's: it is trusted for itself alone, until it is renewed`,
      fix: 'better: the certificate of the authority that signed it',
    });
  }
  const chain = usable ? [usable.own, ...above.filter(({ ca }) => ca)] : [];
  const files = [
    ...(usable
      ? [
          { name: `${as}.pem`, text: chain.map(String).join('') },
          { name: `${as}.key`, text: usable.key.export({ type: 'pkcs8', format: 'pem' }) as string },
        ]
      : []),
    ...(above.length > 0 ? [{ name: `${as}-ca.pem`, text: above.map(String).join('') }] : []),
  ];
  for (const one of certificates)
    findings.push({
      level: 'ok',
      words: `${who(one)}, ${one === own ? 'ours, with its key' : one.ca ? 'an authority' : 'a certificate'}, until ${one.validToDate.toISOString().slice(0, 10)}`,
    });
  return {
    plan: { files, findings },
    cert: usable && fileRef(`${as}.pem`),
    key: usable && fileRef(`${as}.key`),
    trust: above.length > 0 ? [fileRef(`${as}-ca.pem`)] : [],
  };
}

/** Only certificates, to trust. */
export function trustOnly(bundle: Bundle, as: string, nowMs: number): Sorted {
  return sortOut({ certificates: bundle.certificates, key: undefined }, slug(as), nowMs);
}

function datesOf(certificate: X509Certificate, nowMs: number): readonly Finding[] {
  const to = certificate.validToDate.getTime();
  if (to < nowMs) {
    return [
      {
        level: 'refused',
        words: `${who(certificate)} ended on ${certificate.validTo}`,
        fix: 'ask for a new one; or set the clock of this computer if it is wrong',
      },
    ];
  }
  if (certificate.validFromDate.getTime() > nowMs) {
    return [
      {
        level: 'warning',
        words: `${who(certificate)} is valid only from ${certificate.validFrom}`,
        fix: 'set the clock of this computer if it is behind',
      },
    ];
  }
  if (to - nowMs < 30 * 86_400_000) {
    return [
      {
        level: 'warning',
        words: `${who(certificate)} ends on ${certificate.validTo}`,
        fix: 'ask for a new one in time',
      },
    ];
  }
  return [];
}

function who(certificate: X509Certificate): string {
  return `"${commonName(certificate)}" (SHA-256 ${fingerprint(certificate).slice(0, 16)}…)`;
}
