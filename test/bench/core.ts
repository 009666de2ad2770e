// What the hub itself costs: events from one peer to many whose wires are free, without a socket or a byte on a wire. And what a
// thin line costs, where what goes first is chosen among all that waits.
import { EventLog } from '../../src/core/events.ts';
import { Hub } from '../../src/core/hub.ts';
import { type CotEvent, type Inbound, NO_DETAIL } from '../../src/core/message.ts';
import type { Session, SessionPort } from '../../src/core/session.ts';
import { ManualClock } from '../../src/lib/clock.ts';
import { compare } from './micro.ts';
import { report, round } from './report.ts';

const PEERS = 50;
const UNITS = 200;

class Sink implements Session {
  readonly identity = { id: 'x', name: 'x', proof: 'none' } as const;
  readonly address = '';
  readonly federated: boolean = true;
  readonly goodputBps: number | undefined;
  port!: SessionPort;
  taken = 0;
  room = Number.POSITIVE_INFINITY;

  constructor(goodputBps?: number) {
    this.goodputBps = goodputBps;
  }

  carries(): boolean {
    return true;
  }

  send(): boolean {
    if (this.room <= 0) return false;
    this.room--;
    this.taken++;
    return true;
  }

  close(): void {}
}

function stand(peers: number, goodputBps?: number) {
  const clock = new ManualClock(Date.UTC(2026, 0, 1));
  const hub = new Hub({ nodeId: 'bench', clock, events: new EventLog(() => clock.wallMs()) });
  const attach = (key: string, session: Sink) => {
    session.port = hub.attach({ key, link: key, kind: 'bench', name: key, durable: false, graceMs: 0 }, session);
    return session;
  };
  const from = attach('from', new Sink());
  const to = Array.from({ length: peers }, (_, n) => attach(`to${n}`, new Sink(goodputBps)));
  clock.advance(1000);
  return { clock, from, to };
}

const wire = { format: 'xml', bytes: Buffer.alloc(430) } as const;
let serial = 0;

function fix(clock: ManualClock): Inbound {
  const n = serial++;
  const timeMs = clock.wallMs();
  const times = { timeMs, startMs: timeMs, staleMs: timeMs + 75_000 };
  const place = { lat: 48 + (n % 1000) / 1000, lon: 24, hae: 0, ce: 10, le: 10 };
  const event: CotEvent = { ...NO_DETAIL, uid: `unit-${n % UNITS}`, type: 'a-f-G-U-C', how: 'm-g', ...times, ...place };
  return { message: { kind: 'event', event }, wire, size: 430 };
}

function chat(clock: ManualClock): Inbound {
  const { message, ...rest } = fix(clock);
  const event = (message as { event: CotEvent }).event;
  return {
    message: { kind: 'event', event: { ...event, uid: `chat-${serial}`, type: 'b-t-f', how: 'h-g-i-g-o' } },
    ...rest,
  };
}

const free = stand(PEERS);
const thin = stand(1, 2400);
thin.to[0]!.room = 0;
const ns = compare({
  'positions, free wires': () => {
    free.clock.advance(1);
    free.from.port.deliver(fix(free.clock));
  },
  'chat, free wires': () => {
    free.clock.advance(1);
    free.from.port.deliver(chat(free.clock));
  },
  'positions, onto one thin line that takes every twelfth': () => {
    thin.clock.advance(100);
    thin.from.port.deliver(fix(thin.clock));
    if (serial % 12 !== 0) return;
    thin.to[0]!.room = 1;
    thin.to[0]!.port.writable();
  },
});
report({
  bench: 'core',
  what: `Nanoseconds of CPU: one event through the hub, and of that each delivery; ${PEERS} free wires, ${UNITS} units.`,
  rows: Object.entries(ns).map(([what, perEvent]) => {
    const peers = what.includes('thin') ? 1 : PEERS;
    return { what, 'ns/event': round(perEvent), 'ns/delivery': round(perEvent / peers) };
  }),
  skipped: [],
});
