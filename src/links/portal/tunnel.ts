// Tunnels as a relay uses them: asks a hub for a peer, is asked by one, and reaches services beside its peers.
//
// Three can bring two relays together: a hub both are connected to; the callee itself, where the caller can dial it; the
// caller, where the callee had dialled it. For the last two no hub is needed, and the steps are the same.
import type { Socket } from 'node:net';
import { type Caller, jsonResponse, type NodeRequest, type NodeResponse } from '../../core/node.ts';
import { LinkError } from '../../lib/errors.ts';
import type { LinkContext } from '../link.ts';
import type { Address } from '../stream.ts';
import { type ExposeStatus, Services } from './expose.ts';
import { type HubStatus, TunnelHub } from './hub.ts';
import type { Limit, Path, Sessions, Tunnels } from './seam.ts';
import { type Exposed, lists, type TunnelsConfig } from './tunnel-config.ts';
import { type Guest, SpliceDesk } from './tunnel-desk.ts';
import { MAX_DIAL_BACKS, TUNNEL_ANSWER_MS, TUNNEL_TLS_MS } from './tunnel-limits.ts';
import { openSplice } from './tunnel-opening.ts';
import { put } from './tunnel-question.ts';
import { secureAsCaller } from './tunnel-tls.ts';
import {
  askRequest,
  JOIN_TARGET,
  offerRequest,
  PORTAL_TARGET,
  type Refusal,
  readAsk,
  readOffer,
  readRefusal,
  readToken,
  refuse,
  type TunnelOffer,
} from './tunnel-words.ts';

/** Hops of a request that the caller itself makes. */
const DIRECT_HOPS = 1;

export interface TunnelSettings {
  /** Others may ask this relay for tunnels to each other. */
  readonly hub: boolean;
  readonly tunnels: TunnelsConfig;
  readonly expose: ReadonlyMap<string, Exposed>;
}

export interface TunnelStatus {
  /** Null: this relay is no hub. */
  readonly hub: HubStatus | null;
  readonly services: ExposeStatus;
}

export class PortalTunnels implements Tunnels {
  readonly #settings: TunnelSettings;
  readonly #sessions: Sessions;
  readonly #context: LinkContext;
  readonly #desk: SpliceDesk;
  readonly #hub: TunnelHub | undefined;
  readonly #services: Services;
  #dialBacks = 0;

  constructor(settings: TunnelSettings, sessions: Sessions, context: LinkContext) {
    this.#settings = settings;
    this.#sessions = sessions;
    this.#context = context;
    this.#desk = new SpliceDesk(context);
    this.#services = new Services(settings.expose, settings.tunnels.maxPerPeer, context);
    if (settings.hub) this.#hub = new TunnelHub(settings.tunnels, this.#desk, sessions, context);
  }

  onSplice(socket: Socket, firstBytes: Buffer): void {
    this.#desk.accept(socket, firstBytes);
  }

  limitsFor(_peer: string): readonly Limit[] {
    return this.#hub?.limits() ?? [];
  }

