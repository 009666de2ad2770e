// What the doctor makes of what a relay knows: settings, doors, peers, counters, the box. And its bounds.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createServer } from 'node:net';
import { test } from 'node:test';
import type { NumberedEvent } from '../../src/core/events.ts';
import { DEFAULT_POLICY } from '../../src/core/policy.ts';
import type { CloseReason } from '../../src/core/reason.ts';
import { examineAtRest } from '../../src/doctor/at-rest.ts';
import { boxChecks } from '../../src/doctor/box.ts';
import { holderOf } from '../../src/doctor/holder.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { LINK_KINDS } from '../../src/links/index.ts';
import { freePorts } from '../support/relay-process.ts';
import {
  blackHole,
  checkOf,
  configOf,
  doctorOf,
  examine,
  lane,
  listening,
  type PatientOptions,
  peerOf,
} from './patient.ts';

const UP: PatientOptions = {
  links: '  - { name: hq, kind: fed2, connect: "192.0.2.1:9001" }\n',
  link: { state: 'connected', detail: '192.0.2.1:9001' },
};
const DOOR: PatientOptions = {
  links: '  - { name: hq, kind: fed2, listen: 9001 }\n',
  link: { state: 'listening', detail: '[::]:9001' },
};

test('settings that let nothing cross', async () => {
  const said = async (more: string) =>
    (await examine({ ...UP, peers: [peerOf()], links: UP.links.replace(' }', `, ${more} }`) })).sentence;
  assert.equal(
    await said('enabled: false'),
    'hq: the link is switched off. Fix: switch it on: waystation link resume hq.',
  );
  assert.match(
    await said('policy: { in: false, out: false }'),
    /the link is paused: both of its switches, in and out, are off.* Fix: switch in or out on/,
  );
  assert.match(
    await said('policy: { block_types: [a, b, t] }'),
    /the filters let nothing in or out that people send: block_types \[a, b, t\] stops .* Fix: change block_types/,
  );
  assert.match(
    await said('policy: { filter_out: { block_types: [a, b, t] } }'),
    /the filters let nothing out that people send: filter_out or rules_out stop/,
  );
  assert.match(await said('policy: { allow_types: [z-] }'), /allow_types \[z-\] leaves out/);
});

test('radio silence is said to be one', async () => {
  const status = { emcon: { silent: true, since: '2026-01-01T00:00:00Z', by: 'me' } };
  const found = await examine({ ...UP, link: { state: 'stopped' }, status });
  assert.match(found.sentence, /^hq: radio silence is on: nothing goes out\. Fix: end it/);
});

test('a door at which nobody knocked, and where others should knock', async () => {
  const found = await examine(DOOR);
  assert.equal(found.finding, 'unknown');
  assert.match(
    found.sentence,
    /it listens at \[::\]:9001, and nobody has tried to connect since it did \(60 s\)\. Fix: .*192\.0\.2\.7.* no firewall .* the router must forward the port, or use a portal link/,
  );
  const local = await examine({ ...DOOR, link: { state: 'listening', detail: '127.0.0.1:9001' } });
  assert.match(checkOf(local, 'reach').words, /only this computer can connect/);
  assert.match(local.sentence, /nobody has tried to connect.*Fix: only this computer can: .*the port alone/);
});

test('a door where all are turned away says why', async () => {
  const lastRefusal = {
    code: 'unknown_ca',
    words: '"x" is not trusted here',
    fix: 'trust it',
    address: '192.0.2.9:4000',
    atMs: Date.now() - 5_000,
  };
  const link = { ...DOOR.link, refusals: { unknown_ca: 3 }, lastRefusal };
  const found = await examine({ ...DOOR, link });
  assert.equal(found.finding, 'bad');
  assert.equal(
    found.sentence,
    'hq: 3 connections were refused, the last 5 s ago from 192.0.2.9:4000: "x" is not trusted here. Fix: trust it.',
  );
  const others = await examine({ ...DOOR, link, peers: [peerOf()] });
  assert.equal(others.finding, 'warn');
});

