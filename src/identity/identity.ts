// Who this box is: its stable id, its certificate authority and the certificates that authority signs.
//
// On disk, one file per pair: the private key and its certificate live and die together, so no power cut can part them.
//   node-id                     the id
//   ca.secret.pem               the authority; made once, never replaced: every phone and peer holds its certificate
//   federation.secret.pem       our leaf towards other relays and TAK servers; federation.<link>.secret.pem for one link
//   server.secret.pem           our leaf towards phones
//   portal.secret.pem           towards relays like this one: EC, signed by itself
//   revoked                     client certificates that are accepted no more
//
// Peers may have pinned a federation leaf, so it changes only when it nears its end. The portal certificate is trusted by
// its pin and by nothing else, its dates included, so it never changes. Nobody pins the server leaf: it also changes with
// the name and the addresses of the box.
//
// Clocks: a board without a battery wakes in the past, ours and the peers' alike. So certificates are valid from the release
// date on (a box that runs a release cannot rightly be earlier), and an earlier clock counts as that date.
import { createPrivateKey, generateKeyPairSync, type KeyObject, randomBytes, sign, X509Certificate } from 'node:crypto';
import type { Clock } from '../lib/clock.ts';
import { FatalError } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import { type Notice, SecretFolder } from './files.ts';
import { SpareKey } from './keys.ts';
import { REVOKED_FILE, type Revocation, readRevoked, revokedText } from './revoked.ts';
import { LiveTrust, type Trust } from './trust.ts';
import {
  altNames,
  type CertificatePlan,
  cleanName,
  commonName,
  extensions,
  fingerprint,
  MAX_NAME,
  makeCertificate,
  OID,
  pemBlocks,
} from './x509.ts';

export type { Notice } from './files.ts';
export type { Revocation } from './revoked.ts';

/** A certificate with its key, ready for node:tls. */
export interface KeyPair {
  /** PEM: the leaf, then its issuing CA, if any. TAK refuses a chain of one (tak-federation §2.1). */
  readonly certPem: string;
  readonly keyPem: string;
  /** SHA-256 of the leaf's DER, lower hex, no colons. */
  readonly fingerprint: string;
  readonly commonName: string;
  readonly notAfterMs: number;
}

export interface Authority {
  readonly certPem: string;
  readonly fingerprint: string;
  readonly commonName: string;
  readonly notAfterMs: number;
}

/** A certificate whose key is elsewhere. */
export type Issued = Omit<KeyPair, 'keyPem'>;

export interface Identity {
  /** Stable, unique, not secret: our provenance id and federation serverId. */
  readonly id: string;
  readonly ca: Authority;
  /** Leaf for federation (clientAuth + serverAuth). `link`: its own leaf for that link, as TAK wants one per dialled peer. */
  federation(link?: string): KeyPair;
  /** Leaf for the phones' TLS listener (serverAuth), naming this box's host names and addresses. */
  server(): KeyPair;
  /** For relays that pin it: an EC P-256 key, which makes small handshakes, and a certificate it signed itself. */
  portal(): KeyPair;
  /**
   * A phone's or client's certificate (clientAuth), signed by our CA. `days`: 1 to 3650, default 730. `network`: of the box, that it is for;
   * '': the main one. Throws RangeError.
   */
  issueClient(name: string, days?: number, network?: string): KeyPair;
  /** Accepts nobody, and refuses whom this box has revoked; to be merged with whom a link accepts. Live. */
  readonly revocations: Trust;
}

export interface Expiry {
  /** 'authority', 'server', 'portal', 'federation' or 'federation <link>'. */
  readonly what: string;
  readonly notAfterMs: number;
  /** Whole days; negative when it is over. */
  readonly daysLeft: number;
}

/** The identity as its owner, the composition root, sees it. */
export interface StoredIdentity extends Identity {
  /** What a person should know now: not saved, readable by others, remade. */
  readonly warnings: readonly Notice[];
  /**
   * Call now and then (daily will do): replaces leaves in use that near their end, and saves what could not be saved before.
   * `hosts`: the names and addresses of the box, when they changed. Returns what was replaced, in the words of Expiry.what.
   */
  renewDue(nowMs: number, hosts?: readonly string[]): readonly string[];
  /** The authority and every leaf in use, soonest end first. */
  expiring(nowMs: number): readonly Expiry[];
  /** As issueClient, for a key that is made, and stays, elsewhere. */
  certify(name: string, publicKey: KeyObject, days?: number, network?: string): Issued;
  /** By our authority, SHA-256. */
  sign(bytes: Buffer): Buffer;
  /** These client certificates are accepted no more, here and after every restart; who uses one is cut off before this returns. */
  revoke(certificates: readonly Revocation[]): void;
}

