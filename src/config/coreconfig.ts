// What a TAK Server's administrator merges into CoreConfig.xml to federate with us. Shape and order of the elements: tak-federation
// §5.1 (TAK Server 5.7 CoreConfig.xsd), which takes no other.

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
}

/** The `<federation>` element, to be merged by hand while TAK Server is stopped. */
export function coreConfig(facts: SnippetFacts): string {
  const { v1, outgoing, group, ca } = facts;
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
  <federateCA fingerprint="${colons(ca)}">
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
export function federateSnippet({ leaf, federate, group }: Pick<SnippetFacts, 'leaf' | 'federate' | 'group'>): string {
  return `  <federate id="${colons(leaf)}"
            name="${xml(federate)}" shareAlerts="true">
    <inboundGroup>${xml(group)}</inboundGroup>
    <outboundGroup>${xml(group)}</outboundGroup>
  </federate>`;
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
