// Whatever comes: refused in words, counted, bounded; and the next honest peer is served.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import { jsonResponse, type NodeRequest, type NodeResponse } from '../../../src/core/node.ts';
import { ManualClock } from '../../../src/lib/clock.ts';
import { MAX_UNPROVEN } from '../../../src/links/portal/limits.ts';
import { atakSa } from '../../fixtures/events.ts';
import {
  AUTH_CHALLENGE,
  AUTH_RESPONSE,
  answerTo,
  dialPlain,
  dialRelay,
  EVENT,
  fieldsOf,
  frame,
  PING,
  PONG,
  proto,
  REQUEST,
  RESPONSE,
  type TablePeer,
  TableServer,
} from '../../support/peers/portal/peer.ts';
import { sampleEvent } from '../contract.ts';
import { type RunningLink, type RunOptions, until } from '../memory.ts';
import { certificateOf, KEY, LISTEN, peer, relay } from './rig.ts';

const PEERS = { listen: LISTEN, peers: [peer('a'), peer('good')] };

async function listening(t: TestContext, options: RunOptions = {}) {
  const b = relay(t, 'b', PEERS, options);
  return { b, port: await b.port() };
}

/** Somebody else is served as ever. */
async function servesOthers(t: TestContext, b: RunningLink): Promise<void> {
  const count = b.hub.sessions.length;
  const good = relay(t, 'good', { peers: [peer('b', { address: `127.0.0.1:${await b.port()}` })] });
  await good.hub.session();
  await b.hub.session(count);
  await good.stop();
}

/** Proven, and as the hub has it. */
async function letIn(t: TestContext, b: RunningLink, hello?: Buffer): Promise<TablePeer> {
  const count = b.hub.sessions.length;
  const a = await dialRelay(t, await b.port(), certificateOf('a'));
  await a.authenticate(KEY);
  if (hello) a.say(RESPONSE, hello);
  else a.say(PING);
  await a.next(PONG);
  await b.hub.session(count);
  return a;
}

const HELLO = proto([
  [2, 200],
  [
    6,
    proto([
      [1, 'ws-a'],
      [4, 'ack'],
      [5, 99],
    ]),
  ],
]);

test('no TLS at all', async (t) => {
  const { b, port } = await listening(t);
  for (const bytes of ['GET / HTTP/1.1\r\n\r\n', '\0', randomBytes(500).fill(0xff, 0, 1)]) {
    const socket = await dialPlain(t, port);
    socket.write(bytes);
    await new Promise((done) => socket.once('close', done));
  }
  await b.refusal('not_portal');
  const half = await dialPlain(t, port);
  half.write(Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 1, 2, 3]));
  half.end();
  await b.refusal('reset');
  await servesOthers(t, b);
});

test('before the key is proven: nothing but the answer, and nothing long', async (t) => {
  const { b, port } = await listening(t);
  const cases: readonly (readonly [string, Uint8Array | string, string])[] = [
    ['wrong magic', 'GET / HTTP/1.1\r\n', 'portal_magic'],
    ['wrong version', Buffer.from('PRT\0\0\x03\x05\0\0\0\x20', 'latin1'), 'portal_version'],
    ['unknown type', Buffer.from('PRT\0\0\x02\x09\0\0\0\0', 'latin1'), 'portal_type'],
    ['a length that lies', frame(AUTH_RESPONSE, Buffer.alloc(65)).subarray(0, 11), 'portal_length'],
    ['a gigabyte', Buffer.from('PRT\0\0\x02\x03\x40\0\0\0', 'latin1'), 'portal_length'],
    ['an event', frame(EVENT, proto([[2, 1]])), 'bad_greeting'],
    ['a request', frame(REQUEST, proto([[1, 1]])), 'bad_greeting'],
    ['a challenge of its own', frame(AUTH_CHALLENGE, randomBytes(32)), 'bad_greeting'],
    ['no answer at all', frame(AUTH_RESPONSE), 'wrong_key'],
  ];
  for (const [what, bytes, code] of cases) {
    const a = await dialRelay(t, port, certificateOf('a'));
    await a.next(AUTH_CHALLENGE);
    a.raw(bytes);
    await a.ended();
    assert.equal(b.refusals.at(-1)?.trouble.code, code, what);
  }
  assert.equal(b.hub.sessions.length, 0);
  await servesOthers(t, b);
});

test('an answer heard before is worth nothing', async (t) => {
  const { b, port } = await listening(t);
  const first = await dialRelay(t, port, certificateOf('a'));
  const old = answerTo(await first.next(AUTH_CHALLENGE), KEY);
  first.close();
  const second = await dialRelay(t, port, certificateOf('a'));
  await second.next(AUTH_CHALLENGE);
  second.say(AUTH_RESPONSE, old);
  assert.deepEqual(fieldsOf(await second.next(RESPONSE)).get(2), [401]);
  await second.ended();
  await b.refusal('wrong_key');
});

