// A question about a tunnel, put to a hub or a peer. Tunnels are asked for when something has just broken, often the session
// that the question goes by as well: then it is put again on the next one.
import { type NodeRequest, type NodeResponse, problemResponse } from '../../core/node.ts';
import { childController } from '../../lib/abort.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Sessions } from './seam.ts';
import { DOUBT_MS, DOUBT_ROUND_TRIPS } from './tunnel-limits.ts';
import { refusalOf } from './tunnel-words.ts';

export interface Question {
  readonly to: string;
  readonly request: NodeRequest;
  /** Until then there must be an answer. */
  readonly ms: number;
}

/** Resolves with the peer's answer, or one of Sessions.call. Never rejects. */
export async function put(
  { to, request, ms }: Question,
  sessions: Sessions,
  clock: Clock,
  parent: AbortSignal,
): Promise<NodeResponse> {
  const { controller, release } = childController(parent);
  const { signal } = controller;
  const askedMs = clock.nowMs();
  const cancelEnd = clock.after(ms, () => controller.abort());
  const cancelDoubt = clock.after(Math.max(DOUBT_MS, DOUBT_ROUND_TRIPS * sessions.rttMs(to)), () =>
    sessions.doubt(to, askedMs),
  );
  try {
    let answer = await sessions.call(to, request, signal);
    if (isLost(answer) && sessions.connected(to)) answer = await sessions.call(to, request, signal);
    return signal.aborted && !parent.aborted ? late(to, ms) : answer;
  } finally {
    cancelEnd();
    cancelDoubt();
    release();
  }
}

/** The session ended under the question. */
function isLost({ status, body }: NodeResponse): boolean {
  return status === 502 && refusalOf(status, body).code === 'connection_lost';
}

function late(to: string, ms: number): NodeResponse {
  return problemResponse(504, 'no_answer', `${to} did not answer within ${Math.round(ms / 1000)} s`);
}
