// A GPS receiver at the box's USB. Its seconds are those of the emulated board, which a busy host makes slower than ours: it is a program on
// the box itself, behind a second USB port that is wired to the first.
import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { boxStatus, START_MS, ssh } from '../lab.ts';
import { runningBox } from './boot.ts';
import type { Scenario } from './scenario.ts';

/** What the receiver says: later than anything else the box knows. */
const AHEAD_S = 2 * 3600;
const OFF_S = 5;

/** For bash on the box: what receivers say each second, at $1 seconds after the board's start. */
const RECEIVER = String.raw`
sentence() { local sum=0 i; for ((i = 0; i < ${'$'}{#1}; i++)); do printf -v c %d "'${'$'}{1:i:1}"; ((sum ^= c)); done; printf '$%s*%02X\r\n' "$1" $sum; }
stty -F /dev/ttyUSB1 raw -echo
exec >/dev/ttyUSB1
while :; do
  read -r up _ </proc/uptime
  now=$(($1 + ${'$'}{up%.*}))
  TZ=UTC printf -v clock '%(%H%M%S)T.00' $now
  TZ=UTC printf -v date '%(%d%m%y)T' $now
  sentence "GPRMC,$clock,A,4807.0380,N,01131.0000,E,0.0,0.0,$date,,,A"
  sentence "GPGGA,$clock,4807.0380,N,01131.0000,E,1,08,0.9,545.4,M,46.9,M,,"
  sentence "GPGSA,A,3,04,05,09,12,24,25,29,31,,,,,2.5,1.3,2.1"
  sleep 1
done`;

export const gpsScenario: Scenario = {
  name: 'gps',
  what: 'a GPS receiver on USB says that it is two hours later than anybody else does, and is believed',
  async run(lab) {
    const box = await runningBox(lab, 'gps');
    const path = (name: string) => join(lab.folder('gps'), name);
    rmSync(path('cable'), { force: true }); // of a run that was broken off
    const wires: Socket[] = [];
    // What goes in at one of them comes out at the other.
    const cable = createServer((socket) => {
      wires.push(socket.on('error', () => {}));
      if (wires.length === 2) wires[0]!.pipe(wires[1]!).pipe(wires[0]!);
    }).listen(path('cable'));
    try {
      for (const end of ['receiver', 'antenna']) {
        await box.monitor(`chardev-add socket,id=${end},path=${path('cable')}`);
        await box.monitor(`device_add usb-serial,chardev=${end}`);
        // The first one is /dev/ttyUSB0.
        const device = `/dev/ttyUSB${end === 'receiver' ? 0 : 1}`;
        await ssh(lab, box, `until test -e ${device}; do sleep 1; done`);
      }
      const zeroS = Math.round(Date.now() / 1000) + AHEAD_S;
      await ssh(lab, box, 'cat >/run/receiver', RECEIVER);
      await ssh(lab, box, `setsid bash /run/receiver ${zeroS} </dev/null >/dev/null 2>&1 &`);
      // Not every chip is known for a receiver by udev.
      await ssh(lab, box, 'gpsdctl add /dev/ttyUSB0');
      let seen = '';
      for (const until = performance.now() + START_MS; performance.now() < until && !/GPS/.test(seen); ) {
        await sleep(5000);
        seen = await ssh(lab, box, 'chronyc -c tracking');
      }
      assert.match(seen, /,GPS,/);
      const [boxS, upS] = (await ssh(lab, box, "date +%s; cut -d' ' -f1 /proc/uptime")).split('\n').map(Number);
      const offS = boxS! - (zeroS + upS!);
      assert.ok(Math.abs(offS) < OFF_S, `${offS} s off`);
      await ssh(lab, box, 'systemctl start waystation-clock-source.service');
      assert.equal((await boxStatus(lab, box)).appliance?.clock, 'by GPS');
      lab.log(`  ${seen.trim()}: ${offS.toFixed(1)} s off, "by GPS"`);
    } finally {
      cable.close();
      await box.powerCut();
    }
  },
};