export interface IdentityOptions {
  /** The folder, made when missing. */
  readonly dir: string;
  /** The node's name: CN of its leaves, part of the CN of its authority. */
  readonly name: string;
  /** Host names and IP addresses the phones reach this box by. */
  readonly hosts: readonly string[];
  readonly clock: Clock;
  readonly log: Log;
  /** Where new private keys come from. Default: RSA 2048. */
  readonly takeKey?: () => KeyObject;
}

const DAY_MS = 24 * 60 * 60 * 1000;
/** No right clock shows less than this. Raised with a release, never lowered. */
export const RELEASE_MS = Date.UTC(2026, 10, 1);
const BACKDATE_MS = DAY_MS;
const AUTHORITY_MS = 3652 * DAY_MS;
/** Long: renewing it costs a new pin at every peer that pinned it. */
const FEDERATION_MS = 5 * 365 * DAY_MS;
const PORTAL_MS = 3652 * DAY_MS;
const SERVER_MS = 730 * DAY_MS;
/** iPhones refuse a TLS server whose certificate spans more, backdating included (Apple HT210176). */
const SERVER_SPAN_MS = 825 * DAY_MS;
const CLIENT_DAYS = 730;
const MAX_CLIENT_DAYS = 3650;
/** A leaf is replaced when less than this share of its life remains. */
const RENEW_SHARE = 1 / 4;

const ID_FILE = 'node-id';
const PAIR_ENDING = '.secret.pem';
const CA_FILE = `ca${PAIR_ENDING}`;
const AUTHORITY_FIX =
  'Restore the file from a backup. Without one, move the whole folder away: the box then makes a new identity, and every phone and peer must be given its new CA.';
const ID_FORM = /^ws-[0-9a-f]{16}$/;

interface Pair {
  readonly key: KeyObject;
  readonly certificate: X509Certificate;
}

interface Leaf {
  readonly what: string;
  readonly file: string;
  readonly usages: readonly ('client' | 'server')[];
  readonly lifeMs: number;
  readonly maxSpanMs: number;
  /** Peers may hold its fingerprint: never replaced but for its age. */
  readonly pinnable: boolean;
  /** Has an EC key and no issuer, and is never replaced at all. */
  readonly selfSigned: boolean;
}

const SERVER_LEAF: Leaf = {
  what: 'server',
  file: `server${PAIR_ENDING}`,
  usages: ['server'],
  lifeMs: SERVER_MS,
  maxSpanMs: SERVER_SPAN_MS,
  pinnable: false,
  selfSigned: false,
};

const PORTAL_LEAF: Leaf = {
  what: 'portal',
  file: `portal${PAIR_ENDING}`,
  usages: [],
  lifeMs: PORTAL_MS,
  maxSpanMs: Number.POSITIVE_INFINITY,
  pinnable: true,
  selfSigned: true,
};

/**
 * Reads the identity from its folder, or makes it on first use. Synchronous; the first start of a slow board takes some
 * seconds. A folder that cannot be written gives an identity in memory and a warning. Throws FatalError when a file is there
 * but damaged or unreadable: what peers and phones rely on is never replaced behind a person's back.
 */
export function openIdentity(given: IdentityOptions): StoredIdentity {
  const options = { ...given, name: cleanName(given.name) || 'waystation' };
  const folder = new SecretFolder(options.dir);
  const takeKey = options.takeKey ?? rsaKeys();
  const id = openId(folder);
  const authority = openAuthority(folder, options, takeKey);
  for (const { code, words } of folder.warnings) options.log.warn({ code }, words);
  return new BoxIdentity(id, authority, folder, options, takeKey);
}

function rsaKeys(): () => KeyObject {
  const spare = new SpareKey();
  spare.prepare();
  return () => spare.take();
}

