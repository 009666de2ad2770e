// The flashed card through the API: a signed release in, factory reset. Only on a box that was started from the image.
import * as z from 'zod';
import type { ApplianceStatus } from '../../core/appliance.ts';
import { FatalError, LinkError } from '../../lib/errors.ts';
import { Refusal } from '../refusal.ts';
import { Reply, type Route, route, type Upload } from '../route.ts';

/** What the box does when it is asked (appliance/desk.ts). */
export interface Appliance {
  status(): ApplianceStatus;
  take(source: AsyncIterable<Uint8Array>): Promise<{ readonly version: string }>;
  fetch(url: string, signal: AbortSignal): void;
  forget(how: 'factory-reset' | 'zeroize'): void;
}

export interface ApplianceDeps {
  readonly appliance: Appliance;
  /** Ends with the relay: a download outlives who asked for it. */
  readonly signal: AbortSignal;
}

const tag = 'Box';
export const releaseUrl = z.strictObject({
  url: z
    .url({ protocol: /^https?$/, error: 'expected an address such as https://example.org/waystation.update' })
    .max(2048),
});
export const forgetOrder = z.strictObject({
  /** The box's name, typed: nobody forgets everything by a slip. */
  name: z.string().max(64),
  zeroize: z.union([z.boolean(), z.literal('on').transform(() => true)]).default(false),
});
const accepted = z.object({ words: z.string() });
const boxAnswer = z.object({
  name: z.string(),
  release: z.string(),
  slot: z.string(),
  trial: z.boolean(),
  clock: z.string(),
  update: z.string(),
});

export function applianceRoutes(deps: ApplianceDeps): Route[] {
  return [
    route({
      method: 'GET',
      path: '/api/box',
      role: 'viewer',
      tag,
      summary: 'The flashed card: its name, the half that runs, how the last update went',
      answer: boxAnswer,
      handle: () => deps.appliance.status(),
    }),
    route({
      method: 'POST',
      path: '/api/update',
      role: 'admin',
      tag,
      summary: 'Takes a signed release; the box tries it at once and keeps it only if the links of now work again',
      bodyKind: 'file',
      takes: 'application/octet-stream',
      status: 202,
      answer: accepted,
      handle: async ({ body, note }) =>
        new Reply(202, { words: await takeRelease(deps, body as unknown as Upload, note) }),
    }),
    route({
      method: 'POST',
      path: '/api/update/fetch',
      role: 'admin',
      tag,
      summary: 'The same, and the box downloads it itself; GET /api/box says how that goes',
      body: releaseUrl,
      status: 202,
      answer: accepted,
      handle: ({ body, note }) => new Reply(202, { words: fetchRelease(deps, body.url, note) }),
    }),
    route({
      method: 'POST',
      path: '/api/factory-reset',
      role: 'admin',
      tag,
      summary: 'Forgets everything, keys too, and starts over; with "zeroize" keys are overwritten first',
      body: forgetOrder,
      status: 202,
      answer: accepted,
      handle: ({ body, note }) => new Reply(202, { words: forget(deps, body, note) }),
    }),
  ];
}

type Note = (words: string) => void;

/** @throws Refusal in the box's own words */
export async function takeRelease({ appliance }: ApplianceDeps, { bytes }: Upload, note: Note): Promise<string> {
  const { version } = await appliance.take(bytes).catch((error: unknown) => {
    throw told(error);
  });
  note(`release ${version} taken in`);
  return `Release ${version} is taken in. The box writes it, starts over and tries it; in some minutes this page says what came of it.`;
}

/** @throws Refusal */
export function fetchRelease({ appliance, signal }: ApplianceDeps, url: string, note: Note): string {
  try {
    appliance.fetch(url, signal);
  } catch (error) {
    throw told(error);
  }
  note(`release from ${url}`);
  return `The box asks for the release at ${url}, and tries it when it is all here.`;
}

/** @throws Refusal when it is not this box's name */
export function forget(
  { appliance }: ApplianceDeps,
  { name, zeroize }: z.output<typeof forgetOrder>,
  note: Note,
): string {
  const own = appliance.status().name;
  if (name.trim().toLowerCase() !== own) {
    throw new Refusal(400, 'wrong_name', 'that is not the name of this box, and nothing was forgotten', {
      fix: `its name is ${own}`,
    });
  }
  note(zeroize ? 'zeroize' : 'factory reset');
  appliance.forget(zeroize ? 'zeroize' : 'factory-reset');
  return 'The box forgets everything and starts over. It comes back as a new one, with a new setup code in SETUP.txt on its card.';
}

function told(error: unknown): unknown {
  const known = error instanceof FatalError || error instanceof LinkError;
  const status = known && error.code === 'update_busy' ? 409 : 422;
  return known ? new Refusal(status, error.code, error.message, { fix: error.fix }) : error;
}
