// `waystation top`: the running relay in a terminal, once a second. Plain ANSI, good at 80 by 24, over SSH and on a serial console.
import { parseArgs } from 'node:util';
import { printable } from '../config/problem.ts';
import type { LinkStatus, PeerStatus, RelayStatus } from '../core/status.ts';
import { sleep } from '../lib/abort.ts';
import { LinkError } from '../lib/errors.ts';
import type { Terminal, TerminalEvents } from '../lib/terminal.ts';
import { API_HELP, API_OPTIONS, fetchStatus, findApi } from './client.ts';
import { type Command, EXIT, UsageError } from './command.ts';
import { duration } from './status.ts';

const EVERY_MS = 1_000;
const PAPER = { columns: 100, rows: Number.POSITIVE_INFINITY };

/** @param open takes the terminal over; undefined when there is none */
export const topCommand = (open: (events: TerminalEvents) => Terminal | undefined): Command => ({
  name: 'top',
  usage: '[--once] [--api URL]',
  summary: 'Show the running relay live in the terminal',
  help: [
    '  --once      one picture, to wherever the output goes',
    API_HELP,
    '',
    'Keys: q quits, arrows and space scroll.',
  ].join('\n'),
  async run(args, context) {
    const { values } = parseArgs({ args: [...args], options: { once: { type: 'boolean' }, ...API_OPTIONS } });
    const api = await findApi(values, context);
    const first = await fetchStatus(api);
    if (values.once) {
      context.out(plain(screen(first, PAPER, 0)).join('\n'));
      return EXIT.ok;
    }
    const view = new View(first);
    const quit = new AbortController();
    const terminal = open({
      onKey: (key) => (key === 'q' ? quit.abort() : view.scroll(key)),
      onResize: () => view.draw(),
    });
    if (!terminal) throw new UsageError('top needs a terminal; "waystation top --once" and "waystation status" do not');
    context.signal.addEventListener('abort', () => quit.abort(), { once: true });
    view.begin(terminal);
    try {
      while (!quit.signal.aborted) {
        await sleep(EVERY_MS, quit.signal);
        if (quit.signal.aborted) break;
        await fetchStatus(api).then(
          (status) => view.show(status),
          (error: Error) => view.fail(error),
        );
      }
    } finally {
      terminal.close();
    }
    return EXIT.ok;
  },
});

class View {
  #terminal: Terminal | undefined;
  #status: RelayStatus;
  #trouble = '';
  #top = 0;

  constructor(status: RelayStatus) {
    this.#status = status;
  }

  begin(terminal: Terminal): void {
    this.#terminal = terminal;
    this.draw();
  }

  show(status: RelayStatus): void {
    this.#status = status;
    this.#trouble = '';
    this.draw();
  }

  /** What was last known stays, with a word. */
  fail(error: Error): void {
    if (!(error instanceof LinkError)) throw error;
    this.#trouble = error.message;
    this.draw();
  }