test('our own challenge, sent back to us, is not answered', async (t) => {
  const server = await TableServer.listen(t, certificateOf('good'));
  const peers = [peer('a'), peer('good', { address: `127.0.0.1:${server.port}` })];
  const b = relay(t, 'b', { listen: LISTEN, peers });
  const victim = await server.accept();
  const attacker = await dialRelay(t, await b.port(), certificateOf('a'));
  victim.say(AUTH_CHALLENGE, await attacker.next(AUTH_CHALLENGE));
  await victim.ended();
  assert.deepEqual(victim.frames, [], 'no answer to use');
  await until('the words', () => b.hub.troubles.get('portal/good')?.code === 'reflected_challenge');
});

test('after the handshake: breaches end the session, in words', async (t) => {
  const { b } = await listening(t);
  const record = (id: number) =>
    [
      1,
      proto([
        [1, id],
        [2, 1],
        [3, atakSa(Date.now())],
      ]),
    ] as const;
  const cases: readonly (readonly [string, Uint8Array, string])[] = [
    ['a challenge', frame(AUTH_CHALLENGE, randomBytes(32)), 'bad_greeting'],
    ['wrong magic', Buffer.from('PRU\0\0\x02\x06\0\0\0\0', 'latin1'), 'portal_magic'],
    ['wrong version', Buffer.from('PRT\0\0\x01\x06\0\0\0\0', 'latin1'), 'portal_version'],
    ['unknown type', Buffer.from('PRT\0\0\x02\xff\0\0\0\0', 'latin1'), 'portal_type'],
    ['a body too long', frame(EVENT, Buffer.alloc(11)).fill(0xff, 7, 8), 'portal_length'],
    ['no protobuf', frame(EVENT, Buffer.from([0x0a, 0x7f, 1])), 'proto_length'],
    ['a gap in the numbers', frame(EVENT, proto([record(1), record(3)])), 'record_gap'],
    [
      'an acknowledgement of what was never sent',
      frame(
        PING,
        proto([
          [1, 1],
          [4, 500],
        ]),
      ),
      'ack_ahead',
    ],
    [
      'a request without a number',
      frame(
        REQUEST,
        proto([
          [2, 'GET'],
          [3, '/'],
        ]),
      ),
      'request_id',
    ],
    ['a number beyond all numbers', frame(PING, Buffer.from('08ffffffffffffffffff01', 'hex')), 'proto_varint'],
  ];
  for (const [what, bytes, code] of cases) {
    const a = await letIn(t, b, HELLO);
    a.raw(bytes);
    await a.ended();
    const { reason, cause } = await b.hub.sessions.at(-1)!.closing();
    assert.equal(reason, 'protocol_error', what);
    assert.equal((cause as { code?: string }).code, code, what);
  }
  await servesOthers(t, b);
});

test('a Hello that lies about what it received is a breach', async (t) => {
  const { b } = await listening(t);
  const a = await dialRelay(t, await b.port(), certificateOf('a'));
  const epoch = fieldsOf(fieldsOf(await a.authenticate(KEY)).get(6)![0] as Buffer).get(5)![0] as number;
  a.say(
    RESPONSE,
    proto([
      [2, 200],
      [
        6,
        proto([
          [4, 'ack'],
          [5, 7],
          [6, epoch],
          [7, 1_000_000],
        ]),
      ],
    ]),
  );
  await a.ended();
  const { reason } = await (await b.hub.session()).closing();
  assert.equal(reason, 'protocol_error');
});

test('records that cannot be read are counted one by one; a hundred in a row end it', async (t) => {
  const { b } = await listening(t);
  const a = await letIn(t, b);
  const bad = [
    1,
    proto([
      [2, 1],
      [3, '<event>'],
    ]),
  ] as const;
  const good = [
    1,
    proto([
      [2, 1],
      [3, atakSa(Date.now(), { uid: 'GOOD' })],
    ]),
  ] as const;
  a.say(EVENT, proto([...Array(99).fill(bad), good, ...Array(99).fill(bad)]));
  const session = b.hub.sessions.at(-1)!;
  await session.event('GOOD');
  await session.drop('malformed', 198);
  a.say(EVENT, proto([bad]));
  assert.equal((await session.closing()).reason, 'protocol_error');
});

