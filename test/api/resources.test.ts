// What peers may ask: the closed list, within policy; configured paths, for whom they are; passing on; and nothing else.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MAX_BODY_BYTES } from '../../src/api/exchange.ts';
import type { ResourceEntry } from '../../src/config/resources.ts';
import { DEFAULT_POLICY } from '../../src/core/policy.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { networkList } from '../../src/links/network-keys.ts';
import { chat, inbound, position } from '../core/support.ts';
import { Box, join, jsonOf } from './boxes.ts';

function now(uid: string, fields = {}) {
  const timeMs = systemClock.wallMs();
  return position(uid, { timeMs, startMs: timeMs, staleMs: timeMs + 60_000, team: 'Cyan', ...fields });
}

/** A box with a phone, and a peer that asks. */
function pair(options = {}) {
  const [box, asker] = [new Box('box'), new Box('asker')];
  const wires = join(box, asker, options);
  const phone = box.phone('alpha');
  return { box, asker, phone, ...wires };
}

function entry(fields: Partial<ResourceEntry>): ResourceEntry {
  return { path: '/iot', methods: ['GET'], peers: ['asker'], ...fields };
}

test('the closed list is read, and says nothing that is nobody else’s business', async () => {
  const { box, phone } = pair();
  phone.port.deliver(inbound(now('alpha')));
  const health = await box.ask('GET', '/health');
  assert.equal(health.status, 200);
  assert.equal(jsonOf(health).status, 'ok');
  const status = jsonOf(await box.ask('GET', '/status'));
  assert.equal(status.name, 'box');
  assert.equal(status.units, 1);
  assert.deepEqual(status.clients, { phones: 1 });
  assert.deepEqual(
    jsonOf(await box.ask('GET', '/peers')).peers.map((peer: { name: string }) => peer.name),
    ['asker'],
    'phones are counted, not named',
  );
  const { links } = jsonOf(await box.ask('GET', '/links/'));
  assert.deepEqual(links, [
    {
      name: 'portal',
      kind: 'portal',
      enabled: true,
      state: 'waiting',
      since: '1970-01-01T00:00:00.000Z',
      trouble: 'refused',
    },
  ]);
  for (const path of ['/', '/health', '/status', '/peers', '/units', '/links']) {
    const text = (await box.ask('GET', path)).body.toString();
    assert.doesNotMatch(text, /SECRET/, path);
  }
});

test('of several networks a peer is told of its own: links, sums, how many units and contacts', async () => {
  const { box, phone } = pair();
  const rules = (network: string) => ({ ...DEFAULT_POLICY, network });
  box.hub.setNetworks(networkList.parse([{ name: 'medics' }, { name: 'police' }]));
  box.hub.setPeerPolicy('portal/asker', rules('medics'));
  box.hub.setPolicy('phones', rules('police'));
  phone.port.deliver(inbound(now('alpha')));
  phone.port.deliver(inbound(now('bravo')));
  const told = async () => {
    const { totals, links, units, contacts, clients } = jsonOf(await box.ask('GET', '/status'));
    return [totals.received, links.length, units, contacts, clients];
  };
  assert.deepEqual(await told(), [0, 1, 0, 0, {}]);
  assert.equal(jsonOf(await box.ask('GET', '/links')).links.length, 1, 'the link it comes by');
  assert.ok(box.snapshot().totals.received >= 2 && box.snapshot().units === 2);
  box.hub.setPeerPolicy('portal/asker', rules('police'));
  assert.deepEqual((await told()).slice(0, 3), [2, 1, 2]);
  box.hub.setPeerPolicy('portal/asker', undefined);
  assert.deepEqual((await told()).slice(0, 3), [0, 1, 0], 'main');
  const links = box.snapshot().links.map((link) => ({ ...link, name: 'elsewhere' }));
  const elsewhere = box.snapshot();
  Object.assign(box, { snapshot: () => ({ ...elsewhere, links }) });
  assert.deepEqual(jsonOf(await box.ask('GET', '/links')).links, []);
});

