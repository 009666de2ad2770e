// What the machine says of itself: figures that can be true, and nulls where there is nothing to read.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { readClockSource, readHost } from '../../src/lib/host.ts';

test('storage is that of the folder, and null where there is none', () => {
  const { storage } = readHost('/');
  assert.equal(storage?.totalBytes, statfsSync('/').blocks * statfsSync('/').bsize);
  assert.ok(storage!.freeBytes <= storage!.totalBytes);
  assert.equal(readHost('/no/such/folder').storage, null);
});

test('what the disk bears: figures that can be true, null where there is no disk', () => {
  assert.equal(readHost('/proc').wear, null);
  assert.equal(readHost('/no/such/folder').wear, null);
  const { wear } = readHost('/');
  if (wear === null) return;
  const { writtenBytes, bytesPerDay, lifeUsedPercent } = wear;
  assert.ok(writtenBytes === null || writtenBytes > 0);
  assert.ok(bytesPerDay === null || (Number.isSafeInteger(bytesPerDay) && bytesPerDay >= 0));
  assert.ok(lifeUsedPercent === null || (lifeUsedPercent >= 10 && lifeUsedPercent <= 110));
});

test('a machine without sensors has nulls, one with them believable figures', () => {
  const { temperatureC, underVoltage } = readHost('/');
  assert.ok(temperatureC === null || (temperatureC > 0 && temperatureC < 200));
  assert.ok(underVoltage === null || typeof underVoltage === 'boolean');
});

test('where the time comes from: a time server that was heard, else a battery clock, else nothing that is known', (t) => {
  const root = mkdtempSync(join(tmpdir(), 'host-'));
  t.after(() => rmSync(root, { recursive: true }));
  assert.equal(readClockSource(root), null);
  const rtc = join(root, 'sys/class/rtc/rtc0');
  mkdirSync(rtc, { recursive: true });
  writeFileSync(join(rtc, 'hctosys'), '0\n');
  assert.equal(readClockSource(root), null, 'there is one, but it did not set the clock');
  writeFileSync(join(rtc, 'hctosys'), '1\n');
  assert.equal(readClockSource(root), 'rtc');
  mkdirSync(join(root, 'run/systemd/timesync'), { recursive: true });
  writeFileSync(join(root, 'run/systemd/timesync/synchronized'), '');
  assert.equal(readClockSource(root), 'ntp');
});
