// Where the time comes from: what peers' clocks are worth, and what chrony itself makes of what it is told.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { clockWords } from '../../src/appliance/clock.ts';
import type { NodePeer } from '../../src/core/node.ts';
import { believed, sample } from '../../src/peer-clock.ts';

const NOW = Date.UTC(2027, 0, 1);
const peer = (clockOffsetMs: number | null, status: NodePeer['status'] = 'connected'): NodePeer => ({
  ...{
    name: 'p',
    host: '',
    port: 0,
    via: 'direct',
    latencyMs: 1,
    lastContactMs: 0,
    messagesSent: 0,
    messagesReceived: 0,
  },
  clockOffsetMs,
  status,
});

test('peers are believed as far as most of them agree', () => {
  const of = (...offsets: (number | null)[]) =>
    believed(
      offsets.map((offsetMs) => peer(offsetMs)),
      NOW,
    );
  assert.equal(of(), undefined);
  assert.equal(of(null), undefined, 'not measured');
  assert.equal(of(86_400_000), 86_400_000, 'a single one, however far ahead');
  assert.equal(of(5_000, 90_000_000), undefined, 'two that disagree');
  assert.equal(of(5_000, 90_000_000, 4_500), 4_500 + 500);
  assert.equal(of(-3_000, 10, 20, 900_000), undefined, 'half is not most');
  assert.equal(of(7_000, NOW * -1), 7_000, 'a clock that was never set does not count');
  assert.equal(believed([peer(9_000, 'disconnected')], NOW), undefined);
});

test('the source in words', () => {
  assert.equal(
    clockWords('50454552,PEER,10,1764403200.1,0.0,0.0,0.0,0.0,0.0,0.0,0.5,0.1,32.0,Normal\n'),
    'by a peer relay',
  );
  assert.equal(clockWords('47505300,GPS,1,1764403200.1,0,0,0,0,0,0,0,0,16.0,Normal'), 'by GPS');
  assert.equal(clockWords('C0000201,192.0.2.1,3,1,0,0,0,0,0,0,0,0,64.0,Normal'), 'by the time server 192.0.2.1');
  for (const none of [undefined, '', '506 Cannot talk to daemon', '00000000,,0,0,0,0,0,0,0,0,1,1,0,Not synchronised'])
    assert.match(clockWords(none), /nothing has set it/);
});

const lacks = ['chronyd', 'chronyc', 'socat'].find((tool) => spawnSync(tool, ['-h']).error);

test('chrony takes the samples for what they are', { skip: lacks && `${lacks} is not installed` }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'clock-'));
  const path = (name: string) => join(folder, name);
  writeFileSync(
    path('conf'),
    `refclock SOCK ${path('peers.sock')} refid PEER stratum 9 precision 1e-2 delay 0.5 poll 0\n` +
      `port 0\ncmdport 0\nbindcmdaddress ${path('cmd')}\npidfile ${path('pid')}\n`,
  );
  // -x: it leaves the clock of this machine alone.
  const daemon = spawn('chronyd', ['-x', '-d', '-U', '-u', userInfo().username, '-f', path('conf')], {
    stdio: 'ignore',
  });
  t.after(() => {
    daemon.kill();
    rmSync(folder, { recursive: true });
  });
  let words = '';
  for (let tries = 0; tries < 200 && !/PEER.*\+3600\./.test(words); tries += 1) {
    await sleep(100);
    spawnSync('socat', ['-u', 'STDIN', `UNIX-SENDTO:${path('peers.sock')}`], { input: sample(Date.now(), 3_600_000) });
    words = spawnSync('chronyc', ['-h', path('cmd'), '-c', 'sources'], { encoding: 'utf8' }).stdout;
    const [, , name, , , , , , offset] = words.trim().split(',');
    // chronyc tells how far the source is from us: an hour.
    if (name === 'PEER' && Math.abs(Math.abs(Number(offset)) - 3600) < 1) return;
  }
  assert.fail(`chrony did not see the hour: ${words}`);
});
