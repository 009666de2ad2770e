// The command line as a person or a script meets it: wrong use, wrong files, a relay that is not one, and what strangers
// call themselves.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as createHttp } from 'node:http';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { runCli } from '../../src/cli/cli.ts';
import type { CliContext } from '../../src/cli/command.ts';
import { injectCommand } from '../../src/cli/inject.ts';
import { statusCommand, watchCommand } from '../../src/cli/status.ts';

const COMMANDS = [injectCommand, statusCommand, watchCommand];
const EVENT =
  '<event version="2.0" uid="U" type="a-f-G" time="2020-01-01T00:00:00Z" stale="2020-01-01T00:05:00Z"></event>';

async function run(args: readonly string[], over: Partial<CliContext> = {}) {
  const said = { out: '', err: '' };
  const context: CliContext = {
    version: '0',
    commit: '0',
    env: { config: undefined, data: undefined },
    defaults: { hostName: 'h', dataFolder: 'd' },
    signal: new AbortController().signal,
    stdoutIsTerminal: false,
    out: (text) => {
      said.out += `${text}\n`;
    },
    err: (text) => {
      said.err += `${text}\n`;
    },
    readStdin: async () => Buffer.from(EVENT),
    ...over,
  };
  return { code: await runCli(args, COMMANDS, context), ...said };
}

