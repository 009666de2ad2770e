// MQTT telemetry with a real broker: what is told and found, and that a broker that is away, hangs or lies costs nothing but words.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { type IPacket, type Packet, parser } from 'mqtt-packet';
import { EventLog } from '../../src/core/events.ts';
import { aborted } from '../../src/lib/abort.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { silentLog } from '../../src/lib/log.ts';
import type { LinkContext } from '../../src/links/link.ts';
import { type Described, discoveryPayload } from '../../src/telemetry/discovery.ts';
import { MqttTelemetry, type TelemetrySettings } from '../../src/telemetry/mqtt.ts';
import { linkState, relayState } from '../../src/telemetry/state.ts';
import { statusOf } from '../api/metrics-support.ts';
import { Bench, inbound, position } from '../core/support.ts';
import { runLink } from '../links/memory.ts';
import { answerTo, packetBytes } from '../links/mqtt/fake-broker.ts';
import { Mosquitto, NO_MOSQUITTO } from '../support/mosquitto.ts';
import { makeCa, makeLeaf } from '../support/pki.ts';
import { freePorts, RelayHome } from '../support/relay-process.ts';

const skip = NO_MOSQUITTO;

async function relayFor(t: TestContext, broker: Mosquitto, keys = '', links?: string): Promise<RelayHome> {
  const home = new RelayHome(t, 'box');
  const [api, port, away] = await freePorts(3);
  const all =
    links ??
    `  - { name: phones, kind: cot, listen: "127.0.0.1:${port}" }\n  - { name: away, kind: cot, connect: "127.0.0.1:${away}" }\n`;
  home.configure(
    api!,
    `telemetry: { mqtt: { connect: "${broker.where}", interval_seconds: 5${keys} } }\nlinks:\n${all}`,
  );
  return home;
}

test('a box is found, told of, and missed', { skip }, async (t) => {
  const broker = await Mosquitto.start(t);
  const heard = await broker.listen(t, '#');
  const home = await relayFor(t, broker);
  await home.start();
  const config = await heard.said(({ topic }) => topic.startsWith('homeassistant/device/'), 'discovery');
  const { id } = await home.status();
  const base = `waystation/${id}`;
  const found = JSON.parse(config.payload);
  assert.equal(found.device.name, 'box');
  assert.equal(found.availability_topic, `${base}/availability`);
  const up = found.components.link_phones_up;
  assert.equal(up.state_topic, `${base}/link/phones`);
  assert.equal(up.expire_after, 15);
  await heard.said(({ topic, payload }) => topic === `${base}/availability` && payload === 'online');
  const state = (name: string, is: (state: Record<string, unknown>) => boolean) =>
    heard.said(({ topic, payload }) => topic === `${base}/${name}` && is(JSON.parse(payload)), name);
  await state('link/phones', ({ state, up }) => state === 'listening' && up === true);
  await state('link/away', ({ up, problem }) => up === false && problem !== null);
  await state('status', (status) => status.links_down === 1 && status.state === 'link_down');
  const late = await broker.listen(t, `${base}/#`);
  await late.until('everything, retained', () => late.all.filter(({ retained }) => retained).length >= 4);
  // Without a word: the broker says it.
  await home.kill();
  await heard.said(({ topic, payload }) => topic === `${base}/availability` && payload === 'offline', 'the will');
});

test('a broker may be away, die and come back: the relay runs, and tells it again', { skip }, async (t) => {
  const broker = await Mosquitto.start(t);
  await broker.kill();
  const home = await relayFor(t, broker);
  await home.start();
  await home.until(({ warnings }) => warnings.some(({ code }) => code.startsWith('telemetry_')), 'a warning in words');
  await broker.run();
  await home.until(({ warnings }) => !warnings.some(({ code }) => code.startsWith('telemetry_')), 'no warning');
  const heard = await broker.listen(t, 'waystation/+/availability');
  await heard.said(({ payload }) => payload === 'online');
  await home.kill('SIGTERM');
  await heard.said(({ payload }) => payload === 'offline', 'the last word');
});

test('TLS and a password from a file; a changed configuration takes hold while it runs', { skip }, async (t) => {
  const ca = makeCa({ cn: 'Broker CA' });
  const leaf = makeLeaf(ca, { cn: 'broker', eku: ['server'], sans: ['127.0.0.1'] });
  const broker = await Mosquitto.start(t, {
    files: { 'ca.pem': ca.certPem, 'b.pem': leaf.certPem, 'b.key': leaf.keyPem },
    config: 'cafile FOLDER/ca.pem\ncertfile FOLDER/b.pem\nkeyfile FOLDER/b.key\nallow_anonymous true',
  });
  const keys = ', tls: { trust: [ca.pem] }, username: box, password_file: secret';
  const home = await relayFor(t, broker, keys);
  writeFileSync(home.file('ca.pem'), makeCa({ cn: 'Other' }).certPem);
  await home.start();
  await home.until(
    ({ warnings }) => warnings.some(({ code }) => code === 'telemetry_password_unreadable'),
    'the reason',
  );
  writeFileSync(home.file('secret'), 'x');
  home.signal('SIGHUP');
  await home.until(({ warnings }) => warnings.some(({ words }) => /not trusted|trust/.test(words)), 'the next reason');
  writeFileSync(home.file('ca.pem'), ca.certPem);
  await home.until(({ warnings }) => !warnings.some(({ code }) => code.startsWith('telemetry_')), 'no warning');
  await settled('the broker to know its name', () => broker.output.includes("u'box'"));
});

