// A relay that is revoked is cut off at once and let in neither way, whatever the link's peers say; taken back, it is there again.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LiveTrust } from '../../../src/identity/trust.ts';
import { until } from '../memory.ts';
import { addressOf, hurry, LISTEN, peer, pinOf, relay } from './rig.ts';

for (const who of ['the one that is dialled', 'the one that dials'] as const) {
  test(`revoked by ${who}`, async (t) => {
    hurry(t);
    const trust = new LiveTrust({ cas: [], pins: [] });
    const [aTrust, bTrust] = who === 'the one that dials' ? [trust, undefined] : [undefined, trust];
    const b = relay(t, 'b', { listen: LISTEN, peers: [peer('a')] }, bTrust ? { trust: bTrust } : {});
    const address = await addressOf(b);
    const a = relay(t, 'a', { peers: [peer('b', { address })] }, aTrust ? { trust: aTrust } : {});
    const [near, far] = [await a.hub.session(), await b.hub.session()];
    const [judge, other] = who === 'the one that dials' ? [near, pinOf('b')] : [far, pinOf('a')];

    trust.become({ cas: [], pins: [], revoked: [other] });
    await until('the end', () => judge.closings[0]?.reason === 'revoked');
    if (who === 'the one that is dialled') {
      await until('its refusal', () => b.refusals.length > 0);
      assert.equal(b.refusals[0]!.trouble.code, 'not_pinned');
    }
    assert.equal(a.hub.sessions.filter(({ closings }) => closings.length === 0).length, 0);

    trust.become({ cas: [], pins: [], revoked: [] });
    await until('it is back', () =>
      [a, b].every(({ hub }) => hub.sessions.some(({ closings }) => closings.length === 0)),
    );
  });
}
