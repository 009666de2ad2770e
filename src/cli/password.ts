// A password from a file: on the command line every user of the computer could read it.
import { readFileSync, statSync } from 'node:fs';
import { FatalError } from '../lib/errors.ts';

const MAX_PASSWORD_BYTES = 1024;

/** Without the line's end. @throws FatalError */
export function readPassword(path: string): string {
  try {
    if (statSync(path).size > MAX_PASSWORD_BYTES) throw new Error('it is too large');
    return readFileSync(path, 'utf8').replace(/\r?\n$/, '');
  } catch (error) {
    const words = error instanceof Error ? error.message : String(error);
    throw new FatalError(
      'password_unreadable',
      `cannot read ${path}: ${words}`,
      'name a file that holds the password alone',
      error,
    );
  }
}
