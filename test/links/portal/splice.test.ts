import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { type Clock, ManualClock, systemClock } from '../../../src/lib/clock.ts';
import { Splice, type SpliceEnd } from '../../../src/links/portal/splice.ts';
import { changed, until } from '../memory.ts';

/** Two ends of one TCP connection. */
async function pair(t: TestContext): Promise<[ours: Socket, theirs: Socket]> {
  const server = createServer({ allowHalfOpen: true });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const accepted = once(server, 'connection');
  const { port } = server.address() as { port: number };
  const ours = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  await once(ours, 'connect');
  const [theirs] = (await accepted) as [Socket];
  server.close();
  for (const socket of [ours, theirs]) {
    socket.on('error', () => {});
    t.after(() => socket.destroy());
  }
  return [ours, theirs];
}

interface Joined {
  readonly a: Socket;
  readonly b: Socket;
  readonly splice: Splice;
  readonly ends: readonly { readonly end: SpliceEnd; readonly bytes: number }[];
  end(): Promise<SpliceEnd>;
}

interface Options {
  readonly clock?: Clock;
  readonly spend?: (bytes: number) => number | undefined;
}

/** a and b, joined by a splice in between. */
async function joined(t: TestContext, { clock = systemClock, spend = () => 0 }: Options = {}): Promise<Joined> {
  const [a, left] = await pair(t);
  const [b, right] = await pair(t);
  const ends: { end: SpliceEnd; bytes: number }[] = [];
  const splice = new Splice(left, right, {
    clock,
    idleMs: 60_000,
    lingerMs: 40_000,
    stallMs: 20_000,
    spend,
    onEnd(end, bytes) {
      ends.push({ end, bytes });
      changed();
    },
  });
  splice.begin();
  t.after(() => splice.close('shutdown'));
  return { a, b, splice, ends, end: () => until('an end', () => ends[0]?.end) };
}

/** Everything a socket says until its end. */
async function hear(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function trickle(socket: Socket): () => number {
  let count = 0;
  socket.on('data', (chunk: Buffer) => {
    count += chunk.length;
    changed();
  });
  return () => count;
}

/** The far end has hung up, politely or not. */
function gone(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    for (const event of ['end', 'close']) socket.once(event, () => resolve());
    socket.resume();
  });
}

