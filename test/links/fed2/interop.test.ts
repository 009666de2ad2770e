// Our Federation v2 link between two independent peers, one that dials it and one that it dials: everything crosses, nothing is
// done that a real TAK server or hub would choke on.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { suite, test } from 'node:test';
import { MARKER } from '../../../src/core/message.ts';
import { asXml } from '../../../src/wire/encode.ts';
import { hasStack, type Line, type Peer, type Stack } from '../../support/peers/spawn.ts';
import { type As, dialling, listening, startFar, startNear, TestRelay, until } from './interop-relay.ts';

const NESTED = { groups: ['blue'], nested: [{ groups: ['deep'], from: 'behind' }] };
const local = (uid: string) => ({
  contacts: [{ uid, callsign: uid.toUpperCase() }],
  events: [{ uid, other: `<detail><contact callsign="${uid.toUpperCase()}"/></detail>` }],
});
const SERVER_STREAMS = ['ServerFederateGroupsStream', 'ClientEventStream', 'ServerEventStream'];
const LATER_STREAMS = ['ClientFederateGroupsStream', 'ClientROLStream', 'ServerROLStream'];

/** Each kind of peer in each role on each stack, once. */
const COMBINATIONS: readonly { readonly near: readonly [Stack, As]; readonly far: readonly [Stack, As] }[] = [
  { near: ['python', 'takserver'], far: ['grpcjs', 'takserver'] },
  { near: ['grpcjs', 'takserver'], far: ['python', 'takserver'] },
  { near: ['python', 'fedhub'], far: ['grpcjs', 'fedhub'] },
  { near: ['grpcjs', 'fedhub'], far: ['python', 'fedhub'] },
];

/** Whatever a message has passed: the ids, in order. */
const passed = (line: Line): string[] => (line.provenance as { id: string }[]).map(({ id }) => id);
const hops = (line: Line) => line.hops as { max: number; current: number };
const identityOf = (line: Line) => line.identity as { name: string; type: string; serverId: string };

/** Sends a marker that crosses after everything sent before it, then waits for it. */
async function crossed(from: Peer, to: Peer, uid: string): Promise<void> {
  from.send({ do: 'send', event: { uid, type: 'b-m-p-s-m', how: 'h-g-i-g-o' } });
  await to.waitFor({ at: 'event', uid });
}

