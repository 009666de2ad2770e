// The operator's page of phones: who has what, who is here; add, renew, revoke, print. Plain forms, for whoever is logged in.
import * as z from 'zod';
import { MAIN_NETWORK, MAX_PHONES } from '../../onboarding/phones.ts';
import { phoneName, presets, presetWords, REPORT_SECONDS, ROLES, TEAMS } from '../../onboarding/presets.ts';
import type { ListedPhone, PhoneOffice } from '../phones.ts';
import { Refusal } from '../refusal.ts';
import type { Reply, Route } from '../route.ts';
import { route } from '../route.ts';
import { cardFor, host, hours, invite, network } from '../routes/phones.ts';
import { type Html, html } from './html.ts';
import { type PageCall, type PageDeps, page, pageQuery } from './routes.ts';
import { minute, sheetBody, wifiFields, wifiOf } from './sheet.ts';
import { loggedIn } from './steer.ts';
import { secretField } from './view.ts';
import { duration, plural } from './words.ts';

const tag = 'Page';
const gives = 'text/html';
const one = z.strictObject({ id: z.string().max(128), hours, host });
/** A form sends one box as text, several as a list. */
const ids = z
  .union([z.string().max(128), z.array(z.string().max(128)).max(MAX_PHONES)])
  .default([])
  .transform((said) => [said].flat());

export function phonePages(deps: PageDeps, office: PhoneOffice): Route[] {
  const at = (path: string, summary: string) => ({ method: 'POST', path, role: 'admin', tag, summary, gives }) as const;
  return [
    route({
      method: 'GET',
      path: '/phones',
      role: 'public',
      tag,
      summary: 'The phones of this box, for whoever is logged in',
      query: pageQuery,
      gives,
      navigable: true,
      handle: (call) => loggedIn(deps, call, () => listPage(deps, office, call)),
    }),
    route({
      ...at('/phones', 'Adds a phone and shows its card'),
      query: pageQuery,
      body: presets.extend({ name: phoneName, network, hours, host }),
      bodyKind: 'form',
      handle: (call) =>
        orWords(deps, office, call, () => {
          const { name, network, hours, host, ...presets } = call.body;
          const card = cardFor(office, call, host, () => office.add({ name, presets, network, hours }));
          call.note(`phone ${name} added`);
          return cardsPage(deps, office, call, `Card for ${name}`, { cards: [card], wifi: undefined });
        }),
    }),
    route({
      ...at('/phones/renew', 'Gives a phone a new code'),
      query: pageQuery,
      body: one,
      bodyKind: 'form',
      handle: (call) =>
        orWords(deps, office, call, () => {
          const { id, hours, host } = call.body;
          const card = cardFor(office, call, host, () => office.do((phones) => phones.renew(id, hours)));
          const { name } = card.invitation.phone;
          call.note(`new code for phone ${name}`);
          return cardsPage(deps, office, call, `Card for ${name}`, { cards: [card], wifi: undefined });
        }),
    }),
    route({
      ...at('/phones/revoke', 'Asks, then revokes a phone'),
      query: pageQuery,
      body: z.strictObject({ id: z.string().max(128), sure: z.literal('yes').optional() }),
      bodyKind: 'form',
      handle: (call) =>
        orWords(deps, office, call, () => {
          const { id, sure } = call.body;
          const { name } = office.do((phones) => phones.find(id));
          if (!sure) return page(deps, call, 'Revoke?', revokeQuestion(call, id, name));
          office.do((phones) => phones.revoke(id));
          call.note(`phone ${name} revoked`);
          return listPage(deps, office, call, `${name} is revoked and cut off.`);
        }),
    }),
    route({
      ...at('/phones/sheet', 'Cards of several phones, to print'),
      query: pageQuery,
      body: z.strictObject({ phone: ids, hours, host, ...wifiFields }),
      bodyKind: 'form',
      handle: (call) =>
        orWords(deps, office, call, () => {
          const { phone, hours, host: wanted, ...wifi } = call.body;
          const host = office.hostFor(wanted, call.request.headers.host);
          const cards = invite(office, phone, hours).map((invitation) => office.card(invitation, host));
          call.note(`sheet for ${plural(cards.length, 'phone')}`);
          return cardsPage(deps, office, call, `Phones of ${office.box().name}`, { cards, wifi: wifiOf(wifi) });
        }),
    }),
  ];
}

