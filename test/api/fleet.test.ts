// One list of units and relays: who is at home where, searched over there, and whole though peers are away or hostile.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fleet } from '../../src/api/fleet.ts';
import type { Fleet } from '../../src/core/fleet.ts';
import { jsonResponse, type NodeResponse, problemResponse } from '../../src/core/node.ts';
import { type Clock, ManualClock, systemClock } from '../../src/lib/clock.ts';
import { inbound, position } from '../core/support.ts';
import { Box, join } from './boxes.ts';

const never = new AbortController().signal;

function report(box: Box, uid: string): void {
  const timeMs = box.clock.wallMs();
  box.phone(uid).port.deliver(inbound(position(uid, { timeMs, staleMs: timeMs + 60_000, team: 'Cyan' })));
}

function star(clock: Clock = systemClock) {
  const [hub, a, b] = [new Box('hub', clock), new Box('a', clock), new Box('b', clock)];
  const wires = { a: join(hub, a).ab, b: join(hub, b).ab };
  return { hub, a, b, wires };
}

function ids(list: Fleet): string[] {
  return list.units.map(({ id }) => id).sort();
}

/** Until so many units came over as events, too; the runner's deadline ends a wait in vain. */
async function heard({ hub }: ReturnType<typeof star>['hub'], units: number): Promise<void> {
  while (hub.picture.units < units) await new Promise((done) => setTimeout(done, 5));
}

const UNIT = { uid: 'u', callsign: 'c', type: 't', team: '', lat: 0, lon: 0, ageMs: 0, from: '', direct: true };
const everything = { peer: undefined, search: '' };

test('units and relays of all peers and our own, each unit once and where it is at home', async () => {
  const { hub, a, b } = star();
  for (const [box, uid] of [
    [hub, 'ours'],
    [a, 'theirs'],
    [b, 'others'],
  ] as const)
    report(box, uid);
  await heard(hub, 3);
  const list = await fleet(hub.deps, everything, never);
  assert.deepEqual(ids(list), ['ours', 'peer:a/theirs', 'peer:b/others']);
  assert.deepEqual(
    list.relays.map(({ id, peer, name }) => [id, peer, name]),
    [
      ['id-hub', null, 'hub'],
      ['peer:a/id-a', 'a', 'a'],
      ['peer:b/id-b', 'b', 'b'],
    ],
  );
  assert.deepEqual(list.peers, [
    { name: 'a', reachable: true, lastContact: '2026-01-01T00:00:00.000Z', words: '' },
    { name: 'b', reachable: true, lastContact: '2026-01-01T00:00:00.000Z', words: '' },
  ]);
});

test('filtered by peer, and searched', async () => {
  const { hub, a, b } = star();
  for (const [box, uid] of [
    [hub, 'ours'],
    [a, 'alpha-1'],
    [a, 'bravo-1'],
    [b, 'alpha-2'],
  ] as const)
    report(box, uid);
  await heard(hub, 4);
  assert.deepEqual(ids(await fleet(hub.deps, { peer: 'a', search: 'ALPHA' }, never)), ['peer:a/alpha-1']);
  assert.deepEqual(ids(await fleet(hub.deps, { peer: undefined, search: 'alpha' }, never)), [
    'peer:a/alpha-1',
    'peer:b/alpha-2',
  ]);
  assert.deepEqual(ids(await fleet(hub.deps, { peer: undefined, search: 'no such & thing?' }, never)), []);
  const none = await fleet(hub.deps, { peer: 'nobody', search: '' }, never);
  assert.deepEqual(none, { peers: [], relays: [], leftOut: 0, units: [] });
});

