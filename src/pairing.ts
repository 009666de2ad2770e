// Joining boxes by a code, as the relay does it: code and keys in files only our user may read, peers in the
// configuration file through its desk. Part of the composition root.
import { randomBytes } from 'node:crypto';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import type { ConfigDesk } from './config/desk.ts';
import { editYaml } from './config/edit.ts';
import { addLink, linksOf, type Section } from './config/links-edit.ts';
import { MAIN, putNetworkPeer } from './config/networks-edit.ts';
import {
  portalLink,
  portalPeerByPin,
  portalPeerName,
  portalPeers,
  putPortalPeer,
  removePortalPeer,
} from './config/portal-edit.ts';
import { ConfigRefused } from './config/refused.ts';
import type { StoredIdentity } from './identity/identity.ts';
import { CodeFile } from './identity/kept-code.ts';
import { CODE_LIFE_MS, type OpenCode, PairingCodes, plainCode } from './identity/pairing-codes.ts';
import type { Clock } from './lib/clock.ts';
import { LinkError } from './lib/errors.ts';
import type { Log } from './lib/log.ts';
import type { Between, NewPeer, PairingAttempt, PairingDesk } from './links/pairing.ts';
import { joinRelay, PORTAL_PORT } from './links/portal/join.ts';
import type { ThroughHub } from './links/via.ts';
import type { AuditStore } from './store/audit.ts';

/** What crosses between the two, as this side wants it; and what the other is to be called here. */
export interface PairingTerms {
  readonly policy: Section;
  readonly name?: string | undefined;
}

export interface PairingParts {
  readonly desk: ConfigDesk;
  readonly clock: Clock;
  readonly log: Log;
  /** The file of the open code. */
  readonly codeFile: string;
  /** Folder of keys that came about here. */
  readonly folder: string;
  readonly identity: Pick<StoredIdentity, 'portal'>;
  readonly audit: Pick<AuditStore, 'add'>;
  /** What we call ourselves. */
  name(): string;
  /** A connection through a hub. Rejects with LinkError. */
  through(way: ThroughHub, signal: AbortSignal): Promise<Socket>;
}

export interface Joined {
  /** What the other box is called here. */
  readonly name: string;
  /** '': it is a network of this box. */
  readonly link: string;
  /** What it calls itself. */
  readonly theirName: string;
  readonly pin: string;
}

/** One network of the box, and what it takes and gives. */
interface Side {
  readonly network: string;
  readonly ways: Section;
}

/** Where a code is to be used: the ports of the portal link. */
export interface CodePlace {
  readonly link: string;
  readonly listen: readonly string[];
  /** Peers that may be hubs, through which it can be used too. */
  readonly hubs: readonly string[];
}

export interface JoinWanted {
  /** Where the other box is; with a hub, the hub's name for it. */
  readonly address: string;
  readonly hub?: string | undefined;
  readonly code: string;
  readonly terms: PairingTerms;
}

export class Pairing implements PairingDesk {
  readonly #parts: PairingParts;
  readonly #codes: PairingCodes<PairingTerms>;

  constructor(parts: PairingParts) {
    this.#parts = parts;
    const { clock, log, codeFile } = parts;
    const onTrouble = (error: Error) => log.warn({ reason: error.message }, 'the open code is not kept over a restart');
    this.#codes = new PairingCodes(clock, new CodeFile(codeFile, isTerms, onTrouble));
  }

  get open(): OpenCode<PairingTerms> | undefined {
    return this.#codes.open;
  }

  /** A code, once there is a port to use it at; the one before is no longer good. Rejects with LinkError or ConfigRefused. */
  async make(terms: PairingTerms, who: string, lifeMs = CODE_LIFE_MS): Promise<OpenCode<PairingTerms>> {
    await this.#mustListen(who);
    return this.#codes.make(terms, lifeMs);
  }

  clear(): void {
    this.#codes.clear();
  }

