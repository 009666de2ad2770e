// The live view: what stands on the screen, and the terminal it runs in: tmux, which resizes it and presses keys, and script(1).
import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { screen } from '../../src/cli/top.ts';
import type { LinkStatus, RelayStatus } from '../../src/core/status.ts';
import { configOf, peerOf, statusOf } from '../doctor/patient.ts';
import { SOURCE } from '../support/relay-process.ts';

const PATIENCE_MS = 60_000;

function statusWith(count: number, over: Partial<RelayStatus> = {}): RelayStatus {
  const config = configOf('  - { name: hq, kind: fed2, connect: "192.0.2.1:9001" }\n');
  const peers = Array.from({ length: count }, (_, index) => peerOf({ key: `hq/${index}`, name: `peer-${index}` }));
  return statusOf(config, { links: '', peers, link: { state: 'connected', detail: '192.0.2.1:9001' }, status: over });
}

function bare(lines: readonly string[]): string[] {
  return lines.map((line) => line.replaceAll(/\x1b\[\d+m/g, ''));
}

test('no line is wider than the terminal, no picture higher, whatever peers call themselves', () => {
  const status = statusWith(50, {
    name: 'x'.repeat(300),
    warnings: [{ code: 'a', words: `\x1b[2J\r\n${'long '.repeat(90)}`, fix: '' }],
    peers: [peerOf({ name: '\x1b]0;owned\x07\u202eevil', key: 'hq/1' }), ...statusWith(50).peers],
  });
  for (const [columns, rows] of [
    [80, 24],
    [40, 10],
    [200, 60],
    [1, 1],
  ] as const) {
    const lines = screen(status, { columns, rows }, 0);
    assert.equal(lines.length, Math.min(rows, lines.length));
    for (const line of bare(lines)) {
      assert.ok(line.length <= columns, `${line.length} > ${columns}`);
      assert.doesNotMatch(line, /[\x00-\x1f\x7f\u202e]/);
    }
  }
});

test('links, peers, silence, trouble', () => {
  const lastTrouble = { code: 'refused', words: 'it refused the connection', fix: 'start it', atMs: 0 };
  const link: LinkStatus = { ...statusWith(0).links[0]!, name: 'gone', state: 'waiting', lastTrouble };
  const emcon = { silent: true, since: '2026-01-01T00:00:00Z', by: 'me' };
  const said = bare(screen(statusWith(1, { links: [link], emcon }), { columns: 120, rows: 24 }, 0)).join('\n');
  assert.match(said, /^ patient {2}Waystation 0, .* RADIO SILENCE/);
  assert.match(said, /^! gone +fed2 +waiting/m);
  assert.match(said, /gone: it refused the connection\. Fix: start it/);
  assert.match(said, /^\+ peer-0 +0\.0 +0\.0 +0 +0 +3 ms +0 s +192\.0\.2\.1:9001/m);
});

/** What answers as a relay with more peers than a screen has lines. */
async function fakeRelay(t: TestContext): Promise<string> {
  const body = JSON.stringify(statusWith(40));
  const server = createServer((_, response) => response.setHeader('content-type', 'application/json').end(body));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close().closeAllConnections());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function eventually<T>(what: string, find: () => T | undefined | false): Promise<T> {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    const found = find();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`waited in vain for ${what}`);
    await sleep(100);
  }
}

const hasTmux = spawnSync('tmux', ['-V']).status === 0;

test('in tmux: 80 by 24, made smaller, scrolled, left', {
  skip: hasTmux ? false : 'tmux is not installed',
}, async (t) => {
  const api = await fakeRelay(t);
  const socket = `waystation-top-${process.pid}`;
  const tmux = (...args: string[]) =>
    execFileSync('tmux', ['-L', socket, '-f', '/dev/null', ...args], { encoding: 'utf8' });
  t.after(() => spawnSync('tmux', ['-L', socket, 'kill-server']));
  const shown = () => tmux('capture-pane', '-p', '-t', 't');
  const command = `${SOURCE.map((word) => `'${word}'`).join(' ')} top --api ${api}; echo "ended with $?"; sleep 100`;
  tmux('new-session', '-d', '-s', 't', '-x', '80', '-y', '24', command);
  const first = await eventually('the picture', () => /peer-10/.test(shown()) && shown());
  assert.match(first, /^ patient {2}Waystation/);
  assert.match(first, /q quit, arrows scroll \(\d+ more below\)/);
  tmux('resize-window', '-t', 't', '-x', '50', '-y', '12');
  await eventually(
    'the smaller picture',
    () => /peer-5/.test(shown()) && !/peer-10/.test(shown()) && /q quit/.test(shown()),
  );
  tmux('send-keys', '-t', 't', 'Down', 'Down', 'Down', 'Down');
  await eventually('the scrolled picture', () => !/peer-0 /.test(shown()) && /peer-8/.test(shown()));
  tmux('send-keys', '-t', 't', 'q');
  const after = await eventually('the end', () => /ended with 0/.test(shown()) && shown());
  assert.doesNotMatch(after, /peer-/);
});

const hasScript = spawnSync('script', ['--version']).status === 0;

test('in script(1): the terminal is given back as it was', {
  skip: hasScript ? false : 'script is not installed',
}, async (t) => {
  const api = await fakeRelay(t);
  const command = `stty rows 24 cols 80; ${SOURCE.map((word) => `'${word}'`).join(' ')} top --api ${api}; stty -a`;
  const child = spawn('script', ['-qec', command, '/dev/null'], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, TERM: 'vt100' },
  });
  t.after(() => child.kill('SIGKILL'));
  let said = '';
  child.stdout.on('data', (chunk) => {
    said += chunk;
  });
  await eventually('the picture', () => /peer-10/.test(said));
  child.stdin.write('q');
  await eventually('the end', () => /speed \d+ baud/.test(said));
  assert.ok(said.indexOf('\x1b[?1049h') < said.indexOf('\x1b[?1049l'));
  assert.match(said.slice(said.indexOf('\x1b[?1049l')), / icanon[\s\S]* echo /);
});

test('without a terminal it says what to use', async (t) => {
  const [file, ...first] = SOURCE;
  const api = await fakeRelay(t);
  const run = (...args: string[]) => {
    const child = spawn(file!, [...first, 'top', '--api', api, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    let said = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (said += chunk));
    return once(child, 'close').then(([code]) => ({ code, said }));
  };
  const { code, said } = await run();
  assert.equal(code, 2);
  assert.match(said, /top needs a terminal/);
  const { code: fine, said: picture } = await run('--once');
  assert.equal(fine, 0);
  assert.match(picture, /\+ peer-39/);
  assert.doesNotMatch(picture, /\x1b/);
});
