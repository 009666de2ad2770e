// What operators of other programs bring along, as those programs write it; and what a stranger might hand them instead.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { zipSync } from 'fflate';
import { stringify } from 'yaml';
import { importCommand } from '../../src/cli/import.ts';
import { coreConfig } from '../../src/config/coreconfig.ts';
import { parseConfig } from '../../src/config/load.ts';
import { fileSchema } from '../../src/config/schema.ts';
import { loadRevocations, loadTrust } from '../../src/identity/trust.ts';
import { MAX_IMPORT_BYTES, planOf } from '../../src/import/import.ts';
import type { Plan } from '../../src/import/plan.ts';
import { LINK_KINDS } from '../../src/links/index.ts';
import { makeCa, makeLeaf } from '../support/pki.ts';

const noOpenssl = spawnSync('openssl', ['version']).status === 0 ? false : 'openssl is not installed';
const noPython = spawnSync('python3', ['--version']).status === 0 ? false : 'python3 is not installed';

async function plan(text: string | Buffer, name = 'file', password?: string): Promise<Plan> {
  return planOf({ name, bytes: Buffer.from(text) }, { nowMs: Date.now(), password });
}

const refusals = ({ findings }: Plan) => findings.filter(({ level }) => level === 'refused').map(({ words }) => words);

/** The links are what our own file takes. */
function good({ links, findings }: Plan): Plan['links'] {
  assert.deepEqual(
    findings.filter(({ level }) => level === 'refused'),
    [],
  );
  const read = fileSchema(LINK_KINDS).safeParse({
    links: links.map((link, index) => ({ ...link, name: `${index}-${link.name}`.slice(0, 32) })),
  });
  assert.ok(read.success, JSON.stringify(read.error?.issues));
  return links;
}

test('G2: federation.json creates the links it names', async () => {
  const [one, two] = good(
    await plan(
      JSON.stringify({
        version: 1,
        peers: [
          {
            name: 'Server-B',
            address: 'b.example.org',
            port: 9000,
            ca_cert: '/etc/tak/b.pem',
            bidirectional: true,
            filters: { cot_types: ['a-f-'], groups: ['Blue'] },
          },
          { name: 'c', address: 'fd00::1', port: 9001, bidirectional: false },
        ],
      }),
    ),
  );
  assert.deepEqual(one, {
    name: 'server-b',
    label: 'Server-B',
    kind: 'fed1',
    connect: 'b.example.org:9000',
    trust: ['/etc/tak/b.pem'],
    policy: { allow_types: ['a-f-'], groups_in: ['Blue'], groups_out: ['Blue'] },
  });
  assert.deepEqual(two, { name: 'c', kind: 'fed2', connect: '[fd00::1]:9001', policy: { out: false } });
  for (const bad of [
    '{}',
    '{"version":2,"peers":[]}',
    '{"version":1,"peers":[{}]}',
    '{"version":1,"peers":[null]}',
    '{"version":1,',
    JSON.stringify({ version: 1, peers: Array(65).fill({}) }),
  ]) {
    assert.equal(refusals(await plan(bad)).length > 0, true, bad);
  }
});

const FTS = (pass: string) => `System:
  FTS_NODE_ID: "FreeTAKServer-abc"
Addresses:
  FTS_FED_PORT: 9000
  FTS_USER_ADDRESS: 203.0.113.5
Certs:
  FTS_FEDERATION_CERTDIR: /opt/fts/certs/federation.pem
  FTS_FEDERATION_KEYDIR: /opt/fts/certs/federation.key
  FTS_FEDERATION_KEYPASS: ${pass}
`;

test('G1: FTSConfig.yaml and FTS_ settings; the guide’s passwords are refused', async () => {
  const [link] = good(await plan(FTS('a good one')));
  assert.deepEqual(link, { name: 'federation-v1', kind: 'fed1', listen: 9000 });
  assert.match(refusals(await plan(FTS('defaultpass')))[0]!, /everybody knows/);
  const env = good(await plan('# fts\nexport FTS_FED_PORT=9009\nFTS_NODE_ID="x"\nFTS_LOG_LEVEL=debug\n'));
  assert.deepEqual(env, [{ name: 'federation-v1', kind: 'fed1', listen: 9009 }]);
  assert.match(refusals(await plan('FTS_FED_PASSWORD=defaultpass\n'))[0]!, /FTS_FED_PASSWORD/);
  assert.match(refusals(await plan('FTS_FED_PORT=99999\n'))[0]!, /no port/);
});

