// What each kind of file on the card does. Each order is carried out whole or refused in words; none can keep the box from starting.
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseConfig } from '../config/load.ts';
import { formatProblems } from '../config/problem.ts';
import type { Config } from '../config/schema.ts';
import { FatalError } from '../lib/errors.ts';
import { type Order, textOf } from './card.ts';
import { ownerOf, replaceFile, shred, shredBelow } from './files.ts';
import { parseWifi } from './wifi.ts';

export interface Places {
  /** The data partition. */
  readonly data: string;
  /** Where the configuration lives under its real name: relative paths in it start there. */
  readonly etc: string;
  /** Marks the data partition so that the next start makes it anew (overlays/image/usr/lib/waystation/data-partition). */
  forget(): void;
}

/** `secret`: the file on the card is overwritten before it is removed. `restart`: the box starts over. */
export type Outcome =
  | { readonly done: string; readonly secret?: boolean; readonly restart?: boolean }
  | { readonly refused: string };

/** Loads what a configuration names; throws FatalError. */
export type TryOut = (config: Config) => void;

const MIN_KEY_CHARS = 16;
const MAX_KEY_CHARS = 512;
const MAX_SSH_KEYS = 50;

/** The order in which orders are carried out: what a configuration names is there before it is checked. */
export const SEQUENCE: readonly Order['purpose'][] = [
  'zeroize',
  'factory-reset',
  'certificate',
  'federation-key',
  'config',
  'wifi',
  'ssh-key',
  'keep-journal',
];

export function carryOut(order: Order, bytes: Buffer, places: Places, tryOut: TryOut): Outcome {
  if (order.purpose === 'factory-reset') return forget(places, { zeroize: false });
  if (order.purpose === 'zeroize') return forget(places, { zeroize: true });
  if (order.purpose === 'keep-journal') return keepJournal(places);
  const text = textOf(bytes);
  if (order.purpose === 'certificate') return importCertificate(order.name, bytes, text, places);
  if (text === undefined) return { refused: 'It is no text file: save it as plain text (UTF-8).' };
  switch (order.purpose) {
    case 'config':
      return importConfig(text, places, tryOut);
    case 'federation-key':
      return importFederationKey(text, places);
    case 'wifi':
      return importWifi(text, places);
    case 'ssh-key':
      return importSshKeys(text, places);
  }
}

function importConfig(text: string, places: Places, tryOut: TryOut): Outcome {
  const parsed = parseConfig(text, { path: join(places.etc, 'waystation.yaml') });
  if ('problems' in parsed) return { refused: formatProblems(parsed.problems, 'waystation.yaml') };
  try {
    tryOut(parsed.config);
  } catch (error) {
    if (error instanceof FatalError) return { refused: `${error.message}\n${error.fix}` };
    throw error;
  }
  const path = join(places.data, 'etc/waystation.yaml');
  replaceFile(path, text, 0o640, ownerOf(join(places.data, 'etc')));
  const links = parsed.config.links.map(({ name, kind }) => `${name} (${kind})`).join(', ') || 'none';
  return { done: `configuration, links: ${links}`, secret: true };
}

/** Certificates and keys in PEM; a certificate in DER (.cer, .crt from Windows) is put into PEM. */
function importCertificate(name: string, bytes: Buffer, text: string | undefined, places: Places): Outcome {
  const pem = text?.includes('-----BEGIN') ? text : derAsPem(bytes);
  if (!pem) return { refused: 'It is neither a certificate nor a private key (PEM, or DER for a certificate).' };
  const trouble = pemTrouble(pem);
  if (trouble) return { refused: trouble };
  const owner = ownerOf(join(places.data, 'etc'));
  replaceFile(join(places.data, 'etc', name), pem, 0o600, owner);
  return { done: `${name}, for the configuration to name`, secret: pem.includes('PRIVATE KEY') };
}

function derAsPem(bytes: Buffer): string | undefined {
  try {
    return new X509Certificate(bytes).toString();
  } catch {
    return undefined;
  }
}

function pemTrouble(pem: string): string | undefined {
  const blocks = pem.match(/-----BEGIN [A-Z0-9 ]+-----[\s\S]*?-----END [A-Z0-9 ]+-----/g) ?? [];
  if (blocks.length === 0) return 'It begins like a certificate or key, but its end is missing. Copy it again.';
  for (const block of blocks) {
    try {
      if (block.includes('ENCRYPTED'))
        return 'The private key has a password. Nobody is there to type it: take the password off (openssl pkey -in OLD -out NEW).';
      if (block.includes('PRIVATE KEY')) createPrivateKey(block);
      else if (block.includes('BEGIN CERTIFICATE')) new X509Certificate(block);
    } catch {
      return 'A certificate or key in it is damaged. Copy it again.';
    }
  }
  return undefined;
}

function importFederationKey(text: string, places: Places): Outcome {
  const key = text.trim();
  if (/\s/.test(key) || key.length < MIN_KEY_CHARS || key.length > MAX_KEY_CHARS)
    return {
      refused: `The federation key is one line of ${MIN_KEY_CHARS} to ${MAX_KEY_CHARS} characters without spaces, the same on all boxes.`,
    };
  replaceFile(join(places.data, 'etc/portal.key'), `${key}\n`, 0o600, ownerOf(join(places.data, 'etc')));
  return { done: 'federation key, as portal.key', secret: true };
}

function importWifi(text: string, places: Places): Outcome {
  const wifi = parseWifi(text);
  if ('problems' in wifi) return { refused: wifi.problems.join('\n') };
  replaceFile(join(places.data, 'network/wifi.json'), JSON.stringify(wifi));
  return { done: `Wi-Fi "${wifi.ssid}"`, secret: true };
}

function importSshKeys(text: string, places: Places): Outcome {
  const lines = text.split('\n').map((line) => line.trim());
  const keys = lines.filter((line) => line !== '' && !line.startsWith('#'));
  if (keys.some((line) => line.includes('PRIVATE KEY')))
    return {
      refused:
        'This is a private key. It must never leave your computer: delete it here, and put the .pub file in its place.',
    };
  const bad = keys.find(
    (line) => !/^(?:ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp\d+) [A-Za-z0-9+/=]+(?: [\x20-\x7e]*)?$/.test(line),
  );
  if (keys.length === 0 || bad !== undefined || keys.length > MAX_SSH_KEYS)
    return { refused: `It takes 1 to ${MAX_SSH_KEYS} lines as in a .pub file: ssh-ed25519 AAAA… name` };
  replaceFile(join(places.data, 'ssh/authorized_keys'), `${keys.join('\n')}\n`);
  return { done: `${keys.length} SSH key${keys.length > 1 ? 's' : ''} for root` };
}

function keepJournal(places: Places): Outcome {
  mkdirSync(join(places.data, 'journal'), { recursive: true });
  return { done: 'the log is kept over restarts, from the next start on' };
}

function forget(places: Places, { zeroize }: { readonly zeroize: boolean }): Outcome {
  if (zeroize) {
    for (const folder of ['waystation', 'etc', 'ssh', 'network']) {
      if (existsSync(join(places.data, folder))) shredBelow(join(places.data, folder));
    }
    // The passphrase of its own Wi-Fi.
    if (existsSync(join(places.data, 'box.json'))) shred(join(places.data, 'box.json'), 'random');
  }
  places.forget();
  return { done: zeroize ? 'keys destroyed, everything forgotten' : 'everything forgotten', restart: true };
}
