// A box in a folder, for cuts.ts to kill: at each start it settles what was interrupted and provisions itself, as a box does, and then takes
// an update into the slot that does not run. Arguments: folder.
import { createPublicKey } from 'node:crypto';
import { createReadStream, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { provision } from '../../src/appliance/provision.ts';
import { type Slot, writeSector } from '../../src/appliance/slots.ts';
import { update } from '../../src/appliance/update.ts';
import { loadUpdate, saveUpdate, settleUpdate } from '../../src/appliance/update-record.ts';
import { trustOf } from '../../src/relay.ts';

const folder = process.argv[2]!;
const path = (...names: string[]) => join(folder, ...names);
const now = () => new Date().toISOString();

/** As image/initramfs/init: which slot starts, and a trial is taken back at once. */
function firmware(): { slot: Slot; trial: Slot | undefined } {
  const text = readFileSync(path('card/config.txt'), 'latin1');
  const slot = /^os_prefix=([ab])\/$/m.exec(text)![1] as Slot;
  const trial = /^# trial, then back to ([ab])$/m.exec(text)?.[1] as Slot | undefined;
  if (trial) writeSector(path('card/config.txt'), readFileSync(path('card', trial, 'config.txt')));
  return { slot, trial };
}

async function start(): Promise<void> {
  const boot = { ...firmware(), partitions: path('disk') };
  settleUpdate(path('data/update'), boot.slot, boot.trial !== undefined, now());
  // A person puts the same configuration on the card before every start.
  if (!existsSync(path('card/waystation.yaml')))
    writeFileSync(path('card/waystation.yaml'), readFileSync(path('owner.yaml')));
  writeFileSync(path('card/portal.key'), 'k'.repeat(40));
  provision({
    card: path('card'),
    data: path('data'),
    run: path('run'),
    etc: path('data/etc'),
    firstConfig: path('owner.yaml'),
    tryOut: trustOf,
    now: now(),
    forget: () => {},
    facts: { version: '1', data: 'good', setupCode: undefined, update: undefined },
  });
  if (boot.trial) {
    writeSector(path('card/config.txt'), readFileSync(path('card', boot.slot, 'config.txt')));
    saveUpdate(path('data/update'), { ...loadUpdate(path('data/update'))!, state: 'kept', at: now() });
    return;
  }
  await update(createReadStream(path('next.update')), {
    boot,
    board: 'board-1',
    slotBytes: 4_000_000,
    version: '1',
    key: createPublicKey(readFileSync(path('release.pub'))),
    card: path('card'),
    records: path('data/update'),
    dropCaches: () => {},
    linked: async () => [],
    now,
    say: () => {},
  });
}

process.stdout.write('up\n'); // from here on it may be killed
start().then(() => process.stdout.write('done\n'));
