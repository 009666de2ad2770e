// The emulated TAK peers against each other and against a client that makes every mistake: a judge must be able to condemn.
import assert from 'node:assert/strict';
import { connect as connectHttp2 } from 'node:http2';
import { suite, type TestContext, test } from 'node:test';
import * as grpc from '@grpc/grpc-js';
import { makePair } from '../../support/peers/certs.ts';
import { decode, encode, type Method, path } from '../../support/peers/grpcjs/wire.ts';
import { hasStack, type Peer, type PeerOptions, STACKS, type Stack, startPeer } from '../../support/peers/spawn.ts';

const pairs = { server: makePair('server'), client: makePair('client') };
const CERTIFICATES = {
  server: { chainPem: pairs.server.chainPem, keyPem: pairs.server.keyPem, caPem: pairs.client.caPem },
  client: { chainPem: pairs.client.chainPem, keyPem: pairs.client.keyPem, caPem: pairs.server.caPem },
};
type As = PeerOptions['as'];
const HEALTH_MS = 200;

function startServer(t: TestContext, stack: Stack, as: As, flags: PeerOptions['flags'] = {}): Promise<Peer> {
  return startPeer(t, { stack, as, role: 'server', ...CERTIFICATES.server, flags });
}

function startClient(
  t: TestContext,
  stack: Stack,
  as: As,
  port: number,
  flags: PeerOptions['flags'] = {},
): Promise<Peer> {
  const quick = { 'health-ms': HEALTH_MS, 'retry-ms': 300, ...flags };
  return startPeer(t, { stack, as, role: 'client', port, ...CERTIFICATES.client, flags: quick });
}

/** A server and a client that have got as far as the client's last stream. */
async function startBoth(t: TestContext, stack: Stack, as: As = 'takserver', flags: PeerOptions['flags'] = {}) {
  const server = await startServer(t, stack, as, { far: as, 'server-id': 'S', ...flags });
  const client = await startClient(t, stack, as, server.port, { far: as, 'server-id': 'C' });
  await client.waitFor({ at: 'rpc', method: 'ClientROLStream' });
  await server.waitFor({ at: 'rpc', method: 'ClientROLStream' });
  return { server, client };
}

const asBuffer = (value: Buffer) => value;

/** A gRPC client without manners. */
class Caller {
  readonly #client: grpc.Client;

