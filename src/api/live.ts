// The WebSockets: live events (who may watch, what of it he wants to see, and what becomes of one that does not keep up), and open
// status pages.
import type { IncomingMessage, Server } from 'node:http';
import type { Duplex } from 'node:stream';
import { type WebSocket, WebSocketServer } from 'ws';
import * as z from 'zod';
import type { CotEvent, Envelope } from '../core/message.ts';
import type { LiveEvent } from '../core/status.ts';
import type { Log } from '../lib/log.ts';
import { parseTarget } from '../lib/target.ts';
import { checked } from './checked.ts';
import { callerOf, type GateDeps, isForeignSite, type ListenerKind } from './gate.ts';
import { problemOf, Refusal } from './refusal.ts';
import { type Caller, mayAct } from './route.ts';

/** A watcher that has this much unread is cut off rather than fed more. */
const MAX_WATCHER_BYTES = 1024 * 1024;
export const MAX_WATCHERS = 16;
/** Messages a watcher may send us, pings aside: none is expected. */
const MAX_SAID = 8;

export interface LiveDeps extends GateDeps {
  readonly log: Log;
  /** Calls the listener for every message let in; returns its removal. */
  tap(listener: (envelope: Envelope) => void): () => void;
  /** The event as CoT XML. */
  toXml(envelope: Envelope): string;
  /** A status page is open there: keeps it current. */
  openPage(socket: WebSocket, caller: Caller, opening: PageOpening): void;
  /** A refusal made here, for the counters. */
  onRefused(code: string): void;
}

/** `?at=…&gzip=1`: what the page shows already, and that it can unpack. */
const pageQuery = z.strictObject({
  at: z.string().max(32).default(''),
  gzip: z
    .literal('1')
    .optional()
    .transform((said) => said === '1'),
});
export type PageOpening = z.output<typeof pageQuery>;

const prefixes = z
  .string()
  .max(1024)
  .transform((text) => text.split(',').filter((one) => one !== ''));

/** `?type=a-f-,b-t-f&group=Blue&uid=…&callsign=…&from=…&xml=false`: lists with commas; all given must fit. */
export const watchQuery = z.strictObject({
  type: prefixes.optional().describe('Only types that begin with one of these.'),
  group: prefixes.optional().describe('Only what was sent to one of these groups.'),
  uid: prefixes.optional().describe('Only these uids.'),
  callsign: z.string().max(128).optional().describe('Only callsigns that hold this, in any case.'),
  from: prefixes.optional().describe('Only from peers whose key begins with one of these.'),
  xml: z.enum(['true', 'false']).default('true').describe('false: without the XML.'),
});
type Wanted = z.output<typeof watchQuery>;

/** All watchers, of every listener. */
export class Live {
  readonly #deps: LiveDeps;
  readonly #sockets = new WebSocketServer({ noServer: true, maxPayload: 1024 });
  readonly #watchers = new Set<WebSocket>();

  constructor(deps: LiveDeps) {
    this.#deps = deps;
  }

  get watchers(): number {
    return this.#watchers.size;
  }

