// Relay to relay as its operator meets it, through the real command line: three boxes, two of them behind a hub.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { phone, sa } from '../support/cot-client.ts';
import { freePorts, RelayHome } from '../support/relay-process.ts';

const KEY = 'a secret of this federation alone';

interface Failed {
  readonly code: number;
  readonly stderr: string;
  readonly stdout: string;
}

async function failing(command: Promise<string>): Promise<Failed> {
  return command.then(
    (stdout) => assert.fail(`succeeded with ${stdout}`),
    (error: Failed) => error,
  );
}

/** A lamp behind the factory's NAT: it lists itself, and is switched by PUT. */
async function lamp(t: TestContext) {
  const state = { on: false };
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    if (request.method === 'PUT') state.on = JSON.parse(body).on;
    if (request.url === '/api/picture') return response.writeHead(200, { 'content-type': 'image/png' }).end('png');
    if (request.url === '/api/away') return response.writeHead(302, { location: '/' }).end();
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify([{ id: 'lamp', ...state }]));
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  t.after(() => server.close());
  return { state, port: (server.address() as AddressInfo).port };
}

/** relay-a and factory dial the hub, and reach each other through it. */
async function startThree(t: TestContext) {
  // Before free ports are looked for: it must not be given one of them.
  const device = await lamp(t);
  const [apiHub, apiA, apiFactory, portal, cotA, cotFactory] = (await freePorts(6)) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const [hub, a, factory] = [new RelayHome(t, 'hub'), new RelayHome(t, 'relay-a'), new RelayHome(t, 'factory')];
  hub.configure(apiHub, '');
  a.configure(apiA, '');
  factory.configure(apiFactory, '');
  const [pinHub, pinA, pinFactory] = await Promise.all([hub, a, factory].map((relay) => relay.portalPin()));
  const link = (keys: string, peers: string[]) =>
    `  - { name: portal, kind: portal, federation_key: "${KEY}"${keys}, peers: [${peers.join(', ')}] }\n`;
  const peer = (name: string, pin: string | undefined, more = '') => `{ name: ${name}, pin: "${pin}"${more} }`;
  const toHub = peer('hub', pinHub, `, address: "127.0.0.1:${portal}"`);
  hub.configure(
    apiHub,
    `resources: [{ path: /node/factory, peers: [relay-a] }]\nlinks:\n${link(`, listen: "127.0.0.1:${portal}", hub: true`, [peer('relay-a', pinA), peer('factory', pinFactory)])}`,
  );
  const phones = (port: number) => `  - { name: phones, kind: cot, listen: ${port} }\n`;
  a.configure(apiA, `links:\n${phones(cotA)}${link('', [toHub, peer('factory', pinFactory, ', hub: hub')])}`);
  const resources = `resources: [{ path: /iot, to: "http://127.0.0.1:${device.port}/api", methods: [GET, PUT], peers: [relay-a] }]\n`;
  factory.configure(
    apiFactory,
    `${resources}links:\n${phones(cotFactory)}${link('', [toHub, peer('relay-a', pinA, ', hub: hub')])}`,
  );
  await Promise.all([hub, a, factory].map((relay) => relay.start()));
  for (const relay of [hub, a, factory]) {
    await relay.until(
      ({ peers }) => peers.filter(({ kind, connected }) => kind === 'portal' && connected).length === 2,
      'both peers',
    );
  }
  return { hub, a, factory, device, ports: { cotA, cotFactory } };
}

