// Pin on first use: a FreeTAKServer's certificate is nobody's that we know. The one it shows first is remembered and expected
// from then on, unless the configuration names whom to expect.
import type { X509Certificate } from 'node:crypto';
import type { PeerIdentity } from '../../core/session.ts';
import { judge, type Trust } from '../../identity/trust.ts';
import { commonName, fingerprint } from '../../identity/x509.ts';
import { LinkError } from '../../lib/errors.ts';
import type { LinkContext } from '../link.ts';

/**
 * Admits the server at `where` by the certificates it shows, leaf first. `named`: whom the link's own configuration trusts; empty:
 * the first is remembered. Throws LinkError.
 */
export function admitServer(
  chain: readonly X509Certificate[],
  where: string,
  named: Trust,
  context: LinkContext,
): PeerIdentity {
  const leaf = chain[0];
  if (!leaf) throw new LinkError('no_certificate', `${where} sent no certificate`, NO_CERTIFICATE_FIX);
  const shown = fingerprint(leaf);
  const identity: PeerIdentity = { id: shown, name: commonName(leaf) || where, proof: 'none' };
  if (named.pins.includes(shown)) return identity;
  if (named.cas.length + named.pins.length > 0) return judged(chain, where, named, context, identity);
  const key = `pin ${where}`;
  const known = context.memory.get(key);
  if (known === shown) return identity;
  if (known !== undefined) throw pinChanged(where, known, shown);
  context.memory.set(key, shown);
  context.log.warn({ peer: where, fingerprint: shown }, 'certificate met for the first time: remembered, not verified');
  return identity;
}

function judged(
  chain: readonly X509Certificate[],
  where: string,
  named: Trust,
  context: LinkContext,
  identity: PeerIdentity,
): PeerIdentity {
  const verdict = judge(chain, named, 'server', context.clock.wallMs());
  if (verdict.ok) return identity;
  throw new LinkError(verdict.code, `${where}: ${verdict.words}`, verdict.fix);
}

function pinChanged(where: string, known: string, shown: string): LinkError {
  return new LinkError(
    'pin_changed',
    `${where} shows another certificate (SHA256:${shown}) than the one remembered (SHA256:${known})`,
    'Somebody may stand in between, or its certificate was made anew. If its operator reads out the same fingerprint, put it ' +
      `into this link: trust: ["SHA256:${shown}"].`,
  );
}

const NO_CERTIFICATE_FIX =
  'It must be set up for TLS with a certificate and a key: FTS_FEDERATION_CERTDIR and its neighbours.';
