// A photo from a phone behind one box to a phone behind another, with a hub between, and the receipt back: real relays, real curl.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { type Phone, phone } from '../support/cot-client.ts';
import { noCurl } from '../support/curl.ts';
import { announcement, curlNow, receipt, sha, urlIn } from '../support/file-share.ts';
import { freePorts, RelayHome } from '../support/relay-process.ts';

const KEY = 'a key for the tests of files across';

test('a photo crosses two boxes and a hub', { skip: noCurl }, async (t) => {
  const ports = await freePorts(8);
  const [aApi, bApi, hApi, aTcp, bTcp, aFiles, bFiles, hub] = ports as [
    number,
    number,
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const a = new RelayHome(t, 'box-a');
  const b = new RelayHome(t, 'box-b');
  const h = new RelayHome(t, 'hub');
  for (const [home, api] of [
    [a, aApi],
    [b, bApi],
    [h, hApi],
  ] as const)
    home.configure(api, '');
  const [aPin, bPin, hPin] = (await Promise.all([a, b, h].map((home) => home.portalPin()))) as [string, string, string];
  const head = `links:\n  - name: relays\n    kind: portal\n    federation_key: ${KEY}\n`;
  const box = (tcp: number, files: number, policy = '') =>
    `files: { listen: "127.0.0.1:${files}" }\n${head}${policy}    peers:\n      - { name: hub, pin: "${hPin}", address: "127.0.0.1:${hub}" }\n  - { name: phones, kind: cot, listen: "127.0.0.1:${tcp}" }\n`;
  a.configure(aApi, box(aTcp, aFiles));
  b.configure(bApi, box(bTcp, bFiles));
  h.configure(
    hApi,
    `files: { listen: "127.0.0.1:0" }\n${head}    listen: "127.0.0.1:${hub}"\n    peers:\n      - { name: box-a, pin: "${aPin}" }\n      - { name: box-b, pin: "${bPin}" }\n`,
  );
  await Promise.all([a.start(), b.start(), h.start()]);
  const met = (home: RelayHome, count: number) =>
    home.until(
      ({ peers }) => peers.filter(({ kind, connected }) => kind === 'portal' && connected).length === count,
      'the link',
    );
  await Promise.all([met(a, 1), met(b, 1), met(h, 2)]);
  let [pa, pb] = [await phone(t, { port: aTcp }), await phone(t, { port: bTcp })] as [Phone, Phone];
  pa.announce('ANDROID-a', 'ALPHA');
  pb.announce('ANDROID-b', 'BRAVO');
  await Promise.all([pa.withUid('ANDROID-b'), pb.withUid('ANDROID-a')]);
  const bring = (name: string, bytes: Buffer) => {
    writeFileSync(a.file(name), bytes);
    const answer = curlNow(
      '-F',
      `assetfile=@${a.file(name)}`,
      `http://127.0.0.1:${aFiles}/Marti/sync/missionupload?hash=${sha(bytes)}&filename=${name}`,
    );
    assert.equal(answer.status, 200, answer.body);
    return answer.body;
  };
  const announced = (hash: string) =>
    pb.waitFor((event) => event.includes('b-f-t-r') && event.includes(hash), 'the announcement');
  const photo = Buffer.concat([Buffer.from([0xff, 0xd8, 0xff, 0xe0]), randomBytes(1_500_000)]);

  await t.test('announced at once, fetched when asked for, hash for hash, and acknowledged', async () => {
    pa.send(announcement('ALPHA', 'BRAVO', bring('photo.jpg', photo), { name: 'photo.jpg', bytes: photo }));
    const url = urlIn(await announced(sha(photo)));
    assert.equal(url, `http://127.0.0.1:${bFiles}/Marti/sync/content?hash=${sha(photo)}`);
    assert.equal((await b.status()).files?.files, 0, 'nothing was fetched before it was asked for');
    assert.equal(curlNow('-o', b.file('got.jpg'), url).status, 200);
    assert.deepEqual(readFileSync(b.file('got.jpg')), photo);
    pb.send(receipt('ALPHA', true));
    await pa.waitFor((event) => event.includes('b-f-t-a') && event.includes('success="true"'), 'the receipt');
    const { files } = await b.status();
    assert.deepEqual(
      files?.transfers.map(({ state, got, peer, direction }) => [direction, state, got, peer]),
      [
        ['out', 'whole', photo.length, '127.0.0.1'],
        ['in', 'whole', photo.length, 'hub'],
      ],
    );
    assert.equal((await h.status()).files?.files, 0, 'the hub keeps nothing');
  });

  await t.test('what is not what was announced never becomes whole', async () => {
    const real = Buffer.from('these bytes are real and were brought');
    const url = bring('real.txt', real);
    const lie = { name: 'lie.txt', bytes: real, size: real.length + 5 };
    pa.send(announcement('ALPHA', 'BRAVO', url, lie));
    const answer = curlNow('-o', b.file('lie.txt'), urlIn(await announced(sha(real))));
    assert.notEqual(answer.status, 0);
    await b.until(({ files }) => files!.transfers.some(({ state }) => state === 'failed'), 'the refusal');
    assert.ok(!existsSync(b.file('lie.txt')) || readFileSync(b.file('lie.txt')).length < real.length + 5);
    assert.ok(!readdirSync(b.file('data/files')).includes(sha(real)));
  });

  await t.test('a fetch goes on where it ended after the box was killed', async () => {
    const large = randomBytes(24_000_000);
    pa.send(announcement('ALPHA', 'BRAVO', bring('large.bin', large), { name: 'large.bin', bytes: large }));
    const url = urlIn(await announced(sha(large)));
    const first = spawnSync('curl', ['-sS', '-m', '2', '--limit-rate', '500k', '-o', b.file('large.bin'), url]);
    assert.notEqual(first.status, 0);
    await h.kill();
    await b.until(
      ({ files }) =>
        files!.transfers.some(
          ({ size, state, direction }) => direction === 'in' && size === large.length && state !== 'moving',
        ),
      'the wait',
    );
    const page = await (await fetch(`${b.api}/`)).text();
    assert.match(
      page,
      /<strong>large\.bin<\/strong> from hub, waits.*? of 24 MB.*?<progress [^>]*value="\d+" max="100">/,
    );
    await h.start();
    await met(b, 1);
    const got = (await b.status()).files!.transfers.find(
      ({ size, direction }) => direction === 'in' && size === large.length,
    )!;
    t.diagnostic(JSON.stringify(got));
    // The hub still knows what was announced, and by whom.
    await met(h, 2);
    assert.equal(curlNow('-C', '-', '-o', b.file('large.bin'), url).status, 206);
    assert.deepEqual(readFileSync(b.file('large.bin')), large);
  });

  await t.test('dp_out: false: neither the announcement nor the file leaves; events do', async () => {
    await a.kill('SIGTERM');
    a.configure(aApi, box(aTcp, aFiles, '    policy: { dp_out: false }\n'));
    await a.start();
    await met(a, 1);
    pa = await phone(t, { port: aTcp });
    pb.events.length = 0;
    pa.announce('ANDROID-a', 'ALPHA');
    await pb.withUid('ANDROID-a');
    await a.until(({ contacts }) => contacts === 2, 'the other contact');
    const secret = randomBytes(5_000);
    pa.send(announcement('ALPHA', 'BRAVO', bring('secret.bin', secret), { name: 'secret.bin', bytes: secret }));
    pa.announce('ANDROID-a', 'ALPHA-2');
    await pb.waitFor((event) => event.includes('ALPHA-2'), 'what was said behind it');
    assert.ok(!pb.events.some((event) => event.includes(sha(secret))));
    assert.equal(curlNow(`http://127.0.0.1:${bFiles}/Marti/sync/content?hash=${sha(secret)}`).status, 404);
    const asked = await b
      .command('node', 'get', 'hub', `/files/${sha(secret)}?at=0&bytes=100`)
      .catch((error: Error) => error.message);
    assert.match(asked, /not_offered|no such file/);
  });
});
