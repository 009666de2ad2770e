// Configuration to running links: what a reload touches and what it leaves alone, and how failures show.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setTimeout, setImmediate as turn } from 'node:timers/promises';
import * as z from 'zod';
import { NO_BUDGET } from '../../src/core/budget.ts';
import { DEFAULT_POLICY } from '../../src/core/policy.ts';
import { QUEUE_LIMITS } from '../../src/core/queue.ts';
import type { PeerSpec, Session, SessionPort } from '../../src/core/session.ts';
import type { Identity } from '../../src/identity/identity.ts';
import { aborted } from '../../src/lib/abort.ts';
import { type Clock, ManualClock, systemClock } from '../../src/lib/clock.ts';
import { FatalError, LinkError, ProtocolError } from '../../src/lib/errors.ts';
import { silentLog } from '../../src/lib/log.ts';
import type { LinkContext, LinkKind } from '../../src/links/link.ts';
import {
  type LinkEntry,
  LinkRunner,
  type LinkStatus,
  MAX_REFUSAL_CODES,
  REFUSAL_QUIET_MS,
  STOP_DEADLINE_MS,
} from '../../src/links/runner.ts';
import type { Via } from '../../src/links/via.ts';
import { NOTHING_KEPT } from './memory.ts';

interface Settings {
  readonly to?: string;
  /** Wait for this before stopping, once aborted. */
  readonly hold?: Promise<void>;
}

type Act = (context: LinkContext, attempt: number, settings: Settings) => Promise<void>;

function entry(name: string, more: Partial<LinkEntry> = {}): LinkEntry {
  const rules = { policy: DEFAULT_POLICY, queue: QUEUE_LIMITS, budget: NO_BUDGET };
  return { name, kind: 'fake', enabled: true, ...rules, settings: {}, ...more };
}

/** A runner over links that write down what happens to them; `acts` says what a link of that name does instead. */
function rig(
  t: TestContext,
  acts: Record<string, Act> = {},
  clock: Clock = systemClock,
  more: Partial<LinkContext> = {},
) {
  const story: string[] = [];
  const changes: LinkStatus[] = [];
  const refusals: string[] = [];
  const contexts = new Map<string, LinkContext>();
  const attempts = new Map<string, number>();
  const kindOf = (kind: string): LinkKind<unknown> => ({
    kind,
    schema: z.unknown(),
    create: (settings) => ({ run: (context) => run(context, settings as Settings) }),
  });
  /** Takes new settings over as it runs, unless they say so. */
  const supple: LinkKind<unknown> = {
    kind: 'supple',
    schema: z.unknown(),
    create: (settings) => ({
      run: (context) => run(context, settings as Settings),
      update(next) {
        story.push(`update ${(next as Settings).to}`);
        return (next as Settings).to !== 'elsewhere';
      },
    }),
  };
  async function run(context: LinkContext, settings: Settings): Promise<void> {
    const { name } = context;
    const attempt = (attempts.get(name) ?? 0) + 1;
    attempts.set(name, attempt);
    contexts.set(name, context);
    story.push(`run ${name}`);
    const act = acts[name];
    if (act) return act(context, attempt, settings);
    context.report('listening', settings.to ?? '');
    await aborted(context.signal);
    await settings.hold;
    story.push(`end ${name}`);
  }
  const hub = {
    expect(_spec: PeerSpec) {},
    attach(_spec: PeerSpec, _session: Session): SessionPort {
      throw new Error('no sessions here');
    },
    setPeerPolicy() {},
    setPeerName() {},
    trouble() {},
    dismiss() {},
    setPolicy: (link: string, policy: { in: boolean }, queue: { events: number }) => {
      story.push(`policy ${link}${policy.in ? '' : ' closed'}${queue === QUEUE_LIMITS ? '' : ` ${queue.events}`}`);
    },
    forget: (link: string) => story.push(`forget ${link}`),
  };
  const node = { id: 'n', name: 'n', version: '0' };
  const identity = {} as Identity;
  const surroundings = { ...NOTHING_KEPT, identity, trust: { cas: [], pins: [] }, baseDir: '/' };
  const runner = new LinkRunner({
    kinds: [kindOf('fake'), kindOf('other'), supple],
    hub,
    contextFor: (name, log) => ({ ...surroundings, ...more, name, log, clock, hub, node }),
    log: silentLog,
    clock,
    backoff: { firstMs: 1, maxMs: 1 },
    onChange: (status) => changes.push(status),
    onRefusal: (link, address, { code }) => refusals.push(`${link} ${address} ${code}`),
  });
  const controller = new AbortController();
  const done = runner.run(controller.signal);
  t.after(async () => {
    controller.abort();
    if (clock instanceof ManualClock) {
      await turn();
      clock.advance(STOP_DEADLINE_MS);
    }
    await done;
  });
  /** What happened since the last call, once nothing happens any more. */
  async function told(): Promise<string[]> {
    for (let quiet = 0, before = story.length; quiet < 5; quiet++) {
      await turn();
      if (story.length !== before) quiet = 0;
      before = story.length;
    }
    return story.splice(0);
  }
  const apply = (...links: LinkEntry[]) => runner.apply({ links });
  const status = (name: string) => runner.statuses().find((status) => status.name === name)!;
  const state = async (name: string, wanted: string): Promise<LinkStatus> => {
    while (status(name).state !== wanted) await setTimeout(1);
    return status(name);
  };
  return { runner, apply, told, status, state, changes, refusals, contexts, attempts, controller, done };
}

