// Who brings and fetches files: phones and federates, by their certificates or addresses; what their connections' policies let them, and
// whom they may know of. Part of the composition root.
import type { TLSSocket } from 'node:tls';
import type { MartiCaller, MartiContact } from './api/marti/context.ts';
import type { MartiPlace } from './api/marti/server.ts';
import type { Config } from './config/schema.ts';
import type { Hub } from './core/hub.ts';
import { MAIN_NETWORK } from './core/networks.ts';
import type { Peer } from './core/peer.ts';

import { type Policy, permit, visibleGroups } from './core/policy.ts';
import type { StoredFile } from './files/shelf.ts';
import type { StoredIdentity } from './identity/identity.ts';
import { judge, peerChain } from './identity/judge.ts';
import { mergeTrust, type Trust } from './identity/trust.ts';
import { fingerprint as fingerprintOf } from './identity/x509.ts';
import { plainAddress } from './lib/address.ts';
import type { Clock } from './lib/clock.ts';

const MAX_CONTACTS = 1_000;
const MAX_GROUPS = 64;
/** Kinds of links whose peers are federates with certificates. */
const FEDERATES: ReadonlySet<string> = new Set(['fed1', 'fed2']);

export interface FileCallerParts {
  readonly hub: Hub;
  readonly identity: StoredIdentity;
  readonly clock: Clock;
  /** Which phones are let in besides those of our own authority, and which are not; live. */
  readonly phones: Trust;
  /** As configured now. */
  config(): Config;
}

export class FileCallers {
  readonly #parts: FileCallerParts;

  constructor(parts: FileCallerParts) {
    this.#parts = parts;
  }

  /** Revoked ones are refused here as on the stream. */
  judge(socket: TLSSocket, kind: MartiPlace['kind']): Omit<MartiCaller, 'address'> | undefined {
    if (kind === 'federates') return this.#federate(socket);
    const { identity, clock } = this.#parts;
    this.#trust ??= mergeTrust({ cas: [identity.ca.certPem], pins: [] }, this.#parts.phones);
    const verdict = judge(peerChain(socket), this.#trust, 'client', clock.wallMs());
    const { ok } = verdict;
    return ok ? { name: verdict.identity.name, fingerprint: verdict.identity.id, isFederate: false } : undefined;
  }
  #trust: ReturnType<typeof mergeTrust> | undefined;

  /** Whoever is connected as a federate, by the very certificate that its link has let in: so its trust and revocations hold here. */
  #federate(socket: TLSSocket): Omit<MartiCaller, 'address'> | undefined {
    const [leaf] = peerChain(socket);
    const fingerprint = leaf && fingerprintOf(leaf);
    const peer = this.#parts.hub
      .peers()
      .find(
        ({ spec, session }) =>
          FEDERATES.has(spec.kind) && session?.identity.proof === 'certificate' && session.identity.id === fingerprint,
      );
    return peer && { name: peer.spec.name, fingerprint, isFederate: true };
  }

  /** The connections of the phone or federate that asks: by its certificate, else by its address. */
  streams({ fingerprint, address, isFederate }: MartiCaller): readonly Peer[] {
    return this.#parts.hub.peers().filter(({ spec, session }) => {
      if (!session || (isFederate ? !FEDERATES.has(spec.kind) : spec.kind !== 'cot')) return false;
      if (fingerprint !== undefined) return session.identity.id === fingerprint;
      return session.identity.proof === 'none' && hostOf(session.address) === address;
    });
  }

  /** Of the phone's stream; while it has none, of every listener for phones. */
  policies(caller: MartiCaller): readonly Policy[] {
    const streams = this.streams(caller);
    if (streams.length > 0 || caller.isFederate) return streams.map(({ policy }) => policy);
    return this.#parts
      .config()
      .links.filter(({ kind, enabled, settings }) => kind === 'cot' && enabled && listens(settings))
      .map(({ policy }) => policy);
  }

  /** Where the box has several networks: only who is in one that gets what was brought in that one. Of a phone without a stream nobody knows. */
  mayKnow({ network = MAIN_NETWORK }: StoredFile, caller: MartiCaller): boolean {
    if (this.#parts.config().networks.length === 0) return true;
    return this.streams(caller).some(({ policy }) => policy.border?.opensTo(network));
  }

  contacts(caller: MartiCaller): readonly MartiContact[] {
    const { hub, clock } = this.#parts;
    const streams = this.streams(caller);
    const { roster } = hub.picture;
    return roster
      .uids()
      .flatMap((uid): MartiContact[] => {
        const entry = roster.entry(uid);
        if (!entry || !streams.some(({ policy }) => permit(entry.notice, policy) === undefined)) return [];
        const position = hub.picture.latest(uid);
        const event = position?.message.kind === 'event' ? position.message.event : undefined;
        const { callsign } = entry.contact;
        const lastMs = position?.receivedWallMs ?? entry.notice.receivedWallMs;
        const connected = position !== undefined && position.expiresMs > clock.nowMs();
        return [{ uid, callsign, team: event?.team ?? '', role: event?.role ?? '', lastMs, connected }];
      })
      .slice(0, MAX_CONTACTS);
  }

  /** Of those whom the phone may know of. */
  groups(caller: MartiCaller): readonly string[] {
    const { roster } = this.#parts.hub.picture;
    const [stream] = this.streams(caller);
    if (!stream) return [];
    const groups = new Set<string>();
    for (const uid of roster.uids().slice(0, MAX_CONTACTS)) {
      const notice = roster.entry(uid)?.notice;
      if (!notice || permit(notice, stream.policy) !== undefined) continue;
      for (const group of visibleGroups(notice, stream.policy)) groups.add(group);
    }
    return [...groups].slice(0, MAX_GROUPS);
  }
}

function hostOf(address: string): string {
  return plainAddress(address.replace(/:\d+$/, '').replace(/^\[|\]$/g, ''));
}

function listens(settings: unknown): boolean {
  return (settings as { readonly listen: readonly unknown[] }).listen.length > 0;
}
