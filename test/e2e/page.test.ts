// The page as a person meets it: a real browser (Debian's chromium) against a real relay. Looks without a login, with scripts off,
// on a small phone, in three themes; logs in over TLS, adds a link, flips a toggle, sees an event come. Pictures are kept in
// build/page for people to look at.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { gunzipSync } from 'node:zlib';
import type { WebSocket as PageSocket } from 'playwright-core';
import { LIVE_LIMITS } from '../../src/api/page/live.ts';
import { browserTest, type ContextOptions, faults, misfits, picture, startBrowser } from '../support/browser.ts';
import { phone } from '../support/cot-client.ts';
import { askSocket } from '../support/curl.ts';
import { freePorts, RelayHome } from '../support/relay-process.ts';

const THEMES = ['day', 'dark', 'red'] as const;

interface Box {
  readonly relay: RelayHome;
  readonly plain: string;
  readonly secure: string;
  readonly tcp: number;
  readonly spare: number;
  /** Nobody listens there. */
  readonly dead: number;
}

async function startBox(t: TestContext): Promise<Box> {
  const [api, tls, tcp, spare, dead] = (await freePorts(5)) as [number, number, number, number, number];
  const relay = new RelayHome(t, 'vehicle-3');
  relay.configure(
    api,
    `links:\n  - { name: phones, kind: cot, listen: ${tcp} } # who is here\n  - { name: hq, kind: fed2, connect: "127.0.0.1:${dead}" }\n`,
    `tls: ${tls}`,
  );
  await relay.start();
  return { relay, plain: `http://127.0.0.1:${api}`, secure: `https://127.0.0.1:${tls}`, tcp, spare, dead };
}

