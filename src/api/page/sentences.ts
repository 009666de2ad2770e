// The first lines of the page: one sentence of truth per uplink.
import type { LinkStatus, PeerStatus, RelayStatus } from '../../core/status.ts';
import type { Cells } from './cells.ts';
import { type Html, html } from './html.ts';
import { minuteOf, plural } from './words.ts';

export type Standing = 'good' | 'doubtful' | 'bad' | 'off';
/** State by shape and word, never by colour alone. */
export const MARKS: Readonly<Record<Standing, string>> = { good: '●', doubtful: '▲', bad: '■', off: '○' };

/** Sentences shown; the cards below show all. */
const MAX_SENTENCES = 12;

export function uplinks({ peers }: RelayStatus): readonly PeerStatus[] {
  return peers.filter(({ durable }) => durable);
}

/** A peer that is connected, but through which nothing has come or gone, is doubtful: connected is not flowing. */
export function standingOf(peer: PeerStatus, link: LinkStatus | undefined): Standing {
  if (link && !link.enabled) return 'off';
  if (!peer.policy.in && !peer.policy.out) return 'off';
  if (!peer.connected) return link?.state === 'failed' || peer.trouble ? 'bad' : 'doubtful';
  return peer.received.events > 0 || peer.newestSentMsAgo !== null ? 'good' : 'doubtful';
}

export function linkStanding({ enabled, state }: LinkStatus): Standing {
  if (!enabled || state === 'stopped') return 'off';
  if (state === 'connected' || state === 'listening') return 'good';
  return state === 'failed' ? 'bad' : 'doubtful';
}

/** What it is called here, or calls itself; the link's name where all that is known is an address. */
export function labelOf({ name, key, link }: Pick<PeerStatus, 'name' | 'key' | 'link'>): string {
  return !key.includes('/') && /:\d+$/.test(name) ? link : name;
}

/** What is wrong with a peer that is away: its own trouble, else its link's, else how it last ended. */
export function troubleOf(peer: PeerStatus, link: LinkStatus | undefined): { words: string; fix: string } | undefined {
  if (peer.trouble) return peer.trouble;
  const own = link && !peer.key.includes('/') ? link.lastTrouble : undefined;
  if (own) return own;
  return peer.lastClose ? { words: peer.lastClose.words, fix: '' } : undefined;
}

export function sentences(status: RelayStatus, cells: Cells): Html {
  const links = new Map(status.links.map((link) => [link.name, link]));
  const named = uplinks(status);
  const told = named.slice(0, MAX_SENTENCES).map((peer) => sentence(peer, links.get(peer.link), cells));
  const more = named.length - told.length;
  return html`<ul class="truth" id="truth">${status.emcon?.silent && silence(status.emcon)}${told}${more > 0 && html`<li>and ${plural(more, 'more uplink')}, below</li>`}${
    named.length === 0 &&
    html`<li><b class="doubtful">${MARKS.doubtful}</b> No other server is linked to this box yet.</li>`
  }${clients(status, cells)}</ul>`;
}

/** Who began it is for whoever may see names. */
function silence({ since, by }: NonNullable<RelayStatus['emcon']>): Html {
  const at = since === null ? '' : ` since ${minuteOf(since)} UTC`;
  return html`<li><b class="doubtful">${MARKS.doubtful} Radio silence</b>${at}${by ? `, begun by ${by}` : ''}: nothing goes out; phones connected here go on.</li>`;
}

function sentence(peer: PeerStatus, link: LinkStatus | undefined, cells: Cells): Html {
  const standing = standingOf(peer, link);
  return html`<li><b class="${standing}">${MARKS[standing]}</b> ${
    peer.connected ? linked(peer, standing, cells) : notLinked(peer, link, standing, cells)
  }</li>`;
}

function linked(peer: PeerStatus, standing: Standing, cells: Cells): Html {
  const key = `s.${peer.key}`;
  const way = peer.via ? html` through ${peer.via}` : html` directly`;
  if (standing === 'off')
    return html`Linked to <strong>${labelOf(peer)}</strong>${way}, paused: both directions are switched off`;
  if (standing === 'doubtful')
    return html`Connected to <strong>${labelOf(peer)}</strong>${way}, but nothing has come or gone yet`;
  const waiting = peer.lanes[0]?.queued ?? 0;
  const fix = peer.newestArrivedMsAgo ?? peer.newestSentMsAgo;
  return html`Linked to <strong>${labelOf(peer)}</strong>${way}, newest fix ${cells.age(`${key}.fix`, fix, 'old')}, ${cells.text(
    `${key}.wait`,
    waitingWords(waiting, peer),
  )}`;
}

function waitingWords(alerts: number, { lanes }: PeerStatus): string {
  const all = lanes.reduce((sum, { queued }) => sum + queued, 0);
  if (all === 0) return 'nothing waits';
  return alerts > 0 ? `${plural(alerts, 'alert')} waiting, ${all} in all` : `${all} waiting`;
}

function notLinked(peer: PeerStatus, link: LinkStatus | undefined, standing: Standing, cells: Cells): Html {
  if (standing === 'off') return html`<strong>${labelOf(peer)}</strong> is switched off`;
  const trouble = troubleOf(peer, link);
  const since = peer.since === null ? null : cells.nowMs - Date.parse(peer.since);
  return html`Not linked to <strong>${labelOf(peer)}</strong>${
    since !== null && html` for ${cells.age(`s.${peer.key}.since`, since)}`
  }${trouble && html`: ${trouble.words}`}`;
}

function clients({ peers }: RelayStatus, cells: Cells): Html {
  const count = peers.filter(({ durable, connected }) => !durable && connected).length;
  return html`<li><b class="${count > 0 ? 'good' : 'off'}">${count > 0 ? MARKS.good : MARKS.off}</b> ${cells.text(
    's.clients',
    count === 0
      ? 'No phone is connected here'
      : `${plural(count, 'phone or client', 'phones and clients')} connected here`,
  )}</li>`;
}
