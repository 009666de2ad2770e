// Puts the errors of node:net and node:tls into words: what happened, and what a person can do about it.
import type { Notice } from './files.ts';

type Words = readonly [code: string, words: string, fix: string];

const CHECK_PORT = 'Check the port number, and that both sides mean the same protocol.';
const OUR_CERTIFICATE =
  'Give the peer the certificate of our authority (CA) as one it trusts; some servers must be restarted for that.';

/** TLS alerts the peer sent us (RFC 8446 §6.2, RFC 5246 §7.2.2, RFC 7301 §3.2), by number. */
const ALERTS: Readonly<Record<string, Words>> = {
  40: [
    'handshake_failure',
    'ended the TLS handshake without a reason',
    'Look at the log of the peer; often it has no certificate, or no cipher in common with us.',
  ],
  42: [
    'our_certificate_bad',
    'does not accept our certificate',
    `${OUR_CERTIFICATE} The log of the peer has the reason.`,
  ],
  43: [
    'our_certificate_use',
    'says that our certificate is not made for this use',
    'The peer wants another extended key usage (TAK: clientAuth, in both roles). Use the federation certificate of this box.',
  ],
  44: [
    'our_certificate_revoked',
    'says that our certificate was revoked',
    'Ask the operator of the peer; a new certificate must be made for this box.',
  ],
  45: [
    'our_certificate_expired',
    'says that our certificate has expired',
    'Compare the clocks of both sides; renew our certificate if it is really over.',
  ],
  46: [
    'our_certificate_bad',
    'does not accept our certificate',
    `${OUR_CERTIFICATE} The log of the peer has the reason.`,
  ],
  48: ['our_ca_unknown', 'does not trust the authority that signed our certificate', OUR_CERTIFICATE],
  49: [
    'access_denied',
    'knows our certificate but does not let us in',
    'Ask the operator of the peer to permit this box.',
  ],
  51: [
    'decrypt_error',
    'could not verify our proof of key',
    'Our certificate and key do not belong together, or something between alters the traffic.',
  ],
  70: [
    'tls_version',
    'does not accept our TLS version',
    'Switch on TLS 1.2 or 1.3 at the peer; older versions are not safe.',
  ],
  71: ['weak_cipher', 'finds our ciphers or keys too weak', 'Look at the log of the peer for what it demands.'],
  80: [
    'peer_fault',
    'has an internal fault',
    'Look at the log of the peer. TAK says this when its truststore is wrong.',
  ],
  112: ['server_name', 'does not serve the name we called it by', 'Use the address or name the peer expects.'],
  116: ['certificate_required', 'wants a certificate from us and got none', 'Set the certificate this link presents.'],
  120: ['no_alpn', 'does not speak our protocol on this port (ALPN)', CHECK_PORT],
};

