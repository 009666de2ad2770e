// What the machine says of itself: temperature, power, storage, memory. Read from /sys and the file system when asked; what a machine
// does not have is null.
import { existsSync, readdirSync, readFileSync, realpathSync, statfsSync, statSync } from 'node:fs';
import { freemem, networkInterfaces, totalmem, uptime } from 'node:os';
import { basename, dirname } from 'node:path';

export interface Host {
  /** Of the processor, degrees Celsius. */
  readonly temperatureC: number | null;
  /** The supply is or was too weak since the board started; null: this machine does not measure it. */
  readonly underVoltage: boolean | null;
  /** Of the file system that holds our state, bytes. */
  readonly storage: { readonly freeBytes: number; readonly totalBytes: number } | null;
  /** What the disk under it bears; null: it cannot be told. */
  readonly wear: Wear | null;
}

/** A card that is written to too much dies. */
export interface Wear {
  /** Written to the file system since it was made, bytes; null: only ext4 counts that. */
  readonly writtenBytes: number | null;
  /** Written to the disk a day, bytes, on the mean since the machine started; null in its first hour. */
  readonly bytesPerDay: number | null;
  /** Of its life as its maker reckons it, percent in tens; null: SD cards do not say, eMMC does. */
  readonly lifeUsedPercent: number | null;
}

/** Where the time comes from: `ntp`: systemd-timesyncd has set it since the start; `rtc`: a battery clock did when the machine started. */
export type ClockSource = 'ntp' | 'rtc';

const SYNCHRONIZED = '/run/systemd/timesync/synchronized';
const RTC = '/sys/class/rtc';
const THERMAL = '/sys/class/thermal';
const HWMON = '/sys/class/hwmon';
const BLOCK = '/sys/dev/block';
const SECTOR_BYTES = 512;
const HOUR_S = 3_600;

/** What programs may still take, and all there is. Linux counts what caches would give back. */
export function readMemory(): { readonly availableBytes: number; readonly totalBytes: number } {
  const kilobytes = Number(/^MemAvailable:\s+(\d+) kB/m.exec(text('/proc/meminfo') ?? '')?.[1]);
  return { availableBytes: Number.isNaN(kilobytes) ? freemem() : kilobytes * 1024, totalBytes: totalmem() };
}

/** `folder`: where our state is kept. Never throws. */
export function readHost(folder: string): Host {
  return { temperatureC: temperature(), underVoltage: underVoltage(), storage: storage(folder), wear: wear(folder) };
}

function temperature(): number | null {
  for (const zone of entries(THERMAL)) {
    const milli = Number(text(`${THERMAL}/${zone}/temp`));
    if (zone.startsWith('thermal_zone') && milli > 0 && milli < 200_000) return Math.round(milli / 100) / 10;
  }
  return null;
}

/** The Raspberry Pi's driver raises an alarm of its voltage sensor. */
function underVoltage(): boolean | null {
  for (const sensor of entries(HWMON)) {
    if (text(`${HWMON}/${sensor}/name`) !== 'rpi_volt') continue;
    const alarm = text(`${HWMON}/${sensor}/in0_lcrit_alarm`);
    if (alarm !== undefined) return alarm === '1';
  }
  return null;
}

function storage(folder: string): Host['storage'] {
  try {
    const { bavail, blocks, bsize } = statfsSync(folder);
    return { freeBytes: bavail * bsize, totalBytes: blocks * bsize };
  } catch {
    return null; // the folder is not there yet, or cannot be asked
  }
}

function wear(folder: string): Wear | null {
  const part = blockDevice(folder);
  if (part === undefined) return null;
  const disk = text(`${part}/partition`) === undefined ? part : dirname(part);
  const sectors = Number(text(`${disk}/stat`)?.split(/\s+/)[6]);
  const upS = uptime();
  const kilobytes = Number(text(`/sys/fs/ext4/${basename(part)}/lifetime_write_kbytes`));
  return {
    writtenBytes: kilobytes > 0 ? kilobytes * 1024 : null,
    bytesPerDay: sectors >= 0 && upS >= HOUR_S ? Math.round((sectors * SECTOR_BYTES * 24 * HOUR_S) / upS) : null,
    lifeUsedPercent: lifeUsed(text(`${disk}/device/life_time`)),
  };
}

/** JEDEC eMMC 5.0, DEVICE_LIFE_TIME_EST: two kinds of memory in steps of 10 %, `0x01 0x02`; 0: not told. */
function lifeUsed(said: string | undefined): number | null {
  const steps = (said ?? '').split(/\s+/).map(Number);
  const most = Math.max(...steps);
  return most > 0 && most <= 11 ? most * 10 : null;
}

/** Its folder in /sys; undefined: the file system is on none, or on something that stands in for one. */
function blockDevice(folder: string): string | undefined {
  try {
    const { dev } = statSync(folder);
    // As makedev(3) of glibc packs it.
    const major = Math.floor(dev / 256) & 0xfff;
    const minor = (dev & 0xff) | (Math.floor(dev / 4096) & 0xfff00);
    return realpathSync(`${BLOCK}/${major}:${minor}`);
  } catch {
    return undefined;
  }
}

function entries(folder: string): readonly string[] {
  try {
    return readdirSync(folder).sort();
  } catch {
    return []; // no such part of this machine
  }
}

function text(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return undefined; // no such sensor, or it cannot be read now
  }
}

/** Null: this machine does not show it; other time daemons tell only root. `root`: what stands before the paths. */
export function readClockSource(root = ''): ClockSource | null {
  // Touched each time that a server was heard (systemd-timesyncd.service(8)); gone with the restart of the machine.
  if (existsSync(`${root}${SYNCHRONIZED}`)) return 'ntp';
  const clocks = entries(`${root}${RTC}`);
  return clocks.some((one) => text(`${root}${RTC}/${one}/hctosys`) === '1') ? 'rtc' : null;
}

/** Every name and address this box can be reached by, as far as it knows. */
export function ownHosts(name: string): readonly string[] {
  const addresses = Object.values(networkInterfaces())
    .flatMap((list) => list ?? [])
    .filter(({ address }) => !address.startsWith('fe80:'))
    .map(({ address }) => address);
  const names = /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/i.test(name) ? [name, `${name}.local`] : [];
  return [...new Set(['localhost', ...names, ...addresses])];
}
