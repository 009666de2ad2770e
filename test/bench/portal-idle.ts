// What an idle link costs a day, and a connection after a break: two links over loopback of a network namespace of their own, whose interface counters see
// every packet with its headers. The day is that of a clock which is moved; the packets are real.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ManualClock } from '../../src/lib/clock.ts';
import { portalKind } from '../../src/links/portal/index.ts';
import { runLink } from '../links/memory.ts';
import { testIdentity } from '../support/pki.ts';
import { BENCH_KEY } from './dialect/portal.ts';
import { type Row, report, round } from './report.ts';

const INSIDE = 'BENCH_IDLE_INSIDE';
const DAY_MS = 24 * 3_600_000;
const STEP_MS = 5_000;
/** An answer over loopback takes less; a step without traffic takes a turn. */
const LOOK_MS = 1;
const LIMIT_MS = 150_000;
/** TCP delays an acknowledgement for so long when it has nothing to say. */
const SETTLE_MS = 60;
/** Ethernet's header, which lo counts and the internet does not carry. */
const LINK_HEAD_BYTES = 14;
const WHAT =
  'One idle link for a day, both ways, TCP and IP headers included: real packets, counted by the kernel on an interface of their own; the day is a virtual one.';

const forever = { after() {} } as unknown as TestContext;

interface Traffic {
  readonly bytes: number;
  readonly packets: number;
}

function counted(): Traffic {
  const line = /lo:\s*(\d+)\s+(\d+)/.exec(readFileSync('/proc/net/dev', 'latin1'))!;
  const [bytes, packets] = [Number(line[1]), Number(line[2])];
  return { bytes: bytes - packets * LINK_HEAD_BYTES, packets };
}

async function day(what: string, settings: object): Promise<Row> {
  const clock = new ManualClock(Date.now());
  const link = (peers: readonly object[], more: object) =>
    portalKind.create(portalKind.schema.parse({ federation_key: BENCH_KEY, peers, ...more }));
  const [one, other] = ['one', 'other'].map((name) => testIdentity(name));
  const pinOf = (identity = one!) => identity.portal().fingerprint;
  const node = (name: string) => ({ id: `ws-${name}`, name, version: '0' });
  const b = runLink(forever, link([{ name: 'one', pin: pinOf(one) }], { listen: '127.0.0.1:0' }), {
    clock,
    identity: other!,
    node: node('other'),
  });
  const address = `127.0.0.1:${await b.port()}`;
  const before = counted();
  const peer = { name: 'other', pin: pinOf(other), address };
  const a = runLink(forever, link([peer], settings), { clock, identity: one!, node: node('one') });
  await a.hub.session();
  await b.hub.session();
  await sleep(SETTLE_MS);
  const connected = counted();
  let pings = 0;
  for (let passed = 0; passed < DAY_MS; passed += STEP_MS) {
    const { packets } = counted();
    clock.advance(STEP_MS);
    await sleep(LOOK_MS);
    if (counted().packets === packets) continue;
    await sleep(SETTLE_MS);
    pings++;
  }
  const after = counted();
  if (a.hub.sessions.length > 1) throw new Error('the link was lost');
  a.hub.sessions[0]!.session.close('network_error');
  await sleep(SETTLE_MS);
  const broken = counted();
  while (a.hub.sessions.length < 2 || b.hub.sessions.length < 2) {
    clock.advance(LOOK_MS * 100);
    await sleep(LOOK_MS);
  }
  await sleep(SETTLE_MS);
  const back = counted();
  await Promise.all([a.stop(), b.stop()]);
  const bytes = after.bytes - connected.bytes;
  return {
    link: what,
    'PINGs a day': pings,
    'bytes a PING and PONG': round(bytes / pings),
    'MB a day': round(bytes / 1e6),
    'first connection, bytes': connected.bytes - before.bytes,
    'reconnect, bytes (wanted <= 1500)': back.bytes - broken.bytes,
  };
}

if (!process.env[INSIDE]) {
  const command = `ip link set lo up && exec "$0" "$1"`;
  const env = { ...process.env, [INSIDE]: '1' };
  const { status, stdout } = spawnSync(
    'unshare',
    ['-rn', 'sh', '-c', command, process.execPath, import.meta.filename],
    { env, encoding: 'utf8', timeout: LIMIT_MS, killSignal: 'SIGKILL', stdio: ['ignore', 'pipe', 'inherit'] },
  );
  if (status === 0) process.stdout.write(stdout);
  else report({ bench: 'portal-idle', what: WHAT, rows: [], skipped: ['network namespaces are not allowed here'] });
} else {
  const rows = [
    await day('default (wanted <= 0.3)', {}),
    await day('keepalive_seconds: 240, for metered uplinks (wanted <= 0.1)', { keepalive_seconds: 240 }),
  ];
  report({ bench: 'portal-idle', what: WHAT, rows, skipped: [] });
}
process.exit();
