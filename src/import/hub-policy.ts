// The policy of a TAK Federation Hub (ui_generated_policy.json, or a policy saved from its page): a graph whose nodes are authorities,
// single federates and servers that the hub dials, and whose edges say what of one goes to another. Here each node becomes a network
// of this box, and edges what crosses between two of them. Shape: tak-federation §5.2, and the sample in TAK Server's own tests.
import { type Finding, NOTHING, type Plan, refused, type Section, slug } from './plan.ts';

/** A box has 16 networks, and main is one. */
const MAX_NODES = 15;
const MAX_EDGES = 512;
const FIRST_PORT = 9001;
/** The UI's names for kinds of nodes that are understood. */
const KINDS: Readonly<Record<string, Node['kind']>> = {
  GroupCell: 'authority',
  FederateCell: 'federate',
  FederationOutgoingCell: 'outgoing',
};

type Json = Record<string, unknown>;

interface Node {
  readonly kind: 'authority' | 'federate' | 'outgoing';
  /** As edges call it; ends in the SHA-256 of its certificate, but for outgoing ones. */
  readonly uid: string;
  readonly title: string;
  /** Name of its network and its link. */
  readonly name: string;
  readonly pin: string;
  readonly properties: Json;
}

interface Edge {
  readonly from: string;
  readonly to: string;
  /** Undefined: all, and what has no group. */
  readonly groups: readonly string[] | undefined;
}

/** Undefined: the JSON is something else. */
export function fromHubPolicy(value: Json): Plan | undefined {
  const cells = listOf(at(value, 'additionalData', 'uiData', 'cells') ?? value.cells);
  if (!Array.isArray(value.federate_edges) && cells.length === 0) return undefined;
  const findings: Finding[] = [];
  const nodes = nodesOf(value, cells, findings);
  const edges = edgesOf(value, cells, findings);
  if (nodes.length === 0 && findings.length === 0)
    return refused('no authority, federate or outgoing connection is in this policy');
  if (nodes.length > MAX_NODES)
    return refused(`it has more than ${MAX_NODES} nodes; this box keeps so many networks apart`);
  if (edges.length > MAX_EDGES) return refused(`it has more than ${MAX_EDGES} edges`);
  for (const { from, to } of edges) {
    if (from === to || ![from, to].every((uid) => nodes.some((node) => node.uid === uid)))
      findings.push({
        level: 'refused',
        words: 'an edge begins or ends at no node of this policy',
        fix: 'save it anew in the hub',
      });
  }
  if (findings.some(({ level }) => level === 'refused')) return { ...NOTHING, findings };
  return isOpen(nodes, edges) ? together(nodes, findings) : apart(nodes, edges, findings);
}

// --- what it says ------------------------------------------------------------------------------------------------------

function nodesOf(value: Json, cells: readonly Json[], findings: Finding[]): readonly Node[] {
  const named = cells.length > 0 ? cells.filter(({ graphType }) => graphType !== 'EdgeCell') : plainNodes(value);
  const names = new Set<string>(['main']);
  const seen = new Set<string>();
  return named.flatMap((cell): Node[] => {
    const properties = propertiesOf(cell);
    const uid = textOf(properties.name ?? properties.outgoingName);
    const title =
      textOf(properties.stringId ?? properties.outgoingName ?? properties.description ?? uid).slice(0, 64) ||
      uid.slice(0, 64);
    const kind = KINDS[textOf(cell.graphType)];
    const refuse = (words: string, fix: string) => {
      findings.push({ level: 'refused', words: `${title || 'a node'}: ${words}`, fix });
      return [];
    };
    if (
      cell.graphType === 'FederationTokenGroupCell' ||
      properties.useToken === true ||
      properties.allowTokenAuth === true
    )
      return refuse(
        'federation by token is not spoken here',
        'let those servers use certificates, and take the tokens out of the policy',
      );
    if (!kind || uid === '')
      return refuse('a node of a kind that is not known', 'take it out of the policy in the hub, and save it anew');
    if (textOf(properties.filterExpression) !== '' || listOf(properties.groupFilters).length > 0)
      return refuse('a filter inside the node has no equivalent', 'say the same on edges, or with rules here');
    const pin = /(?:^|-)([0-9a-f]{64})$/i.exec(uid)?.[1]?.toLowerCase() ?? '';
    if (kind !== 'outgoing' && pin === '')
      return refuse('its name does not end in the fingerprint of a certificate', 'name it here by hand');
    if (kind === 'outgoing' && !(/^[^\s/[\]]{1,253}$/.test(textOf(properties.host)) && isPort(properties.port)))
      return refuse('it has no address that can be dialled', 'give it a host and a port there');
    if (seen.has(uid)) return refuse('another node bears its name', 'save it anew in the hub');
    seen.add(uid);
    if (kind === 'authority' && properties.interconnected !== true) {
      findings.push({
        level: 'warning',
        words: `${title}: servers of this authority do not hear each other at the hub, and do here if there are several`,
        fix: 'then name each under peers of its link, by the fingerprint of its certificate, with a network of its own',
      });
    }
    return [{ kind, uid, title, name: unused(slug(title), names), pin, properties }];
  });
}

