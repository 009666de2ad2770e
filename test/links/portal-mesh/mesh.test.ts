// Against a node written from the description of mod_node, in Python: it makes five connections, tells answers from questions only by
// their order, and verifies nobody.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { jsonResponse, type NodeRequest, type Resources } from '../../../src/core/node.ts';
import { portalMeshKind } from '../../../src/links/portal-mesh/index.ts';
import { hasPython, type Peer, startPeer } from '../../support/peers/spawn.ts';
import { makeCa, makeLeaf } from '../../support/pki.ts';
import { type RunningLink, runLink, until } from '../memory.ts';

const KEY = 'the key of a mesh';
const ca = makeCa({ cn: 'mesh CA' });
const leaf = makeLeaf(ca, { cn: 'factory', sans: ['127.0.0.1'] });

function node(
  t: TestContext,
  role: 'server' | 'client',
  flags: Record<string, string | number | true> = {},
  port = 0,
): Promise<Peer> {
  return startPeer(t, {
    ...{ stack: 'python', as: 'portal-node', role, port },
    ...{ chainPem: leaf.certPem, keyPem: leaf.keyPem, caPem: ca.certPem, flags },
  });
}

const asked: NodeRequest[] = [];
const resources: Resources = {
  handle: (request) => {
    asked.push(request);
    return Promise.resolve(jsonResponse(200, { path: request.path }));
  },
};

async function listening(t: TestContext, settings: object = {}): Promise<RunningLink & { port: number }> {
  const link = portalMeshKind.create(
    portalMeshKind.schema.parse({ listen: '127.0.0.1:0', node: 'box', federation_key: KEY, ...settings }),
  );
  const running = runLink(t, link, { resources });
  await until('the listener', () => running.reports.some(({ state }) => state === 'listening'));
  return Object.assign(running, { port: Number(running.reports.at(-1)!.detail.split(':').at(-1)) });
}

const get = (path: string, method = 'GET'): NodeRequest => ({
  method,
  path,
  headers: {},
  body: Buffer.alloc(0),
  hops: 0,
});
const never = new AbortController().signal;

test('a node that dials reads status and tracks, and nothing else', async (t) => {
  if (!hasPython(t)) return;
  const link = await listening(t);
  const peer = await node(t, 'client', { fedkey: KEY }, link.port);
  for (let count = 0; count < 5; count++) await peer.waitFor({ at: 'joined' });
  await until('the sessions', () => link.hub.sessions.length === 1);
  const [{ spec, session }] = link.hub.sessions as [RunningLink['hub']['sessions'][number]];
  assert.deepEqual([spec.name, session.identity.proof], ['factory', 'none']);

  const say = async (tag: string, path: string, method = 'GET', more: object = {}) => {
    peer.send({ do: 'ask', tag, method, path, ...more });
    const { status, body, rest } = await peer.waitFor({ at: 'answer', tag });
    assert.equal(rest, 0);
    return [status, body];
  };
  assert.deepEqual(await say('1', '/core/status'), [200, '{"path":"/health"}']);
  assert.deepEqual(await say('2', '/cot/status'), [200, '{"path":"/status"}']);
  assert.deepEqual(await say('3', '/cot/tracks?limit=5', 'GET', { ctx: true }), [200, '{"path":"/units?limit=5"}']);
  assert.deepEqual(await say('4', '/box/cot/tracks'), [200, '{"path":"/units"}']);
  asked.length = 0;
  for (const [tag, path, method] of [
    ['5', '/tunnel/shell', 'CALL'],
    ['6', '/box/tunnel/pipe', 'CALL'],
    ['7', '/%74unnel/shell', 'GET'],
  ] as const)
    assert.equal((await say(tag, path, method))[0], 403, path);
  assert.equal((await say('8', '/core/status', 'SET', { body: 'x' }))[0], 403);
  assert.equal((await say('9', '/node/functions/identity_proof', 'CALL'))[0], 401);
  assert.equal((await say('10', '/links'))[0], 404);
  assert.equal((await say('11', '/../etc/passwd'))[0], 404);
  assert.deepEqual(asked, []);
  assert.deepEqual(
    link.refusals.map(({ trouble }) => trouble.code),
    ['tunnel_refused', 'tunnel_refused', 'tunnel_refused'],
  );
});

test('questions asked at once are answered in their order', async (t) => {
  if (!hasPython(t)) return;
  const link = await listening(t);
  const peer = await node(t, 'client', { fedkey: KEY, connections: 1 }, link.port);
  await peer.waitFor({ at: 'joined' });
  for (let tag = 0; tag < 10; tag++)
    peer.send({ do: 'ask', tag: `${tag}`, method: 'GET', path: tag % 2 ? '/nothing' : '/core/status' });
  await peer.waitFor({ at: 'answer', tag: '9' });
  const answers = peer.lines.filter(({ at }) => at === 'answer').map(({ tag, status }) => [tag, status]);
  assert.deepEqual(
    answers,
    Array.from({ length: 10 }, (_, tag) => [`${tag}`, tag % 2 ? 404 : 200]),
  );
});

