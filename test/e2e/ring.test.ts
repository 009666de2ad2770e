// Three relays in a ring: every event arrives once everywhere, nothing circles, hop limits hold.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { chatTo, type Phone, phone, sa } from '../support/cot-client.ts';
import { freePorts, RelayHome } from '../support/relay-process.ts';

test('three relays in a ring', async (t) => {
  const [apiPorts, phonePorts, fedPorts] = await Promise.all([freePorts(3), freePorts(3), freePorts(3)]);
  const relays = [0, 1, 2].map((n) => new RelayHome(t, `ring-${n}`));
  relays.forEach((relay, n) => {
    relay.configure(apiPorts[n]!, `links:\n  - { name: phones, kind: cot, listen: ${phonePorts[n]} }\n`);
  });
  const cas = await Promise.all(relays.map((relay) => relay.command('cert', 'show', '--ca')));
  relays.forEach((relay, n) => {
    cas.forEach((ca, of) => {
      writeFileSync(relay.file(`ca-${of}.pem`), ca);
    });
    const others = [0, 1, 2].filter((of) => of !== n).map((of) => `ca-${of}.pem`);
    const limit = n === 0 ? ', policy: { max_hops: 1 }' : '';
    relay.configure(
      apiPorts[n]!,
      [
        `trust: [${others}]`,
        'links:',
        `  - { name: phones, kind: cot, listen: ${phonePorts[n]}${limit} }`,
        `  - { name: federation, kind: fed2, listen: ${fedPorts[n]} }`,
        `  - { name: next, kind: fed2, connect: "127.0.0.1:${fedPorts[(n + 1) % 3]}" }`,
        '',
      ].join('\n'),
    );
  });
  await Promise.all(relays.map((relay) => relay.start()));
  await Promise.all(
    relays.map((relay) =>
      relay.until(
        ({ peers }) => peers.filter(({ kind, connected }) => kind === 'fed2' && connected).length === 2,
        'two peers',
      ),
    ),
  );
  const clients: Phone[] = [];
  for (const port of phonePorts) clients.push(await phone(t, { port }));
  const [p0, p1, p2] = clients as [Phone, Phone, Phone];
  p1.announce('ANDROID-1', 'ONE');
  p2.announce('ANDROID-2', 'TWO');

  await t.test('each event arrives once at each of the others', async () => {
    const base = Date.now() - 60_000;
    for (let n = 0; n < 50; n++) p1.send(sa(`UNIT-${n}`, `CALL-${n}`, base + n * 1000));
    p1.send(sa('LAST', 'LAST', base + 60_000));
    for (const client of [p0, p2]) {
      await client.withUid('LAST');
      // Nothing that circles could be slower than a chat sent after it, all the way round.
      const times = client.events.flatMap(
        (event) => /uid="(UNIT-\d+)".* time="([^"]*)"/.exec(event)?.slice(1).join(' ') ?? [],
      );
      assert.equal(new Set(times).size, times.length, 'no event twice');
      assert.equal(times.length, 50);
    }
  });

  await t.test('directed chat finds its way and arrives once', async () => {
    await p1.withUid('ANDROID-2');
    p1.send(chatTo('c1', 'ONE', 'TWO', 'round the ring'));
    await p2.waitFor((event) => event.includes('round the ring'));
    p1.send(chatTo('c2', 'ONE', 'TWO', 'after it'));
    await p2.waitFor((event) => event.includes('after it'));
    assert.equal(p2.events.filter((event) => event.includes('round the ring')).length, 1);
    assert.ok(!p0.events.some((event) => event.includes('round the ring')));
  });

  await t.test('an event limited to one hop reaches the next relays and goes no further', async () => {
    p0.send(sa('LIMITED', 'LIMITED', Date.now()));
    await Promise.all([p1.withUid('LIMITED'), p2.withUid('LIMITED')]);
    const statuses = await Promise.all(relays.slice(1).map((relay) => relay.status()));
    const stopped = statuses.flatMap(({ peers }) =>
      peers.flatMap(({ lanes }) => lanes.map(({ dropped }) => dropped.hop_limit ?? 0)),
    );
    assert.ok(
      stopped.some((count) => count > 0),
      'the second hop was refused by name',
    );
  });
});
