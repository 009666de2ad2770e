// One card per link: how it stands, what flows, what waits, what was dropped and why, and the fix.
import type { Rates } from '../../core/history.ts';
import type { DropCounts } from '../../core/reason.ts';
import type { LinkStatus, NetworkStatus, PeerStatus, RelayStatus } from '../../core/status.ts';
import type { Cells } from './cells.ts';
import { type Html, html } from './html.ts';
import { labelOf, linkStanding, MARKS, standingOf, troubleOf } from './sentences.ts';
import { bits, bytes, plural, rate } from './words.ts';

export interface Charts {
  rates(key: string): Rates;
  chart(key: string): readonly number[];
}

/** Peers shown in one card; what they do is in the sums all the same. */
const MAX_PEERS = 24;
const MAX_DROPS = 6;

/** What each card offers to whoever looks: to say what is wrong, to change the link. */
export interface Offers {
  readonly doctor: boolean;
  readonly change: boolean;
}

export function cards(status: RelayStatus, charts: Charts, offers: Offers, cells: Cells): Html {
  return html`${(status.byNetwork?.length ?? 0) > 1 && networksPart(status.byNetwork!, cells)}${status.links.map((link) => cells.section(idOf(link), () => card(link, status, charts, offers, cells)))}`;
}

/** Where the box is several networks: what each does, as the cards below mix them. */
function networksPart(networks: readonly NetworkStatus[], cells: Cells): Html {
  return html`<ul class="files" aria-label="By network">${networks.map(({ name, connected, rates, totals }) => {
    const figure = (of: string, value: string | number) => cells.text(`n.${name}.${of}`, value);
    return html`<li>Network <b>${name}</b>: ${figure('up', connected)} connected, ${figure('in', rate(rates.in))} in and ${figure('out', rate(rates.out))} out per s; ${figure('received', totals.received)} received, ${figure('sent', totals.sent)} sent, ${figure('waiting', totals.queued)} waiting</li>`;
  })}</ul>`;
}

function idOf({ name }: LinkStatus): string {
  return `link-${name}`;
}

function card(link: LinkStatus, status: RelayStatus, charts: Charts, offers: Offers, cells: Cells): Html {
  const standing = linkStanding(link);
  const peers = status.peers.filter((peer) => peer.link === link.name);
  const shown = peers.filter(({ durable }) => durable).slice(0, MAX_PEERS);
  const trouble = link.state === 'connected' || link.state === 'listening' ? undefined : link.lastTrouble;
  return html`<article class="card" id="${idOf(link)}">
<h3><span class="${standing}">${MARKS[standing]}</span> ${link.name} <small>${link.kind}, ${cells.text(
    `l.${link.name}.state`,
    link.enabled ? link.state : 'switched off',
  )} for ${cells.age(`l.${link.name}.since`, Math.max(0, cells.nowMs - link.sinceMs))}</small></h3>
<p>${cells.text(`l.${link.name}.day`, todayWords(link))}</p>
${link.detail && html`<p class="muted">${cells.text(`l.${link.name}.detail`, link.detail)}</p>`}${trouble && words(trouble)}${refusal(link, cells)}${shown.map(
  (peer) => peerPart(peer, link, status, charts, cells),
)}${
  peers.length > shown.length &&
  clientPart(
    link.name,
    peers.filter(({ durable }) => !durable),
    charts,
    cells,
  )
}<p>${offers.doctor && html`<a class="action" href="/doctor/${encodeURIComponent(link.name)}">What is wrong?</a> `}${
    offers.change && html`<a class="action" href="/links/${encodeURIComponent(link.name)}">Change</a>`
  }</p></article>`;
}

/** "1.2 MB of 5.0 MB out today": against the budget where there is one. */
function todayWords({ budget, traffic }: LinkStatus): string {
  const { perDayBytes, usedTodayBytes = 0, closedLanes = [], rateBps } = budget ?? {};
  const out =
    perDayBytes === undefined ? bytes(traffic?.outBytes ?? 0) : `${bytes(usedTodayBytes)} of ${bytes(perDayBytes)}`;
  const closed = closedLanes.length === 0 ? '' : `; used up, today no more of ${closedLanes.join(', ')}`;
  const rate = rateBps === undefined ? '' : `, at most ${bits(rateBps)}`;
  return `Today ${out} out, ${bytes(traffic?.inBytes ?? 0)} in${rate}${closed}`;
}

function words({ words, fix }: { readonly words: string; readonly fix: string }): Html {
  return html`<p class="trouble"><b>${MARKS.bad}</b> ${words}${fix && html`<br><b>Fix:</b> ${fix}`}</p>`;
}

function refusal({ name, lastRefusal, refusals }: LinkStatus, cells: Cells): Html | undefined {
  if (!lastRefusal) return undefined;
  const { address, words, fix } = lastRefusal;
  const count = Object.values(refusals).reduce((sum, one) => sum + one, 0);
  return html`<details><summary>${cells.text(`l.${name}.refused`, plural(count, 'connection'))} refused</summary><p>Last from ${cells.text(
    `l.${name}.refusal`,
    `${address}: ${words}`,
  )}${fix && html`<br><b>Fix:</b> ${cells.text(`l.${name}.fix`, fix)}`}</p></details>`;
}