/** A relay whose /slow never answers, whose /large is large, and which fails at /fault. */
function resources(): { handle(request: NodeRequest): Promise<NodeResponse>; readonly asked: string[] } {
  const asked: string[] = [];
  return {
    asked,
    handle: ({ path }) => {
      asked.push(path);
      if (path.startsWith('/slow')) return new Promise(() => {});
      if (path === '/fault') return Promise.reject(new Error('a bug'));
      return Promise.resolve(path === '/large' ? jsonResponse(200, 'x'.repeat(300_000)) : jsonResponse(200, path));
    },
  };
}

const ask = (id: number, path: string, method = 'GET', body = '') =>
  frame(
    REQUEST,
    proto([
      [1, id],
      [2, method],
      [3, path],
      [5, body],
    ]),
  );

async function status(a: TablePeer): Promise<readonly [number, number]> {
  const response = fieldsOf(await a.next(RESPONSE));
  return [response.get(1)![0] as number, response.get(2)![0] as number];
}

test('requests that nobody should make get an answer that says so, and reach nobody', async (t) => {
  const answers = resources();
  const { b } = await listening(t, { resources: answers });
  const a = await letIn(t, b);
  const cases: readonly (readonly [Buffer, number])[] = [
    [ask(1, '/../etc/shadow'), 400],
    [ask(2, '/node/%2e%2e/x'), 400],
    [ask(3, `/${'a'.repeat(1_000_000)}`), 414],
    [ask(4, '/x', 'TRACE'), 405],
    [ask(5, '/x', 'PUT', 'x'.repeat(300_000)), 413],
    [
      frame(
        REQUEST,
        proto([
          [1, 6],
          [2, 'GET'],
          [3, '/x'],
          [6, 9],
        ]),
      ),
      508,
    ],
    [ask(7, '/fault'), 500],
    [ask(8, '/health'), 200],
  ];
  for (const [index, [bytes, expected]] of cases.entries()) {
    a.raw(bytes);
    assert.deepEqual(await status(a), [index + 1, expected]);
  }
  assert.deepEqual(answers.asked, ['/fault', '/health']);
});

test('slow requests take the workers of that peer, not its events, and of nobody else', async (t) => {
  const clock = new ManualClock(Date.now());
  const { b } = await listening(t, { resources: resources(), clock });
  const a = await letIn(t, b);
  for (let id = 1; id <= 200; id++) a.raw(ask(id, `/slow/${id}`));
  assert.deepEqual(await status(a), [69, 429], '4 workers and a queue of 64; the rest is told');
  a.say(
    EVENT,
    proto([
      [
        1,
        proto([
          [2, 1],
          [3, atakSa(clock.wallMs(), { uid: 'PASSES' })],
        ]),
      ],
    ]),
  );
  await b.hub.sessions.at(-1)!.event('PASSES');
  const good = relay(t, 'good', { peers: [peer('b', { address: `127.0.0.1:${await b.port()}` })] });
  await good.hub.session();
  const health = { method: 'GET', path: '/health', headers: {}, body: Buffer.alloc(0), hops: 0 };
  assert.equal((await good.nodes!.call('b', health, t.signal)).status, 200);
  await a.until(() => a.frames.filter(({ type }) => type === RESPONSE).length >= 131, 'every refusal');
  a.frames.length = 0;
  clock.advance(30_000);
  await a.until(() => a.frames.length >= 4, 'answers to the first four');
  assert.deepEqual(await status(a), [1, 504], 'a handler that hangs gives its worker back');
});

test('a large answer comes in pieces, behind each of which the relay waits for its PING', async (t) => {
  const { b } = await listening(t, { resources: resources() });
  const a = await letIn(t, b);
  a.raw(Buffer.concat([ask(1, '/large'), ask(2, '/small')]));
  let bytes = 0;
  let turn = 0;
  for (let more = true; more; turn++) {
    const piece = fieldsOf(await a.next(RESPONSE));
    const body = piece.get(4)![0] as Buffer;
    if (piece.get(1)![0] === 2) {
      assert.ok(turn <= 2, 'the small one has its turn between the pieces of the large');
      continue;
    }
    assert.ok(body.length <= 16 << 10);
    bytes += body.length;
    more = piece.get(5)?.[0] === 1;
    assert.ok(!a.frames.some(({ type }) => type === RESPONSE), 'the next one waits');
    if (more) a.say(PONG, await a.next(PING));
  }
  assert.equal(bytes, 300_002);
});

