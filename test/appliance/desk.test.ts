// The box as its page and API have it: a release handed over, a factory reset ordered, by who may and nobody else. curl sends what a
// browser's form would.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { SESSION_COOKIE } from '../../src/api/gate.ts';
import { type BoxPageDeps, boxPages } from '../../src/api/page/box.ts';
import { applianceRoutes } from '../../src/api/routes/appliance.ts';
import { ApplianceDesk } from '../../src/appliance/desk.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { serveApi } from '../api/api-server.ts';
import { noCurl } from '../support/curl.ts';
import { makeCa, makeLeaf } from '../support/pki.ts';
import { bench, inPieces } from './bench.ts';

/** A desk on the bench's files. */
function deskOn(t: TestContext) {
  const made = bench(t);
  const { system, folder } = made;
  const path = (...names: string[]) => join(folder, ...names);
  for (const name of ['run', 'boot', 'data']) mkdirSync(path(name));
  writeFileSync(path('run/hostname'), 'waystation-01ab\n');
  writeFileSync(path('boot/slot'), 'a\n');
  writeFileSync(path('boot/partitions'), path('disk'));
  const { board, slotBytes, key, version, records } = system;
  const places = { boot: path('boot'), run: path('run'), data: path('data'), records };
  const desk = new ApplianceDesk(places, { board, slotBytes, key, version });
  return { ...made, desk, path, handedOver: path('data/update/incoming.update') };
}

test('a good release is handed over whole, others not at all', async (t) => {
  const { desk, release, handedOver, path, folder } = deskOn(t);
  const good = release();
  assert.equal((await desk.take(inPieces(good))).version, '2.0.0');
  assert.deepEqual(readFileSync(handedOver), good);
  execFileSync('rm', [handedOver]);
  execFileSync('openssl', ['genpkey', '-algorithm', 'ed25519', '-out', path('stranger.key')], { stdio: 'ignore' });
  const flipped = Buffer.from(good);
  flipped[good.length - 1000]! ^= 1;
  const bad: [string, Buffer, RegExp][] = [
    ['a stranger', release({ key: path('stranger.key') }), /not signed by the key/],
    ['another board', release({ board: 'toaster' }), /is for toaster/],
    ['cut short', good.subarray(0, good.length / 2), /cut short/],
    ['changed', flipped, /not what was signed/],
    ['more behind it', Buffer.concat([good, good]), /more bytes/],
    ['no update', Buffer.alloc(100_000, 'x'), /no Waystation update/],
  ];
  for (const [what, bytes, words] of bad) await assert.rejects(desk.take(inPieces(bytes)), words, what);
  assert.deepEqual(readdirSync(join(folder, 'data/update')), [], 'nothing is left of them');
  const first = desk.take(inPieces(good));
  await assert.rejects(desk.take(inPieces(good)), /right now/, 'one at a time');
  await first;
});

test('a release on trial, and a release for a box without a key, are not taken', async (t) => {
  const { desk, release, path } = deskOn(t);
  writeFileSync(path('boot/trial'), 'b\n');
  await assert.rejects(desk.take(inPieces(release())), /on trial/);
  assert.equal(desk.status().trial, true);
});

test('downloads: taken when they are good, told in words when not', async (t) => {
  const { desk, release, handedOver } = deskOn(t);
  const good = release();
  const server = createServer((request, response) => {
    if (request.url === '/good') response.end(good);
    else response.writeHead(404).end();
  }).listen(0, '127.0.0.1');
  t.after(() => server.close());
  await new Promise((resolve) => server.once('listening', resolve));
  const at = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const { signal } = new AbortController();
  const idle = async () => {
    while (/being asked for|being taken in/.test(desk.status().update))
      await new Promise((done) => setTimeout(done, 10));
  };
  desk.fetch(`${at}/bad`, signal);
  assert.throws(() => desk.fetch(`${at}/good`, signal), /right now/);
  await idle();
  assert.match(desk.status().update, /No update: .*404/);
  desk.fetch(`${at}/good`, signal);
  while (!existsSync(handedOver)) await new Promise((done) => setTimeout(done, 10));
  await idle();
  assert.doesNotMatch(desk.status().update, /No update/);
});

