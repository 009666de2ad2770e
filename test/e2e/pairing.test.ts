// Two boxes joined by a code typed on one of them, as an operator does it: real processes, the command line, curl, the file.
import assert from 'node:assert/strict';
import { readFileSync, statSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { phone, sa } from '../support/cot-client.ts';
import { askSocket, noCurl } from '../support/curl.ts';
import { freePorts, RelayHome } from '../support/relay-process.ts';

interface Box {
  readonly home: RelayHome;
  readonly phones: number;
  readonly portal: number;
}

async function box(t: TestContext, name: string, links: (portal: number) => string = () => ''): Promise<Box> {
  const [api, phones, portal] = (await freePorts(3)) as [number, number, number];
  const home = new RelayHome(t, name);
  home.configure(
    api,
    `# what ${name} says\nlinks:\n  - { name: phones, kind: cot, listen: ${phones} } # plain\n${links(portal)}`,
  );
  await home.start();
  return { home, phones, portal };
}

const listens = (port: number) =>
  `  - name: relays\n    kind: portal\n    listen: 127.0.0.1:${port}\n    federation_key: a key that nobody else has\n`;

/** Over the socket, as the command line asks. */
function ask({ home }: Box, method: string, path: string, body?: unknown) {
  return askSocket(home, method, path, body);
}

async function failing(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (error) {
    const { stdout = '', stderr = '', message } = error as { stdout?: string; stderr?: string; message: string };
    return `${stdout}${stderr}${message}`;
  }
  return assert.fail('it worked');
}

test('G3: a code made here and typed there joins two boxes, and the probe passes', { skip: noCurl }, async (t) => {
  const [hq, vehicle] = await Promise.all([box(t, 'hq', listens), box(t, 'vehicle')]);
  const begun = Date.now();
  const shown = await hq.home.command('federation', 'code', '--no', 'dp-out');
  const code = /^([2-9A-Z]{4}-[2-9A-Z]{4})$/m.exec(shown)?.[1];
  assert.ok(code, shown);
  await hq.home.kill('SIGKILL');
  await hq.home.start();
  assert.equal((await ask(hq, 'GET', '/api/federation/codes')).json.code, code, 'the power went meanwhile');

  const joined = await vehicle.home.command(
    'federation',
    'join',
    `127.0.0.1:${hq.portal}`,
    code.toLowerCase(),
    '--as',
    'base',
  );
  const tookMs = Date.now() - begun;
  t.diagnostic(`code, join and probe: ${tookMs} ms`);
  assert.match(joined, /^joined base \(it calls itself hq, SHA256:[0-9a-f]{64}\)/);
  assert.match(joined, /round trip/);
  assert.ok(tookMs < 60_000, 'under a minute');

  await t.test('events cross both ways', async () => {
    const [near, far] = [await phone(t, { port: vehicle.phones }), await phone(t, { port: hq.phones })];
    far.announce('ANDROID-hq', 'HQ');
    await near.withUid('ANDROID-hq');
    near.send(sa('ANDROID-v', 'VEHICLE', Date.now() - 1));
    await far.withUid('ANDROID-v');
  });

  await t.test('both files say so, with the settings chosen; comments stay; keys are files for one user', () => {
    const [ours, theirs] = [hq, vehicle].map(({ home }) => readFileSync(home.configPath, 'utf8')) as [string, string];
    for (const [text, name] of [
      [ours, 'hq'],
      [theirs, 'vehicle'],
    ] as const) {
      assert.ok(text.includes(`# what ${name} says`) && text.includes('# plain'), text);
    }
    assert.match(ours, /name: vehicle\n[\s\S]*dp_out: false/);
    assert.match(theirs, /name: base\n[\s\S]*address: 127\.0\.0\.1:\d+/);
    assert.doesNotMatch(theirs, /dp_out/);
    const [ourKey, theirKey] = [ours, theirs].map(
      (text) => /federation_key_file: (\S+peers\/(?:vehicle|hq)-\S+)/.exec(text)?.[1],
    ) as [string, string];
    assert.equal(readFileSync(ourKey, 'utf8'), readFileSync(theirKey, 'utf8'));
    assert.ok(!ours.includes(readFileSync(ourKey, 'utf8').trim()));
    assert.equal(statSync(ourKey).mode & 0o077, 0);
  });

  await t.test('the code was good once', async () => {
    assert.equal((await ask(hq, 'GET', '/api/federation/codes')).json.code, null);
    const words = await failing(vehicle.home.command('federation', 'join', `127.0.0.1:${hq.portal}`, code));
    assert.match(words, /no code is open/);
  });

  await t.test('it outlasts restarts of both', async () => {
    await Promise.all([hq.home.kill('SIGTERM'), vehicle.home.kill('SIGTERM')]);
    await Promise.all([hq.home.start(), vehicle.home.start()]);
    await vehicle.home.until(
      ({ peers }) => peers.some(({ key, connected }) => key === 'portal/base' && connected),
      'the link',
    );
  });

  await t.test(
    'clearing a code, or making one, leaves who has joined alone; joining anew changes the key',
    async () => {
      await ask(hq, 'POST', '/api/federation/codes', {});
      assert.equal((await ask(hq, 'DELETE', '/api/federation/codes')).status, 204);
      const { json } = await ask(hq, 'POST', '/api/federation/codes', { minutes: 2 });
      assert.ok(Math.abs(Date.parse(json.expires_at) - Date.now() - 120_000) < 60_000);
      const again = await vehicle.home.command('federation', 'join', `127.0.0.1:${hq.portal}`, json.code);
      assert.match(again, /^joined base /, 'the same entry');
      const text = readFileSync(hq.home.configPath, 'utf8');
      assert.equal(text.match(/pin:/g)?.length, 1);
    },
  );
});

test('G3: a box without a portal link gets one; one that does not listen says so', { skip: noCurl }, async (t) => {
  const [hq, dialler] = await Promise.all([
    box(t, 'hq', listens),
    box(t, 'dialler', () => '  - { name: out, kind: portal, federation_key: a key of sixteen or more }\n'),
  ]);
  const refused = await ask(dialler, 'POST', '/api/federation/codes', {});
  assert.equal(refused.status, 409, refused.text);
  assert.equal(refused.json.code, 'no_listener');
  assert.match(refused.json.fix, /listen: 9090/);
  const { json } = await ask(hq, 'POST', '/api/federation/codes', { name: 'Site 12' });
  const joined = await ask(dialler, 'POST', '/api/federation/join', {
    address: `127.0.0.1:${hq.portal}`,
    code: json.code,
    out: false,
  });
  assert.equal(joined.status, 200, joined.text);
  assert.deepEqual([joined.json.name, joined.json.link, joined.json.their_name], ['hq', 'out', 'hq']);
  assert.match(readFileSync(hq.home.configPath, 'utf8'), /name: site-12/);
  assert.match(readFileSync(dialler.home.configPath, 'utf8'), /out: false/);
});

test('G3: guesses are counted, wrong codes and wrong doors are told in words', { skip: noCurl }, async (t) => {
  const [hq, guesser] = await Promise.all([box(t, 'hq', listens), box(t, 'guesser')]);
  const at = `127.0.0.1:${hq.portal}`;
  const before = readFileSync(hq.home.configPath, 'utf8');
  const { json } = await ask(hq, 'POST', '/api/federation/codes', {});
  const wrong = json.code.startsWith('2222') ? '3333-3333' : '2222-2222';
  const tryOnce = (code: string, address = at) => ask(guesser, 'POST', '/api/federation/join', { address, code });
  for (let guess = 0; guess < 5; guess++) {
    const answer = await tryOnce(wrong);
    assert.equal(answer.status, 403, answer.text);
    assert.equal(answer.json.code, 'wrong_code');
  }
  const shutOut = await tryOnce(json.code);
  assert.equal(shutOut.status, 429, 'even with the right one');
  assert.equal((await ask(hq, 'GET', '/api/federation/codes')).json.tries_left, 15);
  assert.equal(readFileSync(hq.home.configPath, 'utf8'), before);
  assert.ok(!readFileSync(guesser.home.configPath, 'utf8').includes('portal'));
  assert.equal((await tryOnce('nope')).json.code, 'bad_code');
  assert.equal((await tryOnce(wrong, '127.0.0.1:1')).status, 502);
  assert.equal((await ask(hq, 'POST', '/api/federation/join', { address: at, code: wrong })).json.code, 'own_pin');
  const { refusals = {} } = (await hq.home.status()).links.find(({ name }) => name === 'relays') ?? {};
  assert.equal(refusals.wrong_code, 5);
  assert.equal(refusals.too_many_codes, 1);
});

test('G3: two boxes that nobody can dial join by a code through the hub that both dial', {
  skip: noCurl,
}, async (t) => {
  const dials = () => '  - { name: relays, kind: portal, federation_key: a key of sixteen or more }\n';
  const hubs = (port: number) => `${listens(port)}    hub: true\n`;
  const [hub, vehicle, site] = await Promise.all([
    box(t, 'hub', hubs),
    box(t, 'vehicle', dials),
    box(t, 'site', dials),
  ]);
  for (const spoke of [vehicle, site]) {
    const { json } = await ask(hub, 'POST', '/api/federation/codes', {});
    const { status, text } = await ask(spoke, 'POST', '/api/federation/join', {
      address: `127.0.0.1:${hub.portal}`,
      code: json.code,
      name: 'hub1',
    });
    assert.equal(status, 200, text);
    await spoke.home.until(
      ({ peers }) => peers.some(({ key, connected }) => key === 'relays/hub1' && connected),
      'the hub',
    );
  }
  const through = (body: object) =>
    ask(vehicle, 'POST', '/api/federation/join', { address: 'site', hub: 'hub1', code: '2222-2222', ...body });

  await t.test('without a code, by a name or a hub that is not there: in words', async () => {
    const none = await through({});
    assert.deepEqual([none.status, none.json.code], [403, 'no_code'], none.text);
    assert.match(none.json.detail, /no code is open there/);
    assert.equal((await through({ address: 'nobody' })).json.code, 'unknown_peer');
    assert.equal((await through({ hub: 'hub2' })).json.code, 'unknown_hub');
  });

  const made = await ask(site, 'POST', '/api/federation/codes', { dp_in: false });
  assert.equal(made.status, 201, made.text);
  assert.deepEqual([made.json.addresses, made.json.hubs], [[], ['hub1']]);
  const { code } = made.json;

  await t.test('guesses through a hub are counted, all of them as those of the hub', async () => {
    const wrong = code.startsWith('2222') ? '3333-3333' : '2222-2222';
    for (let count = 0; count < 4; count++) assert.equal((await through({ code: wrong })).json.code, 'wrong_code');
    assert.equal((await ask(site, 'GET', '/api/federation/codes')).json.tries_left, 16);
  });

  await t.test('the right one joins, with the names of the hub, and events cross from end to end', async () => {
    const said = await vehicle.home.command('federation', 'join', 'site', code, '--hub', 'hub1');
    assert.match(said, /^joined site \(it calls itself site, SHA256:[0-9a-f]{64}\)/);
    assert.match(said, /round trip/);
    const [ours, theirs] = [vehicle, site].map(({ home }) => readFileSync(home.configPath, 'utf8')) as [string, string];
    assert.match(ours, /name: site, [^}]*hub: hub1/);
    assert.match(theirs, /name: vehicle, [^}]*hub: hub1, [^}]*dp_in: false/);
    const { peers } = await vehicle.home.status();
    assert.equal(peers.find(({ key }) => key === 'relays/site')?.via, 'hub1');
    assert.equal((await ask(site, 'GET', '/api/federation/codes')).json.code, null);
  });
});
