// From text to configuration, and from mistakes to words. With kinds of its own, so that no protocol's keys matter here.
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { DEFAULT_CONFIG } from '../../src/config/defaults.ts';
import { defaultDataFolder, loadConfig, parseConfig } from '../../src/config/load.ts';
import { formatProblems, MAX_PROBLEMS } from '../../src/config/problem.ts';
import type { Config } from '../../src/config/schema.ts';
import { FatalError } from '../../src/lib/errors.ts';
import { kinds } from '../fixtures/config/kinds.ts';

const PATH = '/etc/waystation/waystation.yaml';

function good(text: string): Config {
  const parsed = parseConfig(text, { path: PATH, kinds });
  if ('config' in parsed) return parsed.config;
  return assert.fail(formatProblems(parsed.problems, 'waystation.yaml'));
}

/** The problems as the terminal shows them, without the file's name. */
function wrong(text: string): string[] {
  const parsed = parseConfig(text, { path: PATH, kinds });
  if ('config' in parsed) return assert.fail('was accepted');
  return formatProblems(parsed.problems, 'f').replaceAll(/^f:/gm, '').split('\n');
}

async function folder(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'waystation-config-'));
  t.after(() => rm(path, { recursive: true }));
  return path;
}

test('an empty file is a relay with defaults and no links', () => {
  for (const text of ['', '# nothing\n', '{}', 'links:\nlog:\napi:\ntrust:\nhosts:\nlimits:\n  queue:\n']) {
    const config = good(text);
    assert.deepEqual(config, {
      version: 1,
      name: 'waystation',
      data: '/var/lib/waystation',
      log: { level: 'info' },
      api: {
        listen: { host: '127.0.0.1', port: 8080 },
        listenFrom: [],
        tls: undefined,
        tlsFrom: [],
        enroll: undefined,
      },
      trust: { paths: [], pins: [] },
      revoked: { paths: [], pins: [] },
      hosts: undefined,
      limits: { queue: { events: 4096, bytes: 4_194_304 }, outbox: { bytes: 10_000_000, hours: 24 } },
      resources: [],
      telemetry: {},
      files: {
        listen: undefined,
        tls: undefined,
        federates: undefined,
        fileBytes: 268_435_456,
        bytes: 2_147_483_648,
        hours: 72,
      },
      recorder: { bytes: 0 },
      networks: [],
      links: [],
    });
  }
});

test('every key of a full file arrives', () => {
  const hex = 'AB'.repeat(32);
  const config = good(`
version: 1
name: Relay A
data: state
log: { level: debug }
api: { listen: "[::1]:9999" }
trust: [hq.pem, /etc/cas, "SHA256:${'ab:'.repeat(31)}ab", "sha256:${hex}"]
hosts: [relay-a.local, 10.0.0.5, "fd00::1"]
limits: { queue: { events: 100, bytes: 70000 } }
links:
  - name: one
    kind: radio
    enabled: false
    listen: 8087
    tune: { channel: 3 }
    queue: { bytes: 80000 }
    budget: { profile: satcom, rate: 2400, metered: false }
    policy: { in: false, out: false, dp_in: false, dp_out: false, allow_types: [a-f-], block_types: [b-],
              groups_in: [Blue], groups_out: [Red, Cyan], max_hops: 3 }
  - { name: two, kind: wire, connect: there }
`);
  assert.equal(config.name, 'Relay A');
  assert.equal(config.data, '/etc/waystation/state');
  assert.equal(config.log.level, 'debug');
  assert.deepEqual(config.api.listen, { host: '::1', port: 9999 });
  assert.deepEqual(config.trust, {
    paths: ['/etc/waystation/hq.pem', '/etc/cas'],
    pins: [hex.toLowerCase(), hex.toLowerCase()],
  });
  assert.deepEqual(config.hosts, ['relay-a.local', '10.0.0.5', 'fd00::1']);
  assert.deepEqual(config.links[0], {
    name: 'one',
    kind: 'radio',
    enabled: false,
    listenFrom: [],
    queue: { events: 100, bytes: 80_000 },
    budget: { profile: 'satcom', rateBps: 2400, perDayBytes: 20_000_000, metered: false },
    policy: {
      in: false,
      out: false,
      dpIn: false,
      dpOut: false,
      allowTypes: ['a-f-'],
      blockTypes: ['b-'],
      groupsIn: ['Blue'],
      groupsOut: ['Red', 'Cyan'],
      maxHops: 3,
      rulesIn: [],
      rulesOut: [],
      network: '',
    },
    settings: { listen: 8087, mode: 'fast', tune: { channel: 3 } },
  });
  assert.deepEqual(config.links[1]?.settings, { connect: 'there', listen: [7001], upper: 'THERE' });
  assert.equal(config.links[1]?.policy.maxHops, -1);
});

