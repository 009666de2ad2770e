// The keys of a portal link: what they become, and what is refused with which words.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { DEFAULT_POLICY } from '../../../src/core/policy.ts';
import { FatalError } from '../../../src/lib/errors.ts';
import { federationKey, portalSchema } from '../../../src/links/portal/config.ts';

const PIN = 'ab'.repeat(32);
const OTHER = 'cd'.repeat(32);
const KEY = 'sixteen letters!';

function problems(settings: object): readonly string[] {
  const result = portalSchema.safeParse(settings);
  return result.success ? [] : result.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`);
}

test('the least that works, and its defaults', () => {
  const { expose, tunnels, ...config } = portalSchema.parse({ federation_key: KEY });
  assert.deepEqual(config, {
    listen: [],
    federationKey: KEY,
    federationKeyFile: undefined,
    hub: false,
    workers: 4,
    keepaliveMs: 25_000,
    peers: [],
  });
  assert.equal(expose.size, 0);
  assert.equal(tunnels.acceptFrom, undefined);
});

test('a peer with everything', () => {
  const colons = PIN.toUpperCase().match(/../g)!.join(':');
  const { peers, listen } = portalSchema.parse({
    listen: [9090, '10.0.0.1:9091'],
    federation_key_file: 'key.txt',
    peers: [
      { name: 'hq', pin: `SHA256:${colons}`, address: 'hq.example.org:9090', workers: 8, policy: { out: false } },
      { name: 'b', pin: OTHER, hub: 'hq', auto_connect: false },
    ],
  });
  assert.deepEqual(listen, [
    { host: '', port: 9090 },
    { host: '10.0.0.1', port: 9091 },
  ]);
  assert.deepEqual(peers, [
    {
      name: 'hq',
      pin: PIN,
      federationKey: undefined,
      federationKeyFile: undefined,
      address: { host: 'hq.example.org', port: 9090 },
      hubs: [],
      autoConnect: true,
      policy: { ...DEFAULT_POLICY, out: false },
      workers: 8,
      packing: { compress: 'auto', positions: 'exact' },
    },
    {
      name: 'b',
      pin: OTHER,
      federationKey: undefined,
      federationKeyFile: undefined,
      address: undefined,
      hubs: ['hq'],
      autoConnect: false,
      policy: undefined,
      workers: undefined,
      packing: { compress: 'auto', positions: 'exact' },
    },
  ]);
});

test('mistakes, in words', () => {
  const peer = { name: 'b', pin: PIN };
  const cases: readonly (readonly [object, RegExp])[] = [
    [{}, /^federation_key: .*there is no default/],
    [{ federation_key: 'short' }, /^federation_key: expected 16 characters or more/],
    [{ federation_key: KEY, federation_key_file: 'x' }, /^federation_key_file: either/],
    [{ federation_key: KEY, hub: true }, /^listen: a hub must listen/],
    [{ federation_key: KEY, listen: 'nowhere' }, /^listen: .*expected a port|Invalid input/],
    [{ federation_key: KEY, peers: [{ name: 'B b', pin: PIN }] }, /^peers.0.name: expected 1 to 32/],
    [{ federation_key: KEY, peers: [{ name: 'direct', pin: PIN }] }, /^peers.0.name: is taken for something else/],
    [{ federation_key: KEY, peers: [{ name: 'b' }] }, /^peers.0.pin/],
    [{ federation_key: KEY, peers: [{ name: 'b', pin: 'SHA256:12' }] }, /^peers.0.pin: expected SHA256: and the 64/],
    [{ federation_key: KEY, peers: [{ ...peer, address: 'host' }] }, /^peers.0.address: expected a host and port/],
    [{ federation_key: KEY, peers: [peer, { name: 'b', pin: OTHER }] }, /^peers.1.name: already the name/],
    [{ federation_key: KEY, peers: [peer, { name: 'c', pin: PIN }] }, /^peers.1.pin: already the pin/],
    [{ federation_key: KEY, peers: [{ ...peer, hub: 'x' }] }, /^peers.0.hub: no peer is called x/],
    [{ federation_key: KEY, peers: [{ ...peer, hub: ['b'] }] }, /^peers.0.hub: a peer is no hub to itself/],
    [{ federation_key: KEY, peers: [{ ...peer, policy: { outt: true } }] }, /^peers.0.policy: .*outt/],
    [{ federation_key: KEY, keepalive_seconds: 5 }, /^keepalive_seconds/],
    [{ federation_key: KEY, peer: [] }, /peer/],
  ];
  for (const [settings, words] of cases) {
    const found = problems(settings);
    assert.ok(
      found.some((line) => words.test(line)),
      `${JSON.stringify(settings)}: ${found}`,
    );
  }
});

test('the key, from the file or beside it; white space around it does not count', (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'ws-portal-'));
  t.after(() => rmSync(dir, { recursive: true }));
  const keyOf = (settings: object) => federationKey(portalSchema.parse(settings), dir);
  assert.deepEqual(keyOf({ federation_key: KEY }), Buffer.from(KEY));
  writeFileSync(join(dir, 'key'), `\n  ${KEY}\r\n`);
  assert.deepEqual(keyOf({ federation_key_file: 'key' }), Buffer.from(KEY));
  const fails = (name: string, code: string) =>
    assert.throws(
      () => keyOf({ federation_key_file: name }),
      (error) => error instanceof FatalError && error.code === code && error.fix !== '',
    );
  fails('missing', 'key_unreadable');
  fails('.', 'key_unreadable');
  writeFileSync(join(dir, 'short'), ' short \n');
  fails('short', 'key_too_short');
  writeFileSync(join(dir, 'large'), 'x'.repeat(10_000));
  fails('large', 'key_unreadable');
});
