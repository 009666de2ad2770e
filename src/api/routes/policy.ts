// Would this event cross? For every peer, with the rule that decides. Nothing is sent.
import * as z from 'zod';
import type { Hub } from '../../core/hub.ts';
import type { CotEvent } from '../../core/message.ts';
import { flowTagName, type Policy } from '../../core/policy.ts';
import { type PolicyReport, type PolicySource, testPolicy } from '../../core/policy-test.ts';
import type { Clock } from '../../lib/clock.ts';
import { ProtocolError } from '../../lib/errors.ts';
import { Refusal } from '../refusal.ts';
import { type Route, route } from '../route.ts';
import { findPeer } from './queue.ts';

/** Characters of one event. */
export const MAX_XML = 48 * 1024;
export const MAX_GROUPS = 64;
/** Kinds whose far ends count hops. */
const FEDERATES: ReadonlySet<string> = new Set(['fed1', 'fed2', 'mqtt', 'portal']);

export interface PolicyDeps {
  readonly hub: Pick<Hub, 'peers'>;
  readonly clock: Clock;
  readonly nodeId: string;
  /** As configured now. */
  links(): readonly PolicyLink[];
  /** Reads CoT XML. Throws ProtocolError. */
  scan(xml: Buffer): CotEvent;
}

export interface PolicyLink {
  readonly name: string;
  readonly kind: string;
  readonly policy: Policy;
}

const body = z.strictObject({
  xml: z.string().min(1).max(MAX_XML).describe('One CoT event.'),
  from: z
    .string()
    .max(256)
    .optional()
    .describe(
      'Key of the peer it would come from; or the name of a link, for whoever comes by it without rules of his own; or the name of a peer. Missing: somebody without rules, in the network main.',
    ),
  groups: z.array(z.string().min(1).max(1024)).max(MAX_GROUPS).default([]).describe('TAK groups it was sent to.'),
});
export type PolicyQuery = z.output<typeof body>;

const answer = z.looseObject({ crosses: z.boolean(), rule: z.string(), words: z.string() });
const report = z
  .looseObject({
    from: z.string(),
    network: z
      .string()
      .describe('Which of the box’s networks was answered for: that of `from`; main where nobody is named.'),
    entry: answer,
    peers: z.array(z.looseObject({ peer: z.string(), network: z.string(), crosses: z.boolean() })),
  })
  .meta({ id: 'PolicyReport' });

export function policyRoutes(deps: PolicyDeps): Route[] {
  return [
    route({
      method: 'POST',
      path: '/api/policy/test',
      role: 'viewer',
      tag: 'Status',
      summary:
        'Would this event be let in, and to whom would it go? With the network it was asked for and the rule that decides; nothing is sent',
      body,
      answer: report,
      handle: ({ body }) => askPolicy(deps, body),
    }),
  ];
}

/** @throws Refusal */
export function askPolicy(deps: PolicyDeps, { xml, from, groups }: PolicyQuery): PolicyReport {
  const { hub, clock, nodeId, scan } = deps;
  return testPolicy({
    event: scanned(xml, scan),
    groups,
    from: from === undefined ? undefined : sourceOf(deps, from),
    peers: hub.peers(),
    clock,
    nodeId,
    flowTag: flowTagName(nodeId),
  });
}

/** Names of links before those of peers: a stranger says himself what he is called. */
function sourceOf({ hub, links }: PolicyDeps, from: string): PolicySource {
  const peers = hub.peers();
  const link = peers.every(({ spec }) => spec.key !== from) && links().find(({ name }) => name === from);
  if (link) return { key: link.name, policy: link.policy, federated: FEDERATES.has(link.kind) };
  const { spec, policy, session } = findPeer(peers, from);
  return { key: spec.key, policy, federated: session?.federated ?? FEDERATES.has(spec.kind) };
}

function scanned(xml: string, scan: (xml: Buffer) => CotEvent): CotEvent {
  try {
    return scan(Buffer.from(xml));
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    throw new Refusal(422, error.code, `this is no CoT event: ${error.message}`);
  }
}