/** Of a policy without a picture: its groups are authorities. */
function plainNodes(value: Json): readonly Json[] {
  const cells = (list: unknown, graphType: string) =>
    listOf(list).map((one) => ({
      graphType,
      federation: { ...one, name: one.uid, description: commonName(textOf(one.uid)) },
    }));
  return [...cells(value.groups, 'GroupCell'), ...cells(value.federate_nodes, 'FederateCell')];
}

function edgesOf(value: Json, cells: readonly Json[], findings: Finding[]): readonly Edge[] {
  const uids = new Map(
    cells.map((cell) => [textOf(cell.id), textOf(propertiesOf(cell).name ?? propertiesOf(cell).outgoingName)]),
  );
  const drawn = cells
    .filter(({ graphType }) => graphType === 'EdgeCell')
    .map((cell): Json => {
      const end = (which: string) => uids.get(textOf(at(cell, which, 'id'))) ?? '';
      return { ...propertiesOf(cell), source: end('source'), destination: end('target') };
    });
  const said = Array.isArray(value.federate_edges) ? listOf(value.federate_edges) : drawn;
  return said.flatMap((edge): Edge[] => {
    const [from, to] = [textOf(edge.source), textOf(edge.destination)];
    const type = textOf(edge.groupsFilterType).replaceAll('_', '').toLowerCase();
    const refuse = (words: string, fix: string) => {
      findings.push({ level: 'refused', words: `${commonName(from)} -> ${commonName(to)}: ${words}`, fix });
      return [];
    };
    if (textOf(edge.filterExpression) !== '' || listOf(edge.edgeFilters).length > 0)
      return refuse('a filter expression has no equivalent', 'take it out there, and say it with rules here');
    if (type === '' || type === 'all' || type === 'allgroups') return [{ from, to, groups: undefined }];
    if (type !== 'allowed')
      return refuse(
        'groups that are kept back ("disallowed") have no equivalent between networks: only a list of those that cross',
        'list those that may cross ("allowed")',
      );
    const groups = texts(edge.allowedGroups);
    const odd = groups.find((group) => group.includes(':'));
    if (odd)
      return refuse(
        `the group ${odd.slice(0, 64)} has a colon in its name, which renames groups here`,
        'give it another name',
      );
    return [{ from, to, groups }].filter(() => groups.length > 0);
  });
}

// --- what it comes to ----------------------------------------------------------------------------------------------------

/** Everybody hears everybody. */
function isOpen(nodes: readonly Node[], edges: readonly Edge[]): boolean {
  const isThere = (from: Node, to: Node) =>
    edges.some((edge) => edge.from === from.uid && edge.to === to.uid && edge.groups === undefined);
  return nodes.every((from) => nodes.every((to) => from === to || isThere(from, to)));
}

function together(nodes: readonly Node[], findings: readonly Finding[]): Plan {
  const authorities = nodes.filter(({ kind }) => kind === 'authority');
  const federates = nodes.filter(({ kind }) => kind === 'federate');
  const listener: Section = {
    name: 'federation',
    kind: 'fed2',
    listen: FIRST_PORT,
    ...(authorities.length > 0 ? { trust: authorities.map(({ pin }) => `SHA256:${pin}`) } : {}),
    ...(federates.length > 0 ? { peers: federates.map((one) => peerOf(one, {})) } : {}),
    policy: { block_types: [] },
  };
  const dials = nodes.filter(({ kind }) => kind === 'outgoing').map((node) => dialOf(node, {}));
  const words = `${nodes.length} nodes that all hear each other: one network, on one port`;
  return planOf([...(authorities.length + federates.length > 0 ? [listener] : []), ...dials], [], findings, words);
}

