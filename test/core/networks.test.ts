// Networks inside one box: apart until two federate, then as far as both sides let it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SAMPLE_MS } from '../../src/core/history.ts';
import type { NetworkEntry } from '../../src/core/networks.ts';
import { DEFAULT_POLICY, type Policy } from '../../src/core/policy.ts';
import { filtersIn } from '../../src/core/probe.ts';
import { networkStatus, type Totals, totals } from '../../src/core/status.ts';
import { networkList } from '../../src/links/network-keys.ts';
import { Bench, contact, inbound, START_MS, chat as said, position as seen } from './support.ts';

const position = (...args: Parameters<typeof seen>) => inbound(seen(...args));
const chat = (...args: Parameters<typeof said>) => inbound(said(...args));

const entries = (...networks: object[]): readonly NetworkEntry[] => networkList.parse(networks);
const pair = (ours: Partial<Policy>, theirs?: Partial<Policy>) =>
  entries(
    { name: 'medics', peers: [{ name: 'police', policy: keys(ours) }] },
    { name: 'police', peers: theirs ? [{ name: 'medics', policy: keys(theirs) }] : [] },
  );

function keys({ dpIn, dpOut, allowTypes, ...rest }: Partial<Policy>): object {
  return {
    ...rest,
    ...(dpIn === undefined ? {} : { dp_in: dpIn }),
    ...(dpOut === undefined ? {} : { dp_out: dpOut }),
    ...(allowTypes ? { allow_types: allowTypes } : {}),
  };
}

/** Two peers of each network, one of the main one. */
function town(networks: readonly NetworkEntry[]) {
  const bench = new Bench();
  bench.hub.setNetworks(networks);
  for (const network of ['medics', 'police']) bench.hub.setPolicy(network, { ...DEFAULT_POLICY, network });
  const join = (key: string) => bench.join(key, { durable: true, graceMs: 60_000 });
  const peers = {
    m1: join('medics/1'),
    m2: join('medics/2'),
    p1: join('police/1'),
    p2: join('police/2'),
    main: join('main/1'),
  };
  const heard = () =>
    Object.entries(peers).flatMap(([name, { log }]) => (log.some((uid) => !uid.startsWith('+')) ? [name] : []));
  const forget = () => {
    for (const { sent } of Object.values(peers)) sent.length = 0;
  };
  return { bench, ...peers, heard, forget };
}

test('G3: networks are apart until they federate: positions, contacts, chat, late joiners', () => {
  const { bench, m1, p1, heard, forget } = town(pair({}).map(({ name }) => ({ name, peers: [] })));
  m1.port.deliver(position('DOC'));
  m1.port.deliver(contact('create', 'NURSE', 'NURSE'));
  assert.deepEqual(heard(), ['m2']);
  assert.deepEqual(p1.log, [], 'nor that somebody is there');
  forget();
  p1.port.deliver(chat('c1', { destUids: ['DOC'] }));
  assert.deepEqual([heard(), bench.peer('police/1').refused], [[], { no_recipient: 1 }]);
  assert.deepEqual(bench.join('police/3').log, []);
  assert.deepEqual(
    bench.join('medics/3').log.filter((uid) => uid === 'DOC'),
    ['DOC'],
  );
  assert.deepEqual(bench.balance(), []);
});

test('G3: two networks federate at once, named on either side alone; a third hears nothing', () => {
  const { bench, m1, p1, heard, forget } = town([]);
  bench.hub.setNetworks(pair({}));
  m1.port.deliver(position('DOC'));
  assert.deepEqual(heard(), ['m2', 'p1', 'p2']);
  forget();
  p1.port.deliver(chat('c1', { destUids: ['DOC'] }));
  assert.deepEqual(heard(), ['m1']);
  bench.hub.setNetworks(entries({ name: 'medics' }, { name: 'police' }));
  forget();
  m1.port.deliver(position('DOC', { timeMs: START_MS + 1 }));
  assert.deepEqual(heard(), ['m2'], 'and stop at once');
});

test('G3: toggles In, Out, DP-In, DP-Out of each side', () => {
  const ways = (ours: Partial<Policy>, theirs: Partial<Policy>) => {
    const { m1, p1, heard, forget, bench } = town(pair(ours, theirs));
    const crossed = (from: typeof m1, other: string, message: ReturnType<typeof position>) => {
      forget();
      from.port.deliver(message);
      return heard().includes(other);
    };
    const pack = (digest: string) => ({ message: { kind: 'blob', summary: '' }, size: 9, digest }) as const;
    const answer = [
      crossed(m1, 'p1', position('DOC')) && 'out',
      crossed(p1, 'm1', position('COP')) && 'in',
      crossed(m1, 'p1', pack('a')) && 'dp_out',
      crossed(p1, 'm1', pack('b')) && 'dp_in',
    ];
    assert.deepEqual(bench.balance(), []);
    return answer.filter(Boolean).join(' ');
  };
  assert.equal(ways({}, {}), 'out in dp_out dp_in');
  assert.equal(ways({ in: false }, {}), 'out dp_out dp_in');
  assert.equal(ways({}, { in: false }), 'in dp_out dp_in');
  assert.equal(ways({ out: false }, {}), 'in dp_out dp_in');
  assert.equal(ways({}, { dpIn: false }), 'out in dp_in');
  assert.equal(ways({ dpIn: false }, { out: false }), 'out dp_out');
  assert.equal(ways({ in: false, out: false, dpIn: false, dpOut: false }, {}), '', 'paused');
});

