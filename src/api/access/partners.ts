// Partners: relays and fleet managers that ask this box over HTTPS, and that it asks, read-only. Each is trusted by two factors, and
// both must be right: its certificate, pinned, and a secret per direction. The secret it shows us is kept as a hash, the one we show
// it sealed; each is shown to a person once.
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import * as z from 'zod';
import type { Clock } from '../../lib/clock.ts';
import { Refusal } from '../refusal.ts';
import { Guesses } from './guesses.ts';
import { PasswordDesk, passwordHash } from './passwords.ts';

export const MAX_PARTNERS = 16;
/** Of one partner: the certificate in use, and the one that follows. */
export const MAX_PINS = 2;
export const DEFAULT_HEADER = 'x-federation-secret';
/** After a new secret was made the one before is good for so long. */
export const OVERLAP_HOURS = 24;
export const MAX_OVERLAP_HOURS = 168;
const HOUR_MS = 3_600_000;
const SECRET_BYTES = 32;
const PARTNERS_KEY = 'api/partners';

const savedPartner = z.object({
  name: z.string(),
  /** `https://host:port`; null: it calls us, and we never call it. */
  url: z.string().nullable(),
  /** SHA-256 of its client certificates, lower hex. */
  pins: z.array(z.string()),
  /** Of its server's certificate, or of the authority of that. */
  serverPin: z.string().nullable(),
  /** Name of the HTTP header with the secret, both ways, lower case. */
  header: z.string(),
  /** Whether it may see units, and those of which groups; none: of all. */
  units: z.boolean(),
  groups: z.array(z.string()),
  inbound: z.object({
    hash: passwordHash,
    madeMs: z.number(),
    previous: z.object({ hash: passwordHash, untilMs: z.number() }).nullable(),
  }),
  outbound: z.object({ sealed: z.string(), setMs: z.number() }).nullable(),
});
type SavedPartner = z.output<typeof savedPartner>;

/** Without secrets. */
export type Partner = Omit<SavedPartner, 'inbound' | 'outbound'> & {
  readonly inbound: { readonly madeMs: number; readonly previousUntilMs: number | null };
  readonly outbound: { readonly setMs: number } | null;
};

export interface PartnerSettings {
  readonly url?: string | null | undefined;
  readonly pins?: readonly string[] | undefined;
  readonly serverPin?: string | null | undefined;
  readonly header?: string | undefined;
  readonly units?: boolean | undefined;
  readonly groups?: readonly string[] | undefined;
  /** What we show it: the inbound secret of the other side. */
  readonly secret?: string | undefined;
}

/** What a client has shown in TLS. `notice`: why a certificate is no good although it is pinned. */
export interface Shown {
  readonly fingerprint: string;
  readonly notice?: { readonly words: string; readonly fix: string } | undefined;
}

export const PARTNER_REFUSALS = [
  'certificate_needed',
  'certificate_not_pinned',
  'certificate_unfit',
  'secret_needed',
  'secret_wrong',
  'secret_wrong_direction',
  'too_many_tries',
] as const;
export type PartnerRefusal = (typeof PARTNER_REFUSALS)[number];

export interface PartnersOptions {
  readonly memory: {
    get(key: string): string | undefined;
    set(key: string, value: string | undefined): void;
    flush(): void;
  };
  readonly clock: Clock;
  readonly seal: {
    close(text: string, purpose: string): string;
    open(sealed: string, purpose: string): string | undefined;
  };
  /** The certificate that this connection shows; undefined: none, or it is not TLS. */
  shown(request: IncomingMessage): Shown | undefined;
  /** A partner was refused, or let in: for the counters. `''`: nobody we know. */
  onAsked(partner: string, outcome: 'ok' | PartnerRefusal): void;
  /** It is no partner any more: another may be called so. */
  onRemoved(partner: string): void;
}

export interface Admitted {
  readonly partner: Partner;
  /** Which of its secrets it showed: the one before is good for a while after it was replaced. */
  readonly secret: 'current' | 'previous';
}

export class Partners {
  readonly #options: PartnersOptions;
  readonly #guesses: Guesses;
  readonly #desk = new PasswordDesk();
  #partners: SavedPartner[];
  /** Secrets found right before, by a key that ends with the process: a hash costs a tenth of a second. */
  readonly #key = randomBytes(SECRET_BYTES);
  readonly #right = new Map<string, { readonly mac: Buffer; readonly secret: Admitted['secret'] }>();

  constructor(options: PartnersOptions) {
    this.#options = options;
    this.#guesses = new Guesses(options.clock);
    this.#partners = readPartners(options.memory.get(PARTNERS_KEY));
  }