/** What was refused is said on the page, not as a problem document. */
function orWords(deps: PageDeps, office: PhoneOffice, call: PageCall, work: () => Reply): Reply {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return listPage(deps, office, call, `${error.message}. ${error.fix}`, error.status);
  }
}

function cardsPage(
  deps: PageDeps,
  office: PhoneOffice,
  call: PageCall,
  title: string,
  parts: Pick<Parameters<typeof sheetBody>[0], 'cards' | 'wifi'>,
): Reply {
  const body = sheetBody({ box: office.box(), nowMs: deps.clock.wallMs(), ...parts });
  return page(
    deps,
    call,
    title,
    html`<main class="sheet"><h1>${title}</h1>${trouble(office.trouble())}${body}<p class="noprint"><a class="action" href="/phones">Back to the phones</a></p></main>`,
  );
}

function listPage(deps: PageDeps, office: PhoneOffice, call: PageCall, said = '', status = 200): Reply {
  const phones = office.list();
  const nowMs = deps.clock.wallMs();
  const several = office.networks().length > 1 || phones.some(({ network }) => network !== MAIN_NETWORK);
  return page(
    deps,
    call,
    'Phones',
    html`<main><h1>Phones</h1>${said && html`<p class="trouble" role="alert">${said}</p>`}${trouble(office.trouble())}
<h2>Add a phone</h2>${addForm(office, call)}
<h2>${phones.length === 0 ? 'None yet' : plural(phones.length, 'phone')}</h2>${phones.map((phone) => phoneCard(call, phone, { nowMs, several }))}
${phones.length > 0 && sheetForm(office, call, phones)}
<p><a class="action" href="/">Back to the status</a></p></main>`,
    { status },
  );
}

function trouble(words: string): Html | undefined {
  return words === '' ? undefined : html`<p class="trouble noprint">${words}</p>`;
}

function addForm(office: PhoneOffice, call: PageCall): Html {
  return html`<form method="post" action="/phones">${secretField(call.caller.csrf)}
<p><label for="name">Name, on this list and in its certificate</label><input id="name" name="name" maxlength="48" required></p>
<p><label for="callsign">Callsign (empty: the phone keeps its own)</label><input id="callsign" name="callsign" maxlength="48"></p>
<p><label for="team">Team</label>${choice('team', TEAMS)}</p><p><label for="role">Role</label>${choice('role', ROLES)}</p>
<p><label for="report">Seconds between two positions, at the least (ATAK)</label>${choice('report', REPORT_SECONDS)}</p>
${networkField(office)}${hostField(office, call, 'host')}<p><button>Add and show its card</button></p></form>`;
}

function choice(name: string, values: readonly string[]): Html {
  return html`<select id="${name}" name="${name}"><option value="">as the phone has it</option>${values.map(
    (value) => html`<option>${value}</option>`,
  )}</select>`;
}

/** Where the box has several. */
function networkField(office: PhoneOffice): Html | undefined {
  const networks = office.networks();
  if (networks.length < 2) return undefined;
  return html`<p><label for="network">Network, the only one in which it can connect</label><select id="network" name="network">${networks.map(
    (name) => html`<option>${name}</option>`,
  )}</select></p>
`;
}

function hostField(office: PhoneOffice, call: PageCall, id: string): Html {
  const chosen = office.hostFor(undefined, call.request.headers.host);
  const hosts = [...new Set([chosen, ...office.reachable()])];
  return html`<p><label for="${id}">Phones reach this box at</label><select id="${id}" name="host">${hosts.map(
    (host) => html`<option>${host}</option>`,
  )}</select></p>`;
}

