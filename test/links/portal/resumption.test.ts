// Beginning TLS again without certificates: who may, for how long, and what happens when one side has forgotten.
import assert from 'node:assert/strict';
import { connect, createServer, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { ManualClock } from '../../../src/lib/clock.ts';
import { LinkError } from '../../../src/lib/errors.ts';
import { RESUME_MS } from '../../../src/links/portal/limits.ts';
import { Resumptions } from '../../../src/links/portal/resumption.ts';
import { type Secured, Securer } from '../../../src/links/portal/secure.ts';
import { identityOf, pinOf } from './rig.ts';

const clock = new ManualClock();
const patience = { clock, signal: new AbortController().signal, ms: 60_000 };

function side(name: string) {
  const resumptions = new Resumptions(clock);
  return { resumptions, securer: new Securer(identityOf(name).portal(), resumptions), pin: pinOf(name) };
}

type Side = ReturnType<typeof side>;

/** Two ends of a TCP connection. */
async function wires(t: TestContext): Promise<readonly [Socket, Socket]> {
  const server = createServer({ noDelay: true });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const accepted = new Promise<Socket>((done) => server.once('connection', done));
  const near = connect((server.address() as { port: number }).port, '127.0.0.1');
  const far = await accepted;
  t.after(() => {
    near.destroy();
    far.destroy();
    server.close();
  });
  return [near, far];
}

interface Session {
  readonly client: Secured;
  readonly server: Secured;
  /** Bytes both ways. */
  readonly bytes: number;
}

async function session(t: TestContext, client: Side, server: Side, expected = server.pin): Promise<Session> {
  const [near, far] = await wires(t);
  const dialled = client.securer.asClient(near, expected, 'there', patience);
  const accepted = server.securer.asServer(far, 'here', patience);
  accepted.catch(() => {});
  const [a, b] = [await dialled, await accepted];
  client.securer.learn(a, 'client');
  server.securer.learn(b, 'server');
  return { client: a, server: b, bytes: near.bytesWritten + near.bytesRead };
}

test('the second session needs no certificates, and each knows who the other is all the same', async (t) => {
  const [a, b] = [side('a'), side('b')];
  const first = await session(t, a, b);
  assert.deepEqual([first.client.used, first.server.used], [undefined, undefined]);
  for (let n = 0; n < 3; n++) {
    const next = await session(t, a, b);
    assert.deepEqual([next.client.pin, next.server.pin], [b.pin, a.pin]);
    assert.ok(next.client.used && next.client.used.identity === next.server.used?.identity);
    assert.equal(next.client.socket.getPeerX509Certificate(), undefined);
    assert.equal(next.client.socket.getEphemeralKeyInfo() !== null, true, 'with a key exchange of its own');
    assert.ok(next.bytes < 700 && first.bytes > 1_500, `${first.bytes}, then ${next.bytes}`);
  }
});

test('the other side may dial next, with a key that is not the one we would dial with', async (t) => {
  const [a, b] = [side('a'), side('b')];
  await session(t, a, b);
  const [ours, theirs] = [a.resumptions.forDialling(b.pin)!, b.resumptions.forDialling(a.pin)!];
  assert.notEqual(ours.identity, theirs.identity);
  assert.notDeepEqual(ours.psk, theirs.psk);
  assert.equal(a.resumptions.named(ours.identity), undefined, 'nobody can lead a relay to itself');
  assert.ok((await session(t, b, a)).server.used);
});

test('a side that has forgotten is shown certificates, in the same handshake', async (t) => {
  const a = side('a');
  await session(t, a, side('b'));
  const restarted = await session(t, a, side('b'));
  assert.deepEqual([restarted.client.used, restarted.server.used], [undefined, undefined]);
  assert.equal(restarted.server.pin, a.pin);
});

test('forgotten with its pin, and a week after certificates were last shown', async (t) => {
  const [a, b] = [side('a'), side('b')];
  await session(t, a, b);
  b.resumptions.forget(a.pin);
  assert.equal((await session(t, a, b)).server.used, undefined);
  assert.ok((await session(t, a, b)).server.used);
  clock.advance(RESUME_MS - 1_000);
  const late = await session(t, a, b);
  assert.ok(late.server.used);
  clock.advance(1_000);
  assert.equal(a.resumptions.forDialling(b.pin), undefined, 'sessions in between do not prolong it');
  assert.equal((await session(t, a, b)).server.used, undefined);
});

test('a key that was named but is another fails, and the next handshake shows certificates', async (t) => {
  const [a, b] = [side('a'), side('b')];
  await session(t, a, b);
  a.resumptions.forDialling(b.pin)!.psk.fill(0);
  await assert.rejects(session(t, a, b), LinkError);
  assert.equal((await session(t, a, b)).server.used, undefined);
});

test('keys that were never used are not piled up', async (t) => {
  const [a, b] = [side('a'), side('b')];
  await session(t, a, b);
  const names: string[] = [];
  for (let n = 0; n < 8; n++) {
    await session(t, a, b);
    names.push(a.resumptions.forDialling(b.pin)!.identity);
  }
  assert.equal(names.filter((name) => b.resumptions.named(name)).length, 4, 'the last four');
});

test('the wrong server is refused before a word is said to it', async (t) => {
  const [a, b] = [side('a'), side('b')];
  await assert.rejects(
    session(t, a, b, pinOf('c')),
    (error) => error instanceof LinkError && error.code === 'not_pinned',
  );
});
