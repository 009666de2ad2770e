// What makes this box different from every other, and how phones find it: its name and the passphrase of its own Wi-Fi, made by itself
// at first boot. No two boxes share a secret, and none has one before that.
import { randomBytes, randomInt } from 'node:crypto';
import { join } from 'node:path';
import { readIfThere, replaceFile } from './files.ts';

export interface Box {
  /** waystation-xxxx: host name, Wi-Fi name, and with .local the address on every network with mDNS. */
  readonly name: string;
  readonly wifiPassphrase: string;
}

/** Letters and digits that are not mistaken for each other when read from a screen or heard over a radio. */
const LEGIBLE = 'abcdefghjkmnpqrstuvwxyz23456789';
/** 31^16: about 79 bits. */
const PASSPHRASE_GROUPS = 4;

/** The box as it was made at first boot; makes it then. */
export function openBox(dataFolder: string): Box {
  const path = join(dataFolder, 'box.json');
  const known = parse(readIfThere(path));
  if (known) return known;
  const box: Box = {
    name: `waystation-${randomBytes(2).toString('hex')}`,
    wifiPassphrase: Array.from({ length: PASSPHRASE_GROUPS }, () => word(4)).join('-'),
  };
  replaceFile(path, `${JSON.stringify(box)}\n`);
  return box;
}

function word(length: number): string {
  return Array.from({ length }, () => LEGIBLE[randomInt(LEGIBLE.length)]).join('');
}

function parse(bytes: Buffer | undefined): Box | undefined {
  try {
    const { name, wifiPassphrase } = JSON.parse(String(bytes)) as Partial<Box>;
    const good = /^waystation-[0-9a-f]{4}$/.test(name ?? '') && /^[a-z0-9-]{8,63}$/.test(wifiPassphrase ?? '');
    return good ? { name: name!, wifiPassphrase: wifiPassphrase! } : undefined;
  } catch {
    return undefined; // a file that was cut short: made anew, and SETUP.txt says the new one
  }
}
