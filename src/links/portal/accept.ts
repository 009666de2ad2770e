// Connections that come to us, until they are proven or refused. The first byte tells a session (a TLS ClientHello) from a
// splice (the magic in clear).
import type { Socket } from 'node:net';
import { onAbort } from '../../lib/abort.ts';
import { LinkError, ProtocolError } from '../../lib/errors.ts';
import { FIRST_BYTE } from '../../wire/portal.ts';
import type { Hello } from '../../wire/portal-bodies.ts';
import type { LinkContext } from '../link.ts';
import type { Between } from '../pairing.ts';
import { peerAddress } from '../stream.ts';
import { type GreetingOptions, greetAsServer } from './greeting.ts';
import type { KeyGuard } from './key-guard.ts';
import { HANDSHAKE_MS, MAX_UNPROVEN } from './limits.ts';
import { answerPairing, PAIRING_ALPN, PAIRING_MS } from './pairing.ts';
import type { PortalPeer } from './peer.ts';
import type { Secured, Securer } from './secure.ts';
import { SHUT_OUT, silentGreeting, TOO_MANY_UNPROVEN, UNKNOWN_FRAME, unknownCertificate, wrongKey } from './words.ts';

/** The first byte of a TLS record that holds a handshake. */
const TLS_BYTE = 0x16;
/** A refused client may read why for so long. */
const LAST_WORD_MS = 1_000;

export interface GateDeps {
  readonly context: LinkContext;
  readonly securer: Securer;
  readonly guard: KeyGuard;
  /** What we say of ourselves in the 200. */
  hello(peer: PortalPeer): Hello;
  /** The peer with this pin; undefined: nobody's. */
  peerOf(pin: string): PortalPeer | undefined;
  /** The federation key shared with that peer alone; undefined: the one of the link. */
  keyOf(pin: string): Buffer | undefined;
  onSplice(socket: Socket, firstBytes: Buffer): void;
}

interface Unproven {
  readonly socket: Socket;
  /** Whom it is counted for: an IP address, or a hub. */
  readonly from: string;
  /** Whom the hub announced. */
  readonly announced?: string;
  /** He comes to join by a code, and for nothing else. */
  readonly joins?: Between;
}

export class Gate {
  readonly #deps: GateDeps;
  /** The oldest first. */
  readonly #unproven = new Set<Unproven>();

  constructor(deps: GateDeps) {
    this.#deps = deps;
  }

  /** A connection that somebody made to us. Owns the socket. */
  accept(socket: Socket): void {
    const address = peerAddress(socket);
    const from = address.replace(/:\d+$/, '');
    const { guard, context } = this.#deps;
    if (guard.shutOut(from)) {
      context.refuse(address, SHUT_OUT);
      return void socket.destroy();
    }
    void this.#admit({ socket, from }, address, undefined);
  }

  /** A connection through a hub, spliced already, which should be that of `peer`. Owns the socket. */
  acceptSpliced(socket: Socket, hub: string, peer: string): void {
    socket.on('error', () => socket.destroy());
    void this.#admit({ socket, from: `hub ${hub}`, announced: peer }, `through ${hub}`, hub);
  }

  /** A connection through a hub of somebody who has a code, or says so. Owns the socket. */
  acceptJoining(socket: Socket, hub: string, name: string): void {
    socket.on('error', () => socket.destroy());
    void this.#admit({ socket, from: `hub ${hub}`, joins: { hub, name } }, `${name} through ${hub}`, hub);
  }

  /** Never rejects. */
  async #admit(entry: Unproven, address: string, via: string | undefined): Promise<void> {
    this.#register(entry);
    try {
      if (await this.#isSession(entry.socket, address, via)) await this.#prove(entry, address, via);
    } catch (error) {
      this.#refuse(address, error);
    } finally {
      this.#unproven.delete(entry);
    }
  }

