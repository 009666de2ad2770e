// A certificate request of a phone: read, its proof of possession checked, its key taken; nothing else in it counts.
import { createPublicKey, type KeyObject } from 'node:crypto';
import { loadForge } from './p12.ts';

export const MAX_CSR_BYTES = 16_384;
const MIN_BITS = 2048;
const MAX_BITS = 8192;

/** Not a request that is certified here; the message says why. */
export class BadRequest extends Error {}

/** Base64 with or without PEM's armour, or DER. Rejects with BadRequest. */
export async function keyOfRequest(body: Buffer): Promise<KeyObject> {
  if (body.length > MAX_CSR_BYTES) throw new BadRequest(`it is larger than ${MAX_CSR_BYTES} bytes`);
  const forge = await loadForge();
  let pem: string;
  try {
    const der = forge.util.createBuffer(derOf(body).toString('latin1'));
    const request = forge.pki.certificationRequestFromAsn1(forge.asn1.fromDer(der));
    if (!request.publicKey || !request.verify()) throw new BadRequest('it is not signed with its own key');
    pem = forge.pki.publicKeyToPem(request.publicKey as Parameters<typeof forge.pki.publicKeyToPem>[0]);
  } catch (error) {
    if (error instanceof BadRequest) throw error;
    throw new BadRequest('it is no PKCS#10 request with an RSA key');
  }
  const key = createPublicKey(pem);
  const bits = key.asymmetricKeyDetails?.modulusLength ?? 0;
  const exponent = key.asymmetricKeyDetails?.publicExponent ?? 0n;
  if (bits < MIN_BITS || bits > MAX_BITS)
    throw new BadRequest(`its key has ${bits} bits, not ${MIN_BITS} to ${MAX_BITS}`);
  if (exponent < 65_537n || exponent % 2n === 0n) throw new BadRequest('its key has a weak exponent');
  return key;
}

function derOf(body: Buffer): Buffer {
  if (body[0] === 0x30) return body;
  const text = body
    .toString('latin1')
    .replace(/-----[A-Z ]+-----/g, '')
    .replace(/\s+/g, '');
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(text)) throw new BadRequest('it is no base64');
  return Buffer.from(text, 'base64');
}
