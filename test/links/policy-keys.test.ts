// The policy section of the configuration: how wishes become rules, and which cannot be meant.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Envelope } from '../../src/core/message.ts';
import { DEFAULT_POLICY, type Policy, permit } from '../../src/core/policy.ts';
import { LINK_KINDS } from '../../src/links/index.ts';
import { federatePolicyKeys, policyKeys } from '../../src/links/policy-keys.ts';
import { scanCot } from '../../src/wire/cot.ts';
import { CORPUS, plainEvent } from '../fixtures/events.ts';

/** As received, for policies that have no rules. */
function envelopeOf(xml: Buffer): Envelope {
  return { message: { kind: 'event', event: scanCot(xml) }, groups: ['Blue'], lane: 2 } as unknown as Envelope;
}

const parse = (keys: object): Policy => policyKeys.parse(keys);

function refused(keys: object): string {
  const result = policyKeys.safeParse(keys);
  assert.equal(result.success, false, `${JSON.stringify(keys)} was taken`);
  return result.error!.issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('\n');
}

describe('policy keys', () => {
  test('nothing said is the default', () => assert.deepEqual(parse({}), DEFAULT_POLICY));

  test('G2: of what people send, federates are by default kept from sensor feeds alone: alerts, chat, markers, routes, casevac cross', () => {
    const stopped = (keys: object) => {
      const policy = federatePolicyKeys.parse(keys);
      const events = [...CORPUS, { name: 'dosimeter', xml: (now: number) => plainEvent(now, 'b-d-r', 'x', '') }];
      return events.filter(({ xml }) => permit(envelopeOf(xml(Date.now())), policy)).map(({ name }) => name);
    };
    assert.deepEqual(stopped({}), ['sensor', 'dosimeter']);
    assert.deepEqual(stopped({ out: true, groups_in: ['Blue'] }), ['sensor', 'dosimeter']);
    assert.deepEqual(stopped({ block_types: [] }), [], 'who names types decides himself');
    assert.ok(!stopped({ allow_types: ['a-', 'b-'] }).includes('sensor'));
    assert.ok(!stopped({ filter_out: { block_types: ['b-t-f'] } }).includes('alert'));
  });

  test('of the kinds of link, the federation protocols have that default', () => {
    const policies = Object.fromEntries(
      LINK_KINDS.map(({ kind, policy = policyKeys }) => [kind, policy.parse({}).blockTypes]),
    );
    const feeds = ['b-m-p-s-p-', 'b-d-'];
    assert.deepEqual(policies, {
      cot: [],
      fed1: feeds,
      fed2: feeds,
      mesh: [],
      mqtt: [],
      portal: [],
      'portal-mesh': [],
    });
  });

  test('a section becomes rules that only stop, each named by its key', () => {
    const { rulesOut, rulesIn } = parse({
      filter_out: {
        allow_types: ['a-f-'],
        block_types: ['a-f-A'],
        callsigns: ['VIPER-*'],
        areas: [
          { box: [48, 24, 49, 25] },
          { circle: [48, 24, 5] },
          {
            polygon: [
              [0, 0],
              [0, 1],
              [1, 1],
            ],
          },
        ],
        max_age_seconds: 300,
        every_seconds: 10,
        alerts: 'always',
      },
    });
    assert.deepEqual(rulesIn, []);
    assert.deepEqual(
      rulesOut.map(({ action, at }) => `${action} ${at}`),
      [
        'allow filter_out.alerts',
        'deny filter_out.block_types',
        'deny filter_out.allow_types',
        'deny filter_out.callsigns',
        'deny filter_out.areas',
        'deny filter_out.max_age_seconds',
        'thin filter_out.every_seconds',
      ],
    );
    const areas = rulesOut.find(({ at }) => at === 'filter_out.areas');
    assert.deepEqual(areas?.action === 'deny' && areas.match.areas?.[1], {
      circle: { lat: 48, lon: 24, metres: 5_000 },
    });
  });

  test('rules in order, of every kind', () => {
    const { rulesIn } = parse({
      rules_in: [
        { rename: 'Blue:Coalition' },
        { deny: { types: ['a-h-'], older_than_seconds: 60 } },
        { thin: 'all', every_seconds: 30 },
        { allow: { groups: ['Coalition'] } },
      ],
    });
    assert.deepEqual(rulesIn, [
      { action: 'rename', at: 'rules_in[0]', from: 'Blue', to: 'Coalition' },
      { action: 'deny', at: 'rules_in[1]', match: { types: ['a-h-'], olderThanMs: 60_000 } },
      { action: 'thin', at: 'rules_in[2]', match: {}, everyMs: 30_000 },
      { action: 'allow', at: 'rules_in[3]', match: { groups: ['Coalition'] } },
    ]);
  });

  test('groups have a name here and one there: remote:local', () => {
    const policy = parse({ groups_in: ['Blue:Coalition', 'Red'], groups_out: ['Blue:Coalition', 'Red'] });
    assert.deepEqual(policy.groupsIn, ['Blue', 'Red']);
    assert.deepEqual(policy.groupsOut, ['Coalition', 'Red']);
    assert.deepEqual(policy.rulesIn, [{ action: 'rename', at: 'groups_in[0]', from: 'Blue', to: 'Coalition' }]);
    assert.deepEqual(policy.rulesOut, [{ action: 'rename', at: 'groups_out[0]', from: 'Coalition', to: 'Blue' }]);
  });

  test('what contradicts itself is refused where it stands', () => {
    assert.match(
      refused({ allow_types: ['a-f-', 'b-t-f'], block_types: ['b-'] }),
      /^allow_types\.1: never crosses: block_types has b-/,
    );
    assert.match(
      refused({ rules_out: [{ deny: 'all' }, { allow: { types: ['a-'] } }] }),
      /^rules_out\.1: has no effect: rules_out\[0\] denies all/,
    );
    assert.match(
      refused({ filter_in: { block_types: ['b-'] }, rules_in: [{ allow: { types: ['b-t-f'] } }] }),
      /^rules_in\.0: has no effect: filter_in\.block_types denies/,
    );
    assert.match(
      refused({ groups_in: ['Blue:A', 'Blue:B'] }),
      /^groups_in\.1: Blue has another name already, by groups_in\[0\]/,
    );
    assert.match(refused({ groups_out: ['A:A'] }), /^groups_out\.0: renames A to itself/);
  });

  test('what is no rule is refused', () => {
    for (const keys of [
      { rules_in: [{ allow: {}, deny: {} }] },
      { rules_in: [{ thin: 'all' }] },
      { rules_in: [{ rename: 'Blue' }] },
      { rules_in: [{ allow: { typs: ['a-'] } }] },
      { rules_in: [{ allow: { types: [] } }] },
      { rules_in: Array.from({ length: 129 }, () => ({ allow: { types: ['a-'] } })) },
      { filter_out: { areas: [{ box: [49, 24, 48, 25] }] } },
      { filter_out: { areas: [{ circle: [91, 0, 1] }] } },
      {
        filter_out: {
          areas: [
            {
              polygon: [
                [0, 0],
                [0, 1],
              ],
            },
          ],
        },
      },
      { filter_out: { every_seconds: 0 } },
      { filter_out: { alerts: 'sometimes' } },
    ]) {
      refused(keys);
    }
  });
});
