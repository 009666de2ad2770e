// Links as the configuration file writes them: list, add, change, pause, resume, remove. Each answer shows the diff of the file;
// links that are not named keep their connections.
import * as z from 'zod';
import { editYaml } from '../../config/edit.ts';
import { addLink, linksOf, patchLink, removeLink } from '../../config/links-edit.ts';
import { masked } from '../../config/secrets.ts';
import type { LinkStatus } from '../../core/status.ts';
import { Refusal } from '../refusal.ts';
import { type Call, Reply, type Route, route } from '../route.ts';
import { type ConfigRouteDeps, changeAnswer, changeOptions, done, dryQuery } from './config.ts';

export interface LinkRouteDeps extends ConfigRouteDeps {
  /** As they run. */
  links(): readonly LinkStatus[];
}

const params = z.object({ name: z.string() });
const linkBody = z
  .looseObject({ name: z.string(), kind: z.string() })
  .describe('An entry of "links" as the configuration file writes it.');
const link = z
  .looseObject({
    name: z.string(),
    kind: z.string(),
    enabled: z.boolean(),
    state: z.string(),
    detail: z.string(),
    settings: z.looseObject({}).describe('As the file has it; secrets only as "[secret]".'),
  })
  .meta({ id: 'Link' });

export function linkRoutes(deps: LinkRouteDeps): Route[] {
  const { desk } = deps;
  return [
    route({
      method: 'GET',
      path: '/api/links',
      role: 'viewer',
      tag: 'Links',
      summary: 'Every link: how it stands and what the file says of it',
      answer: z.object({ links: z.array(link) }),
      handle: async () => ({ links: await list(deps) }),
    }),
    route({
      method: 'GET',
      path: '/api/links/{name}',
      role: 'viewer',
      tag: 'Links',
      summary: 'One link',
      params,
      answer: link,
      handle: async ({ params }) => {
        const found = (await list(deps)).find(({ name }) => name === params.name);
        if (!found) throw new Refusal(404, 'unknown_link', 'there is no link of this name');
        return found;
      },
    }),
    route({
      method: 'POST',
      path: '/api/links',
      role: 'admin',
      tag: 'Links',
      summary: 'Adds a link',
      query: dryQuery,
      body: linkBody,
      status: 201,
      answer: changeAnswer,
      handle: (call) => change(deps, call, (text) => addLink(text, call.body), `link ${call.body.name} added`, 201),
    }),
    route({
      method: 'PATCH',
      path: '/api/links/{name}',
      role: 'admin',
      tag: 'Links',
      summary: 'Changes a link: a JSON merge patch of its entry, null takes a key away',
      params,
      query: dryQuery,
      body: z.looseObject({}),
      answer: changeAnswer,
      handle: (call) => {
        const keys = Object.keys(call.body).slice(0, 8).join(', ');
        return change(
          deps,
          call,
          (text) => patchLink(text, call.params.name, call.body),
          `link ${call.params.name}: ${keys}`,
        );
      },
    }),
    route({
      method: 'DELETE',
      path: '/api/links/{name}',
      role: 'admin',
      tag: 'Links',
      summary: 'Removes a link; it closes at once',
      params,
      query: dryQuery,
      answer: changeAnswer,
      handle: (call) =>
        change(deps, call, (text) => removeLink(text, call.params.name), `link ${call.params.name} removed`),
    }),
    switchRoute(deps, 'pause', false),
    switchRoute(deps, 'resume', true),
  ];

  async function list({ links }: LinkRouteDeps) {
    const { text } = await desk.state();
    const written = linksOf(text);
    return links().map((status) => {
      const { name: _n, kind: _k, enabled: _e, ...settings } = written.find(({ name }) => name === status.name) ?? {};
      return { ...status, settings: masked(settings) };
    });
  }
}

function switchRoute(deps: LinkRouteDeps, verb: 'pause' | 'resume', enabled: boolean): Route {
  return route({
    method: 'POST',
    path: `/api/links/{name}/${verb}`,
    role: 'operator',
    tag: 'Links',
    summary: enabled ? 'Runs a link again' : 'Stops a link; it stays in the file',
    params,
    query: dryQuery,
    body: z.strictObject({}),
    answer: changeAnswer,
    handle: (call) => {
      const { name } = call.params;
      // Running is the default, and the file need not say it.
      const patch = { enabled: enabled ? null : false };
      return change(deps, call, (text) => patchLink(text, name, patch), `link ${name} ${verb}d`);
    },
  });
}

type Edits = ReturnType<typeof addLink>;

function change(
  deps: LinkRouteDeps,
  call: Call<unknown, z.output<typeof dryQuery>, unknown>,
  edits: (text: string) => Edits,
  words: string,
  status?: number,
) {
  const made = deps.desk.change((text) => editYaml(text, edits(text)), changeOptions(call));
  const answer = done(deps, call, made, words);
  return status === undefined ? answer : answer.then((body) => new Reply(body.applied ? status : 200, body));
}
