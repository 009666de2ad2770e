// Requests between relays and partners, counted by peer, direction and how they ended.
import type { NodeResponse } from '../core/node.ts';

/** The link that partners count as, where others have one. */
export const PARTNERS_LINK = 'partners';
/** Counters kept; beyond it, and for peers that are not named here, the peer counts as `other`. */
const MAX_COUNTERS = 1024;

export interface CallCount {
  readonly peer: string;
  readonly direction: 'in' | 'out';
  readonly outcome: string;
  readonly count: number;
}

export class FederationCalls {
  readonly #counts = new Map<string, CallCount>();

  /** `outcome`: from a closed list. */
  note(peer: string, direction: CallCount['direction'], outcome: string): void {
    const key = JSON.stringify([peer, direction, outcome]);
    const known = this.#counts.get(key);
    if (!known && this.#counts.size >= MAX_COUNTERS && peer !== 'other') return this.note('other', direction, outcome);
    this.#counts.set(key, { peer, direction, outcome, count: (known?.count ?? 0) + 1 });
  }

  /** A peer asked for a resource. Partners are counted where they are let in. */
  answered({ peer, link, status }: { readonly peer: string; readonly link: string; readonly status: number }): void {
    if (link === PARTNERS_LINK) return;
    this.note(peer.split('/', 1)[0]!, 'in', status < 400 ? 'ok' : status < 500 ? 'refused' : 'failed');
  }

  counts(): readonly CallCount[] {
    return [...this.#counts.values()];
  }

  of(name: string): readonly CallCount[] {
    return this.counts().filter(({ peer }) => peer === name);
  }
}

/** How a request ended, by its answer. What a partner answers with 5xx is `failed`, whatever its words are. */
export function outcomeOf({ status, body, headers, answered }: NodeResponse): string {
  if (status < 400) return 'ok';
  if (answered && status >= 500) return 'failed';
  const code = headers['content-type'] === 'application/problem+json' ? codeIn(body) : '';
  if (status === 502 && OWN_OUTCOMES.has(code)) return code;
  if (status === 504) return 'timeout';
  if (status >= 500) return 'failed';
  if (code.startsWith('certificate_')) return 'certificate';
  return status === 401 ? 'secret' : 'refused';
}

/** Codes of answers made here, because there was none. */
const OWN_OUTCOMES: ReadonlySet<string> = new Set(['tls', 'unreachable', 'bad_answer', 'not_connected', 'given_up']);

function codeIn(body: Buffer): string {
  try {
    const { code } = JSON.parse(body.toString('utf8')) as { code?: unknown };
    return typeof code === 'string' ? code : '';
  } catch {
    return '';
  }
}
