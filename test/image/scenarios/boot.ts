// A card from the flashing program to a box that relays, and everything that can be said of it from inside and outside.
import assert from 'node:assert/strict';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import {
  freshBox,
  type Lab,
  PHONES,
  PORTS,
  pinIn,
  provisionCard,
  START_MS,
  ssh,
  untilLinked,
  untilReady,
  untilSsh,
} from '../lab.ts';
import { Machine, type MachineOptions } from '../machine.ts';
import type { Scenario } from './scenario.ts';

/** A box that was provisioned once and knows the hub, switched off; other scenarios begin with copies of its card. */
export async function knownBox(lab: Lab, name: string, options: Partial<MachineOptions> = {}): Promise<Machine> {
  await prepared(lab);
  return copyOf(lab, 'known', name, options);
}

/**
 * The same box as it runs and relays, without the minutes that a start takes under emulation: for what is not about starting. It was
 * frozen in that state once; what a scenario does to it afterwards, power cuts and starts included, is real.
 */
export async function runningBox(lab: Lab, name: string, options: Partial<MachineOptions> = {}): Promise<Machine> {
  await prepared(lab);
  const copy = await copyOf(lab, 'frozen', name, options);
  copy.thaw();
  await untilSsh(lab, copy);
  await untilLinked(lab, copy);
  return copy;
}

async function copyOf(lab: Lab, of: string, name: string, options: Partial<MachineOptions>): Promise<Machine> {
  const copy = new Machine({ image: lab.image, folder: lab.folder(name), ports: PORTS, ...options });
  await copy.cloneOf(new Machine({ image: lab.image, folder: lab.folder(of) }));
  return copy;
}

const noteOfKnown = (lab: Lab) => join(lab.folder('known'), 'box.json');

/** Of the certificate that the box shows to other relays. */
export function portalPinOfKnown(lab: Lab): string {
  return (JSON.parse(readFileSync(noteOfKnown(lab), 'utf8')) as { pin: string }).pin;
}

/** Once for each image: a card is provisioned and started, the box frozen as it relays, and a copy of it switched off. */
async function prepared(lab: Lab): Promise<void> {
  const note = noteOfKnown(lab);
  if (existsSync(note) && statSync(note).mtimeMs > statSync(lab.image).mtimeMs) {
    const { ports, ...box } = JSON.parse(readFileSync(note, 'utf8'));
    // It dials the hub where that was when it was provisioned.
    if (isDeepStrictEqual(ports, lab.hub.ports)) return lab.hub.start(box);
  }
  const first = await freshBox(lab, 'frozen');
  first.melt();
  provisionCard(lab, first);
  first.start();
  lab.log(`READY after ${((await untilReady(first)) / 1000).toFixed(1)} s, first start`);
  await untilSsh(lab, first);
  const show = (more: string) => ssh(lab, first, `WAYSTATION_DATA=/var/lib/waystation waystation cert show ${more}`);
  const hubKnows = { ca: await show('--ca'), pin: pinIn(await show('')) };
  await lab.hub.start(hubKnows);
  await untilLinked(lab, first);
  await ssh(lab, first, 'systemctl is-system-running --wait; sync; true');
  await first.freeze();
  const known = await copyOf(lab, 'frozen', 'known', {});
  known.thaw();
  await untilSsh(lab, known);
  await powerOff(lab, known);
  known.melt();
  writeFileSync(note, JSON.stringify({ ...hubKnows, ports: lab.hub.ports }));
}

export async function powerOff(lab: Lab, box: Machine): Promise<void> {
  await ssh(lab, box, 'systemctl --no-block poweroff').catch(() => {});
  await box.off(START_MS);
}

const event = (uid: string) => {
  const time = new Date();
  const stale = new Date(time.getTime() + 600_000);
  return `<event version="2.0" uid="${uid}" type="a-f-G-U-C" how="m-g" time="${time.toISOString()}" start="${time.toISOString()}" stale="${stale.toISOString()}"><point lat="48.1" lon="11.5" hae="500" ce="10" le="10"/><detail><contact callsign="${uid}"/></detail></event>`;
};