test('what stands behind the other box, through a hub, by the command line', async (t) => {
  const { hub, a, factory, device, ports } = await startThree(t);
  const at =
    (relay: RelayHome) =>
    (...args: string[]) =>
      relay.command(...args);
  const [onA, onHub] = [at(a), at(hub)];

  await t.test('node peers and node status', async () => {
    const [head, ...rows] = (await onA('node', 'peers')).trim().split('\n');
    assert.match(head!, /^NAME +HOST +PORT +VIA +STATUS +LATENCY$/);
    const columns = rows.map((row) => row.split(/ {2,}/));
    const named = (name: string) => columns.find((row) => row[0] === name)!;
    assert.deepEqual(named('hub').slice(1, 2), ['127.0.0.1']);
    assert.deepEqual(named('hub').slice(3, 5), ['direct', 'connected']);
    assert.deepEqual(named('factory').slice(3, 5), ['hub', 'connected']);
    assert.match(named('factory')[5]!, /^[\d.]+ ms$/);
    assert.match(await onA('node', 'status'), /peers: 2 connected, 0 disconnected\nmessages: \d+ sent, \d+ received/);
  });

  await t.test('the closed list of a peer, directly, through the hub and by HTTP', async () => {
    const nameOf = async (peer: string, path: string) => JSON.parse(await onA('node', 'get', peer, path)).name;
    const [direct, tunnelled, passedOn, root, links] = await Promise.all([
      nameOf('hub', '/health'),
      nameOf('factory', '/health'),
      nameOf('hub', '/node/factory/health'),
      onA('node', 'ls', 'factory'),
      onA('node', 'ls', 'factory', '/links'),
    ]);
    assert.deepEqual([direct, tunnelled, passedOn], ['hub', 'factory', 'factory']);
    assert.match(root, /\/units +GET[\s\S]*\/iot +GET, PUT/);
    assert.match(links, /portal +portal +true/);
    const health = (await (await fetch(`${a.api}/api/node/factory/health`)).json()) as { status: string };
    assert.equal(health.status, 'ok');
    const [missing, refused] = await Promise.all([
      failing(onA('node', 'get', 'factory', '/etc/passwd')),
      failing(onA('node', 'get', 'factory', '/node/hub/health')),
    ]);
    assert.equal(missing.code, 1);
    assert.match(refused.stderr, /403 this relay does not pass requests of relay-a on to hub/);
  });

  await t.test('a device behind the NAT is listed and switched, by whom it is for', async () => {
    assert.match(await onA('node', 'ls', 'factory', '/iot/devices'), /ID +ON\nlamp +false/);
    assert.match(await onA('node', 'call', 'factory', 'PUT', '/iot/lamp', '{"on":true}'), /"on":true/);
    assert.equal(device.state.on, true);
    const [wrongWay, notYours, notThere, away, outside] = await Promise.all([
      failing(onA('node', 'call', 'factory', 'DELETE', '/iot/lamp')),
      failing(onHub('node', 'get', 'factory', '/iot/devices')),
      failing(onA('node', 'get', 'hub', '/node/factory/iot/lamp')),
      failing(onA('node', 'get', 'factory', '/iot/away')),
      failing(onA('node', 'get', 'factory', '/iot/../admin')),
    ]);
    assert.match(wrongWay.stderr, /405 only GET, PUT/);
    assert.match(notYours.stderr, /403 \/iot is not for hub/);
    assert.match(notThere.stderr, /403 .*hub\/relay-a/);
    assert.match(away.stderr, /502 .*302/);
    assert.equal(outside.code, 2);
    assert.match(await onA('node', 'get', 'factory', '/iot/picture', '--out', a.file('picture.png')), /3 bytes/);
  });

  const delta = await phone(t, { port: ports.cotFactory });
  delta.announce('ANDROID-delta', 'DELTA');
  const alpha = await phone(t, { port: ports.cotA });
  await alpha.withUid('ANDROID-delta');

  await t.test('the fleet is one list', async () => {
    const [list, found, none] = await Promise.all([
      onA('fleet'),
      onA('fleet', '--peer', 'factory', '--search', 'delt'),
      onA('fleet', '--search', 'nothing of the kind'),
    ]);
    assert.match(list, /peer:factory\/ws-\S+ +factory/);
    assert.match(list, /peer:factory\/ANDROID-delta +DELTA/);
    assert.doesNotMatch(list, /^ANDROID-delta/m);
    assert.match(found, /DELTA/);
    assert.doesNotMatch(none, /DELTA/);
  });

  await t.test('a probe shows that events flow, to the hub, and end to end through it', async () => {
    const direct = await onA('probe', 'hub');
    assert.match(direct, /events flow: a marked event came out at hub/);
    assert.match(direct, /relay-a +hub +[\d.]+ ms/);
    let reporting = true;
    t.after(() => {
      reporting = false;
    });
    const beats = (async () => {
      while (reporting) {
        alpha.send(sa('ANDROID-alpha', 'ALPHA', Date.now()));
        await new Promise((done) => setTimeout(done, 200));
      }
    })();
    const whole = await onA('probe', 'factory', '--end-to-end');
    reporting = false;
    await beats;
    assert.match(whole, /an event from here was handed to 1 of 1 clients there/);
    assert.match(whole, /relay-a +hub +[\d.]+ ms[\s\S]*hub +factory +[\d.]+ ms[\s\S]*factory +its clients/);
    for (const client of [alpha, delta]) assert.ok(!client.events.some((event) => event.includes('w-probe')));
  });

  await t.test('a rule in the way is named, and connected is not flowing', async () => {
    assert.match((await failing(onHub('probe', 'nobody'))).stderr, /no peer is called/);
    const before = readFileSync(factory.configPath, 'utf8');
    writeFileSync(factory.configPath, before.replace('kind: portal,', 'kind: portal, policy: { in: false },'));
    factory.signal('SIGHUP');
    await factory.until(({ peers }) => peers.some(({ kind, policy }) => kind === 'portal' && !policy.in), 'the policy');
    const { code, stdout } = await failing(onA('probe', 'factory'));
    assert.equal(code, 1);
    assert.match(stdout, /connected is not flowing/);
    assert.match(stdout, /there +portal +in +friendly unit, chat, marker, alert/);
  });

  await t.test('a peer that is gone is a badge, and everything else goes on', async () => {
    await factory.kill('SIGKILL');
    await a.until(({ peers }) => peers.some(({ name, connected }) => name === 'factory' && !connected), 'the loss');
    const [list, got, probed] = await Promise.all([
      onA('fleet'),
      failing(onA('node', 'get', 'factory', '/health')),
      failing(onA('probe', 'factory')),
    ]);
    assert.match(list, /UNREACHABLE factory: not connected, last contact \d{4}-/);
    assert.match(list, /peer:hub\/ws-\S+ +hub/);
    assert.equal(got.code, 1);
    assert.match(got.stderr, /50[24]/);
    assert.match(probed.stdout, /factory is not connected/);
  });
});
