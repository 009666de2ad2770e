// The main job, told as one journey, so that sources and binaries are put through the same: an event that enters at one
// box comes out at every client of the other.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import type { TestContext } from 'node:test';
import { chatTo, phone } from '../support/cot-client.ts';
import { freePorts, type Program, RelayHome } from '../support/relay-process.ts';

export interface Pair {
  readonly a: RelayHome;
  readonly b: RelayHome;
  readonly ports: { readonly aTcp: number; readonly bTcp: number; readonly bTls: number; readonly fed: number };
  readonly phoneB: { readonly cert: string; readonly key: string; readonly ca: string };
}

/** Two relays from two configuration files, joined by Federation v2 over mutual TLS; both running. */
export async function startPair(t: TestContext, program: Program): Promise<Pair> {
  const [aApi, bApi, aTcp, bTcp, bTls, fed] = (await freePorts(6)) as [number, number, number, number, number, number];
  const a = new RelayHome(t, 'relay-a', program);
  const b = new RelayHome(t, 'relay-b', program);
  a.configure(aApi, `links:\n  - { name: phones, kind: cot, listen: ${aTcp} }\n`);
  b.configure(bApi, `links:\n  - { name: phones, kind: cot, listen: ${bTcp} }\n`);
  const [aCa, bCa] = await Promise.all([a.command('cert', 'show', '--ca'), b.command('cert', 'show', '--ca')]);
  writeFileSync(a.file('b-ca.pem'), bCa);
  writeFileSync(b.file('a-ca.pem'), aCa);
  a.configure(
    aApi,
    `trust: [b-ca.pem]\nlinks:\n  - { name: phones, kind: cot, listen: ${aTcp} }\n  - { name: to-b, kind: fed2, connect: "127.0.0.1:${fed}" }\n`,
  );
  b.configure(
    bApi,
    `trust: [a-ca.pem]\nlinks:\n  - { name: phones, kind: cot, listen: ${bTcp} }\n  - { name: phones-tls, kind: cot, listen: ${bTls}, tls: true }\n  - { name: federation, kind: fed2, listen: ${fed} }\n`,
  );
  await b.command('cert', 'issue', 'delta', '--out', b.file('delta'));
  await Promise.all([a.start(), b.start()]);
  await a.until((status) => status.peers.some(({ link, connected }) => link === 'to-b' && connected), 'link to b');
  const read = (name: string) => readFileSync(b.file(`delta/${name}`), 'utf8');
  const phoneB = { cert: read('delta.pem'), key: read('delta.key'), ca: read('delta-ca.pem') };
  return { a, b, ports: { aTcp, bTcp, bTls, fed }, phoneB };
}

/** Everything the first issue of a relay promises its user. */
export async function journey(t: TestContext, program: Program): Promise<void> {
  const { a, b, ports, phoneB } = await startPair(t, program);
  const tcp = await phone(t, { port: ports.bTcp });
  const tls = await phone(t, { port: ports.bTls, tls: phoneB });
  tcp.announce('ANDROID-tcp', 'TANGO');
  tls.announce('ANDROID-tls', 'SIERRA');
  await tcp.withUid('ANDROID-tls');

  await t.test('an injected event shows on a TCP client, a TLS client and on watch', async () => {
    const watch = spawn(program[0]!, [...program.slice(1), 'watch', '--count', '1', '--api', b.api]);
    t.after(() => watch.kill());
    let seen = '';
    watch.stdout.on('data', (chunk) => {
      seen += chunk;
    });
    const watched = new Promise((done) => watch.once('exit', done));
    for (let tries = 0; !seen.includes('FED-TEST-ALPHA') && tries < 30; tries++) {
      assert.match(await a.command('inject', '--test', '--to', `127.0.0.1:${ports.aTcp}`), /sent 1 event/);
      await Promise.race([watched, new Promise((done) => setTimeout(done, 1000))]);
    }
    const [byTcp, byTls] = [await tcp.withUid('FED-TEST-1'), await tls.withUid('FED-TEST-1')];
    for (const event of [byTcp, byTls]) {
      assert.match(event, /callsign="FED-TEST-ALPHA"/);
      assert.match(event, /<group name="Blue" role="Team Member"\/>/);
      assert.match(event, /lat="48.1234" lon="24.5678"/);
    }
    assert.match(seen, /a-f-G-U-C +FED-TEST-ALPHA/);
  });

  await t.test('chat to one callsign reaches that client alone', async () => {
    const sender = await phone(t, { port: ports.aTcp });
    sender.announce('ANDROID-sender', 'ROMEO');
    await sender.withUid('ANDROID-tls');
    await tcp.withUid('ANDROID-sender');
    sender.send(chatTo('1', 'ROMEO', 'SIERRA', 'only you'));
    sender.send(chatTo('2', 'ROMEO', 'TANGO', 'and you'));
    const chat = await tls.waitFor((event) => event.includes('only you'));
    assert.match(chat, /<dest callsign="SIERRA"\/>/);
    await tcp.waitFor((event) => event.includes('and you'));
    assert.ok(!tcp.events.some((event) => event.includes('only you')));
    assert.ok(!tls.events.some((event) => event.includes('and you')));
    sender.close();
    await tls.waitFor((event) => event.includes('t-x-d-d') && event.includes('ANDROID-sender'), 'the disconnect');
  });

  await t.test('a side that is killed and restarted is back and flowing without hands', async () => {
    await b.kill('SIGKILL');
    const survivor = await phone(t, { port: ports.aTcp });
    survivor.announce('ANDROID-survivor', 'UNIFORM');
    await b.start();
    const late = await phone(t, { port: ports.bTcp });
    await late.withUid('ANDROID-survivor');
    survivor.announce('ANDROID-after', 'VICTOR');
    await late.withUid('ANDROID-after');
  });

  await t.test('a late client gets the current picture', async () => {
    const late = await phone(t, { port: ports.bTcp });
    await late.withUid('ANDROID-survivor');
    await late.withUid('ANDROID-after');
  });

  await t.test('status and health say so, and both stop cleanly', async () => {
    assert.match(await a.command('status', '--api', a.api), /to-b +fed2 +connected/);
    assert.equal((await fetch(`${b.api}/healthz`)).status, 200);
    const status = await b.status();
    assert.ok(status.totals.received >= 2);
    for (const peer of status.peers) {
      for (const lane of peer.lanes) {
        const dropped = Object.values(lane.dropped).reduce((sum, count) => sum + count, 0);
        assert.equal(lane.offered, lane.sent + dropped + lane.queued, `${peer.key} ${lane.lane}`);
      }
    }
    assert.equal(await a.kill('SIGTERM'), 0);
    assert.equal(await b.kill('SIGINT'), 0);
  });
}
