// What the pages and routes of phones share: codes that are guessed slowly, the address a phone can reach, links and cards.
import { isIP } from 'node:net';
import { isLoopback } from '../lib/address.ts';
import { enrollLink, importLink, joinUrl, packageUrl, preferenceLink } from '../onboarding/addresses.ts';
import { boxSlug, type Package, type Station, type Variant } from '../onboarding/packages.ts';
import {
  type Invitation,
  MAIN_NETWORK,
  type NewPhone,
  type PhoneInfo,
  PhoneRefused,
  type Phones,
} from '../onboarding/phones.ts';
import { slug } from '../onboarding/presets.ts';
import type { Guesses } from './access/guesses.ts';
import { Refusal } from './refusal.ts';
import type { Caller } from './route.ts';

/** Where phones may connect on this box; undefined: nowhere. */
export interface PhonePorts {
  /** Events over TLS, with a certificate of this box's CA. */
  readonly tls: number | undefined;
  /** Events over plain TCP. */
  readonly tcp: number | undefined;
  /** Pages and packages, as bound. */
  readonly http: { readonly host: string; readonly port: number } | undefined;
  readonly https: { readonly host: string; readonly port: number } | undefined;
  readonly enroll: number | undefined;
  /** Data packages and photos: with a certificate, and plain. */
  readonly files: { readonly tls: number | undefined; readonly plain: number | undefined };
}

/** A phone that is connected now. */
export interface LivePhone {
  readonly address: string;
  /** What it calls itself. */
  readonly callsign: string;
}

export interface PhoneOfficeDeps {
  readonly phones: Phones;
  readonly guesses: Guesses;
  box(): Pick<Station, 'name' | 'caPem' | 'caFingerprint'>;
  hosts(): readonly string[];
  /** `network`: those of its listeners; undefined: of whichever come first. */
  ports(network?: string): PhonePorts;
  /** Networks of this box in which a phone with a certificate can connect. */
  networks(): readonly string[];
  /** By fingerprint. */
  live(): ReadonlyMap<string, LivePhone>;
  /** A code was used: for the audit. */
  onTaken(phone: string, what: string, address: string): void;
}

/** One phone's line on the list. */
export interface ListedPhone extends PhoneInfo {
  readonly connected: LivePhone | null;
}

/** What is handed to the owner of a phone, once. */
export interface Card {
  readonly invitation: Invitation;
  /** Where a person chooses the app. */
  readonly join: string;
  /** For ATAK: fetches the package itself. */
  readonly atak: string;
  /** For ATAK, enrolling; '' when `api.enroll` is off. */
  readonly enroll: string;
  /** For ATAK that has joined: callsign, team and role alone; '' when none are preset. */
  readonly preference: string;
}

/** This box on the Wi-Fi it makes itself (overlays/image): where phones are when they join. */
const OWN_WIFI = '10.41.0.1';

const STATUS: Readonly<Record<PhoneRefused['code'], number>> = {
  bad_value: 400,
  bad_code: 404,
  unknown_phone: 404,
  phone_exists: 409,
  too_many_phones: 409,
  too_many_revoked: 409,
};

export class PhoneOffice {
  readonly #deps: PhoneOfficeDeps;

  constructor(deps: PhoneOfficeDeps) {
    this.#deps = deps;
  }

  get phones(): Phones {
    return this.#deps.phones;
  }

  box() {
    return this.#deps.box();
  }

  ports(network?: string): PhonePorts {
    return this.#deps.ports(network);
  }

