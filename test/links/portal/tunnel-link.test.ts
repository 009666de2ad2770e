// Other links through tunnels: `via:` of what is dialled, on relays that are whole links, over loopback.
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { LinkError } from '../../../src/lib/errors.ts';
import { cotKind } from '../../../src/links/cot/index.ts';
import { fed2Kind } from '../../../src/links/fed2/index.ts';
import type { Link } from '../../../src/links/link.ts';
import { Tunnels, viaSchema } from '../../../src/links/via.ts';
import { trusting } from '../../support/pki.ts';
import { sampleEvent } from '../contract.ts';
import { type RunningLink, runLink, until } from '../memory.ts';
import { addressOf, hurry, identityOf, LISTEN, Line, peer, relay, send } from './rig.ts';

/** Relays a and b, both connected to hubs that are reached by lines; `tunnels` is a's way to b's services. */
async function behindHubs(t: TestContext, hubs: readonly string[], expose: object) {
  hurry(t);
  const tunnels = new Tunnels();
  const lines: Line[] = [];
  const hubPeers: object[] = [];
  const running: RunningLink[] = [];
  for (const name of hubs) {
    const hub = relay(t, name, { listen: LISTEN, hub: true, peers: [peer('a'), peer('b')] });
    const line = await Line.open(t, await hub.port());
    lines.push(line);
    running.push(hub);
    hubPeers.push(peer(name, { address: await addressOf(line) }));
  }
  const b = relay(t, 'b', { peers: [...hubPeers, peer('a')], expose });
  const a = relay(t, 'a', { peers: [...hubPeers, peer('b', { hub: hubs })] }, { tunnels });
  await connected(a, 'portal/b');
  return { a, b, hubs: running, lines, tunnels };
}

function connected({ hub }: RunningLink, key: string) {
  return until(`a session with ${key}`, () =>
    hub.sessions.find(({ spec, closings }) => spec.key === key && closings.length === 0),
  );
}

