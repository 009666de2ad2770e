// How long a start takes, beside that of a bare Debian on the same kernel, the same emulated board, one after the other.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { type Lab, ROOT, START_MS, ssh, untilReady, untilSsh } from '../lab.ts';
import { Machine } from '../machine.ts';
import { knownBox } from './boot.ts';
import type { Scenario } from './scenario.ts';

/** image/build.sh: slot a. */
const SLOT_BYTES = 196 * 2 ** 20;
const FINISHED = /Startup finished in ([\d.]+)s \(kernel\) \+ (?:([\d.]+)min )?([\d.]+)s \(userspace\)/;
/** PID 1 says on the console what it says to the journal: the bare one lets nobody in. */
const TALKS = 'systemd.log_target=console systemd.log_level=info';

/** A card whose slot a is Debian as its packages leave it: what an init system, udev and D-Bus need. */
function bareCard(lab: Lab): string {
  const image = lab.path('bare.img');
  if (existsSync(image)) return image;
  const tar = lab.path('bare.tar');
  if (!existsSync(tar)) {
    lab.log('making a bare Debian');
    const packages = ['systemd', 'systemd-sysv', 'udev', 'dbus', 'kmod'];
    execFileSync(join(ROOT, 'image/base.sh'), [tar, lab.built, ...packages], { stdio: 'ignore' });
  }
  const [root, slot] = [lab.path('bare'), lab.path('bare.squashfs')];
  rmSync(root, { recursive: true, force: true });
  rmSync(slot, { force: true });
  execFileSync('mkdir', [root]);
  execFileSync('tar', ['-C', root, '--numeric-owner', '--exclude=./dev/*', '--exclude=./kern', '-xf', tar]);
  execFileSync('cp', ['-a', join(lab.built, 'root/usr/lib/modules'), join(root, 'usr/lib/')]);
  writeFileSync(join(root, 'etc/machine-id'), '0123456789abcdef0123456789abcdef\n');
  const fast = ['-noappend', '-no-progress', '-quiet', '-comp', 'zstd', '-Xcompression-level', '1'];
  execFileSync('mksquashfs', [root, slot, ...fast], { stdio: 'ignore' });
  rmSync(root, { recursive: true });
  execFileSync('cp', ['--sparse=always', lab.image, image]);
  const handle = openSync(image, 'r+');
  writeSync(handle, readFileSync(slot), 0, undefined, SLOT_BYTES);
  closeSync(handle);
  return image;
}

async function seconds(machine: Machine): Promise<{ kernel: number; user: number; wall: number }> {
  const [, kernel, minutes, rest] = await machine.says(FINISHED, START_MS);
  return { kernel: Number(kernel), user: Number(minutes ?? 0) * 60 + Number(rest), wall: machine.elapsedMs / 1000 };
}

export const ratioScenario: Scenario = {
  name: 'ratio',
  what: 'a start up to READY against one of a bare Debian, in the board’s own time',
  async run(lab) {
    const bare = new Machine({ image: bareCard(lab), folder: lab.folder('bare'), append: TALKS });
    await bare.flash();
    bare.start();
    const theirs = await seconds(bare);
    await bare.powerCut();
    const box = await knownBox(lab, 'ratio', { append: TALKS });
    box.start();
    await untilReady(box);
    const ours = await seconds(box);
    await untilSsh(lab, box);
    lab.log((await ssh(lab, box, 'systemd-analyze blame --no-pager | head -15')).trimEnd());
    await box.powerCut();
    const sum = ({ kernel, user }: { kernel: number; user: number }) => kernel + user;
    const words = ({ kernel, user, wall }: typeof ours) =>
      `${kernel} s kernel + ${user} s userspace (${wall.toFixed(0)} s here)`;
    lab.log(`  bare Debian ${words(theirs)}; ours ${words(ours)}: ratio ${(sum(ours) / sum(theirs)).toFixed(2)}`);
    assert.ok(sum(ours) > 0 && sum(theirs) > 0);
  },
};
