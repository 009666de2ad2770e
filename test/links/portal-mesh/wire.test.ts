import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ProtocolError } from '../../../src/lib/errors.ts';
import {
  greetingBytes,
  keyHashOf,
  METHOD,
  readGreeting,
  readRequest,
  readResponse,
  requestBytes,
  responseBytes,
} from '../../../src/links/portal-mesh/wire.ts';

const code = (run: () => unknown) => {
  try {
    run();
  } catch (error) {
    return error instanceof ProtocolError ? error.code : error;
  }
  return undefined;
};

test('a handshake is the documented bytes: magic, hash of the key, name, no peers', () => {
  const bytes = greetingBytes({ name: 'box', keyHash: keyHashOf('secret') });
  // printf secret | sha256sum
  const hash = '2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b';
  assert.equal(bytes.toString('hex'), `504f5254414c3032${hash}0003626f780000`);
  assert.deepEqual(keyHashOf(undefined), Buffer.alloc(32));
});

test('a handshake is read however it is split, with the peers it advertises passed over', () => {
  const head = greetingBytes({ name: 'hub-1', keyHash: keyHashOf('k') }).subarray(0, -2);
  const whole = Buffer.concat([head, Buffer.from('0002000161000462626262', 'hex'), Buffer.from('rest')]);
  const end = whole.length - 4;
  for (let length = 0; length < end; length++) assert.equal(readGreeting(whole.subarray(0, length)), undefined);
  const found = readGreeting(whole)!;
  assert.deepEqual([found.greeting.name, found.end], ['hub-1', end]);
});

test('handshakes that are none are refused by name', () => {
  const greeting = (name: string) => greetingBytes({ name, keyHash: keyHashOf(undefined) });
  assert.equal(
    code(() => readGreeting(Buffer.from('SSH-2.0'))),
    'mesh_magic',
  );
  assert.equal(
    code(() => readGreeting(greeting('../etc'))),
    'mesh_name',
  );
  assert.equal(
    code(() => readGreeting(greeting('n'.repeat(64)))),
    'mesh_name',
  );
  const endless = Buffer.concat([greeting('n').subarray(0, -2), Buffer.from('ffff', 'hex'), Buffer.alloc(5000)]);
  assert.equal(
    code(() => readGreeting(endless)),
    'mesh_handshake',
  );
});

test('a request is the documented bytes, and comes back; so does an answer', () => {
  const request = { id: 5n, method: METHOD.get, path: '/a', headers: { k: 'v' }, body: Buffer.from('x') };
  const bytes = requestBytes(request);
  assert.equal(
    bytes.toString('hex'),
    '0000001b000000000000000501' + '00022f61' + '000100016b000176' + '0000000178' + '00',
  );
  assert.deepEqual(
    { ...readRequest(bytes.subarray(4)) },
    { ...request, headers: Object.assign(Object.create(null), { k: 'v' }) },
  );
  const answer = responseBytes({ status: 200, headers: {}, body: Buffer.from('ok') });
  assert.equal(answer.toString('hex'), '0000000a00c80000000000026f6b');
  assert.equal(readResponse(answer.subarray(4)).body.toString(), 'ok');
});

test('every frame cut short, and each that goes on behind its end, is refused', () => {
  const request = requestBytes({
    id: 1n,
    method: 1,
    path: '/core/status',
    headers: { a: 'b' },
    body: Buffer.alloc(3),
  }).subarray(4);
  const answer = responseBytes({ status: 404, headers: { a: 'b' }, body: Buffer.alloc(3) }).subarray(4);
  for (let end = 0; end < request.length; end++)
    assert.equal(
      code(() => readRequest(request.subarray(0, end))),
      'mesh_frame',
    );
  for (let end = 0; end < answer.length; end++)
    assert.equal(
      code(() => readResponse(answer.subarray(0, end))),
      'mesh_frame',
    );
  assert.equal(
    code(() => readRequest(Buffer.concat([request, Buffer.alloc(1)]))),
    'mesh_frame',
  );
  assert.equal(
    code(() => readResponse(Buffer.concat([answer, Buffer.alloc(1)]))),
    'mesh_frame',
  );
});

test('counts and texts that lie are refused before anything is made of them', () => {
  const many = Buffer.concat([
    Buffer.alloc(9),
    Buffer.from('0000', 'hex'),
    Buffer.from('ffff', 'hex'),
    Buffer.alloc(300_000),
  ]);
  assert.equal(
    code(() => readRequest(many)),
    'mesh_frame',
  );
  const long = Buffer.concat([Buffer.alloc(9), Buffer.from('ffff', 'hex'), Buffer.alloc(70_000)]);
  assert.equal(
    code(() => readRequest(long)),
    'mesh_frame',
  );
});
