// Would this event cross, and which rule decides: over HTTP and on the command line, and always as the hub then really does.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { policyRoutes } from '../../src/api/routes/policy.ts';
import { runCli } from '../../src/cli/cli.ts';
import type { CliContext } from '../../src/cli/command.ts';
import { policyCommand } from '../../src/cli/policy.ts';
import type { PolicyReport } from '../../src/core/policy-test.ts';
import { networkList } from '../../src/links/network-keys.ts';
import { policyKeys } from '../../src/links/policy-keys.ts';
import { scanCot } from '../../src/wire/cot.ts';
import { Bench, phoneSays, RecordingSession, START_MS } from '../core/support.ts';
import { OPERATOR, serveApi } from './api-server.ts';

const iso = (ms: number) => new Date(ms).toISOString();

interface Said {
  readonly type?: string;
  readonly how?: string;
  readonly lat?: number;
  readonly detail?: string;
  readonly timeMs?: number;
}

function xml(
  uid: string,
  { type = 'a-f-G-U-C', how = 'm-g', lat = 48.5, detail, timeMs = START_MS }: Said = {},
): string {
  const inner = detail ?? `<contact callsign="${uid.toUpperCase()}" endpoint="*:-1:stcp"/>`;
  return (
    `<event version="2.0" uid="${uid}" type="${type}" how="${how}" time="${iso(timeMs)}" start="${iso(timeMs)}" ` +
    `stale="${iso(timeMs + 120_000)}"><point lat="${lat}" lon="24.5" hae="0" ce="1" le="1"/><detail>${inner}</detail></event>`
  );
}

const POLICIES: Readonly<Record<string, object>> = {
  open: {},
  closed: { out: false },
  types: { allow_types: ['a-f-'] },
  blocked: { block_types: ['a-f-G-U'] },
  groups: { groups_out: ['X:Blue'] },
  area: { filter_out: { areas: [{ box: [48, 24, 49, 25] }], alerts: 'always' } },
  rules: {
    rules_out: [
      { deny: { callsigns: ['SECRET*'] } },
      { thin: { types: ['a-'] }, every_seconds: 30 },
      { allow: { types: ['a-f-'] } },
    ],
  },
};

const LINKS = Object.entries({ ...POLICIES, medics: { network: 'medics', block_types: ['b-'] } }).map(
  ([name, keys]) => ({ name, kind: 'cot', policy: policyKeys.parse(keys) }),
);

function box(): {
  readonly bench: Bench;
  readonly sessions: ReadonlyMap<string, RecordingSession>;
  readonly source: RecordingSession;
} {
  const bench = new Bench();
  const source = bench.join('source');
  const sessions = new Map<string, RecordingSession>();
  for (const [link, keys] of Object.entries(POLICIES)) {
    bench.hub.setPolicy(link, policyKeys.parse(keys));
    sessions.set(link, bench.join(link));
  }
  const phone = new RecordingSession('phone');
  phone.says = (message) => phoneSays(message) && message.kind === 'event' && !message.event.type.startsWith('t-x');
  sessions.set('phone', bench.join('phone', {}, phone));
  return { bench, sessions, source };
}

async function serve(t: TestContext, { hub, clock }: Bench): Promise<string> {
  return (await serveApi(t, { routes: policyRoutes({ hub, clock, nodeId: 'me', links: () => LINKS, scan: scanCot }) }))
    .url;
}

async function ask(url: string, question: object): Promise<{ readonly status: number; readonly report: PolicyReport }> {
  const answer = await fetch(`${url}/api/policy/test`, {
    method: 'POST',
    headers: { ...OPERATOR, 'content-type': 'application/json' },
    body: JSON.stringify(question),
  });
  return { status: answer.status, report: (await answer.json()) as PolicyReport };
}

const decided = (report: PolicyReport) =>
  Object.fromEntries(report.peers.map(({ peer, crosses, rule }) => [peer, [crosses, rule]]));

