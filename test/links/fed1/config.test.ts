import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { fed1Schema } from '../../../src/links/fed1/config.ts';

const parse = (keys: unknown) => fed1Schema.parse(keys);

function refused(keys: unknown): string {
  const result = fed1Schema.safeParse(keys);
  assert.equal(result.success, false, `${JSON.stringify(keys)} was taken`);
  return result.error!.issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('\n');
}

describe('fed1 configuration', () => {
  test('defaults are those of the documentation', () => {
    assert.deepEqual(parse({ connect: 'fts.example.org:9000', profile: 'freetakserver' }), {
      listen: [],
      beside: undefined,
      connect: { host: 'fts.example.org', port: 9000 },
      profile: 'freetakserver',
      trust: [],
      keyFiles: undefined,
      verifyName: false,
      groups: [],
      groupHops: undefined,
      maxMessageBytes: 16 << 20,
      filesPort: undefined,
      maxConnections: 64,
    });
    assert.equal(parse({ beside: 'federation' }).profile, 'takserver');
    assert.deepEqual(parse({ listen: [9000, '10.0.0.1:9010'] }).listen, [
      { host: '', port: 9000 },
      { host: '10.0.0.1', port: 9010 },
    ]);
  });

  test('exactly one of listen, beside and connect', () => {
    assert.match(refused({}), /listen: a fed1 link needs listen .*beside .*or connect/);
    assert.match(refused({ listen: 9000, connect: 'a:9000' }), /connect: only one of/);
    assert.match(refused({ listen: 9000, beside: 'federation' }), /beside: only one of/);
    assert.match(refused({ connect: 'a' }), /connect: expected a host and port/);
    assert.match(refused({ connect: ':9000' }), /connect: expected a host and port/);
    assert.match(refused({ listen: '9000x' }), /^listen: /);
  });

  test('what cannot have an effect is refused in words', () => {
    assert.match(refused({ beside: 'federation', trust: ['a.pem'] }), /trust: belongs to the link "federation"/);
    assert.match(refused({ beside: 'federation', max_connections: 5 }), /max_connections: belongs to/);
    assert.match(refused({ beside: 'federation', profile: 'freetakserver' }), /profile: a FreeTAKServer gets a link/);
    assert.match(refused({ listen: 9000, verify_name: true }), /verify_name: only with connect/);
    assert.match(refused({ listen: 9000, via: 'portal/a/tak' }), /via: only with connect/);
    assert.match(refused({ connect: 'a:1', max_connections: 5 }), /max_connections: only with listen/);
    assert.match(
      refused({ connect: 'a:1', profile: 'freetakserver', max_message_bytes: 1 << 20 }),
      /max_message_bytes: only for takserver/,
    );
    assert.match(
      refused({ connect: 'a:1', profile: 'freetakserver', group_hops: { Blue: 1 } }),
      /group_hops: only for takserver/,
    );
    assert.match(refused({ listen: 9000, cert: 'a.pem' }), /key: the private key to cert is missing/);
    assert.match(refused({ listen: 9000, key: 'a.key' }), /cert: the certificate to key is missing/);
    assert.match(refused({ listen: 9000, profile: 'fts' }), /profile/);
    assert.match(refused({ listen: 9000, lisen: 1 }), /lisen|Unrecognized/);
  });
});
