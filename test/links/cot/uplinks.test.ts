// Servers that know one contact for each connection (test/support/peers/stream): phones of ours have connections of their own
// there, so that chat reaches them and nobody else.
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { paceOf } from '../../../src/core/pace.ts';
import { ManualClock } from '../../../src/lib/clock.ts';
import { cotKind } from '../../../src/links/cot/index.ts';
import { scanCot } from '../../../src/wire/cot.ts';
import { chatTo, sa } from '../../support/cot-client.ts';
import { hasPython, type Peer, type StreamPeer, startPeer } from '../../support/peers/spawn.ts';
import { testIdentity } from '../../support/pki.ts';
import { fastClock, type Links, pairOf, TestRelay, until } from '../fed2/interop-relay.ts';
import { envelope, runLink, until as soon } from '../memory.ts';
import { type Raw, server, xml } from './raw.ts';

const MAKES: readonly { readonly as: Exclude<StreamPeer, 'atak'>; readonly profile: string }[] = [
  { as: 'opentakserver', profile: 'opentakserver' },
  { as: 'taky', profile: 'taky' },
  { as: 'fts-cot', profile: 'freetakserver' },
  { as: 'tak-cot', profile: 'takserver' },
];
const BRAVO = { uid: 'BRAVO-UID', callsign: 'BRAVO' };

type Device = ReturnType<TestRelay['phone']>;

/** As ATAK says it: with its device, without which taky takes nobody for a client. */
const position = (name: string) =>
  sa(`UID-${name}`, name).replace('<track', '<takv device="X" platform="ATAK" os="30" version="5"/><track');

const chat = (id: string, from: string, to: string, text: string) =>
  chatTo(id, from, to, text).replace('<__chat ', `<__chat id="UID-${to}" `);

class Stand {
  readonly relay: TestRelay;
  readonly server: Peer;
  #phones = 0;

  private constructor(relay: TestRelay, peer: Peer) {
    this.relay = relay;
    this.server = peer;
  }

  static async open(t: TestContext, as: Exclude<StreamPeer, 'atak'>, keys: object, speed = 1): Promise<Stand> {
    const { chainPem, keyPem } = pairOf('far');
    const caPem = testIdentity('relay').ca.certPem;
    const given = { stack: 'python', as, role: 'server', chainPem, keyPem, caPem, flags: { local: [BRAVO] } } as const;
    const peer = await startPeer(t, given);
    const far = { kind: 'cot', connect: `127.0.0.1:${peer.port}`, tls: {}, uid: 'RELAY', callsign: 'US', ...keys };
    const stand = new Stand(new TestRelay(t, { far } as Links, fastClock(speed)), peer);
    await peer.waitFor({ at: 'bound', uid: 'RELAY' });
    return stand;
  }

  /** A phone at this box, which has said where it is. */
  phone(name: string): Device {
    const device = this.relay.phone(`phones/${++this.#phones}`);
    device.says = ({ kind }) => kind !== 'contact';
    device.say(position(name));
    return device;
  }

  bound(name: string, from = 0): Promise<unknown> {
    return this.server.waitFor({ at: 'bound', uid: `UID-${name}` }, { from });
  }

  /** A user of the server says it. Resolves with whom the connections are known as that it went to. */
  async says(event: string): Promise<unknown> {
    const from = this.server.lines.length;
    this.server.send({ do: 'say', xml: event });
    return (await this.server.waitFor({ at: 'routed' }, { from })).to;
  }

  warning(): string {
    return (
      this.relay
        .link('far')
        .warnings?.map(({ words, fix }) => `${words}. ${fix}`)
        .join('\n') ?? ''
    );
  }
}

/** How often a phone was sent an event with this in its uid. */
const times = (device: Device, part: string) => device.log.filter((uid) => uid.includes(part)).length;
const has = (device: Device, part: string) =>
  until(
    part,
    () => times(device, part) > 0,
    () => device.log.join(' '),
  );