  async place(): Promise<CodePlace | undefined> {
    const link = portalLink((await this.#parts.desk.state()).text);
    if (!link) return undefined;
    return { link: String(link.name), listen: listenOf(link), hubs: hubsOf(link) };
  }

  /** Joins the box at that address. Rejects with LinkError or ConfigRefused. */
  async join({ address, hub, code: said, terms }: JoinWanted, who: string, signal: AbortSignal): Promise<Joined> {
    const { clock, identity, name } = this.#parts;
    const code = plainCode(said);
    if (code === '') {
      throw new LinkError(
        'bad_code',
        'a code has 8 letters and digits',
        'type it as the other box shows it; it has no 0, 1, I, L, O or U',
      );
    }
    const ours = this.#codes.open;
    if (ours?.code === code) return this.#federateInside(ours.terms, terms, who);
    const between = hub === undefined ? undefined : { hub, name: address };
    const to = between ? await this.#wayThrough(between) : address;
    return joinRelay({ to, code, keyPair: identity.portal(), name: name(), clock, signal }, async (peer, where) => {
      const place = between ? { address: undefined, between } : { address: where };
      const { link, name } = await this.#add({ peer, terms, ...place, link: undefined, who });
      return { link, name, theirName: peer.name, pin: peer.pin };
    });
  }

  async #wayThrough({ hub, name }: Between) {
    const link = portalLink((await this.#parts.desk.state()).text);
    if (!link || !hubsOf(link).includes(hub)) {
      const fix = 'join it first; it must say hub: true, and be dialled from here';
      throw new LinkError('unknown_hub', `no peer called ${hub} is dialled from here`, fix);
    }
    const way = { link: String(link.name), hub, peer: name };
    return { where: `${name} through ${hub}`, open: (signal: AbortSignal) => this.#parts.through(way, signal) };
  }

  /** The code is our own: it is two networks of this box that are to federate. */
  async #federateInside(theirs: PairingTerms, ours: PairingTerms, who: string): Promise<Joined> {
    const [there, here] = [theirs, ours].map(({ policy: { network = MAIN, ...ways } }) => ({
      network: String(network),
      ways,
    })) as [Side, Side];
    if (there.network === here.network) {
      throw new LinkError(
        'own_code',
        'this code was made at this box itself',
        'type it at the other box; or, to let two networks of this box federate, name the other one (--network)',
      );
    }
    await this.#parts.desk.change(
      (text) => {
        const first = editYaml(text, putNetworkPeer(text, there.network, here.network, there.ways));
        return editYaml(first, putNetworkPeer(first, here.network, there.network, here.ways));
      },
      { who },
    );
    this.#codes.clear();
    return { name: there.network, link: '', theirName: there.network, pin: '' };
  }

  // --- what the portal link asks ---------------------------------------------------------------------------------------

  get isOpen(): boolean {
    return this.#codes.open !== undefined;
  }

  begin(address: string, link: string, between?: Between): PairingAttempt {
    // Whoever comes through a hub is whom the hub says he is: they are one source.
    const source = between ? `hub ${between.hub}` : address;
    const { code, terms, claim } = this.#codes.begin(source.replace(/:\d+$/, '').replace(/^\[|\]$/g, ''));
    let undo = async () => {};
    return {
      code,
      claim,
      welcome: async (peer) => {
        try {
          const added = await this.#add({ peer, terms, address: undefined, between, link, who: `code, ${address}` });
          undo = added.undo;
          this.#tell(`${added.name} (${peer.name}, SHA256:${peer.pin})`, address);
          return added.name;
        } catch (error) {
          if (!(error instanceof ConfigRefused)) throw error;
          // A stranger need not know more; the log here has it.
          throw new LinkError(
            'not_written',
            'the box there cannot change its configuration now',
            'look at it, and have a new code made',
            {
              cause: error,
            },
          );
        }
      },
      undo: () => undo(),
    };
  }

  // --- private ---------------------------------------------------------------------------------------------------------

  async #add({
    peer,
    terms,
    address,
    between,
    link: wanted,
    who,
  }: {
    readonly peer: NewPeer;
    readonly terms: PairingTerms;
    /** Where we reach it; undefined: it comes to us. */
    readonly address: string | undefined;
    /** Through a hub, by the name that all three must have for it. */
    readonly between?: Between | undefined;
    readonly link: string | undefined;
    readonly who: string;
  }): Promise<{ readonly link: string; readonly name: string; undo(): Promise<void> }> {
    const keyFile = await this.#keepKey(peer.name, peer.key);
    const isNew = wanted === undefined && portalLink((await this.#parts.desk.state()).text) === undefined;
    const linkKey = isNew ? await this.#keepKey('portal', newKey()) : undefined;
    let [link, name, before] = ['', '', ''];
    try {
      await this.#parts.desk.change(
        (text) => {
          before = text;
          const found = wanted === undefined ? portalLink(text) : linksOf(text).find((one) => one.name === wanted);
          const base =
            found || linkKey === undefined ? text : editYaml(text, addLink(text, newLink(text, linkKey, undefined)));
          const entry = found ?? portalLink(base)!;
          const known = portalPeerByPin(entry, peer.pin);
          link = String(entry.name);
          name = between
            ? nameThrough(between, entry, peer, known)
            : known
              ? String(known.name)
              : portalPeerName(entry, terms.name ?? peer.name);
          const hasPolicy = Object.keys(terms.policy).length > 0;
          return editYaml(
            base,
            putPortalPeer(base, link, {
              name,
              ...(known ? {} : { pin: `SHA256:${peer.pin}` }),
              ...(address === undefined ? {} : { address }),
              ...(between ? { hub: between.hub } : {}),
              federation_key_file: keyFile,
              ...(hasPolicy ? { policy: terms.policy } : {}),
            }),
          );
        },
        { who },
      );
    } catch (error) {
      await Promise.all([keyFile, linkKey].map((file) => file && rm(file, { force: true })));
      throw error;
    }
    const undo = async () => {
      const known = portalPeerByPin(linksOf(before).find((one) => one.name === link) ?? {}, peer.pin);
      // What was there before it joined anew is better than nothing.
      const back = (text: string) =>
        editYaml(text, known ? putPortalPeer(text, link, known) : removePortalPeer(text, link, name));
      await this.#parts.desk.change(back, { who: `${who}, not finished` });
    };
    return { link, name, undo };
  }

  #tell(detail: string, from: string): void {
    this.#parts.audit.add({
      kind: 'change',
      who: 'federation code',
      from,
      action: 'federation_joined',
      target: '',
      outcome: 'ok',
      detail,
    });
  }

  /** A code is of use only where somebody can dial. */
  async #mustListen(who: string): Promise<void> {
    const { desk } = this.#parts;
    const link = portalLink((await desk.state()).text);
    const canCome = link && (link.listen !== undefined || hubsOf(link).length > 0);
    if (canCome && link.enabled !== false) return;
    if (link) {
      const words = link.enabled === false ? 'is switched off' : 'does not listen, so nobody can come to it';
      throw new LinkError(
        'no_listener',
        `the portal link ${String(link.name)} of this box ${words}`,
        `add "listen: ${PORTAL_PORT}" to it; or, when this box is behind NAT, have the other box make the code and join from here`,
      );
    }
    const linkKey = await this.#keepKey('portal', newKey());
    await desk.change((text) => editYaml(text, addLink(text, newLink(text, linkKey, PORTAL_PORT))), { who });
  }

  async #keepKey(name: string, key: string): Promise<string> {
    const { folder } = this.#parts;
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const plain = name
      .toLowerCase()
      .replace(/[^a-z0-9-]+/g, '-')
      .slice(0, 40);
    const path = join(folder, `${plain || 'relay'}-${randomBytes(4).toString('hex')}.key`);
    await writeFile(path, `${key}\n`, { mode: 0o600, flag: 'wx' });
    return path;
  }
}

