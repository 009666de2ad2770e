// What is wrong with a link, or with all of them and the box. Looking tells what is known; a POST goes the way to the far ends anew.
import * as z from 'zod';
import { type DoctorReport, FINDINGS } from '../../core/diagnosis.ts';
import { LinkError } from '../../lib/errors.ts';
import { Refusal } from '../refusal.ts';
import { type Call, type Route, route } from '../route.ts';

export interface DoctorRouteDeps {
  /** Undefined: there is no such link. Rejects with LinkError `busy`. */
  diagnose(link: string | undefined, tries: boolean, signal: AbortSignal): Promise<DoctorReport | undefined>;
}

const finding = z.enum(FINDINGS);
const check = z.looseObject({ id: z.string(), of: z.string(), finding, words: z.string(), fix: z.string() });
const diagnosis = z.looseObject({
  link: z.string(),
  kind: z.string(),
  finding,
  checks: z.array(check),
  sentence: z.string(),
});
const report = z
  .looseObject({ at: z.string(), tried: z.boolean(), finding, diagnoses: z.array(diagnosis), sentence: z.string() })
  .meta({ id: 'DoctorReport' });

const params = z.object({ link: z.string().max(64) });
const tag = 'Status';

export function doctorRoutes(deps: DoctorRouteDeps): Route[] {
  const all = { path: '/api/doctor', tag, answer: report };
  const one = { path: '/api/doctor/{link}', tag, params, answer: report };
  const empty = z.strictObject({});
  return [
    route({
      ...all,
      method: 'GET',
      role: 'viewer',
      summary: 'What is wrong, as far as it is known: every link, and the box',
      handle: ({ signal }) => examine(deps, undefined, false, signal),
    }),
    route({
      ...all,
      method: 'POST',
      role: 'operator',
      summary: 'What is wrong: far ends that are not connected are tried, up to 25 s',
      body: empty,
      handle: (call) => tried(deps, call, undefined),
    }),
    route({
      ...one,
      method: 'GET',
      role: 'viewer',
      summary: 'What is wrong with one link, as far as it is known',
      handle: ({ params, signal }) => examine(deps, params.link, false, signal),
    }),
    route({
      ...one,
      method: 'POST',
      role: 'operator',
      summary: 'What is wrong with one link: its far ends are tried if they are not connected',
      body: empty,
      handle: (call) => tried(deps, call, call.params.link),
    }),
  ];
}

async function tried(
  deps: DoctorRouteDeps,
  { signal, note }: Pick<Call<unknown, unknown, unknown>, 'signal' | 'note'>,
  link: string | undefined,
): Promise<DoctorReport> {
  const found = await examine(deps, link, true, signal);
  note(`doctor tried ${link ?? 'all links'}: ${found.finding}`);
  return found;
}

/** @throws Refusal 404, 503 */
export async function examine(
  { diagnose }: DoctorRouteDeps,
  link: string | undefined,
  tries: boolean,
  signal: AbortSignal,
): Promise<DoctorReport> {
  try {
    const found = await diagnose(link, tries, signal);
    if (found) return found;
  } catch (error) {
    if (!(error instanceof LinkError)) throw error;
    throw new Refusal(503, error.code, error.message, { fix: error.fix, headers: { 'retry-after': '5' } });
  }
  throw new Refusal(404, 'unknown_link', 'there is no link of this name', {
    fix: 'name a link, not a peer: "waystation link list" shows them',
  });
}
