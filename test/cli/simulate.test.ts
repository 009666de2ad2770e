import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { runCli } from '../../src/cli/cli.ts';
import type { CliContext } from '../../src/cli/command.ts';
import { simulateCommand } from '../../src/cli/simulate.ts';

async function simulate(...args: string[]) {
  const said = { out: '', err: '' };
  const context = {
    stdoutIsTerminal: false,
    out: (text: string) => {
      said.out += text;
    },
    err: (text: string) => {
      said.err += text;
    },
  } as CliContext;
  return { code: await runCli(['simulate', ...args], [simulateCommand], context), ...said };
}

test('prints a table of rules, draws a picture, and gives the figures as JSON', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'waystation-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const svg = join(folder, 'a.svg');
  const { code, out } = await simulate('--hours', '0.2', '--svg', svg);
  assert.equal(code, 0);
  assert.match(out, /^2400 bit\/s, 50 units, 0\.20 h$/m);
  assert.match(out, /^Waystation, 1 s under way +\d+ s \/ \d+ s +\d+ m +100 %/m);
  assert.match(readFileSync(svg, 'utf8'), /^<svg .*<\/svg>\n$/s);
  const json = await simulate('--hours', '0.1', '--policy', 'fifo', '--json');
  assert.equal((JSON.parse(json.out) as unknown[]).length, 1);
});

test('runs a recorded load, and names the line it cannot read', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'waystation-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'load');
  const time = new Date(0).toISOString();
  const event = {
    received: time,
    time,
    stale: time,
    uid: 'u',
    type: 'a-f-G',
    lat: 1,
    lon: 2,
    xml: '<event how="m-g"/>',
  };
  writeFileSync(file, `${JSON.stringify(event)}\n`);
  assert.match((await simulate('--load', file, '--policy', 'fifo')).out, /1 of 1/);
  writeFileSync(file, `${JSON.stringify(event)}\n{}\n`);
  const bad = await simulate('--load', file);
  assert.deepEqual([bad.code, /line 2/.test(bad.err)], [1, true]);
  assert.equal((await simulate('--load', join(folder, 'none'))).code, 1);
  assert.equal((await simulate('--hours', '0.05', '--svg', join(folder, 'no', 'a.svg'))).code, 1);
});

test('nonsense is refused before anything is computed', async () => {
  for (const args of [
    ['--rate', '0'],
    ['--rate', 'fast'],
    ['--units', '-1'],
    ['--units', '1000', '--hours', '24'],
    ['--hours', 'NaN'],
    ['--bytes', ''],
    ['--policy', 'best'],
    ['--nonsense'],
  ]) {
    assert.equal((await simulate(...args)).code, 2, args.join(' '));
  }
});
