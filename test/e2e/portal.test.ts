// Two relays joined by a portal link, as a user sets them up: from `cert show` and two files. The bad leg between is ours.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chatTo, phone, sa } from '../support/cot-client.ts';
import { freePorts, RelayHome } from '../support/relay-process.ts';

const KEY = 'a key for the tests of the portal link';

test('relay to relay, from two configuration files', async (t) => {
  const [aApi, bApi, aTcp, bTcp, listen] = (await freePorts(5)) as [number, number, number, number, number];
  const a = new RelayHome(t, 'relay-a');
  const b = new RelayHome(t, 'relay-b');
  const phones = (port: number) => `links:\n  - { name: phones, kind: cot, listen: ${port} }\n`;
  a.configure(aApi, phones(aTcp));
  b.configure(bApi, phones(bTcp));
  const [aPin, bPin] = await Promise.all([a.portalPin(), b.portalPin()]);
  const portal = (rest: string) => `  - name: relays\n    kind: portal\n    federation_key: ${KEY}\n${rest}`;
  a.configure(
    aApi,
    `${phones(aTcp)}${portal(`    peers:\n      - { name: relay-b, pin: "${bPin}", address: "127.0.0.1:${listen}" }\n`)}`,
  );
  b.configure(
    bApi,
    `${phones(bTcp)}${portal(`    listen: 127.0.0.1:${listen}\n    peers:\n      - { name: relay-a, pin: "${aPin}" }\n`)}`,
  );
  assert.match(await a.command('check', a.configPath), /./);
  await Promise.all([a.start(), b.start()]);
  const connected = () =>
    a.until(({ peers }) => peers.some(({ key, connected }) => key === 'relays/relay-b' && connected), 'link to b');
  await connected();
  const [pa, pb] = [await phone(t, { port: aTcp }), await phone(t, { port: bTcp })];

  await t.test('an event leaves at b as it entered at a, byte for byte', async () => {
    pb.announce('ANDROID-b', 'BRAVO');
    await pa.withUid('ANDROID-b');
    const sent = sa('ANDROID-a', 'ALPHA', Date.now() - 1, 'lat="48.123456789" lon="24.50"  ');
    pa.send(sent);
    assert.equal(await pb.withUid('ANDROID-a'), sent.slice(sent.indexOf('<event')));
  });

  await t.test('chat goes to whom it is addressed, both ways', async () => {
    pa.send(chatTo('1', 'ALPHA', 'BRAVO', 'over to you'));
    await pb.waitFor((event) => event.includes('over to you'));
    pb.send(chatTo('2', 'BRAVO', 'ALPHA', 'and back'));
    await pa.waitFor((event) => event.includes('and back'));
  });

  await t.test('what was said while b was away arrives when it is back', async () => {
    await b.kill('SIGKILL');
    await a.until(
      ({ peers }) => peers.some(({ key, connected }) => key === 'relays/relay-b' && !connected),
      'the loss',
    );
    pa.announce('ANDROID-late', 'LATE');
    await b.start();
    const again = await phone(t, { port: bTcp });
    await again.withUid('ANDROID-late');
    await again.withUid('ANDROID-a');
  });

  await t.test('the status says how it is, and both stop cleanly', async () => {
    await connected();
    const { peers, certificates } = await a.status();
    const peer = peers.find(({ key }) => key === 'relays/relay-b')!;
    assert.deepEqual([peer.kind, peer.name, peer.proof, peer.via], ['portal', 'relay-b', 'certificate', null]);
    assert.equal(peer.identity, bPin.slice('SHA256:'.length).replaceAll(':', '').toLowerCase());
    assert.ok(peer.rttMs !== null && peer.rttMs >= 0);
    assert.ok(certificates.some(({ what, daysLeft }) => what === 'portal' && daysLeft > 3_600));
    for (const { lane, offered, sent, dropped, queued } of peer.lanes) {
      const lost = Object.values(dropped).reduce((sum, count) => sum + count, 0);
      assert.equal(offered, sent + lost + queued, lane);
    }
    assert.match(await a.command('status', '--api', a.api), /relays +portal +connected/);
    assert.equal(await a.kill('SIGTERM'), 0);
    assert.equal(await b.kill('SIGTERM'), 0);
  });
});
