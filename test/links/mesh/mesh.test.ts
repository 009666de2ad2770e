// A mesh link between real sockets on the loopback interface: what devices multicast comes in, what they have not heard goes
// out, once, in the version they can read; messages to one device go to it alone.
import assert from 'node:assert/strict';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ManualClock } from '../../../src/lib/clock.ts';
import { meshKind } from '../../../src/links/mesh/index.ts';
import { MAX_DIRECT } from '../../../src/links/mesh/limits.ts';
import { scanCot } from '../../../src/wire/cot.ts';
import { frameMesh, meshPayload, scanTak, takControlMessage, takFromXml } from '../../../src/wire/tak.ts';
import { sampleEvent } from '../contract.ts';
import { envelope, type RecordedSession, type RunningLink, runLink } from '../memory.ts';

const ON = '127.0.0.1';

/** Sockets of the test's own tell nobody when they hear: looked at now and then; the runner's deadline ends a wait in vain. */
async function eventually(_what: string, is: () => boolean): Promise<void> {
  while (!is()) await sleep(5);
}

/** Groups and ports of this process alone: test files run beside each other. */
function groups() {
  const port = 20_000 + (process.pid % 20_000);
  const last = (process.pid % 250) + 1;
  return { sa: `239.77.1.${last}:${port}`, chat: `239.77.2.${last}:${port + 1}` };
}

class Device {
  readonly socket: Socket;
  readonly heard: Buffer[] = [];
  constructor(socket: Socket) {
    this.socket = socket;
    socket.on('message', (bytes) => this.heard.push(bytes));
  }

  /** Hears a group and sends to it, as a phone on the interface does. */
  static async on(t: TestContext, group: string): Promise<Device> {
    const [host = '', port = ''] = group.split(':');
    const socket = createSocket({ type: 'udp4', reuseAddr: true });
    t.after(() => socket.close());
    socket.bind({ address: host, port: Number(port) });
    await once(socket, 'listening');
    socket.addMembership(host, ON);
    return new Device(socket);
  }

  texts(): string[] {
    return this.heard.map((bytes) => bytes.toString('latin1'));
  }
}

async function say(t: TestContext, group: string, bytes: Buffer | string): Promise<void> {
  const [host, port] = group.split(':');
  const socket = createSocket('udp4');
  t.after(() => socket.close());
  socket.bind({ address: ON, port: 0 });
  await once(socket, 'listening');
  socket.setMulticastInterface(ON);
  await new Promise<void>((done, fail) =>
    socket.send(bytes, Number(port), host, (error) => (error ? fail(error) : done())),
  );
}

interface Meshed {
  readonly link: RunningLink;
  readonly session: RecordedSession;
  readonly sa: string;
  readonly chat: string;
}

async function meshed(t: TestContext, keys: object = {}): Promise<Meshed> {
  const { sa, chat } = groups();
  const config = meshKind.schema.parse({ interfaces: ['lo'], sa, chat, ...keys });
  const link = runLink(t, meshKind.create(config));
  return { link, session: await link.hub.session(), sa, chat };
}

function xmlOf(uid: string, endpoint = '*:-1:stcp'): Buffer {
  const { wire } = sampleEvent(uid);
  return Buffer.from(wire!.bytes.toString().replace('*:-1:stcp', endpoint));
}

function directed(uid: string, to: string) {
  const xml = xmlOf(uid)
    .toString()
    .replace('a-f-G-U-C', 'b-t-f')
    .replace('</detail>', `<marti><dest uid="${to}"/></marti></detail>`);
  const bytes = Buffer.from(xml);
  return envelope({ kind: 'event', event: scanCot(bytes) }, { wire: { format: 'xml', bytes } });
}

