// What a phone sees on the box's Wi-Fi: the code's page, where its owner chooses the app, and the packages themselves. Looking at
// the page uses nothing up; fetching a package does.
import * as z from 'zod';
import { importLink, preferenceLink } from '../../onboarding/addresses.ts';
import { makePackage, VARIANTS } from '../../onboarding/packages.ts';
import type { PhoneInfo } from '../../onboarding/phones.ts';
import { presetWords } from '../../onboarding/presets.ts';
import { nameOf, type PhoneOffice } from '../phones.ts';
import { Refusal } from '../refusal.ts';
import { Reply, type Route, raw, route } from '../route.ts';
import { type Html, html } from './html.ts';
import { type PageCall, type PageDeps, page, pageQuery } from './routes.ts';
import { minute } from './sheet.ts';

const tag = 'Phones';
const code = z.string().max(64);
const file = z.string().max(128);

export function joinPages(deps: PageDeps, office: PhoneOffice): Route[] {
  return [
    route({
      method: 'GET',
      path: '/join',
      role: 'public',
      tag,
      summary: 'Where a phone’s owner enters a code',
      query: pageQuery.extend({ code: code.optional() }),
      gives: 'text/html',
      navigable: true,
      handle: (call) => {
        const { code } = call.query;
        if (code === undefined) return page(deps, call, 'Join', codeForm(office, ''));
        const plain = code.replace(/[^0-9A-Za-z-]/g, '');
        return new Reply(303, undefined, { location: plain === '' ? '/join' : `/join/${plain}` });
      },
    }),
    route({
      method: 'GET',
      path: '/join/{code}',
      role: 'public',
      tag,
      summary: 'A code’s page: choose the app',
      params: z.object({ code }),
      query: pageQuery,
      gives: 'text/html',
      navigable: true,
      handle: (call) => {
        try {
          const phone = office.invited(call.params.code, call.caller.address);
          return page(deps, call, `Join ${office.box().name}`, choosePage(office, call, call.params.code, phone));
        } catch (error) {
          if (!(error instanceof Refusal)) throw error;
          return page(deps, call, 'Join', codeForm(office, `${error.message}: ${error.fix}`), { status: error.status });
        }
      },
    }),
    route({
      method: 'GET',
      path: '/join/tcp/{file}',
      role: 'public',
      tag,
      summary: 'A package for plain TCP, which any phone may have',
      params: z.object({ file }),
      gives: 'application/zip',
      navigable: true,
      handle: async ({ params, request }) => {
        const station = office.station('plain', nameOf(request.headers.host));
        const presets = { callsign: '', team: '', role: '' } as const;
        const made = await makePackage({ variant: 'plain', station, phone: 'plain', presets, client: undefined });
        return zip(made.bytes, made.fileName, params.file);
      },
    }),
    route({
      method: 'GET',
      path: '/join/{code}/{variant}/{file}',
      role: 'public',
      tag,
      summary: 'The connection package of a phone: made now, given once',
      params: z.object({ code, variant: z.enum(VARIANTS).exclude(['plain']), file }),
      gives: 'application/zip',
      navigable: true,
      handle: async ({ params, request, caller }) => {
        const { code, variant, file } = params;
        const host = nameOf(request.headers.host);
        if (request.method === 'HEAD' || variant === 'enroll') {
          const phone = office.invited(code, caller.address); // a look ahead uses nothing up
          if (request.method === 'HEAD') return new Reply(200, undefined, { 'content-type': 'application/zip' }, 'raw');
          const { name, presets, network } = phone;
          const station = office.station(variant, host, network);
          const made = await makePackage({ variant, station, phone: name, presets, client: undefined });
          return zip(made.bytes, made.fileName, file);
        }
        const made = await office.take(code, variant, host, caller);
        return zip(made.bytes, made.fileName, file);
      },
    }),
  ];
}

/** The name is ours, whatever was asked for; only the ending may be chosen: ATAK knows both. */
function zip(bytes: Buffer, name: string, asked: string): Reply {
  const fileName = asked.endsWith('.dpk') ? name.replace(/\.zip$/, '.dpk') : name;
  return raw(bytes, 'application/zip', { 'content-disposition': `attachment; filename="${fileName}"` });
}

function codeForm(office: PhoneOffice, trouble: string): Html {
  const { tcp } = office.ports();
  return html`<main><h1>Join ${office.box().name}</h1>${trouble && html`<p class="trouble" role="alert">${trouble}</p>`}
<form method="get" action="/join"><p><label for="code">The code on your card, such as K7QM-2XRT-9PBF-WHVN</label><input id="code" name="code" autocomplete="off" autocapitalize="characters" spellcheck="false" required></p><p><button>Go on</button></p></form>
${tcp !== undefined && plainPart()}</main>`;
}

function plainPart(): Html {
  return html`<details><summary>Without a code: plain TCP, as a last resort</summary><p class="trouble"><b>▲ Nothing is encrypted, and nobody is known by it:</b> whoever is on this network can read along and speak in your name. Only on a network you trust.</p>
<p><a class="action" href="/join/tcp/plain.zip">Package for plain TCP</a></p></details>`;
}

function choosePage(office: PhoneOffice, call: PageCall, code: string, phone: PhoneInfo): Html {
  const host = nameOf(call.request.headers.host);
  const scheme = 'encrypted' in call.request.socket ? 'https' : 'http';
  const base = `${scheme}://${call.request.headers.host ?? host}`;
  const url = (variant: (typeof VARIANTS)[number]) => office.fileUrl(base, code, variant, phone.name);
  const path = (variant: (typeof VARIANTS)[number]) => url(variant).slice(base.length);
  const { tcp, enroll } = office.ports(phone.network);
  const plain = tcp !== undefined && tcp === office.ports().tcp; // that is where its package leads
  const said = presetWords(phone.presets);
  const preference = preferenceLink(phone.presets);
  return html`<main><h1>Join ${office.box().name}</h1><p>For <b>${phone.name}</b>${said && html` (${said})`}. Good until ${minute(phone.codeEndsMs ?? 0)} UTC, for one of these, once:</p>
<p class="muted">If this opened by itself when you joined the Wi-Fi, open it in the browser: that window cannot hand anything to an app.</p>
<h2>ATAK</h2><p><a class="button" href="${importLink(url('atak'))}">Open in ATAK</a></p><p><a class="action" href="${path('atak')}">ATAK before 5.1: download, then open the file with ATAK</a></p>${preference && html`<p><a class="action" href="${preference}">ATAK that has joined already: set callsign, team and role</a></p>`}
<h2>iTAK</h2><p><a class="button" href="${path('itak')}">Package for iTAK</a></p><p class="muted">Then share the file with iTAK, or in iTAK: Settings, Network, Servers, +, Upload server package.</p>
<h2>WinTAK</h2><p><a class="button" href="${path('wintak')}">Package for WinTAK</a></p><p class="muted">Then in WinTAK: Import, or drop the file on the map.</p>
${enroll !== undefined && html`<details><summary>With a user name: enrol</summary><p>User name <code>${phone.name}</code>, password <code>${code}</code>, port ${enroll}.</p><p><a class="action" href="${path('enroll')}">Package that enrols (ATAK)</a></p></details>`}
${plain && plainPart()}
<p class="muted">CA of this box, SHA-256: <code>${office.box().caFingerprint}</code></p></main>`;
}
