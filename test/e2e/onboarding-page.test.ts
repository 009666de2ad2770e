// The pages of phones in a real browser: the operator adds one over TLS, its owner joins on a small screen with scripts off, the QR
// codes are read back from the picture by a reader of another make, the operator renews, prints and revokes.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import type { Page } from 'playwright-core';
import { importPackage, startAtak } from '../support/atak.ts';
import { browserTest, faults, misfits, picture, startBrowser, type TestBrowser } from '../support/browser.ts';
import { freePorts, RelayHome } from '../support/relay-process.ts';

const ZBAR = '/usr/bin/zbarimg';

/** The texts of all QR codes in a picture. */
function scan(path: string): string[] {
  return execFileSync(ZBAR, ['-q', '--raw', '-Sdisable', '-Sqrcode.enable', path], { encoding: 'utf8' })
    .trim()
    .split('\n');
}

test('phones, in a browser', browserTest, async (t) => {
  const [api, tls, cot, tcp] = (await freePorts(4)) as [number, number, number, number];
  const relay = new RelayHome(t, 'vehicle-3');
  relay.configure(
    api,
    `links:\n  - { name: phones-tls, kind: cot, listen: "127.0.0.1:${cot}", tls: true }\n  - { name: phones, kind: cot, listen: "127.0.0.1:${tcp}" }\n`,
    `tls: ${tls}`,
  );
  await relay.start();
  const plain = `http://127.0.0.1:${api}`;
  const secure = `https://127.0.0.1:${tls}`;
  const { open } = await startBrowser(t);
  const operator = await logIn(relay, secure, open);
  const link = { join: '', atak: '' };

  await t.test('the list is for whoever is logged in', async () => {
    const page = await open({}, `${secure}/phones`);
    assert.equal(new URL(page.url()).pathname, '/login');
    assert.equal((await page.request.post(`${secure}/phones`, { form: { name: 'X' } })).status(), 401);
    assert.equal((await page.request.post(`${plain}/api/phones`, { data: { name: 'X' } })).status(), 401);
  });

  await t.test('the operator adds a phone; its card holds QR codes that a reader reads', async (t) => {
    await operator.click('footer a:text("Phones")');
    assert.deepEqual(await faults(operator), []);
    assert.deepEqual(await misfits(operator), [0]);
    await operator.fill('#name', 'Alpha <b>1</b>');
    await operator.fill('#callsign', 'ALPHA');
    await operator.selectOption('#team', 'Cyan');
    await operator.selectOption('#role', 'Medic');
    await operator.click('button:text("Add and show its card")');
    assert.match(await operator.innerText('main'), /Alpha <b>1<\/b>[\s\S]*ALPHA, Cyan, Medic/);
    assert.deepEqual(await faults(operator), []);
    assert.deepEqual(await misfits(operator), [0]);
    link.join = (await operator.locator('p code').filter({ hasText: '/join/' }).innerText()).trim();
    for (const theme of ['day', 'red']) {
      await operator.evaluate(`document.documentElement.dataset.theme = '${theme}'`);
      const path = await picture(operator, `card-${theme}`);
      if (!existsSync(ZBAR)) {
        t.diagnostic('zbarimg is not installed (scripts/setup-debian.sh): the codes were not read back');
        break;
      }
      const texts = scan(path);
      assert.equal(texts.length, 3, texts.join());
      assert.ok(texts.includes(link.join));
      link.atak = texts.find((text) => text.startsWith('tak://com.atakmap.app/import'))!;
      const presets = new URL(texts.find((text) => text.startsWith('tak://com.atakmap.app/preference'))!);
      assert.deepEqual(
        [1, 2, 3].map((n) => presets.searchParams.get(`value${n}`)),
        ['ALPHA', 'Cyan', 'Medic'],
      );
    }
    assert.equal(
      link.atak === '' || new URL(link.atak).searchParams.get('url')!.startsWith(`${link.join}/atak/`),
      true,
    );
  });

  await t.test('its owner joins on a screen of 320 px, scripts off, with one tap', async (t) => {
    for (const javaScriptEnabled of [false, true]) {
      const page = await open(
        { javaScriptEnabled, viewport: { width: 320, height: 640 }, acceptDownloads: true },
        `${plain}/join`,
      );
      if (javaScriptEnabled) assert.deepEqual(await faults(page), []);
      await page.fill('#code', 'K7QM-2XRT-9PBF-WHVN');
      await page.click('button:text("Go on")');
      assert.match(await page.innerText('[role=alert]'), /wrong, was used already/);
      await page.fill('#code', link.join.split('/').at(-1)!.toLowerCase());
      await page.click('button:text("Go on")');
      assert.equal(
        page.url(),
        link.join.replace(/[^/]+$/, (code) => code.toLowerCase()),
      );
      assert.match(await page.innerText('main'), /For Alpha <b>1<\/b> \(ALPHA, Cyan, Medic\)/);
      await page.click('summary');
      assert.match(await page.innerText('details'), /Nothing is encrypted/);
      await picture(page, `join-${javaScriptEnabled ? 'scripts' : 'no-scripts'}`);
      const tap = await page.locator('a:text("Open in ATAK")').getAttribute('href');
      assert.match(tap!, /^tak:\/\/com\.atakmap\.app\/import\?url=http%3A%2F%2F127\.0\.0\.1/);
      if (!javaScriptEnabled) continue;
      assert.deepEqual(await faults(page), []);
      assert.deepEqual(await misfits(page), [0]);
      const [download] = await Promise.all([page.waitForEvent('download'), page.click('a:text("ATAK before 5.1")')]);
      assert.match(download.suggestedFilename(), /^vehicle-3-[0-9a-f]{6}-alpha-b-1-b\.zip$/);
      const settings = importPackage(t, readFileSync(await download.path()));
      const atak = await startAtak(t, settings, 'ANDROID-alpha');
      await operator.goto(`${secure}/phones`);
      await operator.getByText('here now').waitFor();
      await operator.click('button[aria-label^="Revoke"]');
      assert.deepEqual(await faults(operator), []);
      assert.equal(atak.closed, false, 'asked first');
      await operator.click('main button');
      await atak.untilClosed();
      assert.match(await operator.innerText('[role=alert]'), /revoked and cut off/);
    }
  });

  await t.test('a sheet for the vehicle', async () => {
    for (const name of ['Bravo', 'Charlie']) {
      await operator.goto(`${secure}/phones`);
      await operator.fill('#name', name);
      await operator.click('button:text("Add and show its card")');
    }
    await operator.goto(`${secure}/phones`);
    await picture(operator, 'phones');
    assert.deepEqual(await faults(operator), []);
    assert.deepEqual(await misfits(operator), [0]);
    await operator.fill('#name', 'bravo');
    await operator.click('button:text("Add and show its card")');
    assert.match(await operator.innerText('[role=alert]'), /there is a phone called/);
    await operator.fill('#ssid', 'vehicle;3');
    await operator.fill('#passphrase', 'pass:word');
    for (const box of await operator.locator('input[name=phone]').all()) await box.check();
    await operator.click('button:text("Make the sheet")');
    assert.equal(await operator.locator('svg.qr').count(), 5);
    assert.deepEqual(await faults(operator), []);
    const path = await picture(operator, 'sheet');
    if (existsSync(ZBAR)) assert.ok(scan(path).includes(String.raw`WIFI:T:WPA;S:vehicle\;3;P:pass\:word;;`));
    await operator.emulateMedia({ media: 'print' });
    assert.equal(await operator.locator('body > footer').isVisible(), false);
  });
});

async function logIn(relay: RelayHome, secure: string, open: TestBrowser['open']): Promise<Page> {
  const page = await open({ viewport: { width: 320, height: 800 } }, `${secure}/login`);
  await page.fill('#code', readFileSync(relay.file('data/setup-code'), 'utf8').trim());
  await page.fill('#username', 'owner');
  await page.fill('#password', 'a good password');
  await page.click('button:text("Set password")');
  await page.waitForURL(`${secure}/`);
  return page;
}
