// XML told by its numbers: every byte comes back, whatever the text; and nothing hostile comes out as anything but ProtocolError.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ProtocolError } from '../../src/lib/errors.ts';
import { coarseXml } from '../../src/wire/coarse.ts';
import { scanCot } from '../../src/wire/cot.ts';
import { applyDelta, deltaOf, numbersOf, shrunk, textOf, unshrunk } from '../../src/wire/xml-numbers.ts';
import { CORPUS } from '../fixtures/events.ts';
import { Island, seeded } from '../support/island.ts';

const NOW = Date.UTC(2026, 10, 29);
const MOST = 1 << 16;

/** Values that printers of the world produce, and those that trip them. */
const VALUES = [
  '0', '-0', '0.0', '-0.0', '-0.5', '007', '1.', '.5', '+1', '1e5', '-1', '9999999.0', '9007199254740993', '48.1234567',
  '123456789012345678', '0.1234567890123456789', '3.4000000953674316', '283.6543210987123', '1.4142135381698608', '1.0E-7',
  '2026-11-29T00:00:20.123Z', '2026-11-29T00:00:20Z', '2026-02-31T00:00:00Z', '2026-11-29T24:00:00Z', '2026-11-29T00:00:20.5Z',
  '0000-01-01T00:00:00Z', '9999-12-31T23:59:59.999Z', '1125899906842624', '-1125899906842623', '1694433280', '48.12345678901234', '',
]; // biome-ignore format: a table

function comesBack(text: string): void {
  const numbers = numbersOf(text);
  if (numbers) assert.equal(textOf(numbers), text);
  const short = shrunk(text, NOW);
  if (!short) return;
  const back = unshrunk(Buffer.from(short.bytes), NOW, MOST);
  assert.equal(back.text, text);
  assert.equal(back.timeMs, short.timeMs);
}

test('every byte comes back: events of all kinds, and numbers as odd as they come', () => {
  for (const { xml } of CORPUS) comesBack(xml(NOW).toString('latin1'));
  for (const value of VALUES) comesBack(`<event a="${value}" b='${value}' c="${value}'/>`);
  comesBack('');
  assert.equal(numbersOf('a\x01b'), undefined, 'a character of ours in the text');
  assert.equal(shrunk('a\x02b', NOW), undefined);
});

test('the difference of any two sets of values comes back', () => {
  const random = seeded(7);
  const common = VALUES.filter((value) => /\d\.\d|T.*Z/.test(value));
  const pick = () => common[Math.floor(random() * common.length)]!;
  const text = () =>
    `<event time="${pick()}" start="${pick()}" lat="${pick()}" n="${(random() - 0.5) * 2e6}" m="${Math.fround(random())}"/>`;
  let told = 0;
  for (let round = 0; round < 20_000; round++) {
    const [before, now] = [numbersOf(text())!, numbersOf(text())!];
    const delta = deltaOf(now, before);
    if (!delta) continue;
    told++;
    assert.equal(textOf(applyDelta(before, delta.mask, delta.bytes)), textOf(now));
  }
  assert.ok(told > 300, `${told} of them had the same form`);
});

test('bent bytes give a text or ProtocolError', () => {
  const random = seeded(11);
  const island = new Island({ seed: 3, units: 30, wallMs: NOW, chatEveryMs: 20_000 });
  const texts: string[] = [];
  for (const { xml } of island.events()) if (texts.push(xml.toString('latin1')) === 200) break;
  let refused = 0;
  for (let round = 0; round < 20_000; round++) {
    const text = texts[round % texts.length]!;
    const before = numbersOf(text)!;
    const short = Buffer.from(shrunk(text, NOW)!.bytes);
    const bytes = round % 2 === 0 ? short : Buffer.from(Array.from({ length: 20 }, () => Math.floor(random() * 256)));
    bytes[Math.floor(random() * bytes.length)] = Math.floor(random() * 256);
    try {
      if (round % 2 === 0) unshrunk(bytes, NOW, MOST);
      else textOf(applyDelta(before, bytes.subarray(0, 8), bytes.subarray(8)));
    } catch (error) {
      assert.ok(error instanceof ProtocolError, String(error));
      refused++;
    }
  }
  assert.ok(refused > 1_000, `${refused}`);
  assert.throws(() => unshrunk(Buffer.alloc(200, 'x'), NOW, 100), /more than 100 bytes/);
});

test('coarse: fewer digits, the same message, stale no earlier; what is not known stays', () => {
  for (const { name, xml } of CORPUS) {
    const bytes = xml(NOW + 123);
    const was = scanCot(bytes);
    const is = scanCot(Buffer.from(coarseXml(bytes.toString('latin1')), 'latin1'));
    assert.deepEqual([is.uid, is.type, is.callsign, is.team], [was.uid, was.type, was.callsign, was.team], name);
    assert.ok(Math.abs(is.lat - was.lat) <= 0.5e-5 + 1e-12 && Math.abs(is.lon - was.lon) <= 0.5e-5 + 1e-12, name);
    assert.ok(is.staleMs >= was.staleMs && is.timeMs <= was.timeMs && was.timeMs - is.timeMs < 1000, name);
  }
  const odd = `<point lat='NaN' lon="-0.000001" hae="9999999.0" ce='' le="1e9"/>`;
  assert.equal(coarseXml(odd), odd.replace('-0.000001', '0.00000'));
});