test('what devices multicast comes in as it was sent, XML and protobuf; nobody is taken for proven', async (t) => {
  const { session, sa, chat, link } = await meshed(t);
  const xml = xmlOf('PHONE-1');
  await say(t, sa, xml);
  await say(t, chat, xmlOf('CHAT-1'));
  await say(t, sa, frameMesh(takFromXml(xmlOf('PHONE-2'), scanCot(xmlOf('PHONE-2')))));
  const { wire } = await session.event('PHONE-1');
  assert.deepEqual([wire!.format, wire!.bytes.toString()], ['xml', xml.toString()]);
  await session.event('CHAT-1');
  assert.equal((await session.event('PHONE-2')).wire!.format, 'tak');
  assert.deepEqual(
    [session.session.identity.proof, session.session.address, session.spec.key, session.spec.durable],
    ['none', ON, 'test/lo', false],
  );
  assert.match(link.reports.at(-1)!.detail, /lo 127\.0\.0\.1/);
});

test('what goes out is heard by devices and not by ourselves; what is on the mesh itself is not said again', async (t) => {
  const { session, sa, chat } = await meshed(t);
  const [all, talk] = [await Device.on(t, sa), await Device.on(t, chat)];
  assert.equal(session.session.send(sampleEvent('FAR-1'), []), true);
  await eventually('the position', () => all.heard.length === 1);
  assert.match(all.texts()[0]!, /uid="FAR-1"/);
  const chatXml = Buffer.from(xmlOf('TALK-1').toString().replace('a-f-G-U-C', 'b-t-f'));
  session.session.send(
    envelope({ kind: 'event', event: scanCot(chatXml) }, { wire: { format: 'xml', bytes: chatXml } }),
    [],
  );
  await eventually('the chat', () => talk.heard.length === 1);
  await say(t, sa, xmlOf('PHONE-1'));
  await session.event('PHONE-1');
  assert.equal(session.session.send(sampleEvent('PHONE-1'), []), true);
  assert.deepEqual(session.undeliverable, { duplicate: 1 });
  assert.deepEqual(session.uids, ['PHONE-1'], 'our own datagrams are not taken for a device’s');
  session.session.send(sampleEvent('FAR-2'), []);
  await eventually('the next', () => all.texts().some((text) => text.includes('FAR-2')));
  assert.equal(all.texts().filter((text) => text.includes('PHONE-1')).length, 1);
});

test('protobuf is spoken while all who are heard can read it, and XML as soon as one cannot', async (t) => {
  const { session, sa } = await meshed(t, { protocol: 'auto' });
  const device = await Device.on(t, sa);
  const last = async (uid: string): Promise<Buffer> => {
    session.session.send(sampleEvent(uid), []);
    const found = () =>
      device.heard.find((bytes) => {
        const tak = meshPayload(bytes);
        return tak ? tak.includes(uid) : bytes.includes(uid);
      });
    await eventually(uid, () => found() !== undefined);
    return found()!;
  };
  assert.equal(meshPayload(await last('A-1')), undefined, 'nobody is heard: XML');
  await say(t, sa, frameMesh(takControlMessage({ minVersion: 1, maxVersion: 1, contactUid: 'PHONE-1' })));
  await say(t, sa, frameMesh(takFromXml(xmlOf('PHONE-1'), scanCot(xmlOf('PHONE-1')))));
  await session.event('PHONE-1');
  const tak = meshPayload(await last('A-2'));
  assert.equal(scanTak(tak!).uid, 'A-2');
  await say(t, sa, xmlOf('OLD-1'));
  await session.event('OLD-1');
  assert.equal(meshPayload(await last('A-3')), undefined);
});

