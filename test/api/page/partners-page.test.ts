// The pages of partners and of the fleet over real HTTPS: how each partner stands, the button that asks, a badge for who does not answer
// while the rest is shown; nothing of a secret, and what partners call their things is text.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { fleetPages } from '../../../src/api/page/fleet.ts';
import { partnerPages } from '../../../src/api/page/partners.ts';
import { ManualClock } from '../../../src/lib/clock.ts';
import { inbound, position } from '../../core/support.ts';
import { Box, join } from '../boxes.ts';
import { type FarEnd, farEnd, json, PARTNERS_LINK, partnerBox, relayAnswers, THEIR_SECRET } from '../partner-box.ts';
import { pageDeps, rowsIn, servePages, words } from './page-server.ts';

async function serve(t: TestContext) {
  const far = await farEnd(t);
  const clock = new ManualClock(Date.now());
  const box = await partnerBox(t, clock);
  const ours = await box.add('hq', far);
  const relay = new Box('us', clock);
  relay.nodes.provide(PARTNERS_LINK, box.desk);
  const asked: string[] = [];
  const fleet = { ...pageDeps(clock), hub: relay.hub, nodes: relay.nodes, snapshot: () => relay.snapshot() };
  const onPeerCalled = ({ who, peer, path }: { who: string; peer: string; path: string }) =>
    void asked.push(`${who} ${peer} ${path}`);
  const routes = [...partnerPages({ ...pageDeps(clock), ...box.deps }), ...fleetPages({ ...fleet, onPeerCalled })];
  return { far, clock, box, ours, relay, asked, server: await servePages(t, routes, clock) };
}

/** What stands under a term of a partner's card. */
function fact(text: string, partner: string, term: string): string {
  const card = text.slice(text.indexOf(`<h2>${partner} `));
  const found = card.slice(card.indexOf(`<dt>${term}</dt>`));
  return words(found.slice(found.indexOf('<dd>'), found.indexOf('</dd>')));
}

const badge = (text: string, partner: string) =>
  words(new RegExp(`<h2>${partner} (.*?)</h2>`, 's').exec(text)?.[1] ?? '');

test('G5: each partner with its state, pings both ways, age of the secrets, calls by outcome; the secrets never', async (t) => {
  const { far, clock, box, ours, server } = await serve(t);
  await box.desk.partners.add('watcher', { pins: ['d'.repeat(64)], units: false });
  const first = await server.get('/partners');
  assert.equal(first.status, 200);
  assert.equal(badge(first.text, 'hq'), '▲ not called since the start');
  assert.equal(badge(first.text, 'watcher'), '○ calls us, and is not called');
  assert.doesNotMatch(first.text, /Ping watcher/);
  assert.equal(fact(first.text, 'watcher', 'Secret we show it'), 'not entered here yet');
  assert.equal(fact(first.text, 'watcher', 'What it sees'), 'relays and links, no units');

  const pinged = await server.post('/partners/ping', { name: 'hq' });
  assert.match(words(pinged.text), /● hq answers: both factors are right there; 0 ms\./);
  assert.equal(badge(pinged.text, 'hq'), '● Answers');
  clock.advance(90 * 60_000);
  box.desk.pinged('hq');
  await box.desk.partners.rotate('hq', 2);
  far.answer = json(503, {});
  const failed = await server.post('/partners/ping', { name: 'hq' });
  assert.match(words(failed.text), /■ hq: Its server fails\. answers 503/);
  clock.advance(120_000);
  const { text } = await server.get('/partners');
  assert.equal(badge(text, 'hq'), '■ Its server fails');
  assert.equal(fact(text, 'hq', 'Our last ping'), '2 min ago: Its server fails, answers 503');
  assert.equal(fact(text, 'hq', 'Its last ping'), '2 min ago: both factors right');
  assert.equal(fact(text, 'hq', 'Last contact'), '92 min ago');
  assert.match(fact(text, 'hq', 'Secret it shows us'), /^made 2 min ago; the one before is good until \d{4}-/);
  assert.equal(fact(text, 'hq', 'Secret we show it'), 'entered 92 min ago');
  assert.equal(fact(text, 'hq', 'Calls to it'), 'ok 1, failed 1');
  assert.deepEqual(box.called, ['hq /api/federation/ping ok', 'hq /api/federation/ping failed']);
  for (const { text } of [first, pinged, failed]) assert.ok(!text.includes(ours) && !text.includes(THEIR_SECRET));
});

