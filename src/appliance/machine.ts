// The few things the appliance asks of the system around it, by the scripts and tools of the image. Used as root, on the box only.
import { execFileSync } from 'node:child_process';
import { createPublicKey, type KeyObject } from 'node:crypto';
import { rmSync, writeFileSync } from 'node:fs';
import { FatalError } from '../lib/errors.ts';
import { ApplianceDesk } from './desk.ts';
import { readIfThere } from './files.ts';
import { type Boot, readBoot } from './slots.ts';

/** Where things are on the box (overlays/image, image/build.sh). */
export const BOX = {
  card: '/boot/card',
  data: '/data',
  etc: '/etc/waystation',
  run: '/run/waystation',
  boot: '/run/waystation-boot',
  records: '/data/update',
  firstConfig: '/usr/share/waystation/first.yaml',
  image: '/usr/share/waystation/image.json',
  releaseKey: '/usr/share/waystation/release.pub',
} as const;

const SCRIPTS = '/usr/lib/waystation';

/** What image/build.sh says about the image that runs. */
export interface ImageFacts {
  readonly version: string;
  readonly board: string;
  readonly slotBytes: number;
}

/** Throws FatalError on a machine that was not started from the image. */
export function thisBox(): { readonly boot: Boot; readonly image: ImageFacts } {
  const boot = readBoot(BOX.boot);
  const image = readIfThere(BOX.image);
  if (boot && image) return { boot, image: JSON.parse(image.toString()) as ImageFacts };
  throw new FatalError(
    'no_appliance',
    'this machine was not started from the Waystation image',
    'a package is updated by its package manager, the image by this command on the box itself',
  );
}

/** For the relay on a box; undefined: this machine was not started from the image. */
export function openDesk(data: string): ApplianceDesk | undefined {
  const image = readBoot(BOX.boot) && readIfThere(BOX.image);
  if (!image) return undefined;
  const { board, slotBytes, version } = JSON.parse(image.toString()) as ImageFacts;
  return new ApplianceDesk({ ...BOX, data }, { board, slotBytes, version, key: releaseKey() });
}

/** The release was kept: this boot is one like any other, and may be updated again. */
export function endTrial(): void {
  rmSync(`${BOX.boot}/trial`, { force: true });
}

export function releaseKey(): KeyObject | undefined {
  const pem = readIfThere(BOX.releaseKey);
  return pem && createPublicKey(pem);
}

export function mountCard(): void {
  tool(`${SCRIPTS}/card`, 'mount');
}

export function unmountCard(): void {
  tool(`${SCRIPTS}/card`, 'unmount');
}

export function forgetData(): void {
  tool(`${SCRIPTS}/data-partition`, 'forget');
}

/** Of a device, and of the mounted card: contents, names and lengths. */
export function dropCaches(device: string): void {
  tool('sync', '-f', BOX.card);
  tool('blockdev', '--flushbufs', device);
  writeFileSync('/proc/sys/vm/drop_caches', '3');
}

export function setHostName(name: string): void {
  writeFileSync('/proc/sys/kernel/hostname', name);
}

export function restart(): void {
  tool('systemctl', '--no-block', 'reboot');
}

/** The page's setup code (api/access/setup-code.ts); undefined: not made yet, or used. */
export function setupCode(): string | undefined {
  return readIfThere(`${BOX.data}/waystation/setup-code`)?.toString('utf8', 0, 40).trim() || undefined;
}

/** What the data partition's script found. */
export function dataState(): string {
  return readIfThere(`${BOX.boot}/data`)?.toString().trim() ?? 'good';
}

function tool(command: string, ...args: string[]): void {
  try {
    execFileSync(command, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  } catch (error) {
    const words = String((error as { stderr?: Buffer }).stderr ?? '').trim() || (error as Error).message;
    throw new FatalError(
      'box_tool',
      `${command} ${args.join(' ')}: ${words}`,
      'is this the box, and are you root?',
      error,
    );
  }
}
