// A message for one device: by TCP, one message and close, as phones send them to each other (or by UDP), at the endpoint that
// the device itself announced. Only where it sends from: else anybody on the mesh could make this box connect anywhere.
import { connect } from 'node:net';
import type { Clock } from '../../lib/clock.ts';
import { DIRECT_MS, MAX_HEARD } from './limits.ts';

export interface Endpoint {
  readonly host: string;
  readonly port: number;
  readonly transport: 'tcp' | 'udp';
}

/** `192.168.1.5:4242:tcp`. Undefined: none that can be dialled (`*:-1:stcp` means through a server). */
export function readEndpoint(text: string, source: string): Endpoint | undefined {
  const [, host, port, transport] = /^(\d+\.\d+\.\d+\.\d+):(\d{1,5}):(tcp|udp)$/.exec(text) ?? [];
  if (host !== source || Number(port) < 1024 || Number(port) > 65_535) return undefined;
  return { host, port: Number(port), transport: transport as Endpoint['transport'] };
}

export interface Known {
  readonly uid: string;
  readonly callsign: string;
  readonly endpoint: Endpoint;
}

/** Where units of one interface can be reached. */
export class Endpoints {
  readonly #byUid = new Map<string, Known>();

  note(known: Known): void {
    this.#byUid.delete(known.uid);
    this.#byUid.set(known.uid, known);
    if (this.#byUid.size > MAX_HEARD) this.#byUid.delete(this.#byUid.keys().next().value!);
  }

  /** Each endpoint once. */
  of(uids: readonly string[], callsigns: readonly string[]): readonly Endpoint[] {
    const found = new Set<Endpoint>();
    for (const uid of uids) {
      const known = this.#byUid.get(uid);
      if (known) found.add(known.endpoint);
    }
    if (callsigns.length > 0) {
      for (const { callsign, endpoint } of this.#byUid.values()) if (callsigns.includes(callsign)) found.add(endpoint);
    }
    return [...found];
  }
}

/** Resolves to whether the device's machine took all of it. Never rejects; the socket is closed. */
export function tellByTcp({ host, port }: Endpoint, from: string, bytes: Buffer, clock: Clock): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, localAddress: from });
    let taken = false;
    const cancel = clock.after(DIRECT_MS, () => socket.destroy());
    socket.on('error', () => {}); // 'close' follows
    socket.once('connect', () => {
      socket.end(bytes, () => {
        taken = true;
      });
    });
    socket.resume(); // what it says is of no interest, but its end is
    socket.once('close', () => {
      cancel();
      resolve(taken);
    });
  });
}
