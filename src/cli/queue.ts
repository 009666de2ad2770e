// `waystation queue PEER`: what waits for a peer, lane by lane, and for how long.
import { parseArgs } from 'node:util';
import type { QueueReport, Waiting } from '../core/queue-report.ts';
import { API_HELP, API_OPTIONS, askJson, findApi } from './client.ts';
import { type Command, EXIT, UsageError } from './command.ts';
import { duration } from './status.ts';
import { table } from './table.ts';

const TIMEOUT_MS = 5_000;

export const queueCommand: Command = {
  name: 'queue',
  usage: 'PEER [--json] [--api URL]',
  summary: 'Show what waits for a peer, lane by lane, and for how long',
  help: `  PEER            its key, in brackets in "waystation status", or its name\n  --json          as JSON\n${API_HELP}`,
  async run(args, context) {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: { ...API_OPTIONS, json: { type: 'boolean' } },
    });
    const [peer, ...more] = positionals;
    if (peer === undefined || more.length > 0) throw new UsageError('name one peer; "waystation status" lists them');
    const path = `/api/queue/${peer.split('/').map(encodeURIComponent).join('/')}`;
    const report = await askJson<QueueReport>(await findApi(values, context), path, {
      timeoutMs: TIMEOUT_MS,
      signal: context.signal,
    });
    context.out(values.json ? JSON.stringify(report, null, 2) : renderQueue(report));
    return EXIT.ok;
  },
};

export function renderQueue({ peer, name, connected, bytes, lanes }: QueueReport): string {
  const queued = lanes.reduce((sum, lane) => sum + lane.queued, 0);
  const state = connected ? 'up' : 'down';
  const rows = lanes.map((lane) => [
    lane.lane,
    String(lane.queued),
    lane.oldestMs === null ? '' : duration(lane.oldestMs),
    String(lane.sent),
    Object.entries(lane.dropped)
      .map(([reason, count]) => `${reason} ${count}`)
      .join(', '),
  ]);
  const waiting = lanes.flatMap((lane) => lane.waiting.map((item) => waitingRow(lane.lane, item)));
  const leftOut = lanes.reduce((sum, lane) => sum + lane.leftOut, 0);
  const onDisk = lanes.reduce((sum, lane) => sum + lane.onDisk, 0);
  return [
    `${name} [${peer}] ${state}: ${queued} waiting, ${bytes} bytes`,
    '',
    ...table(['LANE', 'WAITING', 'OLDEST', 'SENT', 'NOT SENT'], rows),
    ...(waiting.length > 0
      ? ['', ...table(['LANE', 'WHAT', 'TYPE', 'CALLSIGN', 'BYTES', 'AGE', 'GOES'], waiting)]
      : []),
    ...(leftOut > 0 ? [`and ${leftOut} more${onDisk > 0 ? `, ${onDisk} of them on disk alone` : ''}`] : []),
  ].join('\n');
}

function waitingRow(lane: string, { what, type, callsign, bytes, ageMs, dueInMs }: Waiting): string[] {
  const goes = dueInMs === null ? 'in its turn' : `when idle, or in ${duration(dueInMs)}`;
  return [lane, what, type, callsign, String(bytes), duration(ageMs), goes];
}
