// From start to listening on every port, and how large the binaries are.
import { spawnSync } from 'node:child_process';
import { existsSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { startWaystation } from './relays.ts';
import { median, type Row, report, round } from './report.ts';
import { certificates } from './stand.ts';

const TIMES = 7;
const DIST = join(import.meta.dirname, '../../dist');

const folder = certificates(0);
const rows: Row[] = [];
const skipped: string[] = [];

async function start(
  options: { readonly binary?: string; readonly env?: Readonly<Record<string, string>> } = {},
  stop?: NodeJS.Signals,
): Promise<number> {
  const relay = await startWaystation(folder, options);
  await relay.stop(stop);
  return relay.startMs;
}

/** The first start is not counted: it fills caches, the one of compiled code when it ends in order. */
async function add(what: string, options: Parameters<typeof start>[0]): Promise<void> {
  await start(options, 'SIGTERM');
  const times: number[] = [];
  for (let time = 0; time < TIMES; time++) times.push(await start(options));
  rows.push({ what, ms: round(median(times)) });
}

function bareNode(): number {
  const startedMs = performance.now();
  spawnSync(process.execPath, ['-e', '0']);
  return performance.now() - startedMs;
}

rows.push({ what: 'node -e 0', ms: round(median(Array.from({ length: TIMES }, bareNode))) });
rows.push({ what: 'sources, first start: keys and certificates are made', ms: round(await start()) });
await add('sources', {});
const binary = join(DIST, `waystation-linux-${process.arch}`);
if (existsSync(binary)) {
  await add('binary', { binary });
  await add('binary, NODE_COMPILE_CACHE', { binary, env: { NODE_COMPILE_CACHE: join(folder, 'cache') } });
} else skipped.push('the binary is not built: npm run build');
for (const arch of ['x64', 'arm64']) {
  const file = join(DIST, `waystation-linux-${arch}`);
  if (existsSync(file)) rows.push({ what: `binary for ${arch}`, MB: round(statSync(file).size / 1e6) });
}
rmSync(join(folder, 'data'), { recursive: true, force: true });

report({ bench: 'start', what: `Median of ${TIMES} starts.`, rows, skipped });
process.exit();