test('units are those the peer could be sent as events, and not its own', async () => {
  const { box, phone, ba } = pair({ policy: { blockTypes: ['a-h-'] } });
  phone.port.deliver(inbound(now('alpha', { lat: 1.5, lon: 2.5 })));
  phone.port.deliver(inbound(now('enemy', { type: 'a-h-G' })));
  phone.port.deliver(inbound(now('grounded'), { hops: { max: 0, current: 0 } }));
  phone.port.deliver(inbound(chat('not-a-unit', { staleMs: systemClock.wallMs() + 60_000 })));
  ba.from.phone('theirs').port.deliver(inbound(now('theirs')));
  // Until it came over; the runner's deadline ends a wait in vain.
  while (!box.hub.picture.latest('theirs')) await new Promise((done) => setTimeout(done, 5));
  const { total, units } = jsonOf(await box.ask('GET', '/units'));
  assert.equal(total, 1);
  assert.deepEqual(
    { ...units[0], ageMs: 0 },
    {
      uid: 'alpha',
      callsign: 'ALPHA',
      type: 'a-f-G-U-C',
      team: 'Cyan',
      lat: 1.5,
      lon: 2.5,
      ageMs: 0,
      from: 'phones',
      direct: true,
    },
  );
  assert.equal(jsonOf(await box.ask('GET', '/units', { caller: 'stranger' })).total, 0, 'no peer, no policy, no units');
});

test('a peer that gets no events gets no units', async () => {
  const { box, phone } = pair({ policy: { out: false } });
  phone.port.deliver(inbound(now('alpha')));
  assert.equal(jsonOf(await box.ask('GET', '/units')).total, 0);
});

test('units are searched and limited here', async () => {
  const { box, phone } = pair();
  for (const uid of ['one', 'two', 'twenty']) phone.port.deliver(inbound(now(uid)));
  assert.equal(jsonOf(await box.ask('GET', '/units?q=TW')).total, 2);
  const limited = jsonOf(await box.ask('GET', '/units?q=tw&limit=1'));
  assert.deepEqual([limited.total, limited.units.length], [2, 1]);
  assert.equal(jsonOf(await box.ask('GET', '/units?limit=-5')).units.length, 3);
});

test('what is not on the list is 404, whatever it looks like', async () => {
  const { box } = pair();
  for (const path of [
    '/etc/passwd',
    '/api/status',
    '/healthz',
    '/health/x',
    '/status/links',
    '/Health',
    '/iot',
    '/probe',
  ]) {
    const response = await box.ask('GET', path);
    assert.equal(response.status, 404, path);
    assert.equal(response.headers['content-type'], 'application/problem+json');
    assert.equal(jsonOf(response).status, 404);
  }
  assert.equal((await box.ask('CALL', '/health')).status, 404);
  assert.equal((await box.ask('CALL', '/hub/tunnel')).status, 404);
});

test('paths that are none are 400, and writing what can only be read is 405', async () => {
  const { box } = pair();
  for (const path of ['/../health', '/iot%2f..', '//health', '/health\0', `/${'a'.repeat(1 << 20)}`]) {
    assert.equal((await box.ask('GET', path)).status, 400, path.slice(0, 20));
  }
  const response = await box.ask('POST', '/status');
  assert.equal(response.status, 405);
  assert.equal(response.headers.allow, 'GET');
  assert.equal((await box.ask('PUT', '/', { body: Buffer.alloc(MAX_BODY_BYTES + 1) })).status, 413);
});

test('an entry restricts who reads a path of the relay itself, in every spelling', async () => {
  const { box } = pair();
  box.entries = [entry({ path: '/status', peers: ['hq'] })];
  assert.equal((await box.ask('GET', '/status', { caller: 'hq' })).status, 200);
  for (const path of ['/status', '/status/', '/status?x']) {
    const response = await box.ask('GET', path);
    assert.equal(response.status, 403, path);
    assert.match(jsonOf(response).detail, /\/status is not for asker/);
  }
  assert.equal((await box.ask('GET', '/%73tatus')).status, 404);
  const paths = jsonOf(await box.ask('GET', '/')).resources.map(({ path }: { path: string }) => path);
  assert.ok(!paths.includes('/status') && paths.includes('/health'));
});

test('a configured path is for whom it is for', async () => {
  const { box } = pair();
  const to = { host: '127.0.0.1', port: 1, base: '' };
  box.entries = [entry({ to }), entry({ path: '/open', to, methods: ['GET', 'PUT'], peers: ['*', 'hub/far'] })];
  assert.equal((await box.ask('GET', '/iot/x', { caller: 'other' })).status, 403);
  assert.equal((await box.ask('PUT', '/iot')).status, 405);
  assert.equal((await box.ask('GET', '/iot')).status, 502, 'nobody listens there');
  assert.equal((await box.ask('GET', '/iotx')).status, 404);
  assert.equal((await box.ask('PUT', '/open', { caller: 'anybody' })).status, 502);
  const from = (name: string) => ({ 'x-waystation-from': name });
  assert.equal((await box.ask('GET', '/open', { caller: 'hub', headers: from('far') })).status, 502);
  assert.equal(
    (await box.ask('GET', '/open', { caller: 'hub', headers: from('other') })).status,
    403,
    '* is for no third',
  );
  assert.equal(
    (await box.ask('GET', '/iot', { caller: 'hub', headers: from('asker') })).status,
    403,
    'a name is no proof',
  );
  const listed = jsonOf(await box.ask('GET', '/')).resources.slice(-2);
  assert.deepEqual(listed, [
    { path: '/iot', methods: ['GET'] },
    { path: '/open', methods: ['GET', 'PUT'] },
  ]);
});