test('links start with their policy in force before them, and stop with the runner', async (t) => {
  const { apply, told, runner, controller, done } = rig(t);
  apply(entry('a'), entry('b', { enabled: false }), entry('c', { settings: { to: 'x' } }));
  assert.deepEqual(await told(), ['policy a', 'run a', 'policy c', 'run c']);
  assert.deepEqual(
    runner.statuses().map(({ name, state, detail, enabled }) => [name, state, detail, enabled]),
    [
      ['a', 'listening', '', true],
      ['b', 'stopped', '', false],
      ['c', 'listening', 'x', true],
    ],
  );
  controller.abort();
  await done;
  assert.deepEqual((await told()).toSorted(), ['end a', 'end c']);
});

test('what did not change is not touched', async (t) => {
  const { apply, told } = rig(t);
  apply(entry('a'), entry('b', { settings: { to: 'x' } }));
  await told();
  apply(entry('b', { settings: { to: 'x' } }), entry('a'));
  assert.deepEqual(await told(), []);
});

test('a policy or queue change reaches the hub at once and reconnects nothing', async (t) => {
  const { apply, told, contexts } = rig(t);
  apply(entry('a'), entry('b'));
  await told();
  const before = contexts.get('a');
  apply(entry('a', { policy: { ...DEFAULT_POLICY, in: false } }), entry('b', { queue: { events: 20, bytes: 99_999 } }));
  assert.deepEqual(await told(), ['policy a closed', 'policy b 20']);
  assert.equal(contexts.get('a'), before);
  assert.equal(before?.signal.aborted, false);
  apply(entry('a', { policy: { ...DEFAULT_POLICY, in: false } }), entry('b', { queue: { events: 20, bytes: 99_999 } }));
  assert.deepEqual(await told(), []);
});

test('a changed link ends before its successor begins; its peers and the others stay', async (t) => {
  const { apply, told, status } = rig(t);
  apply(entry('a'), entry('b'));
  await told();
  apply(entry('a', { settings: { to: 'new' }, policy: { ...DEFAULT_POLICY, in: false } }), entry('b'));
  assert.deepEqual(await told(), ['end a', 'policy a closed', 'run a']);
  assert.equal(status('a').detail, 'new');
});

