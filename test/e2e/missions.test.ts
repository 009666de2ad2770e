// Missions between two TAK Servers that are never there at once: what one says while the other is away, and while this box restarts, comes
// once, in order, as it was said; bounded by what the outbox may hold. The servers are emulated and share no code with us.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { makePair } from '../support/peers/certs.ts';
import { type Line, startPeer } from '../support/peers/spawn.ts';
import { freePorts, RelayHome } from '../support/relay-process.ts';

const OUTBOX_BYTES = 1_000_000;
const isRol = (line: Line) => line.at === 'rol';

test('missions catch up after an outage, over a restart, once and in order, within bounds', async (t) => {
  const [api, fed, there] = (await freePorts(3)) as [number, number, number];
  const home = new RelayHome(t, 'box');
  const [near, far] = [makePair('near-tak'), makePair('far-tak')];
  home.configure(
    api,
    `trust: [near.pem, far.pem]\nlimits: { outbox: { bytes: ${OUTBOX_BYTES} } }\nlinks:\n  - { name: in, kind: fed2, listen: "127.0.0.1:${fed}" }\n  - { name: out, kind: fed2, connect: "127.0.0.1:${there}" }\n`,
  );
  writeFileSync(home.file('near.pem'), near.caPem);
  writeFileSync(home.file('far.pem'), far.caPem);
  const caPem = await home.command('cert', 'show', '--ca');
  await home.start();
  const saying = await startPeer(t, {
    ...{ stack: 'grpcjs', as: 'takserver', role: 'client', port: fed, caPem },
    ...{ chainPem: near.chainPem, keyPem: near.keyPem },
    flags: { 'server-id': 'NEAR', 'health-ms': 300, 'retry-ms': 300 },
  });
  await saying.waitFor({ at: 'rpc', method: 'ClientROLStream' });
  const say = (name: string, bytes = 0) => {
    const program = `create mission\n${JSON.stringify({ type: 'MissionMetadata', name, creatorUid: 'x' })};`;
    const payload = [{ text: `${name} `.padEnd(bytes, '.') }];
    saying.send({ do: 'rol', rol: { program, payload, groups: ['Blue'] } });
  };
  const waits = (count: number) =>
    home.until(
      ({ peers }) => peers.some(({ link, outbox }) => link === 'out' && outbox?.messages === count),
      `${count} missions in the outbox`,
    );
  const names = Array.from({ length: 20 }, (_, n) => `m${n}`);
  for (const name of names) say(name);
  await waits(names.length);

  await t.test('they are on the disk, and go when the other is there', async () => {
    await home.kill('SIGTERM');
    await home.start();
    await waits(names.length);
    const hearing = await startPeer(t, {
      ...{ stack: 'grpcjs', as: 'takserver', role: 'server', port: there, caPem },
      ...{ chainPem: far.chainPem, keyPem: far.keyPem },
      flags: { 'server-id': 'FAR' },
    });
    await hearing.waitFor((line) => isRol(line) && String(line.program).includes('"m19"'));
    const heard = hearing.all(isRol).map(({ program }) => /"name":"(\w+)"/.exec(String(program))![1]);
    assert.deepEqual(heard, names);
    const [first] = hearing.all(isRol);
    assert.deepEqual(first!.groups, ['Blue']);
    assert.deepEqual((first!.provenance as { id: string }[]).map(({ id }) => id)[0], 'NEAR');
    await hearing.stop();
    await home.until(({ peers }) => peers.some(({ link, connected }) => link === 'out' && !connected), 'its end');
  });

  await t.test('more than the outbox may hold: the oldest go, counted', async () => {
    await saying.waitFor(
      (line) => line.at === 'rpc' && line.method === 'ClientROLStream' && isAgain(saying.lines, line),
    );
    for (let n = 0; n < 8; n++) say(`large${n}`, 200_000);
    await home.until(
      ({ peers }) =>
        peers.some(
          ({ link, outbox, lanes }) =>
            link === 'out' &&
            (outbox?.bytes ?? 0) <= OUTBOX_BYTES &&
            lanes.some(({ dropped }) => (dropped.outbox_full ?? 0) >= 4),
        ),
      'what is too much',
    );
  });
});

/** The stream that was opened after the restart, not the first one. */
function isAgain(lines: readonly Line[], line: Line): boolean {
  return lines.filter(({ at, method }) => at === line.at && method === line.method).indexOf(line) > 0;
}
