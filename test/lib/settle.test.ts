// settle(): what was compiled outlasts a power cut, garbage goes, and a process that may not collect is left as it is.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

const SETTLE = JSON.stringify(join(import.meta.dirname, '../../src/lib/settle.ts'));
/** Leaves 20 MB of garbage where V8 would look for it last, and prints whether it was given back, and how much less there is. */
const SCRIPT = `
  import { settle } from ${SETTLE};
  const used = () => process.memoryUsage().heapTotal;
  let garbage = Array.from({ length: 20 }, () => new Array(131_072).fill(0));
  const before = used();
  garbage = undefined;
  const given = settle();
  console.log(JSON.stringify({ given, less: before - used() }));
`;
const run = (...flags: string[]) =>
  JSON.parse(spawnSync(process.execPath, [...flags, '--input-type=module', '-e', SCRIPT], { encoding: 'utf8' }).stdout);

test('the memory of garbage is given back to the system', () => {
  const { given, less } = run('--expose-gc');
  assert.equal(given, true);
  assert.ok(less > 15e6, `${less} bytes less`);
});

test('a process that may not collect, and one whose heap has grown, are left as they are', () => {
  assert.equal(run().given, false);
  const grown = SCRIPT.replace('length: 20', 'length: 100').replace('garbage = undefined;', '');
  const { stdout } = spawnSync(process.execPath, ['--expose-gc', '--input-type=module', '-e', grown], {
    encoding: 'utf8',
  });
  assert.equal(JSON.parse(stdout).given, false);
});

test('it happens when the process is quiet, not while it works', () => {
  const script = `
    import { settleWhenQuiet } from ${SETTLE};
    const controller = new AbortController();
    let collected = 0;
    const gc = globalThis.gc;
    globalThis.gc = (how) => { collected++; gc(how); };
    const settling = settleWhenQuiet(controller.signal, 50);
    const used = () => process.cpuUsage().user + process.cpuUsage().system;
    const work = setInterval(() => { for (const end = used() + 5_000; used() < end; ); }, 0);
    await new Promise((resolve) => setTimeout(resolve, 500));
    const busy = collected;
    clearInterval(work);
    while (collected === 0) await new Promise((resolve) => setTimeout(resolve, 10));
    controller.abort();
    await settling;
    console.log(JSON.stringify({ busy }));
  `;
  const { stdout } = spawnSync(process.execPath, ['--expose-gc', '--input-type=module', '-e', script], {
    encoding: 'utf8',
  });
  assert.equal(JSON.parse(stdout).busy, 0);
});

test('after the first time it rests for longer, and then only a heap that has grown is settled', () => {
  const script = `
    import { settleWhenQuiet } from ${SETTLE};
    const [firstMs, laterMs] = [20, 300];
    const controller = new AbortController();
    const timesMs = [];
    const gc = globalThis.gc;
    globalThis.gc = (how) => { timesMs.push(performance.now()); gc(how); };
    const settling = settleWhenQuiet(controller.signal, firstMs, laterMs);
    const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
    while (timesMs.length < 1) await pause(10);
    globalThis.kept = Array.from({ length: 8 }, () => new Array(131_072).fill(0));
    while (timesMs.length < 2) await pause(10);
    await pause(4 * laterMs);
    controller.abort();
    await settling;
    console.log(JSON.stringify({ laterMs, timesMs }));
  `;
  const { stdout } = spawnSync(process.execPath, ['--expose-gc', '--input-type=module', '-e', script], {
    encoding: 'utf8',
    timeout: 60_000,
  });
  const { laterMs, timesMs } = JSON.parse(stdout);
  assert.equal(timesMs.length, 2, 'settled again without having grown');
  assert.ok(timesMs[1] - timesMs[0] >= laterMs, `${timesMs[1] - timesMs[0]} ms later`);
});

test('compiled code is kept without an orderly end', async () => {
  const cache = mkdtempSync(join(tmpdir(), 'waystation-settle-'));
  const script = `import { settle } from ${SETTLE}; settle(); console.log('settled'); setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    env: { ...process.env, NODE_COMPILE_CACHE: cache },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(child.stdout, 'data');
  child.kill('SIGKILL');
  await once(child, 'exit');
  const files = readdirSync(cache, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  rmSync(cache, { recursive: true, force: true });
  assert.ok(files.length > 0, 'the cache is empty');
});
