// What happened: the events, and the last lines of the log by their level. Both grow at their beginning while the page is open.
import type { NumberedEvent } from '../../core/events.ts';
import type { LogLine } from '../../lib/log-ring.ts';
import type { Cells } from './cells.ts';
import { type Html, html } from './html.ts';

/** Events and lines that an open page keeps. */
const MOST = 100;
/** Of the log: the newest of all, and the newest that somebody should know of. */
const LINES = 30;
const SERIOUS_LINES = 20;
const MAX_TEXT = 300;

export function eventsPart(events: readonly NumberedEvent[], cells: Cells): Html {
  const items = events.map(({ id, wallMs, event }) => ({
    id,
    html: () => html`<li>${timeOf(wallMs)} ${sentenceOf(event)}</li>`,
  }));
  return html`<section id="events" aria-labelledby="h-events"><h2 id="h-events">What happened</h2><details><summary>The last events</summary>${cells.list('events', items, MOST)}</details></section>`;
}

function sentenceOf(event: NumberedEvent['event']): string {
  const { type, ...rest } = event;
  const said = Object.values(rest).filter((value) => typeof value === 'string' && value !== '');
  return `${type.replaceAll('_', ' ')}: ${said.join(', ')}`.slice(0, MAX_TEXT);
}

// --- the log ---------------------------------------------------------------------------------------------------------

/** What one line says, as pino writes it. */
interface Line {
  readonly level: number;
  readonly time: number;
  readonly msg: string;
  readonly more: string;
}

const WARN = 40;
const LEVELS: readonly (readonly [least: number, css: string, word: string])[] = [
  [50, 'bad', 'error'],
  [WARN, 'doubtful', 'warn'],
  [30, 'info', 'info'],
  [0, 'info', 'debug'],
];
/** What is shown: a choice that works with scripts off (page.css). */
const CHOICES = [
  ['log-all', 'All'],
  ['log-warn', 'Warnings and errors'],
  ['log-bad', 'Errors'],
] as const;

export function logPart(lines: readonly LogLine[], cells: Cells): Html {
  const items = chosen(lines).map(({ id, text }) => ({ id, html: () => lineHtml(read(text)) }));
  return html`<section id="log" aria-labelledby="h-log"><h2 id="h-log">Log</h2><details><summary>The last lines</summary>${CHOICES.map(
    ([id, words], at) =>
      html`<input type="radio" name="level" id="${id}"${at === 0 && html` checked`}><label class="inline" for="${id}">${words}</label> `,
  )}${cells.list('log', items, MOST)}</details></section>`;
}

/** The newest last. */
function chosen(lines: readonly LogLine[]): readonly LogLine[] {
  const from = Math.max(0, lines.length - LINES);
  const serious = lines.slice(0, from).filter(({ text }) => levelOf(text) >= WARN);
  return [...serious.slice(-SERIOUS_LINES), ...lines.slice(from)];
}

/** Without reading a thousand lines whole: pino writes the level first. */
function levelOf(text: string): number {
  return Number(/^\{"level":(\d+)/.exec(text)?.[1] ?? 0);
}

function read(text: string): Line {
  try {
    const { level, time, msg, err, ...rest } = JSON.parse(text) as Record<string, unknown>;
    const fault = (err as { message?: unknown } | undefined)?.message;
    const more = Object.entries({ ...rest, ...(fault !== undefined && { fault }) });
    return {
      level: Number(level) || 0,
      time: Number(time) || 0,
      msg: String(msg ?? ''),
      more: more.map(([key, value]) => `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`).join(' '),
    };
  } catch {
    // A line that was too long for the ring was cut.
    return { level: levelOf(text), time: 0, msg: text, more: '' };
  }
}

function lineHtml({ level, time, msg, more }: Line): Html {
  const [, css, word] = LEVELS.find(([least]) => level >= least)!;
  return html`<li class="${css}">${time > 0 && timeOf(time)} <b>${word}</b> ${msg.slice(0, MAX_TEXT)} <span class="muted">${more.slice(0, MAX_TEXT)}</span></li>`;
}

/** Of day and second, UTC. */
function timeOf(ms: number): Html {
  return html`<time>${new Date(ms).toISOString().slice(5, 19).replace('T', ' ')}</time>`;
}
