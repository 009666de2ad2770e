// `waystation update`: a new release onto the box, its trial, and what came of the last one.
import { createReadStream, openSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { fetchStatus, findApi } from '../cli/client.ts';
import { type CliContext, type Command, EXIT, UsageError } from '../cli/command.ts';
import type { RelayStatus } from '../core/status.ts';
import { sleep } from '../lib/abort.ts';
import type { Clock } from '../lib/clock.ts';
import { FatalError } from '../lib/errors.ts';
import { download } from './download.ts';
import { judge, linkedIn } from './judge.ts';
import { BOX, dropCaches, endTrial, mountCard, releaseKey, restart, thisBox, unmountCard } from './machine.ts';
import { pack } from './pack.ts';
import { writeSector } from './slots.ts';
import { update } from './update.ts';
import { loadUpdate, saveUpdate, updateWords } from './update-record.ts';

/** A new release has this long to prove itself; waystation-trial.service allows twice that. */
const PATIENCE_MS = 10 * 60_000;
const STEADY_MS = 15_000;
const ASK_EVERY_MS = 2_000;

export const updateCommand = (clock: Clock): Command => ({
  name: 'update',
  usage: 'FILE|URL | status | judge | pack …',
  summary: 'On the flashed card: put a new release into the other slot and try it',
  help: [
    '  FILE|URL              a signed update; the box starts over and keeps it only if the links of now work again',
    '    --no-restart        the trial waits for the next start',
    '    --consume           removes FILE as it begins, so that it is tried once, whatever comes of it',
    '  status                what came of the last update',
    '  judge [--patience S]  run by the image during a trial: keeps the release or starts over into the old one',
    '  pack --root FILE --boot FOLDER --version V --board B --key PEM --out FILE    makes a signed update',
  ].join('\n'),
  async run(args, context) {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        consume: { type: 'boolean' },
        'no-restart': { type: 'boolean' },
        patience: { type: 'string' },
        ...Object.fromEntries(PACK_OPTIONS.map((name) => [name, { type: 'string' } as const])),
      },
    });
    const [what] = positionals;
    if (!what || positionals.length > 1) throw new UsageError('name one file or URL, or status, judge, pack');
    if (what === 'status') return showStatus(context);
    if (what === 'judge') return judgeTrial(context, clock, patienceOf(values.patience));
    if (what === 'pack') return packUpdate(values as Record<string, unknown>, context);
    const consume = values.consume === true;
    await install(isUrl(what) ? await download(what, context.signal) : readIn(what, consume), context, clock);
    if (!values['no-restart']) restart();
    return EXIT.ok;
  },
});

const PACK_OPTIONS = ['root', 'boot', 'version', 'board', 'key', 'out'] as const;

function packUpdate(values: Record<string, unknown>, context: CliContext): number {
  const given = Object.fromEntries(
    PACK_OPTIONS.map((name) => {
      const value = values[name];
      if (typeof value !== 'string') throw new UsageError(`pack needs --${name}`);
      return [name, value];
    }),
  ) as Record<(typeof PACK_OPTIONS)[number], string>;
  pack(given);
  context.out(`${given.out}: update to ${given.version} for ${given.board}`);
  return EXIT.ok;
}

function patienceOf(text: string | undefined): number {
  if (text === undefined) return PATIENCE_MS;
  if (!/^[1-9]\d{0,4}$/.test(text)) throw new UsageError('--patience takes seconds');
  return Number(text) * 1000;
}

function showStatus(context: CliContext): number {
  const { boot, image } = thisBox();
  context.out(`slot ${boot.slot}${boot.trial ? ', on trial' : ''}, release ${image.version}`);
  context.out(updateWords(loadUpdate(BOX.records)) ?? 'no update was made yet');
  return EXIT.ok;
}

function isUrl(what: string): boolean {
  return /^https?:\/\//.test(what);
}

/** A file that is open can be read to its end when its name is gone: after a power cut it is not there to be tried again. */
function readIn(path: string, consume: boolean): AsyncIterable<Uint8Array> {
  const fd = openSync(path, 'r');
  if (consume) rmSync(path);
  return createReadStream(path, { fd, highWaterMark: 1024 * 1024 });
}

async function install(source: AsyncIterable<Uint8Array>, context: CliContext, clock: Clock): Promise<void> {
  const { boot, image } = thisBox();
  mountCard();
  try {
    await update(source, {
      boot,
      board: image.board,
      slotBytes: image.slotBytes,
      version: image.version,
      key: releaseKey(),
      card: BOX.card,
      records: BOX.records,
      dropCaches,
      // A relay that does not answer must not keep its own cure away.
      linked: () => askStatus(context).then(linkedIn, () => []),
      now: () => new Date(clock.wallMs()).toISOString(),
      say: context.out,
    });
  } catch (error) {
    noteFailure(error, clock);
    throw error;
  } finally {
    unmountCard();
  }
}

/** Looked for anew each time: a relay that starts has no socket yet. */
async function askStatus(context: CliContext): Promise<RelayStatus> {
  return fetchStatus(await findApi({}, context));
}

/** An update that had begun to write is told as what it came to; one that was refused before leaves the last word as it was. */
function noteFailure(error: unknown, clock: Clock): void {
  const record = loadUpdate(BOX.records);
  if (record?.state !== 'writing') return;
  const why = error instanceof Error ? error.message : String(error);
  saveUpdate(BOX.records, { ...record, state: 'failed', at: new Date(clock.wallMs()).toISOString(), why });
}

/** Ends well: the release stays. Otherwise the box starts over, into the release that was there before. */
async function judgeTrial(context: CliContext, clock: Clock, patienceMs: number): Promise<number> {
  const { boot } = thisBox();
  const record = loadUpdate(BOX.records);
  const at = () => new Date(clock.wallMs()).toISOString();
  if (!boot.trial) throw new FatalError('no_trial', 'no release is on trial', 'nothing is to be done');
  const why = await judge({
    before: record?.linked ?? [],
    patienceMs,
    steadyMs: STEADY_MS,
    everyMs: ASK_EVERY_MS,
    status: () => askStatus(context).catch(() => undefined),
    nowMs: () => clock.nowMs(),
    sleep: (ms) => sleep(ms, context.signal),
  });
  if (why !== undefined) {
    context.err(`the release on trial did not prove itself: ${why}; the old one returns`);
    if (record) saveUpdate(BOX.records, { ...record, state: 'returned', at: at(), why });
    restart();
    return EXIT.ok;
  }
  mountCard();
  try {
    writeSector(join(BOX.card, 'config.txt'), readFileSync(join(BOX.card, boot.slot, 'config.txt')));
  } finally {
    unmountCard();
  }
  if (record) saveUpdate(BOX.records, { ...record, state: 'kept', at: at() });
  endTrial();
  context.out(`the release on trial has proved itself; slot ${boot.slot} stays`);
  return EXIT.ok;
}
