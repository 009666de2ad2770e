// A phone moves to a partner and keeps its certificate: this box says so, signed; the other lets the phone in with it and invites it to
// get one of its own. Here its row is marked.
import * as z from 'zod';
import type { NodeResponse } from '../../core/node.ts';
import type { Clock } from '../../lib/clock.ts';
import { HandoverRefused, makeHandover, readHandover } from '../../onboarding/handover.ts';
import type { Partners } from '../access/partners.ts';
import { outcomeOf } from '../federation-calls.ts';
import type { PhoneOffice } from '../phones.ts';
import { Refusal } from '../refusal.ts';
import { type Caller, type Route, route } from '../route.ts';

export const HANDOVER_PATH = '/api/federation/handover';

const pong = z.object({ node_id: z.string().max(128) });
const adopted = z.object({
  name: z.string().max(128).describe('What it is called there.'),
  code: z.string().max(64),
  ends_at: z.string().max(64),
  join: z.string().max(1024).describe('Where its owner gets the package of that box.'),
});
const refused = z.object({ code: z.string().max(64), detail: z.string().max(1024) });

export interface HandoverRouteDeps {
  readonly partners: Partners;
  readonly office: PhoneOffice;
  readonly clock: Clock;
  readonly nodeId: string;
  readonly caPem: string;
  sign(bytes: Buffer): Buffer;
  /** Counted, and in the audit. */
  ask(
    name: string,
    wanted: { method: 'GET' | 'POST'; path: string; body: unknown },
    caller: Caller,
    signal: AbortSignal,
  ): Promise<NodeResponse>;
  onAdopted(peer: string, address: string, detail: string): void;
}

export function handoverRoutes(deps: HandoverRouteDeps): Route[] {
  const { partners, office, clock } = deps;
  return [
    route({
      method: 'POST',
      path: HANDOVER_PATH,
      role: 'public',
      ownCredentials: true,
      tag: 'Partners',
      summary: 'A partner hands a phone over: let in with the certificate it has, and invited here',
      body: z.strictObject({ token: z.string().max(16_384) }),
      answer: adopted,
      handle: async ({ request, caller, body, note }) => {
        const { partner } = await partners.admit(request, caller.address);
        const signer = partner.serverPin ?? '';
        const handover = asRefusal(() =>
          readHandover(body.token, { signer, target: deps.nodeId, nowMs: clock.wallMs() }),
        );
        const { unit, fingerprint, notAfterMs } = handover;
        const host = office.hostFor(undefined, request.headers.host);
        const invitation = office.do((phones) => phones.adopt(unit, { fingerprint, notAfterMs }, partner.name));
        const { name } = invitation.phone;
        deps.onAdopted(partner.name, caller.address, `${name}, SHA256:${fingerprint}`);
        note(`phone ${name} taken over from ${partner.name}`);
        const { join } = office.card(invitation, host);
        return { name, code: invitation.code, ends_at: new Date(invitation.endsMs).toISOString(), join };
      },
    }),
    route({
      method: 'POST',
      path: '/api/phones/{id}/move',
      role: 'admin',
      tag: 'Partners',
      summary:
        'Hands a phone over to a partner: it is let in there with the certificate it has; here its row is marked',
      params: z.object({ id: z.string().max(128) }),
      body: z.strictObject({ to: z.string().max(128) }),
      answer: adopted,
      handle: async ({ params, body: { to }, caller, note, signal }) => {
        const { id, name, presets, fingerprint, notAfterMs } = office.do((phones) => phones.find(params.id));
        if (notAfterMs === null)
          throw new Refusal(409, 'no_certificate', `${name} has no certificate yet to be known by`);
        const { node_id: target } = answerOf(
          await deps.ask(to, { method: 'GET', path: '/api/federation/ping', body: undefined }, caller, signal),
          pong,
          to,
        );
        const claims = {
          unit: { name, presets },
          fingerprint,
          notAfterMs,
          source: deps.nodeId,
          target,
          ca: deps.caPem,
        };
        const token = makeHandover(claims, { nowMs: clock.wallMs(), sign: deps.sign });
        const taken = answerOf(
          await deps.ask(to, { method: 'POST', path: HANDOVER_PATH, body: { token } }, caller, signal),
          adopted,
          to,
        );
        office.do((phones) => phones.moved(id, to));
        note(`phone ${name} handed over to ${to}`);
        return taken;
      },
    }),
  ];
}

/** @throws Refusal in the words of the partner */
function answerOf<T>(answer: NodeResponse, schema: z.ZodType<T>, to: string): T {
  const json = jsonIn(answer.body);
  const told = answer.status < 300 ? schema.safeParse(json).data : undefined;
  if (told) return told;
  const why = refused.safeParse(json).data;
  const status = outcomeOf(answer) === 'refused' ? 409 : 502;
  throw new Refusal(status, why?.code ?? 'bad_answer', `${to}: ${why?.detail ?? `answers ${answer.status}`}`);
}

function jsonIn(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch {
    return undefined;
  }
}

function asRefusal<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof HandoverRefused)) throw error;
    throw new Refusal(403, error.code, error.message);
  }
}