test('a message to one device goes to it by TCP, where it sends from; nobody else hears of it', async (t) => {
  const { session, sa, chat } = await meshed(t);
  const [all, talk] = [await Device.on(t, sa), await Device.on(t, chat)];
  const got: string[] = [];
  const server = createServer((socket) => {
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk;
    });
    socket.on('end', () => {
      got.push(text);
      socket.end();
    });
  });
  server.listen(0, ON);
  await once(server, 'listening');
  t.after(() => server.close());
  const { port } = server.address() as { port: number };
  await say(t, sa, xmlOf('PHONE-1', `${ON}:${port}:tcp`));
  await say(t, sa, xmlOf('LIAR-1', `192.0.2.77:${port}:tcp`));
  await session.event('PHONE-1');
  await session.event('LIAR-1');
  session.session.send(directed('TO-ONE', 'PHONE-1'), []);
  await eventually('the message', () => got.length === 1);
  assert.match(got[0]!, /uid="TO-ONE"/);
  session.session.send(directed('TO-LIAR', 'LIAR-1'), []);
  session.session.send(directed('TO-NOBODY', 'UNKNOWN'), []);
  assert.deepEqual(session.undeliverable, { no_recipient: 2 });
  assert.deepEqual(
    [all, talk].flatMap((device) => device.texts().filter((text) => /TO-/.test(text))),
    [],
  );
  await new Promise((done) => server.close(done));
  session.session.send(directed('TOO-LATE', 'PHONE-1'), []);
  await eventually('its end', () => session.undeliverable.peer_gone === 1);
});

test('devices that never answer hold up no more than a few messages, and the wire opens again', async (t) => {
  const { session, sa } = await meshed(t);
  const server = createServer({ pauseOnConnect: true });
  const open: { destroy(): void }[] = [];
  server.on('connection', (socket) => open.push(socket.on('error', () => {})));
  server.listen(0, ON);
  await once(server, 'listening');
  t.after(() => {
    for (const socket of open) socket.destroy();
    server.close();
  });
  const { port } = server.address() as { port: number };
  await say(t, sa, xmlOf('MUTE-1', `${ON}:${port}:tcp`));
  await session.event('MUTE-1');
  const taken = Array.from({ length: MAX_DIRECT + 1 }, (_, each) =>
    session.session.send(directed(`M-${each}`, 'MUTE-1'), []),
  );
  assert.deepEqual(taken, [...new Array<boolean>(MAX_DIRECT).fill(true), false]);
  await eventually('connections', () => open.length === MAX_DIRECT);
  for (const socket of open) socket.destroy();
  await eventually('room', () => session.writables > 0);
});

test('what cannot be read is counted, a flood is cut, and both end nothing', async (t) => {
  const { session, sa } = await meshed(t, { max_per_second: 50, max_event_bytes: 2_000 });
  for (const bad of [
    '',
    'hello',
    '<event/>',
    '\u00bf\u0001',
    '<!DOCTYPE x><event>',
    Buffer.from([0xbf, 2, 0xbf, 1]),
    Buffer.from([0xbf, 1, 0xbf, 0xff, 0xff]),
  ]) {
    await say(t, sa, bad);
  }
  await say(t, sa, Buffer.concat([xmlOf('BIG'), Buffer.alloc(3_000, 0x20)]));
  await say(t, sa, Buffer.from(xmlOf('PING').toString().replace('a-f-G-U-C', 't-x-c-t')));
  const sum = () => Object.values(session.refused).reduce((total, count) => total + count, 0);
  await eventually('refusals', () => sum() >= 9);
  assert.deepEqual(session.refused, { malformed: 7, too_large: 1, unsupported: 1 });
  for (let each = 0; each < 80; each++) await say(t, sa, xmlOf(`F-${each}`));
  await eventually('the cut', () => (session.refused.rate_limited ?? 0) > 0);
  assert.deepEqual(session.closings, []);
});

test('told to stop, it leaves nothing open; a port that is taken for itself alone is named', async (t) => {
  const { link, session } = await meshed(t);
  assert.equal(await link.stop(), undefined);
  assert.equal((await session.closing()).reason, 'shutdown');
  const other = createSocket('udp4');
  t.after(() => other.close());
  other.bind({ port: 0, address: '0.0.0.0' });
  await once(other, 'listening');
  const config = meshKind.schema.parse({ interfaces: ['lo'], ...groups(), udp: [other.address().port] });
  const taken = runLink(t, meshKind.create(config));
  const error = await taken.ended;
  assert.match(String(error), /cannot be listened to/);
});

