// What the doctor says of a mesh: nobody connects there, so it says where it hears, and whether anything was heard.
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { test } from 'node:test';
import { examineAtRest } from '../../src/doctor/at-rest.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { LINK_KINDS } from '../../src/links/index.ts';
import type { LinkKind } from '../../src/links/link.ts';
import { checkOf, configOf, examine, peerOf } from './patient.ts';

const LINK = '  - { name: mesh, kind: mesh, interfaces: [wlan0], udp: [4242] }\n';
const peer = (events: number) =>
  peerOf({
    key: 'mesh/wlan0',
    link: 'mesh',
    kind: 'mesh',
    name: 'mesh on wlan0',
    received: { events, bytes: 0, refused: {} },
  });

test('a mesh without a network, one where nothing was heard, and one that hears', async () => {
  const none = await examine({ links: LINK, link: { detail: 'no address on wlan0' } });
  assert.match(checkOf(none, 'interfaces').words, /hears nobody: no address on wlan0/);
  const link = { state: 'listening', detail: 'wlan0 10.41.0.1' } as const;
  const silent = await examine({ links: LINK, link, peers: [peer(0)] });
  assert.match(checkOf(silent, 'port').words, /hears 239\.2\.3\.1:6969, .*0\.0\.0\.0:4242 on wlan0 10\.41\.0\.1/);
  assert.match(checkOf(silent, 'heard').fix, /client isolation/);
  const hears = await examine({ links: LINK, link, peers: [peer(7)] });
  assert.ok(!hears.checks.some(({ id }) => id === 'heard'));
  const lastRefusal = {
    code: 'foreign_network',
    words: 'of none of our networks',
    fix: 'list it',
    address: '10.9.9.9',
    atMs: 0,
  };
  const foreign = await examine({ links: LINK, link: { ...link, refusals: { foreign_network: 3 }, lastRefusal } });
  assert.match(checkOf(foreign, 'refused').words, /^3 refused, the last from 10\.9\.9\.9: of none of our networks/);
});

test('at rest: its ports are tried as the link hears, beside others; one that is held alone is named', async (t) => {
  const other = createSocket('udp4');
  t.after(() => other.close());
  other.bind({ port: 0, address: '0.0.0.0' });
  await once(other, 'listening');
  const { port } = other.address();
  const config = configOf(
    `  - { name: mesh, kind: mesh, interfaces: [lo], sa: "239.77.8.8:${port}", udp: [${port}] }\n`,
  );
  const kinds = LINK_KINDS as readonly LinkKind<unknown>[];
  const signal = new AbortController().signal;
  const [found] = await examineAtRest({ kinds, entries: config.links, api: [], clock: systemClock, signal }, 'mesh');
  const words = found!.checks.map(({ words }) => words).join('\n');
  assert.match(words, /UDP 224\.10\.10\.1:17012 can be heard/);
  assert.match(words, new RegExp(`UDP 0\\.0\\.0\\.0:${port} cannot be heard`));
});
