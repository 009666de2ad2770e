// A TAK Server's operator and ours, as the guides have it: we publish, they register us; we register their fingerprint, toggle what
// crosses, and remove them. The other side is a real dialling v2 federate: another box with a certificate of its own.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { SaxesParser } from 'saxes';
import { phone, sa } from '../support/cot-client.ts';
import { askSocket, noCurl } from '../support/curl.ts';
import { freePorts, RelayHome } from '../support/relay-process.ts';

const noUnzip = spawnSync('python3', ['--version']).status === 0 ? false : 'python3 is not installed';

interface Box {
  readonly home: RelayHome;
  readonly phones: number;
}

async function box(t: TestContext, name: string, yaml: string): Promise<Box> {
  const [api, phones] = (await freePorts(2)) as [number, number];
  const home = new RelayHome(t, name);
  home.configure(api, `${yaml}  - { name: phones, kind: cot, listen: ${phones} }\n`);
  return { home, phones };
}

function ask({ home }: Box, method: string, path: string, body?: unknown) {
  return askSocket(home, method, path, body);
}

/** Elements below `of`, by name, in their order. */
function childrenOf(xml: string, of: string): readonly string[] {
  const found: string[] = [];
  const open: string[] = [];
  const parser = new SaxesParser();
  parser.on('opentag', ({ name }) => {
    if (open.at(-1) === of) found.push(name);
    open.push(name);
  });
  parser.on('closetag', () => void open.pop());
  parser.on('error', (error) => assert.fail(error));
  parser.write(xml).close();
  return found;
}

/** The order that CoreConfig.xsd of TAK Server 5.7 enforces. */
const ORDER = [
  'federation-server',
  'federation-outgoing',
  'mission-disruption-tolerance',
  'federate',
  'fileFilter',
  'federateCA',
];

