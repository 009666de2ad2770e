// The phones this box knows: who they are, the certificates they were given, the one code each that fetches a package or enrols.
//
// A code is kept as its hash, works once, and ends. Whoever uses it gets a certificate; the phone's older one stays good until the
// new one is seen on a connection, so that a package that got lost on its way cuts nobody off.
import { createHash, createPrivateKey, generateKeyPair, type KeyObject, randomBytes, randomInt } from 'node:crypto';
import { promisify } from 'node:util';
import * as z from 'zod';
import type { Issued, Revocation } from '../identity/identity.ts';
import { MAX_REVOKED } from '../identity/revoked.ts';
import type { Clock } from '../lib/clock.ts';
import { makePackage, type Package, type Station, type Variant } from './packages.ts';
import { type Presets, phoneName, presets } from './presets.ts';

export const MAX_PHONES = 500;
export const CODE_HOURS = 24;
export const MAX_CODE_HOURS = 168;
/** Browsers fetch a download twice, and Wi-Fi breaks: so long the same package is given again to the same address. */
export const AGAIN_MS = 120_000;
const MAX_AGAIN = 16;
/** An enrolled phone asks for its profile within so long. */
const PROFILE_MS = 600_000;
/** Certificates of one phone that are good at the same time: the one in use, and the newest. */
const MAX_CERTIFICATES = 2;
const HOUR_MS = 3_600_000;
const PHONES_KEY = 'phones';
/** As core/networks.ts calls it (test/onboarding/phones.test.ts keeps them equal). */
export const MAIN_NETWORK = 'main';
/** Without letters that are mistaken for digits; 16 of them are 78 bits. */
const LETTERS = '23456789ABCDEFGHJKMNPQRSTVWXYZ';
const CODE_FORM = /^[2-9A-HJ-KMNP-TV-Z]{16}$/;

const savedPhone = z.object({
  id: z.string(),
  name: phoneName,
  presets,
  /** Of this box, that its certificates are for. */
  network: z.string().default(MAIN_NETWORK),
  createdMs: z.number(),
  /** Oldest first. */
  certificates: z.array(
    z.object({
      fingerprint: z.string(),
      notAfterMs: z.number(),
      /** Another box issued it: the phone came from there with it. */
      foreign: z.boolean().default(false),
    }),
  ),
  code: z.object({ hash: z.string(), endsMs: z.number() }).nullable(),
  seenMs: z.number().nullable(),
  /** It was handed over to that partner. */
  moved: z.object({ to: z.string(), atMs: z.number() }).nullable().default(null),
});
type SavedPhone = z.output<typeof savedPhone>;

export interface PhoneInfo {
  readonly id: string;
  readonly name: string;
  readonly presets: Presets;
  /** Of this box, that its certificates are for. */
  readonly network: string;
  readonly createdMs: number;
  /** Of its newest certificate; '' while it has none. */
  readonly fingerprint: string;
  readonly notAfterMs: number | null;
  /** When the code that waits to be used ends; null: none waits. */
  readonly codeEndsMs: number | null;
  readonly seenMs: number | null;
  readonly moved: { readonly to: string; readonly atMs: number } | null;
}

/** A code in the clear: shown once. */
export interface Invitation {
  readonly phone: PhoneInfo;
  /** `K7QM-2XRT-9PBF-WHVN` */
  readonly code: string;
  readonly endsMs: number;
}

export type PhoneRefusal =
  | 'bad_value'
  | 'phone_exists'
  | 'too_many_phones'
  | 'too_many_revoked'
  | 'unknown_phone'
  | 'bad_code';

/** Thrown for what a person can mend. */
export class PhoneRefused extends Error {
  readonly code: PhoneRefusal;
  readonly fix: string;
  constructor(code: PhoneRefusal, words: string, fix = '') {
    super(words);
    this.code = code;
    this.fix = fix;
  }
}

export interface PhoneMemory {
  get(key: string): string | undefined;
  set(key: string, value: string | undefined): void;
  /** Now: a code that was used must not come back with a power cut. */
  flush(): void;
}

/** What of the box's identity is needed. */
export interface Authorities {
  certify(name: string, publicKey: KeyObject, days?: number, network?: string): Issued;
  revoke(certificates: readonly Revocation[]): void;
  readonly revocations: { readonly revoked?: readonly string[] | undefined };
}

/** A phone with a certificate of another box. */
export interface Guest {
  /** SHA-256, lower hex. */
  readonly fingerprint: string;
  readonly network: string;
}

export interface PhonesOptions {
  readonly memory: PhoneMemory;
  readonly identity: Authorities;
  readonly clock: Clock;
  /** Certificates of other boxes that phones came with: told when they change, and at the beginning. */
  onForeign?(guests: readonly Guest[]): void;
}

