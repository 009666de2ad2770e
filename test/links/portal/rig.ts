// Relays for the tests of this link: each a link with an identity of its own, and the lines between them in the test's hands.
import { connect, createServer, type Server, type Socket } from 'node:net';
import type { TestContext } from 'node:test';
import type { Envelope } from '../../../src/core/message.ts';
import type { Identity } from '../../../src/identity/identity.ts';
import type { Link } from '../../../src/links/link.ts';
import { portalKind } from '../../../src/links/portal/index.ts';
import { testIdentity } from '../../support/pki.ts';
import { changed, type RecordedSession, type RunningLink, type RunOptions, runLink, until } from '../memory.ts';

export const KEY = 'correct horse battery staple';

const identities = new Map<string, Identity>();

/** The one of the relay of this name. */
export function identityOf(name: string): Identity {
  const identity = identities.get(name) ?? testIdentity(name);
  identities.set(name, identity);
  return identity;
}

/** Fingerprint of its portal certificate. */
export function pinOf(name: string): string {
  return identityOf(name).portal().fingerprint;
}

/** For peers that are no relay of ours. */
export function certificateOf(name: string): { readonly cert: string; readonly key: string } {
  const { certPem, keyPem } = identityOf(name).portal();
  return { cert: certPem, key: keyPem };
}

/** Retries come soon: the dice of the back-off fall low. To be called before the relays are made. */
export function hurry(t: TestContext): void {
  t.mock.method(Math, 'random', () => 0.002);
}

/** An entry of `peers:`. */
export function peer(name: string, more: object = {}): object {
  return { name, pin: `SHA256:${pinOf(name)}`, ...more };
}

export function settingsOf(settings: object) {
  return portalKind.schema.parse({ federation_key: KEY, ...settings });
}

export function portal(settings: object): Link {
  return portalKind.create(settingsOf(settings));
}

/** Runs a relay of this name. Its node id is `ws-NAME`. */
export function relay(t: TestContext, name: string, settings: object | Link, options: RunOptions = {}): RunningLink {
  const link = 'run' in settings ? settings : portal(settings);
  const node = { id: `ws-${name}`, name, version: '0.1.0' };
  return runLink(t, link, { name: 'portal', identity: identityOf(name), node, ...options });
}

export const LISTEN = '127.0.0.1:0';

/** Where a listening relay, or a line, is dialled. */
export async function addressOf(of: RunningLink | Line): Promise<string> {
  return `127.0.0.1:${typeof of.port === 'number' ? of.port : await of.port()}`;
}

export interface Joined {
  readonly a: RunningLink;
  readonly b: RunningLink;
  /** Between them; a dials b through it. */
  readonly line: Line;
  /** The session as a has it, and as b has it. */
  readonly near: RecordedSession;
  readonly far: RecordedSession;
}

/** Relay a, connected with relay b. */
export async function join(
  t: TestContext,
  more: { a?: object; b?: object; options?: RunOptions } = {},
): Promise<Joined> {
  const b = relay(t, 'b', { listen: LISTEN, peers: [peer('a')], ...more.b }, more.options);
  const line = await Line.open(t, await b.port());
  const a = relay(t, 'a', { peers: [peer('b', { address: await addressOf(line) })], ...more.a }, more.options);
  const near = await a.hub.session();
  const far = await b.hub.session();
  return { a, b, line, near, far };
}

/** Sends as the hub does: waits when the session is full. */
export async function send(to: RecordedSession, envelope: Envelope): Promise<void> {
  for (;;) {
    const before = to.writables;
    if (to.session.send(envelope, envelope.groups)) return;
    await until('room', () => to.writables > before);
  }
}

/** A line of TCP: counts bytes, and can be cut or fall silent. */
export class Line {
  readonly port: number;
  /** Bytes since the last reset(), towards the callee and back. */
  up = 0;
  down = 0;
  connections = 0;
  /** Every chunk is so late. */
  delayMs = 0;
  /** In each direction of each connection. */
  bytesPerSecond = Number.POSITIVE_INFINITY;
  #held: (() => void)[] | undefined;
  #target: number;
  #frozen = false;
  readonly #pairs = new Set<{ readonly caller: Socket; readonly callee: Socket }>();

  private constructor(port: number, target: number) {
    this.port = port;
    this.#target = target;
  }

  static async open(t: TestContext, target: number): Promise<Line> {
    const server: Server = createServer((caller) => line.#join(caller));
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    const line = new Line((server.address() as { port: number }).port, target);
    t.after(() => {
      server.close();
      line.cut();
    });
    return line;
  }

  leadTo(target: number): void {
    this.#target = target;
  }

  reset(): void {
    this.up = 0;
    this.down = 0;
  }

  get open(): number {
    return this.#pairs.size;
  }

  /** Both ends lose every connection. */
  cut(): void {
    for (const { caller, callee } of this.#pairs) {
      caller.destroy();
      callee.destroy();
    }
  }

  /** What is open now passes nothing any more, and nobody is told. Connections to come pass. */
  silence(): void {
    for (const { caller, callee } of this.#pairs) {
      for (const socket of [caller, callee]) socket.removeAllListeners('data').removeAllListeners('close').resume();
    }
  }

  /** The caller loses its connections; the callee is not told. */
  loseCaller(): void {
    for (const { caller, callee } of this.#pairs) {
      caller.removeAllListeners('close').removeAllListeners('end').destroy();
      callee.removeAllListeners('data').resume();
    }
  }

  /** Nothing passes until false; then all of it does. */
  hold(on: boolean): void {
    const held = this.#held ?? [];
    this.#held = on ? held : undefined;
    if (!on) for (const pass of held) pass();
  }

  /** New connections are accepted and lead nowhere, until false. */
  freeze(on: boolean): void {
    this.#frozen = on;
  }

  #join(caller: Socket): void {
    this.connections++;
    if (this.#frozen) {
      const pair = { caller, callee: caller };
      caller.on('error', () => {}).resume();
      caller.on('close', () => {
        this.#pairs.delete(pair);
        changed();
      });
      this.#pairs.add(pair);
      return changed();
    }
    const callee = connect({ port: this.#target, host: '127.0.0.1', noDelay: true });
    const pair = { caller: caller.setNoDelay(true), callee };
    this.#pairs.add(pair);
    const pass = (from: Socket, to: Socket, count: (bytes: number) => void) => {
      let freeMs = 0;
      const waiting: Buffer[] = [];
      const release = () => to.write(waiting.shift()!);
      from.on('data', (chunk) => {
        count(chunk.length);
        waiting.push(chunk);
        const nowMs = performance.now();
        freeMs = Math.max(nowMs, freeMs) + (chunk.length * 1000) / this.bytesPerSecond;
        const waitMs = this.delayMs + freeMs - nowMs;
        if (this.#held) this.#held.push(release);
        else if (waitMs > 1 || waiting.length > 1) setTimeout(release, waitMs);
        else release();
      });
      from.on('end', () => to.end());
      from.on('error', () => to.destroy());
      from.on('close', () => {
        to.destroy();
        this.#pairs.delete(pair);
        changed();
      });
    };
    pass(caller, callee, (bytes) => (this.up += bytes));
    pass(callee, caller, (bytes) => (this.down += bytes));
    changed();
  }
}