  constructor(t: TestContext, port: number, certificate = { chain: pairs.client.chainPem, key: pairs.client.keyPem }) {
    const [ca, key, chain] = [pairs.server.caPem, certificate.key, certificate.chain].map((pem) => Buffer.from(pem));
    const credentials = grpc.credentials.createSsl(ca!, key!, chain!);
    const options = { 'grpc.use_local_subchannel_pool': 1, 'grpc.ssl_target_name_override': 'localhost' };
    this.#client = new grpc.Client(`127.0.0.1:${port}`, credentials, options);
    t.after(() => this.#client.close());
  }

  duplex(method: Method): Opened<grpc.ClientDuplexStream<Buffer, Buffer>> {
    return opened(this.#client.makeBidiStreamRequest(path(method), asBuffer, asBuffer, new grpc.Metadata()));
  }

  reader(method: Method, request: Buffer): Opened<grpc.ClientReadableStream<Buffer>> {
    const metadata = new grpc.Metadata();
    return opened(this.#client.makeServerStreamRequest(path(method), asBuffer, asBuffer, request, metadata));
  }

  health(): Opened<grpc.ClientReadableStream<Buffer>> {
    return this.reader('HealthCheck', encode('ClientHealth', { status: 'SERVING' }));
  }

  /** The event streams of a well-bred client. */
  async link(subscription = subscriptionOf({})) {
    const inbound = this.reader('ClientEventStream', subscription);
    while ((await this.answer()) !== 'SERVING');
    return { inbound, outbound: this.duplex('ServerEventStream') };
  }

  async answer(): Promise<string> {
    return decode('ServerHealth', await this.health().first).status;
  }
}

interface Opened<Call> {
  readonly call: Call;
  readonly first: Promise<Buffer>;
  readonly ended: Promise<grpc.StatusObject>;
}

function opened<Call extends grpc.ClientReadableStream<Buffer>>(call: Call): Opened<Call> {
  call.on('error', () => undefined);
  const first = new Promise<Buffer>((resolve) => call.once('data', resolve));
  return { call, first, ended: new Promise((resolve) => call.once('status', resolve)) };
}

function subscriptionOf(over: { name?: string; major?: number; type?: string; serverId?: string }): Buffer {
  const { name = 'caller', major = 5, type = 'FEDERATION_TAK_CLIENT', serverId = 'caller-id' } = over;
  return encode('Subscription', { identity: { name, type, serverId }, version: { major } });
}

const STAMPS = {
  federateProvenance: [{ federationServerId: 'caller-id', federationServerName: 'caller' }],
  federateHops: { maxHops: -1, currentHops: 1 },
};
const GOOD = {
  uid: 'u',
  type: 'a-f-G',
  coordSource: 'm-g',
  other: '<detail/>',
  sendTime: 1000,
  startTime: 1000,
  staleTime: 2000,
};
const event = (over: object, stamps: object = STAMPS): object => ({ ...stamps, event: { ...GOOD, ...over } });
const hop = (id: string) => ({ federationServerId: id, federationServerName: id });

/** Rule by rule, a message that breaks it. */
const BAD_EVENTS: readonly (readonly [string, object])[] = [
  ['event_incomplete', event({ coordSource: '' })],
  ['no_detail', event({ other: '' })],
  ['no_time', event({ staleTime: 0 })],
  ['track_twice', event({ speed: 3, other: '<detail><track speed="3" course="0"/></detail>' })],
  ['status_twice', event({ battery: 9, other: '<detail><status battery="9"/></detail>' })],
  ['precision_twice', event({ ploc: 'GPS', other: '<detail><precisionlocation altsrc="GPS"/></detail>' })],
  ['dest_in_detail', event({ other: '<detail><marti><dest uid="x"/></marti></detail>' })],
  ['mission_change', event({ type: 't-x-m-c' })],
  ['file_transfer', event({ type: 'b-f-t-r' })],
  ['disconnect', event({ type: 't-x-d-d' })],
  ['no_provenance', event({}, { ...STAMPS, federateProvenance: [] })],
  ['provenance_empty', event({}, { ...STAMPS, federateProvenance: [hop('')] })],
  ['provenance_repeated', event({}, { ...STAMPS, federateProvenance: [hop('a'), hop('b'), hop('a')] })],
  ['loop', event({}, { ...STAMPS, federateProvenance: [hop('emulated-server-id')] })],
  ['no_hops', event({}, { ...STAMPS, federateHops: null })],
  ['hops_zero', event({}, { ...STAMPS, federateHops: { maxHops: -1, currentHops: 0 } })],
  ['hops_over', event({}, { ...STAMPS, federateHops: { maxHops: 2, currentHops: 3 } })],
  ['groups_repeated', event({}, { ...STAMPS, federateGroups: ['g', 'g'] })],
  ['contact_incomplete', { ...STAMPS, contact: { operation: 'CREATE' } }],
  ['contact_op', { ...STAMPS, contact: { operation: 'READ', uid: 'u' } }],
];

const rulesOf = (peer: Peer): string[] => [...new Set(peer.all({ at: 'violation' }).map((line) => String(line.rule)))];

suite('emulated peers', { concurrency: 3, timeout: 120_000 }, () => {
  suite('a client against a server', { concurrency: 3 }, () => {
    const AS = ['takserver', 'fedhub'] as const;
    for (const [serverStack, clientStack] of [STACKS, [...STACKS].reverse()] as (readonly [Stack, Stack])[]) {
      for (const serverAs of AS) {
        for (const clientAs of AS) {
          test(`${clientStack} ${clientAs} dials ${serverStack} ${serverAs}`, async (t) => {
            if (!hasStack(t, serverStack) || !hasStack(t, clientStack)) return;
            const local = (uid: string) => ({ contacts: [{ uid, callsign: uid }], events: [{ uid }] });
            const server = await startServer(t, serverStack, serverAs, {
              far: clientAs,
              'server-id': 'S',
              groups: { groups: ['red'], nested: [{ groups: ['blue'], from: 'far-tak' }] },
              local: local('s'),
            });
            const client = await startClient(t, clientStack, clientAs, server.port, {
              far: serverAs,
              'server-id': 'C',
              groups: { groups: ['green'] },
              local: local('c'),
            });
            await client.waitFor({ at: 'rpc', method: 'ClientROLStream' });
            await client.waitFor({ at: 'contact', uid: 's', op: 'CREATE' });
            await server.waitFor({ at: 'contact', uid: 'c' });
            await server.waitFor({ at: 'event', uid: 'c' });
            await server.waitFor((line) => line.at === 'groups' && String(line.groups) === 'green');
            const groups = await client.waitFor((line) => line.at === 'groups' && String(line.groups) === 'red');
            assert.deepEqual((groups.nested as { groups: string[] }[])[0]?.groups, ['blue']);
            server.send({ do: 'send', event: { uid: 'large', otherBytes: 1 << 20, unknown: true, ptpUids: ['x'] } });
            const large = await client.waitFor({ at: 'event', uid: 'large', otherBytes: 1 << 20 });
            assert.deepEqual([large.unknown, large.ptpUids], [['event.98', '99'], ['x']]);
            client.send({ do: 'rol', rol: { program: 'create mission {"a":1};', payload: [{ text: 'body' }] } });
            const rol = await server.waitFor({ at: 'rol', program: 'create mission {"a":1};' });
            assert.equal((rol.payload as { text: string }[])[0]?.text, 'body');
            const early = await client.waitFor({ at: 'subscription', method: 'ServerEventStream' });
            assert.deepEqual([early.early, (early.identity as { serverId: string }).serverId], [true, 'S']);
            assert.deepEqual([server.violations(), client.violations()], [[], []]);
          });
        }
      }
    }
  });

  for (const stack of STACKS) {
    suite(`on ${stack}`, { concurrency: 3 }, () => {
      test('a client condemns a second SERVING and a completed stream; leaves over breaches and broken transports; comes back', async (t) => {
        if (!hasStack(t, stack)) return;
        const { server, client } = await startBoth(t, stack);
        let from = client.lines.length;
        server.send({ do: 'serving' });
        await client.waitFor({ at: 'violation', rule: 'second_serving' });
        await client.waitFor({ at: 'rpc', method: 'ServerEventStream' }, { from });

        const breaches: readonly (readonly [Peer, { readonly do: string; readonly [key: string]: string }, string])[] =
          [
            [server, { do: 'end', method: 'ClientROLStream' }, 'ClientROLStream ended'],
            [server, { do: 'health', status: 'NOT_SERVING' }, 'health is NOT_SERVING'],
            [client, { do: 'goaway' }, 'told to leave'],
            [server, { do: 'drop' }, ''],
          ];
        for (const [peer, order, reason] of breaches) {
          from = client.lines.length;
          const served = server.lines.length;
          peer.send(order);
          const left = await client.waitFor({ at: 'disconnected' }, { from });
          if (reason) assert.equal(left.reason, reason);
          server.send({ do: 'health', status: 'SERVING' });
          await client.waitFor({ at: 'rpc', method: 'ClientROLStream' }, { from });
          await server.waitFor({ at: 'rpc', method: 'ClientROLStream' }, { from: served });
        }
        assert.deepEqual(rulesOf(client), ['second_serving', 'stream_ended']);
        from = client.lines.length;
        await server.vanish();
        await client.waitFor({ at: 'disconnected' }, { from });
      });

      test('a server condemns every bad event', async (t) => {
        if (!hasStack(t, stack)) return;
        const server = await startServer(t, stack, 'takserver');
        const { outbound } = await new Caller(t, server.port).link();
        outbound.call.write(encode('FederatedEvent', event({ uid: 'good' })));
        await server.waitFor({ at: 'event', uid: 'good' });
        assert.deepEqual(server.violations(), []);
        for (const [rule, bad] of BAD_EVENTS) {
          const from = server.lines.length;
          outbound.call.write(encode('FederatedEvent', bad));
          await server.waitFor({ at: 'violation' }, { from });
          outbound.call.write(encode('FederatedEvent', event({ uid: 'next' })));
          await server.waitFor({ at: 'event', uid: 'next' }, { from });
          const rules = server.all({ at: 'violation' }, from).map((line) => line.rule);
          assert.deepEqual(rules, [rule]);
        }
      });

      test('a server answers HealthCheck without completing it when the version is 0', async (t) => {
        if (!hasStack(t, stack)) return;
        const server = await startServer(t, stack, 'takserver');
        const caller = new Caller(t, server.port);
        assert.equal(await caller.answer(), 'NOT_CONNECTED');
        await caller.link(subscriptionOf({ major: 0 }));
        const check = caller.health();
        assert.equal(decode('ServerHealth', await check.first).status, 'SERVING');
        const pause = new Promise((resolve) => setTimeout(resolve, 300, 'open'));
        assert.equal(await Promise.race([check.ended, pause]), 'open');
        assert.deepEqual(rulesOf(server), ['version_zero']);
      });

      test('a server condemns an identity without name, server id or type', async (t) => {
        if (!hasStack(t, stack)) return;
        const server = await startServer(t, stack, 'takserver');
        const caller = new Caller(t, server.port);
        const nameless = caller.reader('ServerFederateGroupsStream', subscriptionOf({ name: '' }));
        assert.equal((await nameless.ended).code, grpc.status.UNKNOWN);
        const bare = subscriptionOf({ serverId: '', type: 'FEDERATION_HUB_SERVER' });
        caller.reader('ServerFederateGroupsStream', bare);
        await server.waitFor({ at: 'violation', rule: 'type_unset' });
        assert.deepEqual(rulesOf(server), ['name_empty', 'server_id_empty', 'type_unset']);
      });

      test('a server condemns streams out of order', async (t) => {
        if (!hasStack(t, stack)) return;
        const server = await startServer(t, stack, 'takserver');
        const caller = new Caller(t, server.port);
        const groups = caller.duplex('ClientFederateGroupsStream');
        groups.call.write(encode('FederateGroups', { federateGroups: ['g'] }));
        assert.equal((await groups.ended).code, grpc.status.INTERNAL);
        caller.duplex('ServerEventStream');
        await server.waitFor({ at: 'violation', words: 'ServerEventStream came before ClientEventStream' });
        const hub = await startServer(t, stack, 'fedhub');
        const rol = new Caller(t, hub.port).duplex('ServerROLStream');
        assert.equal((await rol.ended).code, grpc.status.UNKNOWN);
        await hub.waitFor({ at: 'violation', words: 'ServerROLStream came before ClientEventStream' });
        assert.deepEqual([rulesOf(server), rulesOf(hub)], [['order'], ['order']]);
      });

      test('a server condemns a half-close, a dead method and a program that is none', async (t) => {
        if (!hasStack(t, stack)) return;
        const server = await startServer(t, stack, 'takserver');
        const caller = new Caller(t, server.port);
        const { outbound } = await caller.link();
        outbound.call.end();
        await server.waitFor({ at: 'violation', rule: 'half_close' });
        caller.reader('SendOneEvent', encode('FederatedEvent', event({})));
        await server.waitFor({ at: 'violation', rule: 'dead_rpc' });
        caller.duplex('ServerROLStream').call.write(encode('ROL', { ...STAMPS, program: 'hello' }));
        await server.waitFor({ at: 'violation', rule: 'rol_program' });
      });

      test('a server lets no certificate in twice, and remembers it while dead streams linger', async (t) => {
        if (!hasStack(t, stack)) return;
        const server = await startServer(t, stack, 'takserver', { 'dead-ms': 400 });
        const first = await new Caller(t, server.port).link();
        await first.outbound.first;
        assert.equal((await first.inbound.ended).code, grpc.status.DEADLINE_EXCEEDED);
        await server.waitFor({ at: 'dead' });
        const second = await new Caller(t, server.port).link();
        const { code, details } = await second.outbound.ended;
        assert.equal(code, grpc.status.UNKNOWN);
        assert.match(details, /^Disallowing duplicate federate connection ([0-9A-F]{2}:){31}[0-9A-F]{2}$/);
        first.outbound.call.cancel();
        await server.waitFor({ at: 'closed', method: 'ServerEventStream', code: 1 });
        const third = await new Caller(t, server.port).link();
        assert.equal(decode('Subscription', await third.outbound.first).identity?.serverId, 'emulated-server-id');
      });

      test('a server does not let itself be pinged', async (t) => {
        if (!hasStack(t, stack)) return;
        const server = await startServer(t, stack, 'takserver');
        const { chainPem: cert, keyPem: key } = pairs.client;
        const options = { ca: pairs.server.caPem, cert, key, ALPNProtocols: ['h2'] };
        const session = connectHttp2(`https://localhost:${server.port}`, options);
        session.on('error', () => undefined);
        const closed = new Promise((resolve) => session.once('close', resolve));
        const code = await new Promise((resolve) => {
          session.once('goaway', resolve);
          session.once('connect', () => {
            for (let sent = 0; sent < 6; sent++) session.ping(() => undefined);
          });
        });
        assert.equal(code, 11); // ENHANCE_YOUR_CALM
        session.destroy();
        await closed;
      });

      test('a server as a hub denies a CA outside its policy, and completes ROL when it has the bug', async (t) => {
        if (!hasStack(t, stack)) return;
        const closed = await startServer(t, stack, 'fedhub', { deny: true });
        const denied = new Caller(t, closed.port).reader('ClientEventStream', subscriptionOf({}));
        assert.equal((await denied.ended).code, grpc.status.PERMISSION_DENIED);
        const backlog = [{ program: 'create mission {"n":1};' }];
        const hub = await startServer(t, stack, 'fedhub', { 'rol-completes': true, backlog });
        const caller = new Caller(t, hub.port);
        await caller.link();
        const rol = caller.reader('ClientROLStream', subscriptionOf({}));
        assert.equal(decode('ROL', await rol.first).program, 'create mission {"n":1};');
        assert.equal((await rol.ended).code, grpc.status.OK);
      });

      test('a server as a hub replays contacts to a newcomer, deleted ones too', async (t) => {
        if (!hasStack(t, stack)) return;
        const hub = await startServer(t, stack, 'fedhub');
        const { outbound } = await new Caller(t, hub.port).link();
        outbound.call.write(encode('FederatedEvent', { ...STAMPS, contact: { operation: 'DELETE', uid: 'ghost' } }));
        await hub.waitFor({ at: 'contact', uid: 'ghost' });
        const newcomer = new Caller(t, hub.port).reader('ClientEventStream', subscriptionOf({ serverId: 'other' }));
        const replayed = decode('FederatedEvent', await newcomer.first).contact;
        assert.deepEqual([replayed?.operation, replayed?.uid], ['DELETE', 'ghost']);
      });

      test('a server as a hub passes on nothing that has been there or may go no further', async (t) => {
        if (!hasStack(t, stack)) return;
        const hub = await startServer(t, stack, 'fedhub');
        const { outbound } = await new Caller(t, hub.port).link();
        const hopped = (maxHops: number) => ({ ...STAMPS, federateHops: { maxHops, currentHops: 2 } });
        const been = { ...STAMPS, federateProvenance: [hop(hub.own)] };
        const sent = {
          free: hopped(-1),
          last: hopped(3),
          worn: hopped(2),
          been,
          uncounted: { ...STAMPS, federateHops: null },
        };
        for (const [uid, stamps] of Object.entries(sent)) {
          outbound.call.write(encode('FederatedEvent', event({ uid }, stamps)));
          await hub.waitFor({ at: 'event', uid });
        }
        outbound.call.write(encode('FederatedEvent', event({ uid: 'end' })));
        await hub.waitFor({ at: 'event', uid: 'end' });
        const dropped = hub.all({ at: 'dropped' }).map(({ uid, reason }) => [uid, reason]);
        assert.deepEqual(dropped, [
          ['worn', 'hops'],
          ['been', 'loop'],
        ]);
      });

      test('a server stops reading when told to, and lets nothing get lost', async (t) => {
        if (!hasStack(t, stack)) return;
        const server = await startServer(t, stack, 'takserver');
        const { outbound } = await new Caller(t, server.port).link();
        await outbound.first;
        server.send({ do: 'stall' });
        const other = `<detail>${'x'.repeat(10_000)}</detail>`;
        for (let n = 0; n < 200; n++) outbound.call.write(encode('FederatedEvent', event({ uid: `n${n}`, other })));
        await new Promise((resolve) => setTimeout(resolve, 300));
        assert.ok(server.all({ at: 'event' }).length < 200);
        server.send({ do: 'resume' });
        await server.waitFor({ at: 'event', uid: 'n199' });
        assert.equal(server.all({ at: 'event' }).length, 200);
      });

      test('a client that falls silent is told DEADLINE_EXCEEDED', async (t) => {
        if (!hasStack(t, stack)) return;
        const { server, client } = await startBoth(t, stack, 'takserver', { 'dead-ms': 800 });
        client.send({ do: 'health' });
        await server.waitFor({ at: 'dead' });
        await client.waitFor({ at: 'closed', code: grpc.status.DEADLINE_EXCEEDED });
        await client.waitFor({ at: 'disconnected' });
      });

      test('a client as a hub drops a link to a server it is linked to already, for good', async (t) => {
        if (!hasStack(t, stack)) return;
        const server = await startServer(t, stack, 'fedhub', { far: 'fedhub', 'server-id': 'S' });
        const client = await startClient(t, stack, 'fedhub', server.port, { far: 'fedhub', linked: 'R,S' });
        await client.waitFor({ at: 'duplicate', serverId: 'S' });
        await client.waitFor({ at: 'disconnected' });
      });
    });
  }

  test('a python server says INTERNAL to a leaf that comes alone', async (t) => {
    if (!hasStack(t, 'python')) return;
    const server = await startServer(t, 'python', 'takserver');
    const caller = new Caller(t, server.port, { chain: pairs.client.leafPem, key: pairs.client.keyPem });
    assert.equal((await caller.duplex('ClientFederateGroupsStream').ended).code, grpc.status.INTERNAL);
    await server.waitFor({ at: 'violation', rule: 'chain_short' });
  });

  test('a grpcjs client condemns a leaf that comes alone and one that may not be a client', async (t) => {
    const bare = makePair('bare', 'serverAuth');
    const certificates = { chainPem: bare.leafPem, keyPem: bare.keyPem, caPem: pairs.client.caPem };
    const server = await startPeer(t, { stack: 'grpcjs', as: 'takserver', role: 'server', ...certificates });
    const client = await startPeer(t, {
      stack: 'grpcjs',
      as: 'takserver',
      role: 'client',
      port: server.port,
      ...CERTIFICATES.client,
      caPem: bare.caPem,
    });
    await client.waitFor({ at: 'connected' });
    assert.deepEqual(rulesOf(client), ['no_client_auth', 'chain_short']);
  });
});
