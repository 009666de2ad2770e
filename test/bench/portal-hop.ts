// What a hub adds to an event's way: from a phone of relay a to a phone of relay b, directly, through a tunnel of the hub, and
// routed by the hub. Every relay is a process of its own; the network between is loopback, so the difference is the hub's.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { BENCH_KEY } from './dialect/portal.ts';
import { freePort, portalPin, type Running, startWaystation } from './relays.ts';
import { median, type Row, report, round } from './report.ts';
import { certificates, type Run, receivers, run, sender } from './stand.ts';

const PACE = { perSecond: 200, burst: 1 };
const WARM_UP = { ...PACE, events: 400 };
const MEASURED = { ...PACE, events: 500 };
/** What else the machine does spoils some of them. */
const TIMES = 7;
const CONNECT_MS = 20_000;
const NO_EVENTS = 'policy: { in: false, out: false }';

const root = certificates(2);
const side = (relay: Running) => ({ dialect: 'cot', port: relay.ports.cot!, certs: root });
const at = { a: await freePort(), b: await freePort(), h: await freePort() };
type Name = keyof typeof at;
const names = Object.keys(at) as Name[];
const folders = Object.fromEntries(names.map((name) => [name, join(root, name)])) as Record<Name, string>;

function start(name: Name, settings: string): Promise<Running> {
  const portal = `hub: ${name === 'h'}, federation_key: '${BENCH_KEY}', peers: [${settings}]`;
  return startWaystation(root, { portal, portalPort: at[name], data: folders[name] });
}

/** Identities first: each must know the others' pins. The configuration is that of the relay started last. */
const pins = {} as Record<Name, string>;
for (const name of names) {
  mkdirSync(folders[name]);
  await (await start(name, '')).stop();
  pins[name] = portalPin(root);
}

const peer = (name: Name, more = '') => `{ name: ${name}, pin: ${pins[name]}${more} }`;
const dialled = (name: Name, more = '') => peer(name, `, address: '127.0.0.1:${at[name]}'${more}`);
const WAYS: Readonly<Record<string, Readonly<Record<Name, string>>>> = {
  direct: { a: dialled('b'), b: peer('a'), h: '' },
  'tunnel of the hub': {
    a: `${dialled('h', `, ${NO_EVENTS}`)}, ${peer('b', ', hub: h')}`,
    b: `${dialled('h', `, ${NO_EVENTS}`)}, ${peer('a', ', auto_connect: false')}`,
    h: `${peer('a', `, ${NO_EVENTS}`)}, ${peer('b', `, ${NO_EVENTS}`)}`,
  },
  'routed by the hub': { a: dialled('h'), b: dialled('h'), h: `${peer('a')}, ${peer('b')}` },
};

const rows: Row[] = [];
let direct = { p50us: 0, p99us: 0 };
for (const [way, settings] of Object.entries(WAYS)) {
  const relays = [await start('h', settings.h), await start('b', settings.b), await start('a', settings.a)];
  const [, b, a] = relays;
  const to = await receivers(side(b!), 1);
  const from = await sender(side(a!));
  const deadline = performance.now() + CONNECT_MS;
  for (;;) {
    const { delivered } = await run(undefined, from, to, { ...PACE, events: 20 });
    if (delivered > 0) break;
    if (performance.now() > deadline) throw new Error(`${way}: nothing comes through`);
    await sleep(200);
  }
  await run(undefined, from, to, WARM_UP);
  const runs: Run[] = [];
  for (let time = 0; time < TIMES; time++) runs.push(await run(undefined, from, to, MEASURED));
  const result = {
    delivered: Math.min(...runs.map(({ delivered }) => delivered)),
    p50us: median(runs.map(({ p50us }) => p50us)),
    p99us: median(runs.map(({ p99us }) => p99us)),
  };
  if (way === 'direct') direct = result;
  rows.push({
    way,
    'delivered %': round(result.delivered * 100, 4),
    'p50 ms': round(result.p50us / 1000),
    'p99 ms': round(result.p99us / 1000),
    'p50 more than direct ms': round((result.p50us - direct.p50us) / 1000),
    'p99 more than direct ms': round((result.p99us - direct.p99us) / 1000),
  });
  await Promise.all([from.stop(), to.peer.stop(), ...relays.map((relay) => relay.stop())]);
}
report({
  bench: 'portal-hop',
  what: `From a phone beside relay a to one beside relay b, ${PACE.perSecond} events a second, medians of ${TIMES} runs of ${MEASURED.events}; everything on this machine. Wanted: network + <= 2 ms.`,
  rows,
  skipped: [],
});
process.exit();
