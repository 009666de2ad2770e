// The API under attack: forged names and sites, bodies that are too much, secrets in the wrong place, guessing, floods.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { statSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { request as tlsRequest } from 'node:https';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket } from 'ws';
import * as z from 'zod';
import { Accounts } from '../../src/api/access/accounts.ts';
import { FREE_TRIES } from '../../src/api/access/guesses.ts';
import { SetupCode } from '../../src/api/access/setup-code.ts';
import { CSRF_HEADER, SESSION_COOKIE, sessionCookie } from '../../src/api/gate.ts';
import { MAX_CONNECTIONS, MAX_CONNECTIONS_EACH, type Place } from '../../src/api/listener.ts';
import { html } from '../../src/api/page/html.ts';
import { LivePages } from '../../src/api/page/live.ts';
import { publicStatus } from '../../src/api/public-status.ts';
import { Refusal } from '../../src/api/refusal.ts';
import { type Route, route } from '../../src/api/route.ts';
import { accessRoutes } from '../../src/api/routes/access.ts';
import { statusRoutes } from '../../src/api/routes/status.ts';
import { ManualClock } from '../../src/lib/clock.ts';
import { makeCa, makeLeaf } from '../support/pki.ts';
import { memoryOf, serveApi, tempFolder } from './api-server.ts';
import { Box } from './boxes.ts';

const echo: Route = route({
  method: 'POST',
  path: '/api/echo',
  role: 'public',
  tag: 'Test',
  summary: 'Says what it was told',
  body: z.strictObject({ name: z.string().max(10), count: z.int().optional(), deep: z.any().optional() }),
  handle: ({ body }) => body,
});
const secret: Route = route({
  method: 'GET',
  path: '/api/secret',
  role: 'viewer',
  tag: 'Test',
  summary: 'For those who may',
  handle: () => ({ ok: true }),
});
const JSON_TYPE = { 'content-type': 'application/json' };

async function post(url: string, body: string, headers: Record<string, string> = JSON_TYPE) {
  const response = await fetch(`${url}/api/echo`, { method: 'POST', body, headers });
  return { status: response.status, ...((await response.json()) as { code: string; detail: string; fix?: string }) };
}

test('bodies: too long, too deep, of the wrong kind, with unknown and wrong fields, each named', async (t) => {
  const { url } = await serveApi(t, { routes: [echo] });
  const cases: [string, number, string, RegExp?][] = [
    ['{"name":"ok"}', 200, ''],
    ['{"name":"ok","cuont":1}', 400, 'unknown_field', /cuont: unknown field, did you mean "count"\?/],
    ['{"name":5}', 400, 'bad_value', /name: expected text/],
    ['{"name":"far too long a name"}', 400, 'bad_value', /name: /],
    ['[]', 400, 'bad_value'],
    ['null', 400, 'bad_value'],
    ['{"name":', 400, 'not_json'],
    [`{"name":"${'x'.repeat(70_000)}"}`, 413, 'body_too_large', /65536 bytes/],
    [`{"name":"a","deep":${'['.repeat(50_00)}${']'.repeat(50_00)}}`, 400, 'too_deep'],
    ['{"__proto__":{"admin":true},"name":"a"}', 400, 'unknown_field', /__proto__/],
    ['{"constructor":{"prototype":1},"name":"a"}', 400, 'unknown_field', /constructor/],
  ];
  for (const [body, status, code, words] of cases) {
    const answer = await post(url, body);
    assert.equal(answer.status, status, `${body.slice(0, 60)}: ${answer.detail}`);
    if (code) assert.equal(answer.code, code, body.slice(0, 60));
    if (words) assert.match(answer.detail, words);
  }
  assert.equal(
    (await post(url, 'name=a', { 'content-type': 'application/x-www-form-urlencoded' })).code,
    'wrong_content_type',
  );
  assert.equal((await post(url, '{"name":"a"}', { 'content-type': 'text/plain' })).status, 415);
  const latin = await fetch(`${url}/api/echo`, {
    method: 'POST',
    body: Buffer.from([0x22, 0xff, 0x22]),
    headers: JSON_TYPE,
  });
  assert.equal(((await latin.json()) as { code: string }).code, 'not_utf8');
  assert.equal(
    (await fetch(`${url}/api/echo?x=1`, { method: 'POST', body: '{"name":"a"}', headers: JSON_TYPE })).status,
    200,
  );
});