/** a - b - c - d - e - f in a row, each letting everybody pass. */
function chain(names: string): Box[] {
  const boxes = [...names].map((name) => new Box(name));
  boxes.slice(1).forEach((box, index) => {
    join(boxes[index]!, box);
  });
  for (const box of boxes)
    box.entries = [entry({ path: '/node', methods: ['GET', 'PUT'], peers: ['*', 'b/a', 'c/b/a', 'd/c/b/a'] })];
  return boxes;
}

test('a request is passed on where the configuration says so, and only there', async () => {
  const [, b, c] = chain('abc');
  c!.entries = [];
  const through = await b!.ask('GET', '/node/c/health', { caller: 'a' });
  assert.equal(jsonOf(through).name, 'c');
  assert.equal((await b!.ask('GET', '/node/c?x=1', { caller: 'a' })).status, 200);
  assert.equal((await b!.ask('DELETE', '/node/c/health', { caller: 'a' })).status, 405);
  assert.equal((await b!.ask('GET', '/node/nobody/health', { caller: 'a' })).status, 404);
  assert.equal((await b!.ask('GET', '/node', { caller: 'a' })).status, 404);
  b!.entries = [entry({ path: '/node/c', peers: ['somebody'] }), entry({ path: '/node', peers: ['a'] })];
  const refused = await b!.ask('GET', '/node/c/health', { caller: 'a' });
  assert.equal(refused.status, 403, 'the entry for c counts, not the one for all');
  b!.entries = [];
  assert.match(
    jsonOf(await b!.ask('GET', '/node/c/health', { caller: 'a' })).detail,
    /does not pass requests of a on to c/,
  );
});

test('who asks is told along the way, and what it says of itself is not believed', async () => {
  const [, b, c] = chain('abc');
  const to = { host: '127.0.0.1', port: 1, base: '' };
  c!.entries = [entry({ to, peers: ['b/a'] })];
  assert.equal((await b!.ask('GET', '/node/c/iot', { caller: 'a' })).status, 502, 'let through to the service');
  const forged = { 'x-waystation-from': 'a' };
  b!.entries = [entry({ path: '/node', peers: ['evil/a'] })];
  const response = await b!.ask('GET', '/node/c/iot', { caller: 'evil', headers: forged });
  assert.equal(response.status, 403);
  assert.match(jsonOf(response).detail, /not for b\/evil\/a/);
});

test('circles and long ways end', async () => {
  const [a, b] = chain('ab');
  b!.entries = [entry({ path: '/node', peers: ['a/x'] })];
  const circle = await a!.ask('GET', '/node/b/node/a/health', { caller: 'x' });
  assert.equal(circle.status, 508);
  assert.equal(jsonOf(circle).code, 'loop');
  const boxes = chain('abcdefg');
  for (const box of boxes) box.entries = box.entries.map((one) => ({ ...one, peers: [...one.peers, 'e/d/c/b/a'] }));
  assert.equal((await boxes[1]!.ask('GET', '/node/c/node/d/node/e/health', { caller: 'a' })).status, 200);
  assert.equal((await boxes[1]!.ask('GET', '/node/c/node/d/node/e/node/f/health', { caller: 'a' })).status, 200);
  assert.equal((await boxes[1]!.ask('GET', '/node/c/node/d/node/e/node/f/node/g/health', { caller: 'a' })).status, 508);
  assert.equal((await a!.ask('GET', '/node/b/health', { caller: 'x', hops: 5 })).status, 508);
  const trail = { 'x-waystation-from': 'x/'.repeat(600) };
  assert.equal((await b!.ask('GET', '/node/a/health', { headers: trail })).status, 508);
});

test('a fault of ours is an answer, not a crash', async () => {
  const { box } = pair();
  Object.defineProperty(box, 'snapshot', { value: () => assert.fail('boom') });
  const response = await box.ask('GET', '/status');
  assert.equal(response.status, 500);
  assert.doesNotMatch(response.body.toString(), /boom/);
});
