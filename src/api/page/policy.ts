// "Would it cross?" on the page: one picks where an event comes from and what it is, and reads for every peer whether it would get it
// and which rule decides. The answer is that of /api/policy/test; nothing is sent.
import * as z from 'zod';
import { networkOf } from '../../core/networks.ts';
import { nameOf } from '../../core/peer-name.ts';
import type { PeerAnswer, PolicyAnswer, PolicyReport } from '../../core/policy-test.ts';
import { Refusal } from '../refusal.ts';
import { type Reply, type Route, route } from '../route.ts';
import { askPolicy, MAX_XML, type PolicyDeps } from '../routes/policy.ts';
import { EXAMPLES, type Example, exampleXml } from './examples.ts';
import { type Html, html } from './html.ts';
import { type PageCall, type PageDeps, page, pageQuery } from './routes.ts';
import { labelOf, MARKS } from './sentences.ts';
import { loggedIn } from './steer.ts';
import { secretField } from './view.ts';
import { plural } from './words.ts';

/** Peers one can choose, and peers told of. */
const MAX_CHOICES = 128;
const MAX_ROWS = 256;
/** Of a form with an event in it: each byte may come as three. */
const MAX_FORM_BYTES = 4 * MAX_XML;
const TITLE = 'Would it cross?';
const tag = 'Page';

export type PolicyPageDeps = PageDeps & PolicyDeps;

const from = z.string().max(256).default('');
const number = z.string().max(32).default('');
const question = z.strictObject({
  from,
  what: z.enum([...(Object.keys(EXAMPLES) as Example[]), 'xml']).default('position'),
  lat: number,
  lon: number,
  team: z.string().max(64).default(''),
  group: z.string().max(1024).default(''),
  // Browsers send line ends as two characters: what is too long is said by the page.
  xml: z
    .string()
    .max(2 * MAX_XML)
    .default(''),
});
type Question = z.output<typeof question>;

export function policyPages(deps: PolicyPageDeps): Route[] {
  const common = { path: '/policy', tag, gives: 'text/html' };
  return [
    route({
      ...common,
      method: 'GET',
      role: 'public',
      summary: 'A form that says which events would cross to whom, for whoever is logged in',
      query: pageQuery.extend({ from }),
      navigable: true,
      handle: (call) => loggedIn(deps, call, () => show(deps, call, firstQuestion(deps, call.query.from))),
    }),
    route({
      ...common,
      method: 'POST',
      role: 'viewer',
      summary: 'Says for every peer whether the event of the form would cross, and which rule decides; nothing is sent',
      query: pageQuery,
      body: question,
      bodyKind: 'form',
      maxBodyBytes: MAX_FORM_BYTES,
      handle: (call) => loggedIn(deps, call, () => ask(deps, call, call.body)),
    }),
  ];
}

/** Where the newest unit is: areas decide about places that matter here. */
function firstQuestion({ units }: PageDeps, from: string): Question {
  const { lat = 0, lon = 0 } = units(1).units[0] ?? {};
  return question.parse({ from, lat: String(lat), lon: String(lon), team: 'Cyan' });
}

function ask(deps: PolicyPageDeps, call: PageCall, asked: Question): Reply {
  try {
    const { from, group } = asked;
    const groups = group.trim() === '' ? [] : [group.trim()];
    const report = askPolicy(deps, { xml: xmlOf(asked, deps.clock.wallMs()), groups, from: from || undefined });
    return show(deps, call, asked, resultPart(report, networksOf(deps).length > 1));
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    const words = html`<p class="trouble" role="alert">${error.message}${error.fix && html`<br><b>Fix:</b> ${error.fix}`}</p>`;
    return show(deps, call, asked, words, error.status);
  }
}

/** @throws Refusal 400 */
function xmlOf({ what, xml, lat, lon, team }: Question, nowMs: number): string {
  if (what !== 'xml') {
    return exampleXml(what, { lat: degrees(lat, 90), lon: degrees(lon, 180), team: team.trim() }, nowMs);
  }
  const text = xml.replaceAll('\r\n', '\n').trim();
  if (text === '') {
    throw new Refusal(400, 'bad_value', 'there is no event in the form', { fix: 'paste one <event> element' });
  }
  if (text.length <= MAX_XML) return text;
  throw new Refusal(400, 'bad_value', `an event may have ${MAX_XML} characters here`);
}

/** @throws Refusal 400 */
function degrees(text: string, most: number): number {
  const value = Number(text.trim() || '0');
  if (Math.abs(value) <= most) return value;
  throw new Refusal(400, 'bad_value', `no place on earth: ${text}`, { fix: `a number from -${most} to ${most}` });
}

function networksOf({ hub, links }: PolicyDeps): readonly string[] {
  return [...new Set([...hub.peers(), ...links()].map(({ policy }) => networkOf(policy)))];
}

// --- the form ----------------------------------------------------------------------------------------------------------

