// What stands in the laboratory: relay a with its phone, relay b with its phone and a TAK server beside it (played by a
// third relay, reached only through b's `expose`), and two hubs that pass tunnels and see no events.
import { writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { TestContext } from 'node:test';
import type { PeerStatus } from '../../src/core/status.ts';
import type { Phone } from '../support/cot-client.ts';
import { fault, inPlace, LabRelay, phoneAt, until } from './lab.ts';

const PHONES = 8087;
const TAK_PHONES = 8187;
const TAK_FEDERATION = 9001;
const HUB_PORT = 9090;
const TAMPER_PORT = 9191;
const HUB_ADDRESSES = { hub1: '198.51.100.21', hub2: '198.51.100.22' } as const;
const START_MS = 60_000;
const ALIVE_MS = 60_000;
const KEY = 'federation_key: "known in this laboratory only"';
const NO_EVENTS = 'policy: { in: false, out: false }';

export interface Sites {
  readonly a: LabRelay;
  readonly b: LabRelay;
  readonly tak: LabRelay;
  readonly hub1: LabRelay;
  readonly hub2: LabRelay;
  readonly phoneA: Phone;
  readonly phoneB: Phone;
  /** Behind the TAK server. */
  readonly phoneT: Phone;
}

/** Everything up and connected. */
export async function startSites(t: TestContext): Promise<Sites> {
  const a = new LabRelay(t, 'a', 'a');
  const b = new LabRelay(t, 'b', 'b');
  const tak = new LabRelay(t, 'tak', 'b', 8081);
  const hub1 = new LabRelay(t, 'hub1', 'hub1');
  const hub2 = new LabRelay(t, 'hub2', 'hub2');
  const relays = [a, b, tak, hub1, hub2];
  for (const relay of relays) relay.configure(relay.apiPort, '');
  const pins = Object.fromEntries(await Promise.all(relays.map(async (relay) => [relay.name, await relay.pin()])));
  const [aCa, takCa] = await Promise.all([a, tak].map((relay) => relay.command('cert', 'show', '--ca')));
  writeFileSync(a.file('tak-ca.pem'), takCa!);
  writeFileSync(tak.file('a-ca.pem'), aCa!);

  const hubs = Object.entries(HUB_ADDRESSES).map(
    ([name, host]) => `{ name: ${name}, pin: ${pins[name]}, address: "${host}:${HUB_PORT}", ${NO_EVENTS} }`,
  );
  const other = (name: string) => `{ name: ${name}, pin: ${pins[name]}, hub: [hub1, hub2] }`;
  const site = (name: string, more: string) =>
    `links:
  - { name: phones, kind: cot, listen: ${PHONES} }
  - { name: portal, kind: portal, ${KEY}, peers: [${[...hubs, other(name)].join(', ')}]${more} }
`;
  a.configure(
    a.apiPort,
    `trust: [tak-ca.pem]\n${site('b', '')}  - { name: tak, kind: fed2, connect: "tak.site-b:${TAK_FEDERATION}", via: portal/b/takserver }\n`,
  );
  b.configure(b.apiPort, site('a', `, expose: { takserver: "127.0.0.1:${TAK_FEDERATION}" }`));
  tak.configure(
    tak.apiPort,
    `trust: [a-ca.pem]\nlinks:\n  - { name: phones, kind: cot, listen: ${TAK_PHONES} }\n  - { name: federation, kind: fed2, listen: "127.0.0.1:${TAK_FEDERATION}" }\n`,
  );
  const ends = ['a', 'b'].map((name) => `{ name: ${name}, pin: ${pins[name]}, ${NO_EVENTS} }`).join(', ');
  for (const hub of [hub1, hub2]) {
    hub.configure(
      hub.apiPort,
      `links:\n  - { name: portal, kind: portal, listen: ${HUB_PORT}, hub: true, ${KEY}, peers: [${ends}] }\n`,
    );
  }
  await Promise.all(relays.map((relay) => relay.start()));
  for (const key of ['portal/b', 'tak']) {
    await a.until(({ peers }) => peers.some((one) => one.key === key && one.connected), `connection to ${key}`);
  }
  const phones = [phoneAt(t, 'a', PHONES), phoneAt(t, 'b', PHONES), phoneAt(t, 'b', TAK_PHONES)] as const;
  const [phoneA, phoneB, phoneT] = await Promise.all(phones);
  // It only listens; a phone that says nothing at all for minutes is taken for gone.
  const alive = setInterval(() => phoneT.announce('ANDROID-listens', 'TANGO'), ALIVE_MS);
  t.after(() => clearInterval(alive));
  return { a, b, tak, hub1, hub2, phoneA, phoneB, phoneT };
}

export async function peer(relay: LabRelay, key: string): Promise<PeerStatus> {
  const { peers } = await relay.status();
  const found = peers.find((one) => one.key === key);
  if (!found) throw new Error(`${relay.name} knows no ${key}, only ${peers.map((one) => one.key)}`);
  return found;
}

/**
 * Alters what is spliced on connections that are made to this hub from now on. Returns how often it did, so far, and the end
 * of it, which breaks those connections.
 */
export function tamper(t: TestContext, hub: 'hub1' | 'hub2'): { readonly count: () => number; stop(): void } {
  const proxy = inPlace(
    t,
    hub,
    process.execPath,
    resolve(import.meta.dirname, 'tamper.ts'),
    `${TAMPER_PORT}`,
    `${HUB_PORT}`,
  );
  let altered = 0;
  proxy.stdout.on('data', (chunk) => {
    altered += String(chunk).trim().split('\n').length;
  });
  const redirect = `iifname "wan" tcp dport ${HUB_PORT} redirect to :${TAMPER_PORT}`;
  fault(
    'in',
    hub,
    'nft',
    `add table ip tamper; add chain ip tamper pre { type nat hook prerouting priority -90; }; add rule ip tamper pre ${redirect}`,
  );
  return {
    count: () => altered,
    stop() {
      fault('in', hub, 'nft', 'delete table ip tamper');
      proxy.kill('SIGKILL');
    },
  };
}

/** Records what passes a hub's internet interface. Returns the file. */
export async function capture(t: TestContext, hub: 'hub1' | 'hub2', file: string): Promise<string> {
  const tcpdump = inPlace(t, hub, 'tcpdump', '-i', 'wan', '-s', '0', '-U', '-Z', 'root', '-w', file, 'tcp');
  let words = '';
  tcpdump.stderr.on('data', (chunk) => {
    words += chunk;
  });
  await until(START_MS, 'tcpdump', () => words.includes('listening on'));
  return file;
}
