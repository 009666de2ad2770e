// How soon events flow again when a line is whole again: 40 relays behind a NAT, one hub, the cable cut for different times.
// Runs inside the laboratory of scripts/nat-lab.sh, whose NAT it is; the hub and the relays are a process each.
import { spawn, spawnSync } from 'node:child_process';
import { join, resolve } from 'node:path';
import { type Row, report } from './report.ts';

const SCRIPT = resolve(import.meta.dirname, '../../scripts/nat-lab.sh');
const WHAT =
  'The cable of a site with 40 relays is cut and plugged in again; from then until the first event comes through at the hub (up) and at the relay (down). Wanted: p50 <= 2 s, p99 <= 10 s.';

if (spawnSync(SCRIPT, ['check']).status !== 0) {
  report({
    bench: 'portal-cuts',
    what: WHAT,
    rows: [],
    skipped: ['network namespaces need root and tools (scripts/setup-debian.sh)'],
  });
  process.exit();
}
const child = spawn(SCRIPT, ['run', process.execPath, join(import.meta.dirname, 'portal-cuts-inside.ts')], {
  stdio: ['ignore', 'pipe', 'inherit'],
  env: { ...process.env, LAB_SECONDS: '170' },
});
let words = '';
child.stdout.on('data', (chunk) => {
  words += chunk;
});
const status = await new Promise((done) => child.once('close', done));
if (status !== 0) process.exit(1);
report({ bench: 'portal-cuts', what: WHAT, rows: JSON.parse(words.trim().split('\n').at(-1)!) as Row[], skipped: [] });
process.exit();
