// Changing things from the page, for whoever is logged in: toggles, pause, edit, add, remove. A change is first shown as the
// diff of the configuration file, then made; both are plain forms.
import * as z from 'zod';
import { editYaml, textValue } from '../../config/edit.ts';
import { addLink, linksOf, patchLink, removeLink, type Section } from '../../config/links-edit.ts';
import { ConfigRefused } from '../../config/refused.ts';
import type { LinkStatus } from '../../core/status.ts';
import type { Accounts } from '../access/accounts.ts';
import { MAX_PASSWORD, MIN_PASSWORD } from '../access/passwords.ts';
import { sessionCookie } from '../gate.ts';
import { Refusal } from '../refusal.ts';
import { Reply, type Route, route } from '../route.ts';
import type { ConfigRouteDeps } from '../routes/config.ts';
import { type Html, html } from './html.ts';
import { type PageCall, type PageDeps, page, pageQuery } from './routes.ts';
import { type SettingsBody, settingsBody, settingsFields, settingsPatch } from './settings.ts';
import { secretField } from './view.ts';
import { asYaml, mergePatch } from './yaml.ts';

const MAX_YAML = 32_768;

export interface SteerDeps extends PageDeps, ConfigRouteDeps {
  readonly accounts: Accounts;
  links(): readonly LinkStatus[];
}

/** A change on its way: from the first form to the diff, and from there to its making. */
const draft = z.strictObject({
  intent: z.enum(['look', 'do']),
  what: z.enum(['patch', 'entry', 'add', 'remove']),
  name: z.string().max(64).default(''),
  yaml: z.string().max(MAX_YAML).default(''),
  /** Of the file that the form was made from. */
  etag: z.string().max(64),
});
type Draft = z.output<typeof draft>;

const tag = 'Page';

export function steerRoutes(deps: SteerDeps): Route[] {
  return [
    ...loginRoutes(deps),
    route({
      method: 'GET',
      path: '/links/{name}',
      role: 'public',
      tag,
      summary: 'One link, to be changed',
      params: z.object({ name: z.string().max(64) }),
      query: pageQuery,
      gives: 'text/html',
      navigable: true,
      handle: (call) => loggedIn(deps, call, () => linkPage(deps, call, call.params.name)),
    }),
    route({
      method: 'POST',
      path: '/links/{name}/settings',
      role: 'admin',
      tag,
      summary: 'Shows what the filters and the budget of the form would change in the file',
      params: z.object({ name: z.string().max(64) }),
      query: pageQuery,
      body: settingsBody,
      bodyKind: 'form',
      gives: 'text/html',
      handle: (call) => settings(deps, call, call.params.name, call.body as SettingsBody),
    }),
    route({
      method: 'GET',
      path: '/add',
      role: 'public',
      tag,
      summary: 'A link to be added',
      query: pageQuery.extend({ kind: z.string().max(32).optional() }),
      gives: 'text/html',
      navigable: true,
      handle: (call) => loggedIn(deps, call, () => addPage(deps, call, call.query.kind ?? '')),
    }),
    route({
      method: 'POST',
      path: '/change',
      role: 'admin',
      tag,
      summary: 'Shows what a change would do to the file, or makes it',
      query: pageQuery,
      body: draft,
      bodyKind: 'form',
      gives: 'text/html',
      handle: (call) => change(deps, call, call.body, call.note),
    }),
  ];
}

// --- logging in ------------------------------------------------------------------------------------------------------

function loginRoutes(deps: SteerDeps): Route[] {
  const { accounts } = deps;
  const credentials = z.strictObject({
    username: z.string().min(1).max(64),
    password: z.string().min(1).max(MAX_PASSWORD),
    code: z.string().max(64).optional(),
  });
  return [
    route({
      method: 'GET',
      path: '/login',
      role: 'public',
      tag,
      summary: 'The form to log in, or to set the first password',
      query: pageQuery,
      gives: 'text/html',
      navigable: true,
      handle: (call) => page(deps, call, 'Log in', loginForm(accounts, '')),
    }),
    route({
      method: 'POST',
      path: '/login',
      role: 'public',
      tag,
      summary: 'Logs in and goes to the status page',
      query: pageQuery,
      body: credentials,
      bodyKind: 'form',
      gives: 'text/html',
      handle: async (call) => {
        const { username, password, code } = call.body;
        const { address } = call.caller;
        try {
          if (code !== undefined) mustBeGood(password);
          const secret =
            code === undefined
              ? await accounts.login(username, password, address)
              : await accounts.setUp(code, username, password, address);
          call.note(code === undefined ? `${username} logged in` : `first password set, user ${username}`);
          return new Reply(303, undefined, { location: '/', 'set-cookie': sessionCookie(secret) });
        } catch (error) {
          if (!(error instanceof Refusal)) throw error;
          return page(deps, call, 'Log in', loginForm(accounts, `${error.message}. ${error.fix}`), {
            status: error.status,
          });
        }
      },
    }),
    route({
      method: 'POST',
      path: '/logout',
      role: 'public',
      tag,
      summary: 'Ends the session of the page',
      query: pageQuery,
      body: z.strictObject({}),
      bodyKind: 'form',
      handle: ({ caller }) => {
        if (caller.by === 'session') accounts.logout(caller.credential);
        return new Reply(303, undefined, { location: '/', 'set-cookie': sessionCookie('') });
      },
    }),
  ];
}

