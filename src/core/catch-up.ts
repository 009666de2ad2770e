// What a late joiner is told: the alerts that stand, the last position of every unit, then whom else it can reach.
import type { Envelope } from './message.ts';
import type { Picture } from './picture.ts';

/** Yields what a late joiner should be told, one message at a time, none twice. */
export type CatchUp = Iterator<Envelope, undefined>;

export interface Newcomer {
  /** The peer's key: it is not told what it said itself. */
  readonly key: string;
  /** Whether its protocol announces contacts. */
  readonly keepsContacts: boolean;
  /** Number of the last message before it came: everything later it is offered as it comes. */
  readonly seq: number;
}

/** Walked slowly while the picture changes: what is renewed meanwhile is not told, as it is offered as it comes. */
export function* catchUp(picture: Picture, newcomer: Newcomer, nowMs: () => number): Generator<Envelope, undefined> {
  const { key, seq, keepsContacts } = newcomer;
  const isDue = (envelope: Envelope | undefined): envelope is Envelope =>
    envelope !== undefined && envelope.seq <= seq && envelope.from !== key && nowMs() < envelope.expiresMs;
  for (const uid of picture.alertUids()) {
    const alert = picture.alert(uid);
    if (isDue(alert)) yield alert;
  }
  for (const uid of picture.unitUids()) {
    const latest = picture.latest(uid);
    if (isDue(latest)) yield latest;
  }
  for (const uid of keepsContacts ? picture.roster.uids() : []) {
    const entry = picture.roster.entry(uid);
    // However new the notice: a contact may have got another with a position that this peer was not told.
    if (entry && entry.notice.from !== key && entry.via.some(({ peer }) => peer !== key)) yield entry.notice;
  }
  return undefined;
}
