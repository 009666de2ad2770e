// Brokers that lie, say too much, or nothing at all: each connection ends with words, and nothing is kept.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { type IPacket, type Packet, parser } from 'mqtt-packet';
import { ManualClock } from '../../../src/lib/clock.ts';
import { LinkError } from '../../../src/lib/errors.ts';
import { mqttKind } from '../../../src/links/mqtt/index.ts';
import { testIdentity } from '../../support/pki.ts';
import { sampleEvent } from '../contract.ts';
import { type RunOptions, runLink, until } from '../memory.ts';
import { answerTo, packetBytes } from './fake-broker.ts';

type Script = (packet: Packet & IPacket, socket: Socket) => Packet | Buffer | undefined;

/** A link with a broker that answers as the script does. */
async function meet(t: TestContext, script: Script, settings: object = {}, options: RunOptions = {}) {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    const packets = parser({ protocolVersion: 5 });
    packets.on('packet', (packet: Packet & IPacket) => {
      const answer = script(packet, socket);
      if (answer && !socket.destroyed) socket.write(Buffer.isBuffer(answer) ? answer : packetBytes(answer));
    });
    socket.on('data', (chunk) => packets.parse(chunk));
    socket.on('error', () => {});
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const connect = `127.0.0.1:${(server.address() as { port: number }).port}`;
  const link = mqttKind.create(mqttKind.schema.parse({ connect, subscribe: 'cot', publish: 'cot', ...settings }));
  return { ...runLink(t, link, { identity: testIdentity('box'), ...options }), sockets };
}

function publish(payload: Buffer | string, extra: object = {}): Packet {
  return { cmd: 'publish', topic: 'cot', payload, qos: 0, dup: false, retain: false, ...extra } as Packet;
}

/** Answers honestly until the client has subscribed, then says this. */
function thenSays(...last: readonly (Packet | Buffer)[]): Script {
  return (packet) => {
    const answer = answerTo(packet);
    if (packet.cmd !== 'subscribe' || !answer) return answer;
    return Buffer.concat([answer, ...last].map((each) => (Buffer.isBuffer(each) ? each : packetBytes(each))));
  };
}

const BAD: readonly {
  readonly name: string;
  readonly script: Script;
  readonly code: string;
  readonly settings?: object;
}[] = [
  {
    name: 'noise in place of an answer',
    script: () => Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'),
    code: 'not_mqtt',
  },
  { name: 'a packet of 256 MiB', script: thenSays(Buffer.from([0x30, 0xff, 0xff, 0xff, 0x7f])), code: 'too_large' },
  {
    name: 'a length without an end',
    script: thenSays(Buffer.from([0x30, 0xff, 0xff, 0xff, 0xff, 1])),
    code: 'not_mqtt',
  },
  { name: 'an event at QoS 2', script: thenSays(publish('x', { qos: 2, messageId: 1 })), code: 'unexpected_qos' },
  {
    name: 'a release of what never was',
    script: thenSays(packetBytes({ cmd: 'pubrel', messageId: 1 })),
    code: 'unexpected_packet',
  },
  {
    name: 'a second CONNACK',
    script: thenSays(answerTo({ cmd: 'connect' } as Packet & IPacket)!),
    code: 'unexpected_packet',
  },
  { name: 'an AUTH', script: thenSays(Buffer.from([0xf0, 0])), code: 'unexpected_packet' },
  {
    name: 'a topic alias nobody offered',
    script: thenSays(publish('x', { properties: { topicAlias: 3 } })),
    code: 'broker_lost',
  },
  {
    name: 'an event that is cut short inside',
    script: thenSays(Buffer.from([0x30, 2, 0xff, 0xff])),
    code: 'broker_lost',
  },
  {
    name: 'a refusal',
    script: () => ({ cmd: 'connack', sessionPresent: false, reasonCode: 138 }) as Packet,
    code: 'banned',
  },
  {
    name: 'MQTT 3.1.1 only',
    script: () => ({ cmd: 'connack', sessionPresent: false, reasonCode: 132 }) as Packet,
    code: 'mqtt_version',
  },
  {
    name: 'a subscription refused',
    script: (packet) =>
      packet.cmd === 'subscribe'
        ? ({ cmd: 'suback', messageId: packet.messageId!, granted: [135] } as Packet)
        : answerTo(packet),
    code: 'subscribe_refused',
  },
  {
    name: 'too few grants',
    settings: { subscribe: ['cot', 'sensors'] },
    script: (packet) =>
      packet.cmd === 'subscribe' ? { cmd: 'suback', messageId: packet.messageId!, granted: [1] } : answerTo(packet),
    code: 'closed',
  },
  {
    name: 'a goodbye with a reason',
    script: thenSays({ cmd: 'disconnect', reasonCode: 142 } as Packet),
    code: 'client_id_taken',
  },
];

for (const { name, script, code, settings } of BAD) {
  test(`${name}: the connection ends as ${code}, in words`, async (t) => {
    const { ended, sockets } = await meet(t, script, settings);
    const error = await ended;
    assert.ok(error instanceof LinkError, String(error));
    assert.equal(error.code, code, error.message);
    assert.notEqual(error.fix, '');
    for (const socket of sockets) if (!socket.closed) await once(socket, 'close');
  });
}

