// Memory of the relay: idle, with 64 peers, and with 64 peers that stopped reading while events go on, when one that reads
// must get every event all the same.
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { memoryMb, type RelayName, type Running, serviceEnvironment, startRelay, startWaystation } from './relays.ts';
import { type Row, report, round } from './report.ts';
import { certificates, receivers, run, sender } from './stand.ts';

const PEERS = 64;
const CALM_MS = 1_500;
/** The binary is looked at when its start is over. */
const IDLE_MS = 60_000;
const PACE = { events: 10_000, perSecond: 2_000, burst: 20 };
/** The first round fills the queues; from then on memory must not grow. */
const ROUNDS = 3;
/** Queues keep one position per unit; with more units than events nothing can be replaced. */
const UNITS = [500, 100_000] as const;

const folder = certificates(PEERS + 2);
const rows: Row[] = [];

async function add(name: string, state: string, relay: Running, more: Row = {}, calmMs = CALM_MS): Promise<void> {
  await sleep(calmMs);
  const { rss, dirty } = memoryMb(relay.pid);
  rows.push({ relay: name, state, 'resident MB': rss, 'private MB': dirty, ...more });
}

/**
 * Drops the file from the page cache, so that it is read again as after a boot: pages of a file just built count as written to, and
 * lie in larger pieces, of which a start maps 7 to 20 MB that it never looks at.
 */
function fromDisk(file: string): void {
  execFileSync('sync', [file]);
  execFileSync('dd', [`if=${file}`, 'iflag=nocache', 'count=0', 'status=none']);
}

/** At its first start, when it makes its keys and compiles itself; at the next; and when somebody has looked at its page. */
async function idle(binary: string): Promise<void> {
  const env = serviceEnvironment(folder);
  fromDisk(binary);
  const first = await startWaystation(folder, { binary, env });
  await add('waystation, binary', 'idle for a minute, first start', first, {}, IDLE_MS);
  await first.stop('SIGTERM');
  const again = await startWaystation(folder, { binary, env });
  await add('waystation, binary', 'idle for a minute', again, {}, IDLE_MS);
  for (const path of ['/', '/api/status', '/'])
    await (await fetch(`http://127.0.0.1:${again.ports.api}${path}`)).text();
  await add('waystation, binary', 'idle, page opened', again);
  await again.stop();
}

async function measure(name: RelayName, units: number, first: boolean): Promise<void> {
  const relay =
    name === 'waystation'
      ? await startWaystation(folder, { env: serviceEnvironment(folder) })
      : await startRelay(name, folder);
  if (first) await add(name, 'idle', relay);
  const side = { dialect: 'fed2', port: relay.ports.fed2!, certs: folder };
  const many = await receivers(side, PEERS, 2);
  if (first) await add(name, `${PEERS} peers`, relay);
  const one = await receivers(side, 1, 1);
  const from = await sender(side, units);
  many.peer.freeze();
  const state = `${PEERS} stalled, ${Math.min(units, PACE.events)} units`;
  for (let pass = 1; pass <= ROUNDS; pass++) {
    const { delivered } = await run(relay, from, one, PACE);
    const at = `${state}, after ${pass * PACE.events} events`;
    await add(name, at, relay, { 'delivered to the one that reads %': round(delivered * 100, 4) });
  }
  await Promise.all([many.peer.stop(), one.peer.stop(), from.stop(), relay.stop()]);
}

const binary = join(import.meta.dirname, `../../dist/waystation-linux-${process.arch}`);
if (existsSync(binary)) await idle(binary);
for (const [index, units] of UNITS.entries()) await measure('waystation', units, index === 0);
await measure('grpc-js', UNITS[0], true);

report({
  bench: 'memory',
  what: 'Memory of the relay process, run as the systemd unit runs it (/proc/PID/smaps_rollup; private: written to). The relay on grpc-js has no queues of its own: what it keeps has no bound.',
  rows,
  skipped: existsSync(binary) ? [] : ['the binary is not built: npm run build'],
});
process.exit();