const PINS = { leaf: 'ab'.repeat(32), ca: 'cd'.repeat(32) };

test('G2: CoreConfig.xml’s federation part, also the one we export; the older federation-server.xml', async () => {
  const theirs = coreConfig({
    name: 'Relay <A>',
    ...PINS,
    federate: 'relay:ca',
    group: 'Blue & Co',
    outgoing: { address: 'a.example.org', port: 9001 },
  });
  const [out, listener] = good(await plan(theirs));
  assert.deepEqual(out, { name: 'relay-a', kind: 'fed2', connect: 'a.example.org:9001' });
  assert.deepEqual(listener, {
    name: 'federation',
    kind: 'fed2',
    listen: 9001,
    peers: [
      {
        name: 'relay:ca',
        pin: `SHA256:${'ab'.repeat(32)}`,
        policy: { groups_in: ['Blue & Co'], groups_out: ['Blue & Co'] },
      },
    ],
  });
  const [old] = good(
    await plan(
      '<Federation><FederationOutgoing id="hq" host="hq.example.org" port="9000" reconnectInterval="30" maxRetries="0" fallback="" enabled="false" filtergroup="Blue" direction="outbound" groupFilterName=""/></Federation>',
    ),
  );
  assert.deepEqual(old, {
    name: 'hq',
    kind: 'fed1',
    connect: 'hq.example.org:9000',
    enabled: false,
    policy: { in: false, groups_in: ['Blue'], groups_out: ['Blue'] },
  });
});

test('a federate without a group in one direction gets nothing there, as in TAK Server', async () => {
  const xml = `<federation><federate id="${'ab'.repeat(32)}" name="n"><inboundGroup>B</inboundGroup></federate></federation>`;
  const [{ peers }] = good(await plan(xml)) as [{ peers: { policy: object }[] }];
  assert.deepEqual(peers[0]!.policy, { groups_in: ['B'], out: false });
});

test('hop limits of a federate: by group where TAK Server counts these, else the one for all', async () => {
  const federate = (attributes: string, children = '') =>
    `<federation><federate id="${'ab'.repeat(32)}" name="n" ${attributes}><inboundGroup>B</inboundGroup><outboundGroup>B</outboundGroup>${children}</federate></federation>`;
  const limit = (group: string, hops: string) => `<outboundGroupHopLimit groupName="${group}" hopLimit="${hops}"/>`;
  const some = `${limit('Blue', '2')}${limit('Red', '-1')}${limit('Blue', '3')}<outboundGroupHopLimit groupName="Free"/>`;
  const peer = async (text: string) => {
    const made = await plan(text);
    const [{ peers }] = good(made) as [{ peers: Record<string, unknown>[] }];
    const { group_hops, max_hops_out } = peers[0]!;
    const warnings = made.findings.filter(({ level }) => level === 'warning').map(({ words }) => words);
    return { group_hops, max_hops_out, warnings };
  };
  assert.deepEqual(await peer(federate('useGroupHopLimiting="true"', some)), {
    group_hops: { Blue: 2 },
    max_hops_out: undefined,
    warnings: [],
  });
  assert.deepEqual(await peer(federate('maxHops="3"')), { group_hops: undefined, max_hops_out: 3, warnings: [] });
  assert.deepEqual(await peer(federate('maxHops="-1"')), {
    group_hops: undefined,
    max_hops_out: undefined,
    warnings: [],
  });
  assert.equal((await peer(federate('maxHops="1000"'))).max_hops_out, 64);
  const off = await peer(federate('maxHops="3" useGroupHopLimiting="false"', some));
  assert.deepEqual([off.group_hops, off.max_hops_out], [undefined, 3]);
  assert.match(off.warnings.join(), /n: .*useGroupHopLimiting is off/);
  const both = await peer(federate('maxHops="3" useGroupHopLimiting="1"', some));
  assert.deepEqual([both.group_hops, both.max_hops_out], [{ Blue: 2 }, undefined]);
  assert.match(both.warnings.join(), /maxHops is not taken over/);
  for (const bad of ['many', '', '2.5', '1e3', '0x10', '9'.repeat(30)]) {
    assert.match(refusals(await plan(federate(`maxHops="${bad}"`)))[0]!, /n: its maxHops is no number/, bad);
    const group = federate('useGroupHopLimiting="true"', limit('Blue', bad));
    assert.match(refusals(await plan(group))[0]!, /hop limit in "Blue" is no number/, bad);
  }
  assert.match(
    refusals(await plan(federate('useGroupHopLimiting="true"', '<outboundGroupHopLimit hopLimit="1"/>')))[0]!,
    /names no group/,
  );
});

