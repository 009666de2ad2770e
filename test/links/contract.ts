// What every link owes the hub and the operator, as one suite. A link passes it by joining two of its own kind through a
// Wire that the suite controls:
//
//   describeLink('cot', async (t) => {
//     const wire = await TcpWire.open(t);
//     return {
//       wire,
//       listener: cot.create({ listen: '127.0.0.1:0' }),          // must report `listening` with its port
//       dialler: () => cot.create({ connect: `127.0.0.1:${wire.port}` }),
//       tooLarge: 70_000,                                          // bytes of an event that this link does not send
//     };
//   });
//
// `listenerOptions` and `diallerOptions` give each side its identity; `settled` waits for what a protocol still negotiates
// once it is attached. A fresh pair is made for every test. Both sides run
// against a RecordingHub; what they must keep is in the names of the tests.
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import type { CotEvent, Envelope } from '../../src/core/message.ts';
import { NO_DETAIL } from '../../src/core/message.ts';
import type { Link } from '../../src/links/link.ts';
import { envelope, type RecordedSession, type RunningLink, type RunOptions, runLink, until, within } from './memory.ts';
import type { Wire } from './wire.ts';

export interface LinkPair {
  readonly wire: Wire & { leadTo(port: number): void };
  readonly listener: Link;
  /** A link that dials through the wire; one connection per run. */
  dialler(): Link;
  readonly tooLarge: number;
  /** Resolves when the protocol has agreed on whatever it agrees on after attach(); `near` is the dialler's session. */
  settled?(near: RecordedSession, far: RecordedSession): Promise<unknown>;
  readonly listenerOptions?: RunOptions;
  readonly diallerOptions?: RunOptions;
}

/** An event as a phone sends it, with `size` bytes of remarks; its wire bytes and its header agree. */
export function sampleEvent(uid: string, size = 0): Envelope {
  const timeMs = Date.now();
  const iso = (ms: number) => new Date(ms).toISOString();
  const event: CotEvent = {
    ...NO_DETAIL,
    uid,
    type: 'a-f-G-U-C',
    how: 'm-g',
    timeMs,
    startMs: timeMs,
    staleMs: timeMs + 600_000,
    lat: 48.1234,
    lon: 24.5678,
    hae: 200,
    ce: 10,
    le: 20,
    callsign: `CALL-${uid}`,
    endpoint: '*:-1:stcp',
    team: 'Blue',
    role: 'Team Member',
  };
  const xml =
    `<?xml version="1.0" encoding="UTF-8"?>\n<event version="2.0" uid="${uid}" type="${event.type}" how="${event.how}" ` +
    `time="${iso(timeMs)}" start="${iso(timeMs)}" stale="${iso(event.staleMs)}">` +
    `<point lat="48.1234" lon="24.5678" hae="200.0" ce="10.0" le="20.0"/><detail>` +
    `<contact callsign="${event.callsign}" endpoint="${event.endpoint}"/><__group name="Blue" role="Team Member"/>` +
    `<remarks>${'x'.repeat(size)}</remarks></detail></event>`;
  return envelope({ kind: 'event', event }, { wire: { format: 'xml', bytes: Buffer.from(xml) } });
}

/** More than a TLS record, or no reader would know yet that it is noise. Not random: a failing test must fail again. */
function noise(bytes: number): Buffer {
  let state = 0x2545f491;
  return Buffer.from(
    Array.from({ length: bytes }, () => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
      return state >>> 24;
    }),
  );
}

interface Joined {
  readonly pair: LinkPair;
  readonly listener: RunningLink;
  readonly dialler: RunningLink;
  readonly near: RecordedSession;
  readonly far: RecordedSession;
}

type MakePair = (t: TestContext) => LinkPair | Promise<LinkPair>;

