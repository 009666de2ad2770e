// Peers dial us: on ports of this link's own, or on those of the link that it stands beside. One session per connection.
import type { PeerIdentity } from '../../core/session.ts';
import { aborted, onAbort } from '../../lib/abort.ts';
import { plainAddress } from '../../lib/address.ts';
import type { LinkContext } from '../link.ts';
import { listenTls, type Secured } from '../stream.ts';
import { type Fed1Config, tlsOf } from './config.ts';
import { TLS_MS } from './limits.ts';
import { setUp, specOf } from './peer.ts';
import { LegacySession } from './session.ts';

/** Accepts federates until abort; resolves when every connection is closed. Rejects as listenTls does. */
export async function listen(config: Fed1Config, context: LinkContext): Promise<void> {
  const accept = (secured: Secured) => void open(secured, config, context, context.signal);
  const limits = { maxConnections: config.maxConnections, handshakeMs: TLS_MS };
  await listenTls(config.listen, tlsOf(config, context), accept, limits, context);
}

/** Takes over what the listener has no use for, until abort; resolves when every such connection is closed. Throws LinkError. */
export async function standBeside(listener: string, config: Fed1Config, context: LinkContext): Promise<void> {
  const sessions = new Set<Promise<void>>();
  const withdraw = context.standBeside(listener, (secured, signal) => {
    const ended = open(secured, config, context, signal).finally(() => sessions.delete(ended));
    sessions.add(ended);
  });
  context.report('listening', `on the ports of ${listener}`);
  await aborted(context.signal);
  withdraw();
  await Promise.all(sessions);
}

/** One connection that a peer made; resolves at its end. `listening`: its listener's signal. */
function open(secured: Secured, config: Fed1Config, context: LinkContext, listening: AbortSignal): Promise<void> {
  const { socket, identity } = secured;
  if (socket.destroyed) return Promise.resolve();
  const { release, ...setup } = setUp(
    specFor(identity, context),
    plainAddress(socket.remoteAddress ?? ''),
    secured,
    config,
    context,
  );
  return new Promise((resolve) => {
    const session = new LegacySession({
      ...setup,
      context,
      identity,
      socket,
      peer: 'client',
      maxMessageBytes: config.maxMessageBytes,
      onClosed(reason) {
        for (const stop of stops) stop();
        release();
        if (reason === 'replaced') context.log.warn({ peer: session.address, fingerprint: identity.id }, REPLACED);
        resolve();
      },
    });
    const stop = () => session.close('shutdown');
    session.attach();
    const stops = [onAbort(context.signal, stop), onAbort(listening, stop)];
  });
}

function specFor({ id, name }: PeerIdentity, context: LinkContext) {
  return specOf(context, `${context.name}/${id}`, name);
}

const REPLACED =
  'the same certificate connected again, the older connection was closed; if this goes on, two boxes share one certificate';
