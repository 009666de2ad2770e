// The page of federation with scripts off, as a browser sends its forms: cookie, hidden field, ticked boxes.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { curl, noCurl } from '../support/curl.ts';
import { freePorts, RelayHome } from '../support/relay-process.ts';

test('G3: codes, joining, publishing and registering on the page; without a login nothing of it', {
  skip: noCurl,
}, async (t) => {
  const [api, tls, federation, portal] = (await freePorts(4)) as [number, number, number, number];
  const home = new RelayHome(t, 'paged');
  home.configure(
    api,
    `links:\n  - { name: federation, kind: fed2, listen: "127.0.0.1:${federation}" }\n  - { name: relays, kind: portal, listen: "127.0.0.1:${portal}", federation_key: a key that nobody else has }\n`,
    `tls: ${tls}`,
  );
  writeFileSync(home.file('ca.pem'), await home.command('cert', 'show', '--ca'));
  await home.start();
  const url = `https://localhost:${tls}`;
  const browser = ['--retry', '0', '--cacert', home.file('ca.pem'), '-b', home.file('jar'), '-c', home.file('jar')];
  const form = (fields: Record<string, string>) =>
    Object.entries(fields).flatMap(([name, value]) => ['--data-urlencode', `${name}=${value}`]);

  const stranger = await curl(...browser, `${url}/federation`);
  assert.equal(stranger.status, 200);
  assert.match(stranger.text, /hosts: \[/, 'who may look sees what is missing');
  assert.doesNotMatch(stranger.text, /action="\/federation|Make a code/, 'and no action');
  const plain = await curl('--retry', '0', '-H', 'X-Forwarded-For: 192.0.2.1', `http://127.0.0.1:${api}/federation`);
  assert.equal(plain.status, 303, 'anybody else is asked to log in');
  assert.equal((await curl(...browser, ...form({}), '-X', 'POST', `${url}/federation/clear`)).status >= 400, true);

  const code = readFileSync(home.file('data/setup-code'), 'utf8').trim();
  const login = await curl(
    ...browser,
    ...form({ code, username: 'admin', password: 'correct horse battery' }),
    `${url}/login`,
  );
  assert.equal(login.status, 303, login.text);
  const look = () => curl(...browser, `${url}/federation`);
  const first = await look();
  assert.equal(first.status, 200, first.text);
  const csrf = /name="csrf" value="([^"]+)"/.exec(first.text)?.[1];
  assert.ok(csrf);
  assert.match(first.text, /hosts: \[/, 'what is missing is named where it is needed');
  assert.match(first.text, /<svg role="img"/);
  const send = (path: string, fields: Record<string, string>) =>
    curl(...browser, ...form({ csrf, ...fields }), `${url}/federation/${path}`);

  const made = await send('code', { in: 'on', out: 'on', dp_in: 'on' });
  assert.equal(made.status, 200, made.text);
  assert.match(made.text, /<strong>[2-9A-Z]{4}-[2-9A-Z]{4}<\/strong>/);
  assert.doesNotMatch((await send('clear', {})).text, /<strong>[2-9A-Z]{4}-/);
  assert.equal(
    (await curl(...browser, ...form({ in: 'on' }), `${url}/federation/code`)).status,
    403,
    'without the hidden field',
  );

  const own = await send('join', { address: `127.0.0.1:${portal}`, code: 'ABCD-2345', in: 'on' });
  assert.equal(own.status, 409);
  assert.match(own.text, /is this box itself/);

  const fingerprint = `${'AB:'.repeat(31)}AB`;
  const registered = await send('peers', { name: '<County>', fingerprint, in: 'on' });
  assert.equal(registered.status, 200, registered.text);
  assert.match(registered.text, /&lt;County&gt;/);
  assert.match(readFileSync(home.configPath, 'utf8'), /out: false/);
  assert.equal((await send('peers', { name: 'x', fingerprint: 'abc', in: 'on' })).status, 400);
  const removed = await send('remove', { name: '<County>' });
  assert.match(removed.text, /cannot come back/);
  assert.match(readFileSync(home.configPath, 'utf8'), /revoked:/);
});

test('G3: permissions by role; without them the status stays, the rest is refused', { skip: noCurl }, async (t) => {
  const [api, federation, portal] = (await freePorts(3)) as [number, number, number];
  const home = new RelayHome(t, 'roles');
  home.configure(
    api,
    `networks: [{ name: medics }, { name: police }]
links:
  - { name: federation, kind: fed2, listen: "127.0.0.1:${federation}" }
  - { name: relays, kind: portal, listen: "127.0.0.1:${portal}", federation_key: a key that nobody else has }
`,
  );
  await home.start();
  const tokens = new Map<string, string>();
  for (const role of ['viewer', 'operator', 'admin']) {
    const said = await home.command('token', 'create', role, '--role', role);
    tokens.set(role, said.trim());
  }
  const may = async (role: string, method: string, path: string, body?: object) => {
    const data = body ? ['-H', 'Content-Type: application/json', '-d', JSON.stringify(body)] : [];
    const bearer = ['-H', `Authorization: Bearer ${tokens.get(role)}`];
    const { status } = await curl(
      '--retry',
      '0',
      ...bearer,
      '-X',
      method,
      ...data,
      `http://127.0.0.1:${api}/api${path}`,
    );
    return status !== 403;
  };
  const who = async (method: string, path: string, body?: object) => {
    const may_ = [];
    for (const role of tokens.keys()) if (await may(role, method, path, body)) may_.push(role);
    return may_.join(' ');
  };
  const fingerprint = 'ab'.repeat(32);
  assert.equal(await who('GET', '/federation/peers'), 'viewer operator admin', 'to see it');
  assert.equal(await who('GET', '/federation/networks'), 'viewer operator admin');
  assert.equal(
    await who('PUT', '/federation/networks/medics/peers/police', {}),
    'operator admin',
    'within the organisation',
  );
  assert.equal(await who('DELETE', '/federation/networks/medics/peers/police'), 'operator admin', 'to stop');
  assert.equal(await who('POST', '/federation/codes', {}), 'admin', 'with others');
  assert.equal(await who('DELETE', '/federation/codes'), 'operator admin', 'to stop');
  assert.equal(await who('POST', '/federation/join', { address: 'x', code: '2222' }), 'admin');
  assert.equal(await who('POST', '/federation/peers', { name: 'x', fingerprint }), 'admin');
  assert.equal(await who('PATCH', '/federation/peers/x', { out: false }), 'admin', 'to change it');
  const { json } = await curl('--retry', '0', `http://127.0.0.1:${api}/api/federation/peers`);
  const { connected, in_per_second, out_per_second, last_heard, out } = json[0];
  assert.deepEqual(
    [connected, in_per_second, out_per_second, last_heard, out],
    [false, 0, 0, null, false],
    'live status',
  );
  assert.equal(await who('DELETE', '/federation/peers/x'), 'admin');
});