  get count(): number {
    return this.#partners.length;
  }

  list(): readonly Partner[] {
    return this.#partners.map((partner) => this.#infoOf(partner));
  }

  /** @throws Refusal unknown_partner */
  get(name: string): Partner {
    return this.#infoOf(this.#find(name));
  }

  /** What we show it; undefined: nothing was entered, or it was sealed on another box. */
  outboundSecret(name: string): string | undefined {
    const { outbound } = this.#find(name);
    return outbound ? this.#options.seal.open(outbound.sealed, purposeOf(name)) : undefined;
  }

  /** The secret it is to show us: told once. Rejects with Refusal. */
  async add(name: string, settings: PartnerSettings): Promise<{ readonly partner: Partner; readonly secret: string }> {
    this.#mustBeFree(name);
    const { secret, inbound } = await this.#newSecret();
    this.#mustBeFree(name);
    const partner: SavedPartner = {
      ...{ name, url: null, pins: [], serverPin: null, header: DEFAULT_HEADER, units: true, groups: [] },
      inbound: { ...inbound, previous: null },
      outbound: null,
    };
    this.#partners.push(this.#changed(partner, settings));
    this.#save();
    return { partner: this.get(name), secret };
  }

  /** @throws Refusal */
  change(name: string, settings: PartnerSettings): Partner {
    const before = this.#find(name);
    this.#put(this.#changed(before, settings));
    return this.get(name);
  }