test('without a network it waits and says so', async (t) => {
  const config = meshKind.schema.parse({ interfaces: ['nosuch0'], ...groups() });
  const link = runLink(t, meshKind.create(config));
  await eventually('the report', () =>
    link.reports.some(({ state, detail }) => state === 'waiting' && /nosuch0/.test(detail)),
  );
});

test('configuration: groups must be groups', () => {
  for (const bad of [{ sa: '10.0.0.1:6969' }, { sa: '239.2.3.1' }, { udp: [0] }, { ttl: 0 }, { interface: ['x'] }]) {
    assert.equal(meshKind.schema.safeParse(bad).success, false, JSON.stringify(bad));
  }
  assert.deepEqual(meshKind.schema.parse({}).sa, { host: '239.2.3.1', port: 6969 });
});

/** Says it from another address of the loopback network: another device. */
async function sayFrom(t: TestContext, group: string, bytes: Buffer, from: string): Promise<void> {
  const [host, port] = group.split(':');
  const socket = createSocket('udp4');
  t.after(() => socket.close());
  socket.bind({ address: from, port: 0 });
  await once(socket, 'listening');
  socket.setMulticastInterface(ON);
  await new Promise<void>((done) => socket.send(bytes, Number(port), host, () => done()));
}

test('a device that claims another’s uid: both addresses are named, both are passed on, and messages stay with the first', async (t) => {
  const { session, sa, link } = await meshed(t);
  const got: string[] = [];
  const ports: number[] = [];
  for (const host of ['127.0.0.2', '127.0.0.3']) {
    const server = createServer((socket) => socket.on('data', (chunk) => got.push(`${host} ${chunk}`)));
    server.listen(0, host);
    await once(server, 'listening');
    t.after(() => server.close());
    ports.push((server.address() as { port: number }).port);
  }
  const owner = () => sayFrom(t, sa, xmlOf('PHONE-1', `127.0.0.2:${ports[0]}:tcp`), '127.0.0.2');
  const thief = () => sayFrom(t, sa, xmlOf('PHONE-1', `127.0.0.3:${ports[1]}:tcp`), '127.0.0.3');
  for (const [count, speak] of [owner, thief, owner, thief].entries()) {
    await speak();
    await eventually('it to be heard', () => session.uids.length === count + 1);
    assert.equal(link.warnings.size, count < 2 ? 0 : 1, 'one that only moved is not accused');
  }
  const [warning] = link.warnings;
  assert.equal(warning!.code, 'uid_claimed');
  assert.match(warning!.words, /"PHONE-1" \("CALL-PHONE-1"\): 127\.0\.0\.2, who is written to, and 127\.0\.0\.3;/);
  session.session.send(directed('TO-ONE', 'PHONE-1'), []);
  await eventually('the message', () => got.length > 0);
  assert.match(got[0]!, /^127\.0\.0\.2 .*TO-ONE/s);
});

test('a flood of spoofed uids is cut at its rate, and the note on them bounded', async (t) => {
  const { sa, chat } = groups();
  const config = meshKind.schema.parse({ interfaces: ['lo'], sa, chat, max_per_second: 100 });
  // Time stands still, so no token comes back.
  const link = runLink(t, meshKind.create(config), { clock: new ManualClock(Date.now()) });
  const session = await link.hub.session();
  for (let n = 0; n < 150; n++) await sayFrom(t, sa, xmlOf(`U-${n % 20}`), n % 40 < 20 ? '127.0.0.2' : '127.0.0.3');
  await eventually('all of it', () => session.uids.length + (session.refused.rate_limited ?? 0) === 150);
  assert.equal(session.uids.length, 100);
  assert.equal(link.warnings.size, 20, 'each uid that two speak under, once');
  assert.deepEqual(session.closings, []);
});
