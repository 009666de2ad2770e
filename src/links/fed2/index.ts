// TAK Federation v2: gRPC over mutual TLS, spoken with TAK servers, federation hubs and relays like this one.
import { isDeepStrictEqual } from 'node:util';
import type { PeerSpec } from '../../core/session.ts';
import { loadTrust, mergeTrust } from '../../identity/trust.ts';
import { Federates } from '../federates.ts';
import type { Link, LinkContext, LinkKind } from '../link.ts';
import { federatePolicyKeys } from '../policy-keys.ts';
import { type Address, formatAddress, type TlsSettings } from '../stream.ts';
import { dial } from './client.ts';
import { type Fed2Config, fed2Schema, keyPairOf } from './config.ts';
import { listen } from './server.ts';

/** TAK servers redial after 30 s: contacts behind a peer stay announced for twice as long. */
const GRACE_MS = 60_000;

export const fed2Kind: LinkKind<Fed2Config> = {
  kind: 'fed2',
  schema: fed2Schema,
  policy: federatePolicyKeys,
  create: (config) => (config.connect ? dialler(config, config.connect) : listener(config)),
  ways(config) {
    const { listen, connect, trust } = config;
    const way = (address: Address) => ({ address, trust, tls: (context: LinkContext) => tlsOf(config, context) });
    return { listens: listen.map(way), dials: connect ? [{ ...way(connect), mistaken: V1 }] : [] };
  },
};

/** v1 does not ask for HTTP/2 in TLS. */
const V1 = {
  alpn: '',
  words: 'does not speak Federation v2 on this port; what does not agree to HTTP/2 is v1',
  fix: 'dial the v2 port (9001 on TAK Server as a rule, 9102 on a Federation Hub), or make this a link of kind fed1',
};

function dialler(config: Fed2Config, address: NonNullable<Fed2Config['connect']>): Link {
  return {
    async run(context) {
      const spec = specOf(context, context.name, formatAddress(address));
      context.hub.expect(spec);
      await dial({ address, config, spec, tls: tlsOf(config, context) }, context);
    },
  };
}

function listener(first: Fed2Config): Link {
  let config = first;
  let known = new Federates(config.peers, config.groupHops);
  return {
    async run(context) {
      // Before its settings changed this link may have dialled: the peer of that time bears the link's own name.
      context.hub.dismiss(context.name);
      known = new Federates(config.peers, config.groupHops);
      known.begin(context);
      const specFor: Parameters<typeof listen>[0]['specFor'] = ({ identity }) =>
        specOf(context, `${context.name}/${identity.id}`, known.nameOf(identity.id, identity.name));
      const isOwn: Parameters<typeof listen>[0]['isOwn'] = ({ identity }) => known.has(identity.id);
      const hopsFor: Parameters<typeof listen>[0]['hopsFor'] = ({ identity }) => known.hopsOf(identity.id);
      const own = tlsOf(config, context);
      const tls = { ...own, trust: mergeTrust(own.trust, known.trust) };
      await listen({ config, tls, specFor, isOwn, hopsFor }, context);
    },
    update(settings) {
      const next = settings as Fed2Config;
      if (!isDeepStrictEqual({ ...config, peers: [] }, { ...next, peers: [] })) return false;
      config = next;
      known.update(next.peers);
      return true;
    },
  };
}

/** Durable also when accepted: a certificate is a stable name, and TAK servers come back. */
function specOf({ name: link }: LinkContext, key: string, name: string): PeerSpec {
  return { key, link, kind: 'fed2', name, durable: true, graceMs: GRACE_MS };
}

/** Throws FatalError when certificates that the configuration names cannot be used. */
function tlsOf(config: Fed2Config, context: LinkContext): TlsSettings {
  const { warnings, ...own } = loadTrust(config.trust, context.baseDir);
  for (const { code, words, fix } of warnings) context.log.warn({ code, fix }, words);
  return {
    keyPair: keyPairOf(config, context),
    trust: mergeTrust(context.trust, own),
    alpn: ['h2'],
    verifyName: config.verifyName,
  };
}
