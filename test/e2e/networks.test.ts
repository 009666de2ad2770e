// Networks inside one box as an operator has them: a port for the phones of each, federated by the API, the command line, the page's
// forms, or a code; and what one does not get of the other by side doors.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import { type Phone, phone, sa } from '../support/cot-client.ts';
import { askSocket, curl, noCurl } from '../support/curl.ts';
import { freePorts, RelayHome } from '../support/relay-process.ts';

interface Box {
  readonly home: RelayHome;
  readonly medics: number;
  readonly police: number;
  readonly files: number;
}

async function box(t: TestContext): Promise<Box> {
  const [api, medics, police, main, portal, files] = (await freePorts(6)) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const home = new RelayHome(t, 'town');
  home.configure(
    api,
    `files: { listen: "127.0.0.1:${files}" }
networks: # two of the same owner
  - name: medics
  - name: police
links:
  - { name: phones, kind: cot, listen: "127.0.0.1:${main}" }
  - { name: medics-phones, kind: cot, listen: "127.0.0.1:${medics}", policy: { network: medics } }
  - { name: police-phones, kind: cot, listen: "127.0.0.1:${police}", policy: { network: police } }
  - { name: relays, kind: portal, listen: "127.0.0.1:${portal}", federation_key: a key of sixteen or more }
`,
  );
  await home.start();
  return { home, medics, police, files };
}

function ask({ home }: Box, method: string, path: string, body?: unknown) {
  return askSocket(home, method, path, body);
}

/** A position crosses, or a later one that crosses to a phone of the same network proves that it did not. */
async function reaches(from: Phone, to: Phone, beside: Phone, uid: string): Promise<boolean> {
  from.send(sa(uid, uid.toUpperCase(), Date.now() - 1));
  await beside.withUid(uid);
  from.send(sa(`${uid}-end`, 'END', Date.now() - 1));
  await beside.withUid(`${uid}-end`);
  return to.has(uid);
}