function peerPart(peer: PeerStatus, link: LinkStatus, status: RelayStatus, charts: Charts, cells: Cells): Html {
  const key = `p.${peer.key}`;
  const standing = standingOf(peer, link);
  const trouble = peer.connected ? undefined : troubleOf(peer, link);
  const own = trouble !== undefined && trouble !== link.lastTrouble;
  const rates = charts.rates(peer.key);
  const waits = peer.lanes.filter(({ queued }) => queued > 0);
  return html`<section class="peer">
<h4><span class="${standing}">${MARKS[standing]}</span> ${labelOf(peer)}${
    peer.saidName !== null && html` <small>calls itself ${peer.saidName}</small>`
  }${peer.proof === 'none' && html` <em class="doubtful">unauthenticated</em>`} ${chips(peer)}</h4>
${own && words(trouble)}<div class="row"><dl>
<div><dt>Way</dt><dd>${peer.connected ? (peer.via ? `through ${peer.via}` : `direct, ${peer.address}`) : 'away'}</dd></div>
<div><dt>${peer.connected ? 'Up' : 'Away'} for</dt><dd>${cells.age(`${key}.since`, peer.since === null ? null : cells.nowMs - Date.parse(peer.since))}</dd></div>
<div><dt>Round trip</dt><dd>${cells.text(`${key}.rtt`, peer.rttMs === null ? '–' : `${Math.round(peer.rttMs)} ms`)}</dd></div>
<div><dt>In, out per s</dt><dd>${cells.text(`${key}.in`, rate(rates.in))}, ${cells.text(`${key}.out`, rate(rates.out))}</dd></div>
<div><dt>Newest fix there</dt><dd>${cells.age(`${key}.fix`, peer.newestArrivedMsAgo ?? peer.newestSentMsAgo, 'old')}</dd></div>
<div><dt>Last heard</dt><dd>${cells.age(`${key}.heard`, peer.lastHeardMsAgo, 'ago')}</dd></div>
<div><dt>Waiting</dt><dd>${cells.text(
    `${key}.wait`,
    waits.length === 0
      ? 'nothing'
      : `${waits.map(({ lane, queued }) => `${lane} ${queued}`).join(', ')} (${bytes(peer.queuedBytes)})`,
  )}</dd></div>
</dl>${sparkline(`${key}.spark`, charts.chart(peer.key), cells)}</div>
${drops(`${key}.drops`, peer, status, cells)}</section>`;
}

/** The four directions, on or off by word and mark. */
function chips({ policy }: PeerStatus): Html {
  const of = (name: string, on: boolean) =>
    html`<span class="chip ${on ? 'on' : 'not'}">${name} ${on ? 'on' : 'off'}</span>`;
  return html`<span class="chips">${of('In', policy.in)}${of('Out', policy.out)}${of('DP-In', policy.dpIn)}${of('DP-Out', policy.dpOut)}</span>`;
}

function clientPart(link: string, peers: readonly PeerStatus[], charts: Charts, cells: Cells): Html {
  const key = `c.${link}`;
  const open = peers.some(({ proof }) => proof === 'none');
  const sum = peers.reduce(
    (total, peer) => {
      const { in: ins, out } = charts.rates(peer.key);
      return { in: total.in + ins, out: total.out + out };
    },
    { in: 0, out: 0 },
  );
  return html`<p>${cells.text(`${key}.count`, plural(peers.length, 'phone or client', 'phones and clients'))}${
    open && html` <em class="doubtful">unauthenticated</em>`
  }, ${cells.text(`${key}.in`, rate(sum.in))} in and ${cells.text(`${key}.out`, rate(sum.out))} out per s</p>`;
}

/** What was not taken from it and what it was not sent, in words, the most frequent first. */
function drops(key: string, { received, lanes }: PeerStatus, { words }: RelayStatus, cells: Cells): Html | undefined {
  const out = new Map<string, number>();
  for (const { dropped } of lanes) add(out, dropped);
  const from = new Map<string, number>();
  add(from, received.refused);
  if (out.size + from.size === 0) return undefined;
  const list = (counts: Map<string, number>, way: string) =>
    [...counts]
      .sort((a, b) => b[1] - a[1])
      .slice(0, MAX_DROPS)
      .map(
        ([reason, count]) =>
          html`<li>${cells.text(`${key}.${way}.${reason}`, count)} ${words.drop[reason as keyof typeof words.drop]}</li>`,
      );
  const total = (counts: Map<string, number>) => [...counts.values()].reduce((sum, count) => sum + count, 0);
  return html`<details><summary>${cells.text(key, `${total(out)} not sent, ${total(from)} not taken`)}, and why</summary>
${out.size > 0 && html`<p>Not sent:</p><ul>${list(out, 'out')}</ul>`}${from.size > 0 && html`<p>Not taken from it:</p><ul>${list(from, 'in')}</ul>`}</details>`;
}

function add(sums: Map<string, number>, counts: DropCounts): void {
  for (const [reason, count] of Object.entries(counts)) sums.set(reason, (sums.get(reason) ?? 0) + count);
}

const SPARK = { width: 90, height: 24 };

/** The last quarter of an hour, in and out together. */
function sparkline(key: string, counts: readonly number[], cells: Cells): Html {
  const most = Math.max(1, ...counts);
  const heights = counts.map((count) => Math.round((1 - count / most) * (SPARK.height - 2)) + 1);
  return html`<svg class="spark" viewBox="0 0 ${SPARK.width} ${SPARK.height}" role="img" aria-label="events in the last 15 minutes"><path${cells.chart(key, heights, SPARK.width)}/></svg>`;
}
