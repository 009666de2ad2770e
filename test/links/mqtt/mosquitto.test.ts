// The link with a real broker, and clients that are not ours: what crosses, how it is stamped, who gets in, and the words when not.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { LinkError } from '../../../src/lib/errors.ts';
import { mqttKind } from '../../../src/links/mqtt/index.ts';
import { disconnectXml } from '../../../src/wire/cot-write.ts';
import { takFromXml } from '../../../src/wire/tak.ts';
import { atakSa, sensor } from '../../fixtures/events.ts';
import { Mosquitto, NO_MOSQUITTO } from '../../support/mosquitto.ts';
import { makeCa, makeLeaf, testIdentity } from '../../support/pki.ts';
import { sampleEvent } from '../contract.ts';
import { envelope, type RunOptions, runLink, until } from '../memory.ts';

const skip = NO_MOSQUITTO;
const identity = testIdentity('box');

function link(settings: object) {
  return mqttKind.create(mqttKind.schema.parse(settings));
}

function start(t: TestContext, broker: Mosquitto, settings: object, options: RunOptions = {}) {
  return runLink(t, link({ connect: broker.where, ...settings }), { identity, ...options });
}

async function failure(
  t: TestContext,
  broker: Mosquitto,
  settings: object,
  options: RunOptions = {},
): Promise<LinkError> {
  const error = await start(t, broker, { publish: 'cot', ...settings }, options).ended;
  assert.ok(error instanceof LinkError, String(error));
  return error;
}

test('XML and TAK protobuf come in as they were published', { skip }, async (t) => {
  const broker = await Mosquitto.start(t);
  const { hub } = start(t, broker, { subscribe: ['cot/#'] });
  const session = await hub.session();
  const xml = sensor(Date.now());
  await broker.publish('cot/one', xml.toString());
  const first = await until('the event', () => session.events[0]);
  assert.deepEqual(first.wire, { format: 'xml', bytes: xml });
  assert.equal(first.provenance, undefined);
  const sa = atakSa(Date.now(), { uid: 'by-protobuf' });
  const file = join(broker.folder, 'event.bin');
  const { message } = sampleEvent('by-protobuf');
  assert.ok(message.kind === 'event');
  writeFileSync(file, Buffer.concat([Buffer.from([0xbf, 1, 0xbf]), takFromXml(sa, message.event)]));
  const args = ['-h', '127.0.0.1', '-p', String(broker.port), '-V', 'mqttv5', '-t', 'cot/two', '-f', file];
  assert.equal(spawnSync('mosquitto_pub', args).status, 0);
  const second = await session.event('by-protobuf');
  assert.equal(second.wire?.format, 'tak');
});

test('what cannot be read is counted, and the next event comes', { skip }, async (t) => {
  const broker = await Mosquitto.start(t);
  const { hub } = start(t, broker, { subscribe: ['cot/#'], max_event_bytes: 8192 });
  const session = await hub.session();
  await broker.publish('cot/x', 'hello');
  await broker.publish('cot/x', '{"lat":1,"lon":2}');
  await broker.publish('cot/x', '<event/>');
  await session.drop('malformed', 3);
  await broker.publish('cot/x', '');
  await broker.publish('cot/x', 'x'.repeat(9000));
  await session.drop('too_large');
  await broker.publish('cot/x', disconnectXml('gone', 'a-f-G', Date.now()).toString());
  const { message } = await until('the leave', () => session.delivered[0]);
  assert.deepEqual(message, { kind: 'contact', op: 'delete', contact: { uid: 'gone', callsign: '' } });
  await broker.publish('cot/x', sensor(Date.now()).toString());
  await until('the event', () => session.events[0]);
  assert.deepEqual(session.refused, { malformed: 3, too_large: 1 });
});