  /** A new secret for it to show us, told once; the one before is good for `overlapHours` more. Rejects with Refusal. */
  async rotate(name: string, overlapHours = OVERLAP_HOURS): Promise<string> {
    this.#find(name);
    const { secret, inbound } = await this.#newSecret();
    const before = this.#find(name);
    const untilMs = Math.round(this.#options.clock.wallMs() + overlapHours * HOUR_MS);
    const previous = overlapHours > 0 ? { hash: before.inbound.hash, untilMs } : null;
    this.#put({ ...before, inbound: { ...inbound, previous } });
    return secret;
  }

  /** From now on it is a stranger. @throws Refusal unknown_partner */
  remove(name: string): void {
    const partner = this.#find(name);
    this.#partners = this.#partners.filter((one) => one !== partner);
    this.#right.delete(name);
    this.#save();
    this.#options.onRemoved(name);
  }

  /** Both factors of whoever asks. Rejects with Refusal: 403 the certificate, 401 the secret, 429 too many wrong tries. */
  async admit(request: IncomingMessage, address: string): Promise<Admitted> {
    let name = '';
    try {
      const partner = this.#byCertificate(request, address);
      name = partner.name;
      const secret = await this.#bySecret(partner, request, address);
      this.#options.onAsked(name, 'ok');
      return { partner: this.#infoOf(partner), secret };
    } catch (error) {
      const code = PARTNER_REFUSALS.find((one) => error instanceof Refusal && one === error.code);
      if (code) this.#options.onAsked(name, code);
      throw error;
    }
  }

  #byCertificate(request: IncomingMessage, address: string): SavedPartner {
    const shown = this.#options.shown(request);
    const partner = shown && this.#partners.find(({ pins }) => pins.includes(shown.fingerprint));
    if (partner && !shown.notice) return partner;
    this.#guesses.begin(address);
    if (!shown) {
      throw new Refusal(
        403,
        'certificate_needed',
        'partners show a certificate in TLS, and this connection shows none',
        {
          fix: 'ask over HTTPS, with the client certificate that was pinned here',
        },
      );
    }
    if (!partner) {
      throw new Refusal(403, 'certificate_not_pinned', `the certificate SHA256:${shown.fingerprint} is of no partner`, {
        fix: 'have the operator of this box pin it: "waystation partner"',
      });
    }
    throw new Refusal(403, 'certificate_unfit', shown.notice!.words, { fix: shown.notice!.fix });
  }

  /** Only who has the certificate gets to try secrets. */
  async #bySecret(partner: SavedPartner, request: IncomingMessage, address: string): Promise<Admitted['secret']> {
    const { name, header, outbound } = partner;
    const given = secretIn(request, header);
    const known = this.#right.get(name);
    // Whoever is right is let in whatever others guess from his address.
    if (
      known &&
      given !== undefined &&
      timingSafeEqual(known.mac, this.#macOf(given)) &&
      this.#isGood(partner, known.secret)
    ) {
      return known.secret;
    }
    this.#guesses.begin(address);
    if (given === undefined) {
      const words = `${name} showed its certificate, and no secret in the header ${header}`;
      throw new Refusal(401, 'secret_needed', words, { fix: SECRET_FIX });
    }
    const { hash, previous } = partner.inbound;
    const tries = [
      ['current', hash],
      ...(previous && this.#isGood(partner, 'previous') ? [['previous', previous.hash] as const] : []),
    ] as const;
    for (const [which, one] of tries) {
      if (!(await this.#desk.matches(given, one))) continue;
      this.#guesses.right(address);
      if (this.#partners.includes(partner)) this.#right.set(name, { mac: this.#macOf(given), secret: which });
      return which;
    }
    const ours = outbound && this.#options.seal.open(outbound.sealed, purposeOf(name));
    if (ours && timingSafeEqual(this.#macOf(ours), this.#macOf(given))) {
      const words = `${name} showed the secret that we show it: that of the other direction`;
      throw new Refusal(401, 'secret_wrong_direction', words, {
        fix: 'enter there the secret that this box showed when the partner was added, and here the one that was shown there',
      });
    }
    throw new Refusal(401, 'secret_wrong', `${name} showed a secret that is not, or no longer, the one of this box`, {
      fix: SECRET_FIX,
    });
  }

  #isGood({ inbound }: SavedPartner, secret: Admitted['secret']): boolean {
    if (secret === 'current') return true;
    return inbound.previous !== null && this.#options.clock.wallMs() < inbound.previous.untilMs;
  }

  #macOf(secret: string): Buffer {
    return createHmac('sha256', this.#key).update(secret).digest();
  }

  async #newSecret() {
    const secret = randomBytes(SECRET_BYTES).toString('base64url');
    return {
      secret,
      inbound: { hash: await this.#desk.make(secret), madeMs: Math.round(this.#options.clock.wallMs()) },
    };
  }

  /** @throws Refusal pin_taken, own_secret */
  #changed(before: SavedPartner, { secret, ...settings }: PartnerSettings): SavedPartner {
    const given = Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined));
    const after = savedPartner.parse({ ...before, ...given });
    const owner = this.#partners.find(
      ({ name, pins }) => name !== before.name && pins.some((pin) => after.pins.includes(pin)),
    );
    if (owner) throw new Refusal(409, 'pin_taken', `that certificate is pinned for ${owner.name}`);
    if (secret === undefined) return after;
    const setMs = Math.round(this.#options.clock.wallMs());
    return { ...after, outbound: { sealed: this.#options.seal.close(secret, purposeOf(before.name)), setMs } };
  }

  #mustBeFree(name: string): void {
    if (this.#partners.some((partner) => partner.name === name)) {
      throw new Refusal(409, 'partner_exists', `there is a partner called ${JSON.stringify(name)}`);
    }
    if (this.#partners.length >= MAX_PARTNERS) {
      throw new Refusal(409, 'too_many_partners', `this box has ${MAX_PARTNERS} partners`, { fix: 'remove one' });
    }
  }

  #find(name: string): SavedPartner {
    const found = this.#partners.find((partner) => partner.name === name);
    if (found) return found;
    throw new Refusal(404, 'unknown_partner', `there is no partner ${JSON.stringify(name.slice(0, 64))}`, {
      fix: '"waystation partner list" shows them',
    });
  }

  #put(partner: SavedPartner): void {
    this.#partners = this.#partners.map((one) => (one.name === partner.name ? partner : one));
    this.#right.delete(partner.name);
    this.#save();
  }

  #infoOf({ inbound, outbound, ...rest }: SavedPartner): Partner {
    const { previous } = inbound;
    const stands = previous && this.#options.clock.wallMs() < previous.untilMs;
    return {
      ...rest,
      inbound: { madeMs: inbound.madeMs, previousUntilMs: stands ? previous.untilMs : null },
      outbound: outbound && { setMs: outbound.setMs },
    };
  }

  #save(): void {
    this.#options.memory.set(PARTNERS_KEY, JSON.stringify(this.#partners));
    this.#options.memory.flush();
  }
}

const SECRET_FIX =
  'compare what is entered there with what this box showed; "waystation partner rotate" makes a new one';

function purposeOf(name: string): string {
  return `partner ${name}`;
}

function secretIn({ headers }: IncomingMessage, header: string): string | undefined {
  const value = headers[header];
  if (typeof value !== 'string') return undefined;
  return header === 'authorization' ? /^Bearer ([\x21-\x7e]+)$/i.exec(value)?.[1] : value;
}

/** A list that was spoiled on the disk is an empty one. */
function readPartners(text: string | undefined): SavedPartner[] {
  if (text === undefined) return [];
  try {
    return z.array(savedPartner).safeParse(JSON.parse(text)).data ?? [];
  } catch {
    return [];
  }
}
