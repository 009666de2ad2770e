// The certificate by which this box calls its partners, who have pinned it. Its key is made here and stays here. A new one is issued
// beside the one in use: whoever has not pinned it yet is called with that before, so that nobody needs to do anything at once.
import { createPrivateKey, generateKeyPair, X509Certificate } from 'node:crypto';
import { promisify } from 'node:util';
import { FatalError } from '../lib/errors.ts';
import { SecretFolder } from './files.ts';
import type { KeyPair, StoredIdentity } from './identity.ts';
import { commonName, fingerprint, pemBlocks } from './x509.ts';

export const CALLING_DAYS = 90;
export const MAX_CALLING_DAYS = 3650;
const FILES = ['calling.secret.pem', 'calling-before.secret.pem'] as const;

const makeKey = promisify(generateKeyPair);

export class CallingCertificates {
  readonly #folder: SecretFolder;
  readonly #identity: Pick<StoredIdentity, 'certify'>;
  #pairs: readonly KeyPair[];

  /** @throws FatalError when one is there and cannot be read */
  constructor(dir: string, identity: Pick<StoredIdentity, 'certify'>) {
    this.#folder = new SecretFolder(dir);
    this.#identity = identity;
    this.#pairs = FILES.flatMap((name) => this.#read(name));
  }

  /** The newest first; none: none was issued yet. */
  get pairs(): readonly KeyPair[] {
    return this.#pairs;
  }

  /** Rejects with RangeError for a subject without a letter, or days out of bounds. */
  async issue(subject: string, days = CALLING_DAYS): Promise<KeyPair> {
    const { privateKey } = await makeKey('rsa', {
      modulusLength: 2048,
      publicKeyEncoding: { type: 'spki', format: 'pem' },
      privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    });
    const issued = { ...this.#identity.certify(subject, createPrivateKey(privateKey), days), keyPem: privateKey };
    const [newest] = this.#pairs;
    if (newest) this.#folder.replace(FILES[1], newest.keyPem + newest.certPem);
    this.#folder.replace(FILES[0], issued.keyPem + issued.certPem);
    this.#pairs = newest ? [issued, newest] : [issued];
    return issued;
  }

  #read(name: string): readonly KeyPair[] {
    const text = this.#folder.read(name);
    if (text === undefined) return [];
    try {
      const blocks = pemBlocks(text);
      const leaf = new X509Certificate(blocks[0]!);
      const keyPem = /-----BEGIN PRIVATE KEY-----[\s\S]+?-----END PRIVATE KEY-----\n?/.exec(text)?.[0] ?? '';
      if (!leaf.checkPrivateKey(createPrivateKey(keyPem))) throw new Error('the key belongs to another certificate');
      const notAfterMs = leaf.validToDate.getTime();
      const described = { fingerprint: fingerprint(leaf), commonName: commonName(leaf), notAfterMs };
      return [{ ...described, certPem: `${blocks.join('\n')}\n`, keyPem }];
    } catch (error) {
      const fix = 'Restore the file from a backup, or delete it and issue a new certificate.';
      throw new FatalError('identity_damaged', `${this.#folder.path(name)} is damaged`, fix, error);
    }
  }
}