  status(): TunnelStatus {
    return { hub: this.#hub?.status() ?? null, services: this.#services.status() };
  }

  close(): void {
    this.#desk.close();
    this.#hub?.close();
    this.#services.close();
  }

  // --- asking --------------------------------------------------------------------------------------------------------

  path(hub: string, peer: string): Path {
    return { name: hub, open: (signal) => this.#throughHub(hub, peer, PORTAL_TARGET, signal) };
  }

  /**
   * A connection to what the peer exposes under that name, TLS between the two relays around it. Rejects with the LinkError
   * of the last way that was tried. The caller owns the socket.
   */
  async open(peer: string, service: string, signal: AbortSignal): Promise<Socket> {
    const tls = this.#sessions.tls(peer);
    if (!tls) throw new LinkError('unknown_peer', `no peer is called ${peer}`, 'Check the name in via.');
    const raw = await this.#reach(peer, service, signal);
    const { clock } = this.#context;
    return secureAsCaller(raw, service, tls, `${peer}/${service}`, { clock, signal, ms: TUNNEL_TLS_MS });
  }

  /** Through the hub, to one who is no peer yet and has made a code. Nobody is proven: CPace is for what comes next. */
  join(hub: string, peer: string, signal: AbortSignal): Promise<Socket> {
    return this.#throughHub(hub, peer, JOIN_TARGET, signal);
  }

  async #reach(peer: string, service: string, signal: AbortSignal): Promise<Socket> {
    let failure = new LinkError('peer_away', `${peer} is not connected, nor is a hub between`, PEER_AWAY_FIX);
    for (const way of this.#ways(peer, service, signal)) {
      try {
        return await way();
      } catch (error) {
        if (signal.aborted || !(error instanceof LinkError)) throw error;
        failure = error;
      }
    }
    throw failure;
  }

  #ways(peer: string, service: string, signal: AbortSignal): readonly (() => Promise<Socket>)[] {
    const address = this.#sessions.dialled(peer);
    const hubs = this.#sessions.hubs(peer).map((hub) => () => this.#throughHub(hub, peer, service, signal));
    if (address) return [() => this.#throughPeer(peer, address, service, signal), ...hubs];
    if (!this.#sessions.connected(peer)) return hubs;
    return [...hubs, () => this.#throughUs(peer, service, signal)];
  }

  async #throughHub(hub: string, peer: string, target: string, signal: AbortSignal): Promise<Socket> {
    const address = this.#sessions.dialled(hub);
    // A hub that is itself reached through a hub would make chains, and chains make loops.
    if (!address) throw new LinkError('hub_away', `the hub ${hub} is not connected directly`, HUB_AWAY_FIX);
    const token = await this.#ask(hub, { to: peer, target }, signal);
    return openSplice(address, token, this.#context, signal);
  }

  async #throughPeer(peer: string, address: Address, target: string, signal: AbortSignal): Promise<Socket> {
    return openSplice(address, await this.#ask(peer, { target }, signal), this.#context, signal);
  }

  async #ask(asked: string, ask: { to?: string; target: string }, signal: AbortSignal): Promise<string> {
    const { status, body } = await this.#call(asked, askRequest(ask), signal);
    if (status !== 200) throw readRefusal(asked, status, body);
    const token = readToken(body);
    if (token !== undefined) return token;
    throw new LinkError('bad_answer', `${asked} agreed to a tunnel without a token`, 'Update that relay.');
  }

  /** The peer had dialled us, so it can do it again. */
  async #throughUs(peer: string, target: string, signal: AbortSignal): Promise<Socket> {
    const come = Promise.withResolvers<Guest>();
    come.promise.catch(() => {}); // its token may expire before the peer has answered
    const token = this.#desk.expect({
      arrived: come.resolve,
      expired: () => come.reject(new LinkError('other_side_missing', `${peer} agreed and did not come in time`, '')),
    });
    if (token === undefined) throw new LinkError('token_limit', TOKENS_OUT.words, '');
    const { status, body } = await this.#call(peer, offerRequest({ target, token }), signal);
    if (status !== 200) {
      this.#desk.forget(token);
      throw readRefusal(peer, status, body);
    }
    const guest = await come.promise;
    guest.welcome();
    return guest.socket;
  }

  #call(peer: string, request: NodeRequest, signal: AbortSignal): Promise<NodeResponse> {
    const question = { to: peer, request, ms: TUNNEL_ANSWER_MS };
    return put(question, this.#sessions, this.#context.clock, signal);
  }

  // --- being asked ---------------------------------------------------------------------------------------------------

  handle(request: NodeRequest, caller: Caller, signal: AbortSignal): Promise<NodeResponse> | undefined {
    if (request.method !== 'CALL') return undefined;
    if (request.path === '/hub/tunnel') return this.#asked(request, caller, signal);
    if (request.path === '/tunnel/offer') return this.#offered(request, caller);
    return undefined;
  }

  async #asked(request: NodeRequest, caller: Caller, signal: AbortSignal): Promise<NodeResponse> {
    if (request.hops > DIRECT_HOPS) return refuse(RELAYED);
    const ask = readAsk(request.body);
    if (!ask) return refuse(UNREADABLE);
    const { to, target } = ask;
    if (to === undefined) return this.#askedForUs(target, caller.name);
    return this.#hub ? this.#hub.ask({ to, target }, caller, signal) : refuse(NOT_A_HUB);
  }

  /** The caller can dial us and wants a service: there is no hub to trust. */
  #askedForUs(target: string, from: string): NodeResponse {
    const refusal = isRelay(target) ? NO_NEED : this.#refusal(target, from);
    if (refusal) return this.#refuse(refusal, from, target);
    const token = this.#desk.expect({
      arrived: (guest) => {
        guest.welcome();
        this.#take(guest.socket, target, from, from);
      },
      expired: () => {},
    });
    return token === undefined ? refuse(TOKENS_OUT) : jsonResponse(200, { token });
  }

  async #offered(request: NodeRequest, { name: hub }: Caller): Promise<NodeResponse> {
    if (request.hops > DIRECT_HOPS) return refuse(RELAYED);
    const offer = readOffer(request.body);
    if (!offer) return refuse(UNREADABLE);
    const from = offer.from ?? hub;
    const refusal = from === hub && isRelay(offer.target) ? NO_NEED : this.#refusal(offer.target, from);
    if (refusal) return this.#refuse(refusal, from, offer.target);
    const address = this.#sessions.dialled(hub);
    if (!address) return this.#refuse(NO_WAY_BACK, from, offer.target);
    if (this.#dialBacks >= MAX_DIAL_BACKS) return this.#refuse(BUSY, from, offer.target);
    this.#dialBack(address, offer, from, hub);
    return jsonResponse(200, {});
  }

  #refusal(target: string, from: string): Refusal | undefined {
    if (target === JOIN_TARGET && !this.#context.pairing?.isOpen) return NO_CODE;
    if (target !== JOIN_TARGET && !this.#sessions.tls(from))
      return { status: 404, code: 'unknown_peer', words: `no peer is called ${from} here` };
    if (!lists(this.#settings.tunnels.acceptFrom, from)) {
      return { status: 403, code: 'not_allowed', words: `${from} may not come here by a tunnel` };
    }
    return isRelay(target) ? undefined : this.#services.refusal(target, from);
  }

  #refuse(refusal: Refusal, from: string, target: string): NodeResponse {
    this.#context.refuse(from, { code: refusal.code, words: `a tunnel to ${target} here: ${refusal.words}`, fix: '' });
    return refuse(refusal);
  }

  #dialBack(address: Address, { target, token }: TunnelOffer, from: string, hub: string): void {
    const { signal, log } = this.#context;
    this.#dialBacks++;
    openSplice(address, token, this.#context, signal)
      .then(
        (socket) => this.#take(socket, target, from, hub),
        (error: Error) => log.warn({ hub, from, target, reason: error.message }, 'a tunnel could not be dialled back'),
      )
      .finally(() => this.#dialBacks--);
  }

  /** The far end begins TLS as a client: only that proves who it is, whatever the hub said. */
  #take(socket: Socket, target: string, from: string, hub: string): void {
    if (target === PORTAL_TARGET) return this.#sessions.accept(socket, hub, from);
    if (target === JOIN_TARGET) return this.#sessions.acceptJoining(socket, hub, from);
    const tls = this.#sessions.tls(from);
    if (!tls) return void socket.destroy();
    this.#services.serve(socket, target, from, tls);
  }
}

