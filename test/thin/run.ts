// One run over a thin line, from its near end (scripts/thin-lab.sh): an island talks, and it is measured what arrives at the far end,
// and when. Prints one line of JSON: Outcome. Usage: run.ts --sender relay|plain --bits N --seconds N --units N --haste N
// [--peer YAML] [--seed N]. Three times what fits packed (33 times unpacked), for an hour (24 h: --seconds 86400); `connections` must stay 1, `unaccounted` 0:
//   scripts/thin-lab.sh run 2400 64000 node_modules/.bin/node test/thin/run.ts --bits 2400 --haste 4 --seconds 3600
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { parseArgs } from 'node:util';
import type { RelayStatus } from '../../src/core/status.ts';
import { quantile } from '../bench/report.ts';
import { Island, type Spoken } from '../support/island.ts';
import { RelayHome, SOURCE } from '../support/relay-process.ts';
import type { Arrival } from './far.ts';
import { closing, FAR, FarRelay, LAB, LISTEN, listenFar, PHONES, scope } from './lab.ts';

/** While the sender still learns what the line carries. */
const EARLY_MS = 30_000;
/** How many units have been heard of, and how old the newest fix of each is, is looked at so often. */
const LOOK_MS = 500;

export interface Outcome {
  readonly offered: number;
  readonly offeredX: number;
  readonly delivered: number;
  readonly used: number;
  readonly bytesEach: number;
  readonly ageP50S: number;
  readonly ageP95S: number;
  readonly newestP50S: number;
  readonly newestP95S: number;
  readonly alerts: number;
  readonly alertsDelivered: number;
  readonly alertP50S: number;
  readonly alertMaxS: number;
  /** Of those said in the first half minute. */
  readonly alertEarlyMaxS: number;
  readonly chats: number;
  readonly chatsDelivered: number;
  readonly chatMaxS: number;
  readonly connections: number;
  /** Of the near relay, what was offered to the line less everything that became of it: 0. */
  readonly unaccounted: number;
}

const { values } = parseArgs({
  options: {
    sender: { type: 'string', default: 'relay' },
    bits: { type: 'string', default: '2400' },
    seconds: { type: 'string', default: '60' },
    units: { type: 'string', default: '50' },
    haste: { type: 'string', default: '1' },
    peer: { type: 'string', default: '' },
    seed: { type: 'string', default: '1' },
  },
});
const bits = Number(values.bits);
const lastsMs = Number(values.seconds) * 1000;

async function relays(): Promise<{ readonly socket: Socket; status(): Promise<RelayStatus> }> {
  const near = new RelayHome(scope, 'near');
  const far = new FarRelay(scope, 'far', [LAB, 'far', ...SOURCE]);
  const phones = `links:\n  - { name: phones, kind: cot, listen: "127.0.0.1:${PHONES}" }\n`;
  near.configure(8080, phones);
  far.configure(8080, phones);
  const [nearPin, farPin] = await Promise.all([near.portalPin(), far.portalPin()]);
  const portal = '  - name: thin\n    kind: portal\n    federation_key: a key for measurements\n';
  const more = values.peer ? `, ${values.peer}` : '';
  near.configure(
    8080,
    `${phones}${portal}    peers: [{ name: far, pin: "${farPin}", address: "${FAR}:${LISTEN}"${more} }]\n`,
  );
  far.configure(
    8080,
    `${phones}${portal}    listen: 0.0.0.0:${LISTEN}\n    peers: [{ name: near, pin: "${nearPin}" }]\n`,
  );
  await Promise.all([near.start(), far.start()]);
  await near.until(({ peers }) => peers.some(({ kind, connected }) => kind === 'portal' && connected), 'connection');
  const socket = connect(PHONES, '127.0.0.1');
  await once(socket, 'connect');
  return { socket, status: () => near.status() };
}

/** Sent over the line so far, heads and all. */
function lineBytes(): number {
  const [, fields = ''] = /^ *line:(.*)$/m.exec(readFileSync('/proc/net/dev', 'utf8')) ?? [];
  return Number(fields.trim().split(/ +/)[8]);
}