function openId(folder: SecretFolder): string {
  const saved = folder.read(ID_FILE)?.trim();
  if (saved === undefined) {
    const id = `ws-${randomBytes(8).toString('hex')}`;
    folder.create(ID_FILE, `${id}\n`);
    return id;
  }
  if (ID_FORM.test(saved)) return saved;
  throw new FatalError(
    'identity_damaged',
    `${folder.path(ID_FILE)} does not hold the id of this box`,
    'Restore the file from a backup, or delete it: the box then takes a new id, and peers see it as a new one.',
  );
}

function openAuthority(folder: SecretFolder, options: IdentityOptions, takeKey: () => KeyObject): Pair {
  const text = folder.read(CA_FILE);
  if (text !== undefined) {
    const pair = parsePair(text);
    if (pair?.certificate.ca) return pair;
    throw new FatalError(
      'identity_damaged',
      `${folder.path(CA_FILE)} is damaged: it does not hold an authority's certificate and the private key to it`,
      AUTHORITY_FIX,
    );
  }
  // The authority is always on the disk before what it signed.
  if (folder.names().some((name) => name.endsWith(PAIR_ENDING))) {
    throw new FatalError(
      'identity_damaged',
      `${folder.path(CA_FILE)} is missing, but certificates it signed are there`,
      AUTHORITY_FIX,
    );
  }
  const key = takeKey();
  const suffix = ` CA ${randomBytes(2).toString('hex')}`;
  const certificate = makeCertificate({
    commonName: cleanName(options.name, MAX_NAME - suffix.length) + suffix,
    key,
    authority: { pathLength: 0 },
    ...validity(options.clock.wallMs(), AUTHORITY_MS),
  });
  folder.create(CA_FILE, pairPem({ key, certificate }));
  options.log.info({ fingerprint: fingerprint(certificate) }, 'made the certificate authority of this box');
  return { key, certificate };
}

class BoxIdentity implements StoredIdentity {
  readonly id: string;
  readonly ca: Authority;
  readonly #authority: Pair;
  readonly #folder: SecretFolder;
  readonly #options: IdentityOptions;
  readonly #takeKey: () => KeyObject;
  #hosts: readonly string[];
  readonly #inUse = new Map<string, { readonly leaf: Leaf; pair: Pair; keyPair: KeyPair }>();
  readonly #remade = new Map<string, Notice>();
  #revoked: readonly Revocation[];
  readonly #revocations: LiveTrust;

  constructor(id: string, authority: Pair, folder: SecretFolder, options: IdentityOptions, takeKey: () => KeyObject) {
    this.id = id;
    this.ca = describe(authority.certificate);
    this.#authority = authority;
    this.#folder = folder;
    this.#options = options;
    this.#takeKey = takeKey;
    this.#hosts = options.hosts;
    this.#revoked = readRevoked(folder);
    this.#revocations = new LiveTrust(trustWithout(this.#revoked));
  }