/** A server that does `act` with each connection. Resolves to its `host:port`. */
async function serve(t: TestContext, act: (socket: Socket) => void): Promise<string> {
  const server = createServer((socket) => {
    socket.on('error', () => {});
    act(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function answerAll(t: TestContext, status: number, body: string): Promise<string> {
  const server = createHttp((_, response) => response.writeHead(status).end(body)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close().closeAllConnections());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function folder(t: TestContext): string {
  const made = mkdtempSync(join(tmpdir(), 'waystation-cli-'));
  t.after(() => rmSync(made, { recursive: true }));
  return made;
}

test('wrong arguments are wrong use: exit code 2, in words', async () => {
  for (const args of [
    ['watch', '--count', 'abc'],
    ['watch', '--count', '0'],
    ['watch', '--count', '-1'],
    ['watch', '--count', '1.5'],
    ['watch', '--api', 'http://:x'],
    ['watch', '--api', 'ftp://localhost'],
    ['status', '--api', 'http://a b'],
    ['inject', '--test', '--to', '127.0.0.1'],
    ['inject', '--test', '--to', '127.0.0.1:0'],
    ['inject', '--test', '--to', '127.0.0.1:65536'],
    ['inject', '--test', '--tls'],
    ['inject'],
    ['inject', 'a', 'b'],
  ]) {
    const { code, err } = await run(args);
    assert.equal(code, 2, `${args.join(' ')}: ${err}`);
    assert.match(err, /Usage: waystation/);
  }
});

test('what cannot be read is said in words: exit code 1', async (t) => {
  const here = folder(t);
  const file = (name: string, content: string | Buffer) => {
    writeFileSync(join(here, name), content);
    return join(here, name);
  };
  const key = file('bad.pem', 'no certificate');
  const tls = ['--test', '--tls', '--ca', key, '--cert', key];
  for (const [words, ...args] of [
    [/cannot read .*missing/, 'inject', join(here, 'missing')],
    [/cannot read/, 'inject', here],
    [/over 16 MiB/, 'inject', file('huge', Buffer.alloc(16 * 1024 * 1024 + 1))],
    [/over 16 MiB/, 'inject', '/dev/zero'],
    [/holds no <event>/, 'inject', file('empty', '')],
    [/holds no <event>/, 'inject', file('open', '<event '.repeat(1_000_000))],
    [/cannot read .*missing/, 'inject', ...tls, '--key', join(here, 'missing')],
    [/cannot use/, 'inject', ...tls, '--key', key],
  ] as const) {
    const { code, err } = await run(args);
    assert.match(err, words);
    assert.equal(code, 1);
  }
});

test('standard input without end is not read to the end', async () => {
  let asked = 0;
  const readStdin = async (max = Number.POSITIVE_INFINITY) => {
    asked = max;
    return Buffer.alloc(Math.min(max, 1e9) + 1);
  };
  assert.match((await run(['inject', '-'], { readStdin })).err, /over 16 MiB/);
  assert.equal(asked, 16 * 1024 * 1024);
});

test('all events of a file are sent, freshened when asked for', async (t) => {
  let got = '';
  const to = await serve(t, (socket) => socket.on('data', (chunk) => (got += chunk)));
  const path = join(folder(t), 'events.xml');
  writeFileSync(path, `<events>\n${EVENT}\n<!-- ${EVENT} -->\n<eventual/>${EVENT}</events>`);
  assert.match((await run(['inject', path, '--to', to])).out, /sent 3 events/);
  assert.equal(got, EVENT.repeat(3));
  got = '';
  await run(['inject', path, '--to', to, '--fresh']);
  const [, time, stale] = /time="([^"]*)" stale="([^"]*)"/.exec(got)!;
  assert.equal(Date.parse(stale!) - Date.parse(time!), 300_000);
  assert.ok(Date.parse(time!) > Date.UTC(2025));
});

test('a server that hangs up before it has all is a failure, not "sent"', async (t) => {
  const path = join(folder(t), 'events.xml');
  writeFileSync(path, EVENT.repeat(100_000));
  const to = await serve(t, (socket) => setTimeout(() => socket.resetAndDestroy(), 50));
  const { code, out, err } = await run(['inject', path, '--to', to]);
  assert.deepEqual([code, out], [1, '']);
  assert.match(err, /before it had all/);
});

test('told to stop, inject gives up a server that does not read', async (t) => {
  const path = join(folder(t), 'events.xml');
  writeFileSync(path, EVENT.repeat(100_000));
  const stop = new AbortController();
  const to = await serve(t, (socket) => {
    socket.pause();
    t.after(() => socket.destroy());
    setTimeout(() => stop.abort(), 100);
  });
  const { code, out } = await run(['inject', path, '--to', to], { signal: stop.signal });
  assert.deepEqual([code, out], [1, '']);
});

test('a relay that is not there, or is something else, is told apart', async (t) => {
  for (const command of ['status', 'watch']) {
    assert.equal((await run([command, '--api', 'http://127.0.0.1:9'])).code, 4);
    const { code, err } = await run([command, '--api', await answerAll(t, 200, '<html>It works!')]);
    assert.equal(code, 1);
    assert.match(err, /is no Waystation|does not answer as/);
  }
  const refused = await run(['watch', '--api', await answerAll(t, 403, '')]);
  assert.equal(refused.code, 1);
  assert.match(refused.err, /403/);
});

test('what strangers call themselves cannot steer the terminal; a pipe gets it as it is', async (t) => {
  const name = '\x1b]0;owned\x07\x9b31m\u202e';
  const api = await answerAll(t, 200, JSON.stringify(statusOf(name)));
  const shown = await run(['status', '--api', api], { stdoutIsTerminal: true });
  assert.doesNotMatch(shown.out, /[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]/);
  assert.match(shown.out, /\\u001b\]0;owned\\u0007\\u009b31m\\u202e/);
  const json = await run(['status', '--json', '--api', api], { stdoutIsTerminal: true });
  assert.doesNotMatch(json.out, /\x9b/);
  assert.equal((JSON.parse(json.out) as { name: string }).name, name, 'and JSON still says the same');
  const piped = await run(['status', '--api', api]);
  assert.ok(piped.out.startsWith(`${name} (i)`));
});

function statusOf(name: string) {
  const totals = { received: 0, sent: 0, queued: 0, refused: {}, dropped: {} };
  return {
    name,
    id: 'i',
    version: '0',
    uptimeMs: 0,
    units: 0,
    contacts: 0,
    totals,
    links: [],
    peers: [],
    warnings: [],
  };
}
