// XML of TAK programs: CoreConfig.xml's federation part, the older federation-server.xml, and preference files of connection packages.
// Strict and without entities: whoever wrote the file does not choose what we read.
import { SaxesParser } from 'saxes';
import { type Finding, NOTHING, type Plan, refused, type Section, slug } from './plan.ts';

const MAX_DEPTH = 32;
const MAX_ELEMENTS = 20_000;
/** Most that group_hops and max_hops_out take. */
const MAX_HOPS = 64;

interface Element {
  readonly name: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly parent: Element | undefined;
  text: string;
}

/** Elements in document order. @throws Error in words */
export function elementsOf(text: string): readonly Element[] {
  const parser = new SaxesParser();
  const all: Element[] = [];
  let at: Element | undefined;
  let depth = 0;
  parser.on('error', (error) => {
    throw new Error(`it is not well-formed XML: ${error.message.slice(0, 120)}`);
  });
  parser.on('doctype', () => {
    throw new Error('it declares a document type or entities, which are not taken');
  });
  parser.on('opentag', ({ name, attributes }) => {
    if (++depth > MAX_DEPTH) throw new Error(`its elements nest deeper than ${MAX_DEPTH}`);
    if (all.length >= MAX_ELEMENTS) throw new Error(`it has more than ${MAX_ELEMENTS} elements`);
    const element: Element = { name: name.replace(/^.*:/, ''), attributes, parent: at, text: '' };
    all.push(element);
    at = element;
  });
  parser.on('text', (chunk) => {
    if (at) at.text += chunk;
  });
  parser.on('closetag', () => {
    at = at?.parent;
    depth--;
  });
  parser.write(text).close();
  return all;
}

/** Their outgoing connections and federates, as links of ours that do the same. */
export function fromCoreConfig(text: string): Plan {
  const elements = elementsOf(text);
  const outgoing = elements.filter(({ name }) => name === 'federation-outgoing' || name === 'FederationOutgoing');
  const federates = elements.filter(({ name }) => name === 'federate');
  if (outgoing.length === 0 && federates.length === 0) {
    return refused(
      'no federation is in it',
      'name the CoreConfig.xml of the TAK Server whose federation is to be taken over',
    );
  }
  const plans = outgoing.map(linkOf);
  const listens = federates.length > 0 ? listenerOf(federates, elements) : NOTHING;
  return {
    links: [...plans.flatMap(({ links }) => links), ...listens.links],
    files: [],
    trust: [],
    networks: [],
    findings: [...plans.flatMap(({ findings }) => findings), ...listens.findings],
  };
}

function linkOf({ attributes }: Element): Plan {
  const host = attributes.address ?? attributes.host ?? '';
  const port = Number(attributes.port ?? 9000);
  const title = attributes.displayName ?? attributes.id ?? host;
  if (!/^[^\s/:[\]]{1,253}$/.test(host) || !(port >= 1 && port <= 65_535)) {
    return refused(`the outgoing connection ${JSON.stringify(title.slice(0, 64))} has no address that can be dialled`);
  }
  const v2 = attributes.protocolVersion === undefined ? port === 9001 : attributes.protocolVersion === '2';
  const findings: Finding[] = [];
  if (attributes.useToken === 'true') {
    findings.push({
      level: 'warning',
      words: `${title}: federation by token is not spoken here`,
      fix: 'exchange certificates',
    });
  }
  if (attributes.tls === 'false')
    findings.push({ level: 'refused', words: `${title}: federation without TLS is not spoken here` });
  const link: Section = {
    name: slug(title),
    kind: v2 ? 'fed2' : 'fed1',
    connect: `${host}:${port}`,
    ...(attributes.enabled === 'false' ? { enabled: false } : {}),
    ...policyOf(attributes),
  };
  findings.push({
    level: 'warning',
    words: `${title}: whose CA signs its certificate is in a keystore of theirs`,
    fix: 'import that CA certificate as well (PEM or P12), or name it under trust',
  });
  return { ...NOTHING, links: [link], findings };
}

/** `direction` and `filtergroup` of the older file. */
function policyOf({ direction, filtergroup, groupFilterName }: Element['attributes']): Section {
  const groups = [filtergroup, groupFilterName].filter((name): name is string => Boolean(name));
  const way = direction?.toLowerCase();
  const policy = {
    ...(way === 'in' || way === 'inbound' ? { out: false } : {}),
    ...(way === 'out' || way === 'outbound' ? { in: false } : {}),
    ...(groups.length > 0 ? { groups_in: groups, groups_out: groups } : {}),
  };
  return Object.keys(policy).length > 0 ? { policy } : {};
}

