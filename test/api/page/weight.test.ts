// What the page weighs at a box with much to tell, as a browser is sent it: all of it, and what is needed to show it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { OpenPages } from '../../../src/api/page/open-pages.ts';
import type { PageDeps } from '../../../src/api/page/routes.ts';
import { frame } from '../../../src/api/page/view.ts';
import { NO_BUDGET } from '../../../src/core/budget.ts';
import type { Unit } from '../../../src/core/fleet.ts';
import { LANES } from '../../../src/core/message.ts';
import { DEFAULT_POLICY } from '../../../src/core/policy.ts';
import { CLOSE_WORDS, DROP_WORDS } from '../../../src/core/reason.ts';
import type { LinkStatus, PeerStatus, RelayStatus } from '../../../src/core/status.ts';
import { readAsset } from '../../../src/lib/asset.ts';
import { ManualClock } from '../../../src/lib/clock.ts';

const ALL = 30_000;
const FIRST_PAINT = 14_000;
/** Heads of answers, not packed: measured in a browser, see test/e2e/page.test.ts. */
const HEADS = 3 * 700;

/** Numbers that do not pack well, the same at every run. */
let seed = 7;
const random = () => {
  seed = (seed * 48_271) % 0x7fffffff;
  return seed / 0x7fffffff;
};
const digits = (count: number) => Array.from({ length: count }, () => Math.floor(random() * 16).toString(16)).join('');

const clock = new ManualClock(Date.UTC(2026, 10, 29));

function link(at: number): LinkStatus {
  const good = at % 3 > 0;
  return {
    ...{ name: `site-${digits(6)}`, kind: ['portal', 'fed2', 'cot'][at % 3]!, enabled: true, refusals: {} },
    ...{
      state: good ? 'connected' : 'waiting',
      detail: good ? '' : `next try in ${at} s`,
      sinceMs: clock.wallMs() - at * 77_000,
    },
    lastTrouble: {
      code: 'refused',
      words: `10.0.${at}.1:9001 refused the connection`,
      fix: 'Nothing listens there: check the port.',
      atMs: 0,
    },
    budget: { ...NO_BUDGET, perDayBytes: 5_000_000, usedTodayBytes: Math.round(random() * 5e6), closedLanes: [] },
    traffic: { inBytes: Math.round(random() * 1e7), outBytes: 0 },
  };
}

function peer({ name, kind }: LinkStatus): PeerStatus {
  const dropped = { superseded: Math.round(random() * 5_000), filtered_out: Math.round(random() * 900) };
  return {
    ...{
      key: `${name}/${digits(64)}`,
      link: name,
      kind,
      name: `hub of ${name}`,
      saidName: null,
      identity: digits(64),
      proof: 'certificate',
    },
    ...{
      connected: true,
      durable: true,
      address: `192.0.2.${Math.floor(random() * 250)}:9001`,
      since: new Date(clock.wallMs() - random() * 1e8).toISOString(),
    },
    ...{
      sessions: 3,
      via: random() > 0.5 ? 'hub1' : null,
      trouble: null,
      lastClose: null,
      rttMs: random() * 900,
      groups: [],
      policy: DEFAULT_POLICY,
    },
    received: { events: 5_000, bytes: 1_000_000, refused: { duplicate: Math.round(random() * 900), stale: 3 } },
    ...{
      rates: { in: random() * 9, out: random() * 40 },
      lastHeardMsAgo: random() * 9_000,
      newestSentMsAgo: random() * 9_000,
      newestArrivedMsAgo: null,
    },
    ...{ queuedBytes: 4_711, line: {} as PeerStatus['line'], outbox: null },
    lanes: LANES.map((lane) => ({
      lane,
      queued: Math.round(random() * 9),
      oldestMs: 1,
      received: 1,
      offered: 9,
      sent: 9,
      dropped,
    })),
  };
}

function unit(): Unit {
  const name = digits(8);
  return {
    ...{
      uid: `ANDROID-${digits(16)}`,
      callsign: `CALL-${name}`,
      type: 'a-f-G-U-C',
      team: 'Cyan',
      from: `site-${name}`,
    },
    ...{ ageMs: random() * 90_000, lat: 46 + random(), lon: 7 + random() },
  } as Unit;
}

function weight(linkCount: number, unitCount: number): { readonly all: number; readonly first: number } {
  const links = Array.from({ length: linkCount }, (_, at) => link(at));
  const units = Array.from({ length: unitCount }, unit);
  const status = {
    ...{
      name: 'vehicle-3',
      id: digits(32),
      version: '1.2.3',
      commit: digits(7),
      now: '2026-11-29T00:00:00Z',
      startedAt: '',
      uptimeMs: 9e7,
    },
    ...{
      caFingerprint: digits(64),
      federationFingerprint: digits(64),
      certificates: [],
      departed: [],
      units: unitCount,
      contacts: 0,
    },
    ...{
      links,
      peers: links.map(peer),
      warnings: [],
      memory: { rssBytes: 9e7 },
      words: { drop: DROP_WORDS, close: CLOSE_WORDS },
    },
    host: { temperatureC: 51.5, underVoltage: false, storage: { freeBytes: 5e9, totalBytes: 1e10 } },
  } as unknown as RelayStatus;
  const lines = Array.from({ length: 200 }, (_, at) => ({
    id: at,
    text: `{"level":${at % 5 === 0 ? 40 : 30},"time":${clock.wallMs() + at * 997},"part":"links","link":"site-${digits(6)}","address":"192.0.2.7:${at}","msg":"peer up"}`,
  }));
  const deps: PageDeps = {
    clock,
    charts: {
      rates: () => ({ in: random() * 9, out: random() * 9 }),
      chart: () => Array.from({ length: 90 }, () => Math.floor(random() * 99)),
    },
    snapshot: () => status,
    units: () => ({ total: units.length, units }),
    events: (most) =>
      Array.from({ length: most }, (_, id) => ({
        id,
        wallMs: clock.wallMs() + id * 997,
        event: { type: 'peer_up', peer: `site-${digits(6)}`, name: 'hub', address: `192.0.2.7:${id}` },
      })),
    log: () => lines,
    caPem: () => '',
    federationPem: () => '',
    secureAddress: () => 'https://box:8443',
  };
  const { main, at } = new OpenPages(deps).serve({ role: 'admin' });
  const live = { at, nowMs: clock.wallMs() };
  const page = frame(
    'vehicle-3',
    { theme: undefined, loginHref: '', csrf: digits(32), reloads: true, silent: false, live },
    main,
  );
  const packed = (text: string | Buffer) => gzipSync(text).length;
  const [style, script] = ['css', 'js'].map((kind) => packed(readAsset(`src/api/page/page.${kind}`))) as [
    number,
    number,
  ];
  const first = packed(page.text) + style + HEADS;
  return { first, all: first + script };
}

test('a box of six links and 30 units is shown within its bytes', (t) => {
  const { first, all } = weight(6, 30);
  t.diagnostic(`6 links, 30 units: ${first} B to the first paint, ${all} B in all`);
  assert.ok(first <= FIRST_PAINT && all <= ALL, `${first}, ${all}`);
});

test('a hub of 24 links and 100 units stays within its bytes', (t) => {
  const { first, all } = weight(24, 100);
  t.diagnostic(`24 links, 100 units: ${first} B to the first paint, ${all} B in all`);
  assert.ok(all <= ALL, `${first}, ${all}`);
});
