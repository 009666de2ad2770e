// TAK Federation v1, the older one: framed FederatedEvents over mutual TLS, spoken with FreeTAKServer, which knows nothing else,
// and with TAK servers and hubs that still offer it.
import type { LinkContext, LinkKind } from '../link.ts';
import { federatePolicyKeys } from '../policy-keys.ts';
import { formatAddress } from '../stream.ts';
import { dial, dialSettings } from './client.ts';
import { type Fed1Config, fed1Schema, tlsOf } from './config.ts';
import { listen, standBeside } from './server.ts';

/** gRPC asks for HTTP/2 in TLS; v1 asks for nothing. */
const V2 = {
  alpn: 'h2',
  words: 'speaks Federation v2 on this port, and this link speaks v1',
  fix: 'make this a link of kind fed2, or dial the v1 port: 9000 on TAK Server as a rule, 9101 on a Federation Hub',
};

export const fed1Kind: LinkKind<Fed1Config> = {
  kind: 'fed1',
  schema: fed1Schema,
  policy: federatePolicyKeys,
  create: (config) => ({
    run(context) {
      if (config.connect) return dial(config.connect, config, context);
      return config.beside ? standBeside(config.beside, config, context) : listen(config, context);
    },
  }),
  ways(config) {
    const { listen, connect, trust } = config;
    const listens = listen.map((address) => ({
      address,
      trust,
      tls: (context: LinkContext) => tlsOf(config, context),
    }));
    if (!connect) return { listens, dials: [] };
    const tls = (context: LinkContext) => dialSettings(formatAddress(connect), config, context);
    return { listens, dials: [{ address: connect, trust, tls, mistaken: V2 }] };
  },
};
