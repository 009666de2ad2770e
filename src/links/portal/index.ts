// PORTAL02: relay to relay, directly or through a hub; events, requests, tunnels. README.md has the protocol.
import type { LinkContext, LinkKind } from '../link.ts';
import { type PortalConfig, portalSchema } from './config.ts';
import { PortalLink } from './link.ts';

export const portalKind: LinkKind<PortalConfig> = {
  kind: 'portal',
  schema: portalSchema,
  create: (config) => new PortalLink(config),
  ways({ listen, peers }) {
    const tlsWith = (pins: readonly string[]) => (context: LinkContext) => ({
      keyPair: context.identity.portal(),
      trust: { cas: [], pins },
      alpn: [],
      verifyName: false,
    });
    const all = tlsWith(peers.map(({ pin }) => pin));
    return {
      listens: listen.map((address) => ({ address, trust: [], tls: all })),
      dials: peers.flatMap(({ name, pin, address }) =>
        address ? [{ address, peer: name, trust: [], tls: tlsWith([pin]) }] : [],
      ),
    };
  },
};
