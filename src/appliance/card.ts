// The boot partition of the card as a person on any PC leaves it: which of its files are meant for us, and their text. Everything here is
// untrusted: names, sizes, encodings. Nothing is read before its size is known, nothing is trusted for its name.
import { closeSync, fstatSync, openSync, readdirSync, readSync } from 'node:fs';
import { join } from 'node:path';

/** Entries of the folder that are looked at. The card as it is made has about 20. */
export const MAX_ENTRIES = 500;
/** Certificates with their chains and configurations are far below it. */
export const MAX_FILE_BYTES = 1024 * 1024;
/** What an answer beside a file may say. */
export const MAX_REPLY_BYTES = 16 * 1024;
const MAX_NAME_CHARS = 64;

export type Purpose =
  | 'config'
  | 'certificate'
  | 'federation-key'
  | 'wifi'
  | 'ssh-key'
  | 'keep-journal'
  | 'factory-reset'
  | 'zeroize';

/** A file that is meant for us. */
export interface Order {
  readonly purpose: Purpose;
  /** As it stands on the card. */
  readonly file: string;
  /** What it is called inside the box. */
  readonly name: string;
}

/** What lies on the card, sorted: orders, and files that look like one but are named in a way we do not act on. */
export interface CardFiles {
  readonly orders: readonly Order[];
  readonly misnamed: readonly { readonly file: string; readonly words: string }[];
  /** There were more than MAX_ENTRIES; the rest was not looked at. */
  readonly tooMany: boolean;
}

/** Names without regard to case; a PC that hides endings makes `wifi.txt.txt`, so `.txt` may follow everything. */
const NAMES: readonly (readonly [RegExp, Purpose, string | undefined])[] = [
  [/^waystation\.ya?ml$/, 'config', 'waystation.yaml'],
  [
    /^(?:portal|federation)[-_ ]?(?:key|code)?\.(?:key|txt)$|^(?:portal|federation)[-_ ]?(?:key|code)$/,
    'federation-key',
    'portal.key',
  ],
  [/^(?:wi-?fi|wlan)(?:\.conf)?$/, 'wifi', 'wifi.txt'],
  [/^(?:ssh[-_ ]?key(?:\.pub)?|id_[a-z0-9]+\.pub|authorized_keys)$/, 'ssh-key', 'authorized_keys'],
  [/^keep-journal$/, 'keep-journal', 'keep-journal'],
  [/^factory-reset$/, 'factory-reset', 'factory-reset'],
  [/^zeroize$/, 'zeroize', 'zeroize'],
  [/^.+\.(?:pem|crt|cer|key)$/, 'certificate', undefined],
];
const ALMOST = /^waystation.*\.ya?ml$|\.ya?ml$|^(?:copy of )?(?:wifi|wlan|ssh-key|factory-reset|zeroize)\b.*$/;
/** Names that mean a device to Windows, which such a card may visit again. */
const DEVICE = /^(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$)/i;

/** Looks at names only. Throws what the file system throws. */
export function sortCard(folder: string): CardFiles {
  const entries = readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.name.startsWith('.') && !isReply(entry.name))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  const orders: Order[] = [];
  const misnamed: { file: string; words: string }[] = [];
  for (const { name: file } of entries.slice(0, MAX_ENTRIES)) {
    const order = orderOf(file);
    if (order) orders.push(order);
    else if (ALMOST.test(file.toLowerCase())) misnamed.push({ file, words: misnamedWords(file) });
  }
  return { ...withoutTwins(orders, misnamed), tooMany: entries.length > MAX_ENTRIES };
}

/** Files that this box writes itself. */
export function isReply(file: string): boolean {
  return /\.error\.txt$/i.test(file) || /^(?:setup|imported|readme|config|cmdline)\.txt$/i.test(file);
}

function orderOf(file: string): Order | undefined {
  const lower = file.toLowerCase();
  const bare = lower.replace(/(?:\.txt)+$/, '');
  for (const [pattern, purpose, name] of NAMES) {
    if (!pattern.test(bare) && !pattern.test(lower)) continue;
    if (name) return { purpose, file, name };
    const own = file.replace(/(?:\.txt)+$/i, '');
    return usable(own) ? { purpose, file, name: own } : undefined;
  }
  return undefined;
}

/** May it be a file's name inside the box, and in the configuration that names it? */
function usable(name: string): boolean {
  return /^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(name) && name.length <= MAX_NAME_CHARS && !DEVICE.test(name);
}

function misnamedWords(file: string): string {
  return /\.ya?ml/i.test(file)
    ? 'Only waystation.yaml is read. If this is the configuration, rename it to that.'
    : 'Its name is close to one of those README.txt lists, but not the same. Rename it, or delete it.';
}

/** Two files for one purpose: neither is taken, because nobody here knows which one is meant. */
function withoutTwins(
  orders: readonly Order[],
  misnamed: readonly { readonly file: string; readonly words: string }[],
): Omit<CardFiles, 'tooMany'> {
  const twins = orders.filter(
    (one) => orders.filter(({ name }) => name.toLowerCase() === one.name.toLowerCase()).length > 1,
  );
  return {
    orders: orders.filter((order) => !twins.includes(order)),
    misnamed: [
      ...misnamed,
      ...twins.map(({ file, name }) => ({
        file,
        words: `There is more than one file for the same thing (${twins
          .filter((other) => other.name.toLowerCase() === name.toLowerCase())
          .map((other) => other.file)
          .join(', ')}). None was read. Keep one.`,
      })),
    ],
  };
}

export type Content = { readonly bytes: Buffer } | { readonly refused: string };

/** The whole file, if it is small enough to be what it claims to be. */
export function readOrder(folder: string, file: string): Content {
  let handle: number | undefined;
  try {
    handle = openSync(join(folder, file), 'r');
    const { size } = fstatSync(handle);
    if (size > MAX_FILE_BYTES)
      return { refused: `It has ${Math.ceil(size / 1024 / 1024)} MB; nothing that is read here has more than 1 MB.` };
    const bytes = Buffer.alloc(size);
    let read = 0;
    while (read < size) {
      const count = readSync(handle, bytes, read, size - read, read);
      if (count === 0) break;
      read += count;
    }
    return { bytes: bytes.subarray(0, read) };
  } catch (error) {
    return { refused: `It cannot be read from the card: ${(error as Error).message}` };
  } finally {
    if (handle !== undefined) closeSync(handle);
  }
}

/** Text as editors on any PC save it: UTF-8 or UTF-16, with or without byte order mark, any line end. Undefined: it is no text. */
export function textOf(bytes: Buffer): string | undefined {
  const encoding =
    bytes[0] === 0xff && bytes[1] === 0xfe ? 'utf-16le' : bytes[0] === 0xfe && bytes[1] === 0xff ? 'utf-16be' : 'utf-8';
  try {
    const text = new TextDecoder(encoding, { fatal: true }).decode(bytes); // takes the byte order mark away
    return text.includes('\0') ? undefined : text.replace(/\r\n?/g, '\n');
  } catch {
    return undefined;
  }
}
