// CoT streams: phones and other clients connect to us (TCP 8087, TLS 8089), or we to a TAK server as its client.
import type { LinkContext, LinkKind } from '../link.ts';
import type { Address } from '../stream.ts';
import { connect } from './client.ts';
import { type CotConfig, cotSchema, tlsOf } from './config.ts';
import { Refuser } from './refuser.ts';
import { listen } from './server.ts';

export const cotKind: LinkKind<CotConfig> = {
  kind: 'cot',
  schema: cotSchema,
  create(config) {
    const refuser = new Refuser();
    return {
      run: async (context) =>
        config.connect ? connect(config, config.connect, refuser, context) : listen(config, context),
    };
  },
  ways(config) {
    const trust = config.tls ? config.tls.trust : [];
    const tls = config.tls ? (context: LinkContext) => tlsOf(config, context)! : undefined;
    const way = (address: Address) => ({ address, trust, tls });
    return { listens: config.listen.map(way), dials: config.connect ? [way(config.connect)] : [] };
  },
};