test('the page and the API, over TLS, with a login', { skip: noCurl }, async (t) => {
  const { desk, release, handedOver, path } = deskOn(t);
  const ca = makeCa({ cn: 'box CA' });
  const leaf = makeLeaf(ca, { cn: 'box', sans: ['localhost'] });
  const deps = {
    appliance: desk,
    signal: new AbortController().signal,
    clock: systemClock,
    secureAddress: () => 'https://localhost:1',
  } as unknown as BoxPageDeps;
  const place = { kind: 'tls' as const, host: '127.0.0.1', port: 0, keys: () => leaf };
  const { url, accounts } = await serveApi(t, {
    routes: [...applianceRoutes(deps), ...boxPages(deps)],
    places: [{ place, from: [] }],
  });
  const session = await accounts.setUp(accounts.setupCode!, 'ann', 'correct horse battery', '127.0.0.1');
  const { csrf } = accounts.sessionHolder(session)!;
  const file = path('sent.update');
  writeFileSync(file, release());
  const curl = async (where: string, ...more: string[]) => {
    const args = ['-sk', '-w', '\n%{http_code}', ...more, `${url}${where}`];
    const { execFile } = await import('node:child_process');
    return new Promise<string>((resolve, reject) => {
      execFile('curl', args, (error, stdout) => (error ? reject(error) : resolve(stdout)));
    });
  };
  const cookie = ['-H', `cookie: ${SESSION_COOKIE}=${session}`];
  const bearer = ['-H', `authorization: Bearer ${session}`];

  assert.match(await curl('/box/update', '-F', `file=@${file}`), /\n401$/);
  assert.match(await curl('/box/update', ...cookie, '-F', `file=@${file}`), /csrf[\s\S]*\n403$/);
  assert.match(
    await curl('/box/update', ...cookie, '-F', `file=@${file}`, '-F', `csrf=${csrf}`),
    /\n403$/,
    'behind the file',
  );
  assert.ok(!existsSync(handedOver));
  assert.match(await curl('/box', ...cookie), /waystation-01ab[\s\S]*type="file"[\s\S]*\n200$/);
  assert.match(
    await curl('/box/update', ...cookie, '-F', `csrf=${csrf}`, '-F', `file=@${file}`),
    /taken in[\s\S]*\n200$/,
  );
  assert.deepEqual(readFileSync(handedOver), readFileSync(file));
  writeFileSync(path('junk'), Buffer.alloc(3_000_000, 'x'));
  assert.match(
    await curl('/box/update', ...cookie, '-F', `csrf=${csrf}`, '-F', `file=@${path('junk')}`),
    /Not done[\s\S]*no Waystation update[\s\S]*\n422$/,
  );
  assert.match(await curl('/box/update', ...cookie, '-F', `csrf=${csrf}`), /no file in the form[\s\S]*\n400$/);

  execFileSync('rm', [handedOver]);
  assert.match(await curl('/api/update', '-T', file, '-X', 'POST'), /login_needed[\s\S]*\n401$/);
  assert.match(await curl('/api/update', ...bearer, '-T', file, '-X', 'POST'), /Release 2\.0\.0[\s\S]*\n202$/);
  assert.ok(existsSync(handedOver));
  const json = ['-H', 'content-type: application/json'];
  assert.match(await curl('/api/update/fetch', ...bearer, ...json, '-d', '{"url":"file:///etc/passwd"}'), /\n400$/);
  assert.match(await curl('/api/box', ...bearer), /"name":"waystation-01ab"[\s\S]*\n200$/);

  const order = path('data/orders');
  assert.match(
    await curl('/api/factory-reset', ...bearer, ...json, '-d', '{"name":"another"}'),
    /wrong_name[\s\S]*\n400$/,
  );
  assert.match(await curl('/box/forget', ...cookie, '-d', 'name=waystation-01ab'), /\n403$/);
  assert.ok(!existsSync(order));
  assert.match(await curl('/box/forget', ...cookie, '-d', `csrf=${csrf}&name=Waystation-01AB&zeroize=on`), /\n200$/);
  assert.deepEqual(readdirSync(order), ['zeroize']);
  assert.match(await curl('/api/factory-reset', ...bearer, ...json, '-d', '{"name":"waystation-01ab"}'), /\n202$/);
  assert.deepEqual(readdirSync(order).sort(), ['factory-reset', 'zeroize']);
});
