// Certificates for the emulated peers, made by the openssl command so that no code of ours vouches for itself.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface Pair {
  /** PEM: the leaf, then its CA. */
  readonly chainPem: string;
  readonly leafPem: string;
  readonly keyPem: string;
  readonly caPem: string;
}

const KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

/** A leaf `cn` for localhost under a CA of its own. `usage`: extendedKeyUsage. */
export function makePair(cn: string, usage = 'clientAuth,serverAuth'): Pair {
  const dir = mkdtempSync(join(tmpdir(), 'peer-certs-'));
  const file = (name: string) => join(dir, name);
  const openssl = (...args: string[]) => execFileSync('openssl', args, { stdio: 'pipe' });
  const read = (name: string) => readFileSync(file(name), 'utf8');
  try {
    const ca = ['-keyout', file('ca.key'), '-out', file('ca.pem'), '-subj', `/O=Peers/CN=${cn} CA`, '-days', '30'];
    openssl('req', '-x509', ...KEY, ...ca, '-addext', 'keyUsage=critical,keyCertSign,cRLSign');
    openssl('req', ...KEY, '-keyout', file('leaf.key'), '-out', file('leaf.csr'), '-subj', `/O=Peers/CN=${cn}`);
    const names = 'subjectAltName=DNS:localhost,IP:127.0.0.1';
    writeFileSync(file('ext'), `basicConstraints=CA:FALSE\nextendedKeyUsage=${usage}\n${names}\n`);
    const signed = ['-CA', file('ca.pem'), '-CAkey', file('ca.key'), '-CAcreateserial', '-extfile', file('ext')];
    openssl('x509', '-req', '-in', file('leaf.csr'), '-out', file('leaf.pem'), '-days', '30', ...signed);
    const [leafPem, caPem] = [read('leaf.pem'), read('ca.pem')];
    return { leafPem, caPem, chainPem: leafPem + caPem, keyPem: read('leaf.key') };
  } finally {
    rmSync(dir, { recursive: true });
  }
}
