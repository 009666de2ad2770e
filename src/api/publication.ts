// What this box tells the operator of a TAK Server who is to federate with it: where, which certificates, what to put into
// CoreConfig.xml; and what is still missing here.
import * as z from 'zod';
import {
  colons,
  coreConfig,
  federateSnippet,
  type hopsTowards,
  outgoingSnippet,
  type SnippetFacts,
} from '../config/coreconfig.ts';
import { linksOf, type Section } from '../config/links-edit.ts';
import { publicationZip } from '../onboarding/publication.ts';

export const publication = z
  .object({
    hostname: z.string().nullable().describe('Where we are reached; null: not set, see missing.'),
    port: z.int().nullable(),
    node_id: z.string().describe('Our federate id.'),
    fingerprint: z.string().describe('SHA-256 of our federation certificate, as TAK Server shows it.'),
    certificate_pem: z.string(),
    ca_fingerprint: z.string(),
    ca_pem: z.string(),
    snippets: z.object({
      outgoing: z.string().nullable().describe('Their outgoing connection to us.'),
      federate: z.string().describe('Us as a federate, with routing.'),
    }),
    coreconfig: z.string().describe('Both within the whole element, in the order that TAK Server demands.'),
    missing: z.array(z.object({ setting: z.string(), words: z.string(), fix: z.string() })),
  })
  .meta({ id: 'FederationPublication' });
export type Publication = z.output<typeof publication>;

interface Certificate {
  readonly certPem: string;
  readonly fingerprint: string;
  readonly commonName: string;
}

export interface PublishParts {
  readonly nodeId: string;
  readonly leaf: Certificate;
  readonly ca: Certificate;
  /** `hosts` of the configuration: what somebody has decided, not what was found. */
  readonly hosts: readonly string[] | undefined;
  /** The configuration file. */
  readonly text: string;
  /** The TAK group to share. */
  readonly group: string;
  /** Towards the federate this is for; undefined: none. */
  readonly hops: ReturnType<typeof hopsTowards>;
}

export function publicationOf({ nodeId, leaf, ca, hosts, text, group, hops }: PublishParts): Publication {
  const hostname = hosts?.[0] ?? null;
  const port = federationPort(text);
  const facts: SnippetFacts = {
    name: leaf.commonName,
    leaf: leaf.fingerprint,
    ca: ca.fingerprint,
    federate: `${leaf.commonName}:${ca.commonName}`,
    group,
    hops,
    outgoing: hostname !== null && port !== null ? { address: hostname, port } : undefined,
  };
  return {
    hostname,
    port,
    node_id: nodeId,
    fingerprint: colons(leaf.fingerprint),
    certificate_pem: leaf.certPem.slice(0, leaf.certPem.indexOf('-----END CERTIFICATE-----') + 26),
    ca_fingerprint: colons(ca.fingerprint),
    ca_pem: ca.certPem,
    snippets: {
      outgoing: facts.outgoing ? outgoingSnippet(facts, facts.outgoing) : null,
      federate: federateSnippet(facts),
    },
    coreconfig: coreConfig(facts),
    missing: [...(hostname === null ? [NO_HOST] : []), ...(port === null ? [NO_PORT] : [])],
  };
}

const NO_HOST = {
  setting: 'hosts',
  words: 'nobody has said by which name or address TAK Servers reach this box',
  fix: 'put it first in "hosts" of the configuration, such as hosts: [tak.example.org]',
};

const NO_PORT = {
  setting: 'links',
  words: 'no fed2 link of this box listens, so no TAK Server can dial it',
  fix: 'add one: { name: federation, kind: fed2, listen: 9001 }; or dial them from here',
};

/** The fed2 link that listens. */
export function listeningLink(text: string): Section | undefined {
  return linksOf(text).find(
    ({ kind, listen, enabled }) => kind === 'fed2' && listen !== undefined && enabled !== false,
  );
}

function federationPort(text: string): number | null {
  const { listen } = listeningLink(text) ?? {};
  const [first] = Array.isArray(listen) ? listen : [listen];
  const port = Number(/(\d+)$/.exec(String(first ?? ''))?.[1] ?? 0);
  return port > 0 ? port : null;
}

export function zipOf({ certificate_pem, ca_pem, snippets, coreconfig, ...rest }: Publication): Buffer {
  const { hostname, port, node_id, fingerprint, ca_fingerprint } = rest;
  const readme = [
    `Federation with this Waystation (${node_id})`,
    '',
    `Address:                 ${hostname ?? '(ask its operator)'}:${port ?? ''} (TAK Federation v2)`,
    `Certificate, SHA-256:    ${fingerprint}`,
    `CA, SHA-256:             ${ca_fingerprint}`,
    '',
    '1. Add waystation-ca.pem to the federation truststore of TAK Server (Manage Federates, Federate Certificate Authorities).',
    '2. Merge coreconfig.xml into CoreConfig.xml while TAK Server is stopped; the order of the elements matters.',
    '3. Tell the operator of the Waystation the SHA-256 fingerprint of your federation certificate. Until it stands there, it refuses you:',
    '   openssl x509 -noout -fingerprint -sha256 -in takserver.pem',
    '',
  ];
  return publicationZip({
    'README.txt': readme.join('\n'),
    'waystation-federation.pem': certificate_pem,
    'waystation-ca.pem': ca_pem,
    'federation-outgoing.xml': `${snippets.outgoing ?? '<!-- they do not dial us -->'}\n`,
    'federate.xml': `${snippets.federate}\n`,
    'coreconfig.xml': `${coreconfig}\n`,
  });
}