test('a link that can takes new settings over as it runs; what it cannot take restarts it', async (t) => {
  const { apply, told, contexts } = rig(t);
  const supple = (to: string, more: Partial<LinkEntry> = {}) =>
    entry('a', { kind: 'supple', settings: { to }, ...more });
  apply(supple('x'));
  await told();
  const before = contexts.get('a');
  apply(supple('y', { policy: { ...DEFAULT_POLICY, in: false } }));
  assert.deepEqual(await told(), ['update y', 'policy a closed']);
  assert.equal(contexts.get('a'), before);
  apply(supple('y', { policy: { ...DEFAULT_POLICY, in: false } }));
  assert.deepEqual(await told(), [], 'the settings it took over are the ones compared with');
  apply(supple('elsewhere'));
  assert.deepEqual(await told(), ['update elsewhere', 'end a', 'policy a', 'run a']);
  apply(supple('z', { enabled: false }));
  assert.deepEqual(await told(), ['end a', 'forget a'], 'what is switched off is not asked');
  apply(entry('a', { settings: { to: 'z' } }));
  apply(supple('z'));
  assert.ok(!(await told()).includes('update z'), 'nor a link of another kind');
});

test('a removed, disabled or different link is stopped, and its peers forgotten', async (t) => {
  const { apply, told } = rig(t);
  apply(entry('a'), entry('b'), entry('c'));
  await told();
  apply(entry('b', { enabled: false }), entry('c', { kind: 'other' }));
  assert.deepEqual(await told(), ['end a', 'end b', 'end c', 'forget a', 'forget b', 'forget c', 'policy c', 'run c']);
  apply(entry('b'), entry('c', { kind: 'other' }));
  assert.deepEqual(await told(), ['policy b', 'run b']);
});

test('a restart ends links and begins them again, all or by name, and forgets nobody', async (t) => {
  const { runner, apply, told } = rig(t);
  apply(entry('a'), entry('b'), entry('c', { enabled: false }));
  await told();
  runner.restart(['b', 'c', 'nobody']);
  assert.deepEqual(await told(), ['end b', 'policy b', 'run b']);
  runner.restart();
  assert.deepEqual(await told(), ['end a', 'end b', 'policy a', 'run a', 'policy b', 'run b']);
});

test('a port moves from one link to another: nothing starts while anything still stops', async (t) => {
  const { promise: hold, resolve: letGo } = Promise.withResolvers<void>();
  const { apply, told, status } = rig(t);
  apply(entry('old', { settings: { hold } }));
  await told();
  apply(entry('new'));
  assert.deepEqual(await told(), []);
  assert.equal(status('new').state, 'starting');
  letGo();
  assert.deepEqual(await told(), ['end old', 'forget old', 'policy new', 'run new']);
});

test('calls made while links still stop are followed in order, the last one counts', async (t) => {
  const { promise: hold, resolve: letGo } = Promise.withResolvers<void>();
  const { apply, told, status } = rig(t);
  const old = entry('a', { settings: { hold } });
  apply(old);
  await told();
  apply(entry('a', { settings: { to: 'one' } }));
  apply(entry('a', { settings: { to: 'two' } }), entry('b'));
  apply(entry('a', { settings: { to: 'three' } }));
  assert.deepEqual(await told(), []);
  letGo();
  assert.deepEqual(await told(), ['end a', 'policy a', 'run a']);
  assert.equal(status('a').detail, 'three');
});

test('taking a change back while the link still stops starts it again as it was', async (t) => {
  const { promise: hold, resolve: letGo } = Promise.withResolvers<void>();
  const { apply, told } = rig(t);
  const old = entry('a', { settings: { hold } });
  apply(old);
  await told();
  apply();
  apply(old);
  letGo();
  assert.deepEqual(await told(), ['end a', 'policy a', 'run a']);
});

test('a link that does not stop is given up after the deadline', async (t) => {
  const clock = new ManualClock();
  const { apply, told, controller, done } = rig(t, { stuck: () => new Promise(() => {}) }, clock);
  apply(entry('stuck'));
  await told();
  apply(entry('next'));
  assert.deepEqual(await told(), []);
  clock.advance(STOP_DEADLINE_MS - 1);
  assert.deepEqual(await told(), []);
  clock.advance(1);
  assert.deepEqual(await told(), ['forget stuck', 'policy next', 'run next']);
  apply(entry('next'), entry('stuck'));
  await told();
  controller.abort();
  assert.deepEqual(await told(), ['end next']);
  clock.advance(STOP_DEADLINE_MS);
  await done;
});

