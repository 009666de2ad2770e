// `waystation import` and `export` as operators use them: shown first, made with --yes, undone; against a running relay.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { freePorts, RelayHome } from '../support/relay-process.ts';

const noOpenssl = spawnSync('openssl', ['version']).status === 0 ? false : 'openssl is not installed';

test('G1, G2: import shows, makes, keeps comments, and is undone; what is refused is not taken', {
  skip: noOpenssl,
}, async (t) => {
  const [api] = (await freePorts(1)) as [number];
  const home = new RelayHome(t, 'importer');
  home.configure(api, '# ours\nlinks: []\n');
  await home.start();
  const file = (name: string, text: string | Buffer) => {
    writeFileSync(home.file(name), text);
    return home.file(name);
  };
  const before = readFileSync(home.configPath, 'utf8');
  const federation = file(
    'federation.json',
    JSON.stringify({ version: 1, peers: [{ name: 'Server-B', address: '127.0.0.1', port: 1, bidirectional: true }] }),
  );
  file('password', 'secret\n');
  execFileSync(
    'openssl',
    [
      'req',
      '-x509',
      '-newkey',
      'rsa:2048',
      '-nodes',
      '-keyout',
      'ca.key',
      '-out',
      'ca.pem',
      '-days',
      '90',
      '-subj',
      '/CN=Their CA',
    ],
    { cwd: home.folder, stdio: 'pipe' },
  );
  execFileSync(
    'openssl',
    ['pkcs12', '-export', '-nokeys', '-in', 'ca.pem', '-passout', 'pass:secret', '-out', 'their.p12'],
    { cwd: home.folder },
  );
  const args = ['import', federation, home.file('their.p12'), '--password-file', home.file('password')];

  const shown = await home.command(...args);
  assert.match(shown, /link server-b, fed1, dials 127\.0\.0\.1:1/);
  assert.match(shown, /"Their CA" .*an authority/);
  assert.match(shown, /nothing was changed: --yes/);
  assert.equal(readFileSync(home.configPath, 'utf8'), before);

  assert.match(await home.command(...args, '--yes'), /done; "waystation config undo"/);
  const after = readFileSync(home.configPath, 'utf8');
  assert.match(after, /# ours[\s\S]*name: server-b/);
  const kept = /trust: *(?:\n *- |\[ *)"?(\S+their-ca\.pem)/.exec(after)?.[1];
  assert.ok(kept, after);
  assert.equal(readFileSync(kept, 'utf8'), readFileSync(home.file('ca.pem'), 'utf8'));
  assert.equal(statSync(kept).mode & 0o077, 0);
  assert.ok((await home.status()).links.some(({ name }) => name === 'server-b'));

  const back = JSON.parse(await home.command('export', 'federation.json'));
  assert.deepEqual(back, {
    version: 1,
    peers: [
      { name: 'Server-B', address: '127.0.0.1', port: 1, bidirectional: true, filters: { cot_types: [], groups: [] } },
    ],
  });

  await assert.rejects(
    home.command('import', file('fts', 'FTS_FED_PASSWORD=defaultpass\n'), '--yes'),
    (error: { stdout: string }) => /REFUSED: FTS_FED_PASSWORD/.test(error.stdout),
  );
  const huge = file('huge.pem', '');
  truncateSync(huge, 100 * 1024 * 1024);
  await assert.rejects(home.command('import', huge), (error: { stdout: string }) =>
    /REFUSED: it is larger/.test(error.stdout),
  );
  assert.equal(readFileSync(home.configPath, 'utf8'), after);
  await home.command('config', 'undo');
  assert.equal(readFileSync(home.configPath, 'utf8'), before);

  await home.command('export', 'truststore', home.file('ours.p12'), '--password-file', home.file('password'));
  const pem = execFileSync(
    'openssl',
    ['pkcs12', '-legacy', '-in', home.file('ours.p12'), '-passin', 'pass:secret', '-nokeys'],
    { encoding: 'utf8', stdio: 'pipe' },
  );
  const block = (text: string) => /-----BEGIN CERTIFICATE-----[\s\S]+-----END CERTIFICATE-----/.exec(text)?.[0];
  assert.equal(block(pem), block(await home.command('cert', 'show', '--ca')));
});

test('the policy of a Federation Hub becomes networks and links, once', async (t) => {
  const [api] = (await freePorts(1)) as [number];
  const home = new RelayHome(t, 'hub-importer');
  home.configure(api, '# ours\nlinks: []\n');
  await home.start();
  const cell = (name: string) => ({
    graphType: 'FederationOutgoingCell',
    roger_federation: { name, stringId: name, host: '127.0.0.1', port: 1, outgoingEnabled: false },
  });
  const policy = {
    name: 'x',
    federate_edges: [{ source: 'east', destination: 'west', groupsFilterType: 'ALL' }],
    additionalData: { uiData: { cells: [cell('east'), cell('west')] } },
  };
  writeFileSync(home.file('policy.json'), JSON.stringify(policy));
  const shown = await home.command('import', home.file('policy.json'));
  assert.match(shown, /network east, federates with west/);
  assert.match(shown, /nothing was changed/);
  assert.match(await home.command('import', home.file('policy.json'), '--yes'), /done;/);
  assert.match(readFileSync(home.configPath, 'utf8'), /# ours[\s\S]*network: east/);
  const networks = await home.command('federation', 'networks');
  assert.match(networks, /east: .*\n {2}with west: out dp-out;/);
  await assert.rejects(
    home.command('import', home.file('policy.json'), '--yes'),
    ({ stdout, stderr }: { stdout: string; stderr: string }) =>
      /there is a network "east" already/.test(stdout + stderr),
  );
});