  get warnings(): readonly Notice[] {
    return [...this.#folder.warnings, ...this.#remade.values()];
  }

  federation(link = ''): KeyPair {
    return this.#use({
      what: link ? `federation ${link}` : 'federation',
      file: `${link ? `federation.${encodeURIComponent(link)}` : 'federation'}${PAIR_ENDING}`,
      usages: ['client', 'server'],
      lifeMs: FEDERATION_MS,
      maxSpanMs: Number.POSITIVE_INFINITY,
      pinnable: true,
      selfSigned: false,
    });
  }

  server(): KeyPair {
    return this.#use(SERVER_LEAF);
  }

  portal(): KeyPair {
    return this.#use(PORTAL_LEAF);
  }

  issueClient(name: string, days?: number, network?: string): KeyPair {
    const key = this.#takeKey();
    return { ...this.certify(name, key, days, network), keyPem: keyPem(key) };
  }

  certify(name: string, publicKey: KeyObject, days = CLIENT_DAYS, network = ''): Issued {
    if (!cleanName(name)) throw new RangeError('a client certificate needs a name');
    if (!(days >= 1 && days <= MAX_CLIENT_DAYS)) throw new RangeError(`days: 1 to ${MAX_CLIENT_DAYS}`);
    const dates = this.#leafDates(this.#options.clock.wallMs(), days * DAY_MS);
    const plan = { commonName: name, unit: network, key: publicKey, usages: ['client'] as const };
    return chained(this.#sign(plan, dates), this.ca);
  }

  sign(bytes: Buffer): Buffer {
    return sign('sha256', bytes, this.#authority.key);
  }

  get revocations(): Trust {
    return this.#revocations;
  }

  revoke(certificates: readonly Revocation[]): void {
    const known = new Set(this.#revoked.map(({ fingerprint }) => fingerprint));
    const fresh = certificates.filter(({ fingerprint }) => !known.has(fingerprint));
    if (fresh.length === 0) return;
    this.#revoked = [...this.#revoked, ...fresh];
    this.#folder.replace(REVOKED_FILE, revokedText(this.#revoked));
    this.#revocations.become(trustWithout(this.#revoked));
  }

  renewDue(nowMs: number, hosts = this.#hosts): readonly string[] {
    this.#hosts = hosts;
    const due = [...this.#inUse.values()].filter(({ leaf, pair }) => this.#isDue(leaf, pair.certificate, nowMs));
    for (const entry of due) {
      entry.pair = this.#make(entry.leaf, entry.pair.key, nowMs);
      entry.keyPair = this.#keyPair(entry.leaf, entry.pair);
    }
    this.#folder.save();
    return due.map(({ leaf }) => leaf.what);
  }

  expiring(nowMs: number): readonly Expiry[] {
    const ends = [...this.#inUse.values()].map(({ leaf, keyPair }) => ({ what: leaf.what, ...keyPair }));
    return [{ what: 'authority', ...this.ca }, ...ends]
      .map(({ what, notAfterMs }) => ({ what, notAfterMs, daysLeft: Math.floor((notAfterMs - nowMs) / DAY_MS) }))
      .sort((a, b) => a.notAfterMs - b.notAfterMs);
  }

  #use(leaf: Leaf): KeyPair {
    const known = this.#inUse.get(leaf.what);
    if (known) return known.keyPair;
    const pair = this.#open(leaf, this.#options.clock.wallMs());
    const keyPair = this.#keyPair(leaf, pair);
    this.#inUse.set(leaf.what, { leaf, pair, keyPair });
    return keyPair;
  }

  #open(leaf: Leaf, nowMs: number): Pair {
    const text = this.#folder.read(leaf.file);
    if (text === undefined) return this.#make(leaf, leaf.selfSigned ? ecKey() : this.#takeKey(), nowMs);
    const pair = parsePair(text);
    if (!pair || !this.#isOurs(leaf, pair.certificate)) return this.#replaceBad(leaf, nowMs);
    return this.#isDue(leaf, pair.certificate, nowMs) ? this.#make(leaf, pair.key, nowMs) : pair;
  }

  #isOurs(leaf: Leaf, certificate: X509Certificate): boolean {
    if (leaf.selfSigned) return certificate.verify(certificate.publicKey);
    return isSignedBy(certificate, this.#authority.certificate);
  }

  #replaceBad(leaf: Leaf, nowMs: number): Pair {
    const path = this.#folder.path(leaf.file);
    const words = leaf.selfSigned
      ? `${path} is damaged`
      : `${path} is damaged, or was not made by the authority in ${CA_FILE}`;
    if (leaf.pinnable) {
      throw new FatalError(
        'identity_damaged',
        words,
        'Restore the file from a backup, or delete it: the box then makes a new certificate, which peers that pinned the old one must be told.',
      );
    }
    const fix = 'Nothing to do; look after the storage medium if this comes again.';
    this.#remade.set(leaf.what, { code: 'certificate_remade', words: `${words}; it was made anew`, fix });
    return this.#make(leaf, this.#takeKey(), nowMs);
  }

  /** Makes the leaf's certificate, keeping its key when it is renewed, and saves the pair. */
  #make(leaf: Leaf, key: KeyObject, nowMs: number): Pair {
    const certificate = leaf.selfSigned ? this.#signItself(leaf, key, nowMs) : this.#signLeaf(leaf, key, nowMs);
    this.#folder.replace(leaf.file, pairPem({ key, certificate }));
    this.#options.log.info({ what: leaf.what, fingerprint: fingerprint(certificate) }, 'made a certificate');
    return { key, certificate };
  }

  #signItself(leaf: Leaf, key: KeyObject, nowMs: number): X509Certificate {
    return makeCertificate({ commonName: this.#options.name, key, ...validity(nowMs, leaf.lifeMs) });
  }

  #signLeaf(leaf: Leaf, key: KeyObject, nowMs: number): X509Certificate {
    const dates = this.#leafDates(nowMs, leaf.lifeMs, leaf.maxSpanMs);
    return this.#sign({ commonName: this.#options.name, key, usages: leaf.usages, hosts: this.#hosts }, dates);
  }

  #sign(plan: Omit<CertificatePlan, 'issuer' | keyof Validity>, dates: Validity): X509Certificate {
    return makeCertificate({ ...plan, commonName: cleanName(plan.commonName), issuer: this.#authority, ...dates });
  }

  /** A leaf does not outlive its authority. */
  #leafDates(nowMs: number, lifeMs: number, maxSpanMs?: number): Validity {
    const { notBeforeMs, notAfterMs } = validity(nowMs, lifeMs, maxSpanMs);
    return { notBeforeMs, notAfterMs: Math.min(notAfterMs, this.ca.notAfterMs) };
  }

  #isDue(leaf: Leaf, certificate: X509Certificate, nowMs: number): boolean {
    if (leaf.selfSigned) return false;
    const now = plausible(nowMs);
    const fromMs = certificate.validFromDate.getTime();
    const toMs = certificate.validToDate.getTime();
    const ending = toMs - now < leaf.lifeMs * RENEW_SHARE && this.#leafDates(nowMs, leaf.lifeMs).notAfterMs > toMs;
    if (leaf.pinnable || ending) return ending;
    // From the future: it was made while the clock was ahead.
    return fromMs > now || !this.#namesBox(certificate);
  }

  #namesBox(certificate: X509Certificate): boolean {
    const names = extensions(certificate).get(OID.subjectAltName)?.value.toString('hex');
    return commonName(certificate) === this.#options.name && names === altNames(this.#hosts)?.toString('hex');
  }

  #keyPair(leaf: Leaf, { key, certificate }: Pair): KeyPair {
    if (leaf.selfSigned) return { ...describe(certificate), keyPem: keyPem(key) };
    return withIssuer(key, certificate, this.ca);
  }
}