test('all problems come at once, each with its line, its key and what was meant', () => {
  const found = wrong(`name: again
lgo: {}
log: {level: inf}
name: more
links:
  - name: phones
    kind: radio
    lisen: 8087
    dp_in: false
    policy: { maxHops: 3, in: yes }
  - name: phones
    kind: radoi
  - kind: radio
    name: Über
    listen: 123456
    gain: loud
  - 5
`);
  assert.deepEqual(found, [
    '2:1 lgo: unknown key, did you mean "log"?',
    '3:14 log.level: expected one of trace, debug, info, warn, error, fatal, silent, got "inf", did you mean "info"?',
    '4:1 name: written twice, first on line 1',
    '8:5 links[0].lisen: unknown key, did you mean "listen"?',
    '9:5 links[0].dp_in: unknown key, did you mean "policy.dp_in"?',
    '10:15 links[0].policy.maxHops: unknown key, did you mean "max_hops"?',
    '10:31 links[0].policy.in: expected true or false, got "yes"',
    '11:11 links[1].name: already the name of links[0]; every link needs its own',
    '12:11 links[1].kind: expected one of radio, wire, got "radoi", did you mean "radio"?',
    '14:11 links[2].name: expected 1 to 32 of a-z 0-9 . _ - beginning with a letter or digit, got "Über"',
    '15:13 links[2].listen: expected a port number between 1 and 65535, got 123456',
    '16:11 links[2].gain: expected a number of at most 10, got "loud"',
    '17:5 links[3]: expected a section of keys, got 5',
  ]);
});

test('wrong values are told in plain words', () => {
  const one = (keys: string) => wrong(`links:\n- {name: a, kind: radio, ${keys}}`)[0]?.replace(/^\S+ /, '');
  assert.equal(
    one('listen: [a]'),
    'links[0].listen[0]: expected a port number between 1 and 65535 or a section of keys, got "a"',
  );
  assert.equal(
    one('listen: true'),
    'links[0].listen: expected a port number between 1 and 65535 or text or a section of keys or a list, got true',
  );
  assert.equal(one('tune: {channel: 0}'), 'links[0].tune.channel: expected a whole number between 1 and 16, got 0');
  assert.equal(one('tune: {channel: 1.5}'), 'links[0].tune.channel: expected a whole number between 1 and 16, got 1.5');
  assert.equal(one('tune: {}'), 'links[0].tune.channel: missing; expected a whole number between 1 and 16');
  assert.equal(one('tune: []'), 'links[0].tune: expected a section of keys, got a list');
  assert.equal(one('enabled: null'), 'links[0].enabled: expected true or false, got nothing');
  assert.equal(one('tune: {chanel: 3, channel: 3}'), 'links[0].tune.chanel: unknown key, did you mean "channel"?');
  assert.equal(
    one('zzz: 1'),
    'links[0].zzz: unknown key; known here: name, kind, label, enabled, listen_from, policy, queue, budget, listen, mode, gain, password, tune',
  );
  const budget = (keys: string) => one(`listen: 1, budget: ${keys}`);
  const rate = 'links[0].budget.rate: expected a whole number between 75 and 100000000000';
  assert.equal(budget('{rate: 0}'), `${rate}, got 0`);
  assert.equal(budget('{rate: -2400}'), `${rate}, got -2400`);
  assert.equal(budget('{rate: 2.4k}'), `${rate}, got "2.4k"`);
  assert.equal(budget('{rate: .inf}'), `${rate}, got Infinity`);
  assert.match(
    budget('{per_day: 20}') ?? '',
    /^links\[0\]\.budget\.per_day: expected a whole number between 10000 and/,
  );
  assert.equal(
    budget('{profile: satcm}'),
    'links[0].budget.profile: expected one of lan, lte, satcom, hf, got "satcm", did you mean "satcom"?',
  );
  assert.equal(budget('{perday: 1}'), 'links[0].budget.perday: unknown key, did you mean "per_day"?');
  assert.equal(budget('2400'), 'links[0].budget: expected a section of keys, got 2400');
  assert.deepEqual(wrong('links: [{name: a, kind: wire, connect: ""}]'), ['1:40 links[0].connect: connect to whom?']);
  assert.deepEqual(wrong('links: [{name: a}]'), ['1:9 links[0].kind: missing; expected one of radio, wire']);
  assert.deepEqual(wrong('links: []\n- 1'.replace('\n- 1', '\nhosts: ["a:1"]')), [
    '2:9 hosts[0]: expected a host name or an IP address, without port, got "a:1"',
  ]);
  assert.deepEqual(wrong('- 1'), ['1:1 expected a section of keys, got a list']);
  assert.deepEqual(wrong('hello'), ['1:1 expected a section of keys, got "hello"']);
  assert.match(wrong('trust: ["SHA256:ab"]')[0] ?? '', /1:9 trust\[0\]: a pin is SHA256: and 64 hexadecimal digits/);
});

