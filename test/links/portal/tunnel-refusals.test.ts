import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import { describe, type TestContext, test } from 'node:test';
import type { NodeRequest } from '../../../src/core/node.ts';
import { ManualClock } from '../../../src/lib/clock.ts';
import { tunnelsSchema } from '../../../src/links/portal/tunnel-config.ts';
import { MAX_NAMELESS, MAX_TOKENS, TOKEN_LIFE_MS } from '../../../src/links/portal/tunnel-limits.ts';
import { openSplice, spliceRequest } from '../../../src/links/portal/tunnel-opening.ts';
import { TunnelQuota } from '../../../src/links/portal/tunnel-quota.ts';
import { TokenTable } from '../../../src/links/portal/tunnel-tokens.ts';
import { askRequest, offerRequest } from '../../../src/links/portal/tunnel-words.ts';
import { parseAddress } from '../../../src/links/stream.ts';
import { FRAME, portalFrame } from '../../../src/wire/portal.ts';
import { readResponse, requestBody } from '../../../src/wire/portal-bodies.ts';
import { Box, gone, trio, until } from './tunnel-boxes.ts';

const never = new AbortController().signal;

/** Asks a hub for a tunnel and returns what it says. */
async function ask(from: Box, hub: Box, question: { to?: string; target: string } | NodeRequest) {
  const request = 'method' in question ? question : askRequest(question);
  const { status, body } = await from.call(hub.name, request);
  return { status, ...(JSON.parse(body.toString()) as { token?: string; code?: string; detail?: string }) };
}

async function refused(from: Box, hub: Box, question: { to?: string; target: string } | NodeRequest) {
  const { status, code, detail } = await ask(from, hub, question);
  assert.ok(code && detail, 'a refusal has a code and words');
  return { status, code };
}