test('G3: networks of one box: own ports, apart, federated at once without a code, toggles of each side', {
  skip: noCurl,
}, async (t) => {
  const town = await box(t);
  const [doc, nurse, cop] = await Promise.all([
    phone(t, { port: town.medics }),
    phone(t, { port: town.medics }),
    phone(t, { port: town.police }),
  ]);
  assert.equal(await reaches(doc, cop, nurse, 'apart'), false);

  await t.test('they federate at once', async () => {
    const made = await ask(town, 'PUT', '/api/federation/networks/medics/peers/police', {});
    assert.equal(made.status, 200, made.text);
    doc.send(sa('DOC', 'DOC', Date.now()));
    await cop.withUid('DOC');
    cop.send(sa('COP', 'COP', Date.now()));
    await doc.withUid('COP');
    const { json } = await ask(town, 'GET', '/api/federation/networks');
    const medics = json.find(({ name }: { name: string }) => name === 'medics');
    assert.deepEqual(medics.links, ['medics-phones']);
    const [police] = medics.peers;
    assert.deepEqual(
      [police.name, police.in, police.out, police.dp_in, police.dp_out],
      ['police', true, true, true, true],
    );
    assert.ok(police.events_received > 0 && police.events_forwarded > 0 && police.last_heard);
    assert.deepEqual(
      [medics.connected, json.map(({ name }: { name: string }) => name)],
      [2, ['main', 'medics', 'police']],
    );
    assert.ok(medics.events_received > 0 && medics.events_sent > 0 && medics.in_per_second >= 0);
    const [main] = json;
    assert.deepEqual([main.connected, main.events_received, main.events_sent], [0, 0, 0]);
    assert.match(await town.home.command('status'), /^ {2}network medics: 2 connected, .* messages in, /m);
    assert.match((await curl(town.home.api)).text, /Network <b>police<\/b>/);
  });

  await t.test('either side closes its way, from the command line; the connections stay', async () => {
    const shown = await town.home.command('federation', 'network', 'police', 'medics', '--no', 'in');
    assert.match(shown, /with medics: out dp-in dp-out/);
    assert.equal(await reaches(doc, cop, nurse, 'closed'), false);
    cop.send(sa('COP-2', 'COP-2', Date.now()));
    await doc.withUid('COP-2');
    const text = (await ask(town, 'GET', '/api/config')).json.text;
    assert.match(text, /networks: # two of the same owner/);
  });

  await t.test('apart again', async () => {
    assert.equal((await ask(town, 'DELETE', '/api/federation/networks/medics/peers/police')).status, 204);
    assert.equal((await ask(town, 'DELETE', '/api/federation/networks/medics/peers/police')).status, 404);
    assert.equal(
      (await ask(town, 'PUT', '/api/federation/networks/medics/peers/fire', {})).json.code,
      'unknown_network',
    );
    assert.equal(
      (await ask(town, 'PUT', '/api/federation/networks/medics/peers/medics', {})).json.code,
      'same_network',
    );
    assert.equal(await reaches(doc, cop, nurse, 'again'), false);
  });

  await t.test('policy test says what keeps them apart', async () => {
    const { peers } = await town.home.status();
    const from = peers.find(({ link }) => link === 'medics-phones')!.key;
    const { json } = await ask(town, 'POST', '/api/policy/test', { xml: sa('X', 'X', Date.now()), from });
    const rules = json.peers.map(({ link, rule }: { link: string; rule: string }) => `${link} ${rule}`).sort();
    assert.deepEqual(rules.slice(0, 2), ['medics-phones ', 'police-phones networks']);
  });
});

test('G3: the code of a box, typed at the box itself, lets two of its networks federate', {
  skip: noCurl,
}, async (t) => {
  const town = await box(t);
  const made = await ask(town, 'POST', '/api/federation/codes', { network: 'medics', dp_out: false });
  assert.match(made.json.code, /^[2-9A-HJKMNP-TV-Z]{4}-[2-9A-HJKMNP-TV-Z]{4}$/);
  const same = await ask(town, 'POST', '/api/federation/join', {
    address: 'here',
    code: made.json.code,
    network: 'medics',
  });
  assert.deepEqual([same.status, same.json.code], [409, 'own_code']);
  const said = await town.home.command(
    'federation',
    'join',
    'localhost',
    made.json.code,
    '--network',
    'police',
    '--no',
    'out',
  );
  assert.match(said, /networks federate now/);
  const { json } = await ask(town, 'GET', '/api/federation/networks');
  const side = (name: string) => json.find((one: { name: string }) => one.name === name).peers[0];
  assert.deepEqual([side('medics').name, side('medics').dp_out, side('medics').out], ['police', false, true]);
  assert.deepEqual([side('police').name, side('police').out], ['medics', false]);
  assert.equal((await ask(town, 'GET', '/api/federation/codes')).json.code, null, 'used up');
});

test('a public file of one network is not listed in another', { skip: noCurl }, async (t) => {
  const town = await box(t);
  const [doc, cop] = await Promise.all([
    phone(t, { port: town.medics, from: '127.0.0.2' }),
    phone(t, { port: town.police, from: '127.0.0.3' }),
  ]);
  doc.send(sa('DOC', 'DOC', Date.now()));
  cop.send(sa('COP', 'COP', Date.now()));
  const marti = (from: string, ...rest: string[]) => curl('--interface', from, ...rest);
  const base = `http://127.0.0.1:${town.files}/Marti`;
  const hash = createHash('sha256').update('plan').digest('hex');
  const put = await marti(
    '127.0.0.2',
    '-X',
    'POST',
    '--data-binary',
    'plan',
    `${base}/sync/upload?name=plan.txt&hash=${hash}`,
  );
  assert.equal(put.status, 200, put.text);
  await marti('127.0.0.2', '-X', 'PUT', '--data-binary', 'public', `${base}/api/sync/metadata/${hash}/tool`);
  const count = async (from: string) => (await marti(from, `${base}/sync/search`)).json.resultCount;
  assert.deepEqual([await count('127.0.0.2'), await count('127.0.0.3')], [1, 0]);
  await ask(town, 'PUT', '/api/federation/networks/police/peers/medics', {});
  assert.equal(await count('127.0.0.3'), 1);
});