function trustWithout(revoked: readonly Revocation[]): Trust {
  return { cas: [], pins: [], revoked: revoked.map(({ fingerprint }) => fingerprint) };
}

function withIssuer(key: KeyObject, certificate: X509Certificate, issuer: Authority): KeyPair {
  return { ...chained(certificate, issuer), keyPem: keyPem(key) };
}

function chained(certificate: X509Certificate, issuer: Authority): Issued {
  const described = describe(certificate);
  return { ...described, certPem: described.certPem + issuer.certPem };
}

function ecKey(): KeyObject {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
}

interface Validity {
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

/** From the release date (or yesterday, if that is earlier) until `lifeMs` from now; cut at its beginning to `maxSpanMs`. */
function validity(nowMs: number, lifeMs: number, maxSpanMs = Number.POSITIVE_INFINITY): Validity {
  const notAfterMs = plausible(nowMs) + lifeMs;
  return { notBeforeMs: Math.max(Math.min(nowMs - BACKDATE_MS, RELEASE_MS), notAfterMs - maxSpanMs), notAfterMs };
}

function plausible(nowMs: number): number {
  return Math.max(nowMs, RELEASE_MS);
}

/** Undefined when there is no key, no certificate, or the two do not belong together. */
function parsePair(text: string): Pair | undefined {
  try {
    const key = createPrivateKey(text);
    const certificate = new X509Certificate(pemBlocks(text)[0] ?? '');
    return certificate.checkPrivateKey(key) ? { key, certificate } : undefined;
  } catch {
    return undefined;
  }
}

function isSignedBy(certificate: X509Certificate, authority: X509Certificate): boolean {
  return certificate.checkIssued(authority) && certificate.verify(authority.publicKey);
}

function pairPem({ key, certificate }: Pair): string {
  return keyPem(key) + certificate.toString();
}

function keyPem(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }) as string;
}

function describe(certificate: X509Certificate): Authority {
  return {
    certPem: certificate.toString(),
    fingerprint: fingerprint(certificate),
    commonName: commonName(certificate),
    notAfterMs: certificate.validToDate.getTime(),
  };
}
