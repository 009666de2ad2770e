// The server under rude clients: nothing a local program does over HTTP harms the relay.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { type TestContext, test } from 'node:test';
import { WebSocket } from 'ws';
import { type StatusDeps, statusRoutes } from '../../src/api/routes/status.ts';
import type { ApiOptions } from '../../src/api/server.ts';
import type { Envelope } from '../../src/core/message.ts';
import type { RelayStatus } from '../../src/core/status.ts';
import { chat, inbound, START_MS } from '../core/support.ts';
import { envelope } from '../links/memory.ts';
import { serveApi } from './api-server.ts';

/** A server with what it is given; `tell` shows an event to the watchers. */
async function serve(
  t: TestContext,
  { snapshot = () => ({}) as RelayStatus, ...options }: Partial<ApiOptions & StatusDeps> = {},
) {
  const taps = new Set<(envelope: Envelope) => void>();
  const { url, stop, running, server } = await serveApi(t, {
    routes: statusRoutes({ snapshot, metrics: () => 'waystation_up 1\n' }),
    tap(listener) {
      taps.add(listener);
      return () => taps.delete(listener);
    },
    ...options,
  });
  const host = url.slice('http://'.length);
  const tell = (uid: string, type = 'b-t-f') => {
    const { message, wire } = inbound(chat(uid, { timeMs: START_MS, type }));
    for (const tap of [...taps]) tap(envelope(message, { wire }));
  };
  return { host, port: Number(host.split(':')[1]), tell, taps, stop, running, server };
}

interface WatchOptions {
  readonly origin?: string;
  readonly headers?: Record<string, string>;
}

async function watch(t: TestContext, host: string, options: WatchOptions = {}) {
  const socket = new WebSocket(`ws://${host}/api/events`, options);
  t.after(() => socket.terminate());
  socket.on('error', () => {});
  await new Promise((settled) => socket.on('open', settled).on('close', settled));
  return socket;
}

const UPGRADE = 'Host: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n';

test('who asks for no WebSocket of ours is refused, cut off, and may reset the connection at any time', async (t) => {
  const { port, host } = await serve(t);
  for (let round = 0; round < 20; round++) {
    const rude = connect(port, '127.0.0.1');
    await once(rude, 'connect');
    rude.write(`GET /elsewhere HTTP/1.1\r\n${UPGRADE}\r\n`);
    if (round % 2 === 0) await once(rude, 'data');
    rude.resetAndDestroy();
  }
  const patient = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  patient.write(`GET /elsewhere HTTP/1.1\r\n${UPGRADE}\r\n`);
  patient.resume();
  await once(patient, 'end');
  patient.on('error', () => {});
  const talk = setInterval(() => patient.write('still here'), 10); // answered by a reset, if nobody is there any more
  await new Promise((closed) => patient.on('close', closed));
  clearInterval(talk);
  assert.equal((await fetch(`http://${host}/healthz`)).status, 200);
});

test('a message that cannot be shown is left out: who sent it and who watches notice nothing', async (t) => {
  const { host, tell } = await serve(t, {
    toXml({ message }) {
      if (message.kind === 'event' && message.event.uid === 'odd') throw new TypeError('cannot be said in XML');
      return '<event/>';
    },
  });
  const watcher = await watch(t, host);
  const seen: string[] = [];
  watcher.on('message', (data) => seen.push((JSON.parse(String(data)) as { uid: string }).uid));
  tell('before');
  tell('odd');
  tell('after');
  while (seen.length < 2) await once(watcher, 'message');
  assert.deepEqual(seen, ['before', 'after']);
});

test('a status that cannot be made is an answer, not the end', async (t) => {
  const { host } = await serve(t, {
    snapshot() {
      throw new Error('a fault');
    },
  });
  const response = await fetch(`http://${host}/api/status`);
  assert.equal(response.status, 500);
  assert.equal(((await response.json()) as { code: string }).code, 'internal_error');
  assert.equal((await fetch(`http://${host}/healthz`)).status, 200);
});

test('pages of other sites, of other ports of this box, and names of other hosts see no events', async (t) => {
  const { host, port } = await serve(t);
  const refused: WatchOptions[] = [
    { origin: 'https://example.org' },
    { origin: 'null' },
    { origin: 'http://localhost:1', headers: { 'sec-fetch-site': 'same-site' } },
    { headers: { host: `rebound.example:${port}` } },
  ];
  for (const options of refused) {
    const socket = await watch(t, host, options);
    assert.notEqual(socket.readyState, WebSocket.OPEN, JSON.stringify(options));
  }
  const own = await watch(t, host, { origin: `http://${host}`, headers: { 'sec-fetch-site': 'same-origin' } });
  assert.equal(own.readyState, WebSocket.OPEN);
});

test('watchers are limited, a slow one is cut off, and none holds a server that stops', async (t) => {
  const { host, tell, taps, stop, running } = await serve(t, { toXml: () => 'x'.repeat(200_000) });
  const watchers = await Promise.all(Array.from({ length: 16 }, () => watch(t, host)));
  assert.notEqual((await watch(t, host)).readyState, WebSocket.OPEN);
  for (const watcher of watchers) watcher.pause();
  for (let round = 0; round < 500 && taps.size > 0; round++) {
    tell(`m${round}`);
    await new Promise((done) => setImmediate(done));
  }
  assert.equal(taps.size, 0, 'nothing more is kept for them');
  stop.abort();
  await running;
});
