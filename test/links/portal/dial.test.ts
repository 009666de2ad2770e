// The engine that keeps a peer connected, with ways that open and fail as the test says, by a clock that it moves.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { ManualClock } from '../../../src/lib/clock.ts';
import { LinkError } from '../../../src/lib/errors.ts';
import { silentLog } from '../../../src/lib/log.ts';
import type { Trouble } from '../../../src/links/link.ts';
import { type Dialled, Dialler } from '../../../src/links/portal/dial.ts';
import type { PortalSession } from '../../../src/links/portal/session.ts';

type Answer = 'up' | 'refused' | 'out' | 'twin' | 'late twin' | 'hang';

/** A peer with these ways; `answers` says what becomes of each. */
function rig(t: TestContext, names: readonly string[], answers: Record<string, Answer>, isHub = false) {
  const clock = new ManualClock();
  const story: string[] = [];
  const troubles: (Trouble | undefined)[] = [];
  const peer: { -readonly [K in keyof Dialled]: Dialled[K] } = {
    name: 'b',
    session: undefined,
    isSuspect: false,
    config: { autoConnect: true },
  };
  const note = (what: string) => story.push(`${Math.round(clock.nowMs() / 100) / 10} ${what}`);
  const up = (via: string, role: 'client' | 'server' = 'client') => {
    peer.session = { role, via: via === 'direct' ? undefined : via } as PortalSession;
    peer.isSuspect = false;
    dialler.began(peer.session);
  };
  const dialler: Dialler = new Dialler(peer, {
    clock,
    log: silentLog,
    random: () => 1,
    paths: () => names.map((name) => ({ name, open: () => Promise.reject(new Error('opened by connect')) })),
    connect: async ({ name }, signal) => {
      note(name);
      const answer = answers[name]!;
      if (answer === 'up') return up(name);
      if (answer === 'refused') throw new LinkError('refused', `${name} refused`, 'look there');
      if (answer === 'out') throw new LinkError('unreachable', `no way to ${name}`, '');
      if (answer === 'twin') throw new LinkError('two_boxes', 'twins', '', { retryAfterMs: 60_000 });
      if (answer === 'late twin') {
        await new Promise<void>((done) => clock.after(2_000, done));
        note(`${name} refused late`);
        throw new LinkError('two_boxes', 'twins', '', { retryAfterMs: 60_000 });
      }
      await new Promise<void>((done) => signal.addEventListener('abort', () => done(), { once: true }));
      note(`${name} given up`);
      throw new LinkError('aborted', 'told to stop', '');
    },
    trouble: (trouble) => troubles.push(trouble),
    isHub: () => isHub,
  });
  const controller = new AbortController();
  const done = dialler.run(controller.signal);
  t.after(async () => {
    controller.abort();
    await done;
  });
  /** Lets so much time pass, in steps, and everything happen that is due. Returns what did. */
  async function pass(ms: number): Promise<string[]> {
    const step = Math.max(100, ms / 500);
    for (let passed = 0; passed < ms; passed += step) {
      await turn();
      clock.advance(Math.min(step, ms - passed));
    }
    for (let n = 0; n < 5; n++) await turn();
    return story.splice(0);
  }
  const down = (lastedMs: number, cause?: Error) => {
    peer.session = undefined;
    dialler.ended(lastedMs, cause);
  };
  return { peer, dialler, answers, pass, up, down, troubles };
}

test('direct first, then the hubs in order; which one worked is kept', async (t) => {
  const { pass, troubles } = rig(t, ['direct', 'h1', 'h2'], { direct: 'refused', h1: 'refused', h2: 'up' });
  assert.deepEqual(await pass(10_000), ['0 direct', '0 h1', '0 h2']);
  assert.deepEqual(troubles, []);
});

test('when none works: again after 1 s, doubling to 60 s, with the words of the direct way first', async (t) => {
  const { pass, troubles } = rig(t, ['direct', 'h1'], { direct: 'refused', h1: 'refused' });
  const tries: number[] = [];
  for (let minute = 0; minute < 6; minute++) {
    const lines = (await pass(60_000)).filter((line) => line.endsWith('direct'));
    tries.push(...lines.map((line) => Math.round(Number.parseFloat(line))));
  }
  assert.deepEqual(tries, [0, 1, 3, 7, 15, 31, 63, 123, 183, 243, 303]);
  assert.deepEqual(troubles[0], { code: 'refused', words: 'direct refused; h1 refused', fix: 'look there' });
});