describe('a connection for each phone', { timeout: 120_000 }, () => {
  for (const { as, profile } of MAKES) {
    test(`${as}: chat from there to one phone behind us arrives, and at another not; what is for all arrives once`, async (t) => {
      if (!hasPython(t)) return;
      const stand = await Stand.open(t, as, { profile });
      const viper = stand.phone('VIPER');
      const hawk = stand.phone('HAWK');
      await stand.bound('VIPER');
      await stand.bound('HAWK');

      assert.deepEqual(await stand.says(chat('one', 'BRAVO', 'VIPER', 'to viper')), ['UID-VIPER']);
      await has(viper, 'VIPER.one');
      assert.deepEqual(await stand.says(chat('two', 'BRAVO', 'HAWK', 'to hawk')), ['UID-HAWK']);
      await has(hawk, 'HAWK.two');
      assert.deepEqual([times(hawk, 'VIPER.one'), times(viper, 'HAWK.two')], [0, 0]);

      const all = chat('all', 'BRAVO', 'All', 'to all')
        .replace(/<marti>.*<\/marti>/, '')
        .replace('UID-All', 'All Chat Rooms');
      assert.equal(((await stand.says(all)) as string[]).length, 3, 'it comes by every connection');
      await stand.says(position('BRAVO'));
      for (const device of [viper, hawk]) {
        await has(device, 'All.all');
        await has(device, 'UID-BRAVO');
        assert.equal(times(device, 'All.all'), 1);
      }
      const far = await stand.relay.peer('far');
      assert.ok((far.refused.duplicate ?? 0) >= 4, 'copies on the phones’ connections are counted');

      // The other way: from the phone's own connection, so that the server knows who says it; and nothing comes back round.
      viper.say(chat('back', 'VIPER', 'BRAVO', 'to bravo'));
      const said = await stand.server.waitFor((line) => line.at === 'event' && String(line.xml).includes('to bravo'));
      assert.deepEqual(said.knows, ['UID-VIPER']);
      viper.say(position('VIPER'));
      await has(hawk, 'UID-VIPER');
      assert.equal(times(viper, 'UID-HAWK') + times(viper, 'UID-VIPER'), 1, 'only the position of the other');
      assert.deepEqual(stand.server.violations(), []);
      assert.deepEqual(stand.server.all({ at: 'lost' }), []);
      assert.match(stand.relay.link('far').detail, /, and 2 phones by connections of their own$/);
      assert.equal(stand.warning(), '');
    });
  }

  test('beyond the limit phones share the main connection, and the page names them; a connection that is free is taken', async (t) => {
    if (!hasPython(t)) return;
    const stand = await Stand.open(t, 'opentakserver', { profile: 'opentakserver', per_phone: 1 }, 20);
    const viper = stand.phone('VIPER');
    await stand.bound('VIPER');
    const hawk = stand.phone('HAWK');
    await stand.server.waitFor({ at: 'event', uid: 'UID-HAWK' });
    await stand.says(position('BRAVO'));
    await has(hawk, 'UID-BRAVO');
    assert.deepEqual(await stand.says(chat('lost', 'BRAVO', 'HAWK', 'to hawk')), []);
    await until(
      'the note',
      () => stand.warning() !== '',
      () => '',
    );
    assert.match(stand.warning(), /do not reach HAWK: .*Raise per_phone of this link \(now 1\)/);
    hawk.say(chat('up', 'HAWK', 'BRAVO', 'from hawk'));
    const said = await stand.server.waitFor((line) => line.at === 'event' && String(line.xml).includes('from hawk'));
    assert.deepEqual(said.knows, ['RELAY']);

    viper.port.closed('remote_closed');
    await stand.server.waitFor(({ at, knew }) => at === 'disconnected' && String(knew) === 'UID-VIPER');
    hawk.say(position('HAWK'));
    await stand.bound('HAWK');
    await until(
      'the note to go',
      () => stand.warning() === '',
      () => stand.warning(),
    );
    assert.deepEqual(await stand.says(chat('found', 'BRAVO', 'HAWK', 'to hawk')), ['UID-HAWK']);
    await has(hawk, 'HAWK.found');
  });

  test('a phone that is back within the grace keeps its connection; a server that restarts has them again', async (t) => {
    if (!hasPython(t)) return;
    const stand = await Stand.open(t, 'opentakserver', { profile: 'opentakserver' });
    const first = stand.phone('VIPER');
    await stand.bound('VIPER');
    first.port.closed('remote_closed');
    const again = stand.phone('VIPER');
    assert.deepEqual(await stand.says(chat('one', 'BRAVO', 'VIPER', 'to viper')), ['UID-VIPER']);
    await has(again, 'VIPER.one');
    assert.equal(stand.server.all({ at: 'bound', uid: 'UID-VIPER' }).length, 1);
    const far = await stand.relay.peer('far');
    assert.equal(
      far.lanes.reduce((sum, { dropped }) => sum + (dropped.superseded ?? 0), 0),
      1,
      'the notice that it left was kept back, and is void',
    );

    const from = stand.server.lines.length;
    stand.server.send({ do: 'drop' });
    await stand.server.waitFor({ at: 'bound', uid: 'RELAY' }, { from });
    await stand.bound('VIPER', from);
    assert.deepEqual(await stand.says(chat('two', 'BRAVO', 'VIPER', 'once more')), ['UID-VIPER']);
    await has(again, 'VIPER.two');
  });

  test('what a server strips of its addresses reaches the phone by whose connection it came, and no other', async (t) => {
    if (!hasPython(t)) return;
    const stand = await Stand.open(t, 'tak-cot', { profile: 'takserver' }, 5);
    const [viper, hawk, kite] = [stand.phone('VIPER'), stand.phone('HAWK'), stand.phone('KITE')];
    for (const name of ['VIPER', 'HAWK', 'KITE']) await stand.bound(name);
    const marker = (uid: string, to: readonly string[]) =>
      xml(uid, {
        type: 'b-m-p-s-p-i',
        detail: `<marti>${to.map((name) => `<dest callsign="${name}"/>`).join('')}</marti>`,
      });
    assert.deepEqual(await stand.says(marker('FOR-TWO', ['VIPER', 'HAWK'])), ['UID-HAWK', 'UID-VIPER']);
    await stand.says(marker('FOR-ALL', []).replace('<marti></marti>', ''));
    for (const device of [viper, hawk]) await has(device, 'FOR-TWO');
    await has(kite, 'FOR-ALL');
    assert.equal(times(kite, 'FOR-TWO'), 0);
    for (const device of [viper, hawk, kite]) assert.equal(times(device, 'FOR-ALL'), 1);
  });
});

