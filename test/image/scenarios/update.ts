// Updates: the box always comes back running, and says what happened.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Lab, START_MS, served, ssh, untilLinked, untilReady, untilSsh, updateFile } from '../lab.ts';
import type { Machine } from '../machine.ts';
import { inspect, passes, powerOff, runningBox } from './boot.ts';
import type { Scenario } from './scenario.ts';

/** Where a release lies that is written again and again. */
const INBOX = '/data/next.update';
const AGAIN_MS = 3 * START_MS;

const statusOf = (lab: Lab, box: Machine) => ssh(lab, box, 'waystation update status');

/** Starts the box until it stays up: what a board does when its watchdog, kernel or release starts it over. */
export async function untilSettled(lab: Lab, box: Machine, settled: RegExp): Promise<string> {
  for (const until = performance.now() + AGAIN_MS; performance.now() < until; await sleep(2000)) {
    if (!box.running) {
      lab.log(`  started over, slot ${box.slot}`);
      box.start();
    }
    // The record says cheaply whether there is something to ask for.
    const record = await ssh(lab, box, 'cat /data/update/update.json || test ! -e /data/update/update.json').catch(
      () => 'it starts',
    );
    if (record === 'it starts' || /"state":"(?:writing|trial)"/.test(record)) continue;
    const words = await statusOf(lab, box).catch(() => '');
    if (settled.test(words)) return words.trim();
  }
  throw new Error(`never settled; ${box.tail()}`);
}

async function install(lab: Lab, box: Machine, file: string): Promise<void> {
  // The box starts over while SSH still waits for the command's end.
  const command = (url: string) => ssh(lab, box, `waystation update ${url}`).catch((error: Error) => error.message);
  const words = await served(file, command);
  assert.match(words, /is tried at the next start/);
  await box.off(START_MS);
}

/** The box refuses, says why, and runs on as if nothing had been. */
async function refuses(lab: Lab, box: Machine, file: string, why: RegExp): Promise<void> {
  const words = await served(file, (url) => ssh(lab, box, `waystation update ${url} 2>&1; true`));
  assert.match(words, why);
  assert.equal(box.slot, 'a');
  await untilLinked(lab, box);
  lab.log(`  refused: ${words.trim().split('\n').at(-1)}`);
}

