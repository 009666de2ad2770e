// What a box records is fetched with a login, over a restart, and said again to another box.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { phone } from '../support/cot-client.ts';
import { curl, noCurl } from '../support/curl.ts';
import { freePorts, RelayHome } from '../support/relay-process.ts';

const noXmllint = spawnSync('xmllint', ['--version']).status === 0 ? false : 'xmllint is not installed';

test('recorded, fetched with a login, replayed to another box', {
  skip: noCurl || noXmllint,
  timeout: 120_000,
}, async (t) => {
  const [api, tls, port, api2, port2] = (await freePorts(5)) as [number, number, number, number, number];
  const one = new RelayHome(t, 'recording');
  const links = (at: number) => `links:\n  - { name: phones, kind: cot, listen: ${at} }\n`;
  one.configure(api, `recorder: { enabled: true, bytes: 1048576 }\n${links(port)}`, `tls: ${tls}`);
  await one.start();
  const alpha = await phone(t, { port });
  const bravo = await phone(t, { port });
  bravo.announce('BRAVO-UID', 'BRAVO');
  await alpha.withUid('BRAVO-UID');
  alpha.announce('ALPHA-UID', 'ALPHA');
  await bravo.withUid('ALPHA-UID');

  const token = (await one.command('token', 'create', 'desk', '--role', 'operator')).trim();
  const looker = (await one.command('token', 'create', 'looker', '--role', 'viewer')).trim();
  const file = `https://127.0.0.1:${tls}/api/recording/file`;
  const as = (secret: string) => ['-k', '-H', `Authorization: Bearer ${secret}`];
  assert.equal((await curl('-k', file)).json.code, 'login_needed');
  assert.equal((await curl(...as(looker), file)).json.code, 'role_too_low');
  assert.equal((await curl(...as(token), `${file}?format=shp`)).status, 400);

  const cot = await curl(...as(token), file);
  assert.deepEqual([cot.status, cot.type], [200, 'application/xml']);
  assert.deepEqual(
    [...cot.text.matchAll(/<event [^>]*uid="([^"]*)"/g)].map(([, uid]) => uid),
    ['BRAVO-UID', 'ALPHA-UID'],
    'what waited to be written is in it',
  );

  // A restart; tracks as other programs read them.
  await one.kill('SIGTERM');
  await one.start();
  for (const format of ['gpx', 'kml']) {
    const { text } = await curl(...as(token), `${file}?format=${format}`);
    const { status, stderr } = spawnSync('xmllint', ['--noout', '-'], { input: text });
    assert.equal(status, 0, String(stderr));
    assert.match(text, /<name>ALPHA<\/name>/);
  }
  const later = new Date(Date.now() + 60_000).toISOString();
  const none = await curl(...as(token), `${file}?since=${encodeURIComponent(later)}`);
  assert.deepEqual([none.status, none.text.trim()], [200, '']);
  const held = (await curl(...as(token), `https://127.0.0.1:${tls}/api/recording`)).json;
  assert.ok(held.on && held.bytes > 0 && held.from);
  const page = await curl(...as(token), `https://127.0.0.1:${tls}/recording`);
  assert.match(page.text, /latest events are kept.*Download/s);

  const two = new RelayHome(t, 'replayed');
  two.configure(api2, links(port2));
  await two.start();
  const watcher = await phone(t, { port: port2 });
  writeFileSync(two.file('heard.xml'), cot.text);
  await two.command('replay', two.file('heard.xml'), '--speed', '0', '--to', `127.0.0.1:${port2}`);
  await watcher.withUid('BRAVO-UID');
  await watcher.withUid('ALPHA-UID');
});
