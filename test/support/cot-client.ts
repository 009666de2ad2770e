// A phone, as far as a test needs one: connects, says who it is, collects what it is sent. Knows nothing of src/.
import { connect as connectTcp, type Socket } from 'node:net';
import type { TestContext } from 'node:test';
import { connect as connectTls } from 'node:tls';

export interface PhoneOptions {
  readonly port: number;
  /** Its own address, where it matters. */
  readonly from?: string;
  readonly tls?: { readonly cert: string; readonly key: string; readonly ca: string };
}

/** How long a test waits for something that should come at once: generous, machines differ. */
export const PATIENCE_MS = 60_000;

export class Phone {
  readonly events: string[] = [];
  readonly #socket: Socket;
  #text = '';
  #wake: () => void = () => {};
  closed = false;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (chunk) => this.#read(String(chunk)));
    socket.on('error', () => {});
    socket.on('close', () => {
      this.closed = true;
      this.#wake();
    });
  }

  send(xml: string): void {
    this.#socket.write(xml);
  }

  /** Its own position, which is how a server learns of uid and callsign. */
  announce(uid: string, callsign: string, timeMs = Date.now()): void {
    this.send(sa(uid, callsign, timeMs));
  }

  /** The first event, already there or to come, of which `is` holds. */
  async waitFor(is: (event: string) => boolean, what = 'an event'): Promise<string> {
    const deadline = Date.now() + PATIENCE_MS;
    for (;;) {
      const found = this.events.find(is);
      if (found) return found;
      if (Date.now() > deadline)
        throw new Error(
          `waited in vain for ${what}; got ${this.events.length}: ${this.events.join('\n').slice(0, 2000)}`,
        );
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        setTimeout(resolve, 100);
      });
    }
  }

  withUid(uid: string): Promise<string> {
    return this.waitFor((event) => event.includes(`uid="${uid}"`), `uid ${uid}`);
  }

  has(uid: string): boolean {
    return this.events.some((event) => event.includes(`uid="${uid}"`));
  }

  close(): void {
    this.#socket.destroy();
  }

  #read(chunk: string): void {
    this.#text += chunk;
    for (let end = this.#text.indexOf('</event>'); end >= 0; end = this.#text.indexOf('</event>')) {
      const event = this.#text.slice(0, end + 8);
      this.#text = this.#text.slice(end + 8);
      if (event.includes('t-x-takp-v') || event.includes('type="t-x-c-t')) continue;
      this.events.push(event.slice(event.indexOf('<event')));
    }
    this.#wake();
  }
}

/** Connects a phone to a relay on this machine; it leaves when the test ends. */
export async function phone(t: Pick<TestContext, 'after'>, { port, from, tls }: PhoneOptions): Promise<Phone> {
  const target = { host: '127.0.0.1', port, ...(from === undefined ? {} : { localAddress: from }) };
  const socket = tls ? connectTls({ ...target, ...tls, checkServerIdentity: () => undefined }) : connectTcp(target);
  t.after(() => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    socket.once(tls ? 'secureConnect' : 'connect', () => resolve());
    socket.once('error', reject);
  });
  return new Phone(socket);
}

export function sa(uid: string, callsign: string, timeMs = Date.now(), point = 'lat="48.1" lon="24.5"'): string {
  const at = (ms: number) => new Date(ms).toISOString();
  return (
    `<?xml version="1.0" encoding="UTF-8"?>\n<event version="2.0" uid="${uid}" type="a-f-G-U-C" how="m-g" time="${at(timeMs)}" start="${at(timeMs)}" stale="${at(timeMs + 300_000)}">` +
    `<point ${point} hae="200.0" ce="10.0" le="9999999.0"/><detail><contact endpoint="*:-1:stcp" callsign="${callsign}"/>` +
    `<__group name="Blue" role="Team Member"/><track speed="1.5" course="90.0"/></detail></event>`
  );
}

/** A chat message to one callsign, as ATAK sends it to a server. */
export function chatTo(id: string, from: string, callsign: string, text: string): string {
  const at = (ms: number) => new Date(ms).toISOString();
  const now = Date.now();
  return (
    `<event version="2.0" uid="GeoChat.${from}.${callsign}.${id}" type="b-t-f" how="h-g-i-g-o" time="${at(now)}" start="${at(now)}" stale="${at(now + 86_400_000)}">` +
    `<point lat="0.0" lon="0.0" hae="9999999.0" ce="9999999.0" le="9999999.0"/><detail><__chat senderCallsign="${from}" chatroom="${callsign}" groupOwner="false" messageId="${id}"/>` +
    `<remarks time="${at(now)}">${text}</remarks><marti><dest callsign="${callsign}"/></marti></detail></event>`
  );
}