async function measure(): Promise<Outcome> {
  const arrivals: Arrival[] = [];
  const note = (arrival: Arrival) => void arrivals.push(arrival);
  const isPlain = values.sender === 'plain';
  if (isPlain) await listenFar(note, '--listen', '--port', String(LISTEN));
  const relay = isPlain ? undefined : await relays();
  if (!isPlain) await listenFar(note, '--port', String(PHONES));
  const socket = relay?.socket ?? connect(LISTEN, FAR);
  if (isPlain) await once(socket, 'connect');
  socket.on('error', () => {});

  const startMs = Date.now();
  const island = new Island({
    seed: Number(values.seed),
    units: Number(values.units),
    wallMs: startMs,
    haste: Number(values.haste),
    chatEveryMs: 45_000,
    alertEveryMs: Math.min(300_000, lastsMs / 12),
  });
  const said: Spoken[] = [];
  const positions = new Set(island.uids);
  const newest: number[] = [];
  const fixes = new Map<string, number>();
  let looked = 0;
  const firstBytes = { at: 0, bytes: 0 };
  const warmMs = lastsMs / 4;
  const looking = setInterval(() => {
    if (Date.now() - startMs < warmMs) return;
    if (firstBytes.at === 0) Object.assign(firstBytes, { at: Date.now(), bytes: lineBytes(), seen: arrivals.length });
    for (; looked < arrivals.length; looked++) {
      const { uid, timeMs } = arrivals[looked]!;
      fixes.set(uid, Math.max(fixes.get(uid) ?? 0, timeMs));
    }
    for (const uid of positions) newest.push(Date.now() - (fixes.get(uid) ?? startMs));
  }, LOOK_MS);
  const waiting: string[] = [];
  for (const spoken of island.events()) {
    if (spoken.atMs > lastsMs) break;
    await new Promise((done) => setTimeout(done, Math.max(0, startMs + spoken.atMs - Date.now())));
    said.push(spoken);
    // A plain sender as most are written: what the stream does not take waits in memory until `drain`.
    waiting.push(String(spoken.xml));
    while (waiting.length > 0 && !socket.writableNeedDrain) socket.write(waiting.shift()!);
  }
  clearInterval(looking);
  const usedBytes = lineBytes() - firstBytes.bytes;
  const usedMs = Date.now() - firstBytes.at;
  const seenInTime = arrivals.filter(({ atMs }) => atMs >= firstBytes.at).length;
  // Alerts and chat said at the very end get the time a line needs.
  await new Promise((done) => setTimeout(done, 8_000));
  const status = await relay?.status();
  return outcomeOf({ said, arrivals, newest, usedBytes, usedMs, seenInTime, status, warmMs: startMs + warmMs });
}

interface Measured {
  readonly said: readonly Spoken[];
  readonly arrivals: readonly Arrival[];
  readonly newest: readonly number[];
  readonly usedBytes: number;
  readonly usedMs: number;
  readonly seenInTime: number;
  readonly status: RelayStatus | undefined;
  readonly warmMs: number;
}

function outcomeOf({ said, arrivals, newest, usedBytes, usedMs, seenInTime, status, warmMs }: Measured): Outcome {
  const seconds = (list: readonly number[], share: number) =>
    list.length === 0 ? Number.NaN : Math.round(quantile(list, share) / 10) / 100;
  const ages = arrivals
    .filter(({ type, atMs }) => type.startsWith('a-f') && atMs >= warmMs)
    .map(({ atMs, timeMs }) => atMs - timeMs);
  const alerts = delays(said, arrivals, 'alert', 'b-a-o');
  const early = delays(
    said.filter(({ atMs }) => atMs < EARLY_MS),
    arrivals,
    'alert',
    'b-a-o',
  );
  const chats = delays(said, arrivals, 'chat', 'b-t-f');
  const peer = status?.peers.find(({ kind }) => kind === 'portal');
  const unaccounted = (peer?.lanes ?? []).reduce((sum, { offered, sent, dropped, queued }) => {
    return sum + offered - sent - queued - Object.values(dropped).reduce((all, count) => all + count, 0);
  }, 0);
  return {
    offered: said.length,
    offeredX:
      Math.round((10 * said.reduce((sum, { xml }) => sum + xml.length, 0) * 8) / (said.at(-1)!.atMs / 1000) / bits) /
      10,
    delivered: arrivals.length,
    used: Math.round((100 * usedBytes * 8_000) / usedMs / bits) / 100,
    bytesEach: Math.round(usedBytes / Math.max(1, seenInTime)),
    ageP50S: seconds(ages, 0.5),
    ageP95S: seconds(ages, 0.95),
    newestP50S: seconds(newest, 0.5),
    newestP95S: seconds(newest, 0.95),
    alerts: alerts.said,
    alertsDelivered: alerts.delays.length,
    alertP50S: seconds(alerts.delays, 0.5),
    alertMaxS: seconds(alerts.delays, 1),
    alertEarlyMaxS: seconds(early.delays, 1),
    chats: chats.said,
    chatsDelivered: chats.delays.length,
    chatMaxS: seconds(chats.delays, 1),
    connections: peer?.sessions ?? 1,
    unaccounted,
  };
}

function delays(said: readonly Spoken[], arrivals: readonly Arrival[], kind: Spoken['kind'], type: string) {
  const arrived = new Map(
    arrivals.filter((one) => one.type.startsWith(type)).map((one) => [`${one.uid} ${one.timeMs}`, one.atMs]),
  );
  const wanted = said.filter((one) => one.kind === kind);
  const found = wanted.flatMap(({ uid, xml }) => {
    const timeMs = Date.parse(/time="([^"]*)"/.exec(String(xml))![1]!);
    const atMs = arrived.get(`${uid} ${timeMs}`);
    return atMs === undefined ? [] : [atMs - timeMs];
  });
  return { said: wanted.length, delays: found };
}

try {
  process.stdout.write(`${JSON.stringify(await measure())}\n`);
} finally {
  for (const close of closing) await close();
}
process.exit(0);