test('G3: what we publish for the operator of a TAK Server', { skip: noCurl }, async (t) => {
  const [federation] = (await freePorts(1)) as [number];
  const us = await box(t, 'us', `links:\n  - { name: federation, kind: fed2, listen: "127.0.0.1:${federation}" }\n`);
  await us.home.start();

  await t.test('a required setting that is missing is named, with what to do', async () => {
    const { json, status } = await ask(us, 'GET', '/api/federation/publish');
    assert.equal(status, 200);
    assert.equal(json.hostname, null);
    assert.deepEqual(
      json.missing.map(({ setting }: { setting: string }) => setting),
      ['hosts'],
    );
    assert.match(json.missing[0].fix, /hosts: \[/);
    assert.equal(json.snippets.outgoing, null);
  });

  await ask(us, 'PATCH', '/api/config/setting', { path: 'hosts', value: ['tak.example.org', '127.0.0.1'] });
  const { json } = await ask(us, 'GET', '/api/federation/publish?group=Blue%20%26%20Co');

  await t.test('hostname, port, fingerprint, certificate, CA', () => {
    assert.deepEqual([json.hostname, json.port, json.missing], ['tak.example.org', federation, []]);
    assert.equal(new X509Certificate(json.certificate_pem).fingerprint256, json.fingerprint);
    const ca = new X509Certificate(json.ca_pem);
    assert.equal(ca.fingerprint256, json.ca_fingerprint);
    assert.ok(new X509Certificate(json.certificate_pem).verify(ca.publicKey));
    assert.match(json.node_id, /^ws-[0-9a-f]{16}$/);
  });

  await t.test('two CoreConfig snippets, in the order that TAK Server enforces', () => {
    assert.match(json.snippets.outgoing, /address="tak\.example\.org" port="\d+"/);
    assert.deepEqual(childrenOf(`<x>${json.snippets.federate}</x>`, 'federate'), ['inboundGroup', 'outboundGroup']);
    const order = childrenOf(json.coreconfig, 'federation');
    assert.deepEqual(
      order,
      ORDER.filter((name) => order.includes(name)),
    );
    assert.ok(order.includes('fileFilter') && order.includes('federation-outgoing') && order.includes('federate'));
    assert.deepEqual(childrenOf(json.coreconfig, 'federation-server'), ['tls']);
    assert.ok(json.coreconfig.includes('Blue &#38; Co'));
  });

  await t.test('the same as one zip, and as a QR code', { skip: noUnzip }, async () => {
    const zip = us.home.file('publish.zip');
    const socket = us.home.file('data/api.sock');
    execFileSync('curl', ['-sS', '--unix-socket', socket, '-o', zip, 'http://localhost/api/federation/publish.zip']);
    const script =
      'import sys,zipfile,json; z=zipfile.ZipFile(sys.argv[1]); assert z.testzip() is None; print(json.dumps({n: z.read(n).decode() for n in z.namelist()}))';
    const files = JSON.parse(execFileSync('python3', ['-c', script, zip], { encoding: 'utf8' }));
    assert.equal(files['waystation-ca.pem'], json.ca_pem);
    assert.equal(files['waystation-federation.pem'], json.certificate_pem);
    assert.ok(files['README.txt'].includes(json.fingerprint) && files['coreconfig.xml'].includes('<fileFilter/>'));
    const svg = await ask(us, 'GET', '/api/federation/publish.svg');
    assert.equal(svg.type, 'image/svg+xml');
    assert.match(svg.text, /^<svg /);
  });
});

test('G3: a federate is refused until its fingerprint is registered, has four toggles, and is removed for good', {
  skip: noCurl,
}, async (t) => {
  const [federation] = (await freePorts(1)) as [number];
  const us = await box(
    t,
    'us',
    `links:\n  - { name: federation, kind: fed2, listen: "127.0.0.1:${federation}" } # for them\n`,
  );
  const them = await box(
    t,
    'them',
    `trust: [us.pem]\nlinks:\n  - { name: us, kind: fed2, connect: "127.0.0.1:${federation}" }\n`,
  );
  writeFileSync(them.home.file('us.pem'), await us.home.command('cert', 'show', '--ca'));
  const shown = await them.home.command('cert', 'show', '--link', 'us', '--federation');
  const fingerprint = new X509Certificate(shown).fingerprint256;
  await Promise.all([us.home.start(), them.home.start()]);
  const connected = (is: boolean) =>
    us.home.until(
      ({ peers }) => peers.some(({ kind, connected }) => kind === 'fed2' && connected) === is,
      is ? 'the federate' : 'its end',
    );
  const refused = (code: string, before: number) =>
    us.home.until(
      ({ links }) => (links.find(({ name }) => name === 'federation')?.refusals?.[code] ?? 0) > before,
      `a refusal ${code}`,
    );

  await t.test('until then its handshake is refused', async () => {
    await refused('unknown_ca', 0);
  });

  await t.test('what is no SHA-256 fingerprint is told', async () => {
    const sha1 = await ask(us, 'POST', '/api/federation/peers', { name: 'x', fingerprint: 'ab'.repeat(20) });
    assert.equal(sha1.status, 400);
    assert.match(sha1.text, /SHA-1/);
  });

  await t.test('registered as their operator reads it out, it is let in, without a restart of the link', async () => {
    const made = await ask(us, 'POST', '/api/federation/peers', { name: 'County TAK', fingerprint });
    assert.equal(made.status, 201, made.text);
    assert.deepEqual(
      [made.json.name, made.json.in, made.json.dp_out, made.json.paused],
      ['County TAK', true, true, false],
    );
    assert.match(readFileSync(us.home.configPath, 'utf8'), /# for them[\s\S]*|peers:/);
    await connected(true);
    const [row] = (await ask(us, 'GET', '/api/federation/peers')).json;
    assert.deepEqual([row.connected, row.link], [true, 'federation']);
    await us.home.until(
      ({ peers }) => peers.some(({ kind, saidName }) => kind === 'fed2' && saidName !== null),
      'the name it says',
    );
    const shown = (await us.home.status()).peers.find(({ kind }) => kind === 'fed2')!;
    assert.deepEqual(
      [shown.name, shown.saidName],
      ['County TAK', 'them'],
      'its own name only beside that which it has here',
    );
    assert.match(await us.home.command('status'), /^ {2}County TAK \(calls itself them\) \[federation\//m);
    assert.equal((await ask(us, 'GET', '/api/federation/peers')).json[0].said_name, 'them');
    const renamed = await ask(us, 'PATCH', '/api/federation/peers/County%20TAK', { name: 'State TAK' });
    assert.equal(renamed.json.name, 'State TAK');
    const now = (await us.home.status()).peers.find(({ kind }) => kind === 'fed2')!;
    assert.deepEqual([now.name, now.since], ['State TAK', shown.since], 'at once, on the same connection');
    await ask(us, 'PATCH', '/api/federation/peers/State%20TAK', { name: 'County TAK' });
    assert.equal((await ask(us, 'POST', '/api/federation/peers', { name: 'again', fingerprint })).status, 409);
  });

  const [ours, theirs] = [await phone(t, { port: us.phones }), await phone(t, { port: them.phones })];

  await t.test('In, Out: each by itself, at once, on the same connection', async () => {
    theirs.send(sa('THEIRS-1', 'T1', Date.now()));
    await ours.withUid('THEIRS-1');
    const { since } = (await us.home.status()).peers.find(({ kind }) => kind === 'fed2')!;
    const off = await ask(us, 'PATCH', '/api/federation/peers/County%20TAK', { out: false });
    assert.deepEqual([off.json.in, off.json.out], [true, false]);
    ours.send(sa('OURS-1', 'O1', Date.now()));
    await us.home.until(
      ({ peers }) =>
        peers.some(
          ({ kind, lanes }) => kind === 'fed2' && lanes.some(({ dropped }) => (dropped.filtered_out ?? 0) > 0),
        ),
      'what stays here',
    );
    theirs.send(sa('THEIRS-2', 'T2', Date.now()));
    await ours.withUid('THEIRS-2');
    const paused = await ask(us, 'PATCH', '/api/federation/peers/County%20TAK', { in: false, dp_in: false });
    assert.deepEqual([paused.json.paused, paused.json.dp_in, paused.json.connected], [true, false, true]);
    await ask(us, 'PATCH', '/api/federation/peers/County%20TAK', { in: true, out: true, dp_in: true });
    ours.send(sa('OURS-2', 'O2', Date.now()));
    await theirs.withUid('OURS-2');
    assert.equal(
      (await us.home.status()).peers.find(({ kind }) => kind === 'fed2')!.since,
      since,
      'the same connection',
    );
  });

  await t.test('hop limits: set, shown, written, exported, taken away', async () => {
    const path = '/api/federation/peers/County%20TAK';
    const set = await ask(us, 'PATCH', path, { group_hops: { Blue: 2, Red: 3 }, max_hops_out: 4 });
    assert.equal(set.status, 200, set.text);
    assert.deepEqual([set.json.group_hops, set.json.max_hops_out], [{ Blue: 2, Red: 3 }, 4]);
    assert.match(readFileSync(us.home.configPath, 'utf8'), /max_hops_out: 4/);
    const snippet = await ask(us, 'GET', '/api/federation/publish?group=Blue&peer=County%20TAK');
    assert.match(snippet.json.snippets.federate, /groupName="Blue" hopLimit="2"/);
    assert.doesNotMatch((await ask(us, 'GET', '/api/federation/publish')).text, /hopLimit|maxHops/);
    assert.equal((await ask(us, 'GET', '/api/federation/publish?peer=nobody')).status, 404);
    const exported = await us.home.command('export', 'coreconfig', '--peer', 'County TAK', '--group', 'Blue');
    assert.match(exported, /useGroupHopLimiting="true"[\s\S]*groupName="Red" hopLimit="3"/);
    const shown = await us.home.command('federation', 'hops', 'County TAK', 'Blue=1', '--max-hops', '5');
    assert.match(
      shown,
      /County TAK \(calls itself them\) +federation +connected +in out dp-in dp-out +Blue=1, at most 5/,
    );
    const [row] = (await ask(us, 'GET', '/api/federation/peers')).json;
    assert.deepEqual([row.group_hops, row.max_hops_out], [{ Blue: 1 }, 5]);
    assert.equal((await ask(us, 'PATCH', path, { max_hops_out: 65 })).status, 400);
    await us.home.command('federation', 'hops', 'County TAK');
    assert.doesNotMatch(readFileSync(us.home.configPath, 'utf8'), /hops/);
    const { since: now } = (await us.home.status()).peers.find(({ kind }) => kind === 'fed2')!;
    assert.ok(now, 'still connected');
  });

  await t.test(
    'removed, it is cut off at once and cannot come back, not even by its CA; registered anew, it can',
    async () => {
      assert.equal((await ask(us, 'DELETE', '/api/federation/peers/County%20TAK')).status, 204);
      assert.ok(!(await us.home.status()).peers.some(({ kind, connected }) => kind === 'fed2' && connected));
      const caPin = (await them.home.status()).caFingerprint;
      await ask(us, 'PATCH', '/api/config/setting', { path: 'trust', value: [`SHA256:${caPin}`] });
      await refused('revoked', 0);
      assert.ok(!(await us.home.status()).peers.some(({ kind, connected }) => kind === 'fed2' && connected));
      assert.equal((await ask(us, 'DELETE', '/api/federation/peers/County%20TAK')).status, 404);
      assert.equal((await ask(us, 'POST', '/api/federation/peers', { name: 'County TAK', fingerprint })).status, 201);
      await connected(true);
    },
  );

  await t.test('revoked by its pin in the file, it is cut off when that is taken over', async () => {
    await ask(us, 'PATCH', '/api/config/setting', { path: 'revoked', value: [`SHA256:${fingerprint}`] });
    assert.ok(!(await us.home.status()).peers.some(({ kind, connected }) => kind === 'fed2' && connected));
  });
});