function show(deps: PolicyPageDeps, call: PageCall, asked: Question, said: Html | '' = '', status = 200): Reply {
  const whats = [...Object.entries(EXAMPLES), ['xml', 'The CoT event that is pasted below']] as const;
  return page(
    deps,
    call,
    TITLE,
    html`<main><h1>${TITLE}</h1><p>For every peer: would it get this event, and which rule decides? Nothing is sent.</p>${said}
<form method="post" action="/policy">${secretField(call.caller.csrf)}
<p><label for="from">Where it comes from</label>${sources(deps, asked.from)}</p>
<p><label for="what">What it is</label><select id="what" name="what">${whats.map(([value, words]) =>
      option(value, words, asked.what),
    )}</select></p>
<details${asked.what === 'xml' && html` open`}><summary>Where it is, its team and group, or a pasted event</summary>
<p><label for="lat">Latitude</label><input id="lat" name="lat" value="${asked.lat}" inputmode="decimal" autocomplete="off"></p>
<p><label for="lon">Longitude</label><input id="lon" name="lon" value="${asked.lon}" inputmode="decimal" autocomplete="off"></p>
<p><label for="team">Team of the unit</label><input id="team" name="team" value="${asked.team}" maxlength="64" autocomplete="off"></p>
<p><label for="group">TAK group it was sent to; empty: none, as from a phone</label><input id="group" name="group" value="${asked.group}" maxlength="1024" autocomplete="off"></p>
<p><label for="xml">CoT XML: one event of at most ${MAX_XML} characters</label><textarea id="xml" name="xml" rows="8" maxlength="${MAX_XML}" spellcheck="false" autocapitalize="off">${asked.xml}</textarea></p></details>
<p><button>Would it cross?</button></p></form>
<p><a href="/">Back to the status</a></p></main>`,
    { status },
  );
}

function option(value: string, words: string, chosen: string): Html {
  return html`<option value="${value}"${value === chosen && html` selected`}>${words}</option>`;
}

/** Links as whoever comes by them, then peers; those that outlive their connections first. */
function sources(deps: PolicyPageDeps, chosen: string): Html {
  const peers = deps.hub.peers();
  const keys = new Set(peers.map(({ spec }) => spec.key));
  const links = deps.links().filter(({ name }) => !keys.has(name));
  const sorted = peers.toSorted((a, b) => Number(b.spec.durable) - Number(a.spec.durable));
  const shown = sorted.filter(({ spec }, at) => at < MAX_CHOICES || spec.key === chosen);
  const several = networksOf(deps).length > 1;
  const beside = (policy: Parameters<typeof networkOf>[0]) => (several ? `, network ${networkOf(policy)}` : '');
  const known = chosen === '' || keys.has(chosen) || links.some(({ name }) => name === chosen);
  return html`<select id="from" name="from">${option('', `Somebody without rules${several ? ', network main' : ''}`, chosen)}${
    !known && option(chosen, chosen, chosen)
  }<optgroup label="Whoever comes by the link">${links.map(({ name, policy }) =>
    option(name, `${name}${beside(policy)}`, chosen),
  )}</optgroup><optgroup label="Peers">${shown.map((peer) => {
    const name = labelOf({ ...peer.spec, name: nameOf(peer) });
    return option(peer.spec.key, `${name} on ${peer.spec.link}${beside(peer.policy)}`, chosen);
  })}</optgroup></select>`;
}

// --- the answer --------------------------------------------------------------------------------------------------------

function resultPart({ event, from, network, entry, peers, directed }: PolicyReport, several: boolean): Html {
  const what = `${event.type} ${event.callsign || event.uid}${from && ` from ${from}`}`;
  const answers = peers.map((peer) => ({ peer, answer: entry.crosses ? peer : notLetIn(entry) }));
  const [shown, rest] = [answers.slice(0, MAX_ROWS), answers.slice(MAX_ROWS)];
  const crossing = rest.filter(({ answer }) => answer.crosses).length;
  return html`<section aria-labelledby="h-answer"><h2 id="h-answer">Answer for ${what}</h2>
<p role="status">${verdict(entry, 'Let in', 'Not let in')}: ${entry.words}. Answered for the network ${network}.</p>
${directed && html`<p>It names its recipients: of those who may have it only they get it.</p>`}${
  peers.length === 0
    ? html`<p>No other peer is known.</p>`
    : html`<div class="scroll" tabindex="0" role="region" aria-label="Peers"><table><thead><tr><th scope="col">Peer</th><th scope="col">Crosses</th><th scope="col">Which rule</th></tr></thead><tbody>${shown.map(
        ({ peer, answer }) => row(peer, answer, several),
      )}</tbody></table></div>`
}${rest.length > 0 && html`<p>${plural(rest.length, 'more peer')}: ${crossing} of them would get it.</p>`}</section>`;
}

function notLetIn({ rule, words }: PolicyAnswer): PolicyAnswer {
  return { crosses: false, rule, words: `it is not let in: ${words}` };
}

function row({ peer, name, link, network }: PeerAnswer, answer: PolicyAnswer, several: boolean): Html {
  const { rule, words } = answer;
  return html`<tr><th scope="row">${labelOf({ name, key: peer, link })} <small class="muted">on ${link}${several && `, network ${network}`}</small></th><td>${verdict(answer, 'yes', 'no')}</td><td>${!words.includes(rule) && html`<code>${rule}</code>: `}${words}</td></tr>`;
}

function verdict({ crosses }: PolicyAnswer, yes: string, no: string): Html {
  return crosses ? html`<b class="good">${MARKS.good} ${yes}</b>` : html`<b class="bad">${MARKS.bad} ${no}</b>`;
}