test('hop limits that we export come back as they were', async () => {
  const text = coreConfig({
    name: 'a',
    ...PINS,
    federate: 'a:ca',
    group: 'Blue',
    hops: { most: new Map([['Red & <Co>', 3]]), all: 4, key: '' },
  });
  const [{ peers }] = good(await plan(text)) as [{ peers: Record<string, unknown>[] }];
  assert.deepEqual(peers[0]!.group_hops, { Blue: 4, 'Red & <Co>': 3 });
});

test('XML that is hostile: entities, depth, count, damage', async () => {
  assert.match(
    refusals(await plan('<!DOCTYPE x [<!ENTITY a "b"><!ENTITY c "&a;&a;">]><federation>&c;</federation>'))[0]!,
    /entities/,
  );
  assert.match(refusals(await plan(`${'<a>'.repeat(1000)}`))[0]!, /deeper/);
  assert.match(refusals(await plan(`<a>${'<b/>'.repeat(30_000)}</a>`))[0]!, /elements/);
  assert.match(refusals(await plan('<a><b></a>'))[0]!, /well-formed/);
  assert.match(refusals(await plan('<a/>'))[0]!, /no federation/);
});

test('YAML that is hostile: depth, aliases', async () => {
  assert.equal(refusals(await plan(`System: ${'['.repeat(10_000)}\nFTS_NODE_ID: 1`)).length, 1);
  const bomb = `System: &a [x,x,x,x,x,x,x,x,x]\n${Array.from(
    { length: 9 },
    (_, at) =>
      `A${at}: &a${at} [${Array(9)
        .fill(at === 0 ? '*a' : `*a${at - 1}`)
        .join(',')}]`,
  ).join('\n')}\n`;
  assert.equal(refusals(await plan(bomb)).length, 1);
});

/** A P12 as OpenSSL writes it, the old way that Android reads and the new one. */
function p12(
  folder: string,
  own: { certPem: string; keyPem?: string } | undefined,
  ca: string,
  password: string,
  ...more: string[]
): Buffer {
  const write = (name: string, text: string) => {
    execFileSync('python3', ['-c', 'import sys; open(sys.argv[1],"w").write(sys.stdin.read())', join(folder, name)], {
      input: text,
    });
    return join(folder, name);
  };
  const out = join(folder, 'x.p12');
  const args = own?.keyPem
    ? ['-inkey', write('k.pem', own.keyPem), '-in', write('c.pem', own.certPem), '-certfile', write('ca.pem', ca)]
    : ['-nokeys', '-in', write('ca.pem', ca)];
  execFileSync('openssl', ['pkcs12', '-export', ...args, '-passout', `pass:${password}`, '-out', out, ...more]);
  return readFileSync(out);
}