test('G5: Unreachable is who does not answer, and not who refuses', async (t) => {
  const { far, server } = await serve(t);
  far.answer = json(401, { code: 'secret_wrong', detail: '<b>wrong</b>' }, 'application/problem+json');
  const refused = await server.post('/partners/ping', { name: 'hq' });
  assert.equal(badge(refused.text, 'hq'), '■ Refuses our secret');
  assert.match(refused.text, /&lt;b&gt;wrong/);
  await far.close();
  const gone = await server.post('/partners/ping', { name: 'hq' });
  assert.equal(badge(gone.text, 'hq'), '■ Unreachable');
  assert.match(words(gone.text), /■ hq: Unreachable\. .*refused the connection/);
  assert.equal((await server.post('/partners/ping', { name: 'nobody' })).status, 404);
});

test('another partner of the same name begins anew', async (t) => {
  const { far, box, server } = await serve(t);
  assert.equal(badge((await server.post('/partners/ping', { name: 'hq' })).text, 'hq'), '● Answers');
  box.desk.partners.remove('hq');
  assert.match((await server.get('/partners')).text, /<p>There is none\./);
  await box.add('hq', far);
  const { text } = await server.get('/partners');
  assert.equal(badge(text, 'hq'), '▲ not called since the start');
  assert.equal(fact(text, 'hq', 'Last contact'), 'none since the start');
});

test('partners are for whoever is logged in, and a ping is no other page’s to send', async (t) => {
  const { server, box } = await serve(t);
  const { status, headers } = await server.stranger.get('/partners');
  assert.deepEqual([status, headers.location], [303, '/login']);
  assert.equal((await server.stranger.post('/partners/ping', { name: 'hq' })).status, 401);
  assert.equal((await server.forged.post('/partners/ping', { name: 'hq' })).status, 403);
  assert.equal((await server.stranger.get('/fleet')).status, 401);
  assert.deepEqual(box.called, []);
});

test('G5: the fleet: partners and peers in one list, searched there; who is away is a badge, the rest is whole', async (t) => {
  const { far, clock, relay, asked, server } = await serve(t);
  const timeMs = clock.wallMs();
  const mine = position('OURS', { timeMs, staleMs: timeMs + 60_000 });
  relay.phone('OURS').port.deliver(inbound(mine));
  const gone = join(relay, new Box('gone', clock)).ab;
  gone.lastContactMs = timeMs - 600_000;
  gone.down();
  const unit = { type: 'a-f-G', team: 'Cyan', lat: 1.5, lon: 2.5, ageMs: 30_000, from: 'phones', direct: true };
  const queries: (string | null)[] = [];
  const answers = relayAnswers('their <i>hub</i>', 'ws-far', [{ ...unit, uid: 'FAR', callsign: '<b>BRAVO</b>' }]);
  far.answer = (request, response) => {
    const { pathname, searchParams } = new URL(request.url!, 'https://far');
    if (pathname.endsWith('/units')) queries.push(searchParams.get('q'));
    answers(request, response);
  };
  const { status, text } = await server.get('/fleet?q=');
  assert.equal(status, 200);
  assert.deepEqual(rowsIn(text, 'Peers'), [
    ['gone', '■ Unreachable', '10 min ago', 'not connected'],
    ['hq', '● answers', '0 s ago', ''],
  ]);
  assert.deepEqual(
    rowsIn(text, 'Relays').map(([name, behind]) => [name, behind]),
    [
      ['us id-us', 'this box'],
      ['their &lt;i&gt;hub&lt;/i&gt; peer:hq/ws-far', 'hq'],
    ],
  );
  assert.deepEqual(
    rowsIn(text, 'Units').map(([unit, , , behind, , fix]) => [unit, behind, fix]),
    [
      ['OURS OURS', 'this box', '0 s old'],
      ['&lt;b&gt;BRAVO&lt;/b&gt; peer:hq/FAR', 'hq', '30 s old'],
    ],
  );
  assert.deepEqual(asked.sort(), ['owner hq /status', 'owner hq /units?q=']);
  const found = await server.get('/fleet?peer=hq&q=a%26b%22%3E');
  assert.match(found.text, /value="a&amp;b&quot;&gt;"/);
  assert.match(found.text, /<option value="hq" selected>hq</);
  assert.deepEqual(queries, ['', 'a&b">'], 'the partner does the searching');
  assert.equal(rowsIn(found.text, 'Relays').length, 0);
  await unreachable(far, server);
});

async function unreachable(far: FarEnd, server: Awaited<ReturnType<typeof serve>>['server']): Promise<void> {
  await far.close();
  const { text } = await server.get('/fleet');
  const [, away] = rowsIn(text, 'Peers');
  assert.deepEqual(away?.slice(0, 3), ['hq', '■ Unreachable', '0 s ago']);
  assert.match(away?.[3] ?? '', /refused the connection/);
  assert.match(words(text), /■ 2 peers unreachable:/);
  assert.deepEqual(
    rowsIn(text, 'Units').map(([unit]) => unit),
    ['OURS OURS'],
  );
  assert.equal(badge((await server.get('/partners')).text, 'hq'), '■ Unreachable', 'and there, too');
}
