// Whatever comes over a v1 connection: lies about lengths, noise, messages that never end, readers that do not read. The
// connection may suffer, nobody else does, and what it can make us hold is bounded.
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { connect, type TLSSocket } from 'node:tls';
import { type Clock, ManualClock, systemClock } from '../../../src/lib/clock.ts';
import { fed1Kind } from '../../../src/links/fed1/index.ts';
import { STALLED_FRAME_MS, WRITE_TIMEOUT_MS } from '../../../src/links/fed1/limits.ts';
import { scanCot } from '../../../src/wire/cot.ts';
import { federatedFromXml } from '../../../src/wire/federation-xml.ts';
import { testIdentity } from '../../support/pki.ts';
import { sampleEvent, sendUntilFull } from '../contract.ts';
import { changed, type RunningLink, runLink, until } from '../memory.ts';
import { said } from './rig.ts';

const [east, west] = [testIdentity('east'), testIdentity('west')];

function listening(t: TestContext, keys: object = {}, clock: Clock = systemClock): RunningLink {
  const link = fed1Kind.create(fed1Kind.schema.parse({ listen: '127.0.0.1:0', ...keys }));
  return runLink(t, link, { identity: east, trust: west.trust, clock });
}

/** A federate that says just what the test says. */
async function federate(t: TestContext, running: RunningLink): Promise<TLSSocket> {
  const { certPem, keyPem } = west.federation();
  const socket = connect({
    port: await running.port(),
    host: '127.0.0.1',
    cert: certPem,
    key: keyPem,
    rejectUnauthorized: false,
  });
  socket.on('error', () => {});
  socket.on('close', changed);
  t.after(() => socket.destroy());
  await new Promise((resolve) => socket.once('secureConnect', resolve));
  return socket;
}

function framed(body: Buffer, length = body.length): Buffer {
  const head = Buffer.alloc(4);
  head.writeUInt32BE(length);
  return Buffer.concat([head, body]);
}

function event(uid: string): Buffer {
  const xml = Buffer.from(said(uid));
  return framed(federatedFromXml(xml, scanCot(xml)));
}

const BROKEN = framed(Buffer.from('0aff', 'hex'));

