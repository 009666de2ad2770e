// Provisioning, at every start before the relay: carries out what lies on the card, answers beside it in words, and lays down what the
// network programs need. It never throws for what a person did: a box that relays with its old configuration beats one that stands still.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Box, openBox } from './box.ts';
import { MAX_REPLY_BYTES, type Order, readOrder, sortCard } from './card.ts';
import { ownerOf, readIfThere, replaceFile, shred } from './files.ts';
import { carryOut, type Places, SEQUENCE, type TryOut } from './orders.ts';
import { type SetupFacts, setupText } from './setup-text.ts';
import { dnsmasqConf, hostapdConf, type WifiClient, wifiQr, wpaSupplicantConf } from './wifi.ts';

export interface ProvisionOptions extends Places {
  /** The card's boot partition, mounted. Missing or empty: there is nothing to read. */
  readonly card: string;
  /** Files for this boot only: /run/waystation. */
  readonly run: string;
  /** The configuration of a box that was given none. */
  readonly firstConfig: string;
  readonly tryOut: TryOut;
  /** ISO time, for IMPORTED.txt. */
  readonly now: string;
  /** What the parts before and after this one found: data partition, last update. */
  readonly facts: Omit<SetupFacts, 'box' | 'wifi' | 'errors'>;
}

export interface Provisioned {
  readonly box: Box;
  readonly imported: readonly string[];
  readonly refused: readonly { readonly file: string; readonly words: string }[];
  /** The box must start over for an order to take effect. */
  readonly restart: boolean;
}

const REPLY_HEAD = 'Waystation did not use';
const MAX_IMPORTED_LINES = 100;

export function provision(options: ProvisionOptions): Provisioned {
  const { data, run } = options;
  for (const folder of [run, join(data, 'etc'), join(data, 'network'), join(data, 'ssh')])
    mkdirSync(folder, { recursive: true });
  const box = openBox(data);
  const result = readCard(options);
  if (!existsSync(join(data, 'etc/waystation.yaml')) && existsSync(options.firstConfig))
    replaceFile(
      join(data, 'etc/waystation.yaml'),
      readFileSync(options.firstConfig),
      0o640,
      ownerOf(join(data, 'etc')),
    );
  const wifi = layNetwork(box, data, run);
  const text = setupText({ ...options.facts, box, wifi, errors: result.refused });
  writeFileSync(join(run, 'SETUP.txt'), text, { mode: 0o600 });
  answer(options.card, { 'SETUP.txt': text }, result);
  return { box, ...result };
}

// ---- the card ------------------------------------------------------------------------------------------------------------

type Result = Omit<Provisioned, 'box'>;

function readCard(options: ProvisionOptions): Result {
  const imported: string[] = [];
  const refused: { file: string; words: string }[] = [];
  let restart = false;
  const { orders, misnamed, tooMany } = existsSync(options.card)
    ? sortCard(options.card)
    : { orders: [], misnamed: [], tooMany: false };
  refused.push(...misnamed);
  if (tooMany)
    refused.push({ file: 'README.txt', words: 'There are more than 500 files here; the rest was not looked at.' });
  for (const order of inSequence(orders)) {
    const content = readOrder(options.card, order.file);
    const outcome = 'refused' in content ? content : attempt(order, content.bytes, options);
    if ('refused' in outcome) {
      refused.push({ file: order.file, words: outcome.refused });
      continue;
    }
    imported.push(`${order.file}: ${outcome.done}`);
    remove(join(options.card, order.file), outcome.secret === true);
    if (outcome.restart) {
      restart = true;
      break; // nothing else matters any more: the rest is read by the box that comes after
    }
  }
  return { imported, refused, restart };
}

function inSequence(orders: readonly Order[]): readonly Order[] {
  return SEQUENCE.flatMap((purpose) => orders.filter((order) => order.purpose === purpose));
}

function attempt(order: Order, bytes: Buffer, options: ProvisionOptions): ReturnType<typeof carryOut> {
  try {
    return carryOut(order, bytes, options, options.tryOut);
  } catch (error) {
    // A full or broken data partition: said beside the file, which stays where it is.
    return { refused: `It could not be kept: ${(error as Error).message}` };
  }
}

function remove(path: string, secret: boolean): void {
  try {
    if (secret) shred(path);
    else rmSync(path);
  } catch {
    // A card that is write-protected: read again at the next start, with the same result.
  }
}

/** Writes what should stand on the card, removes answers that no longer hold. A card that cannot be written is no reason to stop. */
function answer(card: string, texts: Readonly<Record<string, string>>, { imported, refused }: Result): void {
  if (!existsSync(card)) return;
  const wanted = new Map(Object.entries(texts));
  for (const { file, words } of refused) {
    const reply = `${REPLY_HEAD} ${file}:\n\n${words}\n\nCorrect it and start the box again. Until then it runs without it.\n`;
    wanted.set(`${file}.error.txt`, reply.slice(0, MAX_REPLY_BYTES));
  }
  if (imported.length > 0) wanted.set('IMPORTED.txt', importedText(card, imported));
  try {
    for (const [name, text] of wanted) writeReply(join(card, name), text);
    for (const file of readdirSync(card)) {
      if (!/\.error\.txt$/i.test(file) || wanted.has(file)) continue;
      if (readIfThere(join(card, file))?.subarray(0, 100).includes(REPLY_HEAD)) rmSync(join(card, file));
    }
  } catch {
    // the console has the same words
  }
}

/** With the line ends of Windows, which every editor can show. Nothing is written when it stands there already. */
function writeReply(path: string, text: string): void {
  const bytes = Buffer.from(text.replace(/\n/g, '\r\n'));
  if (!readIfThere(path)?.equals(bytes)) writeFileSync(path, bytes, { flush: true });
}

function importedText(card: string, imported: readonly string[]): string {
  const before = (readIfThere(join(card, 'IMPORTED.txt'))?.subarray(0, MAX_REPLY_BYTES).toString() ?? '').replace(
    /\r/g,
    '',
  );
  const lines = [...before.split('\n').filter(Boolean), ...imported];
  return `${lines.slice(-MAX_IMPORTED_LINES).join('\n')}\n`;
}

// ---- the network ---------------------------------------------------------------------------------------------------------

function layNetwork(box: Box, data: string, run: string): WifiClient | undefined {
  const wifi = knownWifi(data);
  const files: Readonly<Record<string, string | undefined>> = {
    hostname: `${box.name}\n`,
    'hostapd.conf': hostapdConf(box, wifi?.country),
    'dnsmasq.conf': dnsmasqConf(box),
    'wifi.qr': wifiQr(box),
    'wpa_supplicant.conf': wifi ? wpaSupplicantConf(wifi) : undefined,
  };
  for (const [name, text] of Object.entries(files)) {
    if (text === undefined) rmSync(join(run, name), { force: true });
    else writeFileSync(join(run, name), text, { mode: name === 'hostname' ? 0o644 : 0o600 });
  }
  return wifi;
}

function knownWifi(data: string): WifiClient | undefined {
  try {
    return JSON.parse(readFileSync(join(data, 'network/wifi.json'), 'utf8')) as WifiClient;
  } catch {
    return undefined; // none was given
  }
}
