// What a box that has nothing to do writes to its card and holds in memory.
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Lab, START_MS, ssh, untilReady, untilSsh } from '../lab.ts';
import type { Machine } from '../machine.ts';
import { knownBox, powerOff, runningBox } from './boot.ts';
import type { Scenario } from './scenario.ts';

/** Promised in image/README.md. */
const CARD_BYTES_A_DAY = 1_000_000;
const USED_MB = 200;
const PRIVATE_MB = 45;
const DAY_S = 86_400;

interface Measured {
  /** Written to the whole card since the start. */
  readonly bytes: number;
  /** Of the board's own time. */
  readonly upS: number;
  readonly usedMb: number;
  /** Of the relay's process. */
  readonly privateMb: number;
  readonly residentMb: number;
}

async function measure(lab: Lab, box: Machine): Promise<Measured> {
  const words = await ssh(
    lab,
    box,
    "sync; awk '{print $7}' /sys/block/vda/stat; cut -d' ' -f1 /proc/uptime; free -m | awk 'NR==2 {print $3}'; " +
      "awk '/^(RssAnon|VmRSS)/ {print $2}' /proc/$(systemctl show -p MainPID --value waystation)/status",
  );
  const [sectors, upS, usedMb, residentKb, privateKb] = words.trim().split(/\s+/).map(Number) as number[];
  const mb = (kb: number | undefined) => Math.round(kb! / 102.4) / 10;
  return {
    bytes: sectors! * 512,
    upS: upS!,
    usedMb: usedMb!,
    privateMb: mb(privateKb),
    residentMb: mb(residentKb),
  };
}

function words(before: Measured, after: Measured): string {
  const [bytes, seconds] = [after.bytes - before.bytes, after.upS - before.upS];
  return (
    `  ${(seconds / 60).toFixed(1)} min of the box's time: ${bytes} bytes written (${perDay(before, after).toFixed(0)} a day at that rate); ` +
    `${after.usedMb} MB in use; relay ${after.privateMb} MB private, ${after.residentMb} MB resident`
  );
}

const perDay = (before: Measured, after: Measured) => ((after.bytes - before.bytes) / (after.upS - before.upS)) * DAY_S;

/** What has changed on the card in that many minutes of the box's time. */
const changed = async (lab: Lab, box: Machine, minutes: number) =>
  (await ssh(lab, box, `find /data -xdev -type f -mmin -${Math.ceil(minutes)} -printf '%p %s, '`)).trim();

function judgeMemory({ usedMb, privateMb }: Measured): void {
  assert.ok(usedMb <= USED_MB, `${usedMb} MB in use`);
  assert.ok(privateMb <= PRIVATE_MB, `the relay holds ${privateMb} MB`);
}

export const idleScenarios: readonly Scenario[] = [
  {
    name: 'idle',
    what: 'what a box that is linked and has nothing to do writes to its card and holds in memory, idle:MINUTES (default 10)',
    async run(lab, argument) {
      const minutes = Number(argument ?? 10);
      const box = await runningBox(lab, 'idle');
      await sleep(60_000);
      const first = await measure(lab, box);
      let last = first;
      for (const until = performance.now() + minutes * 60_000; performance.now() < until; ) {
        await sleep(Math.min(5 * 60_000, until - performance.now()));
        const now = await measure(lab, box);
        lab.log(words(last, now));
        lab.log(`    ${await changed(lab, box, (now.upS - last.upS) / 60)}`);
        last = now;
      }
      lab.log(words(first, last));
      judgeMemory(last);
      await powerOff(lab, box);
    },
  },
  {
    name: 'day',
    what: 'what a box without peers writes to its card in day:HOURS (default 24) of its own time, which jumps over all idleness',
    async run(lab, argument) {
      const hours = Number(argument ?? 24);
      const box = await knownBox(lab, 'day', { hasty: true });
      await lab.hub.stop();
      box.start();
      await untilReady(box);
      await untilSsh(lab, box);
      await ssh(lab, box, 'sleep 1200');
      const first = await measure(lab, box);
      let last = first;
      for (const until = performance.now() + 3 * START_MS; last.upS - first.upS < hours * 3600; ) {
        assert.ok(performance.now() < until, `only ${(last.upS - first.upS).toFixed(0)} s of the box's time went by`);
        await ssh(lab, box, 'sleep 1800');
        last = await measure(lab, box);
        lab.log(words(first, last));
      }
      lab.log(`    ${await changed(lab, box, (last.upS - first.upS) / 60)}`);
      assert.ok(perDay(first, last) <= CARD_BYTES_A_DAY, `${perDay(first, last).toFixed(0)} bytes a day`);
      judgeMemory(last);
      await powerOff(lab, box);
    },
  },
];