/** Peers that are dialled where they are: the way to others that a hub is. */
function hubsOf(link: Section): readonly string[] {
  return portalPeers(link).flatMap(({ name, address }) => (address === undefined ? [] : [String(name)]));
}

/** Hub and relays must call each other by the same names. */
function nameThrough({ name }: Between, link: Section, { pin }: NewPeer, known: Section | undefined): string {
  const other = known ?? portalPeers(link).find((peer) => peer.name === name);
  if (!other || (other.name === name && portalPeerByPin(link, pin) === other)) return name;
  const words = known
    ? `it is called ${String(known.name)} here, and ${name} at the hub`
    : `another peer is called ${name} here`;
  throw new LinkError('names_differ', words, 'give it one name here and at the hub, then have a new code made');
}

function isTerms(value: unknown): value is PairingTerms {
  const { policy, name } = (value ?? {}) as Record<keyof PairingTerms, unknown>;
  return typeof policy === 'object' && policy !== null && (name === undefined || typeof name === 'string');
}

function newLink(text: string, keyFile: string, listen: number | undefined): Section {
  const taken = linksOf(text).map(({ name }) => name);
  const name = ['portal', 'relays', 'relays-2'].find((one) => !taken.includes(one)) ?? `relays-${taken.length}`;
  return { name, kind: 'portal', ...(listen === undefined ? {} : { listen }), federation_key_file: keyFile };
}

function newKey(): string {
  return randomBytes(24).toString('base64url');
}

function listenOf({ listen }: Section): readonly string[] {
  return (Array.isArray(listen) ? listen : listen === undefined ? [] : [listen]).map(String);
}