describe('a hub refuses, with reasons', () => {
  test('what it does not know, what is away, what leads back', async (t) => {
    const { a, b, hub } = await trio(t);
    assert.deepEqual(await refused(a, hub, { to: 'nobody', target: 'portal' }), { status: 404, code: 'unknown_peer' });
    assert.deepEqual(await refused(a, hub, { to: 'a', target: 'portal' }), { status: 403, code: 'loop' });
    b.hangUp(hub);
    assert.deepEqual(await refused(a, hub, { to: 'b', target: 'portal' }), { status: 502, code: 'peer_away' });
    assert.deepEqual(hub.tunnels.status().hub?.refused, { unknown_peer: 1, loop: 1, peer_away: 1 });
    assert.match((await hub.refusal('unknown_peer')).words, /nobody/);
  });

  test('what was passed on to it by another relay: hubs make no chains', async (t) => {
    const { a, b, hub } = await trio(t);
    const passedOn = { ...askRequest({ to: 'b', target: 'portal' }), hops: 1 };
    assert.deepEqual(await refused(a, hub, passedOn), { status: 508, code: 'loop' });
    const offer = { ...offerRequest({ from: 'a', target: 'portal', token: 'A'.repeat(43) }), hops: 1 };
    assert.deepEqual(await refused(hub, b, offer), { status: 508, code: 'loop' });
  });

  test('a hub reached through another hub: no chain there either', async (t) => {
    const { a, b, hub } = await trio(t);
    const far = await Box.start(t, 'far', { hub: true });
    far.dial(a); // connected, but not dialled directly from here
    b.dial(far);
    await assert.rejects(a.tunnels.path('far', 'b').open(never), { code: 'hub_away' });
    // And b does not dial back to a hub that it did not dial.
    hub.hangUp(b);
    hub.dial(b);
    assert.deepEqual(await refused(a, hub, { to: 'b', target: 'portal' }), { status: 409, code: 'no_way_back' });
  });

  test('everything, when it is no hub', async (t) => {
    const { a, hub } = await trio(t, { hub: { hub: false } });
    assert.deepEqual(await refused(a, hub, { to: 'b', target: 'portal' }), { status: 404, code: 'not_a_hub' });
    assert.deepEqual(hub.tunnels.limitsFor('a'), []);
  });

  test('whom its rules do not let through, whether it exists or not', async (t) => {
    const { a, b, hub } = await trio(t, { hub: { tunnels: { allow: [{ from: ['b'], to: ['*'] }] } } });
    b.know(a);
    assert.deepEqual(await refused(a, hub, { to: 'b', target: 'portal' }), { status: 403, code: 'not_allowed' });
    assert.deepEqual(await refused(a, hub, { to: 'nobody', target: 'portal' }), { status: 403, code: 'not_allowed' });
    assert.equal((await ask(b, hub, { to: 'a', target: 'portal' })).status, 200);
  });

  test('whom the callee does not let in, in the callee’s words', async (t) => {
    const { a, b, hub } = await trio(t, { b: { tunnels: { accept_from: ['c'] } } });
    assert.deepEqual(await refused(a, hub, { to: 'b', target: 'portal' }), { status: 403, code: 'not_allowed' });
    assert.match((await ask(a, hub, { to: 'b', target: 'portal' })).detail!, /may not come here/);
    const stranger = await Box.start(t, 'stranger');
    stranger.dial(hub);
    assert.deepEqual(await refused(stranger, hub, { to: 'b', target: 'portal' }), {
      status: 404,
      code: 'unknown_peer',
    });
    assert.equal((await b.refusal('unknown_peer')).code, 'unknown_peer');
    assert.equal(hub.tunnels.status().hub?.open, 0);
  });

  test('what is no question', async (t) => {
    const { a, hub } = await trio(t);
    const base = askRequest({ to: 'b', target: 'portal' });
    const bodies = ['', '{', '[]', '{"to":"b"}', '{"to":"b","target":"../x"}', '{"to":"b","target":"x","more":1}'];
    bodies.push(`{"to":"b","target":"${'x'.repeat(33)}"}`, JSON.stringify({ to: 'x'.repeat(2000), target: 'portal' }));
    for (const body of bodies) {
      const question = { ...base, body: Buffer.from(body) };
      assert.deepEqual(await refused(a, hub, question), { status: 400, code: 'bad_request' }, body);
    }
    assert.equal(hub.tunnels.handle({ ...base, method: 'GET' }, { name: 'a', link: 'portal' }, never), undefined);
    assert.equal(hub.tunnels.handle({ ...base, path: '/hub' }, { name: 'a', link: 'portal' }, never), undefined);
  });

  test('more tunnels than a peer may have; another peer is not hurt', async (t) => {
    const { a, b, hub } = await trio(t, { hub: { tunnels: { max_per_peer: 2 } } });
    b.know(a);
    const open: Socket[] = [];
    for (let count = 0; count < 2; count++) open.push(await a.tunnels.path('hub', 'b').open(never));
    assert.deepEqual(await refused(a, hub, { to: 'b', target: 'portal' }), { status: 429, code: 'tunnel_limit' });
    assert.equal((await ask(b, hub, { to: 'a', target: 'portal' })).status, 200);
    open[0]!.resetAndDestroy();
    await until('a place', () => hub.tunnels.status().hub?.ended.broken === 1);
    open.push(await a.tunnels.path('hub', 'b').open(never));
    for (const socket of open) socket.destroy();
  });

  test('no new tunnel for the sake of one that is dead: a silent one between the same two gives way', async (t) => {
    const clock = new ManualClock();
    const { a, b, hub } = await trio(t, { hub: { clock, tunnels: { max_per_peer: 2 } } });
    const [dead, live] = [await a.tunnels.path('hub', 'b').open(never), await a.tunnels.path('hub', 'b').open(never)];
    clock.advance(59_000);
    assert.deepEqual(await refused(a, hub, { to: 'b', target: 'portal' }), { status: 429, code: 'tunnel_limit' });
    live.write('x');
    await until('b to hear', () => b.accepted[1]?.socket.read());
    clock.advance(1_000);
    const fresh = await a.tunnels.path('hub', 'b').open(never);
    await gone(dead);
    assert.equal(hub.tunnels.status().hub?.ended.superseded, 1);
    for (const socket of [live, fresh]) {
      assert.ok(!socket.destroyed);
      socket.destroy();
    }
  });

  test('more bytes than a peer may pass in a day', async (t) => {
    const { a, b, hub } = await trio(t, { hub: { tunnels: { bytes_per_day: 100_000 } } });
    const raw = await a.tunnels.path('hub', 'b').open(never);
    const { socket } = await until('the other side', () => b.accepted[0]);
    const ended = gone(socket);
    raw.write(Buffer.alloc(200_000));
    await ended;
    assert.equal(hub.tunnels.status().hub?.ended.byte_limit, 1);
    assert.deepEqual(await refused(a, hub, { to: 'b', target: 'portal' }), { status: 429, code: 'byte_limit' });
  });

  test('a callee that does not answer', async (t) => {
    const clock = new ManualClock();
    const { a, b, hub } = await trio(t, { hub: { clock } });
    let asked = 0;
    hub.call = (_peer, _request, signal) => {
      asked++;
      return new Promise((resolve) => {
        signal?.addEventListener('abort', () =>
          resolve({ status: 499, headers: {}, body: Buffer.from('{"code":"given_up","detail":"gone"}') }),
        );
      });
    };
    const answer = refused(a, hub, { to: b.name, target: 'portal' });
    await until('the offer', () => asked === 1);
    clock.advance(10_000);
    assert.deepEqual(await answer, { status: 504, code: 'no_answer' });
    assert.deepEqual(hub.doubted, ['b']);
    assert.equal(hub.tunnels.status().hub?.open, 0);
  });

  test('its limits are told to a peer when it joins', async (t) => {
    const tunnels = { max_per_peer: 3, bytes_per_day: 1_000_000, bytes_per_second: 9_000 };
    const { hub } = await trio(t, { hub: { tunnels } });
    assert.deepEqual(hub.tunnels.limitsFor('a'), [
      { name: 'tunnels', value: 3 },
      { name: 'tunnel_bytes', value: 1_000_000 },
      { name: 'tunnel_rate', value: 9_000 },
    ]);
  });
});