  /** False: it was a splice, and is in other hands. */
  async #isSession(socket: Socket, address: string, via: string | undefined): Promise<boolean> {
    const first = await this.#firstChunk(socket, address);
    if (first[0] === FIRST_BYTE && via === undefined) {
      this.#deps.onSplice(socket, first);
      return false;
    }
    if (first[0] !== TLS_BYTE) {
      socket.destroy();
      throw notPortal(address, first);
    }
    socket.unshift(first);
    return true;
  }

  async #prove({ socket, from, announced, joins }: Unproven, address: string, via: string | undefined): Promise<void> {
    const { context, securer, guard, peerOf } = this.#deps;
    const { clock, signal } = context;
    const secured = await securer.asServer(socket, address, { clock, signal, ms: HANDSHAKE_MS });
    if (secured.socket.alpnProtocol === PAIRING_ALPN) return this.#pair(secured, address, via, joins);
    if (joins) {
      secured.socket.destroy();
      throw new LinkError('not_joining', `${address} was to join by a code, and does not`, SCANNER_FIX);
    }
    const peer = peerOf(secured.pin);
    if (!peer) return this.#turnAway(secured, address);
    // The rules let in whom the hub had named: nobody else may profit from that.
    if (announced !== undefined && peer.name !== announced) {
      secured.socket.destroy();
      throw new LinkError('wrong_peer', `${address} announced ${announced}, but it is ${peer.name}`, WRONG_PEER_FIX);
    }
    // All that come through a hub share its address.
    const suspect = via === undefined ? from : secured.pin;
    if (guard.shutOut(suspect)) throw new LinkError(SHUT_OUT.code, SHUT_OUT.words, SHUT_OUT.fix);
    const greeting: GreetingOptions = {
      secured,
      way: { role: 'server', address, via },
      guard,
      key: this.#deps.keyOf(secured.pin),
      suspect,
      ourPin: securer.pin,
      signal,
      hello: () => this.#deps.hello(peer),
      authenticated: () => securer.learn(secured, 'server'),
      proven: (greeted) => peer.welcome(greeted, undefined),
    };
    try {
      await greetAsServer(greeting, context);
    } catch (error) {
      if (!(error instanceof LinkError) || error.code !== 'wrong_key') throw error;
      const { code, words, fix } = wrongKey(peer.name);
      context.refuse(address, { code, words, fix });
      await lastWordSaid(secured, context);
    }
  }

  /** Somebody who has a code, or says so. On a way that a hub opened for a peer it is none. */
  async #pair(secured: Secured, address: string, via: string | undefined, between?: Between): Promise<void> {
    const { context, securer } = this.#deps;
    const { clock, signal, node } = context;
    const pairing = via === undefined || between ? context.pairing : undefined;
    const desk = { pairing, link: context.name, between };
    const self = { pin: securer.pin, name: node.name };
    const name = await answerPairing(secured, address, desk, self, { clock, signal, ms: PAIRING_MS });
    context.log.info({ address, peer: name }, 'a relay joined by the code');
  }

  /** No peer's certificate. It is told so, or its operator would look for the fault in the network. */
  async #turnAway(secured: Secured, address: string): Promise<void> {
    const { context } = this.#deps;
    context.refuse(address, unknownCertificate(address, secured.pin));
    secured.socket.end(UNKNOWN_FRAME);
    await lastWordSaid(secured, context);
  }

  #refuse(address: string, error: unknown): void {
    const { context } = this.#deps;
    if (context.signal.aborted) return;
    if (error instanceof ProtocolError) {
      return context.refuse(address, { code: error.code, words: `${address}: ${error.message}`, fix: NOT_PORTAL_FIX });
    }
    if (!(error instanceof LinkError)) {
      return context.log.error({ err: error, address }, 'a fault of our own ended a handshake');
    }
    // One of two connections of relays that dialled each other at once is no refusal.
    if (error.code === 'gave_way') return;
    context.refuse(address, { code: error.code, words: error.message, fix: error.fix });
  }

  /** Over the limit the oldest goes, of whoever has most: who floods the port closes his own. */
  #register(entry: Unproven): void {
    this.#unproven.add(entry);
    if (this.#unproven.size <= MAX_UNPROVEN) return;
    const byOrigin = Map.groupBy(this.#unproven, ({ from }) => from);
    const [most] = [...byOrigin.values()].sort((a, b) => b.length - a.length);
    const victim = most![0]!;
    this.#unproven.delete(victim);
    victim.socket.destroy();
    this.#deps.context.refuse(victim.from, TOO_MANY_UNPROVEN);
  }

  /** Resolves with the first bytes; the socket is paused then. Rejects with LinkError; it is destroyed then. */
  #firstChunk(socket: Socket, address: string): Promise<Buffer> {
    const { clock, signal } = this.#deps.context;
    return new Promise((resolve, reject) => {
      const settle = (error: LinkError) => {
        leave();
        socket.destroy();
        reject(error);
      };
      const took = (chunk: Buffer) => {
        leave();
        socket.pause();
        resolve(chunk);
      };
      const closed = () => settle(new LinkError('reset', `${address} said nothing and hung up`, SCANNER_FIX));
      const leave = () => {
        cancel();
        release();
        socket.off('data', took).off('close', closed);
      };
      const cancel = clock.after(HANDSHAKE_MS, () => settle(silentGreeting(address, HANDSHAKE_MS / 1000)));
      socket.on('data', took).on('close', closed);
      let release = () => {};
      release = onAbort(signal, () => settle(new LinkError('aborted', 'told to stop', '')));
    });
  }
}

/** The far end has a moment to read why, then the socket goes. */
function lastWordSaid({ socket }: Secured, { clock }: LinkContext): Promise<void> {
  return new Promise((resolve) => {
    const cancel = clock.after(LAST_WORD_MS, () => socket.destroy());
    socket.once('close', () => {
      cancel();
      resolve();
    });
    if (socket.closed) resolve();
    socket.resume();
  });
}

function notPortal(address: string, first: Buffer): ProtocolError {
  return new ProtocolError(
    'not_portal',
    `${address} began with 0x${first.toString('hex', 0, 1)}, neither TLS nor a splice`,
  );
}

const WRONG_PEER_FIX = 'Hub and relays must call each other by the same names: compare peers there and here.';
const SCANNER_FIX = 'Port scanners do this; a relay would go on.';
const NOT_PORTAL_FIX =
  'This is no relay like this one, or one of another version. Close the port to strangers with a firewall.';
