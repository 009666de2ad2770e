// A large file over a thin line, from its far end (scripts/thin-lab.sh): a phone there fetches it from a phone here while alerts are raised
// here, and it is measured how late these come. Prints one line of JSON: FileOutcome. 100 MB over 64 kbit/s takes four hours; what holds
// alerts up is the same in every minute of it, so that it ends after --seconds, with the fetch under way:
//   scripts/thin-lab.sh run 64000 64000 node_modules/.bin/node test/thin/file.ts --seconds 120
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createReadStream, openSync, writeSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { parseArgs } from 'node:util';
import type { FileTransfer } from '../../src/core/files-status.ts';
import { quantile } from '../bench/report.ts';
import { sa } from '../support/cot-client.ts';
import { curlNow } from '../support/file-share.ts';
import { RelayHome, SOURCE } from '../support/relay-process.ts';
import type { Arrival } from './far.ts';
import { closing, FAR, FarRelay, LAB, LISTEN, listenFar, PHONES, scope } from './lab.ts';

const FILES = 8090;
/** While the sender still learns what the line carries. */
const EARLY_MS = 20_000;

export interface FileOutcome {
  readonly bytes: number;
  /** Of the file, fetched while alerts were raised; and what that is of the line. */
  readonly got: number;
  readonly used: number;
  readonly alerts: number;
  readonly alertsDelivered: number;
  readonly alertP50S: number;
  readonly alertP99S: number;
  readonly alertMaxS: number;
  /** Of those raised in the first seconds, before anything is known of the line. */
  readonly alertEarlyMaxS: number;
}

const { values } = parseArgs({
  options: {
    bits: { type: 'string', default: '64000' },
    seconds: { type: 'string', default: '120' },
    bytes: { type: 'string', default: '100000000' },
    every: { type: 'string', default: '1000' },
    /** Every alert, when it was raised and how late it came, to stderr. */
    trace: { type: 'boolean', default: false },
  },
});
const [bits, seconds, bytes, every] = [values.bits, values.seconds, values.bytes, values.every].map(Number) as [
  number,
  number,
  number,
  number,
];

const near = new RelayHome(scope, 'near');
const far = new FarRelay(scope, 'far', [LAB, 'far', ...SOURCE]);

async function relays(): Promise<void> {
  const links = `files: { listen: "127.0.0.1:${FILES}" }\nlinks:\n  - { name: phones, kind: cot, listen: "127.0.0.1:${PHONES}" }\n  - name: thin\n    kind: portal\n    federation_key: a key for measurements\n`;
  near.configure(8080, links);
  far.configure(8080, links);
  const [nearPin, farPin] = await Promise.all([near.portalPin(), far.portalPin()]);
  near.configure(8080, `${links}    peers: [{ name: far, pin: "${farPin}", address: "${FAR}:${LISTEN}" }]\n`);
  far.configure(8080, `${links}    listen: 0.0.0.0:${LISTEN}\n    peers: [{ name: near, pin: "${nearPin}" }]\n`);
  await Promise.all([near.start(), far.start()]);
  await near.until(({ peers }) => peers.some(({ kind, connected }) => kind === 'portal' && connected), 'connection');
}

/** A file of noise, and its SHA-256. */
async function noise(path: string): Promise<string> {
  const file = openSync(path, 'w');
  const { randomBytes } = await import('node:crypto');
  for (let left = bytes; left > 0; left -= 1 << 20) writeSync(file, randomBytes(Math.min(left, 1 << 20)));
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

function said(uid: string, type: string, detail: string): string {
  const at = (ms: number) => new Date(ms).toISOString();
  const now = Date.now();
  return (
    `<event version="2.0" uid="${uid}" type="${type}" how="h-e" time="${at(now)}" start="${at(now)}" stale="${at(now + 600_000)}">` +
    `<point lat="1" lon="2" hae="3" ce="4" le="5"/><detail>${detail}</detail></event>`
  );
}

async function measure(): Promise<FileOutcome> {
  await relays();
  const arrivals: Arrival[] = [];
  await listenFar((arrival) => void arrivals.push(arrival), '--port', String(PHONES));
  const socket: Socket = connect(PHONES, '127.0.0.1');
  await once(socket, 'connect');
  socket.write(sa('NEAR-1', 'NEAR', Date.now()));
  const hash = await noise(near.file('large.bin'));
  const url = `http://127.0.0.1:${FILES}/Marti/sync/`;
  const brought = curlNow(
    '-F',
    `assetfile=@${near.file('large.bin')}`,
    `${url}missionupload?hash=${hash}&filename=large.bin`,
  );
  if (brought.status !== 200) throw new Error(brought.body);
  socket.write(
    said(
      'share',
      'b-f-t-r',
      `<fileshare filename="large.bin" name="large.bin" senderUrl="${url}" sizeInBytes="${bytes}" sha256="${hash}" senderUid="NEAR-1" senderCallsign="NEAR"/>`,
    ),
  );
  while (!arrivals.some(({ type }) => type === 'b-f-t-r')) await new Promise((done) => setTimeout(done, 100));
  const fetching = spawn(LAB, ['far', 'curl', '-sS', '-o', '/dev/null', `${url}content?hash=${hash}`], {
    stdio: 'inherit',
  });
  scope.after(() => fetching.kill('SIGKILL'));
  const coming = async () =>
    (await far.status()).files?.transfers.find(({ direction, name }) => direction === 'in' && name === 'large.bin');
  let transfer: FileTransfer | undefined;
  while (!transfer?.got) transfer = await coming();

  const raised = new Map<string, number>();
  const startMs = Date.now();
  const first = transfer.got;
  for (let n = 0; Date.now() - startMs < seconds * 1000; n++) {
    const uid = `alert-${n}`;
    raised.set(uid, Date.now());
    socket.write(said(uid, 'b-a-o-tbl', '<emergency type="911 Alert">NEAR</emergency>'));
    await new Promise((done) => setTimeout(done, every * (0.75 + Math.random() / 2)));
  }
  const got = ((await coming())?.got ?? 0) - first;
  const tookMs = Date.now() - startMs;
  await new Promise((done) => setTimeout(done, 5_000));
  const delays = [...raised].flatMap(([uid, atMs]) => {
    const arrival = arrivals.find((one) => one.uid === uid);
    return arrival ? [{ atMs, ms: arrival.atMs - atMs }] : [];
  });
  if (values.trace) {
    for (const { atMs, ms } of delays) process.stderr.write(`${((atMs - startMs) / 1000).toFixed(1)} s: ${ms} ms\n`);
  }
  const isEarly = ({ atMs }: { atMs: number }) => atMs - startMs < EARLY_MS;
  const of = (list: readonly { ms: number }[], share: number) =>
    list.length === 0
      ? Number.NaN
      : quantile(
          list.map(({ ms }) => ms),
          share,
        ) / 1000;
  return {
    bytes,
    got,
    used: Math.round((100 * got * 8_000) / tookMs / bits) / 100,
    alerts: raised.size,
    alertsDelivered: delays.length,
    alertP50S: of(delays, 0.5),
    alertP99S: of(delays, 0.99),
    alertMaxS: of(
      delays.filter((one) => !isEarly(one)),
      1,
    ),
    alertEarlyMaxS: of(delays.filter(isEarly), 1),
  };
}

try {
  process.stdout.write(`${JSON.stringify(await measure())}\n`);
} finally {
  for (const close of closing) await close();
}
process.exit(0);
