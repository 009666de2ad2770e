// The API's routes to other relays, over HTTP: paths as on the peer, hostile input, and what pages of other sites cannot do.
import assert from 'node:assert/strict';
import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { type TestContext, test } from 'node:test';
import { CALL_TIMEOUT_MS, callWithin, MAX_ANSWER_BYTES, MAX_BODY_BYTES } from '../../src/api/exchange.ts';
import { Nodes } from '../../src/api/nodes.ts';
import type { NodePeer, NodeRequest, NodeResponse, NodeService } from '../../src/core/node.ts';
import { ManualClock, systemClock } from '../../src/lib/clock.ts';
import { inbound, position } from '../core/support.ts';
import { OPERATOR } from './api-server.ts';
import { Box, join } from './boxes.ts';

const OURS = OPERATOR;

async function pair(t: TestContext) {
  const [a, b] = [new Box('a'), new Box('b')];
  const wires = join(a, b);
  return { a, b, api: await a.serve(t), ...wires };
}

/** Like fetch, but sends the path as it is. */
function raw(
  api: string,
  path: string,
  headers: Record<string, string> = {},
  method = 'GET',
): Promise<{ status: number; body: string }> {
  const { hostname, port } = new URL(api);
  return new Promise((resolve, reject) => {
    const outgoing = httpRequest({ hostname, port, path, method, headers, agent: false }, (incoming) => {
      let body = '';
      incoming.on('data', (chunk) => {
        body += chunk;
      });
      incoming.on('end', () => resolve({ status: incoming.statusCode!, body }));
    });
    outgoing.on('error', reject);
    outgoing.end();
  });
}

test('/api/node/PEER/... is /... on the peer', async (t) => {
  const { api, b } = await pair(t);
  const health = await fetch(`${api}/api/node/b/health`);
  assert.equal(health.status, 200);
  assert.equal(((await health.json()) as { name: string }).name, 'b');
  for (const path of ['/api/node/b', '/api/node/b/']) {
    const list = (await (await fetch(api + path)).json()) as { resources: unknown[] };
    assert.equal(list.resources.length, 5);
  }
  const head = await fetch(`${api}/api/node/b/status`, { method: 'HEAD' });
  assert.equal(head.status, 200);
  assert.equal(await head.text(), '');
  const missing = await fetch(`${api}/api/node/b/nothing`);
  assert.equal(missing.status, 404);
  assert.equal(missing.headers.get('content-type'), 'application/problem+json');
  b.entries = [{ path: '/status', methods: ['GET'], peers: ['somebody'] }];
  assert.equal((await fetch(`${api}/api/node/b/status`)).status, 403);
  const unknown = await fetch(`${api}/api/node/nobody/health`);
  assert.equal(unknown.status, 404);
  assert.match(await unknown.text(), /no peer is called .*nobody.*there is b/);
});

test('peers and units of our own', async (t) => {
  const { a, api } = await pair(t);
  const timeMs = Date.now();
  a.phone('alpha').port.deliver(inbound(position('alpha', { timeMs, staleMs: timeMs + 60_000 })));
  const node = (await (await fetch(`${api}/api/node`)).json()) as { name: string; peers: NodePeer[] };
  assert.equal(node.name, 'a');
  assert.deepEqual(
    node.peers.map(({ name, status, latencyMs }) => [name, status, latencyMs]),
    [['b', 'connected', 4]],
  );
  const units = (await (await fetch(`${api}/api/units?q=ALP&limit=10`)).json()) as { total: number };
  assert.equal(units.total, 1);
  assert.equal((await fetch(`${api}/api/units/alpha`)).status, 404);
  assert.equal((await fetch(`${api}/api/units`, { method: 'DELETE', headers: OURS })).status, 405);
});

