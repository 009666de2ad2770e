// Can the far end of a dialled link be reached, and would both sides accept each other? One check a step; the first that fails is
// the last, since the next would rest on it.
import type { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import type { Check } from '../core/diagnosis.ts';
import { loadTrust } from '../identity/trust.ts';
import { commonName, fingerprint, issuerName } from '../identity/x509.ts';
import { FatalError, LinkError } from '../lib/errors.ts';
import type { LinkContext, Way } from '../links/link.ts';
import { type Address, formatAddress, type TlsSettings } from '../links/stream.ts';
import { type Handshake, lookUp, open, shakeHands } from './dial.ts';
import { bad, ok, unknown, warn } from './words.ts';

const DAY_MS = 86_400_000;
/** A certificate that ends sooner is worth a word. */
const SOON_MS = 30 * DAY_MS;

/** `relayTrust`: entries of the whole relay's trust, as absolute names. */
export async function reachChecks(way: Way, relayTrust: readonly string[], context: LinkContext): Promise<Check[]> {
  const found: Check[] = [];
  const of = way.peer ?? formatAddress(way.address);
  try {
    found.push(...(await nameChecks(way.address, of, context)));
    const tls = way.tls?.(context);
    if (tls) found.push(...ownCertificate(tls, of, context));
    const { socket, ms } = await open(way.address, context);
    found.push(ok('port', of, `${formatAddress(way.address)} takes connections (${ms} ms)`));
    if (!tls) {
      socket.destroy();
      return [...found, ...(await plainChecks(way, of, context))];
    }
    const shown = await shakeHands(socket, way.address, tls, context);
    found.push(...tlsChecks(shown, { way, of, relayTrust, context }));
    // What asks for nothing in TLS does not learn that the far end would have offered another protocol.
    const hidden = way.mistaken?.alpn && tls.alpn.length === 0 && found.every(({ finding }) => finding !== 'bad');
    return hidden ? [...found, ...(await otherProtocol(way, of, context))] : found;
  } catch (error) {
    if (error instanceof LinkError && error.code === 'aborted') return [...found, notTried(of)];
    if (error instanceof FatalError) return [...found, bad('certificate', of, error.message, error.fix)];
    if (!(error instanceof LinkError)) throw error;
    return [...found, ...(await failed(error, way, of, context))];
  }
}

function notTried(of: string): Check {
  return unknown('port', of, 'not tried to the end');
}

async function nameChecks({ host, via }: Address, of: string, context: LinkContext): Promise<Check[]> {
  if (via || isIP(host)) return [];
  const addresses = await lookUp(host, context);
  return [ok('name', of, `${host} is ${addresses.join(', ')}`)];
}

/** What the far end is shown of us. */
function ownCertificate({ keyPair }: TlsSettings, of: string, { clock }: LinkContext): Check[] {
  const leftMs = keyPair.notAfterMs - clock.wallMs();
  if (leftMs > SOON_MS) return [];
  const ends = new Date(keyPair.notAfterMs).toISOString().slice(0, 10);
  const fix =
    'restart the relay to have one of its own renewed; one that the configuration names must be replaced there';
  if (leftMs > 0) return [warn('own_certificate', of, `our certificate for this link ends on ${ends}`, fix)];
  return [bad('own_certificate', of, `our certificate for this link ended on ${ends}`, fix)];
}

/** A step failed: which one, what it means, and whether another protocol is meant there. */
async function failed(error: LinkError, way: Way, of: string, context: LinkContext): Promise<Check[]> {
  const { code, message, fix } = error;
  const said = (id: string, more = fix) => [bad(id, of, message, more)];
  switch (code) {
    case 'name_unknown':
    case 'name_unavailable':
      return said('name');
    case 'refused':
      return said(
        'port',
        'nothing listens on that port: check the port number, and that the service there runs; some firewalls refuse like this, too',
      );
    case 'unreachable':
      return said('port', unreachableFix(error));
    case 'connect_timeout':
    case 'connect_failed':
      return said('port');
    case 'no_alpn':
      return way.mistaken ? [bad('protocol', of, `${of} ${way.mistaken.words}`, way.mistaken.fix)] : said('protocol');
    case 'our_ca_unknown':
    case 'our_certificate_bad':
      return [bad('our_certificate', of, message, theirFix(error))];
    default:
      return way.tls ? [...(await otherProtocol(way, of, context)), ...said('tls')] : said('port');
  }
}

function unreachableFix({ cause }: LinkError): string {
  const { code } = (cause ?? {}) as NodeJS.ErrnoException;
  if (code === 'ENETUNREACH' || code === 'ENETDOWN') {
    return 'this box has no way to that network: check that its uplink or VPN is up';
  }
  return 'nobody has that address on the network it belongs to: check the address, and that the far end is switched on';
}

// --- TLS -------------------------------------------------------------------------------------------------------------

interface Seen {
  readonly way: Way;
  readonly of: string;
  readonly relayTrust: readonly string[];
  readonly context: LinkContext;
}

function tlsChecks(shown: Handshake, { way, of, relayTrust, context }: Seen): Check[] {
  const tls = ok('tls', of, `${shown.protocol} in ${Math.round(shown.ms)} ms`);
  if (shown.ours) {
    const { message, fix } = shown.ours;
    const installed = leafInstalled(shown.ours, way, relayTrust, context);
    return [tls, bad('certificate', of, `${message}${installed?.words ?? ''}`, installed?.fix ?? fix)];
  }
  const certificate = ok('certificate', of, `it shows ${chainWords(shown.chain)}, which this link trusts`);
  const ends = endsSoon(shown.chain, of, context);
  if (shown.theirs) {
    return [tls, certificate, ...ends, bad('our_certificate', of, shown.theirs.message, theirFix(shown.theirs))];
  }
  const mistaken = way.mistaken && way.mistaken.alpn === shown.alpn ? way.mistaken : undefined;
  const protocol = mistaken ? [bad('protocol', of, `${of} ${mistaken.words}`, mistaken.fix)] : [];
  return [tls, certificate, ...ends, ok('our_certificate', of, 'it did not refuse ours'), ...protocol];
}

/** The classic mistake: the certificate of a server put where that of its CA belongs. */
function leafInstalled(
  { code }: LinkError,
  { trust }: Way,
  relayTrust: readonly string[],
  { baseDir }: LinkContext,
): { readonly words: string; readonly fix: string } | undefined {
  if (code !== 'unknown_ca' && code !== 'not_pinned' && code !== 'bad_signature') return undefined;
  const leaves = [...trust, ...relayTrust].flatMap((entry) => {
    try {
      return loadTrust([entry], baseDir).warnings;
    } catch {
      return []; // another check says so
    }
  });
  const [leaf] = leaves.filter((one) => one.code === 'leaf_as_ca');
  if (!leaf) return undefined;
  return {
    words: `. A server certificate is installed where that of its CA belongs: ${leaf.words}`,
    fix: 'put the CA certificate that signed it into trust, in its place',
  };
}

function theirFix({ code, fix }: LinkError): string {
  if (code !== 'our_ca_unknown' && code !== 'our_certificate_bad') return fix;
  return 'they do not trust us: install our CA there ("waystation cert show --ca" prints it; not the certificate of this box itself), and restart that server if it needs that';
}

function chainWords(chain: readonly X509Certificate[]): string {
  const [leaf] = chain;
  if (!leaf) return 'no certificate';
  const until = leaf.validToDate.toISOString().slice(0, 10);
  const more = chain.length > 1 ? ` and ${chain.length - 1} above it` : '';
  return `"${commonName(leaf)}" (issued by "${issuerName(leaf)}", until ${until}, SHA256:${fingerprint(leaf)})${more}`;
}

function endsSoon([leaf]: readonly X509Certificate[], of: string, { clock }: LinkContext): Check[] {
  const leftMs = leaf ? leaf.validToDate.getTime() - clock.wallMs() : SOON_MS;
  if (leftMs >= SOON_MS) return [];
  const words = `its certificate ends in ${Math.max(0, Math.floor(leftMs / DAY_MS))} days`;
  return [warn('certificate', of, words, 'have the far end renew it; a pin here must then be renewed, too')];
}

/** It does not work: perhaps because another protocol of the same family answers there. */
async function otherProtocol(way: Way, of: string, context: LinkContext): Promise<Check[]> {
  const { mistaken } = way;
  const tls = way.tls?.(context);
  if (!mistaken || !tls || mistaken.alpn === tls.alpn.join()) return [];
  try {
    const { socket } = await open(way.address, context);
    const alpn = mistaken.alpn === '' ? [] : [mistaken.alpn];
    const shown = await shakeHands(socket, way.address, { ...tls, alpn }, context);
    return shown.alpn === mistaken.alpn ? [bad('protocol', of, `${of} ${mistaken.words}`, mistaken.fix)] : [];
  } catch (error) {
    if (error instanceof LinkError) return []; // it is something else
    throw error;
  }
}

/** We speak plain TCP: does the far end expect TLS? */
async function plainChecks(way: Way, of: string, context: LinkContext): Promise<Check[]> {
  try {
    const { socket } = await open(way.address, context);
    const { chain } = await shakeHands(socket, way.address, undefined, context);
    const words = `${of} speaks TLS on this port and this link speaks plain TCP; it shows ${chainWords(chain)}`;
    return [bad('tls', of, words, 'set tls for this link, with the CA of the far end under trust')];
  } catch (error) {
    if (!(error instanceof LinkError)) throw error;
    return error.code.startsWith('our_') || error.code === 'certificate_required'
      ? [bad('tls', of, `${of} speaks TLS on this port and this link speaks plain TCP`, 'set tls for this link')]
      : [ok('tls', of, 'plain TCP, and it does not answer TLS either')];
  }
}