suite('fed2 between independent peers', { concurrency: 2, timeout: 120_000 }, () => {
  for (const { near: nearIs, far: farIs } of COMBINATIONS) {
    test(`${nearIs.join(' ')} dials, ${farIs.join(' ')} is dialled`, async (t) => {
      if (!hasStack(t, nearIs[0]) || !hasStack(t, farIs[0])) return;
      const far = await startFar(t, ...farIs, { groups: NESTED, local: local('f') });
      const said = { groups: ['relayed'] };
      const relay = new TestRelay(t, { in: listening(said), out: dialling(far, said) });
      const near = await startNear(t, ...nearIs, await relay.port('in'), { groups: NESTED, local: local('n') });
      await near.waitFor({ at: 'rpc', method: 'ClientROLStream' });
      await far.waitFor({ at: 'rpc', method: 'ClientROLStream' });
      const id = relay.identity.id;

      await t.test('streams open in the order that TAK needs, each once', () => {
        const methods = far.all({ at: 'rpc' }).map((line) => line.method);
        assert.deepEqual(methods.slice(0, 3), SERVER_STREAMS);
        assert.deepEqual(methods.slice(3).sort(), LATER_STREAMS);
        assert.deepEqual(far.all({ at: 'note' }), []);
        assert.equal(near.all({ at: 'rpc', method: 'ServerEventStream' }).length, 1);
      });

      await t.test('we say who we are, at once', async () => {
        for (const method of ['ServerEventStream', 'ClientFederateGroupsStream', 'ServerROLStream']) {
          const early = await near.waitFor({ at: 'subscription', method });
          const { type, serverId, name } = identityOf(early);
          assert.deepEqual([type, serverId, name, early.early], ['FEDERATION_TAK_SERVER', id, 'Relay', true]);
        }
        const ours = await far.waitFor({ at: 'subscription', method: 'ClientEventStream' });
        assert.deepEqual([identityOf(ours).type, identityOf(ours).serverId], ['FEDERATION_TAK_CLIENT', id]);
      });

      await t.test('contacts cross, each before its first position; so does a leave', async () => {
        for (const [to, uid] of [
          [far, 'n'],
          [near, 'f'],
        ] as const) {
          const contact = await to.waitFor({ at: 'contact', uid, op: 'CREATE' });
          assert.equal(contact.callsign, uid.toUpperCase());
        }
        await far.waitFor({ at: 'event', uid: 'n' });
        const order = far.lines.filter((line) => line.uid === 'n').map((line) => line.at);
        assert.deepEqual(order, ['contact', 'event']);
        near.send({ do: 'contact', contact: { uid: 'brief', callsign: 'BRIEF' } });
        await far.waitFor({ at: 'contact', uid: 'brief', op: 'CREATE' });
        near.send({ do: 'contact', contact: { uid: 'brief', op: 'DELETE' } });
        await far.waitFor({ at: 'contact', uid: 'brief', op: 'DELETE' });
      });

      await t.test('events cross whole: detail, times, groups, fields nobody knows', async () => {
        const other = '<detail><contact callsign="E"/><odd:thing a="1&amp;2">\u00e4 \u{1f600}</odd:thing></detail>';
        const event = { uid: 'e', other, lat: 48.25, lon: -11.5, hae: 520.5, unknown: true, groups: ['red', 'blue'] };
        for (const [from, to] of [
          [near, far],
          [far, near],
        ] as const) {
          const mine = { ...event, uid: `e from ${from === near ? 'near' : 'far'}`, timeMs: Date.now() };
          from.send({ do: 'send', event: mine });
          const got = await to.waitFor({ at: 'event', uid: mine.uid });
          assert.equal(got.other, other);
          assert.deepEqual([got.lat, got.lon, got.hae, got.how, got.type], [48.25, -11.5, 520.5, 'm-g', 'a-f-G-U-C']);
          const second = Math.floor(mine.timeMs / 1000) * 1000;
          assert.deepEqual([got.sendTime, got.staleTime], [second, second + 300_000]);
          assert.deepEqual(got.groups, ['red', 'blue']);
          assert.deepEqual([...(got.unknown as string[])].sort(), ['99', 'event.98']);
          assert.deepEqual(passed(got).slice(-2), [from.own, id]);
          assert.deepEqual(hops(got), { max: -1, current: passed(got).length });
          assert.deepEqual(from.all({ at: 'event', uid: mine.uid }), []);
        }
      });

      await t.test('a detail of 1 MiB crosses', async () => {
        const other = `<detail><remarks>${'0123456789abcdef'.repeat(1 << 16)}</remarks></detail>`;
        const sha256 = createHash('sha256').update(other).digest('hex');
        near.send({ do: 'send', event: { uid: 'large', other } });
        far.send({ do: 'send', event: { uid: 'large too', other } });
        await far.waitFor({ at: 'event', uid: 'large', otherSha256: sha256 });
        await near.waitFor({ at: 'event', uid: 'large too', otherSha256: sha256 });
      });

      await t.test('a message to one finds its way', async () => {
        const chat = { type: 'b-t-f', how: 'h-g-i-g-o', other: '<detail><remarks>hello</remarks></detail>' };
        near.send({ do: 'send', event: { ...chat, uid: 'chat', ptpUids: ['f'], ptpCallsigns: ['F'] } });
        const got = await far.waitFor({ at: 'event', uid: 'chat' });
        assert.deepEqual([got.ptpUids, got.ptpCallsigns, got.other], [['f'], ['F'], chat.other]);
      });

      await t.test('missions cross as they are', async () => {
        const program = 'create mission {"name":"m","type":"MissionMetadata"};';
        const payload = [{ text: '<event/>', description: 'tak.server.cot.CotEventContainer' }];
        for (const [from, to] of [
          [near, far],
          [far, near],
        ] as const) {
          const rol = { program: `${program.slice(0, -2)},"from":"${from.own}"};`, payload };
          from.send({ do: 'rol', rol });
          const got = await to.waitFor({ at: 'rol', program: rol.program });
          const carried = got.payload as typeof payload;
          assert.deepEqual(
            carried.map(({ text, description }) => ({ text, description })),
            payload,
          );
          assert.deepEqual(passed(got).slice(-2), [from.own, id]);
        }
      });

      await t.test('groups are read, nested ones too, and ours are said', async () => {
        for (const [link, to] of [
          ['in', near],
          ['out', far],
        ] as const) {
          const peer = await relay.peer(link);
          const read = () => ['blue', 'deep'].every((group) => peer.saidGroups.includes(group));
          await until(`the groups of ${link}`, read, () => String(peer.saidGroups));
          await to.waitFor((line) => line.at === 'groups' && (line.groups as string[]).includes('relayed'));
        }
      });

      await t.test('empty events are ignored, loops and used-up hops end here', async () => {
        near.send({ do: 'empty' });
        far.send({ do: 'empty' });
        const been = [
          { id, name: 'Relay' },
          { id: near.own, name: '' },
        ];
        near.send({ do: 'send', event: { uid: 'loop', provenance: been } });
        near.send({ do: 'send', event: { uid: 'tired', hops: { max: 1, current: 1 } } });
        await crossed(near, far, 'after these');
        await crossed(far, near, 'after these as well');
        assert.deepEqual([far.all({ uid: 'loop' }), far.all({ uid: 'tired' })], [[], []]);
        const { refused } = await relay.peer('in');
        assert.deepEqual([refused.loop, refused.malformed], [1, undefined]);
        assert.equal((await relay.peer('out')).refused.malformed, undefined);
      });

      await t.test('health flows', async () => {
        const answered = await near.waitFor({ at: 'health' });
        assert.deepEqual([answered.answer, answered.code], ['SERVING', 0]);
        const checks = () => far.all({ at: 'health', status: 'SERVING', answer: 'SERVING' }).length >= 2;
        await until('two health checks', checks, () => JSON.stringify(far.all({ at: 'health' })));
      });

      await t.test('nobody found fault', () => {
        assert.deepEqual([near.violations(), far.violations()], [[], []]);
        assert.deepEqual(relay.endings(), []);
      });
    });
  }
});

