// Our Federation v2 link when things go wrong at the far end: the words are right, the old connection is gone, the next one works.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { hasStack, type Peer, STACKS, startPeer } from '../../support/peers/spawn.ts';
import { dialling, fastClock, listening, pairOf, startFar, startNear, TestRelay } from './interop-relay.ts';

const UP = { at: 'rpc', method: 'ClientROLStream' };

/** The peer sees a whole link from this line on. */
async function upAgain(peer: Peer, from: number): Promise<void> {
  await peer.waitFor({ at: 'connected' }, { from });
  await peer.waitFor(UP, { from });
}

suite('fed2 when the far end fails', { concurrency: 4, timeout: 120_000 }, () => {
  for (const stack of STACKS) {
    suite(`fed2 dials a ${stack} peer`, { concurrency: 3 }, () => {
      test('that hears no health check in time: DEADLINE_EXCEEDED, then again', async (t) => {
        if (!hasStack(t, stack)) return;
        const far = await startFar(t, stack, 'takserver', { 'dead-ms': 400 });
        const relay = new TestRelay(t, { out: dialling(far, { health_interval_seconds: 3 }) });
        await far.waitFor({ at: 'dead' });
        const from = far.lines.length;
        const { words } = await relay.trouble('out', 'health_missed');
        assert.match(words, /DEADLINE_EXCEEDED/);
        await far.waitFor({ at: 'disconnected' }, { from });
        await upAgain(far, from);
        assert.deepEqual([far.violations(), far.all({ at: 'duplicate' })], [[], []]);
      });

      test('that has our certificate connected already: waits half a minute and says why', async (t) => {
        if (!hasStack(t, stack)) return;
        const far = await startFar(t, stack, 'takserver', { far: 'takserver' });
        const ours = new TestRelay(t, {}).identity.federation('out');
        const twin = { chainPem: ours.certPem, keyPem: ours.keyPem, caPem: pairOf('far').caPem };
        const options = { stack: 'grpcjs', as: 'takserver', role: 'client', port: far.port, ...twin } as const;
        const first = await startPeer(t, { ...options, flags: { far: 'takserver', 'health-ms': 300 } });
        await first.waitFor(UP);
        const relay = new TestRelay(t, { out: dialling(far) });
        const { words, fix, atMs } = await relay.trouble('out', 'duplicate_federate');
        assert.match(words, /Disallowing duplicate federate connection/);
        assert.match(fix, /one side may dial/);
        const { state, retryAtMs = 0 } = relay.link('out');
        assert.equal(state, 'waiting');
        assert.ok(retryAtMs - atMs >= 29_000, `retry after ${retryAtMs - atMs} ms`);
        assert.equal(far.all({ at: 'duplicate' }).length, 1);
      });

      test('that says GOAWAY: the socket goes at once, so that the next one is no duplicate', async (t) => {
        if (!hasStack(t, stack)) return;
        const far = await startFar(t, stack, 'takserver');
        const relay = new TestRelay(t, { out: dialling(far) });
        await far.waitFor(UP);
        const from = far.lines.length;
        far.send({ do: 'goaway' });
        await relay.trouble('out', 'goaway');
        await far.waitFor({ at: 'disconnected' }, { from });
        await upAgain(far, from);
        assert.deepEqual([far.violations(), far.all({ at: 'duplicate' })], [[], []]);
      });

      test('that vanishes and comes back on the same port: what is current is sent again', async (t) => {
        if (!hasStack(t, stack)) return;
        const first = await startFar(t, stack, 'takserver', { local: { contacts: [], events: [{ uid: 'kept' }] } });
        const relay = new TestRelay(t, { in: listening(), out: dialling(first) });
        const near = await startNear(t, stack, 'takserver', await relay.port('in'));
        await near.waitFor(UP);
        await near.waitFor({ at: 'event', uid: 'kept' });
        near.send({ do: 'send', event: { uid: 'unit' } });
        await first.waitFor({ at: 'event', uid: 'unit' });
        await first.vanish();
        await relay.ending('network_error', 'remote_closed');
        const second = await startFar(t, stack, 'takserver', {}, first.port);
        await second.waitFor({ at: 'contact', uid: 'unit' });
        await second.waitFor({ at: 'event', uid: 'unit' });
        assert.deepEqual([first.violations(), second.violations()], [[], []]);
      });

      test('that freezes: declared dead, socket destroyed', async (t) => {
        if (!hasStack(t, stack)) return;
        const far = await startFar(t, stack, 'takserver');
        const relay = new TestRelay(t, { out: dialling(far) }, fastClock(8));
        await far.waitFor(UP);
        far.freeze();
        await relay.ending('idle_timeout');
        const from = far.lines.length;
        far.thaw();
        await upAgain(far, from);
      });

      test('that is not serving, or has no place for our CA: the words say so', async (t) => {
        if (!hasStack(t, stack)) return;
        const far = await startFar(t, stack, 'takserver');
        const hub = await startFar(t, stack, 'fedhub', { deny: true });
        const relay = new TestRelay(t, { out: dialling(far), denied: dialling(hub) });
        await far.waitFor(UP);
        far.send({ do: 'health', status: 'NOT_SERVING' });
        await relay.trouble('out', 'not_serving');
        const { words } = await relay.trouble('denied', 'not_in_policy');
        assert.match(words, /PERMISSION_DENIED/);
      });

      test('that never answers its streams early, and ends missions: the link stays', async (t) => {
        if (!hasStack(t, stack)) return;
        const backlog = [{ program: 'create mission {"old":1};' }];
        const hub = await startFar(t, stack, 'fedhub', { late: true, 'rol-completes': true, backlog });
        const relay = new TestRelay(t, { in: listening(), out: dialling(hub) });
        const near = await startNear(t, stack, 'takserver', await relay.port('in'));
        await near.waitFor(UP);
        await hub.waitFor(UP);
        near.send({ do: 'send', event: { uid: 'still there' } });
        await hub.waitFor({ at: 'event', uid: 'still there' });
        near.send({ do: 'rol', rol: { program: 'create mission {"new":1};' } });
        await hub.waitFor({ at: 'rol', program: 'create mission {"new":1};' });
        assert.deepEqual([hub.violations(), relay.endings()], [[], []]);
      });
    });

    suite(`fed2 is dialled by a ${stack} peer`, { concurrency: 3 }, () => {
      test('that vanishes and dials again: the same peer to us', async (t) => {
        if (!hasStack(t, stack)) return;
        const relay = new TestRelay(t, { in: listening() });
        const port = await relay.port('in');
        const first = await startNear(t, stack, 'takserver', port);
        await first.waitFor(UP);
        const peer = await relay.peer('in');
        await first.vanish();
        await relay.ending('network_error', 'remote_closed');
        const second = await startNear(t, stack, 'takserver', port);
        await second.waitFor(UP);
        assert.equal(await relay.peer('in'), peer);
        assert.equal(peer.sessions, 2);
        assert.deepEqual([first.violations(), second.violations()], [[], []]);
      });

      test('that freezes while its successor dials: the newer one takes over', async (t) => {
        if (!hasStack(t, stack)) return;
        const relay = new TestRelay(t, { in: listening() });
        const port = await relay.port('in');
        const first = await startNear(t, stack, 'takserver', port);
        await first.waitFor(UP);
        first.freeze();
        const second = await startNear(t, stack, 'takserver', port);
        await second.waitFor(UP);
        const replaced = relay.events.since(0).events.filter(({ event }) => event.type === 'peer_replaced');
        assert.deepEqual([replaced.length, (await relay.peer('in')).sessions], [1, 2]);
        assert.deepEqual(second.violations(), []);
      });

      test('that says no more HealthCheck: declared dead', async (t) => {
        if (!hasStack(t, stack)) return;
        const relay = new TestRelay(t, { in: listening() }, fastClock(8));
        const near = await startNear(t, stack, 'takserver', await relay.port('in'), { 'health-ms': 200 });
        await near.waitFor({ at: 'health', answer: 'SERVING' });
        near.send({ do: 'health' });
        await relay.ending('idle_timeout');
        await near.waitFor({ at: 'disconnected' });
      });

      test('a hub that is linked to us already reads that from our answer', async (t) => {
        if (!hasStack(t, stack)) return;
        const relay = new TestRelay(t, { in: listening() });
        const port = await relay.port('in');
        const { id } = relay.identity;
        const near = await startNear(t, stack, 'fedhub', port, { linked: `other,${id}` });
        await near.waitFor({ at: 'duplicate', serverId: id });
        const next = await startNear(t, stack, 'fedhub', port);
        await next.waitFor(UP);
        assert.deepEqual(next.violations(), []);
      });
    });
  }
});
