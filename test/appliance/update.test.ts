// Updates on files in place of a card: good ones, forged ones, cut ones, and what the box says about each.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createPrivateKey } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { encodeHeader } from '../../src/appliance/bundle.ts';
import { readBoot, SECTOR_BYTES, trialSector, writeSector } from '../../src/appliance/slots.ts';
import { update } from '../../src/appliance/update.ts';
import { loadUpdate, saveUpdate, settleUpdate, updateWords } from '../../src/appliance/update-record.ts';
import { bench, inPieces, SLOT_BYTES, sector } from './bench.ts';

test('a good update fills the other slot and arms one trial', async (t) => {
  const { system, folder, card, release } = bench(t);
  await update(inPieces(release()), system);
  assert.deepEqual(
    readFileSync(join(folder, 'disk3')).subarray(0, 250_000),
    readFileSync(join(folder, 'root.squashfs')),
  );
  assert.ok(
    readFileSync(join(folder, 'disk2')).every((byte) => byte === 2),
    'the running slot is untouched',
  );
  assert.equal(readFileSync(join(card, 'b/cmdline.txt'), 'utf8'), 'waystation.slot=b');
  assert.deepEqual(readFileSync(join(card, 'b/kernel8.img')), readFileSync(join(folder, 'built/a/kernel8.img')));
  assert.deepEqual(readFileSync(join(card, 'b/config.txt')), sector('b'));
  assert.ok(!existsSync(join(card, 'b/left-over')));
  const config = readFileSync(join(card, 'config.txt'), 'latin1');
  assert.equal(config.length, SECTOR_BYTES);
  assert.match(config, /^os_prefix=b\/$/m);
  assert.match(config, /^# trial, then back to a$/m);
  assert.deepEqual(loadUpdate(system.records)?.linked, [{ name: 'hq', state: 'connected' }]);
  assert.equal(loadUpdate(system.records)?.state, 'trial');
});

test('bytes in any portions', async (t) => {
  const { system, release } = bench(t);
  const bytes = release();
  for (const size of [1021, bytes.length]) await update(inPieces(bytes, size), system);
});

/** Nothing that decides what is booted has changed. */
function stays(card: string): void {
  assert.deepEqual(readFileSync(join(card, 'config.txt')), sector('a'));
  assert.equal(readFileSync(join(card, 'a/kernel8.img'), 'utf8'), 'the old kernel');
}

test('an update signed by another is refused before anything is written', async (t) => {
  const { system, folder, card, release } = bench(t);
  execFileSync('openssl', ['genpkey', '-algorithm', 'ed25519', '-out', join(folder, 'other.key')], { stdio: 'ignore' });
  await assert.rejects(update(inPieces(release({ key: join(folder, 'other.key') })), system), {
    code: 'update_unsigned',
  });
  stays(card);
  assert.ok(readFileSync(join(folder, 'disk3')).every((byte) => byte === 3));
  assert.equal(loadUpdate(system.records), undefined);
});

test('a manifest changed by one byte, an empty signature, an image without a key', async (t) => {
  const { system, card, release } = bench(t);
  const bytes = release();
  const forged = Buffer.from(bytes.toString('latin1').replace('"2.0.0"', '"2.0.1"'), 'latin1');
  await assert.rejects(update(inPieces(forged), system), { code: 'update_unsigned' });
  const unsigned = Buffer.from(bytes.toString('latin1').replace(/\n.*\n/, '\n\n'), 'latin1');
  await assert.rejects(update(inPieces(unsigned), system), { code: 'update_unsigned' });
  await assert.rejects(update(inPieces(bytes), { ...system, key: undefined }), { code: 'update_no_key' });
  stays(card);
});

test('an update for another board', async (t) => {
  const { system, card, release } = bench(t);
  await assert.rejects(update(inPieces(release({ board: 'board-2' })), system), { code: 'update_board' });
  stays(card);
});

test('an update cut anywhere, or with something behind it, arms nothing', async (t) => {
  const { system, card, release } = bench(t);
  const bytes = release();
  for (const length of [0, 1, 19, 100, 400, 5000, 80_000, bytes.length - 1]) {
    await assert.rejects(
      update(inPieces(bytes.subarray(0, length)), system),
      { code: 'update_damaged' },
      String(length),
    );
    stays(card);
  }
  await assert.rejects(update(inPieces(Buffer.concat([bytes, Buffer.from('x')])), system), /more bytes/);
  stays(card);
});

test('a flipped bit in the root or the kernel', async (t) => {
  const { system, card, release } = bench(t);
  const bytes = release();
  for (const at of [bytes.length - 1, bytes.length - 260_000]) {
    const damaged = Buffer.from(bytes);
    damaged[at]! ^= 1;
    await assert.rejects(update(inPieces(damaged), system), /is damaged/);
    stays(card);
  }
});

test('files that a signed manifest must not name', async (t) => {
  const { system, card, key } = bench(t);
  const file = (name: string, bytes = 0) => ({ name, bytes, sha256: '0'.repeat(64) });
  for (const files of [
    [file('root'), file('boot/../config.txt')],
    [file('root'), file('boot/a/b')],
    [file('root', SLOT_BYTES + 1)],
    [file('root'), file('root')],
    [file('root'), file('boot/X'), file('boot/x')],
    [file('boot/kernel8.img')],
    [],
  ]) {
    const head = encodeHeader({ version: '2', board: 'board-1', files }, createPrivateKey(readFileSync(key)));
    await assert.rejects(update(inPieces(head), system), { code: 'update_damaged' });
  }
  stays(card);
});

test('a head without end is not collected', async (t) => {
  const { system } = bench(t);
  let given = 0;
  const endless = async function* () {
    yield Buffer.from('waystation-update 1\nAA==\n');
    for (;;) {
      given += 65_536;
      yield Buffer.alloc(65_536, 0x20);
    }
  };
  await assert.rejects(update(endless(), system), { code: 'update_damaged' });
  assert.ok(given < 1_000_000, `${given} bytes were read`);
});

test('a card that does not keep what is written to it is found out before the trial', async (t) => {
  const { system, folder, card, release } = bench(t);
  const dropCaches = () => writeFileSync(join(folder, 'disk3'), Buffer.alloc(SLOT_BYTES));
  await assert.rejects(update(inPieces(release()), { ...system, dropCaches }), { code: 'card_broken' });
  stays(card);
});

test('no update while one is on trial', async (t) => {
  const { system, release } = bench(t);
  const boot = { ...system.boot, slot: 'b', trial: 'a' } as const;
  await assert.rejects(update(inPieces(release()), { ...system, boot }), { code: 'update_busy' });
});

test('config.txt is changed in place, or not at all', (t) => {
  const { card } = bench(t);
  const path = join(card, 'config.txt');
  writeSector(path, trialSector(sector('b'), 'a'));
  writeFileSync(path, 'os_prefix=a/\n');
  assert.throws(() => writeSector(path, sector('b')), /not as this box made it/);
  assert.throws(() => trialSector(Buffer.from('x'.repeat(SECTOR_BYTES)), 'a'), /does not fit/);
});

test('the initramfs finds the line that update writes', () => {
  const init = readFileSync(join(import.meta.dirname, '../../image/initramfs/init'), 'utf8');
  const expression = /sed -n '(s\/.*\/p)' \/card\/config\.txt/.exec(init)?.[1];
  assert.ok(expression);
  const back = execFileSync('sed', ['-n', expression], { input: trialSector(sector('b'), 'a'), encoding: 'utf8' });
  assert.equal(back, 'a\n');
  assert.equal(execFileSync('sed', ['-n', expression], { input: sector('b'), encoding: 'utf8' }), '');
});

test('after a start the record says what became of the update', (t) => {
  const { system } = bench(t);
  const { records } = system;
  const base = { at: '', from: 'a', to: 'b', fromVersion: '1', version: '2', linked: [] } as const;
  const after = (state: 'writing' | 'trial', slot: 'a' | 'b', onTrial: boolean) => {
    saveUpdate(records, { ...base, state });
    return settleUpdate(records, slot, onTrial, 'now')?.state;
  };
  assert.equal(after('writing', 'a', false), 'failed');
  assert.equal(after('trial', 'a', false), 'returned');
  assert.equal(after('trial', 'b', false), 'kept');
  assert.equal(after('trial', 'b', true), 'trial');
  assert.match(updateWords(loadUpdate(records)) ?? '', /on trial/);
  writeFileSync(join(records, 'update.json'), '{"state":');
  assert.equal(settleUpdate(records, 'a', false, 'now'), undefined);
});

test('a machine that was not started from the image is none', (t) => {
  const { folder } = bench(t);
  assert.equal(readBoot(folder), undefined);
});
