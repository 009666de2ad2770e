// What goes wrong around a relay, as its operator meets it: named, with the fix, and the relay relays on.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { SaxesParser } from 'saxes';
import { MOVING } from '../../src/core/message.ts';
import { phone } from '../support/cot-client.ts';
import { freePorts, RelayHome, SOURCE } from '../support/relay-process.ts';

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

test('a configuration with mistakes is refused with line, words and suggestion', async (t) => {
  const relay = new RelayHome(t, 'mistaken');
  relay.configure(
    1,
    'links:\n  - { name: phones, kind: cot, lisen: 8087 }\n  - { name: phones, kind: bot }\ntrusst: []\n',
  );
  for (const command of [
    ['check', relay.configPath],
    ['run', '--config', relay.configPath],
  ]) {
    const { code, stderr } = await failing(relay.command(...command));
    assert.equal(code, 3);
    assert.match(stderr, /waystation\.yaml:5:\d+ .*lisen.*did you mean "listen"/);
    assert.match(stderr, /waystation\.yaml:7:\d+ .*trusst.*did you mean "trust"/);
    assert.match(stderr, /waystation\.yaml:6:\d+ .*bot/);
  }
  const { code, stderr } = await failing(relay.command('run', '--config', relay.file('missing.yaml')));
  assert.equal(code, 3);
  assert.match(stderr, /missing\.yaml[\s\S]*fix:/);
});

test('wrong use of the command line has its own exit code and help', async (t) => {
  const relay = new RelayHome(t, 'usage');
  relay.configure(1, '');
  assert.equal((await failing(relay.command('nonsense'))).code, 2);
  assert.equal((await failing(relay.command('status', '--nonsense'))).code, 2);
  assert.equal((await failing(relay.command('status', '--api', 'http://127.0.0.1:9'))).code, 4);
  for (const name of ['run', 'check', 'status', 'inject', 'watch', 'cert', 'export', 'config', 'version']) {
    assert.match(await relay.command(name, '--help'), new RegExp(`^Usage: waystation ${name}`));
  }
  assert.match(await relay.command('--help'), /inject .*Send CoT events/);
});

test('a port in use is named, the others listen, and it is taken over once free', async (t) => {
  const [api, taken, free] = (await freePorts(3)) as [number, number, number];
  const squatter = createServer();
  await new Promise<void>((done) => squatter.listen(taken, done));
  t.after(() => squatter.close());
  const relay = new RelayHome(t, 'squatted');
  relay.configure(
    api,
    `links:\n  - { name: taken, kind: cot, listen: ${taken} }\n  - { name: free, kind: cot, listen: ${free} }\n`,
  );
  await relay.start();
  const { links } = await relay.status();
  const [first, second] = links;
  assert.equal(first!.lastTrouble?.code, 'port_in_use');
  assert.match(first!.lastTrouble!.words, new RegExp(String(taken)));
  assert.notEqual(first!.lastTrouble!.fix, '');
  assert.equal(second!.state, 'listening');
  await new Promise((done) => squatter.close(done));
  await relay.until((status) => status.links[0]!.state === 'listening', 'the port');
});

test('a data folder that cannot be written: it relays and says so', async (t) => {
  const [api, cot] = (await freePorts(2)) as [number, number];
  const relay = new RelayHome(t, 'readonly');
  writeFileSync(relay.file('occupied'), 'a file where the folder should be');
  relay.configure(api, `links:\n  - { name: phones, kind: cot, listen: ${cot} }\n`);
  writeFileSync(
    relay.configPath,
    `name: readonly\ndata: ${relay.file('occupied')}/data\napi: { listen: ${api} }\nlinks:\n  - { name: phones, kind: cot, listen: ${cot} }\n`,
  );
  await relay.start();
  const [a, b] = [await phone(t, { port: cot }), await phone(t, { port: cot })];
  a.announce('ANDROID-a', 'ALPHA');
  await b.withUid('ANDROID-a');
  const { warnings } = await relay.status();
  assert.ok(warnings.length > 0);
  for (const { words, fix } of warnings) assert.ok(words && fix, `${words} / ${fix}`);
  assert.match(await relay.command('status', '--api', relay.api), /WARNING/);
});

test('a certificate of an unknown authority is refused by name, with the fix, on both sides', async (t) => {
  const [aApi, bApi, fed] = (await freePorts(3)) as [number, number, number];
  const [a, b] = [new RelayHome(t, 'stranger'), new RelayHome(t, 'careful')];
  b.configure(bApi, `links:\n  - { name: federation, kind: fed2, listen: ${fed} }\n`);
  writeFileSync(a.file('b-ca.pem'), await b.command('cert', 'show', '--ca'));
  a.configure(aApi, `trust: [b-ca.pem]\nlinks:\n  - { name: to-b, kind: fed2, connect: "127.0.0.1:${fed}" }\n`);
  await Promise.all([a.start(), b.start()]);
  await b.until((status) => Object.keys(status.links[0]!.refusals).length > 0, 'a refusal');
  const { links } = await b.status();
  assert.match(links[0]!.lastRefusal!.words, /stranger|trusted/);
  assert.notEqual(links[0]!.lastRefusal!.fix, '');
  await a.until((status) => status.links[0]!.lastTrouble !== undefined, 'the trouble');
  assert.notEqual((await a.status()).links[0]!.lastTrouble!.fix, '');
});

