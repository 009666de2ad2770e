// The page of partners: how each stands, when either called last, how old the secrets are (never what they are), and a button that asks
// whether both factors are right. What they and all other peers have is on the page of the fleet.
import * as z from 'zod';
import { Refusal } from '../refusal.ts';
import { type Reply, type Route, route } from '../route.ts';
import {
  type DescribedPartner,
  describePartner,
  type PartnerPing,
  type PartnerRouteDeps,
  pingPartner,
} from '../routes/partners.ts';
import { type Html, html } from './html.ts';
import { type PageCall, type PageDeps, page, pageQuery } from './routes.ts';
import { MARKS, type Standing } from './sentences.ts';
import { loggedIn } from './steer.ts';
import { secretField } from './view.ts';
import { duration, minuteOf } from './words.ts';

const tag = 'Page';
const gives = 'text/html';

export type PartnerPageDeps = PageDeps & PartnerRouteDeps;

export function partnerPages(deps: PartnerPageDeps): Route[] {
  return [
    route({
      method: 'GET',
      path: '/partners',
      role: 'public',
      tag,
      summary: 'How partners stand, for whoever is logged in',
      query: pageQuery,
      gives,
      navigable: true,
      handle: (call) => loggedIn(deps, call, () => show(deps, call)),
    }),
    route({
      method: 'POST',
      path: '/partners/ping',
      role: 'operator',
      tag,
      summary: 'Asks a partner whether both our factors are right there, and shows the answer',
      query: pageQuery,
      body: z.strictObject({ name: z.string().max(64) }),
      bodyKind: 'form',
      gives,
      handle: async (call) => {
        try {
          return show(deps, call, pongPart(await pingPartner(deps, call.body.name, call.caller, call.signal)));
        } catch (error) {
          if (!(error instanceof Refusal)) throw error;
          return show(deps, call, html`<p class="trouble" role="alert">${error.message}</p>`, error.status);
        }
      },
    }),
  ];
}

function show(deps: PartnerPageDeps, call: PageCall, said: Html | '' = '', status = 200): Reply {
  const partners = deps.partners.list().map((partner) => describePartner(deps, partner));
  const csrf = secretField(call.caller.csrf);
  return page(
    deps,
    call,
    'Partners',
    html`<main><h1>Partners</h1><p>Boxes and fleet managers that look at this one over HTTPS, and that it looks at: read-only, by two factors.</p>${said}
<p><a class="action" href="/fleet">The fleet: units and relays of all</a></p>
${partners.length === 0 && html`<p>There is none. <code>waystation partner add NAME --pin PIN</code> makes one.</p>`}${partners.map(
  (partner) => card(partner, deps.clock.wallMs(), csrf),
)}${thisBox(deps)}
<p><a href="/">Back to the status</a></p></main>`,
    { status },
  );
}

// --- one partner -------------------------------------------------------------------------------------------------------

/** How calling it went, in words that fit behind its name. `unreachable` and `timeout`: nobody answered. */
const OUTCOMES: Readonly<Record<string, string>> = {
  ok: 'Answers',
  unreachable: 'Unreachable',
  timeout: 'Unreachable',
  tls: 'TLS fails',
  secret: 'Refuses our secret',
  certificate: 'Refuses our certificate',
  refused: 'Refuses',
  failed: 'Its server fails',
  bad_answer: 'Answers what cannot be read',
  not_connected: 'Cannot be called yet',
};

function wordsOf(outcome: string): string {
  return OUTCOMES[outcome] ?? plain(outcome);
}

function standing({ url, last }: DescribedPartner): readonly [Standing, string] {
  if (url === null) return ['off', 'calls us, and is not called'];
  if (last.outcome === null) return ['doubtful', 'not called since the start'];
  return [last.outcome === 'ok' ? 'good' : 'bad', wordsOf(last.outcome)];
}

function card(partner: DescribedPartner, nowMs: number, csrf: Html): Html {
  const { name, url, last, pings, asked, inbound, outbound, calls } = partner;
  const [css, words] = standing(partner);
  const ago = (at: string) => duration(nowMs - Date.parse(at));
  const { out } = pings;
  const facts: readonly (readonly [string, Html | string])[] = [
    ['Address', url ?? 'none: it calls us'],
    ['Last contact', last.at === null ? 'none since the start' : `${ago(last.at)} ago`],
    ['Our last ping', out === null ? 'none since the start' : `${ago(out.at)} ago: ${pingWords(out)}`],
    ['Its last ping', pings.in === null ? 'none since the start' : `${ago(pings.in.at)} ago: both factors right`],
    ['Its last request', asked === null ? 'none since the start' : `${ago(asked.at)} ago: ${plain(asked.outcome)}`],
    ['Secret it shows us', `made ${ago(inbound.made_at)} ago${before(inbound.previous_until)}`],
    ['Secret we show it', outbound === null ? 'not entered here yet' : `entered ${ago(outbound.set_at)} ago`],
    ['What it sees', sees(partner)],
    ['Calls to it', counted(calls, 'out')],
    ['Calls from it', counted(calls, 'in')],
  ];
  return html`<article class="card"><h2>${name} <small><span class="${css}">${MARKS[css]} ${words}</span></small></h2>
${last.words && html`<p class="trouble">${last.words}</p>`}<dl class="box">${facts.map(
    ([what, fact]) => html`<div><dt>${what}</dt><dd>${fact}</dd></div>`,
  )}</dl>
${url !== null && html`<form method="post" action="/partners/ping">${csrf}<input type="hidden" name="name" value="${name}"><p><button>Ping ${name}</button></p></form>`}</article>`;
}

function pingWords({ outcome, latency_ms, error }: NonNullable<DescribedPartner['pings']['out']>): string {
  return outcome === 'ok' ? `ok in ${latency_ms} ms` : `${wordsOf(outcome)}${error ? `, ${error}` : ''}`;
}

function before(until: string | null): string {
  return until === null ? '' : `; the one before is good until ${minuteOf(until)} UTC`;
}

function sees({ units, groups }: DescribedPartner): string {
  if (!units) return 'relays and links, no units';
  return groups.length === 0 ? 'relays, links, all units' : `relays, links, units of ${groups.join(', ')}`;
}

function counted(calls: DescribedPartner['calls'], way: 'in' | 'out'): string {
  const of = calls.filter(({ direction }) => direction === way);
  return of.length === 0 ? 'none' : of.map(({ outcome, count }) => `${plain(outcome)} ${count}`).join(', ');
}

function plain(outcome: string): string {
  return outcome.replaceAll('_', ' ');
}

function pongPart({ peer, ok, outcome, latency_ms, error }: PartnerPing): Html {
  return ok
    ? html`<p role="status"><b class="good">${MARKS.good} ${peer} answers:</b> both factors are right there; ${latency_ms} ms.</p>`
    : html`<p class="trouble" role="alert"><b>${MARKS.bad} ${peer}: ${wordsOf(outcome)}.</b> ${error ?? ''}</p>`;
}

function thisBox({ published, certificates }: PartnerPageDeps): Html {
  const { url, serverPin } = published();
  return html`<h2>What a partner must be told of this box</h2><dl class="box"><div><dt>Address</dt><dd>${url || 'none: set api.tls in the configuration'}</dd></div><div><dt>Server pin</dt><dd><code>SHA256:${serverPin}</code></dd></div>${certificates().map(
    ({ fingerprint, notAfterMs }) =>
      html`<div><dt>Pin, until ${new Date(notAfterMs).toISOString().slice(0, 10)}</dt><dd><code>SHA256:${fingerprint}</code></dd></div>`,
  )}</dl>`;
}
