// Services beside this relay that peers may reach through it: the closed list under `expose:`, name to address, and nothing
// else. A caller proves by TLS who it is before anything is connected.
import type { Socket } from 'node:net';
import { LinkError } from '../../lib/errors.ts';
import type { LinkContext } from '../link.ts';
import { dialTcp, type TlsSettings } from '../stream.ts';
import { Splice } from './splice.ts';
import { type Exposed, lists } from './tunnel-config.ts';
import {
  DEAD_AIR_MS,
  EXPOSED_CONNECT_MS,
  MAX_EXPOSED,
  TUNNEL_IDLE_MS,
  TUNNEL_LINGER_MS,
  TUNNEL_STALL_MS,
  TUNNEL_TLS_MS,
} from './tunnel-limits.ts';
import { secureAsCallee } from './tunnel-tls.ts';
import type { Refusal } from './tunnel-words.ts';

/** What was passed to and from exposed services since the link started. */
export interface ExposeStatus {
  readonly open: number;
  readonly served: number;
  readonly failed: number;
  /** Both ways. */
  readonly bytes: number;
}

export class Services {
  readonly #services: ReadonlyMap<string, Exposed>;
  readonly #context: LinkContext;
  /** Connections that are through, and whose. */
  readonly #splices = new Map<Splice, { readonly name: string; readonly from: string }>();
  readonly #maxPerPeer: number;
  /** By peer: connections from the first byte of TLS to their end. */
  readonly #open = new Map<string, number>();
  #served = 0;
  #failed = 0;
  #bytes = 0;

  constructor(services: ReadonlyMap<string, Exposed>, maxPerPeer: number, context: LinkContext) {
    this.#services = services;
    this.#maxPerPeer = maxPerPeer;
    this.#context = context;
  }

  /** Why this peer may not reach this service; undefined: it may. */
  refusal(name: string, from: string): Refusal | undefined {
    const service = this.#services.get(name);
    if (!service) return { status: 404, code: 'not_exposed', words: `nothing is exposed here as ${name}` };
    if (!lists(service.from, from))
      return { status: 403, code: 'not_allowed', words: `${name} is not exposed to ${from}` };
    if (this.#openOf(from) < this.#maxPerPeer && this.#openAll() < MAX_EXPOSED) return undefined;
    if (this.#giveWay(name, from)) return undefined;
    return { status: 429, code: 'service_limit', words: 'as many connections to services are open here as may be' };
  }

  /** Connects a tunnel whose far end should be `from` with the service. Never rejects; owns the socket. */
  async serve(raw: Socket, name: string, from: string, tls: TlsSettings): Promise<void> {
    const service = this.#services.get(name);
    // Asked again: others may have come since the tunnel was agreed.
    if (!service || this.refusal(name, from)) return void raw.destroy();
    this.#open.set(from, this.#openOf(from) + 1);
    try {
      const end = await this.#join(raw, name, service, from, tls);
      this.#context.log.info({ service: name, from, ...end }, 'connection to an exposed service ended');
    } catch (error) {
      this.#failed++;
      raw.destroy();
      this.#tell(name, from, error as Error);
    } finally {
      this.#open.set(from, this.#openOf(from) - 1);
    }
  }

  status(): ExposeStatus {
    return { open: this.#openAll(), served: this.#served, failed: this.#failed, bytes: this.#bytes };
  }

  close(): void {
    for (const splice of this.#splices.keys()) splice.close('shutdown');
  }

  async #join(raw: Socket, name: string, service: Exposed, from: string, tls: TlsSettings) {
    const { clock, signal } = this.#context;
    const inside = await secureAsCallee(raw, name, tls, from, { clock, signal, ms: TUNNEL_TLS_MS });
    inside.pause();
    const outside = await this.#connect(service, inside);
    this.#served++;
    return new Promise<{ end: string; bytes: number }>((resolve) => {
      const splice = new Splice(inside, outside, {
        clock,
        idleMs: TUNNEL_IDLE_MS,
        lingerMs: TUNNEL_LINGER_MS,
        stallMs: TUNNEL_STALL_MS,
        spend: () => 0,
        onEnd: (end, bytes) => {
          this.#splices.delete(splice);
          this.#bytes += bytes;
          resolve({ end, bytes });
        },
      });
      this.#splices.set(splice, { name, from });
      splice.begin();
    });
  }

  async #connect({ address }: Exposed, inside: Socket): Promise<Socket> {
    const deadlines = { connectMs: EXPOSED_CONNECT_MS, handshakeMs: 0 };
    try {
      return await dialTcp(address, deadlines, { ...this.#context, report: () => {} });
    } catch (error) {
      inside.destroy();
      throw error;
    }
  }

  /** As at the hub: what the network has forgotten must not cost the next its place. */
  #giveWay(name: string, from: string): boolean {
    const [deadest] = [...this.#splices]
      .filter(([{ silentMs }, its]) => its.name === name && its.from === from && silentMs >= DEAD_AIR_MS)
      .sort(([one], [other]) => other.silentMs - one.silentMs);
    deadest?.[0].close('superseded');
    return deadest !== undefined;
  }

  #openOf(from: string): number {
    return this.#open.get(from) ?? 0;
  }

  #openAll(): number {
    return [...this.#open.values()].reduce((sum, count) => sum + count, 0);
  }

  #tell(name: string, from: string, error: Error): void {
    const { log, signal } = this.#context;
    if (signal.aborted) return;
    if (!(error instanceof LinkError))
      log.error({ err: error }, 'a connection to an exposed service met a fault of ours');
    const { code, fix } = error instanceof LinkError ? error : { code: 'internal_error', fix: '' };
    this.#context.refuse(from, { code, words: `${name}: ${error.message}`, fix });
  }
}