test('the API listens on this computer unless told otherwise, and to whom it is told', () => {
  assert.equal(good('api: {listen: 8081}').api.listen.host, '127.0.0.1');
  for (const address of ['127.0.0.1:80', '"[::1]:80"', 'localhost:80', '0.0.0.0:80', '"[::]:80"', '10.0.0.1:80']) {
    assert.equal(good(`api: {listen: ${address}, tls: ${address.replace('80', '443')}}`).api.tls?.port, 443, address);
  }
  for (const address of ['nonsense', '127.0.0.1', '127.0.0.1:99999', '70000']) {
    assert.match(wrong(`api: {listen: ${address}}`)[0] ?? '', /api\.listen: expected /, address);
  }
  assert.deepEqual(good('api: {tls: 8443, tls_from: [10.0.0.0/8, "fd00::/8"]}').api.tlsFrom, [
    '10.0.0.0/8',
    'fd00::/8',
  ]);
  for (const network of ['10.0.0.0/33', 'example.org', '10.0.0.0/8/8', '""']) {
    assert.match(wrong(`api: {tls_from: [${network}]}`)[0] ?? '', /api\.tls_from\[0\]: expected /, network);
  }
  assert.match(wrong('api: {listen: 8443, tls: 8443}')[0] ?? '', /port 8443 is already taken by api.listen/);
});

test('names that could leave a folder or look like an option are refused', () => {
  for (const name of ['..', '.a', '-a', 'a/b', '""', 'A', 'a b', 'a'.repeat(33)]) {
    assert.match(wrong(`links: [{kind: radio, name: ${name}}]`)[0] ?? '', /links\[0\]\.name: expected 1 to 32/, name);
  }
  assert.equal(good(`links: [{kind: radio, name: ${'a'.repeat(32)}}]`).links.length, 1);
});

test('two listeners on one port are found, whichever way the address is written', () => {
  const clash = (first: string, second: string) =>
    `links:\n- {name: a, kind: radio, listen: ${first}}\n- {name: b, kind: radio, listen: ${second}}`;
  for (const [first, second] of [
    ['8087', '8087'],
    ['8087', '"8087"'],
    ['"0.0.0.0:8087"', '"10.0.0.1:8087"'],
    ['"10.0.0.1:8087"', '"[::]:8087"'],
    ['"localhost:8087"', '"127.0.0.1:8087"'],
    ['{host: 10.0.0.1, port: 8087}', '[1, {host: 10.0.0.1, port: 8087}]'],
  ] as const) {
    assert.deepEqual(wrong(clash(first, second)), ['3:34 links[1].listen: port 8087 is already taken by link "a"']);
  }
  for (const [first, second] of [
    ['8087', '8088'],
    ['"10.0.0.1:8087"', '"10.0.0.2:8087"'],
    ['0', '0'],
  ] as const) {
    assert.equal(good(clash(first, second)).links.length, 2);
  }
});