  serve(server: Server, kind: ListenerKind): void {
    server.on('upgrade', (request, socket: Duplex, head: Buffer) => {
      try {
        const begin = this.#admit(request, kind);
        this.#sockets.handleUpgrade(request, socket, head, begin);
      } catch (error) {
        turnAway(socket, this.#refusalOf(error));
      }
    });
  }

  close(): void {
    for (const watcher of this.#sockets.clients) watcher.terminate();
    this.#sockets.close();
  }

  /** What is to be done with the connection. @throws Refusal */
  #admit(request: IncomingMessage, kind: ListenerKind): (watcher: WebSocket) => void {
    const target = parseTarget(request.url ?? '');
    if (target?.path !== '/api/events' && target?.path !== '/api/page') {
      throw new Refusal(404, 'not_found', 'the WebSockets here are /api/events and /api/page');
    }
    const caller = callerOf(request, kind, this.#deps);
    if (isForeignSite(request)) throw new Refusal(403, 'foreign_site', 'pages of other sites may not watch');
    const query = Object.fromEntries(new URLSearchParams(target.query));
    if (target.path === '/api/page') {
      const opening = checked(pageQuery, query, 'the query');
      return (watcher) => this.#openPage(watcher, caller, opening);
    }
    if (!mayAct(caller.role, 'viewer')) {
      throw new Refusal(401, 'login_needed', 'watching events needs a login', {
        fix: 'send "Authorization: Bearer TOKEN"',
      });
    }
    if (this.watchers >= MAX_WATCHERS) {
      throw new Refusal(503, 'too_many_watchers', `${MAX_WATCHERS} are watching already`);
    }
    const wanted = checked(watchQuery, query, 'the query');
    return (watcher) => this.#feed(watcher, wanted);
  }

  /** It may show this and no more: a page says nothing. */
  #openPage(page: WebSocket, caller: Caller, opening: PageOpening): void {
    page.on('message', () => this.#turnOut(page, 'talking_watcher', 'nothing is taken here'));
    this.#deps.openPage(page, caller, opening);
  }

  #refusalOf(error: unknown): Refusal {
    const known = error instanceof Refusal;
    if (!known) this.#deps.log.error({ err: error }, 'a fault while a watcher was let in');
    const refusal = known
      ? error
      : new Refusal(500, 'internal_error', 'a fault in this relay; its log has the details');
    this.#deps.onRefused(refusal.code);
    return refusal;
  }

  /** Sends every event he wants to one watcher; one that does not keep up is told and cut off. */
  #feed(watcher: WebSocket, wanted: Wanted): void {
    let said = 0;
    this.#watchers.add(watcher);
    const end = (code: string, words: string) => {
      stop();
      this.#turnOut(watcher, code, words);
    };
    const stop = this.#deps.tap((envelope) => {
      const { message } = envelope;
      if (message.kind !== 'event' || !isWanted(wanted, envelope, message.event)) return;
      if (watcher.bufferedAmount > MAX_WATCHER_BYTES) return end('slow_watcher', 'too slow');
      const shown = this.#show(envelope, message.event, wanted);
      if (shown !== undefined) watcher.send(shown);
    });
    watcher.on('message', () => {
      if (++said === MAX_SAID) end('talking_watcher', 'nothing is taken here');
    });
    watcher.on('close', () => {
      this.#watchers.delete(watcher);
      stop();
    });
    watcher.on('error', stop);
  }

  #turnOut(watcher: WebSocket, code: string, words: string): void {
    this.#deps.onRefused(code);
    watcher.close(code === 'slow_watcher' ? 1013 : 1008, words);
    // A peer that does not answer the goodbye either is not waited for.
    setTimeout(() => watcher.terminate(), 2_000).unref();
  }

  /** Undefined: it cannot be said in XML. Not to happen, and no reason to fail whoever sent it. */
  #show(envelope: Envelope, event: CotEvent, { xml }: Wanted): string | undefined {
    try {
      const live = liveEvent(envelope, event, xml === 'true' ? this.#deps.toXml(envelope) : '');
      return JSON.stringify(live);
    } catch (error) {
      this.#deps.log.error({ err: error, from: envelope.from }, 'an event could not be shown');
      return undefined;
    }
  }
}

function isWanted({ type, group, uid, callsign, from }: Wanted, envelope: Envelope, event: CotEvent): boolean {
  if (type && !type.some((prefix) => event.type.startsWith(prefix))) return false;
  if (uid && !uid.includes(event.uid)) return false;
  if (from && !from.some((prefix) => envelope.from.startsWith(prefix))) return false;
  if (callsign && !event.callsign.toLowerCase().includes(callsign.toLowerCase())) return false;
  return !group || envelope.groups.some((one) => group.includes(one)) || group.includes(event.team);
}

/** The answer is written by hand: node:http has let go of the socket. */
function turnAway(socket: Duplex, refusal: Refusal): void {
  const body = `${JSON.stringify(problemOf(refusal))}\n`;
  const head = [
    `HTTP/1.1 ${refusal.status} Refused`,
    'connection: close',
    'content-type: application/problem+json',
    `content-length: ${Buffer.byteLength(body)}`,
  ];
  socket.on('error', () => socket.destroy());
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`, () => socket.destroy());
}

function liveEvent(envelope: Envelope, event: CotEvent, xml: string): LiveEvent {
  return {
    received: new Date(envelope.receivedWallMs).toISOString(),
    from: envelope.from,
    uid: event.uid,
    type: event.type,
    callsign: event.callsign,
    time: new Date(event.timeMs).toISOString(),
    stale: new Date(event.staleMs).toISOString(),
    lat: event.lat,
    lon: event.lon,
    ageMs: Math.round(envelope.receivedWallMs - event.timeMs),
    xml,
  };
}