function mustBeGood(password: string): void {
  if (password.length >= MIN_PASSWORD) return;
  throw new Refusal(400, 'short_password', `a password has at least ${MIN_PASSWORD} characters here`);
}

function loginForm(accounts: Accounts, trouble: string): Html {
  const first = accounts.setupCode !== undefined;
  return html`<main><h1>${first ? 'Set the first password' : 'Log in'}</h1>${trouble && html`<p class="trouble" role="alert">${trouble}</p>`}
<form method="post" action="/login">${
    first &&
    html`<p>The setup code of this box stands on its console when it starts, and in the file <code>setup-code</code> of its data folder.</p>
<p><label for="code">Setup code</label><input id="code" name="code" autocomplete="one-time-code" required></p>`
  }<p><label for="username">User name</label><input id="username" name="username" autocomplete="username" required></p>
<p><label for="password">Password${first && html` (at least ${MIN_PASSWORD} characters)`}</label><input id="password" name="password" type="password" autocomplete="${
    first ? 'new-password' : 'current-password'
  }" required></p><p><button>${first ? 'Set password' : 'Log in'}</button></p></form><p><a href="/">Back to the status</a></p></main>`;
}

/** Whoever is not logged in is sent there. */
export function loggedIn(
  deps: PageDeps,
  { caller }: PageCall,
  handle: () => Promise<Reply> | Reply,
): Promise<Reply> | Reply {
  if (caller.by === 'session') return handle();
  const words = deps.secureAddress() === '' ? 'changes need "api.tls" in the configuration' : '';
  if (words) throw new Refusal(403, 'read_only_here', words);
  return Promise.resolve(new Reply(303, undefined, { location: '/login' }));
}

// --- forms -----------------------------------------------------------------------------------------------------------

const TOGGLES = [
  ['in', 'In', 'take events from them'],
  ['out', 'Out', 'send them events'],
  ['dp_in', 'DP-In', 'take data packages and missions'],
  ['dp_out', 'DP-Out', 'send data packages and missions'],
] as const;

async function linkPage(deps: SteerDeps, call: PageCall, name: string): Promise<Reply> {
  const { text, etag } = await deps.desk.state();
  const entry = linksOf(text).find((link) => link.name === name);
  if (!entry) throw new Refusal(404, 'unknown_link', 'there is no link of this name');
  const status = deps.links().find((link) => link.name === name);
  const policy = (entry.policy ?? {}) as Section;
  const patch = (words: string, said: Section, css = 'second') =>
    html`<form method="post" action="/change">${hidden(call, { what: 'patch', name, yaml: JSON.stringify(said), etag })}<button class="${css}">${words}</button></form>`;
  const toggles = TOGGLES.map(([key, label, meaning]) => {
    const on = policy[key] !== false;
    return html`<div>${patch(`${label} is ${on ? 'on' : 'off'}: switch ${on ? 'off' : 'on'}`, { policy: { [key]: on ? false : null } })}<small class="muted">${meaning}</small></div>`;
  });
  const runs = entry.enabled !== false;
  return page(
    deps,
    call,
    `Link ${name}`,
    html`<main><h1>Link ${name}</h1><p class="muted">${status ? `${status.kind}, ${status.state} ${status.detail}` : ''}</p>
<h2>What crosses</h2><div class="actions">${toggles}</div><p><a class="action" href="/policy?from=${encodeURIComponent(name)}">Would an event from it cross?</a></p>
<h2>Run</h2><div class="actions">${patch(runs ? 'Pause this link' : 'Run this link', { enabled: runs ? false : null })}</div>
<h2>Filters and budget</h2><form method="post" action="/links/${encodeURIComponent(name)}/settings">${secretField(call.caller.csrf)}<input type="hidden" name="etag" value="${etag}">${settingsFields(entry)}<p><button>Show what would change</button></p></form>
<h2>All settings</h2><form method="post" action="/change">${hidden(call, { what: 'entry', name, etag })}
<p><label for="yaml">As the configuration file has them. Secrets show as [secret] and stay as they are.</label><textarea id="yaml" name="yaml" rows="14" spellcheck="false" required>${asYaml(entry)}</textarea></p><p><button>Show what would change</button></p></form>
<h2>Remove</h2><form method="post" action="/change">${hidden(call, { what: 'remove', name, etag })}<button class="second">Remove this link</button></form>
<p><a href="/">Back to the status</a></p></main>`,
  );
}

