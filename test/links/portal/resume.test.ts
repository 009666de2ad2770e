// Two whole relays, hub and all, and a line that breaks: nothing is lost, nothing comes twice, nothing known is sent again.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { EventLog } from '../../../src/core/events.ts';
import { Hub } from '../../../src/core/hub.ts';
import type { Envelope, Message } from '../../../src/core/message.ts';
import type { Peer } from '../../../src/core/peer.ts';
import type { Session, SessionPort } from '../../../src/core/session.ts';
import { RETELL_MS } from '../../../src/core/unheard.ts';
import { type Clock, ManualClock, systemClock } from '../../../src/lib/clock.ts';
import type { Link } from '../../../src/links/link.ts';
import { scanCot } from '../../../src/wire/cot.ts';
import { atakSa, geoChat } from '../../fixtures/events.ts';
import { changed, type RunningLink, until } from '../memory.ts';
import { hurry, identityOf, LISTEN, Line, peer, portal, relay } from './rig.ts';

/** Whoever stands beside a relay: says what it is told to, and remembers what it hears. */
class Neighbour implements Session {
  readonly identity = { id: 'n', name: 'n', proof: 'none' } as const;
  readonly address = 'here';
  readonly federated = false;
  readonly heard: Message[] = [];
  readonly port: SessionPort;

  constructor(hub: Hub) {
    this.port = hub.attach({ key: 'n', link: 'n', kind: 'n', name: 'n', durable: false, graceMs: 0 }, this);
  }

  say(xml: Buffer): void {
    this.port.deliver({
      message: { kind: 'event', event: scanCot(xml) },
      wire: { format: 'xml', bytes: xml },
      size: xml.length,
    });
  }

  carries(): boolean {
    return true;
  }

  send({ message }: Envelope): boolean {
    this.heard.push(message);
    changed();
    return true;
  }

  close(): void {}

  uids(type: string): string[] {
    return this.heard.flatMap((message) =>
      message.kind === 'event' && message.event.type === type ? [message.event.uid] : [],
    );
  }
}

interface Whole {
  readonly hub: Hub;
  readonly link: RunningLink;
  readonly beside: Neighbour;
  /** What the hub knows of the other relay. */
  other(): Peer;
}

function whole(t: TestContext, name: string, settings: object, clock: Clock = systemClock): Whole {
  const hub = new Hub({ nodeId: `ws-${name}`, clock, events: new EventLog(() => clock.wallMs()) });
  const link = portal(settings);
  const onHub: Link = { run: (context) => link.run({ ...context, hub }) };
  const running = relay(t, name, onHub, { clock, identity: identityOf(name) });
  const other = () => hub.peers().find(({ spec }) => spec.kind === 'portal')!;
  return { hub, link: running, beside: new Neighbour(hub), other };
}

async function pair(t: TestContext, clock?: Clock) {
  const b = whole(t, 'b', { listen: LISTEN, peers: [peer('a')] }, clock);
  const line = await Line.open(t, await b.link.port());
  const a = whole(t, 'a', { peers: [peer('b', { address: `127.0.0.1:${line.port}` })] }, clock);
  await until('both to be connected', () => {
    const up = a.other()?.session && b.other()?.session;
    if (!up) setImmediate(changed);
    return up !== undefined;
  });
  return { a, b, line };
}

const chat = (n: number) => geoChat(Date.now(), { messageId: `m-${n}`, text: `message ${n}` });

test('a chat over a line that breaks again and again: every message once, in order', async (t) => {
  hurry(t);
  const { a, b, line } = await pair(t);
  const type = scanCot(chat(0)).type;
  const expected: string[] = [];
  const rounds = 12;
  const perRound = 40;
  for (let round = 0; round < rounds; round++) {
    for (let n = 0; n < perRound; n++) {
      const xml = chat(round * perRound + n);
      expected.push(scanCot(xml).uid);
      a.beside.say(xml);
      b.beside.say(chat(10_000 + round * perRound + n));
    }
    // In the midst of it: some has arrived, of which some is acknowledged, and some has not.
    const heard = round * perRound + 1 + ((round * 7) % perRound);
    await until('some of it', () => b.beside.uids(type).length >= heard);
    line.cut();
  }
  const count = rounds * perRound;
  await until('all of it', () => b.beside.uids(type).length >= count && a.beside.uids(type).length >= count);
  assert.deepEqual(b.beside.uids(type), expected);
  assert.equal(a.beside.uids(type).length, count);
  for (const { other } of [a, b]) {
    assert.equal(other().received.events, count, 'nothing came twice, not even to be refused');
    assert.deepEqual(other().refused, {});
    assert.ok(other().sessions > rounds / 2, `${other().sessions} connections`);
  }
});

/** Moves time until something is so. */
async function settle(clock: ManualClock, what: string, is: () => boolean): Promise<void> {
  for (let tries = 0; !is(); tries++) {
    assert.ok(tries < 2_000, `waited in vain for ${what}`);
    clock.advance(10);
    await sleep(1);
  }
}