test('SIGHUP takes over a new configuration without touching what did not change', async (t) => {
  const [api, cot, more] = (await freePorts(3)) as [number, number, number];
  const relay = new RelayHome(t, 'reloaded');
  const phones = `links:\n  - { name: phones, kind: cot, listen: ${cot} }\n`;
  relay.configure(api, phones);
  await relay.start();
  const [a, b] = [await phone(t, { port: cot }), await phone(t, { port: cot })];
  a.announce('ANDROID-1', 'ONE');
  await b.withUid('ANDROID-1');
  relay.configure(api, `${phones}  - { name: more, kind: cot, listen: ${more} }\n`);
  relay.signal('SIGHUP');
  await relay.until((status) => status.links.length === 2 && status.links[1]!.state === 'listening', 'the new link');
  const c = await phone(t, { port: more });
  a.announce('ANDROID-2', 'TWO');
  await Promise.all([b.withUid('ANDROID-2'), c.withUid('ANDROID-2')]);
  assert.ok(!a.closed && !b.closed, 'the old connections stand');

  relay.configure(api, 'links: nonsense\n');
  relay.signal('SIGHUP');
  while (!/not reloaded/.test(relay.output)) await new Promise((done) => setTimeout(done, 50));
  a.announce('ANDROID-3', 'THREE');
  await b.withUid('ANDROID-3');

  relay.configure(api, phones.replace('}', ', policy: { out: false } }'));
  relay.signal('SIGHUP');
  await relay.until((status) => status.links.length === 1 && !status.peers[0]!.policy.out, 'the policy');
  assert.ok(!a.closed && !b.closed, 'a policy change never reconnects');
  a.announce('ANDROID-4', 'FOUR');
  await relay.until(
    ({ peers }) => peers.some(({ lanes }) => (lanes[MOVING]!.dropped.filtered_out ?? 0) > 0),
    'the filter',
  );
  assert.ok(!b.has('ANDROID-4'));
});

test('a relay that is told to stop stops, though somebody watches it', async (t) => {
  const [api, port] = (await freePorts(2)) as [number, number];
  const relay = new RelayHome(t, 'watched');
  relay.configure(api, `links:\n  - { name: phones, kind: cot, listen: ${port} }\n`);
  await relay.start();
  const watch = spawn(SOURCE[0]!, [...SOURCE.slice(1), 'watch', '--api', relay.api], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.after(() => watch.kill());
  const ended = once(watch, 'exit');
  const somebody = await phone(t, { port });
  const seen = once(watch.stdout, 'data').then(() => true);
  do somebody.announce('ANDROID-W', 'WATCHED');
  while (!(await Promise.race([seen, sleep(200, false)])));
  assert.equal(await relay.kill('SIGTERM'), 0);
  assert.deepEqual(await ended, [0, null]);
});

test('certificates: nothing is overwritten, no link is invented, the snippet is XML', async (t) => {
  const relay = new RelayHome(t, 'certs');
  const links = [
    '{ name: tak, kind: fed2, connect: "127.0.0.1:9" }',
    '{ name: they, kind: fed2, listen: [9100, 9000] }',
    '{ name: mesh, kind: mesh, interfaces: [lo] }',
  ];
  relay.configure(1, `links:\n${links.map((link) => `  - ${link}\n`).join('')}`);
  const out = relay.file('out');
  await relay.command('cert', 'issue', 'alpha', '--out', out);
  const key = readFileSync(`${out}/alpha.key`, 'utf8');
  const { code, stderr } = await failing(relay.command('cert', 'issue', 'alpha', '--out', out));
  assert.equal(code, 1);
  assert.match(stderr, /exists already/);
  assert.equal(readFileSync(`${out}/alpha.key`, 'utf8'), key);
  assert.match((await failing(relay.command('export', 'coreconfig', '--link', 'typo'))).stderr, /no link "typo"/);
  assert.match((await failing(relay.command('export', 'coreconfig', '--link', 'mesh'))).stderr, /kind mesh.*\n.*fed2/);
  for (const more of [
    ['--link', 'tak'],
    ['--address', 'a.example', '--group', 'A--B & "C"'],
    ['--address', 'a.example', '--v1'],
  ]) {
    const xml = await relay.command('export', 'coreconfig', ...more);
    const parser = new SaxesParser();
    parser.on('error', (error) => assert.fail(error));
    parser.write(xml).close();
    assert.match(xml, /<federation enableFederation="true">/);
    if (!more.includes('--v1')) {
      assert.equal(/address="a.example" port="9100"/.test(xml), more.includes('--address'), 'the port we listen on');
      continue;
    }
    assert.match(xml, /port="9000"\s+enabled="true" protocolVersion="1"/);
    assert.match(xml, /<\/?tls[^>]*\/>\s*<v1Tls tlsVersion="TLSv1.2"\/>/, 'or it allows no TLS at all');
  }
});

test('check finds what run would fail on: a trust file that is not there', async (t) => {
  const relay = new RelayHome(t, 'untrusting');
  relay.configure(1, 'trust: [missing.pem]\nlinks: []\n');
  assert.match((await failing(relay.command('check'))).stderr, /missing\.pem/);
});
