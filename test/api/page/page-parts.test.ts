// Parts of the page: markup nobody breaks out of, numbers in words, and links edited as text.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cards } from '../../../src/api/page/cards.ts';
import { Cells } from '../../../src/api/page/cells.ts';
import { logPart } from '../../../src/api/page/happened.ts';
import { html } from '../../../src/api/page/html.ts';
import { transfersPart } from '../../../src/api/page/transfers.ts';
import { unitsPart } from '../../../src/api/page/units.ts';
import type { PageData } from '../../../src/api/page/view.ts';
import { bytes, distance, duration, rate } from '../../../src/api/page/words.ts';
import { asYaml, mergePatch } from '../../../src/api/page/yaml.ts';
import { publicStatus } from '../../../src/api/public-status.ts';
import type { RelayStatus } from '../../../src/core/status.ts';

test('whatever a value holds, it stays a text', () => {
  const evil = `"><script>alert('1')</script>&amp;`;
  assert.equal(
    html`<a title="${evil}">${evil}</a>`.text,
    `<a title="&quot;&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;amp;">&quot;&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;amp;</a>`,
  );
  const cells = new Cells(1_000_000);
  const made = [cells.text('"><b>', evil), cells.attribute('k', 'd', evil)].map((one) => cells.whole(one).text);
  assert.ok(made.every((text) => text.includes('&lt;script') && !text.includes('<script')));
  // The marks of changing parts are in no value.
  assert.equal(cells.whole(html`${'\u{E000}k\u{E001}'}`).text, 'k');
  assert.equal(html`${[html`<i>`, html`&`]}${undefined}${false}${0}`.text, '<i>&0');
});

test('files on their way: how far, how fast, and why not; a size that nobody said has no bar', () => {
  const transfer = {
    hash: 'abc',
    name: 'P<1>.jpg',
    direction: 'in',
    peer: 'far',
    size: 2_000_000,
    got: 500_000,
    rate: 8_000,
  };
  const files = {
    transfers: [
      { ...transfer, state: 'whole', words: '' },
      { ...transfer, state: 'moving', words: '' },
      {
        ...transfer,
        name: '',
        direction: 'out',
        size: 0,
        got: 7,
        rate: 0,
        state: 'waiting',
        words: 'the line is full',
      },
    ],
    ...{ files: 3, bytes: 4_000_000, quota: 1e9, offers: 2 },
  };
  const cells = new Cells(0);
  const text = cells
    .whole(transfersPart({ files } as unknown as RelayStatus, cells))
    .text.replace(/ data-[ka]="[^"]+"/g, '');
  assert.match(text, /3 files of phones kept, 4\.0 MB of 1\.0 GB; 2 more can be fetched/);
  const [moving, waiting, whole] = [...text.matchAll(/<li>.*?<\/li>/gs)].map(([one]) => one.replace(/<\/?span>/g, ''));
  assert.match(
    moving!,
    /P&lt;1&gt;\.jpg<\/strong> from far, on its way, 500 kB of 2\.0 MB, 8\.0 kB\/s<progress .*value="25" max="100">/,
  );
  assert.match(waiting!, /file abc<\/strong> to far, waits, 7 B: the line is full<\/li>/);
  assert.match(whole!, /from far, arrived, 2\.0 MB<\/li>/);
  const seen = publicStatus({ files, links: [], peers: [], warnings: [] } as unknown as RelayStatus);
  assert.deepEqual([seen.files!.transfers, seen.files!.files], [[], 3]);
});

test('figures of each network where the box is several, and not a word where it is one', () => {
  const totals = { received: 1200, sent: 34, queued: 5, refused: {}, dropped: {} };
  const network = (name: string) => ({ name, links: [], connected: 3, totals, rates: { in: 0.25, out: 12.4 } });
  const shown = (...names: string[]) => {
    const cells = new Cells(0);
    const status = { links: [], peers: [], byNetwork: names.map(network) } as unknown as RelayStatus;
    const charts = { rates: () => ({ in: 0, out: 0 }), chart: () => [] };
    const { text } = cells.whole(cards(status, charts, { doctor: false, change: false }, cells));
    return [...text.matchAll(/<li>(.*?)<\/li>/g)].map(([, one]) => one!.replace(/<[^>]*>/g, ''));
  };
  assert.deepEqual(shown(), []);
  assert.deepEqual(shown('main'), []);
  const figures = '3 connected, 0.3 in and 12 out per s; 1200 received, 34 sent, 5 waiting';
  assert.deepEqual(shown('main', 'medics'), [`Network main: ${figures}`, `Network medics: ${figures}`]);
});

