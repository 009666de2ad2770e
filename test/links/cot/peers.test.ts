// A relay, as a process, beside TAK servers of other makes with their real habits, and with ATAK as its client
// (test/support/peers/stream): tracks and directed chat both ways, and a restart on either side.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { describe, type TestContext, test } from 'node:test';
import { iTakSa, winTakSa } from '../../fixtures/events.ts';
import { chatTo, type Phone, phone, sa } from '../../support/cot-client.ts';
import { hasPython, type Line, type Peer, type StreamPeer, startPeer } from '../../support/peers/spawn.ts';
import { testIdentity } from '../../support/pki.ts';
import { freePorts, RelayHome } from '../../support/relay-process.ts';
import { type Links, pairOf, TestRelay } from '../fed2/interop-relay.ts';

/** What the test must know of a make of server. */
interface Make {
  readonly as: Exclude<StreamPeer, 'atak'>;
  readonly profile: string;
  readonly keys?: string;
}

const MAKES: readonly Make[] = [
  { as: 'opentakserver', profile: 'opentakserver' },
  { as: 'goatak', profile: 'goatak' },
  { as: 'taky', profile: 'taky' },
  // Events leave as they came, declarations and all, but for what this make cannot take.
  { as: 'fts-cot', profile: 'freetakserver', keys: ', flow_tag: false' },
];

const BRAVO = { uid: 'BRAVO-UID', callsign: 'BRAVO' };
const VIPER = { uid: 'ANDROID-VIPER', callsign: 'VIPER' };

/** Without it taky takes nobody for a client. */
const DEVICE = '<takv device="X" platform="ATAK" os="30" version="5"/>';

/** As ATAK writes it to a server: the uid in the chat, the callsign in the address. */
function chat(id: string, from: typeof BRAVO, to: typeof BRAVO, text: string): string {
  return chatTo(id, from.callsign, to.callsign, text).replace('<__chat ', `<__chat id="${to.uid}" `);
}

class Stand {
  readonly make: Make;
  readonly relay: RelayHome;
  readonly #t: TestContext;
  #ca = '';
  #phonePort = 0;
  #serverPort = 0;
  /** Line of the server from which this round's connections are told. */
  #joinedAt = 0;
  server!: Peer;
  viper!: Phone;

  private constructor(t: TestContext, make: Make) {
    this.#t = t;
    this.make = make;
    this.relay = new RelayHome(t, `peer-${make.as}`);
  }

  static async open(t: TestContext, make: Make): Promise<Stand> {
    const stand = new Stand(t, make);
    const { relay } = stand;
    const [api, phones, server] = await freePorts(3);
    stand.#phonePort = phones!;
    stand.#serverPort = server!;
    writeFileSync(relay.file('far.pem'), pairOf('far').caPem);
    relay.configure(
      api!,
      [
        'links:',
        `  - { name: phones, kind: cot, listen: "127.0.0.1:${phones}" }`,
        `  - { name: far, kind: cot, connect: "127.0.0.1:${server}", profile: ${make.profile}, tls: { trust: [far.pem] }, callsign: US, uid: RELAY${make.keys ?? ''} }`,
        '',
      ].join('\n'),
    );
    stand.#ca = await relay.command('cert', 'show', '--ca');
    await stand.#listen();
    await relay.start();
    await stand.joined();
    await stand.callViper();
    return stand;
  }

  /** The server, anew: it knows nobody. Resolves when the relay is its client again. */
  async restartServer(): Promise<void> {
    await this.server.stop();
    await this.#listen();
    await this.joined();
  }

