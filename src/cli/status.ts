// `waystation status` and `waystation watch`: the running relay in the terminal.
import { parseArgs } from 'node:util';
import { printable } from '../config/problem.ts';
import type { BudgetStatus } from '../core/budget.ts';
import type { DropReason } from '../core/reason.ts';
import type { LinkStatus, LiveEvent, PeerStatus, RelayStatus } from '../core/status.ts';
import { API_HELP, API_OPTIONS, fetchStatus, findApi, watchEvents } from './client.ts';
import { type Command, EXIT, UsageError } from './command.ts';

/** Characters of a peer's name. */
const MAX_NAME = 100;

export const statusCommand: Command = {
  name: 'status',
  usage: '[--json] [--api URL]',
  summary: 'Show the running relay: links, peers, what was dropped and why',
  help: `  --json      the whole status as JSON\n${API_HELP}`,
  async run(args, context) {
    const { values } = parseArgs({
      args: [...args],
      options: { json: { type: 'boolean' }, ...API_OPTIONS },
    });
    const status = await fetchStatus(await findApi(values, context));
    context.out(values.json ? JSON.stringify(status, null, 2) : renderStatus(status));
    return EXIT.ok;
  },
};

export const watchCommand: Command = {
  name: 'watch',
  usage: '[--json] [--count N] [--api URL]',
  summary: 'Print events as they pass, with their age',
  help: `  --json      one JSON object per line, the XML included\n  --count N   stop after N events\n${API_HELP}`,
  async run(args, context) {
    const { values } = parseArgs({
      args: [...args],
      options: { json: { type: 'boolean' }, count: { type: 'string' }, ...API_OPTIONS },
    });
    const stop = new AbortController();
    context.signal.addEventListener('abort', () => stop.abort(), { once: true });
    let left = values.count === undefined ? Number.POSITIVE_INFINITY : Number(values.count);
    if (values.count !== undefined && !/^[1-9]\d{0,9}$/.test(values.count)) {
      throw new UsageError('--count takes a number above 0');
    }
    const show = (json: string) => {
      if (left-- <= 0) return;
      context.out(values.json ? json : renderEvent(JSON.parse(json) as LiveEvent));
      if (left <= 0) stop.abort();
    };
    await watchEvents(await findApi(values, context), show, stop.signal);
    return EXIT.ok;
  },
};

function renderEvent(event: LiveEvent): string {
  const at = event.received.slice(11, 23);
  const age = `${(event.ageMs / 1000).toFixed(1)} s`;
  const where = `${event.lat.toFixed(5)},${event.lon.toFixed(5)}`;
  return `${at}  ${age.padStart(8)}  ${event.type.padEnd(14)} ${(event.callsign || event.uid).padEnd(20)} ${where}  from ${event.from}`;
}

/** The status for a person: one screen, words instead of codes. */
export function renderStatus(status: RelayStatus): string {
  const lines = [
    `${status.name} (${status.id}), Waystation ${status.version}, up ${duration(status.uptimeMs)}`,
    `${status.units} units and ${status.contacts} contacts known; ${status.totals.received} messages in, ${status.totals.sent} out, ${status.totals.queued} waiting`,
    ...networkLines(status.byNetwork),
    ...dropLines('not taken in', status.totals.refused, status),
    ...dropLines('not sent', status.totals.dropped, status),
    '',
    'LINKS',
    ...status.links.flatMap(renderLink),
    '',
    'PEERS',
    ...(status.peers.length > 0 ? status.peers.flatMap((peer) => renderPeer(peer, status)) : ['  none yet']),
  ];
  for (const { words, fix } of status.warnings) lines.push('', `WARNING ${words}`, `  fix: ${fix}`);
  return lines.join('\n');
}

/** Where the box is several networks. */
function networkLines(networks: RelayStatus['byNetwork'] = []): string[] {
  if (networks.length < 2) return [];
  return networks.map(({ name, connected, rates, totals: { received, sent, queued } }) => {
    const now = `${rates.in.toFixed(1)} in and ${rates.out.toFixed(1)} out per s`;
    return `  network ${name}: ${connected} connected, ${now}; ${received} messages in, ${sent} out, ${queued} waiting`;
  });
}