/** What a hub answers to these bytes on a connection of their own; undefined: it hung up without a word. */
async function splice(t: TestContext, hub: Box, bytes: Buffer): Promise<{ status: number; code?: string } | undefined> {
  const socket = connect(parseAddress(hub.address)!);
  t.after(() => socket.destroy());
  const chunks: Buffer[] = [];
  socket.on('data', (chunk) => chunks.push(chunk));
  socket.on('error', () => {});
  socket.write(bytes);
  await gone(socket);
  const answer = Buffer.concat(chunks);
  if (answer.length === 0) return undefined;
  const { status, body } = readResponse(answer.subarray(11));
  return { status, ...(body.length > 0 ? { code: (JSON.parse(body.toString()) as { code: string }).code } : {}) };
}

describe('tokens', () => {
  test('are good once', async (t) => {
    const { a, b, hub } = await trio(t);
    const { token } = await ask(a, hub, { to: 'b', target: 'portal' });
    const socket = await openSplice(parseAddress(hub.address)!, token!, a.context, never);
    await until('the other side', () => b.accepted[0]);
    assert.deepEqual(await splice(t, hub, spliceRequest(token!)), { status: 410, code: 'token_used' });
    const again = openSplice(parseAddress(hub.address)!, token!, a.context, never);
    await assert.rejects(again, { name: 'LinkError', code: 'token_used' });
    assert.equal((await hub.refusal('token_used')).code, 'token_used');
    assert.ok(!socket.destroyed, 'the tunnel is not harmed');
  });

  test('cannot be guessed, nor shortened, nor lengthened', async (t) => {
    const { a, hub } = await trio(t);
    const { token } = await ask(a, hub, { to: 'b', target: 'portal' });
    const last = token!.at(-1)!;
    const guesses = ['A'.repeat(43), `${token!.slice(0, 42)}${last === 'A' ? 'B' : 'A'}`, token!.toLowerCase()];
    for (const guess of guesses) {
      if (guess === token) continue;
      assert.deepEqual(await splice(t, hub, spliceRequest(guess)), { status: 404, code: 'token_unknown' }, guess);
    }
    assert.equal(await splice(t, hub, spliceRequest(token!.slice(1))), undefined);
    assert.equal(await splice(t, hub, spliceRequest(`${token}A`)), undefined);
    assert.equal((await hub.refusal('splice_request')).code, 'splice_request');
  });

  test('expire, and whoever came early is told that the other side did not', async (t) => {
    const clock = new ManualClock();
    const { a, b, hub } = await trio(t, { hub: { clock } });
    const { token } = await ask(a, hub, { to: 'b', target: 'portal' });
    await until('b at the hub', () => hub.tunnels.status().hub?.open === 1);
    clock.advance(TOKEN_LIFE_MS);
    assert.deepEqual(await splice(t, hub, spliceRequest(token!)), { status: 410, code: 'token_expired' });
    assert.equal(b.accepted.length, 0);
    await until('the end', () => hub.tunnels.status().hub?.open === 0);
    assert.deepEqual(hub.tunnels.status().hub?.ended, {}, 'it never was a splice');
  });

  test('of the two sides differ, and one does not open the other’s door', async (t) => {
    const { a, b, hub } = await trio(t);
    let calleeToken = '';
    b.intercept = ({ body }) => {
      calleeToken = (JSON.parse(body.toString()) as { token: string }).token;
      return { status: 200, headers: {}, body: Buffer.from('{}') };
    };
    const { token } = await ask(a, hub, { to: 'b', target: 'portal' });
    assert.notEqual(token, calleeToken);
    assert.match(token!, /^[A-Za-z0-9_-]{43}$/);
  });

  test('are bounded in number, and are gone when the table is cleared', () => {
    const clock = new ManualClock();
    let expired = 0;
    const table = new TokenTable<number>(clock, () => expired++);
    const tokens = Array.from({ length: MAX_TOKENS }, (_, index) => table.mint(index)!);
    assert.equal(new Set(tokens).size, MAX_TOKENS);
    assert.equal(table.mint(0), undefined);
    assert.equal(table.redeem('x'), 'token_unknown');
    assert.deepEqual((table.redeem(tokens[7]!) as { holder: number }).holder, 7);
    assert.equal(table.redeem(tokens[7]!), 'token_used');
    table.revoke(tokens[8]!);
    assert.equal(table.redeem(tokens[8]!), 'token_expired');
    clock.advance(TOKEN_LIFE_MS);
    assert.equal(expired, MAX_TOKENS - 2);
    assert.equal(table.redeem(tokens[9]!), 'token_expired');
    assert.equal(table.size, 0);
    table.mint(1);
    table.clear();
    clock.advance(TOKEN_LIFE_MS);
    assert.equal(expired, MAX_TOKENS - 2);
  });
});