export interface NewPhone {
  readonly name: string;
  readonly presets: Presets;
  /** Default: the main one. That there is such a network is for the caller to see to. */
  readonly network?: string | undefined;
  readonly hours?: number | undefined;
}

interface Given {
  readonly hash: string;
  readonly address: string;
  readonly variant: Variant;
  readonly made: Package;
  readonly untilMs: number;
}

const makeKey = promisify(generateKeyPair);

export class Phones {
  readonly #memory: PhoneMemory;
  readonly #identity: Authorities;
  readonly #clock: Clock;
  readonly #onForeign: PhonesOptions['onForeign'];
  #foreign = '';
  #phones: SavedPhone[];
  /** Packages given of late, oldest first. */
  #given: Given[] = [];
  #enrolled: { readonly hash: string; readonly id: string; readonly untilMs: number }[] = [];
  /** Keys are made one after the other: they take all of a core, and the threads that sync the outbox. */
  #keys: Promise<unknown> = Promise.resolve();

  constructor({ memory, identity, clock, onForeign }: PhonesOptions) {
    this.#memory = memory;
    this.#identity = identity;
    this.#clock = clock;
    this.#phones = readPhones(memory.get(PHONES_KEY));
    this.#onForeign = onForeign;
    this.#tellForeign();
  }

  list(): readonly PhoneInfo[] {
    return this.#phones.map((phone) => this.#infoOf(phone));
  }

  /** By its id, or by its name. @throws PhoneRefused unknown_phone */
  find(wanted: string): PhoneInfo {
    return this.#infoOf(this.#find(wanted));
  }

  /** @throws PhoneRefused bad_value, phone_exists, too_many_phones, too_many_revoked */
  add({ hours, ...wanted }: NewPhone): Invitation {
    return this.#invite(this.#make(wanted), hours);
  }

  /**
   * A phone that comes from another box with a certificate of that; it is let in with it, and invited to get one of ours. Under
   * another name if there is one of that name. @throws PhoneRefused phone_exists: it is, or was, here with that certificate
   */
  adopt(
    { name, presets: wanted }: NewPhone,
    certificate: { readonly fingerprint: string; readonly notAfterMs: number },
    from: string,
  ): Invitation {
    const { fingerprint } = certificate;
    const known = this.#phones.some(({ certificates }) => certificates.some((one) => one.fingerprint === fingerprint));
    if (known || this.#identity.revocations.revoked?.includes(fingerprint)) {
      throw new PhoneRefused('phone_exists', 'a phone with this certificate is here already, or was revoked here');
    }
    const taken = this.#phones.some((phone) => sameName(phone.name, name));
    const here = taken ? `${name.slice(0, 24)} (${from.slice(0, 20)})` : name;
    const phone = this.#make({ name: here, presets: wanted });
    phone.certificates = [{ ...certificate, foreign: true }];
    return this.#invite(phone);
  }

  /** It was handed over. @throws PhoneRefused unknown_phone */
  moved(wanted: string, to: string): void {
    this.#find(wanted).moved = { to, atMs: Math.round(this.#clock.wallMs()) };
    this.#save();
  }

  #make({ name, presets: { report, ...wanted }, network = MAIN_NETWORK }: NewPhone): SavedPhone {
    const parsed = phoneName.safeParse(name);
    if (!parsed.success) throw new PhoneRefused('bad_value', 'a phone needs a name of 1 to 48 characters');
    if (this.#phones.some((phone) => sameName(phone.name, parsed.data))) {
      throw new PhoneRefused(
        'phone_exists',
        `there is a phone called ${JSON.stringify(parsed.data)}`,
        'renew it, or choose another name',
      );
    }
    if (this.#phones.length >= MAX_PHONES) {
      throw new PhoneRefused('too_many_phones', `this box knows ${MAX_PHONES} phones`, 'revoke those that are gone');
    }
    const phone: SavedPhone = {
      id: randomBytes(4).toString('hex'),
      name: parsed.data,
      presets: report ? { ...wanted, report } : wanted,
      network,
      createdMs: Math.round(this.#clock.wallMs()),
      certificates: [],
      code: null,
      seenMs: null,
      moved: null,
    };
    this.#phones.push(phone);
    return phone;
  }

  /** A new code for a phone that is known; an older one that was not used ends. @throws PhoneRefused */
  renew(wanted: string, hours?: number): Invitation {
    return this.#invite(this.#find(wanted), hours);
  }

