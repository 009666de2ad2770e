// The keys that name a broker and how to get in: of an `mqtt` link, and of `telemetry.mqtt`.
import { readFileSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import * as z from 'zod';
import { loadTrust } from '../../identity/trust.ts';
import { FatalError } from '../../lib/errors.ts';
import { dialAddress } from '../address-keys.ts';
import { readKeyPair } from '../key-files.ts';
import type { LinkContext } from '../link.ts';
import type { Address, TlsSettings } from '../stream.ts';
import { through, viaSchema } from '../via.ts';

const MAX_LIST = 256;
const MAX_TEXT = 1024;
const MAX_PASSWORD_BYTES = 1024;
const PIN = /^sha-?256:/i;

const text = z.string().min(1).max(MAX_TEXT);

const connect = text.transform(dialAddress('broker.example.org:8883'));

const tls = z.strictObject({
  trust: z
    .array(text)
    .max(MAX_LIST)
    .default([])
    .describe('Whom we believe to be the broker: CA certificate files or SHA256: pins.'),
  cert: text.optional().describe('Our certificate, its CA behind it (PEM). Default: made by this box.'),
  key: text.optional().describe('The private key to cert (PEM).'),
  verify_name: z
    .boolean()
    .optional()
    .describe('Insist that the certificate names the address. Default: yes, unless trust holds pins alone.'),
});

/** To be spread into a strict object of the user's. */
export const brokerKeys = {
  connect: connect.describe('The broker. Usual: port 1883 plain, 8883 with tls.'),
  via: viaSchema.optional(),
  tls: z
    .union([z.boolean(), tls])
    .default(false)
    .describe('TLS; false: plain TCP, for networks that are safe by themselves.'),
  username: text.optional().describe('Name to log in with.'),
  password_file: text.optional().describe('A file that holds the password, readable by the relay alone.'),
  client_id: z
    .string()
    .regex(/^[\x21-\x7e]{1,64}$/, 'expected 1 to 64 printable characters')
    .optional()
    .describe('What the broker knows us by: no other client may use it. Default: made from this box’s id.'),
} as const;

export type RawBroker = z.output<z.ZodObject<typeof brokerKeys>>;

export interface BrokerSettings {
  readonly connect: Address;
  readonly tls:
    | false
    | {
        readonly trust: readonly string[];
        readonly keyFiles: { readonly cert: string; readonly key: string } | undefined;
        readonly verifyName: boolean;
      };
  readonly username: string | undefined;
  readonly passwordFile: string | undefined;
  readonly clientId: string | undefined;
}

/** What no single key can know. */
export function checkBroker(raw: RawBroker, problem: (path: string[], message: string) => void): void {
  if (raw.password_file && !raw.username) problem(['username'], 'the name that goes with password_file is missing');
  if (!raw.tls) return;
  if (raw.tls === true) return problem(['tls'], 'say whom to believe: tls: { trust: [broker-ca.pem] }');
  if (raw.tls.trust.length === 0) {
    problem(['tls', 'trust'], 'name the file of the broker’s CA certificate, or the SHA256: pin of its certificate');
  }
  if (raw.tls.cert && !raw.tls.key) problem(['tls', 'key'], 'the private key to cert is missing');
  if (raw.tls.key && !raw.tls.cert) problem(['tls', 'cert'], 'the certificate to key is missing');
}

export function brokerSettings(raw: RawBroker): BrokerSettings {
  const tls = raw.tls !== true && raw.tls; // true alone is refused above
  return {
    connect: through(raw.connect, raw.via)!,
    tls: tls && {
      trust: tls.trust,
      keyFiles: tls.cert && tls.key ? { cert: tls.cert, key: tls.key } : undefined,
      verifyName: tls.verify_name ?? !tls.trust.every((entry) => PIN.test(entry.trim())),
    },
    username: raw.username,
    passwordFile: raw.password_file,
    clientId: raw.client_id,
  };
}

/** TLS as the broker is spoken to; undefined: plain. Throws FatalError when a file cannot be used. */
export function tlsOf({ tls }: BrokerSettings, context: LinkContext): TlsSettings | undefined {
  if (!tls) return undefined;
  const { warnings, ...trust } = loadTrust(tls.trust, context.baseDir);
  for (const { code, words, fix } of warnings) context.log.warn({ code, fix }, words);
  const { keyFiles, verifyName } = tls;
  const keyPair = keyFiles
    ? readKeyPair(keyFiles.cert, keyFiles.key, context.baseDir)
    : context.identity.federation(context.name);
  return { keyPair, trust, alpn: [], verifyName };
}

/** Read anew for every connection: a changed password needs no restart. Throws FatalError. */
export function passwordOf({ passwordFile }: BrokerSettings, baseDir: string): string | undefined {
  if (!passwordFile) return undefined;
  const path = resolve(baseDir, passwordFile);
  try {
    if (statSync(path).size > MAX_PASSWORD_BYTES) throw new Error(`it is larger than ${MAX_PASSWORD_BYTES} bytes`);
    return readFileSync(path, 'utf8').replace(/\r?\n$/, '');
  } catch (error) {
    const words = `the password file ${path} cannot be read: ${error instanceof Error ? error.message : String(error)}`;
    throw new FatalError('password_unreadable', words, 'Put the password there, or correct password_file.', error);
  }
}