test('writing needs a login; methods and bodies go through as they are', async (t) => {
  const { api, ab } = await pair(t);
  let seen: NodeRequest | undefined;
  ab.answer = async (request) => {
    seen = request;
    return {
      status: 201,
      headers: { 'content-type': 'text/html', 'set-cookie': 'a=b', location: 'x' },
      body: Buffer.from('<b>'),
    };
  };
  const body = '{"on":true}';
  for (const method of ['PUT', 'POST', 'DELETE', 'PATCH']) {
    assert.equal((await fetch(`${api}/api/node/b/iot/x?y=1`, { method, body })).status, 401, method);
    assert.equal(seen, undefined);
  }
  const headers = { ...OURS, 'content-type': 'application/json', cookie: 'a=b', 'x-waystation-from': 'forged' };
  const response = await fetch(`${api}/api/node/b/iot/x?y=1`, { method: 'PUT', body, headers });
  assert.equal(response.status, 201);
  assert.equal(
    response.headers.get('content-security-policy'),
    "default-src 'none'; sandbox",
    'a peer’s page runs nothing',
  );
  assert.equal(response.headers.get('x-content-type-options'), 'nosniff');
  assert.equal(response.headers.get('set-cookie'), null);
  assert.equal(response.headers.get('location'), null);
  assert.deepEqual(
    { ...seen, body: seen!.body.toString() },
    {
      method: 'PUT',
      path: '/iot/x?y=1',
      headers: { accept: '*/*', 'accept-language': '*', 'content-type': 'application/json' },
      body,
      hops: 0,
    },
  );
  assert.equal((await raw(api, '/api/node/b/x', OURS, 'OPTIONS')).status, 405, 'no preflight is ever answered');
});

test('pages of other sites get nothing, not even an image', async (t) => {
  const { api, ab } = await pair(t);
  let asked = 0;
  ab.answer = async () => {
    asked++;
    return { status: 200, headers: {}, body: Buffer.alloc(0) };
  };
  for (const headers of [
    { origin: 'https://evil.example' },
    { origin: 'null' },
    { 'sec-fetch-site': 'cross-site' },
    { 'sec-fetch-site': 'same-site' },
    { host: 'evil.example' },
  ] as Record<string, string>[]) {
    const { status } = await raw(api, '/api/node/b/iot/on', { ...OURS, ...headers });
    assert.ok(status === 403 || status === 421, JSON.stringify(headers));
  }
  assert.equal(asked, 0);
  assert.equal((await raw(api, '/api/node/b/x', { origin: api, 'sec-fetch-site': 'same-origin' })).status, 200);
  assert.equal((await raw(api, '/api/node/b/x', { 'sec-fetch-site': 'none' })).status, 200);
});

test('paths that are none never leave this box', async (t) => {
  const { api, ab } = await pair(t);
  const paths: string[] = [];
  ab.answer = async ({ path }) => {
    paths.push(path);
    return { status: 200, headers: {}, body: Buffer.alloc(0) };
  };
  for (const path of [
    '/api/node/b/../../status',
    '/api/node/../node/b/health',
    '/api/node/b/%2e%2e/x',
    '/api/node/b//x',
    '/api/node//health',
    '/api/node/b/x%2fy',
    '/api/node/b/x%00',
    '/api/node/b/x\\y',
    '/api/node/b/x%252f',
    '/api/node/%2e%2e/x',
  ]) {
    assert.equal((await raw(api, path)).status, 400, path);
  }
  assert.equal((await raw(api, `/api/node/b/${'a'.repeat(4000)}`)).status, 414);
  const huge = await raw(api, `/api/node/b/${'a'.repeat(1 << 20)}`).then(
    ({ status }) => status,
    () => 431,
  );
  assert.equal(huge, 431);
  assert.deepEqual(paths, []);
  await raw(api, '/api/node/b/a%20b/?c=d%2F');
  assert.deepEqual(paths, ['/a%20b/?c=d%2F']);
});

test('a body has an end', async (t) => {
  const { api } = await pair(t);
  const { hostname, port } = new URL(api);
  const socket = connect(Number(port), hostname);
  t.after(() => socket.destroy());
  let answer = '';
  socket.on('data', (chunk) => {
    answer += chunk;
  });
  socket.on('error', () => {});
  const closed = new Promise((done) => socket.once('close', done));
  socket.write(
    `PUT /api/node/b/iot HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: ${OPERATOR.authorization}\r\ntransfer-encoding: chunked\r\n\r\n`,
  );
  const piece = `10000\r\n${'x'.repeat(65_536)}\r\n`;
  for (let sent = 0; sent <= MAX_BODY_BYTES * 2 && !socket.destroyed; sent += 65_536) {
    if (!socket.write(piece)) await Promise.race([new Promise((done) => socket.once('drain', done)), closed]);
  }
  await closed;
  assert.match(answer, /^HTTP\/1\.1 413 /);
});

