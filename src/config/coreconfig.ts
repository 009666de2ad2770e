// What a TAK Server's administrator merges into CoreConfig.xml to federate with us. Shape and order of the elements: tak-federation
// §5.1 (TAK Server 5.7 CoreConfig.xsd), which takes no other.
import { type GroupHops, groupHopsEntry, lesser, limitsOf, maxHopsOut, withinBoth } from '../links/group-hops.ts';
import type { Section } from './links-edit.ts';

export interface SnippetFacts {
  /** Our name on their screen. */
  readonly name: string;
  /** Federation v1, for servers that offer no v2. */
  readonly v1?: boolean | undefined;
  /** Set when their server dials us: the address and port it reaches us by. */
  readonly outgoing?: { readonly address: string; readonly port: number } | undefined;
  /** SHA-256 of the leaf we show them and of our CA, lower hex. */
  readonly leaf: string;
  readonly ca: string;
  /** subjectCN:issuerCN, as TAK Server names federates. */
  readonly federate: string;
  /** The TAK group that may cross in both directions. */
  readonly group: string;
  /** How far what we send them may travel, which what they send us shall likewise; undefined: no limits. */
  readonly hops?: GroupHops | undefined;
}

/** The `<federation>` element, to be merged by hand while TAK Server is stopped. */
export function coreConfig(facts: SnippetFacts): string {
  const { v1, outgoing, group, ca, hops } = facts;
  const most = hops && hops.all >= 0 ? ` maxHops="${hops.all}"` : '';
  return `<!-- Merge into CoreConfig.xml while TAK Server is stopped: it rewrites the file itself. The order of the parts matters.
     Our CA belongs into its federation truststore:
       keytool -importcert -alias waystation -file waystation-ca.pem -keystore certs/files/fed-truststore.jks -->
<federation enableFederation="true">
  <federation-server${v1 ? ' port="9000" v1enabled="true"' : ' v1enabled="false"'} v2enabled="true" v2port="9001">
    <tls keystore="JKS" keystoreFile="certs/files/takserver.jks" keystorePass="CHANGE_ME"
         truststore="JKS" truststoreFile="certs/files/fed-truststore.jks" truststorePass="CHANGE_ME"
         context="TLSv1.2" keymanager="SunX509"/>${v1 ? V1_TLS : ''}
  </federation-server>${outgoing ? `\n${outgoingSnippet(facts, outgoing)}` : ''}
${federateSnippet(facts)}
  <fileFilter/>
  <federateCA fingerprint="${colons(ca)}"${most}>
    <inboundGroup>${xml(group)}</inboundGroup>
    <outboundGroup>${xml(group)}</outboundGroup>
  </federateCA>
</federation>`;
}

/** Their connection to us: behind `federation-server`. */
export function outgoingSnippet(
  { name, v1 }: Pick<SnippetFacts, 'name' | 'v1'>,
  { address, port }: { readonly address: string; readonly port: number },
): string {
  return `  <federation-outgoing displayName="${xml(name)}" address="${xml(address)}" port="${port}"
                       enabled="true" protocolVersion="${v1 ? 1 : 2}" reconnectInterval="10"/>`;
}

/** Us as a federate with its routing: behind the outgoing connections, before `fileFilter`. */
export function federateSnippet({
  leaf,
  federate,
  group,
  hops,
}: Pick<SnippetFacts, 'leaf' | 'federate' | 'group' | 'hops'>): string {
  const { attributes, elements } = hopsSnippet(group, hops);
  return `  <federate id="${colons(leaf)}"
            name="${xml(federate)}" shareAlerts="true"${attributes}>
    <inboundGroup>${xml(group)}</inboundGroup>
    <outboundGroup>${xml(group)}</outboundGroup>${elements}
  </federate>`;
}

/**
 * Limits by group stand in place of the one for all there (tak-federation §2.8), so with any of them the one for all is said of each
 * group.
 */
function hopsSnippet(group: string, hops: GroupHops | undefined) {
  if (!hops) return { attributes: '', elements: '' };
  const { most, all } = hops;
  const byGroup = [...most].filter(([, limit]) => limit >= 0);
  if (byGroup.length === 0) return { attributes: all >= 0 ? ` maxHops="${all}"` : '', elements: '' };
  const limits = new Map(all >= 0 ? [[group, all]] : []);
  for (const [name, limit] of byGroup) limits.set(name, lesser(limit, all));
  const lines = Array.from(
    limits,
    ([name, limit]) => `\n    <outboundGroupHopLimit groupName="${xml(name)}" hopLimit="${limit}"/>`,
  );
  return { attributes: ' useGroupHopLimiting="true"', elements: lines.join('') };
}

/** Hop limits as the file has them. */
export { groupHopsEntry, maxHopsOut };

/** How far what goes out to a federate may travel, by what the file says of its link and of itself: the lesser of both. */
export function hopsTowards(link: Section, federate: Section = {}): GroupHops | undefined {
  const said = ({ group_hops, max_hops_out }: Section) =>
    limitsOf(Object.entries((group_hops ?? {}) as Record<string, number>), max_hops_out as number | undefined);
  return withinBoth(said(link), said(federate));
}

/** SHA-256 as TAK Server shows it: upper hex with colons. */
export function colons(fingerprint: string): string {
  return fingerprint.toUpperCase().match(/../g)!.join(':');
}

/** Without these a v1 port allows no TLS version at all. */
const V1_TLS = `
    <v1Tls tlsVersion="TLSv1.2"/>
    <v1Tls tlsVersion="TLSv1.3"/>`;

function xml(text: string): string {
  return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}
