// `waystation simulate`: what a thin line would carry, by our rule and by those of others, in virtual time.
import { readFile, writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { FatalError } from '../lib/errors.ts';
import { LOAD_DEFAULTS, makeLoad, type Offered } from '../sim/load.ts';
import type { Delays, Result, Spread } from '../sim/measure.ts';
import { plot } from '../sim/plot.ts';
import { recordedLoad } from '../sim/recorded.ts';
import { CONTENDERS } from '../sim/simulate.ts';
import { type Command, EXIT, UsageError } from './command.ts';
import { table } from './table.ts';

/** More than this takes minutes of computing. */
const MAX_UNITS = 1_000;
const MAX_HOURS = 24;
const MAX_UNIT_HOURS = 2_000;
/** Largest recording read, bytes. */
const MAX_RECORDING = 256 * 1024 * 1024;

export const simulateCommand: Command = {
  name: 'simulate',
  usage:
    '[--rate BITS] [--units N] [--hours N] [--policy NAME] [--load FILE] [--bytes N] [--seed N] [--svg FILE] [--json]',
  summary: 'Show what a thin line would carry, by our rule and by those of others',
  help: [
    '  --rate BITS    bits per second of the line (default 2400)',
    '  --units N      units that report (default 50), with chat and now and then an alert',
    '  --hours N      how long (default 1); parts of an hour too',
    `  --policy NAME  only this rule: ${CONTENDERS.map(({ name }) => name).join(', ')}`,
    '  --load FILE    a load recorded with "waystation watch --json", in place of the made one',
    '  --bytes N      what an event weighs on the line (default 430, about what a federated one does)',
    '  --seed N       another made load (default 1)',
    '  --svg FILE     draw age and alert delay over time',
    '  --json         the figures as JSON',
    '\nThe rules of others are models of how they queue, behind a socket that takes 85 kB; not tests of those products.',
  ].join('\n'),
  async run(args, context) {
    const { values } = parseArgs({ args: [...args], options: OPTIONS });
    const rateBps = number('rate', values.rate, 75, 1e9);
    const bytes = values.bytes === undefined ? undefined : number('bytes', values.bytes, 1, 65_536);
    const made = {
      ...LOAD_DEFAULTS,
      units: number('units', values.units, 1, MAX_UNITS),
      durationMs: Math.round(number('hours', values.hours, 0.05, MAX_HOURS) * 3_600_000),
      seed: number('seed', values.seed, 0, 2 ** 31),
      bytes: bytes ?? LOAD_DEFAULTS.bytes,
    };
    if (made.units * (made.durationMs / 3_600_000) > MAX_UNIT_HOURS) {
      throw new UsageError(`--units times --hours may be ${MAX_UNIT_HOURS} at most`);
    }
    const recorded = values.load === undefined ? undefined : recordedLoad(await recording(values.load), bytes);
    const load = (): Iterable<Offered> => recorded ?? makeLoad(made);
    const durationMs = recorded ? (recorded.at(-1)?.atMs ?? 0) + 1000 : made.durationMs;
    const results = chosen(values.policy).map(({ run }) => run(load(), { rateBps, durationMs }));
    const title = `${rateBps} bit/s, ${recorded ? 'recorded load' : `${made.units} units`}, ${(durationMs / 3_600_000).toFixed(2)} h`;
    context.out(values.json ? JSON.stringify(results, null, 2) : [title, ...render(results)].join('\n'));
    if (values.svg !== undefined) await draw(values.svg, plot(results, durationMs, title));
    return EXIT.ok;
  },
};

const OPTIONS = {
  rate: { type: 'string', default: '2400' },
  units: { type: 'string', default: String(LOAD_DEFAULTS.units) },
  hours: { type: 'string', default: '1' },
  policy: { type: 'string' },
  load: { type: 'string' },
  bytes: { type: 'string' },
  seed: { type: 'string', default: '1' },
  svg: { type: 'string' },
  json: { type: 'boolean' },
} as const;

function number(name: string, text: string, least: number, most: number): number {
  const value = text.trim() === '' ? Number.NaN : Number(text);
  if (value >= least && value <= most) return value;
  throw new UsageError(`--${name} takes a number between ${least} and ${most}, got "${text}"`);
}

function chosen(name: string | undefined): typeof CONTENDERS {
  const found = CONTENDERS.filter((contender) => name === undefined || contender.name === name);
  if (found.length > 0) return found;
  throw new UsageError(`--policy takes one of ${CONTENDERS.map((contender) => contender.name).join(', ')}`);
}

async function recording(path: string): Promise<string> {
  try {
    const bytes = await readFile(path);
    if (bytes.length <= MAX_RECORDING) return bytes.toString('utf8');
  } catch (error) {
    throw new FatalError(
      'cannot_read',
      `cannot read ${path}: ${(error as Error).message}`,
      'name a file that is there',
      error,
    );
  }
  throw new FatalError('too_large', `${path} is larger than ${MAX_RECORDING} bytes`, 'record for less long');
}

async function draw(path: string, svg: string): Promise<void> {
  try {
    await writeFile(path, svg);
  } catch (error) {
    throw new FatalError(
      'cannot_write',
      `cannot write ${path}: ${(error as Error).message}`,
      'name another file',
      error,
    );
  }
}

function render(results: readonly Result[]): string[] {
  const head = ['RULE', 'AGE p50/p95', 'OFF p95', 'ALERTS', 'p95', 'CHAT', 'p95', 'DELIVERED'];
  const rows = results.map(({ rule, age, off, alerts, chat, delivered, offered }) => [
    rule,
    `${seconds(age.p50)} / ${seconds(age.p95)}`,
    `${Math.round(off.p95)} m`,
    part(alerts),
    seconds(alerts.p95),
    part(chat),
    seconds(chat.p95),
    `${delivered} of ${offered}`,
  ]);
  const books = results
    .filter((result) => Object.keys(result.books).length > 0)
    .map(
      ({ rule, books }) =>
        `${rule}: ${Object.entries(books)
          .map(([word, count]) => `${word} ${count}`)
          .join(', ')}`,
    );
  return [...table(head, rows), ...(books.length > 0 ? ['', ...books] : [])];
}

function seconds(ms: Spread['p50']): string {
  return Number.isNaN(ms) ? '-' : `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)} s`;
}

function part({ delivered, offered }: Delays): string {
  return offered === 0 ? '-' : `${Math.round((100 * delivered) / offered)} %`;
}
