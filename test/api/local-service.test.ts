// The HTTP service behind a configured path: what it is asked, and what it may answer.
import assert from 'node:assert/strict';
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import { type AddressInfo, createServer as createTcpServer, type Server } from 'node:net';
import { type TestContext, test } from 'node:test';
import { MAX_ANSWER_BYTES } from '../../src/api/exchange.ts';
import { askService, SERVICE_TIMEOUT_MS } from '../../src/api/local-service.ts';
import { ManualClock, systemClock } from '../../src/lib/clock.ts';
import { Box, jsonOf } from './boxes.ts';

async function listen(t: TestContext, server: Server): Promise<number> {
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  t.after(() => server.close());
  return (server.address() as AddressInfo).port;
}

async function serve(t: TestContext, listener: RequestListener): Promise<number> {
  const server = createServer(listener);
  t.after(() => server.closeAllConnections());
  return listen(t, server);
}

/** A box whose /iot is a service that says what it was asked. */
async function echo(t: TestContext, base = '/api') {
  const port = await serve(t, async (request: IncomingMessage, response: ServerResponse) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    response.setHeader('content-type', 'application/json');
    response.setHeader('set-cookie', 'secret=1');
    response.setHeader('x-powered-by', 'echo');
    response.setHeader('etag', '"1"');
    const { method, url, headers } = request;
    response.end(JSON.stringify({ method, url, headers, body: Buffer.concat(chunks).toString() }));
  });
  const box = new Box('box');
  const methods = ['GET', 'PUT', 'POST'];
  box.entries = [{ path: '/iot', to: { host: '127.0.0.1', port, base }, methods, peers: ['asker'] }];
  return box;
}

test('path, query, method, body and plain headers reach the service; names and credentials do not', async (t) => {
  const box = await echo(t);
  const headers = {
    accept: 'text/plain',
    'content-type': 'application/json',
    'if-none-match': '"1"',
    cookie: 'a=b',
    authorization: 'Basic eDp5',
    host: 'evil.example',
    'x-forwarded-for': '1.2.3.4',
    'x-waystation-from': '',
    'transfer-encoding': 'chunked',
    'accept-language': 'de\r\nx: y',
  };
  const body = Buffer.from('{"on":true}');
  const response = await box.ask('PUT', '/iot/lamp%201/?x=%2F..&y', { headers, body });
  assert.equal(response.status, 200);
  assert.deepEqual(response.headers, { 'content-type': 'application/json', etag: '"1"' });
  const asked = jsonOf(response);
  assert.equal(asked.method, 'PUT');
  assert.equal(asked.url, '/api/lamp%201/?x=%2F..&y');
  assert.equal(asked.body, '{"on":true}');
  assert.deepEqual(Object.keys(asked.headers).sort(), [
    'accept',
    'connection',
    'content-length',
    'content-type',
    'host',
    'if-none-match',
    'user-agent',
  ]);
  assert.match(asked.headers.host, /^127\.0\.0\.1:/);
});

test('the service is reached at its base and below, never beside it', async (t) => {
  const box = await echo(t);
  assert.equal(jsonOf(await box.ask('GET', '/iot')).url, '/api');
  assert.equal(jsonOf(await box.ask('GET', '/iot/')).url, '/api/');
  assert.equal(jsonOf(await box.ask('GET', '/iot?a')).url, '/api?a');
  for (const path of [
    '/iot/../admin',
    '/iot/..%2fadmin',
    '/iot/%2e%2e/admin',
    '/iot/..;/admin',
    '/iot/a/%252e%252e/b',
  ]) {
    assert.equal((await box.ask('GET', path)).status, 400, path);
  }
  const bare = await echo(t, '');
  assert.equal(jsonOf(await bare.ask('GET', '/iot')).url, '/');
  assert.equal(jsonOf(await bare.ask('GET', '/iot/x')).url, '/x');
});

test('what is not under the base after all is not asked, even if the path got here', async () => {
  const service = { host: '127.0.0.1', port: 1, base: '/api' };
  const patience = { clock: systemClock, signal: new AbortController().signal };
  for (const rest of ['/../admin', '/%2e%2e/admin', '-admin', '/..']) {
    const ask = { method: 'GET', headers: {}, body: Buffer.alloc(0), rest, query: '' };
    assert.equal((await askService(service, ask, patience)).status, 400, rest);
  }
});

