// Four relays in a row, real processes joined by portal links on loopback: source - a - b - sink. A phone at the source says alerts,
// chat, markers and positions without a pause; a and b are killed at random moments, one or both at a time, and started again. Every
// alert, chat line and marker must come out at the other end once: source and sink are never killed, so what the phone has said
// is accepted, and what its fellow at the sink is shown was delivered.
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { PeerStatus, RelayStatus } from '../../src/core/status.ts';
import { type Phone, phone, sa } from './cot-client.ts';
import { freePorts, RelayHome } from './relay-process.ts';

const KEY = 'a key for the tests of the outbox';
const EVERY_MS = 25;
const ANNOUNCE_MS = 10_000;
/** All must have come by then. */
const PATIENCE_MS = 90_000;
const NAMES = ['source', 'a', 'b', 'sink'] as const;

export interface ChainResult {
  readonly kills: number;
  readonly said: number;
  readonly lost: readonly string[];
  readonly twice: readonly string[];
  /** Edits of one marker: the last said, and the last shown. */
  readonly lastEdit: { readonly said: number; readonly shown: number };
  /** Lanes whose books do not balance at the end. */
  readonly unbalanced: readonly string[];
  readonly duplicatesRefused: number;
  readonly restored: number;
  readonly tookMs: number;
}

type Home = Pick<TestContext, 'after'>;

/** @param dice uniform in 0..1 */
export async function runChain(t: Home, kills: number, dice: () => number): Promise<ChainResult> {
  const startedMs = performance.now();
  const { relays, sourceTcp, sinkTcp } = await setUp(t);
  await Promise.all(relays.map((relay) => relay.start()));
  const [, a, b, sink] = relays as [RelayHome, RelayHome, RelayHome, RelayHome];
  const [talker, listener] = [await phone(t, { port: sourceTcp }), await phone(t, { port: sinkTcp })];
  // As phones do: one that is silent is taken for dead.
  const announcing = setInterval(() => listener.announce('LISTENER', 'LISTENER'), ANNOUNCE_MS);
  t.after(() => clearInterval(announcing));
  await sink.until(({ peers }) => peers.some(({ link, connected }) => link === 'relays' && connected), 'link');
  const load = new Load(talker, EVERY_MS);
  let restored = 0;
  for (let kill = 0; kill < kills; kill++) {
    // Mostly with messages on their way, now and then in the middle of a handshake.
    if (dice() < 0.8) await Promise.all([a, b].map((relay) => relay.until(isWhole, 'whole chain')));
    await sleep(dice() * 1_500);
    const victims = [[a], [b], [a, b]][Math.floor(dice() * 3)]!;
    await Promise.all(victims.map((relay) => relay.kill('SIGKILL')));
    await sleep(dice() * 600);
    await Promise.all(victims.map((relay) => relay.start()));
    for (const relay of victims) restored += sumOf(await peersOf(relay), ({ outbox }) => outbox?.restored ?? 0);
  }
  load.stop();
  const shown = await allShown(listener, load.said);
  await Promise.all(relays.map((relay) => relay.until(({ peers }) => peers.every(isDone), 'empty outbox')));
  const statuses = await Promise.all(relays.map(peersOf));
  if (talker.closed || listener.closed) throw new Error('a phone was cut off: nothing can be said of what it missed');
  const counts = countsOf(shown);
  return {
    kills,
    said: load.said.size,
    lost: [...load.said].filter((uid) => !counts.has(uid)),
    twice: [...load.said].filter((uid) => (counts.get(uid) ?? 0) > 1),
    lastEdit: { said: load.edits, shown: lastEditOf(shown) },
    unbalanced: statuses.flatMap((peers, index) => unbalanced(NAMES[index]!, peers)),
    duplicatesRefused: statuses.reduce(
      (sum, peers) => sum + sumOf(peers, ({ received }) => received.refused.duplicate ?? 0),
      0,
    ),
    restored,
    tookMs: performance.now() - startedMs,
  };
}

async function setUp(t: Home) {
  const ports = await freePorts(10);
  const relays = NAMES.map((name) => new RelayHome(t, name));
  const [sourceTcp, sinkTcp] = [ports[8]!, ports[9]!];
  const phones = (index: number) =>
    index === 0 || index === 3 ? `  - { name: phones, kind: cot, listen: ${index === 0 ? sourceTcp : sinkTcp} }\n` : '';
  for (const [index, relay] of relays.entries()) relay.configure(ports[index]!, `links:\n${phones(index)}`);
  const pins = await Promise.all(relays.map((relay) => relay.portalPin()));
  for (const [index, relay] of relays.entries()) {
    // Those that are killed dial, all their neighbours and at once when they start: who waits to dial again waits longer each time.
    const dials = index === 1 || index === 2;
    const peer = (other: number) => {
      const address = dials ? `, address: "127.0.0.1:${ports[4 + other]}"` : '';
      return `      - { name: ${NAMES[other]}, pin: "${pins[other]}"${address} }\n`;
    };
    const peers = [index - 1, index + 1].filter((other) => other in NAMES).map(peer);
    const listen = `    listen: 127.0.0.1:${ports[4 + index]}\n`;
    const portal = `  - name: relays\n    kind: portal\n    federation_key: ${KEY}\n${listen}    peers:\n${peers.join('')}`;
    relay.configure(ports[index]!, `links:\n${phones(index)}${portal}`);
  }
  return { relays, sourceTcp, sinkTcp };
}