test('P12 and PEM: explained before a handshake fails of them', { skip: noOpenssl || noPython }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'waystation-import-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const ca = makeCa({ cn: 'Site CA', key: 'rsa' });
  const own = makeLeaf(ca, { cn: 'us', key: 'rsa' });
  const bytes = p12(folder, own, ca.certPem, 'secret');

  const read = await plan(bytes, 'us.p12', 'secret');
  assert.deepEqual(refusals(read), []);
  assert.deepEqual(
    read.files.map(({ name }) => name),
    ['us.pem', 'us.key', 'us-ca.pem'],
  );
  assert.deepEqual(read.trust, ['file:us-ca.pem']);
  assert.match(refusals(await plan(bytes, 'us.p12', 'wrong'))[0]!, /password of the P12 file is wrong/);
  assert.match(refusals(await plan(bytes, 'us.p12'))[0]!, /has a password/);
  assert.equal(refusals(await plan(Buffer.concat([Buffer.of(0x30), Buffer.alloc(500, 1)]), 'x.p12', 'x')).length, 1);

  const truststore = await plan(p12(folder, undefined, ca.certPem, 'atakatak'), 'truststore.p12', 'atakatak');
  assert.deepEqual([truststore.trust, refusals(truststore)], [['file:truststore-ca.pem'], []]);

  const other = makeLeaf(ca, { cn: 'other', key: 'rsa' });
  assert.match(refusals(await plan(own.certPem + other.keyPem))[0]!, /belongs to none/);
  assert.match(refusals(await plan(ca.certPem + ca.keyPem))[0]!, /authority's/);
  const leafAsCa = await plan(own.certPem.slice(0, own.certPem.indexOf('-----END CERTIFICATE-----') + 26));
  assert.ok(leafAsCa.findings.some(({ level, words }) => level === 'warning' && words.includes('not an authority')));
  assert.match(refusals(await plan('-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'))[0]!, /damaged/);
});

test('a key whose password is wrong, or not given, is said to be that', { skip: noOpenssl }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'waystation-import-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const own = makeLeaf(makeCa({ cn: 'Site CA', key: 'rsa' }), { cn: 'us', key: 'rsa' });
  const args = ['pkcs8', '-topk8', '-v2', 'aes-256-cbc', '-passout', 'pass:right'];
  const sealed = execFileSync('openssl', args, { input: own.keyPem, encoding: 'utf8' });
  const bundle = own.certPem + sealed;
  assert.deepEqual(refusals(await plan(bundle, 'us.pem', 'right')), []);
  for (const password of ['wrong', undefined]) {
    const [words] = refusals(await plan(bundle, 'us.pem', password));
    assert.match(words!, /password/, String(password));
  }
});

test('a certificate of 100 MB is refused by its size', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'waystation-import-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, 'huge.pem');
  writeFileSync(path, '-----BEGIN CERTIFICATE-----\n');
  truncateSync(path, 100_000_000); // nothing but a hole: it takes no room
  const told: string[] = [];
  const say = (line: string) => void told.push(line);
  const context = { out: say, err: say, signal: new AbortController().signal, env: {}, defaults: {} };
  assert.notEqual(await importCommand.run([path], context as never), 0);
  assert.match(told.join('\n'), /larger than 8 MiB/);
  for (const load of [() => loadTrust([path], '/'), () => loadRevocations([path], '/')])
    assert.throws(load, /larger than/);
});

test('JKS: a clear refusal with the keytool line; other things likewise', async () => {
  const jks = await plan(Buffer.concat([Buffer.from('feedfeed00000002', 'hex'), Buffer.alloc(100)]));
  assert.match(jks.findings[0]!.fix!, /keytool -importkeystore .*PKCS12/);
  assert.match(refusals(await plan(Buffer.alloc(MAX_IMPORT_BYTES + 1, 0x20)))[0]!, /larger/);
  assert.match(refusals(await plan(''))[0]!, /empty/);
  assert.match((await plan('hello')).findings[0]!.fix!, /federation\.json/);
});

test('tak:// links: what they would do is said, nothing is fetched', async () => {
  assert.match(
    refusals(await plan('tak://com.atakmap.app/enroll?host=tak.example.org&username=u&token=t'))[0]!,
    /tak\.example\.org/,
  );
  assert.match(
    (await plan('tak://com.atakmap.app/import?url=https%3A%2F%2Fx.example%2Fp.zip')).findings[0]!.fix!,
    /x\.example/,
  );
  assert.equal(refusals(await plan('tak://com.atakmap.app/else')).length, 1);
});

