// What of the hub and the certificates a person should know, in words.
import type { ApplianceStatus } from './core/appliance.ts';
import type { Hub } from './core/hub.ts';
import type { Warning } from './core/status.ts';
import type { Crl } from './identity/crl.ts';
import type { KeyPair, StoredIdentity } from './identity/identity.ts';
import type { ClockSource } from './lib/host.ts';
import type { LinkStatus } from './links/runner.ts';

const CLOCK_WORDS = {
  ntp: 'by a time server',
  rtc: 'by the battery clock at the start; this relay cannot see what corrects it',
} as const;

/** Where the time comes from, in words: the card image knows best. */
export function clockFrom(appliance: ApplianceStatus | undefined, source: ClockSource | null): string {
  return appliance?.clock ?? (source === null ? 'its source is not known here' : CLOCK_WORDS[source]);
}

/** A certificate that ends sooner is a warning. */
const EXPIRY_WARNING_DAYS = 30;
const DAY_MS = 86_400_000;
/** Shared callsigns that are named. */
const MOST_SHARED = 4;

export function expiryWarnings(identity: StoredIdentity, nowMs: number): readonly Warning[] {
  return identity
    .expiring(nowMs)
    .filter(({ daysLeft }) => daysLeft < EXPIRY_WARNING_DAYS)
    .map(({ what, daysLeft }) => ({
      code: 'certificate_expiring',
      words: `the ${what} certificate ends in ${daysLeft} days`,
      fix: what === 'authority' ? 'give phones and peers a new one in time' : 'restart the relay: it renews itself',
    }));
}

/** Partners have pinned it, so it is not renewed behind a person's back. `pairs`: the newest first. */
export function callingWarnings(pairs: readonly Pick<KeyPair, 'notAfterMs'>[], nowMs: number): readonly Warning[] {
  const [newest] = pairs;
  const daysLeft = newest ? Math.floor((newest.notAfterMs - nowMs) / DAY_MS) : EXPIRY_WARNING_DAYS;
  if (daysLeft >= EXPIRY_WARNING_DAYS) return [];
  const words =
    daysLeft < 0
      ? 'the certificate by which this box calls its partners has ended'
      : `the certificate by which this box calls its partners ends in ${daysLeft} days`;
  const fix =
    'issue another ("waystation partner certificate") and have the partners pin it; until they do, this one is used';
  return [{ code: 'partner_certificate_expiring', words, fix }];
}

/** Such a list still counts; who was revoked since it was made is not on it. */
export function crlWarnings(crls: readonly Crl[], nowMs: number): readonly Warning[] {
  return crls
    .filter(({ nextUpdateMs }) => nextUpdateMs !== undefined && nextUpdateMs < nowMs)
    .map(({ file = '', nextUpdateMs }) => ({
      code: 'crl_outdated',
      words: `the revocation list ${file} should have been replaced by ${new Date(nextUpdateMs!).toISOString().slice(0, 16).replace('T', ' ')} UTC: whom its authority revoked since then is let in`,
      fix: 'get the current list from that authority, put it in the place of this one, and have the configuration read again (SIGHUP)',
    }));
}

export function clockWarning({ clockSense }: Pick<Hub, 'clockSense'>): readonly Warning[] {
  const { offsetMs, witnesses } = clockSense;
  if (offsetMs === 0) return [];
  const off = `${Math.round(Math.abs(offsetMs) / 60_000)} min ${offsetMs > 0 ? 'behind' : 'ahead'}`;
  const words = `this box's clock seems to be ${off}: so says ${witnesses === 1 ? '1 live unit' : `${witnesses} live units`}`;
  const fix = 'set the clock, or let the box reach a time server; until then events are judged by the units’ time too';
  return [{ code: 'clock_wrong', words, fix }];
}

/** What the hub shows of clocks and names. */
export function hubWarnings(hub: Hub): readonly Warning[] {
  return [...clockWarning(hub), ...callsignWarnings(hub), ...claimWarnings(hub)];
}

/** Two who are called alike may be a mistake, or somebody who wants to read along. */
export function callsignWarnings({ picture }: Pick<Hub, 'picture'>): readonly Warning[] {
  return picture.roster.shared(MOST_SHARED).map(({ callsign, peers }) => ({
    code: 'callsign_shared',
    words: `${JSON.stringify(callsign)} is the callsign of several, who come by ${peers.join(', ')}: chat to that callsign goes to all of them`,
    fix: 'give each a callsign of its own; if one of the peers has no right to it, switch "in" of its policy off',
  }));
}

/** One of them is not who he says, or two phones were set up from one backup. */
export function claimWarnings(hub: Pick<Hub, 'picture' | 'peers'>): readonly Warning[] {
  const name = (key: string) => {
    const session = hub.peers().find(({ spec }) => spec.key === key)?.session;
    return session ? `${key} (${session.identity.name}, ${session.address})` : key;
  };
  return hub.picture.claims
    .list()
    .slice(0, MOST_SHARED)
    .map(({ uid, holder, rival, callsigns: [theirs, others] }) => ({
      code: 'uid_claimed',
      words: `two say that they are ${JSON.stringify(uid)}: ${JSON.stringify(theirs)} by ${name(holder)}, who is written to, and ${JSON.stringify(others)} by ${name(rival)}; both are shown`,
      fix: 'find out who has that uid by right: two phones may have been set up from one backup; cut the other off, and let phones connect with certificates',
    }));
}

/** What links show, under their names. */
export function linkWarnings(links: readonly LinkStatus[]): readonly Warning[] {
  return links.flatMap(({ name, warnings = [] }) =>
    warnings.map(({ code, words, fix }) => ({ code, words: `${name}: ${words}`, fix })),
  );
}
