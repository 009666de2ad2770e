// Power cuts at random moments: while the box starts, for the first time or again, several in a row like an engine that is cranked; while
// it relays and writes; while an update is written and tried. After each the box must start, be the same box and federate again, and
// nothing that it was given to pass on may be lost.
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  boxStatus,
  freshBox,
  type Lab,
  ownConfig,
  provisionCard,
  START_MS,
  served,
  ssh,
  untilLinked,
  untilReady,
  untilSsh,
  updateFile,
} from '../lab.ts';
import type { Machine } from '../machine.ts';
import { Witness } from '../witness.ts';
import { portalPinOfKnown, runningBox } from './boot.ts';
import type { Scenario } from './scenario.ts';

const DEFAULT_CUTS = 20;
/** Every so manieth round is on a card fresh from the flashing program, every other has an update under way. */
const FRESH_EVERY = 7;
const UPDATE_EVERY = 5;
/** How likely a start is cut off, too. */
const AGAIN = 0.7;
const INBOX = '/data/next.update';

class Cuts {
  readonly wanted: number;
  readonly done = { relaying: 0, starting: 0, updating: 0, 'first start': 0 };
  readonly #lab: Lab;
  /** As long as the last start took: how long that is depends on the host. */
  #bootMs = 60_000;

  constructor(lab: Lab, wanted: number) {
    this.#lab = lab;
    this.wanted = wanted;
  }

  get count(): number {
    return Object.values(this.done).reduce((sum, one) => sum + one, 0);
  }

  /** After at most so long. */
  async soon(box: Machine, withinMs: number, what: keyof Cuts['done']): Promise<void> {
    await sleep(Math.random() * withinMs);
    await box.powerCut();
    this.done[what] += 1;
  }

  /** Starts it, mostly in vain. */
  async cranked(box: Machine, what: keyof Cuts['done'], again = AGAIN): Promise<void> {
    while (this.count < this.wanted && Math.random() < again) {
      box.start();
      await this.soon(box, this.#bootMs, what);
    }
    // A trial that was under way may start itself over once.
    for (;;) {
      if (!box.running) box.start();
      try {
        this.#bootMs = await untilReady(box);
        return;
      } catch (error) {
        if (box.running) throw error;
        this.#lab.log('  started over by itself');
      }
    }
  }
}

export const cutScenario: Scenario = {
  name: 'cuts',
  what: 'power cuts at random moments, cuts:N of them',
  async run(lab, argument) {
    const cuts = new Cuts(lab, Number(argument ?? DEFAULT_CUTS));
    // With a clock, for the messages of a test that goes on for hours while the box starts at a third of our pace.
    const box = await runningBox(lab, 'cuts', { clock: 'utc' });
    const { id } = await boxStatus(lab, box);
    const witness = await Witness.create(portalPinOfKnown(lab));
    try {
      await served(updateFile(lab, 'next'), (url) => ssh(lab, box, `busybox wget -q -O ${INBOX} ${url}`));
      const config = '/etc/waystation/waystation.yaml';
      await ssh(lab, box, `cat >${config} && systemctl reload waystation`, ownConfig(lab, witness.peers));
      await witness.untilJoined();
      for (let round = 1; cuts.count < cuts.wanted; round += 1) {
        if (round % FRESH_EVERY === 0) await onFreshCard(lab, cuts);
        if (cuts.count >= cuts.wanted) break;
        const updating = round % UPDATE_EVERY === 0;
        witness.door(updating || Math.random() < 0.5);
        if (updating) {
          await untilSsh(lab, box);
          void ssh(lab, box, `waystation update ${INBOX} >/dev/console 2>&1`).catch(() => {});
        }
        await cuts.soon(box, updating ? 60_000 : 10_000, updating ? 'updating' : 'relaying');
        await cuts.cranked(box, updating ? 'updating' : 'starting');
        // The hub knows the box by its key.
        for (const until = performance.now() + START_MS; !(await lab.hub.linked()); await sleep(500))
          assert.ok(performance.now() < until, 'the link to the hub is not up');
        if (updating) await untilSsh(lab, box);
        lab.log(`  ${cuts.count} of ${cuts.wanted} cuts: ${JSON.stringify(cuts.done)}; slot ${box.slot}`);
      }
      witness.door(true);
      await untilSsh(lab, box);
      await untilLinked(lab, box);
      assert.equal((await boxStatus(lab, box)).id, id, 'it is another box');
      assert.doesNotMatch(await ssh(lab, box, 'cat /run/waystation-boot/data'), /ram/);
      lab.log(`  ${await witness.judge()}`);
    } finally {
      await witness.stop();
    }
    await box.powerCut();
    lab.log(`${cuts.count} power cuts: ${JSON.stringify(cuts.done)}, no failed start, the same identity`);
  },
};

/** A card that is cut off while it is started for the first time. */
async function onFreshCard(lab: Lab, cuts: Cuts): Promise<void> {
  const fresh = await freshBox(lab, 'cuts-fresh');
  provisionCard(lab, fresh);
  await cuts.cranked(fresh, 'first start', 0.8);
  await fresh.powerCut();
  assert.match(fresh.take('SETUP.txt').toString(), /this box is waystation-/);
  assert.match(fresh.take('IMPORTED.txt').toString(), /waystation\.yaml/);
}
