// What an mqtt link's configuration may say, how topics are made, and how sensors are read.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ProtocolError } from '../../../src/lib/errors.ts';
import { PacketGuard } from '../../../src/links/mqtt/guard.ts';
import { mqttKind } from '../../../src/links/mqtt/index.ts';
import { sensorXml } from '../../../src/links/mqtt/sensor.ts';
import { readStamps, userProperties } from '../../../src/links/mqtt/stamps.ts';
import { filterTrouble, mayMatch, templateTrouble, topicOf } from '../../../src/links/mqtt/topics.ts';
import { scanCot, scanCotStrict } from '../../../src/wire/cot.ts';

const BASE = { connect: 'broker:1883' };

function words(settings: object): string {
  const result = mqttKind.schema.safeParse({ ...BASE, ...settings });
  return result.success
    ? 'good'
    : result.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('; ');
}

test('mistakes in the configuration are told in words', () => {
  assert.equal(words({ subscribe: 'in/#', publish: 'cot/{uid}', share: 'hubs' }), 'good');
  assert.match(words({}), /needs subscribe, publish or both/);
  assert.match(words({ subscribe: 'a/#/b' }), /subscribe.*\+ stands for one whole level/);
  assert.match(words({ subscribe: '$share/x/y' }), /name the group with share/);
  assert.match(words({ publish: 'cot/+' }), /without \+ and #/);
  assert.match(words({ publish: 'cot/{who}' }), /\{who\} is not known/);
  assert.match(words({ publish: 'cot', share: 'x' }), /share: only with subscribe/);
  assert.match(words({ subscribe: ['a', 'cot/#'], publish: 'cot/{uid}', share: 'x' }), /publish: .*\(cot\/#\)/);
  assert.match(words({ subscribe: 'x', share: 'y', keep_session_seconds: 5 }), /not with share/);
  assert.match(words({ publish: 'x', tls: { cert: 'a', trust: ['ca.pem'] } }), /private key to cert is missing/);
  assert.match(words({ publish: 'x', tls: {} }), /tls.trust: name the file/);
  assert.match(words({ publish: 'x', tls: true }), /tls: say whom to believe/);
  assert.match(words({ publish: 'x', password_file: 'f' }), /username/);
  assert.match(words({ publish: 'x', connect: 'broker' }), /host and port/);
  assert.match(words({ publish: 'x', qos: 2 }), /qos/);
});

test('names are checked against the certificate, unless only pins are trusted', () => {
  const pin = `SHA256:${'ab'.repeat(32)}`;
  const verifies = (tls: object) => {
    const { broker } = mqttKind.schema.parse({ ...BASE, publish: 'x', tls });
    return broker.tls ? broker.tls.verifyName : undefined;
  };
  assert.equal(verifies({ trust: ['ca.pem'] }), true);
  assert.equal(verifies({ trust: ['ca.pem', pin] }), true);
  assert.equal(verifies({ trust: [pin] }), false);
  assert.equal(verifies({ trust: ['ca.pem'], verify_name: false }), false);
});

test('no uid or type chooses another topic', () => {
  const parts = { uid: '../$SYS/#', type: 'a-f-G', node: 'n' };
  assert.equal(topicOf('cot/{type/}/{uid}', parts), 'cot/a/f/G/..%2F$SYS%2F%23');
  assert.equal(topicOf('{uid}', { ...parts, uid: '$SYS' }), '%24SYS');
  assert.equal(topicOf('{node}/{type}', { ...parts, type: 'a+b\u0000%\ud800' }), 'n/a%2Bb%00%25\ufffd');
  for (const uid of ['a/b', '+', '#', '\n', '$x', 'é'.repeat(400), '\u200b']) {
    const topic = topicOf('{uid}/x', { ...parts, uid });
    assert.equal(filterTrouble(topic), undefined, topic);
    assert.equal(topic.split('/').length, 2);
  }
  assert.equal(templateTrouble('cot/{type}/{uid'), 'a brace is not closed');
});

test('whether an event may come back is known beforehand', () => {
  const back = [
    ['cot/{uid}', 'cot/+'],
    ['cot/{type/}/{uid}', 'cot/a/+'],
    ['cot/x{uid}', 'cot/xy'],
    ['a/b', 'a/b'],
    ['a/b', '#'],
    ['{node}', 'x'],
  ] as const;
  const away = [
    ['cot/{uid}', 'cot'],
    ['cot/{uid}', 'tak/#'],
    ['cot/{uid}', 'cot/+/x'],
    ['a/b/c', 'a/+'],
    ['out/{type/}/{uid}', 'in/#'],
  ] as const;
  for (const [template, filter] of back) assert.equal(mayMatch(template, filter), true, `${template} ${filter}`);
  for (const [template, filter] of away) assert.equal(mayMatch(template, filter), false, `${template} ${filter}`);
});

test('stamps come back as they were given, and broken ones are refused', () => {
  const stamps = { provenance: [{ id: 'a', name: 'A' }], hops: { current: 2, max: -1 }, groups: ['Blue'] };
  const properties = userProperties(stamps, 'me')!;
  assert.deepEqual(readStamps(properties), {
    provenance: [
      { id: 'a', name: '' },
      { id: 'me', name: '' },
    ],
    hops: { current: 3, max: -1 },
    groups: ['Blue'],
  });
  assert.deepEqual(readStamps({}), {});
  assert.equal(readStamps({ 'waystation-hops': 'x' }), undefined);
  const long = Array.from({ length: 64 }, (_, n) => ({ id: `n${n}`, name: '' }));
  assert.equal(userProperties({ ...stamps, provenance: long }, 'me'), undefined);
});

test('sensors: what is read, and what is refused', () => {
  const rules = { type: 'a-f-G-E-S', staleMs: 60_000 };
  const read = (json: unknown, topic = 't') => {
    const xml = sensorXml(Buffer.from(JSON.stringify(json)), topic, rules, 1_000_000);
    assert.deepEqual(scanCot(xml), scanCotStrict(xml));
    return scanCot(xml);
  };
  const { uid, type, callsign, hae, timeMs, staleMs } = read({
    uid: 'x<&">',
    lat: 1,
    lon: 2,
    alt: 3,
    name: 'N"',
    time: '2026-01-01T00:00:00Z',
    cot_type: 'a-n-G',
    remarks: ']]> </event>',
    battery: 50,
  });
  const at = Date.UTC(2026, 0, 1);
  assert.deepEqual(
    { uid, type, callsign, hae, timeMs, staleMs },
    { uid: 'x<&">', type: 'a-n-G', callsign: 'N"', hae: 3, timeMs: at, staleMs: at + 60_000 },
  );
  assert.equal(read({ latitude: 1, longitude: 2, id: 7, timestamp: 1_700_000_000_123 }).timeMs, 1_700_000_000_123);
  assert.equal(read({ lat: 1, lon: 2, uid: null }, 'a/b').uid, 'mqtt-a/b');
  const bad: unknown[] = [
    {},
    { lat: 91, lon: 0 },
    { lat: '1', lon: 2 },
    [],
    5,
    { lat: 1, lon: 2, cot_type: 'a"b' },
    { lat: 1, lon: 2, uid: 'a\u0000' },
    { lat: 1, lon: 2, text: 'x'.repeat(9000) },
    { lat: 1, lon: 2, time: 'today' },
    { lat: 1, lon: null },
  ];
  for (const json of bad) assert.throws(() => read(json), ProtocolError, JSON.stringify(json).slice(0, 60));
  for (const text of ['{', '{"lat":1e999,"lon":1}', '{'.repeat(4000)]) {
    assert.throws(() => sensorXml(Buffer.from(text), 't', rules, 0), ProtocolError);
  }
});

test('the guard follows packets however they are cut', () => {
  const stream = Buffer.concat([
    Buffer.from([0x20, 3, 0, 0, 0]),
    Buffer.from([0x30, 0x85, 0x01]),
    Buffer.alloc(133, 0xff),
    Buffer.from([0xd0, 0, 0x40, 2, 0, 1]),
  ]);
  for (let cut = 1; cut < stream.length; cut++) {
    const guard = new PacketGuard(133);
    guard.check(stream.subarray(0, cut));
    guard.check(stream.subarray(cut));
  }
  const byByte = new PacketGuard(133);
  for (const byte of stream) byByte.check(Buffer.from([byte]));
  assert.throws(() => new PacketGuard(132).check(stream), /133 bytes; 132 is the most/);
  assert.throws(() => new PacketGuard(1000).check(Buffer.from([0x30, 0])), /does not answer as an MQTT broker/);
});
