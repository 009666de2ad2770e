// A certificate and its key from the files that a link's configuration names.
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import type { KeyPair } from '../identity/identity.ts';
import { commonName, fingerprint } from '../identity/x509.ts';
import { FatalError } from '../lib/errors.ts';

const MAX_FILE_BYTES = 1024 * 1024;
const FIX =
  'cert names a PEM file with our certificate and then its CA; key names a PEM file with its private key, without password. ' +
  'Leave both out to use the certificate this box made.';

/** Reads a PEM certificate (its CA behind it) and its PEM key; names start from `baseDir`. Throws FatalError. */
export function readKeyPair(certFile: string, keyFile: string, baseDir: string): KeyPair {
  const certPem = readText(resolve(baseDir, certFile));
  const keyPem = readText(resolve(baseDir, keyFile));
  const leaf = leafOf(certFile, certPem, keyPem);
  const notAfterMs = leaf.validToDate.getTime();
  return { certPem, keyPem, fingerprint: fingerprint(leaf), commonName: commonName(leaf), notAfterMs };
}

function readText(path: string): string {
  try {
    if (statSync(path).size > MAX_FILE_BYTES) throw new Error('it is too large');
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new FatalError('key_unreadable', `${path} cannot be read: ${wordsOf(error)}`, FIX, error);
  }
}

function leafOf(file: string, certPem: string, keyPem: string): X509Certificate {
  let leaf: X509Certificate;
  let fits: boolean;
  try {
    leaf = new X509Certificate(certPem);
    fits = leaf.checkPrivateKey(createPrivateKey(keyPem));
  } catch (error) {
    const words = `${file} and its key are not a certificate and a private key: ${wordsOf(error)}`;
    throw new FatalError('key_unreadable', words, FIX, error);
  }
  if (!fits) throw new FatalError('key_mismatch', `the private key does not belong to the certificate in ${file}`, FIX);
  return leaf;
}

function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