test('chat to contacts behind a peer is kept through a long break; after a longer one they have left, after a day it has no recipient', async (t) => {
  hurry(t);
  const clock = new ManualClock(Date.now());
  const { a, b, line } = await pair(t, clock);
  const wait = (what: string, is: () => boolean) => settle(clock, what, is);
  const hourMs = 3_600_000;
  const to = { uid: 'BEHIND-B', callsign: 'BEHIND-B' };
  b.beside.say(atakSa(clock.wallMs(), { ...to, staleMs: hourMs }));
  await wait('the contact', () => a.beside.uids('a-f-G-U-C').includes(to.uid));
  const left = () => a.beside.heard.some((message) => message.kind === 'contact' && message.op === 'delete');
  const chatAfter = async (ms: number, messageId: string) => {
    line.freeze(true);
    line.cut();
    await wait('the end', () => !a.other().session && !b.other().session);
    for (let passed = 0; passed < ms; passed += ms / 1_000) clock.advance(ms / 1_000);
    const before = a.other().queue.length;
    const dest = `callsign="${to.callsign}"`;
    a.beside.say(geoChat(clock.wallMs(), { messageId, room: to.callsign, to: to.uid, dest }));
    const waits = a.other().queue.length - before;
    line.cut();
    line.freeze(false);
    await wait('the next connection', () => a.other().session !== undefined && b.other().session !== undefined);
    return waits;
  };
  for (const minutes of [1, 2, 14]) {
    assert.equal(await chatAfter(minutes * 60_000, `m-${minutes}`), 1, `${minutes} min`);
    await wait('the chat', () =>
      b.beside.heard.some((m) => m.kind === 'event' && m.event.uid.endsWith(`m-${minutes}`)),
    );
  }
  assert.equal(left(), false);
  assert.equal(await chatAfter(16 * 60_000, 'm-16'), 1);
  assert.ok(left(), 'everybody was told that the contact left');
  assert.equal(await chatAfter(25 * hourMs, 'm-25'), 0);
});

test('after a short break the picture is not sent again; after a long one it is', async (t) => {
  hurry(t);
  const clock = new ManualClock(Date.now());
  const { a, b, line } = await pair(t, clock);
  const wait = (what: string, is: () => boolean) => settle(clock, what, is);
  for (let n = 0; n < 30; n++)
    a.beside.say(atakSa(clock.wallMs(), { uid: `U-${n}`, callsign: `C-${n}`, staleMs: 3_600_000 }));
  const positions = () => b.beside.uids('a-f-G-U-C').length;
  await wait('the picture', () => positions() === 30 && a.other().queue.length === 0);
  const received = b.other().received.events;
  const breakFor = async (ms: number, connections: number) => {
    line.freeze(true);
    line.cut();
    await wait('the end', () => !a.other().session && !b.other().session);
    clock.advance(ms);
    line.cut();
    line.freeze(false);
    await wait('the next connection', () => a.other().sessions === connections && b.other().session !== undefined);
    line.reset();
    a.beside.say(
      atakSa(clock.wallMs(), { uid: `NEW-${connections}`, callsign: `NEW-${connections}`, staleMs: 3_600_000 }),
    );
    await wait('news', () => b.beside.uids('a-f-G-U-C').includes(`NEW-${connections}`));
    await wait('what else there is', () => a.other().queue.length === 0);
    for (let n = 0; n < 50; n++) {
      clock.advance(20);
      await sleep(1);
    }
  };
  await breakFor(5_000, 2);
  assert.equal(b.other().received.events - received, 1, 'the new unit, nothing else');
  assert.equal(positions(), 31);
  await breakFor(16 * 60_000, 3);
  assert.ok(b.other().received.events - received >= 1 + 31, 'all units, for b had let them go');
});

test('contacts that left while a relay restarted leave for those behind its peer, too; the others stay', async (t) => {
  hurry(t);
  const clock = new ManualClock(Date.now());
  const { a, b, line } = await pair(t, clock);
  const wait = (what: string, is: () => boolean) => settle(clock, what, is);
  const say = (beside: Neighbour, uid: string) =>
    beside.say(atakSa(clock.wallMs(), { uid, callsign: uid, staleMs: 3_600_000 }));
  const left = () =>
    a.beside.heard.flatMap((one) => (one.kind === 'contact' && one.op === 'delete' ? [one.contact.uid] : []));
  for (const uid of ['STAYS', 'GOES']) say(b.beside, uid);
  await wait('the contacts', () => a.beside.uids('a-f-G-U-C').length === 2);

  line.cut();
  await b.link.stop();
  const again = whole(t, 'b', { listen: LISTEN, peers: [peer('a')] }, clock);
  line.leadTo(await again.link.port());
  await wait('the next connection', () => a.other().sessions === 2 && again.other()?.session !== undefined);
  clock.advance(1_000);
  say(again.beside, 'STAYS');
  await wait('what stays', () => a.beside.uids('a-f-G-U-C').length === 3);
  assert.deepEqual(left(), []);
  // A short break is none.
  line.cut();
  await wait('one more connection', () => a.other().sessions === 3 && again.other().session !== undefined);
  for (let passed = 0; passed < RETELL_MS + 60_000; passed += 5_000) {
    clock.advance(5_000);
    await sleep(1);
  }
  await wait('the leave', () => left().length > 0);
  assert.deepEqual(left(), ['GOES']);
});
