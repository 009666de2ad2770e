// Settings of other programs: federation.json of the TAK Server guide, FTSConfig.yaml and FTS_* of FreeTAKServer's.
import { parseDocument } from 'yaml';
import { fromHubPolicy } from './hub-policy.ts';
import { type Finding, NOTHING, type Plan, refused, type Section, slug } from './plan.ts';

const MAX_PEERS = 64;
const MAX_DEPTH = 16;
const MAX_TEXT_BYTES = 256 * 1024;
/** As the guides print them: everybody knows them. */
const GUIDE_PASSWORDS: readonly string[] = [
  'defaultpass',
  'supersecret',
  'changeit',
  'change_me',
  'changeme',
  'password',
  'atakatak',
];

type Json = Record<string, unknown>;

/** federation.json, or another program's JSON by what is in it. */
export function fromFederationJson(text: string): Plan {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return refused('it is not JSON');
  }
  const hub = fromHubPolicy((value ?? {}) as Json);
  if (hub) return hub;
  const { version, peers } = (value ?? {}) as Json;
  if (version !== 1 || !Array.isArray(peers))
    return refused(
      'it is no federation.json ("version": 1 and "peers"), nor the policy of a Federation Hub ("federate_edges")',
    );
  if (peers.length > MAX_PEERS) return refused(`it names more than ${MAX_PEERS} peers`);
  const plans = peers.map((peer, index) => peerOf((peer ?? {}) as Json, index));
  return {
    ...NOTHING,
    links: plans.flatMap(({ links }) => links),
    findings: plans.flatMap(({ findings }) => findings),
  };
}

function peerOf({ name, address, port = 9000, ca_cert, bidirectional, filters }: Json, index: number): Plan {
  const where = `peer ${index + 1}`;
  if (typeof name !== 'string' || name === '' || typeof address !== 'string' || !/^[^\s/[\]]{1,253}$/.test(address)) {
    return refused(`${where} has no name or no address`);
  }
  const number = Number(port);
  if (!(number >= 1 && number <= 65_535))
    return refused(`${where} (${name.slice(0, 64)}) has no port that can be dialled`);
  const { cot_types, groups } = (filters ?? {}) as Json;
  const texts = (list: unknown) =>
    Array.isArray(list) ? list.filter((one): one is string => typeof one === 'string') : [];
  const policy: Section = {
    ...(bidirectional === false ? { out: false } : {}),
    ...(texts(cot_types).length > 0 ? { allow_types: texts(cot_types) } : {}),
    ...(texts(groups).length > 0 ? { groups_in: texts(groups), groups_out: texts(groups) } : {}),
  };
  const link: Section = {
    name: slug(name),
    ...(slug(name) === name ? {} : { label: name.slice(0, 64) }),
    kind: number === 9001 ? 'fed2' : 'fed1',
    connect: address.includes(':') ? `[${address}]:${number}` : `${address}:${number}`,
    ...(typeof ca_cert === 'string' && ca_cert !== '' ? { trust: [ca_cert] } : {}),
    ...(Object.keys(policy).length > 0 ? { policy } : {}),
  };
  return { ...NOTHING, links: [link] };
}

/** FTSConfig.yaml: sections System, Addresses, Certs. */
export function fromFtsConfig(text: string): Plan {
  if (Buffer.byteLength(text) > MAX_TEXT_BYTES) return refused('it is larger than any FTSConfig.yaml');
  // Brackets are where depth hides; indentation costs a byte a level and is bounded by the size.
  if (/[[{](?:[^\]}]*[[{]){16}/.test(text)) return refused(`it nests deeper than ${MAX_DEPTH}`);
  const doc = parseDocument(text, { schema: 'core', uniqueKeys: false, logLevel: 'error' });
  if (doc.errors.length > 0) return refused('it is not YAML that can be read');
  let value: unknown;
  try {
    value = doc.toJS({ maxAliasCount: 32 });
  } catch {
    return refused('its aliases unfold to too much');
  }
  const found = new Map<string, string>();
  const section = (one: unknown) => Object.entries(typeof one === 'object' && one !== null ? (one as Json) : {});
  for (const [, inner] of section(value)) {
    for (const [key, said] of section(inner)) {
      if (typeof said === 'string' || typeof said === 'number') found.set(key, String(said));
    }
  }
  return fromFts(found);
}

/** FTS_* of an env file or a unit: `[export] NAME=value` lines. */
export function fromFtsEnvironment(text: string): Plan {
  const lines = text.split(/\r?\n/).slice(0, 1000);
  const found = new Map<string, string>();
  for (const line of lines) {
    const [, key, said] = /^\s*(?:export\s+|Environment=)?"?(FTS_[A-Z_]+)=(.*?)"?\s*$/.exec(line) ?? [];
    if (key) found.set(key, said!.replace(/^(["'])(.*)\1$/, '$2'));
  }
  return fromFts(found);
}

function fromFts(found: ReadonlyMap<string, string>): Plan {
  if (![...found.keys()].some((key) => key.startsWith('FTS_'))) return refused('no FTS_ settings are in it');
  const findings: Finding[] = [];
  for (const key of ['FTS_FED_PASSWORD', 'FTS_FEDERATION_KEYPASS']) {
    const said = found.get(key);
    if (said !== undefined && GUIDE_PASSWORDS.includes(said.toLowerCase())) {
      return refused(
        `${key} is the password of the guide, which everybody knows`,
        'choose another one there first, then import again',
      );
    }
    if (said) findings.push({ level: 'ok', words: `${key} is not taken over: certificates take its place here` });
  }
  const port = Number(found.get('FTS_FED_PORT') ?? 9000);
  if (!(port >= 1 && port <= 65_535)) return refused('FTS_FED_PORT is no port');
  const [cert, key] = [found.get('FTS_FEDERATION_CERTDIR'), found.get('FTS_FEDERATION_KEYDIR')];
  const own = cert?.endsWith('.pem') && key && !found.get('FTS_FEDERATION_KEYPASS') ? { cert, key } : {};
  if (cert && !('cert' in own)) {
    findings.push({
      level: 'warning',
      words: 'the federation certificate stays with FreeTAKServer; this box shows its own',
      fix: 'import the PEM files as well if peers must see the same one',
    });
  }
  const node = found.get('FTS_NODE_ID');
  if (node)
    findings.push({
      level: 'ok',
      words: `FTS_NODE_ID ${node.slice(0, 64)} stays theirs: this box has an id of its own`,
    });
  const address = found.get('FTS_USER_ADDRESS');
  if (address)
    findings.push({
      level: 'ok',
      words: `reached by phones as ${address.slice(0, 64)}: put it under hosts if this box takes that address over`,
    });
  return { ...NOTHING, links: [{ name: 'federation-v1', kind: 'fed1', listen: port, ...own }], findings };
}