test('the log: the newest lines, and before them those that somebody should know of; lines that were cut', () => {
  const line = (id: number, level: number, more = '') => ({
    id,
    text: `{"level":${level},"time":${id},"msg":"line ${id} <b>"${more}}`,
  });
  const lines = Array.from({ length: 900 }, (_, at) => line(at + 1, at % 100 === 0 ? 40 : 30));
  lines.push(line(901, 50, ',"err":{"message":"broke"},"link":"hq"'), {
    id: 902,
    text: '{"level":60,"time":1,"msg":"cut off',
  });
  const cells = new Cells(0);
  const { text } = cells.whole(logPart(lines, cells));
  const shown = [...text.matchAll(/<li class="(\w+)">.*?<\/li>/gs)];
  assert.equal(shown.length, 30 + 9);
  assert.match(shown[0]![0], /class="bad">.*cut off/s);
  assert.match(shown[1]![0], /<b>error<\/b> line 901 &lt;b&gt; <span class="muted">link=hq fault=broke</);
  assert.equal(shown.filter(([, css]) => css === 'doubtful').length, 9);
  assert.match(shown.at(-1)![0], /line 1 /);
});

test('who is among the units is told at once, unless there are more than are shown', () => {
  const unit = (uid: string) => ({ uid, callsign: '', type: 'a-f-G', team: '', from: '', ageMs: 0, lat: 1, lon: 2 });
  const urgent = (total: number, ...uids: string[]) => {
    const cells = new Cells(0);
    unitsPart({ units: { total, units: uids.map(unit) } } as unknown as PageData, cells);
    return cells.sections.get('units')!.urgent;
  };
  assert.equal(urgent(2, 'a', 'b'), urgent(2, 'b', 'a'));
  assert.notEqual(urgent(2, 'a', 'b'), urgent(2, 'a', 'c'));
  assert.equal(urgent(200, 'a', 'b'), urgent(201, 'c', 'd'));
});

test('numbers in words', () => {
  assert.deepEqual([0, 99_400, 100_000, 7_200_000, 50 * 3_600_000].map(duration), [
    '0 s',
    '99 s',
    '2 min',
    '2 h',
    '2 d',
  ]);
  assert.deepEqual([999, 1500, 12_345_678].map(bytes), ['999 B', '1.5 kB', '12 MB']);
  assert.deepEqual([0, 0.05, 1.23, 45.6].map(rate), ['0', '<0.1', '1.2', '46']);
  assert.deepEqual([12.3, 1500, 25_000].map(distance), ['12 m', '1.5 km', '25 km']);
});

test('a link edited as text: secrets are hidden, stay when untouched, and what was taken out goes', () => {
  const entry = {
    name: 'p',
    kind: 'portal',
    federation_key: 'very secret',
    policy: { in: false, allow_types: ['a-f-'] },
    tls: { key: 'us.key', cert: 'us.pem' },
    peers: [
      { name: 'a', password: 'one' },
      { name: 'b', password: 'two' },
    ],
  };
  const text = asYaml(entry);
  assert.ok(!/very secret|one|two/.test(text));
  assert.deepEqual(mergePatch(entry, { ...entry, federation_key: '[secret]' }), {});
  assert.deepEqual(mergePatch(entry, { name: 'p', kind: 'portal', federation_key: 'new', policy: { in: true } }), {
    federation_key: 'new',
    policy: { in: true, allow_types: null },
    tls: null,
    peers: null,
  });
  const moved = { ...entry, peers: [{ name: 'b', password: '[secret]' }] };
  assert.deepEqual(mergePatch(entry, moved), { peers: [{ name: 'b', password: 'two' }] });
});
