// G3: DP-In and DP-Out of federates registered by fingerprint, each by itself, on live connections, independent of In and Out: two
// emulated TAK Servers with gRPC libraries of another make, a real relay between them.
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import type { PeerStatus, RelayStatus } from '../../src/core/status.ts';
import { askSocket, noCurl } from '../support/curl.ts';
import { makePair } from '../support/peers/certs.ts';
import { hasStack, type Peer, startPeer } from '../support/peers/spawn.ts';
import { freePorts, RelayHome } from '../support/relay-process.ts';

const MARKER = { type: 'b-m-p-s-m', how: 'h-g-i-g-o' };

async function scene(t: TestContext) {
  const [api, federation] = (await freePorts(2)) as [number, number];
  const home = new RelayHome(t, 'between');
  home.configure(api, `links:\n  - { name: federation, kind: fed2, listen: "127.0.0.1:${federation}" }\n`);
  const caPem = await home.command('cert', 'show', '--ca');
  await home.start();
  const ask = (method: string, path: string, body: unknown) => askSocket(home, method, path, body);
  const pins = new Map<string, string>();
  const peer = ({ peers }: RelayStatus, name: string) =>
    peers.find(({ key }) => key === `federation/${pins.get(name)}`)!;
  const joins = async (name: string, stack: 'grpcjs' | 'python'): Promise<Peer> => {
    const { chainPem, leafPem, keyPem } = makePair(name);
    const fingerprint = new X509Certificate(leafPem).fingerprint256;
    pins.set(name, fingerprint.replaceAll(':', '').toLowerCase());
    const made = await ask('POST', '/api/federation/peers', { name, fingerprint });
    assert.equal(made.status, 201, made.text);
    const flags = {
      'server-id': name,
      'health-ms': 300,
      'retry-ms': 300,
      ...(stack === 'python' && { authority: 'between' }),
    };
    const peer = await startPeer(t, {
      ...{ stack, as: 'takserver', role: 'client', port: federation, chainPem, keyPem, caPem, flags },
    });
    await peer.waitFor({ at: 'rpc', method: 'ClientROLStream' });
    return peer;
  };
  const toggle = async (name: string, ways: object) => {
    const { status, text } = await ask('PATCH', `/api/federation/peers/${name}`, ways);
    assert.equal(status, 200, text);
  };
  return { home, joins, toggle, peer };
}

const mission = (n: number) => ({ program: `create mission {"name":"m${n}"};`, payload: [{ text: `package ${n}` }] });

test('data packages follow switches of their own', { skip: noCurl }, async (t) => {
  if (!hasStack(t, 'python')) return;
  const { home, joins, toggle, peer } = await scene(t);
  const [alpha, bravo] = [await joins('alpha', 'grpcjs'), await joins('bravo', 'python')];
  const sends = (n: number) => alpha.send({ do: 'rol', rol: mission(n) });
  const gets = async (n: number) => {
    const { payload } = await bravo.waitFor({ at: 'rol', program: mission(n).program });
    assert.match(JSON.stringify(payload), new RegExp(`package ${n}`));
  };
  const event = async (uid: string) => {
    alpha.send({ do: 'send', event: { uid, ...MARKER } });
    await bravo.waitFor({ at: 'event', uid });
  };
  const stays = (name: string, counted: (of: PeerStatus) => number) => async (n: number) => {
    const before = counted(peer(await home.status(), name));
    sends(n);
    await home.until((status) => counted(peer(status, name)) === before + 1, `package ${n} to stay here`);
  };
  const since = (await home.status()).peers.map((peer) => peer.since);

  await t.test('both on: they cross, whole', async () => {
    sends(1);
    await gets(1);
  });

  await t.test('DP-In off at the one they come from: dropped at our edge, events still cross', async () => {
    await toggle('alpha', { dp_in: false });
    await stays('alpha', ({ received }) => received.refused.filtered_in ?? 0)(2);
    await event('while dp_in is off');
    await toggle('alpha', { dp_in: true });
    sends(3);
    await gets(3);
  });

  await t.test('DP-Out off at the one they go to: kept from it, events still cross', async () => {
    await toggle('bravo', { dp_out: false });
    const dropped = ({ lanes }: PeerStatus) => lanes.reduce((sum, lane) => sum + (lane.dropped.filtered_out ?? 0), 0);
    await stays('bravo', dropped)(4);
    await event('while dp_out is off');
    await toggle('bravo', { dp_out: true });
    sends(5);
    await gets(5);
  });

  await t.test('In and Out off, DP on: packages cross, events do not', async () => {
    await toggle('alpha', { in: false, out: false });
    const refused = ({ received }: PeerStatus) => received.refused.filtered_in ?? 0;
    const before = refused(peer(await home.status(), 'alpha'));
    alpha.send({ do: 'send', event: { uid: 'while in is off', ...MARKER } });
    await home.until((status) => refused(peer(status, 'alpha')) === before + 1, 'the event to stay here');
    sends(6);
    await gets(6);
    await toggle('alpha', { in: true, out: true });
    await event('after');
  });

  await t.test('nothing but what was let through has arrived, on the connections of the beginning', async () => {
    const programs = bravo.all({ at: 'rol' }).map(({ program }) => program);
    assert.deepEqual(
      programs,
      [1, 3, 5, 6].map((n) => mission(n).program),
    );
    assert.deepEqual(bravo.all({ at: 'event', uid: 'while in is off' }), []);
    assert.deepEqual(
      (await home.status()).peers.map((peer) => peer.since),
      since,
    );
    assert.deepEqual([alpha.violations(), bravo.violations()], [[], []]);
  });
});