test('another key, and our own name, are turned away in words', async (t) => {
  if (!hasPython(t)) return;
  const link = await listening(t);
  const wrong = await node(t, 'client', { fedkey: 'another', connections: 1 }, link.port);
  await wrong.waitFor({ at: 'closed' });
  await until('the refusal', () => link.refusals.length === 1);
  const twin = await node(t, 'client', { fedkey: KEY, name: 'box', connections: 1 }, link.port);
  await twin.waitFor({ at: 'closed' });
  await until('the refusal', () => link.refusals.length === 2);
  assert.deepEqual(
    link.refusals.map(({ trouble }) => trouble.code),
    ['wrong_key', 'own_name'],
  );
  assert.equal(link.hub.sessions.length, 0);
});

test('bytes that are no frames end the connection and nothing else', async (t) => {
  if (!hasPython(t)) return;
  const link = await listening(t);
  for (const [count, [hex, code]] of (
    [
      ['ffffffff', 'mesh_length'],
      ['00000000', 'mesh_frame'],
      ['0000000412345678', 'mesh_frame'],
    ] as const
  ).entries()) {
    const peer = await node(t, 'client', { fedkey: KEY, connections: 1 }, link.port);
    await peer.waitFor({ at: 'joined' });
    peer.send({ do: 'raw', hex });
    await peer.waitFor({ at: 'closed' });
    await until('the refusal', () => link.refusals.length === count + 1);
    assert.equal(link.refusals.at(-1)!.trouble.code, code);
  }
  await until('the sessions', () => link.hub.sessions.every(({ closings }) => closings.length === 1));
});

for (const tls of [false, true]) {
  test(`a node that we dial is asked what stands there${tls ? ', over TLS that proves nothing' : ''}`, async (t) => {
    if (!hasPython(t)) return;
    const peer = await node(t, 'server', { fedkey: KEY, ...(tls && { tls: true }) });
    const settings = { connect: `127.0.0.1:${peer.port}`, federation_key: KEY, tls };
    const link = runLink(t, portalMeshKind.create(portalMeshKind.schema.parse(settings)), { resources, name: 'mesh' });
    await until('the connection', () => link.reports.some(({ state }) => state === 'connected'));
    assert.deepEqual((await peer.waitFor({ at: 'joined' })).tls, tls);
    const nodes = link.nodes!;
    assert.deepEqual(
      nodes.peers().map(({ name, status }) => [name, status]),
      [['mesh', 'connected']],
    );
    const answers = await Promise.all(
      ['/core/status', '/iot/door', '/none'].map((path) => nodes.call('mesh', get(path), never)),
    );
    assert.deepEqual(
      answers.map(({ status, body }) => [status, body.toString()]),
      [
        [200, '{"portal":"ok"}'],
        [200, 'open'],
        [404, 'no such path'],
      ],
    );
    assert.equal((await nodes.call('mesh', get('/tunnel/shell', 'CALL'), never)).status, 403);
    assert.equal((await nodes.call('mesh', get('/x', 'DELETE'), never)).status, 405);
    assert.ok(!peer.lines.some(({ path }) => String(path).includes('tunnel')));
    assert.ok([...link.warnings].some(({ code }) => code === 'mesh_unproven'));
  });
}

test('with trust, TLS is verified: a node it does not name is not spoken to', async (t) => {
  if (!hasPython(t)) return;
  const peer = await node(t, 'server', { fedkey: KEY, tls: true });
  const settings = {
    connect: `127.0.0.1:${peer.port}`,
    federation_key: KEY,
    tls: true,
    trust: [`SHA256:${'AB'.repeat(32)}`],
  };
  const link = runLink(t, portalMeshKind.create(portalMeshKind.schema.parse(settings)));
  assert.match(String((await link.ended)?.message), /127\.0\.0\.1/);
  assert.equal(
    peer.lines.some(({ at }) => at === 'joined'),
    false,
  );
});

test('a mesh whose key is another hangs up: that is what it is called', async (t) => {
  if (!hasPython(t)) return;
  const peer = await node(t, 'server', { fedkey: 'another' });
  const settings = { connect: `127.0.0.1:${peer.port}`, federation_key: KEY };
  const link = runLink(t, portalMeshKind.create(portalMeshKind.schema.parse(settings)));
  assert.equal(((await link.ended) as { code?: string } | undefined)?.code, 'wrong_key');
});

test('the configuration: one way, and trust only with TLS', () => {
  const parse = (settings: object) => portalMeshKind.schema.safeParse(settings).success;
  assert.ok(parse({ listen: 9700 }));
  assert.ok(!parse({}));
  assert.ok(!parse({ listen: 9700, connect: 'a:1' }));
  assert.ok(!parse({ connect: 'a:1', trust: ['ca.pem'] }));
  assert.ok(!parse({ listen: 9700, node: 'a/b' }));
});