test('what is too much is counted', async () => {
  const { hub, wires } = star();
  const status = { name: 'a', id: 'x', version: '1', startedAt: '', units: 0, links: [] };
  const unit = { uid: 'u', callsign: 'c', type: 't', team: '', lat: 0, lon: 0, ageMs: 0, from: '', direct: true };
  wires.a.answer = async ({ path }) =>
    jsonResponse(200, path === '/status' ? status : { total: 4000, units: [unit, { ...unit, uid: 'v' }] });
  const { leftOut, units } = await fleet(hub.deps, { peer: 'a', search: '' }, never);
  assert.deepEqual([leftOut, units.length], [3998, 2]);
});

test('the peer does the searching', async () => {
  const { hub, wires } = star();
  const asked: string[] = [];
  const real = wires.a.to.resources;
  wires.a.answer = (request) => {
    asked.push(request.path);
    return real.handle(request, { name: 'hub', link: 'portal' }, never);
  };
  await fleet(hub.deps, { peer: 'a', search: 'x&y=/ä' }, never);
  assert.deepEqual(asked.sort(), ['/status', '/units?q=x%26y%3D%2F%C3%A4']);
});

test('a peer that is away is a badge with the time of last contact, and the list goes on', async () => {
  const { hub, a, b, wires } = star();
  report(a, 'theirs');
  report(b, 'others');
  await heard(hub, 2);
  wires.a.down();
  const list = await fleet(hub.deps, everything, never);
  assert.deepEqual(list.peers[0], {
    name: 'a',
    reachable: false,
    lastContact: '2026-01-01T00:00:00.000Z',
    words: 'not connected',
  });
  assert.ok(ids(list).includes('peer:b/others'));
  assert.ok(!ids(list).some((id) => id.startsWith('peer:a/')));
});

test('answers that are not what they should be leave the peer out, and nothing else', async () => {
  const { hub, b, wires } = star();
  report(b, 'others');
  wires.a.lastContactMs = null;
  const status = { name: 'a', id: 'x', version: '1', startedAt: '', units: 0, links: [] };
  const unit = { uid: 'u', callsign: 'c', type: 't', team: '', lat: 0, lon: 0, ageMs: 0, from: '', direct: true };
  const bad: unknown[] = [
    null,
    [],
    { total: 1 },
    { total: -1, units: [] },
    { total: 1, units: [{ ...unit, lat: 'north' }] },
    { total: 1, units: [{ ...unit, uid: 'x'.repeat(10_000) }] },
    { total: 9, units: Array.from({ length: 1001 }, () => unit) },
  ];
  const answers: (NodeResponse | (() => NodeResponse))[] = [
    ...bad.map((units) => jsonResponse(200, units)),
    jsonResponse(403, {}),
    { status: 200, headers: {}, body: Buffer.from('{"__proto__":') },
  ];
  for (const answer of answers) {
    wires.a.answer = async ({ path }) => (path === '/status' ? jsonResponse(200, status) : (answer as NodeResponse));
    const list = await fleet(hub.deps, everything, never);
    assert.equal(list.peers[0]!.reachable, false);
    assert.equal(list.peers[0]!.lastContact, null);
    assert.match(list.peers[0]!.words, /cannot be read|answers 403/);
    assert.deepEqual(ids(list), ['peer:b/others']);
  }
});

test('a peer that never answers holds nobody up', async () => {
  const clock = new ManualClock(Date.UTC(2026, 0, 1));
  const { hub, wires } = star(clock);
  wires.a.answer = () => new Promise(() => {});
  const asking = fleet(hub.deps, everything, never);
  await new Promise((done) => setImmediate(done));
  clock.advance(4_000);
  const list = await asking;
  assert.deepEqual(
    list.peers.map(({ reachable, words }) => [reachable, words]),
    [
      [false, 'does not answer'],
      [true, ''],
    ],
  );
});