test('a hub is tried again within 20 s for five minutes, then as any peer', async (t) => {
  const { pass } = rig(t, ['direct'], { direct: 'refused' }, true);
  const tries: number[] = [];
  for (let minute = 0; minute < 8; minute++) {
    tries.push(...(await pass(60_000)).map((line) => Number.parseFloat(line)));
  }
  const waits = tries.slice(1).map((atS, n) => Math.round(atS - tries[n]!));
  assert.deepEqual(waits, [1, 2, 4, 8, 16, ...Array(14).fill(20), 60, 60]);
});

test('the waits begin anew only after a stable minute', async (t) => {
  const { pass, answers, down } = rig(t, ['direct'], { direct: 'refused' });
  await pass(16_000);
  answers.direct = 'up';
  await pass(20_000);
  answers.direct = 'refused';
  down(59_000);
  assert.deepEqual(await pass(25_000), [], 'not yet stable: the next wait is longer still');
  await pass(10_000);
  answers.direct = 'up';
  await pass(70_000);
  answers.direct = 'refused';
  down(61_000);
  const [first] = await pass(1_100);
  assert.match(first!, /direct$/, 'within a second');
});

test('through a hub the direct way is tried on, quietly and ever less often, until it works', async (t) => {
  const { pass, answers, peer, troubles } = rig(t, ['direct', 'h1'], { direct: 'refused', h1: 'up' });
  assert.deepEqual(await pass(14_000), ['0 direct', '0 h1']);
  const probes = (await pass(2_000_000)).map((line) => line.replace(/^[\d.]+ /, ''));
  assert.deepEqual(new Set(probes), new Set(['direct']), 'nothing but the direct way');
  assert.ok(probes.length >= 8 && probes.length <= 12, `${probes.length} probes in half an hour`);
  assert.deepEqual(troubles, [], 'nobody is told');
  answers.direct = 'up';
  await pass(310_000);
  assert.equal(peer.session?.via, undefined);
  assert.deepEqual(await pass(1_000_000), [], 'and that is that');
});

test('a peer that came to us directly ends what we are trying; one that came through a hub does not', async (t) => {
  const { pass, up } = rig(t, ['direct'], { direct: 'hang' });
  assert.deepEqual(await pass(1_000), ['0 direct']);
  up('h1', 'server');
  assert.deepEqual(await pass(1_000), []);
  up('direct', 'server');
  assert.deepEqual(
    (await pass(1_000)).map((line) => line.replace(/^[\d.]+ /, '')),
    ['direct given up'],
  );
  assert.deepEqual(await pass(100_000), []);
});

test('a silent peer is dialled at once beside the connection there is; when it speaks again that stops', async (t) => {
  const { pass, peer, dialler, answers, troubles } = rig(t, ['direct', 'h1'], { direct: 'up', h1: 'hang' });
  await pass(30_000);
  answers.direct = 'refused';
  peer.isSuspect = true;
  dialler.suspected(true);
  const raced = (await pass(1_000)).map((line) => line.replace(/^[\d.]+ /, ''));
  assert.deepEqual(raced, ['direct', 'h1'], 'by every way');
  peer.isSuspect = false;
  dialler.suspected(false);
  assert.deepEqual(
    (await pass(60_000)).map((line) => line.replace(/^[\d.]+ /, '')),
    ['h1 given up'],
  );
  assert.deepEqual(troubles, []);
});

test('a box that is told it has a twin waits a minute; a refusal after the handshake counts the same', async (t) => {
  const { pass, answers, down, troubles } = rig(t, ['direct'], { direct: 'twin' });
  assert.equal((await pass(59_000)).length, 1);
  answers.direct = 'up';
  assert.equal((await pass(2_000)).length, 1);
  down(10, new LinkError('two_boxes', 'twins', 'delete the copy', { retryAfterMs: 60_000 }));
  assert.equal(troubles.at(-1)?.code, 'two_boxes');
  assert.deepEqual(await pass(59_000), []);
  assert.equal((await pass(10_000)).length, 1);
});

