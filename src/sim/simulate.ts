// Runs a load over a thin line in virtual time: through this relay's own hub, queue and scheduler, or by the rule of another.
import { NO_BUDGET } from '../core/budget.ts';
import { EventLog } from '../core/events.ts';
import { Hub } from '../core/hub.ts';
import type { CotEvent, Envelope, Inbound, TrackOf } from '../core/message.ts';
import { DEFAULT_POLICY } from '../core/policy.ts';
import { QUEUE_LIMITS } from '../core/queue.ts';
import type { PeerSpec, Session, SessionPort } from '../core/session.ts';
import { ManualClock } from '../lib/clock.ts';
import { type Offered, WALL_START_MS } from './load.ts';
import { Measure, type Result } from './measure.ts';
import { Pipe } from './pipe.ts';
import { dropNewest, dropOldest, latestWhenFull, type Rule, unbounded } from './rules.ts';

export interface Line {
  readonly rateBps: number;
  readonly durationMs: number;
}

/** What the kernel takes of a sender that writes whenever it may. */
const SOCKET_BYTES = 85_000;
/** What was offered this shortly before the end need not have arrived. */
const TAIL_MS = 60_000;

interface Contender {
  readonly name: string;
  readonly words: string;
  run(load: Iterable<Offered>, line: Line): Result;
}

export const CONTENDERS: readonly Contender[] = [
  rival('fifo', 'FIFO unbounded (Federation Hub)', unbounded),
  rival('tail1000', 'FIFO 1000, drops the newest (Mosquitto)', () => dropNewest(1000)),
  rival('oldest100', '100, drops the oldest (PyTAK)', () => dropOldest(100)),
  rival('oldest32', '32, drops the oldest (DERP)', () => dropOldest(32)),
  rival('latest', '512 kB, then latest per key (Signal K)', () => latestWhenFull(512 * 1024, 1024)),
  ours('waystation-85k', 'Waystation, but 85 kB in the socket', () => SOCKET_BYTES),
  ours('waystation-4k', 'Waystation, but 4 kB in the socket', () => 4096),
  ours('waystation', 'Waystation, 1 s under way', (rateBps) => rateBps / 8),
];

/** A rule of others: it writes whenever the socket takes it. */
function rival(name: string, words: string, make: () => Rule): Contender {
  return { name, words, run: (load, line) => runRule(words, make(), load, line) };
}

function runRule(words: string, rule: Rule, load: Iterable<Offered>, { rateBps, durationMs }: Line): Result {
  const measure = new Measure();
  const endMs = durationMs - TAIL_MS;
  let waiting: Offered | undefined;
  const pipe = new Pipe(rateBps, SOCKET_BYTES, (offered, atMs) => {
    measure.passed(atMs);
    measure.arrived(offered, atMs, endMs);
  });
  const fill = (nowMs: number) => {
    for (;;) {
      waiting ??= rule.next();
      if (!waiting || !pipe.hasRoom(waiting.bytes)) return;
      pipe.push(waiting, nowMs);
      waiting = undefined;
    }
  };
  const runTo = (toMs: number) => {
    while (pipe.nextMs <= toMs) {
      const nowMs = pipe.nextMs;
      pipe.step();
      fill(nowMs);
    }
  };
  for (const offered of load) {
    runTo(offered.atMs);
    measure.passed(offered.atMs);
    measure.offered(offered, endMs);
    rule.offer(offered);
    fill(offered.atMs);
  }
  runTo(durationMs);
  measure.passed(durationMs);
  return measure.result(words, {});
}

/** This relay, with so many bytes under way. */
function ours(name: string, words: string, window: (rateBps: number) => number): Contender {
  return { name, words, run: (load, line) => runHub(words, window(line.rateBps), load, line) };
}

