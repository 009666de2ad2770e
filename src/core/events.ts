// What happened, for people: numbered, typed events, a ring for each type: however often phones come and go, the one line
// that says why the configuration was refused is still there. Events never make the relay work.
import type { CloseReason } from './reason.ts';

export type RelayEvent =
  | { readonly type: 'relay_started'; readonly version: string }
  | { readonly type: 'relay_stopping' }
  | { readonly type: 'config_applied'; readonly links: readonly string[] }
  | { readonly type: 'config_refused'; readonly words: string }
  | { readonly type: 'link_state'; readonly link: string; readonly state: string; readonly detail: string }
  | {
      readonly type: 'link_trouble';
      readonly link: string;
      readonly code: string;
      readonly words: string;
      readonly fix: string;
    }
  | {
      readonly type: 'peer_refused';
      readonly link: string;
      readonly address: string;
      readonly code: string;
      readonly words: string;
      readonly fix: string;
    }
  | { readonly type: 'peer_up'; readonly peer: string; readonly name: string; readonly address: string }
  | { readonly type: 'peer_down'; readonly peer: string; readonly reason: CloseReason; readonly words: string }
  | { readonly type: 'peer_replaced'; readonly peer: string; readonly words: string }
  | { readonly type: 'peer_limit'; readonly peer: string }
  | { readonly type: 'contact_joined'; readonly uid: string; readonly callsign: string; readonly peer: string }
  | { readonly type: 'contact_left'; readonly uid: string; readonly callsign: string; readonly peer: string }
  | {
      /** Somebody took a callsign that another has who comes by another peer. */
      readonly type: 'callsign_shared';
      readonly callsign: string;
      readonly uid: string;
      readonly peer: string;
      readonly holder: { readonly uid: string; readonly peer: string };
    }
  | {
      /** Two peers that are both there say that a uid is theirs. */
      readonly type: 'uid_claimed';
      readonly uid: string;
      readonly holder: string;
      readonly rival: string;
      readonly callsigns: readonly [holder: string, rival: string];
    }
  | { readonly type: 'warning'; readonly code: string; readonly words: string; readonly fix: string };

export interface NumberedEvent {
  readonly id: number;
  readonly wallMs: number;
  readonly event: RelayEvent;
}

/** Events of one type kept. */
export const EVENT_RING = 200;

export class EventLog {
  readonly #wallMs: () => number;
  readonly #rings = new Map<RelayEvent['type'], NumberedEvent[]>();
  #nextId = 1;
  #listeners = new Set<(event: NumberedEvent) => void>();

  constructor(wallMs: () => number) {
    this.#wallMs = wallMs;
  }

  add(event: RelayEvent): void {
    const numbered: NumberedEvent = { id: this.#nextId++, wallMs: this.#wallMs(), event };
    const ring = this.#rings.get(event.type) ?? [];
    if (ring.push(numbered) > EVENT_RING) ring.shift();
    this.#rings.set(event.type, ring);
    for (const listener of this.#listeners) listener(numbered);
  }

  /** Events after `id`, oldest first, and how many between were already forgotten. */
  since(id: number): { readonly missed: number; readonly events: readonly NumberedEvent[] } {
    const events = [...this.#rings.values()]
      .flatMap((ring) => ring.filter((event) => event.id > id))
      .sort((a, b) => a.id - b.id);
    return { missed: Math.max(0, this.#nextId - 1 - id - events.length), events };
  }

  /** The listener must be quick and must not throw. Returns its removal. */
  subscribe(listener: (event: NumberedEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
