// PKCS#12 files as Android's old provider reads them: SHA-1 MAC, 3DES with the PKCS#12 key derivation. Newer ones fail there
// (peers G4). node-forge is loaded with the first package: it is large, and most boxes make none for days.
import type nodeForge from 'node-forge';

/**
 * The password stands in the same package: a costly derivation would keep nobody out, and in plain JavaScript stop the relay for
 * a quarter of a second on a small board.
 */
const ITERATIONS = 256;

/** The package is CommonJS: what it exports is its default. */
export async function loadForge(): Promise<typeof nodeForge> {
  const loaded = (await import('node-forge')) as unknown as { readonly default: typeof nodeForge };
  return loaded.default;
}

export interface ClientKey {
  /** PEM: the leaf, then its CA. */
  readonly certPem: string;
  /** PEM, PKCS#8. */
  readonly keyPem: string;
}

/** A phone's key with its certificate and the CA's certificate. */
export async function clientP12({ certPem, keyPem }: ClientKey, name: string, password: string): Promise<Buffer> {
  const forge = await loadForge();
  return write(forge, forge.pki.privateKeyFromPem(keyPem) as nodeForge.pki.rsa.PrivateKey, certPem, name, password);
}

/** Certificates alone, the first given as the friendly name says. */
export async function trustP12(certPem: string, name: string, password: string): Promise<Buffer> {
  return write(await loadForge(), null, certPem, name, password);
}

function write(
  forge: typeof nodeForge,
  key: nodeForge.pki.rsa.PrivateKey | null,
  certPem: string,
  friendlyName: string,
  password: string,
): Buffer {
  const chain = certPem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  const certificates = chain.map((pem) => forge.pki.certificateFromPem(pem));
  const asn1 = forge.pkcs12.toPkcs12Asn1(key as nodeForge.pki.rsa.PrivateKey, certificates, password, {
    algorithm: '3des',
    count: ITERATIONS,
    friendlyName,
    generateLocalKeyId: key !== null,
  });
  return Buffer.from(forge.asn1.toDer(asn1).getBytes(), 'latin1');
}
