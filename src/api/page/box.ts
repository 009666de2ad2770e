// The flashed card on the page: a new release, or forgetting everything. Plain forms; who does it is logged in.

import { Refusal } from '../refusal.ts';
import { mayAct, type Reply, type Route, route, type Upload } from '../route.ts';
import { type ApplianceDeps, fetchRelease, forget, forgetOrder, releaseUrl, takeRelease } from '../routes/appliance.ts';
import { type Html, html } from './html.ts';
import { type PageCall, type PageDeps, page, pageQuery } from './routes.ts';
import { loggedIn } from './steer.ts';
import { secretField } from './view.ts';

export interface BoxPageDeps extends PageDeps, ApplianceDeps {}

const tag = 'Page';

export function boxPages(deps: BoxPageDeps): Route[] {
  const form = { method: 'POST', role: 'admin', tag, query: pageQuery, gives: 'text/html' } as const;
  return [
    route({
      method: 'GET',
      path: '/box',
      role: 'public',
      tag,
      summary: 'The flashed card: update and factory reset',
      query: pageQuery,
      gives: 'text/html',
      navigable: true,
      handle: (call) => loggedIn(deps, call, () => page(deps, call, 'This box', forms(deps, call))),
    }),
    route({
      ...form,
      path: '/box/update',
      summary: 'Takes a release, from the page',
      bodyKind: 'file',
      takes: 'multipart/form-data',
      handle: (call) => {
        const upload = call.body as unknown as Upload;
        return answer(deps, call, () => takeRelease(deps, upload, call.note), upload);
      },
    }),
    route({
      ...form,
      path: '/box/fetch',
      summary: 'Has the box download a release, from the page',
      body: releaseUrl,
      bodyKind: 'form',
      handle: (call) => answer(deps, call, () => fetchRelease(deps, call.body.url, call.note)),
    }),
    route({
      ...form,
      path: '/box/forget',
      summary: 'Factory reset, from the page',
      body: forgetOrder,
      bodyKind: 'form',
      handle: (call) => answer(deps, call, () => forget(deps, call.body, call.note)),
    }),
  ];
}

async function answer(
  deps: BoxPageDeps,
  call: PageCall,
  act: () => Promise<string> | string,
  upload?: Upload,
): Promise<Reply> {
  try {
    const words = await act();
    return page(deps, call, 'This box', html`<main><h1>This box</h1><p role="status">${words}</p>${back}</main>`);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    // A browser shows an answer only when it could send all it wanted to.
    if (upload) for await (const _ of upload.bytes);
    const { message, fix, status } = error;
    return page(
      deps,
      call,
      'Not done',
      html`<main><h1>Not done</h1><p class="trouble" role="alert">${message}${fix && html`<br><b>Fix:</b> ${fix}`}</p>${back}</main>`,
      { status },
    );
  }
}

const back = html`<p><a href="/box">Back to this box</a> <a href="/">Back to the status</a></p>`;

function forms({ appliance }: BoxPageDeps, { caller }: PageCall): Html {
  const { name, release, slot, trial, update } = appliance.status();
  const secret = secretField(caller.csrf);
  const head = html`<main><h1>This box: ${name}</h1><p>Release ${release} runs from half ${slot} of the card${trial && ', on trial'}. ${update}</p>`;
  if (!mayAct(caller.role, 'admin')) return html`${head}${back}</main>`;
  return html`${head}<h2>New release</h2><p>It is tried, and kept only if the links that work now work again; else this one comes back.</p>
<form method="post" action="/box/update" enctype="multipart/form-data">${secret}<p><label for="file">File (.update)</label><input id="file" name="file" type="file" required></p><p><button>Update</button></p></form>
<form method="post" action="/box/fetch">${secret}<p><label for="url">Or its address</label><input id="url" name="url" type="url" placeholder="https://" required></p><p><button class="second">Download and update</button></p></form>
<h2>Forget everything</h2><p>Keys, configuration, phones and passwords go; whoever trusts this box has to be told of the new one.</p>
<form method="post" action="/box/forget">${secret}<p><label for="name">Its name, to be sure</label><input id="name" name="name" autocomplete="off" required></p><p><label><input type="checkbox" name="zeroize"> overwrite the keys first</label></p><p><button class="second">Forget everything</button></p></form>
<p><a href="/">Back to the status</a></p></main>`;
}
