// Would this event cross? For every peer, with the rule that decides. Nothing is sent.
import * as z from 'zod';
import type { Hub } from '../../core/hub.ts';
import type { CotEvent } from '../../core/message.ts';
import { flowTagName } from '../../core/policy.ts';
import { type PolicyReport, testPolicy } from '../../core/policy-test.ts';
import type { Clock } from '../../lib/clock.ts';
import { ProtocolError } from '../../lib/errors.ts';
import { Refusal } from '../refusal.ts';
import { type Route, route } from '../route.ts';
import { findPeer } from './queue.ts';

const MAX_XML = 48 * 1024;

export interface PolicyDeps {
  readonly hub: Pick<Hub, 'peers'>;
  readonly clock: Clock;
  readonly nodeId: string;
  /** Reads CoT XML. Throws ProtocolError. */
  scan(xml: Buffer): CotEvent;
}

const body = z.strictObject({
  xml: z.string().min(1).max(MAX_XML).describe('One CoT event.'),
  from: z.string().max(256).optional().describe('Key or name of the peer it would come from.'),
  groups: z.array(z.string().min(1).max(1024)).max(64).default([]).describe('TAK groups it was sent to.'),
});

const answer = z.looseObject({ crosses: z.boolean(), rule: z.string(), words: z.string() });
const report = z
  .looseObject({ entry: answer, peers: z.array(z.looseObject({ peer: z.string(), crosses: z.boolean() })) })
  .meta({ id: 'PolicyReport' });

export function policyRoutes({ hub, clock, nodeId, scan }: PolicyDeps): Route[] {
  return [
    route({
      method: 'POST',
      path: '/api/policy/test',
      role: 'viewer',
      tag: 'Status',
      summary: 'Would this event be let in, and to whom would it go? With the rule that decides; nothing is sent',
      body,
      answer: report,
      handle: ({ body: { xml, from, groups } }): PolicyReport =>
        testPolicy({
          event: scanned(xml, scan),
          groups,
          from: from === undefined ? undefined : findPeer(hub.peers(), from),
          peers: hub.peers(),
          clock,
          nodeId,
          flowTag: flowTagName(nodeId),
        }),
    }),
  ];
}

function scanned(xml: string, scan: (xml: Buffer) => CotEvent): CotEvent {
  try {
    return scan(Buffer.from(xml));
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    throw new Refusal(422, error.code, `this is no CoT event: ${error.message}`);
  }
}