test('acknowledgements of what was never sent are passed over', async (t) => {
  const { hub } = await meet(
    t,
    thenSays({ cmd: 'puback', messageId: 4711, reasonCode: 0 } as Packet, publish(sampleEvent('good').wire!.bytes)),
  );
  const session = await hub.session();
  await session.event('good');
});

test('a broker that takes events and never acknowledges them is waited for in bounded memory, and not for ever', async (t) => {
  const clock = new ManualClock(Date.now());
  const script: Script = (packet) => (packet.cmd === 'publish' ? undefined : answerTo(packet));
  const { hub, ended } = await meet(t, script, {}, { clock });
  const session = await hub.session();
  let taken = 0;
  while (taken < 1000 && session.session.send(sampleEvent(`n-${taken}`), [])) taken++;
  assert.equal(taken, 20, 'what the broker allows');
  clock.advance(59_000);
  assert.equal(session.closings.length, 0);
  clock.advance(10_000);
  const { reason, returned } = await session.closing();
  assert.equal(reason, 'write_timeout');
  assert.equal(returned?.length, 20);
  assert.ok((await ended) instanceof LinkError);
});

test('an event is acknowledged when it is safe, in whatever order, and not before; others pass it meanwhile', async (t) => {
  const acknowledged: number[] = [];
  const { hub, sockets } = await meet(t, (packet) => {
    if (packet.cmd === 'puback') acknowledged.push(packet.messageId!);
    return answerTo(packet);
  });
  const session = await hub.session();
  const held: (() => void)[] = [];
  const port = session.port as { safely(done: () => void): void };
  port.safely = (done) => held.push(done);
  const [socket] = sockets;
  const say = (uid: string, messageId: number) =>
    socket!.write(packetBytes(publish(sampleEvent(uid).wire!.bytes, { qos: 1, messageId })));
  for (const id of [1, 2, 300]) say(`n-${id}`, id);
  await session.event('n-300');
  session.session.send(sampleEvent('meanwhile'), []);
  await until('its acknowledgement', () => session.arrived.length === 1);
  assert.deepEqual(acknowledged, []);
  for (const done of held.reverse()) done();
  port.safely = (done) => done();
  say('n-4', 4);
  session.session.send(sampleEvent('after'), []);
  await until('its acknowledgement', () => session.arrived.length === 2 && session.uids.length === 4);
  session.session.send(sampleEvent('last'), []);
  await until('its acknowledgement', () => session.arrived.length === 3);
  assert.deepEqual(acknowledged, [300, 2, 1, 4]);
});

test('stamps that are not to be believed make an event malformed, and no loop', async (t) => {
  const bytes = sampleEvent('x').wire!.bytes;
  const stamped = (userProperties: object) => publish(bytes, { properties: { userProperties } });
  const long = Array.from({ length: 70 }, (_, n) => `node-${n}`);
  const { hub } = await meet(
    t,
    thenSays(
      stamped({ 'waystation-path': long }),
      stamped({ 'waystation-path': 'x'.repeat(300) }),
      stamped({ 'waystation-hops': '1/2/3' }),
      stamped({ 'waystation-hops': ['1/2', '2/3'] }),
      stamped({ 'waystation-group': '' }),
      stamped({ __proto__: 'x', constructor: 'y', other: 'z' }),
    ),
  );
  const session = await hub.session();
  await session.event('x');
  assert.deepEqual(session.refused, { malformed: 5 });
});

test('whatever bytes a broker sends, the process lives and the connection ends or goes on', async (t) => {
  let state = 0x1234567;
  const random = (below: number) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  const seeds = [
    packetBytes(
      publish(sampleEvent('seed').wire!.bytes, {
        qos: 1,
        messageId: 7,
        properties: { userProperties: { a: 'b' }, contentType: 'x' },
      }),
    ),
    packetBytes({ cmd: 'puback', messageId: 1, reasonCode: 0, properties: { reasonString: 'x' } } as Packet),
    packetBytes({ cmd: 'suback', messageId: 2, granted: [1], properties: { reasonString: 'x' } } as Packet),
    packetBytes({ cmd: 'disconnect', reasonCode: 139, properties: { reasonString: 'x' } } as Packet),
    packetBytes({ cmd: 'pingresp' }),
  ];
  const mutated = () => {
    const bytes = Buffer.from(seeds[random(seeds.length)]!);
    for (let n = random(4); n >= 0; n--) bytes[random(bytes.length)] = random(256);
    return bytes.subarray(0, random(10) === 0 ? random(bytes.length) : bytes.length);
  };
  for (let round = 0; round < 150; round++) {
    const first = round % 5 === 0;
    const { ended, stop, hub } = await meet(t, (packet, socket) => {
      if (packet.cmd !== 'connect' && packet.cmd !== 'subscribe') return undefined;
      if (packet.cmd === 'connect' && !first) return answerTo(packet);
      socket.end(Buffer.concat([packetBytes(answerTo(packet)!), ...Array.from({ length: 20 }, mutated)]));
      return undefined;
    });
    assert.ok((await ended) instanceof Error);
    await stop();
    for (const session of hub.sessions) assert.equal(session.closings.length, 1);
  }
});
