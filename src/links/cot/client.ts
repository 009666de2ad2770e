// We are the client: we connect to a TAK server as a phone would.
import type { Socket } from 'node:net';
import type { Envelope } from '../../core/message.ts';
import { flowTagName } from '../../core/policy.ts';
import { CLOSE_WORDS } from '../../core/reason.ts';
import type { PeerIdentity, PeerSpec, Session, SessionPort } from '../../core/session.ts';
import { LinkError } from '../../lib/errors.ts';
import { relaySaXml } from '../../wire/cot-write.ts';
import type { LinkContext } from '../link.ts';
import { type Address, dialTcp, dialTls, formatAddress } from '../stream.ts';
import { formatVia } from '../via.ts';
import { ClientRole, type Self } from './client-role.ts';
import { type CotConfig, tlsOf } from './config.ts';
import { encodeFor } from './encode.ts';
import { CONNECT_MS, TLS_MS } from './limits.ts';
import { PROFILES } from './profiles.ts';
import type { Refuser } from './refuser.ts';
import { CotSession, type Ending } from './session.ts';
import { Uplinks } from './uplinks.ts';

/** Contacts behind a server stay announced through a reconnect: phones and we redial within a minute. */
const GRACE_MS = 60_000;
/** Our position stays good through two that got lost. */
const POSITION_LIVES = 2.5;

/**
 * One connection, and those of phones beside it. Resolves after abort; rejects with LinkError when it could not be made, was
 * refused or ended. `refuser`: what is known of the server from earlier runs.
 */
export async function connect(
  config: CotConfig,
  address: Address,
  refuser: Refuser,
  context: LinkContext,
): Promise<void> {
  const where = formatAddress(address);
  const spec: PeerSpec = {
    key: context.name,
    link: context.name,
    kind: 'cot',
    name: where,
    durable: true,
    graceMs: GRACE_MS,
  };
  context.hub.expect(spec);
  if (context.signal.aborted) return;
  const uplinks = config.perPhone === undefined ? undefined : uplinksOf(config, config.perPhone, refuser, context);
  try {
    const attach = (session: Session) => uplinks?.attach(spec, session) ?? context.hub.attach(spec, session);
    const session = await open(config, ourselves(config, where, context), { spec, attach }, context);
    const ending = await session.closed;
    if (!context.signal.aborted) throw explainEnding(ending, where);
  } catch (error) {
    if (!context.signal.aborted) throw error;
  } finally {
    await uplinks?.end();
  }
}

function uplinksOf(config: CotConfig, limit: number, refuser: Refuser, context: LinkContext): Uplinks {
  const { maxXmlBytes, undeclared } = PROFILES[config.profile];
  const flowTag = config.flowTag ? flowTagName(context.node.id) : '';
  return new Uplinks({
    limit,
    refuser,
    context,
    open: (self, port, its) => open(config, self, { spec: NO_PEER, attach: () => port }, its),
    write: (position: Envelope) => {
      const xml = encodeFor(position, { format: 'xml', flowTag, undeclared }, context.clock.wallMs());
      return xml.length <= Math.min(maxXmlBytes, config.maxEventBytes) ? xml : undefined;
    },
  });
}

/** A phone's connection is part of the link's one peer. */
const NO_PEER: PeerSpec = { key: '', link: '', kind: 'cot', name: '', durable: false, graceMs: 0 };

/** This relay, as the server is to know it. */
function ourselves(config: CotConfig, where: string, context: LinkContext): Self {
  const uid = config.uid ?? context.node.id;
  const callsign = config.callsign ?? context.node.name;
  const { positionMs } = PROFILES[config.profile];
  return {
    uid,
    callsign,
    repeatMs: positionMs,
    position: () =>
      relaySaXml({
        uid,
        callsign,
        team: 'Cyan',
        role: 'Team Member',
        nowMs: context.clock.wallMs(),
        staleMs: positionMs * POSITION_LIVES,
      }),
    attached: () => context.report('connected', where),
  };
}

async function dial(config: CotConfig, address: Address, context: LinkContext): Promise<Dialled> {
  const deadlines = { connectMs: CONNECT_MS, handshakeMs: TLS_MS };
  const tls = tlsOf(config, context);
  if (tls) return dialTls(address, tls, deadlines, context);
  const where = formatAddress(address);
  const identity: PeerIdentity = { id: where, name: where, proof: 'none' };
  return { socket: await dialTcp(address, deadlines, context), identity };
}

interface Dialled {
  readonly socket: Socket;
  readonly identity: PeerIdentity;
}

interface Place {
  readonly spec: PeerSpec;
  readonly attach: (session: Session) => SessionPort;
}

/** A connection as `self`, whose place in the hub is `place`. Rejects with LinkError. */
async function open(config: CotConfig, self: Self, place: Place, context: LinkContext): Promise<CotSession> {
  const profile = PROFILES[config.profile];
  const address = config.connect!;
  const { socket, identity } = await dial(config, address, context);
  const session = new CotSession(
    {
      socket,
      identity,
      address: formatAddress(address),
      via: address.via && formatVia(address.via),
      peer: 'server',
      spec: () => place.spec,
      attach: (_, of) => place.attach(of),
      maxEventBytes: config.maxEventBytes,
      maxFrameBytes: { xml: profile.maxXmlBytes, tak: Number.POSITIVE_INFINITY },
      oneFramePerWrite: profile.oneFramePerWrite,
      flowTag: config.flowTag,
      undeclared: profile.undeclared,
      idleMs: config.idleMs,
    },
    (of) => new ClientRole(of, config, self, context),
    context,
  );
  session.begin();
  return session;
}

function explainEnding({ reason, cause, heard }: Ending, where: string): LinkError {
  if (cause instanceof LinkError) return cause;
  if (reason === 'remote_closed' && !heard) {
    return new LinkError('closed_at_once', `${where} closed the connection without a word`, CLOSED_AT_ONCE_FIX);
  }
  const words = cause ? `${CLOSE_WORDS[reason]}: ${cause.message}` : CLOSE_WORDS[reason];
  return new LinkError(reason, `${where}: ${words}`, 'It is dialled again by itself.', { cause });
}

const CLOSED_AT_ONCE_FIX =
  'It may not accept our certificate or password, or expect TLS where we speak plain TCP: its log says why.';