export const updateScenarios: readonly Scenario[] = [
  {
    name: 'update',
    what: 'a good release into slot b and one back into slot a',
    async run(lab) {
      const box = await runningBox(lab, 'update');
      for (const slot of ['b', 'a']) {
        await install(lab, box, updateFile(lab, 'next'));
        assert.equal(box.slot, `${slot} on trial`);
        lab.log(`  ${await untilSettled(lab, box, /Updated from/)}`);
        assert.match(await statusOf(lab, box), new RegExp(`slot ${slot}, release`));
        await passes(lab, box, `IMAGE-TEST-${slot}`);
        lab.log(await inspect(lab, box));
        assert.equal(box.slot, slot, 'what it starts next');
      }
      await powerOff(lab, box);
    },
  },
  {
    name: 'refused',
    what: 'releases that are signed by a stranger, cut short, changed, or for another board',
    async run(lab) {
      const box = await runningBox(lab, 'refused');
      await refuses(lab, box, updateFile(lab, 'stranger'), /not signed by the key this box trusts/);
      await refuses(lab, box, updateFile(lab, 'board'), /toaster-mips/);
      const good = readFileSync(updateFile(lab, 'next'));
      writeFileSync(lab.path('cut.update'), good.subarray(0, good.length / 2));
      await refuses(lab, box, lab.path('cut.update'), /cut short/);
      good[good.length - 1_000_000]! ^= 1;
      writeFileSync(lab.path('cut.update'), good);
      await refuses(lab, box, lab.path('cut.update'), /not what was signed/);
      await powerOff(lab, box);
    },
  },
  {
    name: 'crash',
    what: 'a release whose relay ends at once: the old one returns by itself',
    async run(lab) {
      const box = await runningBox(lab, 'crash');
      await install(lab, box, updateFile(lab, 'crash'));
      lab.log(`  ${await untilSettled(lab, box, /slot a, release[\s\S]*did not prove itself/)}`);
      await untilLinked(lab, box);
      assert.equal(box.slot, 'a');
      await powerOff(lab, box);
    },
  },
  {
    name: 'deaf',
    what: 'a release that runs but does not reach the hub: the old one returns by itself',
    async run(lab) {
      const box = await runningBox(lab, 'deaf');
      await install(lab, box, updateFile(lab, 'deaf'));
      const words = await untilSettled(lab, box, /slot a, release[\s\S]*did not prove itself/);
      lab.log(`  ${words}`);
      assert.match(words, /links that worked before do not work: hq/);
      await untilLinked(lab, box);
      await powerOff(lab, box);
    },
  },
  {
    name: 'update-cuts',
    what: 'power cuts in every step of an update; update-cuts:2,5 for these steps alone',
    async run(lab, argument) {
      const wanted = argument?.split(',').map(Number);
      const source = await runningBox(lab, 'update-cuts-source');
      await served(updateFile(lab, 'next'), (url) => ssh(lab, source, `busybox wget -q -O ${INBOX} ${url}`));
      await source.freeze();
      for (const [index, [step, cut]] of Object.entries(STEPS).entries()) {
        if (wanted && !wanted.includes(index + 1)) continue;
        const { Machine } = await import('../machine.ts');
        const box = new Machine({
          image: lab.image,
          folder: lab.folder('update-cuts'),
          ports: [...source.ports.keys()],
        });
        await box.cloneOf(source);
        box.thaw();
        await untilSsh(lab, box);
        await untilLinked(lab, box);
        await cut(lab, box);
        lab.log(`  power cut ${step}; config.txt has slot ${box.slot}`);
        const words = await untilSettled(lab, box, /Updated from|did not prove itself|was not made|no update/);
        lab.log(`    ${words.replace('\n', '; ')}`);
        await untilLinked(lab, box);
        await box.powerCut();
      }
    },
  },
];

const begin = (lab: Lab, box: Machine) => {
  void ssh(lab, box, `waystation update ${INBOX} >/dev/console 2>&1`).catch(() => {});
};

/** How to get to the moment, and then cut. */
const STEPS: Readonly<Record<string, (lab: Lab, box: Machine) => Promise<void>>> = {
  'before anything is written': async (lab, box) => {
    begin(lab, box);
    await sleep(2000);
    await box.powerCut();
  },
  'while the slot is written': async (lab, box) => {
    begin(lab, box);
    await box.says(/writing 2\.0\.0-next to slot b/, START_MS);
    await sleep(3000 * Math.random());
    await box.powerCut();
  },
  'while it is read back': async (lab, box) => {
    begin(lab, box);
    await box.says(/reading it back/, START_MS);
    await sleep(1000 * Math.random());
    await box.powerCut();
  },
  'when the trial is armed': async (lab, box) => {
    begin(lab, box);
    await box.says(/is tried at the next start/, START_MS);
    await box.powerCut();
  },
  'while the trial starts': async (lab, box) => {
    begin(lab, box);
    await box.off(START_MS);
    box.start();
    await box.says(/is on trial; the boot after this one is slot a again/, START_MS);
    await sleep(15_000 * Math.random());
    await box.powerCut();
  },
  'while the trial is judged': async (lab, box) => {
    begin(lab, box);
    await box.off(START_MS);
    box.start();
    await untilReady(box);
    await sleep(8000);
    await box.powerCut();
  },
  'right after the release was kept': async (lab, box) => {
    begin(lab, box);
    await box.off(START_MS);
    box.start();
    await box.says(/has proved itself/, AGAIN_MS);
    await box.powerCut();
  },
};
