// The configuration file through the API: as text with its etag, changed whole or setting by setting, with history and undo.
import * as z from 'zod';
import type { Change, ChangeOptions, ConfigDesk } from '../../config/desk.ts';
import { editYaml } from '../../config/edit.ts';
import { settingAt, settingPath } from '../../config/links-edit.ts';
import { problemWords } from '../../config/problem.ts';
import { Refusal } from '../refusal.ts';
import { type Call, Reply, type Route, raw, route } from '../route.ts';

const MAX_CONFIG_BYTES = 1024 * 1024;
const YAML = 'application/yaml';

/** `?dry=true`: only tell what would change. */
export const dryQuery = z.strictObject({ dry: z.enum(['true', 'false']).default('false') });
type DryQuery = z.output<typeof dryQuery>;

export const changeAnswer = z
  .object({
    applied: z.boolean().describe('False: nothing was different, or it was only looked at.'),
    diff: z.string(),
    etag: z.string(),
    path: z.string(),
    restartNeeded: z.array(z.string()).describe('Settings that take hold at the next start of the relay.'),
  })
  .meta({ id: 'ConfigChange' });

const fileAnswer = z
  .object({
    path: z.string(),
    exists: z.boolean(),
    etag: z.string(),
    running: z.boolean(),
    diff: z.string(),
    text: z.string(),
  })
  .meta({ id: 'ConfigFile' });

const setting = z.string().min(1).max(512).describe('Such as log.level or links.hq.policy.in.');

export interface ConfigRouteDeps {
  readonly desk: ConfigDesk;
  /** Settings of a configuration that only a restart puts in force. */
  restartNeeded(change: Change): readonly string[];
}

export function configRoutes(deps: ConfigRouteDeps): Route[] {
  const { desk } = deps;
  return [
    route({
      method: 'GET',
      path: '/api/config',
      role: 'admin',
      tag: 'Configuration',
      summary: 'The file, its etag, and whether it is what runs',
      answer: fileAnswer,
      handle: async () => {
        const state = await desk.state();
        return new Reply(200, state, { etag: `"${state.etag}"` });
      },
    }),
    route({
      method: 'PUT',
      path: '/api/config',
      role: 'admin',
      tag: 'Configuration',
      summary: 'Replaces the whole file; If-Match must name the etag it was made from',
      query: dryQuery,
      body: z.any(),
      bodyKind: 'bytes',
      takes: YAML,
      maxBodyBytes: MAX_CONFIG_BYTES,
      answer: changeAnswer,
      handle: (call) => {
        const options = changeOptions(call);
        if (options.etag === undefined && !options.dry) {
          throw new Refusal(428, 'etag_needed', 'say which file this was made from', {
            fix: 'send the etag of GET /api/config as If-Match',
          });
        }
        const text = (call.body as Buffer).toString('utf8');
        return done(
          deps,
          call,
          desk.change(() => text, options),
        );
      },
    }),
    route({
      method: 'GET',
      path: '/api/config/setting',
      role: 'admin',
      tag: 'Configuration',
      summary: 'One setting as the file has it; null when it does not',
      query: z.strictObject({ path: setting }),
      answer: z.object({ path: z.string(), value: z.unknown() }),
      handle: async ({ query }) => {
        const { text } = await desk.state();
        return { path: query.path, value: settingAt(text, settingPath(text, query.path)) ?? null };
      },
    }),
    route({
      method: 'PATCH',
      path: '/api/config/setting',
      role: 'admin',
      tag: 'Configuration',
      summary: 'Sets one setting, null takes it away; comments stay',
      query: dryQuery,
      body: z.strictObject({ path: setting, value: z.json() }),
      answer: changeAnswer,
      handle: (call) => {
        const { path, value } = call.body;
        const edit = (text: string) => {
          const at = settingPath(text, path);
          return editYaml(text, [value === null ? { op: 'delete', path: at } : { op: 'set', path: at, value }]);
        };
        return done(deps, call, desk.change(edit, changeOptions(call)), `setting ${path}`);
      },
    }),
    route({
      method: 'POST',
      path: '/api/config/reload',
      role: 'admin',
      tag: 'Configuration',
      summary: 'Takes over the file as it stands, as SIGHUP does',
      answer: z.object({ path: z.string().nullable() }),
      handle: async ({ note }) => {
        const loaded = await desk.reload();
        note('configuration reloaded');
        if ('config' in loaded) return { path: loaded.path ?? null };
        const errors = loaded.problems.map((one) => ({ field: one.path, line: one.line, words: problemWords(one) }));
        throw new Refusal(422, 'config_bad', `line ${errors[0]?.line}: ${errors[0]?.words}`, {
          fix: 'correct the file; what ran before still runs',
          more: { errors },
        });
      },
    }),
    route({
      method: 'GET',
      path: '/api/config/history',
      role: 'admin',
      tag: 'Configuration',
      summary: 'Earlier configurations, newest first',
      answer: z.object({
        versions: z.array(z.object({ id: z.string(), replacedAt: z.string(), replacedBy: z.string(), bytes: z.int() })),
      }),
      handle: async () => ({ versions: await desk.history() }),
    }),
    route({
      method: 'GET',
      path: '/api/config/history/{id}',
      role: 'admin',
      tag: 'Configuration',
      summary: 'The text of an earlier configuration',
      params: z.object({ id: z.string() }),
      gives: YAML,
      handle: async ({ params }) => {
        const text = await desk.version(params.id);
        if (text === undefined)
          throw new Refusal(404, 'unknown_version', 'there is no earlier configuration with this id');
        return raw(text, YAML);
      },
    }),
    route({
      method: 'POST',
      path: '/api/config/undo',
      role: 'admin',
      tag: 'Configuration',
      summary: 'Puts an earlier configuration in place again; left out: the last one. Undone again, it is as before',
      query: dryQuery,
      body: z.strictObject({
        id: z
          .string()
          .regex(/^\d{4,8}$/)
          .optional(),
      }),
      answer: changeAnswer,
      handle: (call) => done(deps, call, desk.undo(call.body.id, changeOptions(call)), 'undo'),
    }),
  ];
}

export function changeOptions({ caller, query, request }: Call<unknown, DryQuery, unknown>): ChangeOptions {
  const etag = /^(?:W\/)?"?([\w-]{1,64})"?$/.exec(request.headers['if-match'] ?? '')?.[1];
  return { who: caller.name, etag, dry: query.dry === 'true' };
}

/** Tells the audit and the caller what came of a change. */
export async function done(
  { restartNeeded }: Pick<ConfigRouteDeps, 'restartNeeded'>,
  { note }: Pick<Call<unknown, unknown, unknown>, 'note'>,
  change: Promise<Change>,
  words = 'configuration',
): Promise<z.output<typeof changeAnswer>> {
  const made = await change;
  const { applied, diff, etag, path } = made;
  note(applied ? `${words} changed` : 'nothing changed');
  return { applied, diff, etag, path, restartNeeded: applied ? [...restartNeeded(made)] : [] };
}
