// Runs inside the laboratory (nat.test.ts starts it there): two relays behind NATs, two hubs, and everything that goes wrong
// between them, under a load of which every event must be accounted for.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { fault, sleep, until } from './lab.ts';
import { KINDS, Load } from './load.ts';
import { capture, peer, type Sites, startSites, tamper } from './sites.ts';

/** WAYSTATION_LONG=1: every fault, at its real length. */
const LONG = process.env.WAYSTATION_LONG === '1';
/** How long a fault may take to be got over: silence is noticed after 15 s, waits double from 1 s. */
const RECOVERY_MS = 90_000;
/** Load before, and again after a fault. */
const AROUND_MS = 600;

test('two sites behind NATs', async (t) => {
  const sites = await startSites(t);
  const loads = await begin(sites);
  const captures = await Promise.all(
    (['hub1', 'hub2'] as const).map((hub) => capture(t, hub, sites[hub].file('wan.pcap'))),
  );

  /** A fault with load before, during and after it; then everything must have come, once. */
  const under: Under = (name, happen) =>
    t.test(name, async (step) => {
      const startedMs = Date.now();
      for (const load of loads) load.begin();
      try {
        await sleep(AROUND_MS);
        await happen(step);
        await sleep(AROUND_MS);
      } finally {
        await Promise.all(loads.map((load) => load.pause()));
      }
      await settle(step, loads);
      await balance(sites, loads);
      step.diagnostic(`${((Date.now() - startedMs) / 1000).toFixed(1)} s`);
    });

  await t.test('requests cross', async () => {
    assert.equal(((await sites.a.get('/api/node/b/health')) as { name?: string }).name, 'b');
    assert.equal(((await sites.b.get('/api/node/a/health')) as { name?: string }).name, 'a');
  });
  await under('nothing happens', () => sleep(500));
  await t.test('the tunnelled v2 link carries what the portal does', async () => {
    const [there] = loads;
    await until(RECOVERY_MS, 'markers beside the TAK server', () => there.missing('marker', sites.phoneT).length === 0);
    assert.deepEqual(there.twice('marker', sites.phoneT), []);
  });

  if (LONG) {
    await under('both NATs forget every connection', async () => {
      fault('flush', 'a');
      fault('flush', 'b');
    });
  }
  await under('the address of a NAT changes, and that of a relay; the other NAT forgets every connection', async () => {
    fault('renumber', 'a', '31');
    fault('move', 'b', '7');
    fault('flush', 'b');
  });
  await takeOver(sites, under);
  if (LONG) await under('every packet of a hub is lost for 30 s', () => deafHub(sites));
  for (const seconds of LONG ? [10, 30, 60] : [10]) {
    await under(`the cable of one site is out for ${seconds} s`, async () => {
      fault('cut', 'nat-a');
      await sleep(seconds * 1000);
      fault('mend', 'nat-a');
    });
    await under(`every packet of one site is lost for ${seconds} s`, async () => {
      fault('hole', 'nat-b');
      await sleep(seconds * 1000);
      fault('fill', 'nat-b');
    });
  }
  await t.test('NATs forget what is idle for long', { skip: !LONG && 'WAYSTATION_LONG=1' }, async (step) => {
    const seconds = 30;
    for (const site of ['a', 'b']) fault('timeout', site, `${seconds}`);
    await sleep(90_000);
    for (const load of loads) load.begin();
    await sleep(AROUND_MS);
    await Promise.all(loads.map((load) => load.pause()));
    await settle(step, loads);
    await balance(sites, loads);
    for (const site of ['a', 'b']) fault('timeout', site, '432000');
  });

  await under('hubs alter what passes', (step) => altering(step, sites, loads));
  await t.test('the tunnelled v2 link still does', async (step) => {
    const [there] = loads;
    // Federation v2 acknowledges nothing: what it was handed while the tunnel was dead and nobody knew is lost without a name.
    const first = there.sent.marker.length;
    const arrived = () => {
      const missing = new Set(there.missing('marker', sites.phoneT));
      return there.sent.marker.slice(first).some((number) => !missing.has(number));
    };
    there.begin();
    await until(RECOVERY_MS, 'the tunnelled link to carry anything', arrived).finally(() => there.pause());
    const before = there.sent.marker.length;
    there.begin();
    await sleep(AROUND_MS);
    await there.pause();
    const fresh = new Set(there.sent.marker.slice(before));
    const left = () => there.missing('marker', sites.phoneT).filter((number) => fresh.has(number));
    await until(RECOVERY_MS, 'markers beside the TAK server', () => left().length === 0);
    for (const kind of ['alert', 'marker'] as const) {
      assert.deepEqual(there.twice(kind, sites.phoneT), []);
      step.diagnostic(`${there.missing(kind, sites.phoneT).length} of ${there.sent[kind].length} ${kind}s lost by v2`);
    }
  });
  await t.test('the hubs have seen no plaintext', () => {
    for (const file of captures) {
      const bytes = readFileSync(file);
      assert.ok(bytes.includes('SPLICE'), `${file} lacks what is said in clear: the capture proves nothing`);
      for (const word of ['LOAD-', 'ALPHA', 'BRAVO', 'ANDROID', '<event', 'marti']) {
        assert.ok(!bytes.includes(word), `${word} in ${file}`);
      }
    }
  });
});

type Under = (name: string, happen: (t: TestContext) => Promise<void>) => Promise<void>;

/**
 * The hub in use dies, and the other serves; it comes back, and nobody minds; the other dies in its turn. Each time at another
 * age of the tunnel, down to one that has just begun.
 */