test('for every peer: does it cross, and which rule decides', async (t) => {
  const url = await serve(t, box().bench);
  const { report } = await ask(url, { xml: xml('alpha'), from: 'source' });
  assert.deepEqual(report.entry, { crosses: true, rule: '', words: 'no rule stops it' });
  assert.deepEqual(decided(report), {
    open: [true, ''],
    closed: [false, 'out'],
    types: [true, ''],
    blocked: [false, 'block_types'],
    groups: [false, 'groups_out'],
    area: [true, ''],
    rules: [true, 'rules_out[2]'],
    phone: [true, ''],
  });
  const words = (peer: string) => report.peers.find((one) => one.peer === peer)!.words;
  assert.equal(words('blocked'), 'block_types: [a-f-G-U] stops it');
  assert.equal(words('rules'), 'rules_out[2] allows it; at most one position of a unit in 30 s');
  const away = await ask(url, { xml: xml('secret-1', { lat: 50 }) });
  assert.deepEqual(decided(away.report).area, [false, 'filter_out.areas']);
  assert.deepEqual(decided(away.report).rules, [false, 'rules_out[0]']);
  const hostile = await ask(url, { xml: xml('h', { type: 'a-h-G' }) });
  assert.deepEqual(decided(hostile.report).types, [false, 'allow_types']);
  assert.deepEqual(decided(hostile.report).rules, [false, 'rules']);
  const grouped = await ask(url, { xml: xml('alpha'), groups: ['Blue', 'Red'] });
  assert.deepEqual(grouped.report.peers.find(({ peer }) => peer === 'groups')!.groups, ['X']);
  const odd = await ask(url, { xml: xml('x', { type: 't-x-c-x', how: 'm-g' }) });
  assert.deepEqual(decided(odd.report).phone, [false, 'protocol']);
});

test('what is not let in is named first', async (t) => {
  const { bench } = box();
  bench.hub.setPolicy('source', policyKeys.parse({ filter_in: { block_callsigns: ['AL*'] }, groups_in: [] }));
  const url = await serve(t, bench);
  const { report } = await ask(url, { xml: xml('alpha'), from: 'source' });
  assert.deepEqual([report.entry.crosses, report.entry.rule], [false, 'filter_in.block_callsigns']);
  const stale = await ask(url, { xml: xml('alpha', { timeMs: START_MS - 86_400_000 }), from: 'source' });
  assert.deepEqual([stale.report.entry.crosses, stale.report.entry.rule], [false, 'stale']);
});

test('packages have switches of their own', async (t) => {
  const { bench } = box();
  bench.hub.setPolicy('source', policyKeys.parse({ dp_in: false }));
  bench.hub.setPolicy('open', policyKeys.parse({ dp_out: false }));
  const url = await serve(t, bench);
  const offer = xml('f', { type: 'b-f-t-r', detail: '<fileshare filename="a.zip" sha256="0" sizeInBytes="1"/>' });
  const { report } = await ask(url, { xml: offer, from: 'source' });
  assert.deepEqual([report.entry.crosses, report.entry.rule], [false, 'dp_in']);
  assert.deepEqual(decided((await ask(url, { xml: offer })).report).open, [false, 'dp_out']);
});

test('which network is answered for: that of the peer, of the link, main where nobody is named', async (t) => {
  const { bench } = box();
  bench.hub.setNetworks(networkList.parse([{ name: 'medics' }, { name: 'police' }]));
  bench.hub.setPolicy('medics', policyKeys.parse({ network: 'medics' }));
  bench.join('medics/doc');
  const url = await serve(t, bench);
  const asked = async (from: string | undefined, type?: string) => {
    const { report } = await ask(url, { xml: xml('alpha', type === undefined ? {} : { type }), ...(from && { from }) });
    const [main, medics] = ['open', 'medics/doc'].map((key) => report.peers.find(({ peer }) => peer === key));
    return [report.network, report.entry.rule, main?.rule, medics?.rule, medics?.network];
  };
  assert.deepEqual(await asked(undefined), ['main', '', '', 'networks', 'medics']);
  assert.deepEqual(await asked('source'), ['main', '', '', 'networks', 'medics']);
  assert.deepEqual(await asked('medics/doc'), ['medics', '', 'networks', undefined, undefined]);
  assert.deepEqual(await asked('medics'), ['medics', '', 'networks', '', 'medics'], 'whoever comes by the link');
  assert.deepEqual((await asked('medics', 'b-t-f'))[1], 'block_types', 'as the link is configured');
});

