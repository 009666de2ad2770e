// Recordings: read, turned into CoT, GPX and KML that python's parser reads, and said again to a server at a speed.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { runCli } from '../../src/cli/cli.ts';
import type { CliContext } from '../../src/cli/command.ts';
import { recordCommand } from '../../src/cli/record.ts';
import { replayCommand } from '../../src/cli/replay.ts';
import { sa } from '../support/cot-client.ts';

const noPython = spawnSync('python3', ['--version']).status === 0 ? false : 'python3 is not installed';
/** The text of every element of these names, a line each. */
const READ =
  'import sys,xml.etree.ElementTree as E\nfor e in E.parse(sys.argv[1]).iter():\n  if e.tag.split("}")[1] in sys.argv[2:]: print(e.text or e.attrib)';
const T0 = Date.UTC(2026, 10, 1);

function recording(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'waystation-record-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const line = (index: number, uid: string, name: string) => {
    const xml = sa(uid, name, T0 + index * 1000, `lat="48.${100 + index}" lon="24.5"`);
    return JSON.stringify({ received: new Date(T0 + index * 1000).toISOString(), uid, xml });
  };
  const lines = [
    line(0, 'A', 'ALPHA &amp; CO'),
    line(1, 'B', 'BRAVO'),
    '{broken',
    line(2, 'A', 'ALPHA &amp; CO'),
    line(20, 'B', 'BRAVO'),
  ];
  const file = join(folder, 'load');
  writeFileSync(file, `${lines.join('\n')}\n{"received":"2026`);
  return file;
}

async function run(...args: string[]) {
  const said = { out: '', err: '' };
  const context = {
    version: '',
    commit: '',
    env: { config: undefined, data: undefined },
    defaults: { hostName: 'box', dataFolder: '/nowhere' },
    signal: new AbortController().signal,
    stdoutIsTerminal: false,
    out: (text: string) => {
      said.out += `${text}\n`;
    },
    err: (text: string) => {
      said.err += `${text}\n`;
    },
    readStdin: async () => Buffer.alloc(0),
  } satisfies CliContext;
  return { code: await runCli(args, [recordCommand, replayCommand], context), ...said };
}

test('a recording as CoT, GPX and KML', { skip: noPython }, async (t) => {
  const file = recording(t);
  const events = await run('record', 'export', file);
  assert.equal(events.out.match(/<event /g)?.length, 4);
  for (const format of ['gpx', 'kml']) {
    const out = `${file}.${format}`;
    assert.equal((await run('record', 'export', file, '--format', format, '--out', out)).code, 0);
    const read = (...names: string[]) => {
      const { status, stdout, stderr } = spawnSync('python3', ['-c', READ, out, ...names]);
      assert.equal(status, 0, `${stderr}\n${readFileSync(out, 'utf8')}`);
      return String(stdout).trim().split('\n');
    };
    assert.deepEqual(read('name').slice(format === 'kml' ? 1 : 0), ['ALPHA & CO', 'BRAVO']);
    assert.equal(read('trkpt', 'coord').length, 4);
    assert.equal(
      (await run('record', 'export', file, '--format', format, '--out', out)).code,
      1,
      'nothing is overwritten',
    );
  }
  // What was exported as CoT is a recording again.
  writeFileSync(`${file}.cot`, events.out);
  assert.equal((await run('record', 'export', `${file}.cot`)).out, events.out);
});

test('replay keeps the order and the pace, and moves times to now', async (t) => {
  const file = recording(t);
  let got = '';
  const at: number[] = [];
  const server = createServer((socket) => {
    socket.on('data', (chunk) => {
      got += String(chunk);
      at.push(performance.now());
    });
    socket.on('error', () => {});
  });
  t.after(() => server.close());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const to = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const began = Date.now();
  const { code, out } = await run('replay', file, '--speed', '20', '--to', to);
  assert.equal(code, 0);
  assert.match(out, /4 events/);
  assert.deepEqual(got.match(/uid="[AB]"/g), ['uid="A"', 'uid="B"', 'uid="A"', 'uid="B"']);
  for (const [, time] of got.matchAll(/\stime="([^"]*)"/g)) assert.ok(Date.parse(time!) >= began);
  // 20 s at twenty times the speed.
  assert.ok(at.at(-1)! - at[0]! >= 900, `${at.at(-1)! - at[0]!} ms`);
});

test('what is no recording, no speed, no server', async (t) => {
  const file = recording(t);
  writeFileSync(`${file}.none`, 'nothing here');
  assert.equal((await run('record', 'export', `${file}.none`)).code, 1);
  assert.equal((await run('record', 'export', `${file}.missing`)).code, 1);
  assert.equal((await run('record', 'export', file, '--format', 'constructor')).code, 2);
  assert.equal((await run('record', file)).code, 2);
  assert.equal((await run('replay', file, '--speed', '-1')).code, 2);
  assert.equal((await run('replay', file, '--to', '127.0.0.1:1')).code, 1);
});
