// Open pages are told what changed since they were served, and no more: within their bytes, once a second, whatever happens.
import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import type { WebSocket } from 'ws';
import type { Cells } from '../../../src/api/page/cells.ts';
import { CALM_MS, MAX_ITEMS, type News } from '../../../src/api/page/changes.ts';
import { type Html, html } from '../../../src/api/page/html.ts';
import { LIVE_LIMITS, LivePages } from '../../../src/api/page/live.ts';
import { ManualClock } from '../../../src/lib/clock.ts';

const NOW = 1_800_000_000_000;

class FakeSocket extends EventEmitter {
  readonly sent: (string | Buffer)[] = [];
  bufferedAmount = 0;
  ended = '';
  send(data: string | Buffer): void {
    this.sent.push(data);
  }
  close(): void {
    this.ended = 'closed';
  }
  terminate(): void {
    this.ended = 'terminated';
    this.emit('close');
  }
  get bytes(): number {
    return this.sent.reduce((sum, data) => sum + Buffer.byteLength(data), 0);
  }
  /** What it was told, without the name of the rendering. */
  said(): News[] {
    return this.sent.map((data) => {
      const { at, ...news } = JSON.parse(typeof data === 'string' ? data : gunzipSync(data).toString());
      assert.match(at, /^[\w-]+\.\d+$/);
      return news;
    });
  }
}

interface Shown {
  readonly texts: Record<string, string>;
  readonly links: Record<string, string>;
  readonly items: string[];
  units: string;
  who: string;
}

function live() {
  const clock = new ManualClock(NOW);
  const shown: Shown = { texts: {}, links: {}, items: [], units: '', who: '' };
  let rendered = 0;
  const pages = new LivePages((cells) => {
    rendered++;
    return body(shown, cells);
  }, clock);
  const open = (at = pages.serve().at, gzip = false) => {
    const socket = new FakeSocket();
    pages.add(socket as unknown as WebSocket, { at, gzip });
    return socket;
  };
  return { clock, shown, pages, open, renderings: () => rendered };
}

function body({ texts, links, items, units, who }: Shown, cells: Cells): Html {
  return cells.section('main', () => {
    const told = Object.entries(texts).map(([key, value]) => cells.text(key, value));
    const cards = Object.entries(links).map(([id, words]) =>
      cells.section(id, () => html`<article id="${id}">${words}, up ${cells.age(`${id}.up`, 5_000)}</article>`),
    );
    const list = cells.list(
      'events',
      items.map((words, at) => ({ id: at + 1, html: () => html`<li>${words}</li>` })),
      100,
    );
    return html`<main id="main">${told}${cards}${list}${cells.section('units', () => html`<p id="units">${units}</p>`, who)}</main>`;
  });
}

/** The name by which a text is told. */
function keyOf(page: string, value: string): string {
  return new RegExp(`data-k="([^"]+)">${value}<`).exec(page)![1]!;
}

test('a page is told the time, and then nothing while nothing changes', () => {
  const { clock, shown, open } = live();
  shown.texts.a = '1';
  shown.links.hq = 'well';
  const socket = open();
  assert.deepEqual(socket.said(), [{ now: NOW }]);
  clock.advance(10_000);
  // How long something is up ticks in the page itself.
  assert.equal(socket.said().filter(({ parts, add }) => parts || add).length, 0);
});

test('it is told what changed since it was served, at most once a second', () => {
  const { clock, shown, pages, open } = live();
  shown.texts.a = '1';
  shown.texts.b = 'stays';
  const { main, at } = pages.serve();
  const a = keyOf(main.text, '1');
  shown.texts.a = '2';
  const socket = open(at);
  assert.deepEqual(socket.said(), [{ now: NOW, cells: { [a]: '2' } }]);
  shown.texts.a = '3';
  clock.advance(999);
  assert.equal(socket.sent.length, 1);
  clock.advance(1);
  assert.deepEqual(socket.said()[1], { cells: { [a]: '3' } });
  clock.advance(5_000);
  assert.equal(socket.sent.length, 2);
  // One that was hidden for a while goes on from what it was told last.
  const last = JSON.parse(String(socket.sent[1])).at;
  shown.texts.a = '4';
  assert.deepEqual(open(last).said()[0], { now: NOW + 6_000, cells: { [a]: '4' } });
});

test('the same time, reckoned a little differently, is no change', () => {
  const clock = new ManualClock(NOW);
  let jitterMs = 0;
  const pages = new LivePages(
    (cells) => html`<main id="main">${cells.age('up', 60_499 + cells.nowMs - NOW + jitterMs)}</main>`,
    clock,
  );
  const socket = new FakeSocket();
  pages.add(socket as unknown as WebSocket, { at: pages.serve().at, gzip: false });
  for (let second = 0; second < 10; second++) {
    jitterMs = 2 * (second % 2);
    clock.advance(1_000);
  }
  assert.deepEqual(socket.said(), [{ now: NOW }]);
  jitterMs = 5_000;
  clock.advance(1_000);
  assert.equal(socket.sent.length, 2);
});