test('the page, in a browser', browserTest, async (t) => {
  const box = await startBox(t);
  const { browser, open } = await startBrowser(t);
  const alpha = await phone(t, { port: box.tcp });
  alpha.announce('ANDROID-1', 'ALPHA &lt;b>1&lt;/b>');
  await box.relay.until(({ units }) => units === 1, 'the unit');
  const loggedIn = async (options: ContextOptions) => {
    const page = await open(options, `${box.secure}/login`);
    await page.fill('#username', 'owner');
    await page.fill('#password', 'a good password');
    await page.click('button:text("Log in")');
    await page.waitForURL(`${box.secure}/`);
    return page;
  };
  await t.test('with scripts off it says the truth: what is linked, what is not, why, and the fix', async () => {
    const page = await open({ javaScriptEnabled: false, viewport: { width: 900, height: 1200 } }, box.plain);
    const text = await page.innerText('main');
    assert.match(text, /vehicle-3/);
    assert.match(text, /Not linked to hq.*refused the connection/);
    assert.match(text, /Fix: Nothing listens there/);
    assert.match(text, /1 phone or client connected here/);
    assert.match(text, /unauthenticated/);
    assert.match(text, /Clock \(UTC\)\s*\d{4}-\d\d-\d\d \d\d:\d\d, (by |its source)/);
    assert.match(text, /Certificate: federation\s*until \d{4}-\d\d-\d\d/);
    assert.match(text, /Storage free\s*\d[\s\S]*Temperature\s*\w[\s\S]*Power\s*\w[\s\S]*Version\s*\d+\.\d+/);
    // What a phone calls itself is text, not markup.
    assert.match((await page.textContent('svg.scatter')) ?? '', /ALPHA <b>1</);
    assert.equal(await page.locator('main b', { hasText: /^1$/ }).count(), 0);
    await picture(page, 'no-scripts');
  });

  await t.test('three themes, a large and a small screen: no fault that axe can find, nothing sticks out', async () => {
    for (const theme of THEMES) {
      for (const [name, width] of [
        ['wide', 1100],
        ['phone', 320],
      ] as const) {
        const page = await open({ viewport: { width, height: 800 } }, `${box.plain}/?theme=${theme}`);
        for (const part of await page.locator('summary').all()) await part.click();
        assert.deepEqual(await faults(page), [], `${theme}, ${name}`);
        assert.deepEqual(await misfits(page), [0], `${theme}, ${name}`);
        await picture(page, `${theme}-${name}`);
      }
    }
  });

  await t.test('few bytes, nothing from elsewhere', async () => {
    const context = await browser.newContext();
    t.after(() => context.close());
    const page = await context.newPage();
    const session = await context.newCDPSession(page);
    await session.send('Network.enable');
    const asked: string[] = [];
    let bytes = 0;
    page.on('request', (request) => asked.push(request.url()));
    session.on('Network.loadingFinished', ({ encodedDataLength }) => {
      bytes += encodedDataLength;
    });
    await page.goto(box.plain, { waitUntil: 'load' });
    assert.ok(
      asked.every((url) => url.startsWith(box.plain) || url.startsWith('data:')),
      asked.join(),
    );
    assert.ok(bytes > 2_000 && bytes <= 14_000, `${bytes} bytes`);
    const paint = await page.evaluate<number>(
      "new Promise((told) => new PerformanceObserver((list) => told(list.getEntriesByName('first-contentful-paint')[0]?.startTime ?? -1)).observe({ type: 'paint', buffered: true }))",
    );
    t.diagnostic(
      `page, style and script: ${bytes} bytes in ${asked.length} requests; first paint after ${Math.round(paint)} ms`,
    );
  });

  await t.test('it is live while it is seen: told what changed, nothing twice, within its bytes', async () => {
    const context = await browser.newContext();
    t.after(() => context.close());
    const page = await context.newPage();
    const frames: (string | Buffer)[] = [];
    const asked: string[] = [];
    page.on('request', (request) => asked.push(request.url()));
    page.on('websocket', (socket) => socket.on('framereceived', ({ payload }) => frames.push(payload)));
    await page.goto(box.plain, { waitUntil: 'load' });
    const began = performance.now();
    await page
      .locator('#live')
      .filter({ hasText: /^live$/ })
      .waitFor();
    await page.locator('#events summary').click();
    const bravo = await phone(t, { port: box.tcp });
    bravo.announce('ANDROID-2', 'BRAVO');
    await page.getByText('2 phones and clients connected here').waitFor();
    await page.locator('svg.scatter', { hasText: 'BRAVO' }).waitFor();
    // The list was open, and has grown at its beginning.
    await page.locator('#events li', { hasText: /contact joined.*BRAVO/ }).waitFor();
    const bytes = frames.reduce((sum, frame) => sum + Buffer.byteLength(frame), 0);
    const seconds = (performance.now() - began) / 1000;
    // Not the page again; what happened since it was made may be in it.
    assert.ok(Buffer.byteLength(frames[0]!) <= LIVE_LIMITS.burstBytes, String(frames[0]));
    assert.ok(bytes <= LIVE_LIMITS.burstBytes + LIVE_LIMITS.bytesPerSecond * (seconds + 1), `${bytes} in ${seconds} s`);
    assert.equal(asked.length, 3, asked.join());
    t.diagnostic(
      `live: ${frames.length} messages, ${bytes} bytes in ${seconds.toFixed(1)} s, the first ${Buffer.byteLength(frames[0]!)}`,
    );
  });

  await t.test('nothing is sent while it is hidden; seen again, it goes on from where it was', async () => {
    const context = await browser.newContext();
    t.after(() => context.close());
    const page = await context.newPage();
    const sockets: PageSocket[] = [];
    page.on('websocket', (socket) => sockets.push(socket));
    await page.goto(box.plain, { waitUntil: 'load' });
    await page
      .locator('#live')
      .filter({ hasText: /^live$/ })
      .waitFor();
    const see = (hidden: boolean) =>
      page.evaluate(
        `Object.defineProperty(document, 'hidden', { value: ${hidden}, configurable: true }); document.dispatchEvent(new Event('visibilitychange'))`,
      );
    const closed = sockets[0]!.waitForEvent('close');
    await see(true);
    await closed;
    const charlie = await phone(t, { port: box.tcp });
    charlie.announce('ANDROID-3', 'CHARLIE');
    await box.relay.until(({ units }) => units === 3, 'the third unit');
    assert.equal(await page.locator('svg.scatter', { hasText: 'CHARLIE' }).count(), 0);
    const again = page.waitForEvent('websocket');
    await see(false);
    const frame = (await (await again).waitForEvent('framereceived')).payload;
    const { parts } = JSON.parse(typeof frame === 'string' ? frame : gunzipSync(frame).toString());
    assert.ok('units' in parts && !('main' in parts), Object.keys(parts).join());
    await page.locator('svg.scatter', { hasText: 'CHARLIE' }).waitFor();
  });

  await t.test('the log, by level, with scripts off; nothing of it for whoever is not logged in', async () => {
    const page = await open({ javaScriptEnabled: false, viewport: { width: 320, height: 800 } }, box.plain);
    await page.locator('#log summary').click();
    assert.match(await page.innerText('#log ol'), /warn .*link=hq/);
    const shown = () => page.locator('#log li:visible').count();
    const all = await shown();
    await page.check('#log-warn');
    const serious = await shown();
    assert.ok(serious > 0 && serious < all, `${serious} of ${all}`);
    await page.check('#log-bad');
    assert.equal(await shown(), 0);
    const stranger = await (await fetch(box.plain, { headers: { forwarded: 'for=198.51.100.1' } })).text();
    assert.match(stranger, /id="events"/);
    assert.doesNotMatch(stranger, /id="log"|link=hq/);
  });

  await t.test('who is not logged in changes nothing, and is led to the login', async () => {
    const page = await open({}, `${box.secure}/links/hq`);
    assert.equal(new URL(page.url()).pathname, '/login');
    const answer = await page.request.post(`${box.secure}/change`, {
      form: { intent: 'do', what: 'remove', name: 'hq', etag: '' },
    });
    assert.equal(answer.status(), 401);
  });

  await t.test('the first password, a new link, a toggle: each shown as a diff before it is made', async () => {
    const page = await open({ viewport: { width: 500, height: 900 } }, `${box.secure}/login`);
    const shown = () => /setup code[^\n]*: ([A-Z0-9-]+)/.exec(box.relay.output)?.[1];
    while (!shown()) await sleep(20);
    const code = shown()!;
    await page.fill('#code', 'AAAA-AAAA-AAAA');
    await page.fill('#username', 'owner');
    await page.fill('#password', 'a good password');
    await page.click('button:text("Set password")');
    assert.match(await page.innerText('[role=alert]'), /not the setup code/);
    await page.fill('#code', code);
    await page.fill('#username', 'owner');
    await page.fill('#password', 'a good password');
    assert.deepEqual(await faults(page), []);
    await page.click('button:text("Set password")');
    await page.waitForURL(`${box.secure}/`);

    await page.click('a:text("Add a link")');
    await page.fill('#yaml', `name: more\nkind: cot\nlisten: ${box.spare}\n`);
    await page.click('button:text("Show what would change")');
    assert.match(await page.innerText('pre'), /\+ .*more/);
    assert.deepEqual(await faults(page), []);
    await picture(page, 'diff');
    await page.click('button:text("Make this change")');
    await page.waitForURL(`${box.secure}/`);
    await box.relay.until(
      ({ links }) => links.some(({ name, state }) => name === 'more' && state === 'listening'),
      'the new link',
    );
    assert.match(readFileSync(box.relay.configPath, 'utf8'), /# who is here/);

    await page.locator('#link-hq a[href^="/links/"]').click();
    await picture(page, 'link');
    assert.deepEqual(await faults(page), []);
    await page.click('button:text("Out is on: switch off")');
    await page.click('button:text("Make this change")');
    await page.waitForURL(`${box.secure}/`);
    await box.relay.until(({ peers }) => peers.some(({ key, policy }) => key === 'hq' && !policy.out), 'the toggle');
    await page.getByText('Out off').waitFor();

    await page.goto(`${box.secure}/links/hq`);
    await page.fill('#yaml', 'name: hq\nkind: fed3\n');
    await page.click('form:has(#yaml) button');
    assert.match(await page.innerText('[role=alert]'), /fed3/);

    await page.goto(`${box.secure}/`);
    await page.click('button:text("Log out")');
    await page.waitForURL(`${box.secure}/`);
    assert.equal(await page.locator('a[href^="/links/"]').count(), 0);
  });

  await t.test(
    'filters and budget by a form, with scripts off: the diff first, comments kept, at work at once',
    async () => {
      for (const theme of THEMES) {
        const page = await loggedIn({ viewport: { width: 320, height: 800 } });
        await page.goto(`${box.secure}/links/hq?theme=${theme}`);
        assert.deepEqual(await faults(page), [], theme);
        assert.deepEqual(await misfits(page), [0], theme);
        await picture(page, `link-${theme}`);
      }
      const page = await loggedIn({ javaScriptEnabled: false });
      await page.goto(`${box.secure}/links/hq`);
      await page.getByLabel('Never event types that begin so').fill('t-x\nb-t-f-r');
      await page.getByLabel('Only from these areas').last().fill('circle 46.9 7.4 30');
      await page.getByLabel('One position of a unit').last().fill('30');
      await page.getByLabel('Most bytes a day').fill('5M');
      await page.getByLabel('Kind of line').selectOption('satcom');
      await page.click('form[action="/links/hq/settings"] button');
      const diff = await page.innerText('pre');
      for (const line of [/\+ .*block_types:/, /\+ .*circle:/, /\+ .*every_seconds: 30/, /\+ .*per_day: 5000000/]) {
        assert.match(diff, line);
      }
      assert.doesNotMatch(readFileSync(box.relay.configPath, 'utf8'), /satcom/);
      await page.click('button:text("Make this change")');
      await page.waitForURL(`${box.secure}/`);
      await box.relay.until(({ links }) => links.some(({ budget }) => budget?.perDayBytes === 5_000_000), 'the budget');
      assert.match(readFileSync(box.relay.configPath, 'utf8'), /# who is here/);
      const { peers } = await box.relay.status();
      assert.deepEqual(peers.find(({ key }) => key === 'hq')!.policy.blockTypes, ['t-x', 'b-t-f-r']);
      await page.goto(`${box.secure}/`);
      assert.match(await page.innerText('#link-hq'), /Today 0 B of 5.0 MB out, 0 B in, at most 64 kbit\/s/);
      await page.goto(`${box.secure}/links/hq`);
      assert.equal(await page.getByLabel('Only from these areas').last().inputValue(), 'circle 46.9 7.4 30');
      await page.getByLabel('Most bits a second').fill('9600 baud');
      await page.click('form[action="/links/hq/settings"] button');
      assert.match(await page.innerText('[role=alert]'), /no number: 9600 baud.*such as 300/s);
      await page.goto(`${box.secure}/links/hq`);
      await page.getByLabel('Most bits a second').fill('10');
      await page.click('form[action="/links/hq/settings"] button');
      assert.match(await page.innerText('[role=alert]'), /line \d+: .*rate/);
    },
  );

  await t.test('would it cross: an example event, every peer, which rule; in three themes on a phone', async () => {
    const page = await loggedIn({ viewport: { width: 320, height: 800 } });
    await page.goto(`${box.secure}/links/hq`);
    await page.click('a:text("Would an event from it cross?")');
    assert.equal(await page.locator('#from').inputValue(), 'hq');
    await page.getByLabel('Where it comes from').selectOption('phones');
    await page.getByLabel('What it is').selectOption('sensor');
    await page.locator('main summary').click();
    await page.click('button:text("Would it cross?")');
    assert.match(await page.innerText('main'), /Let in: no rule stops it\. Answered for the network main\./);
    assert.match(await page.locator('tr', { hasText: 'hq' }).innerText(), /no\s+out: false stops it/);
    await page.locator('main summary').click();
    for (const theme of THEMES) {
      await page.evaluate(`document.documentElement.dataset.theme = '${theme}'`);
      assert.deepEqual(await faults(page), [], theme);
      assert.deepEqual(await misfits(page), [0], theme);
      await picture(page, `policy-${theme}`);
    }
  });

  await t.test(
    'G5: partners and the fleet: who does not answer is Unreachable; three themes, with scripts off',
    async () => {
      const ask = (path: string, body: object) => askSocket(box.relay, 'POST', `/api/federation/${path}`, body);
      const far = { url: `https://127.0.0.1:${box.dead}`, pins: ['a'.repeat(64)], server_pin: 'b'.repeat(64) };
      assert.equal((await ask('certificate', {})).status, 201);
      const added = await ask('partners', { name: 'bravo', secret: 'x'.repeat(43), ...far });
      assert.equal(added.status, 201, added.text);
      for (const theme of THEMES) {
        const page = await loggedIn({ viewport: { width: 320, height: 800 } });
        for (const path of ['partners', 'fleet']) {
          await page.goto(`${box.secure}/${path}?theme=${theme}`);
          assert.deepEqual(await faults(page), [], `${path}, ${theme}`);
          assert.deepEqual(await misfits(page), [0], `${path}, ${theme}`);
          await picture(page, `${path}-${theme}`);
        }
      }
      const page = await loggedIn({ javaScriptEnabled: false });
      await page.click('footer a:text("Partners")');
      await page.click('button:text("Ping bravo")');
      assert.match(await page.innerText('[role=alert]'), /bravo: Unreachable\. .*refused the connection/);
      await page.click('a:text("The fleet")');
      assert.match(await page.locator('[aria-label=Peers] tr', { hasText: 'bravo' }).innerText(), /Unreachable/);
      assert.match(await page.innerText('main'), /vehicle-3 ws-/);
    },
  );

  await t.test('a form of another page does nothing, though the browser sends the cookie', async () => {
    const page = await loggedIn({});
    const form = { intent: 'do', what: 'remove', name: 'more', etag: '', csrf: 'guessed' };
    const answer = await page.request.post(`${box.secure}/change`, { form });
    assert.deepEqual([answer.status(), (await answer.json()).code], [403, 'csrf']);
    const { links } = await box.relay.status();
    assert.ok(links.some(({ name }) => name === 'more'));
  });
});
