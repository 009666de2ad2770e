// Federates that a listening link knows by name: what is said of one holds for that one, while it is connected too.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { scanFederated, scanGroupHopLimits } from '../../../src/wire/federation.ts';
import { testIdentity } from '../../support/pki.ts';
import { sampleEvent } from '../contract.ts';
import { envelope, type RecordedSession, runLink, until } from '../memory.ts';
import { type ClientCall, fed2, fed2Config, ScriptedClient } from './scripted.ts';

const relay = testIdentity('relay');
const tak = testIdentity('tak');
const [one, other] = [tak.federation('one'), tak.federation('other')];
const named = (keys: object = {}) => ({ name: 'County', pin: `SHA256:${one.fingerprint}`, ...keys });

/** A listening link and two federates of one authority, of whom it knows the first by name. */
async function both(t: TestContext, keys: object) {
  const link = fed2({ listen: '127.0.0.1:0', ...keys });
  const running = runLink(t, link, { identity: relay, trust: tak.trust });
  const port = await running.port();
  const join = async (pair: typeof one, index: number) => {
    const { clientEvents } = (await ScriptedClient.dial(t, port, pair)).federate();
    return { clientEvents, session: await running.hub.session(index) };
  };
  const change = (peers: object[]) => link.update?.(fed2Config({ listen: '127.0.0.1:0', ...keys, peers }));
  return { running, change, named: await join(one, 0), unnamed: await join(other, 1) };
}

type Far = { readonly clientEvents: ClientCall; readonly session: RecordedSession };

/** Sends an event that has made `current` hops, and reads what comes of it. */
async function sent({ clientEvents, session }: Far, groups: string[], current: number) {
  const sample = sampleEvent('u');
  const before = clientEvents.messages.length;
  const refused = session.undeliverable.hop_limit ?? 0;
  const said = envelope(sample.message, { wire: sample.wire, groups, hops: { max: -1, current } });
  assert.equal(session.session.send(said, groups), true);
  if ((session.undeliverable.hop_limit ?? 0) > refused) return 'hop_limit';
  const bytes = await until('the event', () => clientEvents.messages[before]);
  const limits = scanGroupHopLimits(bytes)?.map(({ group, max }) => [group, max]);
  const scan = scanFederated(bytes);
  return { groups: scan.groups, max: scan.hops?.max, limits };
}

test('hop limits of one federate: the lesser of its own and the link’s; others have the link’s alone', async (t) => {
  const { named: known, unnamed } = await both(t, {
    group_hops: { Blue: 3, Red: 1 },
    peers: [named({ group_hops: { Blue: 2, Red: 5, Green: 4 }, max_hops_out: 6 })],
  });
  assert.deepEqual(await sent(known, ['Blue', 'Red', 'Green', 'Grey'], 0), {
    groups: ['Blue', 'Red', 'Green', 'Grey'],
    max: 6,
    limits: [
      ['Blue', 2],
      ['Red', 1],
      ['Green', 4],
      ['Grey', 6],
    ],
  });
  assert.deepEqual(await sent(unnamed, ['Blue', 'Green'], 0), {
    groups: ['Blue', 'Green'],
    max: -1,
    limits: [
      ['Blue', 3],
      ['Green', -1],
    ],
  });
  assert.equal(await sent(known, ['Blue'], 2), 'hop_limit');
  assert.notEqual(await sent(unnamed, ['Blue'], 2), 'hop_limit');
  assert.equal(await sent(known, [], 6), 'hop_limit', 'whatever the group');
  assert.deepEqual(await sent(known, [], 5), { groups: undefined, max: 6, limits: undefined });
});

test('hop limits change while the federate is connected', async (t) => {
  const { change, named: known, unnamed, running } = await both(t, { peers: [named()] });
  const free = { groups: ['Blue'], max: -1, limits: undefined };
  assert.deepEqual(await sent(known, ['Blue'], 3), free);
  assert.equal(change([named({ max_hops_out: 3 })]), true);
  assert.equal(await sent(known, ['Blue'], 3), 'hop_limit');
  assert.deepEqual(await sent(unnamed, ['Blue'], 3), free);
  change([named({ group_hops: { Blue: 4 } })]);
  assert.deepEqual(await sent(known, ['Blue'], 3), { groups: ['Blue'], max: -1, limits: [['Blue', 4]] });
  change([named()]);
  assert.deepEqual(await sent(known, ['Blue'], 3), free);
  assert.equal(running.hub.sessions.length, 2, 'on the same connections');
});

test('hop limits that make no sense are refused with the place', () => {
  const wrong = [{ max_hops_out: 65 }, { max_hops_out: 1.5 }, { group_hops: { Blue: -2 } }, { group_hops: { '': 1 } }];
  for (const keys of wrong)
    assert.throws(() => fed2Config({ listen: 9001, peers: [named(keys)] }), /max_hops_out|group_hops/);
  const many = Object.fromEntries(Array.from({ length: 257 }, (_, n) => [n, 1]));
  assert.throws(() => fed2Config({ listen: 9001, peers: [named({ group_hops: many })] }), /more than 256 groups/);
});

test('the hub is told what each is called here, at once when that changes', async (t) => {
  const { change, named: known, unnamed, running } = await both(t, { peers: [named()] });
  const given = () => [...running.hub.givenNames];
  const key = `test/${one.fingerprint}`;
  assert.deepEqual(given(), [[key, 'County']]);
  assert.deepEqual(
    [known.session.names, unnamed.session.names],
    [['scripted'], ['scripted']],
    'what they say of themselves',
  );
  change([{ ...named(), name: 'State' }]);
  assert.deepEqual(given(), [[key, 'State']]);
  change([]);
  assert.deepEqual(given(), []);
});
