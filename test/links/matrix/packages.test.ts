// DP-In and DP-Out on every kind of link: what announces a file follows them alone, everything else follows In and Out alone. What fed2 says
// of files needs the file (test/e2e/packages.test.ts); its switches are tried with whole packages in test/e2e/federate-packages.test.ts.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DEFAULT_POLICY, type Policy } from '../../../src/core/policy.ts';
import { sa } from '../../support/cot-client.ts';
import { until } from '../memory.ts';
import { KINDS, type Kind } from './losses.ts';
import { Stand } from './stand.ts';

/** How the links of a kind are called in the stand. */
const LINKS: Readonly<Record<Kind, string>> = {
  ...{ 'cot xml': 'xml', 'cot tak': 'tak', fed1: 'fed1', fed2: 'fed2', portal: 'portal' },
  ...{ 'mqtt xml': 'mqtt-xml', 'mqtt tak': 'mqtt-tak', mesh: 'mesh' },
};

function event(uid: string, type: string, detail: string): string {
  const [time, stale] = [Date.now(), Date.now() + 600_000].map((ms) => new Date(ms).toISOString());
  return `<event version="2.0" uid="${uid}" type="${type}" how="h-e" time="${time}" start="${time}" stale="${stale}"><point lat="1" lon="2" hae="3" ce="4" le="5"/><detail>${detail}</detail></event>`;
}

const file = (uid: string) =>
  event(uid, 'b-f-t-r', `<fileshare filename="a" senderUrl="http://x" sizeInBytes="1" sha256="${'ab'.repeat(32)}"/>`);
const marker = (uid: string) => event(uid, 'b-m-p-s-m', '<contact callsign="m"/>');

test('DP-In and DP-Out hold on every kind of link, whatever In and Out say', { timeout: 240_000 }, async (t) => {
  const stand = await Stand.open(t);
  for (const to of KINDS) {
    const end = stand.end(to, 'hear');
    await end.say(sa(`RX-${to}`, `RX-${to}`, Date.now()).replace('*:-1:stcp', end.endpoint));
  }
  for (const to of KINDS) await until(`RX-${to}`, () => stand.end('cot tak', 'say').find(`RX-${to}`));
  const peersOf = (kind: Kind) => stand.relay.hub.peers().filter(({ spec }) => spec.link.startsWith(LINKS[kind]));
  const rule = (kind: Kind, policy: Partial<Policy>) => {
    const peers = peersOf(kind);
    assert.ok(peers.length > 0, kind);
    for (const { spec } of peers) stand.relay.hub.setPeerPolicy(spec.key, { ...DEFAULT_POLICY, ...policy });
  };

  for (const kind of KINDS.filter((one) => one !== 'fed2')) {
    const other: Kind = kind === 'cot xml' ? 'portal' : 'cot xml';
    /** Says the first, then the second; the second arrives, the first never does. */
    const onlySecond = async (from: Kind, to: Kind, [first, second]: readonly [string, string]) => {
      const uidOf = (xml: string) => / uid="([^"]*)"/.exec(xml)![1]!;
      await stand.end(from, 'say').say(first);
      await stand.end(from, 'say').say(second);
      await until(`${uidOf(second)} at ${to}`, () => stand.end(to, 'hear').find(uidOf(second)));
      assert.equal(stand.end(to, 'hear').find(uidOf(first)), undefined, uidOf(first));
    };
    await t.test(`${kind}: DP-Out off, Out on`, async () => {
      rule(kind, { dpOut: false });
      await onlySecond(other, kind, [file(`f1 ${kind}`), marker(`m1 ${kind}`)]);
    });
    await t.test(`${kind}: Out off, DP-Out on`, async () => {
      rule(kind, { out: false });
      await onlySecond(other, kind, [marker(`m2 ${kind}`), file(`f2 ${kind}`)]);
    });
    await t.test(`${kind}: DP-In off, In on`, async () => {
      rule(kind, { dpIn: false });
      await onlySecond(kind, other, [file(`f3 ${kind}`), marker(`m3 ${kind}`)]);
    });
    await t.test(`${kind}: In off, DP-In on`, async () => {
      rule(kind, { in: false });
      await onlySecond(kind, other, [marker(`m4 ${kind}`), file(`f4 ${kind}`)]);
    });
    rule(kind, {});
  }
});
