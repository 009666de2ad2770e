// The support bundle of a real relay: unpacked by tar, and searched for every secret the box has.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { scrubber } from '../../src/bundle/scrub.ts';
import { freePorts, RelayHome } from '../support/relay-process.ts';

const SECRETS = {
  federationKey: 'correct-horse-battery-staple-1234',
  fileKey: 'another"key\\with-odd=characters-5678',
  mqttPassword: 'mosquitto-pass-9012',
  cotPassword: 'phones-pass-3456',
  comment: 'password-in-a-comment-7890',
};

/** Every file of the data folder that holds a private key, piece by piece as a leak would show it. */
function keysIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' }).flatMap((name) => {
    const path = join(folder, name);
    if (!statSync(path).isFile() || statSync(path).size > 100_000) return [];
    const blocks = readFileSync(path, 'utf8').match(/-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?-----END/g) ?? [];
    return blocks.flatMap((block) => block.split('\n').filter((line) => line.length === 64));
  });
}

function unpacked(relay: RelayHome, path: string): Map<string, string> {
  const names = execFileSync('tar', ['-tzf', path], { encoding: 'utf8' }).trim().split('\n');
  const read = (name: string) =>
    execFileSync('tar', ['-xzOf', path, name], { encoding: 'utf8', cwd: relay.folder, maxBuffer: 1 << 26 });
  return new Map(names.map((name) => [name.replace('waystation-bundle/', ''), read(name)]));
}

test('a bundle holds what helps, and no secret of the box', async (t) => {
  const relay = new RelayHome(t, 'bundled');
  const [api, tls, phones] = await freePorts(3);
  writeFileSync(relay.file('mqtt.password'), `${SECRETS.mqttPassword}\n`);
  writeFileSync(relay.file('portal.key'), `${SECRETS.fileKey}\n`);
  const links = `# ${SECRETS.comment}
links:
  - { name: phones, kind: cot, listen: "127.0.0.1:${phones}", auth: { username: u, password: ${SECRETS.cotPassword} } }
  - name: portal
    kind: portal
    federation_key: ${SECRETS.federationKey}
    peers: []
  - { name: sensors, kind: mqtt, connect: "127.0.0.1:9", username: u, password_file: mqtt.password, subscribe: [a] }\n`;
  relay.configure(api!, links, `tls: "127.0.0.1:${tls}"`);
  await relay.start();
  const setupCode = readFileSync(relay.file('data/setup-code'), 'utf8').trim();
  const token = /wst_\S+/.exec(await relay.command('token', 'create', 'grafana', '--role', 'admin'))![0];
  const path = relay.file('out.tar.gz');
  assert.match(await relay.command('bundle', path), /out\.tar\.gz: \d+ kB, secrets taken out/);
  assert.equal(statSync(path).mode & 0o777, 0o600);
  const files = unpacked(relay, path);
  for (const name of [
    'doctor.json',
    'status.json',
    'config.yaml',
    'log.jsonl',
    'events.jsonl',
    'audit.jsonl',
    'host.json',
    'version.txt',
    'metrics.txt',
  ]) {
    assert.ok((files.get(name) ?? '').length > 2, name);
  }
  assert.match(files.get('config.yaml')!, /federation_key: "?\[secret\]/);
  assert.equal(JSON.parse(files.get('status.json')!).name, 'bundled');
  assert.match(files.get('doctor.txt')!, /Fix:|Nothing is wrong/);

  const keys = keysIn(relay.file('data/identity'));
  assert.ok(keys.length > 20, 'the box has keys');
  const all = [...files.values()].join('\n');
  for (const secret of [...Object.values(SECRETS), setupCode, token, token.split('_')[2]!, ...keys]) {
    assert.ok(!all.includes(secret), `${secret} is in ${[...files].find(([, text]) => text.includes(secret))?.[0]}`);
  }
  assert.doesNotMatch(all, /PRIVATE KEY/);

  await assert.rejects(relay.command('bundle', path), { code: 1 }, 'a file that is there is kept');
  assert.equal((await fetch(`${relay.api}/api/bundle`, { method: 'POST', body: '{}' })).status, 401);
  assert.match(await relay.command('audit'), /POST \/api\/bundle.*support bundle taken/);
});

test('without a relay, and with a configuration that is bad', async (t) => {
  const relay = new RelayHome(t, 'dead');
  relay.configure(
    1,
    `links:\n  - { name: portal, kind: portal, federation_key: ${SECRETS.federationKey}, nonsense: 1 }\n`,
  );
  const path = relay.file('dead.tar.gz');
  await relay.command('bundle', path);
  const files = unpacked(relay, path);
  assert.match(files.get('config-trouble.txt')!, /nonsense/);
  assert.ok(![...files.values()].join('\n').includes(SECRETS.federationKey));
  assert.equal(files.has('status.json'), false);
  assert.equal(spawnSync('tar', ['-tzf', path]).status, 0);
});

test('what looks like a secret is taken out, whoever wrote it', () => {
  const clean = scrubber(['a"b-known', 'short']);
  assert.equal(clean('{"x":"a\\"b-known"} a"b-known short'), '{"x":"[secret]"} [secret] short');
  assert.equal(clean('Authorization: Bearer abcdef.ghijk'), 'Authorization: Bearer [secret]');
  assert.equal(clean('mqtt://me:letmein@broker:1883'), 'mqtt://me:[secret]@broker:1883');
  assert.equal(clean('{"password":"x\\"y","user":"u"}'), '{"password":"[secret]","user":"u"}');
  assert.equal(clean('-----BEGIN EC PRIVATE KEY-----\nAAAA'), '[secret]');
  assert.equal(clean('code K7MD-9QRT-2XYZ'), 'code [secret]');
  assert.equal(clean('wss_0123456789abcdefghij'), '[secret]');
});