describe('fed1 under attack', { timeout: 60_000 }, () => {
  test('a message split at every byte, and many in one chunk, arrive whole', async (t) => {
    const running = listening(t);
    const socket = await federate(t, running);
    const session = await running.hub.session();
    const bytes = event('split');
    for (let at = 0; at < bytes.length; at += 7) {
      socket.write(bytes.subarray(at, at + 7));
      await new Promise((resolve) => setImmediate(resolve));
    }
    socket.write(Buffer.concat([event('one'), event('two'), event('three')]));
    await session.event('three');
    assert.deepEqual(session.uids, ['split', 'one', 'two', 'three']);
  });

  test('empty messages mean nothing', async (t) => {
    const running = listening(t);
    const socket = await federate(t, running);
    const session = await running.hub.session();
    socket.write(Buffer.concat([Buffer.alloc(4 * 1_000), event('after')]));
    await session.event('after');
    assert.deepEqual(session.refused, {});
  });

  test('a message too large is counted and passed over, the next one is taken', async (t) => {
    const running = listening(t, { max_message_bytes: 65_536 });
    const socket = await federate(t, running);
    const session = await running.hub.session();
    socket.write(framed(Buffer.alloc(65_537)));
    socket.write(event('after'));
    await session.event('after');
    assert.deepEqual(session.refused, { too_large: 1 });
  });

  for (const [what, start, words] of [
    ['an absurd length', Buffer.from('ffffffff', 'hex'), /4294967295 bytes was announced$/],
    ['HTTP/2, which is v2', Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), /Federation v2/],
    ['HTTP', Buffer.from('GET / HTTP/1.1\r\n\r\n'), /this is HTTP/],
    ['CoT XML', Buffer.from('<event version="2.0"/>'), /CoT stream/],
  ] as const) {
    test(`${what} ends the connection, in words, and no other`, async (t) => {
      const running = listening(t);
      const socket = await federate(t, running);
      const session = await running.hub.session();
      socket.write(start);
      const { reason, cause } = await session.closing();
      assert.equal(reason, 'protocol_error');
      assert.match(cause!.message, words);
      const other = await federate(t, running);
      other.write(event('other'));
      await (await running.hub.session(1)).event('other');
    });
  }

  test('broken messages are counted one by one; ten in a row end the connection', async (t) => {
    const running = listening(t);
    const socket = await federate(t, running);
    const session = await running.hub.session();
    for (let n = 0; n < 9; n++) socket.write(BROKEN);
    socket.write(event('good'));
    await session.event('good');
    assert.equal(session.refused.malformed, 9);
    for (let n = 0; n < 10; n++) socket.write(BROKEN);
    socket.write(event('too late'));
    assert.equal((await session.closing()).reason, 'protocol_error');
    assert.deepEqual(session.uids, ['good']);
  });

  test('a FreeTAKServer that has lost its step is not waited for', async (t) => {
    const running = listening(t, { profile: 'freetakserver' });
    const socket = await federate(t, running);
    const session = await running.hub.session();
    socket.write(framed(Buffer.alloc(0), (1 << 20) + 1));
    assert.equal((await session.closing()).reason, 'protocol_error');
    const again = await federate(t, running);
    const second = await running.hub.session(1);
    again.write(Buffer.concat([BROKEN, BROKEN, BROKEN]));
    assert.equal((await second.closing()).reason, 'protocol_error');
  });

  test('a length that lies costs only what was sent, and a message that stops coming ends the connection', async (t) => {
    const clock = new ManualClock(Date.now());
    const running = listening(t, {}, clock);
    const socket = await federate(t, running);
    const session = await running.hub.session();
    const before = process.memoryUsage().arrayBuffers;
    const begun = (uid: string) => Buffer.concat([event(uid), framed(Buffer.alloc(10_000), 2 << 20)]);
    socket.write(begun('one'));
    await session.event('one');
    assert.ok(process.memoryUsage().arrayBuffers - before < 1 << 20, 'not what was announced');
    clock.advance(STALLED_FRAME_MS / 2);
    // It goes on: the rest comes, and another is begun.
    socket.write(Buffer.concat([Buffer.alloc((2 << 20) - 10_000), begun('two')]));
    await session.event('two');
    clock.advance(STALLED_FRAME_MS / 2);
    assert.equal(session.closings.length, 0, 'it went on');
    clock.advance(STALLED_FRAME_MS);
    const { reason, cause } = await session.closing();
    assert.equal(reason, 'protocol_error');
    assert.match(cause!.message, /begun and not continued/);
  });

  test('a silent federate is none the worse for it', async (t) => {
    const clock = new ManualClock(Date.now());
    const running = listening(t, {}, clock);
    const socket = await federate(t, running);
    const session = await running.hub.session();
    clock.advance(24 * 3_600_000);
    socket.write(event('next day'));
    await session.event('next day');
  });

  test('one that reads nothing is given up, with what it was not sent', async (t) => {
    const clock = new ManualClock(Date.now());
    const running = listening(t, {}, clock);
    const socket = await federate(t, running);
    socket.pause();
    const session = await running.hub.session();
    const taken = await sendUntilFull(session);
    clock.advance(WRITE_TIMEOUT_MS - 1);
    assert.equal(session.closings.length, 0);
    clock.advance(WRITE_TIMEOUT_MS + 1);
    const { reason, returned = [] } = await session.closing();
    assert.equal(reason, 'write_timeout');
    assert.ok(returned.length > 0 && returned.length <= taken.length);
    assert.equal(session.session.send(sampleEvent('late'), []), false);
  });

  test('strangers, and those without a certificate, are refused before a byte of theirs is read', async (t) => {
    const running = listening(t);
    const stranger = testIdentity('stranger').federation();
    for (const keys of [{ cert: stranger.certPem, key: stranger.keyPem }, {}]) {
      const socket = connect({ port: await running.port(), host: '127.0.0.1', ...keys, rejectUnauthorized: false });
      socket.on('error', () => {});
      socket.on('close', changed);
      socket.once('secureConnect', () => socket.write(event('stranger')));
      await until('the door', () => socket.closed || undefined);
    }
    assert.equal(running.hub.sessions.length, 0);
    assert.deepEqual(running.refusals.map(({ trouble }) => trouble.code).sort(), ['no_certificate', 'unknown_ca']);
  });

  test('noise after good messages harms nobody; what is let through is whole', async (t) => {
    let state = 0x2545f491;
    const random = (below: number) => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
      return (state >>> 8) % below;
    };
    const running = listening(t);
    const good = event('good');
    for (let round = 0; round < 60; round++) {
      const socket = await federate(t, running);
      const session = await running.hub.session(round);
      const bent = Buffer.from(event(`bent-${round}`));
      for (let n = 0; n <= random(6); n++) bent[4 + random(bent.length - 4)] = random(256);
      socket.write(Buffer.concat([good, bent, good]));
      await until(
        'all of it',
        () => session.delivered.length + (session.refused.malformed ?? 0) >= 3 || session.closings.length > 0,
      );
      socket.destroy();
      assert.notEqual((await session.closing()).reason, 'internal_error');
    }
  });
});
