// Two phones under one uid, and two under one callsign, at a relay that runs: everybody else sees both, and the status names the trouble.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chatTo, phone } from '../support/cot-client.ts';
import { freePorts, RelayHome } from '../support/relay-process.ts';

test('one uid, two phones; one callsign, two phones', async (t) => {
  const [api, tcp] = (await freePorts(2)) as [number, number];
  const relay = new RelayHome(t, 'claims');
  relay.configure(api, `links:\n  - { name: phones, kind: cot, listen: ${tcp} }\n`);
  await relay.start();
  const [alpha, thief, hq] = await Promise.all([1, 2, 3].map(() => phone(t, { port: tcp })));
  let timeMs = Date.now();
  const says = async (who: typeof alpha, callsign: string) => {
    timeMs += 1_000;
    who!.announce('UID-A', callsign, timeMs);
    const at = new Date(timeMs).toISOString();
    await hq!.waitFor((event) => event.includes('uid="UID-A"') && event.includes(at), `${callsign} at ${at}`);
  };
  await says(alpha, 'ALPHA');
  await says(thief, 'THIEF');
  await says(alpha, 'ALPHA');
  await says(thief, 'THIEF');
  hq!.announce('UID-HQ', 'HQ');
  hq!.send(chatTo('1', 'HQ', 'ALPHA', 'for alpha').replace('<dest callsign="ALPHA"/>', '<dest uid="UID-A"/>'));
  await alpha!.waitFor((event) => event.includes('for alpha'), 'the chat');
  thief!.announce('UID-B', 'HQ');
  await relay.until(
    ({ warnings }) => ['uid_claimed', 'callsign_shared'].every((code) => warnings.some((one) => one.code === code)),
    'both warnings',
  );
  const said = await relay.command('status', '--json', '--api', `unix:${relay.file('data/api.sock')}`);
  const words = (JSON.parse(said).warnings as { code: string; words: string }[])
    .map(({ code, words }) => `${code}: ${words}`)
    .join('\n');
  assert.match(words, /uid_claimed: two say that they are "UID-A": "ALPHA" by phones\/\d .*"THIEF" by phones\/\d /);
  assert.match(words, /callsign_shared: "HQ"/);
  assert.ok(!thief!.events.some((event) => event.includes('for alpha')));
});