test('a port in use: by whom', async (t) => {
  const program =
    "require('node:net').createServer().listen(0, '127.0.0.1', function () { console.log(this.address().port) })";
  const child = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => child.kill());
  const port = Number(await new Promise((resolve) => child.stdout.once('data', (chunk) => resolve(String(chunk)))));
  const lastTrouble = {
    code: 'port_in_use',
    words: `port ${port} is in use by another program or link`,
    fix: '',
    atMs: 0,
  };
  const links = `  - { name: hq, kind: fed2, listen: ${port} }\n`;
  const found = await examine({ links, link: { state: 'waiting', lastTrouble } });
  assert.match(
    found.sentence,
    new RegExp(`by .+ \\(process ${child.pid}\\)\\. Fix: stop that program, or choose another port`),
  );
  const own = await listening(t, createServer());
  assert.equal(holderOf(own), 'another link of this relay');

  const config = configOf(links);
  const rest = {
    kinds: LINK_KINDS as never,
    entries: config.links,
    api: [],
    clock: systemClock,
    signal: new AbortController().signal,
  };
  const [atRest] = await examineAtRest(rest, 'hq');
  assert.match(atRest!.sentence, new RegExp(`:${port} is in use by .* \\(process ${child.pid}\\)`));
  assert.deepEqual(await examineAtRest(rest, 'other'), []);
  const [free] = await freePorts(1);
  const [well] = await examineAtRest(
    { ...rest, entries: configOf(`  - { name: a, kind: cot, listen: ${free} }\n`).links },
    'a',
  );
  assert.equal(well!.finding, 'ok');
});

test('up, but nothing flows: groups, filters, clocks', async () => {
  const said = async (peer: Parameters<typeof peerOf>[0]) => (await examine({ ...UP, peers: [peerOf(peer)] })).sentence;
  assert.match(
    await said({ groups: ['Red'], policy: { ...DEFAULT_POLICY, groupsIn: ['Blue'] } }),
    /no group is shared: hq has the groups Red, and groups_in of this link has only Blue\. Fix: put one of its groups into groups_in/,
  );
  assert.match(
    await said({ received: { events: 40, bytes: 1, refused: { filtered_in: 40 } } }),
    /40 of 40 messages from hq were stopped by what this link lets in\. Fix: .*waystation policy test/,
  );
  assert.match(
    await said({ lanes: [lane({ offered: 9, sent: 0, dropped: { filtered_out: 9 } })] }),
    /all of the 9 messages for hq were stopped by what this link lets out/,
  );
  assert.match(
    await said({ received: { events: 20, bytes: 1, refused: { stale: 12 } } }),
    /12 of 20 messages from hq were refused because of their time: the clocks differ by more than 5 min\. Fix: set the clocks/,
  );
  assert.match(await said({ received: { events: 20, bytes: 1, refused: { stale: 1 } } }), /nothing found wrong/);
});

test('a clock that a portal peer measured', async () => {
  const nodes = [
    {
      name: 'factory',
      host: '',
      port: 0,
      via: 'direct',
      status: 'connected',
      latencyMs: 1,
      lastContactMs: 1,
      messagesSent: 0,
      messagesReceived: 0,
      clockOffsetMs: -600_000,
    },
  ] as const;
  const found = await examine({ ...UP, peers: [peerOf()], nodes });
  assert.match(found.sentence, /the clock of factory is 10 min behind ours\. Fix: set the one that is wrong/);
});

function lives(lengthsMs: readonly number[], reason: CloseReason): NumberedEvent[] {
  let wallMs = 1_000_000;
  return lengthsMs.flatMap((lengthMs, index) => {
    const up = { id: 2 * index, wallMs, event: { type: 'peer_up', peer: 'hq', name: 'hq', address: '' } } as const;
    wallMs += lengthMs + 5_000;
    const down = {
      id: 2 * index + 1,
      wallMs: wallMs - 5_000,
      event: { type: 'peer_down', peer: 'hq', reason, words: '' },
    } as const;
    return [up, down];
  });
}

test('connections that break after the same silence: NAT', async () => {
  const said = async (lengths: readonly number[], reason: CloseReason) =>
    (await examine({ ...UP, peers: [peerOf()], events: lives(lengths, reason) })).sentence;
  assert.match(
    await said([900_000, 60_000, 62_000, 59_000], 'idle_timeout'),
    /the last 3 connections with hq each broke after about 60 s: that is how a NAT or firewall .* Fix: set health_interval_seconds: 10/,
  );
  for (const well of [
    [60_000, 62_000],
    [60_000, 200_000, 61_000],
    [5_000, 5_000, 5_000],
  ]) {
    assert.match(await said(well, 'network_error'), /nothing found wrong/);
  }
  assert.match(await said([60_000, 62_000, 59_000], 'config_changed'), /nothing found wrong/);
});

