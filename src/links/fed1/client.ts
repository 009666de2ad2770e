// We dial: a FreeTAKServer, which never dials again once it failed, or a TAK Server's or Federation Hub's v1 port. One
// connection per run; its end is the run's end.
import { CLOSE_WORDS, type CloseReason } from '../../core/reason.ts';
import { onAbort } from '../../lib/abort.ts';
import { LinkError } from '../../lib/errors.ts';
import type { LinkContext } from '../link.ts';
import { type Address, dialTls, formatAddress, type Secured, type TlsSettings } from '../stream.ts';
import { formatVia } from '../via.ts';
import { type Fed1Config, ownTrust, tlsOf } from './config.ts';
import { PROFILES } from './dialect.ts';
import { admitServer } from './first-use.ts';
import { CONNECT_MS, REDIAL_MS, SETTLE_MAX_MS, SETTLE_MIN_MS, TLS_MS } from './limits.ts';
import { setUp, specOf } from './peer.ts';
import { LegacySession } from './session.ts';

/** Resolves after abort. Rejects with LinkError when the connection could not be made, was refused or ended. */
export async function dial(address: Address, config: Fed1Config, context: LinkContext): Promise<void> {
  const where = formatAddress(address);
  const spec = specOf(context, context.name, where);
  context.hub.expect(spec);
  const tls = dialSettings(where, config, context);
  if (context.signal.aborted) return;
  const startedMs = context.clock.nowMs();
  let secured: Secured;
  try {
    secured = await dialTls(address, tls, { connectMs: CONNECT_MS, handshakeMs: TLS_MS }, context);
  } catch (error) {
    if (context.signal.aborted) return;
    throw atEase(error, config);
  }
  const tookMs = context.clock.nowMs() - startedMs;
  const settleMs = Math.min(SETTLE_MAX_MS, Math.max(SETTLE_MIN_MS, tookMs));
  const failure = await talk(secured, settleMs, address, config, context);
  if (failure && !context.signal.aborted) throw failure;
}

/** TLS as this server is dialled with. Throws FatalError when a file cannot be used. */
export function dialSettings(where: string, config: Fed1Config, context: LinkContext): TlsSettings {
  const tls = tlsOf(config, context);
  if (!PROFILES[config.profile].authenticatesNobody) return tls;
  const named = ownTrust(config, context);
  return { ...tls, admitServer: (chain) => admitServer(chain, where, named, context) };
}

/** A moment between two connections, for the peer to tidy up. */
function atEase(error: unknown, { profile }: Fed1Config): unknown {
  if (!(error instanceof LinkError)) return error;
  const fix = error.code === 'refused' && profile === 'freetakserver' ? FTS_OFF_FIX : error.fix;
  const retryAfterMs = Math.max(REDIAL_MS, error.retryAfterMs);
  return new LinkError(error.code, error.message, fix, { cause: error.cause, retryAfterMs });
}

const FTS_OFF_FIX =
  'Nothing listens there. FreeTAKServer does not federate until somebody switches its federation server on, in its web interface ' +
  'under services; after a restart it may be off again. It is dialled again by itself.';

/** One connection, from TLS to its end; resolves with why it ended. */
function talk(
  secured: Secured,
  settleMs: number,
  address: Address,
  config: Fed1Config,
  context: LinkContext,
): Promise<LinkError> {
  const where = formatAddress(address);
  const { release, ...setup } = setUp(
    specOf(context, context.name, where),
    address.via ? '' : address.host,
    secured,
    config,
    context,
  );
  return new Promise((resolve) => {
    const begin = () => {
      if (session.closed || session.attached) return;
      session.attach();
      context.report('connected', where);
    };
    const session: LegacySession = new LegacySession({
      ...setup,
      context,
      identity: secured.identity,
      socket: secured.socket,
      peer: 'server',
      maxMessageBytes: config.maxMessageBytes,
      tunnelled: address.via && { address: where, via: formatVia(address.via) },
      onHeard: begin,
      onClosed(reason, cause) {
        cancelSettle();
        stopListening();
        release();
        resolve(explainEnd(reason, cause, where, session));
      },
    });
    // Under TLS 1.3 we are through before the server has looked at our certificate: a refusal comes a round trip later, and what
    // was said until then is lost.
    const cancelSettle = context.clock.after(settleMs, begin);
    const stopListening = onAbort(context.signal, () => session.close('shutdown'));
  });
}

function explainEnd(reason: CloseReason, cause: Error | undefined, where: string, session: LegacySession): LinkError {
  const retry = { cause, retryAfterMs: REDIAL_MS };
  if (cause instanceof LinkError) return new LinkError(cause.code, cause.message, cause.fix, retry);
  if (reason === 'remote_closed' && !session.attached) {
    return new LinkError('closed_at_once', `${where} closed the connection at once`, CLOSED_AT_ONCE_FIX, retry);
  }
  const words = cause ? `${CLOSE_WORDS[reason]}: ${cause.message}` : CLOSE_WORDS[reason];
  return new LinkError(reason, `${where}: ${words}`, 'It is dialled again by itself.', retry);
}

const CLOSED_AT_ONCE_FIX =
  'It may not trust our CA, or offer v1 without a v1Tls element (then no TLS version is allowed), or know us from another connection: ' +
  'its log says why. It is dialled again by itself.';
