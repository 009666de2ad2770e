// The box as the world meets it: a phone's browser, an update by the page, a scan of its ports, GPS at its USB.
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { faults, startBrowser } from '../../support/browser.ts';
import {
  boxStatus,
  type Lab,
  PAGE,
  PORTS,
  provisionCard,
  SECURE_PAGE,
  START_MS,
  ssh,
  untilReady,
  untilSsh,
  updateFile,
} from '../lab.ts';
import type { Machine } from '../machine.ts';
import { knownBox, powerOff, runningBox } from './boot.ts';
import type { Scenario } from './scenario.ts';
import { untilSettled } from './update.ts';

const CAPTIVE = '10.41.0.1';
const TAP = 'waystation-tap';
/** The box's address in the wire between it and this host. */
const NEIGHBOUR = '10.77.0.2';

/** A browser as for tests; closed at the end of `use`. */
async function browsing<T>(more: readonly string[], use: (open: OpenPage) => Promise<T>): Promise<T> {
  const ends: (() => unknown)[] = [];
  const context = { after: (end: () => unknown) => ends.push(end) } as unknown as TestContext;
  try {
    return await use((await startBrowser(context, more)).open);
  } finally {
    for (const end of ends.reverse()) await end();
  }
}
type OpenPage = Awaited<ReturnType<typeof startBrowser>>['open'];

async function firstPassword(lab: Lab, box: Machine, open: OpenPage) {
  const code = (await ssh(lab, box, 'cat /data/waystation/setup-code')).trim();
  const page = await open({}, `https://127.0.0.1:${box.ports.get(SECURE_PAGE)}/login`);
  page.setDefaultTimeout(START_MS);
  await page.fill('#code', code);
  await page.fill('#username', 'ann');
  await page.fill('#password', 'correct horse battery');
  await page.click('main button');
  await page.waitForSelector('#h-box');
  return page;
}

export const outsideScenarios: readonly Scenario[] = [
  {
    name: 'walk',
    what: 'a phone on the box’s own Wi-Fi: from what its system asks to the status page, in Chromium; then a login and an update by the page',
    async run(lab) {
      const box = await runningBox(lab, 'walk', { captive: CAPTIVE, ports: [...PORTS, 80] });
      await ssh(lab, box, `ip address add ${CAPTIVE}/32 dev lo`);
      const to = (port: number) => `127.0.0.1:${box.ports.get(port)}`;
      const rules = `MAP connectivitycheck.gstatic.com:80 ${to(80)}, MAP ${CAPTIVE}:${PAGE} ${to(PAGE)}`;
      await browsing([`--host-resolver-rules=${rules}`], async (open) => {
        const probe = await open({}, 'http://connectivitycheck.gstatic.com/generate_204');
        assert.equal(probe.url(), `http://${CAPTIVE}:${PAGE}/`);
        assert.deepEqual(await faults(probe), []);
        lab.log(`  led to ${probe.url()}: "${await probe.title()}", ${(await probe.innerText('#h-box')).trim()}`);
        const page = await firstPassword(lab, box, open);
        lab.log(`  ${(await page.innerText('#box')).replace(/\s+/g, ' ').slice(0, 300)}`);
        await page.goto(`https://${to(SECURE_PAGE)}/box`);
        await page.setInputFiles('#file', updateFile(lab, 'next'));
        await page.click('form[action="/box/update"] button');
        await page.waitForSelector('[role=status]');
        lab.log(`  ${await page.innerText('[role=status]')}`);
      });
      await box.off(START_MS);
      lab.log(`  ${await untilSettled(lab, box, /Updated from/)}`);
      assert.equal(box.slot, 'b');
      await powerOff(lab, box);
    },
  },
  {
    name: 'reset',
    what: 'a factory reset by the API, keys overwritten: nobody else may, and another box comes back',
    async run(lab) {
      const box = await runningBox(lab, 'reset');
      const { id } = await boxStatus(lab, box);
      const post = (path: string, body: unknown, token = '') => {
        const headers = [
          '-H',
          'content-type: application/json',
          ...(token ? ['-H', `authorization: Bearer ${token}`] : []),
        ];
        const url = `https://127.0.0.1:${box.ports.get(SECURE_PAGE)}${path}`;
        return execFileSync('curl', ['-sk', ...headers, '-d', JSON.stringify(body), url], { encoding: 'utf8' });
      };
      const name = (await ssh(lab, box, 'hostname')).trim();
      assert.match(post('/api/factory-reset', { name }), /login_needed/);
      const code = (await ssh(lab, box, 'cat /data/waystation/setup-code')).trim();
      const { token } = JSON.parse(post('/api/setup', { code, username: 'ann', password: 'correct horse battery' }));
      assert.match(post('/api/factory-reset', { name: 'another' }, token), /wrong_name/);
      assert.match(post('/api/factory-reset', { name, zeroize: true }, token), /starts over/);
      await box.off(START_MS);
      assert.equal(execFileSync('sfdisk', ['--part-type', box.disk, '4'], { encoding: 'utf8' }).trim(), 'da');
      provisionCard(lab, box);
      box.start();
      await untilReady(box);
      await untilSsh(lab, box);
      assert.notEqual((await boxStatus(lab, box)).id, id);
      lab.log(`  ${name} is ${(await ssh(lab, box, 'hostname')).trim()} now`);
      await box.powerCut();
    },
  },
  {
    name: 'scan',
    what: 'every TCP port and the usual UDP ports, from a neighbour on the same wire (nmap; a tap device)',
    async run(lab) {
      const ip = (...args: string[]) => execFileSync('ip', args);
      ip('tuntap', 'add', 'dev', TAP, 'mode', 'tap');
      const lease = ['--port=0', `--interface=${TAP}`, '--bind-interfaces', `--dhcp-range=${NEIGHBOUR},${NEIGHBOUR}`];
      const files = ['--dhcp-leasefile=/dev/null', '--conf-file=/dev/null', '--pid-file=', '--keep-in-foreground'];
      let dhcp: ChildProcess | undefined;
      try {
        ip('address', 'add', '10.77.0.1/24', 'dev', TAP);
        ip('link', 'set', TAP, 'up');
        dhcp = spawn('dnsmasq', [...lease, ...files], { stdio: 'ignore' });
        const box = await knownBox(lab, 'scan', { tap: TAP, ports: [] });
        box.start();
        await untilReady(box);
        await sleep(20_000);
        const nmap = (...args: string[]) =>
          execFileSync('nmap', ['-Pn', '-n', '--open', '-oG', '-', ...args, NEIGHBOUR], { encoding: 'utf8' });
        const open = (text: string) =>
          [...text.matchAll(/(\d+)\/open\/(tcp|udp)/g)].map((match) => `${match[2]} ${match[1]}`);
        const tcp = open(nmap('-sS', '-p-', '-T4', '--max-retries', '3'));
        const udp = open(
          nmap('-sU', '-p', '53,67,68,69,111,123,137,161,323,500,514,546,547,1900,2947,4500,5353,5355,6969,9090'),
        );
        lab.log(`  from outside: ${[...tcp, ...udp].join(', ')}`);
        assert.deepEqual(tcp, ['tcp 22', 'tcp 80', 'tcp 8080', 'tcp 8087', 'tcp 8443']);
        for (const one of udp) assert.match(one, /^udp (?:68|5353)$/);
      } finally {
        dhcp?.kill();
        ip('link', 'delete', TAP);
      }
    },
  },
];