/** Faults that this side found; matched against code and message. */
const FAULTS: readonly (readonly [pattern: RegExp, words: Words])[] = [
  [
    /WRONG.VERSION.NUMBER|HTTP.REQUEST|HTTPS.PROXY.REQUEST|PACKET.LENGTH.TOO.LONG|RECORD.LAYER.FAILURE|BAD.RECORD.TYPE/i,
    ['not_tls', 'does not speak TLS on this port', `${CHECK_PORT} One side may be set to plain TCP.`],
  ],
  [
    /UNSUPPORTED.PROTOCOL|VERSION.TOO.LOW|UNSUPPORTED.SSL.VERSION|INAPPROPRIATE.FALLBACK/i,
    ['tls_version', 'offers only TLS versions that are not safe', 'Switch on TLS 1.2 or 1.3 at the peer.'],
  ],
  [/NO.APPLICATION.PROTOCOL/i, ['no_alpn', 'does not speak our protocol on this port (ALPN)', CHECK_PORT]],
  [
    /NO.SHARED.CIPHER|NO.SUITABLE.SIGNATURE.ALGORITHM|NO.SHARED.GROUP|NO.SUITABLE.KEY.SHARE|WRONG.CURVE|UNKNOWN.CIPHER/i,
    [
      'no_cipher',
      'has no cipher in common with us',
      'Update the TLS software of the peer, or widen its list of ciphers.',
    ],
  ],
  [
    /SIGNATURE|OCTET.INVALID|RSA.ROUTINES|PADDING/i,
    [
      'no_proof',
      'presented a certificate but could not prove that it has the key to it',
      'The certificate and key of the peer do not belong together; if they do, somebody is posing as the peer.',
    ],
  ],
  [/DH.KEY.TOO.SMALL/i, ['weak_key', 'uses a Diffie-Hellman key that is too weak', 'Update the peer.']],
  [/LEGACY.RENEGOTIATION/i, ['old_tls', 'has TLS software with a known hole (renegotiation)', 'Update the peer.']],
  [
    /DID.NOT.RETURN.A.CERTIFICATE/i,
    ['no_certificate', 'sent no certificate', 'Give the peer a certificate with its key, and set it to present it.'],
  ],
  [
    /ERR_TLS_CERT_ALTNAME_INVALID/i,
    [
      'name_mismatch',
      'has a certificate for another name',
      'Use the name that stands in the certificate, or trust its fingerprint instead.',
    ],
  ],
  [
    /ECONNREFUSED/,
    ['refused', 'refused the connection', 'Nothing listens there: check the port number and that the service runs.'],
  ],
  [/ENOTFOUND/, ['name_unknown', 'is not a name that can be looked up', 'Check the spelling, or use the IP address.']],
  [
    /EAI_AGAIN/,
    [
      'name_unavailable',
      'could not be looked up: the name server does not answer',
      'Check the uplink of this box, or use the IP address.',
    ],
  ],
  [
    /EHOSTUNREACH|ENETUNREACH|ENETDOWN|EADDRNOTAVAIL/,
    ['unreachable', 'cannot be reached from here', 'Check the address, and that the uplink or VPN is up.'],
  ],
  [
    /ETIMEDOUT|ERR_TLS_HANDSHAKE_TIMEOUT/,
    ['connect_timeout', 'does not answer', 'Check address, port and firewalls: packets are lost without a word.'],
  ],
];

const HUNG_UP = /ECONNRESET|EPIPE|ECONNABORTED|UNEXPECTED.EOF|ERR_STREAM_PREMATURE_CLOSE/i;

/**
 * Explains why a connection to or from `address` failed. `role`: the part the peer plays in TLS. The words begin with the
 * address; `code` is stable, for counters and tests.
 */
export function explainTlsError(error: NodeJS.ErrnoException, role: 'client' | 'server', address: string): Notice {
  const [code, words, fix] = wordsFor(error, role);
  return { code, words: `${address} ${words}`, fix };
}

function wordsFor(error: NodeJS.ErrnoException, role: 'client' | 'server'): Words {
  const text = `${error.code ?? ''} ${error.message}`;
  const alert = ALERTS[/SSL alert number (\d+)/.exec(text)?.[1] ?? ''];
  if (alert) return alert;
  const fault = FAULTS.find(([pattern]) => pattern.test(text))?.[1];
  if (fault) return fault;
  if (HUNG_UP.test(text)) return hungUp(role);
  return ['tls_failed', `broke off: ${error.message}`, 'Look at the log of the peer.'];
}

/** The most frequent reason differs: servers that dislike a certificate hang up, clients that are scanners do. */
function hungUp(role: 'client' | 'server'): Words {
  return role === 'server'
    ? [
        'reset',
        'cut the connection',
        'It may not accept our certificate, or speak another protocol on this port: its log may say why.',
      ]
    : [
        'reset',
        'cut the connection before it was secure',
        'It may not trust the certificate of this box: give it our CA. Port scanners do this too.',
      ];
}
