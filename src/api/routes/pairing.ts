// Codes by which another Waystation joins this one, and joining another by its code.
import * as z from 'zod';
import { LinkError } from '../../lib/errors.ts';
import { Refusal } from '../refusal.ts';
import { Reply, type Route, route } from '../route.ts';

const DEFAULT_MINUTES = 15;
const MAX_MINUTES = 24 * 60;

export const toggles = {
  in: z.boolean().default(true).describe('Take events from them.'),
  out: z.boolean().default(true).describe('Send them events.'),
  dp_in: z.boolean().default(true).describe('Take data packages and missions.'),
  dp_out: z.boolean().default(true).describe('Send data packages and missions.'),
};

const called = z
  .string()
  .regex(/^[^\p{C}]{1,64}$/u, 'expected 1 to 64 characters')
  .optional()
  .describe('What the other box is called here; left out: what it calls itself.');

const network = z
  .string()
  .max(32)
  .optional()
  .describe('The network of this box that it joins; left out: that of the portal link.');

const codeBody = z.strictObject({
  ...toggles,
  name: called,
  network,
  minutes: z.number().min(1).max(MAX_MINUTES).default(DEFAULT_MINUTES).describe('How long it is good.'),
});

const joinBody = z.strictObject({
  ...toggles,
  name: called,
  network,
  address: z.string().min(1).max(260).describe('Host, or host:port, of the portal link over there. Usual port: 9090.'),
  hub: z
    .string()
    .max(64)
    .optional()
    .describe('A hub that both boxes dial; address is then the name that it has for the other box.'),
  code: z.string().min(1).max(64),
});

const codeAnswer = z
  .object({
    code: z.string().nullable().describe('null: none is open.'),
    expires_at: z.string().nullable(),
    tries_left: z.int().nullable(),
    addresses: z.array(z.string()).describe('Where to use it, as far as this box knows its own names.'),
    hubs: z
      .array(z.string())
      .describe('Peers through which it can be used, if they are hubs, by the name that they have for this box.'),
  })
  .meta({ id: 'FederationCode' });

const joinAnswer = z.object({
  name: z.string(),
  link: z.string().describe('Empty: the code was of this box, and two of its networks federate now.'),
  their_name: z.string(),
  pin: z.string(),
});

export interface Terms {
  readonly policy: Readonly<Record<string, unknown>>;
  readonly name?: string | undefined;
}

export interface PairingApi {
  readonly open: { readonly code: string; readonly endsMs: number; readonly triesLeft: number } | undefined;
  make(terms: Terms, who: string, lifeMs: number): Promise<unknown>;
  clear(): void;
  place(): Promise<{ readonly listen: readonly string[]; readonly hubs: readonly string[] } | undefined>;
  join(
    wanted: {
      readonly address: string;
      readonly hub?: string | undefined;
      readonly code: string;
      readonly terms: Terms;
    },
    who: string,
    signal: AbortSignal,
  ): Promise<{ readonly name: string; readonly link: string; readonly theirName: string; readonly pin: string }>;
}

export interface PairingRouteDeps {
  readonly pairing: PairingApi;
  readonly clock: { nowMs(): number; wallMs(): number };
  /** Names and addresses of this box. */
  hosts(): readonly string[];
}

export function pairingRoutes(deps: PairingRouteDeps): Route[] {
  const { pairing } = deps;
  return [
    route({
      method: 'POST',
      path: '/api/federation/codes',
      role: 'admin',
      tag: 'Federation',
      summary: 'Makes a code by which another Waystation joins this one; the code before is no longer good',
      body: codeBody,
      status: 201,
      answer: codeAnswer,
      handle: async ({ body, caller, note }) => {
        await inWords(() => pairing.make(termsOf(body), caller.name, body.minutes * 60_000));
        note('federation code made');
        return new Reply(201, await codeState(deps));
      },
    }),
    route({
      method: 'GET',
      path: '/api/federation/codes',
      role: 'admin',
      tag: 'Federation',
      summary: 'The code that is open',
      answer: codeAnswer,
      handle: () => codeState(deps),
    }),
    route({
      method: 'DELETE',
      path: '/api/federation/codes',
      role: 'operator',
      tag: 'Federation',
      summary: 'Ends the code; who has joined stays joined',
      status: 204,
      handle: ({ note }) => {
        pairing.clear();
        note('federation code cleared');
        return new Reply(204);
      },
    }),
    route({
      method: 'POST',
      path: '/api/federation/join',
      role: 'admin',
      tag: 'Federation',
      summary: 'Joins another Waystation by the code it shows: both become each other’s peers',
      body: joinBody,
      answer: joinAnswer,
      handle: async ({ body, caller, note, signal }) => {
        const { address, hub, code } = body;
        const { theirName, ...joined } = await inWords(() =>
          pairing.join({ address, hub, code, terms: termsOf(body) }, caller.name, signal),
        );
        note(`joined ${joined.name} at ${address}${hub ? ` through ${hub}` : ''} by its code`);
        return { ...joined, their_name: theirName };
      },
    }),
  ];
}

export function termsOf({ name, network, ...body }: z.output<typeof codeBody> | z.output<typeof joinBody>): Terms {
  const { in: into, out, dp_in, dp_out } = body;
  const off = Object.entries({ in: into, out, dp_in, dp_out }).filter(([, on]) => !on);
  return { policy: { ...Object.fromEntries(off), ...(network === undefined ? {} : { network }) }, name };
}

export async function codeState({ pairing, clock, hosts }: PairingRouteDeps): Promise<z.output<typeof codeAnswer>> {
  const { open } = pairing;
  if (!open) return { code: null, expires_at: null, tries_left: null, addresses: [], hubs: [] };
  const { listen = [], hubs = [] } = (await pairing.place()) ?? {};
  const ports = listen.map((listen) => /(?:^|:)(\d+)$/.exec(listen)?.[1] ?? listen);
  const names = hosts().filter((host) => host !== 'localhost' && host !== '::1' && !host.startsWith('127.'));
  return {
    code: `${open.code.slice(0, 4)}-${open.code.slice(4)}`,
    expires_at: new Date(clock.wallMs() + open.endsMs - clock.nowMs()).toISOString(),
    tries_left: open.triesLeft,
    hubs: [...hubs],
    addresses: ports.flatMap((port) =>
      names.map((host) => (host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`)),
    ),
  };
}

/** What went wrong between two boxes, for the one who asked. */
export async function inWords<Result>(work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof LinkError)) throw error;
    const status = STATUS[error.code] ?? 502;
    throw new Refusal(status, error.code, error.message, { fix: error.fix });
  }
}

const STATUS: Readonly<Record<string, number>> = {
  bad_code: 400,
  bad_address: 400,
  unknown_hub: 409,
  names_differ: 409,
  no_listener: 409,
  own_pin: 409,
  own_code: 409,
  wrong_code: 403,
  no_code: 403,
  too_many_codes: 429,
};
