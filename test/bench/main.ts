// npm run bench [-- NAME... --json FILE]: runs the benchmarks one after the other, each in a process of its own, and shows
// their tables. Figures of one run may be compared with each other, not with those of another machine or day: look at
// the ratios. A result is also kept as JSON (build/bench.json).
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { type Result, table } from './report.ts';

const PORTAL = ['portal-cpu', 'portal-hop', 'portal-idle', 'portal-cuts', 'portal-spokes', 'splice'];
const BENCHES = ['wire', 'xml', 'relay', 'cross', 'latency', 'memory', 'core', 'page', 'phones', ...PORTAL, 'start'];
/** Only when asked for: minutes, and nothing of speed. */
const ON_REQUEST = ['outbox', 'stalled', 'thin'];
/** Several by one name. */
const GROUPS: Readonly<Record<string, readonly string[]>> = { portal: PORTAL };
/** A benchmark that takes longer hangs. */
const TIMEOUT_MS = 600_000;
const LONG_TIMEOUT_MS = 1_800_000;

const { values, positionals } = parseArgs({
  options: { json: { type: 'string', default: join(import.meta.dirname, '../../build/bench.json') } },
  allowPositionals: true,
});
const names = [...Object.keys(GROUPS), ...BENCHES, ...ON_REQUEST];
const unknown = positionals.find((name) => !names.includes(name));
if (unknown) {
  console.error(`bench: there is no '${unknown}'; there are ${names.join(', ')}`);
  process.exit(1);
}

const machine = { node: process.version, arch: process.arch, cpu: cpus()[0]?.model ?? '', cores: cpus().length };
console.log(`Node ${machine.node}, ${machine.cores} x ${machine.cpu}, load ${loadavg()[0]!.toFixed(2)}`);
const results: Result[] = [];
let failed = false;
for (const name of positionals.length > 0 ? positionals.flatMap((name) => GROUPS[name] ?? [name]) : BENCHES) {
  const startedMs = performance.now();
  const result = run(name);
  console.log(`\n== ${name}, ${((performance.now() - startedMs) / 1000).toFixed(0)} s`);
  if (result) {
    console.log(`${result.what}\n${table(result.rows)}`);
    for (const words of result.skipped) console.log(`  skipped: ${words}`);
    results.push(result);
  } else failed = true;
}
const file = resolve(values.json);
mkdirSync(dirname(file), { recursive: true });
writeFileSync(file, `${JSON.stringify({ when: new Date().toISOString(), machine, results }, null, 1)}\n`);
process.exit(failed ? 1 : 0);

function run(name: string): Result | undefined {
  const script = join(import.meta.dirname, `${name}.ts`);
  const { status, signal, stdout } = spawnSync(process.execPath, [script], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: ON_REQUEST.includes(name) ? LONG_TIMEOUT_MS : TIMEOUT_MS,
  });
  if (status === 0) return JSON.parse(stdout.trim().split('\n').at(-1)!) as Result;
  console.error(`bench: ${name} ended with ${status ?? signal}`);
  return undefined;
}