/** What a phone says: one message that must not be lost, and one position, every so often. */
export class Load {
  /** Uids of all that must arrive. */
  readonly said = new Set<string>();
  edits = 0;
  readonly #phone: Phone;
  readonly #timer: NodeJS.Timeout;
  #count = 0;

  constructor(talker: Phone, everyMs: number) {
    this.#phone = talker;
    talker.announce('TALKER', 'TALKER');
    this.#timer = setInterval(() => this.#say(), everyMs);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #say(): void {
    const number = ++this.#count;
    const [type, how] = KINDS[number % KINDS.length]!;
    const uid = `must-${number}`;
    this.said.add(uid);
    this.#phone.send(event(uid, type, how, `<remarks>${number}</remarks>`));
    if (number % 5 === 0)
      this.#phone.send(event('EDITED', 'b-m-p-w', 'h-g-i-g-o', `<remarks>edit=${++this.edits};</remarks>`));
    this.#phone.send(
      sa(`UNIT-${number % 20}`, `UNIT-${number % 20}`, Date.now(), `lat="${48 + number / 1e5}" lon="24.5"`),
    );
  }
}

/** Of ten: an alert, three lines of chat, six markers. */
const KINDS: readonly (readonly [string, string])[] = [
  ['b-a-o-tbl', 'h-e'],
  ...new Array<[string, string]>(3).fill(['b-t-f', 'h-g-i-g-o']),
  ...new Array<[string, string]>(6).fill(['b-m-p-s-m', 'h-g-i-g-o']),
];

function event(uid: string, type: string, how: string, detail: string): string {
  const now = Date.now();
  const at = (ms: number) => new Date(ms).toISOString();
  return (
    `<event version="2.0" uid="${uid}" type="${type}" how="${how}" time="${at(now)}" start="${at(now)}" stale="${at(now + 86_400_000)}">` +
    `<point lat="48.0" lon="24.5" hae="200.0" ce="10.0" le="9999999.0"/><detail>${detail}</detail></event>`
  );
}

/** What the phone at the sink was shown once nothing more comes. */
async function allShown(listener: Phone, said: ReadonlySet<string>): Promise<readonly string[]> {
  const deadline = Date.now() + PATIENCE_MS;
  while (Date.now() < deadline) {
    const counts = countsOf(listener.events);
    if ([...said].every((uid) => counts.has(uid))) break;
    await sleep(200);
  }
  await sleep(2_000); // whatever comes twice comes now
  return listener.events;
}

/** How often each uid was shown. */
export function countsOf(events: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const shown of events) {
    const uid = /uid="([^"]*)"/.exec(shown)![1]!;
    counts.set(uid, (counts.get(uid) ?? 0) + 1);
  }
  return counts;
}

function lastEditOf(events: readonly string[]): number {
  const edits = events.flatMap((shown) => /edit=(\d+);/.exec(shown)?.[1] ?? []);
  return Number(edits.at(-1) ?? 0);
}

async function peersOf(relay: RelayHome): Promise<readonly PeerStatus[]> {
  return (await relay.status()).peers;
}

function isWhole({ peers }: RelayStatus): boolean {
  return peers.filter(({ link, connected }) => link === 'relays' && connected).length === 2;
}

function isDone({ outbox, connected, link }: PeerStatus): boolean {
  return link !== 'relays' || (connected && outbox?.messages === 0);
}

/** offered = sent + dropped + waiting, in every lane of every peer. */
function unbalanced(relay: string, peers: readonly PeerStatus[]): readonly string[] {
  return peers.flatMap(({ key, lanes }) =>
    lanes
      .filter(({ offered, sent, dropped, queued }) => {
        const lost = Object.values(dropped).reduce((sum, count) => sum + count, 0);
        return offered !== sent + lost + queued;
      })
      .map(({ lane }) => `${relay}: ${key} ${lane}`),
  );
}

function sumOf(peers: readonly PeerStatus[], of: (peer: PeerStatus) => number): number {
  return peers.reduce((sum, peer) => sum + of(peer), 0);
}
