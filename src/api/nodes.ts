// The peers that can be asked, over every link that carries requests, as one service.
import { type NodePeer, type NodeRequest, type NodeResponse, type NodeService, problemResponse } from '../core/node.ts';
import { type FederationCalls, outcomeOf } from './federation-calls.ts';

export class Nodes implements NodeService {
  readonly #services = new Map<string, NodeService>();
  readonly #calls: FederationCalls | undefined;

  /** `calls`: where every call is counted. */
  constructor(calls?: FederationCalls) {
    this.#calls = calls;
  }

  /** The link's service from now on. Returns its removal. */
  provide(link: string, service: NodeService): () => void {
    this.#services.set(link, service);
    return () => {
      if (this.#services.get(link) === service) this.#services.delete(link);
    };
  }

  /** Those of one link. */
  of(link: string): readonly NodePeer[] {
    return this.#services.get(link)?.peers() ?? [];
  }

  peers(): readonly NodePeer[] {
    return [...this.#services.values()].flatMap((service) => service.peers());
  }

  async call(peer: string, request: NodeRequest, signal: AbortSignal): Promise<NodeResponse> {
    const found = this.find(peer);
    if (!found) return problemResponse(404, 'unknown_peer', this.#unknown(peer));
    const answer = await found.service.call(peer, request, signal);
    this.#calls?.note(peer, 'out', outcomeOf(answer));
    return answer;
  }

  /** The peer with its link; where two links know the name, the connected one. */
  find(name: string): { readonly link: string; readonly service: NodeService; readonly peer: NodePeer } | undefined {
    const found = [...this.#services].flatMap(([link, service]) => {
      const peer = service.peers().find((candidate) => candidate.name === name);
      return peer ? [{ link, service, peer }] : [];
    });
    return found.find(({ peer }) => peer.status === 'connected') ?? found[0];
  }

  #unknown(peer: string): string {
    const names = this.peers().map(({ name }) => name);
    const known = names.length > 0 ? `; there is ${names.slice(0, 20).join(', ')}` : '; no peer here can be asked';
    return `no peer is called ${JSON.stringify(peer.slice(0, 64))}${known}`;
  }
}