test('a failure is shown with its words and retried; the link recovers', async (t) => {
  const { promise: again, resolve: retry } = Promise.withResolvers<void>();
  const { apply, state, changes } = rig(t, {
    a: async ({ report, signal }, attempt) => {
      if (attempt === 1) throw new LinkError('refused', 'nobody listens', 'start it', { retryAfterMs: 20 });
      await again;
      report('connected', 'x:1');
      await aborted(signal);
    },
  });
  apply(entry('a'));
  const waiting = await state('a', 'waiting');
  assert.equal(waiting.lastTrouble?.code, 'refused');
  assert.equal(waiting.lastTrouble?.words, 'nobody listens');
  assert.equal(waiting.lastTrouble?.fix, 'start it');
  assert.ok(waiting.retryAtMs! >= waiting.sinceMs);
  assert.equal(waiting.detail, 'next try in 1 s');
  retry();
  const connected = await state('a', 'connected');
  assert.equal(connected.retryAtMs, undefined);
  assert.equal(connected.lastTrouble?.code, 'refused', 'what went wrong last stays to be seen');
  assert.deepEqual(
    changes.map((change) => change.state),
    ['starting', 'waiting', 'starting', 'connected'],
  );
});

test('a link that waits to dial through a tunnel is tried at once when the way there is back; others are not', async (t) => {
  const dials = (via: Via): Act => {
    return async ({ openTunnel, signal }) => void (await openTunnel(via, signal));
  };
  const hourMs = 3_600_000;
  const away = new LinkError('peer_away', 'b is not connected', '', { retryAfterMs: hourMs });
  const openTunnel = () => Promise.reject(away);
  const { runner, apply, state, attempts, told } = rig(
    t,
    {
      through: dials({ link: 'portal', peer: 'b', service: 'tak' }),
      elsewhere: dials({ link: 'portal', peer: 'c', service: 'tak' }),
      plain: () => Promise.reject(away),
    },
    systemClock,
    { openTunnel },
  );
  const names = ['through', 'elsewhere', 'plain'];
  apply(...names.map((name) => entry(name)));
  for (const name of names) await state(name, 'waiting');
  runner.wayIsBack('portal', 'b');
  await told();
  assert.deepEqual(
    names.map((name) => attempts.get(name)),
    [2, 1, 1],
  );
  runner.wayIsBack('other', 'b');
  await told();
  assert.equal(attempts.get('through'), 2);
});

test('a link that fails in a tunnel whose way came back meanwhile does not wait long', async (t) => {
  const { promise: fail, reject } = Promise.withResolvers<never>();
  const { runner, apply, attempts, told, status } = rig(t, {
    through: async ({ openTunnel, signal }, attempt) => {
      await openTunnel({ link: 'portal', peer: 'b', service: 'tak' }, signal).catch(() => {});
      if (attempt === 1) await fail;
      await aborted(signal);
    },
  });
  apply(entry('through'));
  await told();
  runner.wayIsBack('portal', 'b');
  reject(new LinkError('reset', 'the old tunnel is dead', '', { retryAfterMs: 3_600_000 }));
  while (attempts.get('through') !== 2) await setTimeout(10);
  assert.equal(status('through').state, 'starting');
});

test('a run that ends by itself, breaks the protocol or has a bug is a failure like others', async (t) => {
  const { apply, state } = rig(t, {
    ends: async () => {},
    breaks: async () => {
      throw new ProtocolError('bad_frame', 'nonsense came');
    },
    bug: async () => {
      throw new TypeError('x is not a function');
    },
  });
  apply(entry('ends'), entry('breaks'), entry('bug'));
  assert.equal((await state('ends', 'waiting')).lastTrouble?.code, 'ended');
  assert.equal((await state('breaks', 'waiting')).lastTrouble?.code, 'bad_frame');
  const bug = await state('bug', 'waiting');
  assert.equal(bug.lastTrouble?.code, 'internal_error');
  assert.equal(bug.lastTrouble?.words, 'x is not a function');
});