async function takeOver(sites: Sites, under: Under): Promise<void> {
  const { a, b } = sites;
  for (let turn = 1; turn <= (LONG ? 8 : 2); turn++) {
    await under(`a hub is killed, turn ${turn}, and comes back`, async (t) => {
      const via = await until(RECOVERY_MS, 'a tunnel', async () => (await peer(a, 'portal/b')).via);
      await steady(sites);
      const [dying, other] = via === 'hub1' ? [sites.hub1, sites.hub2] : [sites.hub2, sites.hub1];
      const diedMs = Date.now();
      await dying.kill();
      await until(RECOVERY_MS, `${other.name} to take over`, async () => {
        const [there, back] = await Promise.all([peer(a, 'portal/b'), peer(b, 'portal/a')]);
        return there.via === other.name && back.via === other.name;
      });
      const tookMs = Date.now() - diedMs;
      t.diagnostic(`${other.name} took over ${(tookMs / 1000).toFixed(1)} s after ${dying.name} died`);
      await dying.start();
      if (LONG) assert.ok(tookMs <= 5_000, `${tookMs} ms`);
      await until(RECOVERY_MS, 'both at it again', async () => {
        const ends = await Promise.all([a, b].map((relay) => peer(relay, `portal/${dying.name}`)));
        return ends.every(({ connected }) => connected);
      });
      assert.equal((await peer(a, 'portal/b')).via, other.name, 'what works is left alone');
    });
  }
}

/** No connection to a hub is dead from an earlier fault, unnoticed. */
async function steady({ a, b }: Sites): Promise<void> {
  for (const path of ['/api/node/hub1/health', '/api/node/hub2/health']) {
    for (const relay of [a, b])
      await until(RECOVERY_MS, `${relay.name}: ${path}`, () => relay.get(path).catch(() => undefined));
  }
}

/** The hub in use falls silent, without a word to anybody: the other serves. */
async function deafHub({ a }: Sites): Promise<void> {
  const via = (await peer(a, 'portal/b')).via!;
  const startedMs = Date.now();
  fault('hole', via);
  await until(RECOVERY_MS, 'the other hub', async () => {
    const now = (await peer(a, 'portal/b')).via;
    return now !== null && now !== via;
  });
  await sleep(Math.max(0, 30_000 - (Date.now() - startedMs)));
  fault('fill', via);
}

/** Both hubs flip bits in tunnels that are opened now. */
async function altering(t: TestContext, { a, hub1, hub2 }: Sites, loads: readonly Load[]): Promise<void> {
  const tampers = [tamper(t, 'hub1'), tamper(t, 'hub2')];
  const { via, sessions } = await peer(a, 'portal/b');
  const hub = via === 'hub1' ? hub1 : hub2;
  await hub.kill();
  await hub.start();
  const count = () => tampers.reduce((sum, { count }) => sum + count(), 0);
  await until(RECOVERY_MS, 'hubs that alter something', () => count() >= 2);
  await until(RECOVERY_MS, 'broken sessions', async () => (await peer(a, 'portal/b')).sessions >= sessions + 2);
  for (const one of tampers) one.stop();
  for (const load of loads) assert.deepEqual(load.altered(), []);
  t.diagnostic(`${count()} bits were altered`);
}

async function begin({ phoneA, phoneB }: Sites): Promise<readonly [Load, Load]> {
  phoneA.announce('ANDROID-atob', 'ALPHA');
  phoneB.announce('ANDROID-btoa', 'BRAVO');
  await Promise.all([phoneA.withUid('ANDROID-btoa'), phoneB.withUid('ANDROID-atob')]);
  return [new Load('atob', phoneA, phoneB, ['ALPHA', 'BRAVO']), new Load('btoa', phoneB, phoneA, ['BRAVO', 'ALPHA'])];
}

/** Alerts, chat and markers have all come, each once; of positions the newest, and none twice. */
async function settle(t: TestContext, loads: readonly Load[]): Promise<void> {
  for (const load of loads) {
    await until(RECOVERY_MS, `all of ${load.way}`, () => load.isThrough()).catch((error: Error) => {
      const missing = KINDS.map((kind) => `${kind} ${load.missing(kind)}`).join('; ');
      throw new Error(`${error.message}; missing: ${missing}`);
    });
    for (const kind of KINDS) assert.deepEqual(load.twice(kind), [], `${load.way} ${kind} came twice`);
    assert.deepEqual(load.altered(), [], `${load.way}: not what was sent`);
    const { length } = load.missing('position');
    t.diagnostic(`${load.way}: ${length} of ${load.sent.position.length} positions were replaced by newer ones`);
  }
}

/** What did not come is named; and what was offered to a peer was sent, dropped for a reason, or waits. */
async function balance({ a, b }: Sites, loads: readonly Load[]): Promise<void> {
  let named = 0;
  for (const relay of [a, b]) {
    const { totals, peers } = await relay.status();
    for (const count of [...Object.values(totals.refused), ...Object.values(totals.dropped)]) named += count;
    for (const { key, lanes } of peers) {
      for (const { lane, offered, sent, queued, dropped } of lanes) {
        const lost = Object.values(dropped).reduce((sum, count) => sum + count, 0);
        assert.equal(offered, sent + lost + queued, `the books of ${relay.name}, ${key}, ${lane}`);
      }
    }
  }
  const missing = loads.reduce((sum, load) => sum + load.missing('position').length, 0);
  assert.ok(missing <= named, `${missing} positions did not come, only ${named} drops are named`);
}
