// Whom we accept. A link's trust is a list of authorities and pins; judge() holds a presented certificate against it.
import { X509Certificate } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { FatalError } from '../lib/errors.ts';
import { type Crl, readCrl } from './crl.ts';
import type { Notice } from './files.ts';
import { commonName, fingerprint, pemBlocks } from './x509.ts';

export { judge, peerChain, type Verdict } from './judge.ts';
export { explainTlsError } from './tls-errors.ts';

export interface Trust {
  /** PEM of certificate authorities whose leaves are accepted. */
  readonly cas: readonly string[];
  /** SHA-256 of a leaf or CA, lower hex without colons. */
  readonly pins: readonly string[];
  /** SHA-256 of leaves that are not accepted any more, whoever signed or pinned them. */
  readonly revoked?: readonly string[] | undefined;
  /** Lists by which authorities revoke what they signed. */
  readonly crls?: readonly Crl[] | undefined;
  /** Asked last, of the leaf of whoever is accepted by all of the above: why not here; undefined: nothing is against it. */
  readonly objections?: readonly ((leaf: X509Certificate) => Notice | undefined)[] | undefined;
  /** Trust that may change says when it does; whoever was let in by it is judged again. Returns the listener's removal. */
  onChange?(listener: () => void): () => void;
  /** Such trust as it is now; the same object until it changes. */
  now?(): Trust;
}

/** Trust that changes while it is used: nobody has to start anew because another peer was added. */
export class LiveTrust implements Trust {
  #now: Trust;
  readonly #listeners = new Set<() => void>();

  constructor(trust: Trust) {
    this.#now = trust;
  }

  get cas(): readonly string[] {
    return this.#now.cas;
  }

  get pins(): readonly string[] {
    return this.#now.pins;
  }

  get revoked(): readonly string[] {
    return this.#now.revoked ?? [];
  }

  get crls(): readonly Crl[] {
    return this.#now.crls ?? [];
  }

  now(): Trust {
    return this.#now;
  }