/** Turns of the event loop, enough for loopback to carry what it can. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setTimeout(resolve, 2));
}

test('bytes pass both ways, unchanged, and both ends finish it', async (t) => {
  const { a, b, ends, end } = await joined(t);
  const [there, back] = [randomBytes(3_000_000), randomBytes(1_000_001)];
  const heard = Promise.all([hear(b), hear(a)]);
  a.end(there);
  b.end(back);
  const [atB, atA] = await heard;
  assert.equal(Buffer.compare(atB, there), 0);
  assert.equal(Buffer.compare(atA, back), 0);
  assert.equal(await end(), 'finished');
  assert.deepEqual(ends, [{ end: 'finished', bytes: there.length + back.length }]);
});

test('one side may stop speaking and still listen', async (t) => {
  const { a, b, ends, end } = await joined(t);
  const question = hear(b);
  a.end('question');
  assert.equal(String(await question), 'question');
  await settle();
  assert.deepEqual(ends, [], 'not over: b has not ended');
  const answer = hear(a);
  b.end('answer, after a said it is done');
  assert.equal(String(await answer), 'answer, after a said it is done');
  assert.equal(await end(), 'finished');
});

test('a side that does not read stops the other, which loses nothing', async (t) => {
  const { a, b } = await joined(t);
  b.pause();
  const block = Buffer.alloc(1 << 20, 7);
  let accepted = 0;
  const total = 256;
  let blocked = 0;
  const fill = () => {
    while (accepted < total) {
      accepted++;
      if (!a.write(block)) return;
    }
  };
  a.on('drain', () => {
    blocked = 0;
    fill();
  });
  fill();
  // Kernel buffers of three sockets hold some MB; the splice must not take the rest.
  for (let still = -1; still !== accepted && blocked < 20; blocked++) {
    still = accepted;
    await settle();
  }
  assert.ok(accepted < total / 2, `${accepted} of ${total} MB were taken although nobody reads`);
  const got = trickle(b);
  b.resume();
  await until('all of it', () => got() === total * block.length);
});

test('a side that never reads again is cut off as stalled, though the other way is in use', async (t) => {
  const clock = new ManualClock();
  const { a, b, ends, end } = await joined(t, { clock });
  b.pause();
  a.write(Buffer.alloc(64 << 20));
  await settle();
  const atA = trickle(a);
  for (let second = 0; second < 19; second++) {
    b.write('x');
    await until('a byte the other way', () => atA() === second + 1);
    clock.advance(1_000);
  }
  assert.deepEqual(ends, []);
  clock.advance(10_000);
  assert.equal(await end(), 'stalled');
  await gone(a);
});

test('silence ends it, a byte keeps it', async (t) => {
  const clock = new ManualClock();
  const { a, b, ends, end } = await joined(t, { clock });
  const atB = trickle(b);
  clock.advance(50_000);
  a.write('x');
  await until('the byte', () => atB() === 1);
  clock.advance(50_000);
  assert.deepEqual(ends, []);
  clock.advance(30_000);
  assert.equal(await end(), 'idle');
  await gone(b);
});

test('half of it alone is kept for less long', async (t) => {
  const clock = new ManualClock();
  const { a, b, ends, end } = await joined(t, { clock });
  a.end();
  await gone(b);
  clock.advance(35_000);
  assert.deepEqual(ends, []);
  clock.advance(15_000);
  assert.equal(await end(), 'idle');
});

test('one side breaking ends the other', async (t) => {
  const { a, b, end } = await joined(t);
  const closed = gone(b);
  a.resetAndDestroy();
  assert.equal(await end(), 'broken');
  await closed;
});

test('a side that hangs up without hearing the other out breaks it', async (t) => {
  const { a, b, end } = await joined(t);
  a.destroy();
  b.write(Buffer.alloc(1 << 20));
  b.resume();
  assert.equal(await end(), 'broken');
});

test('the meter pauses reading, and ends it when all is used up', async (t) => {
  const clock = new ManualClock();
  let budget = 200_000;
  const spend = (bytes: number) => {
    budget -= bytes;
    return budget > 0 ? 1_000 : undefined;
  };
  const { a, b, ends, end } = await joined(t, { clock, spend });
  const atB = trickle(b);
  a.write(Buffer.alloc(400_000));
  await until('the first read', () => atB() > 0);
  await settle();
  const first = atB();
  assert.ok(first <= 131_072, `${first} bytes passed in one go`);
  assert.equal(ends.length, 0);
  clock.advance(1_000);
  await until('another read', () => atB() > first);
  for (let second = 0; second < 60 && ends.length === 0; second++) {
    clock.advance(1_000);
    await settle();
  }
  assert.equal(await end(), 'byte_limit');
  assert.ok(ends[0]!.bytes < 400_000);
});

test('closing it closes both sockets, once', async (t) => {
  const { a, b, splice, ends } = await joined(t);
  const closed = Promise.all([gone(a), gone(b)]);
  splice.close('shutdown');
  splice.close('idle');
  a.end();
  b.end();
  await closed;
  assert.deepEqual(ends, [{ end: 'shutdown', bytes: 0 }]);
});

test('a socket that is closed already ends it', async (t) => {
  const [a, left] = await pair(t);
  const [, right] = await pair(t);
  a.destroy();
  left.destroy();
  await once(left, 'close');
  const ended = new Promise<SpliceEnd>((resolve) => {
    new Splice(left, right, {
      clock: systemClock,
      idleMs: 1_000,
      lingerMs: 1_000,
      stallMs: 1_000,
      spend: () => 0,
      onEnd: resolve,
    }).begin();
  });
  assert.equal(await ended, 'broken');
});