function runHub(words: string, windowBytes: number, load: Iterable<Offered>, { rateBps, durationMs }: Line): Result {
  const clock = new ManualClock(WALL_START_MS);
  const trackOf: TrackOf = ({ message }) => (message.kind === 'event' ? thin.offered(message.event)?.track : undefined);
  const hub = new Hub({ nodeId: 'simulated', clock, events: new EventLog(() => clock.wallMs()), trackOf });
  const measure = new Measure();
  const endMs = durationMs - TAIL_MS;
  const thin = new ThinSession(rateBps, windowBytes, (offered, atMs) => {
    measure.passed(atMs);
    measure.arrived(offered, atMs, endMs);
  });
  const field = new FieldSession();
  hub.setPolicy('thin', DEFAULT_POLICY, QUEUE_LIMITS, NO_BUDGET);
  field.port = hub.attach(specOf('field'), field);
  thin.port = hub.attach(specOf('thin'), thin);
  thin.clock = clock;
  const runTo = (toMs: number) => {
    while (thin.pipe.nextMs <= toMs) {
      clock.advance(Math.max(0, thin.pipe.nextMs - clock.nowMs()));
      thin.step();
    }
    clock.advance(Math.max(0, toMs - clock.nowMs()));
  };
  for (const offered of load) {
    runTo(offered.atMs);
    measure.passed(offered.atMs);
    measure.offered(offered, endMs);
    thin.note(offered);
    field.port.deliver(inboundOf(offered));
  }
  runTo(durationMs);
  measure.passed(durationMs);
  return measure.result(words, booksOf(hub));
}

/** What became of all that was offered to the peer behind the line. */
function booksOf(hub: Hub): Record<string, number> {
  const books: Record<string, number> = {};
  const peer = hub.peers().find(({ spec }) => spec.key === 'thin')!;
  for (const { offered, sent, dropped } of peer.lanes) {
    for (const [word, count] of Object.entries({ offered, sent, ...dropped })) books[word] = (books[word] ?? 0) + count;
  }
  return { ...books, waiting: peer.queue.length };
}

function specOf(key: string): PeerSpec {
  return { key, link: key, kind: 'simulated', name: key, durable: false, graceMs: 0 };
}

const zeros = Buffer.alloc(65_536);

function inboundOf({ event, bytes }: Offered): Inbound {
  return { message: { kind: 'event', event }, wire: { format: 'xml', bytes: zeros.subarray(0, bytes) }, size: bytes };
}

/** Where the load comes from. Takes nothing. */
class FieldSession implements Session {
  readonly identity = { id: 'field', name: 'field', proof: 'configured' } as const;
  readonly address = 'field';
  readonly federated: boolean = false;
  port!: SessionPort;

  carries({ kind }: Envelope['message']): boolean {
    return kind === 'event';
  }

  send(_envelope: Envelope): boolean {
    return true;
  }

  close(): void {}
}

/** A line that measures itself, as a link with acknowledgements does. */
class ThinSession extends FieldSession {
  readonly goodputBps: number;
  readonly pipe: Pipe;
  readonly #byEvent = new WeakMap<object, Offered>();
  clock!: ManualClock;

  constructor(rateBps: number, windowBytes: number, arrived: (offered: Offered, atMs: number) => void) {
    super();
    this.goodputBps = rateBps;
    this.pipe = new Pipe(rateBps, windowBytes, arrived);
  }

  /** What it will perhaps be handed. */
  note(offered: Offered): void {
    this.#byEvent.set(offered.event, offered);
  }

  /** As it was noted. */
  offered(event: CotEvent): Offered | undefined {
    return this.#byEvent.get(event);
  }

  override send({ message }: Envelope): boolean {
    const offered = message.kind === 'event' ? this.offered(message.event) : undefined;
    if (!offered || !this.pipe.hasRoom(offered.bytes)) return false;
    this.pipe.push(offered, this.clock.nowMs());
    return true;
  }

  step(): void {
    this.pipe.step();
    this.port.writable();
  }
}