test('a port clash is also found with the API, with a default, inside one list, and beside other mistakes', () => {
  assert.deepEqual(wrong('links: [{name: a, kind: radio, listen: 8080}]'), [
    '1:40 links[0].listen: port 8080 is already taken by api.listen',
  ]);
  for (const [text, words] of [
    ['files: {listen: 8080}', 'files.listen: port 8080 is already taken by api.listen'],
    ['api: {tls: 8443}\nfiles: {tls: 8443}', 'files.tls: port 8443 is already taken by api.tls'],
    ['api: {tls: 8446, enroll: "0.0.0.0:8446"}', 'api.enroll: port 8446 is already taken by api.tls'],
    ['files: {tls: 8444, federates: 8444}', 'files.federates: port 8444 is already taken by files.tls'],
  ] as const) {
    const problems = wrong(text);
    assert.equal(problems.length, 1, text);
    assert.ok(problems[0]!.endsWith(words), problems[0]);
  }
  assert.ok(good('api: {tls: 8444}\nfiles: {tls: 8443}').files.tls);
  assert.deepEqual(wrong('links:\n- {name: a, kind: wire}\n- {name: b, kind: radio, listen: 7001}'), [
    '3:34 links[1].listen: port 7001 is already taken by link "a"',
  ]);
  assert.deepEqual(wrong('links: [{name: a, kind: radio, listen: [5, 5]}]'), [
    '1:40 links[0].listen: port 5 is already taken by link "a"',
  ]);
  const both = 'links:\n- {name: a, kind: radio, listen: 5}\n- {name: b, kind: radio, listen: 5, x: 1}';
  assert.equal(wrong(both).length, 2);
  assert.equal(
    good('links:\n- {name: a, kind: radio, listen: 5, enabled: false}\n- {name: b, kind: radio, listen: 5}').links
      .length,
    2,
  );
});

test('CRLF and a byte order mark make no difference', () => {
  const text = 'name: a\nlinks:\n  - name: one\n    kind: radio\n    mode: slow\n';
  assert.deepEqual(good(`\ufeff${text.replaceAll('\n', '\r\n')}`), good(text));
  assert.deepEqual(wrong('\ufeffname: a\r\nlisten: 5\r\n')[0]?.startsWith('2:1 listen: unknown key'), true);
});

test('secrets are not repeated in problems', () => {
  const [problem] = wrong('links: [{name: a, kind: radio, password: hunter2}]');
  assert.match(problem ?? '', /password: expected a whole number, got a text$/);
});

test('problems are harmless to a terminal and bounded in length', () => {
  const [problem] = wrong('"\\e[31mred\\u202e": 1');
  assert.equal(problem?.startsWith('1:1 \\u{1b}[31mred\\u{202e}: unknown key'), true, problem);
  assert.ok((wrong(`log: {level: ${'x'.repeat(5000)}}`)[0] ?? '').length < 300);
});

test('at most fifty problems are told, and that there are more', () => {
  const keys = Array.from({ length: 200 }, (_, index) => `k${index}: 1`).join('\n');
  const found = wrong(keys);
  assert.equal(found.length, MAX_PROBLEMS);
  assert.match(found[0] ?? '', /^1:1 k0: unknown key/);
  assert.equal(found.at(-1), '50:1 and more problems from here on');
});

test('a newer or senseless version is refused in words', () => {
  assert.deepEqual(wrong('version: 2\nnonsense: 1'), [
    '1:10 version: this file is of version 2, made for a newer Waystation; this one reads up to 1',
  ]);
  for (const version of ['one', '0', '1.5', '-1', '[]']) {
    assert.deepEqual(
      wrong(`version: ${version}`),
      ['1:10 version: expected 1, the version of this file’s format'],
      version,
    );
  }
});

test('the command line wins over WAYSTATION_CONFIG, which wins over the default places', async (t) => {
  const dir = await folder(t);
  const write = async (name: string) => {
    await writeFile(join(dir, name), `name: ${name}\n`);
    return join(dir, name);
  };
  const [flag, env, first, second] = [
    await write('flag'),
    await write('env'),
    await write('first'),
    await write('second'),
  ];
  const load = async (path: string | undefined, config: string | undefined, places: string[]) => {
    const defaults = { hostName: 'host', dataFolder: '/data', places };
    const loaded = await loadConfig({ path, env: { config }, defaults, kinds });
    assert.ok('config' in loaded);
    return { name: loaded.config.name, path: loaded.path };
  };
  assert.deepEqual(await load(flag, env, [first]), { name: 'flag', path: flag });
  assert.deepEqual(await load(undefined, env, [first]), { name: 'env', path: env });
  assert.deepEqual(await load(undefined, undefined, [first, second]), { name: 'first', path: first });
  assert.deepEqual(await load(undefined, undefined, [join(dir, 'none'), second]), { name: 'second', path: second });
});