/** As the supervisor does, only sooner. */
function persistent(link: Link): Link {
  return {
    async run(context) {
      while (!context.signal.aborted) {
        await link.run(context).catch((error: unknown) => {
          if (!(error instanceof LinkError)) throw error;
        });
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    },
  };
}

describe('via a portal link', () => {
  test('a cot link reaches a TAK server beside the peer, events cross both ways', async (t) => {
    const server = runLink(t, cotKind.create(cotKind.schema.parse({ listen: LISTEN, tls: false })), { name: 'phones' });
    const { tunnels } = await behindHubs(t, ['h1'], { tak: `127.0.0.1:${await server.port()}` });
    const settings = { connect: 'tak.beside-b:8087', via: 'portal/b/tak', protocol: 'xml' };
    const client = runLink(t, cotKind.create(cotKind.schema.parse(settings)), { name: 'tak', tunnels });
    const [near, far] = [await client.hub.session(), await server.hub.session()];
    await send(near, sampleEvent('THERE'));
    await far.event('THERE');
    await send(far, sampleEvent('BACK'));
    await near.event('BACK');
    await client.stop();
    assert.equal((await far.closing()).reason, 'remote_closed');
  });

  test('a federation link does, TLS within TLS', async (t) => {
    const [takId, ourId] = [identityOf('tak server'), identityOf('our fed2')];
    const listening = fed2Kind.create(fed2Kind.schema.parse({ listen: LISTEN }));
    const server = runLink(t, listening, { name: 'fed', identity: takId, trust: trusting(ourId.ca) });
    const { tunnels } = await behindHubs(t, ['h1'], { tak: `127.0.0.1:${await server.port()}` });
    const dialling = fed2Kind.create(fed2Kind.schema.parse({ connect: 'tak.beside-b:9001', via: 'portal/b/tak' }));
    const client = runLink(t, dialling, { name: 'tak', identity: ourId, trust: trusting(takId.ca), tunnels });
    const [near, far] = [await client.hub.session(), await server.hub.session()];
    assert.equal(near.session.identity.proof, 'certificate');
    assert.deepEqual([near.session.address, near.session.via], ['tak.beside-b:9001', 'portal/b/tak']);
    await send(near, sampleEvent('THERE'));
    await far.event('THERE');
    await send(far, sampleEvent('BACK'));
    await near.event('BACK');
  });

  test('when the hub dies, the link goes on through the other one', async (t) => {
    const server = runLink(t, cotKind.create(cotKind.schema.parse({ listen: LISTEN, tls: false })), { name: 'phones' });
    const { a, b, tunnels, lines, hubs } = await behindHubs(t, ['h1', 'h2'], {
      tak: `127.0.0.1:${await server.port()}`,
    });
    const settings = { connect: 'tak.beside-b:8087', via: 'portal/b/tak', protocol: 'xml' };
    const dialling = persistent(cotKind.create(cotKind.schema.parse(settings)));
    const client = runLink(t, dialling, { name: 'tak', tunnels });
    const first = await server.hub.session();
    assert.equal((await connected(a, 'portal/b')).session.via, 'h1');
    await Promise.all([hubs[0]!.stop(), lines[0]!.cut()]);
    await first.closing();
    const second = await server.hub.session(1);
    await send(await connected(client, 'tak'), sampleEvent('AGAIN'));
    await second.event('AGAIN');
    assert.equal((await connected(a, 'portal/b')).session.via, 'h2');
    assert.equal((await connected(b, 'portal/a')).session.via, 'h2');
  });

  test('what is wrong is said in words', async (t) => {
    const { tunnels } = await behindHubs(t, ['h1'], { tak: '127.0.0.1:1' });
    const codes: Record<string, string> = {
      'portal/b/other': 'not_exposed',
      'portal/nobody/tak': 'unknown_peer',
      'elsewhere/b/tak': 'no_tunnels',
    };
    for (const [via, code] of Object.entries(codes)) {
      const link = cotKind.create(cotKind.schema.parse({ connect: 'tak:8087', via }));
      const error = await runLink(t, link, { name: 'tak', tunnels }).ended;
      assert.ok(error instanceof LinkError, `${via}: ${error}`);
      assert.equal(error.code, code, via);
      assert.notEqual(error.message, '');
    }
    // The service is exposed, and nobody is there.
    const link = cotKind.create(cotKind.schema.parse({ connect: 'tak:8087', via: 'portal/b/tak' }));
    const error = await runLink(t, link, { name: 'tak', tunnels }).ended;
    assert.ok(error instanceof LinkError, String(error));
  });
});

test('the name under which a hub announces a peer must be that of its certificate', async (t) => {
  hurry(t);
  // The hub calls c what b calls a.
  const hub = relay(t, 'h', { listen: LISTEN, hub: true, peers: [{ ...peer('c'), name: 'a' }, peer('b')] });
  const toHub = peer('h', { address: await addressOf(hub) });
  const b = relay(t, 'b', { peers: [toHub, peer('a'), peer('c')], tunnels: { accept_from: ['a'] } });
  relay(t, 'c', { peers: [toHub, peer('b', { hub: 'h' })] });
  await b.refusal('wrong_peer');
  assert.deepEqual(
    b.hub.sessions.map(({ spec }) => spec.key),
    ['portal/h'],
  );
});

describe('via in the configuration', () => {
  test('names link, peer and service', () => {
    assert.deepEqual(viaSchema.parse('portal/relay-b/takserver'), {
      link: 'portal',
      peer: 'relay-b',
      service: 'takserver',
    });
    for (const wrong of [
      '',
      'portal',
      'portal/b',
      'portal/b/c/d',
      '/b/c',
      'portal/../c',
      'Portal/b/c',
      'portal/b/c ',
    ]) {
      assert.ok(!viaSchema.safeParse(wrong).success, wrong);
    }
  });

  test('is for links that dial', () => {
    const via = 'portal/b/tak';
    assert.match(String(cotKind.schema.safeParse({ listen: 8087, via }).error), /only with connect/);
    assert.match(String(fed2Kind.schema.safeParse({ listen: 9001, via }).error), /only with connect/);
    assert.deepEqual(cotKind.schema.parse({ connect: 'tak:8089', via }).connect, {
      host: 'tak',
      port: 8089,
      via: { link: 'portal', peer: 'b', service: 'tak' },
    });
  });

  test('a link that stops opening tunnels is not asked any more', async () => {
    const tunnels = new Tunnels();
    const away = () => Promise.reject(new LinkError('opened', 'asked', ''));
    const opener = { open: away, join: away };
    const withdraw = tunnels.provide('portal', opener);
    const via = viaSchema.parse('portal/b/tak');
    const signal = new AbortController().signal;
    await assert.rejects(tunnels.open(via, signal), { code: 'opened' });
    withdraw();
    await assert.rejects(tunnels.open(via, signal), { code: 'no_tunnels' });
  });
});