  /**
   * It is cut off before this returns, and never comes back with what it has. A fingerprint (64 hex digits, `SHA256:` before it or not)
   * does for certificates that belong to none of these phones. Returns what to call it. @throws PhoneRefused unknown_phone
   */
  revoke(wanted: string): string {
    const fingerprint = /^(?:sha-?256:)?([0-9a-f:]{64,95})$/i
      .exec(wanted.trim())?.[1]
      ?.replaceAll(':', '')
      .toLowerCase();
    const owner = this.#phones.find(({ certificates }) => certificates.some((one) => one.fingerprint === fingerprint));
    if (fingerprint?.length === 64 && !owner) {
      this.#identity.revoke([{ fingerprint, notAfterMs: Math.round(this.#clock.wallMs()) }]);
      return `SHA256:${fingerprint}`;
    }
    const phone = owner ?? this.#find(wanted);
    this.#identity.revoke(phone.certificates);
    this.#phones = this.#phones.filter((one) => one !== phone);
    this.#given = [];
    this.#save();
    return phone.name;
  }

  /** The phone a code would be for; using it up is another matter. Undefined: wrong, used or out of date. */
  byCode(code: string): PhoneInfo | undefined {
    const phone = this.#byHash(hashOf(code));
    return phone && this.#infoOf(phone);
  }