test('what was begun before a change of the configuration and is refused after it is tried anew at once', async (t) => {
  const { pass, answers, dialler, peer, up, down } = rig(t, ['direct'], { direct: 'late twin' });
  assert.deepEqual(await pass(500), ['0 direct']);
  dialler.retry();
  assert.deepEqual(await pass(1_000), [], 'it is still under way');
  answers.direct = 'up';
  assert.deepEqual(await pass(1_000), ['2 direct refused late', '2 direct']);
  assert.ok(peer.session);
  dialler.retry();
  down(10_000, new LinkError('wrong_key', 'the old key', '', { retryAfterMs: 60_000 }));
  assert.deepEqual(await pass(2_000), ['3.5 direct'], 'the refusal was of what is no longer configured');
  up('direct');
  down(10_000, new LinkError('wrong_key', 'still', '', { retryAfterMs: 60_000 }));
  assert.deepEqual(await pass(50_000), []);
});

test('a peer without ways, or that is to be waited for, is not dialled until that changes', async (t) => {
  const { pass, peer, dialler } = rig(t, ['direct'], { direct: 'up' });
  peer.config = { ...peer.config, autoConnect: false };
  dialler.retry();
  assert.deepEqual((await pass(100_000)).slice(1), []);
  peer.session = undefined;
  dialler.ended(100_000, undefined);
  assert.deepEqual(await pass(100_000), []);
  peer.config = { ...peer.config, autoConnect: true };
  dialler.retry();
  assert.equal((await pass(100)).length, 1);
});

test('a hub that dies is followed by the next within 5 s: however young the session, and whatever failed before', async (t) => {
  const { pass, answers, down, up } = rig(t, ['h1', 'h2'], { h1: 'refused', h2: 'refused' });
  await pass(400_000);
  up('h1');
  answers.h2 = 'up';
  await pass(1_000);
  down(1_000);
  const lines = (await pass(5_000)).map((line) => line.replace(/^[\d.]+ /, ''));
  assert.deepEqual(lines, ['h1', 'h2']);
});

test('ways that say nothing, dead hubs among them, do not keep the next hub waiting', async (t) => {
  const { pass, answers, down, peer } = rig(t, ['direct', 'h1', 'h2'], { direct: 'hang', h1: 'up', h2: 'up' });
  await pass(2_000);
  assert.equal(peer.session?.via, 'h1');
  assert.match((await pass(20_000)).at(-1)!, /direct$/, 'a look at the direct way, which hangs');
  answers.h1 = 'refused';
  down(20_000);
  const lines = (await pass(5_000)).map((line) => line.replace(/^[\d.]+ /, ''));
  assert.deepEqual(lines, ['direct given up', 'direct', 'h1', 'h2', 'direct given up']);
  assert.equal(peer.session?.via, 'h2', 'within 5 s');
});

test('hubs that take us in and drop us again and again are left alone ever longer', async (t) => {
  const { pass, down, peer } = rig(t, ['h1', 'h2'], { h1: 'up', h2: 'up' });
  let tries = 0;
  for (let second = 0; second < 300; second++) {
    tries += (await pass(1_000)).length;
    if (peer.session) down(500);
  }
  assert.ok(tries < 40, `${tries} tries in 5 min`);
});

test('while the network is out it is tried every 2 s, for 5 min; what answers with a no is not', async (t) => {
  const { pass, answers, down, peer } = rig(t, ['direct'], { direct: 'up' });
  await pass(100_000);
  answers.direct = 'out';
  down(100_000);
  await pass(60_000);
  answers.direct = 'up';
  const tried = await pass(2_100);
  assert.equal(tried.length, 1, 'within 2 s after it is back');
  assert.ok(peer.session);
  answers.direct = 'out';
  down(100_000);
  await pass(290_000);
  answers.direct = 'out';
  await pass(400_000);
  const late = (await pass(300_000)).length;
  assert.ok(late <= 6, `${late} tries in 5 min of a long outage`);
});

test('a hub that is back is asked at once for the peers behind it', async (t) => {
  const { pass, answers, dialler, peer } = rig(t, ['h1'], { h1: 'refused' });
  await pass(600_000);
  answers.h1 = 'up';
  dialler.hubIsBack();
  assert.equal((await pass(600)).length, 1);
  assert.ok(peer.session);
  dialler.hubIsBack();
  assert.deepEqual(await pass(600), []);
});
