// The mesh: phones that multicast to each other without a server. Each network interface is a peer of its own, so that two
// meshes are joined by the hub like any two peers.
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import type { PeerSpec } from '../../core/session.ts';
import { sleep } from '../../lib/abort.ts';
import { LinkError } from '../../lib/errors.ts';
import type { LinkContext, LinkKind } from '../link.ts';
import type { Address } from '../stream.ts';
import { type MeshConfig, meshSchema } from './config.ts';
import { type Interface, onNetwork, presentInterfaces } from './interfaces.ts';
import { LOOK_MS } from './limits.ts';
import { MeshSession } from './session.ts';

export const meshKind: LinkKind<MeshConfig> = {
  kind: 'mesh',
  schema: meshSchema,
  create: (config) => ({ run: (context) => new Mesh(config, context).run() }),
  ways({ sa, chat, more, udp }) {
    const places = [sa, chat, ...more, ...udp.map((port) => ({ host: '0.0.0.0', port }))];
    return { listens: places.map((address) => ({ address, trust: [], transport: 'udp' as const })), dials: [] };
  },
};

interface Joined {
  readonly session: MeshSession;
  readonly isNear: (source: string) => boolean;
}

class Mesh {
  readonly #config: MeshConfig;
  readonly #context: LinkContext;
  readonly #joined = new Map<string, Joined>();
  /** Sockets that listen: one for each group, and one for each port of its own. */
  #ears: { readonly socket: Socket; readonly group: string | undefined }[] = [];

  constructor(config: MeshConfig, context: LinkContext) {
    this.#config = config;
    this.#context = context;
  }

  /** Resolves after abort with every socket closed. Rejects with LinkError when a port cannot be had. */
  async run(): Promise<void> {
    const { signal } = this.#context;
    const failed = Promise.withResolvers<never>();
    failed.promise.catch(() => {}); // heard below, or too late to matter
    try {
      await this.#listen((error) => failed.reject(error));
      while (!signal.aborted) {
        await this.#look();
        this.#report();
        await Promise.race([sleep(LOOK_MS, signal), failed.promise]);
      }
    } finally {
      for (const { session } of this.#joined.values()) session.close(signal.aborted ? 'shutdown' : 'network_error');
      for (const { socket } of this.#ears) socket.close();
    }
  }

  // --- listening -----------------------------------------------------------------------------------------------------

  async #listen(onError: (error: Error) => void): Promise<void> {
    const { sa, chat, more, udp } = this.#config;
    const groups = new Map([sa, chat, ...more].map((group) => [`${group.host}:${group.port}`, group]));
    for (const group of groups.values()) await this.#hear(group, group.host, onError);
    for (const port of udp) await this.#hear({ host: '0.0.0.0', port }, undefined, onError);
  }

  /** A socket bound to the group hears that group alone; to every address, what is sent to this box. */
  async #hear(place: Address, group: string | undefined, onError: (error: Error) => void): Promise<void> {
    const socket = createSocket({ type: 'udp4', reuseAddr: true });
    this.#ears.push({ socket, group });
    try {
      socket.bind({ address: place.host, port: place.port });
      await once(socket, 'listening');
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      const words = `UDP port ${place.port} cannot be listened to: ${message}`;
      const fix = 'stop the other program that uses it, or give this link another port';
      throw new LinkError(code === 'EADDRINUSE' ? 'port_in_use' : 'cannot_listen', words, fix, { cause: error });
    }
    socket.on('error', onError);
    socket.on('message', (datagram, { address, port }) => this.#receive(datagram, { host: address, port }));
  }

  #receive(datagram: Buffer, source: Address): void {
    for (const { session, isNear } of this.#joined.values())
      if (isNear(source.host)) return session.receive(datagram, source);
    this.#context.refuse(source.host, {
      code: 'foreign_network',
      words: 'a datagram from an address that is on none of the networks of this link',
      fix: 'list its interface under "interfaces", or let the sender have an address of that network',
    });
  }

  // --- interfaces ----------------------------------------------------------------------------------------------------

  /** Interfaces that went, or have another address, are left; new ones are joined. */
  async #look(): Promise<void> {
    const present = presentInterfaces(this.#config.interfaces);
    for (const [name, { session }] of this.#joined) {
      const { address, netmask } = session.interface;
      const still = present.some((one) => one.name === name && one.address === address && one.netmask === netmask);
      if (still && session.open) continue;
      this.#joined.delete(name);
      this.#membership('dropMembership', address);
      session.close('network_error', new LinkError('interface_gone', `${name} (${address}) is gone`, ''));
    }
    for (const one of present) if (!this.#joined.has(one.name)) await this.#join(one);
  }

  async #join(one: Interface): Promise<void> {
    const socket = createSocket('udp4');
    try {
      socket.bind({ address: one.address, port: 0 });
      await once(socket, 'listening');
      socket.setMulticastInterface(one.address);
      socket.setMulticastTTL(this.#config.ttl);
      this.#membership('addMembership', one.address);
    } catch (error) {
      socket.close();
      const words = `${one.name} (${one.address}) cannot be joined: ${(error as Error).message}`;
      const fix = 'see whether the interface can multicast ("ip link"), or leave it out of "interfaces"';
      return this.#context.refuse(one.address, { code: 'cannot_join', words, fix });
    }
    const session = new MeshSession(one, socket, this.#config, this.#context);
    socket.on('error', (error) => session.close('network_error', error));
    this.#joined.set(one.name, { session, isNear: onNetwork(one) });
    session.begin(this.#specOf(one));
  }

  #membership(act: 'addMembership' | 'dropMembership', address: string): void {
    for (const { socket, group } of this.#ears) {
      if (group === undefined) continue;
      try {
        socket[act](group, address);
      } catch (error) {
        // The system dropped it with the address; or it is a member already, of the interface's former life.
        const { code } = error as NodeJS.ErrnoException;
        if (act === 'addMembership' && code !== 'EADDRINUSE') throw error;
      }
    }
  }

  /** Known while the interface is there: a queue for a mesh that is away would be told to nobody who asked. */
  #specOf({ name }: Interface): PeerSpec {
    const { name: link } = this.#context;
    return { key: `${link}/${name}`, link, kind: 'mesh', name: `mesh on ${name}`, durable: false, graceMs: 0 };
  }

  #report(): void {
    const on = [...this.#joined.values()].map(({ session }) => `${session.interface.name} ${session.address}`);
    if (on.length > 0) return this.#context.report('listening', on.join(', '));
    const wanted = this.#config.interfaces;
    this.#context.report('waiting', wanted.length > 0 ? `no address on ${wanted.join(', ')}` : 'no network interface');
  }
}