export function describeLink(name: string, makePair: MakePair): void {
  const listening = async (t: TestContext) => {
    const pair = await makePair(t);
    const listener = runLink(t, pair.listener, pair.listenerOptions);
    pair.wire.leadTo(await listener.port());
    return { pair, listener };
  };

  const joined = async (t: TestContext): Promise<Joined> => {
    const { pair, listener } = await listening(t);
    const dialler = runLink(t, pair.dialler(), pair.diallerOptions);
    const near = await dialler.hub.session();
    await crosses(near, undefined, 'hello-listener');
    const far = await listener.hub.session();
    await far.event('hello-listener');
    await crosses(far, near, 'hello-dialler');
    await pair.settled?.(near, far);
    return { pair, listener, dialler, near, far };
  };

  /** A newcomer is served: the listener has not suffered. */
  const servesAnother = async (t: TestContext, { pair, listener }: Pick<Joined, 'pair' | 'listener'>) => {
    const count = listener.hub.sessions.length;
    const another = runLink(t, pair.dialler(), { ...pair.diallerOptions, name: 'another' });
    const near = await another.hub.session();
    await crosses(near, undefined, 'from-another');
    const far = await listener.hub.session(count);
    await far.event('from-another');
  };

  describe(`${name} keeps the contract of a link`, () => {
    test('events cross both ways, whole and in order', async (t) => {
      const { near, far } = await joined(t);
      for (const [from, to] of [
        [near, far],
        [far, near],
      ] as const) {
        const sent = ['one', 'two', 'three'].map((uid) => sampleEvent(uid));
        // A wire may be full for a moment: then it is offered again.
        for (const each of sent) await until('room', () => from.session.send(each, []));
        await to.event('three');
        assert.deepEqual(to.uids.slice(-3), ['one', 'two', 'three']);
        const { message, size } = await to.event('one');
        assert.ok(message.kind === 'event' && sent[0]!.message.kind === 'event');
        assertSame(message.event, sent[0]!.message.event);
        assert.ok(size > 100, 'the size on the wire is told');
      }
    });

    test('input may come byte by byte', async (t) => {
      const { pair, near, far } = await joined(t);
      pair.wire.split(1);
      await crosses(near, far, 'drip-one');
      await crosses(far, near, 'drip-two');
      await crosses(near, far, 'drip-three', 300);
    });

    test('an event too large does not cross, is counted, and harms nothing after it', async (t) => {
      const { pair, near, far, listener } = await joined(t);
      near.session.send(sampleEvent('giant', pair.tooLarge), []);
      await until(
        'somebody to count the large event',
        () => near.undeliverable.too_large || far.refused.too_large || far.refused.malformed || far.closings[0],
      );
      assert.ok(!far.uids.includes('giant'));
      if (far.closings.length === 0) await crosses(near, far, 'after the giant');
      await servesAnother(t, { pair, listener });
    });

    for (const toward of ['listener', 'dialler'] as const) {
      test(`noise toward the ${toward} delivers nothing and hurts nobody else`, async (t) => {
        const { pair, near, far, listener } = await joined(t);
        const victim = toward === 'listener' ? far : near;
        const before = victim.delivered.length;
        pair.wire.inject(toward, noise(40_000));
        const other = toward === 'listener' ? near : far;
        other.session.send(sampleEvent('after noise'), []);
        await until('a reaction', () => victim.closings.length > 0 || victim.delivered.length > before);
        const since = victim.uids.slice(before);
        assert.deepEqual(
          since.filter((uid) => uid !== 'after noise'),
          [],
        );
        await servesAnother(t, { pair, listener });
        assert.ok(near.closings.length <= 1 && far.closings.length <= 1, 'closed() at most once');
      });
    }

    test('a reader that stalls is waited for in bounded memory, and loses nothing that send() took', async (t) => {
      const { pair, near, far } = await joined(t);
      pair.wire.stall('listener');
      const taken = await sendUntilFull(near);
      const before = near.writables;
      assert.equal(near.session.send(sampleEvent('one more', 12_000), []), false, 'full stays full');
      pair.wire.flow();
      await until('room', () => near.writables > before);
      await crosses(near, far, 'after the stall');
      assert.deepEqual(
        far.uids.filter((uid) => uid.startsWith('bulk-')),
        taken,
      );
    });

    test('told to stop before it starts, a dialler opens nothing', async (t) => {
      const { pair } = await listening(t);
      const controller = new AbortController();
      controller.abort();
      const dialler = runLink(t, pair.dialler(), { ...pair.diallerOptions, signal: controller.signal });
      assert.equal(await dialler.ended, undefined);
      assert.equal(dialler.hub.sessions.length, 0);
      await pair.wire.idle();
    });

    test('told to stop while connecting, nothing stays open', async (t) => {
      const { pair, listener } = await listening(t);
      pair.wire.stall('listener');
      pair.wire.stall('dialler');
      const dialler = runLink(t, pair.dialler(), pair.diallerOptions);
      await pair.wire.used();
      assert.equal(await dialler.stop(), undefined);
      pair.wire.flow();
      await pair.wire.idle();
      assert.equal(await listener.stop(), undefined);
      assertAllClosedOnce(dialler, listener);
    });

    for (const side of ['dialler', 'listener'] as const) {
      test(`told to stop while connected, the ${side} closes with 'shutdown' and nothing stays open`, async (t) => {
        const { pair, ...both } = await joined(t);
        const [mine, theirs] = side === 'dialler' ? [both.near, both.far] : [both.far, both.near];
        assert.equal(await both[side].stop(), undefined);
        assert.equal((await mine.closing()).reason, 'shutdown');
        assert.ok(['remote_closed', 'network_error'].includes((await theirs.closing()).reason));
        await pair.wire.idle();
        if (side === 'listener') assert.ok((await both.dialler.ended) instanceof Error, 'to be retried');
        else assert.equal(await both.listener.stop(), undefined);
        assertAllClosedOnce(both.dialler, both.listener);
      });
    }

    test('told to stop with a backlog, it gives back what was not sent', async (t) => {
      const { pair, near, far, dialler, listener } = await joined(t);
      pair.wire.stall('listener');
      const taken = await sendUntilFull(near);
      assert.equal(await dialler.stop(), undefined);
      const { returned = [] } = await near.closing();
      const uids = returned.flatMap(({ message }) => (message.kind === 'event' ? [message.event.uid] : []));
      assert.ok(uids.length > 0, 'something was not sent');
      assert.deepEqual(uids, taken.slice(-uids.length), 'the last of what was taken, in order');
      pair.wire.flow();
      await far.closing();
      await pair.wire.idle();
      assert.equal(await listener.stop(), undefined);
      assertAllClosedOnce(dialler, listener);
    });

    test('after close nothing is taken and nothing more is said', async (t) => {
      const { pair, near, far, dialler } = await joined(t);
      near.session.close('replaced');
      near.session.close('shutdown');
      assert.equal(near.session.send(sampleEvent('late'), []), false);
      assert.equal((await near.closing()).reason, 'replaced');
      await far.closing();
      assert.ok((await dialler.ended) instanceof Error, 'a run that lost its connection rejects, to be retried');
      await pair.wire.idle();
      assert.equal(near.closings.length, 1);
      assert.ok(!far.uids.includes('late'));
    });

    test('a wire that breaks ends both sessions once, with words', async (t) => {
      const { pair, near, far, dialler, listener } = await joined(t);
      pair.wire.cut();
      for (const session of [near, far]) {
        assert.ok(['remote_closed', 'network_error'].includes((await session.closing()).reason));
      }
      const error = await dialler.ended;
      assert.ok(error && error.message.length > 0);
      await servesAnother(t, { pair, listener });
      assertAllClosedOnce(dialler);
    });
  });
}