test('paths that are none, methods that are none, and answers that say which there are', async (t) => {
  const { port } = new URL((await serveApi(t, { routes: [echo, secret] })).url);
  const ask = (path: string, method = 'GET') =>
    new Promise<{ status: number; allow: string }>((resolve, reject) => {
      request({ port, path, method, agent: false }, (answer) => {
        answer.resume();
        resolve({ status: answer.statusCode!, allow: answer.headers.allow ?? '' });
      })
        .on('error', reject)
        .end();
    });
  for (const path of [
    '/api/../api/secret',
    '/api/%2e%2e/secret',
    '//api/secret',
    '/api/secret%2f',
    '/api/secret%00',
    '/api\\secret',
    '/%252e/',
  ]) {
    assert.ok([400, 404].includes((await ask(path)).status), path);
  }
  assert.equal((await ask(`/${'a'.repeat(5000)}`)).status, 414);
  assert.deepEqual(await ask('/api/secret', 'DELETE'), { status: 405, allow: 'HEAD, GET' });
  assert.deepEqual(await ask('/api/secret', 'OPTIONS'), { status: 405, allow: 'HEAD, GET' });
  assert.equal((await ask('/api/secret', 'HEAD')).status, 200);
  assert.equal((await ask('/API/secret')).status, 404);
});

