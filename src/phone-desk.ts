// Phones, as the relay knows them: who is connected by which certificate, where they may connect, what was given to them. Part of the
// composition root.
import { Guesses } from './api/access/guesses.ts';
import { type LivePhone, PhoneOffice, type PhonePorts } from './api/phones.ts';
import type { EventLog } from './core/events.ts';
import type { Hub } from './core/hub.ts';
import { networkOf } from './core/networks.ts';
import type { StoredIdentity } from './identity/identity.ts';
import type { Clock } from './lib/clock.ts';
import type { CotConfig } from './links/cot/config.ts';
import type { LinkEntry } from './links/runner.ts';
import { Phones } from './onboarding/phones.ts';
import type { PhoneDoors } from './phone-doors.ts';
import type { AuditStore } from './store/audit.ts';
import type { Store } from './store/store.ts';

export interface PhoneDeskParts {
  readonly store: Store;
  readonly identity: StoredIdentity;
  readonly clock: Clock;
  readonly hub: Hub;
  readonly events: EventLog;
  readonly audit: AuditStore;
  name(): string;
  hosts(): readonly string[];
  /** As configured now. */
  links(): readonly LinkEntry[];
  readonly doors: Pick<PhoneDoors, 'welcome'>;
  /** Where the API is served, as bound. */
  api(): Omit<PhonePorts, 'tls' | 'tcp'>;
}

export function phoneOffice(parts: PhoneDeskParts): PhoneOffice {
  const { store, identity, clock, hub, events, audit } = parts;
  const phones = new Phones({
    memory: { get: (key) => store.get(key), set: (key, value) => store.set(key, value), flush: () => store.flush() },
    identity,
    clock,
    onForeign: (guests) => parts.doors.welcome(guests),
  });
  noteSightings(phones, hub, events);
  return new PhoneOffice({
    phones,
    guesses: new Guesses(clock),
    box: () => ({ name: parts.name(), caPem: identity.ca.certPem, caFingerprint: identity.ca.fingerprint }),
    hosts: () => parts.hosts(),
    ports: (network) => ({ ...parts.api(), ...cotPorts(parts.links(), network) }),
    networks: () => phoneNetworks(parts.links()),
    live: () => livePhones(hub),
    onTaken: (phone, what, from) =>
      audit.add({
        kind: 'change',
        who: phone,
        from,
        action: 'phone_code_used',
        target: phone,
        outcome: 'ok',
        detail: what,
      }),
  });
}

/** A phone is there when a connection with its certificate begins, and was there when it ends. */
function noteSightings(phones: Phones, hub: Hub, events: EventLog): void {
  const connected = new Map<string, string>();
  events.subscribe(({ event }) => {
    if (event.type === 'peer_up') {
      const fingerprint = certificateOf(hub.peers().find(({ spec }) => spec.key === event.peer));
      if (fingerprint === undefined) return;
      connected.set(event.peer, fingerprint);
      phones.seen(fingerprint);
    } else if (event.type === 'peer_down') {
      const fingerprint = connected.get(event.peer);
      connected.delete(event.peer);
      if (fingerprint !== undefined) phones.seen(fingerprint);
    }
  });
}

type Known = ReturnType<Hub['peers']>[number];

/** Of a client of ours. */
function certificateOf(peer: Known | undefined): string | undefined {
  const identity = peer?.spec.kind === 'cot' ? peer.session?.identity : undefined;
  return identity?.proof === 'certificate' ? identity.id : undefined;
}

function livePhones(hub: Hub): ReadonlyMap<string, LivePhone> {
  const live = new Map<string, LivePhone>();
  for (const peer of hub.peers()) {
    const fingerprint = certificateOf(peer);
    if (fingerprint !== undefined)
      live.set(fingerprint, { address: peer.session?.address ?? '', callsign: peer.saidName });
  }
  return live;
}

/**
 * The first listener of each sort, in that network if one is named; over TLS one that shows our own certificate: the packages hold our CA
 * and no other.
 */
export function cotPorts(links: readonly LinkEntry[], network?: string): Pick<PhonePorts, 'tls' | 'tcp'> {
  const listeners = phoneLinks(links)
    .filter((link) => network === undefined || networkOf(link.policy) === network)
    .map(({ settings }) => settings as CotConfig);
  const own = listeners.find(isOwnTls);
  const port = (one: CotConfig | undefined) => one?.listen[0]?.port;
  return { tls: port(own), tcp: port(listeners.find(({ tls, auth }) => !tls && !auth)) };
}

/** Those in which a phone with a certificate can connect, in the order of the file. */
function phoneNetworks(links: readonly LinkEntry[]): readonly string[] {
  const open = phoneLinks(links).filter(({ settings }) => isOwnTls(settings as CotConfig));
  return [...new Set(open.map(({ policy }) => networkOf(policy)))];
}

function phoneLinks(links: readonly LinkEntry[]): readonly LinkEntry[] {
  return links.filter(
    ({ kind, enabled, settings }) => kind === 'cot' && enabled && (settings as CotConfig).listen.length > 0,
  );
}

function isOwnTls({ tls }: CotConfig): boolean {
  return tls !== false && !tls.keyFiles;
}
