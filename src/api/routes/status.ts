// How the relay is: for people and programs, for those who only ask whether it lives, and for Prometheus.
import * as z from 'zod';
import type { RelayStatus } from '../../core/status.ts';
import { EXPOSITION_TYPE } from '../exposition.ts';
import { publicStatus } from '../public-status.ts';
import { mayAct, Reply, type Route, raw, route } from '../route.ts';

export interface StatusDeps {
  snapshot(): RelayStatus;
  /** What Prometheus reads. */
  metrics(): string;
}

/** States in which a link does what it is there for. */
const UP: readonly string[] = ['listening', 'connected'];

const readiness = z
  .object({
    status: z.enum(['ready', 'not_ready']),
    down: z.array(z.object({ link: z.string(), state: z.string(), words: z.string(), fix: z.string() })),
  })
  .meta({ id: 'Readiness' });

const status = z
  .looseObject({
    name: z.string(),
    id: z.string(),
    version: z.string(),
    now: z.string(),
    uptimeMs: z.number(),
    links: z.array(z.looseObject({ name: z.string(), kind: z.string(), enabled: z.boolean(), state: z.string() })),
    peers: z.array(
      z.looseObject({
        key: z.string(),
        link: z.string(),
        name: z.string(),
        saidName: z.string().nullable().describe('What it calls itself, where it was given another name here.'),
        connected: z.boolean(),
      }),
    ),
    warnings: z.array(z.looseObject({ code: z.string(), words: z.string(), fix: z.string() })),
  })
  .meta({ id: 'RelayStatus' });

export function statusRoutes({ snapshot, metrics }: StatusDeps): Route[] {
  return [
    route({
      method: 'GET',
      path: '/api/status',
      role: 'public',
      tag: 'Status',
      summary:
        'The whole relay: links, peers, queues, drops by reason, warnings. Without a login: no addresses and fingerprints',
      answer: status,
      handle: ({ caller }) => (mayAct(caller.role, 'viewer') ? snapshot() : publicStatus(snapshot())),
    }),
    route({
      method: 'GET',
      path: '/healthz',
      role: 'public',
      tag: 'Status',
      summary: 'The relay answers',
      answer: z.object({ status: z.literal('ok') }),
      handle: () => ({ status: 'ok' }),
    }),
    route({
      method: 'GET',
      path: '/readyz',
      role: 'public',
      tag: 'Status',
      summary: 'Every link that should be up is up; else 503 and which are not',
      answer: readiness,
      handle: ({ caller }) => {
        const ready = readinessOf(snapshot(), mayAct(caller.role, 'viewer'));
        return new Reply(ready.status === 'ready' ? 200 : 503, ready);
      },
    }),
    route({
      method: 'GET',
      path: '/metrics',
      role: 'viewer',
      tag: 'Status',
      summary: 'Counters for Prometheus',
      gives: 'text/plain',
      handle: () => raw(metrics(), EXPOSITION_TYPE),
    }),
  ];
}

/** Words and fixes name addresses: for those who may see them. */
export function readinessOf({ links }: RelayStatus, inWords: boolean): z.output<typeof readiness> {
  const down = links
    .filter(({ enabled, state }) => enabled && !UP.includes(state))
    .map(({ name, state, detail, lastTrouble }) => ({
      link: name,
      state,
      words: inWords ? (lastTrouble?.words ?? detail) : '',
      fix: inWords ? (lastTrouble?.fix ?? '') : '',
    }));
  return { status: down.length === 0 ? 'ready' : 'not_ready', down };
}
