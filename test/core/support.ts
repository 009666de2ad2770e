// In-memory twins for tests of the core: events made from a few words, and a session that records what it is sent.

import { EventLog } from '../../src/core/events.ts';
import { Hub, type HubOptions } from '../../src/core/hub.ts';
import type { HubLimits } from '../../src/core/hub-limits.ts';
import { type CotEvent, type Envelope, type Inbound, type Message, NO_DETAIL } from '../../src/core/message.ts';
import type { CloseReason } from '../../src/core/reason.ts';
import type { PeerSpec, Session, SessionPort } from '../../src/core/session.ts';
import { ManualClock } from '../../src/lib/clock.ts';

export const START_MS = Date.UTC(2026, 0, 1);

/** A friendly unit's position. */
export function position(uid: string, fields: Partial<CotEvent> = {}): CotEvent {
  const timeMs = fields.timeMs ?? START_MS;
  return {
    ...NO_DETAIL,
    uid,
    type: 'a-f-G-U-C',
    how: 'm-g',
    timeMs,
    startMs: timeMs,
    staleMs: timeMs + 75_000,
    lat: 48.1,
    lon: 24.5,
    hae: 200,
    ce: 10,
    le: 9999999,
    callsign: uid.toUpperCase(),
    ...fields,
  };
}

export function chat(uid: string, fields: Partial<CotEvent> = {}): CotEvent {
  return position(uid, { type: 'b-t-f', how: 'h-g-i-g-o', callsign: '', staleMs: START_MS + 86_400_000, ...fields });
}

export function inbound(event: CotEvent, fields: Partial<Inbound> = {}): Inbound {
  const bytes = Buffer.from(`${event.uid} ${event.type} ${event.timeMs} ${event.lat}`);
  return { message: { kind: 'event', event }, wire: { format: 'xml', bytes }, size: bytes.length, ...fields };
}

export function contact(op: 'create' | 'update' | 'delete', uid: string, callsign = uid.toUpperCase()): Inbound {
  return { message: { kind: 'contact', op, contact: { uid, callsign } }, size: 20 };
}

/** What a CoT stream can say to a phone. */
export function phoneSays(message: Message): boolean {
  return message.kind === 'event' || (message.kind === 'contact' && message.op === 'delete');
}

/** Records what it is sent; `room` limits how much it takes before it says full. */
export class RecordingSession implements Session {
  readonly identity;
  readonly address = '192.0.2.1:4242';
  readonly federated = true;
  meets: boolean | undefined;
  busy = false;
  goodputBps: number | undefined;
  transitMs: number | undefined;
  sentBytes: number | undefined;
  readonly sent: Envelope[] = [];
  readonly groupsSent: (readonly string[])[] = [];
  readonly closedWith: CloseReason[] = [];
  room = Number.POSITIVE_INFINITY;
  says: (message: Message) => boolean = () => true;
  /** Does not tell at once that it closed: the test calls port.closed(). */
  closesLate = false;
  /** Called with every message before it is taken. */
  onSend: (envelope: Envelope) => void = () => {};
  port!: SessionPort;

  constructor(name: string) {
    this.identity = { id: name, name, proof: 'certificate' as const };
  }

  carries(message: Message): boolean {
    return this.says(message);
  }

  send(envelope: Envelope, groups: readonly string[]): boolean {
    this.onSend(envelope);
    if (this.room <= 0 || this.closedWith.length > 0) return false;
    this.room--;
    this.sent.push(envelope);
    this.groupsSent.push(groups);
    return true;
  }

  close(reason: CloseReason): void {
    if (this.closedWith.length > 0) return;
    this.closedWith.push(reason);
    if (!this.closesLate) this.port.closed(reason);
  }

  /** uids of the events sent, contact notices as `+uid` and `-uid`. */
  get log(): string[] {
    return this.sent.map(({ message }) => {
      if (message.kind === 'event') return message.event.uid;
      if (message.kind === 'contact') return `${message.op === 'delete' ? '-' : '+'}${message.contact.uid}`;
      return message.kind;
    });
  }

  get events(): CotEvent[] {
    return this.sent.flatMap(({ message }) => (message.kind === 'event' ? [message.event] : []));
  }
}

export class Bench {
  readonly clock = new ManualClock(START_MS);
  readonly events = new EventLog(() => this.clock.wallMs());
  readonly hub: Hub;

  constructor(limits: Partial<HubLimits> = {}, more: Pick<HubOptions, 'trackOf'> = {}) {
    this.hub = new Hub({ nodeId: 'me', clock: this.clock, events: this.events, limits, ...more });
  }

  spec(key: string, fields: Partial<PeerSpec> = {}): PeerSpec {
    return { key, link: key.split('/')[0]!, kind: 'memory', name: key, durable: false, graceMs: 0, ...fields };
  }

  join(key: string, fields: Partial<PeerSpec> = {}, session = new RecordingSession(key)): RecordingSession {
    session.port = this.hub.attach(this.spec(key, fields), session);
    this.clock.advance(0);
    return session;
  }

  peer(key: string) {
    const peer = this.hub.peers().find((candidate) => candidate.spec.key === key);
    if (!peer) throw new Error(`no peer ${key}`);
    return peer;
  }

  /** Everything offered is sent, dropped by name, or waiting: to the event. */
  balance(): { peer: string; lane: number; missing: number }[] {
    return this.hub
      .peers()
      .flatMap((peer) =>
        peer.lanes.map((lane, index) => {
          const dropped = Object.values(lane.dropped).reduce((sum, count) => sum + count, 0);
          return {
            peer: peer.spec.key,
            lane: index,
            missing: lane.offered - lane.sent - dropped - peer.queue.lengthOf(index),
          };
        }),
      )
      .filter(({ missing }) => missing !== 0);
  }
}
