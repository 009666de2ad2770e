// The section `files:` of the file: where phones bring and fetch data packages and photos. Off unless an address is named.
import * as z from 'zod';
import { type Address, parseAddress } from '../links/stream.ts';

export interface FilesSettings {
  /** Plain HTTP for phones without certificates; undefined: none. */
  readonly listen: Address | undefined;
  /** HTTPS for phones with a certificate of this box; undefined: none. */
  readonly tls: Address | undefined;
  /** HTTPS for federates of v1, with the federation certificate; undefined: none. */
  readonly federates: Address | undefined;
  readonly fileBytes: number;
  readonly bytes: number;
  readonly hours: number;
}

const address = z
  .union([z.literal(false), z.int().min(0).max(65_535), z.string().max(256)])
  .transform((value, context) => {
    if (value === false) return undefined;
    const given = parseAddress(/^\d+$/.test(String(value)) ? `0.0.0.0:${value}` : String(value));
    if (!given)
      context.issues.push({
        code: 'custom',
        message: 'expected a port, or an address such as 0.0.0.0:8443',
        input: value,
      });
    return given;
  });

export const files = z
  .strictObject({
    listen: address
      .prefault(false)
      .describe('Plain HTTP for phones that connect without a certificate. ATAK expects 8080.'),
    tls: address
      .prefault(false)
      .describe('HTTPS for phones with a certificate of this box, and nobody else. ATAK expects 8443.'),
    federates: address
      .prefault(false)
      .describe('HTTPS for servers that federate by v1 and bring their files here. TAK Server expects 8444.'),
    max_file: z.int().min(65_536).max(4_000_000_000).default(268_435_456).describe('Most bytes of one file.'),
    quota: z.int().min(65_536).max(1_000_000_000_000).default(2_147_483_648).describe('Most bytes of all files.'),
    hours: z.number().min(1).max(8_760).default(72).describe('A file is kept for so long.'),
  })
  .transform(
    (raw): FilesSettings => ({
      listen: raw.listen,
      tls: raw.tls,
      federates: raw.federates,
      fileBytes: Math.min(raw.max_file, raw.quota),
      bytes: raw.quota,
      hours: raw.hours,
    }),
  );