test('a section that changes is made anew, and no other; what is in it is not told twice', () => {
  const { clock, shown, open } = live();
  shown.links.hq = 'well';
  shown.links.far = 'well';
  const socket = open();
  shown.links.hq = 'broken & <bad>';
  clock.advance(1_000);
  const { parts, ...rest } = socket.said()[1]!;
  assert.deepEqual(Object.keys(parts!), ['hq']);
  assert.match(parts!.hq!, /^<article id="hq">broken &amp; &lt;bad&gt;, up <time data-k="[\w-]+" data-t="\d+">5 s</);
  assert.deepEqual(rest, {});
  shown.links.new = 'begins';
  clock.advance(1_000);
  assert.deepEqual(Object.keys(socket.said()[2]!.parts!), ['main']);
  assert.equal(socket.said()[2]!.cells, undefined);
});

test('lists grow by what is new; too much at once is counted', () => {
  const { clock, shown, open } = live();
  shown.items.push('old');
  const socket = open();
  shown.items.push('new', 'newer');
  clock.advance(1_000);
  assert.deepEqual(Object.values(socket.said()[1]!.add!), [['<li>new</li>', '<li>newer</li>']]);
  for (let each = 0; each < MAX_ITEMS + 7; each++) shown.items.push(`flood ${each}`);
  clock.advance(1_000);
  const [flood] = Object.values(socket.said()[2]!.add!);
  assert.equal(flood!.length, MAX_ITEMS + 1);
  assert.match(flood![0]!, /7 more came at once/);
  assert.match(flood!.at(-1)!, new RegExp(`flood ${MAX_ITEMS + 6}`));
});

test('what always moves is told now and then, who is there at once', () => {
  const { clock, shown, open } = live();
  const socket = open();
  clock.advance(1_000);
  const told = () => socket.said().filter(({ parts }) => parts?.units).length;
  for (let second = 0; second < CALM_MS / 1_000 - 2; second++) {
    shown.units = `at ${second}`;
    clock.advance(1_000);
  }
  assert.equal(told(), 0);
  shown.who = 'ALPHA';
  clock.advance(1_000);
  assert.equal(told(), 1);
  for (let second = 0; second < 2 * (CALM_MS / 1_000); second++) {
    shown.units = `further at ${second}`;
    clock.advance(1_000);
  }
  assert.equal(told(), 3);
});

test('a page of another process, or none that is known, is told all; packed, where it can unpack', () => {
  const { shown, open } = live();
  for (let each = 0; each < 100; each++) shown.links[`link-${each}`] = 'well';
  for (const at of ['', 'other.3', '.', 'x.9e9', '%.1'])
    assert.deepEqual(Object.keys(open(at).said()[0]!.parts!), ['main']);
  const packed = open('', true);
  assert.ok(packed.sent[0] instanceof Buffer);
  assert.ok(packed.bytes < open('').bytes / 5);
  assert.deepEqual(Object.keys(packed.said()[0]!.parts!), ['main']);
});

test('a clock that is set is told', () => {
  const { clock, open } = live();
  const socket = open();
  clock.jumpWall(86_400_000);
  clock.advance(1_000);
  assert.deepEqual(socket.said().at(-1), { now: NOW + 86_401_000 });
});

test('whatever changes, it is no more than its bytes a second', () => {
  const { clock, shown, open } = live();
  const socket = open();
  for (let second = 0; second < 600; second++) {
    for (let key = 0; key < 100; key++) shown.texts[`k${key}`] = `${second} and ${key}`;
    shown.links[`link-${second % 7}`] = `changed at ${second}`;
    clock.advance(1_000);
  }
  const mean = socket.bytes / 600;
  assert.ok(mean > 0.8 * LIVE_LIMITS.bytesPerSecond && mean < 1.1 * LIVE_LIMITS.bytesPerSecond, String(mean));
});

test('figures wait until they are paid for; what appears or goes does not', () => {
  const { clock, shown, open } = live();
  for (let key = 0; key < 40; key++) shown.texts[`k${key}`] = '0';
  shown.links.hq = 'well';
  const socket = open();
  for (let second = 1; second <= 10; second++) {
    for (let key = 0; key < 40; key++) shown.texts[`k${key}`] = `${second} and ${key}`;
    clock.advance(1_000);
    assert.ok(socket.bytes <= LIVE_LIMITS.bytesPerSecond * (second + 1), `${socket.bytes} after ${second} s`);
  }
  assert.ok(socket.sent.length > 1);
  shown.links.hq = 'broken';
  clock.advance(1_000);
  assert.ok(socket.said().at(-1)!.parts?.hq);
});

test('one rendering serves all, none when nobody looks; who does not read is cut off; too many come back later', () => {
  const { clock, shown, pages, open, renderings } = live();
  const sockets = Array.from({ length: LIVE_LIMITS.pages }, () => open());
  assert.equal(open().ended, 'closed');
  const before = renderings();
  shown.texts.a = '1';
  clock.advance(1_000);
  assert.equal(renderings(), before + 1);
  sockets[0]!.bufferedAmount = LIVE_LIMITS.unreadBytes + 1;
  clock.advance(1_000);
  assert.equal(sockets[0]!.ended, 'terminated');
  assert.equal(pages.count, LIVE_LIMITS.pages - 1);
  for (const socket of sockets) socket.emit('close');
  const after = renderings();
  clock.advance(10_000);
  assert.equal(renderings(), after);
});
