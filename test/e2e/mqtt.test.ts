// Relays on a real broker: they share a load, they all hear everything; the broker dies and comes back.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { phone, sa } from '../support/cot-client.ts';
import { Mosquitto, NO_MOSQUITTO } from '../support/mosquitto.ts';
import { freePorts, SOURCE } from '../support/relay-process.ts';
import { connected, sharedLoad, startRelay } from './mqtt-journey.ts';

const skip = NO_MOSQUITTO;

test('two relays share one load: each event leaves exactly once', { skip }, (t) => sharedLoad(t, SOURCE));

test('relays that all hear everything pass each event on once, and the broker may die and come back', {
  skip,
}, async (t) => {
  const broker = await Mosquitto.start(t);
  const ports = await freePorts(3);
  const homes = await Promise.all(
    ports.map((port, n) =>
      startRelay(
        t,
        `hub${n}`,
        `  - { name: phones, kind: cot, listen: "127.0.0.1:${port}" }\n` +
          `  - { name: bus, kind: mqtt, connect: "${broker.where}", subscribe: "tak/#", publish: "tak/{type/}/{uid}", payload: tak, retain: true, keep_session_seconds: 600 }\n`,
        SOURCE,
      ),
    ),
  );
  await Promise.all(homes.map(connected));
  const phones = await Promise.all(ports.map((port) => phone(t, { port })));
  for (const [n, each] of phones.entries()) each.send(sa(`phone-${n}`, `PHONE-${n}`));
  for (const [n, each] of phones.entries()) {
    for (const other of [0, 1, 2].filter((m) => m !== n)) await each.withUid(`phone-${other}`);
  }
  await broker.kill();
  for (const home of homes) await home.until(({ links }) => links.some(({ state }) => state === 'waiting'), 'loss');
  phones[0]!.send(sa('phone-0', 'PHONE-0', Date.now() + 1, 'lat="1" lon="2"'));
  await broker.run();
  await Promise.all(homes.map(connected));
  for (const each of phones.slice(1))
    await each.waitFor((event) => event.includes('lat="1'), 'the position of the time without a broker');
  for (const home of homes) {
    const { peers, totals } = await home.status();
    const bus = peers.find(({ key }) => key === 'bus')!;
    assert.equal(totals.refused.loop ?? 0, 0, 'no local: the broker hands nothing back');
    assert.equal(bus.received.refused.malformed ?? 0, 0);
  }
});
