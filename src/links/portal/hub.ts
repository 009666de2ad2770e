// The hub's side of tunnels: a peer asks for another one, the other is told and asked, both open a splice connection with a
// token each, and the two sockets are joined. The hub passes bytes of a TLS session it has no key for.
import { isDeepStrictEqual } from 'node:util';
import { type Caller, jsonResponse, type NodeResponse } from '../../core/node.ts';
import type { LinkContext } from '../link.ts';
import type { Limit, Sessions } from './seam.ts';
import type { SpliceEnd } from './splice.ts';
import { lists, type TunnelsConfig } from './tunnel-config.ts';
import type { SpliceDesk } from './tunnel-desk.ts';
import { DEAD_AIR_MS, MAX_TUNNELS, OFFER_ANSWER_MS } from './tunnel-limits.ts';
import { Meeting } from './tunnel-meeting.ts';
import { put } from './tunnel-question.ts';
import { saidLimits, TunnelQuota } from './tunnel-quota.ts';
import { offerRequest, type Refusal, refusalOf, refuse } from './tunnel-words.ts';

/** What a hub did since its link started. */
export interface HubStatus {
  /** Asked for and not ended. */
  readonly open: number;
  /** Agreed to by both sides. */
  readonly agreed: number;
  /** Passed, both ways. */
  readonly bytes: number;
  readonly refused: Readonly<Record<string, number>>;
  readonly ended: Readonly<Partial<Record<SpliceEnd, number>>>;
}

interface Call {
  readonly from: string;
  readonly to: string;
  readonly target: string;
}

export class TunnelHub {
  readonly #config: TunnelsConfig;
  readonly #desk: SpliceDesk;
  readonly #sessions: Sessions;
  readonly #context: LinkContext;
  readonly #quotas = new Map<string, TunnelQuota>();
  readonly #meetings = new Map<Meeting, Call>();
  #agreed = 0;
  #bytes = 0;
  readonly #refused: Record<string, number> = {};
  readonly #ended: Partial<Record<SpliceEnd, number>> = {};

  constructor(config: TunnelsConfig, desk: SpliceDesk, sessions: Sessions, context: LinkContext) {
    this.#config = config;
    this.#desk = desk;
    this.#sessions = sessions;
    this.#context = context;
  }

  /** Answers `CALL /hub/tunnel`: 200 with a token, or a refusal. Never rejects. */
  async ask(ask: { to: string; target: string }, caller: Caller, signal: AbortSignal): Promise<NodeResponse> {
    const call = { from: caller.name, ...ask };
    const quota = this.#quotaOf(call.from);
    const refusal = this.#refusal(call) ?? this.#begin(call, quota);
    if (refusal) return this.#refuse(refusal, call);
    const meeting = this.#meet(call, quota);
    const outcome = await this.#bringTogether(meeting, call, signal);
    if (typeof outcome !== 'string') {
      meeting.cancel(outcome);
      return this.#refuse(outcome, call);
    }
    this.#agreed++;
    this.#context.log.info(call, 'tunnel agreed');
    return jsonResponse(200, { token: outcome });
  }

  limits(): readonly Limit[] {
    return saidLimits(this.#config);
  }

  status(): HubStatus {
    const [refused, ended] = [{ ...this.#refused }, { ...this.#ended }];
    return { open: this.#meetings.size, agreed: this.#agreed, bytes: this.#bytes, refused, ended };
  }

  close(): void {
    for (const meeting of this.#meetings.keys()) meeting.close('shutdown');
  }

  #refusal({ from, to }: Call): Refusal | undefined {
    if (to === from) return { status: 403, code: 'loop', words: 'a tunnel back to the peer that asks for it' };
    if (!mayReach(this.#config, from, to)) {
      return { status: 403, code: 'not_allowed', words: `this hub does not let ${from} reach ${to}` };
    }
    if (!this.#sessions.tls(to)) return { status: 404, code: 'unknown_peer', words: `this hub knows no peer ${to}` };
    if (!this.#sessions.connected(to)) {
      return { status: 502, code: 'peer_away', words: `${to} is not connected to this hub` };
    }
    if (this.#meetings.size < MAX_TUNNELS) return undefined;
    return { status: 429, code: 'tunnel_limit', words: `this hub already has its ${MAX_TUNNELS} tunnels` };
  }

  /** Counts it, or says why not. A network that forgets connections leaves dead ones behind: they must not cost the next its place. */
  #begin(call: Call, quota: TunnelQuota): Refusal | undefined {
    const refusal = quota.begin();
    if (refusal?.code !== 'tunnel_limit') return refusal;
    const [deadest] = [...this.#meetings]
      .filter(([meeting, other]) => isDeepStrictEqual(call, other) && meeting.silentMs >= DEAD_AIR_MS)
      .sort(([one], [other]) => other.silentMs - one.silentMs);
    if (!deadest) return refusal;
    deadest[0].close('superseded');
    return quota.begin();
  }

  #meet(call: Call, quota: TunnelQuota): Meeting {
    const meeting = new Meeting(this.#desk, quota, this.#context, (end, bytes) => {
      this.#meetings.delete(meeting);
      this.#bytes += bytes;
      if (end) this.#ended[end] = (this.#ended[end] ?? 0) + 1;
      this.#context.log.info({ ...call, end: end ?? 'not opened', bytes }, 'tunnel ended');
    });
    this.#meetings.set(meeting, call);
    return meeting;
  }

  /** The caller's token, once the callee has agreed; else why not. */
  async #bringTogether(meeting: Meeting, call: Call, signal: AbortSignal): Promise<string | Refusal> {
    const { from, to, target } = call;
    const token = meeting.invite();
    if (token === undefined) return TOKENS_OUT;
    const offer = { to, request: offerRequest({ from, target, token }), ms: OFFER_ANSWER_MS };
    const { status, body } = await put(offer, this.#sessions, this.#context.clock, signal);
    if (status !== 200) return refusalOf(status, body);
    if (meeting.over) return { status: 504, code: 'other_side_missing', words: `${to} agreed and did not come` };
    return meeting.invite() ?? TOKENS_OUT;
  }

  #refuse(refusal: Refusal, { from, to, target }: Call): NodeResponse {
    const { code, words } = refusal;
    this.#refused[code] = (this.#refused[code] ?? 0) + 1;
    this.#context.refuse(from, { code, words: `a tunnel to ${to}, ${target}: ${words}`, fix: '' });
    return refuse(refusal);
  }

  #quotaOf(peer: string): TunnelQuota {
    const quota = this.#quotas.get(peer) ?? new TunnelQuota(this.#config, this.#context.clock);
    this.#quotas.set(peer, quota);
    return quota;
  }
}

const TOKENS_OUT: Refusal = { status: 503, code: 'token_limit', words: 'too many tunnels are being opened at once' };

function mayReach({ allow }: TunnelsConfig, from: string, to: string): boolean {
  return allow === undefined || allow.some((rule) => lists(rule.from, from) && lists(rule.to, to));
}