test('a callee that never answers: 504 after 30 s, and an answer that comes after all is passed over', async (t) => {
  const clock = new ManualClock(Date.now());
  const { b } = await listening(t, { clock });
  const a = await letIn(t, b);
  const call = b.nodes!.call('a', { method: 'GET', path: '/x', headers: {}, body: Buffer.alloc(0), hops: 0 }, t.signal);
  const id = fieldsOf(await a.next(REQUEST)).get(1)![0] as number;
  clock.advance(14_000);
  a.say(PING);
  await a.next(PONG);
  clock.advance(16_000);
  assert.equal((await call).status, 504);
  a.say(
    RESPONSE,
    proto([
      [1, id],
      [2, 200],
    ]),
  );
  a.say(PING);
  await a.next(PONG);
  const nobody = await b.nodes!.call(
    'x',
    { method: 'GET', path: '/', headers: {}, body: Buffer.alloc(0), hops: 0 },
    t.signal,
  );
  assert.equal(nobody.status, 404);
  const away = { method: 'GET', path: '/', headers: {}, body: Buffer.alloc(0), hops: 0 };
  assert.equal((await b.nodes!.call('good', away, t.signal)).status, 502);
  assert.equal((await b.nodes!.call('a', { ...away, path: '/..' }, t.signal)).status, 400);
  assert.equal((await b.nodes!.call('a', { ...away, hops: 8 }, t.signal)).status, 508);
});

test('an answer without end is given up', async (t) => {
  const { b } = await listening(t);
  const a = await letIn(t, b);
  const call = b.nodes!.call('a', { method: 'GET', path: '/x', headers: {}, body: Buffer.alloc(0), hops: 0 }, t.signal);
  const id = fieldsOf(await a.next(REQUEST)).get(1)![0] as number;
  const piece = proto([
    [1, id],
    [2, 200],
    [4, Buffer.alloc(1_000_000)],
    [5, 1],
  ]);
  for (let n = 0; n < 10; n++) a.say(RESPONSE, piece);
  assert.equal((await call).status, 502);
});

test('connections that say nothing make no room scarce: the oldest of them goes, the honest peer gets in', async (t) => {
  const { b, port } = await listening(t);
  const silent = await Promise.all(Array.from({ length: MAX_UNPROVEN }, () => dialPlain(t, port)));
  await servesOthers(t, b);
  await b.refusal('handshake_limit');
  assert.ok(silent.filter(({ closed }) => closed).length <= 2);
});

test('a handshake that is not finished ends after its time', async (t) => {
  const clock = new ManualClock(Date.now());
  const { b, port } = await listening(t, { clock });
  const silent = await dialPlain(t, port);
  const halfway = await dialRelay(t, port, certificateOf('a'));
  await halfway.next(AUTH_CHALLENGE);
  clock.advance(60_000);
  await Promise.all([halfway.ended(), new Promise((done) => silent.once('close', done))]);
  assert.deepEqual(
    b.refusals.map(({ trouble }) => trouble.code),
    ['handshake_timeout', 'handshake_timeout'],
  );
});

test('a peer that makes us answer but does not read gets no further answers, and costs no memory', async (t) => {
  const { b } = await listening(t);
  const a = await letIn(t, b);
  a.socket.pause();
  const flood = Buffer.concat(
    Array.from({ length: 20_000 }, () =>
      frame(
        PING,
        proto([
          [1, 1],
          [2, 5],
        ]),
      ),
    ),
  );
  const before = process.memoryUsage().rss;
  for (let n = 0; n < 20; n++) a.raw(flood);
  await servesOthers(t, b);
  assert.ok(process.memoryUsage().rss - before < 150 << 20);
});

test('a certificate that is pinned but whose key is another does not get in', async (t) => {
  const { b, port } = await listening(t);
  const { cert } = certificateOf('a');
  const { key } = certificateOf('thief');
  await assert.rejects(async () => {
    const thief = await dialRelay(t, port, { cert, key });
    await thief.next(AUTH_CHALLENGE);
  });
  assert.equal(b.hub.sessions.length, 0);
  await servesOthers(t, b);
});

test('two frames in one go, and a frame in many', async (t) => {
  const { b } = await listening(t);
  const a = await dialRelay(t, await b.port(), certificateOf('a'));
  const challenge = await a.next(AUTH_CHALLENGE);
  const event = (uid: string) =>
    frame(
      EVENT,
      proto([
        [
          1,
          proto([
            [2, 1],
            [3, atakSa(Date.now(), { uid })],
          ]),
        ],
      ]),
    );
  a.raw(Buffer.concat([frame(AUTH_RESPONSE, answerTo(challenge, KEY)), frame(RESPONSE, HELLO), event('ONE')]));
  const session = await b.hub.session();
  await session.event('ONE');
  for (const byte of event('TWO')) {
    a.raw(Buffer.of(byte));
    await new Promise((done) => setImmediate(done));
  }
  await session.event('TWO');
  assert.ok(session.session.send(sampleEvent('BACK'), []));
});
