// Boxes that start under bad conditions: each ends in one that relays, or says in words what keeps it from doing so.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  boxStatus,
  freshBox,
  type Lab,
  provisionCard,
  START_MS,
  secondsOff,
  ssh,
  untilLinked,
  untilReady,
  untilSsh,
} from '../lab.ts';
import type { Machine } from '../machine.ts';
import { inspect, knownBox, powerOff, runningBox } from './boot.ts';
import type { Scenario } from './scenario.ts';

const setup = (box: Machine) => box.take('SETUP.txt').toString().replace(/\r/g, '');

/** Start of the fourth partition, from the table of the disk. */
function dataStart(box: Machine): number {
  const sector = Buffer.alloc(512);
  const handle = openSync(box.disk, 'r');
  readSync(handle, sector, 0, 512, 0);
  closeSync(handle);
  return sector.readUInt32LE(446 + 3 * 16 + 8) * 512;
}

function overwrite(box: Machine, at: number, bytes: Buffer): void {
  const handle = openSync(box.disk, 'r+');
  writeSync(handle, bytes, 0, bytes.length, at);
  closeSync(handle);
}

/** So long a box with a peer may take to have the time. */
const LEAD_MS = 10 * 60_000;

/** Of the board's own time, which a busy host makes slow. */
const upS = async (lab: Lab, box: Machine) => Number.parseFloat(await ssh(lab, box, 'cat /proc/uptime'));

const idOf = async (lab: Lab, box: Machine) => (await boxStatus(lab, box)).id;

