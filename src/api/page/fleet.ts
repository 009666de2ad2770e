// The fleet on the page: relays and units of this box and of all peers that can be asked, read-only. Who does not answer is a badge with
// the time of last contact; the rest is shown all the same.
import type * as z from 'zod';
import type { Fleet, FleetPeer, FleetRelay, FleetUnit } from '../../core/fleet.ts';
import { type AskedFleetDeps, askFleet, fleetQuery } from '../node.ts';
import { type Reply, type Route, route } from '../route.ts';
import { type Html, html } from './html.ts';
import { type PageCall, type PageDeps, page, pageQuery } from './routes.ts';
import { MARKS } from './sentences.ts';
import { duration, minuteOf, plural } from './words.ts';

/** Units shown; a search finds the others. */
const MAX_ROWS = 200;
/** Links of one relay that are named. */
const MAX_LINKS = 8;

export type FleetPageDeps = PageDeps & AskedFleetDeps;

const query = pageQuery.extend(fleetQuery.shape);
type FleetCall = PageCall & { readonly query: z.output<typeof query> };

export function fleetPages(deps: FleetPageDeps): Route[] {
  return [
    route({
      method: 'GET',
      path: '/fleet',
      role: 'viewer',
      tag: 'Page',
      summary: 'Relays and units of all peers and our own, for people; who does not answer',
      query,
      gives: 'text/html',
      // Looking asks peers: a page of another site may not lead here.
      handle: (call) => show(deps, call),
    }),
  ];
}

async function show(deps: FleetPageDeps, call: FleetCall): Promise<Reply> {
  const { q, peer } = call.query;
  const list = await askFleet(deps, { q, peer }, call.caller, call.signal);
  const names = [...new Set(deps.nodes.peers().map(({ name }) => name))];
  return page(
    deps,
    call,
    'Fleet',
    html`<main><h1>Fleet</h1><p>Relays and units of this box and of all peers that can be asked. Nothing can be changed here.</p>
<form method="get" action="/fleet"><p><label for="q">Part of a name, callsign, type or team</label><input id="q" name="q" value="${q}" maxlength="128" autocomplete="off"></p>
<p><label for="peer">Only behind</label><select id="peer" name="peer"><option value="">all of them, and this box</option>${names.map(
      (name) => html`<option value="${name}"${name === peer && html` selected`}>${name}</option>`,
    )}</select></p><p><button>Look</button></p></form>
${peersPart(list.peers, deps.clock.wallMs())}${relaysPart(list)}${unitsPart(list)}
<p><a class="action" href="/partners">Partners</a></p><p><a href="/">Back to the status</a></p></main>`,
  );
}

function table(name: string, heads: readonly string[], rows: readonly Html[]): Html {
  if (rows.length === 0) return html`<p>None.</p>`;
  return html`<div class="scroll" tabindex="0" role="region" aria-label="${name}"><table><thead><tr>${heads.map((head) => html`<th scope="col">${head}</th>`)}</tr></thead><tbody>${rows}</tbody></table></div>`;
}

function peersPart(peers: readonly FleetPeer[], nowMs: number): Html {
  const away = peers.filter(({ reachable }) => !reachable).length;
  return html`<h2>Peers that were asked</h2>${away > 0 && html`<p role="status"><b class="bad">${MARKS.bad} ${plural(away, 'peer')} unreachable:</b> what is there is not in the lists below.</p>`}${table(
    'Peers',
    ['Peer', 'Answer', 'Last contact', 'Why'],
    peers.map(
      ({ name, reachable, lastContact, words }) =>
        html`<tr><th scope="row">${name}</th><td>${
          reachable
            ? html`<b class="good">${MARKS.good} answers</b>`
            : html`<b class="bad chip">${MARKS.bad} Unreachable</b>`
        }</td><td>${lastContact === null ? 'never' : `${duration(nowMs - Date.parse(lastContact))} ago`}</td><td>${words}</td></tr>`,
    ),
  )}`;
}

function relaysPart({ relays }: Fleet): Html {
  return html`<h2>Relays</h2>${table('Relays', ['Relay', 'Behind', 'Version', 'Since', 'Units', 'Links'], relays.map(relayRow))}`;
}

function relayRow({ id, name, peer, version, startedAt, units, links }: FleetRelay): Html {
  const named = links.slice(0, MAX_LINKS).map((link) => `${link.name} (${link.kind}) ${link.state}`);
  const more = links.length > MAX_LINKS ? [`${links.length - MAX_LINKS} more`] : [];
  return html`<tr><th scope="row">${name} <code>${id}</code></th><td>${peer ?? 'this box'}</td><td>${version}</td><td>${minuteOf(startedAt)}</td><td>${units}</td><td>${[...named, ...more].join(', ')}</td></tr>`;
}

function unitsPart({ units, leftOut }: Fleet): Html {
  const more = leftOut + Math.max(0, units.length - MAX_ROWS);
  return html`<h2>Units</h2>${table(
    'Units',
    ['Unit', 'Type', 'Team', 'Behind', 'By link', 'Fix', 'Position'],
    units.slice(0, MAX_ROWS).map(unitRow),
  )}${more > 0 && html`<p>${plural(more, 'more unit')}: a search narrows the list.</p>`}`;
}

function unitRow({ id, callsign, type, team, peer, from, ageMs, lat, lon }: FleetUnit): Html {
  const age = ageMs < 0 ? `${duration(-ageMs)} ahead` : `${duration(ageMs)} old`;
  return html`<tr><th scope="row">${callsign || '–'} <code>${id}</code></th><td>${type}</td><td>${team}</td><td>${peer ?? 'this box'}</td><td>${from}</td><td>${age}</td><td>${lat.toFixed(5)}, ${lon.toFixed(5)}</td></tr>`;
}
