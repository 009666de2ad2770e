// Takes what `waystation import` has read: links into the configuration file, certificates and keys into files beside the keys.
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import { type Edit, editYaml, textValue } from '../../config/edit.ts';
import { addLink, type Section } from '../../config/links-edit.ts';
import { networksOf } from '../../config/networks-edit.ts';
import { linkName } from '../federation.ts';
import { Refusal } from '../refusal.ts';
import { type Route, route } from '../route.ts';
import { type ConfigRouteDeps, changeAnswer, changeOptions, done, dryQuery } from './config.ts';

const MAX_BODY_BYTES = 512 * 1024;
const REFERENCE = 'file:';

const body = z.strictObject({
  links: z.array(z.looseObject({ name: z.string().min(1).max(64), kind: z.string().max(32) })).max(64),
  files: z
    .array(
      z.strictObject({
        name: z
          .string()
          .regex(/^[a-z0-9-]{1,48}\.(pem|key)$/, 'expected letters, digits and dashes, then .pem or .key'),
        text: z.string().max(65_536),
      }),
    )
    .max(64),
  trust: z.array(z.string().min(1).max(1024)).max(64),
  networks: z
    .array(z.looseObject({ name: z.string().min(1).max(32) }))
    .max(16)
    .default([]),
});
type Body = z.output<typeof body>;

export interface ImportDeps extends ConfigRouteDeps {
  /** Where files go. */
  readonly folder: string;
}

export function importRoutes(deps: ImportDeps): Route[] {
  return [
    route({
      method: 'POST',
      path: '/api/import',
      role: 'admin',
      tag: 'Federation',
      summary: 'Adds links, with their certificates and keys; file:NAME in a link or in trust means one of the files',
      query: dryQuery,
      body,
      maxBodyBytes: MAX_BODY_BYTES,
      answer: changeAnswer,
      handle: async (call) => {
        const options = changeOptions(call);
        const places = await keep(deps.folder, call.body);
        const drop = () => Promise.all([...places.values()].map((path) => rm(path, { force: true })));
        try {
          const change = deps.desk.change((text) => editYaml(text, editsOf(text, call.body, places)), options);
          const answer = await done(deps, call, change, `import of ${call.body.links.length} links`);
          if (!answer.applied) await drop();
          return answer;
        } catch (error) {
          await drop();
          throw error;
        }
      },
    }),
  ];
}

/** New names always: nothing that is there is written over. */
async function keep(folder: string, { files }: Body): Promise<ReadonlyMap<string, string>> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const stamp = Date.now().toString(36);
  const places = new Map<string, string>();
  for (const { name, text } of files) {
    const path = join(folder, `${stamp}-${name}`);
    await writeFile(path, text, { mode: 0o600, flag: 'wx' });
    places.set(name, path);
  }
  return places;
}

function editsOf(text: string, { links, trust, networks }: Body, places: ReadonlyMap<string, string>): Edit[] {
  let file = text;
  const edits = links.flatMap((link) => {
    const named = { ...(placed(link, places) as Section), name: linkName(file, link.name) };
    const more = addLink(file, named);
    file = editYaml(file, more);
    return more;
  });
  const known = (textValue(text) as { trust?: unknown }).trust;
  const named = Array.isArray(known) ? known.map(String) : [];
  const fresh = trust.map((entry) => String(placed(entry, places))).filter((entry) => !named.includes(entry));
  return [
    ...edits,
    ...networkEdits(text, networks),
    ...fresh.map((value): Edit => ({ op: 'add', path: ['trust'], value })),
  ];
}

/** A network that is there already would get links that its owner did not mean. */
function networkEdits(text: string, networks: Body['networks']): Edit[] {
  const there = networksOf(text).find(({ name }) => networks.some((one) => one.name === name));
  if (there) {
    const words = `there is a network ${JSON.stringify(String(there.name))} already`;
    throw new Refusal(409, 'network_exists', words, { fix: 'give one of the two another name' });
  }
  return networks.map((value) => ({ op: 'add', path: ['networks'], value }));
}

/** References become paths. */
function placed(value: unknown, places: ReadonlyMap<string, string>): unknown {
  if (typeof value === 'string' && value.startsWith(REFERENCE)) {
    const path = places.get(value.slice(REFERENCE.length));
    if (path !== undefined) return path;
    throw new Refusal(400, 'unknown_file', `${JSON.stringify(value.slice(0, 64))} is none of the files`);
  }
  if (Array.isArray(value)) return value.map((one) => placed(one, places));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, placed(one, places)]));
}