  async #listen(): Promise<void> {
    const { chainPem, keyPem } = pairOf('far');
    const caPem = this.#ca;
    const given = { stack: 'python', role: 'server', port: this.#serverPort, chainPem, keyPem, caPem } as const;
    this.server = await startPeer(this.#t, { ...given, as: this.make.as, flags: { local: [BRAVO] } });
  }

  async joined(from = 0): Promise<void> {
    this.#joinedAt = from;
    const first = await this.server.waitFor({ at: 'bound' }, { from });
    assert.equal(first.uid, 'RELAY', 'our own position comes before anybody else’s');
  }

  async callViper(): Promise<void> {
    this.viper = await phone(this.#t, { port: this.#phonePort });
    this.viper.send(sa(VIPER.uid, VIPER.callsign).replace('<track', `${DEVICE}<track`));
  }

  /** A position of BRAVO, which the phone sees; so its way is known here. */
  async callBravo(): Promise<void> {
    const time = Date.now();
    const at = new Date(time).toISOString();
    this.say(sa(BRAVO.uid, BRAVO.callsign, time));
    await this.viper.waitFor((event) => event.includes(BRAVO.uid) && event.includes(at.slice(0, -1)), 'BRAVO');
  }

  say(xml: string): void {
    this.server.send({ do: 'say', xml });
  }

  /** Tracks and chat, both ways. `id` tells this round from others. */
  async exchange(id: string): Promise<void> {
    const { server, viper } = this;
    await server.waitFor({ at: 'event', uid: VIPER.uid });
    await this.callBravo();
    viper.send(chat(`to-${id}`, VIPER, BRAVO, `to bravo ${id}`));
    const there = await server.waitFor((line) => line.at === 'event' && String(line.xml).includes(`to bravo ${id}`));
    assert.deepEqual(there.to, [BRAVO.uid]);
    this.say(
      chat(`all-${id}`, BRAVO, { uid: 'All Chat Rooms', callsign: '' }, `to all ${id}`).replace(
        /<marti>.*<\/marti>/,
        '',
      ),
    );
    await viper.waitFor((event) => event.includes(`to all ${id}`), 'chat to all');
    await server.waitFor({ at: 'bound', uid: VIPER.uid }, { from: this.#joinedAt });
    for (const to of [VIPER, { uid: 'RELAY', callsign: 'US' }]) {
      this.say(chat(`back-${id}`, BRAVO, to, `back ${id}`));
      const isIt = ({ at, uid }: Line) => at === 'routed' && String(uid).endsWith(`${to.callsign}.back-${id}`);
      assert.equal((await server.waitFor(isIt)).links, 1);
    }
    await viper.waitFor((event) => event.includes(`back ${id}`), 'chat to VIPER');
  }

  assertAtEase(): void {
    assert.deepEqual(this.server.violations(), []);
    assert.deepEqual(this.server.all({ at: 'lost' }), []);
  }
}

const isEvent = (uid: string) => (line: Line) => line.at === 'event' && line.uid === uid;

describe('servers of other makes', { timeout: 180_000 }, () => {
  for (const make of MAKES) {
    test(`${make.as}: tracks and directed chat cross both ways, and again when either side has restarted`, async (t) => {
      if (!hasPython(t)) return;
      const stand = await Stand.open(t, make);
      await stand.exchange('first');
      stand.assertAtEase();

      await stand.restartServer();
      await stand.server.waitFor(isEvent(VIPER.uid));
      await stand.exchange('after theirs');
      stand.assertAtEase();

      await stand.relay.kill('SIGTERM');
      const from = stand.server.lines.length;
      await stand.relay.start();
      await stand.joined(from);
      await stand.callViper();
      await stand.exchange('after ours');
      stand.assertAtEase();
    });

    test(`${make.as}: a burst of events of every size and dialect arrives whole, and what is too large costs nothing else`, async (t) => {
      if (!hasPython(t)) return;
      const stand = await Stand.open(t, make);
      const { viper, server } = stand;
      const now = Date.now();
      const sizes = Array.from({ length: 60 }, (_, n) => (n % 6) * 300);
      sizes.forEach((size, n) => {
        const options = { uid: `U-${n}`, callsign: `C-${n}`, detail: `<remarks>${'x'.repeat(size)}</remarks>` };
        const dialects = [winTakSa, iTakSa];
        viper.send(String(dialects[n % 2]!(now, options)));
      });
      const large = iTakSa(now, {
        uid: 'LARGE',
        callsign: 'LARGE',
        detail: `<remarks>${'x'.repeat(70_000)}</remarks>`,
      });
      viper.send(String(large));
      viper.send(sa('LAST', 'LAST'));
      for (const n of sizes.keys()) await server.waitFor(isEvent(`U-${n}`));
      await server.waitFor(isEvent('LAST'));
      // Whoever has a limit is spared it, and the page says so; whoever has none gets all.
      const isLimited = make.profile === 'opentakserver' || make.profile === 'freetakserver';
      if (isLimited) {
        const { peers } = await stand.relay.status();
        const far = peers.find(({ link }) => link === 'far')!;
        assert.equal(
          far.lanes.reduce((sum, { dropped }) => sum + (dropped.too_large ?? 0), 0),
          1,
        );
      } else await server.waitFor(isEvent('LARGE'));
      assert.equal(server.all({ at: 'bound', uid: 'RELAY' }).length, 1, 'one connection all the time');
      stand.assertAtEase();
    });
  }

  test('freetakserver: what came with an XML declaration leaves without one, so that nothing between two is thrown away', async (t) => {
    if (!hasPython(t)) return;
    const { chainPem, keyPem, caPem } = pairOf('far');
    const ours = testIdentity('relay').ca.certPem;
    const given = { stack: 'python', as: 'fts-cot', role: 'server', chainPem, keyPem, caPem: ours } as const;
    const server = await startPeer(t, given);
    const keys = {
      connect: `127.0.0.1:${server.port}`,
      profile: 'freetakserver',
      tls: { trust: [caPem] },
      flow_tag: false,
    };
    const relay = new TestRelay(t, { fts: { kind: 'cot', ...keys } } as Links);
    await server.waitFor({ at: 'bound' });
    const device = relay.phone('mesh device');
    const now = Date.now();
    for (let n = 0; n < 50; n++) device.say(String(winTakSa(now, { uid: `W-${n}`, callsign: `W-${n}` })));
    for (let n = 0; n < 50; n++) await server.waitFor(isEvent(`W-${n}`));
    assert.deepEqual([...server.violations(), ...server.all({ at: 'lost' })], []);
  });

  test('goatak: XML is never spoken to it beyond our own position, and its stray zeros are passed over', async (t) => {
    if (!hasPython(t)) return;
    const stand = await Stand.open(t, MAKES[1]!);
    await stand.server.waitFor({ at: 'negotiated' });
    await stand.exchange('in protobuf');
    const before = stand.server.lines.findIndex(({ at }) => at === 'negotiated');
    const early = stand.server.lines.slice(0, before).filter(({ at }) => at === 'event');
    assert.deepEqual(
      early.map(({ uid }) => uid),
      ['RELAY'],
    );
    stand.assertAtEase();
  });
});

/** ATAK as a client of a relay, on a clock that the test moves. */
async function atakAt(t: TestContext, more = ''): Promise<{ relay: RelayHome; atak: Peer; port: number }> {
  const relay = new RelayHome(t, 'atak');
  const [api, phones, plain] = await freePorts(3);
  writeFileSync(relay.file('near.pem'), pairOf('near').caPem);
  relay.configure(
    api!,
    [
      'links:',
      `  - { name: phones, kind: cot, listen: "127.0.0.1:${phones}", tls: { trust: [near.pem] }${more} }`,
      `  - { name: plain, kind: cot, listen: "127.0.0.1:${plain}" }`,
      '',
    ].join('\n'),
  );
  await relay.start();
  const { chainPem, keyPem } = pairOf('near');
  const caPem = await relay.command('cert', 'show', '--ca');
  const flags = { uid: VIPER.uid, callsign: VIPER.callsign };
  const given = { stack: 'python', as: 'atak', role: 'client', port: phones!, chainPem, keyPem, caPem, flags } as const;
  return { relay, atak: await startPeer(t, given), port: plain! };
}

describe('ATAK as a client', { timeout: 180_000 }, () => {
  test('agrees on protobuf, is shown tracks, chats both ways, and comes back after a restart of either side', async (t) => {
    if (!hasPython(t)) return;
    const { relay, atak, port } = await atakAt(t);
    await atak.waitFor({ at: 'negotiated' });
    const bravo = await phone(t, { port });
    bravo.announce(BRAVO.uid, BRAVO.callsign);
    await atak.waitFor(isEvent(BRAVO.uid));
    await bravo.withUid(VIPER.uid);
    bravo.send(chat('1', BRAVO, VIPER, 'to viper'));
    await atak.waitFor((line) => line.at === 'event' && String(line.xml).includes('to viper'));
    atak.send({ do: 'say', xml: chat('2', VIPER, BRAVO, 'to bravo') });
    await bravo.waitFor((event) => event.includes('to bravo'));

    await relay.kill('SIGTERM');
    await atak.waitFor({ at: 'disconnected' });
    const from = atak.lines.length;
    await relay.start();
    atak.send({ do: 'tick', seconds: 15 });
    await atak.waitFor({ at: 'negotiated' }, { from });
    const again = await phone(t, { port });
    again.announce(BRAVO.uid, BRAVO.callsign);
    await atak.waitFor(isEvent(BRAVO.uid), { from });
    again.send(chat('3', BRAVO, VIPER, 'once more'));
    await atak.waitFor((line) => line.at === 'event' && String(line.xml).includes('once more'));
    assert.deepEqual(atak.violations(), []);
  });

  test('25 s: its pings are answered, so it stays; a relay that is frozen is left after 25 s and found again', async (t) => {
    if (!hasPython(t)) return;
    const { relay, atak } = await atakAt(t);
    await atak.waitFor({ at: 'negotiated' });
    for (let round = 0; round < 4; round++) {
      const from = atak.lines.length;
      atak.send({ do: 'tick', seconds: 16 });
      await atak.waitFor({ at: 'pings' }, { from });
      await atak.waitFor({ at: 'ponged' }, { from });
    }
    assert.deepEqual(atak.all({ at: 'disconnected' }), [], 'a minute without a single event');

    relay.signal('SIGSTOP');
    const from = atak.lines.length;
    atak.send({ do: 'tick', seconds: 25 });
    await atak.waitFor({ at: 'disconnected', words: 'silent for 25 s' }, { from });
    const pings = atak.all({ at: 'pings' }, from).map(({ at_second }) => Number(at_second));
    assert.deepEqual(
      pings.map((at) => at - pings[0]!),
      [0, 4.5, 9],
      'it asked three times',
    );
    relay.signal('SIGCONT');
    atak.send({ do: 'tick', seconds: 15 });
    await atak.waitFor({ at: 'negotiated' }, { from });
    assert.deepEqual(atak.violations(), []);
  });

  for (const [speaks, more] of [
    ['protobuf', ''],
    ['XML', ', protocol: xml'],
  ] as const) {
    test(`64 KiB: what has no room in its buffer is not sent, and what follows is not lost (${speaks})`, async (t) => {
      if (!hasPython(t)) return;
      const { relay, atak, port } = await atakAt(t, more);
      if (more === '') await atak.waitFor({ at: 'negotiated' });
      const bravo = await phone(t, { port });
      bravo.announce(BRAVO.uid, BRAVO.callsign);
      const now = Date.now();
      const big = (uid: string, size: number) =>
        String(iTakSa(now, { uid, callsign: uid, detail: `<remarks>${'x'.repeat(size)}</remarks>` }));
      bravo.send(big('FITS', 64_000));
      bravo.send(big('TOO-LARGE', 66_000));
      bravo.send(sa('AFTER', 'AFTER'));
      await atak.waitFor(isEvent('FITS'));
      await atak.waitFor(isEvent('AFTER'));
      assert.deepEqual(atak.all(isEvent('TOO-LARGE')), []);
      const { peers } = await relay.status();
      const viper = peers.find(({ link }) => link === 'phones')!;
      assert.equal(
        viper.lanes.reduce((sum, { dropped }) => sum + (dropped.too_large ?? 0), 0),
        1,
      );
      assert.deepEqual(atak.violations(), []);
    });
  }
});