export const faultScenarios: readonly Scenario[] = [
  {
    name: 'bare',
    what: 'a card with nothing on it: an identity, a name, a Wi-Fi, the page on every address, the setup code in SETUP.txt',
    async run(lab) {
      const box = await freshBox(lab, 'bare', { ports: [8080, 8443] });
      box.start();
      lab.log(`READY after ${((await untilReady(box)) / 1000).toFixed(1)} s, first start`);
      const page = await fetch(`http://127.0.0.1:${box.ports.get(8080)}/`);
      const html = await page.text();
      assert.equal(page.status, 200);
      assert.match(html, /<html/);
      lab.log(
        `  the page, through a forwarded port: ${html.length} bytes, "${/<title>(.*?)<\/title>/.exec(html)?.[1]}"`,
      );
      for (let tries = 0; tries < 60 && !/setup code/.test(setup(box)); tries += 1) await sleep(2000);
      await box.powerCut();
      assert.match(setup(box), /setup code {2}[2-9A-Z]{4}-[2-9A-Z]{4}-[2-9A-Z]{4}/);
      assert.match(setup(box), /this box is waystation-[0-9a-f]{4}\n[\s\S]*passphrase {2}[a-z0-9-]{19}\n/);
    },
  },
  {
    name: 'offline',
    what: 'no network at all',
    async run(lab) {
      const box = await freshBox(lab, 'offline', { offline: true });
      provisionCard(lab, box);
      box.start();
      lab.log(`READY after ${((await untilReady(box)) / 1000).toFixed(1)} s`);
      await box.powerCut();
      assert.match(box.take('IMPORTED.txt').toString(), /waystation\.yaml/);
    },
  },
  {
    name: 'clock',
    what: 'a clock that is 25 years behind, and one that is 11 years ahead',
    async run(lab) {
      for (const clock of ['2001-01-01T00:00:00', '2037-06-01T00:00:00']) {
        const box = await knownBox(lab, 'clock', { clock });
        box.start();
        await untilReady(box);
        await untilSsh(lab, box);
        const first = (await ssh(lab, box, 'date -u +%FT%TZ')).trim();
        assert.ok(Number(first.slice(0, 4)) >= 2026, 'never earlier than the release');
        const [fromMs, fromS] = [performance.now(), await upS(lab, box)];
        let offS = Number.NaN;
        for (const until = fromMs + LEAD_MS; performance.now() < until && !(Math.abs(offS) < 60); ) {
          await sleep(20_000); // asking costs the box time, literally
          offS = await secondsOff(lab, box);
        }
        const pace = ((await upS(lab, box)) - fromS) / ((performance.now() - fromMs) / 1000);
        if (!(Math.abs(offS) < 60) && pace < 0.9) {
          lab.log(
            `  board's clock ${clock}: the box began with ${first}; not judged further, a board at ${pace.toFixed(2)} of real time follows no clock of ours`,
          );
          await box.powerCut();
          continue;
        }
        assert.ok(Math.abs(offS) < 60, `${offS} s off, with a peer that knows the time`);
        await ssh(lab, box, 'systemctl start waystation-clock-source.service');
        assert.equal((await boxStatus(lab, box)).appliance?.clock, 'by a peer relay');
        await untilLinked(lab, box);
        lab.log(
          `  board's clock ${clock}: the box began with ${first}, then had it from its peer, ${offS.toFixed(0)} s off`,
        );
        await box.powerCut();
      }
    },
  },
  {
    name: 'full',
    what: 'a data partition without a free byte',
    async run(lab) {
      const box = await runningBox(lab, 'full');
      const id = await idOf(lab, box);
      await ssh(lab, box, 'cat /dev/zero > /data/waystation/filler 2>/dev/null; sync; df /data | tail -1');
      await box.powerCut();
      box.start();
      await untilReady(box);
      await untilSsh(lab, box);
      assert.equal(await idOf(lab, box), id);
      lab.log(await ssh(lab, box, 'df -h /data | tail -1; systemctl is-active waystation'));
      await box.powerCut();
      assert.match(setup(box), /data partition was full/);
    },
  },
  {
    name: 'corrupt',
    what: 'a data partition with damage here and there, without superblock, and wiped whole; then a factory reset',
    async run(lab) {
      const box = await runningBox(lab, 'corrupt');
      const id = await idOf(lab, box);
      await powerOff(lab, box);
      const start = dataStart(box);

      overwrite(box, start, Buffer.alloc(4096));
      box.start();
      await untilReady(box);
      await untilSsh(lab, box);
      assert.equal(await idOf(lab, box), id, 'a lost superblock costs nothing');
      await powerOff(lab, box);
      assert.match(setup(box), /damaged and has been mended/);

      for (let count = 0; count < 40; count += 1) overwrite(box, start + (count * 997 + 3) * 4096, randomBytes(4096));
      box.start();
      await untilReady(box);
      await box.powerCut();
      lab.log(`40 blocks of noise: ${/What needs attention:[\s\S]*/.exec(setup(box))?.[0] ?? 'nothing to say'}`);

      overwrite(box, start, Buffer.alloc(400 * 2 ** 20));
      box.start();
      await untilReady(box);
      await box.powerCut();
      assert.match(setup(box), /DATA PARTITION CANNOT BE USED/);

      box.put('factory-reset.txt', '');
      provisionCard(lab, box);
      box.start();
      await box.off(START_MS); // it starts over by itself
      box.start();
      await untilReady(box);
      await untilSsh(lab, box);
      assert.notEqual(await idOf(lab, box), id);
      await inspect(lab, box);
      await powerOff(lab, box);
      assert.doesNotMatch(setup(box), /CANNOT BE USED/);
      assert.ok(!box.list().includes('factory-reset.txt'));
    },
  },
  {
    name: 'typing',
    what: 'broken YAML, twins, a file of 100 MB: explained beside them, and the box relays as before',
    async run(lab) {
      const box = await knownBox(lab, 'typing');
      box.put('waystation.yaml', '\ufeffversion: 1\r\nlinks:\r\n  - { name: phones, kind: cto }\r\n');
      box.put('huge.pem', Buffer.alloc(100 * 2 ** 20, 0x41));
      box.put('wifi.txt', 'ssid=one\r\n');
      box.put('WLAN.TXT', 'ssid=two\r\n');
      box.start();
      await untilReady(box);
      await untilSsh(lab, box);
      assert.deepEqual(
        (await boxStatus(lab, box)).links.map(({ name }) => name),
        ['phones', 'hq', 'mates'],
      );
      await powerOff(lab, box);
      assert.match(box.take('waystation.yaml.error.txt').toString(), /kind.*cot/s);
      assert.match(box.take('huge.pem.error.txt').toString(), /100 MB/);
      assert.match(box.take('wifi.txt.error.txt').toString(), /more than one file/);
    },
  },
];
