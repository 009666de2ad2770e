// A client made from the OpenAPI document alone, by a generator that is not ours, does what the document promises: it looks, adds
// a link, changes it, takes it away, and is refused in words; every answer fits its schema.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { Agent } from 'node:https';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import Axios from 'axios';
import { type Document, OpenAPIClientAxios } from 'openapi-client-axios';
import { freePorts, RelayHome } from '../support/relay-process.ts';

test('a client generated from the document looks and steers', async (t) => {
  const [plain, tls, port, other] = (await freePorts(4)) as [number, number, number, number];
  const relay = new RelayHome(t, 'client');
  relay.configure(plain, `links:\n  - { name: phones, kind: cot, listen: ${port} }\n`, `tls: ${tls}`);
  const ca = await relay.command('cert', 'show', '--ca');
  await relay.start();
  while (!existsSync(relay.file('data/setup-code'))) await sleep(20);
  const code = readFileSync(relay.file('data/setup-code'), 'utf8').trim();

  const httpsAgent = new Agent({ ca });
  t.after(() => httpsAgent.destroy());
  const url = `https://localhost:${tls}`;
  const { data: document } = await Axios.get<Document>(`${url}/api/openapi.json`, { httpsAgent });
  const api = new OpenAPIClientAxios({
    definition: document,
    withServer: { url },
    axiosConfigDefaults: { httpsAgent, validateStatus: () => true },
  });
  const client = await api.init();
  const called = new Set<string>();
  /** By its method and path, as a reader of the document would look it up. */
  const call = async (method: string, path: string, body?: unknown, params: Record<string, string> = {}) => {
    const found = api.getOperations().find((one) => one.method === method && one.path === path);
    assert.ok(found?.operationId, `the document has ${method} ${path}`);
    called.add(found.operationId);
    const { status, data } = await client[found.operationId]!(params, body);
    return { status, data };
  };

  const setup = await call('post', '/api/setup', { code, username: 'owner', password: 'a good password' });
  assert.equal(setup.status, 200);
  client.defaults.headers.common.authorization = `Bearer ${setup.data.token}`;

  const status = await call('get', '/api/status');
  assert.deepEqual([status.status, status.data.name], [200, 'client']);
  const before = await call('get', '/api/links');
  assert.deepEqual(
    before.data.links.map(({ name }: { name: string }) => name),
    ['phones'],
  );
  const added = await call('post', '/api/links', { name: 'more', kind: 'cot', listen: other });
  assert.equal(added.status, 201);
  assert.match(added.data.diff, /\+.*more/);
  const wrong = await call('post', '/api/links', { name: 'worse', kind: 'cot', listen: other, lisen: 1 });
  assert.equal(wrong.status, 422);
  assert.match(JSON.stringify(wrong.data), /lisen/, 'the unknown key is named');
  assert.ok(wrong.data.code && wrong.data.fix, 'a problem has a code and a fix');
  const patched = await call('patch', '/api/links/{name}', { policy: { out: false } }, { name: 'more' });
  assert.equal(patched.data.applied, true);
  const removed = await call('delete', '/api/links/{name}', undefined, { name: 'more' });
  assert.equal(removed.data.applied, true);
  const gone = await call('get', '/api/links/{name}', undefined, { name: 'more' });
  assert.deepEqual([gone.status, gone.data.code], [404, 'unknown_link']);

  // All that can be looked at without further knowledge answers as the document says it does.
  for (const { method, path, operationId, parameters = [], responses } of api.getOperations()) {
    const needs = parameters.some((parameter) => 'required' in parameter && parameter.required);
    if (method !== 'get' || needs || path.includes('{') || !operationId || called.has(operationId)) continue;
    const { status: answered, data } = await client[operationId]!();
    // What partners ask needs their certificate: the document's answer for all else, a problem.
    if (path === '/api/federation/ping') {
      assert.deepEqual([answered, data.code], [403, 'certificate_needed']);
      continue;
    }
    assert.ok(
      String(answered) in responses || answered === 303,
      `${path} answered ${answered}, which the document does not know`,
    );
  }
});