/** Beginnings of new links; the comments say what to put in. */
const TEMPLATES: Readonly<Record<string, string>> = {
  fed2: 'name: hq\nkind: fed2\nconnect: "hq.example.org:9001"\n',
  cot: 'name: tak\nkind: cot\nconnect: "tak.example.org:8087"\nprofile: takserver\n',
  phones: 'name: phones\nkind: cot\nlisten: 8087\n',
  mqtt: 'name: sensors\nkind: mqtt\nconnect: "broker.example.org:8883"\n',
};

async function addPage(deps: SteerDeps, call: PageCall, kind: string): Promise<Reply> {
  const { etag } = await deps.desk.state();
  const text = TEMPLATES[kind] ?? TEMPLATES.fed2!;
  return page(
    deps,
    call,
    'Add a link',
    html`<main><h1>Add a link</h1><nav aria-label="Kinds">${Object.keys(TEMPLATES).map(
      (one) => html`<a href="/add?kind=${one}">${one}</a> `,
    )}</nav><form method="post" action="/change">${hidden(call, { what: 'add', etag })}
<p><label for="yaml">The link, as the configuration file would have it</label><textarea id="yaml" name="yaml" rows="10" spellcheck="false" required>${text}</textarea></p><p><button>Show what would change</button></p></form>
<p><a href="/">Back to the status</a></p></main>`,
  );
}

function hidden(
  { caller }: PageCall,
  fields: Readonly<Record<string, string>>,
  intent: Draft['intent'] = 'look',
): Html {
  const all = Object.entries({ intent, ...fields });
  return html`${secretField(caller.csrf)}${all.map(([name, value]) => html`<input type="hidden" name="${name}" value="${value}">`)}`;
}

// --- changing --------------------------------------------------------------------------------------------------------

async function settings(deps: SteerDeps, call: PageCall, name: string, body: SettingsBody): Promise<Reply> {
  const { text } = await deps.desk.state();
  const entry = linksOf(text).find((link) => link.name === name);
  if (!entry) throw new Refusal(404, 'unknown_link', 'there is no link of this name');
  try {
    const yaml = JSON.stringify(settingsPatch(entry, body));
    return await change(deps, call, { intent: 'look', what: 'patch', name, yaml, etag: body.etag }, call.note);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return page(deps, call, 'Not changed', refused(error), { status: error.status });
  }
}

async function change(deps: SteerDeps, call: PageCall, said: Draft, note: (words: string) => void): Promise<Reply> {
  const dry = said.intent === 'look';
  try {
    const made = await deps.desk.change((text) => editYaml(text, editsOf(text, said)), {
      who: call.caller.name,
      etag: said.etag,
      dry,
    });
    if (!dry) {
      note(`${WHAT[said.what]} ${said.name}`.trim());
      return new Reply(303, undefined, { location: '/' });
    }
    return page(deps, call, 'Change', confirmation(call, said, made.diff, deps.restartNeeded(made)));
  } catch (error) {
    if (!(error instanceof ConfigRefused || error instanceof Refusal)) throw error;
    return page(deps, call, 'Not changed', refused(error), { status: 409 });
  }
}

const WHAT: Readonly<Record<Draft['what'], string>> = {
  patch: 'page: changed link',
  entry: 'page: edited link',
  add: 'page: added a link',
  remove: 'page: removed link',
};

function editsOf(text: string, { what, name, yaml }: Draft) {
  if (what === 'remove') return removeLink(text, name);
  const value = textValue(yaml) as Section | null;
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new Refusal(400, 'bad_value', 'expected the settings of one link, such as "name: hq"');
  }
  if (what === 'add') return addLink(text, value);
  if (what === 'patch') return patchLink(text, name, value);
  const entry = linksOf(text).find((link) => link.name === name) ?? {};
  return patchLink(text, name, mergePatch(entry, value));
}

function confirmation(call: PageCall, said: Draft, diff: string, restart: readonly string[]): Html {
  if (diff === '') return html`<main><h1>Nothing would change</h1><p><a href="/">Back to the status</a></p></main>`;
  const { what, name, yaml, etag } = said;
  return html`<main><h1>Change this?</h1><pre tabindex="0" aria-label="What would change">${diff}</pre>${
    restart.length > 0 && html`<p>${restart.join(', ')}: takes hold at the next start of the relay.</p>`
  }<form method="post" action="/change">${hidden(call, { what, name, yaml, etag }, 'do')}<button>Make this change</button></form><p><a href="/">No, back to the status</a></p></main>`;
}

function refused({ message, fix }: { readonly message: string; readonly fix: string }): Html {
  return html`<main><h1>Not changed</h1><p class="trouble" role="alert">${message}${fix && html`<br><b>Fix:</b> ${fix}`}</p><p><a href="/">Back to the status</a></p></main>`;
}
