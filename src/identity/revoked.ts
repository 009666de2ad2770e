// Client certificates of ours that are accepted no more: a file in the folder of the keys, one line each. Not in the store: a card
// that spoils it must not let lost phones back in.
import { FatalError } from '../lib/errors.ts';
import type { SecretFolder } from './files.ts';

export const REVOKED_FILE = 'revoked';
/** Beyond it no phone is added; a line has about 80 bytes, the file may have 1 MiB. */
export const MAX_REVOKED = 10_000;
const MAX_FILE_BYTES = 1024 * 1024;

export interface Revocation {
  /** SHA-256 of the certificate, lower hex, no colons. */
  readonly fingerprint: string;
  /** When it would have ended by itself; for people who read the file. */
  readonly notAfterMs: number;
}

const LINE = /^([0-9a-f]{64}) (\S{10,30})$/;

/** @throws FatalError when the file is there but is not what we wrote */
export function readRevoked(folder: SecretFolder): readonly Revocation[] {
  const lines = (folder.read(REVOKED_FILE, MAX_FILE_BYTES) ?? '').split('\n').filter((line) => line !== '');
  return lines.map((line) => {
    const [, fingerprint, until = ''] = LINE.exec(line) ?? [];
    if (fingerprint) return { fingerprint, notAfterMs: Date.parse(until) };
    throw new FatalError(
      'identity_damaged',
      `${folder.path(REVOKED_FILE)} is damaged: not every line of it is a revoked certificate`,
      'Restore the file from a backup, or take the damaged lines out: the phones that stood there are let in again until you revoke them anew.',
    );
  });
}

export function revokedText(revoked: readonly Revocation[]): string {
  return revoked
    .map(({ fingerprint, notAfterMs }) => `${fingerprint} ${new Date(notAfterMs).toISOString()}\n`)
    .join('');
}