/** A partner's way to a box: asked over a connection of its own each time. */
function partner({ hub, a }: ReturnType<typeof star>, name: string, answer?: (path: string) => NodeResponse): void {
  const peer = { name, host: 'a.example', port: 8443, via: '', status: 'connecting', onDemand: true } as const;
  const counts = { latencyMs: null, lastContactMs: null, messagesSent: 0, messagesReceived: 0 };
  hub.nodes.provide('partners', {
    peers: () => [{ ...peer, ...counts }],
    call: async (_peer, request) =>
      answer?.(request.path) ?? a.resources.handle({ ...request, hops: 1 }, { name: 'hub', link: 'portal' }, never),
  });
}

test('a box that is a peer and a partner is there once, by its name as a peer, whatever either way tells of its units', async () => {
  const boxes = star();
  const { hub, a } = boxes;
  report(a, 'theirs');
  await heard(hub, 1);
  partner(boxes, 'a-by-https', (path) =>
    path === '/status'
      ? jsonResponse(200, { name: 'a', id: 'id-a', version: '1', startedAt: '', units: 2, links: [] })
      : jsonResponse(200, {
          total: 7,
          units: [
            { ...UNIT, uid: 'theirs' },
            { ...UNIT, uid: 'hidden' },
          ],
        }),
  );
  const list = await fleet(hub.deps, everything, never);
  assert.deepEqual(
    list.relays.map(({ id }) => id),
    ['id-hub', 'peer:a/id-a', 'peer:b/id-b'],
  );
  assert.deepEqual(ids(list), ['peer:a-by-https/hidden', 'peer:a/theirs']);
  assert.equal(list.leftOut, 5, 'what either way leaves out is left out');
  const badges = Object.fromEntries(list.peers.map(({ name, reachable, words }) => [name, [reachable, words]]));
  assert.deepEqual(badges, { a: [true, ''], b: [true, ''], 'a-by-https': [true, 'the same box as a'] });

  boxes.wires.a.down();
  const away = await fleet(hub.deps, everything, never);
  assert.deepEqual(
    away.relays.map(({ id }) => id),
    ['id-hub', 'peer:b/id-b', 'peer:a-by-https/id-a'],
    'the one way is enough',
  );
  const alone = await fleet(hub.deps, { peer: 'a-by-https', search: '' }, never);
  assert.deepEqual(
    alone.relays.map(({ id }) => id),
    ['peer:a-by-https/id-a'],
  );
});

test('a peer and a partner of one name are asked once', async () => {
  const boxes = star();
  partner(boxes, 'a');
  const list = await fleet(boxes.hub.deps, everything, never);
  assert.deepEqual(
    list.peers.map(({ name }) => name),
    ['a', 'b'],
  );
  assert.deepEqual(
    list.relays.map(({ id }) => id),
    ['id-hub', 'peer:a/id-a', 'peer:b/id-b'],
  );
});

test('no peer of a link is hidden by another that says it is the same box', async () => {
  const { hub, wires } = star();
  const status = { name: 'liar', id: 'id-a', version: '1', startedAt: '', units: 0, links: [] };
  wires.b.answer = async ({ path }) => jsonResponse(200, path === '/status' ? status : { total: 0, units: [] });
  const list = await fleet(hub.deps, everything, never);
  assert.deepEqual(
    list.relays.map(({ id }) => id),
    ['id-hub', 'peer:a/id-a', 'peer:b/id-a'],
  );
});

test('what a partner itself answers with 502 or 504 is told as that', async () => {
  for (const [answer, words] of [
    [problemResponse(504, 'x', 'y'), 'does not answer'],
    [{ ...problemResponse(504, 'x', 'y'), answered: true as const }, 'answers 504'],
    [problemResponse(502, 'unreachable', 'refused the connection'), 'refused the connection'],
    [{ ...problemResponse(502, 'x', 'y'), answered: true as const }, 'answers 502'],
  ] as const) {
    const boxes = star();
    partner(boxes, 'p', () => answer);
    const { peers } = await fleet(boxes.hub.deps, { peer: 'p', search: '' }, never);
    assert.deepEqual(
      peers.map(({ reachable, words }) => [reachable, words]),
      [[false, words]],
    );
  }
});
