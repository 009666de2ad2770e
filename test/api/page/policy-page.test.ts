// "Would it cross?" over real HTTPS: the page says what the API says, of example events and pasted ones; it is bounded, escapes what
// strangers call themselves, and is for whoever is logged in.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { EXAMPLES, type Example, exampleXml } from '../../../src/api/page/examples.ts';
import { policyPages } from '../../../src/api/page/policy.ts';
import { askPolicy, type PolicyDeps } from '../../../src/api/routes/policy.ts';
import { isAlert, isUnit, laneOf } from '../../../src/core/policy.ts';
import { networkList } from '../../../src/links/network-keys.ts';
import { policyKeys } from '../../../src/links/policy-keys.ts';
import { scanCot } from '../../../src/wire/cot.ts';
import { Bench, RecordingSession, START_MS } from '../../core/support.ts';
import { pageDeps, rowsIn, servePages, words } from './page-server.ts';

const POLICIES: Readonly<Record<string, object>> = {
  hq: {},
  closed: { out: false },
  units: { allow_types: ['a-'] },
  quiet: { block_types: ['b-m-p-s-p-'] },
  town: { filter_out: { areas: [{ box: [48, 24, 49, 25] }], alerts: 'always' } },
};

async function serve(t: TestContext, networks: readonly object[] = []) {
  const bench = new Bench();
  bench.hub.setNetworks(networkList.parse(networks));
  const entries = { ...POLICIES, ...(networks.length > 0 ? { medics: { network: 'medics' } } : {}), phones: {} };
  const links = Object.entries(entries).map(([name, keys]) => ({ name, kind: 'fed2', policy: policyKeys.parse(keys) }));
  for (const { name, policy } of links) {
    bench.hub.setPolicy(name, policy);
    if (name !== 'phones') bench.join(name, { durable: true });
  }
  const deps: PolicyDeps = { hub: bench.hub, clock: bench.clock, nodeId: 'me', links: () => links, scan: scanCot };
  const unit = { lat: 48.5, lon: 24.5 };
  const pages = {
    ...pageDeps(bench.clock),
    units: () => ({ total: 1, units: [unit] }) as unknown as ReturnType<ReturnType<typeof pageDeps>['units']>,
  };
  const server = await servePages(t, policyPages({ ...pages, ...deps }), bench.clock);
  return { bench, deps, server };
}

const place = { lat: '48.5', lon: '24.5' };

test('for each kind of event the page says of every peer what the API says', async (t) => {
  const { deps, server } = await serve(t);
  const form = await server.get('/policy?from=hq');
  assert.equal(form.status, 200);
  assert.match(form.text, /<option value="hq" selected>hq on hq</);
  assert.match(form.text, /<optgroup label="Whoever comes by the link"><option value="phones">phones</);
  assert.match(form.text, /name="lat" value="48.5"/, 'where units are');
  for (const what of Object.keys(EXAMPLES) as Example[]) {
    const { status, text } = await server.post('/policy', { from: 'hq', what, ...place });
    assert.equal(status, 200, text);
    const xml = exampleXml(what, { lat: 48.5, lon: 24.5, team: '' }, START_MS);
    const report = askPolicy(deps, { xml, from: 'hq', groups: [] });
    const said = report.peers.map((peer) => [
      `${peer.name} on ${peer.link}`,
      peer.crosses ? '● yes' : '■ no',
      peer.words,
    ]);
    assert.ok(said.length === 4 && new Set(said.map(([, crosses]) => crosses)).size === 2, 'some do, some do not');
    assert.deepEqual(rowsIn(text, 'Peers'), said, what);
    assert.match(words(text), /● Let in: no rule stops it\. Answered for the network main\./);
  }
});

test('the examples are what they are called', () => {
  const read = (what: Example) => scanCot(Buffer.from(exampleXml(what, { lat: 1, lon: 2, team: 'A&"B' }, START_MS)));
  assert.ok(isUnit(read('position')));
  assert.equal(read('position').team, 'A&"B');
  assert.ok(isAlert(read('alert')));
  const lanes = Object.keys(EXAMPLES).map((what) => laneOf({ kind: 'event', event: read(what as Example) }));
  assert.deepEqual(lanes, [3, 1, 0, 4, 2]);
  assert.deepEqual(read('chat').destCallsigns.length + read('chat').destUids.length, 0, 'to all');
});