  /** From now on. Whoever is no longer trusted is cut off before this returns. */
  become(trust: Trust): void {
    this.#now = trust;
    for (const listener of [...this.#listeners]) listener();
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

/** Trust as read from the configuration, with what a person should know about it. */
export interface LoadedTrust extends Trust {
  readonly warnings: readonly Notice[];
}

const MAX_FILE_BYTES = 1024 * 1024;
/** 100,000 entries. */
const MAX_CRL_BYTES = 10 * 1024 * 1024;
const MAX_CERTIFICATES = 1000;
const CERTIFICATE_FILE = /\.(pem|crt|cer|der)$/i;
const PIN = /^sha-?256:/i;

/** A piece of trust and where it came from, for words. */
interface Source {
  readonly name: string;
  readonly bytes: Buffer;
}

/**
 * Reads trust entries: a PEM or DER file, a folder of such files, PEM text itself, or `SHA256:<hex, colons or not>`.
 * File names start from `baseDir`. A certificate that is not an authority's is taken as a pin of itself, with a warning.
 * Throws FatalError when an entry cannot be used or there are more than 1000 certificates.
 */
export function loadTrust(entries: readonly string[], baseDir: string): LoadedTrust {
  const loaded: LoadedTrust[] = entries.map((entry) => {
    if (PIN.test(entry.trim())) return { cas: [], pins: [parsePin(entry.trim())], warnings: [] };
    return sortOut(sourcesOf(entry, baseDir).flatMap(certificatesOf));
  });
  const all = loaded.reduce(mergeLoaded, { cas: [], pins: [], warnings: [] });
  if (all.cas.length + all.pins.length > MAX_CERTIFICATES) throw tooMany();
  return all;
}

/**
 * Reads what is revoked: `SHA256:` fingerprints, and revocation lists of authorities as files (PEM or DER). Throws FatalError when an
 * entry cannot be used.
 */
export function loadRevocations(entries: readonly string[], baseDir: string): Trust {
  const pins = entries.filter((entry) => PIN.test(entry.trim()));
  const files = entries.filter((entry) => !PIN.test(entry.trim()));
  const crls = files.map((file) => {
    const path = resolve(baseDir, file);
    try {
      const { size } = statSync(path);
      if (size > MAX_CRL_BYTES) throw new Error(`it is larger than ${MAX_CRL_BYTES} bytes`);
      return { ...readCrl(readFileSync(path)), file: path };
    } catch (error) {
      throw new FatalError(
        'crl_unreadable',
        `the revocation list ${path} cannot be read: ${error instanceof Error ? error.message : String(error)}`,
        'Put the CRL file of the authority there (PEM or DER), or take the entry out of "revoked".',
        error,
      );
    }
  });
  return { cas: [], pins: [], revoked: pins.map((pin) => parsePin(pin.trim())), crls };
}

/** Accepts what either accepts, and nothing that either has revoked or objects to. */
export function mergeTrust(a: Trust, b: Trust): Trust {
  if (a.onChange || b.onChange) return mergeLive(a, b);
  const revoked = [...new Set([...(a.revoked ?? []), ...(b.revoked ?? [])])];
  const both = { cas: [...new Set([...a.cas, ...b.cas])], pins: [...new Set([...a.pins, ...b.pins])] };
  const crls = [...new Set([...(a.crls ?? []), ...(b.crls ?? [])])];
  const objections = [...new Set([...(a.objections ?? []), ...(b.objections ?? [])])];
  return {
    ...both,
    ...(revoked.length > 0 ? { revoked } : {}),
    ...(crls.length > 0 ? { crls } : {}),
    ...(objections.length > 0 ? { objections } : {}),
  };
}

function mergeLive(a: Trust, b: Trust): Trust {
  let parts: readonly Trust[] = [];
  let merged: Trust;
  const now = () => {
    const [one, two] = [a.now?.() ?? a, b.now?.() ?? b];
    if (parts[0] !== one || parts[1] !== two) {
      parts = [one, two];
      merged = mergeTrust(one, two);
    }
    return merged;
  };
  return {
    get cas() {
      return now().cas;
    },
    get pins() {
      return now().pins;
    },
    get revoked() {
      return now().revoked;
    },
    get crls() {
      return now().crls;
    },
    get objections() {
      return now().objections;
    },
    now,
    onChange(listener) {
      const releases = [a.onChange?.(listener), b.onChange?.(listener)];
      return () => {
        for (const release of releases) release?.();
      };
    },
  };
}

/** Whom the trust refuses, and nobody whom it accepts; live if it is. */
export function refusalsOf(trust: Trust): Trust {
  if (!trust.onChange) return { ...trust, cas: [], pins: [] };
  let of: Trust | undefined;
  let refusals: Trust = { cas: [], pins: [] };
  const now = () => {
    const latest = trust.now?.() ?? trust;
    if (latest !== of) refusals = { ...latest, cas: [], pins: [] };
    of = latest;
    return refusals;
  };
  return {
    cas: [],
    pins: [],
    get revoked() {
      return now().revoked;
    },
    get crls() {
      return now().crls;
    },
    get objections() {
      return now().objections;
    },
    now,
    onChange: (listener) => trust.onChange!(listener),
  };
}

function mergeLoaded(a: LoadedTrust, b: LoadedTrust): LoadedTrust {
  return { ...mergeTrust(a, b), warnings: [...a.warnings, ...b.warnings] };
}

function tooMany(): FatalError {
  return new FatalError(
    'trust_too_large',
    `more than ${MAX_CERTIFICATES} trusted certificates on one link`,
    'Trust the authorities that signed them instead of every single certificate.',
  );
}

function parsePin(entry: string): string {
  const hex = entry.replace(PIN, '').replace(/[\s:]/g, '').toLowerCase();
  if (/^[0-9a-f]{64}$/.test(hex)) return hex;
  throw new FatalError(
    'bad_pin',
    `"${entry.slice(0, 100)}" is not a SHA-256 fingerprint: it has ${hex.length} characters after the colon, not 64 hex digits`,
    'Copy the whole SHA-256 fingerprint of the certificate, as "openssl x509 -noout -fingerprint -sha256 -in FILE" prints it.',
  );
}

function sourcesOf(entry: string, baseDir: string): readonly Source[] {
  if (entry.includes('-----BEGIN'))
    return [{ name: 'the certificate text in the configuration', bytes: Buffer.from(entry) }];
  const path = resolve(baseDir, entry);
  try {
    return statSync(path).isDirectory() ? readFolder(path) : [readBounded(path)];
  } catch (error) {
    if (error instanceof FatalError) throw error;
    throw new FatalError(
      'trust_unreadable',
      `the trusted certificate ${path} cannot be read: ${error instanceof Error ? error.message : String(error)}`,
      'Put the file there, or correct its name in the configuration; relative names start from the folder of the configuration file.',
      error,
    );
  }
}

function readFolder(path: string): readonly Source[] {
  const names = readdirSync(path).filter((name) => CERTIFICATE_FILE.test(name) && !name.startsWith('.'));
  if (names.length > MAX_CERTIFICATES) throw tooMany();
  if (names.length > 0) return names.sort().map((name) => readBounded(join(path, name)));
  throw new FatalError(
    'trust_empty',
    `the folder ${path} holds no certificate files`,
    'Put the CA certificates there, in files ending in .pem, .crt, .cer or .der.',
  );
}

function readBounded(path: string): Source {
  const file = statSync(path);
  if (!file.isFile()) throw new Error('it is not a file'); // a device or pipe may never end
  if (file.size > MAX_FILE_BYTES) {
    throw new FatalError(
      'trust_too_large',
      `${path} is larger than ${MAX_FILE_BYTES} bytes`,
      'Name a file that holds the CA certificate and nothing else.',
    );
  }
  return { name: path, bytes: readFileSync(path) };
}

interface Named {
  readonly certificate: X509Certificate;
  readonly source: string;
}

function certificatesOf({ name, bytes }: Source): readonly Named[] {
  const text = bytes.toString('latin1');
  const blocks = text.includes('-----BEGIN') ? pemBlocks(text) : [bytes];
  try {
    if (blocks.length === 0) throw new Error('no certificate in it');
    return blocks.map((block) => ({ certificate: new X509Certificate(block), source: name }));
  } catch (error) {
    throw new FatalError('trust_unreadable', `${name} is not a certificate`, howToConvert(bytes, text), error);
  }
}

/** The files people have at hand where a certificate is wanted. */
function howToConvert(bytes: Buffer, text: string): string {
  if (bytes.subarray(0, 4).toString('hex') === 'feedfeed') {
    return 'It is a Java keystore: export the CA with "keytool -exportcert -rfc -alias ALIAS -keystore FILE -file ca.pem" and name ca.pem.';
  }
  if (text.includes('PRIVATE KEY')) return 'It is a private key. Name the CA certificate, and keep keys to yourself.';
  if (bytes[0] === 0x30) {
    return 'If it is a P12 store, take the CA out with "openssl pkcs12 -legacy -nokeys -cacerts -in FILE -out ca.pem" and name ca.pem.';
  }
  return 'Name a CA certificate in PEM form (it begins with -----BEGIN CERTIFICATE-----) or DER form.';
}

/** Authorities are trusted for what they sign, everything else for itself alone. */
function sortOut(found: readonly Named[]): LoadedTrust {
  const leaves = found.filter(({ certificate }) => !certificate.ca);
  return {
    cas: found.filter(({ certificate }) => certificate.ca).map(({ certificate }) => certificate.toString()),
    pins: leaves.map(({ certificate }) => fingerprint(certificate)),
    warnings: leaves.map(notAnAuthority),
  };
}

function notAnAuthority({ certificate, source }: Named): Notice {
  return {
    code: 'leaf_as_ca',
    words: `${source} holds the certificate of "${commonName(certificate)}" itself, not of an authority: that certificate is accepted for itself alone`,
    fix: 'Fine if that is what you want; it must then be replaced here whenever the peer renews it. Otherwise name the certificate of the CA that signed it.',
  };
}
