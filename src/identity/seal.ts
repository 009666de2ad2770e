// Seals what must be kept and must be readable again, such as a secret that we have to show to somebody: AES-256-GCM under a key of
// this box, which stands beside its other keys. Whoever has the store alone has nothing.
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { FatalError } from '../lib/errors.ts';
import { SecretFolder } from './files.ts';

const SEAL_FILE = 'seal.key';
const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

export class Seal {
  readonly #key: Buffer;

  /** Makes the key on first use. @throws FatalError when it is there and cannot be read */
  constructor(dir: string) {
    const folder = new SecretFolder(dir);
    const saved = folder.read(SEAL_FILE)?.trim();
    if (saved !== undefined && !/^[0-9a-f]{64}$/.test(saved)) {
      const fix = 'Restore the file from a backup, or delete it and enter the secrets of partners anew.';
      throw new FatalError('identity_damaged', `${folder.path(SEAL_FILE)} does not hold a key`, fix);
    }
    this.#key = saved === undefined ? randomBytes(KEY_BYTES) : Buffer.from(saved, 'hex');
    if (saved === undefined) folder.create(SEAL_FILE, `${this.#key.toString('hex')}\n`);
  }

  /** `purpose` must be the same to open it: a sealed text is of no use in another place. */
  close(text: string, purpose: string): string {
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv('aes-256-gcm', this.#key, nonce).setAAD(Buffer.from(purpose));
    const body = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()]);
    return Buffer.concat([nonce, body, cipher.getAuthTag()]).toString('base64');
  }

  /** undefined: not sealed here, for something else, or damaged. */
  open(sealed: string, purpose: string): string | undefined {
    const bytes = Buffer.from(sealed, 'base64');
    if (bytes.length < NONCE_BYTES + TAG_BYTES) return undefined;
    const decipher = createDecipheriv('aes-256-gcm', this.#key, bytes.subarray(0, NONCE_BYTES), {
      authTagLength: TAG_BYTES,
    })
      .setAAD(Buffer.from(purpose))
      .setAuthTag(bytes.subarray(-TAG_BYTES));
    try {
      return decipher.update(bytes.subarray(NONCE_BYTES, -TAG_BYTES), undefined, 'utf8') + decipher.final('utf8');
    } catch {
      return undefined;
    }
  }
}
