// Debian's chromium for tests of the pages: quiet, with what every page owes: no fault that axe can find, nothing that sticks out,
// targets for gloved hands. Pictures are kept in build/page for people to look at.
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { type Browser, chromium, type Page } from 'playwright-core';

const CHROMIUM = '/usr/bin/chromium';
const PICTURES = join(import.meta.dirname, '../../build/page');
const AXE = createRequire(import.meta.url).resolve('axe-core/axe.min.js');
/** Without these it looks for its maker's servers at every start. */
const QUIET = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** For `test`: why there is no browser here. */
export const browserTest = {
  skip: existsSync(CHROMIUM) ? false : 'chromium is not installed (scripts/setup-debian.sh)',
};

export type ContextOptions = Parameters<Browser['newContext']>[0];

export interface TestBrowser {
  readonly browser: Browser;
  /** A page in a context of its own, loaded. Certificates of test boxes are taken. */
  open(options: ContextOptions, url: string): Promise<Page>;
}

/** Closed, with its pages, at the end of the test. */
export async function startBrowser(t: TestContext, more: readonly string[] = []): Promise<TestBrowser> {
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: [...QUIET, ...more] });
  t.after(() => browser.close());
  return {
    browser,
    async open(options, url) {
      const context = await browser.newContext({ ignoreHTTPSErrors: true, ...options });
      t.after(() => context.close());
      const page = await context.newPage();
      await page.goto(url, { waitUntil: 'load' });
      return page;
    },
  };
}

interface AxeResults {
  readonly violations: readonly { readonly id: string; readonly nodes: readonly { readonly html: string }[] }[];
}

/** Rules of WCAG 2.2 AA that the page breaks, by axe, once its style is there: after a click the text comes first. */
export async function faults(page: Page): Promise<string[]> {
  await page.waitForLoadState('load');
  await page.evaluate(readFileSync(AXE, 'utf8'));
  const options = { runOnly: { type: 'tag', values: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'] } };
  const { violations } = await page.evaluate<AxeResults>(`axe.run(document, ${JSON.stringify(options)})`);
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`.slice(0, 500));
}

/** How far the page sticks out to the side (0), then everything one taps that is too small for a glove. */
export async function misfits(page: Page): Promise<unknown[]> {
  await page.waitForLoadState('load');
  return await page.evaluate<unknown[]>(
    "[document.documentElement.scrollWidth - document.documentElement.clientWidth, ...[...document.querySelectorAll('a, button, summary, select, label.inline, input:not([type=hidden], [type=checkbox], [type=radio])')].filter((one) => one.checkVisibility() && one.getBoundingClientRect().height < 44).map((one) => one.outerHTML)]",
  );
}

/** The path of the picture. */
export async function picture(page: Page, name: string): Promise<string> {
  mkdirSync(PICTURES, { recursive: true });
  const path = join(PICTURES, `${name}.png`);
  await page.screenshot({ path, fullPage: true });
  return path;
}