/** Telemetry in this process, with a broker that answers as the script does. */
async function meet(
  t: TestContext,
  script: (packet: Packet & IPacket) => Packet | Buffer | undefined,
  intervalMs = 1_100,
) {
  const said: (Packet & IPacket)[] = [];
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    const packets = parser({ protocolVersion: 5 });
    packets.on('packet', (packet: Packet & IPacket) => {
      said.push(packet);
      const answer = script(packet);
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
  const bench = new Bench();
  let context!: LinkContext;
  runLink(t, {
    async run(own) {
      context = own;
      await aborted(own.signal);
    },
  });
  const { port } = server.address() as { port: number };
  const broker = {
    connect: { host: '127.0.0.1', port },
    tls: false,
    username: undefined,
    passwordFile: undefined,
    clientId: undefined,
  } as const;
  const settings: TelemetrySettings = { broker, topic: 'w', intervalMs, discovery: 'ha' };
  const events = new EventLog(() => Date.now());
  const telemetry = new MqttTelemetry({
    clock: systemClock,
    log: silentLog,
    events,
    snapshot: () => statusOf(bench),
    contextFor: (signal, warn) => ({ ...context, signal, warn }),
  });
  const stop = new AbortController();
  telemetry.apply(settings);
  const running = telemetry.run(stop.signal);
  const end = async () => {
    stop.abort();
    await running;
  };
  t.after(end);
  const published = () => said.filter((packet) => packet.cmd === 'publish').length;
  return { telemetry, events, said, published, end };
}

async function settled(what: string, is: () => boolean): Promise<void> {
  for (const deadline = Date.now() + 60_000; !is(); await new Promise((done) => setTimeout(done, 20))) {
    assert.ok(Date.now() < deadline, `waited in vain for ${what}`);
  }
}

test('to a broker that acknowledges nothing, one round is said and no more; stopping does not wait for it', async (t) => {
  const { published, events, end } = await meet(t, (packet) =>
    packet.cmd === 'publish' ? undefined : answerTo(packet),
  );
  await settled('the first round', () => published() >= 4);
  const first = published();
  for (let n = 0; n < 5; n++) events.add({ type: 'link_state', link: 'x', state: 'connected', detail: '' });
  await new Promise((done) => setTimeout(done, 3_000));
  assert.equal(published(), first);
  const startedMs = performance.now();
  await end();
  assert.ok(performance.now() - startedMs < 10_000);
});

test('a broker that lies, floods or refuses costs a warning with a fix', async (t) => {
  for (const answer of [
    Buffer.from('HTTP/1.1 200 OK\r\n\r\n'),
    Buffer.concat([
      packetBytes(answerTo({ cmd: 'connect' } as Packet & IPacket)!),
      Buffer.from([0x30, 0xff, 0xff, 0x7f]),
    ]),
    packetBytes({ cmd: 'connack', sessionPresent: false, reasonCode: 135 } as Packet),
  ]) {
    const { telemetry, end } = await meet(t, () => answer);
    await settled('a warning', () => telemetry.warnings.length > 0);
    const [warning] = telemetry.warnings;
    assert.match(warning!.code, /^telemetry_(not_mqtt|too_large|not_authorized)$/);
    assert.notEqual(warning!.fix, '');
    await end();
  }
});

test('a change is told soon, and only what changed', async (t) => {
  const { said, events } = await meet(t, answerTo, 3_600_000);
  const topics = () => said.flatMap((packet) => (packet.cmd === 'publish' ? [packet.topic] : []));
  await settled('the first round', () => topics().filter((topic) => topic.endsWith('/link/phones')).length === 1);
  const before = topics().length;
  events.add({ type: 'link_state', link: 'phones', state: 'waiting', detail: '' });
  await settled('news', () => topics().length > before);
  assert.deepEqual(
    topics()
      .slice(before)
      .map((topic) => topic.split('/').at(-1)),
    ['status'],
  );
});

test('every template of the discovery names a field that is told; ids are unique; what is gone is taken back', () => {
  const bench = new Bench();
  bench.join('phones/1').port.deliver(inbound(position('alpha')));
  const status = statusOf(bench);
  const box: Described = {
    id: 'ws-1',
    name: 'Box',
    version: '1',
    status: 's',
    availability: 'a',
    link: (name) => `l/${name}`,
    links: ['phones', 'a.b', 'a-b'],
    goneLinks: ['old'],
    expireAfterSeconds: 90,
  };
  const { components } = discoveryPayload(box);
  const fields = new Set([
    ...Object.keys(relayState(status)),
    ...Object.keys(linkState(status.links[0]!, status.peers)),
  ]);
  const whole = Object.values(components as Record<string, Record<string, string>>).filter(
    ({ unique_id }) => unique_id,
  );
  assert.ok(whole.length > 20);
  for (const { value_template } of whole) {
    for (const [, field] of value_template!.matchAll(/value_json\.(\w+)/g)) assert.ok(fields.has(field!), field);
  }
  const ids = whole.map(({ unique_id }) => unique_id);
  assert.equal(new Set(ids).size, ids.length);
  assert.deepEqual((components as Record<string, unknown>).link_old_up, { platform: 'binary_sensor' });
});
