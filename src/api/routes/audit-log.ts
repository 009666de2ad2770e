// What happened: the audit, which nobody can change here, and the last lines of the log.
import * as z from 'zod';
import { type Route, raw, route } from '../route.ts';

export const AUDIT_KINDS = ['change', 'refused', 'request'] as const;
const MOST = 1_000;

/** As the store keeps it. */
export interface AuditEntry {
  readonly id: number;
  readonly atMs: number;
  readonly kind: (typeof AUDIT_KINDS)[number];
  readonly who: string;
  readonly from: string;
  readonly action: string;
  readonly target: string;
  readonly outcome: string;
  readonly detail: string;
}

export interface AuditLogDeps {
  audit(query: {
    readonly kind?: AuditEntry['kind'] | undefined;
    readonly after?: number | undefined;
    readonly limit: number;
  }): readonly AuditEntry[];
  log(after: number): {
    readonly missed: number;
    readonly lines: readonly { readonly id: number; readonly text: string }[];
  };
}

const number = z
  .string()
  .regex(/^\d{1,12}$/, 'expected a number')
  .transform(Number);
const limit = number.default(100).transform((count) => Math.min(count, MOST));

const auditQuery = z.strictObject({
  kind: z.enum(AUDIT_KINDS).optional(),
  after: number.optional().describe('Entries after this id, oldest first. Left out: the newest, newest first.'),
  limit,
  format: z.enum(['json', 'lines']).default('json').describe('lines: one JSON object a line, to keep elsewhere.'),
});

const entry = z
  .object({
    id: z.int(),
    at: z.string(),
    kind: z.enum(AUDIT_KINDS),
    who: z.string(),
    from: z.string(),
    action: z.string(),
    target: z.string(),
    outcome: z.string(),
    detail: z.string(),
  })
  .meta({ id: 'AuditEntry' });

export function auditLogRoutes({ audit, log }: AuditLogDeps): Route[] {
  return [
    route({
      method: 'GET',
      path: '/api/audit',
      role: 'viewer',
      tag: 'Audit and log',
      summary: 'Who changed what, whom we refused, what was asked between relays',
      query: auditQuery,
      answer: z.object({ entries: z.array(entry) }),
      handle: ({ query: { format, ...query } }) => {
        const entries = audit(query).map(({ atMs, ...one }) => ({ at: new Date(atMs).toISOString(), ...one }));
        if (format === 'json') return { entries };
        return raw(entries.map((one) => `${JSON.stringify(one)}\n`).join(''), 'application/x-ndjson');
      },
    }),
    route({
      method: 'GET',
      path: '/api/log',
      role: 'viewer',
      tag: 'Audit and log',
      summary: 'The last lines of the log, oldest first; each is a JSON object',
      query: z.strictObject({ after: number.default(0), limit }),
      answer: z.object({
        missed: z.int().describe('Lines between "after" and these that are forgotten.'),
        lines: z.array(z.object({ id: z.int(), text: z.string() })),
      }),
      handle: ({ query }) => {
        const { missed, lines } = log(query.after);
        const shown = lines.slice(-query.limit);
        return { missed: missed + (query.after > 0 ? lines.length - shown.length : 0), lines: shown };
      },
    }),
  ];
}
