// What passes: an event put in as if a phone had sent it, and radio silence.
import * as z from 'zod';
import { DROP_WORDS, type DropReason } from '../../core/reason.ts';
import { Refusal } from '../refusal.ts';
import { mayAct, Reply, type Route, route } from '../route.ts';

const MAX_EVENT_BYTES = 256 * 1024;

/** What became of an event. */
export type Injected =
  | { readonly uid: string; readonly type: string; readonly refused?: DropReason | undefined }
  | { readonly malformed: string };

export interface EmconState {
  readonly silent: boolean;
  /** ISO-8601 UTC; null when not silent. */
  readonly since: string | null;
  readonly by: string | null;
}

export interface TrafficDeps {
  inject(xml: Buffer): Injected;
  emcon(): EmconState;
  setEmcon(silent: boolean, who: string): EmconState;
}

const emcon = z
  .object({ silent: z.boolean(), since: z.string().nullable(), by: z.string().nullable() })
  .meta({ id: 'Emcon' });

export function trafficRoutes(deps: TrafficDeps): Route[] {
  return [
    route({
      method: 'POST',
      path: '/api/events',
      role: 'operator',
      tag: 'Traffic',
      summary: 'One CoT event in XML, as if a phone here had sent it',
      body: z.any(),
      bodyKind: 'bytes',
      takes: 'application/xml',
      maxBodyBytes: MAX_EVENT_BYTES,
      status: 202,
      answer: z.object({ accepted: z.literal(true), uid: z.string(), type: z.string() }),
      handle: ({ body, note }) => {
        const result = deps.inject(body as Buffer);
        if ('malformed' in result) {
          throw new Refusal(400, 'malformed', `that is no CoT event: ${result.malformed}`, {
            fix: 'send one <event> element, with uid, type, time, start, stale and a <point>',
          });
        }
        const { uid, type, refused } = result;
        if (refused) throw new Refusal(422, refused, `the event was not taken in: ${DROP_WORDS[refused]}`);
        note(`event ${type} ${uid}`);
        return new Reply(202, { accepted: true, uid, type });
      },
    }),
    route({
      method: 'GET',
      path: '/api/emcon',
      role: 'public',
      tag: 'Traffic',
      summary: 'Whether this box keeps radio silence',
      answer: emcon,
      handle: ({ caller }) => (mayAct(caller.role, 'viewer') ? deps.emcon() : { ...deps.emcon(), by: null }),
    }),
    route({
      method: 'POST',
      path: '/api/emcon',
      role: 'operator',
      tag: 'Traffic',
      summary:
        'Radio silence: all links stop but the listeners for phones; it outlasts restarts. The same call ends it',
      body: z.strictObject({ silent: z.boolean() }),
      answer: emcon,
      handle: ({ body, caller, note }) => {
        note(body.silent ? 'radio silence begins' : 'radio silence ends');
        return deps.setEmcon(body.silent, caller.name);
      },
    }),
  ];
}
