// The far side of a probe: answers `CALL /probe` (what would stop you here, what time is it, and remember this id) and
// `CALL /probe/ID` (did the marked event come out of the hub, and was an event of yours written to a client).
import * as z from 'zod';
import type { Hub } from '../core/hub.ts';
import { type Caller, jsonResponse, type NodeRequest, type NodeResponse, problemResponse } from '../core/node.ts';
import type { Peer } from '../core/peer.ts';
import { PROBE_TYPE } from '../core/policy.ts';
import { filtersIn, filtersOut } from '../core/probe.ts';
import { onAbort } from '../lib/abort.ts';
import type { Clock } from '../lib/clock.ts';
import type { Target } from '../lib/target.ts';
import { peerOf } from './resources.ts';

/** Probes remembered at once, of one peer and of all, and for how long. */
export const MAX_PER_PEER = 4;
const MAX_EXPECTED = 32;
const EXPECTED_MS = 60_000;
/** Most rules told. */
export const MAX_FILTERS = 64;
/** How long `CALL /probe/ID` waits for the event, and then for a real one that is written to a client. */
export const ARRIVAL_WAIT_MS = 8_000;
export const DELIVERY_WAIT_MS = 10_000;

const announcement = z.object({ id: z.string().regex(/^[0-9a-f]{32}$/), endToEnd: z.boolean() });

/** A marked event that was announced. */
interface Expected {
  readonly endToEnd: boolean;
  /** Wall clock when it came out of the hub. */
  arrivedMs: number | null;
  /** An event of that peer that was written to clients; `ms` after it came in. */
  delivery: { readonly clients: number; readonly ms: number } | null;
  /** Told of every change. */
  wake: () => void;
  forget(): void;
}

export interface ProbeDeskDeps {
  readonly hub: Hub;
  readonly clock: Clock;
}

export class ProbeDesk {
  readonly #deps: ProbeDeskDeps;
  /** By link, peer and id: nobody learns of another's probe. */
  readonly #expected = new Map<string, Expected>();

  constructor(deps: ProbeDeskDeps) {
    this.#deps = deps;
  }

  async answer(request: NodeRequest, target: Target, caller: Caller, signal: AbortSignal): Promise<NodeResponse> {
    const [, id, ...more] = target.segments;
    const peer = peerOf(this.#deps.hub, caller.link, caller.name);
    if (more.length > 0) return problemResponse(404, 'not_found', 'a probe is /probe or /probe/ID');
    if (!peer) return problemResponse(409, 'no_events', `events from ${caller.name} do not come in here`);
    return id === undefined ? this.#announce(request, peer) : this.#wait(keyOf(peer, id), signal);
  }

  /** Asked more than once with the same id: the asker measures the round trip. */
  #announce(request: NodeRequest, peer: Peer): NodeResponse {
    const { hub, clock } = this.#deps;
    const parsed = announcement.safeParse(parseJson(request.body));
    if (!parsed.success) return problemResponse(400, 'bad_probe', 'a probe has an id of 32 hexadecimal digits');
    const { id, endToEnd } = parsed.data;
    const key = keyOf(peer, id);
    if (!this.#expected.has(key)) {
      if (this.#isFull(peer)) return problemResponse(429, 'too_many_probes', 'too many probes at once');
      this.#expect(key, peer, id, endToEnd);
    }
    const clients = clientsOf(hub);
    const links = new Map(clients.map((client) => [client.spec.link, client]));
    const ways = endToEnd ? [...links.values()].flatMap((client) => filtersOut(client, 'here', clock)) : [];
    const filters = [...filtersIn(peer, 'here', clock), ...ways].slice(0, MAX_FILTERS);
    return jsonResponse(200, { now: clock.wallMs(), clients: clients.length, filters });
  }

  #isFull(peer: Peer): boolean {
    const own = [...this.#expected.keys()].filter((key) => key.startsWith(keyOf(peer, '')));
    return own.length >= MAX_PER_PEER || this.#expected.size >= MAX_EXPECTED;
  }

  #expect(key: string, peer: Peer, id: string, endToEnd: boolean): void {
    const { hub, clock } = this.#deps;
    const expected: Expected = { endToEnd, arrivedMs: null, delivery: null, wake() {}, forget };
    const stopTap = hub.tap(({ from, message, receivedWallMs }) => {
      if (from !== peer.spec.key || message.kind !== 'event') return;
      if (message.event.type !== PROBE_TYPE || message.event.uid !== id) return;
      expected.arrivedMs ??= receivedWallMs;
      expected.wake();
    });
    const stopWatch = endToEnd
      ? watchDeliveries(hub, peer.spec.key, clock, (clients, ms) => {
          expected.delivery ??= { clients, ms };
          expected.wake();
        })
      : () => {};
    const cancel = clock.after(EXPECTED_MS, forget);
    const everyExpected = this.#expected;
    function forget() {
      cancel();
      stopTap();
      stopWatch();
      everyExpected.delete(key);
    }
    this.#expected.set(key, expected);
  }

  async #wait(key: string, signal: AbortSignal): Promise<NodeResponse> {
    const expected = this.#expected.get(key);
    if (!expected) return problemResponse(404, 'not_found', 'this probe was not announced, or too long ago');
    await this.#until(expected, () => expected.arrivedMs !== null, ARRIVAL_WAIT_MS, signal);
    if (expected.arrivedMs !== null && expected.endToEnd) {
      await this.#until(expected, () => expected.delivery !== null, DELIVERY_WAIT_MS, signal);
    }
    expected.forget();
    return jsonResponse(200, { arrivedMs: expected.arrivedMs, delivery: expected.delivery });
  }

  #until(expected: Expected, is: () => boolean, ms: number, signal: AbortSignal): Promise<void> {
    if (is() || signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const done = () => {
        cancel();
        release();
        expected.wake = () => {};
        resolve();
      };
      expected.wake = () => {
        if (is()) done();
      };
      const cancel = this.#deps.clock.after(ms, done);
      const release = onAbort(signal, done);
    });
  }
}

function keyOf({ spec }: Peer, id: string): string {
  return `${spec.key} ${id}`;
}

/** Undefined: no JSON. */
export function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch {
    return undefined;
  }
}

/** Those that connected to a listener and are no federates: phones. */
function clientsOf(hub: Hub): Peer[] {
  return hub.peers().filter(({ session, spec }) => session && !session.federated && spec.key !== spec.link);
}

/**
 * Tells of events of the peer `key` that are handed to clients' connections. The hub offers an event to everybody in the
 * same breath in which it shows it, so what the counters of the clients gained before the next is shown, it has caused.
 */
function watchDeliveries(hub: Hub, key: string, clock: Clock, tell: (clients: number, ms: number) => void): () => void {
  let pending: { readonly sent: ReadonlyMap<Peer, number>; readonly atMs: number } | undefined;
  const settle = () => {
    if (!pending) return;
    const { sent, atMs } = pending;
    pending = undefined;
    const reached = [...sent].filter(([client, before]) => sentTo(client) > before).length;
    if (reached > 0) tell(reached, clock.nowMs() - atMs);
  };
  return hub.tap(({ from, message }) => {
    settle();
    if (from !== key || message.kind !== 'event' || message.event.type === PROBE_TYPE) return;
    pending = { sent: new Map(clientsOf(hub).map((client) => [client, sentTo(client)])), atMs: clock.nowMs() };
    queueMicrotask(settle);
  });
}

function sentTo({ lanes }: Peer): number {
  return lanes.reduce((sum, { sent }) => sum + sent, 0);
}