test('who asks under a foreign name, or for a page of another site, gets nothing', async (t) => {
  const { url } = await serveApi(t, { routes: [echo, secret] });
  const { port, host } = new URL(url);
  const ask = (headers: Record<string, string>) =>
    new Promise<number>((resolve, reject) => {
      request({ port, path: '/api/secret', headers, agent: false }, (answer) => {
        answer.resume();
        resolve(answer.statusCode!);
      })
        .on('error', reject)
        .end();
    });
  for (const name of ['evil.example', `evil.example:${port}`, 'localhost.evil.example', '127.0.0.1.nip.io']) {
    assert.equal(await ask({ host: name }), 421, name);
  }
  for (const name of [host, `localhost:${port}`, `[::1]:${port}`]) assert.equal(await ask({ host: name }), 200, name);
  assert.equal(await ask({ host: 'box.example' }), 401, 'a name of the box, but nobody is local by that name');
  assert.equal(await ask({ host, 'x-forwarded-for': '203.0.113.9' }), 401, 'a proxy speaks for somebody else');
  const foreign: Record<string, string>[] = [
    { origin: 'https://evil.example' },
    { origin: 'null' },
    { origin: `http://localhost:${port}` },
    { 'sec-fetch-site': 'cross-site' },
    { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' },
  ];
  for (const headers of foreign) {
    assert.equal(await ask({ host, ...headers }), 403, JSON.stringify(headers));
  }
  assert.equal(await ask({ host, origin: url }), 200);
});

interface Tls {
  readonly url: string;
  readonly accounts: Accounts;
  readonly ask: (
    path: string,
    options?: { method?: string; headers?: Record<string, string>; body?: string },
  ) => Promise<{ status: number; text: string; cookie: string }>;
}

async function overTls(
  t: TestContext,
  routes: (accounts: Accounts) => Route[],
  clock = new ManualClock(),
): Promise<Tls> {
  const authority = makeCa({ cn: 'CA' });
  const leaf = makeLeaf(authority, { cn: 'localhost', sans: ['localhost', '127.0.0.1'] });
  const accounts = new Accounts({ memory: memoryOf(), clock, setupCode: new SetupCode(join(tempFolder(t), 'code')) });
  const place: Place = {
    kind: 'tls',
    host: '127.0.0.1',
    port: 0,
    keys: () => ({ certPem: leaf.certPem, keyPem: leaf.keyPem }),
  };
  const { url } = await serveApi(t, { routes: routes(accounts), accounts, clock, places: [{ place, from: [] }] });
  const { port } = new URL(url);
  return {
    url,
    accounts,
    ask: (path, { method = 'GET', headers = {}, body } = {}) =>
      new Promise((resolve, reject) => {
        const options = { port, host: '127.0.0.1', path, method, ca: authority.certPem, agent: false as const };
        tlsRequest({ ...options, headers: { ...(body ? JSON_TYPE : {}), 'x-real-ip': '1', ...headers } }, (answer) => {
          let text = '';
          answer.on('data', (chunk) => {
            text += chunk;
          });
          answer.on('end', () =>
            resolve({ status: answer.statusCode!, text, cookie: String(answer.headers['set-cookie'] ?? '') }),
          );
        })
          .on('error', reject)
          .end(body);
      }),
  };
}

test('a session’s cookie changes nothing without what only the page knows', async (t) => {
  const { accounts, ask } = await overTls(t, (one) => [echoAdmin, ...accessRoutes(one)]);
  const session = await accounts.setUp(accounts.setupCode!, 'admin', 'a long password', '10.0.0.1');
  const { csrf } = accounts.sessionHolder(session)!;
  const cookie = `other=1; ${SESSION_COOKIE}=${session}`;
  const body = '{"name":"a"}';
  const change = (headers: Record<string, string>) => ask('/api/admin', { method: 'POST', body, headers });
  assert.equal((await change({})).status, 401);
  assert.equal((await change({ cookie })).status, 403, 'no proof');
  assert.equal((await change({ cookie, [CSRF_HEADER]: 'x'.repeat(csrf.length) })).status, 403, 'a wrong one');
  assert.equal(
    (await change({ cookie, [CSRF_HEADER]: csrf, origin: 'https://evil.example' })).status,
    403,
    'another site',
  );
  assert.equal((await change({ cookie, [CSRF_HEADER]: csrf })).status, 200);
  assert.equal(
    (await change({ authorization: `Bearer ${session}` })).status,
    200,
    'a program sends no cookie by itself',
  );
  assert.match(sessionCookie('x'), /^__Host-.*; Secure; HttpOnly; SameSite=Strict$/);
  const out = await ask('/api/logout', { method: 'POST', headers: { cookie, [CSRF_HEADER]: csrf } });
  assert.equal(out.status, 204);
  assert.match(out.cookie, /Max-Age=0/);
  assert.equal((await change({ cookie, [CSRF_HEADER]: csrf })).status, 401, 'replayed after the end');
  assert.equal((await change({ authorization: `Bearer ${session}` })).status, 401);
});

const echoAdmin: Route = { ...echo, path: '/api/admin', role: 'admin' };

test('tokens have roles and an end; revoked, expired and made-up ones are nobody', async (t) => {
  const clock = new ManualClock();
  const { accounts, ask } = await overTls(t, () => [echoAdmin, secret], clock);
  const make = (role: 'viewer' | 'admin', days?: number) => accounts.createToken(role, { role, days, by: 'test' });
  const [viewer, admin, short] = [make('viewer'), make('admin'), make('viewer', 1)];
  const as = (token: string, path = '/api/secret', method = 'GET') =>
    ask(path, {
      method,
      headers: { authorization: `Bearer ${token}` },
      ...(method === 'POST' ? { body: '{"name":"a"}' } : {}),
    });
  assert.equal((await as(viewer.token)).status, 200);
  const denied = await as(viewer.token, '/api/admin', 'POST');
  assert.equal(denied.status, 403);
  assert.equal(JSON.parse(denied.text).code, 'role_too_low');
  assert.equal((await as(admin.token, '/api/admin', 'POST')).status, 200);
  assert.equal((await as(short.token)).status, 200);
  clock.advance(24 * 3_600_000);
  assert.equal((await as(short.token)).status, 401, 'expired');
  assert.equal(accounts.revokeToken(viewer.info.id), true);
  assert.equal((await as(viewer.token)).status, 401, 'revoked');
  assert.doesNotMatch(JSON.stringify(accounts.tokens()), new RegExp(admin.token.slice(-20)));
});

test('guessing: five wrong ones, then a wait that doubles, for that address alone', async (t) => {
  const clock = new ManualClock();
  const { accounts } = await overTls(t, () => [], clock);
  await accounts.setUp(accounts.setupCode!, 'admin', 'a long password', '10.0.0.1');
  assert.equal(accounts.setupCode, undefined);
  await assert.rejects(accounts.setUp('AAAA-AAAA-AAAA', 'x', 'a long password', '10.0.0.1'), {
    code: 'already_set_up',
  });
  for (let tries = 0; tries < FREE_TRIES; tries++) {
    await assert.rejects(accounts.login('admin', 'wrong', '10.0.0.9'), { code: 'wrong_login' });
  }
  await assert.rejects(accounts.login('admin', 'a long password', '10.0.0.9'), { code: 'too_many_tries' });
  await assert.rejects(accounts.login('nobody', 'wrong', '10.0.0.8'), { code: 'wrong_login' });
  assert.ok(await accounts.login('admin', 'a long password', '10.0.0.1'), 'the owner elsewhere');
  clock.advance(1_000);
  await assert.rejects(accounts.login('admin', 'wrong', '10.0.0.9'), { code: 'wrong_login' });
  clock.advance(1_000);
  await assert.rejects(accounts.login('admin', 'a long password', '10.0.0.9'), { code: 'too_many_tries' });
  clock.advance(1_000);
  assert.ok(await accounts.login('admin', 'a long password', '10.0.0.9'));
  for (const [v6, other] of [['2001:db8::1', '2001:db8:0:0:ffff::2']] as const) {
    for (let tries = 0; tries < FREE_TRIES; tries++) {
      await assert.rejects(accounts.login('admin', 'wrong', v6), { code: 'wrong_login' });
    }
    await assert.rejects(accounts.login('admin', 'wrong', other), { code: 'too_many_tries' }, 'the same /64');
  }
});

test('the setup code is this box’s alone, in a file of its own, and works once', async (t) => {
  const path = join(tempFolder(t), 'setup-code');
  const first = new SetupCode(path);
  const code = first.open();
  assert.match(code, /^[2-9A-Z]{4}-[2-9A-Z]{4}-[2-9A-Z]{4}$/);
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.equal(new SetupCode(path).open(), code, 'outlasts a restart');
  assert.notEqual(new SetupCode(`${path}2`).open(), code);
  assert.ok(first.matches(code.toLowerCase().replaceAll('-', ' ')));
  writeFileSync(path, 'garbage');
  assert.match(new SetupCode(path).open(), /^[2-9A-Z]{4}-/);
  first.end();
  assert.equal(statSync(path, { throwIfNoEntry: false }), undefined);
});

test('a source has so many connections and no more; others still get in', async (t) => {
  const { url, server } = await serveApi(t, { routes: [secret] });
  const port = Number(new URL(url).port);
  const open: Socket[] = [];
  t.after(() => {
    for (const socket of open) socket.destroy();
  });
  for (let index = 0; index < MAX_CONNECTIONS_EACH; index++) {
    const socket = connect({ port, host: '127.0.0.1', localAddress: '127.0.0.2' });
    socket.on('error', () => {});
    open.push(socket);
    await once(socket, 'connect');
  }
  const more = connect({ port, host: '127.0.0.1', localAddress: '127.0.0.2' });
  more.on('error', () => {});
  await once(more, 'close');
  assert.equal((await fetch(`${url}/api/secret`)).status, 200, 'from another address');
  assert.equal(server.counters.refused.source_limit, 1);
});

test('only listed source addresses may connect', async (t) => {
  const place: Place = { kind: 'plain', host: '127.0.0.1', port: 0 };
  const { url, server } = await serveApi(t, {
    routes: [secret],
    places: [{ place, from: ['127.0.0.2/32', 'fd00::/8'] }],
  });
  await assert.rejects(fetch(`${url}/api/secret`));
  const { port } = new URL(url);
  const [answer] = await once(
    request({ port, host: '127.0.0.1', localAddress: '127.0.0.2', path: '/api/secret', agent: false }).end(),
    'response',
  );
  assert.equal(answer.statusCode, 200);
  answer.resume();
  assert.ok(server.counters.refused.address_not_allowed! >= 1);
});

test('headers and bodies that never end are cut off, and named', async (t) => {
  const { url, server } = await serveApi(t, { routes: [echo], requestTimeoutMs: 300 });
  const port = Number(new URL(url).port);
  for (const begin of [
    'POST /api/echo HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"na',
    'GET /api/echo HTTP/1.1\r\nhost: localhost\r\nx-slow: ',
  ]) {
    const socket = connect(port, '127.0.0.1');
    let answer = '';
    socket.on('data', (chunk) => {
      answer += chunk;
    });
    socket.on('error', () => {});
    socket.write(begin);
    const drip = setInterval(() => socket.write('a'), 50);
    await once(socket, 'close');
    clearInterval(drip);
    assert.match(answer, /^HTTP\/1\.1 408 /);
  }
  assert.equal(server.counters.refused.request_timeout, 2);
});

test('a refusal is read, also by whoever is still sending the body that it refuses', async (t) => {
  const { url } = await serveApi(t, { routes: [echo] });
  const body = Buffer.alloc(4_000_000, 'a');
  for (let round = 0; round < 5; round++) {
    const socket = connect(Number(new URL(url).port), '127.0.0.1');
    socket.on('error', () => {});
    socket.write(
      `POST /api/echo HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n`,
    );
    // As curl and phones do: first everything is said, then the answer is looked at.
    await new Promise((sent) => socket.write(body, sent));
    const [answer = ''] = await Promise.race([once(socket, 'data'), once(socket, 'close').then(() => [])]);
    assert.match(String(answer), /^HTTP\/1\.1 413 .*body_too_large/s);
    socket.destroy();
  }
});

test('who is refused over a file, and hangs up amid it, leaves nothing behind that breaks', async (t) => {
  const refusing: Route = route({
    method: 'POST',
    path: '/api/file',
    role: 'public',
    tag: 'Test',
    summary: 'Takes no file',
    bodyKind: 'file',
    handle: () => {
      throw new Refusal(403, 'not_you', 'no file of yours');
    },
  });
  const { url } = await serveApi(t, { routes: [refusing, echo] });
  const part = '--b\r\ncontent-disposition: form-data; name="file"; filename="f"\r\n\r\n';
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  socket.on('error', () => {});
  socket.write(
    `POST /api/file HTTP/1.1\r\nhost: localhost\r\ncontent-type: multipart/form-data; boundary=b\r\ncontent-length: 900000\r\n\r\n${part}${'a'.repeat(200_000)}`,
  );
  const [answer] = await once(socket, 'data');
  assert.match(String(answer), /^HTTP\/1\.1 403 .*not_you/s);
  socket.destroy();
  await once(socket, 'close');
  assert.equal((await post(url, '{"name":"ok"}')).status, 200);
  assert.equal((await post(url, '{"name":"ok"}')).status, 200);
});

test('a watcher that talks, or asks for nonsense, is sent away; filters hold', async (t) => {
  const { url, server } = await serveApi(t, { routes: [] });
  const host = url.replace('http', 'ws');
  const flood = new WebSocket(`${host}/api/events`);
  flood.on('error', () => {});
  await once(flood, 'open');
  for (let count = 0; count < 50; count++) flood.send('hello');
  const [code] = await once(flood, 'close');
  assert.equal(code, 1008);
  assert.equal(server.counters.refused.talking_watcher, 1);
  const odd = new WebSocket(`${host}/api/events?tpye=a-`);
  const [, response] = await once(odd, 'unexpected-response');
  assert.equal(response.statusCode, 400);
  odd.on('error', () => {});
  odd.terminate();
});

test('an open page that talks, or asks for nonsense, is sent away', async (t) => {
  const clock = new ManualClock();
  const pages = new LivePages((cells) => cells.section('main', () => html`<main id="main"></main>`), clock);
  const { url, server } = await serveApi(t, {
    openPage: (socket, _, opening) => pages.add(socket, opening),
  });
  const host = url.replace('http', 'ws');
  const flood = new WebSocket(`${host}/api/page?at=${'x'.repeat(32)}`);
  flood.on('error', () => {});
  await once(flood, 'open');
  assert.equal(pages.count, 1);
  for (let count = 0; count < 50; count++) flood.send('hello');
  const [code] = await once(flood, 'close');
  assert.equal(code, 1008);
  assert.ok(server.counters.refused.talking_watcher! >= 1);
  while (pages.count > 0) await sleep(5);
  for (const query of ['?at=1&more=2', `?at=${'x'.repeat(33)}`, '?gzip=2']) {
    const odd = new WebSocket(`${host}/api/page${query}`);
    odd.on('error', () => {});
    const [, response] = await once(odd, 'unexpected-response');
    assert.equal(response.statusCode, 400, query);
    odd.terminate();
  }
  assert.equal(pages.count, 0);
});

test('the socket is for its owner; a second relay on it is refused, a dead one’s is taken over', async (t) => {
  const path = join(tempFolder(t), 'api.sock');
  const places = [{ place: { kind: 'socket', path } as const, from: [] }];
  const dead = createServer().listen(path);
  await once(dead, 'listening');
  // As after a kill: the file stays, nobody listens.
  const { accounts, stop, running } = await (async () => {
    dead.close();
    writeFileSync(path, '');
    return serveApi(t, { routes: [echoAdmin], places });
  })();
  assert.equal(statSync(path).mode & 0o777, 0o600);
  const outgoing = request({ socketPath: path, path: '/api/admin', method: 'POST', headers: JSON_TYPE });
  const [answer] = await once(outgoing.end('{"name":"a"}'), 'response');
  assert.equal(answer.statusCode, 200, 'who may open it is the owner');
  answer.resume();
  await assert.rejects(serveApi(t, { routes: [], places, accounts }), { code: 'already_running' });
  stop.abort();
  await running;
});

test('over plain HTTP from elsewhere nothing is said that is not for everybody', () => {
  const box = new Box('a');
  const text = JSON.stringify(publicStatus({ ...box.snapshot(), caFingerprint: '', federationFingerprint: '' }));
  assert.doesNotMatch(text, /SECRET/);
});

test('not ready names what is down, in words only for those who may see them', async (t) => {
  const box = new Box('a');
  const { url } = await serveApi(t, { routes: statusRoutes({ snapshot: () => box.snapshot(), metrics: () => '' }) });
  const response = await fetch(`${url}/readyz`);
  assert.equal(response.status, 503);
  assert.deepEqual(await response.json(), {
    status: 'not_ready',
    down: [{ link: 'portal', state: 'waiting', words: 'SECRET', fix: 'SECRET' }],
  });
  const proxied = await fetch(`${url}/readyz`, { headers: { 'x-forwarded-for': '10.0.0.1' } });
  assert.doesNotMatch(await proxied.text(), /SECRET/);
});

test('ten thousand connections from everywhere: so many are kept, the rest is turned away and counted, and it recovers', async (t) => {
  const { url, server } = await serveApi(t, {
    routes: statusRoutes({ snapshot: () => new Box('box').snapshot(), metrics: () => '' }),
  });
  const { port } = new URL(url);
  const open: Socket[] = [];
  t.after(() => {
    for (const socket of open) socket.destroy();
  });
  // On a slow machine some of those that got in have said nothing for too long before the last has knocked.
  const turnedAway = () => Object.values(server.counters.refused).reduce((sum, count) => sum + count, 0);
  for (let batch = 0; batch < 10; batch++) {
    const sockets = Array.from({ length: 1_000 }, (_, each) =>
      connect({ host: '127.0.0.1', port: Number(port), localAddress: `127.0.0.${2 + (each % 200)}` }),
    );
    for (const socket of sockets) socket.on('error', () => {}).resume();
    await Promise.all(sockets.map((socket) => Promise.race([once(socket, 'connect'), once(socket, 'close')])));
    open.push(...sockets);
    while (open.filter(({ destroyed }) => !destroyed).length > MAX_CONNECTIONS) await sleep(5);
  }
  assert.ok(open.filter(({ destroyed }) => !destroyed).length <= MAX_CONNECTIONS);
  assert.equal(turnedAway() + open.filter(({ destroyed }) => !destroyed).length, 10_000);
  for (const socket of open) socket.destroy();
  while (
    !(await fetch(`${url}/healthz`).then(
      ({ ok }) => ok,
      () => false,
    ))
  )
    await sleep(20);
});
