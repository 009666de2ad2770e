// The service's files: a unit that systemd understands and that is no more exposed than promised, a configuration that works.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { EXIT } from '../../src/cli/command.ts';
import { parseConfig } from '../../src/config/load.ts';

const ETC = join(import.meta.dirname, '../../overlays/base/etc');
const UNIT = join(ETC, 'systemd/system/waystation.service');
const CONFIG = join(ETC, 'waystation/waystation.yaml');
/** What `systemd-analyze security` may say at most. NATS' hardened unit stands at 1.7, most others at 9 and more. */
const MOST_EXPOSURE = 1.3;
/** Keys newer than systemd 252, which does without them. */
const NEWER_KEYS = /Unknown key (name )?'(OpenFile|RestartSteps|RestartMaxDelaySec)'/;

const installed = spawnSync('systemd-analyze', ['--version'], { stdio: 'ignore' }).status === 0;
const skip = installed ? false : 'systemd-analyze is not installed';

/** The unit with a program that exists here, in a folder of its own. */
function copyUnit(t: TestContext, edit: (text: string) => string = (text) => text): string {
  const folder = mkdtempSync(join(tmpdir(), 'unit-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'waystation.service');
  writeFileSync(file, edit(readFileSync(UNIT, 'utf8').replace(/^ExecStart=.*$/m, 'ExecStart=/bin/true')));
  return file;
}

function verify(file: string): readonly string[] {
  const { stderr, error } = spawnSync('systemd-analyze', ['verify', '--man=no', file], { encoding: 'utf8' });
  assert.ifError(error);
  return stderr.split('\n').filter((line) => line.includes(file) && !NEWER_KEYS.test(line));
}

/** The exposure level, 0 (safe) to 10. */
function exposure(file: string): number {
  const { stdout, stderr } = spawnSync('systemd-analyze', ['security', '--no-pager', '--offline=true', file], {
    encoding: 'utf8',
  });
  const level = /Overall exposure level for .*: ([0-9.]+)/.exec(stdout)?.[1];
  assert.ok(level, stderr);
  return Number(level);
}

test('systemd understands every line of the unit', { skip }, (t) => {
  assert.deepEqual(verify(copyUnit(t)), []);
  assert.notDeepEqual(verify(copyUnit(t, (text) => text.replace('ProtectHome=yes', 'ProtectHome=perhaps'))), []);
});

test(`its exposure is ${MOST_EXPOSURE} or less`, { skip }, (t) => {
  const level = exposure(copyUnit(t));
  assert.ok(level <= MOST_EXPOSURE, `exposure is ${level}: systemd-analyze security --offline=true ${UNIT}`);
  assert.ok(exposure(copyUnit(t, (text) => text.replace('ProtectSystem=strict', ''))) > level);
});

test('the relay comes back by itself, is watched, and needs no home', () => {
  const lines = readFileSync(UNIT, 'utf8').split('\n');
  const needed = ['Type=notify', 'NotifyAccess=all', 'Restart=always', 'StartLimitIntervalSec=0', 'WatchdogSec=30'];
  for (const line of needed) assert.ok(lines.includes(line), `the unit lacks ${line}`);
  assert.ok(lines.some((line) => /^Environment=.*PKG_NATIVE_CACHE_PATH=/.test(line)));
  assert.ok(!lines.some((line) => line.startsWith('MemoryDenyWriteExecute=')), 'V8 needs to write code');
});

test('a restart asked for on the page is one: the relay ends with a code on which systemd starts it again, and calls no failure', () => {
  const lines = readFileSync(UNIT, 'utf8').split('\n');
  const setting = (key: string) => lines.findLast((line) => line.startsWith(`${key}=`))?.slice(key.length + 1);
  assert.ok(lines.includes('Environment=WAYSTATION_RESTARTS=1'), 'the page offers no restart');
  assert.equal(setting('Restart'), 'always');
  assert.equal(setting('SuccessExitStatus'), String(EXIT.restart));
  assert.equal(setting('RestartPreventExitStatus'), undefined);
});

test('its first configuration is valid, and lets nobody in without a certificate', () => {
  const parsed = parseConfig(readFileSync(CONFIG, 'utf8'), { path: CONFIG });
  assert.ok('config' in parsed, JSON.stringify(parsed));
  const { links, trust } = parsed.config;
  assert.deepEqual(trust, { paths: [], pins: [] });
  assert.deepEqual(
    links.map(({ kind, name }) => [kind, name]),
    [
      ['cot', 'phones'],
      ['fed2', 'federation'],
    ],
  );
  for (const { kind, settings } of links)
    if (kind === 'cot') assert.ok((settings as { tls: unknown }).tls, 'plain TCP');
});