test('a peer that answers nonsense is 502, one that never does is 504', async (t) => {
  const { api, ab } = await pair(t);
  const answers: NodeResponse[] = [
    { status: 99, headers: {}, body: Buffer.alloc(0) },
    { status: 101, headers: {}, body: Buffer.alloc(0) },
    { status: 1e9, headers: {}, body: Buffer.alloc(0) },
    { status: 200, headers: {}, body: Buffer.alloc(MAX_ANSWER_BYTES + 1) },
  ];
  for (const answer of answers) {
    ab.answer = async () => answer;
    assert.equal((await fetch(`${api}/api/node/b/x`)).status, 502, `${answer.status}`);
  }
  ab.answer = async () => ({
    status: 200,
    headers: { 'content-type': 'a\r\nb: c', etag: 'x'.repeat(5000) },
    body: Buffer.from('y'),
  });
  const response = await fetch(`${api}/api/node/b/x`);
  assert.equal(response.headers.get('content-type'), 'application/octet-stream');
  assert.equal(response.headers.get('etag'), null);
  ab.answer = () => Promise.reject(new Error('SECRET'));
  const failed = await fetch(`${api}/api/node/b/x`);
  assert.equal(failed.status, 502);
  assert.doesNotMatch(await failed.text(), /SECRET/);

  const clock = new ManualClock();
  const silent = { call: () => new Promise<never>(() => {}) };
  const request = { method: 'GET', path: '/', headers: {}, body: Buffer.alloc(0), hops: 0 };
  const never = new AbortController();
  const late = callWithin(silent, 'b', request, { ms: CALL_TIMEOUT_MS, clock, signal: never.signal });
  clock.advance(CALL_TIMEOUT_MS);
  assert.equal((await late).status, 504);
  never.abort();
  assert.equal(
    (await callWithin(silent, 'b', request, { ms: 1, clock: systemClock, signal: never.signal })).status,
    504,
  );
});

test('when the client goes, the peer is told', async (t) => {
  const { a, api } = await pair(t);
  const gone = Promise.withResolvers<void>();
  const begun = Promise.withResolvers<void>();
  const slow = { ...a.nodes.peers()[0]!, name: 'slow' };
  const service: NodeService = {
    peers: () => [slow],
    call: (_, __, signal) =>
      new Promise(() => {
        signal.addEventListener('abort', () => gone.resolve());
        begun.resolve();
      }),
  };
  a.nodes.provide('other', service);
  const stop = new AbortController();
  const asking = fetch(`${api}/api/node/slow/x`, { signal: stop.signal }).catch(() => {});
  await begun.promise;
  stop.abort();
  await Promise.all([gone.promise, asking]);
});

test('of two links that know a name the connected one is asked; a withdrawn one no more', async () => {
  const nodes = new Nodes();
  const peer = (status: NodePeer['status']): NodePeer => ({
    name: 'b',
    host: '',
    port: 0,
    via: '',
    status,
    latencyMs: null,
    lastContactMs: null,
    messagesSent: 0,
    messagesReceived: 0,
  });
  const service = (status: NodePeer['status'], code: number): NodeService => ({
    peers: () => [peer(status)],
    call: async () => ({ status: code, headers: {}, body: Buffer.alloc(0) }),
  });
  const request = { method: 'GET', path: '/', headers: {}, body: Buffer.alloc(0), hops: 0 };
  const ask = async () => (await nodes.call('b', request, new AbortController().signal)).status;
  assert.equal(await ask(), 404);
  nodes.provide('one', service('disconnected', 201));
  assert.equal(await ask(), 201);
  const old = nodes.provide('two', service('connected', 202));
  assert.equal(await ask(), 202);
  const withdraw = nodes.provide('two', service('connected', 203));
  old();
  assert.equal(await ask(), 203, 'an old run ends after the new one began');
  withdraw();
  assert.equal(await ask(), 201);
});