function listenerOf(federates: readonly Element[], all: readonly Element[]): Plan {
  const server = all.find(({ name }) => name === 'federation-server');
  const port = Number(server?.attributes.v2port ?? 9001);
  const children = Map.groupBy(all, ({ parent }) => parent);
  const below = (parent: Element, name: string) => (children.get(parent) ?? []).filter((one) => one.name === name);
  const texts = (parent: Element, name: string) => below(parent, name).map(({ text }) => text.trim());
  const findings: Finding[] = [];
  const peers = federates.flatMap((federate): Section[] => {
    const pin = (federate.attributes.id ?? '').replaceAll(':', '').toLowerCase();
    if (!/^[0-9a-f]{64}$/.test(pin)) return [];
    const [groupsIn, groupsOut] = [texts(federate, 'inboundGroup'), texts(federate, 'outboundGroup')];
    const policy = {
      ...(groupsIn.length > 0 ? { groups_in: groupsIn } : { in: false }),
      ...(groupsOut.length > 0 ? { groups_out: groupsOut } : { out: false }),
    };
    const name = (federate.attributes.name ?? 'federate').slice(0, 64);
    const hops = hopsOf(federate, below(federate, 'outboundGroupHopLimit'));
    findings.push(...hops.findings.map((finding) => ({ ...finding, words: `${name}: ${finding.words}` })));
    return [{ name, pin: `SHA256:${pin}`, policy, ...hops.keys }];
  });
  if (peers.length === 0) return NOTHING;
  const words = `${peers.length} federates, each let in by its fingerprint and with its groups`;
  return {
    ...NOTHING,
    links: [{ name: 'federation', kind: 'fed2', listen: port > 0 && port < 65_536 ? port : 9001, peers }],
    findings: [{ level: 'ok', words }, ...findings],
  };
}

/**
 * How far what goes out to a federate may travel. As there, limits by group count when `useGroupHopLimiting` says so, and then in place
 * of the one for all.
 */
function hopsOf({ attributes }: Element, byGroup: readonly Element[]): { keys: Section; findings: Finding[] } {
  const findings: Finding[] = [];
  const limitOf = (said: string | undefined, what: string): number => {
    const limit = /^\s*-?\d{1,18}\s*$/.test(said ?? '-1') ? Number(said ?? -1) : Number.NaN;
    if (Number.isNaN(limit))
      findings.push({
        level: 'refused',
        words: `its ${what} is no number`,
        fix: 'correct it there, then import again',
      });
    if (limit > MAX_HOPS)
      findings.push({ level: 'ok', words: `its ${what} becomes ${MAX_HOPS}, the most there is here` });
    return Math.max(-1, Math.min(limit, MAX_HOPS));
  };
  const all = limitOf(attributes.maxHops, 'maxHops');
  if (!isTrue(attributes.useGroupHopLimiting)) {
    const words =
      'its hop limits by group are not taken over: useGroupHopLimiting is off, so they do not count there either';
    if (byGroup.length > 0)
      findings.push({ level: 'warning', words, fix: 'put them under group_hops if they are meant' });
    return { keys: all < 0 ? {} : { max_hops_out: all }, findings };
  }
  if (all >= 0) {
    const words = 'its maxHops is not taken over: limits by group stand in its place there';
    findings.push({ level: 'warning', words, fix: 'put it under max_hops_out if it is meant for the other groups' });
  }
  const limits = new Map<string, number>();
  for (const { attributes: said } of byGroup) {
    const group = said.groupName ?? '';
    if (group === '') findings.push({ level: 'refused', words: 'one of its hop limits names no group' });
    const limit = limitOf(said.hopLimit, `hop limit in ${JSON.stringify(group.slice(0, 64))}`);
    if (limit >= 0) limits.set(group, Math.min(limit, limits.get(group) ?? limit));
  }
  return { keys: limits.size === 0 ? {} : { group_hops: Object.fromEntries(limits) }, findings };
}

/** As XML Schema has it. */
function isTrue(said: string | undefined): boolean {
  return said === 'true' || said === '1';
}

/** Entries of an ATAK or iTAK preference file, by key. */
export function preferences(text: string): ReadonlyMap<string, string> {
  const entries = elementsOf(text).filter(({ name, attributes }) => name === 'entry' && attributes.key !== undefined);
  return new Map(entries.map(({ attributes, text: value }) => [attributes.key!, value.trim()]));
}