test('queues and budgets', async () => {
  const slow = peerOf({ queuedBytes: 5000, lanes: [lane({ queued: 80, oldestMs: 120_000 })] });
  assert.match(
    (await examine({ ...UP, peers: [slow] })).sentence,
    /80 messages \(5000 bytes\) wait for hq although it is connected, the oldest for 2 min\. Fix: the line is slower/,
  );
  const full = peerOf({ lanes: [lane({ dropped: { queue_full: 7 } })] });
  assert.match(
    (await examine({ ...UP, peers: [full] })).sentence,
    /7 messages for hq were lost because too much waited/,
  );
  const budget = {
    profile: 'satcom',
    rateBps: 64_000,
    perDayBytes: 1000,
    metered: true,
    usedTodayBytes: 1000,
    closedLanes: ['still'],
  } as const;
  assert.match(
    (await examine({ ...UP, link: { ...UP.link, budget }, peers: [peerOf()] })).sentence,
    /today's allowance of 1000 bytes is used up: until midnight UTC no more still\. Fix: raise budget\.per_day/,
  );
});

test('a peer that is away, in its own words', async () => {
  const trouble = { code: 'duplicate', words: 'it says we are connected already', fix: 'delete the other one' };
  const found = await examine({
    ...UP,
    link: { state: 'waiting' },
    peers: [peerOf({ connected: false, trouble })],
    links: DOOR.links,
  });
  assert.match(found.sentence, /it says we are connected already\. Fix: delete the other one\.$/);
});

test('the box: clock, storage, memory, power, certificates, warnings', async () => {
  const report = await doctorOf(UP).report(undefined, false, new AbortController().signal);
  const status = {
    now: '1970-01-01T00:00:09Z',
    host: {
      temperatureC: 85,
      underVoltage: true,
      storage: { freeBytes: 1e6, totalBytes: 16e9 },
      wear: { writtenBytes: null, bytesPerDay: null, lifeUsedPercent: 90 },
    },
    memory: { rssBytes: 9e7 },
    certificates: [
      { what: 'server', notAfter: '2026-01-01T00:00:00Z', daysLeft: -3 },
      { what: 'authority', notAfter: '2026-01-01T00:00:00Z', daysLeft: 9 },
    ],
    warnings: [{ code: 'outbox_broken', words: 'the outbox cannot be written', fix: 'look at the disk' }],
  };
  const checks = boxChecks(status as never, { availableBytes: 1e6, totalBytes: 1e9 });
  const found = Object.fromEntries(checks.map(({ id, of, finding }) => [`${id} ${of}`.trim(), finding]));
  assert.deepEqual(found, {
    clock: 'bad',
    storage: 'bad',
    storage_worn: 'warn',
    memory: 'warn',
    power: 'warn',
    temperature: 'warn',
    'certificates server': 'bad',
    'certificates authority': 'warn',
    outbox_broken: 'warn',
  });
  assert.equal(report!.diagnoses.at(-1)!.finding, 'ok');
  const wrong = {
    ...UP,
    status: { warnings: [{ code: 'clock_wrong', words: 'the clock is 2 h behind', fix: 'set it' }] },
  };
  const clock = await doctorOf(wrong).report(undefined, false, new AbortController().signal);
  assert.match(clock!.sentence, /^This box: the clock is 2 h behind\. Fix: set it\./);
});

test('only so many reports at once; a caller that leaves ends its own', async (t) => {
  const port = await blackHole(t);
  const doctor = doctorOf({ links: `  - { name: hq, kind: cot, connect: "192.0.2.1:${port}", tls: true }\n` });
  const leave = new AbortController();
  const running = Array.from({ length: 4 }, () => doctor.report(undefined, true, leave.signal));
  await assert.rejects(doctor.report(undefined, true, leave.signal), { code: 'busy' });
  leave.abort();
  for (const report of await Promise.all(running)) assert.ok(report);
  assert.equal(await doctor.report('other', true, leave.signal), undefined);
});
