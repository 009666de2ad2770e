// What relays do on a real broker, as processes: run from the sources and from the binary.
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { sa } from '../support/cot-client.ts';
import { Mosquitto } from '../support/mosquitto.ts';
import { freePorts, type Program, RelayHome } from '../support/relay-process.ts';

const EVENTS = 120;

export async function startRelay(t: TestContext, name: string, links: string, program: Program): Promise<RelayHome> {
  const home = new RelayHome(t, name, program);
  const [api] = await freePorts(1);
  home.configure(api!, `links:\n${links}`);
  await home.start();
  return home;
}

/** Resolves when every mqtt link of it is. */
export const connected = (home: RelayHome) =>
  home.until(({ links }) => links.every(({ kind, state }) => kind !== 'mqtt' || state === 'connected'), 'broker');

/** Two relays share one load: each event leaves exactly once, both do their part, and one goes on alone. */
export async function sharedLoad(t: TestContext, program: Program): Promise<void> {
  const broker = await Mosquitto.start(t);
  const links =
    `  - { name: take, kind: mqtt, connect: "${broker.where}", subscribe: "in/#", share: hubs }\n` +
    `  - { name: give, kind: mqtt, connect: "${broker.where}", publish: "out/{uid}" }\n`;
  const relays = await Promise.all([startRelay(t, 'one', links, program), startRelay(t, 'two', links, program)]);
  await Promise.all(relays.map(connected));
  const heard = await broker.listen(t, 'out/#');
  const uids = Array.from({ length: EVENTS }, (_, n) => `unit-${n}`);
  for (const uid of uids) await broker.publish(`in/${uid}`, sa(uid, uid.toUpperCase()));
  await heard.until('every event', () => new Set(heard.all.map(({ topic }) => topic)).size === EVENTS);
  await broker.publish('in/last', sa('last', 'LAST'));
  await heard.said(({ topic }) => topic === 'out/last');
  assert.deepEqual(heard.all.map(({ topic }) => topic).sort(), [...uids, 'last'].map((uid) => `out/${uid}`).sort());
  for (const home of relays) {
    const { peers } = await home.status();
    const took = peers.find(({ key }) => key === 'take')!.received.events;
    assert.ok(took > 0 && took < EVENTS, `${home.name} took ${took}`);
  }
  const [first] = relays;
  await first!.kill();
  for (const uid of ['after-1', 'after-2', 'after-3']) {
    await broker.publish(`in/${uid}`, sa(uid, uid));
    await heard.said(({ topic }) => topic === `out/${uid}`);
  }
}
