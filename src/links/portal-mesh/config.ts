// The keys of a `portal-mesh` link in the configuration file.
import * as z from 'zod';
import { loadTrust, type Trust } from '../../identity/trust.ts';
import { dialAddress, listenAddress } from '../address-keys.ts';
import type { LinkContext } from '../link.ts';
import type { Address, TlsSettings } from '../stream.ts';
import { MAX_NAME_BYTES } from './limits.ts';

const text = z.string().min(1).max(1024);
const listenAt = z.union([z.int().min(0).max(65_535), text]).transform(listenAddress('10.0.0.1:9700'));

export const portalMeshSchema = z
  .strictObject({
    listen: listenAt.optional().describe('Wait for Portal nodes on this port or address; theirs is 9700.'),
    connect: text.transform(dialAddress('hub.example.org:9700')).optional().describe('Dial this Portal node.'),
    node: z
      .string()
      .regex(/^[A-Za-z0-9._-]+$/, 'expected letters, digits, dots, dashes and underscores')
      .max(MAX_NAME_BYTES)
      .optional()
      .describe(
        'What this relay is called in the mesh, where no other node may have the name. Default: waystation- and part of its id.',
      ),
    federation_key: text
      .optional()
      .describe('The key of the mesh. It is no proof: whoever sees one connection has it.'),
    tls: z
      .boolean()
      .default(false)
      .describe('TLS, as every node of the mesh then has it. Portal nodes verify nobody; we do where trust says whom.'),
    trust: z
      .array(text)
      .max(256)
      .default([])
      .describe('CA certificate files or SHA256: pins of the other nodes, with tls.'),
    max_connections: z.int().min(1).max(256).default(32).describe('listen: most connections; a node makes five.'),
  })
  .superRefine((raw, context) => {
    const problem = (path: string, message: string) => context.addIssue({ code: 'custom', path: [path], message });
    if (raw.listen === undefined && raw.connect === undefined)
      problem('listen', 'a portal-mesh link needs listen or connect');
    if (raw.listen !== undefined && raw.connect !== undefined) problem('connect', 'only one of listen and connect');
    if (raw.trust.length > 0 && !raw.tls) problem('trust', 'only with tls');
  })
  .transform(({ federation_key, max_connections, ...rest }) => ({
    ...rest,
    federationKey: federation_key,
    maxConnections: max_connections,
  }));

/** Exactly one of `listen` and `connect` is given. */
export type PortalMeshConfig = z.output<typeof portalMeshSchema>;

/** undefined: plain TCP. Throws FatalError when a file cannot be used. */
export function tlsOf(config: PortalMeshConfig, context: LinkContext): TlsSettings | undefined {
  if (!config.tls) return undefined;
  const trust: Trust = loadTrust(config.trust, context.baseDir);
  const anybody = config.trust.length === 0;
  return {
    keyPair: context.identity.federation(),
    trust,
    alpn: [],
    verifyName: false,
    optionalClientCert: anybody,
    ...(anybody && {
      admitServer: () => ({ id: addressOf(config.connect), name: addressOf(config.connect), proof: 'none' }),
    }),
  };
}

function addressOf(address: Address | undefined): string {
  return address ? `${address.host}:${address.port}` : '';
}
