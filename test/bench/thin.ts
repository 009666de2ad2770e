// Relay to relay over thin lines, shaped by tc tbf: how old is what arrives, and does everything arrive that must. Beside it a plain
// sender that writes what it has and waits for `drain`, and gRPC with and without HealthCheck as a credit marker. Minutes long.
import { spawn, spawnSync } from 'node:child_process';
import { join, resolve } from 'node:path';
import { type Row, report } from './report.ts';

const LAB = resolve(import.meta.dirname, '../../scripts/thin-lab.sh');
const THIN = join(import.meta.dirname, '../thin');
const BUFFER = '64000';

interface Run {
  readonly name: string;
  readonly bits: string;
  readonly script: string;
  readonly args: readonly string[];
}

const island = (bits: number, ...args: string[]) => ({
  bits: String(bits),
  script: 'run.ts',
  // Twelve times what the line carries.
  args: ['--bits', String(bits), '--seconds', '110', '--haste', String((1.4 * bits) / 2400), ...args],
});
const federate = (...args: string[]) => ({
  bits: '9600',
  script: 'fed2-credit.ts',
  args: ['--seconds', '90', ...args],
});
const RUNS: readonly Run[] = [
  { name: '2.4k, write and drain', ...island(2_400, '--sender', 'plain') },
  { name: '2.4k, relays, not packed', ...island(2_400, '--peer', 'compress: off') },
  { name: '2.4k, relays', ...island(2_400) },
  { name: '2.4k, relays, coarse', ...island(2_400, '--peer', 'positions: coarse') },
  { name: '9.6k, write and drain', ...island(9_600, '--sender', 'plain') },
  { name: '9.6k, relays', ...island(9_600) },
  { name: '9.6k, gRPC, drain', ...federate('--sender', 'drain') },
  { name: '9.6k, gRPC, HealthCheck as credit', ...federate('--sender', 'credit') },
];

async function outcome({ bits, script, args }: Run): Promise<Row> {
  const child = spawn(LAB, ['run', bits, BUFFER, process.execPath, join(THIN, script), ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let said = '';
  child.stdout.on('data', (chunk) => (said += chunk));
  await new Promise((done) => child.once('close', done));
  return JSON.parse(said.trim().split('\n').at(-1) ?? '{}') as Row;
}

const what =
  'an island of 50 units, chat and alerts, twelve times what the line carries; ages in seconds; used: share of the line';
const check = spawnSync(LAB, ['check'], { encoding: 'utf8' });
if (check.status !== 0) report({ bench: 'thin', what, rows: [], skipped: [check.stdout.trim()] });
else {
  // All at once: each has a line of its own and little to do.
  const rows = await Promise.all(RUNS.map(async (run) => ({ run: run.name, ...(await outcome(run)) })));
  const columns = [
    'run',
    'delivered',
    'used',
    'bytesEach',
    'ageP50S',
    'ageP95S',
    'newestP95S',
    'alerts',
    'alertsDelivered',
    'alertMaxS',
    'connections',
    'unaccounted',
  ];
  const shown = rows.map((row: Row) => Object.fromEntries(columns.map((name) => [name, row[name] ?? ''])));
  report({ bench: 'thin', what, rows: shown, skipped: ["delay beside the line's own: needs netem"] });
}