describe('a splice connection', () => {
  const request = (over: object) =>
    portalFrame(
      FRAME.request,
      requestBody({
        id: 1,
        method: 'SPLICE',
        path: `/splice/${'A'.repeat(43)}`,
        headers: {},
        body: Buffer.alloc(0),
        hops: 0,
        ...over,
      }),
    );

  test('can ask for nothing else in clear', async (t) => {
    const { hub } = await trio(t);
    const wrong: Record<string, Buffer> = {
      method: request({ method: 'CALL' }),
      path: request({ path: '/health' }),
      ping: portalFrame(FRAME.ping),
      answer: portalFrame(FRAME.answer, Buffer.alloc(32)),
      'too long': request({ body: Buffer.alloc(250) }),
      garbage: Buffer.from('PUT / HTTP/1.1\r\n\r\n'),
      'no protobuf': portalFrame(FRAME.request, Buffer.from([0xff, 0xff, 0xff])),
    };
    for (const [what, bytes] of Object.entries(wrong)) {
      assert.equal(await splice(t, hub, bytes), undefined, what);
    }
    assert.equal(hub.refused.length, Object.keys(wrong).length);
    assert.ok(hub.refused.every(({ trouble }) => trouble.code !== 'internal_error'));
  });

  test('may come in pieces', async (t) => {
    const { a, b, hub } = await trio(t);
    const { token } = await ask(a, hub, { to: 'b', target: 'portal' });
    const socket = connect({ ...parseAddress(hub.address)!, noDelay: true });
    t.after(() => socket.destroy());
    for (const byte of spliceRequest(token!)) {
      socket.write(Buffer.from([byte]));
      await new Promise((resolve) => setImmediate(resolve));
    }
    await until('the tunnel', () => b.accepted[0]);
  });

  test('may send on before it is answered, and nothing is lost', async (t) => {
    const { a, b, hub } = await trio(t);
    const { token } = await ask(a, hub, { to: 'b', target: 'portal' });
    const socket = connect(parseAddress(hub.address)!);
    t.after(() => socket.destroy());
    socket.write(Buffer.concat([spliceRequest(token!), Buffer.from('first words')]));
    const { socket: atB } = await until('the tunnel', () => b.accepted[0]);
    let said = '';
    atB.on('data', (chunk) => {
      said += chunk;
    });
    await until('the first words', () => said === 'first words');
  });

  test('that names no token is closed after its deadline, and when too many do so', async (t) => {
    const clock = new ManualClock();
    const { hub } = await trio(t, { hub: { clock } });
    const lazy = connect(parseAddress(hub.address)!);
    t.after(() => lazy.destroy());
    lazy.write('P');
    const closed = gone(lazy);
    const ticking = setInterval(() => clock.advance(200), 10); // from whenever the hub has met it
    await closed;
    clearInterval(ticking);
    await hub.refusal('splice_timeout');
    const crowd: Socket[] = [];
    for (let count = 0; count <= MAX_NAMELESS; count++) {
      const one = connect(parseAddress(hub.address)!);
      t.after(() => one.destroy());
      one.on('error', () => {});
      crowd.push(one);
      one.write('P');
      await new Promise((resolve) => one.once('connect', resolve));
    }
    await Promise.race(crowd.map(gone));
  });

  test('that leaves while it waits ends the tunnel', async (t) => {
    const { a, b, hub } = await trio(t);
    b.intercept = () => ({ status: 200, headers: {}, body: Buffer.from('{}') });
    const { token } = await ask(a, hub, { to: 'b', target: 'portal' });
    const socket = connect(parseAddress(hub.address)!);
    socket.write(spliceRequest(token!));
    await new Promise((resolve) => setTimeout(resolve, 50));
    socket.resetAndDestroy();
    await until('the end', () => hub.tunnels.status().hub?.open === 0);
  });
});

describe('a quota', () => {
  const limits = tunnelsSchema.parse({ max_per_peer: 1, bytes_per_day: 1_000_000, bytes_per_second: 10_000 });

  test('counts tunnels', () => {
    const quota = new TunnelQuota(limits, new ManualClock());
    assert.equal(quota.begin(), undefined);
    assert.equal(quota.begin()?.code, 'tunnel_limit');
    quota.end();
    assert.equal(quota.begin(), undefined);
  });

  test('paces', () => {
    const clock = new ManualClock();
    const quota = new TunnelQuota(limits, clock);
    assert.equal(quota.spend(65_536), 0, 'one read passes at once');
    assert.equal(quota.spend(20_000), 2_000);
    clock.advance(2_000);
    assert.equal(quota.spend(0), 0);
  });

  test('renews a day after its first byte', () => {
    const clock = new ManualClock();
    const quota = new TunnelQuota(limits, clock);
    assert.notEqual(quota.spend(999_999), undefined);
    assert.equal(quota.spend(1), undefined);
    assert.match(quota.begin()?.words ?? '', /within 24 h/);
    clock.advance(24 * 3_600_000);
    assert.equal(quota.begin(), undefined);
    assert.notEqual(quota.spend(1), undefined);
  });
});