const pref = (entries: Record<string, string>) =>
  `<?xml version='1.0' standalone='yes'?><preferences><preference version="1" name="cot_streams">${Object.entries(
    entries,
  )
    .map(([key, value]) => `<entry key="${key}" class="class java.lang.String">${value}</entry>`)
    .join('')}</preference></preferences>`;

test('connection packages: ATAK’s keys with numbers, iTAK’s without', { skip: noOpenssl || noPython }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'waystation-import-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const ca = makeCa({ cn: 'Site CA', key: 'rsa' });
  const own = makeLeaf(ca, { cn: 'us', key: 'rsa' });
  const [user, trust] = [p12(folder, own, ca.certPem, 'atakatak'), p12(folder, undefined, ca.certPem, 'atakatak')];
  const zip = (name: string, entries: Record<string, string>) =>
    Buffer.from(zipSync({ [name]: Buffer.from(pref(entries)), 'certs/user.p12': user, 'certs/truststore.p12': trust }));
  const atak = {
    count: '1',
    description0: 'County TAK',
    connectString0: 'tak.example.org:8089:ssl',
    caLocation0: 'cert/truststore.p12',
    caPassword0: 'atakatak',
    certificateLocation0: 'cert/user.p12',
    clientPassword0: 'atakatak',
  };
  const itak = {
    count: '1',
    description0: 'County TAK',
    connectString0: 'tak.example.org:8089:ssl',
    caLocation: 'cert/truststore.p12',
    caPassword: 'atakatak',
    certificateLocation: 'cert/user.p12',
    clientPassword: 'atakatak',
  };
  for (const entries of [atak, itak]) {
    const made = await plan(zip('certs/config.pref', entries), 'county.dpk');
    assert.deepEqual(good(made), [
      {
        name: 'county-tak',
        kind: 'cot',
        connect: 'tak.example.org:8089',
        tls: { cert: 'file:county-tak.pem', key: 'file:county-tak.key', trust: ['file:county-tak-ca.pem'] },
      },
    ]);
    assert.equal(made.files.length, 3);
  }
  assert.match(refusals(await plan(zip('x.pref', { ...atak, clientPassword0: 'no' })))[0]!, /password/);
  assert.match(
    refusals(await plan(zip('x.pref', { ...atak, caLocation0: 'cert/gone.p12' })))[0]!,
    /not in the package/,
  );
  assert.match(refusals(await plan(zip('x.pref', { connectString0: 'x' })))[0]!, /no address/);
  const tcp = await plan(zip('x.pref', { connectString0: 'a:8087:tcp' }));
  assert.ok(tcp.findings.some(({ words }) => words.includes('plain TCP')));
});

test('packages that are hostile: bombs, ways out, lies, damage', async () => {
  const zero = Buffer.alloc(3 * 1024 * 1024);
  assert.match(refusals(await plan(Buffer.from(zipSync({ 'a.pref': zero }, { level: 9 }))))[0]!, /unpacks to more/);
  assert.match(
    refusals(
      await plan(Buffer.from(zipSync({ '../../etc/cron.d/x': Buffer.from('x'), 'a.pref': Buffer.from('x') }))),
    )[0]!,
    /leads out/,
  );
  assert.match(refusals(await plan(Buffer.from(zipSync({ '/etc/x': Buffer.from('x') }))))[0]!, /leads out/);
  const many = Object.fromEntries(Array.from({ length: 65 }, (_, at) => [`${at}`, Buffer.alloc(1)]));
  assert.match(refusals(await plan(Buffer.from(zipSync(many))))[0]!, /more than 64/);
  assert.match(
    refusals(await plan(Buffer.from(zipSync({ 'readme.txt': Buffer.from('x') }))))[0]!,
    /no connection package/,
  );
  // Says that a megabyte is ten bytes: no more than it says is unpacked.
  const lie = Buffer.from(zipSync({ 'a.pref': Buffer.alloc(900_000) }, { level: 9 }));
  for (let at = 0; at < lie.length - 4; at++) if (lie.readUInt32LE(at) === 900_000) lie.writeUInt32LE(10, at);
  assert.equal(refusals(await plan(lie)).length, 1);
  const whole = Buffer.from(zipSync({ 'a.pref': Buffer.from(pref({ connectString0: 'a:8087:tcp' })) }));
  for (let length = 2; length < whole.length; length += 7)
    assert.equal(refusals(await plan(whole.subarray(0, length))).length, 1);
});