function apart(nodes: readonly Node[], edges: readonly Edge[], findings: readonly Finding[]): Plan {
  let port = FIRST_PORT;
  const told: Finding[] = [];
  const federates = nodes.filter(({ kind }) => kind === 'federate');
  const links = nodes.flatMap((node): Section[] => {
    const { kind, name, pin, title } = node;
    if (kind === 'federate') return [];
    if (kind === 'outgoing') return [dialOf(node, { network: name })];
    told.push({ level: 'ok', words: `${title}: its servers dial port ${port}, which is that of their network` });
    return [
      { name, kind: 'fed2', listen: port++, trust: [`SHA256:${pin}`], policy: { network: name, block_types: [] } },
    ];
  });
  if (federates.length > 0) {
    told.push({ level: 'ok', words: `${federates.map(({ title }) => title).join(', ')}: they dial port ${port}` });
    links.push({
      name: 'federates',
      kind: 'fed2',
      listen: port,
      peers: federates.map((one) => peerOf(one, { network: one.name })),
    });
  }
  const networks = nodes.map((node, index) => ({
    name: node.name,
    peers: nodes.slice(index + 1).flatMap((other): Section[] => sideOf(node, other, edges)),
  }));
  return planOf(links, networks, [...findings, ...told], `${nodes.length} nodes, each a network of this box`);
}

/** What one takes from the other and gives it; nothing where no edge is. */
function sideOf(node: Node, other: Node, edges: readonly Edge[]): Section[] {
  const between = (from: Node, to: Node) => edges.find((edge) => edge.from === from.uid && edge.to === to.uid);
  const [forth, back] = [between(node, other), between(other, node)];
  if (!forth && !back) return [];
  const policy = {
    ...(back ? {} : { in: false, dp_in: false }),
    ...(forth ? {} : { out: false, dp_out: false }),
    ...(back?.groups ? { groups_in: back.groups } : {}),
    ...(forth?.groups ? { groups_out: forth.groups } : {}),
  };
  return [{ name: other.name, ...(Object.keys(policy).length > 0 ? { policy } : {}) }];
}

function planOf(
  links: readonly Section[],
  networks: readonly Section[],
  findings: readonly Finding[],
  words: string,
): Plan {
  const dialled = links.filter(({ connect }) => connect !== undefined);
  const warning: Finding[] = dialled.map(({ name }) => ({
    level: 'warning',
    words: `${String(name)}: whose CA signs its certificate is in the hub's truststore`,
    fix: 'import that CA certificate as well (PEM or P12), or name it under trust',
  }));
  return { ...NOTHING, links, networks, findings: [{ level: 'ok', words }, ...findings, ...warning] };
}

function peerOf({ title, pin }: Node, policy: Section): Section {
  return { name: title.replaceAll('/', '-'), pin: `SHA256:${pin}`, policy: { ...policy, block_types: [] } };
}

function dialOf({ name, properties: { host, port, outgoingEnabled } }: Node, policy: Section): Section {
  const address = textOf(host);
  return {
    name,
    kind: 'fed2',
    connect: address.includes(':') ? `[${address}]:${Number(port)}` : `${address}:${Number(port)}`,
    ...(outgoingEnabled === false ? { enabled: false } : {}),
    policy: { ...policy, block_types: [] },
  };
}

// --- reading JSON that may be anything -----------------------------------------------------------------------------------

/** Newer hubs say `federation`. */
function propertiesOf(cell: Json): Json {
  return (at(cell, 'federation') ?? at(cell, 'roger_federation') ?? {}) as Json;
}

function at(value: unknown, ...path: readonly string[]): unknown {
  return path.reduce<unknown>(
    (found, key) => (typeof found === 'object' && found !== null ? (found as Json)[key] : undefined),
    value,
  );
}

function listOf(value: unknown): readonly Json[] {
  return Array.isArray(value) ? value.filter((one): one is Json => typeof one === 'object' && one !== null) : [];
}

function texts(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter((one): one is string => typeof one === 'string' && one !== '') : [];
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value.slice(0, 1024) : '';
}

function isPort(value: unknown): boolean {
  return Number(value) >= 1 && Number(value) <= 65_535;
}

function commonName(uid: string): string {
  return (/CN=([^,]+)/.exec(uid)?.[1] ?? uid).slice(0, 64);
}

function unused(wanted: string, taken: Set<string>): string {
  let name = wanted;
  for (let count = 2; taken.has(name); count++) name = `${wanted}-${count}`;
  taken.add(name);
  return name;
}
