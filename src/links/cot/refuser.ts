// Whether a server ends our connection when another is opened with the same certificate: then phones must share it, or we
// would throw ourselves out again and again.
import type { CloseReason } from '../../core/reason.ts';
import { ONE_CONNECTION_MS, STRIKE_MS, STRIKES } from './limits.ts';

export class Refuser {
  readonly words =
    'The server ends our connection when a second is opened: allow several for one certificate there, or federate with it.';
  #openedMs = Number.NEGATIVE_INFINITY;
  #strikes = 0;
  #untilMs = Number.NEGATIVE_INFINITY;

  refuses(nowMs: number): boolean {
    return nowMs < this.#untilMs;
  }

  /** A phone's connection came up. */
  opened(nowMs: number): void {
    this.#openedMs = nowMs;
  }

  /** The main connection ended. */
  mainEnded(reason: CloseReason, nowMs: number): void {
    const isStrike = (reason === 'remote_closed' || reason === 'network_error') && nowMs - this.#openedMs < STRIKE_MS;
    this.#strikes = isStrike ? this.#strikes + 1 : 0;
    if (this.#strikes < STRIKES) return;
    this.#strikes = 0;
    this.#untilMs = nowMs + ONE_CONNECTION_MS;
  }
}
