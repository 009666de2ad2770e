// The commands about other relays: what they print, ask and refuse, against an API that answers what a test wants.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { runCli } from '../../src/cli/cli.ts';
import type { CliContext } from '../../src/cli/command.ts';
import { fleetCommand, renderFleet } from '../../src/cli/fleet.ts';
import { nodeCommand, renderList, renderNodeStatus, renderPeers } from '../../src/cli/node.ts';
import { probeCommand, renderProbe } from '../../src/cli/probe.ts';
import type { NodePeer } from '../../src/core/node.ts';
import type { ProbeReport } from '../../src/core/probe.ts';

interface Answer {
  readonly status?: number;
  readonly type?: string;
  readonly body: string | Buffer;
}

interface Asked {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

/** An API that answers everything alike; `asked` collects what it was asked. */
async function api(t: TestContext, answer: Answer) {
  const asked: Asked[] = [];
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    asked.push({ method: request.method!, url: request.url!, headers: request.headers, body });
    response.writeHead(answer.status ?? 200, { 'content-type': answer.type ?? 'application/json' }).end(answer.body);
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { asked, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

async function run(args: readonly string[], { terminal = false, stdin = '' } = {}) {
  const said = { out: '', err: '', code: 0 };
  const context: CliContext = {
    version: '0',
    commit: '0',
    env: { config: undefined, data: undefined },
    defaults: { hostName: 'h', dataFolder: 'd' },
    signal: new AbortController().signal,
    stdoutIsTerminal: terminal,
    out: (text) => {
      said.out += `${text}\n`;
    },
    err: (text) => {
      said.err += `${text}\n`;
    },
    readStdin: async () => Buffer.from(stdin),
  };
  said.code = await runCli(args, [nodeCommand, fleetCommand, probeCommand], context);
  return said;
}

const peer: NodePeer = {
  name: 'relay-b',
  host: 'b.example.org',
  port: 9090,
  via: 'direct',
  status: 'connected',
  latencyMs: 3.14,
  lastContactMs: 1_000,
  messagesSent: 5,
  messagesReceived: 6,
};
const away: NodePeer = {
  ...peer,
  name: 'factory',
  host: '',
  port: 0,
  via: '',
  status: 'disconnected',
  latencyMs: null,
  lastContactMs: null,
};

test('node peers prints the columns of the guide', () => {
  assert.equal(
    renderPeers([peer, away, { ...peer, name: 'sat', via: 'hub', latencyMs: 612.7, status: 'connecting' }]),
    [
      'NAME     HOST           PORT  VIA     STATUS        LATENCY',
      'relay-b  b.example.org  9090  direct  connected     3.1 ms',
      'factory  -              -     -       disconnected  -',
      'sat      b.example.org  9090  hub     connecting    613 ms',
    ].join('\n'),
  );
  assert.equal(renderPeers([]), 'NAME  HOST  PORT  VIA  STATUS  LATENCY');
});

test('node status counts peers and messages', () => {
  const text = renderNodeStatus({ name: 'relay-a', id: 'a1', peers: [peer, away] }, 61_000);
  assert.match(text, /peers: 1 connected, 1 disconnected/);
  assert.match(text, /messages: 10 sent, 12 received/);
  assert.match(text, /relay-b +connected +5 +6 +60 s ago/);
  assert.match(text, /factory +disconnected +5 +6 +never/);
});

test('node peers and node status ask the relay', async (t) => {
  const { url, asked } = await api(t, { body: JSON.stringify({ name: 'a', id: 'i', peers: [peer] }) });
  assert.match((await run(['node', 'peers', '--api', url])).out, /^NAME +HOST/);
  assert.match((await run(['node', 'status', '--api', url])).out, /1 connected/);
  assert.equal(JSON.parse((await run(['node', 'peers', '--json', '--api', url])).out)[0].name, 'relay-b');
  assert.ok(asked.every(({ url: path }) => path === '/api/node'));
});

test('get, ls and call ask for the peer’s path; a body goes along', async (t) => {
  const { url, asked } = await api(t, { body: '{"on":true}' });
  assert.equal((await run(['node', 'get', 'relay-b', '/iot/küche 1?x=1', '--api', url])).out, '{"on":true}\n');
  await run(['node', 'ls', 'relay-b', '--api', url]);
  await run(['node', 'call', 'relay-b', 'put', '/iot/lamp', '{"on":true}', '--api', url]);
  await run(['node', 'call', 'relay-b', 'POST', '/iot/lamp', '-', '--type', 'text/plain', '--api', url], {
    stdin: 'hello',
  });
  await run(['node', 'call', 'relay-b', 'DELETE', '/iot/lamp', '--api', url]);
  assert.deepEqual(
    asked.map(({ method, url: path, headers, body }) => [method, path, headers['content-type'], body]),
    [
      ['GET', '/api/node/relay-b/iot/k%C3%BCche%201?x=1', undefined, ''],
      ['GET', '/api/node/relay-b/', undefined, ''],
      ['PUT', '/api/node/relay-b/iot/lamp', 'application/json', '{"on":true}'],
      ['POST', '/api/node/relay-b/iot/lamp', 'text/plain', 'hello'],
      ['DELETE', '/api/node/relay-b/iot/lamp', undefined, ''],
    ],
  );
});

test('a path that would lead elsewhere is refused before anything is asked', async (t) => {
  const { url, asked } = await api(t, { body: '{}' });
  for (const path of [
    '/../../status',
    '/iot/../x',
    'iot',
    '//x',
    '/a%2fb',
    '/a\\b',
    '/a\nb',
    '/a\u0000',
    '/\ud800',
    '/a#b',
  ]) {
    const { code, err } = await run(['node', 'get', 'relay-b', path, '--api', url]);
    assert.equal(code, 2, JSON.stringify(path));
    assert.match(err, /a path begins with one slash/);
  }
  assert.deepEqual(asked, []);
});

test('each command has its help', async () => {
  for (const name of ['node', 'fleet', 'probe']) {
    const { code, out } = await run([name, '--help']);
    assert.equal(code, 0);
    assert.match(out, new RegExp(`^Usage: waystation ${name} [\\s\\S]*--api URL`));
  }
});

test('wrong use is exit code 2 with the help', async () => {
  for (const args of [
    ['node'],
    ['node', 'nonsense'],
    ['node', 'toString'],
    ['node', 'peers', 'x'],
    ['node', 'get'],
    ['node', 'get', 'b'],
    ['node', 'get', 'b', '/x', 'y'],
    ['node', 'call', 'b', 'BREW', '/x'],
    ['node', 'call', 'b', 'CALL', '/probe'],
    ['probe'],
    ['probe', 'a', 'b'],
    ['fleet', 'x'],
  ]) {
    const { code, err } = await run(args);
    assert.equal(code, 2, args.join(' '));
    assert.match(err, /Usage: waystation/);
  }
});

test('a refusal is told in the peer’s words, exit code 1; no relay is 4', async (t) => {
  const detail = '/status is not for relay-a\u001b[2J';
  const { url } = await api(t, { status: 403, body: JSON.stringify({ detail }), type: 'application/problem+json' });
  const { code, err } = await run(['node', 'get', 'relay-b', '/status', '--api', url]);
  assert.equal(code, 1);
  assert.match(err, /403 \/status is not for relay-a/);
  assert.ok(!err.includes('\u001b'), 'harmless to the terminal');
  for (const args of [['node', 'peers'], ['fleet'], ['probe', 'b'], ['node', 'get', 'b', '/health']]) {
    assert.equal((await run([...args, '--api', 'http://127.0.0.1:9'])).code, 4, args.join(' '));
  }
  const odd = await api(t, { status: 502, body: 'no JSON', type: 'text/plain' });
  assert.match((await run(['node', 'ls', 'b', '--api', odd.url])).err, /502 no JSON/);
});

test('what is no text goes into a file only; text is harmless to a terminal', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'waystation-cli-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const picture = Buffer.from([0xff, 0xd8, 0x00, 0xff]);
  const camera = await api(t, { body: picture, type: 'image/jpeg' });
  const refused = await run(['node', 'get', 'b', '/camera', '--api', camera.url]);
  assert.equal(refused.code, 1);
  assert.match(refused.err, /4 bytes of image\/jpeg[\s\S]*--out FILE/);
  const file = join(folder, 'gate.jpg');
  assert.match((await run(['node', 'get', 'b', '/camera', '--out', file, '--api', camera.url])).out, /4 bytes written/);
  assert.deepEqual(readFileSync(file), picture);
  assert.equal((await run(['node', 'get', 'b', '/camera', '--out', folder, '--api', camera.url])).code, 1);
  const { url } = await api(t, { body: 'a\u001b[31mb\u202ec\n\td', type: 'text/plain; charset=utf-8' });
  assert.equal(
    (await run(['node', 'get', 'b', '/x', '--api', url], { terminal: true })).out,
    'a\ufffd[31mb\ufffdc\n\td\n',
  );
  assert.equal(
    (await run(['node', 'get', 'b', '/x', '--api', url])).out,
    'a\u001b[31mb\u202ec\n\td\n',
    'a pipe gets all',
  );
});

test('ls makes columns of whatever is listed', () => {
  const list = renderList({
    name: 'b',
    resources: [
      { path: '/iot', methods: ['GET', 'PUT'] },
      { path: '/health', methods: ['GET'] },
    ],
  });
  assert.equal(list, ['PATH     METHODS', '/iot     GET, PUT', '/health  GET'].join('\n'));
  assert.equal(renderList(['a', 'b\u001b']), ['NAME', 'a', 'b\\u{1b}'].join('\n'));
  assert.equal(renderList({ a: 1, b: { c: null } }), ['NAME  VALUE', 'a     1', 'b     {"c":null}'].join('\n'));
  assert.equal(renderList([]), 'NAME');
  assert.equal(renderList(null), 'null');
});

test('fleet shows units and relays, and who cannot be reached since when', async (t) => {
  const fleet = {
    peers: [
      { name: 'relay-b', reachable: true, lastContact: '2026-01-01T00:00:00.000Z', words: '' },
      { name: 'factory', reachable: false, lastContact: '2026-01-01T00:00:00.000Z', words: 'not connected' },
    ],
    relays: [
      {
        id: 'peer:relay-b/b1',
        peer: 'relay-b',
        name: 'relay-b',
        version: '1',
        startedAt: '',
        units: 1,
        links: [
          { name: 'x', kind: 'cot', state: 'listening' },
          { name: 'y', kind: 'fed2', state: 'failed' },
        ],
      },
    ],
    leftOut: 6,
    units: [
      {
        id: 'peer:relay-b/ANDROID-1',
        peer: 'relay-b',
        uid: 'ANDROID-1',
        callsign: 'ALPHA',
        type: 'a-f-G-U-C',
        team: '',
        lat: 48.1,
        lon: 24.5,
        ageMs: -3_000,
        from: 'phones',
        direct: true,
      },
    ],
  };
  const text = renderFleet(fleet);
  assert.match(text, /UNREACHABLE factory: not connected, last contact 2026-01-01T00:00:00.000Z/);
  assert.match(text, /peer:relay-b\/b1 +relay-b +1 +1 +1 of 2 up/);
  assert.match(text, /peer:relay-b\/ANDROID-1 +ALPHA +a-f-G-U-C +- +48\.10000 +24\.50000 +3 s ahead +phones/);
  assert.match(text, /6 more match/);
  const { url, asked } = await api(t, { body: JSON.stringify(fleet) });
  assert.equal((await run(['fleet', '--peer', 'relay-b', '--search', 'a&b', '--api', url])).out, `${text}\n`);
  assert.equal(asked[0]!.url, '/api/fleet?peer=relay-b&q=a%26b');
});

const report: ProbeReport = {
  peer: 'relay-b',
  connected: true,
  via: 'direct',
  arrived: true,
  delivered: null,
  rttMs: 12.5,
  clockOffsetMs: -40,
  hops: [{ from: 'relay-a', to: 'relay-b', ms: 6.2, words: 'measured' }],
  filters: [
    { at: 'there', link: 'portal', rule: 'allow_types', stops: ['chat', 'marker'], words: 'allow_types [a-f-]' },
  ],
  words: ['events flow: a marked event came out at relay-b'],
};

test('probe tells verdict, latency per hop, clock and filters; its exit code is the verdict', async (t) => {
  const text = renderProbe(report);
  assert.match(text, /^events flow/);
  assert.match(text, /round trip 12\.5 ms, its clock is 40 ms behind ours/);
  assert.match(text, /relay-a +relay-b +6\.2 ms +measured/);
  assert.match(text, /there +portal +allow_types +chat, marker +allow_types \[a-f-\]/);
  assert.match(renderProbe({ ...report, clockOffsetMs: 6 }), /its clock agrees with ours to 6\.3 ms/);
  const verdicts: [Partial<ProbeReport>, number][] = [
    [{}, 0],
    [{ arrived: false }, 1],
    [{ delivered: true }, 0],
    [{ delivered: false }, 1],
  ];
  for (const [fields, code] of verdicts) {
    const { url, asked } = await api(t, { body: JSON.stringify({ ...report, ...fields }) });
    assert.equal((await run(['probe', 'relay-b', '--end-to-end', '--api', url])).code, code);
    assert.equal(asked[0]!.method, 'POST');
    assert.deepEqual(JSON.parse(asked[0]!.body), { peer: 'relay-b', endToEnd: true });
  }
});