test('what the file leaves out comes from the process; WAYSTATION_DATA wins', async (t) => {
  const path = join(await folder(t), 'w.yaml');
  await writeFile(path, 'data: here\n');
  const defaults = { hostName: 'host-7', dataFolder: '/data' };
  const load = async (data?: string) => {
    const loaded = await loadConfig({ path, env: { data }, defaults, kinds });
    return 'config' in loaded ? loaded.config : assert.fail('was refused');
  };
  assert.equal((await load()).name, 'host-7');
  assert.equal((await load()).data, join(path, '../here'));
  assert.equal((await load('/override')).data, '/override');
  await writeFile(path, '');
  assert.equal((await load()).data, '/data');
});

test('a named file that is missing, a folder or too large is refused', async (t) => {
  const dir = await folder(t);
  const load = (path: string) => loadConfig({ path, env: {}, defaults: { hostName: 'h', dataFolder: '/d' }, kinds });
  const fatal = (code: string) => (error: unknown) => error instanceof FatalError && error.code === code;
  await assert.rejects(load(join(dir, 'none.yaml')), fatal('config_missing'));
  await assert.rejects(load(dir), fatal('config_unreadable'));
  await writeFile(join(dir, 'big.yaml'), '#'.repeat(2 * 1024 * 1024));
  const big = await load(join(dir, 'big.yaml'));
  assert.deepEqual('problems' in big && big.problems.map((problem) => problem.words), ['larger than 1048576 bytes']);
  await writeFile(join(dir, 'utf16.yaml'), Buffer.from('\ufeffname: a\n', 'utf16le'));
  const utf16 = await load(join(dir, 'utf16.yaml'));
  assert.deepEqual('problems' in utf16 && utf16.problems.map((problem) => problem.words), [
    'not UTF-8 text; save the file as UTF-8',
  ]);
});

test('without any file the built-in configuration runs', async (t) => {
  const places = [join(await folder(t), 'none.yaml')];
  const loaded = await loadConfig({ env: {}, defaults: { hostName: 'h', dataFolder: '/d', places } });
  assert.ok('config' in loaded, 'problems' in loaded ? formatProblems(loaded.problems, 'built-in') : '');
  assert.equal(loaded.path, undefined);
  assert.equal(loaded.text, DEFAULT_CONFIG);
  assert.deepEqual(loaded.config.api.listen, { host: '127.0.0.1', port: 8080 });
  assert.deepEqual(
    loaded.config.links.map(({ name, kind, enabled }) => ({ name, kind, enabled })),
    [
      { name: 'phones', kind: 'cot', enabled: true },
      { name: 'phones-tls', kind: 'cot', enabled: true },
      { name: 'federation', kind: 'fed2', enabled: true },
      { name: 'federation-v1', kind: 'fed1', enabled: true },
    ],
  );
  const ports = JSON.stringify(loaded.config.links.map((link) => (link.settings as { listen: unknown }).listen));
  assert.deepEqual(ports.match(/\d{4}/g), ['8087', '8089', '9001', '9000']);
});

test('a link stands beside a fed2 link that listens, and no other does', () => {
  const problems = (links: string) => {
    const parsed = parseConfig(`links:\n${links}`, { path: PATH });
    return 'problems' in parsed ? parsed.problems.map(({ path, words }) => `${path}: ${words}`) : [];
  };
  const listener = '  - { name: f, kind: fed2, listen: 9001 }\n';
  const beside = (name: string, of: string) => `  - { name: ${name}, kind: fed1, beside: ${of} }\n`;
  assert.deepEqual(problems(beside('a', 'f') + listener), []);
  assert.deepEqual(problems(listener + beside('a', 'g')), ['links[1].beside: there is no link called "g"']);
  assert.deepEqual(problems(listener + beside('a', 'f') + beside('b', 'f')), [
    'links[2].beside: links[1] already stands beside "f"',
  ]);
  const other = '  - { name: p, kind: cot, listen: 8087 }\n';
  assert.deepEqual(problems(other + beside('a', 'p')), ['links[1].beside: "p" is not a fed2 link that listens']);
  const off = '  - { name: f, kind: fed2, listen: 9001, enabled: false }\n';
  assert.match(problems(off + beside('a', 'f'))[0]!, /not enabled/);
});