async function answering(t: TestContext, listener: RequestListener): Promise<Box> {
  const port = await serve(t, listener);
  const box = new Box('box');
  box.entries = [{ path: '/x', to: { host: '127.0.0.1', port, base: '' }, methods: ['GET'], peers: ['*'] }];
  return box;
}

test('a redirect is not followed, nor handed on', async (t) => {
  let asked = 0;
  const box = await answering(t, (_, response) => {
    asked++;
    response.writeHead(302, { location: 'http://127.0.0.1:1/secret' }).end();
  });
  const response = await box.ask('GET', '/x');
  assert.equal(response.status, 502);
  assert.equal(jsonOf(response).code, 'service_redirects');
  assert.doesNotMatch(JSON.stringify(response), /secret/);
  assert.equal(asked, 1);
});

test('an answer that is too large is cut off, whether it says so or not', async (t) => {
  let sent = 0;
  const honest = await answering(t, (_, response) => {
    response.writeHead(200, { 'content-length': 100 << 20 });
    response.write('x');
  });
  const endless = await answering(t, (_, response) => {
    const chunk = Buffer.alloc(65_536);
    const more = () => {
      while (!response.destroyed && sent < 100 << 20) {
        sent += chunk.length;
        if (!response.write(chunk)) return;
      }
    };
    response.on('drain', more);
    more();
  });
  for (const box of [honest, endless]) {
    const response = await box.ask('GET', '/x');
    assert.equal(response.status, 502);
    assert.equal(jsonOf(response).code, 'answer_too_large');
  }
  await new Promise((done) => setTimeout(done, 50));
  assert.ok(sent < 50 << 20, 'the service was told to stop');
  const most = await answering(t, (_, response) => response.end(Buffer.alloc(MAX_ANSWER_BYTES)));
  assert.equal((await most.ask('GET', '/x')).body.length, MAX_ANSWER_BYTES);
});

test('a service that hangs up, speaks no HTTP or is not there is named without its address', async (t) => {
  const hangsUp = await listen(
    t,
    createTcpServer((socket) => socket.once('data', () => socket.destroy())),
  );
  const halfway = await listen(
    t,
    createTcpServer((socket) =>
      socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc')),
    ),
  );
  const noHttp = await listen(
    t,
    createTcpServer((socket) => socket.end('SSH-2.0-OpenSSH_9.2\r\n')),
  );
  const upgrades = await listen(
    t,
    createTcpServer((socket) =>
      socket.once('data', () => socket.write('HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n')),
    ),
  );
  for (const port of [hangsUp, halfway, noHttp, upgrades, 1]) {
    const box = new Box('box');
    box.entries = [{ path: '/x', to: { host: '127.0.0.1', port, base: '' }, methods: ['GET'], peers: ['*'] }];
    const response = await box.ask('GET', '/x');
    assert.equal(response.status, 502, response.body.toString());
    assert.doesNotMatch(response.body.toString(), /127\.0\.0\.1/);
  }
});

test('a service that never answers, or never finishes, is given up', async (t) => {
  const asked: (() => void)[] = [];
  const port = await serve(t, (request, response) => {
    if (request.url === '/slow') response.write('it begins');
    asked.shift()!();
  });
  const clock = new ManualClock();
  for (const rest of ['/never', '/slow']) {
    const begun = new Promise<void>((done) => asked.push(done));
    const ask = { method: 'GET', headers: {}, body: Buffer.alloc(0), rest, query: '' };
    const answer = askService({ host: '127.0.0.1', port, base: '' }, ask, {
      clock,
      signal: new AbortController().signal,
    });
    await begun;
    clock.advance(SERVICE_TIMEOUT_MS);
    assert.equal((await answer).status, 504, rest);
  }
});

test('when nobody waits any more the service is let go', async (t) => {
  const gone = Promise.withResolvers<void>();
  const stop = new AbortController();
  const port = await serve(t, (request) => {
    request.on('close', () => gone.resolve());
    stop.abort();
  });
  const ask = { method: 'GET', headers: {}, body: Buffer.alloc(0), rest: '', query: '' };
  const service = { host: '127.0.0.1', port, base: '' };
  const answer = await askService(service, ask, { clock: systemClock, signal: stop.signal });
  assert.equal(answer.status, 504);
  await gone.promise;
  assert.equal((await askService(service, ask, { clock: systemClock, signal: stop.signal })).status, 504);
});
