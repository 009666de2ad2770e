// The page of federation: the code by which another Waystation joins, joining by a code, what a TAK Server's operator needs of us, and
// the federates let in by their fingerprint. Plain forms, for whoever is logged in.
import * as z from 'zod';
import { ConfigRefused } from '../../config/refused.ts';
import { qrPath } from '../../onboarding/addresses.ts';
import { pinHex } from '../federation.ts';
import { Refusal } from '../refusal.ts';
import { mayAct, type Reply, type Route, route } from '../route.ts';
import {
  dropFederate,
  type FederateDeps,
  listFederates,
  publishedHere,
  registerFederate,
} from '../routes/federates.ts';
import { listNetworks } from '../routes/networks.ts';
import { codeState, inWords, type PairingRouteDeps } from '../routes/pairing.ts';
import { type Html, html } from './html.ts';
import { networkForms, networkPart } from './networks.ts';
import { type PageCall, type PageDeps, page, pageQuery } from './routes.ts';
import { loggedIn } from './steer.ts';
import { boxes, chips, offOf, ways } from './toggles.ts';
import { secretField } from './view.ts';

const tag = 'Page';
const gives = 'text/html';
const CODE_LIFE_MS = 15 * 60_000;
const UNLIMITED = { in: true, out: true, dp_in: true, dp_out: true, group_hops: {}, max_hops_out: -1 };
export type FederationPageDeps = PageDeps & FederateDeps & PairingRouteDeps;

export function federationPages(deps: FederationPageDeps): Route[] {
  const form = (path: string, summary: string) =>
    ({ method: 'POST', path, role: 'admin', tag, summary, gives }) as const;
  const body = z.strictObject({});
  return [
    route({
      method: 'GET',
      path: '/federation',
      role: 'public',
      tag,
      summary: 'Codes, joining, what we publish and who is registered, for whoever is logged in',
      query: pageQuery,
      gives,
      navigable: true,
      // Whoever may look sees how it stands; the forms are for who is logged in.
      handle: (call) => (mayLook(call) ? look(deps, call) : loggedIn(deps, call, () => show(deps, call))),
    }),
    route({
      ...form('/federation/code', 'Makes a code and shows it'),
      query: pageQuery,
      body: z.strictObject(ways),
      bodyKind: 'form',
      handle: (call) =>
        orWords(deps, call, async () => {
          const terms = { policy: offOf(call.body) };
          await inWords(() => deps.pairing.make(terms, call.caller.name, CODE_LIFE_MS));
          call.note('federation code made');
          return '';
        }),
    }),
    route({
      ...form('/federation/clear', 'Ends the code'),
      query: pageQuery,
      body,
      bodyKind: 'form',
      handle: (call) =>
        orWords(deps, call, async () => {
          deps.pairing.clear();
          call.note('federation code cleared');
          return '';
        }),
    }),
    route({
      ...form('/federation/join', 'Joins another box by its code'),
      query: pageQuery,
      body: z.strictObject({
        address: z.string().min(1).max(260),
        hub: z.string().max(64).default(''),
        code: z.string().min(1).max(64),
        ...ways,
      }),
      bodyKind: 'form',
      handle: (call) =>
        orWords(deps, call, async () => {
          const { address, hub, code, ...said } = call.body;
          const wanted = { address, ...(hub === '' ? {} : { hub }), code, terms: { policy: offOf(said) } };
          const joined = await inWords(() => deps.pairing.join(wanted, call.caller.name, call.signal));
          call.note(`joined ${joined.name} at ${address} by its code`);
          return `Joined ${joined.name}, SHA256:${joined.pin}`;
        }),
    }),
    route({
      ...form('/federation/peers', 'Registers a federate by its fingerprint'),
      query: pageQuery,
      body: z.strictObject({ name: z.string().min(1).max(64), fingerprint: z.string().max(256), ...ways }),
      bodyKind: 'form',
      handle: (call) =>
        orWords(deps, call, async () => {
          const { name, fingerprint, ...said } = call.body;
          const hex = pinHex(fingerprint.trim());
          if (!/^[0-9a-f]{64}$/.test(hex)) {
            throw new Refusal(400, 'bad_value', 'a SHA-256 fingerprint has 64 hexadecimal digits');
          }
          await registerFederate(deps, { name, fingerprint: hex, ...UNLIMITED, ...offOf(said) }, call.caller.name);
          call.note(`federate ${name} registered, SHA256:${hex}`);
          return `${name} is let in from now on`;
        }),
    }),
    route({
      ...form('/federation/remove', 'Removes a federate and revokes its certificate'),
      query: pageQuery,
      body: z.strictObject({ name: z.string().max(64) }),
      bodyKind: 'form',
      handle: (call) =>
        orWords(deps, call, async () => {
          await dropFederate(deps, call.body.name, call.caller.name);
          call.note(`federate ${call.body.name} removed and revoked`);
          return `${call.body.name} is cut off and cannot come back`;
        }),
    }),
    ...networkForms(deps, (call, work) => orWords(deps, call, work)),
  ];
}

async function orWords(deps: FederationPageDeps, call: PageCall, work: () => Promise<string>): Promise<Reply> {
  try {
    return await show(deps, call, html`<p role="status">${await work()}</p>`);
  } catch (error) {
    if (!(error instanceof Refusal || error instanceof ConfigRefused)) throw error;
    const words = html`<p class="trouble" role="alert">${error.message}${error.fix && html`<br><b>Fix:</b> ${error.fix}`}</p>`;
    return show(deps, call, words, error instanceof Refusal ? error.status : 409);
  }
}