test('a fatal failure is shown until the next apply, and troubles nobody else', async (t) => {
  const { apply, state, status, attempts, told } = rig(t, {
    bad: async (_context, attempt) => {
      if (attempt < 3) throw new FatalError('key_missing', 'no key', 'put it there');
      await aborted(_context.signal);
    },
  });
  apply(entry('bad'), entry('good'));
  const failed = await state('bad', 'failed');
  assert.deepEqual(
    { ...failed.lastTrouble, atMs: 0 },
    { code: 'key_missing', words: 'no key', fix: 'put it there', atMs: 0 },
  );
  assert.equal(status('good').state, 'listening');
  await told();
  assert.equal(attempts.get('bad'), 1, 'not retried by itself');
  apply(entry('bad'), entry('good'));
  assert.deepEqual(await told(), ['policy bad', 'run bad'], 'tried again by hand; the good link untouched');
  await state('bad', 'failed');
  apply(entry('bad', { settings: { to: 'x' } }), entry('good'));
  assert.deepEqual(await told(), ['policy bad', 'run bad']);
  assert.equal(status('bad').state, 'starting');
});

test('an unknown kind is a failure of that link only', async (t) => {
  const { apply, state, status } = rig(t);
  apply(entry('a', { kind: 'carrier-pigeon' }), entry('b'));
  assert.equal((await state('a', 'failed')).lastTrouble?.code, 'unknown_kind');
  assert.equal(status('b').state, 'listening');
});

test('refusals are all counted, told now and then, and bounded in kinds', async (t) => {
  const clock = new ManualClock();
  const { apply, told, contexts, refusals, status } = rig(t, {}, clock);
  apply(entry('a'));
  await told();
  const { refuse } = contexts.get('a')!;
  const trouble = { code: 'not_trusted', words: 'w'.repeat(10_000), fix: 'f' };
  for (let port = 1; port <= 100; port++) refuse(`10.0.0.1:${port}`, trouble);
  assert.deepEqual(status('a').refusals, { not_trusted: 100 });
  assert.deepEqual(refusals.splice(0), ['a 10.0.0.1:1 not_trusted']);
  assert.equal(status('a').lastRefusal?.address, '10.0.0.1:100');
  assert.equal(status('a').lastRefusal?.words.length, 500);
  clock.advance(REFUSAL_QUIET_MS);
  refuse('10.0.0.2:1', trouble);
  assert.deepEqual(refusals.splice(0), ['a 10.0.0.2:1 not_trusted']);
  for (let code = 0; code < 100; code++) refuse('10.0.0.3:1', { ...trouble, code: `code_${code}` });
  const counts = status('a').refusals;
  assert.equal(Object.keys(counts).length, MAX_REFUSAL_CODES + 1);
  assert.equal(counts.other, 101 - MAX_REFUSAL_CODES);
});

test('a run that is over has nothing more to say', async (t) => {
  const { apply, told, contexts, status, changes } = rig(t);
  apply(entry('a'));
  await told();
  const old = contexts.get('a')!;
  apply(entry('a', { settings: { to: 'new' } }));
  await told();
  const seen = changes.length;
  old.report('failed', 'from the grave');
  old.refuse('x', { code: 'c', words: 'w', fix: 'f' });
  assert.equal(status('a').detail, 'new');
  assert.deepEqual(status('a').refusals, {});
  assert.equal(changes.length, seen);
});

test('links applied before run() start with it; a runner told to stop starts nothing', async (t) => {
  const { runner, apply, told, controller, done } = rig(t);
  controller.abort();
  await done;
  apply(entry('a'));
  assert.deepEqual(await told(), []);
  const again = new AbortController();
  const second = runner.run(again.signal);
  assert.deepEqual(await told(), ['policy a', 'run a']);
  again.abort();
  await second;
  assert.deepEqual(await told(), ['end a']);
});

test('whose addresses may connect is known at once, without a restart', async (t) => {
  const { apply, state, contexts, told } = rig(t);
  apply(entry('a', { listenFrom: ['10.0.0.0/8'] }));
  await state('a', 'listening');
  const { admits } = contexts.get('a')!;
  assert.deepEqual([admits!('10.1.2.3'), admits!('::ffff:10.1.2.3'), admits!('192.168.1.1')], [true, true, false]);
  await told();
  apply(entry('a', { listenFrom: [] }));
  assert.deepEqual([await told(), admits!('192.168.1.1')], [[], true]);
});