/** A link to a server of the test's own, on a clock that stands still. */
async function dial(t: TestContext, keys: object = {}) {
  const clock = new ManualClock(Date.now());
  const tak = await server(t);
  const config = cotKind.schema.parse({ connect: `127.0.0.1:${tak.port}`, flow_tag: false, uid: 'RELAY', ...keys });
  const link = cotKind.create(config);
  const run = () => runLink(t, link, { clock, node: { id: 'ws', name: 'US', version: '1' } });
  return { clock, tak, run };
}

function said(text: string, from = 'phones/1') {
  const bytes = Buffer.from(text);
  return envelope({ kind: 'event', event: scanCot(bytes) }, { wire: { format: 'xml', bytes }, from });
}

const atIt = (raw: Raw, uid: string) => soon(`${uid} at its connection`, () => raw.text.includes(`uid="${uid}"`));

describe('the connections of phones', () => {
  test('are opened one after another, each bound by the phone’s position before anything else; what comes round is not taken', async (t) => {
    const { clock, tak, run } = await dial(t);
    const recorded = await run().hub.session();
    const { session } = recorded;
    const main = await tak.connection(0);
    session.send(said(position('A'), 'phones/1'), []);
    session.send(said(position('B'), 'phones/2'), []);
    const a = await tak.connection(1);
    await atIt(a, 'UID-A');
    await atIt(main, 'UID-B');
    assert.ok(a.text.indexOf('UID-A') < 250 && !a.text.includes('RELAY'));
    await new Promise((resolve) => setImmediate(resolve));
    clock.advance(1_000);
    await atIt(await tak.connection(2), 'UID-B');

    // A server that keeps no flow tags sends our own phone's position round, on the main connection and to the other phone.
    main.send(position('A'));
    await recorded.drop('loop');
    const b = await tak.connection(2);
    b.send(position('A') + xml('NEWS', { type: 'b-m-p-s-p-i' }));
    await recorded.drop('duplicate');
    main.send(xml('NEWS', { type: 'b-m-p-s-p-i' }));
    await recorded.event('NEWS');
    clock.advance(10_000);
    assert.deepEqual(recorded.uids, ['NEWS'], 'told once, as for everybody');
  });

  test('are none on a thin line, or when the file says so, and the page says why', async (t) => {
    for (const [keys, rateBps, words] of [
      [{}, 9_600, /The line carries 10 kbit\/s/],
      [{ per_phone: 0 }, undefined, /Raise per_phone/],
    ] as const) {
      const { clock, tak, run } = await dial(t, keys);
      const link = run();
      const recorded = await link.hub.session();
      recorded.pace = paceOf(rateBps);
      recorded.session.send(said(position('A')), []);
      await atIt(await tak.connection(0), 'UID-A');
      clock.advance(2_000);
      assert.match([...link.warnings].map(({ fix }) => fix).join(), words);
    }
  });

  test('are not for sensors, nor for units behind what we dial or federate with; goatak needs none', async (t) => {
    const { tak, run } = await dial(t);
    const { session } = await run().hub.session();
    const main = await tak.connection(0);
    session.send(said(position('SENSOR').replace(/endpoint="[^"]*"/, '')), []);
    session.send(said(position('FAR'), 'other-server'), []);
    session.send({ ...said(position('FED'), 'fed/1'), provenance: [{ id: 'x', name: 'x' }] }, []);
    session.send(said(position('A')), []);
    for (const name of ['SENSOR', 'FAR', 'FED']) await atIt(main, `UID-${name}`);
    await atIt(await tak.connection(1), 'UID-A');

    const goatak = await dial(t, { profile: 'goatak', protocol: 'xml' });
    const link = goatak.run();
    const there = await link.hub.session();
    there.session.send(said(position('A')), []);
    await atIt(await goatak.tak.connection(0), 'UID-A');
    assert.equal(link.hub.sessions[0]!.session.constructor.name, 'CotSession');
  });

  test('are given up when the server ends the main one each time, and the page says what to do', async (t) => {
    const { clock, tak, run } = await dial(t);
    let connection = 0;
    for (let round = 0; round < 3; round++) {
      const link = run();
      const recorded = await link.hub.session();
      const main = await tak.connection(connection++);
      main.send(xml('ALIVE'));
      await recorded.event('ALIVE');
      recorded.session.send(said(position('A')), []);
      await atIt(await tak.connection(connection++), 'UID-A');
      main.socket.destroy();
      assert.ok(await link.ended);
    }
    const link = run();
    const recorded = await link.hub.session();
    recorded.session.send(said(position('A')), []);
    await atIt(await tak.connection(connection++), 'UID-A');
    clock.advance(2_000);
    assert.match([...link.warnings].map(({ fix }) => fix).join(), /ends our connection when a second is opened/);
  });

  test('that break give back what they had taken, which goes by the main one; a new callsign is a new connection', async (t) => {
    const { clock, tak, run } = await dial(t);
    const recorded = await run().hub.session();
    const main = await tak.connection(0);
    recorded.session.send(said(position('A')), []);
    const a = await tak.connection(1);
    await atIt(a, 'UID-A');
    await soon('it to be up', () => {
      recorded.session.send(said(position('A')), []);
      return a.events.length > 1;
    });
    // Not read any more: the network fills up, then what the relay holds for it; from then on the main one takes it.
    a.socket.pause();
    const chats = () => main.events.filter((event) => event.includes('type="b-t-f"')).length;
    for (let n = 0; chats() === 0; n++) {
      assert.equal(recorded.session.send(said(chat(`n${n}`, 'A', 'BRAVO', 'x'.repeat(14_000))), []), true);
      await new Promise((resolve) => setImmediate(resolve));
    }
    const before = chats();
    a.socket.destroy();
    await soon('what it had taken, by the main one', () => chats() > before);

    await new Promise((resolve) => setImmediate(resolve));
    clock.advance(2_000);
    recorded.session.send(said(sa('UID-A', 'THIEF'), 'phones/9'), []);
    await soon('the other name', () => main.text.includes('callsign="THIEF"'));
    recorded.session.send(said(sa('UID-A', 'A-2')), []);
    clock.advance(2_000);
    const renamed = await tak.connection(2);
    await soon('it is bound anew', () => renamed.text.includes('callsign="A-2"'));
    assert.ok(!renamed.text.includes('THIEF'), 'another who takes the uid ends no connection');
  });
});
