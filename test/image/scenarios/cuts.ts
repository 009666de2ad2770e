// Power cuts at random moments, on one card that is never made anew: while it starts for the first time, while it relays, while an update
// is written and tried. After each the box must start, be the same box, and federate again.
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  boxStatus,
  freshBox,
  provisionCard,
  served,
  ssh,
  untilLinked,
  untilReady,
  untilSsh,
  updateFile,
} from '../lab.ts';
import { runningBox } from './boot.ts';
import type { Scenario } from './scenario.ts';

const DEFAULT_CUTS = 20;
/** Every so manieth round begins with a card fresh from the flashing program, every other with an update under way. */
const FRESH_EVERY = 10;
const UPDATE_EVERY = 5;
const INBOX = '/data/next.update';

export const cutScenario: Scenario = {
  name: 'cuts',
  what: 'power cuts at random moments, cuts:N of them',
  async run(lab, argument) {
    const cuts = Number(argument ?? DEFAULT_CUTS);
    const box = await runningBox(lab, 'cuts');
    const { id } = await boxStatus(lab, box);
    await served(updateFile(lab, 'next'), (url) => ssh(lab, box, `busybox wget -q -O ${INBOX} ${url}`));
    // As long as the last start took: how long that is depends on the host.
    let bootMs = 120_000;
    const done = { starting: 0, relaying: 0, updating: 0, first: 0 };
    for (let cut = 1; cut <= cuts; cut += 1) {
      if (cut % FRESH_EVERY === 0) {
        const fresh = await freshBox(lab, 'cuts-fresh');
        provisionCard(lab, fresh);
        fresh.start();
        await sleep(Math.random() * bootMs);
        await fresh.powerCut();
        fresh.start();
        await untilReady(fresh);
        await fresh.powerCut();
        done.first += 1;
        assert.match(fresh.take('SETUP.txt').toString(), /this box is waystation-/);
        assert.match(fresh.take('IMPORTED.txt').toString(), /waystation\.yaml/);
        continue;
      }
      // The box runs here. Something that writes is always under way.
      const updating = cut % UPDATE_EVERY === 0;
      if (updating) void ssh(lab, box, `waystation update ${INBOX}`).catch(() => {});
      else
        void ssh(
          lab,
          box,
          'while :; do waystation inject --test >/dev/null 2>&1; echo x >>/data/waystation/noise; sync; done',
        ).catch(() => {});
      await sleep(Math.random() * (updating ? bootMs : 8_000));
      await box.powerCut();
      done[updating ? 'updating' : 'relaying'] += 1;
      if (Math.random() < 0.5 && cut < cuts) {
        cut += 1;
        box.start();
        await sleep(Math.random() * bootMs);
        await box.powerCut();
        done.starting += 1;
      }
      for (;;) {
        // A trial that was under way may start itself over once.
        if (!box.running) box.start();
        bootMs = await untilReady(box).catch((error: unknown) => {
          if (box.running) throw error;
          return bootMs;
        });
        if (!box.running) continue;
        await untilSsh(lab, box);
        break;
      }
      await untilLinked(lab, box);
      assert.equal((await boxStatus(lab, box)).id, id, 'it is another box');
      assert.doesNotMatch(await ssh(lab, box, 'cat /run/waystation-boot/data'), /ram/);
      lab.log(`  ${cut} of ${cuts} cuts; ${JSON.stringify(done)}; slot ${box.slot}`);
    }
    await box.powerCut();
    lab.log(`${cuts} power cuts: ${JSON.stringify(done)}, no failed start, the same identity`);
  },
};