/** Sends one event; with `to`, waits until it is there. */
async function crosses(from: RecordedSession, to: RecordedSession | undefined, uid: string, size = 0): Promise<void> {
  // A session may be full for the moment (a stall before, a negotiation under way): then it says when.
  for (let tries = 0; ; tries++) {
    const before = from.writables;
    if (from.session.send(sampleEvent(uid, size), [])) break;
    assert.ok(tries < 100, `send() never took ${uid}`);
    await until('room', () => from.writables > before);
  }
  await to?.event(uid);
}

/** Sends until send() says no; what the operating system buffers for the stalled reader is part of it. */
export async function sendUntilFull(from: RecordedSession): Promise<string[]> {
  const taken: string[] = [];
  const mostTurns = 5_000;
  for (let turn = 0; turn < mostTurns; turn++) {
    const uid = `bulk-${turn}`;
    const before = from.writables;
    if (from.session.send(sampleEvent(uid, 12_000), [])) {
      taken.push(uid);
      continue;
    }
    // Full for this turn; if it stays so, the reader's buffers are full too.
    const room = await within(300, () => from.writables > before);
    if (!room) return taken;
  }
  assert.fail(`send() took ${mostTurns * 12} kB from a reader that does not read`);
}

function assertSame(got: CotEvent, sent: CotEvent): void {
  for (const key of ['uid', 'type', 'how', 'timeMs', 'staleMs', 'lat', 'lon', 'callsign', 'team', 'role'] as const) {
    assert.equal(got[key], sent[key], key);
  }
}

function assertAllClosedOnce(...links: readonly RunningLink[]): void {
  for (const { hub } of links) {
    for (const session of hub.sessions) assert.equal(session.closings.length, 1, `closed() of ${session.spec.key}`);
  }
}