function mayLook({ caller }: PageCall): boolean {
  return caller.by !== 'session' && mayAct(caller.role, 'viewer');
}

async function look(deps: FederationPageDeps, call: PageCall): Promise<Reply> {
  const [ours, federates, networks] = await Promise.all([publishedHere(deps), listFederates(deps), listNetworks(deps)]);
  return page(
    deps,
    call,
    'Federation',
    html`<main><h1>Federation</h1><p>Log in to change it.</p>
<h2>For the operator of a TAK Server</h2>${missing(ours)}
<h2>Federates let in by fingerprint</h2>${federates.map(stand)}
${networkPart(networks, undefined)}
<p><a class="action" href="/">Back to the status</a></p></main>`,
  );
}

function missing({ missing, hostname, port, fingerprint }: Awaited<ReturnType<typeof publishedHere>>): Html {
  return html`${missing.map(({ words, fix }) => html`<p class="trouble">${words}<br><b>Fix:</b> ${fix}</p>`)}
<p>${hostname ?? 'address not set'}:${port ?? ''}, federation certificate SHA-256 <code>${fingerprint}</code></p>`;
}

function stand(one: Awaited<ReturnType<typeof listFederates>>[number]): Html {
  const state = one.paused ? 'paused' : one.connected ? 'connected' : 'not connected';
  const rates = `${one.in_per_second.toFixed(1)} events/s in, ${one.out_per_second.toFixed(1)} out`;
  return html`<p>${one.name}${one.said_name !== null && html` (calls itself ${one.said_name})`} <code>${one.fingerprint}</code> ${state}; ${chips(one)}; ${hopsIn(one)}${rates}; ${one.last_heard ? `last heard ${one.last_heard}` : 'never heard'}</p>`;
}

/** `at most 3 hops, 2 in Blue; `, or nothing. */
function hopsIn({ group_hops, max_hops_out }: Awaited<ReturnType<typeof listFederates>>[number]): string {
  const groups = Object.entries(group_hops).filter(([, limit]) => limit >= 0);
  const limits = [
    ...(max_hops_out >= 0 ? [`${max_hops_out} hops`] : []),
    ...groups.map(([group, limit]) => `${limit} hops in ${group}`),
  ];
  return limits.length > 0 ? `goes out for at most ${limits.join(', ')}; ` : '';
}

async function show(deps: FederationPageDeps, call: PageCall, said: Html | '' = '', status = 200): Promise<Reply> {
  const [code, ours, federates, networks] = await Promise.all([
    codeState(deps),
    publishedHere(deps),
    listFederates(deps),
    listNetworks(deps),
  ]);
  const csrf = secretField(call.caller.csrf);
  const { size, path } = qrPath(`${ours.hostname ?? ''}:${ours.port ?? ''} SHA256:${pinHex(ours.fingerprint)}`);
  const joining = code.code
    ? html`<p><strong>${code.code}</strong>, good once, until ${code.expires_at ?? ''}. On the other box: <code>waystation federation join ${code.addresses[0] ?? 'ADDRESS'} ${code.code}</code></p>
<form method="post" action="/federation/clear">${csrf}<button class="second">End this code</button></form>`
    : html`<form method="post" action="/federation/code">${csrf}${boxes('make')}<p><button>Make a code</button></p></form>`;
  return page(
    deps,
    call,
    'Federation',
    html`<main><h1>Federation</h1>${said}
<h2>Let another Waystation join</h2>${joining}
<h2>Join another Waystation</h2><form method="post" action="/federation/join">${csrf}
<p><label for="address">Its address</label><input id="address" name="address" placeholder="hq.example.org:9090" required></p>
<p><label for="hub">Through a hub that both dial (then its address is what the hub calls it); empty: directly</label><input id="hub" name="hub" autocomplete="off"></p>
<p><label for="code">The code it shows</label><input id="code" name="code" autocomplete="off" required></p>${boxes('join')}<p><button>Join</button></p></form>
<h2>For the operator of a TAK Server</h2>${missing(ours)}
<p><a class="action" href="/api/federation/publish.zip" download>All of it as a zip</a></p>
<svg role="img" aria-label="Address and fingerprint as a QR code" width="200" height="200" viewBox="0 0 ${size} ${size}"><path fill="#fff" d="M0 0h${size}v${size}H0z"/><path fill="#000" d="${path}"/></svg>
<h2>Federates let in by fingerprint</h2>${federates.map(
      (one) => html`${stand(one)}
<form method="post" action="/federation/remove">${csrf}<input type="hidden" name="name" value="${one.name}"><button class="second">Remove ${one.name}</button></form>`,
    )}
<form method="post" action="/federation/peers">${csrf}<p><label for="name">Name</label><input id="name" name="name" maxlength="64" required></p>
<p><label for="fingerprint">SHA-256 of its federation certificate</label><input id="fingerprint" name="fingerprint" maxlength="256" required></p>${boxes('peer')}<p><button>Let it in</button></p></form>
${networkPart(networks, csrf)}
<p><a class="action" href="/">Back to the status</a></p></main>`,
    { status },
  );
}