  /**
   * Uses the code up and makes the phone's package, with a key of its own. Rejects with PhoneRefused `bad_code`.
   * `address`: who asks; the same one may ask again for a moment.
   */
  async take(code: string, variant: Variant, station: Station, address: string): Promise<Package> {
    const hash = hashOf(code);
    const again = this.#again(hash, variant, address);
    if (again) return again;
    const { phone, restore } = this.#use(hash);
    try {
      const { privateKey } = await this.#inTurn(() =>
        makeKey('rsa', {
          modulusLength: 2048,
          publicKeyEncoding: { type: 'spki', format: 'pem' },
          privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
        }),
      );
      const issued = this.#certify(phone, createPrivateKey(privateKey));
      const client = { certPem: issued.certPem, keyPem: privateKey };
      const made = await makePackage({ variant, station, phone: phone.name, presets: phone.presets, client });
      this.#remember({ hash, address, variant, made, untilMs: this.#clock.nowMs() + AGAIN_MS });
      return made;
    } catch (error) {
      restore();
      throw error;
    }
  }

  /** The phone that enrolled with this code a moment ago: it asks for its profile with the same one. */
  enrolledBy(code: string): PhoneInfo | undefined {
    const hash = hashOf(code);
    const nowMs = this.#clock.nowMs();
    this.#enrolled = this.#enrolled.filter(({ untilMs }) => untilMs > nowMs);
    const id = this.#enrolled.find((one) => one.hash === hash)?.id;
    return this.list().find((phone) => phone.id === id);
  }

  /** Enrolment: uses the code up and certifies a key that never left the phone. @throws PhoneRefused bad_code */
  enroll(code: string, publicKey: KeyObject): { readonly phone: PhoneInfo; readonly issued: Issued } {
    const hash = hashOf(code);
    const { phone, restore } = this.#use(hash);
    try {
      const issued = this.#certify(phone, publicKey);
      this.#enrolled = [...this.#enrolled, { hash, id: phone.id, untilMs: this.#clock.nowMs() + PROFILE_MS }].slice(
        -MAX_AGAIN,
      );
      return { issued, phone: this.#infoOf(phone) };
    } catch (error) {
      restore();
      throw error;
    }
  }

  /** A connection proved this certificate, or ended: it is, or was, there. What it replaced is good no more. */
  seen(fingerprint: string): void {
    const phone = this.#phones.find(({ certificates }) => certificates.some((one) => one.fingerprint === fingerprint));
    if (!phone) return;
    const newest = phone.certificates.at(-1)!;
    phone.seenMs = Math.round(this.#clock.wallMs());
    if (newest.fingerprint === fingerprint && phone.certificates.length > 1) {
      const older = phone.certificates.slice(0, -1);
      phone.certificates = [newest];
      this.#identity.revoke(older);
    }
    this.#write();
  }

  #find(wanted: string): SavedPhone {
    const phone =
      this.#phones.find(({ id }) => id === wanted) ?? this.#phones.find(({ name }) => sameName(name, wanted.trim()));
    if (phone) return phone;
    throw new PhoneRefused(
      'unknown_phone',
      `there is no phone ${JSON.stringify(wanted.slice(0, 64))}`,
      '"waystation phone list" shows them',
    );
  }

  #invite(phone: SavedPhone, hours = CODE_HOURS): Invitation {
    if ((this.#identity.revocations.revoked?.length ?? 0) >= MAX_REVOKED) {
      throw new PhoneRefused(
        'too_many_revoked',
        `${MAX_REVOKED} certificates have been revoked here`,
        'give this box a new identity',
      );
    }
    const code = Array.from({ length: 16 }, () => LETTERS[randomInt(LETTERS.length)]).join('');
    const endsMs = Math.round(this.#clock.wallMs() + hours * HOUR_MS);
    phone.code = { hash: hashOf(code), endsMs };
    this.#save();
    return { phone: this.#infoOf(phone), code: code.match(/.{4}/g)!.join('-'), endsMs };
  }

  /** From here on nobody else can use it. */
  #use(hash: string): { readonly phone: SavedPhone; restore(): void } {
    const phone = this.#byHash(hash);
    if (!phone) throw new PhoneRefused('bad_code', BAD_CODE, BAD_CODE_FIX);
    const { code } = phone;
    phone.code = null;
    this.#save();
    const restore = () => {
      phone.code ??= code;
      this.#save();
    };
    return { phone, restore };
  }

  #byHash(hash: string): SavedPhone | undefined {
    const phone = this.#phones.find(({ code }) => code?.hash === hash);
    return phone?.code && phone.code.endsMs > this.#clock.wallMs() ? phone : undefined;
  }

  #certify(phone: SavedPhone, publicKey: KeyObject): Issued {
    if (!this.#phones.includes(phone)) throw new PhoneRefused('bad_code', BAD_CODE, BAD_CODE_FIX); // revoked meanwhile
    const network = phone.network === MAIN_NETWORK ? '' : phone.network;
    const issued = this.#identity.certify(phone.name, publicKey, undefined, network);
    const { fingerprint, notAfterMs } = issued;
    const all = [...phone.certificates, { fingerprint, notAfterMs, foreign: false }];
    // The one in use stays; one that was made and never seen was lost on its way.
    phone.certificates = all.length > MAX_CERTIFICATES ? [all[0]!, all.at(-1)!] : all;
    this.#identity.revoke(all.filter((one) => !phone.certificates.includes(one)));
    this.#save();
    return issued;
  }

  #again(hash: string, variant: Variant, address: string): Package | undefined {
    const nowMs = this.#clock.nowMs();
    this.#given = this.#given.filter(({ untilMs }) => untilMs > nowMs);
    return this.#given.find((one) => one.hash === hash && one.variant === variant && one.address === address)?.made;
  }

  #remember(given: Given): void {
    this.#given = [...this.#given, given].slice(-MAX_AGAIN);
    // A key of somebody else's is not kept for longer than it is of use.
    this.#clock.after(AGAIN_MS, () => {
      this.#given = this.#given.filter((one) => one !== given);
    });
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#keys.then(work);
    this.#keys = mine.catch(() => {});
    return mine;
  }

  #infoOf({ id, name, presets, network, createdMs, certificates, code, seenMs, moved }: SavedPhone): PhoneInfo {
    const newest = certificates.at(-1);
    const waits = code !== null && code.endsMs > this.#clock.wallMs();
    return {
      id,
      name,
      presets,
      network,
      createdMs,
      fingerprint: newest?.fingerprint ?? '',
      notAfterMs: newest?.notAfterMs ?? null,
      codeEndsMs: waits ? code.endsMs : null,
      seenMs,
      moved,
    };
  }

  #save(): void {
    this.#write();
    this.#memory.flush();
  }

  #write(): void {
    this.#memory.set(PHONES_KEY, JSON.stringify(this.#phones));
    this.#tellForeign();
  }

  #tellForeign(): void {
    const guests = this.#phones.flatMap(({ certificates, network }) =>
      certificates.filter(({ foreign }) => foreign).map(({ fingerprint }): Guest => ({ fingerprint, network })),
    );
    const fingerprints = guests.map(({ fingerprint }) => fingerprint).join();
    if (fingerprints === this.#foreign) return;
    this.#foreign = fingerprints;
    this.#onForeign?.(guests);
  }
}

const BAD_CODE = 'this code is wrong, was used already, or is out of date';
const BAD_CODE_FIX = 'ask whoever runs this box for a new one';

/** Case, spaces and dashes do not count; what has not the form of a code has no hash that could be met. */
function hashOf(code: string): string {
  const plain = code.slice(0, 64).toUpperCase().replace(/[\s-]/g, '');
  return CODE_FORM.test(plain) ? createHash('sha256').update(plain).digest('base64') : '';
}

function sameName(a: string, b: string): boolean {
  return a.toLowerCase() === b.toLowerCase();
}

function readPhones(text: string | undefined): SavedPhone[] {
  if (text === undefined) return [];
  try {
    return z.array(savedPhone).safeParse(JSON.parse(text)).data ?? [];
  } catch {
    return [];
  }
}