/** Sends an event to the box as a phone would, and waits until a phone at the hub has it. */
export async function passes(lab: Lab, box: Machine, uid: string): Promise<void> {
  const there = connect(lab.hub.ports.phones, '127.0.0.1');
  let heard = '';
  there.on('data', (chunk) => {
    heard += String(chunk);
  });
  there.on('error', () => {});
  const here = connect(box.ports.get(PHONES)!, '127.0.0.1');
  here.on('error', () => {});
  try {
    for (const until = performance.now() + START_MS; performance.now() < until; ) {
      here.write(event(uid));
      await sleep(1000);
      if (heard.includes(uid)) return;
    }
    throw new Error(`${uid} went in at the box and did not come out at the hub`);
  } finally {
    here.destroy();
    there.destroy();
  }
}

/** Is everything as it must be on a box that runs? Returns figures for a person. */
export async function inspect(lab: Lab, box: Machine): Promise<string> {
  const run = (command: string) => ssh(lab, box, command);
  assert.equal((await run('systemctl --failed --no-legend --plain')).trim(), '', 'units that failed');
  assert.doesNotMatch(await run('journalctl -b --no-pager -o cat'), /ordering cycle/i);
  const ports = (await run("ss -Hlntu | awk '{print $1, $5}' | grep -vE '127[.]0[.]0[.]|\\[::1\\]' | sort -u")).trim();
  for (const line of ports.split('\n'))
    assert.match(line, /(?::(?:22|68|80|5353|8080|8443|8087|546))$/, `a port that is not ours: ${line}`);
  const readable = await run(
    "find /data /run/waystation /etc/waystation -xdev -type f -perm /004 ! -name hostname ! -path '*/clock/*' 2>/dev/null",
  );
  assert.equal(readable.trim(), '', 'files that everybody may read');
  assert.match(await run('cat /proc/mounts'), /^\S+ \/ squashfs ro/m);
  assert.match(await run('touch /usr/x 2>&1; true'), /Read-only/);
  assert.equal((await run("awk -F: '$2 !~ /^[!*]/ {print $1}' /etc/shadow")).trim(), '', 'accounts with a password');
  const security = await run('systemd-analyze security --no-pager waystation.service | tail -1');
  const memory = await run(
    "free -m | awk 'NR==2 {print $3}'; systemctl show -p MemoryCurrent --value waystation; grep -E 'RssAnon|VmRSS' /proc/$(systemctl show -p MainPID --value waystation)/status",
  );
  return [
    `ports: ${ports.replace(/\n/g, ', ')}`,
    security.trim(),
    `memory: ${memory.trim().replace(/\s+/g, ' ')} (MB in use; bytes of the unit; the process)`,
    (await run('systemd-analyze')).trim(),
    (await run('systemd-analyze blame --no-pager | head -12')).trimEnd(),
  ].join('\n');
}

export const bootScenarios: readonly Scenario[] = [
  {
    name: 'boot',
    what: 'a provisioned card boots, relays to a hub, and is as closed as promised',
    async run(lab) {
      const box = await knownBox(lab, 'boot');
      const imported = box.take('IMPORTED.txt').toString();
      assert.match(imported, /waystation\.yaml: configuration, links: phones \(cot\), hq \(fed2\)/);
      assert.ok(!box.list().includes('waystation.yaml') && !box.list().includes('ssh-key.pub'), box.list().join(' '));
      box.start();
      lab.log(`READY after ${((await untilReady(box)) / 1000).toFixed(1)} s, second start`);
      await untilSsh(lab, box);
      await untilLinked(lab, box);
      await passes(lab, box, 'IMAGE-TEST-1');
      lab.log('an event went in at the box and came out at the hub, over Federation v2');
      lab.log(await inspect(lab, box));
      await powerOff(lab, box);
    },
  },
];