  scroll(key: string): void {
    const page = Math.max(1, (this.#terminal?.rows ?? 24) - 4);
    const step = { up: -1, down: 1, pageup: -page, pagedown: page, ' ': page, home: Number.NEGATIVE_INFINITY }[key];
    if (step === undefined) return;
    this.#top = Math.max(0, this.#top + step);
    this.draw();
  }

  draw(): void {
    const terminal = this.#terminal;
    if (!terminal) return;
    const { columns, rows } = terminal;
    this.#top = Math.min(this.#top, Math.max(0, bodyOf(this.#status, columns).length - (rows - HEAD_LINES - 1)));
    terminal.draw(screen(this.#status, { columns, rows }, this.#top, this.#trouble));
  }
}

interface Size {
  readonly columns: number;
  readonly rows: number;
}

const HEAD_LINES = 2;
const BOLD = '\x1b[1m';
const REVERSE = '\x1b[7m';
const COLOURS = { good: '\x1b[32m', doubtful: '\x1b[33m', bad: '\x1b[31m', off: '\x1b[2m' } as const;
/** State by sign, not by colour alone. */
const SIGNS = { good: '+', doubtful: '?', bad: '!', off: '-' } as const;
type Standing = keyof typeof SIGNS;

/** The lines of the picture, none wider than the terminal, no more than it has. `top`: first line of the body that is shown. */
export function screen(status: RelayStatus, { columns, rows }: Size, top: number, trouble = ''): string[] {
  const body = bodyOf(status, columns);
  const room = Math.max(0, rows - HEAD_LINES - 1);
  const shown = body.slice(top, top + room);
  const below = body.length - top - shown.length;
  const foot = trouble || ` q quit${body.length > room ? `, arrows scroll (${below} more below)` : ''}`;
  return [
    ...head(status, columns),
    ...shown,
    `${REVERSE}${fit(trouble ? ` ${trouble}; trying again` : foot, columns)}`,
  ].slice(0, Math.max(1, rows));
}

function plain(lines: readonly string[]): string[] {
  return lines.slice(0, -1).map((line) => line.replaceAll(/\x1b\[\d+m/g, '').trimEnd());
}

function head({ name, version, uptimeMs, units, now, totals, emcon, memory }: RelayStatus, columns: number): string[] {
  const silent = emcon?.silent ? '  RADIO SILENCE' : '';
  return [
    `${REVERSE}${fit(` ${name}  Waystation ${version}, up ${duration(uptimeMs)}  ${now.slice(11, 19)} UTC${silent}`, columns)}`,
    fit(
      ` ${units} units, ${totals.received} messages in, ${totals.sent} out, ${totals.queued} waiting, ${Math.round(memory.rssBytes / 1e6)} MB`,
      columns,
    ),
  ];
}

function bodyOf(status: RelayStatus, columns: number): string[] {
  const { links, peers, warnings } = status;
  const trouble = links.flatMap((link) => troubleLines(link, columns));
  return [
    ...warnings.map(({ words }) => tinted('bad', fit(` ! ${words}`, columns))),
    `${BOLD}${fit(row(['', 'LINK', 'KIND', 'STATE', 'FOR', 'WHERE'], LINK_WIDTHS), columns)}`,
    ...links.map((link) => linkRow(link, Date.parse(status.now), columns)),
    ...trouble,
    `${BOLD}${fit(row(['', 'PEER', 'IN/s', 'OUT/s', 'WAIT', 'LOST', 'RTT', 'HEARD', 'WAY'], PEER_WIDTHS), columns)}`,
    ...(peers.length > 0
      ? [...peers].sort(uplinksFirst).map((peer) => peerRow(peer, columns))
      : [fit('   none yet', columns)]),
  ];
}

function uplinksFirst(a: PeerStatus, b: PeerStatus): number {
  return Number(b.durable) - Number(a.durable);
}

/** What it is called here, or calls itself; the link's name where all that is known is an address. */
function labelOf({ name, key, link }: PeerStatus): string {
  return !key.includes('/') && /:\d+$/.test(name) ? link : name;
}

const LINK_WIDTHS = [2, 16, 6, 10, 7, 0];
const PEER_WIDTHS = [2, 24, 6, 6, 6, 7, 7, 7, 0];

function linkRow(link: LinkStatus, nowMs: number, columns: number): string {
  const standing = linkStanding(link);
  const { name, kind, state, detail, enabled, sinceMs } = link;
  const cells = [SIGNS[standing], name, kind, enabled ? state : 'off', duration(Math.max(0, nowMs - sinceMs)), detail];
  return tinted(standing, fit(row(cells, LINK_WIDTHS), columns));
}

function linkStanding({ enabled, state }: LinkStatus): Standing {
  if (!enabled || state === 'stopped') return 'off';
  if (state === 'connected' || state === 'listening') return 'good';
  return state === 'failed' || state === 'waiting' ? 'bad' : 'doubtful';
}

function troubleLines({ name, state, lastTrouble }: LinkStatus, columns: number): string[] {
  if (!lastTrouble || (state !== 'waiting' && state !== 'failed')) return [];
  const words = `   ${name}: ${lastTrouble.words}. Fix: ${lastTrouble.fix}`;
  return [tinted('bad', fit(words, columns))];
}

function peerRow(peer: PeerStatus, columns: number): string {
  const { connected, rates, rttMs, lastHeardMsAgo, via, address, lanes, policy } = peer;
  const standing: Standing = !policy.in && !policy.out ? 'off' : connected ? 'good' : peer.trouble ? 'bad' : 'doubtful';
  const sum = (pick: (lane: PeerStatus['lanes'][number]) => number) => lanes.reduce((all, one) => all + pick(one), 0);
  const lost = sum(({ dropped }) => Object.values(dropped).reduce((all, count) => all + count, 0));
  const cells = [
    SIGNS[standing],
    labelOf(peer),
    rates.in.toFixed(1),
    rates.out.toFixed(1),
    String(sum(({ queued }) => queued)),
    String(lost),
    rttMs === null ? '-' : `${Math.round(rttMs)} ms`,
    lastHeardMsAgo === null ? '-' : duration(lastHeardMsAgo),
    connected ? (via === null ? (address ?? '') : `through ${via}`) : 'away',
  ];
  return tinted(standing, fit(row(cells, PEER_WIDTHS), columns));
}

/** Names come from strangers: what would steer the terminal is spelt out. */
function row(cells: readonly string[], widths: readonly number[]): string {
  return cells
    .map((cell, index) => {
      const width = widths[index]!;
      const text = printable(cell, 200);
      return width === 0 ? text : `${text.slice(0, width - 1).padEnd(width)}`;
    })
    .join('');
}

function tinted(standing: Standing, text: string): string {
  return `${COLOURS[standing]}${text}`;
}

/** As wide as the terminal, so that a narrower one does not wrap and a wider one shows no rest of before. */
function fit(text: string, columns: number): string {
  const safe = printable(text, 400);
  return safe.length > columns ? `${safe.slice(0, Math.max(0, columns - 1))}…` : safe.padEnd(columns);
}
