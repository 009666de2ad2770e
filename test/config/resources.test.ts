// The section `resources:`: what maps, what restricts, and every mistake in words.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseConfig } from '../../src/config/load.ts';
import { formatProblems } from '../../src/config/problem.ts';
import type { ResourceEntry } from '../../src/config/resources.ts';
import { kinds } from '../fixtures/config/kinds.ts';

function good(text: string): readonly ResourceEntry[] {
  const parsed = parseConfig(text, { path: 'f', kinds });
  if ('config' in parsed) return parsed.config.resources;
  return assert.fail(formatProblems(parsed.problems, 'f'));
}

function wrong(entry: string, before = ''): string {
  const parsed = parseConfig(`${before}resources:\n  - ${entry}\n`, { path: 'f', kinds });
  if ('config' in parsed) return assert.fail(`${entry} was accepted`);
  return formatProblems(parsed.problems, 'f');
}

test('an entry maps a path to a service; reading is the default', () => {
  const entries = good(`
resources:
  - { path: /iot, to: "http://127.0.0.1:8123/api/", peers: [hq] }
  - { path: /camera/gate, to: "http://camera.local", methods: [GET, PUT], peers: ["hub/relay-a", "*"] }
  - { path: /plug, to: "http://[::1]:80", peers: [hq] }
`);
  assert.deepEqual(entries, [
    { path: '/iot', to: { host: '127.0.0.1', port: 8123, base: '/api' }, methods: ['GET'], peers: ['hq'] },
    {
      path: '/camera/gate',
      to: { host: 'camera.local', port: 80, base: '' },
      methods: ['GET', 'PUT'],
      peers: ['hub/relay-a', '*'],
    },
    { path: '/plug', to: { host: '::1', port: 80, base: '' }, methods: ['GET'], peers: ['hq'] },
  ]);
});

test('an entry of a path of the relay itself says who may', () => {
  const entries = good(
    'resources: [{ path: /status, peers: [hq] }, { path: /node, peers: [hq] }, { path: /node/b, methods: [GET, POST], peers: [hq] }]',
  );
  assert.deepEqual(
    entries.map(({ path, to }) => [path, to]),
    [
      ['/status', undefined],
      ['/node', undefined],
      ['/node/b', undefined],
    ],
  );
});

test('no section, or an empty one, is no entries', () => {
  for (const text of ['', 'resources:', 'resources: []']) assert.deepEqual(good(text), []);
});

test('mistakes are named with their place', () => {
  const to = 'to: "http://127.0.0.1:1"';
  assert.match(wrong(`{ path: /iot, peers: [hq] }`), /resources\[0\]\.to: missing; the HTTP service/);
  assert.match(wrong(`{ path: /status, ${to}, peers: [hq] }`), /resources\[0\]\.to: .*answered by the relay itself/);
  assert.match(wrong(`{ path: /node/b, ${to}, peers: [hq] }`), /answered by the relay itself/);
  assert.match(wrong(`{ path: /status, methods: [POST], peers: [hq] }`), /methods: .*only be read/);
  for (const path of ['/probe', '/hub/tunnel', '/tunnel', '/splice/x', '/status/x', '/units/a', '/node/b/c']) {
    assert.match(wrong(`{ path: ${path}, ${to}, peers: [hq] }`), /the relay keeps this path/, path);
  }
  for (const path of ['iot', '/', '/iot/', '/../x', '/a//b', '/IOT', '/a%2f', '"/a b"', '/a/b/c/d/e']) {
    assert.match(wrong(`{ path: ${path}, ${to}, peers: [hq] }`), /expected a path such as/, path);
  }
  assert.match(wrong(`{ path: /iot, ${to}, peers: [] }`), /peers: needs at least 1/);
  assert.match(wrong(`{ path: /iot, ${to} }`), /peers: missing/);
  assert.match(wrong(`{ path: /iot, ${to}, peers: ["a/*"] }`), /a peer’s name/);
  assert.match(wrong(`{ path: /iot, ${to}, peers: [hq], methods: [CALL] }`), /methods\[0\]: expected one of GET, PUT/);
  assert.match(wrong(`{ path: /iot, ${to}, pers: [hq], peers: [hq] }`), /pers: unknown key, did you mean "peers"/);
});

test('a service is an http URL without secrets, and not this relay', () => {
  for (const url of ['https://127.0.0.1', 'file:///etc/passwd', '127.0.0.1:80', 'ftp://x', 'unix:/run/x', 'http://']) {
    assert.match(wrong(`{ path: /iot, to: "${url}", peers: [hq] }`), /expected a URL such as/, url);
  }
  assert.match(wrong('{ path: /iot, to: "http://a:b@127.0.0.1", peers: [hq] }'), /name and password cannot/);
  assert.match(wrong('{ path: /iot, to: "http://127.0.0.1/x?y", peers: [hq] }'), /no \? and no #/);
  const ours = 'api: { listen: 8080 }\n';
  assert.match(
    wrong('{ path: /iot, to: "http://127.0.0.1:8080/api", peers: [hq] }', ours),
    /\.to: this is the relay itself/,
  );
  assert.match(wrong('{ path: /iot, to: "http://localhost:8080", peers: [hq] }', ours), /this is the relay itself/);
  assert.match(wrong('{ path: /iot, to: "http://2130706433:8080", peers: [hq] }', ours), /this is the relay itself/);
});

test('a path is mapped once', () => {
  const twice =
    '{ path: /iot, to: "http://127.0.0.1:1", peers: [hq] }\n  - { path: /iot, to: "http://127.0.0.1:2", peers: [a] }';
  assert.match(wrong(twice), /resources\[1\]\.path: already mapped by resources\[0\]/);
});