/** The peer itself is meant, not a service beside it. */
function isRelay(target: string): boolean {
  return target === PORTAL_TARGET || target === JOIN_TARGET;
}

const NO_CODE: Refusal = { status: 404, code: 'no_code', words: 'no code is open there' };
const UNREADABLE: Refusal = {
  status: 400,
  code: 'bad_request',
  words: 'this does not ask for a tunnel in a known way',
};
const RELAYED: Refusal = {
  status: 508,
  code: 'loop',
  words: 'tunnels are asked for on the session with the hub itself',
};
const NOT_A_HUB: Refusal = { status: 404, code: 'not_a_hub', words: 'this relay is not a hub' };
const NO_NEED: Refusal = { status: 400, code: 'no_need', words: 'the two relays are connected already' };
const NO_WAY_BACK: Refusal = { status: 409, code: 'no_way_back', words: 'this relay did not dial that hub directly' };
const BUSY: Refusal = { status: 429, code: 'busy', words: `${MAX_DIAL_BACKS} tunnels are being opened here already` };
const TOKENS_OUT: Refusal = { status: 503, code: 'token_limit', words: 'too many tunnels are being opened at once' };
const PEER_AWAY_FIX = 'It is tried again by itself. Check the peer, and its hub: in the configuration.';
const HUB_AWAY_FIX = 'It is tried again by itself. A hub needs an address at which this relay dials it.';