test('types and groups of a pair; what crosses is counted, each way', () => {
  const { bench, m1, heard, forget } = town(pair({ allowTypes: ['a-f-'] }));
  m1.port.deliver(position('DOC'));
  forget();
  m1.port.deliver(position('FOE', { type: 'a-h-G' }));
  assert.deepEqual(heard(), ['m2']);
  const [out, back] = bench.hub.crossings;
  assert.deepEqual([out?.from, out?.to, out?.crossed, out?.stopped], ['medics', 'police', 1, 1]);
  assert.deepEqual([back?.crossed, back?.lastMs], [0, null]);
});

test('what both networks hear by ways of their own is told once in each, federated or not', () => {
  for (const networks of [entries({ name: 'medics' }, { name: 'police' }), pair({}), pair({ out: false })]) {
    const { m1, m2, p1, p2 } = town(networks);
    const said = position('UAV');
    m1.port.deliver(said);
    p1.port.deliver(said);
    m2.port.deliver(said);
    assert.equal(p2.log.filter((uid) => uid === 'UAV').length, 1);
    assert.equal(m2.log.filter((uid) => uid === 'UAV').length, 1);
  }
});

test('a network cannot silence a unit of another by speaking in its name', () => {
  const { m1, p1, p2 } = town(entries({ name: 'medics' }, { name: 'police' }));
  m1.port.deliver(position('COP', { timeMs: START_MS + 20_000 }));
  p1.port.deliver(position('COP'));
  assert.deepEqual(p2.log.at(-1), 'COP');
});

test('a peer with rules of its own stays in the network of its link, and may be put into another', () => {
  const { bench, m1, p2, main, forget } = town(entries({ name: 'medics' }, { name: 'police' }));
  bench.hub.setPeerPolicy('police/2', { ...DEFAULT_POLICY, dpIn: false });
  main.port.deliver(position('MAYOR'));
  m1.port.deliver(position('DOC'));
  assert.equal(p2.log.length, 0);
  bench.hub.setPeerPolicy('police/2', { ...DEFAULT_POLICY, network: 'medics' });
  forget();
  m1.port.deliver(position('DOC', { timeMs: START_MS + 1 }));
  assert.ok(p2.log.includes('DOC'));
});

test('a probe says that networks keep two peers apart', () => {
  const { bench } = town(pair({}));
  const stops = () => filtersIn(bench.peer('medics/1'), 'here', bench.clock, bench.peer('police/1'));
  assert.deepEqual(stops(), []);
  bench.hub.setNetworks(entries({ name: 'medics' }, { name: 'police' }));
  assert.deepEqual(
    stops().map(({ rule, words }) => [rule, words]),
    [['networks', 'it is in the network medics, with which that of the peer does not federate']],
  );
});

test('what waits for a peer is asked again when two networks no longer federate', () => {
  const { bench, m1, p1 } = town(pair({}));
  p1.room = 0;
  m1.port.deliver(chat('c1'));
  assert.equal(bench.peer('police/1').waits, 1);
  bench.hub.setNetworks(entries({ name: 'medics' }, { name: 'police' }));
  p1.room = 9;
  p1.port.writable();
  assert.deepEqual([p1.log, bench.balance()], [[], []]);
});

test('each network has its totals and rates, of those who left, too; together they are those of the box', () => {
  const { bench, m1, p1 } = town(pair({}).map(({ name }) => ({ name, peers: [] })));
  const guest = bench.join('medics/guest');
  bench.clock.advance(SAMPLE_MS); // from here on it is counted
  for (let at = 0; at < 20; at++) m1.port.deliver(position('DOC', { timeMs: START_MS + at }));
  p1.port.deliver(position('COP'));
  guest.port.deliver(position('GUEST'));
  bench.clock.advance(SAMPLE_MS);
  const of = (name: string) => networkStatus(bench.hub).find((one) => one.name === name)!;
  const ins = (name: string) => {
    const { connected, rates, totals } = of(name);
    return [connected, rates.in, totals.received];
  };
  assert.deepEqual(
    [ins('medics'), ins('police'), ins('main')],
    [
      [3, 2.1, 21],
      [2, 0.1, 1],
      [1, 0, 0],
    ],
  );
  // DOC went to two of the medics 20 times, GUEST to two of them; COP to one of the police.
  assert.ok(of('medics').rates.out >= 4.2 && of('medics').totals.sent >= 42);
  assert.ok(of('police').totals.sent >= 1 && of('police').totals.sent < 5);
  assert.deepEqual([of('main').rates.out, of('main').totals.sent], [0, 0]);
  guest.close('remote_closed');
  bench.clock.advance(60_000);
  assert.equal(bench.hub.departed.get('medics medics')?.received.events, 1);
  assert.deepEqual([of('medics').connected, of('medics').totals.received], [2, 21], 'what the guest said stays');
  const sum = (pick: (totals: Totals) => number) =>
    networkStatus(bench.hub).reduce((total, one) => total + pick(one.totals), 0);
  const all = totals(bench.hub);
  assert.deepEqual([sum(({ received }) => received), sum((one) => one.sent)], [all.received, all.sent]);
  assert.deepEqual(of('medics').links, ['medics']);
  bench.hub.setNetworks([]);
  assert.deepEqual(networkStatus(bench.hub), [], 'the box is one network');
});

test('the file: what cannot be meant', () => {
  const wrong = (networks: unknown) =>
    networkList
      .safeParse(networks)
      .error?.issues.map(({ message }) => message)
      .join();
  assert.match(wrong([{ name: 'a', peers: [{ name: 'b', policy: { groups_in: ['X:Y'] } }] }])!, /no rules, filters/);
  assert.match(wrong([{ name: 'a', peers: [{ name: 'b', policy: { max_hops: 2 } }] }])!, /no max_hops/);
  assert.match(wrong([{ name: 'A b' }])!, /expected 1 to 32/);
  assert.ok(wrong(Array.from({ length: 17 }, (_, at) => ({ name: `n${at}` }))));
});