function renderLink(link: LinkStatus): string[] {
  const lines = [`  ${link.name.padEnd(16)} ${link.kind.padEnd(6)} ${link.state.padEnd(11)} ${link.detail}`];
  const well = link.state === 'listening' || link.state === 'connected';
  if (link.lastTrouble && !well) lines.push(`    ${link.lastTrouble.words}`, `    fix: ${link.lastTrouble.fix}`);
  if (link.lastRefusal) {
    const count = Object.values(link.refusals).reduce((sum, n) => sum + n, 0);
    lines.push(
      `    refused ${count}, last ${duration(Date.now() - link.lastRefusal.atMs)} ago ${link.lastRefusal.address}: ${link.lastRefusal.words}`,
      `    fix: ${link.lastRefusal.fix}`,
    );
  }
  return link.budget ? [...lines, ...budgetLine(link.budget)] : lines;
}

function budgetLine({ profile, rateBps, perDayBytes, metered, usedTodayBytes, closedLanes }: BudgetStatus): string[] {
  if (rateBps === undefined && perDayBytes === undefined && !metered) return [];
  const rate = rateBps === undefined ? [] : [`${rateBps} bit/s`];
  const day = perDayBytes === undefined ? '' : ` of ${perDayBytes}`;
  const closed = closedLanes.length > 0 ? [`used up: today no more ${closedLanes.join(', ')}`] : [];
  return [`    budget ${[profile, ...rate, `${usedTodayBytes}${day} bytes today`, ...closed].join(', ')}`];
}

function renderPeer(peer: PeerStatus, status: RelayStatus): string[] {
  const sum = (pick: (lane: PeerStatus['lanes'][number]) => number) =>
    peer.lanes.reduce((n, lane) => n + pick(lane), 0);
  const queued = sum((lane) => lane.queued);
  const state = peer.connected ? 'up' : 'down';
  const auth = peer.proof === 'none' ? ', unauthenticated' : '';
  const heard = peer.lastHeardMsAgo === null ? 'nothing heard' : `heard ${duration(peer.lastHeardMsAgo)} ago`;
  const said = peer.saidName === null ? '' : ` (calls itself ${printable(peer.saidName, MAX_NAME)})`;
  const lines = [
    `  ${printable(peer.name, MAX_NAME)}${said} [${peer.key}] ${state}${auth}, ${peer.address ?? 'no address'}, ${heard}, in ${peer.received.events}, out ${sum((lane) => lane.sent)}, waiting ${queued}`,
  ];
  if (queued > 0)
    lines.push(
      `    waiting: ${peer.lanes
        .filter((lane) => lane.queued > 0)
        .map(waitingWords)
        .join(', ')}`,
    );
  if (!peer.connected && peer.lastClose) lines.push(`    down because ${peer.lastClose.words}`);
  const dropped: Record<string, number> = {};
  for (const lane of peer.lanes) {
    for (const [reason, count] of Object.entries(lane.dropped)) dropped[reason] = (dropped[reason] ?? 0) + count;
  }
  return [
    ...lines,
    ...dropLines('    not taken in', peer.received.refused, status),
    ...dropLines('    not sent', dropped, status),
  ];
}

function waitingWords({ lane, queued, oldestMs }: PeerStatus['lanes'][number]): string {
  return `${queued} ${lane}${oldestMs === null ? '' : ` for ${duration(oldestMs)}`}`;
}

/** Drop counters in words, one line a reason. */
function dropLines(what: string, counts: Readonly<Record<string, number>>, { words }: RelayStatus): string[] {
  return Object.entries(counts).map(([reason, count]) => `${what}: ${count} ${words.drop[reason as DropReason]}`);
}

/** A time span for a person. */
export function duration(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  return seconds < 172_800 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86_400)} days`;
}
