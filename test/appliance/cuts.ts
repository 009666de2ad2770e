// Kills a box-in-a-folder (victim.ts) at random moments of provisioning and updating, and looks at what is left: `node test/appliance/cuts.ts 2000`.
// A killed process loses what it had not written; what it had is in the page cache. So this tests the order of steps, not the card's own cache.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pack } from '../../src/appliance/pack.ts';

const SECTOR = 512;
const sector = (slot: string) => `os_prefix=${slot}/\nkernel=kernel8.img\n`.padEnd(SECTOR, '\n');

export interface CutResult {
  readonly killed: number;
  readonly finished: number;
  /** What the record of updates said after the kills. */
  readonly states: Readonly<Record<string, number>>;
}

/** @returns what was met; throws when a kill left something that must not be */
export async function cuts(count: number): Promise<CutResult> {
  const folder = mkdtempSync(join(tmpdir(), 'cuts-'));
  try {
    prepare(folder);
    let wholeMs = (await run(folder))!;
    const box = readFileSync(join(folder, 'data/box.json'), 'utf8');
    const states: Record<string, number> = {};
    let [killed, finished] = [0, 0];
    while (killed < count) {
      const ranMs = await run(folder, Math.random() * wholeMs);
      if (ranMs === undefined) killed += 1;
      else {
        finished += 1;
        wholeMs = ranMs; // the machine may be busier or idler than before
      }
      const state = inspect(folder, box);
      states[state] = (states[state] ?? 0) + 1;
    }
    // And then it works as if nothing had been: at most one start for the trial, one for the next update.
    for (let starts = 0; starts < 3; starts += 1) await run(folder);
    inspect(folder, box);
    return { killed, finished, states };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function prepare(folder: string): void {
  const path = (...names: string[]) => join(folder, ...names);
  for (const slot of ['a', 'b']) {
    for (const place of ['card', 'built']) {
      mkdirSync(path(place, slot), { recursive: true });
      writeFileSync(path(place, slot, 'config.txt'), sector(slot));
    }
    writeFileSync(path('built', slot, 'cmdline.txt'), `slot=${slot}`);
  }
  for (const name of ['data', 'run']) mkdirSync(path(name));
  writeFileSync(path('owner.yaml'), 'version: 1\nlinks:\n  - { name: phones, kind: cot, listen: 8087 }\n');
  writeFileSync(path('card/config.txt'), sector('a'));
  writeFileSync(path('built/a/kernel8.img'), randomBytes(300_000));
  writeFileSync(path('root'), randomBytes(3_000_000));
  // The running slot has the same release: what the other is checked against as well.
  for (const name of ['kernel8.img']) writeFileSync(path('card/a', name), readFileSync(path('built/a', name)));
  writeFileSync(path('card/a/cmdline.txt'), 'slot=a');
  for (const number of [2, 3]) writeFileSync(path(`disk${number}`), Buffer.alloc(4_000_000));
  writeFileSync(path('disk2'), readFileSync(path('root')), { flag: 'r+' });
  execFileSync('openssl', ['genpkey', '-algorithm', 'ed25519', '-out', path('release.key')], { stdio: 'ignore' });
  execFileSync('openssl', ['pkey', '-in', path('release.key'), '-pubout', '-out', path('release.pub')]);
  pack({
    root: path('root'),
    boot: path('built'),
    version: '2',
    board: 'board-1',
    key: path('release.key'),
    out: path('next.update'),
  });
}

/** Milliseconds its work took; undefined: it was killed that long after it began. */
function run(folder: string, killAfterMs?: number): Promise<number | undefined> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'victim.ts'), folder], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let said = '';
  let upMs = 0;
  let timer: NodeJS.Timeout | undefined;
  child.stdout.on('data', (chunk) => {
    said += String(chunk);
    if (upMs > 0 || !said.startsWith('up\n')) return;
    upMs = performance.now();
    if (killAfterMs !== undefined) timer = setTimeout(() => child.kill('SIGKILL'), killAfterMs);
  });
  return new Promise((resolve, reject) => {
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      if (signal === 'SIGKILL') resolve(undefined);
      else if (code === 0 && said === 'up\ndone\n') resolve(performance.now() - upMs);
      else reject(new Error(`the box ended ${code ?? signal}`));
    });
  });
}

/** What must hold at every moment. Returns the state of the update record. */
function inspect(folder: string, box: string): string {
  const path = (...names: string[]) => join(folder, ...names);
  assert.equal(readFileSync(path('data/box.json'), 'utf8'), box, 'the identity is lost');
  const config = readFileSync(path('card/config.txt'), 'latin1');
  assert.equal(config.length, SECTOR);
  const slot = /^os_prefix=([ab])\/$/m.exec(config)?.[1];
  assert.ok(slot, 'config.txt names no slot');
  // Whatever the board would start now is a whole release.
  const digest = (file: string, bytes: number) =>
    createHash('sha256').update(readFileSync(file).subarray(0, bytes)).digest('hex');
  const starts = [slot, /^# trial, then back to ([ab])$/m.exec(config)?.[1]].filter((one) => one !== undefined);
  for (const one of starts) {
    assert.equal(
      digest(path(`disk${one === 'a' ? 2 : 3}`), 3_000_000),
      digest(path('root'), 3_000_000),
      `the root of slot ${one}`,
    );
    assert.deepEqual(
      readFileSync(path('card', one, 'kernel8.img')),
      readFileSync(path('built/a/kernel8.img')),
      `the kernel of ${one}`,
    );
    assert.equal(readFileSync(path('card', one, 'cmdline.txt'), 'utf8'), `slot=${one}`);
    assert.equal(readFileSync(path('card', one, 'config.txt'), 'latin1'), sector(one));
  }
  for (const file of readdirSync(path('data/etc')).filter((name) => !name.endsWith('.new')))
    assert.ok(['waystation.yaml', 'portal.key'].includes(file), file);
  assert.equal(readFileSync(path('data/etc/waystation.yaml'), 'utf8'), readFileSync(path('owner.yaml'), 'utf8'));
  return (JSON.parse(readFileSync(path('data/update/update.json'), 'utf8')) as { state: string }).state;
}

if (process.argv[1] === import.meta.filename) {
  const count = Number(process.argv[2] ?? 200);
  cuts(count).then((result) => console.log(`${count} kills, nothing lost: ${JSON.stringify(result)}`));
}