test('what goes out in a group says how far it may travel, and stays where it has', async (t) => {
  if (!hasStack(t, 'python')) return;
  const far = await startFar(t, 'python', 'takserver');
  const relay = new TestRelay(t, {
    in: listening({ group_hops: { Far: 9 } }),
    out: dialling(far, { group_hops: { Blue: 2, Red: 1 } }),
  });
  const near = await startNear(t, 'grpcjs', 'takserver', await relay.port('in'));
  await relay.peer('in');
  const { lanes } = await relay.peer('out');
  const marker = { type: 'b-m-p-s-m', how: 'h-g-i-g-o', hops: { max: 5, current: 1 } };
  near.send({ do: 'send', event: { ...marker, uid: 'red', groups: ['Red'] } });
  near.send({ do: 'send', event: { ...marker, uid: 'both', groups: ['Red', 'Blue', 'Green'] } });
  const got = await far.waitFor({ at: 'event', uid: 'both' });
  assert.deepEqual(got.groups, ['Blue', 'Green']);
  assert.deepEqual([...(got.groupHops as unknown[])].sort(), [
    ['Blue', 2, 2],
    ['Green', 5, 2],
  ]);
  near.send({ do: 'send', event: { ...marker, uid: 'other', groups: ['Green'] } });
  assert.equal((await far.waitFor({ at: 'event', uid: 'other' })).groupHops, null);
  assert.deepEqual(far.all({ at: 'event', uid: 'red' }), []);
  assert.equal(lanes[MARKER]!.dropped.hop_limit, 1);
  assert.deepEqual(far.violations(), []);
});

test('a peer that stops reading holds nobody up, and gets what is current when it reads again', async (t) => {
  const stack: Stack = 'grpcjs';
  const stalled = await startFar(t, stack, 'takserver', { 'server-id': 'STALLED' });
  const healthy = await startFar(t, stack, 'takserver', { 'server-id': 'HEALTHY' });
  const relay = new TestRelay(t, { in: listening(), stalled: dialling(stalled), healthy: dialling(healthy) });
  const near = await startNear(t, stack, 'takserver', await relay.port('in'));
  for (const link of ['in', 'stalled', 'healthy']) await relay.peer(link);
  await crossed(near, stalled, 'before');
  await crossed(near, healthy, 'before');
  stalled.send({ do: 'stall' });
  // 3 MB: less than one peer's queue holds, far more than a peer that does not read can take.
  const other = `<detail><remarks>${'x'.repeat(10_000)}</remarks></detail>`;
  const marker = { type: 'b-m-p-s-m', how: 'h-g-i-g-o', other };
  for (let n = 0; n < 300; n++) near.send({ do: 'send', event: { ...marker, uid: `m${n}` } });
  await healthy.waitFor({ at: 'event', uid: 'm299' });
  assert.equal(healthy.all((line) => /^m\d+$/.test(String(line.uid))).length, 300);
  assert.ok(stalled.all({ at: 'event' }).length < 300);
  const waiting = await relay.peer('stalled');
  assert.ok(waiting.queue.length > 0);
  stalled.send({ do: 'resume' });
  await crossed(near, stalled, 'after');
  const { offered, sent, dropped } = waiting.lanes[MARKER]!;
  assert.equal(offered, sent + (dropped.queue_full ?? 0));
  assert.deepEqual([stalled.violations(), healthy.violations(), relay.endings()], [[], [], []]);
});