test('JSON of a sensor becomes an event, when the link takes it', { skip }, async (t) => {
  const broker = await Mosquitto.start(t);
  const { hub } = start(t, broker, { subscribe: 'sensors/+', json: { stale_seconds: 60 } });
  const session = await hub.session();
  const tst = Math.floor(Date.now() / 1000);
  await broker.publish(
    'sensors/truck',
    JSON.stringify({ _type: 'location', tid: 'TR', lat: 48.5, lon: -24.25, tst, vel: 36, cog: 90 }),
  );
  const { message, wire } = await until('the event', () => session.events[0]);
  assert.ok(message.kind === 'event');
  const { uid, type, callsign, lat, lon, timeMs, staleMs } = message.event;
  const expected = { uid: 'mqtt-sensors/truck', type: 'a-f-G-E-S', callsign: 'TR', lat: 48.5, lon: -24.25 };
  assert.deepEqual({ uid, type, callsign, lat, lon }, expected);
  assert.deepEqual([timeMs, staleMs], [tst * 1000, tst * 1000 + 60_000]);
  assert.match(wire!.bytes.toString(), /<track speed="10.0" course="90.0"\/>/);
});

test('what goes out has its topic, its stamps, and an end', { skip }, async (t) => {
  const broker = await Mosquitto.start(t);
  const heard = await broker.listen(t, 'cot/#');
  const { hub } = start(t, broker, { publish: 'cot/{type/}/{uid}', retain: true });
  const session = await hub.session();
  const { message, wire } = sampleEvent('a/b#c+d');
  const provenance = [{ id: 'far', name: 'Far' }];
  const expiresMs = performance.now() + 60_000;
  const sent = envelope(message, { wire, provenance, hops: { current: 1, max: 4 }, expiresMs });
  assert.equal(session.session.send(sent, ['Blue', 'Red']), true);
  const said = await heard.said(() => true);
  assert.equal(said.topic, 'cot/a/f/G/U/C/a%2Fb%23c%2Bd');
  assert.ok(Number(said.expiry) > 50 && Number(said.expiry) <= 60);
  for (const pair of [
    'waystation-path:far',
    `waystation-path:${identity.id}`,
    'waystation-hops:2/4',
    'waystation-group:Blue',
    'waystation-group:Red',
  ])
    assert.ok(said.properties.includes(pair), `${said.properties} has ${pair}`);
  const late = await broker.listen(t, 'cot/#');
  assert.equal((await late.said(() => true)).retained, true);
});

test('a relay knows what it published itself, and another knows where it has been', { skip }, async (t) => {
  const broker = await Mosquitto.start(t);
  // Past the check of the configuration, which refuses it: what is shared is handed back.
  const settings = mqttKind.schema.parse({ connect: broker.where, subscribe: 'cot/#', publish: 'cot/{uid}' });
  const alone = runLink(t, mqttKind.create({ ...settings, share: 'one' }), { identity });
  const session = await alone.hub.session();
  session.session.send(sampleEvent('mine'), []);
  // The hub will see that it has been here.
  const back = await session.event('mine');
  assert.deepEqual(back.provenance, [{ id: identity.id, name: '' }]);
  assert.deepEqual(back.hops, { current: 1, max: -1 });
  const other = start(t, broker, { subscribe: 'cot/#', publish: 'cot/{uid}' }, { identity: testIdentity('other') });
  const elsewhere = await other.hub.session();
  elsewhere.session.send(sampleEvent('not-back'), []);
  session.session.send(sampleEvent('across'), []);
  assert.deepEqual((await elsewhere.event('across')).provenance, [{ id: identity.id, name: '' }]);
  assert.ok(!elsewhere.uids.includes('not-back'), 'no local: the broker does not hand it back');
});