test('a link is a link whatever peers call themselves', async (t) => {
  const { bench } = box();
  bench.join('phone/x', {}, new RecordingSession('medics'));
  const { report } = await ask(await serve(t, bench), { xml: xml('alpha', { type: 'b-t-f' }), from: 'medics' });
  assert.deepEqual([report.from, report.entry.rule], ['medics', 'block_types']);
});

test('what is no event, no peer or too much is refused in words', async (t) => {
  const url = await serve(t, box().bench);
  assert.equal((await ask(url, { xml: '<event/>' })).status, 422);
  assert.equal((await ask(url, { xml: 'x'.repeat(60_000) })).status, 400);
  assert.equal((await ask(url, { xml: xml('a'), from: 'nobody' })).status, 404);
  assert.equal((await ask(url, { xml: xml('a'), extra: 1 })).status, 400);
});

test('the answer is what then happens, for hundreds of events', async (t) => {
  const { bench, sessions, source } = box();
  const url = await serve(t, bench);
  let state = 5;
  const pick = <T>(list: readonly T[]): T => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return list[(state >>> 8) % list.length]!;
  };
  for (let n = 0; n < 200; n++) {
    const text = xml(`${pick(['alpha', 'secret'])}-${n}`, {
      type: pick(['a-f-G-U-C', 'a-h-G', 'a-f-A', 'b-t-f', 'b-a-o-tbl', 'b-m-p-s-m']),
      lat: pick([48.5, 50]),
      how: pick(['m-g', 'h-e']),
    });
    const groups = pick([[], ['Blue'], ['Red', 'Blue']]);
    const { report } = await ask(url, { xml: text, from: 'source', groups });
    const before = new Map([...sessions].map(([key, session]) => [key, session.events.length]));
    const bytes = Buffer.from(text);
    const message = { kind: 'event', event: scanCot(bytes) } as const;
    source.port.deliver({ message, wire: { format: 'xml', bytes }, size: bytes.length, groups });
    for (const { peer, crosses, groups: shown } of report.peers) {
      const session = sessions.get(peer)!;
      assert.equal(session.events.length > before.get(peer)!, crosses, `${text} to ${peer}`);
      if (crosses) assert.deepEqual(session.groupsSent.at(-1), shown);
    }
  }
});

test('on the command line', async (t) => {
  const { bench } = box();
  const url = await serve(t, bench);
  const said = { out: '', err: '' };
  const context: CliContext = {
    version: '0',
    commit: '0',
    env: { config: undefined, data: undefined, token: OPERATOR.authorization!.slice('Bearer '.length) },
    defaults: { hostName: 'h', dataFolder: 'd' },
    signal: new AbortController().signal,
    stdoutIsTerminal: true,
    out: (text) => {
      said.out += text;
    },
    err: (text) => {
      said.err += text;
    },
    readStdin: async () => Buffer.from(xml('alpha')),
  };
  const args = ['policy', 'test', '-', '--from', 'source', '--group', 'Blue', '--api', url];
  assert.equal(await runCli(args, [policyCommand], context), 0, said.err);
  assert.match(said.out, /^a-f-G-U-C ALPHA from source: let in.*\nAnswered for the network main\.\n/);
  assert.match(said.out, /closed \[closed\] +no +out +out: false stops it/);
  assert.match(said.out, /rules \[rules\] +yes +rules_out\[2\]/);
  said.out = '';
  assert.equal(await runCli(['policy', 'test', '-', '--api', url], [policyCommand], context), 0, said.err);
  assert.match(said.out, /^Answered for the network main, as no --from says where it comes from\.$/m);
  assert.equal(await runCli(['policy'], [policyCommand], context), 2);
});