test('what phones say in XML reaches TAK servers the way they say it, and theirs reaches phones', async (t) => {
  if (!hasStack(t, 'python')) return;
  const fars = [await startFar(t, 'grpcjs', 'takserver'), await startFar(t, 'python', 'fedhub')];
  const relay = new TestRelay(t, { one: dialling(fars[0]!), two: dialling(fars[1]!) });
  for (const link of ['one', 'two']) await relay.peer(link);
  const phone = relay.phone('phone');
  const xml = (uid: string, type: string, detail: string) => {
    const [time, stale] = [Date.now(), Date.now() + 60_000].map((ms) => new Date(ms).toISOString());
    const head = `<event version="2.0" uid="${uid}" type="${type}" how="m-g" time="${time}" start="${time}" stale="${stale}">`;
    return `${head}<point lat="1.5" lon="2.5" hae="3.5" ce="4.5" le="5.5"/><detail>${detail}</detail></event>`;
  };
  const said =
    '<contact callsign="ALFA" endpoint="*:-1:stcp"/><__group name="Red" role="HQ"/><status battery="87"/>' +
    '<precisionlocation geopointsrc="GPS" altsrc="DTED0"/><track speed="1.25" course="270.5"/><takv os="29"/>';
  phone.say(xml('alfa', 'a-f-G-U-C', said));
  phone.say(xml('change', 't-x-m-c', '<mission name="m"/>'));
  phone.say(xml('file', 'b-f-t-r', '<fileshare filename="f"/>'));
  for (const far of fars) {
    const contact = await far.waitFor({ at: 'contact', uid: 'alfa', op: 'CREATE' });
    assert.equal(contact.callsign, 'ALFA');
    const got = await far.waitFor({ at: 'event', uid: 'alfa' });
    const { lat, lon, hae, ce, le, battery, ploc, palt, speed, course } = got;
    assert.deepEqual([lat, lon, hae, ce, le, battery], [1.5, 2.5, 3.5, 4.5, 5.5, 87]);
    assert.deepEqual([ploc, palt, speed, course, got.how], ['GPS', 'DTED0', 1.25, 270.5, 'm-g']);
    assert.match(String(got.other), /<contact callsign="ALFA" endpoint="\*:-1:stcp"\/>.*<takv os="29"\/>/);
    assert.deepEqual([passed(got), hops(got)], [[relay.identity.id], { max: -1, current: 1 }]);

    far.send({ do: 'contact', contact: { uid: `b${far.port}`, callsign: 'BRAVO' } });
    far.send({ do: 'send', event: { uid: `to phone ${far.port}`, speed: 2, course: 90, battery: 50 } });
    const find = () =>
      phone.sent.find(({ message }) => message.kind === 'event' && message.event.uid.endsWith(`${far.port}`));
    const envelope = await until('the event at the phone', find, () => String(phone.log));
    const text = asXml(envelope).toString();
    assert.match(text, /<track [^>]*speed="2/);
    assert.match(text, /<status [^>]*battery="50"/);

    const chat = `<marti><dest uid="b${far.port}"/><dest callsign="BRAVO"/></marti><remarks>to you</remarks>`;
    phone.say(xml(`chat ${far.port}`, 'b-t-f', chat));
    const direct = await far.waitFor({ at: 'event', uid: `chat ${far.port}` });
    assert.deepEqual([direct.ptpUids, direct.ptpCallsigns], [[`b${far.port}`], ['BRAVO']]);
  }
  const leaves = { kind: 'contact', op: 'delete', contact: { uid: 'alfa', callsign: 'ALFA' } } as const;
  phone.port.deliver({ message: leaves, size: 1 });
  for (const far of fars) {
    await far.waitFor({ at: 'contact', uid: 'alfa', op: 'DELETE' });
    assert.deepEqual([far.violations(), far.all({ uid: 'change' }), far.all({ uid: 'file' })], [[], [], []]);
  }
});
