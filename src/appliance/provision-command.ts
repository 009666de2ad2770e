// `waystation provision`: the image runs it at every start, before the relay.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type CliContext, type Command, EXIT } from '../cli/command.ts';
import { BOX, dataState, forgetData, restart, setHostName, setupCode } from './machine.ts';
import { carryOut, type TryOut } from './orders.ts';
import { provision } from './provision.ts';
import type { DataState } from './setup-text.ts';
import { readBoot } from './slots.ts';
import { settleUpdate, updateWords } from './update-record.ts';

/** @param now wall clock, ISO */
export const provisionCommand = (tryOut: TryOut, now: () => string): Command => ({
  name: 'provision',
  usage: '',
  summary: 'On the flashed card: take over what its owner put on the boot partition',
  help: [
    'Run by the image itself at every start. README.txt on the card says what it reads.',
    '  --forget FOLDER   run by the image when the page was told to forget everything: what FOLDER holds says how',
  ].join('\n'),
  async run(args, context) {
    const { values } = parseArgs({ args: [...args], options: { forget: { type: 'string' } } });
    if (values.forget !== undefined) return forgetAll(values.forget, context);
    const boot = readBoot(BOX.boot);
    const record = boot && settleUpdate(BOX.records, boot.slot, boot.trial !== undefined, now());
    const {
      box,
      imported,
      refused,
      restart: again,
    } = provision({
      ...BOX,
      tryOut,
      now: now(),
      forget: forgetData,
      facts: {
        version: context.version,
        data: dataState() as DataState,
        setupCode: setupCode(),
        update: updateWords(record),
      },
    });
    setHostName(box.name);
    for (const words of imported) context.out(`taken over: ${words}`);
    for (const { file, words } of refused) context.err(`not used: ${file}: ${words}`);
    context.out(`this box is ${box.name}`);
    if (again) restart();
    return EXIT.ok;
  },
});

/** The same as with a file on the card. */
function forgetAll(folder: string, context: CliContext): number {
  const purpose = existsSync(join(folder, 'zeroize')) ? 'zeroize' : 'factory-reset';
  const outcome = carryOut(
    { purpose, file: purpose, name: purpose },
    Buffer.alloc(0),
    { ...BOX, forget: forgetData },
    () => {},
  );
  if ('done' in outcome) context.out(outcome.done);
  restart();
  return EXIT.ok;
}
