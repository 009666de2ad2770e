// What one peer's policy says of a message, with what it must remember for it: when each unit last passed.
import { Thinner } from './filter.ts';
import type { Envelope, Inbound } from './message.ts';
import { type AdmitContext, admit, type Policy, thinMsIn, thinMsOut } from './policy.ts';
import type { DropReason } from './reason.ts';

export class Screen {
  readonly #in = new Thinner();
  readonly #out = new Thinner();

  /** May it come in? Asked once: a position that may is noted. */
  admit(inbound: Inbound, policy: Policy, context: AdmitContext, nowMs: number): DropReason | undefined {
    const refusal = admit(inbound, policy, context);
    if (refusal || inbound.message.kind !== 'event') return refusal;
    const everyMs = thinMsIn(inbound, policy, context.wallMs + context.clockOffsetMs);
    return tooSoon(this.#in, inbound.message.event.uid, everyMs, nowMs);
  }

  /** Does a position come too soon after the last of its unit? Asked once: one that does not is noted. */
  thin(envelope: Envelope, policy: Policy, nowMs: number): DropReason | undefined {
    const { message } = envelope;
    return message.kind === 'event'
      ? tooSoon(this.#out, message.event.uid, thinMsOut(envelope, policy), nowMs)
      : undefined;
  }

  /** A connection begins: it is told everything anew. */
  begin(): void {
    this.#out.forget();
  }
}

function tooSoon(thinner: Thinner, uid: string, everyMs: number, nowMs: number): DropReason | undefined {
  return everyMs === 0 || thinner.passes(uid, everyMs, nowMs) ? undefined : 'rate_limited';
}