test('TLS: believed by CA or pin, in by certificate or password, refused in words', { skip }, async (t) => {
  const ca = makeCa({ cn: 'Broker CA' });
  const leaf = makeLeaf(ca, { cn: 'broker', eku: ['server'], sans: ['127.0.0.1'] });
  const elsewhere = makeLeaf(ca, { cn: 'broker', eku: ['server'], sans: ['example.org'] });
  const client = makeLeaf(ca, { cn: 'box', eku: ['client'] });
  const folder = mkdtempSync(join(tmpdir(), 'waystation-mqtt-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const files = {
    'ca.pem': ca.certPem,
    'other.pem': makeCa({ cn: 'Other' }).certPem,
    'c.pem': client.certPem,
    'c.key': client.keyPem,
    secret: 'right\n',
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  const tlsLines = 'cafile FOLDER/ca.pem\ncertfile FOLDER/b.pem\nkeyfile FOLDER/b.key\n';
  const brokerFiles = { 'ca.pem': ca.certPem, 'b.pem': leaf.certPem, 'b.key': leaf.keyPem };
  const byCertificate = await Mosquitto.start(t, {
    files: brokerFiles,
    config: `${tlsLines}require_certificate true\nuse_identity_as_username true`,
  });
  const own = { cert: 'c.pem', key: 'c.key' };
  const options = { baseDir: folder };
  const good = start(t, byCertificate, { publish: 'cot', tls: { trust: ['ca.pem'], ...own } }, options);
  const { session } = await good.hub.session();
  assert.equal(session.identity.proof, 'certificate');
  const pinned = start(
    t,
    byCertificate,
    { publish: 'cot', client_id: 'two', tls: { trust: [`SHA256:${leaf.fingerprint}`], ...own } },
    options,
  );
  await pinned.hub.session();
  const stranger = await failure(t, byCertificate, { tls: { trust: ['other.pem'], ...own } }, options);
  assert.match(stranger.message, /not trusted|not signed|trust/i);
  assert.notEqual(stranger.fix, '');
  await failure(t, byCertificate, { tls: { trust: ['ca.pem'] } }, options); // our own certificate, which the broker does not know
  const named = await Mosquitto.start(t, {
    files: { ...brokerFiles, 'b.pem': elsewhere.certPem, 'b.key': elsewhere.keyPem },
    config: `${tlsLines}allow_anonymous true`,
  });
  assert.equal((await failure(t, named, { tls: { trust: ['ca.pem'] } }, options)).code, 'name_mismatch');
  await start(t, named, { publish: 'cot', tls: { trust: ['ca.pem'], verify_name: false } }, options).hub.session();
});

test('a password is read from its file; a wrong one, a forbidden topic and a taken id are told in words', {
  skip,
}, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'waystation-mqtt-'));
  t.after(() => rmSync(folder, { recursive: true }));
  spawnSync('mosquitto_passwd', ['-c', '-b', join(folder, 'passwd'), 'box', 'right']);
  writeFileSync(join(folder, 'right'), 'right\n');
  writeFileSync(join(folder, 'wrong'), 'wrong');
  const acl = 'user box\ntopic readwrite cot/#\n';
  const broker = await Mosquitto.start(t, {
    files: { acl },
    config: `allow_anonymous false\npassword_file ${folder}/passwd\nacl_file FOLDER/acl`,
  });
  const login = (password: string) => ({ username: 'box', password_file: password });
  const options = { baseDir: folder };
  const wrong = await failure(t, broker, login('wrong'), options);
  assert.match(wrong.code, /bad_password|not_authorized/);
  assert.match(wrong.fix, /password_file/);
  assert.match((await failure(t, broker, {}, options)).code, /bad_password|not_authorized/);
  const running = start(t, broker, { ...login('right'), client_id: 'same', publish: 'other/{uid}' }, options);
  const session = await running.hub.session();
  session.session.send(sampleEvent('forbidden'), []);
  await until('the refusal', () => session.undeliverable.filtered_out);
  assert.match((await running.refusal('publish_refused')).words, /Not authorized/);
  const rival = start(t, broker, { ...login('right'), client_id: 'same', publish: 'cot' }, options);
  await rival.hub.session();
  const taken = await running.ended;
  assert.ok(taken instanceof LinkError);
  // Mosquitto before 2.0.15 hangs up without a reason.
  assert.match(taken.code, /client_id_taken|closed/);
  assert.match(`${taken.message} ${taken.fix}`, /client.id/);
});

test('what was not acknowledged when the broker died is given back', { skip }, async (t) => {
  const broker = await Mosquitto.start(t);
  const running = start(t, broker, { publish: 'cot' });
  const session = await running.hub.session();
  broker.freeze();
  const sent = ['one', 'two', 'three'];
  for (const uid of sent) assert.equal(session.session.send(sampleEvent(uid), []), true);
  await broker.kill();
  const { returned = [] } = await session.closing();
  assert.deepEqual(
    returned.map(({ message }) => message.kind === 'event' && message.event.uid),
    sent,
  );
  assert.ok((await running.ended) instanceof LinkError);
});