  /** Those a phone can be made for. */
  networks(): readonly string[] {
    return [...new Set([MAIN_NETWORK, ...this.#deps.networks()])];
  }

  /** @throws Refusal as Phones.add() says, and unknown_network */
  add(phone: NewPhone): Invitation {
    const { network = MAIN_NETWORK } = phone;
    if (!this.networks().includes(network)) {
      const words = `no link for phones with a certificate is in a network ${JSON.stringify(network)}`;
      const fix = `there is ${this.networks().join(', ')}; a cot link with "tls: true" and "policy: { network: … }" makes another`;
      throw new Refusal(400, 'unknown_network', words, { fix });
    }
    return this.do((phones) => phones.add(phone));
  }

  list(): readonly ListedPhone[] {
    const live = this.#deps.live();
    return this.#deps.phones.list().map((phone) => ({ ...phone, connected: live.get(phone.fingerprint) ?? null }));
  }

  /** Runs what may be refused, in the words of the API. @throws Refusal */
  do<T>(work: (phones: Phones) => T): T {
    try {
      return work(this.#deps.phones);
    } catch (error) {
      throw asRefusal(error);
    }
  }

  /** Names and addresses a phone might reach this box by, the likely ones first; none when its pages are for this computer alone. */
  reachable(): readonly string[] {
    const open = this.#open();
    if (open.length === 0) return [];
    const bound = open.map(({ host }) => host).filter((host) => !isAny(host));
    const rank = (host: string) => (host === OWN_WIFI ? 0 : isIP(host) === 4 ? 1 : isIP(host) === 6 ? 3 : 2);
    const hosts = this.#deps.hosts().filter((host) => host !== 'localhost' && !isLoopback(host));
    return [...new Set([...bound, ...hosts.toSorted((a, b) => rank(a) - rank(b))])];
  }

  /** Where pages are served to more than this computer. */
  #open() {
    const { http, https } = this.ports();
    return [http, https].filter((one) => one !== undefined).filter(({ host }) => !isLoopback(host));
  }

  /** The host for links: the one asked for, else the one the operator came by, else the likeliest. @throws Refusal bad_value */
  hostFor(wanted: string | undefined, hostHeader: string | undefined): string {
    if (wanted) {
      if (isIP(wanted) > 0 || /^[a-z0-9](?:[a-z0-9.-]{0,252}[a-z0-9])?$/i.test(wanted)) return wanted;
      throw new Refusal(400, 'bad_value', 'host: expected a name or an address of this box, without port');
    }
    const came = nameOf(hostHeader);
    if (came !== '' && came !== 'localhost' && !isLoopback(came)) return came;
    return this.reachable()[0] ?? '127.0.0.1';
  }

  /** `http://host:port`: plain where phones can reach it, since no phone trusts this box's CA yet. */
  base(host: string): string {
    const { http, https } = this.ports();
    const plain = http && (!isLoopback(http.host) || isLoopback(host) || !https || isLoopback(https.host));
    if (plain) return `http://${bracketed(host)}${http.port === 80 ? '' : `:${http.port}`}`;
    return https ? `https://${bracketed(host)}${https.port === 443 ? '' : `:${https.port}`}` : '';
  }

  /** Why phones could not fetch what these links name; '' when they can. */
  trouble(network?: string): string {
    if (this.ports().tls === undefined)
      return 'No cot link listens with "tls: true": there is nothing a phone with a certificate could connect to.';
    if (network !== undefined && this.ports(network).tls === undefined)
      return `No cot link of network ${network} listens with "tls: true": a phone of that network has nothing to connect to.`;
    if (this.#open().length > 0) return '';
    return 'Phones cannot reach this page: it is served to this computer alone. Set "api: { listen: 0.0.0.0:8080 }" in the configuration.';
  }

  card(invitation: Invitation, host: string): Card {
    const base = this.base(host);
    const { enroll } = this.ports();
    const { code, phone } = invitation;
    return {
      invitation,
      join: joinUrl(base, code),
      atak: importLink(this.fileUrl(base, code, 'atak', phone.name)),
      enroll: enroll === undefined ? '' : enrollLink(`${bracketed(host)}:${enroll}`, phone.name, code),
      preference: preferenceLink(phone.presets),
    };
  }

  fileUrl(base: string, code: string, variant: Variant, phone: string): string {
    return packageUrl(base, code, `${variant}/${boxSlug(this.box())}-${slug(phone)}.zip`);
  }

  /** The phone of a code that is still good; wrong ones are counted against the address. @throws Refusal bad_code, 429 */
  invited(code: string, address: string): PhoneInfo {
    this.#deps.guesses.check(address);
    const phone = this.#deps.phones.byCode(code);
    if (phone) return phone;
    throw this.#guessed(address);
  }

  /** Uses a code. Rejects with Refusal bad_code, no_listener, 429. */
  async take(code: string, variant: Variant, host: string, caller: Pick<Caller, 'address'>): Promise<Package> {
    const { address } = caller;
    this.#deps.guesses.check(address);
    const invited = this.#deps.phones.byCode(code);
    const station = this.station(variant, host, invited?.network);
    try {
      const phone = invited?.name;
      const made = await this.#deps.phones.take(code, variant, station, address);
      this.#deps.guesses.right(address);
      if (phone) this.#deps.onTaken(phone, `package for ${variant}`, address);
      return made;
    } catch (error) {
      if (error instanceof PhoneRefused && error.code === 'bad_code') throw this.#guessed(address);
      throw asRefusal(error);
    }
  }

  /** @throws Refusal no_listener */
  station(variant: Variant, host: string, network?: string): Station {
    const { tls, tcp, files } = this.ports(network);
    const port = variant === 'plain' ? tcp : tls;
    const filesPort = variant === 'plain' ? files.plain : files.tls;
    if (port !== undefined) return { ...this.box(), host: bracketed(host), port, filesPort };
    const where = network === undefined || this.networks().length === 1 ? 'here' : `in network ${network}`;
    const words = `no cot link listens ${where} ${variant === 'plain' ? 'without' : 'with'} TLS`;
    throw new Refusal(409, 'no_listener', words, { fix: 'add one to the configuration' });
  }

  taken(phone: string, what: string, address: string): void {
    this.#deps.guesses.right(address);
    this.#deps.onTaken(phone, what, address);
  }

  guessed(address: string): Refusal {
    return this.#guessed(address);
  }

  checkGuesses(address: string): void {
    this.#deps.guesses.check(address);
  }

  #guessed(address: string): Refusal {
    this.#deps.guesses.begin(address);
    return new Refusal(404, 'bad_code', 'this code is wrong, was used already, or is out of date', {
      fix: 'ask whoever runs this box for a new one',
    });
  }
}

function asRefusal(error: unknown): unknown {
  if (!(error instanceof PhoneRefused)) return error;
  return new Refusal(STATUS[error.code], error.code, error.message, { fix: error.fix });
}

/** Without port, IPv6 without brackets. */
export function nameOf(hostHeader: string | undefined): string {
  const text = hostHeader ?? '';
  return (/^\[([^\]]*)\]/.exec(text)?.[1] ?? text.replace(/:\d+$/, '')).toLowerCase();
}

function bracketed(host: string): string {
  return isIP(host) === 6 ? `[${host}]` : host;
}

function isAny(host: string): boolean {
  return host === '' || host === '0.0.0.0' || host === '::';
}