type Taken = {
  readonly name: string;
  readonly policy: { readonly network: string };
  readonly settings: Record<string, unknown>;
};

describe('the policy of a Federation Hub', () => {
  const uid = (name: string, digit: string) => `CN=${name},OU=TAK,O=Test-${digit.repeat(64)}`;
  const cell = (graphType: string, name: string, more: object) => ({
    graphType,
    id: `id-${name}`,
    attrs: { '.content': { text: name } },
    roger_federation: {
      stringId: name,
      description: name,
      groupFilters: [],
      interconnected: true,
      type: 'Group',
      ...more,
    },
  });
  const [alpha, bravo] = [uid('alpha', 'a'), uid('bravo', 'b')];
  const edge = (source: string, destination: string, more: object = {}) => ({
    source,
    destination,
    groupsFilterType: 'ALL',
    ...more,
  });
  /** As ui_generated_policy.json of TAK Server 5 has it: edges by name, and the picture they were drawn in. */
  const policy = (cells: readonly object[], edges: readonly object[] | undefined, more: object = {}) =>
    JSON.stringify({
      name: 'Testing',
      ...(edges ? { federate_edges: edges } : {}),
      groups: [],
      additionalData: { uiData: { name: 'Testing', cells, diagramType: 'Federation' } },
      ...more,
    });
  const two = [cell('GroupCell', 'ALPHA', { name: alpha }), cell('GroupCell', 'BRAVO', { name: bravo })];
  /** Links and networks are what our own file takes. */
  const taken = (made: Plan) => {
    const text = stringify({ networks: made.networks, links: made.links });
    const parsed = parseConfig(text, { path: '/etc/waystation.yaml' });
    assert.ok('config' in parsed, 'problems' in parsed ? JSON.stringify(parsed.problems) : '');
    return parsed.config as Omit<typeof parsed.config, 'links'> & { readonly links: readonly Taken[] };
  };

  test('a mesh of authorities is one network on one port', async () => {
    const made = await plan(policy(two, [edge(alpha, bravo), edge(bravo, alpha)]));
    assert.deepEqual(refusals(made), []);
    assert.deepEqual(made.networks, []);
    assert.deepEqual(made.links, [
      {
        name: 'federation',
        kind: 'fed2',
        listen: 9001,
        trust: [`SHA256:${'a'.repeat(64)}`, `SHA256:${'b'.repeat(64)}`],
        policy: { block_types: [] },
      },
    ]);
    taken(made);
  });

  test('else each node is a network, and edges say what crosses', async () => {
    const cells = [
      ...two,
      cell('FederateCell', 'CHARLIE', { name: uid('charlie', 'c') }),
      cell('FederationOutgoingCell', 'far', {
        name: 'far',
        host: 'far.example.org',
        port: 9102,
        outgoingEnabled: true,
      }),
    ];
    const edges = [
      edge(alpha, bravo, { groupsFilterType: 'ALLOWED', allowedGroups: ['Blue', 'Red'] }),
      edge(bravo, alpha),
      edge('far', uid('charlie', 'c')),
    ];
    const made = await plan(policy(cells, edges));
    assert.deepEqual(refusals(made), []);
    const config = taken(made);
    assert.deepEqual(
      config.links.map(({ name, policy, settings: { listen, peers } }) => [name, policy.network, listen, peers]),
      [
        ['alpha', 'alpha', [{ host: '', port: 9001 }], []],
        ['bravo', 'bravo', [{ host: '', port: 9002 }], []],
        ['far', 'far', [], []],
        ['federates', '', [{ host: '', port: 9003 }], config.links[3]!.settings.peers],
      ],
    );
    assert.deepEqual(made.links[2]?.connect, 'far.example.org:9102');
    const [charlie] = config.links[3]!.settings.peers as { name: string; pin: string; policy: { network: string } }[];
    assert.deepEqual([charlie?.name, charlie?.pin, charlie?.policy.network], ['CHARLIE', 'c'.repeat(64), 'charlie']);
    assert.deepEqual(made.networks, [
      { name: 'alpha', peers: [{ name: 'bravo', policy: { groups_out: ['Blue', 'Red'] } }] },
      { name: 'bravo', peers: [] },
      { name: 'charlie', peers: [{ name: 'far', policy: { out: false, dp_out: false } }] },
      { name: 'far', peers: [] },
    ]);
    assert.ok(
      made.findings.some(({ words }) => words === 'BRAVO: its servers dial port 9002, which is that of their network'),
    );
  });

  test('edges that stand in the picture alone, and the newer name of its properties', async () => {
    const drawn = {
      graphType: 'EdgeCell',
      id: 'e',
      federation: { name: 'ALPHA -> BRAVO', groupsFilterType: 'allGroups', edgeFilters: [] },
      source: { id: 'id-ALPHA' },
      target: { id: 'id-BRAVO' },
    };
    const made = await plan(policy([...two, drawn], undefined));
    assert.deepEqual(refusals(made), []);
    assert.deepEqual(made.networks[0]?.peers, [{ name: 'bravo', policy: { in: false, dp_in: false } }]);
    taken(made);
  });

  test('a policy without its picture', async () => {
    const groups = [
      { uid: alpha, interconnected: true },
      { uid: bravo, interconnected: false },
    ];
    const made = await plan(JSON.stringify({ name: 'x', federate_edges: [edge(alpha, bravo)], groups }));
    assert.deepEqual(refusals(made), []);
    assert.deepEqual(
      made.links.map(({ name }) => name),
      ['alpha', 'bravo'],
    );
    assert.match(made.findings.find(({ level }) => level === 'warning')!.words, /^bravo: servers of this authority/);
  });

  test('what has no equivalent is refused in words, and nothing is taken', async () => {
    const both = [edge(alpha, bravo), edge(bravo, alpha)];
    const cases: readonly [string, RegExp][] = [
      [
        policy(two, [edge(alpha, bravo, { groupsFilterType: 'DISALLOWED', disallowedGroups: ['Red'] })]),
        /alpha -> bravo: groups that are kept back/,
      ],
      [policy(two, [edge(alpha, bravo, { groupsFilterType: 'ALLOWED_AND_DISALLOWED' })]), /kept back/],
      [policy(two, [edge(alpha, bravo, { groupsFilterType: 'ALLOWED', allowedGroups: ['A:B'] })]), /colon/],
      [policy(two, [edge(alpha, bravo, { filterExpression: 'a || b' })]), /filter expression/],
      [policy([...two, cell('FederationTokenGroupCell', 'T', { name: 'T' })], both), /T: federation by token/],
      [policy([cell('GroupCell', 'X', { name: alpha, allowTokenAuth: true })], []), /token/],
      [policy([...two, cell('FederationOutgoingCell', 'o', { name: 'o', host: 'a b', port: 1 })], both), /no address/],
      [policy([cell('GroupCell', 'X', { name: 'CN=x' })], []), /fingerprint of a certificate/],
      [policy([cell('OddCell', 'X', { name: alpha })], []), /kind that is not known/],
      [policy([two[0]!, two[0]!], both), /another node bears its name/],
      [policy(two, [edge(alpha, uid('nobody', 'd'))]), /begins or ends at no node/],
      [policy([], []), /no authority/],
      [
        policy(
          Array.from({ length: 16 }, (_, at) =>
            cell('FederationOutgoingCell', `o${at}`, { name: `o${at}`, host: 'h', port: 1 }),
          ),
          [],
        ),
        /more than 15 nodes/,
      ],
      [
        JSON.stringify({
          federate_edges: [null, 7, {}],
          groups: 'x',
          additionalData: { uiData: { cells: [null, { federation: 7 }] } },
        }),
        /kind that is not known/,
      ],
    ];
    for (const [text, words] of cases) {
      const made = await plan(text);
      assert.ok(
        refusals(made).some((said) => words.test(said)),
        `${words} in ${JSON.stringify(made.findings)}`,
      );
      assert.deepEqual([made.links, made.networks], [[], []]);
    }
  });
});