test('a place outside the area, a group, and what is not let in at all', async (t) => {
  const { bench, server } = await serve(t);
  const away = await server.post('/policy', { what: 'position', lat: '50', lon: '24.5' });
  assert.deepEqual(
    rowsIn(away.text, 'Peers').find(([name]) => name === 'town on town'),
    ['town on town', '■ no', 'filter_out.areas stops it, or cannot rule out that it should'],
  );
  bench.hub.setPolicy('hq', policyKeys.parse({ groups_in: ['Blue'] }));
  const other = await server.post('/policy', { from: 'hq', what: 'chat', group: 'Red', ...place });
  assert.match(words(other.text), /■ Not let in: groups_in: \[Blue\] stops it/);
  assert.ok(rowsIn(other.text, 'Peers').every(([, crosses, why]) => crosses === '■ no' && /groups_in/.test(why!)));
  const blue = await server.post('/policy', { from: 'hq', what: 'chat', group: ' Blue ', ...place });
  assert.match(words(blue.text), /● Let in/);
});

test('which network was answered for; nothing crosses to others, from nobody either', async (t) => {
  const { server } = await serve(t, [{ name: 'medics' }, { name: 'police' }]);
  const crossing = async (from: string) => {
    const { text } = await server.post('/policy', { from, what: 'position', ...place });
    const network = /Answered for the network (\w+)\./.exec(text)?.[1];
    const yes = rowsIn(text, 'Peers').flatMap(([name, crosses]) => (crosses === '● yes' ? [name] : []));
    return { network, yes };
  };
  const main = ['hq on hq, network main', 'units on units, network main', 'quiet on quiet, network main'];
  const all = [...main, 'town on town, network main'];
  assert.deepEqual(await crossing(''), { network: 'main', yes: all });
  assert.deepEqual(await crossing('phones'), { network: 'main', yes: all });
  assert.deepEqual(await crossing('medics'), { network: 'medics', yes: [] });
});

test('a pasted event; what is none, too much, or from nobody is refused in words, and the form keeps what was typed', async (t) => {
  const { bench, server } = await serve(t);
  bench.join('phones/x', {}, new RecordingSession('<b>evil</b>'));
  const xml = exampleXml('marker', { lat: 48.5, lon: 24.5, team: '' }, START_MS);
  const pasted = await server.post('/policy', { what: 'xml', xml: xml.replaceAll('>', '>\r\n') });
  assert.match(words(pasted.text), /Answer for b-m-p-s-m EXAMPLE point/);
  assert.doesNotMatch(pasted.text, /<b>evil/);
  assert.match(pasted.text, /&lt;b&gt;evil/);
  const refused = async (fields: Record<string, string>) => {
    const { status, text } = await server.post('/policy', fields);
    return `${status} ${words(/role="alert">(.*?)<\/p>/s.exec(text)?.[1] ?? '')}`;
  };
  assert.match(await refused({ what: 'xml', xml: '<event/>' }), /^422 this is no CoT event/);
  assert.match(await refused({ what: 'xml' }), /^400 there is no event in the form/);
  assert.match(await refused({ what: 'xml', xml: 'x'.repeat(50_000) }), /^400 an event may have 49152 characters/);
  assert.match(await refused({ what: 'position', lat: '91' }), /^400 no place on earth: 91/);
  assert.match(await refused({ what: 'position', lat: 'north' }), /^400 no place on earth: north/);
  assert.match(await refused({ what: 'position', from: 'nobody' }), /^404 no peer is called &quot;nobody&quot;/);
  assert.equal((await server.post('/policy', { what: 'xml', xml: 'x'.repeat(250_000) })).status, 413);
  assert.equal((await server.post('/policy', { what: 'everything' })).status, 400);
  const kept = await server.post('/policy', { what: 'xml', xml: '</textarea><i>' });
  assert.match(kept.text, /&lt;\/textarea&gt;&lt;i&gt;/);
});

test('it is for whoever is logged in', async (t) => {
  const { server } = await serve(t);
  const { status, headers } = await server.stranger.get('/policy');
  assert.deepEqual([status, headers.location], [303, '/login']);
  assert.equal((await server.stranger.post('/policy', { what: 'position' })).status, 401);
  assert.equal((await server.forged.post('/policy', { what: 'position' })).status, 403);
  assert.equal(server.deeds.filter(({ code }) => code === '').length, 0, 'nothing was changed');
});