function phoneCard(
  call: PageCall,
  phone: ListedPhone,
  { nowMs, several }: { readonly nowMs: number; readonly several: boolean },
): Html {
  const { id, name, network, presets, connected, fingerprint, notAfterMs, codeEndsMs } = phone;
  const button = (action: string, words: string, spoken: string) =>
    html`<form method="post" action="/phones/${action}">${secretField(call.caller.csrf)}<input type="hidden" name="id" value="${id}"><button class="second" aria-label="${spoken} ${name}">${words}</button></form>`;
  const rows: [string, Html | string][] = [
    ['State', stateOf(phone, nowMs)],
    ...(several ? [['Network', network] as [string, string]] : []),
    ['Presets', presetWords(presets) || 'none'],
    ...(connected ? [['From', connected.address] as [string, string]] : []),
    ...(codeEndsMs === null ? [] : [['Code waits', `until ${minute(codeEndsMs)} UTC`] as [string, string]]),
    ...(notAfterMs === null
      ? []
      : [
          ['Certificate', `until ${minute(notAfterMs).slice(0, 10)}`] as [string, string],
          ['SHA-256', html`<code>${fingerprint}</code>`] as [string, Html],
        ]),
  ];
  return html`<section class="card" aria-label="${name}"><h3>${name}</h3><dl>${rows.map(
    ([what, value]) => html`<div><dt>${what}</dt><dd>${value}</dd></div>`,
  )}</dl><div class="row">${button('renew', 'New code', 'New code for')}${button('revoke', 'Revoke', 'Revoke')}</div></section>`;
}

function stateOf({ connected, seenMs, fingerprint, codeEndsMs }: ListedPhone, nowMs: number): Html {
  if (connected)
    return html`<span class="good">● here now</span>${connected.callsign && html`, as ${connected.callsign}`}`;
  if (seenMs !== null) return html`<span class="off">○ last here ${duration(Math.max(0, nowMs - seenMs))} ago</span>`;
  if (fingerprint !== '') return html`<span class="doubtful">▲ has its package, never connected</span>`;
  return codeEndsMs === null
    ? html`<span class="bad">■ its code was not used in time</span>`
    : html`<span class="off">○ has not used its code yet</span>`;
}

function sheetForm(office: PhoneOffice, call: PageCall, phones: readonly ListedPhone[]): Html {
  return html`<h2>Sheet to print</h2><p>A new code for each phone chosen; codes they have not used end. None chosen: all that have no certificate yet.</p>
<form method="post" action="/phones/sheet">${secretField(call.caller.csrf)}<fieldset><legend>Phones</legend>${phones.map(
    ({ id, name }) =>
      html`<p><label class="inline"><input type="checkbox" name="phone" value="${id}"> ${name}</label></p>`,
  )}</fieldset>${hostField(office, call, 'sheet-host')}
<p><label for="ssid">Wi-Fi name (empty: no Wi-Fi code; not kept)</label><input id="ssid" name="ssid" maxlength="32" autocomplete="off"></p>
<p><label for="passphrase">Wi-Fi passphrase (not kept)</label><input id="passphrase" name="passphrase" maxlength="63" autocomplete="off"></p>
<p><button>Make the sheet</button></p></form>`;
}

function revokeQuestion(call: PageCall, id: string, name: string): Html {
  return html`<main><h1>Revoke ${name}?</h1><p>Its connection ends at once, and neither its certificate nor a code it has works again. Renewing later is not possible: it would be added anew.</p>
<form method="post" action="/phones/revoke">${secretField(call.caller.csrf)}<input type="hidden" name="id" value="${id}"><input type="hidden" name="sure" value="yes"><p><button>Revoke ${name}</button></p></form>
<p><a class="action" href="/phones">No, back to the phones</a></p></main>`;
}