test('networks: what is named must be there, once, and not with itself', () => {
  const problems = (text: string): readonly string[] => {
    const parsed = parseConfig(text, { path: PATH });
    return 'problems' in parsed ? parsed.problems.map(({ line, path, words }) => `${line} ${path}: ${words}`) : [];
  };
  const good = `networks:
  - { name: medics, peers: [{ name: police, policy: { out: false } }, { name: main }] }
  - { name: police }
links:
  - { name: m, kind: cot, listen: 8087, policy: { network: medics } }
  - { name: f, kind: fed2, listen: 9001, peers: [{ name: x, pin: "SHA256:${'a'.repeat(64)}", policy: { network: police } }] }
`;
  assert.deepEqual(problems(good), []);
  const there = 'there is no network "fire"; there is main, medics, police';
  assert.deepEqual(problems(good.replace('network: medics', 'network: fire')), [`5 links[0].policy.network: ${there}`]);
  assert.deepEqual(problems(good.replace('network: police', 'network: fire')), [
    `6 links[1].peers[0].policy.network: ${there}`,
  ]);
  assert.deepEqual(problems(good.replace('name: main', 'name: fire')), [`2 networks[0].peers[1].name: ${there}`]);
  assert.deepEqual(problems(good.replace('name: main', 'name: medics')), [
    '2 networks[0].peers[1].name: a network does not federate with itself',
  ]);
  assert.deepEqual(problems(good.replace('name: main', 'name: police')), [
    '2 networks[0].peers[1].name: named already',
  ]);
  assert.deepEqual(
    problems(good.replace('{ name: police }', '{ name: medics }')).at(-1),
    `6 links[1].peers[0].policy.network: there is no network "police"; there is main, medics`,
  );
  assert.match(problems(good.replace('out: false', 'outt: false'))[0]!, /policy\.outt: unknown key/);
});

test('what the built-in configuration shows as an example is right', () => {
  const [, example] = DEFAULT_CONFIG.split('no data packages cross.\n');
  const text = `links:\n${example?.replaceAll(/^ {2}# /gm, '  ')}`;
  const parsed = parseConfig(text, { path: PATH });
  assert.ok('config' in parsed, 'problems' in parsed ? formatProblems(parsed.problems, 'example') : '');
  assert.equal(parsed.config.links[0]?.name, 'hq');
  assert.deepEqual(parsed.config.links[0]?.policy.allowTypes, ['a-f-']);
});

test('the default data folder follows the user', () => {
  assert.equal(defaultDataFolder({ root: true, home: '/root', xdgDataHome: '/x' }), '/var/lib/waystation');
  assert.equal(defaultDataFolder({ root: false, home: '/home/a' }), '/home/a/.local/share/waystation');
  assert.equal(defaultDataFolder({ root: false, home: '/home/a', xdgDataHome: '/x' }), '/x/waystation');
});

test('who may connect is said in networks, and only of what listens', () => {
  const listener = 'links:\n  - { name: a, kind: wire, listen: [1], listen_from: [10.0.0.0/8, "fd00::1"] }\n';
  assert.deepEqual(good(listener).links[0]!.listenFrom, ['10.0.0.0/8', 'fd00::1']);
  assert.match(
    wrong(listener.replace('10.0.0.0/8', '10.0.0.0/33'))[0]!,
    /links\[0\]\.listen_from\[0\]: expected an address, or a network/,
  );
  assert.match(
    wrong('links:\n  - { name: a, kind: wire, listen_from: [10.0.0.1] }\n')[0]!,
    /links\[0\]\.listen_from: only with listen/,
  );
});

test('names that somebody chose: what they may hold is told, and what they may be', () => {
  const pin = `SHA256:${'ab'.repeat(32)}`;
  const text = `links:\n- {name: f, kind: fed2, listen: 9001, peers: [{name: A, pin: "${pin}", group_hops: {Blue: 65, "": 1}}]}\n`;
  const parsed = parseConfig(text, { path: PATH });
  assert.ok('problems' in parsed);
  assert.deepEqual(
    parsed.problems.map(({ path, words }) => [path, words]),
    [
      ['links[0].peers[0].group_hops.Blue', 'expected a whole number between -1 and 64, got 65'],
      ['links[0].peers[0].group_hops.', 'expected a name of 1 to 1024 characters'],
    ],
  );
});
