// Every kind of link to every kind of link, every family of events: bytes where bytes cross, else every attribute and every
// element of the detail, but for what losses.ts says that a protocol cannot hold. The table in src/links/README.md is made of it.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { scanCot, trimCot } from '../../../src/wire/cot.ts';
import { federatedFromXml } from '../../../src/wire/federation-xml.ts';
import { takFromXml } from '../../../src/wire/tak.ts';
import { CORPUS, plainEvent } from '../../fixtures/events.ts';
import { sa } from '../../support/cot-client.ts';
import { until, within } from '../memory.ts';
import { difference } from './difference.ts';
import { ABSENCES, FORMATS, KINDS, type Kind, LOSSES } from './losses.ts';
import { type Arrival, Stand } from './stand.ts';
import { crossesTable } from './table.ts';

/** Words of the connection itself, and notices about contacts: the links' own tests have them. */
const NOT_EVENTS = ['ping', 'client left'];

const MORE: typeof CORPUS = [
  {
    name: 'every attribute',
    xml: (now) =>
      Buffer.from(
        String(plainEvent(now, 'a-h-G-U-C-I', 'x', '<contact callsign="T"/><archive/>')).replace(
          'access="Undefined"',
          'access="Undefined" caveat="FOUO" releasableTo="NATO" qos="1-r-c" opex="e-x"',
        ),
      ),
  },
  {
    name: 'tasking',
    xml: (now) =>
      plainEvent(
        now,
        't-s-v-e',
        'x',
        '<request notify="192.0.2.1:4242:udp"/><marti><dest callsign="BRAVO-6"/></marti>',
      ),
  },
  {
    name: 'mission and unit',
    xml: (now) =>
      plainEvent(
        now,
        'a-u-G',
        'x',
        '<marti><dest mission="Bridge"/><dest uid="ANDROID-b6" callsign="BRAVO-6"/></marti>',
      ),
  },
];
const EVENTS = [...CORPUS.filter(({ name }) => !NOT_EVENTS.includes(name) && name !== 'mission destination'), ...MORE];

/** Only to fail instead of hanging. */
const PATIENCE_MS = 60_000;

interface Crossing {
  readonly name: string;
  readonly uid: string;
  readonly from: Kind;
  readonly to: Kind;
  readonly said: string;
}

/** The event with a uid of its own; one that is for somebody is for the unit behind the link it is to cross to. */
function crossing(name: string, text: string, from: Kind, to: Kind): Crossing {
  const isDirected = text.includes('<dest');
  const uid = isDirected ? `${name}/${from}/${to}` : `${name}/${from}`;
  const named = text.replace(/ uid=(["']).*?\1/, (_, quote) => ` uid=${quote}${uid}${quote}`);
  const said = isDirected ? named.replaceAll(/BRAVO-6|ANDROID-b6/g, `RX-${to}`) : named;
  return { name, uid, from, to, said };
}

function isAbsent({ name, from, to }: Crossing, line = ABSENCES): boolean {
  return line.some(
    ({ events, ...only }) =>
      events.test(name) && (only.from ?? KINDS).includes(from) && (only.to ?? KINDS).includes(to),
  );
}

/** The bytes that came in cross as they are. */
function isSameBytes(from: Kind, to: Kind): boolean {
  return FORMATS[from] === FORMATS[to] || FORMATS[to] === 'any' || (FORMATS[from] === 'any' && FORMATS[to] === 'xml');
}

function assertBytes({ said, from, uid, to }: Crossing, { wire }: Arrival): void {
  const xml = trimCot(Buffer.from(said));
  const where = `${uid} to ${to}`;
  if (FORMATS[from] === 'fed') {
    const event = federatedFromXml(xml, scanCot(xml));
    assert.ok(wire.bytes.subarray(0, event.length).equals(event), `${where}: the event as it came, stamps behind it`);
  } else if (FORMATS[from] === 'tak') assert.deepEqual(wire.bytes, takFromXml(xml, scanCot(xml)), where);
  else assert.equal(trimCot(wire.bytes).toString(), xml.toString(), where);
}

/** Lines of losses.ts that were met. */
const met = new Set<string>();

function assertAccountedFor({ name, uid, from, to, said }: Crossing, arrival: Arrival): void {
  const formats = [FORMATS[from], FORMATS[to]];
  for (const what of difference(said, arrival.xml)) {
    const found = LOSSES.filter((loss) => loss.what.test(what) && (loss.events ?? /./).test(name));
    const through = formats.filter((format) => found.some((loss) => loss.formats.includes(format)));
    assert.ok(through.length > 0, `${uid} to ${to}: ${what}\n${said}\n${arrival.xml}`);
    for (const loss of found)
      for (const format of through) if (loss.formats.includes(format)) met.add(`${loss.words} (${format})`);
  }
}

test('every kind of link to every kind of link, every family of events', { timeout: 240_000 }, async (t) => {
  const stand = await Stand.open(t);
  const now = Date.now();
  for (const to of KINDS) {
    const end = stand.end(to, 'hear');
    await end.say(sa(`RX-${to}`, `RX-${to}`, now).replace('*:-1:stcp', end.endpoint));
  }
  for (const from of KINDS)
    for (const to of KINDS) await until(`RX-${to} at ${from}`, () => stand.end(from, 'say').find(`RX-${to}`));

  const absent: Crossing[] = [];
  for (const from of KINDS) {
    await t.test(`from ${from}`, async () => {
      const mouth = stand.end(from, 'say');
      const said = new Set<string>();
      const missing: string[] = [];
      for (const { name, xml } of EVENTS) {
        const text = String(xml(now));
        await Promise.all(
          KINDS.map(async (to) => {
            const one = crossing(name, text, from, to);
            if (!said.has(one.uid)) {
              said.add(one.uid);
              await mouth.say(one.said);
            }
            if (isAbsent(one)) return void absent.push(one);
            const arrival = await within(PATIENCE_MS, () => stand.end(to, 'hear').find(one.uid));
            if (!arrival) return void missing.push(`${one.uid} at ${to}`);
            if (isSameBytes(from, to)) assertBytes(one, arrival);
            assertAccountedFor(one, arrival);
          }),
        );
      }
      assert.deepEqual(missing, []);
    });
  }

  await t.test('what is for one arrives nowhere else', () => {
    for (const from of KINDS) {
      for (const to of KINDS) {
        for (const other of KINDS.filter((kind) => kind !== to)) {
          assert.equal(stand.end(other, 'hear').find(`chat to one by callsign/${from}/${to}`), undefined);
        }
      }
    }
  });

  await t.test('what is said to be lost is lost, and nothing is said twice', () => {
    for (const one of absent)
      assert.equal(stand.end(one.to, 'hear').find(one.uid), undefined, `${one.uid} at ${one.to}`);
    for (const line of ABSENCES)
      assert.ok(
        absent.some((one) => isAbsent(one, [line])),
        line.words,
      );
    const claimed = LOSSES.flatMap(({ words, formats }) => formats.map((format) => `${words} (${format})`));
    assert.deepEqual([...met].sort(), claimed.sort());
  });
});

test('the table in src/links/README.md is this one', () => {
  const path = new URL('../../../src/links/README.md', import.meta.url);
  const text = crossesTable(
    EVENTS.map(({ name }) => name),
    isSameBytes,
  );
  if (process.env.WAYSTATION_WRITE_DOCS) writeFileSync(path, text);
  assert.equal(readFileSync(path, 'utf8'), text, 'WAYSTATION_WRITE_DOCS=1 npm test -- links/matrix writes it anew');
});
