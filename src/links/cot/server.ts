// We are the server: phones and other clients connect to us.
import { createHash, randomUUID, timingSafeEqual } from 'node:crypto';
import type { Socket } from 'node:net';
import type { CotEvent } from '../../core/message.ts';
import type { PeerIdentity, PeerSpec } from '../../core/session.ts';
import { type Auth, parseAuth } from '../../wire/cot.ts';
import { pongXml, takpOfferXml, takpResponseXml } from '../../wire/cot-write.ts';
import type { LinkContext, Trouble } from '../link.ts';
import { listenTcp, listenTls, peerAddress } from '../stream.ts';
import { type CotConfig, type Credentials, tlsOf } from './config.ts';
import { takpVersions } from './control.ts';
import { AUTH_MS, MAX_ATAK_FRAME_BYTES, TLS_MS } from './limits.ts';
import { CotSession, type Role } from './session.ts';

/** Accepts clients until abort. Resolves with every socket closed. */
export function listen(config: CotConfig, context: LinkContext): Promise<void> {
  // Before its settings changed this link may have dialled: the peer of that time bears the link's own name.
  context.hub.dismiss(context.name);
  let count = 0;
  const accept = (socket: Socket, identity?: PeerIdentity) => {
    const address = peerAddress(socket);
    const key = `${context.name}/${++count}`;
    const session = new CotSession(
      {
        socket,
        address,
        identity: identity ?? { id: address, name: address, proof: 'none' },
        peer: 'client',
        spec: ({ name }) => specOf(context.name, key, name),
        maxEventBytes: config.maxEventBytes,
        maxFrameBytes: { xml: MAX_ATAK_FRAME_BYTES, tak: MAX_ATAK_FRAME_BYTES },
        oneFramePerWrite: false,
        flowTag: config.flowTag,
        idleMs: config.idleMs,
      },
      (of) => new ServerRole(of, config, context),
      context,
    );
    session.begin();
  };
  const limits = { maxConnections: config.maxConnections, handshakeMs: TLS_MS };
  const tls = tlsOf(config, context);
  if (!tls) return listenTcp(config.listen, accept, limits, context);
  return listenTls(config.listen, tls, ({ socket, identity }) => accept(socket, identity), limits, context);
}

/** A client is known while it is connected: the next connection may be another phone. */
function specOf(link: string, key: string, name: string): PeerSpec {
  return { key, link, kind: 'cot', name, durable: false, graceMs: 0 };
}

class ServerRole implements Role {
  readonly #session: CotSession;
  readonly #config: CotConfig;
  readonly #context: LinkContext;
  /** The offer's uid, used in the answer too. */
  readonly #takpUid = randomUUID();
  #takp: 'none' | 'offered' | 'agreed' = 'none';
  #named = false;
  #cancelAuth = () => {};

  constructor(session: CotSession, config: CotConfig, context: LinkContext) {
    this.#session = session;
    this.#config = config;
    this.#context = context;
  }

  begin(): void {
    if (!this.#config.auth) return this.#welcome();
    this.#cancelAuth = this.#context.clock.after(AUTH_MS, () => {
      this.#context.refuse(this.#session.address, NO_PASSWORD);
      this.#session.close('handshake_timeout');
    });
  }

  auth(frame: Buffer): void {
    const wanted = this.#config.auth;
    if (!wanted || this.#session.attached) return;
    const given = parseAuth(frame);
    if (!sameCredentials(given, wanted)) return this.#turnAway(WRONG_PASSWORD);
    this.#cancelAuth();
    const { identity } = this.#session;
    const { username } = given;
    this.#welcome(identity.proof === 'none' ? { id: username, name: username, proof: 'secret' } : identity);
  }

  control(event: CotEvent, frame: Buffer): void {
    if (!this.#session.attached) return this.#turnAway(NO_PASSWORD);
    // Ahead of all that waits: a phone that hears nothing for 25 s hangs up, however much is on its way.
    if (event.type === 't-x-c-t') return this.#session.say(pongXml(this.#context.clock.wallMs()), 'first');
    if (event.type === 't-x-takp-q' && this.#takp === 'offered') this.#answer(takpVersions(frame).includes(1));
  }

  admits(event: CotEvent): boolean {
    if (!this.#session.attached) {
      this.#turnAway(NO_PASSWORD);
      return false;
    }
    if (!this.#named && event.callsign !== '' && event.type.startsWith('a-')) {
      this.#named = true;
      this.#session.name(event.callsign);
    }
    return true;
  }

  silent(): number {
    return Number.POSITIVE_INFINITY;
  }

  end(): void {
    this.#cancelAuth();
  }

  #welcome(identity?: PeerIdentity): void {
    this.#session.attach(identity);
    if (!this.#config.takProtocol) return;
    this.#takp = 'offered';
    this.#session.say(takpOfferXml(this.#takpUid, 1, this.#context.clock.wallMs()), 'last');
  }

  /** After the answer both directions change over; what was taken before goes out before it, as XML (protocol.txt). */
  #answer(agreed: boolean): void {
    this.#session.say(takpResponseXml(this.#takpUid, agreed, this.#context.clock.wallMs()), 'last');
    if (!agreed) return;
    this.#takp = 'agreed';
    this.#session.speakTak();
  }

  #turnAway(trouble: Trouble): void {
    this.#context.refuse(this.#session.address, trouble);
    this.#session.close('not_trusted');
  }
}

const NO_PASSWORD: Trouble = {
  code: 'no_password',
  words: 'the client did not send a user name and password',
  fix: 'Set them in its server connection (ATAK: "Use Authentication"), or take auth out of this link.',
};

const WRONG_PASSWORD: Trouble = {
  code: 'wrong_password',
  words: 'the client sent a wrong user name or password',
  fix: 'Compare the client’s server connection with auth of this link.',
};

/** In constant time, whatever is wrong. */
function sameCredentials(given: Auth, wanted: Credentials): boolean {
  const name = sameText(given.username, wanted.username);
  const password = sameText(given.password, wanted.password);
  return name && password;
}

function sameText(a: string, b: string): boolean {
  return timingSafeEqual(createHash('sha256').update(a).digest(), createHash('sha256').update(b).digest());
}
