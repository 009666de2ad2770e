// What waits for a peer, over HTTP and on the command line.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { queueRoutes } from '../../src/api/routes/queue.ts';
import { runCli } from '../../src/cli/cli.ts';
import type { CliContext } from '../../src/cli/command.ts';
import { queueCommand } from '../../src/cli/queue.ts';
import { PROFILE_BUDGETS } from '../../src/core/budget.ts';
import { DEFAULT_POLICY } from '../../src/core/policy.ts';
import { QUEUE_LIMITS } from '../../src/core/queue.ts';
import { MAX_LISTED, type QueueReport } from '../../src/core/queue-report.ts';
import { Bench, chat, contact, inbound, position } from '../core/support.ts';
import { OPERATOR, serveApi } from './api-server.ts';

async function serve(t: TestContext, { hub, clock }: Bench): Promise<string> {
  return (await serveApi(t, { routes: queueRoutes({ hub, clock }) })).url;
}

const ask = (url: string, peer: string) => fetch(`${url}/api/queue/${peer}`, { headers: OPERATOR });

async function cli(args: readonly string[]) {
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
    readStdin: async () => Buffer.alloc(0),
  };
  return { code: await runCli(['queue', ...args], [queueCommand], context), ...said };
}

function busy(): Bench {
  const bench = new Bench();
  bench.hub.setPolicy('phones', DEFAULT_POLICY, QUEUE_LIMITS, { ...PROFILE_BUDGETS.lan, metered: true });
  const [a, b] = [bench.join('a'), bench.join('phones/1')];
  a.port.deliver(inbound(position('still')));
  bench.clock.advance(5000);
  b.room = 0;
  a.port.deliver(inbound(position('still', { timeMs: bench.clock.wallMs() })));
  a.port.deliver(inbound(chat('\x1b[31mred', { callsign: 'ALPHA\nBRAVO' })));
  a.port.deliver({ message: { kind: 'mission', summary: 'a mission' }, size: 10, digest: 'm' });
  a.port.deliver(contact('create', 'gone'));
  for (let n = 0; n < MAX_LISTED + 7; n++) a.port.deliver(inbound(position(`alert${n}`, { type: 'b-a-o-tbl' })));
  bench.clock.advance(2000);
  return bench;
}

test('what waits, by lane, with ages, and no more than fits a screen', async (t) => {
  const url = await serve(t, busy());
  const report = (await (await ask(url, 'phones/1')).json()) as QueueReport;
  const lane = (name: string) => report.lanes.find((candidate) => candidate.lane === name)!;
  assert.deepEqual(
    report.lanes.map(({ queued }) => queued),
    [MAX_LISTED + 7, 1, 1, 1, 1, 0],
  );
  assert.equal(lane('alert').waiting.length, MAX_LISTED);
  assert.equal(lane('alert').leftOut, 7);
  assert.deepEqual(lane('still').waiting[0], {
    what: 'still',
    type: 'a-f-G-U-C',
    callsign: 'STILL',
    bytes: lane('still').waiting[0]!.bytes,
    ageMs: 2000,
    dueInMs: 45_500,
    expiresInMs: 73_000,
  });
  assert.deepEqual([lane('marker').waiting[0]!.what, lane('marker').waiting[0]!.type], ['a mission', 'mission']);
  assert.equal(lane('moving').waiting[0]!.type, 'contact create');
  for (const { offered, sent, dropped, queued } of report.lanes) {
    assert.equal(offered, sent + queued + Object.values(dropped).reduce((sum, count) => sum + count, 0));
  }
});

test('a peer is found by its name too, if only one has it; else it is said who there is', async (t) => {
  const bench = busy();
  bench.join('phones/2').port.named('two');
  const url = await serve(t, bench);
  assert.equal((await ask(url, 'two')).status, 200);
  bench.join('phones/3').port.named('two');
  const words = async (name: string) => ((await (await ask(url, name)).json()) as { detail: string }).detail;
  assert.match(await words('two'), /^2 peers are called so: there is phones\/2, phones\/3$/);
  assert.match(await words('nobody'), /no peer is called "nobody"; there is a, phones\/1/);
  assert.equal((await ask(url, '%ff')).status, 400);
  assert.match(await words(''), /no peer is called ""/);
});

test('the command shows it, and nothing of it steers the terminal', async (t) => {
  const url = await serve(t, busy());
  const { code, out } = await cli(['phones/1', '--api', url]);
  assert.equal(code, 0);
  assert.match(out, /phones\/1 \[phones\/1\] up: 61 waiting/);
  assert.match(out, /^still +still +a-f-G-U-C +STILL +\d+ +2 s +when idle, or in 45 s$/m);
  assert.match(out, /^and 7 more$/m);
  assert.ok(!out.includes('\x1b') && !out.includes('ALPHA\nBRAVO'));
  const json = await cli(['phones/1', '--json', '--api', url]);
  assert.equal((JSON.parse(json.out) as QueueReport).peer, 'phones/1');
  assert.deepEqual(
    [(await cli(['nobody', '--api', url])).code, (await cli([])).code, (await cli(['a', 'b'])).code],
    [1, 2, 2],
  );
});
