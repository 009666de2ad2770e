// A phone's whole way: from the text of a QR code to a track of another box, over restarts of both, then a photo through two boxes and
// a hub to one phone and no other, and the receipt.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { importFromQr, startAtak } from '../support/atak.ts';
import { type Phone, phone } from '../support/cot-client.ts';
import { noCurl } from '../support/curl.ts';
import { announcement, curlNow, receipt, sha, urlIn } from '../support/file-share.ts';
import { freePorts, RelayHome } from '../support/relay-process.ts';

const KEY = 'a key for the way of a phone';

const met = (home: RelayHome, count: number) =>
  home.until(
    ({ peers }) => peers.filter(({ kind, connected }) => kind === 'portal' && connected).length === count,
    'the link',
  );

test('QR code, track, restarts, photo to one phone, receipt', { skip: noCurl, timeout: 240_000 }, async (t) => {
  const [aApi, bApi, hApi, aTls, bTcp, aFiles, bFiles, hub] = (await freePorts(8)) as number[];
  const [a, b, h] = [new RelayHome(t, 'vehicle'), new RelayHome(t, 'hq'), new RelayHome(t, 'hub')];
  a.configure(aApi!, '');
  b.configure(bApi!, '');
  h.configure(hApi!, '');
  const [aPin, bPin, hPin] = await Promise.all([a, b, h].map((home) => home.portalPin()));
  const head = `  - name: relays\n    kind: portal\n    federation_key: ${KEY}\n`;
  const toHub = `${head}    peers:\n      - { name: hub, pin: "${hPin}", address: "127.0.0.1:${hub}" }\n`;
  a.configure(
    aApi!,
    `files: { tls: "127.0.0.1:${aFiles}" }\nlinks:\n${toHub}  - { name: phones-tls, kind: cot, listen: "127.0.0.1:${aTls}", tls: true }\n`,
  );
  b.configure(
    bApi!,
    `files: { listen: "127.0.0.1:${bFiles}" }\nlinks:\n${toHub}  - { name: phones, kind: cot, listen: "127.0.0.1:${bTcp}" }\n`,
  );
  const known = `    peers:\n      - { name: vehicle, pin: "${aPin}" }\n      - { name: hq, pin: "${bPin}" }\n`;
  h.configure(hApi!, `files: { listen: "127.0.0.1:0" }\nlinks:\n${head}    listen: "127.0.0.1:${hub}"\n${known}`);
  await Promise.all([a.start(), b.start(), h.start()]);
  await Promise.all([met(a, 1), met(b, 1), met(h, 2)]);
  const join = async (): Promise<readonly [Phone, Phone]> => {
    const [bravo, charlie] = [await phone(t, { port: bTcp! }), await phone(t, { port: bTcp! })];
    bravo.announce('ANDROID-b', 'BRAVO');
    charlie.announce('ANDROID-c', 'CHARLIE');
    return [bravo, charlie];
  };
  await join();

  // From the QR code to the first track of the other box.
  const api = ['--api', `unix:${a.file('data/api.sock')}`];
  const text = await a.command('phone', 'add', 'Alpha', '--callsign', 'ALPHA', '--host', '127.0.0.1', '--json', ...api);
  const scanned = Date.now();
  const imported = await importFromQr(t, (JSON.parse(text) as { atak: string }).atak);
  const first = await startAtak(t, imported, 'ANDROID-a');
  await first.withUid('ANDROID-b');
  const toTrackMs = Date.now() - scanned;
  t.diagnostic(`QR to first track ${toTrackMs} ms`);
  assert.ok(toTrackMs <= 10_000, `${toTrackMs} ms from the QR code to the first track`);

  // A power cut of one box, an orderly stop of the other; then a cold start with what was imported.
  assert.deepEqual([await a.kill('SIGKILL'), await b.kill('SIGTERM')], [null, 0]);
  await first.untilClosed();
  await Promise.all([a.start(), b.start()]);
  await Promise.all([met(a, 1), met(b, 1), met(h, 2)]);
  const alpha = await startAtak(t, imported, 'ANDROID-a');
  const [bravo, charlie] = await join();
  await Promise.all([alpha.withUid('ANDROID-b'), alpha.withUid('ANDROID-c'), bravo.withUid('ANDROID-a')]);

  // The photo is brought with the certificate of the package, and is for BRAVO alone.
  const photo = Buffer.concat([Buffer.from([0xff, 0xd8, 0xff, 0xe0]), randomBytes(700_000)]);
  writeFileSync(a.file('photo.jpg'), photo);
  writeFileSync(a.file('alpha.pem'), imported.cert + imported.key);
  const place = `https://127.0.0.1:${aFiles}/Marti/sync/missionupload?hash=${sha(photo)}&filename=photo.jpg`;
  assert.notEqual(
    curlNow('-k', '-F', `assetfile=@${a.file('photo.jpg')}`, place).status,
    200,
    'not without a certificate',
  );
  const brought = curlNow('-k', '--cert', a.file('alpha.pem'), '-F', `assetfile=@${a.file('photo.jpg')}`, place);
  assert.equal(brought.status, 200, brought.body);
  alpha.send(announcement('ALPHA', 'BRAVO', brought.body, { name: 'photo.jpg', bytes: photo }));
  const offer = await bravo.waitFor((event) => event.includes('b-f-t-r') && event.includes(sha(photo)), 'the offer');
  assert.equal(curlNow('-o', b.file('got.jpg'), urlIn(offer)).status, 200);
  assert.deepEqual(readFileSync(b.file('got.jpg')), photo);
  bravo.send(receipt('ALPHA', true));
  await alpha.waitFor((event) => event.includes('b-f-t-a') && event.includes('success="true"'), 'the receipt');
  assert.deepEqual(
    charlie.events.filter((event) => /b-f-t-[ra]/.test(event)),
    [],
    'nobody else was told',
  );
});
