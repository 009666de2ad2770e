// What a ping of a partner tells: whether nobody answered, who answered was not he, he refused, or his server failed; over real TLS,
// against a far end that answers what it likes.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { callWithin } from '../../src/api/exchange.ts';
import { Nodes } from '../../src/api/nodes.ts';
import { type DescribedPartner, type PartnerPing, partnerRoutes } from '../../src/api/routes/partners.ts';
import { ManualClock } from '../../src/lib/clock.ts';
import { OPERATOR, serveApi } from './api-server.ts';
import { type Answer, farEnd, json, PARTNERS_LINK, partnerBox, THEIR_SECRET } from './partner-box.ts';

async function serve(t: TestContext) {
  const far = await farEnd(t);
  const clock = new ManualClock(Date.now());
  const box = await partnerBox(t, clock);
  await box.add('hq', far);
  const { url } = await serveApi(t, { routes: partnerRoutes(box.deps), clock });
  const get = async (path: string) => (await fetch(`${url}${path}`, { headers: OPERATOR })).json();
  const ping = (name = 'hq'): Promise<PartnerPing> =>
    get(`/api/federation/partners/${name}/ping`) as Promise<PartnerPing>;
  const listed = async () => ((await get('/api/federation/partners')) as { partners: DescribedPartner[] }).partners;
  return { far, clock, box, ping, listed };
}

const problem = (status: number, code: string, detail = 'their words') =>
  json(status, { status, code, detail }, 'application/problem+json');
const page =
  (status: number): Answer =>
  (_request, response) =>
    void response.writeHead(status).end('<h1>oops</h1>');

test('G5: what a partner answers is told by what it is: a secret, a certificate, a refusal, a fault of its server', async (t) => {
  const { far, ping, listed, box } = await serve(t);
  const cases: readonly (readonly [Answer, outcome: string, status: number, error: string | null])[] = [
    [json(200, { ok: true }), 'ok', 200, null],
    [problem(401, 'secret_wrong'), 'secret', 401, 'their words'],
    [problem(403, 'certificate_not_pinned'), 'certificate', 403, 'their words'],
    [problem(403, 'foreign_address'), 'refused', 403, 'their words'],
    [page(404), 'refused', 404, 'answers 404'],
    [problem(429, 'too_many_tries'), 'refused', 429, 'their words'],
    [problem(500, 'internal_error'), 'failed', 500, 'their words'],
    [page(500), 'failed', 500, 'answers 500'],
    [page(503), 'failed', 503, 'answers 503'],
    [page(502), 'failed', 502, 'answers 502'],
    [page(504), 'failed', 504, 'answers 504'],
    [problem(502, 'unreachable'), 'failed', 502, 'their words'],
    [problem(502, 'tls'), 'failed', 502, 'their words'],
    [problem(504, 'no_answer'), 'failed', 504, 'their words'],
  ];
  for (const [answer, outcome, status, error] of cases) {
    far.answer = answer;
    const { latency_ms, ...told } = await ping();
    assert.deepEqual(told, { peer: 'hq', ok: outcome === 'ok', outcome, status, error });
    assert.ok(latency_ms >= 0);
    const [{ last, pings }] = (await listed()) as [DescribedPartner];
    assert.deepEqual([last.outcome, pings.out?.outcome, pings.out?.error], [outcome, outcome, error]);
  }
  const [{ calls }] = (await listed()) as [DescribedPartner];
  const counts = Object.fromEntries(calls.map(({ outcome, count }) => [outcome, count]));
  assert.deepEqual(counts, { ok: 1, secret: 1, certificate: 1, refused: 3, failed: 8 });
  assert.equal(box.called.length, cases.length, 'each in the audit');
  assert.ok(!JSON.stringify(await listed()).includes(THEIR_SECRET));
});

test('G5: nobody answers: a closed port, a line cut in the middle, silence; and not he who was pinned', async (t) => {
  const { far, ping, clock, box } = await serve(t);
  far.answer = (_request, response) => {
    response.writeHead(200, { 'content-length': '100' });
    response.write('{', () => response.destroy());
  };
  const cut = await ping();
  assert.deepEqual([cut.outcome, cut.status, cut.ok], ['unreachable', 502, false]);

  await box.add('impostor', { url: far.url, pin: 'ab'.repeat(32) });
  const other = await ping('impostor');
  assert.deepEqual([other.outcome, other.status], ['tls', 502]);
  assert.match(other.error!, /the server of impostor is not who was pinned/);

  await far.close();
  const closed = await ping();
  assert.deepEqual([closed.outcome, closed.status], ['unreachable', 502]);
  assert.match(closed.error!, /refused the connection/);

  const held: Socket[] = [];
  const silent = createServer((socket) => held.push(socket.on('error', () => {})));
  silent.listen(0, '127.0.0.1');
  await once(silent, 'listening');
  t.after(() => {
    for (const socket of held) socket.destroy();
    silent.close();
  });
  await box.add('deaf-one', { ...far, url: `https://127.0.0.1:${(silent.address() as { port: number }).port}` });
  const asking = ping('deaf-one');
  await once(silent, 'connection');
  clock.advance(5_000);
  const deaf = await asking;
  assert.deepEqual([deaf.outcome, deaf.status, deaf.latency_ms], ['timeout', 504, 5_000]);
  assert.match(deaf.error!, /does not answer/);
});

test('what calling it takes is named, and nobody is called', async (t) => {
  const { ping, box } = await serve(t);
  await box.desk.partners.add('caller', { pins: ['c'.repeat(64)] });
  const { outcome, status, error } = await ping('caller');
  assert.deepEqual([outcome, status], ['not_connected', 502]);
  assert.match(error!, /it has no url here/);
  assert.equal(((await ping('nobody')) as unknown as { code: string }).code, 'unknown_partner');
});

test('that nobody waited for the answer says nothing of the partner; that it was too late does', async (t) => {
  const { far, box, clock, ping } = await serve(t);
  await ping();
  const nodes = new Nodes(box.calls);
  nodes.provide(PARTNERS_LINK, box.desk);
  const asked = () => new Promise<void>((came) => (far.answer = () => came()));
  const request = { method: 'GET', path: '/status', headers: {}, body: Buffer.alloc(0), hops: 0 };
  const leaving = new AbortController();
  const came = asked();
  const first = callWithin(nodes, 'hq', request, { ms: 4_000, clock, signal: leaving.signal });
  await came;
  leaving.abort();
  assert.equal((await first).status, 504);
  const count = (outcome: string) => box.calls.of('hq').find((one) => one.outcome === outcome)?.count ?? 0;
  while (count('given_up') === 0) await new Promise((done) => setImmediate(done));
  assert.equal(box.desk.standing('hq').call?.outcome, 'ok');
  const again = asked();
  const second = callWithin(nodes, 'hq', request, { ms: 4_000, clock, signal: new AbortController().signal });
  await again;
  clock.advance(4_000);
  assert.equal((await second).status, 504);
  while (count('timeout') === 0) await new Promise((done) => setImmediate(done));
  assert.equal(box.desk.standing('hq').call?.outcome, 'timeout');
});
